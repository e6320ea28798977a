//! What one thread takes at a time, and what is to be done with each file of it.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Instant;

use rustix::fs::OFlags;

use crate::batch::Row;
use crate::beneath::Root;
use crate::error::Error;
use crate::hash::Hash;
use crate::ids::{Uid, UidRule};
use crate::listing::{Kind, Listing};
use crate::outcome::{Failure, Issue, Known, Reason, Status, VerifiedBy};
use crate::read::{Source, open_folder};
use crate::sync::lock;

/// Files in a chunk: enough to fill lanes, few enough to share at the end.
pub(crate) const CHUNK: usize = 128;

/// What is to be done with a file. Rows are boxed, since most files have none yet.
#[derive(Debug)]
pub(crate) enum Plan {
    /// Hash it and compare it with what the registry knows of its key.
    Compare(Option<Arc<Known>>),
    /// Copy it, if it still is what was staged.
    Copy(Box<Row>),
    /// Nothing.
    Keep(Box<Row>),
}

#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) ordinal: u32,
    /// The uid of its row, unless that exists already.
    pub(crate) uid: Uid,
    pub(crate) plan: Plan,
}

impl Item {
    /// A file to compare with what the registry knows of its key. Without a rule, it gets no uid of its own.
    pub(crate) fn to_compare(
        listing: &Listing,
        ordinal: usize,
        known: Option<&Arc<Known>>,
        rule: Option<&UidRule>,
    ) -> Result<Self, Error> {
        let uid = match known {
            Some(known) => known.highest.next()?,
            None => {
                rule.map_or(Uid::FIRST, |rule| rule.uid(listing.folder(ordinal).1, listing.name(ordinal)))
            }
        };
        Ok(Self { ordinal: ordinal as u32, uid, plan: Plan::Compare(known.cloned()) })
    }

    /// What becomes of the file, if that can be said without reading it.
    pub(crate) fn unread(&self) -> Option<Result<Row, Failure>> {
        match &self.plan {
            Plan::Keep(row) => Some(Ok(Row::clone(row))),
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
                let (ordinal, known, verified_by) = (self.ordinal, known.clone(), VerifiedBy::Local);
                Ok(Row { ordinal, status, uid, size, hash, known, verified_by })
            }
            Plan::Copy(row) | Plan::Keep(row) if row.size == size && row.hash == hash => Ok(Row::clone(row)),
            Plan::Copy(_) | Plan::Keep(_) => Err(Failure::not_as_staged()),
        }
    }

    /// Why there is no row. What was staged was a file, so it is not left out on purpose if it is none any more.
    pub(crate) fn failed(&self, failure: Failure) -> Failure {
        match self.plan {
            Plan::Copy(_) if failure.reason.is_skip() => Failure::not_as_staged(),
            _ => failure,
        }
    }

    /// The hash that the file had when it was staged.
    pub(crate) fn staged(&self) -> Option<Hash> {
        match &self.plan {
            Plan::Compare(_) => None,
            Plan::Copy(row) | Plan::Keep(row) => Some(row.hash),
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

    /// Opens the folder of a file, only to find files from: that takes no right to read it.
    pub(crate) fn open_folder(&self, root: Option<&Root>, ordinal: usize) -> Result<OwnedFd, Failure> {
        let (_, path) = self.listing.folder(ordinal);
        open_folder(root, path, OFlags::PATH, self.listing.naming.links)
    }

    /// Opens a file.
    pub(crate) fn open(&self, root: Option<&Root>, index: usize) -> Result<Source, Failure> {
        let ordinal = self.items[index].ordinal as usize;
        match (self.listing.kind(ordinal), root) {
            (Kind::Linked, Some(root)) => {
                Source::open_below(root, &self.listing.relative(ordinal), self.listing.naming.links)
            }
            (kind, root) => {
                let folder = self.open_folder(root, ordinal)?;
                Source::open(folder.as_fd(), self.listing.name(ordinal), kind)
            }
        }
    }

    /// Notes what became of a file; true when that was the last one missing.
    pub(crate) fn settle(&self, index: usize, outcome: Result<Row, Failure>) -> bool {
        let outcome = outcome.map_err(|failure| self.items[index].failed(failure));
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
    pub(crate) fn outcomes(&self) -> impl Iterator<Item = Result<Row, Failure>> + use<> {
        std::mem::take(&mut *lock(&self.outcomes)).into_iter().flatten()
    }

    /// What the walk met before these files.
    pub(crate) fn issues(&self) -> &[Issue] {
        &self.issues
    }
}
