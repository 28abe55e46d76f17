//! R2 as [`ObjectStore`].
//!
//! A body is copied once, from WASM memory into the `Uint8Array` that R2 reads, and our side of it is freed before the
//! upload is awaited.

use async_trait::async_trait;
use bytes::Bytes;
use worker::{Bucket, Conditional, HttpMetadata, Object, Range, UploadedPart as R2Part};

use super::border;
use crate::core::{Error, ErrorKind, Result};
use crate::ports::{ObjectInfo, ObjectStore, PutCondition, PutOutcome, UploadedPart};

/// R2 deletes at most so many keys in one call.
const DELETE_KEYS: usize = 1000;

/// An R2 bucket.
pub struct R2 {
    bucket: Bucket,
    binding: String,
}

impl R2 {
    /// Wraps the binding of that name.
    #[must_use]
    pub fn new(bucket: Bucket, binding: &str) -> Self {
        Self { bucket, binding: binding.to_owned() }
    }

    fn failure(&self, action: &str, key: &str, error: &worker::Error) -> Error {
        let words = border::worker_text(error);
        Error::new(kind_of(&words), format!("R2 bucket {}, {action} {key}: {words}", self.binding))
    }

    async fn read(&self, key: &str, range: Option<Range>) -> Result<Option<(Bytes, Object)>> {
        let mut get = self.bucket.get(key);
        if let Some(range) = range {
            get = get.range(range);
        }
        let failed = |error: worker::Error| self.failure("reading", key, &error);
        let Some(object) = get.execute().await.map_err(failed)? else { return Ok(None) };
        let Some(body) = object.body() else { return Ok(None) };
        let bytes = Bytes::from(body.bytes().await.map_err(failed)?);
        Ok(Some((bytes, object)))
    }

    fn cut_short(&self, key: &str, arrived: usize, expected: u64) -> Error {
        Error::new(
            ErrorKind::DestinationUnavailable,
            format!("R2 bucket {}: {arrived} of {expected} bytes of {key} arrived", self.binding),
        )
    }

    fn resume(&self, key: &str, upload: &str) -> Result<worker::MultipartUpload> {
        self.bucket
            .resume_multipart_upload(key, upload)
            .map_err(|error| self.failure("resuming the upload of", key, &error))
    }
}

#[async_trait(?Send)]
impl ObjectStore for R2 {
    async fn put(
        &self,
        key: &str,
        body: Bytes,
        content_type: &str,
        condition: PutCondition,
    ) -> Result<PutOutcome> {
        let mut put = self.bucket.put(key, Vec::from(body)).http_metadata(typed(content_type));
        match condition {
            PutCondition::Always => {}
            PutCondition::IfAbsent => {
                put = put.only_if(Conditional {
                    etag_does_not_match: Some("*".to_owned()),
                    ..Conditional::default()
                });
            }
            PutCondition::IfMatch(etag) => {
                put = put.only_if(Conditional { etag_matches: Some(etag), ..Conditional::default() });
            }
        }
        match put.execute().await.map_err(|error| self.failure("writing", key, &error))? {
            Some(object) => Ok(PutOutcome::Written(object.etag())),
            None => Ok(PutOutcome::Conflict),
        }
    }

    async fn get(&self, key: &str) -> Result<Option<(Bytes, String)>> {
        let Some((bytes, object)) = self.read(key, None).await? else { return Ok(None) };
        if bytes.len() as u64 != object.size() {
            return Err(self.cut_short(key, bytes.len(), object.size()));
        }
        Ok(Some((bytes, object.etag())))
    }

    async fn get_range(&self, key: &str, offset: u64, length: u64) -> Result<Option<Bytes>> {
        let range = Range::OffsetWithLength { offset, length };
        match self.read(key, Some(range)).await? {
            Some((bytes, _)) if bytes.len() as u64 != length => Err(self.cut_short(key, bytes.len(), length)),
            found => Ok(found.map(|(bytes, _)| bytes)),
        }
    }

    async fn head(&self, key: &str) -> Result<Option<ObjectInfo>> {
        let object = self.bucket.head(key).await.map_err(|error| self.failure("looking for", key, &error))?;
        Ok(object.as_ref().map(info))
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>> {
        let mut found = Vec::new();
        let mut cursor = None;
        loop {
            let mut list = self.bucket.list().prefix(prefix);
            if let Some(cursor) = cursor {
                list = list.cursor(cursor);
            }
            let page = list.execute().await.map_err(|error| self.failure("listing", prefix, &error))?;
            found.extend(page.objects().iter().map(info));
            // A page may be short and yet not the last: only `truncated` tells.
            cursor = page.cursor().filter(|_| page.truncated());
            if cursor.is_none() {
                return Ok(found);
            }
        }
    }

    async fn delete(&self, keys: &[String]) -> Result<()> {
        for some in keys.chunks(DELETE_KEYS) {
            self.bucket
                .delete_multiple(some.to_vec())
                .await
                .map_err(|error| self.failure("deleting", some.first().map_or("", String::as_str), &error))?;
        }
        Ok(())
    }

    async fn multipart_begin(&self, key: &str, content_type: &str) -> Result<String> {
        let upload = self
            .bucket
            .create_multipart_upload(key)
            .http_metadata(typed(content_type))
            .execute()
            .await
            .map_err(|error| self.failure("beginning the upload of", key, &error))?;
        Ok(upload.upload_id().await)
    }

    async fn multipart_part(
        &self,
        key: &str,
        upload: &str,
        number: u16,
        body: Bytes,
    ) -> Result<UploadedPart> {
        let part = self
            .resume(key, upload)?
            .upload_part(number, Vec::from(body))
            .await
            .map_err(|error| self.failure(&format!("uploading part {number} of"), key, &error))?;
        Ok(UploadedPart { number, etag: part.etag() })
    }

    async fn multipart_complete(&self, key: &str, upload: &str, parts: Vec<UploadedPart>) -> Result<String> {
        let parts = parts.into_iter().map(|part| R2Part::new(part.number, part.etag));
        let object = self
            .resume(key, upload)?
            .complete(parts)
            .await
            .map_err(|error| self.failure("completing the upload of", key, &error))?;
        Ok(object.etag())
    }

    async fn multipart_abort(&self, key: &str, upload: &str) -> Result<()> {
        self.resume(key, upload)?
            .abort()
            .await
            .map_err(|error| self.failure("giving up the upload of", key, &error))
    }
}

fn typed(content_type: &str) -> HttpMetadata {
    HttpMetadata { content_type: Some(content_type.to_owned()), ..HttpMetadata::default() }
}

fn info(object: &Object) -> ObjectInfo {
    ObjectInfo { key: object.key(), size: object.size(), etag: object.etag() }
}

/// R2 ends its messages with its error code in brackets; the list is in the R2 documentation.
fn kind_of(words: &str) -> ErrorKind {
    let code = words.rsplit_once('(').and_then(|(_, tail)| tail.strip_suffix(')'));
    match code {
        // No such upload; an uploaded part is gone.
        Some("10024" | "10025") => ErrorKind::NotFound,
        // Part too small; parts uneven; malformed request; range beyond the end: ours to avoid.
        Some("10011" | "10048" | "10022" | "10039") => ErrorKind::Internal,
        // Entity too large; key too long; metadata too large.
        Some("100100" | "10020" | "10012") => ErrorKind::DestinationLimit,
        // No such bucket; not allowed.
        Some("10006" | "10003") => ErrorKind::DestinationConfig,
        _ => ErrorKind::DestinationUnavailable,
    }
}
