//! MD5 of one message, in plain Rust: the definition of correct for all backends.

use super::backend::Kernel;
use super::block::{Block, Digest, Tail};
use super::rounds::{SINES, word};
use super::state::{INITIAL, State, digest};

pub(super) const KERNEL: Kernel = Kernel {
    name: "portable",
    group: 1,
    groups: 1,
    min_lanes: 1,
    is_available: || true,
    compress: compress_lanes,
};

/// The MD5 of one message.
#[must_use]
pub fn md5(message: &[u8]) -> Digest {
    let (blocks, remainder) = message.as_chunks();
    let mut state = INITIAL;
    compress(&mut state, blocks);
    compress(&mut state, Tail::new(remainder, message.len()).blocks());
    digest(state)
}

/// Hashes the lanes one after the other. Unlike the vector backends, it takes any number of inputs.
pub(super) fn compress_lanes(state: &mut State, inputs: &[&[Block]], count: usize) {
    for (lane, blocks) in inputs.iter().enumerate() {
        let mut words = state.lane(lane);
        compress(&mut words, &blocks[..count]);
        state.set_lane(lane, words);
    }
}

struct Group {
    a: u32,
    b: u32,
    c: u32,
    d: u32,
    words: [u32; 16],
}

fn compress(state: &mut [u32; 4], blocks: &[Block]) {
    let [mut a, mut b, mut c, mut d] = *state;
    for block in blocks {
        let mut group = Group { a, b, c, d, words: words(block) };
        rounds!(group);
        a = add(a, group.a);
        b = add(b, group.b);
        c = add(c, group.c);
        d = add(d, group.d);
    }
    *state = [a, b, c, d];
}

fn words(block: &Block) -> [u32; 16] {
    let (bytes, _) = block.as_chunks();
    std::array::from_fn(|n| u32::from_le_bytes(bytes[n]))
}

fn splat(constant: u32) -> u32 {
    constant
}

fn add(x: u32, y: u32) -> u32 {
    x.wrapping_add(y)
}

fn rotate_left<const N: u32>(x: u32) -> u32 {
    x.rotate_left(N)
}

fn f(x: u32, y: u32, z: u32) -> u32 {
    z ^ (x & (y ^ z))
}

/// `x & z | y & !z` as a sum: the half without `x` does not wait for the step before.
fn g(x: u32, y: u32, z: u32) -> u32 {
    add(y & !z, x & z)
}

fn h(x: u32, y: u32, z: u32) -> u32 {
    x ^ (y ^ z)
}

fn i(x: u32, y: u32, z: u32) -> u32 {
    y ^ (x | !z)
}
