//! Files that are too large for memory: hashed part by part, by whichever threads are free.

use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use crate::batch::Row;
use crate::chunk::Chunk;
use crate::copy::Target;
use crate::hash::md5::{Digest, Work};
use crate::hash::{Parts, sha256_of};
use crate::outbox::{LARGE, Upload};
use crate::read::{ATTEMPTS, Source};
use crate::record::{Failure, Reason, Status};
use crate::shared::{Claim, Shared, Task, lock};

/// A large file of a chunk.
#[derive(Clone)]
pub(crate) struct Large {
    pub(crate) chunk: Arc<Chunk>,
    pub(crate) index: usize,
    /// How many it had when it was looked at.
    pub(crate) parts: usize,
}

impl Large {
    /// Opens it for a first pass, which also copies what is surely new.
    pub(crate) fn open(&self, shared: &Shared) -> Result<Job, Failure> {
        let Self { chunk, index, .. } = self;
        let source = chunk.open(shared.config.root(), *index)?;
        let is_new = chunk.items[*index].is_surely_new(source.size());
        let target = if is_new { shared.create_target(chunk, *index) } else { Ok(None) };
        let target = target.map_err(|failure| failure.needing(source.size()))?;
        Job::new(shared, self.clone(), source, target, 1)
    }

    /// Notes what became of it.
    pub(crate) fn settle(&self, shared: &Shared, outcome: Result<Row, Failure>) {
        if shared.config.uploads {
            shared.update(|state| state.outbox.release(LARGE));
        }
        shared.settle(&self.chunk, self.index, outcome);
    }
}

/// One pass over one large file.
pub(crate) struct Job {
    file: Large,
    source: Source,
    target: Option<Arc<Target>>,
    pub(crate) parts: Parts,
    attempt: u32,
    failed: AtomicBool,
    progress: Mutex<Progress>,
}

struct Progress {
    /// Of all parts, one after the other.
    digests: Vec<u8>,
    missing: u32,
    failure: Option<Failure>,
}

impl Job {
    fn new(
        shared: &Shared,
        file: Large,
        source: Source,
        target: Option<Arc<Target>>,
        attempt: u32,
    ) -> Result<Self, Failure> {
        let Some(parts) = shared.config.algorithm.parts(source.size()) else {
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

    fn finish_part(&self, shared: &Shared, part: u32, result: Result<&[u8], Failure>) {
        let (failure, digests) = {
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
            Ok(Some(job)) => shared.offer_parts(Arc::new(job), 0),
            Err(failure) => {
                if let Some(target) = &self.target {
                    target.discard();
                }
                self.file.settle(shared, Err(failure.needing(self.parts.size)));
            }
        }
    }

    /// Settles the file, or says which pass has to follow.
    fn finish(&self, shared: &Shared, digests: &[u8]) -> Result<Option<Self>, Failure> {
        if !self.source.held_still()? {
            return self.again(shared);
        }
        let Large { chunk, index, .. } = &self.file;
        let row = chunk.items[*index].read(self.parts.size, self.parts.hash(digests))?;
        if let Some(target) = &self.target {
            target.keep();
        } else if row.status != Status::Unchanged && shared.config.uploads {
            let upload = Upload::of_file(chunk, *index, self.source.clone(), self.parts);
            shared.update(|state| state.outbox.put([upload]));
            return Ok(None);
        } else if row.status != Status::Unchanged
            && let Some(target) = shared.create_target(chunk, *index)?
        {
            // Of the size that is registered, but not its content: now it has to be copied.
            let source = self.source.again()?;
            return Self::new(shared, self.file.clone(), source, Some(target), 1).map(Some);
        }
        self.file.settle(shared, Ok(row));
        Ok(None)
    }

    fn again(&self, shared: &Shared) -> Result<Option<Self>, Failure> {
        if self.attempt == ATTEMPTS {
            return Err(changed());
        }
        if let Some(target) = &self.target {
            target.restart()?;
        }
        let (file, target) = (self.file.clone(), self.target.clone());
        Self::new(shared, file, self.source.again()?, target, self.attempt + 1).map(Some)
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
    /// Does something else, which may bring more parts.
    other: &'a mut dyn FnMut(Task),
}

impl<'a> PartsInHand<'a> {
    pub(crate) fn new(shared: &'a Shared, other: &'a mut dyn FnMut(Task)) -> Self {
        Self { shared, held: 0, other }
    }
}

impl PartsInHand<'_> {
    /// Hashes by SHA-256 what there is, one part after the other.
    pub(crate) fn run_sha256(&mut self, buffer: &mut [u8]) {
        while !self.shared.is_stopped()
            && let Some(mut part) = self.next(false)
        {
            let result = sha256_of(&mut part, buffer, &self.shared.stopped);
            self.finish_with(part, result.as_ref().map(<[u8; 32]>::as_slice));
        }
    }

    /// Ends what is left of files that were begun.
    pub(crate) fn give_up(&mut self) {
        while let Some(claim) = self.shared.claim_part(0) {
            self.shared.put_down();
            if let Claim::Part(job, index) = claim {
                let stopped = Failure::new(Reason::IoError, "the scan was stopped");
                job.finish_part(self.shared, index, Err(stopped));
            }
        }
    }

    fn claim(&mut self) -> Option<Part> {
        loop {
            let (job, index) = match self.shared.claim_part(self.held)? {
                Claim::Part(job, index) => (job, index),
                Claim::File(file) => match file.open(self.shared) {
                    Ok(job) => {
                        let job = Arc::new(job);
                        self.shared.offer_parts(Arc::clone(&job), 1);
                        (job, 0)
                    }
                    Err(failure) => {
                        self.shared.put_down();
                        file.settle(self.shared, Err(failure));
                        continue;
                    }
                },
            };
            self.held += 1;
            let range = job.parts.range(index);
            return Some(Part { job, index, at: range.start, end: range.end, failure: None });
        }
    }

    fn finish_with(&mut self, part: Part, result: Result<&[u8], &io::Error>) {
        self.held -= 1;
        self.shared.put_down();
        let result = match part.failure {
            Some(failure) => Err(failure),
            None => result.map_err(|error| Failure::new(Reason::IoError, error.to_string())),
        };
        part.job.finish_part(self.shared, part.index, result);
    }
}

impl Work for PartsInHand<'_> {
    type Source = Part;

    fn next(&mut self, busy: bool) -> Option<Part> {
        loop {
            let part = self.claim();
            // Files that are to be sent may make this thread wait, which none may that holds parts.
            if part.is_some() || !busy || self.shared.config.uploads {
                return part;
            }
            // Lanes that run dry cost more than a pause for those that do not.
            (self.other)(self.shared.task_for_want_of_parts()?);
        }
    }

    fn finish(&mut self, part: Part, result: io::Result<Digest>) {
        self.finish_with(part, result.as_ref().map(Digest::as_slice));
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
