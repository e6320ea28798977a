//! What each thread of a scan does.

use std::io::ErrorKind;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::batch::Row;
use crate::chunk::Chunk;
use crate::copy::write_object;
use crate::folder::read_folder;
use crate::hash::md5::{Backend, Digest, Streams, Work as _, md5_many};
use crate::hash::{Parts, whole};
use crate::parts::{Job, PartsInHand, changed};
use crate::read::{ATTEMPTS, Source, open_folder};
use crate::record::{Failure, Reason, Status};
use crate::shared::{Shared, Task};
use crate::walk::Walk;

/// Files up to this size are read whole, many of them before they are hashed together.
const SMALL: u64 = 128 << 10;

/// Bytes of small files in hand: about what stays in a core's own cache.
const ARENA: usize = 1 << 20;

/// Works until the scan ends. A panic ends it for all.
pub(crate) fn run(shared: &Shared, backend: Backend) {
    let result = catch_unwind(AssertUnwindSafe(|| {
        let mut worker = Worker::new(shared, backend);
        while let Some(task) = shared.next_task() {
            worker.run(task);
        }
    }));
    if let Err(payload) = result {
        let message = payload.downcast_ref::<String>().map(String::as_str);
        let message = message.or_else(|| payload.downcast_ref::<&str>().copied());
        shared.panicked(message.unwrap_or("no message").to_owned());
    }
}

struct Worker<'a> {
    shared: &'a Shared,
    arena: Box<[u8]>,
    used: usize,
    /// Files in the arena.
    small: Vec<Small>,
    /// Large files that were opened and not yet offered to the others.
    large: Vec<Arc<Job>>,
    backend: Backend,
    /// Made when there is something for it: its buffers take 2 MiB.
    streams: Option<Streams>,
}

struct Small {
    index: usize,
    start: usize,
    parts: Parts,
}

/// The folder whose files a thread is opening.
struct OpenFolder {
    number: u32,
    folder: Result<OwnedFd, Errno>,
}

impl<'a> Worker<'a> {
    fn new(shared: &'a Shared, backend: Backend) -> Self {
        Self {
            shared,
            arena: vec![0; ARENA].into(),
            used: 0,
            small: Vec::new(),
            large: Vec::new(),
            backend,
            streams: None,
        }
    }

    fn run(&mut self, task: Task) {
        let shared = self.shared;
        match task {
            Task::Parts => self.hash_parts(),
            Task::Chunk(chunk) => self.read_chunk(&chunk),
            Task::Emit(emitter) => {
                let tree = shared.lock().walk.as_ref().map(Walk::tree);
                if let Some(tree) = tree {
                    emitter.run(&tree, |change| {
                        shared.update(|state| state.walk.as_mut().into_iter().for_each(&mut *change));
                    });
                }
            }
            Task::Folder(path, visit) => {
                let tree = shared.lock().walk.as_ref().map(Walk::tree);
                if let Some(tree) = tree {
                    let folder = read_folder(&tree, &path, &visit);
                    shared.update(|state| {
                        if let Some(walk) = &mut state.walk {
                            walk.was_read(path, folder);
                        }
                    });
                }
            }
        }
    }

    fn read_chunk(&mut self, chunk: &Arc<Chunk>) {
        let mut folder = None;
        for (index, item) in chunk.items.iter().enumerate() {
            if self.shared.is_stopped() {
                return;
            }
            if let Some(outcome) = item.unread() {
                self.shared.settle(chunk, index, outcome);
            } else if let Err(failure) = self.read_file(chunk, index, &mut folder) {
                self.shared.settle(chunk, index, Err(failure));
            }
        }
        self.hash_small(chunk);
        self.offer_large();
    }

    fn read_file(
        &mut self,
        chunk: &Arc<Chunk>,
        index: usize,
        folder: &mut Option<OpenFolder>,
    ) -> Result<(), Failure> {
        let ordinal = chunk.items[index].ordinal as usize;
        let folder = self.open_folder(chunk, ordinal, folder)?;
        let mut source = Source::open(folder, chunk.listing.name(ordinal), chunk.listing.kind(ordinal))?;
        for _ in 0..ATTEMPTS {
            let size = source.size();
            match self.shared.config.algorithm.parts(size) {
                Some(parts) if parts.count == 1 && size <= SMALL => {
                    if self.read_small(chunk, index, &source, parts)? {
                        return Ok(());
                    }
                }
                Some(_) => {
                    self.large.push(Arc::new(Job::start(self.shared, chunk, index, source)?));
                    let parts: usize = self.large.iter().map(|job| job.parts.count as usize).sum();
                    if parts >= self.backend.lanes() {
                        self.offer_large();
                        // Before more is opened, so that few files are open at once.
                        self.hash_parts();
                    }
                    return Ok(());
                }
                None => {
                    if let Some(row) = self.read_through(chunk, index, &source)? {
                        self.shared.settle(chunk, index, Ok(row));
                        return Ok(());
                    }
                }
            }
            source = source.again()?;
        }
        Err(changed())
    }

