//! New content for a storage that is not a folder: files that wait, files that are being sent, and the memory budget
//! that both share with files that are being read.
//!
//! A thread reserves room before it reads. Settling a file frees its room, in any order of the batches, and a thread
//! that waits for room holds none itself. So there is no deadlock.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::batch::Row;
use crate::chunk::Chunk;
use crate::error::{Error, Result};
use crate::hash::md5::Backend;
use crate::hash::{Algorithm, Hash, PART_SIZE, Parts};
use crate::outcome::Failure;
use crate::part_reader::PartReader;
use crate::read::{ATTEMPTS, Source, changed};

/// The most bytes of content in memory, with a little for each file.
const BUDGET: u64 = 128 << 20;

/// The room of a file that is read while it is sent, since it keeps a descriptor open.
pub(crate) const LARGE: u64 = PART_SIZE;

/// The room of each file besides its content.
const OVERHEAD: u64 = 1 << 10;

/// The most files, and about the most bytes, that are handed over at once: meanwhile no other Python code runs.
const HANDFUL: (usize, u64) = (256, 8 << 20);

/// The room that a file of `size` bytes takes.
pub(crate) fn room(size: u64) -> u64 {
    size + OVERHEAD
}

/// A file that waits or is being sent.
pub(crate) struct Upload {
    pub(crate) chunk: Arc<Chunk>,
    pub(crate) index: usize,
    pub(crate) content: Content,
    reserved: u64,
}

pub(crate) enum Content {
    /// The whole content, and its row.
    Memory(Box<[u8]>, Row),
    /// A file to read while it is sent, with its parts and the number of the attempt.
    File(Source, Parts, u32),
}

impl Upload {
    /// A file whose content is in memory; room for it is reserved.
    pub(crate) fn of_memory(chunk: &Arc<Chunk>, index: usize, bytes: &[u8], row: Row) -> Self {
        let content = Content::Memory(bytes.into(), row);
        Self { chunk: Arc::clone(chunk), index, reserved: room(bytes.len() as u64), content }
    }

    /// A large file; the room for one is reserved.
    pub(crate) fn of_file(chunk: &Arc<Chunk>, index: usize, source: Source, parts: Parts) -> Self {
        let content = Content::File(source, parts, 1);
        Self { chunk: Arc::clone(chunk), index, reserved: LARGE, content }
    }

    /// Prepares to send the file as it is now. Returns false after too many attempts, or if the file has
    /// not changed again and is not the staged one.
    pub(crate) fn again(&mut self, algorithm: Algorithm) -> std::result::Result<bool, Failure> {
        let Content::File(source, parts, attempt) = &mut self.content else { return Ok(false) };
        if *attempt == ATTEMPTS || source.held_still()? {
            return Ok(false);
        }
        *source = source.again()?;
        *parts = algorithm.parts(source.size()).ok_or_else(changed)?;
        *attempt += 1;
        Ok(true)
    }
}

/// The uploads that wait, and those that are being sent.
#[derive(Default)]
pub(crate) struct Outbox {
    reserved: u64,
    ready: VecDeque<Upload>,
    sent: HashMap<u64, Upload>,
    tickets: u64,
}

impl Outbox {
    /// Reserves room, if there is some.
    pub(crate) fn reserve(&mut self, bytes: u64) -> bool {
        let fits = self.reserved + bytes <= BUDGET;
        self.reserved += if fits { bytes } else { 0 };
        fits
    }

    pub(crate) fn release(&mut self, bytes: u64) {
        self.reserved -= bytes;
    }

    pub(crate) fn put(&mut self, uploads: impl IntoIterator<Item = Upload>) {
        self.ready.extend(uploads);
    }

    /// Puts back an upload that was taken, to be sent next. It needs no wait, as its room was free only for a moment.
    pub(crate) fn put_back(&mut self, upload: Upload) {
        self.reserved += upload.reserved;
        self.ready.push_front(upload);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ready.is_empty()
    }

    /// Takes the next uploads to send.
    pub(crate) fn take(&mut self, backend: Backend) -> Vec<Parcel> {
        let mut parcels = Vec::with_capacity(self.ready.len().min(HANDFUL.0));
        let mut bytes = 0;
        while parcels.len() < HANDFUL.0
            && bytes < HANDFUL.1
            && let Some(mut upload) = self.ready.pop_front()
        {
            bytes += upload.reserved;
            self.tickets += 1;
            parcels.push(Parcel::of(self.tickets, &mut upload, backend));
            self.sent.insert(self.tickets, upload);
        }
        parcels
    }

    /// Takes back an upload that was sent, and frees its room.
    pub(crate) fn settle(&mut self, ticket: u64) -> Result<Upload> {
        let upload = self.sent.remove(&ticket);
        let upload = upload.ok_or_else(|| Error::Invalid(format!("no upload has the ticket {ticket}")))?;
        self.reserved -= upload.reserved;
        Ok(upload)
    }
}

/// A file for the caller to send.
pub struct Parcel {
    /// The ticket with which it is settled.
    pub ticket: u64,
    /// Its key, relative to the root of the storage.
    pub object_key: String,
    /// The content to send.
    pub content: ParcelContent,
}

/// The content of a parcel.
pub enum ParcelContent {
    /// The whole content and its hash.
    Memory(Box<[u8]>, Hash),
    /// A reader that reads part by part.
    File(PartReader),
}

impl Parcel {
    fn of(ticket: u64, upload: &mut Upload, backend: Backend) -> Self {
        let (listing, item) = (&upload.chunk.listing, &upload.chunk.items[upload.index]);
        let ordinal = item.ordinal as usize;
        let content = match &mut upload.content {
            Content::Memory(bytes, row) => ParcelContent::Memory(std::mem::take(bytes), row.hash),
            Content::File(source, parts, _) => {
                let (path, source) = (listing.path(ordinal), source.clone());
                ParcelContent::File(PartReader::new(path, source, *parts, backend, item.staged()))
            }
        };
        Self { ticket, object_key: listing.object_key(ordinal, item.uid), content }
    }
}
