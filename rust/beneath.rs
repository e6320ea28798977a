//! Opening of files below a folder, and of files elsewhere only on request.
//!
//! The path of a file may contain a link, or somebody may put one there at any moment. So the root is opened once, and
//! everything else is opened relative to its descriptor. The kernel keeps the path below the root (`openat2`). If the
//! kernel lacks that call, or a link names an absolute path, this module checks each step.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, fstat, mkdirat, openat, openat2, readlinkat, stat,
    syncfs, unlinkat,
};
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::paths::{split, with_slash};

/// How often the call is repeated if somebody renames folders meanwhile.
const TRIES: usize = 16;

/// The most links in one path, as in Linux.
const MOST_LINKS: usize = 40;

const FOLDER: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// The links that a path may contain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Links {
    /// Links that stay below the root.
    Inside,
    /// All links; only for reading files that are copied.
    Anywhere,
    /// No links: the bytes behind a link may belong to another artifact.
    #[default]
    Refused,
}

/// A link that is not followed.
#[derive(Debug, PartialEq, Eq)]
pub struct Link {
    /// Its path relative to the root.
    at: Vec<u8>,
    target: Vec<u8>,
    links: Links,
}

impl Link {
    /// True if it is refused even if it stays below the root.
    pub(crate) fn is_any(&self) -> bool {
        self.links == Links::Refused
    }

    /// A description for people.
    #[must_use]
    pub fn message(&self) -> String {
        let (at, target) = (String::from_utf8_lossy(&self.at), String::from_utf8_lossy(&self.target));
        match self.links {
            Links::Inside | Links::Anywhere => format!("The link {at:?} leads outside, to {target:?}"),
            Links::Refused => format!("{at:?} is a link to {target:?}, and nothing is changed behind links"),
        }
    }
}

/// The reason why a file below a root was not opened.
#[derive(Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The system refused it.
    Os(Errno),
    /// There is a link in the path.
    Link(Link),
}

impl From<Errno> for Refusal {
    fn from(errno: Errno) -> Self {
        Self::Os(errno)
    }
}

impl Refusal {
    /// The error for a call about `path` below `root`.
    #[must_use]
    pub fn error(&self, root: &Root, path: &[u8]) -> Error {
        let whole = root.whole(path);
        match self {
            Self::Os(errno) => Error::os(&whole, *errno),
            Self::Link(link) => Error::link(&whole, link.message()),
        }
    }
}

/// An open folder, below which files are opened.
#[derive(Debug)]
pub struct Root {
    folder: OwnedFd,
    path: Vec<u8>,
    /// The root below which its links stay, if that is another one, and the path from there.
    around: Option<(Arc<Self>, Vec<u8>)>,
}

impl Root {
    /// Opens a folder; its own path may have links.
    ///
    /// # Errors
    /// The path is not a folder, or the system refuses.
    pub fn open(path: &[u8]) -> Result<Self> {
        let folder = openat(CWD, path, FOLDER, Mode::empty()).map_err(|errno| Error::os(path, errno))?;
        Ok(Self { folder, path: path.to_owned(), around: None })
    }

    /// Opens a folder below this one as a separate root.
    ///
    /// # Errors
    /// The path is not a folder, it contains a refused link, or the system refuses.
    pub fn below(&self, path: &[u8], links: Links) -> std::result::Result<Self, Refusal> {
        let folder = self.open_at(path, FOLDER, Mode::empty(), links)?;
        Ok(Self { folder, path: self.whole(path), around: None })
    }

    /// Opens a folder below this one whose links may lead anywhere below this one.
    ///
    /// # Errors
    /// The path is not a folder, it contains a refused link, or the system refuses.
    pub fn part(self: &Arc<Self>, path: &[u8]) -> std::result::Result<Self, Refusal> {
        let part = self.below(path, Links::Refused)?;
        Ok(Self { around: Some((Arc::clone(self), with_slash(path))), ..part })
    }

