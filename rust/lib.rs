//! The disk and CPU half of inhaul: walk, read, hash, copy, plan.
//!
//! Only `python` knows about Python; everything else is plain Rust on a few threads.

pub mod batch;
pub mod beneath;
mod chunk;
mod copy;
pub mod error;
pub mod files;
mod folder;
pub mod hash;
pub mod ids;
mod ignore;
mod json;
pub mod keys;
#[cfg(any(feature = "python", test))]
mod listed;
mod listing;
mod outbox;
pub mod packed;
pub mod part_reader;
mod parts;
#[cfg(feature = "python")]
mod python;
mod read;
pub mod record;
pub mod scan;
mod shared;
mod walk;
mod worker;
