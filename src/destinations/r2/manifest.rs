//! The manifest: the one object that says what a table consists of.
//!
//! A part counts if and only if the manifest names it. The manifest is only ever replaced by a conditional put on the
//! ETag it was read with, so every change is one step for readers, and of two writers one sees the other's work before
//! its own counts. Its shape is described for readers in `docs/reading-r2.md`.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::config::Format;
use super::history::{self, History};
use super::history_view;
use crate::core::table::{LoadMode, TableColumn, TableSchema};
use crate::core::{Error, ErrorKind, Result};
use crate::destinations::{Standing, TableLoad, TableReceipt, taken};

/// Version of the manifest's shape. A reader of ours refuses others rather than guess.
pub(super) const FORMAT_VERSION: u32 = 1;

/// What a table consists of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    /// [`FORMAT_VERSION`].
    pub(crate) format_version: u32,
    /// Schema at the destination.
    pub(crate) schema: String,
    /// Table at the destination.
    pub(crate) table: String,
    /// Format of all parts.
    pub(crate) format: Format,
    /// Connection that owns the table.
    pub(crate) connection_id: String,
    /// Newest run of that connection that announced itself; older ones are fenced off (invariant I4). 0 while none did since
    /// the connection took the table over.
    pub(crate) run: u64,
    /// Added to run numbers to give load numbers, so that loads keep growing when another connection, which counts
    /// its runs from 1, takes the table over.
    pub(crate) load_base: u64,
    /// Grows with every full load that replaced the content.
    pub(crate) generation: u64,
    /// Columns: the newest load's first, then those that only older parts have. Only grows and widens (I8), unless a
    /// person asks for a column to be dropped.
    pub(crate) columns: Vec<TableColumn>,
    /// Columns that were dropped and that parts hold values of, until a full load replaces those. A [`History`] knows that
    /// of its own.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) dropped: BTreeSet<String>,
    /// Key columns.
    pub(crate) primary_key: Vec<String>,
    /// The load that was published last.
    pub(crate) published: Option<Published>,
    /// Rows of all parts, superseded versions included.
    pub(crate) total_rows: u64,
    /// Rows that exist at the source, where that is known without merging: after full loads.
    pub(crate) live_rows: Option<u64>,
    /// The parts in load order.
    pub(crate) parts: Vec<Part>,
    /// Replaced parts that are kept a while for readers that hold an older manifest.
    pub(crate) retired: Vec<Retired>,
    /// Of a table whose parts hold history; `None` for all others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) history: Option<History>,
}

/// The load published last, with what its receipt said, so that publishing again says the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Published {
    /// [`Manifest::load_number`] of it.
    pub(crate) load: u64,
    /// Start of the run, microseconds UTC.
    pub(crate) synced_at: i64,
    /// Full or incremental.
    pub(crate) mode: LoadMode,
    /// Rows of its parts, those it only marked as deleted left out.
    #[serde(default)]
    pub(crate) written: u64,
    /// Rows it newly marked as deleted.
    pub(crate) deleted: u64,
}

/// One file of a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Part {
    /// Relative to the table's folder.
    pub(crate) path: String,
    /// What its rows are.
    pub(crate) kind: PartKind,
    /// Rows.
    pub(crate) rows: u64,
    /// Bytes.
    pub(crate) bytes: u64,
    /// ETag of the object, without quotes.
    pub(crate) etag: String,
}

/// What the rows of a part are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum PartKind {
    /// A piece of the whole stream.
    Full,
    /// Newer versions of some rows.
    Change,
    /// Rows that a full load did not find any more, marked deleted, or no longer active where history is kept.
    Deleted,
}

/// A part on its way out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Retired {
    /// Relative to the table's folder.
    pub(crate) path: String,
    /// When it was replaced, microseconds UTC.
    pub(crate) retired_at: i64,
}

impl Manifest {
    /// The manifest of a table that does not exist yet, owned by the load's connection.
    pub(crate) fn empty(load: &TableLoad, format: Format) -> Self {
        Self {
            format_version: FORMAT_VERSION,
            schema: load.table.schema.clone(),
            table: load.table.table.clone(),
            format,
            connection_id: load.connection_id.clone(),
            run: load.run,
            load_base: 0,
            generation: 0,
            columns: load.table.columns.clone(),
            dropped: BTreeSet::new(),
            primary_key: load.table.primary_key.clone(),
            published: None,
            total_rows: 0,
            live_rows: None,
            parts: Vec::new(),
            retired: Vec::new(),
            history: None,
        }
    }

