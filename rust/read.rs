//! Opening files and telling whether they held still while they were read.
//!
//! A large file is looked at before and after. Of a small one, the look afterwards is enough where this machine's
//! own clock stamps changes: it held still if it was last changed before it was opened. Nobody can set that time
//! but by setting the clock. That spares one in five of a small file's system calls.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat, fstat, fstatfs, openat, statat};
use rustix::io::{Errno, pread};
use rustix::time::{ClockId, clock_gettime};

use crate::beneath::{Links, Root};
use crate::listing::Kind;
use crate::outcome::{Failure, Reason};

/// How often a file that changes is read before it is given up.
pub(crate) const ATTEMPTS: u32 = 3;

/// The failure of a file that keeps changing.
pub(crate) fn changed() -> Failure {
    Failure::new(Reason::Changed, format!("it changed while it was read, {ATTEMPTS} times"))
}

/// Longest wait for the file system's clock to step; Linux steps it every 10 ms at the slowest.
const CLOCK_STEP: Duration = Duration::from_millis(20);

/// The numbers of ext2 to ext4, XFS, Btrfs, F2FS and tmpfs, as statfs(2) lists them.
const OWN_CLOCK: [u64; 5] = [0xef53, 0x5846_5342, 0x9123_683e, 0xf2f5_2010, 0x0102_1994];

/// What changes when a file is written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    size: u64,
    modified: (i64, u64),
    changed: (i64, u64),
}

impl Stamp {
    #[expect(clippy::unnecessary_cast, reason = "stat's fields differ by platform")]
    fn new(stat: &Stat) -> Self {
        Self {
            size: stat.st_size as u64,
            modified: (stat.st_mtime as i64, stat.st_mtime_nsec as u64),
            changed: (stat.st_ctime as i64, stat.st_ctime_nsec as u64),
        }
    }

    /// Whether the file has this size and was last changed before a moment.
    fn is_of(&self, size: usize, moment: Duration) -> bool {
        self.size == size as u64 && self.changed_at() < moment
    }

    fn changed_at(&self) -> Duration {
        Duration::new(self.changed.0.unsigned_abs(), self.changed.1 as u32)
    }
}

/// Opens a folder: below a root only what is there, without one any.
pub(crate) fn open_folder(
    root: Option<&Root>,
    path: &[u8],
    access: OFlags,
    links: Links,
) -> Result<OwnedFd, Failure> {
    let flags = access | OFlags::DIRECTORY | OFlags::CLOEXEC;
    match root {
        Some(root) => root.open_at(path, flags, Mode::empty(), links).map_err(Failure::opening),
        None => {
            let path = if path.is_empty() { b"." } else { path };
            openat(CWD, path, flags, Mode::empty()).map_err(Failure::reading)
        }
    }
}

fn open_file(folder: BorrowedFd<'_>, name: &[u8], kind: Kind) -> Result<OwnedFd, Failure> {
    let mut flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    if kind == Kind::Unseen {
        // Opening a pipe or a device can have effects of its own.
        check_regular(&statat(folder, name, AtFlags::empty()).map_err(Failure::reading)?)?;
        flags -= OFlags::NOFOLLOW;
    }
    openat(folder, name, flags, Mode::empty()).map_err(Failure::reading)
}

/// What opening a file came to.
pub(crate) enum Opened {
    /// It was read: this many bytes.
    Read(usize),
    /// It is still to be read.
    Unread(Source),
}

/// Which file systems have this machine's clock; those of a server or of another program have their own.
#[derive(Default)]
pub(crate) struct Clocks {
    /// The device that was asked about last.
    last: Option<(u64, bool)>,
}

impl Clocks {
    #[expect(clippy::unnecessary_cast, reason = "stat's fields differ by platform")]
    fn are_own(&mut self, file: &OwnedFd, stat: &Stat) -> bool {
        let device = stat.st_dev as u64;
        if let Some((_, own)) = self.last.filter(|last| last.0 == device) {
            return own;
        }
        let own = fstatfs(file).is_ok_and(|system| OWN_CLOCK.contains(&(system.f_type as u64)));
        self.last = Some((device, own));
        own
    }
}

/// An open regular file and what it looked like when reading began.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    file: Arc<OwnedFd>,
    stamp: Stamp,
}

impl Source {
    /// Opens a file of `folder`, if it is a regular one.
    ///
    /// # Errors
    /// It is none, or the system refuses.
    pub(crate) fn open(folder: BorrowedFd<'_>, name: &[u8], kind: Kind) -> Result<Self, Failure> {
        Self::new(open_file(folder, name, kind)?)
    }

