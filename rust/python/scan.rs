//! The classes of `inhaul._core`: thin shells over `crate::scan` and `crate::batch`.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use pyo3::exceptions::{PyIndexError, PyValueError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use pyo3::types::{PyBytes, PyDict};
use rustix::io::Errno;

use super::beneath::{Follow, Place, Root};
use super::convert::{blocking, exception};
use super::memo::Memo;
use super::part_reader::PartReader;
use crate::batch::{self, COLUMNS};
use crate::crew::Threads;
use crate::error::Result;
use crate::given;
use crate::hash::{Algorithm, Hash};
use crate::ids::Uid;
use crate::keys;
use crate::listing::{self, Naming};
use crate::outbox::{Parcel, ParcelContent};
use crate::outcome::{self, Failure, Reason, Status, VerifiedBy};
use crate::packed;
use crate::paths::with_slash;
use crate::recalled;
use crate::scan::{Options, Scan};
use crate::write::Destination;

/// The row of a key from Python: ordinal, uid, highest uid, size, hash, hash type, visibility, record.
type Known = (usize, String, String, u64, String, String, i64, String);

/// The form of a column in a block of rows: the shared value, or a width in bytes and whether any value is padded.
type Column = (Option<String>, usize, bool);

/// A file to send: ticket, object key, content or a reader of it, MD5 of the content in hex.
type Upload<'py> = (u64, String, Bound<'py, PyAny>, Option<String>);

fn verified_by(name: &str) -> PyResult<VerifiedBy> {
    VerifiedBy::named(name).ok_or_else(|| PyValueError::new_err(format!("no object is verified by {name:?}")))
}

/// The visibility of rows in the trash.
const TRASH: i64 = -1;

fn by_ordinal(known: Vec<Known>) -> Result<HashMap<usize, Arc<outcome::Known>>> {
    let parse = |(ordinal, uid, highest, size, hash, hash_type, visibility, record): Known| {
        let known = outcome::Known {
            uid: Uid::parse(&uid)?,
            highest: Uid::parse(&highest)?,
            size,
            hash: Hash::parse(&hash, &hash_type),
            trashed: visibility == TRASH,
            record: record.into(),
        };
        Ok((ordinal, Arc::new(known)))
    };
    known.into_iter().map(parse).collect()
}

#[pyclass(frozen, module = "inhaul._core")]
pub(super) struct Listing(pub(super) Arc<listing::Listing>);

#[pymethods]
impl Listing {
    fn __len__(&self) -> usize {
        self.0.len()
    }

    fn keys_json(&self, py: Python<'_>) -> String {
        py.detach(|| self.0.keys_json())
    }
}

#[pyclass(frozen, module = "inhaul._core")]
pub(super) struct Recalled(recalled::Recalled);

#[pymethods]
impl Recalled {
    #[getter]
    fn range(&self) -> Option<(String, String)> {
        self.0.range()
    }

    fn text(&self, py: Python<'_>) -> String {
        py.detach(|| self.0.text())
    }

    #[getter]
    fn samples(&self) -> (Vec<usize>, String) {
        let (samples, keys) = self.0.samples();
        (samples.to_owned(), keys)
    }
}

#[pyclass(frozen, module = "inhaul._core")]
pub(super) struct GivenFiles(given::GivenFiles);

#[pymethods]
impl GivenFiles {
    #[new]
    fn new(
        py: Python<'_>,
        root: String,
        key_prefix: String,
        ordinal: u64,
        files: Vec<(String, u64, String, String)>,
        left: Vec<(String, String, bool)>,
        exclude: Vec<String>,
    ) -> PyResult<Self> {
        let why = |(path, message, is_invalid): (String, String, bool)| {
            let reason = if is_invalid { Reason::InvalidKey } else { Reason::Special };
            (path, Failure::new(reason, message))
        };
        let left = left.into_iter().map(why).collect();
        let parse = |(path, size, hash, hash_type): (String, u64, String, String)| {
            let Some(hash) = Hash::parse(&hash, &hash_type) else {
                return Err(PyValueError::new_err(format!(
                    "{path}: {hash:?} is no hash of type {hash_type}"
                )));
            };
            Ok((path, size, hash))
        };
        let files = files.into_iter().map(parse).collect::<PyResult<Vec<_>>>()?;
        let naming = Naming {
            root: with_slash(root.as_bytes()),
            prefix: if key_prefix.is_empty() { key_prefix } else { key_prefix + "/" },
            in_place: true,
            ..Naming::default()
        };
        let files = py.detach(|| given::GivenFiles::new(Arc::new(naming), ordinal, files, left, &exclude));
        files.map(Self).map_err(|error| exception(py, error))
    }

