//! How values, errors and waiting cross between Rust and Python.

use std::sync::Mutex;

use pyo3::buffer::PyBuffer;
use pyo3::exceptions::{PyOSError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyBytes;

use crate::error::{Error, Result, describe};
use crate::shared::{Interrupted, lock};

/// A path as the system knows it: any bytes.
pub(super) struct PyPath(pub(super) Vec<u8>);

impl FromPyObject<'_, '_> for PyPath {
    type Error = PyErr;

    fn extract(path: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        if let Ok(bytes) = path.cast::<PyBytes>() {
            return Ok(Self(bytes.as_bytes().to_owned()));
        }
        let encoded = path.py().import("os")?.getattr("fsencode")?.call1((path,))?;
        Ok(Self(encoded.cast::<PyBytes>()?.as_bytes().to_owned()))
    }
}

/// Bytes that hold still while the GIL is released.
pub(super) enum Data {
    /// Those of a `bytes`, which nobody can change.
    Shared(PyBackedBytes),
    /// A copy of any other buffer.
    Copied(Vec<u8>),
}

impl FromPyObject<'_, '_> for Data {
    type Error = PyErr;

    fn extract(data: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        if data.is_instance_of::<PyBytes>() {
            return Ok(Self::Shared(data.extract()?));
        }
        let buffer: PyBuffer<u8> = data.extract()?;
        buffer.to_vec(data.py()).map(Self::Copied)
    }
}

impl Data {
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Shared(bytes) => bytes,
            Self::Copied(bytes) => bytes,
        }
    }
}

/// Runs what may take long: without the GIL, ended by Ctrl-C, its error turned into Python's.
pub(super) fn blocking<T: Send>(
    py: Python<'_>,
    call: impl FnOnce(Interrupted<'_>) -> Result<T> + Send,
) -> PyResult<T> {
    let raised = Mutex::new(None);
    let result = py.detach(|| {
        call(&mut || {
            let signal = Python::attach(|py| py.check_signals()).err();
            let interrupted = signal.is_some();
            if interrupted {
                *lock(&raised) = signal;
            }
            interrupted
        })
    });
    match raised.into_inner() {
        Ok(Some(error)) => Err(error),
        _ => result.map_err(|error| exception(py, error)),
    }
}

/// The Python exception for an error.
pub(super) fn exception(py: Python<'_>, error: Error) -> PyErr {
    match error {
        // Python picks the subclass of OSError by the number.
        Error::Os { path, errno } => {
            PyOSError::new_err((errno.raw_os_error(), describe(errno), path.into_os_string()))
        }
        Error::Changed { path, message } => {
            let changed = py.import("inhaul.errors").and_then(|errors| errors.getattr("FileChanged"));
            match changed.and_then(|changed| changed.call1((format!("{message}: {}", path.display()),))) {
                Ok(exception) => PyErr::from_value(exception),
                Err(error) => error,
            }
        }
        Error::Invalid(message) => PyValueError::new_err(message),
        error @ (Error::Stopped | Error::Panicked(_)) => PyRuntimeError::new_err(error.to_string()),
    }
}

/// How many threads are meant; 0 is as many as there are cores.
pub(super) fn threads(asked: usize) -> usize {
    if asked > 0 { asked } else { std::thread::available_parallelism().map_or(1, usize::from) }
}