    /// Opens a regular file below a root that links may lead to.
    ///
    /// # Errors
    /// It is none, a link is not to be followed, or the system refuses.
    pub(crate) fn open_below(root: &Root, path: &[u8], links: Links) -> Result<Self, Failure> {
        let open = |flags| root.open_at(path, flags, Mode::empty(), links).map_err(Failure::opening);
        // Opening a pipe or a device can have effects of its own.
        check_regular(&fstat(open(OFlags::PATH)?).map_err(Failure::reading)?)?;
        Self::new(open(OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY)?)
    }

    /// Opens a file and, if it fits `buffer` with a byte to spare and held still, reads it there at once.
    ///
    /// # Errors
    /// It is no regular file, or the system refuses.
    pub(crate) fn open_or_read(
        folder: BorrowedFd<'_>,
        name: &[u8],
        kind: Kind,
        buffer: &mut [u8],
        clocks: &mut Clocks,
    ) -> Result<Opened, Failure> {
        let began = now();
        let file = open_file(folder, name, kind)?;
        // Of what is no regular file by now, this takes nothing away.
        if let Ok(length) = pread(&file, &mut *buffer, 0)
            && length < buffer.len()
            && let Ok(stat) = fstat(&file)
            && check_regular(&stat).is_ok()
            && Stamp::new(&stat).is_of(length, began)
            && clocks.are_own(&file, &stat)
            && now() >= began
        {
            return Ok(Opened::Read(length));
        }
        Self::new(file).map(Opened::Unread)
    }

    fn new(file: OwnedFd) -> Result<Self, Failure> {
        let stat = fstat(&file).map_err(Failure::reading)?;
        check_regular(&stat)?;
        let source = Self { file: Arc::new(file), stamp: Stamp::new(&stat) };
        source.settle();
        Ok(source)
    }

    /// Bytes in the file when reading began.
    #[must_use]
    pub(crate) fn size(&self) -> u64 {
        self.stamp.size
    }

    /// Whether the file has held still since reading began.
    ///
    /// # Errors
    /// The system refuses.
    pub(crate) fn held_still(&self) -> Result<bool, Failure> {
        let stat = fstat(&self.file).map_err(Failure::reading)?;
        Ok(Stamp::new(&stat) == self.stamp)
    }

    /// The same file, to be read from the start.
    ///
    /// # Errors
    /// The system refuses.
    pub(crate) fn again(&self) -> Result<Self, Failure> {
        let stat = fstat(&self.file).map_err(Failure::reading)?;
        let source = Self { file: Arc::clone(&self.file), stamp: Stamp::new(&stat) };
        source.settle();
        Ok(source)
    }

    /// Reads at `offset` until the buffer is full or the file ends.
    ///
    /// # Errors
    /// The system refuses.
    pub(crate) fn read(&self, buffer: &mut [u8], offset: u64) -> Result<usize, Failure> {
        let mut filled = 0;
        while filled < buffer.len() {
            match pread(&self.file, &mut buffer[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(length) => filled += length,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(Failure::reading(errno)),
            }
        }
        Ok(filled)
    }

    /// Reads the file in one call; false when it is not, or no longer, what it was when reading began.
    ///
    /// `buffer` has one byte more than the file, so that a single read shows that it ends there.
    ///
    /// # Errors
    /// The system refuses.
    pub(crate) fn read_whole(&self, buffer: &mut [u8]) -> Result<bool, Failure> {
        let length = loop {
            match pread(&self.file, &mut *buffer, 0) {
                Err(Errno::INTR) => {}
                result => break result.map_err(Failure::reading)?,
            }
        };
        Ok(length + 1 == buffer.len() && self.held_still()?)
    }

    /// Waits until a write from now on would show in the file's times.
    ///
    /// Times are as coarse as the clock of the file system: a file written in this very tick could be
    /// written again and look the same. git calls such an entry racy.
    fn settle(&self) {
        // A time further ahead comes from another clock, and a write would not repeat it.
        while self.stamp.changed_at().checked_sub(now()).is_some_and(|ahead| ahead < CLOCK_STEP) {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

fn now() -> Duration {
    let now = clock_gettime(ClockId::RealtimeCoarse);
    Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec as u32)
}

fn check_regular(stat: &Stat) -> Result<(), Failure> {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Ok(()),
        FileType::Directory => Err(Failure {
            reason: Reason::Special,
            message: "Is a directory".to_owned(),
            errno: Some(Errno::ISDIR),
            writing: false,
        }),
        kind => Err(Failure {
            reason: Reason::Special,
            message: format!("This is {}, not a regular file", special(kind)),
            errno: Some(Errno::INVAL),
            writing: false,
        }),
    }
}

/// What a thing is that is neither file, folder nor link.
#[must_use]
pub(crate) fn special(kind: FileType) -> &'static str {
    match kind {
        FileType::Fifo => "a named pipe",
        FileType::Socket => "a socket",
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        _ => "something else",
    }
}
