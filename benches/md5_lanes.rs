//! Prints GB/s and cycles per byte of every backend, on one core, in memory and from files.
//!
//! `taskset -c 1 cargo bench --bench md5_lanes -- [GHz of the core]`; the best of several runs counts.
//! Without an argument, the frequency is the one that Linux reports.
#![expect(clippy::unwrap_used, reason = "a bench fails by panicking")]

use std::fs::File;
use std::hint::black_box;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::sync::atomic::AtomicBool;
use std::time::Instant;
use std::{env, fs};

use inhaul_core::hash::md5::{Backend, Digest, Streams, Work, md5_many};

/// The size of the memory that messages are taken from. If it is too short for all messages, they overlap.
const MEMORY: usize = 256 << 20;

fn main() {
    let gigahertz = env::args().find_map(|argument| argument.parse().ok()).or_else(frequency);
    let bytes: Vec<u8> = (0..251).cycle().take(MEMORY).collect();
    println!("As many messages of one size as there are lanes, or 512 KiB of them:");
    for exponent in [None, Some(0), Some(3), Some(6), Some(8), Some(10), Some(12), Some(14)]
        .into_iter()
        .chain([Some(16), Some(18), Some(20), Some(23), Some(26)])
    {
        let size = exponent.map_or(0, |exponent| 1 << exponent);
        for backend in Backend::available() {
            let count = backend.lanes().max((512 << 10) / size.max(64));
            let messages = spread(&bytes, &vec![size; count]);
            report(&format!("{size:>9} B"), backend, &messages, gigahertz);
        }
    }
    println!("\nMessages of 64 KiB, by how many there are:");
    for count in [1, 2, 3, 4, 8, 9, 16, 17, 24, 32] {
        for backend in Backend::available() {
            let messages = spread(&bytes, &vec![64 << 10; count]);
            report(&format!("{count:>9}  "), backend, &messages, gigahertz);
        }
    }
    println!("\nMessages of random sizes:");
    for most in [100, 1000, 8 << 10, 100 << 10] {
        let mut random = 1_u32;
        let sizes: Vec<_> = (0..2000)
            .map(|_| {
                random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (random >> 8) as usize % most
            })
            .collect();
        for backend in Backend::available() {
            report(&format!("< {most:>7} B"), backend, &spread(&bytes, &sizes), gigahertz);
        }
    }
    println!("\nA file of 256 MiB in the page cache, in parts of 8 MiB; and only reading it:");
    let path = env::temp_dir().join(format!("md5-lanes-{}", std::process::id()));
    fs::write(&path, &bytes).unwrap();
    let file = File::open(&path).unwrap();
    for backend in Backend::available() {
        let mut streams = Streams::new(backend);
        let seconds = best_of(9, || {
            streams.run(&mut Parts { file: &file, offset: 0 }, &AtomicBool::new(false));
        });
        print_row("     file  ", backend.name(), MEMORY, seconds, gigahertz);
    }
    let mut buffer = vec![0; 32 << 10];
    let seconds = best_of(9, || {
        for offset in (0..MEMORY).step_by(buffer.len()) {
            file.read_exact_at(&mut buffer, offset as u64).unwrap();
        }
    });
    print_row("     file  ", "read", MEMORY, seconds, gigahertz);
    fs::remove_file(path).unwrap();
}

/// What Linux gives as the frequency of the first core, in GHz.
fn frequency() -> Option<f64> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("cpu MHz"))?;
    let megahertz: f64 = line.split(':').nth(1)?.trim().parse().ok()?;
    Some(megahertz / 1000.0)
}

/// Messages one after the other, from the start again when there is no room. The 192 bytes between
/// them prevent that messages of equal size start at the same offset of a page.
fn spread<'a>(bytes: &'a [u8], sizes: &[usize]) -> Vec<&'a [u8]> {
    let mut start = 0;
    let mut messages = Vec::with_capacity(sizes.len());
    for &size in sizes {
        if start + size > bytes.len() {
            start = 0;
        }
        messages.push(&bytes[start..start + size]);
        start += size + 192;
    }
    messages
}

fn report(label: &str, backend: Backend, messages: &[&[u8]], gigahertz: Option<f64>) {
    let mut digests = vec![[0; 16]; messages.len()];
    let total: usize = messages.iter().map(|message| message.len()).sum();
    let rounds = ((8 << 20) / (total + 64 * messages.len())).max(1);
    let seconds = best_of(7, || {
        for _ in 0..rounds {
            md5_many(backend, black_box(messages), &mut digests);
            black_box(&digests);
        }
    });
    if total == 0 {
        let nanoseconds = seconds * 1e9 / (rounds * messages.len()) as f64;
        println!("{label} {:9} {nanoseconds:7.1} ns each", backend.name());
    } else {
        print_row(label, backend.name(), total * rounds, seconds, gigahertz);
    }
}

fn print_row(label: &str, name: &str, bytes: usize, seconds: f64, gigahertz: Option<f64>) {
    let speed = bytes as f64 / seconds / 1e9;
    print!("{label} {name:9} {speed:7.2} GB/s");
    match gigahertz {
        Some(gigahertz) => println!(" {:7.3} cycles/B", gigahertz / speed),
        None => println!(),
    }
}

fn best_of(runs: usize, mut run: impl FnMut()) -> f64 {
    let mut best = f64::INFINITY;
    for _ in 0..runs {
        let start = Instant::now();
        run();
        best = best.min(start.elapsed().as_secs_f64());
    }
    best
}

/// The parts of a file, as the ETag of a multipart upload has them.
struct Parts<'a> {
    file: &'a File,
    offset: usize,
}

struct Part<'a> {
    file: &'a File,
    offset: usize,
    end: usize,
}

impl Read for Part<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = buffer.len().min(self.end - self.offset);
        let count = self.file.read_at(&mut buffer[..wanted], self.offset as u64)?;
        self.offset += count;
        Ok(count)
    }
}

impl<'a> Work for Parts<'a> {
    type Source = Part<'a>;

    fn next(&mut self, _busy: bool) -> Option<Part<'a>> {
        let offset = self.offset;
        (offset < MEMORY).then(|| {
            self.offset += 8 << 20;
            Part { file: self.file, offset, end: self.offset }
        })
    }

    fn finish(&mut self, _source: Part<'a>, result: io::Result<Digest>) {
        black_box(result.unwrap());
    }
}
