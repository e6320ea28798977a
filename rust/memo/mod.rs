//! The memo: the hashes of files that were read before, so that an unchanged file is not read again.
//!
//! An entry says that the file with this inode, size, mtime and ctime has this hash. It is a fact, so entries can be
//! lost, mixed and found in any order. What makes it true, and what it is good for, is in docs/design/0017.

mod entry;
mod file;
mod system;
mod writers;

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rustix::fs::Stat;

use crate::error::Result;
use crate::hash::Hash;
use crate::sync::lock;
use entry::{Entry, Key};
use file::File;
use system::{Device, Systems};
#[cfg(feature = "python")]
pub(crate) use writers::has_writers;

/// A file that was changed within this time before it was read is not remembered: another change could have the same
/// times. git calls such an entry racy.
const RACY: i64 = 2_000_000_000;

/// The use of a memo.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Also trust the times of network file systems.
    pub anywhere: bool,
    /// Read all files. What the memo says about them is only compared.
    pub rehash: bool,
    /// One in so many remembered files is read all the same.
    pub sample: u64,
}

/// The remembered files of one folder. Threads share it.
#[derive(Debug)]
pub struct Memo {
    file: Option<File>,
    /// The file is that of the folder itself, not of one above.
    is_own: bool,
    options: Options,
    systems: Systems,
    shelves: BTreeMap<Device, Shelf>,
    fresh: Mutex<BTreeMap<Device, Vec<Entry>>>,
    dice: AtomicU64,
    faults: Mutex<Vec<Vec<u8>>>,
    distrusted: AtomicBool,
    saved: AtomicBool,
}

/// The entries of one file system that were in the file, sorted by inode.
#[derive(Debug)]
struct Shelf {
    entries: Vec<Entry>,
    /// A bit for each entry whose file was seen.
    seen: Vec<AtomicU64>,
}

/// A file, as it was when its reading began, that can be remembered if it does not change meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    device: Device,
    key: Key,
}

impl Mark {
    /// Returns true if a file still has the marked state.
    pub(crate) fn is_of(&self, stat: &Stat) -> bool {
        Key::new(stat) == Some(self.key)
    }
}

impl Shelf {
    fn new(mut entries: Vec<Entry>) -> Self {
        if !entries.is_sorted_by_key(|entry| entry.key.inode) {
            entries.sort_by_key(|entry| entry.key.inode);
        }
        let seen = (0..entries.len().div_ceil(64)).map(|_| AtomicU64::new(0)).collect();
        Self { entries, seen }
    }

    fn find(&self, key: Key) -> Option<&Entry> {
        let place = self.entries.binary_search_by_key(&key.inode, |entry| entry.key.inode).ok()?;
        let entry = self.entries.get(place).filter(|entry| entry.key == key)?;
        self.seen[place / 64].fetch_or(1 << (place % 64), Ordering::Relaxed);
        Some(entry)
    }

    fn is_seen(&self, place: usize) -> bool {
        self.seen[place / 64].load(Ordering::Relaxed) >> (place % 64) & 1 == 1
    }
}

impl Memo {
    /// The memo of a folder, kept in `shelf`: its own, or else that of the nearest folder above that has one. If it
    /// cannot be read, or is of another boot, it is empty.
    #[must_use]
    pub fn open(shelf: &Path, folder: &Path, options: Options) -> Self {
        let above = folder.ancestors().skip(1).filter_map(|above| File::at(shelf, above));
        let own = File::at(shelf, folder);
        let (is_own, file) = match own {
            Some(own) if !own.exists() => match above.into_iter().find(File::exists) {
                Some(above) => (false, Some(above)),
                None => (true, Some(own)),
            },
            own => (true, own),
        };
        let entries = file.as_ref().map(File::load).unwrap_or_default();
        Self { file, is_own, ..Self::of(entries, options) }
    }

    fn of(entries: BTreeMap<Device, Vec<Entry>>, options: Options) -> Self {
        let shelves = entries.into_iter().map(|(device, entries)| (device, Shelf::new(entries))).collect();
        Self {
            file: None,
            is_own: true,
            options,
            systems: Systems::new(options.anywhere),
            shelves,
            fresh: Mutex::default(),
            dice: AtomicU64::new(getrandom::u64().unwrap_or_default()),
            faults: Mutex::default(),
            distrusted: AtomicBool::new(false),
            saved: AtomicBool::new(false),
        }
    }

    /// Returns true if no file needs to be looked up.
    pub(crate) fn knows_nothing(&self) -> bool {
        self.options.rehash || self.shelves.is_empty() || self.distrusted.load(Ordering::Relaxed)
    }

    /// The size and hash of a file, if it is remembered. `beside` is on the same file system.
    pub(crate) fn recall(&self, beside: BorrowedFd<'_>, stat: &Stat) -> Option<(u64, Hash)> {
        self.look_up(beside, stat).filter(|_| !self.is_sample())
    }

    /// Like `recall`, also for a file that must be read all the same; see `is_sample`.
    pub(crate) fn look_up(&self, beside: BorrowedFd<'_>, stat: &Stat) -> Option<(u64, Hash)> {
        let system = self.systems.of(beside, stat)?;
        let key = Key::new(stat)?;
        self.find(system.device, key, self.systems.now(system, &key))
    }

