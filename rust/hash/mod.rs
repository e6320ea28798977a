//! Content hashes: their kinds, their parts and their text form.

pub mod crc32c;
pub mod md5;
mod sha;
pub mod tree;

pub use sha::{sha256_of, whole};

/// The size of the parts of `md5-N`, as in the defaults of the AWS CLI and boto3.
pub const PART_SIZE: u64 = 8 << 20;

/// The most parts that S3 accepts.
pub const MAX_PARTS: u64 = 10_000;

/// The bytes that lamindb hashes at each end of a file that it does not hash in full.
pub const FIRST_LAST: u64 = 50 << 20;

/// A way to hash a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// The MD5 for content smaller than a part, else the MD5 of the MD5s of the parts.
    Md5Parts {
        /// The bytes in a part, before doubling until `MAX_PARTS` are enough.
        part_size: u64,
    },
    /// The MD5 of the whole content, for any size.
    Md5Whole,
    /// SHA-256 of the whole.
    Sha256,
    /// The SHA-256 for content smaller than a part, else the SHA-256 of the SHA-256s of the parts.
    Sha256Parts {
        /// See `Md5Parts`.
        part_size: u64,
    },
    /// lamindb's rule: the MD5 up to `FIRST_LAST` bytes; of larger content only the first and last bytes.
    Sha1Fl,
}

impl Algorithm {
    /// The rule of the registered hashes.
    pub const USUAL: Self = Self::Md5Parts { part_size: PART_SIZE };

    /// The algorithm with this name in Python, with parts of this size if it has parts.
    #[must_use]
    pub fn named(name: &str, part_size: u64) -> Option<Self> {
        match name {
            "md5" => Some(Self::Md5Parts { part_size }),
            "md5-whole" => Some(Self::Md5Whole),
            "sha256" => Some(Self::Sha256),
            "sha256-parts" => Some(Self::Sha256Parts { part_size }),
            "sha1-fl" => Some(Self::Sha1Fl),
            _ => None,
        }
    }

    /// The parts of a file of `size` bytes, possibly only one; None if another function than MD5 hashes it from
    /// beginning to end.
    #[must_use]
    pub fn parts(self, size: u64) -> Option<Parts> {
        let whole = Parts { size, part_size: size, count: 1, rule: Rule::Md5 };
        match self {
            Self::Md5Parts { part_size } if size >= part_size => {
                Some(Parts::of(size, part_size, Rule::Md5Parts))
            }
            Self::Sha256Parts { part_size } if size >= part_size => {
                Some(Parts::of(size, part_size, Rule::Sha256Parts))
            }
            Self::Md5Parts { .. } | Self::Md5Whole => Some(whole),
            Self::Sha1Fl if size <= FIRST_LAST => Some(whole),
            Self::Sha256 | Self::Sha256Parts { .. } | Self::Sha1Fl => None,
        }
    }
}

/// The parts of a file, which are hashed separately.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts {
    /// The bytes in all parts.
    pub size: u64,
    /// The bytes in every part but the last.
    pub part_size: u64,
    /// The number of parts.
    pub count: u32,
    rule: Rule,
}

/// The digests from which the hash of a file is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    /// The MD5 of its only part.
    Md5,
    /// The MD5s of its parts.
    Md5Parts,
    /// The SHA-256s of its parts.
    Sha256Parts,
}

impl Parts {
    /// Parts of this size, doubled until there are not too many.
    fn of(size: u64, mut part_size: u64, rule: Rule) -> Self {
        while size.div_ceil(part_size) > MAX_PARTS {
            part_size *= 2;
        }
        Self { size, part_size, count: size.div_ceil(part_size) as u32, rule }
    }

    /// The start and the end of part `index`.
    #[must_use]
    pub fn range(&self, index: u32) -> std::ops::Range<u64> {
        let start = u64::from(index) * self.part_size;
        start..(start + self.part_size).min(self.size)
    }

    /// The bytes in the digest of a part.
    #[must_use]
    pub fn digest_size(&self) -> usize {
        match self.rule {
            Rule::Md5 | Rule::Md5Parts => size_of::<md5::Digest>(),
            Rule::Sha256Parts => sha::SHA256_SIZE,
        }
    }

