//! MD5 (RFC 1321) of many messages at once. This backend is one lane of plain code.

use std::io::{self, ErrorKind, Read};
use std::sync::atomic::{AtomicBool, Ordering};

use md5::{Digest as _, Md5};

/// A finished MD5.
pub type Digest = [u8; 16];

/// Bytes that are read from one source at a time.
pub const SLICE: usize = 64 << 10;

/// The MD5 of one message.
#[must_use]
pub fn md5(message: &[u8]) -> Digest {
    Md5::digest(message).into()
}

/// The MD5s of messages, in order.
pub fn md5_many(messages: &[&[u8]], digests: &mut [Digest]) {
    for (message, digest) in messages.iter().zip(digests) {
        *digest = md5(message);
    }
}

/// What [`Streams::run`] hashes, and who learns the digests.
pub trait Work {
    /// Whatever can be read, and knows by itself what it is. It is read until it gives 0 bytes.
    type Source: Read;

    /// The next source, `None` if there is none for now; while others are being hashed (`busy`) it
    /// does not wait for one.
    fn next(&mut self, busy: bool) -> Option<Self::Source>;

    /// Takes back a source, with the digest of all its bytes or the error that ended it.
    fn finish(&mut self, source: Self::Source, result: io::Result<Digest>);
}

/// The buffers of one thread.
pub struct Streams {
    slice: Box<[u8]>,
}

impl Default for Streams {
    fn default() -> Self {
        Self { slice: vec![0; SLICE].into() }
    }
}

impl Streams {
    /// How many sources are read side by side.
    #[must_use]
    pub fn lanes(&self) -> usize {
        1
    }

    /// Hashes all sources of `work`; once `stop` is set, those that are not at their end fail.
    pub fn run(&mut self, work: &mut impl Work, stop: &AtomicBool) {
        while let Some(mut source) = work.next(false) {
            let result = self.hash(&mut source, stop);
            work.finish(source, result);
        }
    }

    fn hash(&mut self, source: &mut impl Read, stop: &AtomicBool) -> io::Result<Digest> {
        let mut state = Md5::new();
        loop {
            if stop.load(Ordering::Relaxed) {
                return Err(ErrorKind::Interrupted.into());
            }
            match source.read(&mut self.slice)? {
                0 => return Ok(state.finalize().into()),
                length => state.update(&self.slice[..length]),
            }
        }
    }
}
