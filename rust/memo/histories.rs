//! Random histories of a made-up file system, whose clock can be set: the memo never gives another hash than reading.

use std::path::{Path, PathBuf};

use super::*;
use crate::hash::md5::md5;

const DEVICES: [Device; 2] = [Device { number: 1, id: 10 }, Device { number: 1, id: 11 }];
const FOLDER: &str = "/data";
const SECOND: i64 = 1_000_000_000;
/// The step of the clock that stamps changes.
const TICK: i64 = 4_000_000;

/// SplitMix64.
pub(super) struct Random(pub(super) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}

/// A file. Its content is a number, and its size is one of few, so that rewriting often keeps it.
#[derive(Clone, Copy, Debug)]
struct Node {
    key: Key,
    content: u64,
    /// Somebody has it mapped to write: then whether its page was changed and waits for the disk.
    mapped: Option<bool>,
}

impl Node {
    fn hash(&self) -> Hash {
        Hash::Md5(md5(&[self.content, self.key.size].map(u64::to_le_bytes).concat()))
    }
}

/// A folder with names of nodes, as on Linux: inodes are used again, and a change is stamped with the last tick.
#[derive(Clone)]
struct Disk {
    device: Device,
    nodes: BTreeMap<u64, Node>,
    names: Vec<u64>,
}

struct World {
    random: Random,
    time: i64,
    /// Where in a tick the clock steps: another place after it is set, in nanoseconds.
    phase: i64,
    disk: Disk,
    other: Disk,
    shelf: PathBuf,
}

impl World {
    fn stamp(&self) -> i64 {
        (self.time - self.phase).div_euclid(TICK) * TICK + self.phase
    }

    fn wait(&mut self) {
        let most = [TICK / 2, TICK, SECOND, 3 * SECOND, 100 * SECOND][self.random.below(5)];
        self.time += self.random.below(most as usize) as i64;
    }

    fn create(&mut self) -> u64 {
        let inode = (1..).find(|inode| !self.disk.nodes.contains_key(inode)).unwrap();
        let (now, size) = (self.stamp(), 1 + self.random.below(2) as u64);
        let key = Key { inode, size, modified: now, changed: now };
        let node = Node { key, content: self.random.next(), mapped: None };
        self.disk.nodes.insert(inode, node);
        inode
    }

    /// Something that happens to one of the files.
    fn change(&mut self) {
        if self.disk.names.is_empty() || self.random.below(12) == 0 {
            let inode = self.create();
            self.disk.names.push(inode);
            return;
        }
        let now = self.stamp();
        let place = self.random.below(self.disk.names.len());
        let inode = self.disk.names[place];
        let (what, content) = (self.random.below(9), self.random.next());
        let node = self.disk.nodes.get_mut(&inode).unwrap();
        match what {
            // A write of the same size, possibly with the old mtime restored afterwards.
            0 | 1 => {
                let modified = if what == 0 { now } else { node.key.modified };
                node.content = content;
                (node.key.modified, node.key.changed) = (modified, now);
            }
            // Another file is renamed over it, with the same mtime and size.
            2 => {
                let (modified, size) = (node.key.modified, node.key.size);
                let new = self.create();
                let node = self.disk.nodes.get_mut(&new).unwrap();
                (node.key.modified, node.key.size) = (modified, size);
                self.disk.names[place] = new;
            }
            // It is removed, and its inode is used again, also with the same mtime and size.
            3 => {
                let old = self.disk.nodes[&inode].key;
                self.disk.names.retain(|name| *name != inode);
                self.disk.nodes.remove(&inode);
                let new = self.create();
                let node = self.disk.nodes.get_mut(&new).unwrap();
                (node.key.modified, node.key.size) = (old.modified, old.size);
                self.disk.names.push(new);
            }
            // A hard link.
            4 => {
                node.key.changed = now;
                self.disk.names.push(inode);
            }
            // It is mapped, a byte is stored, the page is written to the disk, and it is unmapped.
            5 => node.mapped = node.mapped.or(Some(false)),
            6 => {
                if let Some(is_changed) = &mut node.mapped {
                    node.content = content;
                    if !std::mem::replace(is_changed, true) {
                        (node.key.modified, node.key.changed) = (now, now);
                    }
                }
            }
            7 => node.mapped = node.mapped.map(|_| false),
            _ => node.mapped = None,
        }
    }

