//! Files that are too large for memory: hashed part by part, by whichever threads are free.

use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use crate::chunk::Chunk;
use crate::copy::Target;
use crate::hash::Parts;
use crate::hash::md5::{Digest, Work};
use crate::read::{ATTEMPTS, Source};
use crate::record::{Failure, Reason, Status};
use crate::shared::{Shared, lock};

/// One pass over one large file.
pub(crate) struct Job {
    chunk: Arc<Chunk>,
    index: usize,
    source: Source,
    target: Option<Arc<Target>>,
    pub(crate) parts: Parts,
    attempt: u32,
    failed: AtomicBool,
    progress: Mutex<Progress>,
}

struct Progress {
    digests: Vec<Digest>,
    missing: u32,
    failure: Option<Failure>,
}

impl Job {
    /// A first pass, which also copies what is surely new.
    pub(crate) fn start(
        shared: &Shared,
        chunk: &Arc<Chunk>,
        index: usize,
        source: Source,
    ) -> Result<Self, Failure> {
        let is_new = chunk.items[index].is_surely_new(source.size());
        let target = if is_new { shared.create_target(chunk, index) } else { Ok(None) };
        let target = target.map_err(|failure| failure.needing(source.size()))?;
        Self::new(shared, Arc::clone(chunk), index, source, target, 1)
    }

    fn new(
        shared: &Shared,
        chunk: Arc<Chunk>,
        index: usize,
        source: Source,
        target: Option<Arc<Target>>,
        attempt: u32,
    ) -> Result<Self, Failure> {
        let Some(parts) = shared.config.algorithm.parts(source.size()) else {
            return Err(Failure::new(Reason::Changed, "it outgrew its hash while it was read"));
        };
        let progress = Progress {
            digests: vec![Digest::default(); parts.count as usize],
            missing: parts.count,
            failure: None,
        };
        let (failed, progress) = (AtomicBool::new(false), Mutex::new(progress));
        Ok(Self { chunk, index, source, target, parts, attempt, failed, progress })
    }

    fn finish_part(&self, shared: &Shared, part: u32, result: Result<Digest, Failure>) {
        let (failure, digests) = {
            let mut progress = lock(&self.progress);
            match result {
                Ok(digest) => progress.digests[part as usize] = digest,
                Err(failure) => {
                    self.failed.store(true, Ordering::Relaxed);
                    progress.failure.get_or_insert(failure);
                }
            }
            progress.missing -= 1;
            if progress.missing > 0 {
                return;
            }
            (progress.failure.take(), std::mem::take(&mut progress.digests))
        };
        let next = match failure {
            None => self.finish(shared, &digests),
            Some(failure) if failure.reason == Reason::Changed => self.again(shared),
            Some(failure) => Err(failure),
        };
        match next {
            Ok(None) => {}
            Ok(Some(job)) => shared.publish([Arc::new(job)]),
            Err(failure) => {
                if let Some(target) = &self.target {
                    target.discard();
                }
                shared.settle(&self.chunk, self.index, Err(failure.needing(self.parts.size)));
            }
        }
    }

    /// Settles the file, or says which pass has to follow.
    fn finish(&self, shared: &Shared, digests: &[Digest]) -> Result<Option<Self>, Failure> {
        if !self.source.held_still()? {
            return self.again(shared);
        }
        let row = self.chunk.items[self.index].read(self.parts.size, self.parts.hash(digests))?;
        if let Some(target) = &self.target {
            target.keep();
        } else if row.status != Status::Unchanged
            && let Some(target) = shared.create_target(&self.chunk, self.index)?
        {
            // Of the size that is registered, but not its content: now it has to be copied.
            let source = self.source.again()?;
            return Self::new(shared, Arc::clone(&self.chunk), self.index, source, Some(target), 1).map(Some);
        }
        shared.settle(&self.chunk, self.index, Ok(row));
        Ok(None)
    }

    fn again(&self, shared: &Shared) -> Result<Option<Self>, Failure> {
        if self.attempt == ATTEMPTS {
            return Err(changed());
        }
        if let Some(target) = &self.target {
            target.restart()?;
        }
        let (chunk, target) = (Arc::clone(&self.chunk), self.target.clone());
        Self::new(shared, chunk, self.index, self.source.again()?, target, self.attempt + 1).map(Some)
    }
}

/// What is said of a file that does not hold still.
pub(crate) fn changed() -> Failure {
    Failure::new(Reason::Changed, format!("it changed while it was read, {ATTEMPTS} times"))
}

/// The parts of all large files, as one thread works on them.
pub(crate) struct PartsInHand<'a> {
    shared: &'a Shared,
    held: usize,
}

impl<'a> PartsInHand<'a> {
    pub(crate) fn new(shared: &'a Shared) -> Self {
        Self { shared, held: 0 }
    }
}

impl Work for PartsInHand<'_> {
    type Source = Part;

    fn next(&mut self, _busy: bool) -> Option<Part> {
        let (job, index) = self.shared.claim_part(self.held)?;
        self.held += 1;
        let range = job.parts.range(index);
        Some(Part { job, index, at: range.start, end: range.end, failure: None })
    }

    fn finish(&mut self, part: Part, result: io::Result<Digest>) {
        self.held -= 1;
        let result = match part.failure {
            Some(failure) => Err(failure),
            None => result.map_err(|error| Failure::new(Reason::IoError, error.to_string())),
        };
        part.job.finish_part(self.shared, part.index, result);
    }
}

/// One part of a large file, copied by reading it if the file is to be copied.
pub(crate) struct Part {
    job: Arc<Job>,
    index: u32,
    at: u64,
    end: u64,
    /// What ended it, which says more than the error that `read` gave.
    failure: Option<Failure>,
}

impl Part {
    fn copy(&mut self, slice: &mut [u8]) -> Result<usize, Failure> {
        let wanted = slice.len().min(usize::try_from(self.end - self.at).unwrap_or(usize::MAX));
        if self.job.failed.load(Ordering::Relaxed) {
            return Err(changed());
        }
        let length = self.job.source.read(&mut slice[..wanted], self.at)?;
        if length < wanted {
            return Err(changed());
        }
        if let Some(target) = &self.job.target {
            target.write(&slice[..length], self.at)?;
        }
        self.at += length as u64;
        Ok(length)
    }
}

impl Read for Part {
    fn read(&mut self, slice: &mut [u8]) -> io::Result<usize> {
        self.copy(slice).map_err(|failure| {
            let error = io::Error::other(failure.message.clone());
            self.failure = Some(failure);
            error
        })
    }
}
