//! Rows that a full load did not find any more.
//!
//! A full load replaces a table's parts. Rows that were there and are gone at the source must not just disappear: they
//! stay, marked `_fivetran_deleted`, as a part of their own next to the new ones. Finding them is an anti-join of the
//! old keys with the new, in bounded memory:
//!
//! 1. Only key columns are read, by range, a row group at a time, old parts before new ones, and hashed to 128 bits
//!    ([`KeyHasher`](super::key_hash::KeyHasher)).
//! 2. Rows are sorted by that hash. Of each key the last row counts: of a new part, the key lives; of an old one, it is gone, and
//!    that is its newest version.
//! 3. Those rows are read in full, marked and written ([`marked_rows`](super::marked_rows)).
//!
//! A table of up to some 350,000 rows takes one go in memory. A larger one is done in steps, each an order of its own, with
//! what does not fit kept below `staging/` ([`resync`]).
//!
//! An old part that is gone or damaged has nothing to carry over: what was only in it is lost already, and a table that
//! could never be loaded in full again would be lost whole.
//!
//! Rows keep `_fivetran_synced`: a mass delete of a re-sync does not touch it in Fivetran either. Rows already marked
//! are carried along and not counted again.
//!
//! Where history is kept the old parts stay, so what is written is only that a row was found gone now, if that was not
//! known: its last values with `_fivetran_active` false and the load's start for `_fivetran_start` and `_fivetran_end`.
//!
//! Where the sync mode has changed to SOFT_DELETE, all rows that are gone are marked now, as in D1; their parts lack the
//! column for it, or have those of a history instead.

use std::collections::BTreeSet;

use arrow::array::{AsArray, BooleanArray, RecordBatch};

use super::config::Format;
use super::history;
use super::key_scan::{KeyScan, Position, Reached};
use super::manifest::{Manifest, Part};
use super::manifest_store::Versioned;
use super::marked_rows::{Bounds, MarkedRows};
use super::publish::PublishRequest;
use super::resync;
use super::spools::{ENTRY_BYTES, Entry, settle};
use crate::core::limits::MIB;
use crate::core::settings::TableSyncMode;
use crate::core::table::{ACTIVE, DELETED, START};
use crate::core::{Error, ErrorKind, Result};
use crate::destinations::TableLoad;
use crate::ports::Ports;

/// Bytes of keys in memory: a quarter of the 64 MiB of invariant I9, which leaves room for a row group being read and one
/// being written.
const KEY_BYTES: usize = 16 * MIB;

/// Most rows whose keys are in memory at once.
pub(super) fn budget(ports: &Ports) -> usize {
    ports.key_budget().unwrap_or(KEY_BYTES / ENTRY_BYTES).max(1)
}

/// What came of looking for rows that are gone.
pub(super) enum CarriedOver {
    /// They were found and written, marked.
    Whole(Vanished),
    /// Old keys cannot be compared with new ones: the load replaces the old rows as it would without a key.
    Incomparable,
    /// A step was done and there are more.
    GoesOn,
}

/// What a full load left behind.
pub(super) struct Vanished {
    /// Parts with the rows that are gone.
    pub(super) parts: Vec<Part>,
    /// Rows among them that were not marked before.
    pub(super) newly_deleted: u64,
    /// Distinct keys of the new parts.
    pub(super) live_rows: u64,
    /// Old parts that are gone or damaged, by path.
    pub(super) unreadable: BTreeSet<String>,
}

/// The column that says of a row that it is gone.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    /// `_fivetran_deleted` is true.
    Deleted,
    /// `_fivetran_active` is false.
    Inactive,
}

impl Mark {
    /// The mark in the parts of a table with that key.
    pub(super) fn of(primary_key: &[String]) -> Self {
        if primary_key.iter().any(|column| column == START) { Self::Inactive } else { Self::Deleted }
    }