    fn __len__(&self) -> usize {
        self.0.listing.len()
    }

    fn keys_json(&self, py: Python<'_>) -> String {
        py.detach(|| self.0.listing.keys_json())
    }

    fn plan(
        &self,
        py: Python<'_>,
        salt: Vec<u8>,
        known: Vec<Known>,
        folders: HashSet<usize>,
    ) -> PyResult<Batch> {
        let planned = py.detach(|| self.0.plan(&salt, &by_ordinal(known)?, &folders));
        planned.map(|batch| Batch(Arc::new(batch))).map_err(|error| exception(py, error))
    }
}

#[pyclass(frozen, module = "inhaul._core")]
pub(super) struct Contents(batch::Contents);

#[pymethods]
impl Contents {
    #[new]
    fn new() -> Self {
        Self(batch::Contents::default())
    }
}

#[pyclass(frozen, module = "inhaul._core")]
pub(super) struct Batch(Arc<batch::Batch>);

#[pymethods]
impl Batch {
    fn __len__(&self) -> usize {
        self.0.len()
    }

    #[getter]
    fn counts<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let counts = PyDict::new(py);
        for status in [Status::New, Status::NewVersion, Status::Unchanged] {
            counts.set_item(status.name(), self.0.count(status))?;
        }
        Ok(counts)
    }

    #[getter]
    fn nbytes(&self) -> u64 {
        self.0.size()
    }

    #[getter]
    fn issues<'py>(&self, py: Python<'py>) -> Vec<(Bound<'py, PyBytes>, &'static str, &str, i32)> {
        let issues = self.0.issues().iter().map(|issue| {
            let failure = &issue.failure;
            let errno = failure.errno.map_or(0, Errno::raw_os_error);
            (PyBytes::new(py, &issue.path), failure.reason.name(), failure.message.as_str(), errno)
        });
        issues.collect()
    }

    #[getter]
    fn successors(&self) -> Vec<(String, String)> {
        let successors = self.0.successors().into_iter();
        successors.map(|(before, own)| (before.to_string(), own.to_string())).collect()
    }

    fn keys_json(&self, py: Python<'_>) -> String {
        py.detach(|| self.0.keys_json())
    }

    fn rows_json(&self, py: Python<'_>, versions: HashMap<String, String>) -> String {
        py.detach(|| self.0.rows_json(&versions))
    }

    fn rows_packed<'py>(
        &self,
        py: Python<'py>,
        versions: HashMap<String, String>,
    ) -> (Bound<'py, PyBytes>, usize, [Column; COLUMNS]) {
        let (bytes, count, columns) = py.detach(|| self.0.rows_packed(&versions));
        let columns = columns.map(|column| match column {
            packed::Column::Same(value) => (value, 0, false),
            packed::Column::Own { width, padded } => (None, width, padded),
        });
        (PyBytes::new(py, &bytes), count, columns)
    }

    fn unchanged_json(&self, py: Python<'_>) -> String {
        py.detach(|| self.0.unchanged_json())
    }

    fn row<'py>(&self, py: Python<'py>, i: usize) -> PyResult<Bound<'py, PyAny>> {
        let Some((listing, row)) = self.0.rows().get(i) else {
            return Err(PyIndexError::new_err(format!("there is no row {i} of {}", self.0.len())));
        };
        let ordinal = row.ordinal as usize;
        let (path, key, suffix) = (listing.path(ordinal), listing.key(ordinal), listing.suffix(ordinal));
        let columns = (
            OsStr::from_bytes(&path),
            &key,
            row.status.name(),
            row.uid.as_str(),
            listing.object_key(ordinal, row.uid),
            &suffix,
            keys::accessor(&suffix),
            row.size,
            row.hash.text(),
            row.hash.kind(),
            row.known.as_ref().map(|known| &*known.record),
            row.verified_by.name(),
        );
        Ok(columns.into_pyobject(py)?.into_any())
    }

    fn with_known(
        &self,
        py: Python<'_>,
        known: Vec<Known>,
        own: HashSet<usize>,
    ) -> PyResult<(Self, Vec<String>)> {
        let planned = py.detach(|| Ok(self.0.with_known(&by_ordinal(known)?, &own)));
        let (batch, orphans) = planned.map_err(|error| exception(py, error))?;
        Ok((Self(Arc::new(batch)), orphans))
    }

    fn without_duplicates(&self, py: Python<'_>, contents: &Contents) -> Self {
        Self(Arc::new(py.detach(|| self.0.without_duplicates(&contents.0))))
    }
}

