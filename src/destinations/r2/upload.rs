//! Bytes of unknown length into one object, with bounded memory.

use std::rc::Rc;
use std::task::Poll;

use bytes::Bytes;
use futures::future::LocalBoxFuture;
use futures::{FutureExt, poll};

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
    /// The part under way.
    in_flight: Option<LocalBoxFuture<'static, Result<UploadedPart>>>,
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
        Self { store, key, content_type, multipart: None, in_flight: None, parts: Vec::new(), bytes: 0 }
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
        self.settle().await?;
        let upload = self.multipart.take().unwrap_or_default();
        let etag = self.store.multipart_complete(&self.key, &upload, std::mem::take(&mut self.parts)).await?;
        Ok(Stored { bytes: self.bytes, etag })
    }

    /// Gives the upload up. What a crash leaves behind instead is invisible, and R2 removes it after seven days.
    pub(super) async fn abort(&mut self) {
        self.in_flight = None;
        if let Some(upload) = self.multipart.take() {
            // The error that led here is the one worth telling.
            let _ = self.store.multipart_abort(&self.key, &upload).await;
        }
    }

    /// Starts a part after the one before it has arrived, and does not wait for it: while the store takes it, the source
    /// delivers and the next row group is encoded. One part is under way at most. On the platform its bytes left WASM
    /// memory when the call began, so this costs none of it (I9).
    ///
    /// A first poll is what starts a call (on the platform it sends the request); no executor has to be borrowed.
    async fn part(&mut self, body: Bytes) -> Result<()> {
        self.settle().await?;
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
        self.bytes += body.len() as u64;
        let (store, key) = (Rc::clone(&self.store), self.key.clone());
        let upload = self.multipart.clone().unwrap_or_default();
        let mut call = async move { store.multipart_part(&key, &upload, number, body).await }.boxed_local();
        match poll!(&mut call) {
            Poll::Ready(part) => self.parts.push(part?),
            Poll::Pending => self.in_flight = Some(call),
        }
        Ok(())
    }

    /// Waits for the part under way.
    async fn settle(&mut self) -> Result<()> {
        if let Some(call) = self.in_flight.take() {
            self.parts.push(call.await?);
        }
        Ok(())
    }
}
