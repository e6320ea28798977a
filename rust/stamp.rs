//! The attributes of a file that change when it is written.

use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::fs::{AtFlags, Stat, StatxFlags, statx};
#[cfg(feature = "python")]
use rustix::fs::{CWD, lstat};
#[cfg(feature = "python")]
use rustix::io::Errno;

#[cfg(any(feature = "python", test))]
const SECOND: i64 = 1_000_000_000;

/// The size and the times of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    pub(crate) size: u64,
    modified: (i64, u64),
    changed: (i64, u64),
}

impl Stamp {
    #[expect(clippy::unnecessary_cast, reason = "stat's fields differ by platform")]
    pub(crate) fn new(stat: &Stat) -> Self {
        Self {
            size: stat.st_size as u64,
            modified: (stat.st_mtime as i64, stat.st_mtime_nsec as u64),
            changed: (stat.st_ctime as i64, stat.st_ctime_nsec as u64),
        }
    }

    /// The stamp with these values; the times are in nanoseconds.
    #[cfg(any(feature = "python", test))]
    pub(crate) fn of(size: u64, modified: i64, changed: i64) -> Self {
        let time = |time: i64| (time.div_euclid(SECOND), time.rem_euclid(SECOND).unsigned_abs());
        Self { size, modified: time(modified), changed: time(changed) }
    }

    /// Size and times, in nanoseconds.
    #[cfg(any(feature = "python", test))]
    pub(crate) fn values(&self) -> (u64, i64, i64) {
        let time = |(seconds, part): (i64, u64)| seconds.saturating_mul(SECOND).saturating_add_unsigned(part);
        (self.size, time(self.modified), time(self.changed))
    }

    /// Returns true if the file has this size and was last changed before a moment.
    pub(crate) fn is_of(&self, size: usize, moment: Duration) -> bool {
        self.size == size as u64 && self.changed_at() < moment
    }

    pub(crate) fn changed_at(&self) -> Duration {
        Duration::new(self.changed.0.unsigned_abs(), self.changed.1 as u32)
    }
}

/// Makes a client of a server ask for the attributes of an open file again.
pub(crate) fn refresh(file: &OwnedFd) {
    // Where the call is not allowed, what the client remembers must do.
    let _ = statx(file, c"", AtFlags::EMPTY_PATH | AtFlags::STATX_FORCE_SYNC, StatxFlags::BASIC_STATS);
}

/// The attributes of a path, which is not followed if it is a link. A client of a server asks for them again.
///
/// # Errors
/// There is no such path, or the system refuses.
#[cfg(feature = "python")]
pub(crate) fn fresh(path: &[u8]) -> Result<Stat, Errno> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::STATX_FORCE_SYNC;
    let _ = statx(CWD, path, flags, StatxFlags::BASIC_STATS); // as in `refresh`
    lstat(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_give_the_same_stamp() {
        for (size, modified, changed) in [(0, 0, 1), (5, -1, 1_700_000_000_123_456_789), (7, -SECOND, SECOND)]
        {
            assert_eq!(Stamp::of(size, modified, changed).values(), (size, modified, changed));
        }
    }
}
