//! Every backend against an independent MD5.

use std::env;
use std::process::Command;

use inhaul_core::hash::md5::{Backend, Digest, md5, md5_many, md5_padded, pad, padded};
use md5::Digest as _;
use proptest::prelude::*;

/// Bytes that repeat after a prime number of them, so that swapped blocks or words cannot cancel
/// out.
fn pattern(length: usize) -> Vec<u8> {
    (0..251).cycle().take(length).collect()
}

fn expected(message: &[u8]) -> Digest {
    md5::Md5::digest(message).into()
}

/// Where the padding goes, there is something else before.
fn with_padding(message: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0xa5; padded(message.len())];
    bytes[..message.len()].copy_from_slice(message);
    assert_eq!(pad(&mut bytes, message.len(), message.len() as u64), bytes.len());
    bytes
}

fn check(backend: Backend, messages: &[&[u8]]) {
    let mut many = vec![[0; 16]; messages.len()];
    md5_many(backend, messages, &mut many);
    let mut padded_ones = vec![[0; 16]; messages.len()];
    let copies: Vec<_> = messages.iter().map(|message| with_padding(message)).collect();
    let copies: Vec<_> = copies.iter().map(Vec::as_slice).collect();
    md5_padded(backend, &copies, &mut padded_ones);
    for (index, message) in messages.iter().enumerate() {
        assert_eq!(
            [many[index], padded_ones[index]],
            [expected(message); 2],
            "{backend:?}: message {index} of {}, {} bytes",
            messages.len(),
            message.len(),
        );
    }
}

#[test]
fn the_examples_of_the_rfc() {
    for (message, digest) in [
        ("", 0xd41d8cd98f00b204e9800998ecf8427e),
        ("a", 0x0cc175b9c0f1b6a831c399e269772661),
        ("abc", 0x900150983cd24fb0d6963f7d28e17f72),
        ("message digest", 0xf96b697d7cb7938d525a2f31aaf161d0_u128),
    ] {
        assert_eq!(md5(message.as_bytes()), digest.to_be_bytes());
    }
}

#[test]
fn one_stream_at_every_length() {
    let bytes = pattern(4200);
    for length in 0..=bytes.len() {
        assert_eq!(md5(&bytes[..length]), expected(&bytes[..length]), "{length} bytes");
    }
}

#[test]
fn every_length() {
    let bytes = pattern(4200);
    let messages: Vec<_> = (0..=bytes.len()).map(|length| &bytes[..length]).collect();
    for backend in Backend::available() {
        check(backend, &messages);
    }
}

#[test]
fn every_number_of_lanes_in_use() {
    let bytes = pattern(300);
    for backend in Backend::available() {
        for count in 0..=2 * backend.lanes() + 1 {
            // Equal lengths end together, unequal ones leave lanes idle one by one.
            check(backend, &vec![&bytes[..200]; count]);
            let messages: Vec<_> = (0..count).map(|index| &bytes[index..][..index * 3]).collect();
            check(backend, &messages);
        }
    }
}

#[test]
fn every_lane_at_the_borders_of_a_block() {
    let bytes = pattern(64 * 64);
    for backend in Backend::available() {
        for length in [0, 1, 55, 56, 57, 63, 64, 65, 119, 120, 127, 128, 129, 4095, 4096] {
            for lane in 0..backend.lanes() {
                let mut messages = vec![&bytes[..100]; backend.lanes()];
                messages[lane] = &bytes[..length];
                check(backend, &messages);
            }
        }
    }
}

#[test]
fn every_misalignment() {
    let bytes = pattern(64 * 64);
    for backend in Backend::available() {
        let messages: Vec<_> = (0..64).map(|offset| &bytes[offset..][..1000]).collect();
        check(backend, &messages);
    }
}

#[test]
fn one_long_message_among_many_short_ones() {
    let bytes = pattern(1 << 20);
    for backend in Backend::available() {
        let mut messages: Vec<_> = (0..500).map(|index| &bytes[index..][..index]).collect();
        messages.insert(250, &bytes);
        check(backend, &messages);
    }
}

#[test]
#[should_panic(expected = "one digest for each message")]
fn a_digest_too_few() {
    md5_many(Backend::named("portable").unwrap(), &[b"a", b"b"], &mut [[0; 16]]);
}

#[test]
fn backends_by_name() {
    for backend in Backend::available() {
        assert_eq!(Backend::named(backend.name()).unwrap().name(), backend.name());
    }
    assert_eq!(Backend::available().last().unwrap().name(), "portable");
    let message = Backend::named("abacus").unwrap_err().to_string();
    assert!(message.contains("\"abacus\"") && message.contains("portable"), "{message}");
}

/// Prints the active backend, for the test below, which runs it in a process of its own.
#[test]
fn active_backend() {
    match Backend::active() {
        Ok(backend) => println!("active: {}", backend.name()),
        Err(error) => println!("error: {error}"),
    }
}

#[test]
fn the_environment_forces_a_backend() {
    let active = |name: Option<&str>| {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["--exact", "active_backend", "--nocapture"]);
        match name {
            Some(name) => command.env("INHAUL_HASH_BACKEND", name),
            None => command.env_remove("INHAUL_HASH_BACKEND"),
        };
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    };
    for backend in Backend::available() {
        assert!(active(Some(backend.name())).contains(&format!("active: {}\n", backend.name())));
    }
    let fastest = Backend::available().next().unwrap().name();
    assert!(active(None).contains(&format!("active: {fastest}\n")));
    assert!(active(Some("abacus")).contains("error: hash backend \"abacus\" is unknown"));
}

proptest! {
    #[test]
    fn random_mixtures(
        lengths in prop::collection::vec(
            prop_oneof![3 => 0..300_usize, 2 => 0..5_000_usize, 1 => 0..100_000_usize],
            0..100,
        ),
        offset in 0..64_usize,
        salt: u8,
    ) {
        let bytes: Vec<u8> = pattern(200_000).iter().map(|byte| byte ^ salt).collect();
        let messages: Vec<_> = lengths
            .iter()
            .enumerate()
            .map(|(index, &length)| &bytes[offset + 997 * index..][..length])
            .collect();
        for backend in Backend::available() {
            check(backend, &messages);
        }
    }
}
