//! Hashes of folders.

use md5::{Digest as _, Md5};

use super::Hash;
use super::md5::{Digest, md5};

/// `md5-tree`: the MD5 over path, NUL, decimal size, NUL, hash, LF of each file in path order.
#[derive(Default)]
pub struct Tree(Md5);

impl Tree {
    /// Adds the next file in byte order of the relative paths.
    pub fn push(&mut self, path: &[u8], size: u64, hash: &Hash) {
        self.0.update(path);
        self.0.update(format!("\0{size}\0{}\n", hash.text()));
    }

    /// The digest of all files so far.
    #[must_use]
    pub fn finish(self) -> Digest {
        self.0.finalize().into()
    }
}

/// `md5-d`: the MD5 over the MD5s of the files' hashes as text, sorted. This is lamindb's rule; it
/// covers neither names nor structure.
#[must_use]
pub fn unnamed(mut hashes: Vec<String>) -> Digest {
    hashes.sort_unstable();
    let digests: Vec<Digest> = hashes.iter().map(|hash| md5(hash.as_bytes())).collect();
    md5(digests.as_flattened())
}
