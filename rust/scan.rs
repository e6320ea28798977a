//! A scan: it returns listings, receives their rows from the registry, and returns planned batches.

use std::collections::HashMap;
use std::sync::Arc;

use rustix::fs::{Mode, OFlags};

use crate::batch::Batch;
use crate::beneath::{Links, Root};
use crate::chunk::{CHUNK, Chunk, Item, Plan};
use crate::crew::Threads;
use crate::error::{Error, Result};
use crate::folder::Tree;
use crate::hash::md5::Backend;
use crate::hash::{Algorithm, Hash};
use crate::ids::{self, UidRule};
use crate::ignore;
use crate::keys;
use crate::listing::{LISTING, Listing, Naming};
use crate::memo::Memo;
use crate::outbox::Parcel;
use crate::outcome::{Failure, Known, Status, VerifiedBy};
use crate::paths::with_slash;
use crate::recalled::Recalled;
use crate::shared::{Config, Shared};
use crate::sync::Interrupted;
use crate::walk::Walk;
use crate::write::Destination;

/// While so many files wait, no listing is taken that no walk made.
const UNREAD: usize = 2 * LISTING;

/// The options of a scan.
#[derive(Debug)]
pub struct Options {
    /// The folder.
    pub root: Arc<Root>,
    /// Walk the folder. Otherwise the caller submits listings of its files, and ends them.
    pub walk: bool,
    /// The part of a key before the relative path.
    pub key_prefix: String,
    /// The files are registered in place.
    pub in_place: bool,
    /// The place to copy the files to.
    pub destination: Option<Destination>,
    /// Hand over new files to be sent.
    pub uploads: bool,
    /// The salt for the uids; None if no uids are needed.
    pub salt: Option<Vec<u8>>,
    /// The hash algorithm.
    pub algorithm: Algorithm,
    /// Patterns of files to leave out.
    pub exclude: Vec<String>,
    /// The links to follow.
    pub links: Links,
    /// The hashes of files that were read before, by the usual rule.
    pub memo: Option<Arc<Memo>>,
    /// The number of threads.
    pub threads: Threads,
}

/// Threads that walk, read, hash and copy.
pub struct Scan {
    shared: Arc<Shared>,
    salt: Option<Vec<u8>>,
    /// It reads a whole folder.
    is_walk: bool,
}

impl Scan {
    /// Starts the scan of a folder.
    ///
    /// # Errors
    /// The root is not a readable folder, the prefix is not a valid key, or a pattern is wrong.
    pub fn new(options: Options) -> Result<Self> {
        let root = options.root;
        root.open_at(b"", OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty(), Links::Refused)
            .map_err(|refusal| refusal.error(&root, b""))?;
        let prefix = options.key_prefix.trim_end_matches('/');
        if !prefix.is_empty()
            && let Some(problem) = keys::key_problem(prefix)
        {
            return Err(Error::Invalid(format!("{prefix:?} can start no key: {problem}")));
        }
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        let naming = Naming {
            root: with_slash(root.path()),
            prefix,
            in_place: options.in_place,
            links: options.links,
            tag: options.salt.as_deref().map(ids::tag).unwrap_or_default(),
        };
        let tree = Tree {
            root: Arc::clone(&root),
            naming: Arc::new(naming),
            exclude: ignore::exclude(&options.exclude)?,
        };
        let config = Config {
            root: Some(root),
            algorithm: options.algorithm,
            destination: options.destination.map(Arc::new),
            uploads: options.uploads,
            object_name: None,
            memo: options.memo,
            threads: options.threads,
        };
        let walk = options.walk.then(|| Walk::new(Arc::new(tree)));
        let scan = Self::start(config, options.salt, walk, Vec::new())?;
        scan.shared.update(|state| state.is_fed = !options.walk);
        Ok(scan)
    }

