//! Tables that keep every version of a row (type-2 history).
//!
//! Parts cannot be changed, so they hold no versions but observations: each load, full or not, adds the rows it read, with
//! its own start as `_fivetran_start`. When a version ended, and whether it stands, follows from what was observed of its
//! key next, and readers derive it with the SQL that the manifest carries ([`history_view`](super::history_view)). Storing
//! both would mean to rewrite, for every row that changes, the file that holds its version before.
//!
//! That a row is gone is an observation too: in Parquet tables a full load adds, in a part of its own, the keys it missed,
//! with `_fivetran_active` false ([`vanished`](super::vanished)). Text is not read back, so there it follows from the full
//! loads' starts: whoever is in an earlier load and not in this one was gone by then.

use serde::{Deserialize, Serialize};

use super::config::Format;
use super::manifest::Manifest;
use crate::core::settings::TableSyncMode;
use crate::core::table::{LoadMode, START, TableSchema};
use crate::destinations::TableLoad;

/// What a manifest says of a table that keeps history.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct History {
    /// Starts of the full loads among the parts, microseconds UTC, in order.
    pub(crate) full_loads: Vec<i64>,
    /// Columns that some loads did not carry. They read as NULL there, which must not be taken for a change.
    pub(crate) without: Vec<Without>,
    /// DuckDB's SQL for the versions.
    pub(crate) sql: String,
}

/// A column that was switched off, or gone from the source, for some loads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Without {
    /// Column.
    pub(crate) column: String,
    /// Start of the first load without it, microseconds UTC.
    pub(crate) from: i64,
    /// Start of the next load that had it again, if there was one.
    pub(crate) until: Option<i64>,
}

impl History {
    /// Takes note of a load into the table, which has all columns that any load brought.
    pub(super) fn note(&mut self, load: &TableLoad, table: &TableSchema) {
        if load.mode == LoadMode::Full {
            self.full_loads.push(load.synced_at);
        }
        for column in table.carried().map(|column| &column.name) {
            let open = self.without.iter_mut().find(|gap| gap.column == *column && gap.until.is_none());
            match (open, load.table.column(column).is_some()) {
                (Some(gap), true) => gap.until = Some(load.synced_at),
                (None, false) => {
                    self.without.push(Without { column: column.clone(), from: load.synced_at, until: None });
                }
                (Some(_), false) | (None, true) => {}
            }
        }
    }
}

/// Whether the load's table keeps history.
pub(super) fn wanted(load: &TableLoad) -> bool {
    load.table.sync_mode() == TableSyncMode::History
}

/// Whether the load's rows go on with the history that the manifest's parts hold. A history of other keys, or in another
/// file format, cannot be gone on with.
pub(super) fn goes_on(current: &Manifest, load: &TableLoad, format: Format) -> bool {
    wanted(load)
        && current.history.is_some()
        && current.format == format
        && current.primary_key == load.table.primary_key
}

/// The key of the rows at the source, of which the parts hold versions.
pub(super) fn row_key(primary_key: &[String]) -> Vec<String> {
    primary_key.iter().filter(|column| *column != START).cloned().collect()
}
