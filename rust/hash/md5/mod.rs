//! MD5 (RFC 1321) of many messages at once, one per lane of a vector register.
//!
//! [`md5_many`] hashes messages in memory, [`Streams`] hashes many sources that it reads at the
//! same time. `portable` is the definition of correct; all other backends are tested against it.

#[macro_use]
mod rounds;
#[macro_use]
mod vector;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod backend;
mod block;
mod lanes;
#[cfg(all(target_arch = "aarch64", target_endian = "little"))]
mod neon;
mod portable;
#[cfg(target_arch = "x86_64")]
mod sse2;
mod state;
mod streams;

pub use backend::{Backend, BackendError};
pub use block::{Digest, pad, padded};
pub use lanes::{md5_many, md5_padded};
pub use portable::md5;
pub use streams::{SLICE, Streams, Work};
