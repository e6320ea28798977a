//! Blocks, padding and digests: the form of messages for backends.

/// The unit MD5 works on: 16 little-endian words.
pub(super) type Block = [u8; 64];

/// A finished MD5.
pub type Digest = [u8; 16];

/// The size of the padded end of a message whose last `end` bytes start at a block.
#[must_use]
pub fn padded(end: usize) -> usize {
    (end + 9).next_multiple_of(size_of::<Block>())
}

/// Pads the message of `length` bytes that ends with `buffer[..end]`: a marker, zeros and the
/// length in bits, up to the end of a block, which is returned.
///
/// `buffer[0]` is the first byte of a block.
///
/// # Panics
/// If there is no room for the padding.
pub fn pad(buffer: &mut [u8], end: usize, length: u64) -> usize {
    let padded = padded(end);
    buffer[end] = 0x80;
    buffer[end + 1..padded - 8].fill(0);
    // RFC 1321 keeps the low 64 bits of the length in bits.
    buffer[padded - 8..padded].copy_from_slice(&length.wrapping_mul(8).to_le_bytes());
    padded
}

/// The padded end of a message, for messages whose bytes must stay as they are.
#[derive(Clone)]
pub(super) struct Tail {
    blocks: [Block; 2],
    start: usize,
    end: usize,
}

impl Tail {
    /// `remainder` is the part after the last whole block of a message of `length` bytes.
    pub(super) fn new(remainder: &[u8], length: usize) -> Self {
        let mut blocks = [[0; 64]; 2];
        let bytes = blocks.as_flattened_mut();
        bytes[..remainder.len()].copy_from_slice(remainder);
        let end = pad(bytes, remainder.len(), length as u64) / 64;
        Self { blocks, start: 0, end }
    }

    pub(super) fn blocks(&self) -> &[Block] {
        &self.blocks[self.start..self.end]
    }

    pub(super) fn consume(&mut self, count: usize) {
        self.start += count;
    }
}
