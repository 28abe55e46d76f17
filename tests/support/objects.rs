//! R2 in memory, with the rules R2 enforces and the failures it can have.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::task::Poll;

use async_trait::async_trait;
use bytes::Bytes;
use fivetran_do::core::{Error, ErrorKind, Result};
use fivetran_do::ports::{ObjectInfo, ObjectStore, PutCondition, PutOutcome, UploadedPart};
use sha2::{Digest, Sha256};

const MIN_PART: usize = 5 * 1024 * 1024;
const MAX_PARTS: usize = 10_000;
const MAX_KEY: usize = 1_024;
const MAX_DELETE: usize = 1_000;

/// A bucket. Every operation yields once before it takes effect, so that joined futures interleave.
#[derive(Default)]
pub struct MemoryBucket {
    objects: RefCell<BTreeMap<String, (Bytes, String)>>,
    uploads: RefCell<BTreeMap<String, Upload>>,
    next_upload: Cell<u64>,
    operations: Cell<u64>,
    fails_from: Cell<Option<u64>>,
    log: RefCell<Vec<String>>,
}

struct Upload {
    key: String,
    parts: BTreeMap<u16, (Bytes, String)>,
}

impl MemoryBucket {
    /// Keys of all objects, in order.
    pub fn keys(&self) -> Vec<String> {
        self.objects.borrow().keys().cloned().collect()
    }

    /// Sizes of all objects together.
    pub fn total_bytes(&self) -> usize {
        self.objects.borrow().values().map(|(body, _)| body.len()).sum()
    }

    /// An object's bytes.
    pub fn body(&self, key: &str) -> Option<Bytes> {
        self.objects.borrow().get(key).map(|(body, _)| body.clone())
    }

    /// Puts an object past all rules, as a foreign hand would.
    pub fn meddle(&self, key: &str, body: &[u8]) {
        let body = Bytes::copy_from_slice(body);
        let etag = etag_of(&body);
        self.objects.borrow_mut().insert(key.to_owned(), (body, etag));
    }

    /// Multipart uploads neither completed nor aborted.
    pub fn unfinished_uploads(&self) -> usize {
        self.uploads.borrow().len()
    }

    /// From the n-th operation from now on (0 is the next one) everything fails, as if the worker had died, until
    /// [`MemoryBucket::recover`].
    pub fn die_after(&self, operations: u64) {
        self.fails_from.set(Some(self.operations.get() + operations));
    }

    /// Ends [`MemoryBucket::die_after`]. True when something did fail.
    pub fn recover(&self) -> bool {
        self.fails_from.take().is_some_and(|from| self.operations.get() > from)
    }

    /// What was done since the last call, as `operation key` lines.
    pub fn take_log(&self) -> Vec<String> {
        self.log.take()
    }

    /// Writes every object to a folder, so that DuckDB and pyarrow can read them.
    pub fn write_to(&self, folder: &Path) {
        for (key, (body, _)) in &*self.objects.borrow() {
            let path = folder.join(key);
            std::fs::create_dir_all(path.parent().expect("an object lies in a folder")).expect("a folder");
            std::fs::write(path, body).expect("a file");
        }
    }

