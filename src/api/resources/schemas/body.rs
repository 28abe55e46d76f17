//! Schema configuration as answers show it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::known::Known;
use crate::control::streams::StreamVersion;
use crate::core::catalog::Stream;
use crate::core::destination_names::DestinationNames;
use crate::core::naming;
use crate::core::settings::{SchemaChangePolicy, StreamSettings, TableSyncMode, primary_key};

/// What of a source is synced. Keys are source names.
#[derive(Serialize, JsonSchema)]
pub(crate) struct SchemaConfigBody {
    /// True for `ALLOW_ALL`.
    enable_new_by_default: bool,
    schema_change_handling: SchemaChangePolicy,
    schemas: BTreeMap<String, SchemaBody>,
}

#[derive(Serialize, JsonSchema)]
struct SchemaBody {
    name_in_destination: String,
    enabled: bool,
    tables: BTreeMap<String, TableBody>,
}

#[derive(Serialize, JsonSchema)]
struct TableBody {
    name_in_destination: String,
    enabled: bool,
    sync_mode: TableSyncMode,
    /// Column whose growth marks changes, where one was named. Ours, not Fivetran's.
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor_column: Option<String>,
    enabled_patch_settings: PatchSettings,
    supports_columns_config: bool,
    supports_history_mode: bool,
    /// Only those set by hand.
    columns: BTreeMap<String, ColumnBody>,
}

/// Columns of a table. Keys are source names.
#[derive(Serialize, JsonSchema)]
pub(super) struct ColumnsBody {
    columns: BTreeMap<String, ColumnBody>,
}

#[derive(Serialize, JsonSchema)]
struct ColumnBody {
    name_in_destination: String,
    enabled: bool,
    hashed: bool,
    is_primary_key: bool,
    enabled_patch_settings: PatchSettings,
}

/// Whether `enabled` can be changed, and why not.
#[derive(Serialize, JsonSchema)]
struct PatchSettings {
    allowed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason_code: Option<ReasonCode>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum ReasonCode {
    SystemColumn,
    Deleted,
}

impl PatchSettings {
    fn allowed() -> Self {
        Self { allowed: true, reason_code: None, reason: None }
    }

    fn refused(code: ReasonCode, reason: &str) -> Self {
        Self { allowed: false, reason_code: Some(code), reason: Some(reason.to_owned()) }
    }
}

impl SchemaConfigBody {
    pub(super) fn of(known: &Known) -> Self {
        let names = known.names();
        let mut schemas: BTreeMap<String, SchemaBody> = BTreeMap::new();
        for version in &known.versions {
            let schema = schemas.entry(version.name.schema.clone()).or_insert_with(|| SchemaBody {
                name_in_destination: names.schema(&version.name.schema).to_owned(),
                enabled: known
                    .settings
                    .schemas
                    .get(&version.name.schema)
                    .and_then(|settings| settings.enabled)
                    .unwrap_or(true),
                tables: BTreeMap::new(),
            });
            let own = known.settings.streams.get(&version.name);
            let table = table(version, own, &names);
            schema.tables.insert(version.name.table.clone(), table);
        }
        let policy = known.settings.policy;
        Self {
            enable_new_by_default: policy == SchemaChangePolicy::AllowAll,
            schema_change_handling: policy,
            schemas,
        }
    }
}

fn table(version: &StreamVersion, own: Option<&StreamSettings>, names: &DestinationNames) -> TableBody {
    let columns = version.stream.as_ref().map(|stream| columns(stream, own)).unwrap_or_default();
    let touched = |name: &String| own.is_some_and(|own| own.columns.contains_key(name));
    TableBody {
        name_in_destination: names.table(&version.name).to_owned(),
        enabled: own.and_then(|own| own.enabled).unwrap_or(true),
        sync_mode: own.and_then(|own| own.sync_mode).unwrap_or_default(),
        cursor_column: own.and_then(|own| own.cursor_column.clone()),
        enabled_patch_settings: match version.stream {
            Some(_) => PatchSettings::allowed(),
            None => PatchSettings::refused(ReasonCode::Deleted, "The table is gone from the source"),
        },
        supports_columns_config: true,
        // Every destination keeps history.
        supports_history_mode: true,
        columns: columns.into_iter().filter(|(name, _)| touched(name)).collect(),
    }
}

impl ColumnsBody {
    pub(super) fn of(stream: &Stream, own: Option<&StreamSettings>) -> Self {
        Self { columns: columns(stream, own) }
    }
}

fn columns(stream: &Stream, own: Option<&StreamSettings>) -> BTreeMap<String, ColumnBody> {
    // A key set by hand may name a column that is gone by now; the source's own key is the honest fallback.
    let key = primary_key(stream, own).unwrap_or_else(|_| stream.primary_key.clone());
    let sources = stream.columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>();
    let names = naming::column_names(&sources);
    let body = |source: &str, name: String| {
        let set = own.and_then(|own| own.columns.get(source)).copied().unwrap_or_default();
        let is_primary_key = key.iter().any(|part| part == source);
        ColumnBody {
            name_in_destination: name,
            enabled: is_primary_key || set.enabled.unwrap_or(true),
            hashed: set.hashed.unwrap_or(false),
            is_primary_key,
            enabled_patch_settings: if is_primary_key {
                PatchSettings::refused(
                    ReasonCode::SystemColumn,
                    "A column of the primary key cannot be left out",
                )
            } else {
                PatchSettings::allowed()
            },
        }
    };
    sources.iter().zip(names).map(|(source, name)| ((*source).to_owned(), body(source, name))).collect()
}
