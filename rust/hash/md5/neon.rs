//! NEON, which every aarch64 processor has: groups of 4 lanes.
#![expect(unsafe_code, reason = "loads from and stores to pointers")]

use std::arch::aarch64::*;
use std::arch::is_aarch64_feature_detected;

use super::backend::Kernel;
use super::block::Block;
use super::rounds::{SINES, word};
use super::state::State;

pub(super) const KERNEL: Kernel = Kernel {
    name: "neon",
    group: LANES,
    groups: 2,
    min_lanes: 2,
    is_available: || is_aarch64_feature_detected!("neon"),
    compress,
};

const LANES: usize = 4;

type Vector = uint32x4_t;

vector_kernel!("neon");

#[inline]
#[target_feature(enable = "neon")]
fn load(words: &[u32; LANES]) -> Vector {
    // SAFETY: the array is as large as the vector; no alignment is needed.
    unsafe { vld1q_u32(words.as_ptr()) }
}

#[inline]
#[target_feature(enable = "neon")]
fn store(words: &mut [u32; LANES], vector: Vector) {
    // SAFETY: the array is as large as the vector; no alignment is needed.
    unsafe { vst1q_u32(words.as_mut_ptr(), vector) }
}

#[inline]
#[target_feature(enable = "neon")]
fn load_quarter(quarter: &[u8; 16]) -> Vector {
    // SAFETY: a quarter of a block is as large as the vector; no alignment is needed.
    vreinterpretq_u32_u8(unsafe { vld1q_u8(quarter.as_ptr()) })
}

#[inline]
#[target_feature(enable = "neon")]
fn transpose(blocks: [&Block; LANES]) -> [Vector; 16] {
    let mut words = [vdupq_n_u32(0); 16];
    for (quarter, words) in words.as_chunks_mut().0.iter_mut().enumerate() {
        let [row0, row1, row2, row3] = [
            load_quarter(&blocks[0].as_chunks().0[quarter]),
            load_quarter(&blocks[1].as_chunks().0[quarter]),
            load_quarter(&blocks[2].as_chunks().0[quarter]),
            load_quarter(&blocks[3].as_chunks().0[quarter]),
        ];
        let even01 = vreinterpretq_u64_u32(vtrn1q_u32(row0, row1));
        let even23 = vreinterpretq_u64_u32(vtrn1q_u32(row2, row3));
        let odd01 = vreinterpretq_u64_u32(vtrn2q_u32(row0, row1));
        let odd23 = vreinterpretq_u64_u32(vtrn2q_u32(row2, row3));
        *words = [
            vreinterpretq_u32_u64(vtrn1q_u64(even01, even23)),
            vreinterpretq_u32_u64(vtrn1q_u64(odd01, odd23)),
            vreinterpretq_u32_u64(vtrn2q_u64(even01, even23)),
            vreinterpretq_u32_u64(vtrn2q_u64(odd01, odd23)),
        ];
    }
    words
}

#[inline]
#[target_feature(enable = "neon")]
fn splat(constant: u32) -> Vector {
    vdupq_n_u32(constant)
}

#[inline]
#[target_feature(enable = "neon")]
fn add(x: Vector, y: Vector) -> Vector {
    vaddq_u32(x, y)
}

#[inline]
#[target_feature(enable = "neon")]
fn rotate_left<const N: i32>(x: Vector) -> Vector {
    // A negative shift shifts right.
    vorrq_u32(vshlq_u32(x, vdupq_n_s32(N)), vshlq_u32(x, vdupq_n_s32(N - 32)))
}

#[inline]
#[target_feature(enable = "neon")]
fn f(x: Vector, y: Vector, z: Vector) -> Vector {
    vbslq_u32(x, y, z)
}

#[inline]
#[target_feature(enable = "neon")]
fn g(x: Vector, y: Vector, z: Vector) -> Vector {
    vbslq_u32(z, x, y)
}

#[inline]
#[target_feature(enable = "neon")]
fn h(x: Vector, y: Vector, z: Vector) -> Vector {
    veorq_u32(x, veorq_u32(y, z))
}

#[inline]
#[target_feature(enable = "neon")]
fn i(x: Vector, y: Vector, z: Vector) -> Vector {
    veorq_u32(y, vornq_u32(x, z))
}
