//! The chaining values of all lanes, in the layout of the vector registers.

use super::block::Digest;

/// The most lanes a backend may have.
pub(super) const MAX_LANES: usize = 32;

/// The initial state of MD5 (RFC 1321, section 3.3).
pub(super) const INITIAL: [u32; 4] = [0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476];

/// One row for each of the words `a`, `b`, `c` and `d`, one column for each lane.
#[derive(Clone)]
#[repr(align(64))]
pub(super) struct State(pub(super) [[u32; MAX_LANES]; 4]);

impl State {
    pub(super) fn new() -> Self {
        Self(INITIAL.map(|word| [word; MAX_LANES]))
    }

    pub(super) fn lane(&self, lane: usize) -> [u32; 4] {
        self.0.map(|row| row[lane])
    }

    pub(super) fn set_lane(&mut self, lane: usize, words: [u32; 4]) {
        for (row, word) in self.0.iter_mut().zip(words) {
            row[lane] = word;
        }
    }

    /// Resets `lane` for a new message.
    pub(super) fn start(&mut self, lane: usize) {
        self.set_lane(lane, INITIAL);
    }

    /// The digest of the message that ended in `lane`.
    pub(super) fn digest(&self, lane: usize) -> Digest {
        digest(self.lane(lane))
    }
}

/// The words of a state as the bytes of a digest.
pub(super) fn digest(words: [u32; 4]) -> Digest {
    let mut digest = [0; 16];
    for (bytes, word) in digest.chunks_exact_mut(4).zip(words) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    digest
}
