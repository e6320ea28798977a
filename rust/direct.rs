//! Operations on single files, lists of files and whole folders, without a registry.

use std::collections::HashMap;
use std::sync::Arc;

use crate::batch::Row;
use crate::beneath::{Links, Root};
use crate::chunk::{CHUNK, Chunk, Item, Plan};
use crate::crew::Threads;
use crate::error::{Error, Result, as_path};
use crate::hash::{Algorithm, Hash, tree};
use crate::ids::Uid;
use crate::listing::{Kind, Listing, Naming};
use crate::memo::Memo;
use crate::outcome::{Failure, Status, VerifiedBy};
use crate::paths::split;
use crate::scan::{Options, Scan};
use crate::shared::Config;
use crate::sync::Interrupted;
use crate::write::{Destination, write_object};

/// The size and hash of a file, or the reason why there is none.
pub type Outcome = std::result::Result<(u64, Hash), Failure>;

/// Hashes files, each with its own outcome, in the given order. Paths are relative to `root` if there is one.
///
/// # Errors
/// The call was interrupted, or a thread panicked.
pub fn hash_files(
    root: Option<Arc<Root>>,
    paths: &[Vec<u8>],
    algorithm: Algorithm,
    memo: Option<Arc<Memo>>,
    threads: Threads,
    interrupted: Interrupted<'_>,
) -> Result<Vec<Outcome>> {
    let config =
        Config { root, algorithm, destination: None, uploads: false, object_name: None, memo, threads };
    let files = paths.iter().map(|path| (path.as_slice(), Plan::Compare(None)));
    read_files(config, files, interrupted)
}

/// Copies a file in one read and returns its size and hash. The source lies below `from`, or anywhere without it.
///
/// # Errors
/// The content is not the `expected` one, or keeps changing; the source cannot be read; or the destination
/// cannot be written or exists. In these cases, no new file is left.
pub fn copy_file(
    from: Option<Arc<Root>>,
    source: &[u8],
    to: &Arc<Root>,
    name: &[u8],
    expected: Option<(u64, Hash)>,
    threads: Threads,
    interrupted: Interrupted<'_>,
) -> Result<(u64, Hash)> {
    let whole = from.as_ref().map_or_else(|| source.to_owned(), |from| from.whole(source));
    let plan = expected.map_or(Plan::Compare(None), |(size, hash)| {
        let (status, uid, verified_by) = (Status::New, Uid::FIRST, VerifiedBy::Local);
        Plan::Copy(Box::new(Row { ordinal: 0, status, uid, size, hash, known: None, verified_by }))
    });
    let algorithm = match expected {
        Some((_, Hash::Md5(_))) => Algorithm::Md5Whole,
        _ => Algorithm::USUAL,
    };
    let config = Config {
        root: from,
        algorithm,
        destination: Some(Arc::new(Destination { root: Arc::clone(to), overwrite: false })),
        uploads: false,
        object_name: Some(name.to_owned()),
        memo: None,
        threads,
    };
    let outcomes = read_files(config, [(source, plan)].into_iter(), interrupted)?;
    only(outcomes)?.map_err(|failure| {
        let path = if failure.writing { to.whole(name) } else { whole };
        failure.error(&path)
    })
}

/// Writes bytes to a file.
///
/// # Errors
/// The file cannot be written or exists. Then no new file is left.
pub fn write_file(to: &Arc<Root>, name: &[u8], data: &[u8]) -> Result<()> {
    let destination = Arc::new(Destination { root: Arc::clone(to), overwrite: false });
    write_object(&destination, name, data).map_err(|failure| failure.error(&to.whole(name)))
}

/// The content that the hash of a folder covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FolderAlgorithm {
    /// `md5-tree`: names and contents.
    Tree,
    /// `md5-d`: lamindb's, contents only.
    Unnamed,
}

impl FolderAlgorithm {
    /// The algorithm with this name in Python.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "md5-tree" => Some(Self::Tree),
            "md5-d" => Some(Self::Unnamed),
            _ => None,
        }
    }
}

