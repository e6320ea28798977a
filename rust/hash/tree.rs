//! Hashes of folders.

use std::io::Write as _;

use md5::{Digest as _, Md5};

use super::Hash;
use super::md5::{Digest, md5};

/// `md5-tree`: the MD5 over path, NUL, decimal size, NUL, hash, LF of each file in path order.
#[derive(Default)]
pub struct Tree {
    md5: Md5,
    record: Vec<u8>,
}

impl Tree {
    /// Adds the next file in byte order of the relative paths: its folder, which ends in a slash, and its name.
    pub fn push(&mut self, folder: &[u8], name: &[u8], size: u64, hash: &Hash) {
        self.record.clear();
        self.record.extend_from_slice(folder);
        self.record.extend_from_slice(name);
        self.record.push(0);
        let _ = write!(self.record, "{size}"); // writing to memory never fails
        self.record.push(0);
        self.record.extend_from_slice(hash.text().as_bytes());
        self.record.push(b'\n');
        self.md5.update(&self.record);
    }

    /// The digest of all files so far.
    #[must_use]
    pub fn finish(self) -> Digest {
        self.md5.finalize().into()
    }
}

/// `md5-d`: the MD5 over the sorted texts of the MD5s of the files' hashes. This is lamindb's rule; it
/// covers neither names nor structure.
#[must_use]
pub fn unnamed(mut hashes: Vec<String>) -> Digest {
    hashes.sort_unstable();
    let digests: Vec<Digest> = hashes.iter().map(|hash| md5(hash.as_bytes())).collect();
    md5(digests.as_flattened())
}
