//! Conversion of values and errors between Rust and Python, and blocking calls.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::buffer::PyBuffer;
use pyo3::call::PyCallArgs;
use pyo3::exceptions::{PyOSError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyBytes;
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::sync::{Interrupted, lock};

/// A path in any bytes, as in the system.
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

/// Bytes that cannot change while the GIL is released.
pub(super) enum Data {
    /// The bytes of an immutable `bytes` object.
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

/// A flag that ends a call in another thread.
#[pyclass(frozen, module = "inhaul._core")]
pub(super) struct Stop(AtomicBool);

#[pymethods]
impl Stop {
    #[new]
    fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs a long call without the GIL. Ctrl-C ends it, and its error becomes a Python exception.
pub(super) fn blocking<T: Send>(
    py: Python<'_>,
    call: impl FnOnce(Interrupted<'_>) -> Result<T> + Send,
) -> PyResult<T> {
    stoppable(py, None, call)
}

/// Like `blocking`, but `stop` also ends it.
pub(super) fn stoppable<T: Send>(
    py: Python<'_>,
    stop: Option<&Stop>,
    call: impl FnOnce(Interrupted<'_>) -> Result<T> + Send,
) -> PyResult<T> {
    let raised = Mutex::new(None);
    let result = py.detach(|| {
        call(&mut || {
            if stop.is_some_and(|stop| stop.0.load(Ordering::Relaxed)) {
                return true;
            }
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
        // Python chooses the subclass of OSError by the number.
        Error::Os { path, errno, message } => {
            PyOSError::new_err((errno.raw_os_error(), message, path.into_os_string()))
        }
        Error::Changed { .. } => own_exception(py, "FileChanged", (error.to_string(),)),
        Error::Key { .. } => own_exception(py, "InvalidKey", (error.to_string(),)),
        Error::Link { path, message } => {
            own_exception(py, "LinkRefused", (Errno::XDEV.raw_os_error(), message, path.into_os_string()))
        }
        Error::Invalid(message) => PyValueError::new_err(message),
        error @ (Error::Stopped | Error::Panicked(_)) => PyRuntimeError::new_err(error.to_string()),
    }
}

fn own_exception<'py>(py: Python<'py>, class: &str, arguments: impl PyCallArgs<'py>) -> PyErr {
    let class = py.import("inhaul.errors").and_then(|errors| errors.getattr(class));
    match class.and_then(|class| class.call1(arguments)) {
        Ok(exception) => PyErr::from_value(exception),
        Err(error) => error,
    }
}
