//! Listings of the files that a walk has found, in columns.

use std::sync::Arc;

use crate::beneath::Links;
use crate::ids::Uid;
use crate::json;
use crate::keys;
use crate::outcome::Issue;
use crate::stamp::Stamp;

/// The most files in a listing, and the most rows in a batch.
pub(crate) const LISTING: usize = 8192;

/// The rule for the names of files in one scan.
#[derive(Debug, Default)]
pub struct Naming {
    /// The scanned folder, which ends in a slash; empty if paths are not relative to one.
    pub root: Vec<u8>,
    /// The part of a key before the relative path: empty, or it ends in a slash.
    pub prefix: String,
    /// The files are registered in place.
    pub in_place: bool,
    /// The links that may be followed in the path of a file.
    pub links: Links,
    /// The tag that separates the objects of this scan from those of others.
    pub tag: String,
}

/// The kind of a file before it is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file according to its folder.
    Regular,
    /// A path of the caller; its kind must be checked before it is opened.
    Unseen,
    /// Its path may contain links.
    Linked,
    /// A path of a list; its kind must be checked before it is opened, and a link is not followed.
    Named,
}

#[derive(Debug)]
struct File {
    folder: u32,
    name_end: u32,
    kind: Kind,
}

/// Up to `LISTING` files in path order.
#[derive(Debug)]
pub struct Listing {
    /// The rule for their names.
    pub naming: Arc<Naming>,
    /// The number of this listing in the walk.
    pub ordinal: u64,
    /// Files that the walk found but leaves out.
    pub issues: Vec<Issue>,
    folders: Vec<Box<[u8]>>,
    names: Vec<u8>,
    files: Vec<File>,
    /// The keys that do not follow from paths; shorter than `files` if the last files have none.
    own_keys: Vec<Option<Box<str>>>,
    /// The only stamps with which files may be read; shorter than `files` if the last files may have any.
    stamps: Vec<Option<Stamp>>,
}

impl Listing {
    /// An empty listing.
    #[must_use]
    pub fn new(naming: Arc<Naming>, ordinal: u64) -> Self {
        Self {
            naming,
            ordinal,
            issues: Vec::new(),
            folders: Vec::new(),
            names: Vec::new(),
            files: Vec::new(),
            own_keys: Vec::new(),
            stamps: Vec::new(),
        }
    }

    /// The number of files.
    #[must_use]
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// Returns true if there are no files.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Starts a folder: a relative path that ends in a slash, or the empty one.
    pub fn enter(&mut self, folder: &[u8]) {
        self.folders.push(folder.into());
    }

    /// Adds a file of the folder that was entered last.
    pub fn push(&mut self, name: &[u8], kind: Kind) {
        self.names.extend_from_slice(name);
        let folder = self.folders.len().saturating_sub(1) as u32;
        self.files.push(File { folder, name_end: self.names.len() as u32, kind });
    }

    /// Gives the file that was added last a key that does not follow from its path.
    pub fn name_last(&mut self, key: &str) {
        self.own_keys.resize(self.files.len(), None);
        if let Some(last) = self.own_keys.last_mut() {
            *last = Some(key.into());
        }
    }

    /// Lets the file that was added last be read only with this stamp.
    pub fn expect_last(&mut self, stamp: Stamp) {
        self.stamps.resize(self.files.len(), None);
        if let Some(last) = self.stamps.last_mut() {
            *last = Some(stamp);
        }
    }

    /// Frees unused memory, since staged batches keep their listings for long.
    pub fn shrink(&mut self) {
        self.folders.shrink_to_fit();
        self.names.shrink_to_fit();
        self.files.shrink_to_fit();
        self.own_keys.shrink_to_fit();
        self.stamps.shrink_to_fit();
    }

    /// The kind of a file.
    #[must_use]
    pub fn kind(&self, ordinal: usize) -> Kind {
        self.files[ordinal].kind
    }

    /// The only stamp with which the file may be read; None if it may have any.
    #[must_use]
    pub fn stamp(&self, ordinal: usize) -> Option<Stamp> {
        self.stamps.get(ordinal).copied().flatten()
    }

    /// The number of a file's folder, and its path.
    #[must_use]
    pub fn folder(&self, ordinal: usize) -> (u32, &[u8]) {
        let folder = self.files[ordinal].folder;
        (folder, self.folders.get(folder as usize).map_or(&[], |path| &**path))
    }

    /// The file's name within its folder.
    #[must_use]
    pub fn name(&self, ordinal: usize) -> &[u8] {
        let start = ordinal.checked_sub(1).map_or(0, |before| self.files[before].name_end);
        &self.names[start as usize..self.files[ordinal].name_end as usize]
    }

    /// The path below the root.
    #[must_use]
    pub fn relative(&self, ordinal: usize) -> Vec<u8> {
        [self.folder(ordinal).1, self.name(ordinal)].concat()
    }

    /// The full path. The folder of a listed file may lie outside the root: it is absolute then.
    #[must_use]
    pub fn path(&self, ordinal: usize) -> Vec<u8> {
        let folder = self.folder(ordinal).1;
        let root = if folder.starts_with(b"/") { &[][..] } else { &self.naming.root };
        [root, folder, self.name(ordinal)].concat()
    }

    fn own_key(&self, ordinal: usize) -> Option<&str> {
        self.own_keys.get(ordinal)?.as_deref()
    }

    /// The texts from which the uid of a file is made: its folder and name, or its own key. No path has a NUL.
    #[must_use]
    pub fn uid_of(&self, ordinal: usize) -> (&[u8], &[u8]) {
        match self.own_key(ordinal) {
            Some(key) => (b"\0", key.as_bytes()),
            None => (self.folder(ordinal).1, self.name(ordinal)),
        }
    }

    /// The key. Listings with keys contain only files whose path is UTF-8.
    #[must_use]
    pub fn key(&self, ordinal: usize) -> String {
        match self.own_key(ordinal) {
            Some(key) => key.to_owned(),
            None => self.naming.prefix.clone() + &String::from_utf8_lossy(&self.relative(ordinal)),
        }
    }

    /// The keys as a JSON array.
    #[must_use]
    pub fn keys_json(&self) -> String {
        json::array(0..self.len(), |json, ordinal| json::push_string(json, &self.key(ordinal)))
    }

    /// The object key in the row of a file, relative to the root of the storage.
    #[must_use]
    pub fn object_key(&self, ordinal: usize, uid: Uid) -> String {
        if self.naming.in_place {
            self.key(ordinal)
        } else {
            uid.object_key(&self.naming.tag, &self.suffix(ordinal))
        }
    }

    /// The canonical suffix of the name.
    #[must_use]
    pub fn suffix(&self, ordinal: usize) -> String {
        keys::suffix(&String::from_utf8_lossy(self.name(ordinal)))
    }
}
