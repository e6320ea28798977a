//! `inhaul._core.PartReader`: a thin shell over `crate::part_reader`.

use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::convert::{PyPath, blocking, exception};
use super::{Digest, digest};
use crate::hash::md5;
use crate::part_reader;

/// The content of a part and its MD5.
type Part<'py> = (Bound<'py, PyBytes>, Bound<'py, PyBytes>);

#[pyclass(frozen, module = "inhaul._core")]
pub(super) struct PartReader(pub(super) part_reader::PartReader);

#[pymethods]
impl PartReader {
    #[new]
    #[pyo3(signature = (path, part_size = 8388608))]
    fn new(py: Python<'_>, path: PyPath, part_size: u64) -> PyResult<Self> {
        blocking(py, |_| part_reader::PartReader::open(&path.0, part_size)).map(Self)
    }

    #[getter]
    fn size(&self) -> u64 {
        self.0.parts().size
    }

    #[getter]
    fn part_size(&self) -> u64 {
        self.0.parts().part_size
    }

    #[getter]
    fn count(&self) -> u32 {
        self.0.parts().count
    }

    fn read<'py>(&self, py: Python<'py>, first: u32, count: u32) -> PyResult<Vec<Part<'py>>> {
        let lengths = self.0.lengths(first, count).map_err(|error| exception(py, error))?;
        let mut digests = Vec::new();
        let contents = filled(py, &lengths, Vec::new(), &mut |buffers| {
            digests = blocking(py, |_| self.0.read(first, buffers))?;
            Ok(())
        })?;
        // The innermost buffer is the last part.
        let contents = contents.into_iter().rev();
        Ok(contents.zip(&digests).map(|(content, digest)| (content, PyBytes::new(py, digest))).collect())
    }

    fn digest(&self, py: Python<'_>, md5s: Vec<md5::Digest>) -> PyResult<Digest> {
        let hash = self.0.hash(&md5s).map_err(|error| exception(py, error))?;
        Ok(digest(self.0.parts().size, &hash))
    }

    fn check(&self, py: Python<'_>) -> PyResult<()> {
        blocking(py, |_| self.0.check())
    }
}

/// Creates `bytes` objects of these lengths and fills all of them at once, in place: copying large parts would
/// cost as much as sending them. Each is writable only within a call, so the calls are nested.
fn filled<'py>(
    py: Python<'py>,
    lengths: &[usize],
    mut open: Vec<&mut [u8]>,
    fill: &mut dyn FnMut(&mut [&mut [u8]]) -> PyResult<()>,
) -> PyResult<Vec<Bound<'py, PyBytes>>> {
    let Some((&length, lengths)) = lengths.split_first() else {
        fill(&mut open)?;
        return Ok(Vec::new());
    };
    let mut inner = Vec::new();
    let bytes = PyBytes::new_with(py, length, |buffer| {
        let mut open = open;
        open.push(buffer);
        inner = filled(py, lengths, open, fill)?;
        Ok(())
    })?;
    inner.push(bytes);
    Ok(inner)
}
