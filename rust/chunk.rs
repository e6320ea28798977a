//! The files that one thread takes at a time, and the work on each of them.

use std::ops::Range;
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
use crate::memo::Memo;
use crate::outcome::{Failure, Issue, Known, Reason, Status, VerifiedBy};
use crate::read::{Source, open_folder};
use crate::sync::lock;

/// The files in a chunk: enough to fill lanes, few enough to share them at the end.
pub(crate) const CHUNK: usize = 128;

/// The files in a folder that one thread reads, however many threads there are.
const WHOLE: usize = 16;

/// The work on a file. Rows are boxed, since most files have none yet.
#[derive(Debug)]
pub(crate) enum Plan {
    /// Hash it and compare it with the row of its key.
    Compare(Option<Arc<Known>>),
    /// Copy it, if it has not changed since it was staged.
    Copy(Box<Row>),
    /// Do nothing.
    Keep(Box<Row>),
}

#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) ordinal: u32,
    /// The uid of its row if that is new.
    pub(crate) uid: Uid,
    pub(crate) plan: Plan,
    /// It is read even if its hash is remembered.
    pub(crate) must_read: bool,
}

impl Item {
    /// A file to compare with the row of its key. Without a rule, it gets no uid.
    pub(crate) fn to_compare(
        listing: &Listing,
        ordinal: usize,
        known: Option<&Arc<Known>>,
        rule: Option<&UidRule>,
    ) -> Result<Self, Error> {
        let uid = match known {
            Some(known) => known.highest.next()?,
            None => {
                let (folder, name) = listing.uid_of(ordinal);
                rule.map_or(Uid::FIRST, |rule| rule.uid(folder, name))
            }
        };
        Ok(Self { ordinal: ordinal as u32, uid, plan: Plan::Compare(known.cloned()), must_read: false })
    }

    /// The outcome of the file, if it is known without reading the file.
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

    /// Returns true if content of this size is certainly not in the storage.
    pub(crate) fn is_surely_new(&self, size: u64) -> bool {
        match &self.plan {
            Plan::Compare(known) => known.as_ref().is_none_or(|known| known.size != size),
            Plan::Copy(_) | Plan::Keep(_) => true,
        }
    }

    /// The outcome of the file with this hash.
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

    /// The reason why there is no row. A staged file that is no longer a file counts as changed, not as skipped.
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

/// Adjacent files of one listing.
#[derive(Debug)]
pub(crate) struct Chunk {
    pub(crate) listing: Arc<Listing>,
    pub(crate) items: Vec<Item>,
    /// The issues that the walk found before these files.
    issues: Vec<Issue>,
    /// The number of files that threads have taken.
    taken: AtomicUsize,
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
            taken: AtomicUsize::new(0),
            done: OnceLock::new(),
        };
        if chunk.items.is_empty() {
            chunk.done.get_or_init(Instant::now);
        }
        chunk
    }

    /// Takes the next files, about so many: a folder with few files stays whole, since it must be opened, too.
    pub(crate) fn take(&self, count: usize) -> Range<usize> {
        let folder = |index: &usize| self.listing.folder(self.items[*index].ordinal as usize).0;
        let start = self.taken.load(Ordering::Relaxed);
        let mut end = (start + count).min(self.items.len());
        if end - start < WHOLE {
            let rest = (end..self.items.len().min(start + WHOLE))
                .take_while(|index| folder(index) == folder(&(end - 1)));
            end += rest.count();
        }
        self.taken.store(end, Ordering::Relaxed);
        start..end
    }

    /// Opens the folder of a file, only to open files in it: that needs no permission to read the folder.
    pub(crate) fn open_folder(&self, root: Option<&Root>, ordinal: usize) -> Result<OwnedFd, Failure> {
        let (_, path) = self.listing.folder(ordinal);
        let root = root.filter(|_| !path.starts_with(b"/"));
        open_folder(root, path, OFlags::PATH, self.listing.naming.links)
    }

    /// Opens a file.
    pub(crate) fn open(
        &self,
        root: Option<&Root>,
        index: usize,
        memo: Option<&Memo>,
    ) -> Result<Source, Failure> {
        let ordinal = self.items[index].ordinal as usize;
        match (self.listing.kind(ordinal), root) {
            (Kind::Linked, Some(root)) => {
                Source::open_below(root, &self.listing.relative(ordinal), self.listing.naming.links)
            }
            (kind, root) => {
                let folder = self.open_folder(root, ordinal)?;
                Source::open(
                    folder.as_fd(),
                    self.listing.name(ordinal),
                    kind,
                    self.listing.stamp(ordinal),
                    memo,
                )
            }
        }
    }

    /// Records the outcome of a file. Returns true if it was the last one.
    pub(crate) fn settle(&self, index: usize, outcome: Result<Row, Failure>) -> bool {
        let outcome = outcome.map_err(|failure| self.items[index].failed(failure));
        lock(&self.outcomes)[index] = Some(outcome);
        let last = self.missing.fetch_sub(1, Ordering::AcqRel) == 1;
        if last {
            self.done.get_or_init(Instant::now);
        }
        last
    }

    /// The time since when all files are settled.
    pub(crate) fn done(&self) -> Option<Instant> {
        self.done.get().copied()
    }

    /// The outcomes of the files, in order.
    pub(crate) fn outcomes(&self) -> impl Iterator<Item = Result<Row, Failure>> + use<> {
        std::mem::take(&mut *lock(&self.outcomes)).into_iter().flatten()
    }

    /// The issues that the walk found before these files.
    pub(crate) fn issues(&self) -> &[Issue] {
        &self.issues
    }
}
