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
use super::layout::load_of;
use super::manifest::{Manifest, Part};
use crate::core::settings::TableSyncMode;
use crate::core::table::{LoadMode, START, TableColumn};
use crate::destinations::TableLoad;

/// Before the name of a column that was dropped. Names of columns do not begin so ([naming](crate::core::naming)).
const DROPPED: &str = "_fivetran_dropped_";

/// What a manifest says of a table that keeps history.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct History {
    /// Starts of the full loads among the parts, microseconds UTC, in order.
    pub(crate) full_loads: Vec<i64>,
    /// What the loads brought, in order.
    pub(crate) columns_since: Vec<ColumnsSince>,
    /// DuckDB's SQL for the versions.
    pub(crate) sql: String,
}

/// The columns that loads brought, from one on. Readers must know: a column that was switched off reads as NULL, which must
/// not be taken for a change, and DuckDB would read text as the JSON or the bytes it was made of in older parts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ColumnsSince {
    /// Number of the first of them.
    pub(crate) load: u64,
    /// Its start, microseconds UTC.
    pub(crate) since: i64,
    /// Their columns, in the order of the parts.
    pub(crate) columns: Vec<TableColumn>,
}

impl ColumnsSince {
    /// The column, if these loads brought it.
    pub(super) fn column(&self, name: &str) -> Option<&TableColumn> {
        self.columns.iter().find(|column| column.name == name)
    }
}

impl History {
    /// Takes note of a load.
    pub(super) fn note(&mut self, load: &TableLoad, number: u64) {
        if load.mode == LoadMode::Full {
            self.full_loads.push(load.synced_at);
        }
        if self.columns_since.last().is_none_or(|era| era.columns != load.table.columns) {
            let columns = load.table.columns.clone();
            self.columns_since.push(ColumnsSince { load: number, since: load.synced_at, columns });
        }
    }

    /// The same of a table without those columns. What parts hold of them goes by a name that no column can have: the
    /// cells of CSV are known by their places, and a column that is made anew must not find the values of the old one.
    pub(super) fn without(&self, gone: &[&String]) -> Self {
        let mut next = self.clone();
        for column in next.columns_since.iter_mut().flat_map(|era| &mut era.columns) {
            if gone.contains(&&column.name) {
                column.name = format!("{DROPPED}{}", column.name);
            }
        }
        next
    }

    /// Columns of the part that were dropped, by the names they had.
    pub(super) fn dropped_of(&self, part: &Part) -> Vec<&str> {
        let load = load_of(&part.path);
        let era = self.columns_since.iter().rev().find(|era| load.is_some_and(|load| era.load <= load));
        let columns = era.into_iter().flat_map(|era| &era.columns);
        columns.filter_map(|column| column.name.strip_prefix(DROPPED)).collect()
    }

    /// Number of the first of the loads that brought the same columns as this one, with no other in between. Files alone do not
    /// tell: those of a column that was dropped and of one made anew look the same.
    pub(super) fn alike_since(&self, load: &TableLoad, number: u64) -> u64 {
        let era = self.columns_since.last().filter(|era| era.columns == load.table.columns);
        era.map_or(number, |era| era.load)
    }

    /// Loads without that column, though one before them had it: from when on, and until when.
    pub(super) fn gaps(&self, column: &str) -> Vec<(i64, Option<i64>)> {
        let had = self.columns_since.iter().skip_while(|era| era.column(column).is_none());
        let next = had.clone().skip(1).map(|era| Some(era.since)).chain([None]);
        had.zip(next)
            .filter(|(era, _)| era.column(column).is_none())
            .map(|(era, until)| (era.since, until))
            .collect()
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
