//! What a user set by hand, and how it meets what the source offers.
//!
//! The rule, in order:
//! 1. A setting made by hand wins (schema off beats table on; a key column cannot be off).
//! 2. What the connection has seen before, or sees at its very first sync, is on.
//! 3. What it sees for the first time later follows the [`SchemaChangePolicy`].
//!
//! Rule 3 is applied once: [`select`] hands the decision back as [`Selection::settled`] ([`settle_schemas`] that about
//! schemas), and the caller stores it, so
//! that at the next run the thing is not "seen before" and on. The rejected alternative, comparing with the very first
//! version forever, would change the past whenever the policy changes.

mod schemas;
mod select;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::catalog::StreamName;

pub use schemas::settle_schemas;
pub use select::{SelectedColumn, Selection, Target, primary_key, select};

/// What happens to schemas, tables and columns that appear after the first sync. Fivetran's
/// `schema_change_handling`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum SchemaChangePolicy {
    /// New tables and new columns are synced.
    #[default]
    AllowAll,
    /// New tables are not, new columns of synced tables are.
    AllowColumns,
    /// Neither is.
    BlockAll,
}

/// How a table keeps rows that change or vanish at the source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TableSyncMode {
    /// One row per source row; a row gone at the source is marked `_fivetran_deleted`.
    #[default]
    SoftDelete,
    /// One row per version of a source row.
    History,
    /// One row per source row; a row gone at the source is removed.
    Live,
}

/// What was set by hand for a schema of the source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default)]
pub struct SchemaSettings {
    /// Off turns all its tables off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
}

/// What was set by hand for a column.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default)]
pub struct ColumnSettings {
    /// Off keeps the column's values at the source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// On replaces values by their salted hash.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hashed: Option<bool>,
    /// Adds the column to the key, or takes it out of the source's key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_primary_key: Option<bool>,
}

/// What was set by hand for a table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default)]
pub struct StreamSettings {
    /// Whether it is synced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// How rows that change or vanish are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sync_mode: Option<TableSyncMode>,
    /// Column whose growth marks changes, by source name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor_column: Option<String>,
    /// Why every row must be read again at the next sync, for people; set by an edit that changes what rows already at
    /// the destination look like. Taken back once the cursor is forgotten.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resync: Option<String>,
    /// Columns by source name; absent ones follow the rules.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub columns: BTreeMap<String, ColumnSettings>,
}

/// Everything set by hand for a connection. As JSON, streams are `{ "schema": { "table": settings } }`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default)]
pub struct ConnectionSettings {
    /// What happens to new things.
    pub policy: SchemaChangePolicy,
    /// Schemas by source name.
    pub schemas: BTreeMap<String, SchemaSettings>,
    /// Tables by source name.
    #[serde(with = "nested")]
    #[schemars(with = "BTreeMap<String, BTreeMap<String, StreamSettings>>")]
    pub streams: BTreeMap<StreamName, StreamSettings>,
}

/// Streams as nested objects, because JSON keys are strings.
mod nested {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::{StreamName, StreamSettings};

    pub(super) fn serialize<S: Serializer>(
        streams: &BTreeMap<StreamName, StreamSettings>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let mut nested: BTreeMap<&str, BTreeMap<&str, &StreamSettings>> = BTreeMap::new();
        for (name, settings) in streams {
            nested.entry(&name.schema).or_default().insert(&name.table, settings);
        }
        nested.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<StreamName, StreamSettings>, D::Error> {
        let nested = BTreeMap::<String, BTreeMap<String, StreamSettings>>::deserialize(deserializer)?;
        let streams = nested.into_iter().flat_map(|(schema, tables)| {
            tables
                .into_iter()
                .map(move |(table, settings)| (StreamName::new(schema.clone(), table), settings))
        });
        Ok(streams.collect())
    }
}

#[cfg(test)]
mod tests;
