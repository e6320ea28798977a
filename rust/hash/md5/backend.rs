//! The table of backends, and the choice of the one that runs.

use std::sync::OnceLock;
use std::{env, error, fmt};

use super::block::Block;
#[cfg(all(target_arch = "aarch64", target_endian = "little"))]
use super::neon;
use super::portable;
use super::state::{MAX_LANES, State};
#[cfg(target_arch = "x86_64")]
use super::{avx2, avx512, sse2};

/// The variable that names the backend to use instead of the fastest one.
const VARIABLE: &str = "INHAUL_HASH_BACKEND";

/// All backends of this architecture, fastest first.
static KERNELS: &[Kernel] = &[
    #[cfg(target_arch = "x86_64")]
    avx512::KERNEL,
    #[cfg(target_arch = "x86_64")]
    avx2::KERNEL,
    #[cfg(target_arch = "x86_64")]
    sse2::KERNEL,
    #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
    neon::KERNEL,
    portable::KERNEL,
];

/// The items that the file of a backend provides.
#[derive(Debug)]
pub(super) struct Kernel {
    pub(super) name: &'static str,
    /// Lanes of one register.
    pub(super) group: usize,
    /// Registers that are interleaved to keep the processor busy.
    pub(super) groups: usize,
    /// With fewer used lanes than this, hashing one stream after the other is faster (see the bench).
    pub(super) min_lanes: usize,
    pub(super) is_available: fn() -> bool,
    /// Hashes the first `count` blocks of each input, one input per lane.
    ///
    /// Unsafe to call unless `is_available()`. Panics unless the inputs fill one or all `groups`
    /// and each has `count` blocks.
    pub(super) compress: unsafe fn(&mut State, inputs: &[&[Block]], count: usize),
}

/// A way to compute MD5 which this processor can run.
#[derive(Clone, Copy)]
pub struct Backend(&'static Kernel);

impl Backend {
    /// The backend for this process: the fastest available one, or the one that the environment
    /// variable `INHAUL_HASH_BACKEND` names. Decided at the first call.
    ///
    /// # Errors
    /// The variable names no backend, or one this processor cannot run.
    pub fn active() -> Result<Self, BackendError> {
        static ACTIVE: OnceLock<Result<Backend, BackendError>> = OnceLock::new();
        ACTIVE
            .get_or_init(|| match env::var_os(VARIABLE) {
                Some(name) => Self::named(&name.to_string_lossy()),
                None => Ok(Self::available().next().unwrap_or(Self(&portable::KERNEL))),
            })
            .clone()
    }

    /// The backend called `name`: `avx512`, `avx2`, `sse2`, `neon` or `portable`.
    ///
    /// # Errors
    /// There is no such backend, or this processor cannot run it.
    pub fn named(name: &str) -> Result<Self, BackendError> {
        Self::available()
            .find(|backend| backend.name() == name)
            .ok_or_else(|| BackendError { name: name.to_owned() })
    }

    /// All backends this processor can run, fastest first.
    pub fn available() -> impl Iterator<Item = Self> {
        KERNELS.iter().filter(|kernel| (kernel.is_available)()).map(Self)
    }

    /// The name, as in `INHAUL_HASH_BACKEND`.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.0.name
    }

    /// The number of messages that are hashed at the same time.
    #[must_use]
    pub fn lanes(self) -> usize {
        self.0.group * self.0.groups
    }

    /// Hashes the first `count` blocks of each input, in the lane of the same number.
    #[expect(unsafe_code, reason = "calls code for one kind of processor")]
    pub(super) fn compress(
        self,
        state: &mut State,
        inputs: &mut [&[Block]; MAX_LANES],
        used: usize,
        count: usize,
    ) {
        let Kernel { group, min_lanes, compress, .. } = *self.0;
        if used < min_lanes {
            portable::compress_lanes(state, &inputs[..used], count);
            return;
        }
        // An idle lane hashes the same bytes as the first lane, and its state is ignored.
        let width = used.next_multiple_of(group);
        let first = inputs[0];
        inputs[used..width].fill(first);
        // SAFETY: only `available` makes a `Backend`, of kernels this processor can run.
        unsafe { compress(state, &inputs[..width], count) }
    }
}

impl fmt::Debug for Backend {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Backend").field(&self.name()).finish()
    }
}

/// The requested backend does not exist here.
#[derive(Clone, Debug)]
pub struct BackendError {
    name: String,
}

impl fmt::Display for BackendError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let available: Vec<_> = Backend::available().map(Backend::name).collect();
        write!(
            formatter,
            "hash backend {:?} is unknown or cannot run on this processor; set {VARIABLE} to one of: {}",
            self.name,
            available.join(", "),
        )
    }
}

impl error::Error for BackendError {}
