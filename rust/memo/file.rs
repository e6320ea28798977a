//! The memo on disk: a header, then blocks of entries, each with a checksum.
//!
//! A new file gets the name of the old one when it is complete. It is not flushed: after a crash of the machine it is of
//! no use anyway, since the file system may have lost times of changes. So the header names the boot, which also makes
//! the memo of another machine useless.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;
use rustix::process::geteuid;

use super::entry::{Entry, SIZE};
use super::system::Device;
use crate::error::{Error, Result};
use crate::hash::crc32c;
use crate::hash::md5::md5;

const MAGIC: &[u8; 16] = b"inhaul memo 1\n\0\0";

/// The characters of a boot id.
const BOOT: usize = 36;

/// The most entries in a block.
const BLOCK: usize = 4096;

/// The bytes before the entries of a block: their number, the checksum, and the file system.
const HEAD: usize = 24;

/// The file of one folder.
#[derive(Debug)]
pub(super) struct File {
    path: PathBuf,
    boot: [u8; BOOT],
}

impl File {
    /// None if the system does not say which boot this is.
    pub(super) fn at(shelf: &Path, folder: &Path) -> Option<Self> {
        let boot = fs::read("/proc/sys/kernel/random/boot_id").ok()?;
        // Machines that share a home folder do not replace each other's memos.
        let machine = fs::read("/etc/machine-id").unwrap_or_default();
        let name = md5(&[&machine, &b"\0"[..], folder.as_os_str().as_bytes()].concat());
        let name: String = name.iter().map(|byte| format!("{byte:02x}")).collect();
        Some(Self { path: shelf.join(name), boot: *boot.first_chunk()? })
    }

    /// Returns true if there is one.
    pub(super) fn exists(&self) -> bool {
        self.path.exists()
    }

    #[cfg(test)]
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The entries, as many as are intact.
    pub(super) fn load(&self) -> BTreeMap<Device, Vec<Entry>> {
        let mut found = BTreeMap::new();
        // Damage ends it: what came before is intact, and the rest is read again.
        let _ = self.read_into(&mut found);
        found
    }

    fn read_into(&self, found: &mut BTreeMap<Device, Vec<Entry>>) -> io::Result<()> {
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
            .open(&self.path)?;
        let status = file.metadata()?;
        if status.uid() != geteuid().as_raw() || status.mode() & 0o022 != 0 || !status.is_file() {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let mut file = BufReader::with_capacity(HEAD + BLOCK * SIZE, file);
        let mut header = vec![0; MAGIC.len() + BOOT + 4];
        file.read_exact(&mut header)?;
        if header != self.header() {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut head = [0; HEAD];
        let mut body = Vec::new();
        while !at_end(&mut file)? {
            file.read_exact(&mut head)?;
            let (count, device) = parse(&head)?;
            body.resize(count * SIZE, 0);
            file.read_exact(&mut body)?;
            if head != self::head(count, device, &body) {
                return Err(io::ErrorKind::InvalidData.into());
            }
            let (entries, _) = body.as_chunks();
            found.entry(device).or_default().extend(entries.iter().map(Entry::parse));
        }
        Ok(())
    }

    /// Writes other entries.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn replace(&self, shelves: &BTreeMap<Device, Vec<Entry>>) -> Result<()> {
        self.write(shelves).map_err(|error| self.error(&error))
    }

    fn write(&self, shelves: &BTreeMap<Device, Vec<Entry>>) -> io::Result<()> {
        if let Some(folder) = self.path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        let new = self.path.with_extension("new");
        let flags = OFlags::NOFOLLOW.bits().cast_signed();
        let mut options = OpenOptions::new();
        let file =
            options.write(true).create(true).truncate(false).mode(0o600).custom_flags(flags).open(&new)?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() || !is_at(&file, &new) {
            return Ok(()); // another process writes this memo, or has just written it
        }
        file.set_len(0)?; // a killed process may have left it
        let mut file = BufWriter::new(file);
        let write = || {
            file.write_all(&self.header())?;
            for (device, entries) in shelves {
                for entries in entries.chunks(BLOCK) {
                    let body = entries.iter().map(Entry::bytes).collect::<Vec<_>>();
                    let body = body.as_flattened();
                    file.write_all(&head(entries.len(), *device, body))?;
                    file.write_all(body)?;
                }
            }
            file.flush()?;
            fs::rename(&new, &self.path)
        };
        write_or(write, || drop(fs::remove_file(&new)))
    }

    /// Removes the file.
    ///
    /// # Errors
    /// The system refuses.
    pub(super) fn remove(&self) -> Result<()> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(self.error(&error)),
            _ => Ok(()),
        }
    }

    fn header(&self) -> Vec<u8> {
        let text = [MAGIC, &self.boot[..]].concat();
        let checksum = crc32c::append(0, &text).to_le_bytes();
        [&text[..], &checksum].concat()
    }

    fn error(&self, error: &io::Error) -> Error {
        let errno = error.raw_os_error().map_or(Errno::IO, Errno::from_raw_os_error);
        Error::os(self.path.as_os_str().as_bytes(), errno)
    }
}

fn is_at(file: &fs::File, path: &Path) -> bool {
    let identity = |status: fs::Metadata| (status.dev(), status.ino());
    let (held, named) = (file.metadata().map(identity), fs::metadata(path).map(identity));
    held.is_ok_and(|held| named.is_ok_and(|named| held == named))
}

fn write_or(write: impl FnOnce() -> io::Result<()>, otherwise: impl FnOnce()) -> io::Result<()> {
    let result = write();
    if result.is_err() {
        otherwise();
    }
    result
}

fn at_end(file: &mut impl io::BufRead) -> io::Result<bool> {
    Ok(file.fill_buf()?.is_empty())
}

fn head(count: usize, device: Device, body: &[u8]) -> [u8; HEAD] {
    let mut head = [0; HEAD];
    head[..4].copy_from_slice(&(count as u32).to_le_bytes());
    head[8..16].copy_from_slice(&device.number.to_le_bytes());
    head[16..].copy_from_slice(&device.id.to_le_bytes());
    let checksum = crc32c::append(crc32c::append(0, &head), body);
    head[4..8].copy_from_slice(&checksum.to_le_bytes());
    head
}

/// The number of entries, and the file system.
fn parse(head: &[u8; HEAD]) -> io::Result<(usize, Device)> {
    let number = |at: usize, length: usize| {
        head[at..at + length].iter().rev().fold(0_u64, |number, byte| number << 8 | u64::from(*byte))
    };
    let count = number(0, 4) as usize;
    if count == 0 || count > BLOCK {
        return Err(io::ErrorKind::InvalidData.into());
    }
    Ok((count, Device { number: number(8, 8), id: number(16, 8) }))
}

#[cfg(test)]
mod tests {
    use super::super::entry::Key;
    use super::super::histories::{Shelf, file_of};
    use super::*;
    use crate::hash::Hash;

    #[test]
    fn a_memo_of_another_boot_is_empty() {
        let shelf = Shelf::new("boot");
        let this = file_of(&shelf.0);
        let other = File { path: this.path.clone(), boot: [b'0'; BOOT] };
        let key = Key { inode: 1, size: 2, modified: 3, changed: 4 };
        let entries = vec![Entry::new(key, &Hash::Md5([5; 16])).unwrap()];
        let shelves = BTreeMap::from([(Device { number: 6, id: 7 }, entries)]);
        other.replace(&shelves).unwrap();
        assert_eq!(other.load(), shelves);
        assert_eq!(this.load(), BTreeMap::new());
    }
}
