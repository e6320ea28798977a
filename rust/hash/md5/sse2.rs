//! SSE2, which every x86-64 processor has: groups of 4 lanes.
#![expect(unsafe_code, reason = "loads from and stores to pointers")]

use std::arch::x86_64::*;

use super::backend::Kernel;
use super::block::Block;
use super::rounds::{SINES, word};
use super::state::State;

pub(super) const KERNEL: Kernel = Kernel {
    name: "sse2",
    group: LANES,
    groups: 2,
    min_lanes: 2,
    is_available: || is_x86_feature_detected!("sse2"),
    compress,
};

const LANES: usize = 4;

type Vector = __m128i;

vector_kernel!("sse2");

#[inline]
#[target_feature(enable = "sse2")]
fn load(words: &[u32; LANES]) -> Vector {
    // SAFETY: the array is as large as the vector; no alignment is needed.
    unsafe { _mm_loadu_si128(words.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "sse2")]
fn store(words: &mut [u32; LANES], vector: Vector) {
    // SAFETY: the array is as large as the vector; no alignment is needed.
    unsafe { _mm_storeu_si128(words.as_mut_ptr().cast(), vector) }
}

#[inline]
#[target_feature(enable = "sse2")]
fn load_quarter(quarter: &[u8; 16]) -> Vector {
    // SAFETY: a quarter of a block is as large as the vector; no alignment is needed.
    unsafe { _mm_loadu_si128(quarter.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "sse2")]
fn transpose(blocks: [&Block; LANES]) -> [Vector; 16] {
    let mut words = [_mm_setzero_si128(); 16];
    for (quarter, words) in words.as_chunks_mut().0.iter_mut().enumerate() {
        let [row0, row1, row2, row3] = [
            load_quarter(&blocks[0].as_chunks().0[quarter]),
            load_quarter(&blocks[1].as_chunks().0[quarter]),
            load_quarter(&blocks[2].as_chunks().0[quarter]),
            load_quarter(&blocks[3].as_chunks().0[quarter]),
        ];
        let low01 = _mm_unpacklo_epi32(row0, row1);
        let low23 = _mm_unpacklo_epi32(row2, row3);
        let high01 = _mm_unpackhi_epi32(row0, row1);
        let high23 = _mm_unpackhi_epi32(row2, row3);
        *words = [
            _mm_unpacklo_epi64(low01, low23),
            _mm_unpackhi_epi64(low01, low23),
            _mm_unpacklo_epi64(high01, high23),
            _mm_unpackhi_epi64(high01, high23),
        ];
    }
    words
}

#[inline]
#[target_feature(enable = "sse2")]
fn splat(constant: u32) -> Vector {
    _mm_set1_epi32(constant.cast_signed())
}

#[inline]
#[target_feature(enable = "sse2")]
fn add(x: Vector, y: Vector) -> Vector {
    _mm_add_epi32(x, y)
}

#[inline]
#[target_feature(enable = "sse2")]
fn rotate_left<const N: i32>(x: Vector) -> Vector {
    let left = _mm_sll_epi32(x, _mm_cvtsi32_si128(N));
    let right = _mm_srl_epi32(x, _mm_cvtsi32_si128(32 - N));
    _mm_or_si128(left, right)
}

#[inline]
#[target_feature(enable = "sse2")]
fn f(x: Vector, y: Vector, z: Vector) -> Vector {
    _mm_xor_si128(z, _mm_and_si128(x, _mm_xor_si128(y, z)))
}

/// `x & z | y & !z` as a sum: the half without `x` does not wait for the step before.
#[inline]
#[target_feature(enable = "sse2")]
fn g(x: Vector, y: Vector, z: Vector) -> Vector {
    add(_mm_andnot_si128(z, y), _mm_and_si128(x, z))
}

#[inline]
#[target_feature(enable = "sse2")]
fn h(x: Vector, y: Vector, z: Vector) -> Vector {
    _mm_xor_si128(x, _mm_xor_si128(y, z))
}

#[inline]
#[target_feature(enable = "sse2")]
fn i(x: Vector, y: Vector, z: Vector) -> Vector {
    let not_z = _mm_xor_si128(z, _mm_set1_epi32(-1));
    _mm_xor_si128(y, _mm_or_si128(x, not_z))
}