    /// This manifest with the load's run announced and its columns admitted.
    ///
    /// Columns widen at once, because they only promise what parts may hold. The key and the format belong to the
    /// parts that are there, so a full load changes them only when its parts replace those ([`super::publish`]).
    ///
    /// # Errors
    /// [`Fenced`](ErrorKind::Fenced) when a newer run was announced, [`DestinationConfig`](ErrorKind::DestinationConfig)
    /// when another connection owns the table, or when changes would be appended in another format or sync mode.
    pub(crate) fn announced(&self, load: &TableLoad, format: Format) -> Result<Self> {
        if self.connection_id != load.connection_id {
            return Err(taken(&load.table, &self.connection_id));
        }
        self.refuse_older(load)?;
        let mut next = self.clone();
        next.run = load.run;
        next.columns = merged_columns(&self.columns, &load.table.columns);
        if self.parts.is_empty() {
            next.format = format;
            next.primary_key.clone_from(&load.table.primary_key);
        } else if load.mode == LoadMode::Incremental {
            if self.format != format {
                return Err(Error::new(
                    ErrorKind::DestinationConfig,
                    format!(
                        "table {}.{} was written in another file format than the destination has now",
                        self.schema, self.table
                    ),
                )
                .field("config.format")
                .remedy("Re-sync the table, or set the format back"));
            }
            if self.history.is_some() != history::wanted(load) {
                return Err(Error::new(
                    ErrorKind::DestinationConfig,
                    format!("table {}.{} was written in another sync mode", self.schema, self.table),
                )
                .field("sync_mode")
                .remedy("Re-sync the table"));
            }
            // Switched on again before it came to a full load: the old values are as good as those of any other column.
            next.dropped.retain(|name| load.table.column(name).is_none());
            next.primary_key.clone_from(&load.table.primary_key);
        }
        Ok(next)
    }

    /// This manifest without the columns, but for those that the load carries or that are of the key.
    pub(super) fn without(&self, load: &TableLoad, columns: &[String]) -> Self {
        let mut next = self.clone();
        let goes = |name: &String| load.table.column(name).is_none() && !self.primary_key.contains(name);
        let gone: Vec<&String> = columns.iter().filter(|name| goes(name)).collect();
        let leaving = next.columns.extract_if(.., |column| gone.contains(&&column.name));
        let leaving = leaving.map(|column| column.name).collect::<Vec<_>>();
        if self.history.is_none() && !self.parts.is_empty() {
            next.dropped.extend(leaving);
        }
        next.history = self.history.as_ref().map(|history| {
            let mut history = history.without(&gone);
            history.sql = history_view::sql(&next, &history);
            history
        });
        next
    }

    /// Columns that were dropped, of which the part may hold values. Those are not of the table's column of that name, if there
    /// is one again.
    pub(super) fn dropped_of(&self, part: &Part) -> Vec<&str> {
        match &self.history {
            Some(history) => history.dropped_of(part),
            None => self.dropped.iter().map(String::as_str).collect(),
        }
    }

    /// This manifest as the load's connection takes it over; loads keep growing.
    pub(crate) fn taken_over(&self, load: &TableLoad) -> Self {
        Self {
            connection_id: load.connection_id.clone(),
            load_base: self.load_base.saturating_add(self.run),
            run: 0,
            ..self.clone()
        }
    }

    /// What it says of the table besides its parts.
    pub(crate) fn standing(&self) -> Standing {
        let load = self.published.as_ref().map(|published| published.load);
        Standing {
            owner: self.connection_id.clone(),
            // Loads up to the base are those of earlier owners.
            published: load.and_then(|load| load.checked_sub(self.load_base)).filter(|run| *run > 0),
            table: Some(self.table_schema()),
        }
    }

    /// Load number of a run that this manifest has announced: grows for the whole life of the table.
    ///
    /// # Errors
    /// [`Fenced`](ErrorKind::Fenced) when a newer run or another connection was announced,
    /// [`Internal`](ErrorKind::Internal) when the run was never prepared.
    pub(crate) fn load_number(&self, load: &TableLoad) -> Result<u64> {
        if self.connection_id != load.connection_id {
            return Err(Error::new(
                ErrorKind::Fenced,
                format!(
                    "another connection ({}) took table {}.{} over",
                    self.connection_id, self.schema, self.table
                ),
            ));
        }
        self.refuse_older(load)?;
        if self.run < load.run {
            return Err(Error::internal(format!(
                "run {} writes to {}.{} without having prepared it",
                load.run, self.schema, self.table
            )));
        }
        Ok(self.load_base.saturating_add(load.run))
    }

