//! The work of each thread of a scan.

use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, statat};

use crate::batch::Row;
use crate::chunk::Chunk;
use crate::folder::read_folder;
use crate::hash::md5::{Backend, Digest, Streams, md5_padded, pad, padded};
use crate::hash::{Algorithm, PART_SIZE, Parts, whole};
use crate::large::Large;
use crate::listing::Kind;
use crate::memo::Mark;
use crate::outbox::{LARGE, Upload, room};
use crate::outcome::{Failure, Reason, Status};
use crate::parts::PartsInHand;
use crate::read::{ATTEMPTS, Clocks, Opened, Source, changed};
use crate::shared::{Config, Shared, Task};
use crate::stamp::Stamp;
use crate::walk::Walk;
use crate::write::write_object;

/// Files up to this size are read whole, many of them before they are hashed together (measured: docs/design/0005).
const SMALL: u64 = 64 << 10;

/// Files up to this size are read before their size is known. For a larger file, this read is wasted.
const TINY: usize = 16 << 10;

/// The bytes of small files that a thread holds: about the size of a core's cache.
const ARENA: usize = 1 << 20;

/// A thread that has read files of a chunk for so long shares the rest: the files take milliseconds, not microseconds.
const LONG: Duration = Duration::from_millis(2);

/// Messages start at a cache line, so that each block is in one line.
const LINE: usize = 64;

/// The bytes of larger files to send in memory: a few of the largest, which are hashed at the same time.
const IN_MEMORY: usize = 4 * PART_SIZE as usize;

/// Works until the scan ends. A panic ends the whole scan.
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
    /// The bytes of files with their own buffers.
    in_memory: usize,
    /// Files that are read whole and not hashed yet.
    whole: Vec<Whole>,
    /// Files up to this size are read when they are opened.
    tiny: usize,
    clocks: Clocks,
    backend: Backend,
    /// Created when it is needed, as its buffers take 2 MiB.
    streams: Option<Streams>,
}

/// A file in memory.
struct Whole {
    index: usize,
    place: Place,
    parts: Parts,
    mark: Option<Mark>,
}

impl Whole {
    /// Its content and the padding.
    fn message<'a>(&'a self, arena: &'a [u8]) -> &'a [u8] {
        match &self.place {
            Place::Arena(start) => &arena[*start..][..padded(self.parts.size as usize)],
            Place::Own(buffer) => buffer,
        }
    }
}

enum Place {
    /// In the arena from this offset on.
    Arena(usize),
    /// In a separate buffer.
    Own(Vec<u8>),
}

/// The folder whose files a thread opens.
struct OpenFolder {
    number: u32,
    folder: Result<OwnedFd, Failure>,
}

impl<'a> Worker<'a> {
    fn new(shared: &'a Shared, backend: Backend) -> Self {
        let Config { algorithm, uploads, .. } = shared.config;
        let arena = vec![0; ARENA].into_boxed_slice();
        let is_one_part = algorithm.parts(TINY as u64).is_some_and(|parts| parts.count == 1);
        Self {
            shared,
            // Files to send need room before they are read.
            tiny: if is_one_part && !uploads { TINY } else { 0 },
            clocks: Clocks::default(),
            used: arena.as_ptr().align_offset(LINE),
            arena,
            in_memory: 0,
            whole: Vec::new(),
            backend,
            streams: None,
        }
    }

