//! Hashing of large files part by part on all free threads.

use std::io::{self, Read};
use std::sync::Arc;

use crate::batch::Row;
use crate::hash::md5::{Digest, Work};
use crate::hash::sha256_of;
use crate::large::{Large, Pass};
use crate::outbox::{LARGE, Upload};
use crate::outcome::{Failure, Reason, Status};
use crate::shared::{Claim, Shared, Task};

impl Shared {
    /// Opens a large file for a first pass, which also copies content that is certainly new.
    fn open_large(&self, file: &Large) -> Result<Pass, Failure> {
        let Large { chunk, index, .. } = file;
        let source = chunk.open(self.config.root(), *index, self.config.memo())?;
        let is_new = chunk.items[*index].is_surely_new(source.size());
        let target = if is_new { self.create_target(chunk, *index) } else { Ok(None) };
        let target = target.map_err(|failure| failure.needing(source.size()))?;
        Pass::first(self.config.algorithm, file.clone(), source, target)
    }

    /// Records the outcome of a large file.
    fn settle_large(&self, file: &Large, outcome: Result<Row, Failure>) {
        if self.config.uploads {
            self.update(|state| state.outbox.release(LARGE));
        }
        self.settle(&file.chunk, file.index, outcome);
    }

    fn finish_part(&self, pass: &Pass, part: u32, result: Result<&[u8], Failure>) {
        let next = match pass.note(part, result) {
            None => return,
            Some(Ok(digests)) => self.finish_pass(pass, &digests),
            Some(Err(failure)) if failure.reason == Reason::Changed => {
                pass.again(self.config.algorithm).map(Some)
            }
            Some(Err(failure)) => Err(failure),
        };
        match next {
            Ok(None) => {}
            Ok(Some(pass)) => self.offer_parts(Arc::new(pass), 0),
            Err(failure) => {
                if let Some(target) = &pass.target {
                    target.discard();
                }
                self.settle_large(&pass.file, Err(failure.needing(pass.parts.size)));
            }
        }
    }

    /// Settles the file, or returns the pass that must follow.
    fn finish_pass(&self, pass: &Pass, digests: &[u8]) -> Result<Option<Pass>, Failure> {
        if !pass.source.held_still()? {
            return pass.again(self.config.algorithm).map(Some);
        }
        let Large { chunk, index, .. } = &pass.file;
        let hash = pass.parts.hash(digests);
        self.remember(chunk, *index, pass.source.mark(), &hash);
        let row = chunk.items[*index].read(pass.parts.size, hash)?;
        if let Some(target) = &pass.target {
            target.keep();
        } else if row.status != Status::Unchanged && self.config.uploads {
            let upload = Upload::of_file(chunk, *index, pass.source.clone(), pass.parts);
            self.update(|state| state.outbox.put([upload]));
            return Ok(None);
        } else if row.status != Status::Unchanged
            && let Some(target) = self.create_target(chunk, *index)?
        {
            // It has the registered size but other content, so now it must be copied.
            let source = pass.source.again()?;
            return Pass::first(self.config.algorithm, pass.file.clone(), source, Some(target)).map(Some);
        }
        self.settle_large(&pass.file, Ok(row));
        Ok(None)
    }
}

/// The parts of large files on which one thread works.
pub(crate) struct PartsInHand<'a> {
    shared: &'a Shared,
    held: usize,
    /// Does other work, which may bring more parts.
    other: &'a mut dyn FnMut(Task),
}

impl<'a> PartsInHand<'a> {
    pub(crate) fn new(shared: &'a Shared, other: &'a mut dyn FnMut(Task)) -> Self {
        Self { shared, held: 0, other }
    }
}

impl PartsInHand<'_> {
    /// Hashes the available parts by SHA-256, one after the other.
    pub(crate) fn run_sha256(&mut self, buffer: &mut [u8]) {
        while !self.shared.is_stopped()
            && let Some(mut part) = self.next(false)
        {
            let result = sha256_of(&mut part, buffer, &self.shared.stopped);
            self.finish_with(part, result.as_ref().map(<[u8; 32]>::as_slice));
        }
    }

    /// Settles files that were started but not finished.
    pub(crate) fn give_up(&mut self) {
        while let Some(claim) = self.shared.claim_part(0) {
            self.shared.put_down();
            if let Claim::Part(pass, index) = claim {
                let stopped = Failure::new(Reason::IoError, "the scan was stopped");
                self.shared.finish_part(&pass, index, Err(stopped));
            }
        }
    }

    fn claim(&mut self) -> Option<Part> {
        loop {
            let (pass, index) = match self.shared.claim_part(self.held)? {
                Claim::Part(pass, index) => (pass, index),
                Claim::File(file) => match self.shared.open_large(&file) {
                    Ok(pass) => {
                        let pass = Arc::new(pass);
                        self.shared.offer_parts(Arc::clone(&pass), 1);
                        (pass, 0)
                    }
                    Err(failure) => {
                        self.shared.put_down();
                        self.shared.settle_large(&file, Err(failure));
                        continue;
                    }
                },
            };
            self.held += 1;
            let range = pass.parts.range(index);
            return Some(Part { pass, index, at: range.start, end: range.end, failure: None });
        }
    }

    fn finish_with(&mut self, part: Part, result: Result<&[u8], &io::Error>) {
        self.held -= 1;
        self.shared.put_down();
        let result = match part.failure {
            Some(failure) => Err(failure),
            None => result.map_err(|error| Failure::new(Reason::IoError, error.to_string())),
        };
        self.shared.finish_part(&part.pass, part.index, result);
    }
}

impl Work for PartsInHand<'_> {
    type Source = Part;

    fn next(&mut self, busy: bool) -> Option<Part> {
        loop {
            let part = self.claim();
            // Files to send may make this thread wait, but a thread that holds parts must not wait.
            if part.is_some() || !busy || self.shared.config.uploads {
                return part;
            }
            // Empty lanes cost more than a pause of the busy ones.
            (self.other)(self.shared.task_for_want_of_parts()?);
        }
    }

    fn finish(&mut self, part: Part, result: io::Result<Digest>) {
        self.finish_with(part, result.as_ref().map(Digest::as_slice));
    }
}

/// One part of a large file. Reading it also copies it if the file must be copied.
pub(crate) struct Part {
    pass: Arc<Pass>,
    index: u32,
    at: u64,
    end: u64,
    /// The failure that ended it, which says more than the error of `read`.
    failure: Option<Failure>,
}

impl Part {
    fn copy(&mut self, slice: &mut [u8]) -> Result<usize, Failure> {
        let length = slice.len().min(usize::try_from(self.end - self.at).unwrap_or(usize::MAX));
        self.pass.copy(&mut slice[..length], self.at)?;
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
