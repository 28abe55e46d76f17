//! The destination's view of a stream: names as written there, system columns included.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use serde::{Deserialize, Serialize};

use super::settings::TableSyncMode;
use super::types::ColumnType;

/// When the row was synced: start of the run, microseconds UTC. On every table.
pub const SYNCED: &str = "_fivetran_synced";
/// True when the row is gone at the source.
pub const DELETED: &str = "_fivetran_deleted";
/// Surrogate key of tables without a primary key: a hash of the row's values.
pub const ROW_ID: &str = "_fivetran_id";

/// When a version of a row began: the start of the run that saw it first, microseconds UTC. On tables that keep history,
/// where it is the last column of the key.
pub const START: &str = "_fivetran_start";
/// When a version ended: [`END_OF_TIME`] for the one that stands, a millisecond before the next one's start for a
/// superseded one, the start of the run that missed it for the last one of a row that is gone.
pub const END: &str = "_fivetran_end";
/// True for the version that stands: one per key, none after a delete.
pub const ACTIVE: &str = "_fivetran_active";

/// 9999-12-31T23:59:59.999999Z in microseconds: the greatest time that text sorts like a number.
pub const END_OF_TIME: i64 = 253_402_300_799_999_999;

/// What a run adds to every row it writes.
const SYSTEM_COLUMNS: [&str; 5] = [SYNCED, DELETED, START, END, ACTIVE];

/// A column at the destination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableColumn {
    /// Name at the destination (already through [naming](crate::core::naming)).
    pub name: String,
    /// Semantic type; the destination chooses its own spelling of it.
    #[serde(flatten)]
    pub column_type: ColumnType,
    /// False only for key and system columns that never hold NULL.
    pub nullable: bool,
}

/// A table at the destination. The column order is the order of the Arrow batches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableSchema {
    /// Schema (namespace) at the destination.
    pub schema: String,
    /// Table at the destination.
    pub table: String,
    /// Columns: the stream's enabled ones, then system columns.
    pub columns: Vec<TableColumn>,
    /// Key columns by destination name; `[_fivetran_id]` when the source has no key.
    pub primary_key: Vec<String>,
}

impl TableSchema {
    /// The Arrow schema of a batch for this table. JSON columns carry the `arrow.json` extension name.
    #[must_use]
    pub fn arrow(&self) -> SchemaRef {
        let fields = self.columns.iter().map(|column| {
            let field = Field::new(&column.name, column.column_type.arrow(), column.nullable);
            match column.column_type {
                ColumnType::Json => field.with_metadata(HashMap::from([(
                    "ARROW:extension:name".to_owned(),
                    "arrow.json".to_owned(),
                )])),
                _ => field,
            }
        });
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }

    /// How it keeps rows that change or vanish, as its system columns say. They say it and no field beside them, so that
    /// whoever has the table cannot be told otherwise.
    #[must_use]
    pub fn sync_mode(&self) -> TableSyncMode {
        if self.column(START).is_some() {
            TableSyncMode::History
        } else if self.column(DELETED).is_some() {
            TableSyncMode::SoftDelete
        } else {
            TableSyncMode::Live
        }
    }

    /// The columns that come from the source, the row id included.
    pub fn carried(&self) -> impl Iterator<Item = &TableColumn> {
        self.columns.iter().filter(|column| !SYSTEM_COLUMNS.contains(&column.name.as_str()))
    }

    /// The column of that name.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<&TableColumn> {
        self.columns.iter().find(|column| column.name == name)
    }
}

/// How rows of a run meet the rows already there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LoadMode {
    /// The run carries the whole stream: at publish, rows it did not carry are marked deleted (D1) or the table is
    /// replaced in one step (R2).
    Full,
    /// The run carries changes, merged by key.
    Incremental,
}
