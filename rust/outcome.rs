//! The small values that everything else passes around.

use rustix::io::Errno;

use crate::beneath::Refusal;
use crate::error::{Error, as_path, describe};
use crate::hash::Hash;
use crate::ids::Uid;

/// What a planned file is to the registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Its key is not registered.
    New,
    /// Its key is registered with other content.
    NewVersion,
    /// Its key is registered with this content.
    Unchanged,
}

impl Status {
    /// The name Python knows it by.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::NewVersion => "new_version",
            Self::Unchanged => "unchanged",
        }
    }
}

/// Why a file is not a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// No permission.
    Unreadable,
    /// Gone since the walk saw it.
    Vanished,
    /// Kept changing while it was read, or differs from what was staged.
    Changed,
    /// Its name is not UTF-8.
    NotUtf8,
    /// Its name makes no valid key.
    InvalidKey,
    /// Its key is known only in the trash.
    Trashed,
    /// Lost a race for its key to other content.
    Conflict,
    /// Any other error of the system.
    IoError,
    /// The destination is full.
    NoSpace,
    /// The storage did not take it.
    NotStored,
    /// A symbolic link, and links are not followed.
    Symlink,
    /// A pipe, socket or device.
    Special,
    /// A link that leaves the root.
    Outside,
    /// A link to a folder it lies in.
    Loop,
}

impl Reason {
    /// The name Python knows it by.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable",
            Self::Vanished => "vanished",
            Self::Changed => "changed",
            Self::NotUtf8 => "not_utf8",
            Self::InvalidKey => "invalid_key",
            Self::Trashed => "trashed",
            Self::Conflict => "conflict",
            Self::IoError => "io_error",
            Self::NoSpace => "no_space",
            Self::NotStored => "not_stored",
            Self::Symlink => "symlink",
            Self::Special => "special",
            Self::Outside => "outside",
            Self::Loop => "loop",
        }
    }

    /// Whether the file was left out on purpose and nothing failed.
    #[must_use]
    pub fn is_skip(self) -> bool {
        matches!(self, Self::Symlink | Self::Special | Self::Outside | Self::Loop)
    }
}

/// How it is known that an object is what was hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VerifiedBy {
    /// Written here, by the very read that was hashed.
    Local,
    /// The storage's `ETag` is the hash.
    Etag,
    /// The storage checked a checksum.
    Checksum,
    /// It was read back.
    Readback,
    /// It is not.
    Nothing,
}

impl VerifiedBy {
    const ALL: [Self; 5] = [Self::Local, Self::Etag, Self::Checksum, Self::Readback, Self::Nothing];

    /// The name Python knows it by.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Etag => "etag",
            Self::Checksum => "checksum",
            Self::Readback => "readback",
            Self::Nothing => "none",
        }
    }

    /// The one that Python calls `name`.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.name() == name)
    }
}

/// Why one file is not a row, before its path is known.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The kind.
    pub reason: Reason,
    /// For people.
    pub message: String,
    /// What the system said, if it did.
    pub errno: Option<Errno>,
    /// Whether the destination failed and not the source.
    pub writing: bool,
}

impl Failure {
    /// A failure that no system call reported.
    #[must_use]
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), errno: None, writing: false }
    }

    /// The failure of a file that was staged with other content.
    #[must_use]
    pub fn not_as_staged() -> Self {
        Self::new(Reason::Changed, "it is not what was staged: stage it again")
    }

    /// A failure to find, open or read a file.
    #[must_use]
    pub fn reading(errno: Errno) -> Self {
        let reason = match errno {
            Errno::ACCESS | Errno::PERM => Reason::Unreadable,
            Errno::NOENT | Errno::NOTDIR | Errno::STALE => Reason::Vanished,
            // Only O_NOFOLLOW gives it here: a link took the file's place since the walk.
            Errno::LOOP => Reason::Symlink,
            _ => Reason::IoError,
        };
        Self { reason, message: describe(errno), errno: Some(errno), writing: false }
    }

    /// A failure to write the object at `path`.
    #[must_use]
    pub fn writing(errno: Errno, path: &[u8]) -> Self {
        let reason = match errno {
            Errno::NOSPC | Errno::DQUOT => Reason::NoSpace,
            _ => Reason::IoError,
        };
        let message = format!("{}: writing {}", describe(errno), String::from_utf8_lossy(path));
        Self { reason, message, errno: Some(errno), writing: true }
    }

    /// A failure to open a file below the folder that is read.
    #[must_use]
    pub fn opening(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Os(errno) => Self::reading(errno),
            Refusal::Link(link) if link.is_any() => Self::reading(Errno::LOOP),
            Refusal::Link(link) => {
                Self { errno: Some(Errno::XDEV), ..Self::new(Reason::Outside, link.message()) }
            }
        }
    }

    /// A failure to create the object at `path`.
    #[must_use]
    pub fn creating(refusal: Refusal, path: &[u8]) -> Self {
        match refusal {
            Refusal::Os(errno) => Self::writing(errno, path),
            Refusal::Link(link) => {
                let message = format!("{}: writing {}", link.message(), String::from_utf8_lossy(path));
                Self { reason: Reason::NotStored, message, errno: Some(Errno::XDEV), writing: true }
            }
        }
    }

    /// Says how much room an object of `size` bytes needs, if room is what failed.
    #[must_use]
    pub fn needing(mut self, size: u64) -> Self {
        if self.reason == Reason::NoSpace {
            self.message = format!("{}, which needs {size} bytes", self.message);
        }
        self
    }

    /// The error of a call that was about one file only.
    #[must_use]
    pub fn error(&self, path: &[u8]) -> Error {
        if self.errno == Some(Errno::XDEV) {
            return Error::link(path, self.message.clone());
        }
        match self.errno {
            Some(errno) if self.reason == Reason::Special => {
                Error::Os { path: as_path(path).to_owned(), errno, message: self.message.clone() }
            }
            Some(errno) if self.reason != Reason::Changed => Error::os(path, errno),
            _ if matches!(self.reason, Reason::NotUtf8 | Reason::InvalidKey) => {
                Error::Key { path: as_path(path).to_owned(), message: self.message.clone() }
            }
            _ => Error::Changed { path: as_path(path).to_owned(), message: self.message.clone() },
        }
    }

    /// The failure of the file at `path`.
    #[must_use]
    pub fn at(self, path: Vec<u8>) -> Issue {
        Issue { path, failure: self }
    }
}

/// A file that is not a row.
#[derive(Clone, Debug)]
pub struct Issue {
    /// Its full path.
    pub path: Vec<u8>,
    /// Why.
    pub failure: Failure,
}

/// What the registry knows of a key.
#[derive(Clone, Debug)]
pub struct Known {
    /// Uid of the latest row.
    pub uid: Uid,
    /// Highest uid of its family.
    pub highest: Uid,
    /// Size in bytes.
    pub size: u64,
    /// Its hash; None for a kind that this crate does not make.
    pub hash: Option<Hash>,
    /// In the trash.
    pub trashed: bool,
    /// The row as JSON, passed through unread.
    pub record: Box<str>,
}

impl Known {
    /// Whether the row has this content.
    #[must_use]
    pub fn is(&self, size: u64, hash: &Hash) -> bool {
        self.size == size && self.hash.as_ref() == Some(hash)
    }
}
