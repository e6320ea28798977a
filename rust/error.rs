//! Errors of a whole call, as opposed to failures of one file of many.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::hash::md5::BackendError;

/// The result of a call that fails as a whole.
pub type Result<T> = std::result::Result<T, Error>;

/// The reason why a call failed as a whole.
#[derive(Debug)]
pub enum Error {
    /// The system refused something about `path`.
    Os {
        /// The path that was read, written or opened.
        path: PathBuf,
        /// The error number.
        errno: Errno,
        /// The reason.
        message: String,
    },
    /// The file differs from what was expected, or kept changing while it was read.
    Changed {
        /// The file.
        path: PathBuf,
        /// The description.
        message: String,
    },
    /// The name of a file cannot be a key.
    Key {
        /// The file.
        path: PathBuf,
        /// The reason.
        message: String,
    },
    /// There is a link in the path of the file.
    Link {
        /// The file.
        path: PathBuf,
        /// The description of the link.
        message: String,
    },
    /// An argument is wrong.
    Invalid(String),
    /// `stop` was called.
    Stopped,
    /// A thread panicked: a bug in this crate.
    Panicked(String),
}

impl Error {
    /// An error of the system about `path`, given as bytes.
    #[must_use]
    pub fn os(path: &[u8], errno: Errno) -> Self {
        Self::Os { path: as_path(path).to_owned(), errno, message: describe(errno) }
    }

    /// The error for a link in `path` that is not followed.
    #[must_use]
    pub fn link(path: &[u8], message: String) -> Self {
        Self::Link { path: as_path(path).to_owned(), message }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Os { path, message, .. }
            | Self::Changed { path, message }
            | Self::Key { path, message }
            | Self::Link { path, message } => {
                write!(f, "{message}: {}", path.display())
            }
            Self::Invalid(message) => f.write_str(message),
            Self::Stopped => f.write_str("the scan was stopped"),
            Self::Panicked(message) => write!(f, "a thread of the core panicked: {message}"),
        }
    }
}

impl std::error::Error for Error {}

impl From<BackendError> for Error {
    fn from(error: BackendError) -> Self {
        Self::Invalid(error.to_string())
    }
}

/// The system's text for an error number, without the number.
#[must_use]
pub fn describe(errno: Errno) -> String {
    let text = std::io::Error::from(errno).to_string();
    match text.rfind(" (os error") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

/// Bytes as a path.
#[must_use]
pub fn as_path(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}
