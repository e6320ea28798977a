//! What `inhaul._core` knows of files that others are writing.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use pyo3::prelude::*;
use pyo3::types::PyBytes;
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::fs::{CWD, FileType, Mode, OFlags, openat};
use rustix::io::Errno;

use super::convert::{PyPath, blocking, exception};
use crate::error::Error;
use crate::memo;
use crate::stamp::{self, Stamp};

/// The changes of a folder after which a file in it may be complete, or files in it may have another path.
const CHANGES: WatchFlags = WatchFlags::CREATE
    .union(WatchFlags::CLOSE_WRITE)
    .union(WatchFlags::MOVED_FROM)
    .union(WatchFlags::MOVED_TO)
    .union(WatchFlags::MOVE_SELF)
    .union(WatchFlags::ONLYDIR)
    .union(WatchFlags::DONT_FOLLOW);

/// Number of the watch, what happened, and the name in the folder; it is empty for the folder itself.
type Event<'py> = (i32, u32, Bound<'py, PyBytes>);

#[pyclass(frozen, module = "inhaul._core")]
pub(super) struct Inotify(OwnedFd);

#[pymethods]
impl Inotify {
    #[new]
    fn new(py: Python<'_>) -> PyResult<Self> {
        let file = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK);
        file.map(Self).map_err(|errno| exception(py, Error::os(b"inotify", errno)))
    }

    fn fileno(&self) -> i32 {
        self.0.as_raw_fd()
    }

    fn add(&self, py: Python<'_>, folder: PyPath) -> PyResult<i32> {
        blocking(py, |_| {
            inotify::add_watch(&self.0, folder.0.as_slice(), CHANGES)
                .map_err(|errno| Error::os(&folder.0, errno))
        })
    }

    fn remove(&self, watch: i32) {
        // The kernel has removed it already if the folder is gone.
        let _ = inotify::remove_watch(&self.0, watch);
    }

    fn events<'py>(&self, py: Python<'py>) -> PyResult<Vec<Event<'py>>> {
        let mut buffer = [MaybeUninit::uninit(); 16 << 10];
        let mut reader = inotify::Reader::new(&self.0, &mut buffer);
        let mut events = Vec::new();
        loop {
            match reader.next() {
                Ok(event) => {
                    let name = event.file_name().map_or(&[][..], |name| name.to_bytes());
                    events.push((event.wd(), event.events().bits(), PyBytes::new(py, name)));
                }
                Err(Errno::AGAIN) => return Ok(events),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(exception(py, Error::os(b"inotify", errno))),
            }
        }
    }
}

/// Size, mtime and ctime, these in nanoseconds, and the number of the device.
type State = ((u64, i64, i64), u64);

/// None if there is no regular file.
#[pyfunction]
#[expect(clippy::unnecessary_cast, reason = "stat's fields differ by platform")]
pub(super) fn file_state(py: Python<'_>, path: PyPath) -> PyResult<Option<State>> {
    blocking(py, |_| match stamp::fresh(&path.0) {
        Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile => {
            Ok(Some((Stamp::new(&stat).values(), stat.st_dev as u64)))
        }
        Ok(_) | Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
        Err(errno) => Err(Error::os(&path.0, errno)),
    })
}

#[pyfunction]
pub(super) fn has_writers(py: Python<'_>, path: PyPath) -> Option<bool> {
    py.detach(|| {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
        let file = openat(CWD, path.0.as_slice(), flags, Mode::empty()).ok()?;
        memo::has_writers(file.as_fd())
    })
}