#[pyclass(frozen, module = "inhaul._core")]
pub(super) struct Scanner(Scan);

#[pymethods]
impl Scanner {
    #[new]
    #[pyo3(signature = (root, *, walk = true, key_prefix, in_place, destination, uploads, salt, overwrite, exclude, follow_symlinks, threads, memo = None))]
    #[expect(clippy::too_many_arguments, reason = "they are keywords in Python")]
    fn new(
        py: Python<'_>,
        root: Place,
        walk: bool,
        key_prefix: String,
        in_place: bool,
        destination: Option<&Bound<'_, Root>>,
        uploads: bool,
        salt: Vec<u8>,
        overwrite: bool,
        exclude: Vec<String>,
        follow_symlinks: Follow,
        threads: usize,
        memo: Option<&Bound<'_, Memo>>,
    ) -> PyResult<Self> {
        let memo = memo.map(|memo| Arc::clone(&memo.get().0));
        let links = follow_symlinks.links()?;
        let destination = destination.map(|root| Destination { root: Arc::clone(&root.get().0), overwrite });
        let scan = blocking(py, |_| {
            Scan::new(Options {
                root: root.open()?,
                walk,
                key_prefix,
                in_place,
                destination,
                uploads,
                salt: Some(salt),
                algorithm: Algorithm::USUAL,
                exclude,
                links,
                memo,
                threads: Threads::at_most(threads),
            })
        })?;
        Ok(Self(scan))
    }

    #[staticmethod]
    #[pyo3(signature = (batches, root, *, destination, uploads, overwrite, threads, memo = None))]
    #[expect(clippy::too_many_arguments, reason = "they are keywords in Python")]
    fn again(
        py: Python<'_>,
        batches: Vec<Py<Batch>>,
        root: Place,
        destination: Option<&Bound<'_, Root>>,
        uploads: bool,
        overwrite: bool,
        threads: usize,
        memo: Option<&Bound<'_, Memo>>,
    ) -> PyResult<Self> {
        let memo = memo.map(|memo| Arc::clone(&memo.get().0));
        let batches: Vec<_> = batches.iter().map(|batch| Arc::clone(&batch.get().0)).collect();
        let destination = destination.map(|root| Destination { root: Arc::clone(&root.get().0), overwrite });
        let scan = blocking(py, |_| {
            Scan::again(&batches, root.open()?, destination, uploads, memo, Threads::at_most(threads))
        })?;
        Ok(Self(scan))
    }

    #[getter]
    fn found(&self) -> (u64, bool) {
        self.0.found()
    }

    fn next_listing(&self, py: Python<'_>) -> PyResult<Option<Listing>> {
        let listing = blocking(py, |interrupted| self.0.next_listing(interrupted))?;
        Ok(listing.map(|listing| Listing(Arc::new(listing))))
    }

