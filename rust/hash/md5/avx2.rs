//! AVX2: groups of 8 lanes.
#![expect(unsafe_code, reason = "loads from and stores to pointers")]

use std::arch::x86_64::*;

use super::backend::Kernel;
use super::block::Block;
use super::rounds::{SINES, word};
use super::state::State;

pub(super) const KERNEL: Kernel = Kernel {
    name: "avx2",
    group: LANES,
    groups: 2,
    min_lanes: 2,
    is_available: || is_x86_feature_detected!("avx2"),
    compress,
};

const LANES: usize = 8;

type Vector = __m256i;

vector_kernel!("avx2");

#[inline]
#[target_feature(enable = "avx2")]
fn load(words: &[u32; LANES]) -> Vector {
    // SAFETY: the array is as large as the vector; no alignment is needed.
    unsafe { _mm256_loadu_si256(words.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn store(words: &mut [u32; LANES], vector: Vector) {
    // SAFETY: the array is as large as the vector; no alignment is needed.
    unsafe { _mm256_storeu_si256(words.as_mut_ptr().cast(), vector) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn load_half(half: &[u8; 32]) -> Vector {
    // SAFETY: half a block is as large as the vector; no alignment is needed.
    unsafe { _mm256_loadu_si256(half.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn transpose(blocks: [&Block; LANES]) -> [Vector; 16] {
    let mut words = [_mm256_setzero_si256(); 16];
    for (half, words) in words.as_chunks_mut().0.iter_mut().enumerate() {
        let mut rows = *words;
        for (row, block) in rows.iter_mut().zip(blocks) {
            *row = load_half(&block.as_chunks().0[half]);
        }
        *words = transpose_half(rows);
    }
    words
}

#[inline]
#[target_feature(enable = "avx2")]
fn transpose_half(rows: [Vector; 8]) -> [Vector; 8] {
    let mut pairs = rows;
    for r in 0..4 {
        pairs[2 * r] = _mm256_unpacklo_epi32(rows[2 * r], rows[2 * r + 1]);
        pairs[2 * r + 1] = _mm256_unpackhi_epi32(rows[2 * r], rows[2 * r + 1]);
    }
    // quads[4r + w]: the words w and 4 + w of the rows 4r to 4r + 3.
    let mut quads = rows;
    for r in 0..2 {
        quads[4 * r] = _mm256_unpacklo_epi64(pairs[4 * r], pairs[4 * r + 2]);
        quads[4 * r + 1] = _mm256_unpackhi_epi64(pairs[4 * r], pairs[4 * r + 2]);
        quads[4 * r + 2] = _mm256_unpacklo_epi64(pairs[4 * r + 1], pairs[4 * r + 3]);
        quads[4 * r + 3] = _mm256_unpackhi_epi64(pairs[4 * r + 1], pairs[4 * r + 3]);
    }
    let mut words = rows;
    for w in 0..4 {
        words[w] = _mm256_permute2x128_si256::<0x20>(quads[w], quads[4 + w]);
        words[4 + w] = _mm256_permute2x128_si256::<0x31>(quads[w], quads[4 + w]);
    }
    words
}

#[inline]
#[target_feature(enable = "avx2")]
fn splat(constant: u32) -> Vector {
    _mm256_set1_epi32(constant.cast_signed())
}

#[inline]
#[target_feature(enable = "avx2")]
fn add(x: Vector, y: Vector) -> Vector {
    _mm256_add_epi32(x, y)
}

#[inline]
#[target_feature(enable = "avx2")]
fn rotate_left<const N: i32>(x: Vector) -> Vector {
    let left = _mm256_sll_epi32(x, _mm_cvtsi32_si128(N));
    let right = _mm256_srl_epi32(x, _mm_cvtsi32_si128(32 - N));
    _mm256_or_si256(left, right)
}

#[inline]
#[target_feature(enable = "avx2")]
fn f(x: Vector, y: Vector, z: Vector) -> Vector {
    _mm256_xor_si256(z, _mm256_and_si256(x, _mm256_xor_si256(y, z)))
}

/// `x & z | y & !z` as a sum: the half without `x` does not wait for the step before.
#[inline]
#[target_feature(enable = "avx2")]
fn g(x: Vector, y: Vector, z: Vector) -> Vector {
    add(_mm256_andnot_si256(z, y), _mm256_and_si256(x, z))
}

#[inline]
#[target_feature(enable = "avx2")]
fn h(x: Vector, y: Vector, z: Vector) -> Vector {
    _mm256_xor_si256(x, _mm256_xor_si256(y, z))
}

#[inline]
#[target_feature(enable = "avx2")]
fn i(x: Vector, y: Vector, z: Vector) -> Vector {
    let not_z = _mm256_xor_si256(z, _mm256_set1_epi32(-1));
    _mm256_xor_si256(y, _mm256_or_si256(x, not_z))
}
