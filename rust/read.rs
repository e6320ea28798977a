//! Opening files, and checking that they did not change while they were read.
//!
//! For a large file, `fstat` is called before and after reading. For a small file, the call afterwards is enough if the
//! clock of this machine stamps changes: the file did not change if its last change is older than the opening. This
//! time can only be set by setting the clock. So a small file needs one in five system calls less.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat, fstat, fstatfs, openat, statat};
use rustix::io::{Errno, pread};
use rustix::time::{ClockId, clock_gettime};

use crate::beneath::{Links, Root};
use crate::listing::Kind;
use crate::memo::{Mark, Memo};
use crate::outcome::{Failure, Reason};
use crate::stamp::{self, Stamp};

/// The number of attempts to read a file that changes.
pub(crate) const ATTEMPTS: u32 = 3;

/// The failure of a file that keeps changing.
pub(crate) fn changed() -> Failure {
    Failure::new(Reason::Changed, format!("it changed while it was read, {ATTEMPTS} times"))
}

/// The failure of a file that is not as the caller has seen it.
fn not_as_expected() -> Failure {
    Failure::new(Reason::Changed, "it changed after it was found complete")
}

/// The longest wait for a step of the file system's clock, which takes at most 10 ms on Linux.
const CLOCK_STEP: Duration = Duration::from_millis(20);

/// The numbers of ext2 to ext4, XFS, Btrfs, F2FS and tmpfs in statfs(2).
const OWN_CLOCK: [u64; 5] = [0xef53, 0x5846_5342, 0x9123_683e, 0xf2f5_2010, 0x0102_1994];

/// Opens a folder: relative to a root if there is one, else any folder.
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
        // Opening a pipe or a device can have side effects.
        check_regular(&statat(folder, name, AtFlags::empty()).map_err(Failure::reading)?)?;
        flags -= OFlags::NOFOLLOW;
    }
    if kind == Kind::Named {
        let stat = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW).map_err(Failure::reading)?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink {
            return Err(Failure::link());
        }
        check_regular(&stat)?;
    }
    openat(folder, name, flags, Mode::empty()).map_err(Failure::reading)
}

/// The result of opening a file.
pub(crate) enum Opened {
    /// The file was read, with this many bytes.
    Read(usize, Option<Mark>),
    /// The file is not read yet.
    Unread(Source),
}

/// A check for file systems that use this machine's clock; those of a server or another program have their own.
#[derive(Default)]
pub(crate) struct Clocks {
    /// The device of the last check, and its result.
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

/// An open regular file, with its attributes when reading began.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    file: Arc<OwnedFd>,
    stamp: Stamp,
    /// The only stamp with which the file may be read.
    expected: Option<Stamp>,
    /// Its state, if that can be remembered with its hash.
    mark: Option<Mark>,
}

impl Source {
    /// Opens a regular file in `folder`.
    ///
    /// # Errors
    /// It is not a regular file, or the system refuses.
    pub(crate) fn open(
        folder: BorrowedFd<'_>,
        name: &[u8],
        kind: Kind,
        expected: Option<Stamp>,
        memo: Option<&Memo>,
    ) -> Result<Self, Failure> {
        Self::new(open_file(folder, name, kind)?, expected, memo)
    }

    /// Opens a regular file below a root, possibly through links.
    ///
    /// # Errors
    /// It is not a regular file, a link must not be followed, or the system refuses.
    pub(crate) fn open_below(root: &Root, path: &[u8], links: Links) -> Result<Self, Failure> {
        let open = |flags| root.open_at(path, flags, Mode::empty(), links).map_err(Failure::opening);
        // Opening a pipe or a device can have side effects.
        check_regular(&fstat(open(OFlags::PATH)?).map_err(Failure::reading)?)?;
        Self::new(open(OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY)?, None, None)
    }

