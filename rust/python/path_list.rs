//! The class of `inhaul._core` for lists of paths.

use std::sync::{Arc, Mutex};

use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;

use super::beneath::Follow;
use super::convert::{PyPath, exception};
use super::scan::Listing;
use crate::ids;
use crate::listing::Naming;
use crate::path_list;
use crate::paths::with_slash;
use crate::stamp::Stamp;
use crate::sync::lock;

/// A path of a list from Python: path, key, problem, and the values of its stamp.
type Entry = (PyBackedBytes, Option<String>, Option<String>, Option<(u64, i64, i64)>);

#[pyclass(frozen, module = "inhaul._core")]
pub(super) struct PathList(Mutex<path_list::PathList>);

#[pymethods]
impl PathList {
    #[new]
    #[pyo3(signature = (root, *, key_prefix, in_place, salt, exclude, ignore_files, follow_symlinks, storages))]
    #[expect(clippy::too_many_arguments, reason = "they are keywords in Python")]
    fn new(
        py: Python<'_>,
        root: PyPath,
        key_prefix: String,
        in_place: bool,
        salt: Vec<u8>,
        exclude: Vec<String>,
        ignore_files: bool,
        follow_symlinks: Follow,
        storages: Vec<PyPath>,
    ) -> PyResult<Self> {
        let naming = Naming {
            root: with_slash(&root.0),
            prefix: if key_prefix.is_empty() { key_prefix } else { key_prefix + "/" },
            in_place,
            links: follow_symlinks.links()?,
            tag: ids::tag(&salt),
        };
        let storages = storages.iter().map(|root| with_slash(&root.0)).collect();
        let list = path_list::PathList::new(Arc::new(naming), &exclude, ignore_files, storages);
        list.map(|list| Self(Mutex::new(list))).map_err(|error| exception(py, error))
    }

    fn listing(&self, py: Python<'_>, entries: Vec<Entry>) -> Option<(Listing, Vec<usize>)> {
        let (listing, positions) = py.detach(|| lock(&self.0).listing(owned(entries)))?;
        Some((Listing(Arc::new(listing)), positions))
    }

    fn mistake(&self, py: Python<'_>, entries: Vec<Entry>) -> Option<(String, bool)> {
        py.detach(|| lock(&self.0).mistake(&owned(entries)))
    }
}

fn owned(entries: Vec<Entry>) -> Vec<path_list::Entry> {
    let entry = |(path, key, problem, stamp): Entry| path_list::Entry {
        path: path.to_vec(),
        key,
        problem,
        stamp: stamp.map(|(size, modified, changed)| Stamp::of(size, modified, changed)),
    };
    entries.into_iter().map(entry).collect()
}
