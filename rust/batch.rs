//! Batches of planned files, in columns that Python reads as JSON.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use crate::hash::Hash;
use crate::ids::Uid;
use crate::json;
use crate::keys;
use crate::listing::Listing;
use crate::outcome::{Failure, Issue, Known, Reason, Status, VerifiedBy};
use crate::packed::{self, Column, Texts};
use crate::sync::lock;

/// The number of columns of a row to insert: uid, key, object key, suffix, accessor, size, hash, hash type, version and
/// verification.
pub const COLUMNS: usize = 10;

/// A file whose content is known.
#[derive(Clone, Debug)]
pub struct Row {
    /// The position in the listing.
    pub ordinal: u32,
    /// Its status in the registry.
    pub status: Status,
    /// The uid of its row.
    pub uid: Uid,
    /// The size in bytes.
    pub size: u64,
    /// The hash of the content.
    pub hash: Hash,
    /// The row that the registry had for its key.
    pub known: Option<Arc<Known>>,
    /// How the object was verified.
    pub verified_by: VerifiedBy,
}

/// Rows in path order, and the files without a row.
#[derive(Debug, Default)]
pub struct Batch {
    rows: Vec<(Arc<Listing>, Row)>,
    issues: Vec<Issue>,
}

/// Contents seen so far, for `Batch::without_duplicates`.
#[derive(Debug, Default)]
pub struct Contents(Mutex<HashSet<(u64, Hash)>>);

impl Batch {
    /// Adds the outcomes of files of one listing.
    pub(crate) fn extend(
        &mut self,
        listing: &Arc<Listing>,
        ordinals: impl Iterator<Item = u32>,
        outcomes: impl IntoIterator<Item = Result<Row, Failure>>,
    ) {
        for (ordinal, outcome) in ordinals.zip(outcomes) {
            match outcome {
                Ok(row) => self.rows.push((Arc::clone(listing), row)),
                Err(failure) => self.issues.push(failure.at(listing.path(ordinal as usize))),
            }
        }
    }

    pub(crate) fn extend_issues(&mut self, issues: &[Issue]) {
        self.issues.extend_from_slice(issues);
    }

    /// The number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Returns true if there are no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The rows, each with its listing.
    #[must_use]
    pub fn rows(&self) -> &[(Arc<Listing>, Row)] {
        &self.rows
    }

    /// The files without a row.
    #[must_use]
    pub fn issues(&self) -> &[Issue] {
        &self.issues
    }

    /// The number of rows with this status.
    #[must_use]
    pub fn count(&self, status: Status) -> usize {
        self.rows.iter().filter(|(_, row)| row.status == status).count()
    }

    /// The sum of the sizes of the rows.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.rows.iter().map(|(_, row)| row.size).sum()
    }

    /// The uids of each new version and of the row that it follows.
    #[must_use]
    pub fn successors(&self) -> Vec<(Uid, Uid)> {
        let new_versions = self.rows.iter().filter(|(_, row)| row.status == Status::NewVersion);
        new_versions.filter_map(|(_, row)| Some((row.known.as_ref()?.uid, row.uid))).collect()
    }

    /// All keys.
    #[must_use]
    pub fn keys_json(&self) -> String {
        json::array(self.rows.iter(), |json, (listing, row)| {
            json::push_string(json, &listing.key(row.ordinal as usize));
        })
    }

    /// The uids of the unchanged rows.
    #[must_use]
    pub fn unchanged_json(&self) -> String {
        let unchanged = self.rows.iter().filter(|(_, row)| row.status == Status::Unchanged);
        json::array(unchanged, |json, (_, row)| json::push_string(json, row.uid.as_str()))
    }

    /// The rows to insert as JSON, with the names of versions given by uid.
    #[must_use]
    pub fn rows_json(&self, versions: &HashMap<String, String>) -> String {
        json::array(self.inserted(versions), |json, row| {
            json.push_str(&json::array(row.into_iter(), |json, text| {
                json::push_option(json, text.as_deref())
            }));
        })
    }

    /// The same rows as one block of bytes, their number, and the places of their columns.
    #[must_use]
    pub fn rows_packed(&self, versions: &HashMap<String, String>) -> (Vec<u8>, usize, [Column; COLUMNS]) {
        let rows: Vec<_> = self.inserted(versions).collect();
        let (bytes, columns) = packed::pack(&rows);
        (bytes, rows.len(), columns)
    }

    fn inserted<'a>(
        &'a self,
        versions: &'a HashMap<String, String>,
    ) -> impl Iterator<Item = Texts<'a, COLUMNS>> {
        let inserted = self.rows.iter().filter(|(_, row)| row.status != Status::Unchanged);
        inserted.map(|(listing, row)| {
            let ordinal = row.ordinal as usize;
            let suffix = listing.suffix(ordinal);
            [
                Some(row.uid.as_str().into()),
                Some(listing.key(ordinal).into()),
                Some(listing.object_key(ordinal, row.uid).into()),
                Some(suffix.clone().into()),
                keys::accessor(&suffix).map(Cow::from),
                Some(row.size.to_string().into()),
                Some(row.hash.text().into()),
                Some(row.hash.kind().into()),
                versions.get(row.uid.as_str()).map(Cow::from),
                Some(row.verified_by.name().into()),
            ]
        })
    }

    /// Plans again with the rows that the registry has now, and which of them are of this batch. Also
    /// returns the keys of objects of this batch that no row will refer to.
    #[must_use]
    pub fn with_known(
        &self,
        known: &HashMap<usize, Arc<Known>>,
        own: &HashSet<usize>,
    ) -> (Self, Vec<String>) {
        let mut batch = Self { rows: Vec::with_capacity(self.len()), issues: self.issues.clone() };
        let mut orphans = Vec::new();
        for (position, (listing, row)) in self.rows.iter().enumerate() {
            if row.status == Status::Unchanged {
                batch.rows.push((Arc::clone(listing), row.clone()));
                continue;
            }
            let ordinal = row.ordinal as usize;
            let winner = known.get(&position);
            let own = own.contains(&position);
            if !own && !listing.naming.in_place {
                orphans.push(listing.object_key(ordinal, row.uid));
            }
            match winner.filter(|winner| winner.is(row.size, &row.hash) && !winner.trashed) {
                Some(winner) => {
                    let status = if own { row.status } else { Status::Unchanged };
                    let known = Some(Arc::clone(winner));
                    let row = Row { status, uid: winner.uid, known, ..row.clone() };
                    batch.rows.push((Arc::clone(listing), row));
                }
                None => {
                    let message = "another writer registered its key or uid meanwhile: ingest it again";
                    batch.issues.push(Failure::new(Reason::Conflict, message).at(listing.path(ordinal)));
                }
            }
        }
        (batch, orphans)
    }

    /// Keeps only the first of several rows with equal content.
    #[must_use]
    pub fn without_duplicates(&self, contents: &Contents) -> Self {
        let mut seen = lock(&contents.0);
        let first = self
            .rows
            .iter()
            .filter(|(_, row)| !row.hash.is_of_content() || seen.insert((row.size, row.hash)));
        Self { rows: first.cloned().collect(), issues: self.issues.clone() }
    }
}