    fn run(&mut self, task: Task) {
        let shared = self.shared;
        match task {
            Task::Parts => self.hash_parts(),
            Task::Chunk(chunk, files) => self.read_chunk(&chunk, files),
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

    fn read_chunk(&mut self, chunk: &Arc<Chunk>, mut files: Range<usize>) {
        let mut folder = None;
        let mut began = Instant::now();
        while let Some(index) = files.next() {
            let item = &chunk.items[index];
            if self.shared.is_stopped() {
                return;
            }
            if let Some(outcome) = item.unread() {
                self.shared.settle(chunk, index, outcome);
            } else if let Err(failure) = self.read_file(chunk, index, &mut folder) {
                self.shared.settle(chunk, index, Err(failure));
            }
            if began.elapsed() > LONG {
                self.shared.leave_half(chunk, &mut files);
                began = Instant::now();
            }
        }
        self.hash_whole(chunk);
    }

    fn read_file(
        &mut self,
        chunk: &Arc<Chunk>,
        index: usize,
        folder: &mut Option<OpenFolder>,
    ) -> Result<(), Failure> {
        let ordinal = chunk.items[index].ordinal as usize;
        let opened = match chunk.listing.kind(ordinal) {
            Kind::Linked => Opened::Unread(chunk.open(self.shared.config.root(), index, None)?),
            kind => {
                let (folder, name) = (self.open_folder(chunk, ordinal, folder)?, chunk.listing.name(ordinal));
                if let Some(row) = self.recall(chunk, index, folder, name, kind) {
                    self.shared.settle(chunk, index, Ok(row));
                    return Ok(());
                }
                match self.tiny {
                    0 => {
                        let (expected, memo) = (chunk.listing.stamp(ordinal), self.shared.config.memo());
                        Opened::Unread(Source::open(folder, name, kind, expected, memo)?)
                    }
                    _ => self.open_or_read(chunk, index, folder, name, kind)?,
                }
            }
        };
        let Opened::Unread(mut source) = opened else { return Ok(()) };
        for _ in 0..ATTEMPTS {
            let size = source.size();
            let read = match self.shared.config.algorithm.parts(size) {
                Some(parts) if parts.count == 1 && size <= SMALL => {
                    self.read_small(chunk, index, &source, parts)?
                }
                Some(parts) if self.shared.config.uploads && size < PART_SIZE => {
                    self.read_to_send(chunk, index, &source, parts)?
                }
                Some(parts) => {
                    self.leave_large(chunk, index, source, parts)?;
                    return Ok(());
                }
                None => match self.read_through(chunk, index, &source)? {
                    Some(row) => {
                        self.shared.settle(chunk, index, Ok(row));
                        true
                    }
                    None => false,
                },
            };
            if read {
                return Ok(());
            }
            source = source.again()?;
        }
        Err(changed())
    }

    /// The row of a file, if its hash is remembered and it need not be read.
    fn recall(
        &self,
        chunk: &Chunk,
        index: usize,
        folder: BorrowedFd<'_>,
        name: &[u8],
        kind: Kind,
    ) -> Option<Row> {
        let config = &self.shared.config;
        let memo = config.memo().filter(|memo| !chunk.items[index].must_read && !memo.knows_nothing())?;
        let links = if kind == Kind::Unseen { AtFlags::empty() } else { AtFlags::SYMLINK_NOFOLLOW };
        let stat = statat(folder, name, links).ok()?;
        let expected = chunk.listing.stamp(chunk.items[index].ordinal as usize);
        if expected.is_some_and(|expected| expected != Stamp::new(&stat)) {
            return None;
        }
        let (size, hash) = memo.recall(folder, &stat)?;
        // A file that is not the staged one is read: that gives the reason.
        let row = chunk.items[index].read(size, hash).ok()?;
        (row.status == Status::Unchanged || !config.stores()).then_some(row)
    }

    /// Opens a file. If it is tiny, also reads it into the arena.
    fn open_or_read(
        &mut self,
        chunk: &Arc<Chunk>,
        index: usize,
        folder: BorrowedFd<'_>,
        name: &[u8],
        kind: Kind,
    ) -> Result<Opened, Failure> {
        if self.used + padded(self.tiny) > self.arena.len() {
            self.hash_whole(chunk);
        }
        let start = self.used;
        let buffer = &mut self.arena[start..=start + self.tiny];
        let expected = chunk.listing.stamp(chunk.items[index].ordinal as usize);
        let (clocks, memo) = (&mut self.clocks, self.shared.config.memo());
        let opened = Source::open_or_read(folder, name, kind, expected, buffer, clocks, memo)?;
        if let Opened::Read(size, mark) = opened
            && let Some(parts) = self.shared.config.algorithm.parts(size as u64)
        {
            self.used += pad(&mut self.arena[start..], size, parts.size);
            self.whole.push(Whole { index, place: Place::Arena(start), parts, mark });
        }
        Ok(opened)
    }

    /// The descriptor of the folder of a file; adjacent files share it.
    fn open_folder<'f>(
        &self,
        chunk: &Chunk,
        ordinal: usize,
        open: &'f mut Option<OpenFolder>,
    ) -> Result<BorrowedFd<'f>, Failure> {
        let (number, _) = chunk.listing.folder(ordinal);
        let open = match open.take_if(|open| open.number == number) {
            Some(same) => open.insert(same),
            None => {
                let folder = chunk.open_folder(self.shared.config.root(), ordinal);
                open.insert(OpenFolder { number, folder })
            }
        };
        open.folder.as_ref().map(AsFd::as_fd).map_err(Failure::clone)
    }

    /// Reads a small file into the arena. Returns false if it changed meanwhile.
    fn read_small(
        &mut self,
        chunk: &Arc<Chunk>,
        index: usize,
        source: &Source,
        parts: Parts,
    ) -> Result<bool, Failure> {
        let size = parts.size as usize;
        if self.used + padded(size) > self.arena.len() {
            self.hash_whole(chunk);
        }
        self.make_room(chunk, room(parts.size))?;
        let start = self.used;
        let read = source.read_whole(&mut self.arena[start..=start + size]);
        if !self.was_read(parts, read)? {
            return Ok(false);
        }
        self.whole.push(Whole { index, place: Place::Arena(start), parts, mark: source.mark() });
        self.used += pad(&mut self.arena[start..], size, parts.size);
        Ok(true)
    }

