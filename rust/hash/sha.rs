//! SHA-256 and SHA-1. Processors have instructions for them, which the crates use if possible. One stream keeps a core
//! busy, so no lanes are needed.

use std::io::{self, ErrorKind, Read};
use std::sync::atomic::{AtomicBool, Ordering};

use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::{Algorithm, FIRST_LAST, Hash};

/// The bytes in a digest.
pub(super) const SHA256_SIZE: usize = 32;

/// The SHA-256 of bytes in memory.
pub(super) fn sha256(bytes: &[u8]) -> [u8; SHA256_SIZE] {
    Sha256::digest(bytes).into()
}

/// The SHA-256 of a source that is read through the buffer; `stop` ends it between reads.
///
/// # Errors
/// Any error of the source; one of the kind [`ErrorKind::Interrupted`] if it was stopped.
pub fn sha256_of(
    source: &mut impl Read,
    buffer: &mut [u8],
    stop: &AtomicBool,
) -> io::Result<[u8; SHA256_SIZE]> {
    let mut state = Sha256::new();
    loop {
        if stop.load(Ordering::Relaxed) {
            return Err(io::Error::new(ErrorKind::Interrupted, "hashing was stopped"));
        }
        match source.read(buffer) {
            Ok(0) => return Ok(state.finalize().into()),
            Ok(length) => state.update(&buffer[..length]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Hashes a file of `size` bytes from beginning to end. `read` fills a slice with the content at an offset.
///
/// # Errors
/// Any error of `read`.
pub fn whole<E>(
    algorithm: Algorithm,
    size: u64,
    buffer: &mut [u8],
    mut read: impl FnMut(u64, &mut [u8]) -> Result<(), E>,
) -> Result<Hash, E> {
    let mut each = |range: std::ops::Range<u64>, update: &mut dyn FnMut(&[u8])| {
        let mut at = range.start;
        while at < range.end {
            let length = buffer.len().min(usize::try_from(range.end - at).unwrap_or(usize::MAX));
            read(at, &mut buffer[..length])?;
            update(&buffer[..length]);
            at += length as u64;
        }
        Ok(())
    };

    if algorithm == Algorithm::Sha1Fl {
        let (mut first, mut last) = (Sha1::new(), Sha1::new());
        each(0..FIRST_LAST, &mut |bytes| first.update(bytes))?;
        each(size - FIRST_LAST..size, &mut |bytes| last.update(bytes))?;
        let both = Sha1::new().chain_update(first.finalize()).chain_update(last.finalize());
        return Ok(Hash::Sha1Fl(both.finalize().into()));
    }

    let mut state = Sha256::new();
    each(0..size, &mut |bytes| state.update(bytes))?;
    Ok(Hash::Sha256(state.finalize().into()))
}

pub(super) fn of_bytes(data: &[u8], algorithm: Algorithm) -> Hash {
    let mut buffer = vec![0; 64 << 10];
    let copy = |at: u64, slice: &mut [u8]| {
        let start = at as usize;
        slice.copy_from_slice(&data[start..start + slice.len()]);
        Ok::<(), std::convert::Infallible>(())
    };
    let Ok(hash) = whole(algorithm, data.len() as u64, &mut buffer, copy);
    hash
}