/// Returns the hash of a folder, the bytes in it and the number of files.
///
/// # Errors
/// A file or folder in it cannot be read, or there is no file.
pub fn hash_folder(
    root: Arc<Root>,
    algorithm: FolderAlgorithm,
    exclude: Vec<String>,
    links: Links,
    memo: Option<Arc<Memo>>,
    threads: Threads,
    interrupted: Interrupted<'_>,
) -> Result<(Hash, u64, u64)> {
    let path = root.path().to_owned();
    let scan = Scan::new(Options {
        root,
        walk: true,
        key_prefix: String::new(),
        in_place: true,
        destination: None,
        uploads: false,
        salt: None,
        algorithm: match algorithm {
            FolderAlgorithm::Tree => Algorithm::USUAL,
            FolderAlgorithm::Unnamed => Algorithm::Sha1Fl,
        },
        exclude,
        links,
        memo,
        threads,
    })?;
    while let Some(listing) = scan.next_listing(interrupted)? {
        scan.submit(&Arc::new(listing), &HashMap::new())?;
    }
    let (mut bytes, mut files) = (0, 0);
    let (mut named, mut unnamed) = (tree::Tree::default(), Vec::new());
    loop {
        let chunks = scan.next_chunks(interrupted)?;
        if chunks.is_empty() {
            break;
        }
        for chunk in chunks {
            if let Some(issue) = chunk.issues().iter().find(|issue| !issue.failure.reason.is_skip()) {
                return Err(issue.failure.error(&issue.path));
            }
            let listing = &chunk.listing;
            for (item, outcome) in chunk.items.iter().zip(chunk.outcomes()) {
                let ordinal = item.ordinal as usize;
                let row = match outcome {
                    Ok(row) => row,
                    Err(failure) if failure.reason.is_skip() => continue,
                    Err(failure) => return Err(failure.error(&listing.path(ordinal))),
                };
                match algorithm {
                    FolderAlgorithm::Tree => {
                        named.push(listing.folder(ordinal).1, listing.name(ordinal), row.size, &row.hash);
                    }
                    FolderAlgorithm::Unnamed => unnamed.push(row.hash.text()),
                }
                bytes += row.size;
                files += 1;
            }
        }
        if interrupted() {
            return Err(Error::Stopped);
        }
    }
    if files == 0 {
        let message = format!("{}: a folder without files has no hash", as_path(&path).display());
        return Err(Error::Invalid(message));
    }
    let hash = match algorithm {
        FolderAlgorithm::Tree => Hash::Md5Tree(named.finish()),
        FolderAlgorithm::Unnamed => Hash::Md5D(tree::unnamed(unnamed)),
    };
    Ok((hash, bytes, files))
}

fn read_files<'a>(
    config: Config,
    files: impl ExactSizeIterator<Item = (&'a [u8], Plan)>,
    interrupted: Interrupted<'_>,
) -> Result<Vec<Outcome>> {
    let count = files.len();
    let kind = if config.root.is_some() { Kind::Linked } else { Kind::Unseen };
    // Small numbers of files are also divided among the threads.
    let size = count.div_ceil(4 * config.threads.first).clamp(1, CHUNK);
    let naming = Naming {
        root: Vec::new(),
        prefix: String::new(),
        in_place: true,
        links: Links::Inside,
        tag: String::new(),
    };
    let mut listing = Listing::new(Arc::new(naming), 0);
    let mut items = Vec::with_capacity(count);
    let mut last = None;
    for (ordinal, (path, plan)) in files.enumerate() {
        let (folder, name) = split(path);
        if last != Some(folder) {
            listing.enter(folder);
            last = Some(folder);
        }
        // A path that ends in a slash means the folder itself, and is refused as such.
        listing.push(if name.is_empty() { b"." } else { name }, kind);
        items.push(Item { ordinal: ordinal as u32, uid: Uid::FIRST, plan, must_read: false });
    }
    let listing = Arc::new(listing);
    let mut chunks = Vec::with_capacity(count.div_ceil(size));
    let mut items = items.into_iter();
    while items.len() > 0 {
        chunks.push(Chunk::new(Arc::clone(&listing), items.by_ref().take(size).collect(), Vec::new()));
    }

    let scan = Scan::start(config, None, None, chunks)?;
    let mut outcomes = Vec::with_capacity(count);
    while !interrupted() {
        let chunks = scan.next_chunks(interrupted)?;
        if chunks.is_empty() {
            return Ok(outcomes);
        }
        let rows = chunks.iter().flat_map(|chunk| chunk.outcomes());
        outcomes.extend(rows.map(|outcome| outcome.map(|row| (row.size, row.hash))));
    }
    Err(Error::Stopped)
}

fn only(mut outcomes: Vec<Outcome>) -> Result<Outcome> {
    outcomes.pop().ok_or(Error::Stopped)
}