    async fn operation(&self, what: &str, key: &str) -> Result<()> {
        let mut yielded = false;
        std::future::poll_fn(|context| {
            if std::mem::replace(&mut yielded, true) {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
        let number = self.operations.get();
        self.operations.set(number + 1);
        self.log.borrow_mut().push(format!("{what} {key}"));
        if key.len() > MAX_KEY {
            return Err(refused("the key is longer than 1,024 bytes"));
        }
        if self.fails_from.get().is_some_and(|from| number >= from) {
            return Err(Error::new(ErrorKind::DestinationUnavailable, "the bucket is unreachable"));
        }
        Ok(())
    }
}

fn refused(why: &str) -> Error {
    Error::new(ErrorKind::DestinationConfig, why.to_owned())
}

/// As in R2, the same bytes have the same ETag.
fn etag_of(body: &[u8]) -> String {
    Sha256::digest(body).iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

#[async_trait(?Send)]
impl ObjectStore for MemoryBucket {
    async fn put(&self, key: &str, body: Bytes, _: &str, condition: PutCondition) -> Result<PutOutcome> {
        self.operation("put", key).await?;
        let mut objects = self.objects.borrow_mut();
        let there = objects.get(key).map(|(_, etag)| etag.clone());
        let holds = match condition {
            PutCondition::Always => true,
            PutCondition::IfAbsent => there.is_none(),
            PutCondition::IfMatch(wanted) => there == Some(wanted),
        };
        if !holds {
            return Ok(PutOutcome::Conflict);
        }
        let etag = etag_of(&body);
        objects.insert(key.to_owned(), (body, etag.clone()));
        Ok(PutOutcome::Written(etag))
    }

    async fn get(&self, key: &str) -> Result<Option<(Bytes, String)>> {
        self.operation("get", key).await?;
        Ok(self.objects.borrow().get(key).cloned())
    }

    async fn get_range(&self, key: &str, offset: u64, length: u64) -> Result<Option<Bytes>> {
        self.operation("get_range", key).await?;
        let objects = self.objects.borrow();
        let Some((body, _)) = objects.get(key) else { return Ok(None) };
        let (from, to) = (offset as usize, (offset + length) as usize);
        if length == 0 || to > body.len() {
            return Err(refused("the range lies outside the object"));
        }
        Ok(Some(body.slice(from..to)))
    }

    async fn head(&self, key: &str) -> Result<Option<ObjectInfo>> {
        self.operation("head", key).await?;
        Ok(self.objects.borrow().get(key).map(|(body, etag)| ObjectInfo {
            key: key.to_owned(),
            size: body.len() as u64,
            etag: etag.clone(),
        }))
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>> {
        self.operation("list", prefix).await?;
        let objects = self.objects.borrow();
        let below = objects.range(prefix.to_owned()..).take_while(|(key, _)| key.starts_with(prefix));
        Ok(below
            .map(|(key, (body, etag))| ObjectInfo {
                key: key.clone(),
                size: body.len() as u64,
                etag: etag.clone(),
            })
            .collect())
    }

    async fn delete(&self, keys: &[String]) -> Result<()> {
        self.operation("delete", keys.first().map_or("", String::as_str)).await?;
        if keys.len() > MAX_DELETE {
            return Err(refused("more than 1,000 keys in one delete"));
        }
        let mut objects = self.objects.borrow_mut();
        keys.iter().for_each(|key| drop(objects.remove(key)));
        Ok(())
    }

    async fn multipart_begin(&self, key: &str, _: &str) -> Result<String> {
        self.operation("multipart_begin", key).await?;
        let id = format!("upload-{}", self.next_upload.get());
        self.next_upload.set(self.next_upload.get() + 1);
        let upload = Upload { key: key.to_owned(), parts: BTreeMap::new() };
        self.uploads.borrow_mut().insert(id.clone(), upload);
        Ok(id)
    }

    async fn multipart_part(&self, key: &str, id: &str, number: u16, body: Bytes) -> Result<UploadedPart> {
        self.operation("multipart_part", key).await?;
        let mut uploads = self.uploads.borrow_mut();
        let upload = uploads.get_mut(id).filter(|upload| upload.key == key);
        let upload = upload.ok_or_else(|| refused("no such upload"))?;
        if number == 0 || usize::from(number) > MAX_PARTS {
            return Err(refused("part numbers are 1 to 10,000"));
        }
        let etag = etag_of(&body);
        upload.parts.insert(number, (body, etag.clone()));
        Ok(UploadedPart { number, etag })
    }

    async fn multipart_complete(&self, key: &str, id: &str, parts: Vec<UploadedPart>) -> Result<String> {
        self.operation("multipart_complete", key).await?;
        let mut uploads = self.uploads.borrow_mut();
        let upload = uploads.get(id).filter(|upload| upload.key == key);
        let upload = upload.ok_or_else(|| refused("no such upload"))?;
        let mut whole = Vec::new();
        let mut sizes = Vec::new();
        for part in &parts {
            let stored = upload.parts.get(&part.number).filter(|(_, etag)| *etag == part.etag);
            let (body, _) = stored.ok_or_else(|| refused("a part is missing"))?;
            sizes.push(body.len());
            whole.extend_from_slice(body);
        }
        let (last, even) = sizes.split_last().ok_or_else(|| refused("an upload without parts"))?;
        if even.iter().any(|size| *size < MIN_PART) {
            return Err(refused("a part is smaller than 5 MiB"));
        }
        if even.iter().collect::<BTreeSet<_>>().len() > 1 || even.first().is_some_and(|size| last > size) {
            return Err(refused("parts are uneven"));
        }
        uploads.remove(id);
        let whole = Bytes::from(whole);
        let etag = format!("{}-{}", etag_of(&whole), parts.len());
        self.objects.borrow_mut().insert(key.to_owned(), (whole, etag.clone()));
        Ok(etag)
    }

    async fn multipart_abort(&self, key: &str, id: &str) -> Result<()> {
        self.operation("multipart_abort", key).await?;
        self.uploads.borrow_mut().remove(id);
        Ok(())
    }
}