    /// The folder below which links stay, unless they may lead anywhere.
    #[must_use]
    pub fn limit(&self) -> &[u8] {
        self.around.as_ref().map_or(&self.path, |(around, _)| &around.path)
    }

    /// The path of the folder.
    #[must_use]
    pub fn path(&self) -> &[u8] {
        &self.path
    }

    /// The whole path of a file below it.
    #[must_use]
    pub fn whole(&self, path: &[u8]) -> Vec<u8> {
        [&with_slash(&self.path), path].concat()
    }

    /// Returns true if its path still leads to it.
    #[must_use]
    pub fn is_there(&self) -> bool {
        let same = |a: &rustix::fs::Stat, b: &rustix::fs::Stat| (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino);
        matches!((stat(self.path.as_slice()), fstat(&self.folder)), (Ok(now), Ok(held)) if same(&now, &held))
    }

    /// Opens a file or folder below it.
    ///
    /// # Errors
    /// The path contains a link that is not followed, or the system refuses.
    pub fn open_at(
        &self,
        path: &[u8],
        flags: OFlags,
        mode: Mode,
        links: Links,
    ) -> std::result::Result<OwnedFd, Refusal> {
        if let (Links::Inside, Some((around, way))) = (links, &self.around) {
            return around.open_at(&[way, path].concat(), flags, mode, links);
        }
        let path = if path.is_empty() { b"." } else { path };
        let flags = flags | OFlags::CLOEXEC;
        let resolve = match links {
            Links::Anywhere => return Ok(openat(&self.folder, path, flags, mode)?),
            Links::Inside => ResolveFlags::BENEATH,
            Links::Refused => ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS,
        };
        for _ in 0..TRIES {
            match openat2(&self.folder, path, flags, mode, resolve) {
                Ok(file) => return Ok(file),
                Err(Errno::AGAIN) => {}
                // Older kernels lack the call, and some containers forbid it. The other errors may mean a link.
                Err(Errno::NOSYS | Errno::PERM | Errno::XDEV | Errno::LOOP) => break,
                Err(errno) => return Err(errno.into()),
            }
        }
        self.open_by_steps(path, flags, mode, links)
    }

