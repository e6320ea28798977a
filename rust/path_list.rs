//! Lists of paths, whose files are read without a walk.

use std::collections::HashMap;
use std::collections::hash_map::Entry::{Occupied, Vacant};
use std::ffi::OsStr;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::sync::Arc;

use ::ignore::gitignore::Gitignore;
use rustix::io::Errno;

use crate::beneath::Links;
use crate::error::{Result, as_path};
use crate::ignore::{self, IgnoreFiles};
use crate::keys::{self, OWN_FOLDER};
use crate::listing::{Kind, Listing, Naming};
use crate::outcome::{Failure, Reason};
use crate::paths::split;
use crate::stamp::Stamp;

/// A path of a list.
#[derive(Debug, Default)]
pub(crate) struct Entry {
    /// The path, absolute or relative to the root.
    pub path: Vec<u8>,
    /// Its whole key; None if the key follows from the path.
    pub key: Option<String>,
    /// The reason why it is left out, if that is known.
    pub problem: Option<String>,
    /// The only stamp with which it may be read.
    pub stamp: Option<Stamp>,
}

/// A list of paths, taken in parts.
pub(crate) struct PathList {
    naming: Arc<Naming>,
    exclude: Gitignore,
    /// The ignore files that leave out paths, if they are not without effect.
    ignores: Option<IgnoreFiles>,
    /// The roots of other storages, each ending in a slash.
    storages: Vec<Vec<u8>>,
    /// A digest of each key so far, and a shorter one of its path: the list may have millions of them.
    seen: HashMap<[u32; 2], u32>,
    hasher: RandomState,
    /// The last folder that was resolved.
    resolved: Option<(Vec<u8>, Resolved)>,
    listings: u64,
}

/// A folder without links.
type Resolved = std::result::Result<Vec<u8>, Errno>;

/// The place of a file in a listing.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Placed {
    /// The folder: absolute if it lies outside the root. It ends in a slash, or is empty.
    folder: Vec<u8>,
    name: Vec<u8>,
    /// The key, if it does not follow from the path.
    key: Option<String>,
}

impl PathList {
    /// An empty list. Leaves out files that are `excluded`, and those that ignore files leave out if they have an effect
    /// (`ignores`). Refuses files in other `storages`.
    ///
    /// # Errors
    /// A pattern is wrong.
    pub(crate) fn new(
        naming: Arc<Naming>,
        excluded: &[String],
        ignores: bool,
        storages: Vec<Vec<u8>>,
    ) -> Result<Self> {
        Ok(Self {
            ignores: ignores.then(|| IgnoreFiles::below(naming.root.clone())),
            naming,
            exclude: ignore::exclude(excluded)?,
            storages,
            seen: HashMap::new(),
            hasher: RandomState::new(),
            resolved: None,
            listings: 0,
        })
    }

    /// The files of the next part of the list, sorted by folder, and the position of each in the part. None if no file
    /// and no issue is left.
    pub(crate) fn listing(&mut self, entries: Vec<Entry>) -> Option<(Listing, Vec<usize>)> {
        let mut listing = Listing::new(Arc::clone(&self.naming), self.listings);
        let mut files = Vec::with_capacity(entries.len());
        let stamps: Vec<_> = entries.iter().map(|entry| entry.stamp).collect();
        for (position, entry) in entries.into_iter().enumerate() {
            match self.place(&entry) {
                Ok(None) => {}
                Ok(Some(file)) => files.push((file, position)),
                Err(failure) => listing.issues.push(failure.at(self.whole(&entry.path))),
            }
        }
        files.sort_unstable();
        let mut entered: Option<&[u8]> = None;
        for (file, position) in &files {
            if entered != Some(&*file.folder) {
                listing.enter(&file.folder);
                entered = Some(&file.folder);
            }
            listing.push(&file.name, self.kind(&file.folder));
            if let Some(key) = &file.key {
                listing.name_last(key);
            }
            if let Some(stamp) = stamps[*position] {
                listing.expect_last(stamp);
            }
        }
        listing.shrink();
        if files.is_empty() && listing.issues.is_empty() {
            return None;
        }
        self.listings += 1;
        Some((listing, files.iter().map(|(_, position)| *position).collect()))
    }

    /// The first mistake in the next part of the list for which the whole list is refused: a second path with a key,
    /// or an address (true).
    pub(crate) fn mistake(&mut self, entries: &[Entry]) -> Option<(String, bool)> {
        entries.iter().find_map(|entry| {
            let failure = self.place(entry).err()?;
            let is_address = is_address(&entry.path);
            let refused = is_address || failure.reason == Reason::Conflict;
            refused.then(|| (format!("{}: {}", as_path(&entry.path).display(), failure.message), is_address))
        })
    }