    /// Name of the column.
    pub(super) fn column(self) -> &'static str {
        match self {
            Self::Deleted => DELETED,
            Self::Inactive => ACTIVE,
        }
    }

    /// True of the rows of the batch that are gone. A batch without the column has none.
    pub(super) fn gone(self, batch: &RecordBatch) -> BooleanArray {
        let marks = batch.column_by_name(self.column()).and_then(|column| column.as_boolean_opt());
        match (marks, self) {
            (Some(marks), Self::Deleted) => marks.clone(),
            (Some(marks), Self::Inactive) => {
                marks.iter().map(|active| active.map(|active| !active)).collect()
            }
            (None, _) => BooleanArray::from(vec![false; batch.num_rows()]),
        }
    }
}

/// Whether old and new rows of the table can be told apart by key, and vanished ones marked.
pub(super) fn comparable(current: &Manifest, load: &TableLoad) -> bool {
    current.format == Format::Parquet
        && !current.parts.is_empty()
        && !load.table.primary_key.is_empty()
        && match load.table.sync_mode() {
            TableSyncMode::SoftDelete => history::row_key(&current.primary_key) == load.table.primary_key,
            TableSyncMode::History => current.primary_key == load.table.primary_key,
            TableSyncMode::Live => false,
        }
}

/// Finds the rows of the current parts whose keys are not in the new ones and writes them, marked; or does a step of that.
///
/// # Errors
/// An unreachable store, or a new part that is gone or damaged.
pub(super) async fn carry_over(
    request: &PublishRequest<'_>,
    current: &Versioned,
    new: &[Part],
    load_number: u64,
) -> Result<CarriedOver> {
    let room = budget(request.ports);
    let rows = current.manifest.parts.iter().chain(new).map(|part| part.rows).fold(0, u64::saturating_add);
    if let Ok(rows) = usize::try_from(rows)
        && rows <= room
        && let Some(carried) = in_memory(request, &current.manifest, new, load_number, rows).await?
    {
        return Ok(carried);
    }
    resync::step(request, current, new, load_number).await
}

/// In one go; `None` when that is too much for one, because of many parts or more rows than they should have.
async fn in_memory(
    request: &PublishRequest<'_>,
    current: &Manifest,
    new: &[Part],
    load_number: u64,
    rows: usize,
) -> Result<Option<CarriedOver>> {
    let mut seed = [0_u8; 16];
    request.ports.random.fill(&mut seed)?;
    let scan = KeyScan::new(request, current, new, seed);
    let (mut entries, mut unreadable) = (Vec::with_capacity(rows), BTreeSet::new());
    match scan.fill(Position::default(), rows, &mut entries, &mut unreadable).await? {
        Reached::End => {}
        Reached::Incomparable => return Ok(Some(CarriedOver::Incomparable)),
        Reached::Row(_) => return Ok(None),
    }
    settle(&mut entries);
    let (live_rows, gone) = gone(entries, current.parts.len(), Mark::of(&request.load.table.primary_key));
    let places: Vec<u64> = gone.iter().map(|entry| entry.place()).collect();
    drop(gone);
    let mut marked = MarkedRows::new(request, current, load_number, 0, Bounds::NONE);
    marked.copy(&places).await?;
    let (parts, newly_deleted) = marked.finish().await?;
    Ok(Some(CarriedOver::Whole(Vanished { parts, newly_deleted, live_rows, unreadable })))
}

/// Of settled entries, the number of keys whose last row is of a new part, and the rows of the others, by place. Where
/// history is kept, it is there already that rows marked before are gone.
pub(super) fn gone(mut entries: Vec<Entry>, old_parts: usize, mark: Mark) -> (u64, Vec<Entry>) {
    let mut live = 0;
    entries.retain_mut(|entry| {
        let at = entry.row();
        *entry = entry.by_place();
        let lives = at.part as usize >= old_parts;
        live += u64::from(lives);
        let known = mark == Mark::Inactive && at.deleted;
        !(lives || known)
    });
    entries.sort_unstable();
    (live, entries)
}

/// True when reading again would not help: the object is gone, or is no Parquet.
pub(super) fn is_unreadable(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Mismatch | ErrorKind::Internal)
}

/// Parts end at 48 GiB and hold a byte a row at the very least only in theory; still, no silent wrap-around.
pub(super) fn position(number: u64) -> Result<u32> {
    u32::try_from(number).map_err(|_| Error::internal("a part has more than 2^32 rows"))
}
