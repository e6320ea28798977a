//! Compares every backend with `portable`, in memory and slice by slice.
#![no_main]

use std::collections::VecDeque;
use std::io::{self, Read};
use std::sync::atomic::AtomicBool;

use arbitrary::Arbitrary;
use inhaul_core::hash::md5::{Backend, Digest, Streams, Work, md5, md5_many, md5_padded, pad, padded};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    content: &'a [u8],
    messages: Vec<Message>,
}

/// A part of the content, repeated. It can be longer than a slice.
#[derive(Arbitrary, Clone, Copy, Debug)]
struct Message {
    start: u16,
    length: u16,
    repeat: u8,
    /// The most that one read returns; 0 for as much as there is room for.
    most: u16,
    /// This source is ready only when all sources before it have ended.
    pause: bool,
}

impl Message {
    fn bytes(self, content: &[u8]) -> Vec<u8> {
        let start = usize::from(self.start).min(content.len());
        let end = (start + usize::from(self.length)).min(content.len());
        content[start..end].repeat(usize::from(self.repeat))
    }
}

struct Source<'a> {
    index: usize,
    rest: &'a [u8],
    most: usize,
}

impl Read for Source<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let room = if self.most == 0 { buffer.len() } else { buffer.len().min(self.most) };
        self.rest.read(&mut buffer[..room])
    }
}

struct Queue<'a> {
    waiting: VecDeque<(Source<'a>, bool)>,
    digests: Vec<Option<Digest>>,
}

impl<'a> Work for Queue<'a> {
    type Source = Source<'a>;

    fn next(&mut self, busy: bool) -> Option<Source<'a>> {
        self.waiting.pop_front_if(|(_, pause)| !(*pause && busy)).map(|(source, _)| source)
    }

    fn finish(&mut self, source: Source<'a>, result: io::Result<Digest>) {
        let digest = result.expect("this source never fails");
        assert!(self.digests[source.index].replace(digest).is_none(), "each source ends once");
    }
}

fn with_padding(content: &[u8]) -> Vec<u8> {
    let mut bytes = content.to_vec();
    bytes.resize(padded(content.len()), 0xa5);
    pad(&mut bytes, content.len(), content.len() as u64);
    bytes
}

fuzz_target!(|input: Input<'_>| {
    let contents: Vec<_> =
        input.messages.iter().take(200).map(|message| message.bytes(input.content)).collect();
    if contents.iter().map(Vec::len).sum::<usize>() > 4 << 20 {
        return;
    }
    let messages: Vec<&[u8]> = contents.iter().map(Vec::as_slice).collect();
    let expected: Vec<_> = messages.iter().map(|message| md5(message)).collect();
    for backend in Backend::available() {
        let mut digests = vec![[0; 16]; messages.len()];
        md5_many(backend, &messages, &mut digests);
        assert_eq!(digests, expected, "{backend:?} in memory");

        let copies: Vec<_> = contents.iter().map(|content| with_padding(content)).collect();
        let copies: Vec<&[u8]> = copies.iter().map(Vec::as_slice).collect();
        md5_padded(backend, &copies, &mut digests);
        assert_eq!(digests, expected, "{backend:?} in memory, padded");

        let waiting = messages.iter().zip(&input.messages).enumerate().map(
            |(index, (&rest, &Message { most, pause, .. }))| {
                (Source { index, rest, most: most.into() }, pause)
            },
        );
        let mut queue = Queue { waiting: waiting.collect(), digests: vec![None; messages.len()] };
        Streams::new(backend).run(&mut queue, &AtomicBool::new(false));
        let digests: Vec<_> = queue.digests.into_iter().flatten().collect();
        assert_eq!(digests, expected, "{backend:?} in streams");
    }
});