    /// The hash of the file whose parts have these concatenated digests.
    ///
    /// # Panics
    /// If they are not the digests of `count` parts.
    #[must_use]
    pub fn hash(&self, digests: &[u8]) -> Hash {
        assert_eq!(digests.len(), self.count as usize * self.digest_size(), "one digest for each part");
        match self.rule {
            Rule::Md5 => {
                let mut digest = md5::Digest::default();
                digest.copy_from_slice(digests);
                Hash::Md5(digest)
            }
            Rule::Md5Parts => Hash::Md5Parts(md5::md5(digests), self.count),
            Rule::Sha256Parts => Hash::Sha256Parts(sha::sha256(digests), self.count),
        }
    }
}

/// A content hash of some kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Hash {
    /// `md5`.
    Md5(md5::Digest),
    /// `md5-N`.
    Md5Parts(md5::Digest, u32),
    /// `sha256`.
    Sha256([u8; 32]),
    /// `sha256-N`.
    Sha256Parts([u8; 32], u32),
    /// `sha1-fl`.
    Sha1Fl([u8; 20]),
    /// `md5-tree`.
    Md5Tree(md5::Digest),
    /// `md5-d`.
    Md5D(md5::Digest),
    /// `etag`: the hash of the text of an `ETag`, which says nothing about the content.
    Etag(md5::Digest),
}

impl Hash {
    /// Parses the results of `text` and `kind`; None for a hash of another kind.
    #[must_use]
    pub fn parse(text: &str, kind: &str) -> Option<Self> {
        match kind {
            "md5" => Some(Self::Md5(base64_decode(text)?)),
            "sha256" => Some(Self::Sha256(base64_decode(text)?)),
            "md5-tree" => Some(Self::Md5Tree(base64_decode(text)?)),
            "etag" => Some(Self::Etag(base64_decode(text)?)),
            _ => {
                let (function, count) = kind.split_once('-')?;
                let count = count.parse().ok()?;
                match function {
                    "md5" => Some(Self::Md5Parts(base64_decode(text)?, count)),
                    "sha256" => Some(Self::Sha256Parts(base64_decode(text)?, count)),
                    _ => None,
                }
            }
        }
    }

