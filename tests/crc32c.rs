//! The CRC32C against its definition, bit by bit.

use inhaul_core::hash::crc32c::{append, combine};
use proptest::prelude::*;

/// The polynomial of Castagnoli; the lowest bit is its highest power.
const POLYNOMIAL: u32 = 0x82f6_3b78;

fn expected(bytes: &[u8]) -> u32 {
    let bits = bytes.iter().flat_map(|byte| (0..8).map(move |bit| u32::from(byte >> bit & 1)));
    !bits.fold(!0, |crc, bit| (crc >> 1) ^ if (crc ^ bit) & 1 == 1 { POLYNOMIAL } else { 0 })
}

/// Bytes that repeat after a prime number of them, so that swapped words cannot cancel out.
fn pattern(length: usize) -> Vec<u8> {
    (0..251).cycle().take(length).collect()
}

/// RFC 3720, B.4, where the bytes of a CRC are in the order in which they are sent.
#[test]
fn the_examples_of_the_rfc() {
    let read_10 = [
        0x01, 0xc0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x14, 0, 0, 0, 0, 0, 0x04, 0, 0, 0, 0, 0x14, 0,
        0, 0, 0x18, 0x28, 0, 0, 0, 0, 0, 0, 0, 0x02, 0, 0, 0, 0, 0, 0, 0,
    ];
    let up: Vec<u8> = (0..32).collect();
    let down: Vec<u8> = (0..32).rev().collect();
    for (message, crc) in [
        (&[0; 32][..], [0xaa, 0x36, 0x91, 0x8a]),
        (&[0xff; 32], [0x43, 0xab, 0xa8, 0x62]),
        (&up, [0x4e, 0x79, 0xdd, 0x46]),
        (&down, [0x5c, 0xdb, 0x3f, 0x11]),
        (&read_10, [0x56, 0x3a, 0x96, 0xd9]),
    ] {
        assert_eq!(append(0, message).to_le_bytes(), crc);
        assert_eq!(expected(message).to_le_bytes(), crc);
    }
    assert_eq!(append(0, b"123456789"), 0xe306_9283);
    assert_eq!(append(0, b""), 0);
}

#[test]
fn every_length() {
    let bytes = pattern(4200);
    for length in 0..=bytes.len() {
        assert_eq!(append(0, &bytes[..length]), expected(&bytes[..length]), "{length} bytes");
    }
}

#[test]
fn every_misalignment() {
    let bytes = pattern(30_000);
    for start in 0..64 {
        assert_eq!(append(0, &bytes[start..]), expected(&bytes[start..]), "from {start} on");
    }
}

/// The second content is all zeros, of each length that has one bit set.
#[test]
fn combining_at_lengths_that_no_memory_holds() {
    let (mut zeros, mut both) = (append(0, &[0]), append(0, b"a\0"));
    for length in (0..usize::BITS - 1).map(|bit| 1 << bit) {
        assert_eq!(combine(append(0, b"a"), zeros, length), both, "{length} bytes");
        (zeros, both) = (combine(zeros, zeros, length), combine(both, zeros, length));
    }
}

proptest! {
    #[test]
    fn parts_at_random_places_make_the_whole(
        length in 0..100_000_usize,
        start in 0..64_usize,
        salt: u8,
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..10),
    ) {
        let bytes: Vec<u8> = pattern(start + length).iter().map(|byte| byte ^ salt).collect();
        let bytes = &bytes[start..];
        let mut places: Vec<_> = cuts.iter().map(|cut| cut.index(length + 1)).collect();
        places.extend([0, length]);
        places.sort_unstable();
        let parts = places.windows(2).map(|ends| &bytes[ends[0]..ends[1]]);
        let whole = expected(bytes);
        prop_assert_eq!(append(0, bytes), whole);
        prop_assert_eq!(parts.clone().fold(0, append), whole);
        prop_assert_eq!(parts.fold(0, |crc, part| combine(crc, append(0, part), part.len())), whole);
    }
}
