//! Destinations. Adding one is a folder here plus one line in [`registry`].

pub mod d1;
pub mod r2;
pub mod receipt;
pub mod registry;

use arrow::array::RecordBatch;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};

pub use receipt::{DurableReceipt, TableReceipt};

use crate::connectors::SetupTest;
use crate::core::run::{ChunkId, Counts, Fence};
use crate::core::table::{LoadMode, TableSchema};
use crate::core::{Error, ErrorKind, Result};

/// What a destination can hold, as data, so that generic code asks instead of knowing names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// Service id, for example `d1`.
    pub service: &'static str,
    /// Most columns of a table, system columns included.
    pub max_columns: usize,
    /// Most bytes of one row.
    pub max_row_bytes: usize,
}

/// One table as one run loads it. Everything a destination may depend on; the same for every chunk of the run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableLoad {
    /// Connection that owns the table.
    pub connection_id: String,
    /// Run.
    pub run_id: String,
    /// Number of the run within its connection ([`Fence::run`]).
    pub run: u64,
    /// Start of the run in microseconds UTC: the value of `_fivetran_synced`, strictly growing from run to run.
    pub synced_at: i64,
    /// The table as it must be when the run ends.
    pub table: TableSchema,
    /// Whether the run carries the whole stream.
    pub mode: LoadMode,
}

/// What a destination knows of a table of ours. It is kept next to the table and not by us, because it has to share the
/// table's fate: where the table is set back to an older state, so is this, and where two destinations are one place, they
/// read the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Connection that loads it.
    pub owner: String,
    /// Newest run of that connection whose load was published.
    pub published: Option<u64>,
    /// The table; `None` where only this is left of it, because somebody dropped it.
    pub table: Option<TableSchema>,
}

/// The error of a table that another connection loads. Each of the two would take the other's rows for vanished ones, so the
/// second to come is refused, and not merged: Fivetran merges silently there, which nobody has ever wanted.
#[must_use]
pub fn taken(table: &TableSchema, owner: &str) -> Error {
    let name = format!("table {}.{}", table.schema, table.table);
    Error::new(ErrorKind::DestinationConfig, format!("{name} is loaded by connection {owner} already")).remedy(
        "Make this connection anew with another schema or prefix, or delete the other one; its table stays",
    )
}

/// What opening a chunk found.
pub enum ChunkOpening {
    /// Some worker committed this chunk before: do not read it again, pass the receipt on (invariant I3).
    AlreadyDurable(DurableReceipt),
    /// Write here.
    Writer(Box<dyn ChunkWriter>),
}

/// Takes the batches of one chunk. Dropping it without commit leaves nothing a reader can see as complete.
#[async_trait(?Send)]
pub trait ChunkWriter {
    /// Takes a batch whose schema is the table's [`TableSchema::arrow`]. Accepted is not durable: nothing may be
    /// concluded from it.
    ///
    /// # Errors
    /// A limit of the destination, an unreachable destination, or [`Fenced`](crate::core::ErrorKind::Fenced).
    async fn write(&mut self, batch: RecordBatch) -> Result<()>;

    /// Makes everything written durable together with the chunk's watermark. `counts` is what the engine read and
    /// filtered; the writer adds what it wrote and refuses to issue a receipt unless they balance (I5).
    ///
    /// # Errors
    /// As [`ChunkWriter::write`]; [`Mismatch`](crate::core::ErrorKind::Mismatch) when rows are missing.
    async fn commit(self: Box<Self>, counts: Counts) -> Result<DurableReceipt>;
}

/// What a call of [`Destination::publish`] came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Publishing {
    /// The table is published.
    Done(TableReceipt),
    /// It is published too, and the next load must be a full one: it consists of so many pieces by now, or they hold values of
    /// columns that were dropped.
    Crowded(TableReceipt),
    /// A step is done, and there are more.
    GoesOn,
}

/// A range of keys: those after `after`, up to and including `upto`. Values in key order, in the
/// [text form](crate::core::text) of their type; `None` for no bound.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyRange {
    /// The greatest key that is not in it.
    pub after: Option<Vec<String>>,
    /// The greatest key that is.
    pub upto: Option<Vec<String>>,
}

/// What dropping columns came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dropped {
    /// They are gone with their values.
    Whole,
    /// The table has them no longer, but files hold their values until a full load replaces those.
    UntilFullLoad,
}

