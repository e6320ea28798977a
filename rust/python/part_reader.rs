//! `inhaul._core.PartReader`: a thin shell over `crate::part_reader`.

use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::convert::{PyPath, blocking, exception};
use super::{Digest, digest};
use crate::error::Result;
use crate::hash::md5;
use crate::part_reader;

/// The content of a part and its MD5.
type Part<'py> = (Bound<'py, PyBytes>, Bound<'py, PyBytes>);

/// The content of a part, its MD5 and its CRC32C.
type CheckedPart<'py> = (Bound<'py, PyBytes>, Bound<'py, PyBytes>, u32);

/// A method that reads adjacent parts, each into a buffer of its length.
type Read<T> = fn(&part_reader::PartReader, u32, &mut [&mut [u8]]) -> Result<Vec<T>>;

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
        let parts = self.parts(py, first, count, part_reader::PartReader::read)?;
        Ok(parts.map(|(content, md5)| (content, PyBytes::new(py, &md5))).collect())
    }

    fn read_with_crc32c<'py>(
        &self,
        py: Python<'py>,
        first: u32,
        count: u32,
    ) -> PyResult<Vec<CheckedPart<'py>>> {
        let parts = self.parts(py, first, count, part_reader::PartReader::read_with_crc32c)?;
        Ok(parts.map(|(content, (md5, crc32c))| (content, PyBytes::new(py, &md5), crc32c)).collect())
    }

    fn digest(&self, py: Python<'_>, md5s: Vec<md5::Digest>) -> PyResult<Digest> {
        let hash = self.0.hash(&md5s).map_err(|error| exception(py, error))?;
        Ok(digest(self.0.parts().size, &hash))
    }

    fn check(&self, py: Python<'_>) -> PyResult<()> {
        blocking(py, |_| self.0.check())
    }
}

impl PartReader {
    /// Reads adjacent parts by `read`: the content of each, and what `read` computed of it.
    fn parts<'py, T: Send>(
        &self,
        py: Python<'py>,
        first: u32,
        count: u32,
        read: Read<T>,
    ) -> PyResult<impl Iterator<Item = (Bound<'py, PyBytes>, T)> + use<'py, T>> {
        let lengths = self.0.lengths(first, count).map_err(|error| exception(py, error))?;
        let mut computed = Vec::new();
        let contents = filled(py, &lengths, Vec::new(), &mut |buffers| {
            computed = blocking(py, |_| read(&self.0, first, buffers))?;
            Ok(())
        })?;
        // The innermost buffer is the last part.
        Ok(contents.into_iter().rev().zip(computed))
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
