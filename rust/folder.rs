//! Reading one folder.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use ignore::Match;
use ignore::gitignore::Gitignore;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, fstat, stat, statat};
use rustix::io::Errno;

use crate::beneath::{Links, Refusal, Root};
use crate::error::as_path;
use crate::ignore::{IGNORE_FILE, MOST_RULES, Rules};
use crate::keys::OWN_FOLDER;
use crate::listing::{Kind, Naming};
use crate::outcome::{Failure, Issue, Reason};
use crate::read::{Source, open_folder, special};

/// The task of a walk.
#[derive(Debug)]
pub(crate) struct Tree {
    /// The root.
    pub root: Arc<Root>,
    /// The rule for the names of files.
    pub naming: Arc<Naming>,
    /// The caller's patterns.
    pub exclude: Gitignore,
}

/// The values that a folder inherits from the folders above it.
#[derive(Clone, Default)]
pub(crate) struct Visit {
    rules: Option<Arc<Rules>>,
    /// The folders above, kept only when links are followed.
    above: Option<Arc<Above>>,
}

struct Above {
    identity: (u64, u64),
    above: Option<Arc<Above>>,
}

impl Visit {
    /// The values for the walked folder. The folders above it are looked up for links that lead back up.
    #[must_use]
    pub(crate) fn first(tree: &Tree) -> Self {
        let mut above = None;
        if tree.naming.links != Links::Refused
            && let Ok(root) = std::fs::canonicalize(Path::new(OsStr::from_bytes(tree.root.path())))
        {
            for folder in root.ancestors().skip(1) {
                if let Ok(stat) = stat(folder) {
                    above = Some(Arc::new(Above { identity: (stat.st_dev, stat.st_ino), above }));
                }
            }
        }
        Self { rules: None, above }
    }
}

impl Above {
    fn holds(&self, identity: (u64, u64)) -> bool {
        self.identity == identity || self.above.as_ref().is_some_and(|above| above.holds(identity))
    }
}

/// The entries of one folder in path order.
#[derive(Default)]
pub(crate) struct Folder {
    /// The concatenated names; those of folders end in a slash.
    names: Vec<u8>,
    entries: Vec<Entry>,
    /// Entries that are neither files nor folders, or that cannot be read.
    pub issues: Vec<Issue>,
    /// Its sub-folders, by path.
    pub visits: BTreeMap<Box<[u8]>, Visit>,
}

struct Entry {
    start: usize,
    length: u16,
    /// None for a folder.
    kind: Option<Kind>,
}

impl Folder {
    /// The number of entries.
    #[must_use]
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The name and the kind of an entry; None for a folder.
    #[must_use]
    pub(crate) fn entry(&self, position: usize) -> Option<(&[u8], Option<Kind>)> {
        let entry = self.entries.get(position)?;
        Some((entry.name(&self.names), entry.kind))
    }

    fn push(&mut self, name: &[u8], kind: Option<Kind>) {
        let start = self.names.len();
        self.names.extend_from_slice(name);
        if kind.is_none() {
            self.names.push(b'/');
        }
        let length = (self.names.len() - start) as u16;
        self.entries.push(Entry { start, length, kind });
    }
}

impl Entry {
    fn name<'a>(&self, names: &'a [u8]) -> &'a [u8] {
        &names[self.start..self.start + usize::from(self.length)]
    }
}

/// Reads the folder at `path`. An entry that cannot be read becomes an issue of the folder.
#[must_use]
pub(crate) fn read_folder(tree: &Tree, path: &[u8], visit: &Visit) -> Folder {
    let mut folder = Folder::default();
    let reader = Reader { tree, path, visit };
    if let Err(failure) = reader.read(&mut folder) {
        let whole = [&tree.naming.root, path].concat();
        let path = whole.strip_suffix(b"/").unwrap_or(&whole).to_owned();
        folder.issues.push(failure.at(path));
    }
    folder
}

/// The target of a link.
enum Followed {
    File,
    Folder,
    /// The folder of inhaul, which no walk enters.
    Own,
}

struct Reader<'a> {
    tree: &'a Tree,
    path: &'a [u8],
    visit: &'a Visit,
}

