//! Sources hashed slice by slice against the same bytes hashed at once.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::cell::Cell;
use std::io::{self, ErrorKind, Read};
use std::sync::atomic::{AtomicBool, Ordering};

use inhaul_core::hash::md5::{Backend, Digest, SLICE, Streams, Work, md5};
use proptest::prelude::*;

fn pattern(length: usize) -> Vec<u8> {
    (0..251).cycle().take(length).collect()
}

/// What a source does instead of returning the bytes it was asked for.
#[derive(Clone, Copy, Debug)]
enum Trick {
    None,
    /// Returns at most so many bytes.
    Short(usize),
    /// Is interrupted before every read that succeeds.
    Interrupted(bool),
    /// Fails after so many bytes.
    Fail(usize),
    /// Claims to have read a byte more than there was room for.
    Lie,
}

struct Tricky<'a> {
    index: usize,
    bytes: &'a [u8],
    read: usize,
    trick: Trick,
    copy: Vec<u8>,
}

impl Read for Tricky<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut room = buffer.len();
        match &mut self.trick {
            Trick::None => {}
            Trick::Short(most) => room = room.min(*most),
            Trick::Interrupted(now) => {
                *now = !*now;
                if *now {
                    return Err(ErrorKind::Interrupted.into());
                }
            }
            Trick::Fail(after) if self.read >= *after => return Err(ErrorKind::TimedOut.into()),
            Trick::Fail(after) => room = room.min(*after - self.read),
            Trick::Lie => return Ok(room + 1),
        }
        let count = (&self.bytes[self.read..]).read(&mut buffer[..room])?;
        self.copy.extend_from_slice(&buffer[..count]);
        self.read += count;
        Ok(count)
    }
}

type Outcome = Result<Digest, ErrorKind>;

#[derive(Default)]
struct Queue<'a> {
    /// Sources, and pauses in which nothing is ready while others are hashed.
    waiting: Vec<Option<(&'a [u8], Trick)>>,
    started: usize,
    outcomes: Vec<(usize, Outcome, Vec<u8>)>,
}

impl<'a> Work for Queue<'a> {
    type Source = Tricky<'a>;

    fn next(&mut self, busy: bool) -> Option<Tricky<'a>> {
        let (bytes, trick) = match self.waiting.pop()? {
            Some(source) => source,
            None if busy => return None,
            None => return self.next(busy),
        };
        self.started += 1;
        Some(Tricky { index: self.started - 1, bytes, read: 0, trick, copy: Vec::new() })
    }

    fn finish(&mut self, source: Tricky<'a>, result: io::Result<Digest>) {
        self.outcomes.push((source.index, result.map_err(|error| error.kind()), source.copy));
    }
}

fn check(streams: &mut Streams, sources: &[Option<(&[u8], Trick)>]) {
    let mut queue = Queue { waiting: sources.to_vec(), ..Queue::default() };
    queue.waiting.reverse();
    streams.run(&mut queue, &AtomicBool::new(false));
    let sources: Vec<_> = sources.iter().flatten().collect();
    assert_eq!(queue.outcomes.len(), sources.len());
    queue.outcomes.sort_by_key(|outcome| outcome.0);
    for ((index, outcome, copy), (number, (bytes, trick))) in
        queue.outcomes.iter().zip(sources.iter().enumerate())
    {
        assert_eq!(*index, number, "each source comes back once");
        let expected = match trick {
            Trick::Fail(_) => Err(ErrorKind::TimedOut),
            Trick::Lie => Err(ErrorKind::Other),
            _ => {
                assert!(copy == bytes, "every byte was read once, in order");
                Ok(md5(bytes))
            }
        };
        assert_eq!(*outcome, expected, "source {index}: {} bytes, {trick:?}", bytes.len());
    }
}

#[test]
fn lengths_around_the_borders_of_a_slice() {
    let bytes = pattern(3 * SLICE + 100);
    let lengths =
        (0..130).chain(SLICE - 70..SLICE + 70).chain(2 * SLICE - 2..=2 * SLICE + 2).chain([bytes.len()]);
    let sources: Vec<_> = lengths.map(|length| Some((&bytes[..length], Trick::None))).collect();
    for backend in Backend::available() {
        check(&mut Streams::new(backend), &sources);
    }
}

