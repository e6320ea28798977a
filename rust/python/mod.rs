//! The extension module `inhaul._core`; `_core.pyi` documents it.

mod beneath;
mod convert;
mod memo;
mod part_reader;
mod path_list;
mod scan;
mod watching;

use std::sync::Arc;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use rustix::fs::statfs;

use crate::crew::Threads;
use crate::direct::{self, FolderAlgorithm};
use crate::error::Error;
use crate::hash::md5::Backend;
use crate::hash::{self, Algorithm, Hash, PART_SIZE, crc32c as checksum};
use crate::ids::Uid;
use crate::ignore;
use crate::keys;
use beneath::{Follow, Place, Root};
use convert::{Data, PyPath, Stop, blocking, exception, stoppable};
use memo::Memo;

/// hash, hash type, size.
type Digest = (String, String, u64);

fn digest(size: u64, hash: &Hash) -> Digest {
    (hash.text(), hash.kind(), size)
}

fn named<T>(name: &str, algorithm: Option<T>, known: &str) -> PyResult<T> {
    algorithm.ok_or_else(|| PyValueError::new_err(format!("unknown algorithm {name:?}: use one of {known}")))
}

fn file_algorithm(name: &str, part_size: u64) -> PyResult<Algorithm> {
    if part_size == 0 {
        return Err(PyValueError::new_err("part_size is 0"));
    }
    named(name, Algorithm::named(name, part_size), "md5, md5-whole, sha256, sha256-parts, sha1-fl")
}

#[pyfunction]
#[pyo3(signature = (paths, algorithm, part_size, threads, stop, root, memo = None))]
#[expect(clippy::too_many_arguments, reason = "only this package calls it")]
fn hash_files<'py>(
    py: Python<'py>,
    paths: Vec<PyPath>,
    algorithm: &str,
    part_size: u64,
    threads: usize,
    stop: Option<&Bound<'py, Stop>>,
    root: Option<&Bound<'py, Root>>,
    memo: Option<&Bound<'py, Memo>>,
) -> PyResult<Vec<Bound<'py, PyAny>>> {
    let (algorithm, threads) = (file_algorithm(algorithm, part_size)?, Threads::at_most(threads));
    let paths: Vec<Vec<u8>> = paths.into_iter().map(|path| path.0).collect();
    let root = root.map(|root| Arc::clone(&root.get().0));
    let memo = memo.map(|memo| Arc::clone(&memo.get().0));
    let outcomes = stoppable(py, stop.map(Bound::get), |interrupted| {
        direct::hash_files(root.clone(), &paths, algorithm, memo, threads, interrupted)
    })?;
    let results = outcomes.into_iter().zip(&paths).map(|(outcome, path)| match outcome {
        Ok((size, hash)) => Ok(digest(size, &hash).into_pyobject(py)?.into_any()),
        Err(failure) => {
            let whole = root.as_ref().map_or_else(|| path.clone(), |root| root.whole(path));
            Ok(exception(py, failure.error(&whole)).into_value(py).into_bound(py).into_any())
        }
    });
    results.collect()
}

#[pyfunction]
fn hash_bytes(py: Python<'_>, data: Data, algorithm: &str) -> PyResult<Digest> {
    let algorithm = file_algorithm(algorithm, PART_SIZE)?;
    let backend = Backend::active().map_err(|error| exception(py, error.into()))?;
    let hash = py.detach(|| hash::hash_bytes(backend, data.bytes(), algorithm));
    Ok(digest(data.bytes().len() as u64, &hash))
}

#[pyfunction]
#[pyo3(signature = (data, before = 0))]
fn crc32c(py: Python<'_>, data: Data, before: u32) -> u32 {
    py.detach(|| checksum::append(before, data.bytes()))
}

#[pyfunction]
fn crc32c_combine(first: u32, second: u32, second_length: usize) -> u32 {
    checksum::combine(first, second, second_length)
}