    /// Does the same as `open_at`, one folder after the other.
    fn open_by_steps(
        &self,
        path: &[u8],
        flags: OFlags,
        mode: Mode,
        links: Links,
    ) -> std::result::Result<OwnedFd, Refusal> {
        let mut ahead: Vec<Vec<u8>> = steps(path);
        let mut at: Vec<Vec<u8>> = Vec::new();
        let mut folder: Option<OwnedFd> = None; // the last folder of `at`; None at the root
        let mut followed: Vec<Link> = Vec::new();
        while let Some(name) = ahead.pop() {
            let here = folder.as_ref().map_or(self.folder.as_fd(), AsFd::as_fd);
            if name == b".." {
                if at.pop().is_none() {
                    return Err(followed.pop().map_or(Errno::XDEV.into(), Refusal::Link));
                }
                // Start at the root again, as the folder may have been moved since.
                ahead.extend(at.drain(..).rev());
                folder = None;
                continue;
            }
            let last = ahead.is_empty();
            if last && flags.contains(OFlags::CREATE) {
                return Ok(openat(here, name, flags | OFlags::NOFOLLOW, mode)?);
            }
            let found =
                openat(here, &name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
            if FileType::from_raw_mode(fstat(&found)?.st_mode) == FileType::Symlink {
                let target = readlinkat(&found, "", Vec::new())?.into_bytes();
                let way = at.iter().chain([&name]).cloned().collect::<Vec<_>>();
                let link = Link { at: way.join(&b'/'), target: target.clone(), links };
                if links == Links::Refused {
                    return Err(Refusal::Link(link));
                }
                if followed.len() == MOST_LINKS {
                    return Err(Errno::LOOP.into());
                }
                followed.push(link);
                if target.first() != Some(&b'/') {
                    ahead.extend(steps(&target));
                } else if let Some(inside) = self.relative(&target) {
                    at.clear();
                    folder = None;
                    ahead.extend(steps(&inside));
                } else {
                    return Err(followed.pop().map_or(Errno::XDEV.into(), Refusal::Link));
                }
            } else if last {
                return Ok(openat(here, name, flags | OFlags::NOFOLLOW, mode)?);
            } else {
                at.push(name);
                folder = Some(found);
            }
        }
        let here = folder.as_ref().map_or(self.folder.as_fd(), AsFd::as_fd);
        Ok(openat(here, ".", flags, mode)?)
    }

    /// The path of an absolute path relative to the root; None if it is elsewhere.
    fn relative(&self, target: &[u8]) -> Option<Vec<u8>> {
        let real = |path: &[u8]| std::fs::canonicalize(Path::new(OsStr::from_bytes(path)));
        let root = real(&self.path).ok().filter(|_| self.is_there())?;
        // For a link to nothing, only the text of the target is known.
        let target = real(target).unwrap_or_else(|_| Path::new(OsStr::from_bytes(target)).to_owned());
        target.strip_prefix(root).ok().map(|inside| inside.as_os_str().as_bytes().to_owned())
    }

    /// Opens a folder below it in which a file will be created or removed.
    ///
    /// # Errors
    /// The path is not a folder, it contains a refused link, or the system refuses.
    pub fn open_folder(&self, path: &[u8]) -> std::result::Result<OwnedFd, Refusal> {
        self.open_at(path, FOLDER, Mode::empty(), Links::Refused)
    }

    /// Does the same, and creates missing folders.
    ///
    /// # Errors
    /// See `open_folder`.
    pub fn create_folder(&self, path: &[u8]) -> std::result::Result<OwnedFd, Refusal> {
        match self.open_folder(path) {
            Err(Refusal::Os(Errno::NOENT)) => {}
            result => return result,
        }
        let mut folder = self.open_folder(b"")?;
        let mut way = Vec::new();
        for name in steps(path).into_iter().rev() {
            match mkdirat(&folder, &name, Mode::from_raw_mode(0o777)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno.into()),
            }
            way.extend_from_slice(&name);
            folder = self.open_folder(&way)?;
            way.push(b'/');
        }
        Ok(folder)
    }

    /// Creates a file, and its folder if that is missing.
    ///
    /// # Errors
    /// The file exists, its path contains a link, or the system refuses.
    pub fn create_file(&self, path: &[u8]) -> std::result::Result<OwnedFd, Refusal> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
        let open = || self.open_at(path, flags, Mode::from_raw_mode(0o666), Links::Refused);
        match open() {
            Err(Refusal::Os(Errno::NOENT)) => {
                self.create_folder(split(path).0)?;
                open()
            }
            result => result,
        }
    }

    /// Removes a file, or a link.
    ///
    /// # Errors
    /// The file does not exist, its path contains a link, or the system refuses.
    pub fn remove_file(&self, path: &[u8]) -> std::result::Result<(), Refusal> {
        let (folder, name) = split(path);
        Ok(unlinkat(self.open_folder(folder)?, name, AtFlags::empty())?)
    }

    /// Flushes its file system to disk.
    ///
    /// # Errors
    /// The system refuses.
    pub fn sync(&self) -> std::result::Result<(), Refusal> {
        Ok(syncfs(self.open_at(b"", OFlags::RDONLY, Mode::empty(), Links::Refused)?)?)
    }
}