    /// Reads a file into a separate buffer, as it may have to be sent. Returns false if it changed meanwhile.
    fn read_to_send(
        &mut self,
        chunk: &Arc<Chunk>,
        index: usize,
        source: &Source,
        parts: Parts,
    ) -> Result<bool, Failure> {
        self.make_room(chunk, room(parts.size))?;
        let size = parts.size as usize;
        let mut buffer = vec![0; padded(size)];
        let read = source.read_whole(&mut buffer[..=size]);
        if !self.was_read(parts, read)? {
            return Ok(false);
        }
        pad(&mut buffer, size, parts.size);
        self.in_memory += buffer.len();
        self.whole.push(Whole { index, place: Place::Own(buffer), parts, mark: source.mark() });
        if self.in_memory >= IN_MEMORY {
            self.hash_whole(chunk);
        }
        Ok(true)
    }

    /// Frees the room of a file that was not read.
    fn was_read(&self, parts: Parts, read: Result<bool, Failure>) -> Result<bool, Failure> {
        if self.shared.config.uploads && !matches!(read, Ok(true)) {
            self.shared.update(|state| state.outbox.release(room(parts.size)));
        }
        read
    }

    /// Reserves room in memory for a file that may be sent.
    fn make_room(&mut self, chunk: &Arc<Chunk>, bytes: u64) -> Result<(), Failure> {
        if !self.shared.config.uploads || self.shared.lock().outbox.reserve(bytes) {
            return Ok(());
        }
        // A thread that waits for room must not hold any.
        self.hash_whole(chunk);
        self.hash_parts();
        if self.shared.wait_for_room(bytes) { Ok(()) } else { Err(stopped()) }
    }

    /// Hashes files in memory, and writes or sends the new ones.
    fn hash_whole(&mut self, chunk: &Arc<Chunk>) {
        let messages: Vec<&[u8]> = self.whole.iter().map(|file| file.message(&self.arena)).collect();
        let mut digests = vec![Digest::default(); messages.len()];
        md5_padded(self.backend, &messages, &mut digests);

        let mut uploads = Vec::new();
        let mut unused = 0;
        for ((file, message), digest) in self.whole.iter().zip(messages).zip(digests) {
            let content = &message[..file.parts.size as usize];
            let hash = file.parts.hash(&digest);
            self.shared.remember(chunk, file.index, file.mark, &hash);
            let outcome = chunk.items[file.index].read(file.parts.size, hash);
            let outcome = match outcome {
                Ok(row) if row.status == Status::Unchanged => Ok(row),
                Ok(row) if self.shared.config.uploads => {
                    uploads.push(Upload::of_memory(chunk, file.index, content, row));
                    continue;
                }
                Ok(row) => self.write(chunk, file.index, content).map(|()| row),
                failed => failed,
            };
            unused += room(file.parts.size);
            self.shared.settle(chunk, file.index, outcome);
        }
        if self.shared.config.uploads && !self.whole.is_empty() {
            self.shared.update(|state| {
                state.outbox.release(unused);
                state.outbox.put(uploads);
            });
        }
        self.whole.clear();
        self.used = self.arena.as_ptr().align_offset(LINE);
        self.in_memory = 0;
    }

    /// Writes an object, if objects are written.
    fn write(&self, chunk: &Chunk, index: usize, content: &[u8]) -> Result<(), Failure> {
        let Some(destination) = &self.shared.config.destination else { return Ok(()) };
        write_object(destination, &self.shared.object_name(chunk, index), content)
    }

    /// Leaves a large file to a free thread, or to the caller that sends it.
    fn leave_large(
        &mut self,
        chunk: &Arc<Chunk>,
        index: usize,
        source: Source,
        parts: Parts,
    ) -> Result<(), Failure> {
        self.make_room(chunk, LARGE)?;
        if self.shared.config.uploads && chunk.items[index].is_surely_new(parts.size) {
            let upload = Upload::of_file(chunk, index, source, parts);
            self.shared.update(|state| state.outbox.put([upload]));
        } else {
            self.shared.offer([Large { chunk: Arc::clone(chunk), index, parts: parts.count as usize }]);
        }
        Ok(())
    }

    /// Hashes parts of large files that any thread has found, until there are no more.
    fn hash_parts(&mut self) {
        let shared = self.shared;
        if let Algorithm::Sha256Parts { .. } = shared.config.algorithm {
            // Small files are also read through the arena, but never kept in it.
            PartsInHand::new(shared, &mut |_| {}).run_sha256(&mut self.arena);
        } else {
            let mut streams = self.streams.take().unwrap_or_else(|| Streams::new(self.backend));
            let mut other = |task| self.run(task);
            streams.run(&mut PartsInHand::new(shared, &mut other), &shared.stopped);
            self.streams = Some(streams);
        }
        // With its last part, a stopped file removes its partial copy.
        if shared.is_stopped() {
            PartsInHand::new(shared, &mut |_| {}).give_up();
        }
    }

    /// Hashes a file from beginning to end; None if it changed meanwhile.
    fn read_through(
        &mut self,
        chunk: &Arc<Chunk>,
        index: usize,
        source: &Source,
    ) -> Result<Option<Row>, Failure> {
        let size = source.size();
        self.hash_whole(chunk);
        let hash = whole(self.shared.config.algorithm, size, &mut self.arena, |offset, slice| {
            if self.shared.is_stopped() {
                return Err(stopped());
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

fn stopped() -> Failure {
    Failure::new(Reason::IoError, "the scan was stopped")
}
