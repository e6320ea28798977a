//! Folders whose contents are opened relative to their descriptor.

use std::ffi::OsStr;
use std::os::fd::IntoRawFd;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use rustix::fs::{Mode, OFlags};

use super::convert::{PyPath, blocking};
use crate::beneath::{self, Links, Refusal};
use crate::error::Result;

fn links(follow: bool) -> Links {
    if follow { Links::Inside } else { Links::Refused }
}

/// The links that a walk follows: `False`, `True` or `"anywhere"`.
#[derive(FromPyObject)]
pub(super) enum Follow {
    Inside(bool),
    Named(PyBackedStr),
}

impl Follow {
    /// The links that are followed.
    pub(super) fn links(&self) -> PyResult<Links> {
        match self {
            Self::Inside(follow) => Ok(links(*follow)),
            Self::Named(name) if &**name == "anywhere" => Ok(Links::Anywhere),
            Self::Named(name) => Err(PyValueError::new_err(format!("links are not followed {:?}", &**name))),
        }
    }
}

#[pyclass(frozen, module = "inhaul._core")]
pub(super) struct Root(pub(super) Arc<beneath::Root>);

#[pymethods]
impl Root {
    #[new]
    fn new(py: Python<'_>, path: PyPath) -> PyResult<Self> {
        blocking(py, |_| beneath::Root::open(&path.0)).map(|root| Self(Arc::new(root)))
    }

    #[getter]
    fn path(&self) -> &OsStr {
        OsStr::from_bytes(self.0.path())
    }

    fn is_there(&self, py: Python<'_>) -> bool {
        py.detach(|| self.0.is_there())
    }

    #[pyo3(signature = (path, flags, *, follow))]
    fn open(&self, py: Python<'_>, path: PyPath, flags: u32, follow: bool) -> PyResult<i32> {
        let flags = OFlags::from_bits_retain(flags);
        self.descriptor(py, &path, |root| root.open_at(&path.0, flags, Mode::empty(), links(follow)))
    }

    fn create_folder(&self, py: Python<'_>, path: PyPath) -> PyResult<i32> {
        self.descriptor(py, &path, |root| root.create_folder(&path.0))
    }

    #[pyo3(signature = (path, *, follow))]
    fn below(&self, py: Python<'_>, path: PyPath, follow: bool) -> PyResult<Self> {
        let open = || self.0.below(&path.0, links(follow)).map_err(|refusal| refusal.error(&self.0, &path.0));
        blocking(py, |_| open()).map(|root| Self(Arc::new(root)))
    }

    fn part(&self, py: Python<'_>, path: PyPath) -> PyResult<Self> {
        let open = || self.0.part(&path.0).map_err(|refusal| refusal.error(&self.0, &path.0));
        blocking(py, |_| open()).map(|root| Self(Arc::new(root)))
    }

    fn sync(&self, py: Python<'_>) -> PyResult<()> {
        blocking(py, |_| self.0.sync().map_err(|refusal| refusal.error(&self.0, b"")))
    }
}

impl Root {
    /// A descriptor that belongs to Python.
    fn descriptor(
        &self,
        py: Python<'_>,
        path: &PyPath,
        open: impl FnOnce(&beneath::Root) -> std::result::Result<std::os::fd::OwnedFd, Refusal> + Send,
    ) -> PyResult<i32> {
        let opened = blocking(py, |_| open(&self.0).map_err(|refusal| refusal.error(&self.0, &path.0)))?;
        Ok(opened.into_raw_fd())
    }
}

/// A folder, either open or given by its path.
#[derive(FromPyObject)]
pub(super) enum Place {
    Open(Py<Root>),
    Path(PyPath),
}

impl Place {
    /// Returns the open folder.
    pub(super) fn open(&self) -> Result<Arc<beneath::Root>> {
        match self {
            Self::Open(root) => Ok(Arc::clone(&root.get().0)),
            Self::Path(path) => beneath::Root::open(&path.0).map(Arc::new),
        }
    }
}