    /// Opens a file. If it is smaller than `buffer` and does not change, also reads it.
    ///
    /// # Errors
    /// It is not a regular file, or the system refuses.
    pub(crate) fn open_or_read(
        folder: BorrowedFd<'_>,
        name: &[u8],
        kind: Kind,
        expected: Option<Stamp>,
        buffer: &mut [u8],
        clocks: &mut Clocks,
        memo: Option<&Memo>,
    ) -> Result<Opened, Failure> {
        let began = now();
        let file = open_file(folder, name, kind)?;
        let is_clean = memo.is_some() && Memo::is_clean(&file);
        // If it is no longer a regular file, this read consumes nothing.
        if let Ok(length) = pread(&file, &mut *buffer, 0)
            && length < buffer.len()
            && let Ok(stat) = fstat(&file)
            && check_regular(&stat).is_ok()
            && Stamp::new(&stat).is_of(length, began)
            && expected.is_none_or(|expected| expected == Stamp::new(&stat))
            && clocks.are_own(&file, &stat)
            && now() >= began
        {
            let Some(memo) = memo else { return Ok(Opened::Read(length, None)) };
            if let Some(mark) = memo.mark_clean(&file, &stat).filter(|_| is_clean) {
                return Ok(Opened::Read(length, Some(mark)));
            }
            // Others may be writing: the mark needs a closer look, before the file is read.
            let Some(mark) = memo.mark(&file, &stat) else { return Ok(Opened::Read(length, None)) };
            let again = pread(&file, &mut *buffer, 0);
            if again == Ok(length) && fstat(&file).is_ok_and(|stat| mark.is_of(&stat)) {
                return Ok(Opened::Read(length, Some(mark)));
            }
        }
        Self::new(file, expected, memo).map(Opened::Unread)
    }

    fn new(file: OwnedFd, expected: Option<Stamp>, memo: Option<&Memo>) -> Result<Self, Failure> {
        let stat = look(&file, expected)?;
        check_regular(&stat)?;
        let mark = memo.and_then(|memo| memo.mark(&file, &stat));
        Self { file: Arc::new(file), stamp: Stamp::new(&stat), expected, mark }.settled()
    }

    /// Its state when reading began, if that can be remembered. Only of use if the file has held still.
    #[must_use]
    pub(crate) fn mark(&self) -> Option<Mark> {
        self.mark
    }

    /// The bytes in the file when reading began.
    #[must_use]
    pub(crate) fn size(&self) -> u64 {
        self.stamp.size
    }

    /// Returns true if the file has not changed since reading began.
    ///
    /// # Errors
    /// The system refuses.
    pub(crate) fn held_still(&self) -> Result<bool, Failure> {
        Ok(Stamp::new(&look(&self.file, self.expected)?) == self.stamp)
    }

    /// Returns the same file, to be read from the start.
    ///
    /// # Errors
    /// The system refuses.
    pub(crate) fn again(&self) -> Result<Self, Failure> {
        let stat = look(&self.file, self.expected)?;
        Self { file: Arc::clone(&self.file), stamp: Stamp::new(&stat), mark: None, ..*self }.settled()
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

    /// Reads the file in one call. Returns false if the file has changed since reading began.
    ///
    /// `buffer` has one byte more than the file, so that a single read shows its end.
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

    /// Waits until a later write would change the times of the file.
    ///
    /// Times are as coarse as the clock of the file system: a file that was written in this tick could be
    /// written again with the same times. git calls such an entry racy.
    ///
    /// # Errors
    /// The file is not as expected.
    fn settled(self) -> Result<Self, Failure> {
        if self.expected.is_some_and(|expected| expected != self.stamp) {
            return Err(not_as_expected());
        }
        // A later time comes from another clock, and a write would not set it again.
        while self.stamp.changed_at().checked_sub(now()).is_some_and(|ahead| ahead < CLOCK_STEP) {
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(self)
    }
}

/// The attributes of an open file. If they must be the `expected` ones, those that a client of a server remembers are
/// not enough.
fn look(file: &OwnedFd, expected: Option<Stamp>) -> Result<Stat, Failure> {
    if expected.is_some() {
        stamp::refresh(file);
    }
    fstat(file).map_err(Failure::reading)
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

/// The name of a kind that is neither file, folder nor link.
#[must_use]
pub(crate) fn special(kind: FileType) -> &'static str {
    match kind {
        FileType::Fifo => "a named pipe",
        FileType::Socket => "a socket",
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        _ => "something else",
    }
}