    fn kind(&self, folder: &[u8]) -> Kind {
        match self.naming.links {
            Links::Refused => Kind::Named,
            // There is no folder in which a link from outside the root could stay.
            Links::Inside if folder.starts_with(b"/") => Kind::Named,
            Links::Inside | Links::Anywhere => Kind::Linked,
        }
    }

    /// The place of a file; None if it is left out in silence.
    fn place(&mut self, entry: &Entry) -> std::result::Result<Option<Placed>, Failure> {
        if let Some(problem) = &entry.problem {
            return Err(Failure::new(Reason::InvalidEntry, problem));
        }
        if is_address(&entry.path) {
            let message = "this is an address: a list can only name files of this machine";
            return Err(Failure::new(Reason::InvalidEntry, message));
        }
        let path = self.located(&entry.path)?;
        let (folder, name) = split(&path);
        let is_inside = !path.starts_with(b"/");
        let is_own = path.split(|&byte| byte == b'/').any(|segment| segment == OWN_FOLDER.as_bytes());
        if is_inside && (is_own || self.is_left_out(&path)) || !is_inside && self.is_excluded(name) {
            return Ok(None);
        }
        if is_own {
            let message = "it lies in inhaul's own folder, whose files are not ingested";
            return Err(Failure::new(Reason::InvalidKey, message));
        }
        let whole = self.whole(&path);
        if let Some(storage) = self.storages.iter().find(|storage| whole.starts_with(storage)) {
            let message =
                format!("it lies in the storage {}: ingest it by itself", as_path(storage).display());
            return Err(Failure::new(Reason::Storage, message));
        }
        let Ok(text) = str::from_utf8(&path) else {
            return Err(Failure::new(Reason::NotUtf8, "the name is not UTF-8: rename it to ingest it"));
        };
        let inferred = is_inside.then(|| self.naming.prefix.clone() + text);
        let key = self.own_key(entry.key.as_deref(), inferred.as_deref(), name)?;
        if !self.is_first(key.as_deref().or(inferred.as_deref()).unwrap_or_default(), &whole)? {
            return Ok(None);
        }
        Ok(Some(Placed { folder: folder.to_owned(), name: name.to_owned(), key }))
    }

    /// The given key, if it is another one than the inferred key.
    fn own_key(
        &self,
        given: Option<&str>,
        inferred: Option<&str>,
        name: &[u8],
    ) -> std::result::Result<Option<String>, Failure> {
        let wrong = |message: String| Err(Failure::new(Reason::InvalidKey, message));
        let root = as_path(&self.naming.root).display();
        let in_place = self.naming.in_place;
        let key = match (given, inferred) {
            (None, None) => return wrong(format!("it lies outside of {root}, so it needs a key")),
            (Some(_), None) if in_place => {
                return wrong(format!(
                    "it lies outside of {root}, where files are registered without a copy"
                ));
            }
            (Some(key), Some(inferred)) if in_place && key != inferred => {
                return wrong(format!("it lies in a storage, where its key is {inferred:?}, not {key:?}"));
            }
            (Some(key), _) | (None, Some(key)) => key,
        };
        if let Some(problem) = keys::key_problem(key) {
            return wrong(format!("{key:?} cannot be its key: {problem}"));
        }
        if inferred == Some(key) {
            return Ok(None);
        }
        let suffix = keys::suffix(&String::from_utf8_lossy(name));
        if keys::suffix(key) != suffix {
            return wrong(format!("its key {key:?} should end in {suffix:?}, as the file does"));
        }
        Ok(Some(key.to_owned()))
    }

    /// Returns false if a path was listed before under the same key.
    fn is_first(&mut self, key: &str, path: &[u8]) -> std::result::Result<bool, Failure> {
        let halves = |number: u64| [(number >> 32) as u32, number as u32];
        let path = halves(self.hasher.hash_one(path))[0];
        match self.seen.entry(halves(self.hasher.hash_one(key))) {
            Vacant(first) => {
                first.insert(path);
                Ok(true)
            }
            Occupied(first) if *first.get() == path => Ok(false),
            Occupied(_) => {
                let message = format!("another path of the list has the key {key:?}, too");
                Err(Failure::new(Reason::Conflict, message))
            }
        }
    }

    fn is_left_out(&mut self, path: &[u8]) -> bool {
        match &mut self.ignores {
            Some(ignores) => ignores.leave_out(&self.exclude, path),
            None => self.is_excluded(path),
        }
    }

