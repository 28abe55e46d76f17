//! The vocabulary of a run: chunks, cursors, fences, counts, receipts.

use serde::{Deserialize, Serialize};

use super::catalog::StreamName;
use super::{Error, ErrorKind, Result};

/// A position in a stream up to which everything is durable. Opaque to the engine; the source that made it reads it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor(pub serde_json::Value);

/// A piece of a stream that one order reads. `range` is opaque to the engine; the source that planned it reads it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunk {
    /// Position in the stream's plan, 0-based. Parts and watermarks are named by it, so it must not change on retry.
    pub index: u32,
    /// The source's own description of the range.
    pub range: serde_json::Value,
    /// Rows expected, for progress only.
    pub estimated_rows: Option<u64>,
    /// Read only once every other chunk of the stream is durable.
    #[serde(default)]
    pub after_all: bool,
}

/// What a source plans for one stream of one run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamPlan {
    /// True when the chunks carry the whole stream.
    pub full: bool,
    /// The chunks; reading all of them reads everything from the given cursor to `next_cursor`.
    pub chunks: Vec<Chunk>,
    /// Where the next run starts, once every chunk is durable. Taken *before* the first chunk is read, so that what
    /// is committed meanwhile is read again rather than lost.
    pub next_cursor: Option<Cursor>,
}

/// Who may commit: grows with every run of a connection and every lease in it (invariant I4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Fence {
    /// Number of the run within its connection, from 1. Bounded by 2^53, so that it is exact as a JSON number.
    pub run: u64,
    /// Number of the lease within the run, from 1.
    pub lease: u64,
}

/// Rows of one chunk or one table, for the equation of invariant I5: `source_rows == read` where the source counts,
/// and `read == written + filtered`. Every term comes from whoever did the thing: the source's server counts what it
/// sent, the engine what arrived, the destination what it holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Counts {
    /// Rows the source handed over.
    pub read: u64,
    /// Rows dropped on purpose (row filters, transforms), counted.
    pub filtered: u64,
    /// Rows the destination made durable.
    pub written: u64,
    /// Rows newly marked or removed as deleted.
    pub deleted: u64,
    /// Bytes of Arrow handed to the destination.
    pub bytes: u64,
    /// Rows by the source's own count, taken in the very snapshot that was read; `null` where it does not count.
    #[serde(default)]
    pub source_rows: Option<u64>,
}

impl Counts {
    /// Sums, of which the source's own means something only where both have one.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        let source_rows = self.source_rows.zip(other.source_rows);
        Self {
            read: self.read.saturating_add(other.read),
            filtered: self.filtered.saturating_add(other.filtered),
            written: self.written.saturating_add(other.written),
            deleted: self.deleted.saturating_add(other.deleted),
            bytes: self.bytes.saturating_add(other.bytes),
            source_rows: source_rows.map(|(one, more)| one.saturating_add(more)),
        }
    }

    /// Invariant I5.
    #[must_use]
    pub fn balanced(&self) -> bool {
        self.source_rows.is_none_or(|source| source == self.read)
            && self.read == self.written.saturating_add(self.filtered)
    }

    /// Invariant I5 as a check.
    ///
    /// # Errors
    /// [`Mismatch`](ErrorKind::Mismatch) naming every term of the equation; `what` says whose counts these are.
    pub fn check(&self, what: impl std::fmt::Display) -> Result<()> {
        if self.balanced() {
            return Ok(());
        }
        let source = self.source_rows.map(|rows| format!("the source counted {rows} rows, "));
        Err(Error::new(
            ErrorKind::Mismatch,
            format!(
                "{what}: {}{} rows were read, {} written and {} filtered",
                source.unwrap_or_default(),
                self.read,
                self.written,
                self.filtered
            ),
        ))
    }
}

/// What moving data cost: microseconds of wall time by what they were spent on, the peak of memory, and failed attempts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default)]
pub struct Effort {
    /// Waiting for bytes of the source.
    pub source_wait: u64,
    /// Turning the source's bytes into Arrow.
    pub decode: u64,
    /// Shaping batches and encoding them for the destination.
    pub encode: u64,
    /// Waiting for the destination to take bytes.
    pub destination_wait: u64,
    /// Largest WASM memory seen, in bytes (I9); 0 where it cannot be known.
    pub peak_memory: u64,
    /// Attempts that failed and were made again.
    pub retries: u32,
}

impl Effort {
    /// Sum of the times and retries, maximum of the memory.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            source_wait: self.source_wait.saturating_add(other.source_wait),
            decode: self.decode.saturating_add(other.decode),
            encode: self.encode.saturating_add(other.encode),
            destination_wait: self.destination_wait.saturating_add(other.destination_wait),
            peak_memory: self.peak_memory.max(other.peak_memory),
            retries: self.retries.saturating_add(other.retries),
        }
    }
}

/// What a chunk's data belongs to: the idempotency key of a commit. Independent of the attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkId {
    /// Connection.
    pub connection_id: String,
    /// Run.
    pub run_id: String,
    /// Stream at the source.
    pub stream: StreamName,
    /// [`Chunk::index`].
    pub chunk: u32,
}
