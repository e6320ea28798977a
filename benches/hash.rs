//! How fast content in memory is hashed, by message size: `cargo bench`.
#![expect(clippy::unwrap_used, reason = "a bench fails by panicking")]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use inhaul_core::hash::md5::{Backend, Digest, md5_many};
use inhaul_core::hash::{Algorithm, PART_SIZE, crc32c, hash_bytes};

/// Messages in one call, as many as a scan gathers of small files.
const MESSAGES: usize = 128;

fn many_messages(criterion: &mut Criterion) {
    let backend = Backend::active().unwrap();
    let mut group = criterion.benchmark_group("md5_many");
    for size in [0, 64, 1024, 4096, 64 * 1024] {
        let data = vec![0x5a_u8; MESSAGES * size];
        let messages: Vec<&[u8]> = (0..MESSAGES).map(|n| &data[n * size..(n + 1) * size]).collect();
        let mut digests = [Digest::default(); MESSAGES];
        group.throughput(Throughput::Bytes(data.len() as u64));
        group.bench_function(format!("{size} B"), |bencher| {
            bencher.iter(|| md5_many(backend, black_box(&messages), &mut digests));
        });
    }
    group.finish();
}

fn one_content(criterion: &mut Criterion) {
    let backend = Backend::active().unwrap();
    let data = vec![0x5a_u8; 64 << 20];
    let mut group = criterion.benchmark_group("64 MiB");
    group.sample_size(10);
    group.throughput(Throughput::Bytes(data.len() as u64));
    let algorithms = [
        ("md5-N", Algorithm::Md5Parts { part_size: PART_SIZE }),
        ("md5", Algorithm::Md5Whole),
        ("sha256", Algorithm::Sha256),
    ];
    for (name, algorithm) in algorithms {
        group.bench_function(name, |bencher| {
            bencher.iter(|| hash_bytes(backend, black_box(&data), algorithm))
        });
    }
    group.finish();
}

fn checksums(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("crc32c");
    for size in [64, 1024, 4096, 64 * 1024, 256 * 1024, PART_SIZE as usize] {
        let data = vec![0x5a_u8; size];
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(format!("{size} B"), |bencher| {
            bencher.iter(|| crc32c::append(0, black_box(&data)));
        });
    }
    group.bench_function("combine", |bencher| {
        bencher.iter(|| crc32c::combine(black_box(1), black_box(2), black_box(PART_SIZE as usize)));
    });
    group.finish();
}

criterion_group!(benches, many_messages, one_content, checksums);
criterion_main!(benches);
