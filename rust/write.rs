//! Writing objects.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::ftruncate;
use rustix::io::{Errno, pwrite};

use crate::beneath::{Refusal, Root};
use crate::outcome::Failure;

/// A storage root into which objects are written.
#[derive(Debug)]
pub struct Destination {
    /// The root.
    pub root: Arc<Root>,
    /// Overwrite existing objects.
    pub overwrite: bool,
}

impl Destination {
    fn create(&self, name: &[u8]) -> Result<OwnedFd, Refusal> {
        match self.root.create_file(name) {
            // Not opened for writing, as that would also change other hard links of the file.
            Err(Refusal::Os(Errno::EXIST)) if self.overwrite => {
                self.root.remove_file(name)?;
                self.root.create_file(name)
            }
            result => result,
        }
    }

    fn failure(&self, errno: Errno, name: &[u8]) -> Failure {
        Failure::writing(errno, &self.root.whole(name))
    }
}

/// An object that is being written. Dropping it removes the object, unless it is kept.
#[derive(Debug)]
pub(crate) struct Target {
    destination: Arc<Destination>,
    name: Vec<u8>,
    file: OwnedFd,
    /// True if it is kept or removed, so that dropping does nothing.
    settled: AtomicBool,
}

impl Target {
    /// Creates the object `name`, and its folder if that is missing.
    ///
    /// # Errors
    /// The object exists and must not be overwritten, or the system refuses.
    pub(crate) fn create(destination: &Arc<Destination>, name: &[u8]) -> Result<Self, Failure> {
        let file = destination.create(name);
        let file = file.map_err(|refusal| Failure::creating(refusal, &destination.root.whole(name)))?;
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
    pub(crate) fn write(&self, mut bytes: &[u8], mut offset: u64) -> Result<(), Failure> {
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
    pub(crate) fn restart(&self) -> Result<(), Failure> {
        ftruncate(&self.file, 0).map_err(|errno| self.destination.failure(errno, &self.name))
    }

    /// Declares the object complete.
    pub(crate) fn keep(&self) {
        self.settled.store(true, Ordering::Relaxed);
    }

    /// Removes the object.
    pub(crate) fn discard(&self) {
        if !self.settled.swap(true, Ordering::Relaxed) {
            // Nothing refers to it; if it cannot be removed now, gc will find it.
            let _ = self.destination.root.remove_file(&self.name);
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
/// The object exists and must not be overwritten, or the system refuses. Then no new object is left.
pub(crate) fn write_object(destination: &Arc<Destination>, name: &[u8], bytes: &[u8]) -> Result<(), Failure> {
    let write = || {
        let target = Target::create(destination, name)?;
        target.write(bytes, 0)?;
        target.keep();
        Ok(())
    };
    write().map_err(|failure: Failure| failure.needing(bytes.len() as u64))
}
