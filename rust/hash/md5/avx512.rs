//! AVX-512: groups of 16 lanes.
#![expect(unsafe_code, reason = "loads from and stores to pointers")]

use std::arch::x86_64::*;

use super::backend::Kernel;
use super::block::Block;
use super::rounds::{SINES, word};
use super::state::State;

pub(super) const KERNEL: Kernel = Kernel {
    name: "avx512",
    group: LANES,
    groups: 2,
    min_lanes: 2,
    is_available: || is_x86_feature_detected!("avx512f"),
    compress,
};

const LANES: usize = 16;

/// How many blocks ahead to prefetch: the processor's own prefetchers cannot follow 32 streams.
/// Without this, data outside the L2 cache is hashed at half the speed.
const PREFETCH: usize = 4;

type Vector = __m512i;

vector_kernel!("avx512f");

#[inline]
#[target_feature(enable = "avx512f")]
fn load(words: &[u32; LANES]) -> Vector {
    // SAFETY: the array is as large as the vector; no alignment is needed.
    unsafe { _mm512_loadu_si512(words.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn store(words: &mut [u32; LANES], vector: Vector) {
    // SAFETY: the array is as large as the vector; no alignment is needed.
    unsafe { _mm512_storeu_si512(words.as_mut_ptr().cast(), vector) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load_block(block: &Block) -> Vector {
    let block = block.as_ptr();
    // A prefetch never faults, even with an invalid address.
    _mm_prefetch::<_MM_HINT_T0>(block.wrapping_add(PREFETCH * 64).cast());
    // SAFETY: a block is as large as the vector; no alignment is needed.
    unsafe { _mm512_loadu_si512(block.cast()) }
}

/// In the comments, `4r..` stands for rows `4r` to `4r + 3`, one word of each.
#[inline]
#[target_feature(enable = "avx512f")]
fn transpose(blocks: [&Block; LANES]) -> [Vector; 16] {
    let mut rows = [_mm512_setzero_si512(); 16];
    for (row, block) in rows.iter_mut().zip(blocks) {
        *row = load_block(block);
    }
    let mut pairs = rows;
    for r in 0..8 {
        pairs[2 * r] = _mm512_unpacklo_epi32(rows[2 * r], rows[2 * r + 1]);
        pairs[2 * r + 1] = _mm512_unpackhi_epi32(rows[2 * r], rows[2 * r + 1]);
    }
    // quads[4r + w], quarter q: word 4q + w of rows 4r..
    let mut quads = rows;
    for r in 0..4 {
        quads[4 * r] = _mm512_unpacklo_epi64(pairs[4 * r], pairs[4 * r + 2]);
        quads[4 * r + 1] = _mm512_unpackhi_epi64(pairs[4 * r], pairs[4 * r + 2]);
        quads[4 * r + 2] = _mm512_unpacklo_epi64(pairs[4 * r + 1], pairs[4 * r + 3]);
        quads[4 * r + 3] = _mm512_unpackhi_epi64(pairs[4 * r + 1], pairs[4 * r + 3]);
    }
    let mut words = rows;
    for w in 0..4 {
        let low_even = _mm512_shuffle_i32x4::<0x88>(quads[w], quads[4 + w]);
        let low_odd = _mm512_shuffle_i32x4::<0xdd>(quads[w], quads[4 + w]);
        let high_even = _mm512_shuffle_i32x4::<0x88>(quads[8 + w], quads[12 + w]);
        let high_odd = _mm512_shuffle_i32x4::<0xdd>(quads[8 + w], quads[12 + w]);
        words[w] = _mm512_shuffle_i32x4::<0x88>(low_even, high_even);
        words[4 + w] = _mm512_shuffle_i32x4::<0x88>(low_odd, high_odd);
        words[8 + w] = _mm512_shuffle_i32x4::<0xdd>(low_even, high_even);
        words[12 + w] = _mm512_shuffle_i32x4::<0xdd>(low_odd, high_odd);
    }
    words
}

#[inline]
#[target_feature(enable = "avx512f")]
fn splat(constant: u32) -> Vector {
    _mm512_set1_epi32(constant.cast_signed())
}

#[inline]
#[target_feature(enable = "avx512f")]
fn add(x: Vector, y: Vector) -> Vector {
    _mm512_add_epi32(x, y)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn rotate_left<const N: i32>(x: Vector) -> Vector {
    _mm512_rol_epi32::<N>(x)
}

// The constants are the functions' truth tables, from x = y = z = 1 down to x = y = z = 0.

#[inline]
#[target_feature(enable = "avx512f")]
fn f(x: Vector, y: Vector, z: Vector) -> Vector {
    _mm512_ternarylogic_epi32::<0b1100_1010>(x, y, z)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn g(x: Vector, y: Vector, z: Vector) -> Vector {
    _mm512_ternarylogic_epi32::<0b1110_0100>(x, y, z)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn h(x: Vector, y: Vector, z: Vector) -> Vector {
    _mm512_ternarylogic_epi32::<0b1001_0110>(x, y, z)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn i(x: Vector, y: Vector, z: Vector) -> Vector {
    _mm512_ternarylogic_epi32::<0b0011_1001>(x, y, z)
}
