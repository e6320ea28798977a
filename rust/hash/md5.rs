//! MD5 (RFC 1321) of many messages at once. This backend is one lane of plain code.

use md5::{Digest as _, Md5};

/// A finished MD5.
pub type Digest = [u8; 16];

/// How much is read from one source at a time.
pub const SLICE: usize = 256 << 10;

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

/// Messages that are too long for memory, handed out one after the other and read piece by piece.
pub trait Work {
    /// One message.
    type Source;

    /// The next message to hash, None when there is none now.
    fn next(&mut self) -> Option<Self::Source>;

    /// Fills the start of `slice` with the next bytes of the message. All but the last piece of a
    /// message fill it; one that does not ends the message.
    fn read(&mut self, source: &mut Self::Source, slice: &mut [u8]) -> usize;

    /// Takes the digest of a message that ended.
    fn finish(&mut self, source: Self::Source, digest: Digest);
}

/// Hashes messages that advance side by side.
pub struct Streams {
    slice: Box<[u8]>,
}

impl Default for Streams {
    fn default() -> Self {
        Self { slice: vec![0; SLICE].into() }
    }
}

impl Streams {
    /// How many messages are in hand at once.
    pub const LANES: usize = 1;

    /// Hashes until the work gives no more messages.
    pub fn run(&mut self, work: &mut impl Work) {
        while let Some(mut source) = work.next() {
            let mut state = Md5::new();
            loop {
                let length = work.read(&mut source, &mut self.slice);
                state.update(&self.slice[..length]);
                if length < self.slice.len() {
                    break;
                }
            }
            work.finish(source, state.finalize().into());
        }
    }
}
