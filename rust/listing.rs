//! What a walk found, as columns.

use std::sync::Arc;

use crate::beneath::Links;
use crate::ids::Uid;
use crate::json;
use crate::keys;
use crate::outcome::Issue;

/// Most files in a listing, and most rows in a batch.
pub(crate) const LISTING: usize = 8192;

/// How the files of one scan are named.
#[derive(Debug, Default)]
pub struct Naming {
    /// The folder that is scanned, ending in a slash; empty when paths stand for themselves.
    pub root: Vec<u8>,
    /// What comes before the relative path in a key: empty or ending in a slash.
    pub prefix: String,
    /// The files are objects where they lie.
    pub in_place: bool,
    /// Which links may be followed on the way to a file.
    pub links: Links,
    /// Tells the objects of this scan from those of others.
    pub tag: String,
}

/// What is known of a file before it is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The folder says it is a regular file.
    Regular,
    /// A path of the caller's: look before opening.
    Unseen,
    /// Links may lead to it.
    Linked,
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
    /// How they are named.
    pub naming: Arc<Naming>,
    /// Counts the listings of a walk.
    pub ordinal: u64,
    /// What the walk met on the way and does not hand on.
    pub issues: Vec<Issue>,
    folders: Vec<Box<[u8]>>,
    names: Vec<u8>,
    files: Vec<File>,
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
        }
    }

    /// How many files.
    #[must_use]
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// Whether there is no file.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Starts a folder: a relative path that ends in a slash, or the empty one.
    pub fn enter(&mut self, folder: &[u8]) {
        self.folders.push(folder.into());
    }

    /// Adds a file of the folder entered last.
    pub fn push(&mut self, name: &[u8], kind: Kind) {
        self.names.extend_from_slice(name);
        let folder = self.folders.len().saturating_sub(1) as u32;
        self.files.push(File { folder, name_end: self.names.len() as u32, kind });
    }

    /// Gives back the room that filling it took: staged batches keep their listings for long.
    pub fn shrink(&mut self) {
        self.folders.shrink_to_fit();
        self.names.shrink_to_fit();
        self.files.shrink_to_fit();
    }

    /// What is known of a file.
    #[must_use]
    pub fn kind(&self, ordinal: usize) -> Kind {
        self.files[ordinal].kind
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

    /// The full path.
    #[must_use]
    pub fn path(&self, ordinal: usize) -> Vec<u8> {
        [&self.naming.root, self.folder(ordinal).1, self.name(ordinal)].concat()
    }

    /// The key. Only files whose path is UTF-8 are ever in a listing that has keys.
    #[must_use]
    pub fn key(&self, ordinal: usize) -> String {
        self.naming.prefix.clone() + &String::from_utf8_lossy(&self.relative(ordinal))
    }

    /// The keys as a JSON array.
    #[must_use]
    pub fn keys_json(&self) -> String {
        json::array(0..self.len(), |json, ordinal| json::push_string(json, &self.key(ordinal)))
    }

    /// Where the object of a file's row lies, relative to the storage root.
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
