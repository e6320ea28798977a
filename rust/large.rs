//! Files that are too large for memory, and the passes over them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use crate::chunk::Chunk;
use crate::hash::{Algorithm, Parts};
use crate::outcome::{Failure, Reason};
use crate::read::{ATTEMPTS, Source, changed};
use crate::sync::lock;
use crate::write::Target;

/// A large file of a chunk.
#[derive(Clone)]
pub(crate) struct Large {
    pub(crate) chunk: Arc<Chunk>,
    pub(crate) index: usize,
    /// The number of parts when its size was read.
    pub(crate) parts: usize,
}

/// One pass over one large file.
pub(crate) struct Pass {
    pub(crate) file: Large,
    pub(crate) source: Source,
    pub(crate) target: Option<Arc<Target>>,
    pub(crate) parts: Parts,
    attempt: u32,
    failed: AtomicBool,
    progress: Mutex<Progress>,
}

struct Progress {
    /// The concatenated digests of all parts.
    digests: Vec<u8>,
    missing: u32,
    failure: Option<Failure>,
}

impl Pass {
    /// The first pass over a file that was just opened; it copies the file to `target`.
    pub(crate) fn first(
        algorithm: Algorithm,
        file: Large,
        source: Source,
        target: Option<Arc<Target>>,
    ) -> Result<Self, Failure> {
        Self::new(algorithm, file, source, target, 1)
    }

    fn new(
        algorithm: Algorithm,
        file: Large,
        source: Source,
        target: Option<Arc<Target>>,
        attempt: u32,
    ) -> Result<Self, Failure> {
        let Some(parts) = algorithm.parts(source.size()) else {
            return Err(Failure::new(Reason::Changed, "it outgrew its hash while it was read"));
        };
        let progress = Progress {
            digests: vec![0; parts.count as usize * parts.digest_size()],
            missing: parts.count,
            failure: None,
        };
        let (failed, progress) = (AtomicBool::new(false), Mutex::new(progress));
        Ok(Self { file, source, target, parts, attempt, failed, progress })
    }

    /// The next pass over a file that changed during this one.
    pub(crate) fn again(&self, algorithm: Algorithm) -> Result<Self, Failure> {
        if self.attempt == ATTEMPTS {
            return Err(changed());
        }
        if let Some(target) = &self.target {
            target.restart()?;
        }
        let (file, target) = (self.file.clone(), self.target.clone());
        Self::new(algorithm, file, self.source.again()?, target, self.attempt + 1)
    }

    /// Records the digest or the failure of a part. The last part gets the digests of all parts, or the first failure.
    pub(crate) fn note(&self, part: u32, result: Result<&[u8], Failure>) -> Option<Result<Vec<u8>, Failure>> {
        let mut progress = lock(&self.progress);
        match result {
            Ok(digest) => {
                let start = part as usize * digest.len();
                progress.digests[start..start + digest.len()].copy_from_slice(digest);
            }
            Err(failure) => {
                self.failed.store(true, Ordering::Relaxed);
                progress.failure.get_or_insert(failure);
            }
        }
        progress.missing -= 1;
        (progress.missing == 0).then(|| match progress.failure.take() {
            Some(failure) => Err(failure),
            None => Ok(std::mem::take(&mut progress.digests)),
        })
    }

    /// Reads some bytes of a part from `offset` on, and writes them to the target.
    pub(crate) fn copy(&self, slice: &mut [u8], offset: u64) -> Result<(), Failure> {
        if self.failed.load(Ordering::Relaxed) || self.source.read(slice, offset)? < slice.len() {
            return Err(changed());
        }
        self.target.as_ref().map_or(Ok(()), |target| target.write(slice, offset))
    }
}
