//! A reader for files that are sent in parts; it hashes each part.

use std::os::fd::AsFd;

use rustix::fs::CWD;

use crate::error::{Error, Result};
use crate::hash::md5::{Backend, Digest, md5_many};
use crate::hash::{Algorithm, Hash, Parts, crc32c};
use crate::listing::Kind;
use crate::outcome::{Failure, Reason};
use crate::read::Source;

/// The bytes that are read before their CRC32C is computed: few enough that they are still in the cache of the core.
const CACHED: usize = 256 << 10;

/// An open file and its parts.
#[derive(Debug)]
pub struct PartReader {
    path: Vec<u8>,
    source: Source,
    parts: Parts,
    backend: Backend,
    staged: Option<Hash>,
}

impl PartReader {
    /// Opens a regular file; links are followed.
    ///
    /// # Errors
    /// It is not a regular file, the system refuses, or `part_size` is 0.
    pub fn open(path: &[u8], part_size: u64) -> Result<Self> {
        let source = Source::open(CWD.as_fd(), path, Kind::Unseen, None, None)
            .map_err(|failure| failure.error(path))?;
        let parts = (part_size > 0).then(|| Algorithm::Md5Parts { part_size }.parts(source.size())).flatten();
        let parts = parts.ok_or_else(|| Error::Invalid("a part has at least one byte".to_owned()))?;
        Ok(Self::new(path.to_owned(), source, parts, Backend::active()?, None))
    }

    /// `staged` is the hash that the file had when it was read before.
    pub(crate) fn new(
        path: Vec<u8>,
        source: Source,
        parts: Parts,
        backend: Backend,
        staged: Option<Hash>,
    ) -> Self {
        Self { path, source, parts, backend, staged }
    }

    /// The parts of the file.
    #[must_use]
    pub fn parts(&self) -> Parts {
        self.parts
    }

    /// The lengths of adjacent parts.
    ///
    /// # Errors
    /// There are fewer parts.
    pub fn lengths(&self, first: u32, count: u32) -> Result<Vec<usize>> {
        let end = first.checked_add(count).filter(|&end| end <= self.parts.count).ok_or_else(|| {
            Error::Invalid(format!("there are no {count} parts from {first} on, only {}", self.parts.count))
        })?;
        let length = |index| {
            let range = self.parts.range(index);
            (range.end - range.start) as usize
        };
        Ok((first..end).map(length).collect())
    }

    /// Reads adjacent parts, each into a buffer of its length, and hashes them at the same time.
    ///
    /// # Errors
    /// The file has become shorter, or the system refuses.
    pub fn read(&self, first: u32, buffers: &mut [&mut [u8]]) -> Result<Vec<Digest>> {
        for (buffer, index) in buffers.iter_mut().zip(first..) {
            self.fill(buffer, self.parts.range(index).start)?;
        }
        Ok(self.digests(buffers))
    }

    /// Like `read`, but also computes the CRC32C of each part.
    ///
    /// # Errors
    /// See `read`.
    pub fn read_with_crc32c(&self, first: u32, buffers: &mut [&mut [u8]]) -> Result<Vec<(Digest, u32)>> {
        let mut checksums = Vec::with_capacity(buffers.len());
        for (buffer, index) in buffers.iter_mut().zip(first..) {
            let (mut at, mut checksum) = (self.parts.range(index).start, 0);
            for slice in buffer.chunks_mut(CACHED) {
                self.fill(slice, at)?;
                at += slice.len() as u64;
                checksum = crc32c::append(checksum, slice);
            }
            checksums.push(checksum);
        }
        Ok(self.digests(buffers).into_iter().zip(checksums).collect())
    }

    /// Fills a buffer with the content at an offset.
    fn fill(&self, buffer: &mut [u8], at: u64) -> Result<()> {
        let length = self.source.read(buffer, at).map_err(|failure| failure.error(&self.path))?;
        if length < buffer.len() { Err(self.changed()) } else { Ok(()) }
    }

    /// The MD5 of each part.
    fn digests(&self, buffers: &[&mut [u8]]) -> Vec<Digest> {
        let messages: Vec<&[u8]> = buffers.iter().map(|buffer| &**buffer).collect();
        let mut digests = vec![Digest::default(); messages.len()];
        md5_many(self.backend, &messages, &mut digests);
        digests
    }

    /// The hash of the file, from the digests of all its parts.
    ///
    /// # Errors
    /// The number of digests is wrong, or the file has changed since it was staged.
    pub fn hash(&self, digests: &[Digest]) -> Result<Hash> {
        if digests.len() != self.parts.count as usize {
            let count = self.parts.count;
            return Err(Error::Invalid(format!("{} digests were given for {count} parts", digests.len())));
        }
        let hash = self.parts.hash(digests.as_flattened());
        if self.staged.is_some_and(|staged| staged != hash) {
            return Err(Failure::not_as_staged().error(&self.path));
        }
        Ok(hash)
    }

    /// Checks that the file has not changed since it was opened.
    ///
    /// # Errors
    /// The file has changed, or the system refuses.
    pub fn check(&self) -> Result<()> {
        match self.source.held_still() {
            Ok(true) => Ok(()),
            Ok(false) => Err(self.changed()),
            Err(failure) => Err(failure.error(&self.path)),
        }
    }

    fn changed(&self) -> Error {
        Failure::new(Reason::Changed, "it changed while it was read").error(&self.path)
    }
}