    /// The digest in url-safe base64 without padding.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Md5(digest)
            | Self::Md5Parts(digest, _)
            | Self::Md5Tree(digest)
            | Self::Md5D(digest)
            | Self::Etag(digest) => base64(digest),
            Self::Sha256(digest) | Self::Sha256Parts(digest, _) => base64(digest),
            Self::Sha1Fl(digest) => {
                let mut text = base64(digest);
                // lamindb keeps as many characters as in an MD5.
                text.truncate(22);
                text
            }
        }
    }

    /// The digest in hex, only for plain MD5: the `ETag` of an object that is sent to S3 as a whole.
    #[must_use]
    pub fn md5_hex(&self) -> Option<String> {
        let Self::Md5(digest) = self else { return None };
        Some(digest.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// Returns true for a hash of the content.
    #[must_use]
    pub fn is_of_content(&self) -> bool {
        !matches!(self, Self::Etag(_))
    }

    /// The kind of the hash.
    #[must_use]
    pub fn kind(&self) -> String {
        match self {
            Self::Md5(_) => "md5".to_owned(),
            Self::Md5Parts(_, count) => format!("md5-{count}"),
            Self::Sha256(_) => "sha256".to_owned(),
            Self::Sha256Parts(_, count) => format!("sha256-{count}"),
            Self::Sha1Fl(_) => "sha1-fl".to_owned(),
            Self::Md5Tree(_) => "md5-tree".to_owned(),
            Self::Md5D(_) => "md5-d".to_owned(),
            Self::Etag(_) => "etag".to_owned(),
        }
    }
}

/// The hash of bytes in memory.
#[must_use]
pub fn hash_bytes(backend: md5::Backend, data: &[u8], algorithm: Algorithm) -> Hash {
    let size = data.len() as u64;
    let Some(parts) = algorithm.parts(size) else { return sha::of_bytes(data, algorithm) };
    let contents = (0..parts.count).map(|index| {
        let range = parts.range(index);
        &data[range.start as usize..range.end as usize]
    });
    if parts.rule == Rule::Sha256Parts {
        return parts.hash(contents.map(sha::sha256).collect::<Vec<_>>().as_flattened());
    }
    let messages: Vec<&[u8]> = contents.collect();
    let mut digests = vec![md5::Digest::default(); messages.len()];
    md5::md5_many(backend, &messages, &mut digests);
    parts.hash(digests.as_flattened())
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

fn base64(bytes: &[u8]) -> String {
    let mut text = Vec::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let mut three = [0; 3];
        three[..group.len()].copy_from_slice(group);
        let bits = u32::from_be_bytes([0, three[0], three[1], three[2]]);
        let four = [18, 12, 6, 0].map(|shift| BASE64[(bits >> shift) as usize & 63]);
        text.extend_from_slice(&four[..=group.len()]);
    }
    // It contains only base64 characters.
    String::from_utf8(text).unwrap_or_default()
}

fn base64_decode<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    let (mut bits, mut count, mut filled) = (0_u32, 0, 0);
    for character in text.bytes() {
        let value = BASE64.iter().position(|&known| known == character)? as u32;
        bits = bits << 6 | value;
        count += 6;
        if count >= 8 {
            count -= 8;
            *bytes.get_mut(filled)? = (bits >> count) as u8;
            filled += 1;
        }
    }
    (filled == N).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: Algorithm = Algorithm::Md5Parts { part_size: PART_SIZE };

    #[test]
    fn base64_round_trips() {
        for last in 0..=255 {
            let mut digest = [0x5a; 16];
            digest[15] = last;
            assert_eq!(Hash::parse(&Hash::Md5(digest).text(), "md5"), Some(Hash::Md5(digest)));
        }
        assert_eq!(Hash::parse("DMF1ucDxtqgxw5niaXcm", "md5"), None);
        assert_eq!(Hash::parse("DMF1ucDxtqgxw5niaXcmYQ", "crc"), None);
        assert_eq!(Hash::parse("DMF1ucDxtqgxw5niaXcmYQAA", "md5"), None);
        for hash in [Hash::Md5Parts([1; 16], 7), Hash::Sha256([2; 32]), Hash::Sha256Parts([3; 32], 10_000)] {
            assert_eq!(Hash::parse(&hash.text(), &hash.kind()), Some(hash));
        }
    }

    fn hash(data: &[u8], algorithm: Algorithm) -> Hash {
        hash_bytes(md5::Backend::active().unwrap(), data, algorithm)
    }

    #[test]
    fn contract_vectors() {
        assert_eq!(hash(b"", RULE).text(), "1B2M2Y8AsgTpgAmY7PhCfg");
        assert_eq!(hash(b"a", RULE).text(), "DMF1ucDxtqgxw5niaXcmYQ");
    }

    #[test]
    fn parts_double_until_s3_takes_them() {
        let cut =
            |size| RULE.parts(size).map(|parts| (parts.part_size, parts.count, parts.rule == Rule::Md5Parts));
        let limit = PART_SIZE * MAX_PARTS;
        assert_eq!(cut(PART_SIZE - 1), Some((PART_SIZE - 1, 1, false)));
        assert_eq!(cut(PART_SIZE), Some((PART_SIZE, 1, true)));
        assert_eq!(cut(PART_SIZE + 1), Some((PART_SIZE, 2, true)));
        assert_eq!(cut(limit), Some((PART_SIZE, 10_000, true)));
        assert_eq!(cut(limit + 1), Some((2 * PART_SIZE, 5_001, true)));
        assert_eq!(cut(2 * limit), Some((2 * PART_SIZE, 10_000, true)));
        assert_eq!(cut(2 * limit + 1), Some((4 * PART_SIZE, 5_001, true)));
        assert_eq!(cut(5 << 40), Some((64 * PART_SIZE * 2, 5_120, true)));
    }

    #[test]
    fn the_last_part_ends_with_the_file() {
        let parts = RULE.parts(2 * PART_SIZE + 5).unwrap();
        assert_eq!(parts.range(0), 0..PART_SIZE);
        assert_eq!(parts.range(2), 2 * PART_SIZE..2 * PART_SIZE + 5);
    }

    #[test]
    fn parts_make_another_hash_than_the_whole() {
        let data = vec![b'x'; PART_SIZE as usize + 1];
        let parts = hash(&data, RULE);
        assert_eq!(parts.kind(), "md5-2");
        assert_ne!(parts.text(), hash(&data, Algorithm::Md5Whole).text());
    }
}