    fn wait_until_wanted(&self, py: Python<'_>) -> PyResult<()> {
        blocking(py, |interrupted| self.0.wait_until_wanted(interrupted))
    }

    fn end(&self, py: Python<'_>) {
        py.detach(|| self.0.end());
    }

    fn submit(&self, py: Python<'_>, listing: &Listing, known: Vec<Known>) -> PyResult<()> {
        blocking(py, |_| self.0.submit(&listing.0, &by_ordinal(known)?))
    }

    fn recall(&self, py: Python<'_>, listing: &Listing) -> Option<Recalled> {
        py.detach(|| self.0.recall(&listing.0)).map(Recalled)
    }

    fn submit_unchanged(&self, py: Python<'_>, recalled: &Recalled, known: Vec<Known>) -> PyResult<()> {
        blocking(py, |_| self.0.submit_unchanged(&recalled.0, &by_ordinal(known)?))
    }

    fn next_batch(&self, py: Python<'_>) -> PyResult<Option<Batch>> {
        let batch = blocking(py, |interrupted| self.0.next_batch(interrupted))?;
        Ok(batch.map(|batch| Batch(Arc::new(batch))))
    }

    fn next_uploads<'py>(&self, py: Python<'py>) -> PyResult<Option<Vec<Upload<'py>>>> {
        let parcels = blocking(py, |interrupted| self.0.next_uploads(interrupted))?;
        if parcels.is_empty() {
            return Ok(None);
        }
        let upload = |parcel: Parcel| {
            let (content, etag) = match parcel.content {
                ParcelContent::Memory(bytes, hash) => (PyBytes::new(py, &bytes).into_any(), hash.md5_hex()),
                ParcelContent::File(reader) => (Bound::new(py, PartReader(reader))?.into_any(), None),
            };
            Ok((parcel.ticket, parcel.object_key, content, etag))
        };
        parcels.into_iter().map(upload).collect::<PyResult<_>>().map(Some)
    }

    fn stored(&self, py: Python<'_>, uploads: Vec<(u64, PyBackedStr)>) -> PyResult<()> {
        let uploads = uploads.iter().map(|(ticket, name)| Ok((*ticket, verified_by(name)?)));
        let uploads = uploads.collect::<PyResult<Vec<_>>>()?;
        py.detach(|| self.0.stored(&uploads)).map_err(|error| exception(py, error))
    }

    fn stored_large(
        &self,
        py: Python<'_>,
        ticket: u64,
        verified_by: &str,
        digest: (String, String, u64),
    ) -> PyResult<()> {
        let (text, kind, _) = digest;
        let hash = Hash::parse(&text, &kind)
            .ok_or_else(|| PyValueError::new_err(format!("{kind} {text:?} is no hash of a file")))?;
        let verified_by = self::verified_by(verified_by)?;
        py.detach(|| self.0.stored_large(ticket, verified_by, hash)).map_err(|error| exception(py, error))
    }

    fn not_stored(&self, py: Python<'_>, ticket: u64, message: String, errno: i32) -> PyResult<()> {
        let errno = (errno > 0).then(|| Errno::from_raw_os_error(errno));
        let failure = Failure { reason: Reason::NotStored, message, errno, writing: true };
        blocking(py, |_| self.0.not_stored(ticket, failure))
    }

    fn not_read(&self, py: Python<'_>, ticket: u64, message: String, errno: i32) -> PyResult<()> {
        let failure = match errno {
            0 => Failure::new(Reason::Changed, message),
            errno => Failure::reading(Errno::from_raw_os_error(errno)),
        };
        blocking(py, |_| self.0.not_stored(ticket, failure))
    }

    #[getter]
    fn faults<'py>(&self, py: Python<'py>) -> Vec<Bound<'py, PyBytes>> {
        self.0.faults().iter().map(|path| PyBytes::new(py, path)).collect()
    }

    fn stop(&self, py: Python<'_>) {
        py.detach(|| self.0.stop());
    }

    fn close(&self, py: Python<'_>) {
        py.detach(|| self.0.close());
    }
}
