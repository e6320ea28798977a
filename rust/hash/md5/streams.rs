//! MD5 of many sources at once, each read slice by slice into the buffer of its lane.

use std::io::{self, ErrorKind, Read};
use std::sync::atomic::{AtomicBool, Ordering};

use super::backend::Backend;
use super::block::{Block, Digest, pad};
use super::lanes::{Lane, advance, remove};
use super::state::State;

/// The bytes that a lane reads before it is hashed. Half of that costs a tenth of the speed in system
/// calls; twice as much gains almost nothing.
pub const SLICE: usize = 64 * 1024;

/// The sources for [`Streams::run`], and the receiver of the digests.
pub trait Work {
    /// A readable source, such as a file or a part of one, that also knows its identity.
    ///
    /// It is read until it returns 0 bytes. A source that knows its size saves a system call if it
    /// returns 0 itself. A source that writes the bytes it reads is copied while it is hashed.
    type Source: Read;

    /// The next source, or `None` if there is none for now.
    ///
    /// While other sources are hashed (`busy`), it must not wait for the next source: it is called
    /// again soon. Otherwise it may wait, and `None` ends the run.
    fn next(&mut self, busy: bool) -> Option<Self::Source>;

    /// Takes back a source, with the digest of all its bytes or the error that ended it.
    ///
    /// Each source that `next` returned comes back once, in the order in which they end. If the run
    /// was stopped, the error has the kind [`ErrorKind::Interrupted`].
    fn finish(&mut self, source: Self::Source, result: io::Result<Digest>);
}

/// The buffers of one thread's lanes.
pub struct Streams {
    backend: Backend,
    buffers: Vec<Buffer>,
}

impl Streams {
    /// Allocates a buffer of [`SLICE`] bytes for each lane of `backend`.
    #[must_use]
    pub fn new(backend: Backend) -> Self {
        Self { backend, buffers: vec![Buffer::new(); backend.lanes()] }
    }

    /// Hashes all sources of `work`. A lane whose source ends takes the next one at once.
    ///
    /// `stop` is checked before each slice is read. Once it is set, sources that are not finished
    /// fail, and no more are taken.
    pub fn run(&mut self, work: &mut impl Work, stop: &AtomicBool) {
        let mut buffers: Vec<_> = self.buffers.iter_mut().collect();
        let mut streams = Vec::with_capacity(buffers.len());
        let mut state = State::new();
        loop {
            while !stop.load(Ordering::Relaxed)
                && let Some(buffer) = buffers.pop()
            {
                let Some(source) = work.next(!streams.is_empty()) else {
                    buffers.push(buffer);
                    break;
                };
                let mut stream = Stream::new(source, buffer);
                match stream.fill(stop) {
                    Ok(()) => {
                        state.start(streams.len());
                        streams.push(stream);
                    }
                    Err(error) => {
                        buffers.push(stream.buffer);
                        work.finish(stream.source, Err(error));
                    }
                }
            }
            if streams.is_empty() {
                return;
            }
            advance(self.backend, &mut state, &mut streams);
            for lane in (0..streams.len()).rev() {
                let Some(result) = streams[lane].next_slice(stop, || state.digest(lane)) else {
                    continue;
                };
                let stream = remove(&mut state, &mut streams, lane);
                buffers.push(stream.buffer);
                work.finish(stream.source, result);
            }
        }
    }
}

/// Room for the padding of a full slice. It also shifts the buffers: if all of them started at the
/// same offset in a page, they would compete for the same few cache lines.
const MARGIN: usize = 3 * 64;

/// A slice and its padding.
#[derive(Clone)]
#[repr(align(64))]
struct Buffer([u8; SLICE + MARGIN]);

impl Buffer {
    fn new() -> Self {
        Self([0; SLICE + MARGIN])
    }
}

/// A source in a lane.
struct Stream<'a, R> {
    source: R,
    buffer: &'a mut Buffer,
    /// The start of the part of the buffer that is not hashed yet, in whole blocks.
    start: usize,
    end: usize,
    /// Bytes read so far.
    length: u64,
    ended: bool,
}

impl<'a, R: Read> Stream<'a, R> {
    fn new(source: R, buffer: &'a mut Buffer) -> Self {
        Self { source, buffer, start: 0, end: 0, length: 0, ended: false }
    }

    /// Ensures that blocks are pending. Returns the result if the source is at its end.
    fn next_slice(
        &mut self,
        stop: &AtomicBool,
        digest: impl FnOnce() -> Digest,
    ) -> Option<io::Result<Digest>> {
        if self.start < self.end {
            None
        } else if self.ended {
            Some(Ok(digest()))
        } else {
            self.fill(stop).err().map(Err)
        }
    }

    /// Reads a whole slice, or reads and pads the rest of the source.
    fn fill(&mut self, stop: &AtomicBool) -> io::Result<()> {
        let mut filled = 0;
        while filled < SLICE && !self.ended {
            if stop.load(Ordering::Relaxed) {
                return Err(io::Error::new(ErrorKind::Interrupted, "hashing was stopped"));
            }
            match self.source.read(&mut self.buffer.0[filled..SLICE]) {
                Ok(0) => self.ended = true,
                Ok(count) if count > SLICE - filled => {
                    return Err(io::Error::other("a source returned more than it was asked for"));
                }
                Ok(count) => filled += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.length += filled as u64;
        self.start = 0;
        self.end = if self.ended { pad(&mut self.buffer.0, filled, self.length) } else { filled };
        Ok(())
    }
}

impl<R> Lane for Stream<'_, R> {
    fn pending(&self) -> &[Block] {
        self.buffer.0[self.start..self.end].as_chunks().0
    }

    fn consume(&mut self, count: usize) {
        self.start += count * size_of::<Block>();
    }
}
