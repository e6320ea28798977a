//! The part of inhaul that uses disk and CPU: walk, read, hash, copy, plan.
//!
//! Only `python` depends on Python; everything else is plain Rust on a few threads.

pub mod batch;
pub mod beneath;
mod chunk;
pub mod crew;
pub mod direct;
pub mod error;
mod folder;
#[cfg(any(feature = "python", test))]
mod given;
pub mod hash;
pub mod ids;
mod ignore;
mod json;
pub mod keys;
mod large;
mod listing;
pub mod memo;
mod outbox;
pub mod outcome;
pub mod packed;
pub mod part_reader;
mod parts;
#[cfg(any(feature = "python", test))]
mod path_list;
mod paths;
#[cfg(feature = "python")]
mod python;
mod read;
pub mod recalled;
pub mod scan;
mod sending;
mod shared;
mod stamp;
mod sync;
mod walk;
mod worker;
mod write;
