//! The destination's view of a stream: names as written there, system columns included.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use serde::{Deserialize, Serialize};

use super::types::ColumnType;

/// When the row was synced: start of the run, microseconds UTC. On every table.
pub const SYNCED: &str = "_fivetran_synced";
/// True when the row is gone at the source.
pub const DELETED: &str = "_fivetran_deleted";
/// Surrogate key of tables without a primary key: a hash of the row's values.
pub const ROW_ID: &str = "_fivetran_id";

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
