//! The walk: any thread reads folders, and files are returned in byte order of their paths.
//!
//! Within a folder, sub-folders sort by their names with a slash at the end. Visiting entries in this
//! order gives the byte order of whole paths. One thread at a time is the emitter; the others read
//! the next folders.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use crate::folder::{Folder, Tree, Visit, read_folder};
use crate::keys::{MAX_KEY, OWN_FOLDER};
use crate::listing::{LISTING, Listing};
use crate::outcome::{Failure, Reason};

/// The most files of the first listing. Each later one may have a quarter more, so that little is left to read when
/// a slow walk ends.
const FIRST: usize = 256;
/// The walk pauses while so many listings wait to be taken.
const READY: usize = 4;
/// While so many entries are read ahead, only the emitter reads folders.
const AHEAD: usize = 8 * LISTING;

/// The shared state of a walk, which needs a lock.
pub(crate) struct Walk {
    tree: Arc<Tree>,
    /// Folders that are not read yet. Paths end in a slash, so their order is that of the walk.
    pending: BTreeMap<Box<[u8]>, Visit>,
    /// Folders that are read and wait for the emitter.
    read: HashMap<Box<[u8]>, Folder>,
    /// The number of entries in `read`.
    ahead: usize,
    /// None while a thread runs it.
    emitter: Option<Emitter>,
    ready: VecDeque<Listing>,
    /// The number of listings made.
    listings: u64,
    found: u64,
    finished: bool,
}

impl Walk {
    /// A walk that has not begun.
    #[must_use]
    pub(crate) fn new(tree: Arc<Tree>) -> Self {
        let naming = Arc::clone(&tree.naming);
        Self {
            pending: BTreeMap::from([(Box::default(), Visit::first(&tree))]),
            read: HashMap::new(),
            ahead: 0,
            emitter: Some(Emitter {
                stack: Vec::new(),
                entering: Some(Box::default()),
                listing: Listing::new(naming, 0),
                room: FIRST,
            }),
            tree,
            ready: VecDeque::new(),
            listings: 0,
            found: 0,
            finished: false,
        }
    }

    /// The tree that the walk reads.
    #[must_use]
    pub(crate) fn tree(&self) -> Arc<Tree> {
        Arc::clone(&self.tree)
    }

    /// The number of files found so far, and whether that is final.
    #[must_use]
    pub(crate) fn found(&self) -> (u64, bool) {
        (self.found, self.finished)
    }

    /// The next files if they are ready; the inner None means that there are no more.
    pub(crate) fn take(&mut self) -> Option<Option<Listing>> {
        match self.ready.pop_front() {
            Some(listing) => Some(Some(listing)),
            None if self.finished => Some(None),
            None => None,
        }
    }

    /// The number of all listings, when it is known.
    #[must_use]
    pub(crate) fn listings(&self) -> Option<u64> {
        self.finished.then_some(self.listings)
    }

    /// The emitter, if it has work.
    pub(crate) fn emitter(&mut self) -> Option<Emitter> {
        if self.ready.len() >= READY {
            return None;
        }
        let emitter = self.emitter.take()?;
        if self.can_go_on(&emitter) {
            return Some(emitter);
        }
        self.emitter = Some(emitter);
        None
    }

    /// A folder to read ahead, if there is room for it.
    pub(crate) fn folder(&mut self) -> Option<(Box<[u8]>, Visit)> {
        if self.ready.len() >= READY || self.ahead >= AHEAD {
            return None;
        }
        self.pending.pop_first()
    }

    fn can_go_on(&self, emitter: &Emitter) -> bool {
        match &emitter.entering {
            Some(path) => self.read.contains_key(path) || self.pending.contains_key(path),
            None => true,
        }
    }

    /// Takes a folder that was read ahead.
    pub(crate) fn was_read(&mut self, path: Box<[u8]>, mut folder: Folder) {
        self.pending.append(&mut folder.visits);
        self.ahead += folder.len();
        self.read.insert(path, folder);
    }

    fn take_read(&mut self, path: &[u8]) -> Option<Folder> {
        let folder = self.read.remove(path)?;
        self.ahead -= folder.len();
        Some(folder)
    }
}

/// Visits the folders in order, and makes listings of their files.
pub(crate) struct Emitter {
    stack: Vec<(Box<[u8]>, Folder, usize)>,
    /// The folder to enter next.
    entering: Option<Box<[u8]>>,
    listing: Listing,
    /// The most files of this listing.
    room: usize,
}

