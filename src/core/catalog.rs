//! What a source offers: streams (tables, views), their columns and keys.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::types::{ColumnType, Fidelity};

/// A stream's name in the source's own spelling, case-sensitive.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct StreamName {
    /// Schema (namespace) at the source.
    pub schema: String,
    /// Table, view, collection or endpoint at the source.
    pub table: String,
}

impl StreamName {
    /// A name from its two parts.
    pub fn new(schema: impl Into<String>, table: impl Into<String>) -> Self {
        Self { schema: schema.into(), table: table.into() }
    }
}

impl std::fmt::Display for StreamName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.schema, self.table)
    }
}

/// A column as the source declares it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Column {
    /// Name in the source's own spelling.
    pub name: String,
    /// Semantic type.
    #[serde(flatten)]
    pub column_type: ColumnType,
    /// The source's own type name, for example `numeric(12,2)`.
    pub source_type: String,
    /// False when the source promises there is no NULL.
    pub nullable: bool,
    /// How faithfully values survive.
    pub fidelity: Fidelity,
}

/// A stream as the source declares it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Stream {
    /// Its name.
    pub name: StreamName,
    /// Columns in the source's order.
    pub columns: Vec<Column>,
    /// Names of the key columns in key order; empty when the source has no key.
    pub primary_key: Vec<String>,
    /// How changes can be found.
    pub change_tracking: ChangeTracking,
    /// The source's estimate of rows, for progress only.
    pub estimated_rows: Option<u64>,
    /// The source's estimate of bytes, for progress only.
    pub estimated_bytes: Option<u64>,
}

/// How a stream lets us find what changed since a cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChangeTracking {
    /// The source itself knows which rows a transaction wrote (Postgres `xmin`): exact, no cursor column needed.
    Transaction,
    /// Only a cursor column, if the user names one.
    CursorColumn,
    /// Changes cannot be found: every sync is a full one.
    None,
}

/// All streams of a source, sorted by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Catalog {
    /// The streams.
    pub streams: Vec<Stream>,
}

impl Catalog {
    /// The stream of that exact name.
    #[must_use]
    pub fn stream(&self, name: &StreamName) -> Option<&Stream> {
        self.streams.iter().find(|stream| stream.name == *name)
    }
}