    /// Starts the second pass over staged batches: it reads new files again, and copies them if there is
    /// a destination, or hands them over.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn again(
        batches: &[Arc<Batch>],
        root: Arc<Root>,
        destination: Option<Destination>,
        uploads: bool,
        memo: Option<Arc<Memo>>,
        threads: Threads,
    ) -> Result<Self> {
        let mut chunks: Vec<Chunk> = Vec::new();
        let nowhere = Arc::new(Listing::new(Arc::default(), 0));
        for batch in batches {
            for rows in batch.rows().chunk_by(|(a, _), (b, _)| Arc::ptr_eq(a, b)) {
                chunks.extend(rows.chunks(CHUNK).map(|rows| {
                    let items = rows.iter().map(|(_, row)| Item {
                        ordinal: row.ordinal,
                        uid: row.uid,
                        plan: match row.status {
                            Status::Unchanged => Plan::Keep(row.clone().into()),
                            Status::New | Status::NewVersion => Plan::Copy(row.clone().into()),
                        },
                        must_read: false,
                    });
                    Chunk::new(Arc::clone(&rows[0].0), items.collect(), Vec::new())
                }));
            }
            // Files that failed or were left out during staging stay so.
            let issues = batch.issues().to_vec();
            if !issues.is_empty() {
                chunks.push(Chunk::new(Arc::clone(&nowhere), Vec::new(), issues));
            }
        }
        let config = Config {
            root: Some(root),
            algorithm: Algorithm::USUAL,
            destination: destination.map(Arc::new),
            uploads,
            object_name: None,
            memo,
            threads,
        };
        Self::start(config, None, None, chunks)
    }

    pub(crate) fn start(
        mut config: Config,
        salt: Option<Vec<u8>>,
        walk: Option<Walk>,
        chunks: Vec<Chunk>,
    ) -> Result<Self> {
        let backend = Backend::active()?;
        config.memo = config.memo.filter(|_| config.algorithm == Algorithm::USUAL);
        let is_walk = walk.is_some();
        let scan = Self { shared: Arc::new(Shared::new(config, backend, walk, chunks)), salt, is_walk };
        scan.shared.begin()?;
        Ok(scan)
    }

    /// The number of files that the walk has found so far, and whether it has finished.
    #[must_use]
    pub fn found(&self) -> (u64, bool) {
        self.shared.lock().walk.as_ref().map_or((0, true), Walk::found)
    }

    /// Waits for the next files of the walk.
    ///
    /// # Errors
    /// The scan was stopped or interrupted, or a thread panicked.
    pub fn next_listing(&self, interrupted: Interrupted<'_>) -> Result<Option<Listing>> {
        self.shared.wait_for(interrupted, |state| match &mut state.walk {
            Some(walk) => walk.take().ok_or(None),
            None => Ok(None),
        })
    }

    /// Waits until a listing that no walk made is of use: the files that wait are few.
    ///
    /// # Errors
    /// The scan was stopped or interrupted, or a thread panicked.
    pub fn wait_until_wanted(&self, interrupted: Interrupted<'_>) -> Result<()> {
        self.shared.wait_for(interrupted, |state| if state.unread() < UNREAD { Ok(()) } else { Err(None) })
    }

    /// Ends the listings that no walk makes.
    pub fn end(&self) {
        self.shared.update(|state| state.is_fed = false);
    }

    /// Submits a listing, whose files are then read. `known` holds the rows of the registry, by position.
    ///
    /// # Errors
    /// The listing is not the next one, or a family can have no more versions.
    pub fn submit(&self, listing: &Arc<Listing>, known: &HashMap<usize, Arc<Known>>) -> Result<()> {
        let rule = self.salt.as_deref().map(|salt| UidRule::new(salt, listing.ordinal));
        let item = |ordinal: usize| Item::to_compare(listing, ordinal, known.get(&ordinal), rule.as_ref());
        self.submit_items(listing, (0..listing.len()).map(item).collect::<Result<_>>()?)
    }

    /// Looks at the files of a listing; None unless all are remembered.
    #[must_use]
    pub fn recall(&self, listing: &Arc<Listing>) -> Option<Recalled> {
        let (root, memo) = (self.shared.config.root()?, self.shared.config.memo()?);
        if memo.knows_nothing() { None } else { Recalled::of(listing, root, memo) }
    }

    /// Submits a listing whose files are all registered as they are remembered. `known` has the rows of its samples.
    ///
    /// # Errors
    /// See `submit`.
    pub fn submit_unchanged(&self, recalled: &Recalled, known: &HashMap<usize, Arc<Known>>) -> Result<()> {
        let rule = self.salt.as_deref().map(|salt| UidRule::new(salt, recalled.listing.ordinal));
        self.submit_items(&recalled.listing, recalled.items(known, rule.as_ref())?)
    }

    fn submit_items(&self, listing: &Arc<Listing>, items: Vec<Item>) -> Result<()> {
        let mut chunks = Vec::with_capacity(items.len().div_ceil(CHUNK).max(1));
        let mut items = items.into_iter();
        while chunks.is_empty() || items.len() > 0 {
            let issues = if chunks.is_empty() { listing.issues.clone() } else { Vec::new() };
            chunks.push(Arc::new(Chunk::new(
                Arc::clone(listing),
                items.by_ref().take(CHUNK).collect(),
                issues,
            )));
        }
        self.shared.update(|state| {
            if state.submitted != listing.ordinal {
                return Err(Error::Invalid(format!(
                    "listing {} was submitted where {} should follow",
                    listing.ordinal, state.submitted
                )));
            }
            state.submitted += 1;
            state.extend(chunks);
            Ok(())
        })
    }

    /// Waits for files to send; none at the end. Each must be settled.
    ///
    /// # Errors
    /// The scan was stopped or interrupted, or a thread panicked.
    pub fn next_uploads(&self, interrupted: Interrupted<'_>) -> Result<Vec<Parcel>> {
        let backend = Backend::active()?;
        self.shared.wait_for(interrupted, |state| {
            if state.outbox.is_empty() && !state.is_all_settled() {
                return Err(None);
            }
            Ok(state.outbox.take(backend))
        })
    }

    /// Settles stored files whose content was handed over.
    ///
    /// # Errors
    /// No such file is being sent.
    pub fn stored(&self, uploads: &[(u64, VerifiedBy)]) -> Result<()> {
        self.shared.stored(uploads)
    }

    /// Settles a stored file that was read while it was sent, with the hash of the sent bytes.
    ///
    /// # Errors
    /// No such file is being sent.
    pub fn stored_large(&self, ticket: u64, verified_by: VerifiedBy, hash: Hash) -> Result<()> {
        self.shared.stored_large(ticket, verified_by, hash)
    }

    /// Settles a file that could not be stored. A file that changed meanwhile is handed over again, a few times.
    ///
    /// # Errors
    /// No such file is being sent.
    pub fn not_stored(&self, ticket: u64, failure: Failure) -> Result<()> {
        self.shared.not_stored(ticket, failure)
    }

    /// Waits for results: a full batch, or the finished rows after a while; None at the end.
    ///
    /// # Errors
    /// The scan was stopped or interrupted, or a thread panicked.
    pub fn next_batch(&self, interrupted: Interrupted<'_>) -> Result<Option<Batch>> {
        let chunks = self.next_chunks(interrupted)?;
        if chunks.is_empty() {
            return Ok(None);
        }
        let mut batch = Batch::default();
        for chunk in chunks {
            batch.extend_issues(chunk.issues());
            let ordinals = chunk.items.iter().map(|item| item.ordinal);
            batch.extend(&chunk.listing, ordinals, chunk.outcomes());
        }
        Ok(Some(batch))
    }

    /// Waits for the chunks of the next batch; returns none at the end.
    pub(crate) fn next_chunks(&self, interrupted: Interrupted<'_>) -> Result<Vec<Arc<Chunk>>> {
        self.shared.wait_for(interrupted, |state| {
            let count = state.finished_chunks()?;
            Ok(state.order.drain(..count).collect())
        })
    }

    /// The files whose remembered hash was wrong.
    #[must_use]
    pub fn faults(&self) -> Vec<Vec<u8>> {
        self.shared.config.memo().map_or_else(Vec::new, Memo::faults)
    }

    /// Asks the threads to end.
    pub fn stop(&self) {
        self.shared.stop();
    }

    /// Stops the threads, and waits until they have ended. Then writes the memo, if there is one.
    pub fn close(&self) {
        let is_over = self.shared.lock().is_all_settled();
        self.stop();
        self.shared.dismiss();
        if let Some(memo) = self.shared.config.memo() {
            // Without it, the files are read again.
            let _ = memo.save(is_over && self.is_walk);
        }
    }
}

impl Drop for Scan {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Uid;

    #[test]
    fn a_panic_of_a_thread_reaches_whoever_waits() {
        let naming = Naming {
            root: Vec::new(),
            prefix: String::new(),
            in_place: true,
            links: Links::Refused,
            tag: String::new(),
        };
        let listing = Arc::new(Listing::new(Arc::new(naming), 0));
        // The listing is empty, so this is never used.
        let item = Item { ordinal: 0, uid: Uid::FIRST, plan: Plan::Compare(None), must_read: false };
        let config = Config {
            root: None,
            algorithm: Algorithm::Md5Whole,
            destination: None,
            uploads: false,
            object_name: None,
            memo: None,
            threads: Threads { first: 2, most: 2 },
        };
        let chunk = Chunk::new(listing, vec![item], Vec::new());
        let scan = Scan::start(config, None, None, vec![chunk]).unwrap();
        let error = scan.next_batch(&mut || false).unwrap_err();
        assert!(error.to_string().contains("panicked"), "{error}");
    }
}