    fn refuse_older(&self, load: &TableLoad) -> Result<()> {
        if self.run > load.run {
            return Err(Error::new(
                ErrorKind::Fenced,
                format!(
                    "run {} of {}.{} is over: run {} was announced",
                    load.run, self.schema, self.table, self.run
                ),
            ));
        }
        Ok(())
    }

    /// The receipt of the load, if it is the one published last.
    pub(crate) fn receipt_of(&self, load_number: u64) -> Option<TableReceipt> {
        let published = self.published.as_ref().filter(|published| published.load == load_number)?;
        let Published { written, deleted, .. } = *published;
        Some(TableReceipt { written, deleted, live_rows: self.live_rows })
    }

    /// The table as it stands.
    pub(crate) fn table_schema(&self) -> TableSchema {
        TableSchema {
            schema: self.schema.clone(),
            table: self.table.clone(),
            columns: self.columns.clone(),
            primary_key: self.primary_key.clone(),
        }
    }
}

/// The new load's columns, widened to hold what was there, then the columns only older parts have.
fn merged_columns(old: &[TableColumn], new: &[TableColumn]) -> Vec<TableColumn> {
    let known = |name: &str, among: &[TableColumn]| among.iter().find(|column| column.name == name).cloned();
    let widened = new.iter().map(|column| match known(&column.name, old) {
        Some(before) => TableColumn {
            name: column.name.clone(),
            column_type: before.column_type.widen(column.column_type),
            nullable: before.nullable || column.nullable,
        },
        // Parts written before the column existed read as NULL.
        None => TableColumn { nullable: column.nullable || !old.is_empty(), ..column.clone() },
    });
    let dropped = old.iter().filter(|column| known(&column.name, new).is_none()).map(|column| {
        // Parts written from now on read as NULL.
        TableColumn { nullable: true, ..column.clone() }
    });
    widened.chain(dropped).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::types::ColumnType;

    fn column(name: &str, column_type: ColumnType) -> TableColumn {
        TableColumn { name: name.to_owned(), column_type, nullable: false }
    }

    fn load(connection: &str, run: u64, mode: LoadMode) -> TableLoad {
        TableLoad {
            connection_id: connection.to_owned(),
            run_id: format!("{connection}-{run}"),
            run,
            synced_at: 0,
            table: TableSchema {
                schema: "s".to_owned(),
                table: "t".to_owned(),
                columns: vec![column("id", ColumnType::Int)],
                primary_key: vec!["id".to_owned()],
            },
            mode,
        }
    }

    #[test]
    fn i4_an_announced_run_fences_older_ones_off() {
        let manifest = Manifest::empty(&load("a", 7, LoadMode::Full), Format::Parquet);
        let older = load("a", 6, LoadMode::Full);
        assert_eq!(manifest.announced(&older, Format::Parquet).unwrap_err().kind(), ErrorKind::Fenced);
        assert_eq!(manifest.load_number(&older).unwrap_err().kind(), ErrorKind::Fenced);
        assert_eq!(manifest.load_number(&load("a", 7, LoadMode::Full)).unwrap(), 7);
        let unprepared = manifest.load_number(&load("a", 8, LoadMode::Full)).unwrap_err();
        assert_eq!(unprepared.kind(), ErrorKind::Internal);
    }

    #[test]
    fn loads_keep_growing_when_another_connection_takes_over() {
        let manifest = Manifest::empty(&load("a", 7, LoadMode::Full), Format::Parquet);
        let refused = manifest.announced(&load("b", 1, LoadMode::Full), Format::Parquet).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::DestinationConfig);
        let taken = manifest.taken_over(&load("b", 1, LoadMode::Full));
        let taken = taken.announced(&load("b", 1, LoadMode::Full), Format::Parquet).unwrap();
        assert_eq!(taken.load_number(&load("b", 1, LoadMode::Full)).unwrap(), 8);
        let late = taken.load_number(&load("a", 8, LoadMode::Full)).unwrap_err();
        assert_eq!(late.kind(), ErrorKind::Fenced);
    }

    #[test]
    fn i8_columns_only_widen_and_are_never_dropped() {
        let old = [column("id", ColumnType::Int), column("gone", ColumnType::String)];
        let new = [column("id", ColumnType::Long), column("fresh", ColumnType::Boolean)];
        let merged = merged_columns(&old, &new);
        let shape: Vec<_> = merged.iter().map(|c| (c.name.as_str(), c.column_type, c.nullable)).collect();
        assert_eq!(
            shape,
            [
                ("id", ColumnType::Long, false),
                ("fresh", ColumnType::Boolean, true),
                ("gone", ColumnType::String, true)
            ]
        );
        assert_eq!(merged_columns(&merged, &old)[0].column_type, ColumnType::Long);
    }
}
