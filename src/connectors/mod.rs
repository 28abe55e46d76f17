//! Sources. A connector is a folder here plus one line in [`registry`].

pub mod databases;
pub mod registry;
mod tls;

use arrow::array::RecordBatch;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::core::catalog::{Catalog, Stream};
use crate::core::certificate::Certificate;
use crate::core::run::{Chunk, Cursor, StreamPlan};
use crate::core::{Error, Result};

/// How a connection reads its streams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SyncMode {
    /// Everything at every sync.
    Full,
    /// Everything once, then changes.
    #[default]
    Incremental,
}

/// One stream as a run wants it read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StreamRequest {
    /// The stream as discovered by this run.
    pub stream: Stream,
    /// Names of the enabled columns, in the stream's order. Batches carry exactly these, in this order, typed by
    /// [`ColumnType::arrow`](crate::core::types::ColumnType::arrow).
    pub columns: Vec<String>,
    /// Full or incremental.
    pub mode: SyncMode,
    /// Column whose growth marks changes, where the user named one.
    pub cursor_column: Option<String>,
}

/// Result of one check of a source or destination, in Fivetran's shape.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct SetupTest {
    /// What was checked, for example `Connecting to host`.
    pub title: String,
    /// Verdict.
    pub status: SetupTestStatus,
    /// What to do about it; empty when passed.
    pub message: String,
    /// For programs: `certificate` with what an approval of it takes, where the server's is not trusted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Value>,
}

impl SetupTest {
    /// A verdict without details.
    #[must_use]
    pub fn new(title: impl Into<String>, status: SetupTestStatus, message: impl Into<String>) -> Self {
        Self { title: title.into(), status, message: message.into(), details: None }
    }
}

/// Verdict of a setup test.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum SetupTestStatus {
    /// Fine.
    Passed,
    /// Not applicable.
    Skipped,
    /// Works, but read the message.
    Warning,
    /// Syncs would fail.
    Failed,
}

/// What can be said of the certificate that a source's server shows.
#[derive(Debug)]
pub enum Presented {
    /// It shows none to us, and why.
    Nothing(&'static str),
    /// It shows one.
    Certificate(Certificate, Trust),
}

/// Who vouches for a server's certificate.
#[derive(Debug)]
pub enum Trust {
    /// A public authority.
    Public,
    /// A person: it was approved, or one that signed it.
    Approved,
    /// Nobody, for this reason.
    Nobody(String),
}

/// Where a source puts what it reads. Awaiting is the back-pressure: a source holds no more than one batch.
#[async_trait(?Send)]
pub trait BatchSink {
    /// Takes one batch of upserts.
    ///
    /// # Errors
    /// When the destination refuses; the source must stop and pass the error on.
    async fn batch(&mut self, batch: RecordBatch) -> Result<()>;

    /// Takes a batch of deleted rows: the key columns only. For sources that see deletes (CDC).
    ///
    /// # Errors
    /// As [`BatchSink::batch`].
    async fn deletes(&mut self, keys: RecordBatch) -> Result<()>;

    /// Told, once a chunk was read to its end, how many rows its server counted in the very snapshot that was read
    /// (not how many arrived). Only for sources whose server counts; the engine holds it against what it was handed
    /// (I5).
    fn source_counted(&mut self, _rows: u64) {}
}

/// A range of a stream's keys to read in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyScan {
    /// The key columns by source name, in key order.
    pub key: Vec<String>,
    /// Only rows whose key is greater, in the [text form](crate::core::text) of its values; `None` from the first on.
    pub after: Option<Vec<String>>,
    /// Most rows.
    pub limit: u64,
}

/// A source of streams.
#[async_trait(?Send)]
pub trait Source {
    /// Tries what syncs will need: reachability, credentials, permissions. One entry per check; a failed check is
    /// an entry, not an error.
    async fn check(&self) -> Vec<SetupTest>;

    /// Looks at the certificate that the server shows, and for whom connections would accept it.
    ///
    /// # Errors
    /// When the server cannot be reached, or its certificate not be looked at.
    async fn certificate(&self) -> Result<Presented> {
        Ok(Presented::Nothing(
            "Sources of this service are not reached through a TLS that asks for approvals",
        ))
    }

    /// Lists streams, columns, types and keys.
    ///
    /// # Errors
    /// When the source cannot be reached or read.
    async fn discover(&self) -> Result<Catalog>;

    /// Splits a stream into chunks, from the cursor (or from nothing).
    ///
    /// # Errors
    /// When the source cannot be reached, or the stream changed since discovery
    /// ([`SourceChanged`](crate::core::ErrorKind::SourceChanged)).
    async fn plan(&self, request: &StreamRequest, from: Option<&Cursor>) -> Result<StreamPlan>;

    /// Reads one chunk into the sink and returns the number of rows handed over. Reading a chunk again yields at least
    /// the rows that were there the first time and have not changed since.
    ///
    /// # Errors
    /// When the source fails, the stream changed, a value cannot be carried, or the sink refused.
    async fn read(&self, request: &StreamRequest, chunk: &Chunk, sink: &mut dyn BatchSink) -> Result<u64>;

    /// Told after everything up to the cursor is durable, e.g. to advance a replication slot. The default does
    /// nothing.
    ///
    /// # Errors
    /// When the source cannot be reached; the run's success does not depend on it.
    async fn confirm(&self, _upto: &Cursor) -> Result<()> {
        Ok(())
    }

    /// True when [`Source::read_range`] works. Where it does not, tables are compared as a whole.
    fn reads_in_key_order(&self) -> bool {
        false
    }

    /// Reads rows in the order of a key, for comparison with a destination, and returns their number. Numbers, dates
    /// and times are ordered by value, false before true, texts and bytes byte by byte, as destinations order them.
    ///
    /// # Errors
    /// As [`Source::read`]; [`Internal`](crate::core::ErrorKind::Internal) where
    /// [`reads_in_key_order`](Source::reads_in_key_order) says no.
    async fn read_range(
        &self,
        _request: &StreamRequest,
        _scan: &KeyScan,
        _sink: &mut dyn BatchSink,
    ) -> Result<u64> {
        Err(Error::internal("this source does not read in key order"))
    }

    /// Most chunks of this source to read at once, out of kindness to it.
    fn max_parallel_reads(&self) -> u32 {
        2
    }
}
