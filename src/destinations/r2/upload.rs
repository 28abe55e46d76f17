//! Bytes of unknown length into one object, with bounded memory.

use std::rc::Rc;

use bytes::Bytes;

use crate::core::limits::R2_PART_BYTES;
use crate::core::{Error, ErrorKind, Result};
use crate::ports::{ObjectStore, PutCondition, PutOutcome, UploadedPart};

/// R2: parts of one multipart upload (r2/platform/limits). With parts of 5 MiB an object ends at 48 GiB.
const MAX_PARTS: usize = 10_000;

/// One object being written: a single put while it is smaller than a multipart part, a multipart upload from then on.
/// Nothing is visible under the key before [`Upload::finish`].
pub(super) struct Upload {
    store: Rc<dyn ObjectStore>,
    key: String,
    content_type: &'static str,
    multipart: Option<String>,
    parts: Vec<UploadedPart>,
    bytes: u64,
}

/// An object that is stored.
pub(super) struct Stored {
    /// Bytes.
    pub(super) bytes: u64,
    /// ETag.
    pub(super) etag: String,
}

impl Upload {
    /// An object to be.
    pub(super) fn new(store: Rc<dyn ObjectStore>, key: String, content_type: &'static str) -> Self {
        Self { store, key, content_type, multipart: None, parts: Vec::new(), bytes: 0 }
    }

    /// Takes as many whole multipart parts as `ready` holds and leaves the rest in it.
    ///
    /// # Errors
    /// When the store is unreachable.
    pub(super) async fn drain(&mut self, ready: &mut Vec<u8>) -> Result<()> {
        if ready.len() < R2_PART_BYTES {
            return Ok(());
        }
        let mut full = Bytes::from(std::mem::take(ready));
        while full.len() >= R2_PART_BYTES {
            self.part(full.split_to(R2_PART_BYTES)).await?;
        }
        ready.extend_from_slice(&full);
        Ok(())
    }

    /// Stores what is left and makes the object visible, in one step.
    ///
    /// # Errors
    /// When the store is unreachable.
    pub(super) async fn finish(&mut self, mut rest: Vec<u8>) -> Result<Stored> {
        self.drain(&mut rest).await?;
        let rest = Bytes::from(rest);
        if self.multipart.is_none() {
            let bytes = rest.len() as u64;
            return match self.store.put(&self.key, rest, self.content_type, PutCondition::Always).await? {
                PutOutcome::Written(etag) => Ok(Stored { bytes, etag }),
                PutOutcome::Conflict => Err(Error::internal("an unconditional put met a conflict")),
            };
        }
        if !rest.is_empty() {
            self.part(rest).await?;
        }
        let upload = self.multipart.take().unwrap_or_default();
        let etag = self.store.multipart_complete(&self.key, &upload, std::mem::take(&mut self.parts)).await?;
        Ok(Stored { bytes: self.bytes, etag })
    }

    /// Gives the upload up. What a crash leaves behind instead is invisible, and R2 removes it after seven days.
    pub(super) async fn abort(&mut self) {
        if let Some(upload) = self.multipart.take() {
            // The error that led here is the one worth telling.
            let _ = self.store.multipart_abort(&self.key, &upload).await;
        }
    }

    async fn part(&mut self, body: Bytes) -> Result<()> {
        let number = u16::try_from(self.parts.len() + 1).ok().filter(|_| self.parts.len() < MAX_PARTS);
        let number = number.ok_or_else(|| {
            Error::new(
                ErrorKind::DestinationLimit,
                format!("{} would need more than {MAX_PARTS} multipart parts", self.key),
            )
        })?;
        if self.multipart.is_none() {
            self.multipart = Some(self.store.multipart_begin(&self.key, self.content_type).await?);
        }
        let upload = self.multipart.as_deref().unwrap_or_default();
        let length = body.len() as u64;
        let part = self.store.multipart_part(&self.key, upload, number, body).await?;
        self.parts.push(part);
        self.bytes += length;
        Ok(())
    }
}