#[test]
fn every_number_of_lanes_in_use() {
    let bytes = pattern(SLICE + 1000);
    for backend in Backend::available() {
        let mut streams = Streams::new(backend);
        for count in 0..=2 * backend.lanes() + 1 {
            let sources: Vec<_> =
                (0..count).map(|index| Some((&bytes[..(index * 7919) % bytes.len()], Trick::None))).collect();
            check(&mut streams, &sources);
        }
    }
}

#[test]
fn errors_short_reads_and_interruptions() {
    let bytes = pattern(2 * SLICE + 10);
    let tricks = [
        Trick::Short(1000),
        Trick::Fail(0),
        Trick::Interrupted(false),
        Trick::Fail(10),
        Trick::Fail(SLICE),
        Trick::None,
        Trick::Fail(SLICE + 100),
        Trick::Lie,
        Trick::Fail(bytes.len()),
    ];
    let sources: Vec<_> = tricks.iter().cycle().take(200).map(|&trick| Some((&bytes[..], trick))).collect();
    for backend in Backend::available() {
        check(&mut Streams::new(backend), &sources);
    }
}

#[test]
fn one_after_the_other_when_nothing_is_ready() {
    let bytes = pattern(SLICE + 10);
    let sources = vec![Some((&bytes[..], Trick::None)), None, Some((&bytes[1..], Trick::None)), None];
    for backend in Backend::available() {
        check(&mut Streams::new(backend), &sources);
    }
}

#[test]
fn a_lane_that_was_idle_starts_anew() {
    let bytes = pattern(SLICE);
    let long = Some((&bytes[..], Trick::None));
    let short = Some((&bytes[..10], Trick::None));
    for backend in Backend::available() {
        check(&mut Streams::new(backend), &[long, short, None, short, short, short]);
    }
}

/// Never ends, and sets the flag after so many slices.
struct Endless<'a> {
    stop: &'a AtomicBool,
    slices: &'a Cell<usize>,
}

impl Read for Endless<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.slices.set(self.slices.get() + 1);
        if self.slices.get() == 1000 {
            self.stop.store(true, Ordering::Relaxed);
        }
        Ok(buffer.len())
    }
}

struct EndlessWork<'a> {
    stop: &'a AtomicBool,
    slices: &'a Cell<usize>,
    started: usize,
    stopped: usize,
}

impl<'a> Work for EndlessWork<'a> {
    type Source = Endless<'a>;

    fn next(&mut self, _busy: bool) -> Option<Endless<'a>> {
        self.started += 1;
        Some(Endless { stop: self.stop, slices: self.slices })
    }

    fn finish(&mut self, _source: Endless<'a>, result: io::Result<Digest>) {
        assert_eq!(result.unwrap_err().kind(), ErrorKind::Interrupted);
        self.stopped += 1;
    }
}

#[test]
fn the_flag_stops_every_source_before_its_next_slice() {
    for backend in Backend::available() {
        let (stop, slices) = (AtomicBool::new(false), Cell::new(0));
        let mut work = EndlessWork { stop: &stop, slices: &slices, started: 0, stopped: 0 };
        Streams::new(backend).run(&mut work, &stop);
        assert_eq!(slices.get(), 1000);
        assert_eq!((work.started, work.stopped), (backend.lanes(), backend.lanes()));
    }
}

fn trick() -> impl Strategy<Value = Trick> {
    prop_oneof![
        4 => Just(Trick::None),
        1 => (1..5000_usize).prop_map(Trick::Short),
        1 => any::<bool>().prop_map(Trick::Interrupted),
        1 => Just(Trick::Fail(0)),
    ]
}

proptest! {
    #[test]
    fn random_mixtures(
        sources in prop::collection::vec(
            prop::option::weighted(
                0.9,
                (prop_oneof![2 => 0..300_usize, 2 => 0..5000_usize, 1 => 0..3 * SLICE], trick()),
            ),
            0..80,
        ),
    ) {
        let bytes = pattern(3 * SLICE + 1000);
        let sources: Vec<_> = sources
            .iter()
            .enumerate()
            .map(|(index, source)| source.map(|(length, trick)| (&bytes[index..][..length], trick)))
            .collect();
        for backend in Backend::available() {
            check(&mut Streams::new(backend), &sources);
        }
    }
}
