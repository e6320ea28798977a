//! Uids: 16 base62 characters that name a family and 4 that count its versions.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::error::{Error, Result};

/// In ASCII order, so that the greatest uid of a family is its newest version.
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

const STEM: usize = 16;
/// The number of characters that the uids of one batch share, so that they are adjacent in the index.
const SHARED: usize = 6;
const FIRST_VERSION: [u8; 4] = *b"0000";

/// A uid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uid([u8; 20]);

impl Uid {
    /// The lowest uid, for files that are not registered.
    pub const FIRST: Self = Self(*b"00000000000000000000");

    /// Parses a uid.
    ///
    /// # Errors
    /// It is not 20 base62 characters.
    pub fn parse(text: &str) -> Result<Self> {
        match text.as_bytes().try_into() {
            Ok(bytes) if text.bytes().all(|byte| byte.is_ascii_alphanumeric()) => Ok(Self(bytes)),
            _ => Err(Error::Invalid(format!("not a uid of 20 base62 characters: {text:?}"))),
        }
    }

    /// A random uid of a first version.
    ///
    /// # Errors
    /// The system returns no random numbers.
    pub fn random() -> Result<Self> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes)
            .map_err(|error| Error::Invalid(format!("the system gives no random numbers: {error}")))?;
        Ok(Self::new(base62(bytes)))
    }

    /// The next version of the same family.
    ///
    /// # Errors
    /// The family can have no more versions.
    pub fn next(self) -> Result<Self> {
        let mut next = self;
        for digit in next.0[STEM..].iter_mut().rev() {
            let place = ALPHABET.iter().position(|known| known == digit).unwrap_or(0);
            *digit = ALPHABET[(place + 1) % ALPHABET.len()];
            if place + 1 < ALPHABET.len() {
                return Ok(next);
            }
        }
        Err(Error::Invalid(format!("there can be no version after {self}")))
    }

    /// The characters of the uid.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // It contains only base62 characters.
        str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The object key for a virtual key, relative to the root of the storage.
    ///
    /// The folder is the last character of the stem, which differs within a batch. Concurrent writers of
    /// the next version of an artifact use the same uid, and only one of them gets the row; the tag
    /// separates their objects. The uid of a first version is unique to its writer.
    #[must_use]
    pub fn object_key(&self, tag: &str, suffix: &str) -> String {
        let folder = char::from(self.0[STEM - 1]);
        if self.0[STEM..] == FIRST_VERSION {
            format!(".inhaul/{folder}/{self}{suffix}")
        } else {
            format!(".inhaul/{folder}/{self}.{tag}{suffix}")
        }
    }

    fn new(stem: [u8; STEM]) -> Self {
        let mut uid = [0; 20];
        uid[..STEM].copy_from_slice(&stem);
        uid[STEM..].copy_from_slice(&FIRST_VERSION);
        Self(uid)
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The tag of the objects of one ingest: six characters made from its salt.
#[must_use]
pub fn tag(salt: &[u8]) -> String {
    let characters = digits(Sha256::new_with_prefix(salt).chain_update(b"tag"));
    characters[..SHARED].iter().copied().map(char::from).collect()
}

/// The rule for the uids of one batch: the same salt, batch and path give the same uid.
pub struct UidRule {
    salt: Sha256,
    shared: [u8; STEM],
}

impl UidRule {
    /// Makes the rule for one batch.
    #[must_use]
    pub fn new(salt: &[u8], batch: u64) -> Self {
        let salt = Sha256::new_with_prefix(salt);
        let shared = digits(salt.clone().chain_update(batch.to_le_bytes()));
        Self { salt, shared }
    }

    /// Returns the uid of the file `name` in `folder`.
    #[must_use]
    pub fn uid(&self, folder: &[u8], name: &[u8]) -> Uid {
        let own = digits(self.salt.clone().chain_update(folder).chain_update(name));
        let mut stem = self.shared;
        stem[SHARED..].copy_from_slice(&own[..STEM - SHARED]);
        Uid::new(stem)
    }
}

fn digits(hash: Sha256) -> [u8; STEM] {
    let digest: [u8; 32] = hash.finalize().into();
    let mut number = [0; 16];
    number.copy_from_slice(&digest[..16]);
    base62(number)
}

/// 16 digits of a 128-bit number. 62^16 is less than 2^96, so their distribution is even up to 2^-32.
fn base62(number: [u8; 16]) -> [u8; STEM] {
    // The most digits that 64 bits can hold: dividing 128 bits is slow, and a scan does it for every file.
    const LOW: usize = 10;
    const LIMIT: u128 = 62_u128.pow(LOW as u32);
    let number = u128::from_le_bytes(number);
    let mut low = (number % LIMIT) as u64;
    let mut high = (number / LIMIT % LIMIT) as u64;
    std::array::from_fn(|place| {
        let rest = if place < LOW { &mut low } else { &mut high };
        let digit = ALPHABET[(*rest % 62) as usize];
        *rest /= 62;
        digit
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_count_up_in_order() {
        let uid = |version: &str| Uid::parse(&format!("ABCDEFGHIJKLMNOP{version}")).unwrap();
        for (before, after) in [("0000", "0001"), ("0009", "000A"), ("000Z", "000a"), ("0zzz", "1000")] {
            assert_eq!(uid(before).next().unwrap(), uid(after));
            assert!(uid(before) < uid(after));
        }
        assert!(uid("zzzz").next().is_err());
    }

    #[test]
    fn uids_follow_from_salt_batch_and_path() {
        let uid = UidRule::new(b"salt", 3).uid(b"a/", b"b");
        assert_eq!(uid, UidRule::new(b"salt", 3).uid(b"a/", b"b"));
        assert_eq!(uid.as_str()[..6], UidRule::new(b"salt", 3).uid(b"", b"c").as_str()[..6]);
        assert_ne!(uid, UidRule::new(b"salt", 4).uid(b"a/", b"b"));
        assert_ne!(uid, UidRule::new(b"pepper", 3).uid(b"a/", b"b"));
        assert!(uid.as_str().ends_with("0000"));
        assert_eq!(Uid::parse(uid.as_str()).unwrap(), uid);
    }

    #[test]
    fn digits_are_those_of_long_division() {
        for seed in 0..1000_u128 {
            let number =
                seed.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835) ^ (u128::MAX * (seed % 2));
            let mut rest = number;
            let expected = std::array::from_fn(|_| {
                let digit = ALPHABET[(rest % 62) as usize];
                rest /= 62;
                digit
            });
            assert_eq!(base62(number.to_le_bytes()), expected, "{number}");
        }
    }

    #[test]
    fn objects_spread_by_the_end_of_the_stem() {
        let uid = Uid::parse("0123456789abcdeX0000").unwrap();
        assert_eq!(uid.object_key("tag", ".csv.gz"), ".inhaul/X/0123456789abcdeX0000.csv.gz");
    }

    #[test]
    fn objects_of_later_versions_bear_a_tag() {
        let uid = Uid::parse("0123456789abcdeX0001").unwrap();
        assert_eq!(uid.object_key("a1B2c3", ""), ".inhaul/X/0123456789abcdeX0001.a1B2c3");
        assert_eq!(tag(b"salt"), tag(b"salt"));
        assert_ne!(tag(b"salt"), tag(b"pepper"));
        assert_eq!(tag(b"salt").len(), SHARED);
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["", "0123456789abcdeX000", "0123456789abcde/0000", "0123456789abcdé0000"] {
            assert!(Uid::parse(text).is_err(), "{text}");
        }
    }
}
