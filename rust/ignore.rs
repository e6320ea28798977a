//! The rules for files that a walk leaves out: `.inhaulignore` files and the patterns of the caller.

#[cfg(any(feature = "python", test))]
use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};

use crate::error::{Error, Result};

/// The name of ignore files, which use gitignore syntax.
pub(crate) const IGNORE_FILE: &[u8] = b".inhaulignore";

/// The most bytes of an ignore file.
pub(crate) const MOST_RULES: u64 = 1 << 20;

/// The patterns for one folder: its own and, after them, those of the folders above.
pub(crate) struct Rules {
    /// Their folder: a relative path that ends in a slash, or the empty one.
    folder: Box<[u8]>,
    patterns: Gitignore,
    above: Option<Arc<Rules>>,
}

impl Rules {
    /// The rules for `folder`, whose ignore file has this `text`, and the lines that are not patterns.
    #[must_use]
    pub(crate) fn new(folder: &[u8], text: &[u8], above: Option<Arc<Self>>) -> (Self, Vec<String>) {
        let lines = text.split(|&byte| byte == b'\n').map(String::from_utf8_lossy);
        let (patterns, errors) = compile(lines);
        (Self { folder: folder.into(), patterns, above }, errors)
    }

    /// Returns true if the rules leave out `path`, which lies in their folder. The deepest rule decides.
    #[must_use]
    pub(crate) fn leave_out(&self, path: &[u8], is_folder: bool) -> bool {
        let relative = Path::new(OsStr::from_bytes(&path[self.folder.len()..]));
        match (self.patterns.matched(relative, is_folder), &self.above) {
            (Match::Ignore(_), _) => true,
            (Match::Whitelist(_), _) | (Match::None, None) => false,
            (Match::None, Some(above)) => above.leave_out(path, is_folder),
        }
    }
}

/// The ignore files of a folder and of those below it, for paths that were not walked.
#[cfg(any(feature = "python", test))]
pub(crate) struct IgnoreFiles {
    /// The path of the folder, which ends in a slash.
    root: Vec<u8>,
    /// The rules of folders, by their relative paths, which end in a slash.
    known: HashMap<Vec<u8>, Option<Arc<Rules>>>,
}

#[cfg(any(feature = "python", test))]
impl IgnoreFiles {
    /// The ignore files below a root. Each is read when a path in its folder is looked up, and only once.
    pub(crate) fn below(root: Vec<u8>) -> Self {
        Self { root, known: HashMap::new() }
    }

    /// Returns true if the caller's patterns or ignore files leave out a file, or a folder in its path.
    pub(crate) fn leave_out(&mut self, exclude: &Gitignore, path: &[u8]) -> bool {
        let mut rules = self.rules(b"", None);
        for end in (0..path.len()).filter(|&at| path[at] == b'/').chain([path.len()]) {
            let (part, is_folder) = (&path[..end], end < path.len());
            let is_out = match exclude.matched(Path::new(OsStr::from_bytes(part)), is_folder) {
                Match::Ignore(_) => true,
                Match::Whitelist(_) => false,
                Match::None => rules.as_ref().is_some_and(|rules| rules.leave_out(part, is_folder)),
            };
            if is_out {
                return true;
            }
            if is_folder {
                rules = self.rules(&path[..=end], rules);
            }
        }
        false
    }

    fn rules(&mut self, folder: &[u8], above: Option<Arc<Rules>>) -> Option<Arc<Rules>> {
        if let Some(known) = self.known.get(folder) {
            return known.clone();
        }
        let file = [&self.root, folder, IGNORE_FILE].concat();
        let file = Path::new(OsStr::from_bytes(&file));
        let is_read =
            file.symlink_metadata().is_ok_and(|status| status.is_file() && status.len() <= MOST_RULES);
        // A file that cannot be read, and a line that is no pattern, is reported when it is ingested.
        let text = is_read.then(|| std::fs::read(file).ok()).flatten();
        let rules = match text {
            Some(text) => Some(Arc::new(Rules::new(folder, &text, above).0)),
            None => above,
        };
        self.known.insert(folder.to_owned(), rules.clone());
        rules
    }
}

/// The patterns of the caller, which ignore files cannot override.
///
/// # Errors
/// A pattern is wrong.
pub(crate) fn exclude(patterns: &[String]) -> Result<Gitignore> {
    let (compiled, errors) = compile(patterns.iter().map(|pattern| pattern.as_str().into()));
    match errors.into_iter().next() {
        Some(error) => Err(Error::Invalid(format!("exclude: {error}"))),
        None => Ok(compiled),
    }
}

/// Returns true if patterns leave out a file or a folder in its path; for files that were not walked.
#[cfg(any(feature = "python", test))]
#[must_use]
pub(crate) fn leave_out(patterns: &Gitignore, path: &str) -> bool {
    let folders = path.match_indices('/').map(|(end, _)| patterns.matched(&path[..end], true));
    folders.chain([patterns.matched(path, false)]).any(|found| found.is_ignore())
}

fn compile<'a>(lines: impl Iterator<Item = std::borrow::Cow<'a, str>>) -> (Gitignore, Vec<String>) {
    let mut builder = GitignoreBuilder::new("");
    let mut errors: Vec<String> =
        lines.filter_map(|line| builder.add_line(None, &line).err()).map(|error| error.to_string()).collect();
    let patterns = builder.build().unwrap_or_else(|error| {
        errors.push(error.to_string());
        Gitignore::empty()
    });
    (patterns, errors)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deepest_rule_decides() {
        let (above, errors) = Rules::new(b"", b"*.log\n/build/\n# comment\n", None);
        assert!(errors.is_empty());
        let (rules, _) = Rules::new(b"a/", b"!keep.log\n", Some(Arc::new(above)));
        assert!(rules.leave_out(b"a/x.log", false));
        assert!(!rules.leave_out(b"a/keep.log", false));
        assert!(!rules.leave_out(b"a/build", true));
        assert!(!rules.leave_out(b"a/x.csv", false));
    }

    #[test]
    fn a_wrong_pattern_is_named() {
        let (_, errors) = Rules::new(b"", b"ok\na{b\n", None);
        assert_eq!(errors.len(), 1);
        assert!(exclude(&["a{b".to_owned()]).is_err());
    }

    #[test]
    fn ignore_files_leave_out_what_a_walk_leaves_out() {
        let root = std::env::temp_dir().join(format!("inhaul-ignore-{}", std::process::id()));
        std::fs::create_dir_all(root.join("a")).unwrap();
        std::fs::write(root.join(".inhaulignore"), "*.log\n/build/\n").unwrap();
        std::fs::write(root.join("a/.inhaulignore"), "!keep.log\n").unwrap();
        let exclude = exclude(&["*.bak".to_owned(), "!own.log".to_owned()]).unwrap();
        let mut files = IgnoreFiles::below([root.as_os_str().as_bytes(), b"/"].concat());
        let left_out = ["x.log", "a/x.log", "build/x", "a/keep.bak"];
        let kept = ["x.csv", "a/keep.log", "a/build", "build", "own.log", ".inhaulignore"];
        assert_eq!(left_out.map(|path| files.leave_out(&exclude, path.as_bytes())), [true; 4]);
        assert_eq!(kept.map(|path| files.leave_out(&exclude, path.as_bytes())), [false; 6]);
        std::fs::remove_dir_all(root).unwrap();
    }
}
