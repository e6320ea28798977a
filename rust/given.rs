//! A folder whose listing and hashes are given, so that no file is read.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::batch::{Batch, Row};
use crate::chunk::Item;
use crate::error::Result;
use crate::hash::Hash;
use crate::ids::UidRule;
use crate::ignore;
use crate::listing::{Kind, Listing, Naming};
use crate::outcome::{Failure, Known, Reason, VerifiedBy};
use crate::paths::split;

/// Files in path order, each with its size and hash.
#[derive(Debug)]
pub(crate) struct GivenFiles {
    /// All files except those left out.
    pub listing: Arc<Listing>,
    contents: Vec<(u64, Hash)>,
}

impl GivenFiles {
    /// Takes a listing: the path below the root, size and hash of each file, and the path of each file that is
    /// `left` out, with the reason. Ignores files that are `excluded`.
    ///
    /// # Errors
    /// A pattern is wrong.
    pub(crate) fn new(
        naming: Arc<Naming>,
        ordinal: u64,
        files: Vec<(String, u64, Hash)>,
        left: Vec<(String, Failure)>,
        excluded: &[String],
    ) -> Result<Self> {
        let excluded = ignore::exclude(excluded)?;
        let mut listing = Listing::new(Arc::clone(&naming), ordinal);
        let mut contents = Vec::with_capacity(files.len());
        let mut entered: Option<Vec<u8>> = None;
        for (path, size, hash) in files {
            if ignore::leave_out(&excluded, &path) {
                continue;
            }
            let (folder, name) = split(path.as_bytes());
            if entered.as_deref() != Some(folder) {
                listing.enter(folder);
                entered = Some(folder.to_owned());
            }
            listing.push(name, Kind::Unseen);
            contents.push((size, hash));
        }
        for (path, why) in left {
            if !ignore::leave_out(&excluded, &path) {
                listing.issues.push(why.at([&naming.root, path.as_bytes()].concat()));
            }
        }
        listing.shrink();
        Ok(Self { listing: Arc::new(listing), contents })
    }

    /// Decides the status of each file from the row of its key. In a bucket, a folder with the same key may be registered,
    /// and a file cannot follow it; such keys are given by their position in the listing.
    ///
    /// # Errors
    /// A family can have no more versions.
    pub(crate) fn plan(
        &self,
        salt: &[u8],
        known: &HashMap<usize, Arc<Known>>,
        folders: &HashSet<usize>,
    ) -> Result<Batch> {
        let rule = UidRule::new(salt, self.listing.ordinal);
        let outcome = |(ordinal, &(size, hash)): (usize, &(u64, Hash))| {
            if folders.contains(&ordinal) {
                let message = "a folder is registered under this key, and an object cannot follow it";
                return Ok(Err(Failure::new(Reason::Conflict, message)));
            }
            let item = Item::to_compare(&self.listing, ordinal, known.get(&ordinal), Some(&rule))?;
            let verified_by = if hash.is_of_content() { VerifiedBy::Etag } else { VerifiedBy::Nothing };
            let row = item.unread().unwrap_or_else(|| item.read(size, hash));
            Ok(row.map(|row| Row { verified_by, ..row }))
        };
        let outcomes = self.contents.iter().enumerate().map(outcome).collect::<Result<Vec<_>>>()?;
        let mut batch = Batch::default();
        batch.extend(&self.listing, 0..self.contents.len() as u32, outcomes);
        batch.extend_issues(&self.listing.issues);
        Ok(batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::{Reason, Status};

    #[test]
    fn files_are_planned_without_reading_them() {
        let naming = Naming {
            root: b"s3://bucket/data/".to_vec(),
            prefix: "data/".to_owned(),
            in_place: true,
            ..Naming::default()
        };
        let file = |path: &str, byte| (path.to_owned(), 5, Hash::Md5([byte; 16]));
        let other = ("b/other".to_owned(), 5, Hash::Etag([3; 16]));
        let listed = vec![file("a", 1), file("b/c.csv", 2), other, file("out/d", 3), file("e.tmp", 4)];
        let left = |path: &str| (path.to_owned(), Failure::new(Reason::InvalidKey, "it is odd"));
        let left = vec![left("a//b"), left("out//e")];
        let excluded = ["out/".to_owned(), "*.tmp".to_owned()];
        let listed = GivenFiles::new(Arc::new(naming), 0, listed, left, &excluded).unwrap();
        assert_eq!(listed.listing.keys_json(), r#"["data/a","data/b/c.csv","data/b/other"]"#);

        let first = listed.plan(b"salt", &HashMap::new(), &HashSet::new()).unwrap();
        assert_eq!((first.count(Status::New), first.issues().len(), first.size()), (3, 1, 15));
        let verified: Vec<_> = first.rows().iter().map(|(_, row)| row.verified_by).collect();
        assert_eq!(verified, [VerifiedBy::Etag, VerifiedBy::Etag, VerifiedBy::Nothing]);

        let uid = first.rows()[1].1.uid;
        let known =
            |hash| Known { uid, highest: uid, size: 5, hash: Some(hash), trashed: false, record: "".into() };
        let again = [(1, Arc::new(known(Hash::Md5([2; 16])))), (2, Arc::new(known(Hash::Etag([4; 16]))))];
        let again = listed.plan(b"salt", &again.into(), &HashSet::from([0])).unwrap();
        let statuses: Vec<_> = again.rows().iter().map(|(_, row)| row.status).collect();
        assert_eq!(statuses, [Status::Unchanged, Status::NewVersion]);
        assert_eq!(again.issues()[0].failure.reason, Reason::Conflict);
    }
}