impl Emitter {
    /// Fills one listing, or stops at a folder that another thread is reading. `locked` runs its
    /// argument with the lock held.
    pub(crate) fn run(mut self, tree: &Tree, locked: impl Fn(&mut dyn FnMut(&mut Walk))) {
        loop {
            if let Some(path) = self.entering.take() {
                let (mut folder, mut visit) = (None, None);
                locked(&mut |walk| {
                    folder = walk.take_read(&path);
                    visit = if folder.is_none() { walk.pending.remove(&path) } else { None };
                });
                let folder = match (folder, visit) {
                    (Some(folder), _) => folder,
                    (None, Some(visit)) => {
                        let mut folder = read_folder(tree, &path, &visit);
                        locked(&mut |walk| walk.pending.append(&mut folder.visits));
                        folder
                    }
                    (None, None) => {
                        self.entering = Some(path);
                        let mut emitter = Some(self);
                        locked(&mut |walk| walk.emitter = emitter.take());
                        return;
                    }
                };
                self.enter(path, folder);
            }

            let finished = self.advance();
            if finished || self.is_full() {
                let next = Listing::new(Arc::clone(&tree.naming), self.listing.ordinal + 1);
                self.room = (self.room + self.room / 4).min(LISTING);
                let mut listing = std::mem::replace(&mut self.listing, next);
                listing.shrink();
                let mut listing = Some(listing);
                let mut emitter = Some(self);
                locked(&mut |walk| {
                    if let Some(listing) =
                        listing.take_if(|listing| !listing.is_empty() || !listing.issues.is_empty())
                    {
                        walk.listings += 1;
                        walk.found += listing.len() as u64;
                        walk.ready.push_back(listing);
                    }
                    walk.finished = finished;
                    walk.emitter = emitter.take().filter(|_| !finished);
                });
                return;
            }
        }
    }

    fn enter(&mut self, path: Box<[u8]>, mut folder: Folder) {
        self.listing.issues.append(&mut folder.issues);
        self.listing.enter(&path);
        self.stack.push((path, folder, 0));
    }

    fn is_full(&self) -> bool {
        self.listing.len() >= self.room || self.listing.issues.len() >= LISTING
    }

    /// Continues until a folder must be entered, the listing is full or the walk is over (true).
    fn advance(&mut self) -> bool {
        while let Some((path, folder, position)) = self.stack.last_mut() {
            let path_is_utf8 = str::from_utf8(path).is_ok();
            let prefix = self.listing.naming.prefix.len() + path.len();
            if self.listing.is_empty() {
                self.listing.enter(path);
            }
            while let Some((name, kind)) = folder.entry(*position) {
                if self.listing.len() >= self.room || self.listing.issues.len() >= LISTING {
                    return false;
                }
                *position += 1;
                let Some(kind) = kind else {
                    self.entering = Some([path, name].concat().into());
                    return false;
                };
                match name_problem(name, path_is_utf8, prefix) {
                    None => self.listing.push(name, kind),
                    Some(failure) => {
                        let path = [&self.listing.naming.root, &**path, name].concat();
                        self.listing.issues.push(failure.at(path));
                    }
                }
            }
            self.stack.pop();
            // Files that follow belong to the folder above.
            if let Some((path, ..)) = self.stack.last() {
                self.listing.enter(path);
            }
        }
        true
    }
}

/// The reason why a name cannot be a key, given the properties of its folder.
fn name_problem(name: &[u8], path_is_utf8: bool, prefix: usize) -> Option<Failure> {
    if !path_is_utf8 || str::from_utf8(name).is_err() {
        return Some(Failure::new(Reason::NotUtf8, "the name is not UTF-8: rename it to ingest it"));
    }
    if prefix + name.len() > MAX_KEY {
        return Some(Failure::new(Reason::InvalidKey, "the key is longer than 1,024 bytes"));
    }
    if name.contains(&b'\\') {
        return Some(Failure::new(Reason::InvalidKey, "the key holds a backslash"));
    }
    if name == OWN_FOLDER.as_bytes() {
        return Some(Failure::new(Reason::InvalidKey, "the key is the name of inhaul's own folder"));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_make_no_key() {
        let reason =
            |name: &[u8], utf8, prefix| name_problem(name, utf8, prefix).map(|failure| failure.reason);
        assert_eq!(reason(b"a\nb", true, 0), None);
        assert_eq!(reason(b"\xff", true, 0), Some(Reason::NotUtf8));
        assert_eq!(reason(b"a", false, 0), Some(Reason::NotUtf8));
        assert_eq!(reason(b"a\\b", true, 0), Some(Reason::InvalidKey));
        assert_eq!(reason(b"ab", true, 1022), None);
        assert_eq!(reason(b"abc", true, 1022), Some(Reason::InvalidKey));
        assert_eq!(reason(b".inhaul", true, 0), Some(Reason::InvalidKey));
        assert_eq!(reason(b".inhaul", true, 5), Some(Reason::InvalidKey));
    }
}
