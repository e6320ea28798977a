//! Listings whose files are all remembered, so that the registry need not be asked about each of them.

use std::collections::HashMap;
use std::fmt::Write;
use std::os::fd::AsFd;
use std::sync::Arc;

use rustix::fs::{AtFlags, OFlags, statat};

use crate::batch::Row;
use crate::beneath::Root;
use crate::chunk::{Item, Plan};
use crate::error::Result;
use crate::hash::Hash;
use crate::ids::{Uid, UidRule};
use crate::json;
use crate::listing::{Kind, Listing};
use crate::memo::Memo;
use crate::outcome::{Known, Status, VerifiedBy};
use crate::read::open_folder;

/// The remembered contents of all files of a listing.
#[derive(Debug)]
pub struct Recalled {
    pub(crate) listing: Arc<Listing>,
    contents: Vec<(u64, Hash)>,
    /// The files that are read all the same.
    samples: Vec<usize>,
}

impl Recalled {
    /// Looks at all files of a listing; None if one is not remembered.
    pub(crate) fn of(listing: &Arc<Listing>, root: &Root, memo: &Memo) -> Option<Self> {
        let mut contents = Vec::with_capacity(listing.len());
        let mut samples = Vec::new();
        let mut open = None;
        for ordinal in 0..listing.len() {
            if listing.kind(ordinal) == Kind::Linked {
                return None;
            }
            let (number, path) = listing.folder(ordinal);
            let folder = match open.take_if(|(open, _)| *open == number) {
                Some((_, folder)) => folder,
                None => open_folder(Some(root), path, OFlags::PATH, listing.naming.links).ok()?,
            };
            let stat = statat(&folder, listing.name(ordinal), AtFlags::SYMLINK_NOFOLLOW).ok()?;
            contents.push(memo.look_up(folder.as_fd(), &stat)?);
            if memo.is_sample() {
                samples.push(ordinal);
            }
            open = Some((number, folder));
        }
        Some(Self { listing: Arc::clone(listing), contents, samples })
    }

    /// The first and the last key; None if there are no files.
    #[must_use]
    pub fn range(&self) -> Option<(String, String)> {
        let last = self.listing.len().checked_sub(1)?;
        Some((self.listing.key(0), self.listing.key(last)))
    }

    /// Key, size, hash and hash type of each file, each followed by two slashes, which none of them contains.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::with_capacity(self.contents.len() * 96);
        for (ordinal, (size, hash)) in self.contents.iter().enumerate() {
            let (key, hash, kind) = (self.listing.key(ordinal), hash.text(), hash.kind());
            let _ = write!(text, "{key}//{size}//{hash}//{kind}//"); // writing to memory never fails
        }
        text
    }

    /// The positions of the files that are read all the same, and their keys as a JSON array.
    #[must_use]
    pub fn samples(&self) -> (&[usize], String) {
        let keys = json::array(self.samples.iter(), |json, ordinal| {
            json::push_string(json, &self.listing.key(*ordinal));
        });
        (&self.samples, keys)
    }

    /// The work on the files, if all of them are registered as they are. `known` has the rows of the samples.
    pub(crate) fn items(
        &self,
        known: &HashMap<usize, Arc<Known>>,
        rule: Option<&UidRule>,
    ) -> Result<Vec<Item>> {
        let item = |(ordinal, &(size, hash)): (usize, &(u64, Hash))| {
            if self.samples.binary_search(&ordinal).is_ok() {
                let item = Item::to_compare(&self.listing, ordinal, known.get(&ordinal), rule)?;
                return Ok(Item { must_read: true, ..item });
            }
            // Nobody asks for its uid.
            let (uid, status, verified_by) = (Uid::FIRST, Status::Unchanged, VerifiedBy::Local);
            let row = Row { ordinal: ordinal as u32, status, uid, size, hash, known: None, verified_by };
            Ok(Item { ordinal: row.ordinal, uid, plan: Plan::Keep(Box::new(row)), must_read: false })
        };
        self.contents.iter().enumerate().map(item).collect()
    }
}