    /// Something that happens to the machine.
    fn disturb(&mut self) {
        match self.random.below(5) {
            0 | 1 => {
                let step = self.random.next() as i64 % (3600 * SECOND);
                self.time += step;
                self.phase = self.random.below(TICK as usize) as i64;
            }
            2 => std::mem::swap(&mut self.disk, &mut self.other),
            _ => self.damage(),
        }
    }

    /// Deletes the memo, cuts it off, or changes a byte of it, such as one of the boot id.
    fn damage(&mut self) {
        let path = file_of(&self.shelf).path().to_owned();
        let Ok(mut bytes) = std::fs::read(&path) else { return };
        let at = self.random.below(bytes.len().max(1));
        match self.random.below(3) {
            0 => return std::fs::remove_file(path).unwrap(),
            1 => bytes.truncate(at),
            _ => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << self.random.below(8)),
        }
        std::fs::write(path, bytes).unwrap();
    }

    /// Hashes all files with a memo. Returns how many were not read.
    fn ingest(&mut self) -> usize {
        let options = Options { anywhere: false, rehash: self.random.below(10) == 0, sample: 10 };
        let memo = Memo::open(&self.shelf, Path::new(FOLDER), options);
        let mut known = 0;
        for inode in self.disk.names.clone() {
            let node = self.disk.nodes[&inode];
            match memo.find(self.disk.device, node.key, self.time) {
                Some(found) if !memo.is_sample() => {
                    assert_eq!(found, (node.key.size, node.hash()), "{node:?} at {}", self.time);
                    known += 1;
                }
                _ => {
                    let is_clean = node.mapped != Some(true) && writers::is_long_ago(&node.key, self.time);
                    if node.key.is_older(self.time, RACY) && (node.mapped.is_none() || is_clean) {
                        let mark = Mark { device: self.disk.device, key: node.key };
                        memo.keep(mark, &node.hash(), || unreachable!("the memo was wrong"));
                    }
                }
            }
            if self.random.below(8) == 0 {
                self.change();
            }
        }
        memo.save(self.random.below(4) > 0).unwrap();
        known
    }
}

pub(super) fn file_of(shelf: &Path) -> File {
    File::at(shelf, Path::new(FOLDER)).unwrap()
}

/// A folder for the memo, which is removed at the end.
pub(super) struct Shelf(pub(super) PathBuf);

impl Shelf {
    pub(super) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("inhaul-memo-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Shelf {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn no_history_makes_it_wrong() {
    let shelf = Shelf::new("histories");
    let many = std::env::var("SOAK").is_ok();
    let mut known = 0;
    for seed in 0..if many { 10_000 } else { 500 } {
        let empty = |device| Disk { device, nodes: BTreeMap::new(), names: Vec::new() };
        let mut world = World {
            random: Random(seed),
            time: 1_700_000_000 * SECOND,
            phase: 123_457,
            disk: empty(DEVICES[0]),
            other: empty(DEVICES[1]),
            shelf: shelf.0.clone(),
        };
        file_of(&shelf.0).remove().unwrap(); // that of another world with the same times
        for _ in 0..30 {
            for _ in 0..world.random.below(4) {
                world.change();
                world.wait();
            }
            world.wait();
            if world.random.below(6) == 0 {
                world.disturb();
            }
            known += world.ingest();
        }
    }
    assert!(known > 5_000, "the memo knew only {known} files");
}