    /// The descriptor of a file's folder; neighbours share it.
    fn open_folder<'f>(
        &self,
        chunk: &Chunk,
        ordinal: usize,
        open: &'f mut Option<OpenFolder>,
    ) -> Result<BorrowedFd<'f>, Failure> {
        let (number, path) = chunk.listing.folder(ordinal);
        let open = match open.take_if(|open| open.number == number) {
            Some(same) => open.insert(same),
            None => {
                // Only to find files from: that takes no right to read the folder.
                let follow = chunk.listing.naming.follow_symlinks;
                let folder = open_folder(self.shared.config.root(), path, OFlags::PATH, follow);
                open.insert(OpenFolder { number, folder })
            }
        };
        open.folder.as_ref().map(AsFd::as_fd).map_err(|&errno| Failure::reading(errno))
    }

    /// Reads a small file into the arena; false when it changed meanwhile.
    fn read_small(
        &mut self,
        chunk: &Arc<Chunk>,
        index: usize,
        source: &Source,
        parts: Parts,
    ) -> Result<bool, Failure> {
        let size = parts.size as usize;
        if self.used + size + 1 > self.arena.len() {
            self.hash_small(chunk);
        }
        let start = self.used;
        if !source.read_whole(&mut self.arena[start..=start + size])? {
            return Ok(false);
        }
        self.small.push(Small { index, start, parts });
        self.used += size;
        Ok(true)
    }

    /// Hashes what is in the arena, and writes from there what has to be copied.
    fn hash_small(&mut self, chunk: &Chunk) {
        let content = |file: &Small| &self.arena[file.start..file.start + file.parts.size as usize];
        let contents: Vec<&[u8]> = self.small.iter().map(content).collect();
        let mut digests = vec![Digest::default(); contents.len()];
        md5_many(self.backend, &contents, &mut digests);

        for ((file, content), digest) in self.small.iter().zip(contents).zip(digests) {
            let hash = file.parts.hash(&[digest]);
            let outcome = chunk.items[file.index].read(file.parts.size, hash);
            let outcome = outcome.and_then(|row| {
                if let Some(destination) = &self.shared.config.destination
                    && row.status != Status::Unchanged
                {
                    write_object(destination, &self.shared.object_name(chunk, file.index), content)?;
                }
                Ok(row)
            });
            self.shared.settle(chunk, file.index, outcome);
        }
        self.small.clear();
        self.used = 0;
    }

    /// Hashes parts of large files, whoever opened them, as long as there are any.
    fn hash_parts(&mut self) {
        let streams = self.streams.get_or_insert_with(|| Streams::new(self.backend));
        let mut parts = PartsInHand::new(self.shared);
        streams.run(&mut parts, &self.shared.stopped);
        // With its last part, a file that was stopped removes what was copied of it.
        while self.shared.is_stopped()
            && let Some(part) = parts.next(false)
        {
            parts.finish(part, Err(ErrorKind::Interrupted.into()));
        }
    }

    fn offer_large(&mut self) {
        if !self.large.is_empty() {
            self.shared.publish(self.large.drain(..));
        }
    }

    /// Hashes a file from one end to the other; None when it changed meanwhile.
    fn read_through(&mut self, chunk: &Chunk, index: usize, source: &Source) -> Result<Option<Row>, Failure> {
        let size = source.size();
        self.hash_small(chunk);
        let hash = whole(self.shared.config.algorithm, size, &mut self.arena, |offset, slice| {
            if self.shared.is_stopped() {
                return Err(Failure::new(Reason::IoError, "the scan was stopped"));
            }
            if source.read(slice, offset)? < slice.len() { Err(changed()) } else { Ok(()) }
        });
        match hash {
            Err(failure) if failure.reason == Reason::Changed => Ok(None),
            hash => {
                let hash = hash?;
                let held_still = source.held_still()?;
                held_still.then(|| chunk.items[index].read(size, hash)).transpose()
            }
        }
    }
}
