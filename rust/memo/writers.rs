//! Whether a change of a file would move its times.
//!
//! Not every change does: a `write` call stamps the file when it begins, and may take long; and a store through a
//! mapping stamps it only once until the page is written to the disk.

use std::os::fd::BorrowedFd;

use super::entry::Key;

/// A single `write` call takes less, and a changed page is written to the disk by then, except on a busy disk.
const LONG: i64 = 60_000_000_000;

/// For a file of this size, the lease costs little compared with the reading.
const LARGE: u64 = 64 << 10;

/// Returns true if each change from now on moves the times of the file: nobody has it open to write, or no page waits
/// to be written.
///
/// A lease shows that nobody has it open. It costs as much as reading a small file, and only the owner may take one.
pub(super) fn is_settled(file: BorrowedFd<'_>, key: &Key, now: i64, is_own: bool) -> bool {
    let is_long_ago = is_long_ago(key, now);
    if is_own && (key.size >= LARGE || !is_long_ago) {
        match system::has_writers(file) {
            Some(has_writers) => return !has_writers,
            None if !is_long_ago => return false,
            None => {}
        }
    }
    system::write_out(file)
}

/// Returns true if the file is open to write, also as the source of a mapping; None if that cannot be known.
#[cfg(feature = "python")]
pub(crate) fn has_writers(file: BorrowedFd<'_>) -> Option<bool> {
    system::has_writers(file)
}

/// Returns true if each `write` call that changed the file has ended.
pub(super) fn is_long_ago(key: &Key, now: i64) -> bool {
    key.is_older(now, LONG)
}

/// Returns true if no changed page waits to be written to the disk. Cheaper than `is_settled` for a small file.
pub(super) fn is_clean(file: BorrowedFd<'_>) -> bool {
    system::changed_pages(file) == Some(0)
}

#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "calls of the system that rustix lacks")]
mod system {
    use std::os::fd::{AsRawFd, BorrowedFd};

    use libc::{
        EAGAIN, F_RDLCK, F_SETLEASE, F_UNLCK, SIGURG, SYNC_FILE_RANGE_WAIT_AFTER,
        SYNC_FILE_RANGE_WAIT_BEFORE, SYNC_FILE_RANGE_WRITE,
    };

    /// Not in the crate: its number is the same on all processors.
    const CACHESTAT: libc::c_long = 451;

    /// Not in the crate: see fcntl(2).
    const F_SETSIG: libc::c_int = 10;

    /// Returns true if the file is open to write, also as the source of a mapping; None if that is not known.
    pub(super) fn has_writers(file: BorrowedFd<'_>) -> Option<bool> {
        let file = file.as_raw_fd();
        // Whoever opens the file in between makes the kernel send a signal, which nobody minds: by default it would
        // be one that ends the process.
        // SAFETY: The descriptor is open, and the calls get numbers only.
        let taken = unsafe { libc::fcntl(file, F_SETSIG, SIGURG) } == 0
            && unsafe { libc::fcntl(file, F_SETLEASE, F_RDLCK) } == 0;
        if taken {
            // SAFETY: As above.
            unsafe { libc::fcntl(file, F_SETLEASE, F_UNLCK) };
            return Some(false);
        }
        (std::io::Error::last_os_error().raw_os_error() == Some(EAGAIN)).then_some(true)
    }

    /// The number of changed pages that wait to be written; None before Linux 6.5, or for files of others.
    pub(super) fn changed_pages(file: BorrowedFd<'_>) -> Option<u64> {
        // See cachestat(2): offset and length of the range, where 0 means the end; and five numbers of pages.
        let (range, mut pages) = ([0_u64; 2], [0_u64; 5]);
        // SAFETY: The descriptor is open. The kernel reads 16 bytes of `range`, and writes 40 bytes to `pages`.
        let result =
            unsafe { libc::syscall(CACHESTAT, file.as_raw_fd(), range.as_ptr(), pages.as_mut_ptr(), 0) };
        (result == 0).then_some(pages[1])
    }

    /// Writes the changed pages of the file to the disk. If there are none, as usual, that takes no time.
    pub(super) fn write_out(file: BorrowedFd<'_>) -> bool {
        let all = SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;
        // SAFETY: The descriptor is open, and the call gets numbers only.
        unsafe { libc::sync_file_range(file.as_raw_fd(), 0, 0, all) == 0 }
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use std::os::fd::BorrowedFd;

    pub(super) fn has_writers(_: BorrowedFd<'_>) -> Option<bool> {
        None
    }

    pub(super) fn changed_pages(_: BorrowedFd<'_>) -> Option<u64> {
        None
    }

    pub(super) fn write_out(_: BorrowedFd<'_>) -> bool {
        false
    }
}