/// Takes the batches of a [`Destination::scan`].
pub type Visit<'a> = &'a mut dyn FnMut(&RecordBatch) -> Result<()>;

/// A place tables live in.
#[async_trait(?Send)]
pub trait Destination {
    /// What it can hold.
    fn capabilities(&self) -> &Capabilities;

    /// Tries what loads will need.
    async fn check(&self) -> Vec<SetupTest>;

    /// What the destination itself knows of a table of ours; `None` when there never was one.
    ///
    /// # Errors
    /// When the destination cannot be reached.
    async fn standing(&self, schema: &str, table: &str) -> Result<Option<Standing>>;

    /// The table as it stands, or `None`. Types come back as this product wrote them.
    ///
    /// # Errors
    /// As [`Destination::standing`].
    async fn describe(&self, schema: &str, table: &str) -> Result<Option<TableSchema>> {
        Ok(self.standing(schema, table).await?.and_then(|standing| standing.table))
    }

    /// Makes the load's connection the owner of a table that `from` owned, whose runs are fenced off with that (I4).
    /// Idempotent. For a connection made anew that goes on with the tables of one that was deleted.
    ///
    /// # Errors
    /// [`taken`] when neither of the two owns it any more.
    async fn take_over(&self, load: &TableLoad, from: &str) -> Result<()>;

    /// Creates or widens the table so that it holds `load.table`, and announces the run, so that older runs can no
    /// longer commit (I4). Only adds and widens (I8); idempotent; serialised by the DestinationDO.
    ///
    /// # Errors
    /// [`DestinationLimit`](crate::core::ErrorKind::DestinationLimit) when the table cannot fit, [`taken`] when another
    /// connection owns it, [`Fenced`](crate::core::ErrorKind::Fenced) when a newer run was announced.
    async fn prepare(&self, load: &TableLoad) -> Result<()>;

    /// Drops columns with their values, because a person asked for it: the one exception to I8. Only after [`prepare`]
    /// of the same load, only columns of ours, and none that the load carries or that is of the key. Columns that are
    /// gone already are fine. Idempotent; serialised by the DestinationDO.
    ///
    /// [`prepare`]: Destination::prepare
    ///
    /// # Errors
    /// As [`Destination::prepare`]; whatever keeps the destination from dropping them, with nothing dropped (the
    /// default).
    async fn drop_columns(&self, load: &TableLoad, _columns: &[String]) -> Result<Dropped> {
        let message =
            format!("columns of {}.{} cannot be dropped there", load.table.schema, load.table.table);
        Err(Error::new(ErrorKind::DestinationConfig, message).remedy("Drop them with your own tools"))
    }

    /// Begins (or finds) a chunk.
    ///
    /// # Errors
    /// [`Fenced`](crate::core::ErrorKind::Fenced) when a newer lease or run was seen.
    async fn open(&self, load: &TableLoad, chunk: &ChunkId, fence: Fence) -> Result<ChunkOpening>;

    /// Makes the run's chunks the table's content in one step: for a full load rows the run did not carry become
    /// deleted; for Parquet the manifest is swapped. Idempotent.
    ///
    /// Where that takes more than an invocation has time for, a call does a bounded step of it and says so. Whoever calls
    /// then, under this lease or a newer one, goes on from there; nothing shows at the destination before the last step.
    ///
    /// # Errors
    /// [`Fenced`](crate::core::ErrorKind::Fenced), unreachable destination, or a chunk that is not durable.
    async fn publish(&self, load: &TableLoad, chunks: &[DurableReceipt], fence: Fence) -> Result<Publishing>;

    /// Reads the rows of a key range back that exist at the source as far as the destination knows: of each key its
    /// newest version, unless that is deleted. Batches have the columns and types of `table`, which is the standing
    /// table or some columns of it. Their order is the destination's own.
    ///
    /// Returns, for people, what is stored there but cannot be read: a part that is gone or damaged, a value that is
    /// none of its column's. Rows it concerns are missing from the batches or carry NULL.
    ///
    /// # Errors
    /// An unreachable destination, one that cannot be read back (the default), or whatever `visit` returns.
    async fn scan(&self, table: &TableSchema, _range: &KeyRange, _visit: Visit<'_>) -> Result<Vec<String>> {
        let message = format!("table {}.{} cannot be read back from there", table.schema, table.table);
        Err(Error::new(ErrorKind::DestinationConfig, message).remedy("Compare it with your own tools"))
    }
}