/// The names in a path, in reverse order.
fn steps(path: &[u8]) -> Vec<Vec<u8>> {
    let names = path.split(|&byte| byte == b'/').filter(|name| !name.is_empty() && *name != b".");
    names.rev().map(<[u8]>::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn tree(name: &str) -> std::path::PathBuf {
        let top = std::env::temp_dir().join(format!("inhaul-{name}-{}", std::process::id()));
        let root = top.join("root");
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::write(root.join("a/b/f"), "inside").unwrap();
        fs::create_dir_all(top.join("out")).unwrap();
        fs::write(top.join("out/f"), "outside").unwrap();
        for (at, target) in [
            ("in", "a/b"),
            ("in_again", "in"),
            ("file", "a/b/f"),
            ("up", "a/../a/b/../b"),
            ("a/back", "../a/b"),
            ("out", "../out"),
            ("a/far", "../../out"),
            ("home", "../root/a"),
            ("gone", "nothing/at/all"),
            ("knot", "knot"),
        ] {
            symlink(target, root.join(at)).unwrap();
        }
        symlink(root.join("a"), root.join("absolute")).unwrap();
        symlink(top.join("out"), root.join("absolute_out")).unwrap();
        symlink("/nowhere/at/all", root.join("absolute_gone")).unwrap();
        symlink(&root, top.join("alias")).unwrap();
        symlink(top.join("alias/a"), root.join("by_alias")).unwrap();
        top
    }

    #[test]
    fn the_kernel_and_the_steps_lead_to_the_same() {
        let top = tree("steps");
        let root = Root::open(top.join("alias").as_os_str().as_bytes()).unwrap();
        let identity = |opened: std::result::Result<OwnedFd, Refusal>| {
            opened.map(|file| fstat(file).map(|stat| (stat.st_dev, stat.st_ino)).unwrap())
        };
        let names = [
            "",
            "a",
            "in",
            "in_again",
            "file",
            "up",
            "a/back",
            "out",
            "a/far",
            "home",
            "gone",
            "knot",
            "absolute",
            "absolute_out",
            "absolute_gone",
            "by_alias",
        ];
        let mut opened = 0;
        for name in names {
            for end in ["", "/f", "/b/f", "/none", "/far/f", "/back/f", "/../out/f"] {
                let path = format!("{name}{end}").into_bytes();
                for links in [Links::Inside, Links::Refused] {
                    let kernel = identity(root.open_at(&path, OFlags::PATH, Mode::empty(), links));
                    let steps = identity(root.open_by_steps(&path, OFlags::PATH, Mode::empty(), links));
                    let shown = String::from_utf8_lossy(&path);
                    // The steps treat a file before `..` like a folder.
                    assert_eq!(kernel.as_ref().ok(), steps.as_ref().ok(), "{shown}");
                    if let Ok(found) = kernel {
                        opened += 1;
                        let real =
                            fs::canonicalize(top.join("root").join(shown.trim_start_matches('/'))).unwrap();
                        assert!(real.starts_with(fs::canonicalize(top.join("root")).unwrap()), "{shown}");
                        let stat = stat(real.as_os_str().as_bytes()).unwrap();
                        assert_eq!(found, (stat.st_dev, stat.st_ino), "{shown}");
                    }
                }
            }
        }
        assert!(opened > 20, "{opened}");
        fs::remove_dir_all(top).unwrap();
    }

    #[test]
    fn nothing_is_created_behind_a_link() {
        let top = tree("created");
        let root = Root::open(top.join("root").as_os_str().as_bytes()).unwrap();
        for path in ["in/new", "out/new", "absolute/new", "gone/new", "a/back/new", "file/new"] {
            let refusal = root.create_file(path.as_bytes()).unwrap_err();
            assert!(matches!(refusal, Refusal::Link(_)), "{path}: {refusal:?}");
            assert!(refusal.error(&root, path.as_bytes()).to_string().contains("a link to"), "{path}");
        }
        root.create_file(b"new/folder/f").unwrap();
        assert_eq!(root.create_file(b"gone").unwrap_err(), Refusal::Os(Errno::EXIST));
        root.remove_file(b"out").unwrap();
        assert!(top.join("out/f").exists());
        fs::remove_dir_all(top).unwrap();
    }
}
