//! The class for a memo.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::convert::PyPath;
use crate::memo::{self, Options};

#[pyclass(frozen, module = "inhaul._core")]
pub(super) struct Memo(pub(super) Arc<memo::Memo>);

#[pymethods]
impl Memo {
    #[new]
    #[pyo3(signature = (shelf, folder, *, anywhere, rehash, sample))]
    fn new(
        py: Python<'_>,
        shelf: PyPath,
        folder: PyPath,
        anywhere: bool,
        rehash: bool,
        sample: u64,
    ) -> PyResult<Self> {
        if sample == 0 {
            return Err(PyValueError::new_err("sample is 0"));
        }
        let options = Options { anywhere, rehash, sample };
        let path = |bytes: &'_ [u8]| Path::new(OsStr::from_bytes(bytes)).to_owned();
        let memo = py.detach(|| {
            let folder = path(&folder.0);
            // If there is no such folder, the scan says so.
            let folder = std::fs::canonicalize(&folder).unwrap_or(folder);
            memo::Memo::open(&path(&shelf.0), &folder, options)
        });
        Ok(Self(Arc::new(memo)))
    }

    #[getter]
    fn faults<'py>(&self, py: Python<'py>) -> Vec<Bound<'py, PyBytes>> {
        self.0.faults().iter().map(|path| PyBytes::new(py, path)).collect()
    }
}
