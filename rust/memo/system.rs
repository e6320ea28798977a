//! The file systems whose times say whether a file changed.

use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{PoisonError, RwLock};

use rustix::fs::{Stat, fstatfs, fstatvfs};
use rustix::time::{ClockId, clock_gettime};

use super::entry::Key;

/// ext2 to ext4, XFS, Btrfs and F2FS, by their numbers in statfs(2): this machine's clock stamps each change, and
/// also the first store through a mapping after the page was written to the disk.
const OWN: [u64; 4] = [0xef53, 0x5846_5342, 0x9123_683e, 0xf2f5_2010];

/// Never trusted. On tmpfs, ramfs and hugetlbfs, stores through a mapping change no time. overlay shows another file
/// after a copy up. On FUSE, a program makes up the times; sshfs has no ctime. FAT and exFAT have none either.
const NEVER: [u64; 7] =
    [0x0102_1994, 0x8584_58f6, 0x9584_58f6, 0x794c_7630, 0x6573_5546, 0x4d44, 0x2011_bab0];

/// A file system: its device number and its id, which is made from its UUID on ext4, Btrfs and others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Device {
    pub(super) number: u64,
    pub(super) id: u64,
}

/// A trusted file system.
#[derive(Clone, Copy, Debug)]
pub(super) struct System {
    pub(super) device: Device,
    /// This machine's clock stamps changes.
    pub(super) is_own: bool,
}

/// The file systems that were met.
#[derive(Debug)]
pub(super) struct Systems {
    anywhere: bool,
    met: RwLock<Vec<(u64, Option<System>)>>,
    /// The newest change that was seen on file systems with other clocks.
    newest: AtomicI64,
}

impl Systems {
    pub(super) fn new(anywhere: bool) -> Self {
        Self { anywhere, met: RwLock::default(), newest: AtomicI64::new(i64::MIN) }
    }

    /// The file system of a file with this `stat`; `beside` is on it. None if it is not trusted.
    #[expect(clippy::unnecessary_cast, reason = "stat's fields differ by platform")]
    pub(super) fn of(&self, beside: BorrowedFd<'_>, stat: &Stat) -> Option<System> {
        let number = stat.st_dev as u64;
        let met = self.met.read().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, system)) = met.iter().find(|(met, _)| *met == number) {
            return *system;
        }
        drop(met);
        let system = self.look(beside, number);
        self.met.write().unwrap_or_else(PoisonError::into_inner).push((number, system));
        system
    }

    fn look(&self, beside: BorrowedFd<'_>, number: u64) -> Option<System> {
        let kind = u64::from(fstatfs(beside).ok()?.f_type as u32);
        let id = fstatvfs(beside).ok()?.f_fsid;
        let is_own = OWN.contains(&kind);
        let is_trusted = is_own || self.anywhere && !NEVER.contains(&kind);
        is_trusted.then_some(System { device: Device { number, id }, is_own })
    }

    /// The time by the clock that stamps changes, or an earlier one: of a server, only the newest change is known.
    pub(super) fn now(&self, system: System, key: &Key) -> i64 {
        if system.is_own {
            return now();
        }
        self.newest.fetch_max(key.changed, Ordering::Relaxed).max(key.changed)
    }
}

fn now() -> i64 {
    let now = clock_gettime(ClockId::RealtimeCoarse);
    now.tv_sec.saturating_mul(1_000_000_000).saturating_add(now.tv_nsec)
}
