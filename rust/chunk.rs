//! What one thread takes at a time, and what is to be done with each file of it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Instant;

use crate::batch::Row;
use crate::hash::Hash;
use crate::ids::Uid;
use crate::listing::Listing;
use crate::record::{Failure, Issue, Known, Reason, Status};
use crate::shared::lock;

/// Files in a chunk: enough to fill lanes, few enough to share at the end.
pub(crate) const CHUNK: usize = 128;

/// What is to be done with a file.
#[derive(Debug)]
pub(crate) enum Plan {
    /// Hash it and compare it with what the registry knows of its key.
    Compare(Option<Arc<Known>>),
    /// Copy it, if it still is what was staged.
    Copy(Row),
    /// Nothing.
    Keep(Row),
}

#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) ordinal: u32,
    /// The uid of its row, unless that exists already.
    pub(crate) uid: Uid,
    pub(crate) plan: Plan,
}

impl Item {
    /// What becomes of the file, if that can be said without reading it.
    pub(crate) fn unread(&self) -> Option<Result<Row, Failure>> {
        match &self.plan {
            Plan::Keep(row) => Some(Ok(row.clone())),
            Plan::Compare(Some(known)) if known.trashed => Some(Err(Failure::new(
                Reason::Trashed,
                format!("its key is in the trash: restore {} or delete it for good", known.uid),
            ))),
            Plan::Compare(_) | Plan::Copy(_) => None,
        }
    }

    /// Whether content of this size is surely not in the storage.
    pub(crate) fn is_surely_new(&self, size: u64) -> bool {
        match &self.plan {
            Plan::Compare(known) => known.as_ref().is_none_or(|known| known.size != size),
            Plan::Copy(_) | Plan::Keep(_) => true,
        }
    }

    /// What becomes of the file, now that its hash is known.
    pub(crate) fn read(&self, size: u64, hash: Hash) -> Result<Row, Failure> {
        match &self.plan {
            Plan::Compare(known) => {
                let (status, uid) = match known {
                    None => (Status::New, self.uid),
                    Some(known) if known.is(size, &hash) => (Status::Unchanged, known.uid),
                    Some(_) => (Status::NewVersion, self.uid),
                };
                Ok(Row { ordinal: self.ordinal, status, uid, size, hash, known: known.clone() })
            }
            Plan::Copy(row) | Plan::Keep(row) if row.size == size && row.hash == hash => Ok(row.clone()),
            Plan::Copy(_) | Plan::Keep(_) => {
                Err(Failure::new(Reason::Changed, "it is not what was staged: stage it again"))
            }
        }
    }
}

/// Neighbouring files of one listing.
#[derive(Debug)]
pub(crate) struct Chunk {
    pub(crate) listing: Arc<Listing>,
    pub(crate) items: Vec<Item>,
    /// What the walk met before these files.
    issues: Vec<Issue>,
    outcomes: Mutex<Vec<Option<Result<Row, Failure>>>>,
    missing: AtomicUsize,
    done: OnceLock<Instant>,
}

impl Chunk {
    pub(crate) fn new(listing: Arc<Listing>, items: Vec<Item>, issues: Vec<Issue>) -> Self {
        let chunk = Self {
            listing,
            outcomes: Mutex::new(items.iter().map(|_| None).collect()),
            missing: AtomicUsize::new(items.len()),
            items,
            issues,
            done: OnceLock::new(),
        };
        if chunk.items.is_empty() {
            chunk.done.get_or_init(Instant::now);
        }
        chunk
    }

    /// Notes what became of a file; true when that was the last one missing.
    pub(crate) fn settle(&self, index: usize, outcome: Result<Row, Failure>) -> bool {
        lock(&self.outcomes)[index] = Some(outcome);
        let last = self.missing.fetch_sub(1, Ordering::AcqRel) == 1;
        if last {
            self.done.get_or_init(Instant::now);
        }
        last
    }

    /// Since when all files are settled.
    pub(crate) fn done(&self) -> Option<Instant> {
        self.done.get().copied()
    }

    /// What became of the files, in order.
    pub(crate) fn outcomes(&self) -> Vec<Result<Row, Failure>> {
        std::mem::take(&mut *lock(&self.outcomes)).into_iter().flatten().collect()
    }

    /// What the walk met before these files.
    pub(crate) fn issues(&self) -> &[Issue] {
        &self.issues
    }
}
