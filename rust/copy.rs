//! Writing objects.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, ftruncate, mkdirat, openat, unlinkat};
use rustix::io::{Errno, pwrite};

use crate::error::{Error, Result};
use crate::record::Failure;

/// A storage root that objects are written into.
#[derive(Debug)]
pub struct Destination {
    root: OwnedFd,
    /// Where that is, for people.
    path: Vec<u8>,
    /// Write over what is there.
    pub overwrite: bool,
}

impl Destination {
    /// Opens a root.
    ///
    /// # Errors
    /// It is no folder, or the system refuses.
    pub fn open(path: &[u8], overwrite: bool) -> Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = openat(CWD, path, flags, Mode::empty()).map_err(|errno| Error::os(path, errno))?;
        Ok(Self { root, path: path.to_owned(), overwrite })
    }

    fn create(&self, name: &[u8]) -> rustix::io::Result<OwnedFd> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let open = || openat(&self.root, name, flags, Mode::from_raw_mode(0o666));
        match open() {
            Err(Errno::NOENT) => {
                self.create_folders(name)?;
                open()
            }
            // Not opened for writing: another name of the same file would change with it.
            Err(Errno::EXIST) if self.overwrite => {
                unlinkat(&self.root, name, AtFlags::empty())?;
                open()
            }
            result => result,
        }
    }

    fn failure(&self, errno: Errno, name: &[u8]) -> Failure {
        Failure::writing(errno, &[&self.path, b"/".as_slice(), name].concat())
    }

    fn create_folders(&self, name: &[u8]) -> rustix::io::Result<()> {
        for (end, _) in name.iter().enumerate().filter(|&(at, &byte)| at > 0 && byte == b'/') {
            match mkdirat(&self.root, &name[..end], Mode::from_raw_mode(0o777)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }
}

/// An object that is being written; unless it is kept, it is removed when dropped.
#[derive(Debug)]
pub(crate) struct Target {
    destination: Arc<Destination>,
    name: Vec<u8>,
    file: OwnedFd,
    /// Kept or removed: nothing is left to do when it is dropped.
    settled: AtomicBool,
}

impl Target {
    /// Creates the object `name`, and its folder if that is missing.
    ///
    /// # Errors
    /// It exists and is not to be written over, or the system refuses.
    pub(crate) fn create(destination: &Arc<Destination>, name: &[u8]) -> std::result::Result<Self, Failure> {
        let file = destination.create(name).map_err(|errno| destination.failure(errno, name))?;
        Ok(Self {
            destination: Arc::clone(destination),
            name: name.to_owned(),
            file,
            settled: AtomicBool::new(false),
        })
    }

    /// Writes all of `bytes` at `offset`.
    ///
    /// # Errors
    /// The system refuses.
    pub(crate) fn write(&self, mut bytes: &[u8], mut offset: u64) -> std::result::Result<(), Failure> {
        while !bytes.is_empty() {
            match pwrite(self.file.as_fd(), bytes, offset) {
                Ok(length) => {
                    bytes = &bytes[length..];
                    offset += length as u64;
                }
                Err(Errno::INTR) => {}
                Err(errno) => return Err(self.destination.failure(errno, &self.name)),
            }
        }
        Ok(())
    }

    /// Makes the object empty again.
    ///
    /// # Errors
    /// The system refuses.
    pub(crate) fn restart(&self) -> std::result::Result<(), Failure> {
        ftruncate(&self.file, 0).map_err(|errno| self.destination.failure(errno, &self.name))
    }

    /// Declares the object complete.
    pub(crate) fn keep(&self) {
        self.settled.store(true, Ordering::Relaxed);
    }

    /// Removes the object.
    pub(crate) fn discard(&self) {
        if !self.settled.swap(true, Ordering::Relaxed) {
            // Nothing refers to it; what cannot be removed now is garbage that gc finds.
            let _ = unlinkat(&self.destination.root, &*self.name, AtFlags::empty());
        }
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        self.discard();
    }
}

/// Writes a whole object.
///
/// # Errors
/// It exists and is not to be written over, or the system refuses; then none is left.
pub(crate) fn write_object(
    destination: &Arc<Destination>,
    name: &[u8],
    bytes: &[u8],
) -> std::result::Result<(), Failure> {
    let write = || {
        let target = Target::create(destination, name)?;
        target.write(bytes, 0)?;
        target.keep();
        Ok(())
    };
    write().map_err(|failure: Failure| failure.needing(bytes.len() as u64))
}