    fn is_excluded(&self, path: &[u8]) -> bool {
        !self.exclude.is_empty() && ignore::leave_out(&self.exclude, &String::from_utf8_lossy(path))
    }

    fn whole(&self, path: &[u8]) -> Vec<u8> {
        if path.starts_with(b"/") { path.to_owned() } else { [&self.naming.root, path].concat() }
    }

    /// The path relative to the root, or absolute if it lies outside. It has no segments that are empty, `.` or `..`.
    fn located(&mut self, path: &[u8]) -> std::result::Result<Vec<u8>, Failure> {
        if path.is_empty() {
            return Err(Failure::new(Reason::InvalidEntry, "the path is empty"));
        }
        if path.contains(&0) {
            return Err(Failure::new(Reason::InvalidEntry, "the path holds a NUL character"));
        }
        let is_absolute = path.starts_with(b"/");
        let segments: Vec<&[u8]> =
            path.split(|&byte| byte == b'/').filter(|name| !name.is_empty() && *name != b".").collect();
        let Some(name) = segments.last().filter(|&&name| name != b"..") else { return Err(folder()) };
        let simple = segments.join(&b'/');
        if !segments.contains(&&b".."[..]) {
            if !is_absolute {
                return Ok(simple);
            }
            let whole = [b"/", &*simple].concat();
            if whole == self.naming.root[..self.naming.root.len() - 1] {
                return Err(folder());
            }
            if let Some(inside) = self.below_root(&whole) {
                return Ok(inside);
            }
        }
        // Only the disk can tell where `..` and links lead to.
        let whole = if is_absolute { [b"/", &*simple].concat() } else { self.whole(&simple) };
        let above = self.resolve(&whole[..whole.len() - name.len()])?;
        let whole = [&above, &b"/"[..usize::from(above != b"/")], name].concat();
        Ok(self.below_root(&whole).unwrap_or(whole))
    }

    /// The path relative to the root; None if it is not below the root.
    fn below_root(&self, path: &[u8]) -> Option<Vec<u8>> {
        path.strip_prefix(&*self.naming.root).map(<[u8]>::to_owned)
    }

    /// The folder without links.
    fn resolve(&mut self, folder: &[u8]) -> std::result::Result<Vec<u8>, Failure> {
        let known = self.resolved.take_if(|(known, _)| known == folder);
        let (_, found) = self.resolved.insert(known.unwrap_or_else(|| {
            let found = std::fs::canonicalize(Path::new(OsStr::from_bytes(folder)));
            let errno = |error: io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
            (folder.to_owned(), found.map(|path| path.into_os_string().into_vec()).map_err(errno))
        }));
        found.clone().map_err(Failure::reading)
    }
}

fn folder() -> Failure {
    let message = "this is a folder: ingest it by itself, or list its files";
    Failure { errno: Some(Errno::ISDIR), ..Failure::new(Reason::Special, message) }
}

