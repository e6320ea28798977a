//! CRC32C (Castagnoli), the checksum that Google Cloud Storage has of every object.
//!
//! The crate uses the instruction of the processor if there is one (docs/design/0012).

/// The CRC32C of content whose first bytes have the CRC32C `before` and whose other bytes are `bytes`.
///
/// `before` is 0 if there are no first bytes.
#[must_use]
pub fn append(before: u32, bytes: &[u8]) -> u32 {
    ::crc32c::crc32c_append(before, bytes)
}

/// The CRC32C of two contents in a row, from the CRC32C of each and the length of the second.
#[must_use]
pub fn combine(first: u32, second: u32, second_length: usize) -> u32 {
    ::crc32c::crc32c_combine(first, second, second_length)
}
