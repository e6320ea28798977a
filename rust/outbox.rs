//! New content on its way to a storage that is not a folder: what waits to be sent, what is being sent, and the
//! budget that both share with what is being read.
//!
//! Whoever reads reserves room first. There is room again when a file is settled, whatever the order of the
//! batches, and a thread that waits for room has none itself: so somebody will always make some.

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

/// Bytes of content in memory, and a little for each file.
const BUDGET: u64 = 128 << 20;

/// What a file counts that is read while it is sent, for it keeps a descriptor open.
pub(crate) const LARGE: u64 = PART_SIZE;

/// What each file counts besides its content.
const OVERHEAD: u64 = 1 << 10;

/// Most files, and about the most bytes, handed over at once: meanwhile nothing else runs in Python.
const HANDFUL: (usize, u64) = (256, 8 << 20);

/// The room that a file of `size` bytes takes.
pub(crate) fn room(size: u64) -> u64 {
    size + OVERHEAD
}

/// A file that has to be sent, or is being sent.
pub(crate) struct Upload {
    pub(crate) chunk: Arc<Chunk>,
    pub(crate) index: usize,
    pub(crate) content: Content,
    reserved: u64,
}

pub(crate) enum Content {
    /// All of it, and the row that it makes.
    Memory(Box<[u8]>, Row),
    /// To be read while it is sent, for the so-many-th time.
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

    /// Makes ready to send the file as it is now; false when that was done often enough, or it has not
    /// changed and is not what was staged.
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

/// What waits and what is on its way.
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

    /// Puts back what was taken, to be sent next. Its room was free for a moment only, so it waits for none.
    pub(crate) fn put_back(&mut self, upload: Upload) {
        self.reserved += upload.reserved;
        self.ready.push_front(upload);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ready.is_empty()
    }

    /// Takes the next uploads, to be sent.
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

    /// Takes back what was sent, and the room for it.
    pub(crate) fn settle(&mut self, ticket: u64) -> Result<Upload> {
        let upload = self.sent.remove(&ticket);
        let upload = upload.ok_or_else(|| Error::Invalid(format!("no upload has the ticket {ticket}")))?;
        self.reserved -= upload.reserved;
        Ok(upload)
    }
}

/// A file for the caller to send.
pub struct Parcel {
    /// What it is settled by.
    pub ticket: u64,
    /// Where it goes, relative to the storage root.
    pub object_key: String,
    /// What to send.
    pub content: ParcelContent,
}

/// The content of a parcel.
pub enum ParcelContent {
    /// All of it, and its hash.
    Memory(Box<[u8]>, Hash),
    /// To be read part by part.
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
