//! Small values for the outcomes of files.

use rustix::io::Errno;

use crate::beneath::Refusal;
use crate::error::{Error, as_path, describe};
use crate::hash::Hash;
use crate::ids::Uid;

/// The status of a planned file in the registry.
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
    /// The name in Python.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::NewVersion => "new_version",
            Self::Unchanged => "unchanged",
        }
    }
}

/// The reason why a file has no row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// There is no permission to read it.
    Unreadable,
    /// It was removed after the walk found it.
    Vanished,
    /// It kept changing while it was read, or has changed since it was staged.
    Changed,
    /// Its name is not UTF-8.
    NotUtf8,
    /// Its name cannot be a key.
    InvalidKey,
    /// Its key exists only in the trash.
    Trashed,
    /// Another writer registered other content under its key.
    Conflict,
    /// Any other error of the system.
    IoError,
    /// The destination is full.
    NoSpace,
    /// The storage did not accept it.
    NotStored,
    /// Its entry in a list or manifest is not valid.
    InvalidEntry,
    /// A symbolic link, and links are not followed.
    Symlink,
    /// A pipe, socket or device.
    Special,
    /// A link that leaves the root.
    Outside,
    /// A link to a folder that contains it.
    Loop,
    /// A file of a list that lies in another storage.
    Storage,
}

impl Reason {
    /// The name in Python.
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
            Self::InvalidEntry => "invalid_entry",
            Self::Storage => "storage",
        }
    }

    /// Returns true if the file was left out on purpose.
    #[must_use]
    pub fn is_skip(self) -> bool {
        matches!(self, Self::Symlink | Self::Special | Self::Outside | Self::Loop | Self::Storage)
    }
}

/// How an object was verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VerifiedBy {
    /// It was written here from the same read that was hashed.
    Local,
    /// The `ETag` of the storage is the hash.
    Etag,
    /// The storage checked a checksum.
    Checksum,
    /// It was read back.
    Readback,
    /// It was not verified.
    Nothing,
}

impl VerifiedBy {
    const ALL: [Self; 5] = [Self::Local, Self::Etag, Self::Checksum, Self::Readback, Self::Nothing];

    /// The name in Python.
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

    /// The value with this name in Python.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.name() == name)
    }
}

/// The failure of a file, without its path.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The kind.
    pub reason: Reason,
    /// The message for people.
    pub message: String,
    /// The error number of the system, if there is one.
    pub errno: Option<Errno>,
    /// True if the destination failed, not the source.
    pub writing: bool,
}

impl Failure {
    /// A failure without an error of the system.
    #[must_use]
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), errno: None, writing: false }
    }

    /// The failure of a file that was staged with other content.
    #[must_use]
    pub fn not_as_staged() -> Self {
        Self::new(Reason::Changed, "it changed since it was staged: stage it again")
    }

    /// The failure of a link.
    #[must_use]
    pub fn link() -> Self {
        Self::new(Reason::Symlink, "a symbolic link, and links are not followed")
    }

    /// A failure to find, open or read a file.
    #[must_use]
    pub fn reading(errno: Errno) -> Self {
        let reason = match errno {
            Errno::ACCESS | Errno::PERM => Reason::Unreadable,
            Errno::NOENT | Errno::NOTDIR | Errno::STALE => Reason::Vanished,
            // Only O_NOFOLLOW causes this here: a link has replaced the file since the walk.
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

    /// Adds the size of the object to the message if there is no room.
    #[must_use]
    pub fn needing(mut self, size: u64) -> Self {
        if self.reason == Reason::NoSpace {
            self.message = format!("{}, which needs {size} bytes", self.message);
        }
        self
    }

    /// The error for a call about only one file.
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

/// A file without a row.
#[derive(Clone, Debug)]
pub struct Issue {
    /// Its full path.
    pub path: Vec<u8>,
    /// The failure.
    pub failure: Failure,
}

/// The row of a key in the registry.
#[derive(Clone, Debug)]
pub struct Known {
    /// The uid of the latest row.
    pub uid: Uid,
    /// The highest uid of its family.
    pub highest: Uid,
    /// The size in bytes.
    pub size: u64,
    /// The hash; None for a kind that this crate does not make.
    pub hash: Option<Hash>,
    /// True if it is in the trash.
    pub trashed: bool,
    /// The row as JSON, which is passed on as it is.
    pub record: Box<str>,
}

impl Known {
    /// Returns true if the row has this content.
    #[must_use]
    pub fn is(&self, size: u64, hash: &Hash) -> bool {
        self.size == size && self.hash.as_ref() == Some(hash)
    }
}