    fn find(&self, device: Device, key: Key, now: i64) -> Option<(u64, Hash)> {
        // Also when it is used: since then the clock may have been set back, and a file changed at an earlier time.
        if self.knows_nothing() || !key.is_older(now, RACY) {
            return None;
        }
        let entry = self.shelves.get(&device)?.find(key)?;
        Some((key.size, entry.hash()))
    }

    /// Returns the state of a small file that was read after `is_clean`. None if that does not say enough.
    pub(crate) fn mark_clean(&self, file: impl AsFd, stat: &Stat) -> Option<Mark> {
        let system = self.systems.of(file.as_fd(), stat)?;
        let key = Key::new(stat)?;
        let is_enough = writers::is_long_ago(&key, self.systems.now(system, &key));
        is_enough.then_some(Mark { device: system.device, key })
    }

    /// Returns true if no changed page of the file waits to be written to the disk.
    pub(crate) fn is_clean(file: impl AsFd) -> bool {
        writers::is_clean(file.as_fd())
    }

    /// Returns the state of an open file that is about to be read. None if it cannot be remembered.
    pub(crate) fn mark(&self, file: impl AsFd, stat: &Stat) -> Option<Mark> {
        let system = self.systems.of(file.as_fd(), stat)?;
        let key = Key::new(stat)?;
        let now = self.systems.now(system, &key);
        let is_settled = || writers::is_settled(file.as_fd(), &key, now, system.is_own);
        (key.is_older(now, RACY) && is_settled()).then_some(Mark { device: system.device, key })
    }

    /// Remembers the hash of a marked file that has not changed while it was read.
    ///
    /// If another hash was remembered, the memo is not used any more. `path` names the file in the report.
    pub(crate) fn keep(&self, mark: Mark, hash: &Hash, path: impl FnOnce() -> Vec<u8>) {
        let Mark { device, key } = mark;
        let Some(entry) = Entry::new(key, hash) else { return };
        match self.shelves.get(&device).and_then(|shelf| shelf.find(key)) {
            Some(known) if *known == entry => {}
            Some(_) => {
                self.distrusted.store(true, Ordering::Relaxed);
                lock(&self.faults).push(path());
            }
            None => lock(&self.fresh).entry(device).or_default().push(entry),
        }
    }

    /// The files whose remembered hash was wrong.
    #[must_use]
    pub fn faults(&self) -> Vec<Vec<u8>> {
        lock(&self.faults).clone()
    }

