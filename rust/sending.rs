//! The outcomes of files that the caller of a scan sends.

use crate::batch::Row;
use crate::error::{Error, Result};
use crate::hash::Hash;
use crate::outbox::{Content, Upload};
use crate::outcome::{Failure, Reason, VerifiedBy};
use crate::shared::Shared;

impl Shared {
    /// Reserves room, and waits for it if needed. Returns false if the scan must end.
    pub(crate) fn wait_for_room(&self, bytes: u64) -> bool {
        self.wait_for_work(|state| state.outbox.reserve(bytes).then_some(())).is_some()
    }

    /// Records that files whose content was in memory are stored.
    pub(crate) fn stored(&self, uploads: &[(u64, VerifiedBy)]) -> Result<()> {
        let sent: Vec<Upload> = {
            let mut state = self.lock();
            uploads.iter().map(|&(ticket, _)| state.outbox.settle(ticket)).collect::<Result<_>>()?
        };
        for (upload, &(ticket, verified_by)) in sent.into_iter().zip(uploads) {
            let Content::Memory(_, row) = upload.content else {
                return Err(Error::Invalid(format!("upload {ticket} is settled with its hash")));
            };
            upload.chunk.settle(upload.index, Ok(Row { verified_by, ..row }));
        }
        self.update(|_| ());
        Ok(())
    }

    /// Records that a large file is stored, with the hash of the sent bytes.
    pub(crate) fn stored_large(&self, ticket: u64, verified_by: VerifiedBy, hash: Hash) -> Result<()> {
        let Upload { chunk, index, content, .. } = self.lock().outbox.settle(ticket)?;
        let Content::File(_, parts, _) = content else {
            return Err(Error::Invalid(format!("upload {ticket} is settled without a hash")));
        };
        let row = chunk.items[index].read(parts.size, hash);
        chunk.settle(index, row.map(|row| Row { verified_by, ..row }));
        self.update(|_| ());
        Ok(())
    }

    /// Records that a file could not be stored. A file that changed while it was sent is sent again, a few times.
    pub(crate) fn not_stored(&self, ticket: u64, mut failure: Failure) -> Result<()> {
        let mut upload = self.lock().outbox.settle(ticket)?;
        if failure.reason == Reason::Changed {
            match upload.again(self.config.algorithm) {
                Ok(true) => {
                    self.update(|state| state.outbox.put_back(upload));
                    return Ok(());
                }
                Ok(false) => {}
                Err(other) => failure = other,
            }
        }
        upload.chunk.settle(upload.index, Err(failure));
        self.update(|_| ());
        Ok(())
    }
}
