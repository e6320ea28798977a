//! Paths as bytes.

/// The path of a folder, ending in a slash; the empty path stays empty.
#[must_use]
pub(crate) fn with_slash(path: &[u8]) -> Vec<u8> {
    let mut path = path.to_owned();
    if path.last().is_some_and(|&last| last != b'/') {
        path.push(b'/');
    }
    path
}

/// A path as its folder, ending in a slash, and its name.
#[must_use]
pub(crate) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    let end = path.iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1);
    path.split_at(end)
}