/// Returns true if a path starts with a scheme, such as `s3://`.
fn is_address(path: &[u8]) -> bool {
    let end = path.windows(3).position(|three| three == b"://").unwrap_or(0);
    let is_scheme = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-.".contains(byte);
    path[..end].first().is_some_and(u8::is_ascii_alphabetic) && path[..end].iter().all(is_scheme)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn list(root: &str, in_place: bool) -> PathList {
        let naming =
            Naming { root: root.as_bytes().to_vec(), prefix: "p/".to_owned(), in_place, ..Naming::default() };
        PathList::new(Arc::new(naming), &["*.tmp".to_owned()], false, vec![b"/data/other/".to_vec()]).unwrap()
    }

    fn entry(path: &str, key: Option<&str>) -> Entry {
        Entry { path: path.into(), key: key.map(str::to_owned), ..Entry::default() }
    }

    #[test]
    fn keys_follow_from_paths() {
        let entries = ["b/c", "./a//d", "/data/b/a/", "/data//./e", "a.tmp", "x/.inhaul/y", "b/./c"];
        let entries = entries.map(|path| entry(path, None)).into();
        let (listing, positions) = list("/data/", false).listing(entries).unwrap();
        assert_eq!(listing.keys_json(), r#"["p/e","p/a/d","p/b/a","p/b/c"]"#);
        assert_eq!(positions, [3, 1, 2, 0]);
        assert_eq!((listing.issues.len(), listing.path(3)), (0, b"/data/b/c".to_vec()));
    }

    #[test]
    fn given_keys_are_whole() {
        let pairs = [("/etc/hosts", "k/hosts"), ("a.csv", "b.CSV"), ("c", "p/c")];
        let entries = pairs.map(|(path, key)| entry(path, Some(key))).into();
        let (listing, _) = list("/data/", false).listing(entries).unwrap();
        assert_eq!(listing.keys_json(), r#"["b.CSV","p/c","k/hosts"]"#);
        assert_eq!(listing.path(2), b"/etc/hosts");
        assert_eq!(listing.uid_of(0), (&b"\0"[..], &b"b.CSV"[..]));
        assert_eq!(listing.uid_of(1), (&b""[..], &b"c"[..]));
    }

    #[test]
    fn a_file_keeps_its_stamp_wherever_it_is_sorted() {
        let stamp = Stamp::of(1, 2, 3);
        let entries =
            vec![entry("b/c", None), Entry { stamp: Some(stamp), ..entry("b/a", None) }, entry("z", None)];
        let (listing, positions) = list("/data/", false).listing(entries).unwrap();
        assert_eq!(positions, [2, 1, 0]);
        assert_eq!([0, 1, 2].map(|ordinal| listing.stamp(ordinal)), [None, Some(stamp), None]);
    }

    #[test]
    fn what_cannot_be_ingested_has_a_reason() {
        for (path, key, reason) in [
            ("", None, Reason::InvalidEntry),
            ("a\0", None, Reason::InvalidEntry),
            ("s3://bucket/a", None, Reason::InvalidEntry),
            (".", None, Reason::Special),
            ("/data/", None, Reason::Special),
            ("a/..", None, Reason::Special),
            ("/data/other/a", None, Reason::Storage),
            ("/etc/hosts", None, Reason::InvalidKey),
            ("/no/such/folder/a", None, Reason::Vanished),
            ("a\\b", None, Reason::InvalidKey),
            ("a", Some("../a"), Reason::InvalidKey),
            ("a", Some("/a"), Reason::InvalidKey),
            ("a", Some(".inhaul/a"), Reason::InvalidKey),
            ("a.csv", Some("a.txt"), Reason::InvalidKey),
        ] {
            let (listing, _) = list("/data/", false).listing(vec![entry(path, key)]).unwrap();
            let reasons: Vec<_> = listing.issues.iter().map(|issue| issue.failure.reason).collect();
            assert_eq!(reasons, [reason], "{path:?} {key:?}");
        }
        for (path, key) in [("/etc/hosts", "hosts"), ("a", "b")] {
            let (listing, _) = list("/data/", true).listing(vec![entry(path, Some(key))]).unwrap();
            assert_eq!(listing.issues[0].failure.reason, Reason::InvalidKey, "{path:?} {key:?}");
        }
        let (listing, _) = list("/data/", true).listing(vec![entry("a", Some("p/a"))]).unwrap();
        assert_eq!(listing.key(0), "p/a");
    }

    #[test]
    fn a_key_belongs_to_one_path() {
        let mut list = list("/data/", false);
        assert!(list.listing(vec![entry("a", None)]).is_some());
        assert!(list.listing(vec![entry("./a", None), entry("a", Some("p/a"))]).is_none());
        assert_eq!(list.mistake(&[entry("b", Some("p/b")), entry("", None)]), None);
        assert!(list.mistake(&[entry("s3://a", None)]).unwrap().1);
        assert!(!list.mistake(&[entry("c", Some("p/a"))]).unwrap().1);
        let (listing, _) = list.listing(vec![entry("c", Some("p/a"))]).unwrap();
        assert_eq!(listing.issues[0].failure.reason, Reason::Conflict);
    }

    #[test]
    fn the_disk_tells_where_dots_and_links_lead() {
        let top = std::env::temp_dir().join(format!("inhaul-list-{}", std::process::id()));
        let top = fs::create_dir_all(top.join("real/a/b")).and_then(|()| fs::canonicalize(&top)).unwrap();
        symlink(top.join("real"), top.join("alias")).unwrap();
        symlink("a/b", top.join("real/link")).unwrap();
        let root = top.join("real/").display().to_string();
        for (path, key) in [
            (format!("{}/alias/a/f", top.display()), Some("p/a/f")),
            ("a/b/../f".to_owned(), Some("p/a/f")),
            ("link/../f/./".to_owned(), Some("p/a/f")),
            (format!("../{}/f", top.join("real").file_name().unwrap().display()), Some("p/f")),
            ("../f".to_owned(), None),
        ] {
            let (listing, _) = list(&root, false).listing(vec![entry(&path, None)]).unwrap();
            match key {
                Some(key) => assert_eq!(listing.key(0), key, "{path}"),
                None => assert_eq!(listing.issues[0].failure.reason, Reason::InvalidKey, "{path}"),
            }
        }
        fs::remove_dir_all(top).unwrap();
    }
}
