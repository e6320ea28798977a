//! One remembered file, in 48 bytes.

use rustix::fs::{FileType, Stat};

use crate::hash::{Algorithm, Hash, PART_SIZE};

/// The bytes of an entry in the file.
pub(super) const SIZE: usize = 48;

/// In nanoseconds, as all times here, from 1970 on.
const SECOND: i64 = 1_000_000_000;

/// What changes with the content of a file. Nobody can set the time of the last change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) inode: u64,
    pub(super) size: u64,
    pub(super) modified: i64,
    pub(super) changed: i64,
}

impl Key {
    /// None if it is not a regular file, or its times are of no use.
    #[expect(clippy::unnecessary_cast, reason = "stat's fields differ by platform")]
    pub(super) fn new(stat: &Stat) -> Option<Self> {
        let time = |seconds: i64, part: i64| seconds.checked_mul(SECOND)?.checked_add(part);
        let changed = time(stat.st_ctime as i64, stat.st_ctime_nsec as i64)?;
        // A file system that counts whole seconds, such as ext4 with small inodes, would stamp two changes alike.
        let is_fine = changed % SECOND != 0;
        let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        let modified = time(stat.st_mtime as i64, stat.st_mtime_nsec as i64)?;
        let (inode, size) = (stat.st_ino as u64, stat.st_size as u64);
        (is_file && is_fine).then_some(Self { inode, size, modified, changed })
    }

    /// Returns true if the file was last changed so long before a time.
    pub(super) fn is_older(&self, now: i64, age: i64) -> bool {
        self.modified.max(self.changed).checked_add(age).is_some_and(|then| then < now)
    }
}

/// A file and the digest of its content, by the usual rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) key: Key,
    digest: [u8; 16],
}

impl Entry {
    /// None for a hash by another rule.
    pub(super) fn new(key: Key, hash: &Hash) -> Option<Self> {
        let (Hash::Md5(digest) | Hash::Md5Parts(digest, _)) = *hash else { return None };
        let entry = Self { key, digest };
        (entry.hash() == *hash).then_some(entry)
    }

    /// The hash: its kind follows from the size.
    pub(super) fn hash(&self) -> Hash {
        match Algorithm::USUAL.parts(self.key.size) {
            Some(parts) if self.key.size >= PART_SIZE => Hash::Md5Parts(self.digest, parts.count),
            _ => Hash::Md5(self.digest),
        }
    }

    pub(super) fn bytes(&self) -> [u8; SIZE] {
        let Key { inode, size, modified, changed } = self.key;
        let mut bytes = [0; SIZE];
        let numbers = [inode, size, modified.cast_unsigned(), changed.cast_unsigned()];
        bytes[..32].copy_from_slice(numbers.map(u64::to_le_bytes).as_flattened());
        bytes[32..].copy_from_slice(&self.digest);
        bytes
    }

    pub(super) fn parse(bytes: &[u8; SIZE]) -> Self {
        let number = |at: usize| {
            let mut number = [0; 8];
            number.copy_from_slice(&bytes[at..at + 8]);
            u64::from_le_bytes(number)
        };
        let (modified, changed) = (number(16).cast_signed(), number(24).cast_signed());
        let mut digest = [0; 16];
        digest.copy_from_slice(&bytes[32..]);
        Self { key: Key { inode: number(0), size: number(8), modified, changed }, digest }
    }
}