    /// Writes the memo, or removes it if it was wrong. If all files of the folder were seen, the others are forgotten.
    /// Only the first call does this.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn save(&self, is_complete: bool) -> Result<()> {
        let Some(file) = self.file.as_ref().filter(|_| !self.saved.swap(true, Ordering::Relaxed)) else {
            return Ok(());
        };
        if self.distrusted.load(Ordering::Relaxed) {
            return file.remove();
        }
        let is_complete = is_complete && self.is_own;
        let mut merged = std::mem::take(&mut *lock(&self.fresh));
        let is_kept = |shelf: &Shelf, place| !is_complete || shelf.is_seen(place);
        let mut shelves = self.shelves.iter();
        if merged.is_empty()
            && shelves.all(|(_, shelf)| (0..shelf.entries.len()).all(|at| is_kept(shelf, at)))
        {
            return Ok(());
        }
        for (device, shelf) in &self.shelves {
            let kept = shelf.entries.iter().enumerate().filter(|(place, _)| is_kept(shelf, *place));
            merged.entry(*device).or_default().extend(kept.map(|(_, entry)| *entry));
        }
        for entries in merged.values_mut() {
            // The sort is stable, so of an inode that was used again, the fresh entry stays.
            entries.sort_by_key(|entry| entry.key.inode);
            entries.dedup_by_key(|entry| entry.key.inode);
        }
        file.replace(&merged)
    }

    /// Returns true for a random one of many files.
    pub(crate) fn is_sample(&self) -> bool {
        // The step and the mixing of SplitMix64.
        let mut dice = self.dice.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        dice = (dice ^ (dice >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        dice = (dice ^ (dice >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (dice ^ (dice >> 31)).is_multiple_of(self.options.sample)
    }
}

#[cfg(test)]
mod histories;

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::histories::{Random, Shelf, file_of};
    use super::*;

    const DEVICE: Device = Device { number: 1, id: 2 };
    const LATER: i64 = 1 << 60;
    const OPTIONS: Options = Options { anywhere: false, rehash: false, sample: u64::MAX };

    fn key(inode: u64, size: u64) -> Key {
        Key { inode, size, modified: 1_000_000_007, changed: 1_000_000_009 }
    }

    fn open(shelf: &Shelf, options: Options) -> Memo {
        Memo::open(&shelf.0, Path::new("/data"), options)
    }

    fn keep(memo: &Memo, key: Key, hash: Hash) {
        memo.keep(Mark { device: DEVICE, key }, &hash, || b"/data/file".to_vec());
    }

    #[test]
    fn it_knows_what_it_was_told() {
        let shelf = Shelf::new("known");
        let memo = open(&shelf, OPTIONS);
        let (small, large) = (Hash::Md5([1; 16]), Hash::Md5Parts([2; 16], 3));
        keep(&memo, key(5, 100), small);
        keep(&memo, key(4, 20 << 20), large);
        keep(&memo, key(6, 100), Hash::Sha256([1; 32]));
        memo.save(true).unwrap();
        let memo = open(&shelf, OPTIONS);
        assert_eq!(memo.find(DEVICE, key(5, 100), LATER), Some((100, small)));
        assert_eq!(memo.find(DEVICE, key(4, 20 << 20), LATER), Some((20 << 20, large)));
        assert_eq!(memo.find(DEVICE, key(6, 100), LATER), None, "of another kind");
        assert_eq!(memo.find(DEVICE, key(5, 101), LATER), None);
        assert_eq!(memo.find(DEVICE, Key { modified: 0, ..key(5, 100) }, LATER), None);
        assert_eq!(memo.find(DEVICE, Key { changed: 0, ..key(5, 100) }, LATER), None);
        assert_eq!(memo.find(Device { id: 3, ..DEVICE }, key(5, 100), LATER), None);
        assert_eq!(memo.find(DEVICE, key(5, 100), 2_999_999_000), None, "the clock was set back");
        let rehash = open(&shelf, Options { rehash: true, ..OPTIONS });
        assert_eq!(rehash.find(DEVICE, key(5, 100), LATER), None);
        let below = Memo::open(&shelf.0, Path::new("/data/a/b"), OPTIONS);
        assert_eq!(below.find(DEVICE, key(5, 100), LATER), Some((100, small)));
    }

    #[test]
    fn damage_at_any_byte_is_seen() {
        let shelf = Shelf::new("damage");
        let memo = open(&shelf, OPTIONS);
        for inode in 0..3 {
            keep(&memo, key(inode, 100), Hash::Md5([inode as u8; 16]));
        }
        memo.save(true).unwrap();
        let path = file_of(&shelf.0).path().to_owned();
        let intact = std::fs::read(&path).unwrap();
        let found = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            let memo = open(&shelf, OPTIONS);
            let found = (0..3).filter_map(|inode| memo.find(DEVICE, key(inode, 100), LATER));
            found.map(|(_, hash)| hash).collect::<Vec<_>>()
        };
        assert_eq!(found(&intact).len(), 3);
        for at in 0..intact.len() {
            for bit in 0..8 {
                let mut bytes = intact.clone();
                bytes[at] ^= 1 << bit;
                assert_eq!(found(&bytes), [], "byte {at}, bit {bit}");
            }
            assert_eq!(found(&intact[..at]), [], "cut at {at}");
        }
        let mut random = Random(7);
        for _ in 0..100 {
            let bytes: Vec<u8> = (0..random.below(400)).map(|_| random.below(256) as u8).collect();
            assert_eq!(found(&bytes), []);
        }
    }

    #[test]
    fn a_wrong_hash_is_reported_and_empties_it() {
        let shelf = Shelf::new("wrong");
        let memo = open(&shelf, OPTIONS);
        keep(&memo, key(5, 100), Hash::Md5([1; 16]));
        keep(&memo, key(6, 100), Hash::Md5([1; 16]));
        memo.save(true).unwrap();
        let memo = open(&shelf, Options { sample: 1, ..OPTIONS });
        assert!(memo.is_sample(), "it is read all the same");
        keep(&memo, key(5, 100), Hash::Md5([2; 16]));
        assert_eq!(memo.faults(), [b"/data/file"]);
        assert!(memo.knows_nothing());
        memo.save(true).unwrap();
        assert!(open(&shelf, OPTIONS).knows_nothing());
    }

    #[test]
    fn files_that_are_gone_are_forgotten_when_all_were_seen() {
        let shelf = Shelf::new("gone");
        let memo = open(&shelf, OPTIONS);
        (0..200).for_each(|inode| keep(&memo, key(inode, 100), Hash::Md5([1; 16])));
        memo.save(true).unwrap();
        let is_known = |inode| open(&shelf, OPTIONS).find(DEVICE, key(inode, 100), LATER).is_some();
        for (is_complete, after) in [(false, true), (true, false)] {
            let memo = open(&shelf, OPTIONS);
            memo.find(DEVICE, key(7, 100), LATER);
            keep(&memo, key(900, 100), Hash::Md5([1; 16]));
            memo.save(is_complete).unwrap();
            assert!(is_known(7) && is_known(900));
            assert_eq!(is_known(8), after);
        }
    }

    #[test]
    fn an_entry_takes_less_than_64_bytes() {
        let shelf = Shelf::new("bytes");
        let memo = open(&shelf, OPTIONS);
        (0..10_000).for_each(|inode| keep(&memo, key(inode, 100), Hash::Md5([1; 16])));
        memo.save(true).unwrap();
        assert!(std::fs::metadata(file_of(&shelf.0).path()).unwrap().len() < 49 * 10_000);
    }
}