impl Reader<'_> {
    fn read(&self, folder: &mut Folder) -> Result<(), Failure> {
        let links = self.tree.naming.links;
        let file = open_folder(Some(&self.tree.root), self.path, OFlags::RDONLY, links)?;
        let above = if links != Links::Refused {
            let stat = fstat(&file).map_err(Failure::reading)?;
            Some(Arc::new(Above { identity: (stat.st_dev, stat.st_ino), above: self.visit.above.clone() }))
        } else {
            None
        };

        let mut has_rules = false;
        let mut linked = Vec::new();
        let mut buffer = [MaybeUninit::uninit(); 32 << 10];
        let mut entries = RawDir::new(&file, &mut buffer);
        while let Some(entry) = entries.next() {
            let entry = entry.map_err(Failure::reading)?;
            let name = entry.file_name().to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            let kind = match entry.file_type() {
                FileType::Unknown => match statat(&file, name, AtFlags::SYMLINK_NOFOLLOW) {
                    Ok(stat) => FileType::from_raw_mode(stat.st_mode),
                    Err(errno) => {
                        folder.issues.push(self.issue(name, Failure::reading(errno)));
                        continue;
                    }
                },
                kind => kind,
            };
            has_rules |= name == IGNORE_FILE && kind == FileType::RegularFile;
            match kind {
                FileType::RegularFile => folder.push(name, Some(Kind::Regular)),
                FileType::Directory if name != OWN_FOLDER.as_bytes() => folder.push(name, None),
                FileType::Directory => {}
                FileType::Symlink => linked.push(name.to_owned()),
                kind => {
                    let failure = Failure::new(Reason::Special, special(kind));
                    folder.issues.push(self.issue(name, failure));
                }
            }
        }

        for name in linked {
            match self.follow(file.as_fd(), &name, above.as_deref()) {
                Ok(Followed::Own) => {}
                Ok(Followed::Folder) => folder.push(&name, None),
                Ok(Followed::File) => folder.push(&name, Some(Kind::Linked)),
                Err(failure) => folder.issues.push(self.issue(&name, failure)),
            }
        }
        let rules = if has_rules { self.rules(file.as_fd(), folder) } else { self.visit.rules.clone() };
        self.leave_out(folder, rules.as_deref());

        let Folder { names, entries, visits, .. } = folder;
        entries.sort_unstable_by(|a, b| a.name(names).cmp(b.name(names)));
        for entry in entries.iter().filter(|entry| entry.kind.is_none()) {
            let path = [self.path, entry.name(names)].concat();
            visits.insert(path.into(), Visit { rules: rules.clone(), above: above.clone() });
        }
        Ok(())
    }

    /// Returns the target of the link `name`.
    fn follow(&self, file: BorrowedFd<'_>, name: &[u8], above: Option<&Above>) -> Result<Followed, Failure> {
        let (links, root) = (self.tree.naming.links, &self.tree.root);
        if links == Links::Refused {
            return Err(Failure::link());
        }
        match statat(file, name, AtFlags::empty()) {
            Err(Errno::LOOP) => return Err(Failure::new(Reason::Loop, "links that form a loop")),
            result => result.map_err(Failure::reading)?,
        };
        let target = || {
            let link = [&self.tree.naming.root, self.path, name].concat();
            std::fs::canonicalize(Path::new(OsStr::from_bytes(&link)))
        };
        let shown =
            || target().map_or_else(|_| "another place".to_owned(), |path| path.display().to_string());
        let path = [self.path, name].concat();
        let found = match root.open_at(&path, OFlags::PATH, Mode::empty(), links) {
            Err(Refusal::Link(_)) => {
                let message = format!("links to {}, outside of {}", shown(), as_path(root.limit()).display());
                return Err(Failure::new(Reason::Outside, message));
            }
            // The path of this folder may also contain links.
            Err(Refusal::Os(Errno::LOOP)) => {
                return Err(Failure::new(Reason::Loop, "too many links lead to it"));
            }
            result => result.map_err(Failure::opening)?,
        };
        let stat = fstat(found).map_err(Failure::reading)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Ok(Followed::File),
            FileType::Directory if above.is_some_and(|above| above.holds((stat.st_dev, stat.st_ino))) => {
                Err(Failure::new(Reason::Loop, format!("links to {}, which contains it", shown())))
            }
            FileType::Directory => {
                let is_own = |path: &Path| path.file_name() == Some(OsStr::new(OWN_FOLDER));
                let is_own = name == OWN_FOLDER.as_bytes() || target().is_ok_and(|path| is_own(&path));
                Ok(if is_own { Followed::Own } else { Followed::Folder })
            }
            kind => Err(Failure::new(Reason::Special, special(kind))),
        }
    }

    fn rules(&self, file: BorrowedFd<'_>, folder: &mut Folder) -> Option<Arc<Rules>> {
        let above = self.visit.rules.clone();
        let text = Source::open(file, IGNORE_FILE, Kind::Regular, None, None).and_then(|source| {
            if source.size() > MOST_RULES {
                return Ok(None);
            }
            let mut text = vec![0; source.size() as usize];
            let length = source.read(&mut text, 0)?;
            text.truncate(length);
            Ok(Some(text))
        });
        // The file is also in the listing, where it fails by itself.
        let Ok(text) = text else { return above };
        let Some(text) = text else {
            let message = "larger than 1 MiB, so its patterns are ignored";
            let failure = Failure { errno: Some(Errno::FBIG), ..Failure::new(Reason::Unreadable, message) };
            folder.issues.push(self.issue(IGNORE_FILE, failure));
            let Folder { names, entries, .. } = folder;
            entries.retain(|entry| entry.name(names) != IGNORE_FILE);
            return above;
        };
        let (rules, errors) = Rules::new(self.path, &text, above);
        for error in errors {
            folder.issues.push(self.issue(IGNORE_FILE, Failure::new(Reason::Unreadable, error)));
        }
        Some(Arc::new(rules))
    }

    fn leave_out(&self, folder: &mut Folder, rules: Option<&Rules>) {
        if rules.is_none() && self.tree.exclude.is_empty() {
            return;
        }
        let Folder { names, entries, issues, .. } = folder;
        let is_out = |path: &[u8], is_folder| match self
            .tree
            .exclude
            .matched(Path::new(OsStr::from_bytes(path)), is_folder)
        {
            Match::Ignore(_) => true,
            Match::Whitelist(_) => false,
            Match::None => rules.is_some_and(|rules| rules.leave_out(path, is_folder)),
        };
        entries.retain(|entry| {
            let name = entry.name(names);
            let name = name.strip_suffix(b"/").unwrap_or(name);
            !is_out(&[self.path, name].concat(), entry.kind.is_none())
        });
        let root = self.tree.naming.root.len();
        issues.retain(|issue| issue.path.ends_with(IGNORE_FILE) || !is_out(&issue.path[root..], false));
    }

    fn issue(&self, name: &[u8], failure: Failure) -> Issue {
        failure.at([&self.tree.naming.root, self.path, name].concat())
    }
}
