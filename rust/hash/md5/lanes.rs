//! The scheduler, which assigns messages to lanes.

use std::cmp::Reverse;

use super::backend::Backend;
use super::block::{Block, Digest, Tail};
use super::state::{MAX_LANES, State};

/// If all messages are shorter than this, hashing them takes less time than sorting them (see the bench).
const MIN_SORTED: usize = 1024;

/// The message or stream in a lane.
pub(super) trait Lane {
    /// The blocks that can be hashed now, at least one.
    fn pending(&self) -> &[Block];
    /// Drops the first `count` pending blocks, which are hashed.
    fn consume(&mut self, count: usize);
}

/// One of several messages.
trait Indexed: Lane {
    /// Its index.
    fn index(&self) -> usize;
}

/// Hashes as many blocks of every lane as the shortest lane has.
pub(super) fn advance(backend: Backend, state: &mut State, lanes: &mut [impl Lane]) {
    let mut inputs: [&[Block]; MAX_LANES] = [&[]; MAX_LANES];
    let mut count = usize::MAX;
    for (input, lane) in inputs.iter_mut().zip(&*lanes) {
        *input = lane.pending();
        count = count.min(input.len());
    }
    backend.compress(state, &mut inputs, lanes.len(), count);
    for lane in lanes {
        lane.consume(count);
    }
}

/// Frees a lane. The last lane moves to its place, so that used lanes stay adjacent.
pub(super) fn remove<L>(state: &mut State, lanes: &mut Vec<L>, lane: usize) -> L {
    let removed = lanes.swap_remove(lane);
    state.set_lane(lane, state.lane(lanes.len()));
    removed
}

/// Computes the MD5 of each message: `digests[n]` is that of `messages[n]`.
///
/// # Panics
/// If there are not as many digests as messages.
pub fn md5_many(backend: Backend, messages: &[&[u8]], digests: &mut [Digest]) {
    run(backend, messages, digests, Message::new);
}

/// Like [`md5_many`], for messages that [`pad`](super::pad) has padded. They have no separate last blocks, which makes
/// messages of a few KiB faster.
///
/// # Panics
/// If there are not as many digests as messages, or one is not padded.
pub fn md5_padded(backend: Backend, messages: &[&[u8]], digests: &mut [Digest]) {
    run(backend, messages, digests, |index, message| {
        let (blocks, rest) = message.as_chunks();
        assert!(rest.is_empty() && !blocks.is_empty(), "message {index} is padded");
        Padded { index, blocks }
    });
}

fn run<'a, M: Indexed>(
    backend: Backend,
    messages: &[&'a [u8]],
    digests: &mut [Digest],
    lane: impl Fn(usize, &'a [u8]) -> M,
) {
    assert_eq!(messages.len(), digests.len(), "one digest for each message");
    let mut queue = long_ones_first(messages).into_iter().map(|index| lane(index, messages[index]));
    let mut lanes: Vec<_> = queue.by_ref().take(backend.lanes()).collect();
    let mut state = State::new();
    while !lanes.is_empty() {
        advance(backend, &mut state, &mut lanes);
        for lane in (0..lanes.len()).rev() {
            if !lanes[lane].pending().is_empty() {
                continue;
            }
            digests[lanes[lane].index()] = state.digest(lane);
            if let Some(message) = queue.next() {
                lanes[lane] = message;
                state.start(lane);
            } else {
                remove(&mut state, &mut lanes, lane);
            }
        }
    }
}

/// The order in which to hash the messages, by length: no long message runs alone at the end, and
/// adjacent messages end at about the same time.
fn long_ones_first(messages: &[&[u8]]) -> Vec<usize> {
    let mut order: Vec<_> = (0..messages.len()).collect();
    if messages.iter().any(|message| message.len() >= MIN_SORTED) {
        order.sort_unstable_by_key(|&index| Reverse(messages[index].len()));
    }
    order
}

/// A message in memory: its whole blocks in place, then its padded tail.
struct Message<'a> {
    index: usize,
    blocks: &'a [Block],
    tail: Tail,
}

impl<'a> Message<'a> {
    fn new(index: usize, message: &'a [u8]) -> Self {
        let (blocks, remainder) = message.as_chunks();
        Self { index, blocks, tail: Tail::new(remainder, message.len()) }
    }
}

impl Indexed for Message<'_> {
    fn index(&self) -> usize {
        self.index
    }
}

/// A message that is padded in memory.
struct Padded<'a> {
    index: usize,
    blocks: &'a [Block],
}

impl Indexed for Padded<'_> {
    fn index(&self) -> usize {
        self.index
    }
}

impl Lane for Padded<'_> {
    fn pending(&self) -> &[Block] {
        self.blocks
    }

    fn consume(&mut self, count: usize) {
        self.blocks = &self.blocks[count..];
    }
}

impl Lane for Message<'_> {
    fn pending(&self) -> &[Block] {
        if self.blocks.is_empty() { self.tail.blocks() } else { self.blocks }
    }

    fn consume(&mut self, count: usize) {
        if self.blocks.is_empty() {
            self.tail.consume(count);
        } else {
            self.blocks = &self.blocks[count..];
        }
    }
}