#[pyfunction]
#[pyo3(signature = (path, algorithm, exclude, follow_symlinks, threads, stop, memo = None))]
#[expect(clippy::too_many_arguments, reason = "only this package calls it")]
fn hash_dir<'py>(
    py: Python<'py>,
    path: Place,
    algorithm: &str,
    exclude: Vec<String>,
    follow_symlinks: Follow,
    threads: usize,
    stop: Option<&Bound<'py, Stop>>,
    memo: Option<&Bound<'py, Memo>>,
) -> PyResult<(String, String, u64, u64)> {
    let memo = memo.map(|memo| Arc::clone(&memo.get().0));
    let algorithm = named(algorithm, FolderAlgorithm::named(algorithm), "md5-tree, md5-d")?;
    let (threads, links) = (Threads::at_most(threads), follow_symlinks.links()?);
    let (hash, bytes, files) = stoppable(py, stop.map(Bound::get), |interrupted| {
        direct::hash_folder(path.open()?, algorithm, exclude, links, memo, threads, interrupted)
    })?;
    Ok((hash.text(), hash.kind(), bytes, files))
}

#[pyfunction]
fn suffix(name: &str) -> String {
    keys::suffix(name)
}

#[pyfunction]
fn accessor(suffix: &str) -> Option<&'static str> {
    keys::accessor(suffix)
}

#[pyfunction]
fn key_problem(key: &str) -> Option<&'static str> {
    keys::key_problem(key)
}

#[pyfunction]
fn check_patterns(py: Python<'_>, patterns: Vec<String>) -> PyResult<()> {
    ignore::exclude(&patterns).map(drop).map_err(|error| exception(py, error))
}

#[pyfunction]
fn new_uid(py: Python<'_>) -> PyResult<String> {
    Uid::random().map(|uid| uid.to_string()).map_err(|error| exception(py, error))
}

#[pyfunction]
fn next_uid(py: Python<'_>, uid: &str) -> PyResult<String> {
    let next = Uid::parse(uid).and_then(Uid::next);
    next.map(|uid| uid.to_string()).map_err(|error| exception(py, error))
}

#[pyfunction]
fn object_key(py: Python<'_>, uid: &str, tag: &str, suffix: &str) -> PyResult<String> {
    let uid = Uid::parse(uid).map_err(|error| exception(py, error))?;
    Ok(uid.object_key(tag, suffix))
}

#[pyfunction]
fn copy_file(
    py: Python<'_>,
    source: PyPath,
    root: &Bound<'_, Root>,
    name: PyPath,
    expected: Option<(u64, String, String)>,
    source_root: Option<&Bound<'_, Root>>,
) -> PyResult<Digest> {
    let parse = |(size, text, kind): (u64, String, String)| match Hash::parse(&text, &kind) {
        Some(hash @ (Hash::Md5(_) | Hash::Md5Parts(..))) => Ok((size, hash)),
        _ => Err(PyValueError::new_err(format!("a copy cannot be checked against {kind} {text:?}"))),
    };
    let expected = expected.map(parse).transpose()?;
    let (to, from) = (&root.get().0, source_root.map(|root| Arc::clone(&root.get().0)));
    let (size, hash) = blocking(py, |interrupted| {
        direct::copy_file(from, &source.0, to, &name.0, expected, Threads::at_most(0), interrupted)
    })?;
    Ok(digest(size, &hash))
}

#[pyfunction]
fn write_file(py: Python<'_>, root: &Bound<'_, Root>, name: PyPath, data: Data) -> PyResult<()> {
    let root = &root.get().0;
    blocking(py, |_| direct::write_file(root, &name.0, data.bytes()))
}

#[pyfunction]
fn filesystem_magic(py: Python<'_>, path: PyPath) -> PyResult<i64> {
    let info = blocking(py, |_| statfs(path.0.as_slice()).map_err(|errno| Error::os(&path.0, errno)))?;
    Ok(info.f_type)
}

#[pymodule(gil_used = false)]
mod _core {
    #[pymodule_export]
    use super::beneath::Root;
    #[pymodule_export]
    use super::convert::Stop;
    #[pymodule_export]
    use super::memo::Memo;
    #[pymodule_export]
    use super::part_reader::PartReader;
    #[pymodule_export]
    use super::path_list::PathList;
    #[pymodule_export]
    use super::scan::{Batch, Contents, GivenFiles, Listing, Recalled, Scanner};
    #[pymodule_export]
    use super::watching::{Inotify, file_state, has_writers};
    #[pymodule_export]
    use super::{
        accessor, check_patterns, copy_file, crc32c, crc32c_combine, filesystem_magic, hash_bytes, hash_dir,
        hash_files, key_problem, new_uid, next_uid, object_key, suffix, write_file,
    };
}
