//! Changing the schema configuration.
//!
//! An edit is stored as the difference it makes, merged into the stored settings by the database itself, so that two
//! people who set two columns of one table at the same time both get their way.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::body::SchemaConfigBody;
use super::known::Known;
use super::reload::look;
use crate::api::Services;
use crate::api::error::{ApiError, ApiResult};
use crate::api::request::Call;
use crate::api::resources::actor;
use crate::api::resources::connections::{events, found};
use crate::api::response::Answer;
use crate::control::LogEvent;
use crate::core::Error;
use crate::core::catalog::StreamName;
use crate::core::fault_point::FaultPoint;
use crate::core::settings::{
    ColumnSettings, ConnectionSettings, SchemaChangePolicy, SchemaSettings, StreamSettings, TableSyncMode,
    Target, select,
};

/// Changes of the schema configuration.
#[derive(Default, Deserialize, JsonSchema)]
pub(super) struct ConfigUpdate {
    /// What happens to new schemas, tables and columns.
    schema_change_handling: Option<SchemaChangePolicy>,
    /// Schemas by source name.
    schemas: Option<BTreeMap<String, SchemaUpdate>>,
    /// Not supported: leave it out, or false.
    is_type_locked: Option<bool>,
}

/// Changes of a schema.
#[derive(Default, Deserialize, JsonSchema)]
pub(super) struct SchemaUpdate {
    /// Whether its tables are synced.
    enabled: Option<bool>,
    /// Tables by source name.
    tables: Option<BTreeMap<String, TableUpdate>>,
}

/// Changes of a table.
#[derive(Default, Deserialize, JsonSchema)]
pub(super) struct TableUpdate {
    /// Whether it is synced.
    enabled: Option<bool>,
    /// How rows that change or vanish at the source are kept. Changing it re-syncs the table.
    sync_mode: Option<TableSyncMode>,
    /// Column whose growth marks changes, by source name. Ours, not Fivetran's.
    cursor_column: Option<String>,
    /// Not supported: leave it out, or null.
    row_filter: Option<Value>,
    /// Columns by source name.
    columns: Option<BTreeMap<String, ColumnUpdate>>,
}

/// Changes of a column.
#[derive(Default, Deserialize, JsonSchema)]
pub(super) struct ColumnUpdate {
    /// Whether its values are synced. Not for columns of the primary key. Switching it on re-syncs the table.
    enabled: Option<bool>,
    /// Whether its values are replaced by a salted hash. Changing it re-syncs the table.
    hashed: Option<bool>,
    /// Adds it to the key, or takes it out of the source's key.
    is_primary_key: Option<bool>,
}

pub(super) async fn config(
    services: &Services,
    call: &Call<'_>,
    update: ConfigUpdate,
) -> ApiResult<Answer<SchemaConfigBody>> {
    let body = apply(services, call, update).await?;
    Answer::new("Schema configuration has been modified", &body)
}

/// A configuration set before anything is known of the source: it is looked at first.
pub(super) async fn first(
    services: &Services,
    call: &Call<'_>,
    update: ConfigUpdate,
) -> ApiResult<Answer<SchemaConfigBody>> {
    let connection = found(services, call).await?;
    if services.control.latest_versions(&connection.id).await?.is_empty() {
        look(services, &connection, None).await?;
    }
    let body = apply(services, call, update).await?;
    Answer::new("Schema configuration pre-created successfully", &body)
}

pub(super) async fn schema(
    services: &Services,
    call: &Call<'_>,
    update: SchemaUpdate,
) -> ApiResult<Answer<SchemaConfigBody>> {
    let body = apply(services, call, of_schema(call, update)).await?;
    Answer::new("Database schema configuration has been modified", &body)
}

pub(super) async fn table(
    services: &Services,
    call: &Call<'_>,
    update: TableUpdate,
) -> ApiResult<Answer<SchemaConfigBody>> {
    let body = apply(services, call, of_table(call, update)).await?;
    Answer::new("Table configuration has been modified", &body)
}

pub(super) async fn column(
    services: &Services,
    call: &Call<'_>,
    update: ColumnUpdate,
) -> ApiResult<Answer<SchemaConfigBody>> {
    let columns = BTreeMap::from([(call.part("column").to_owned(), update)]);
    let table = TableUpdate { columns: Some(columns), ..TableUpdate::default() };
    let body = apply(services, call, of_table(call, table)).await?;
    Answer::new("Column configuration has been modified", &body)
}

fn of_schema(call: &Call<'_>, update: SchemaUpdate) -> ConfigUpdate {
    let schemas = BTreeMap::from([(call.part("schema").to_owned(), update)]);
    ConfigUpdate { schemas: Some(schemas), ..ConfigUpdate::default() }
}

fn of_table(call: &Call<'_>, update: TableUpdate) -> ConfigUpdate {
    let tables = BTreeMap::from([(call.part("table").to_owned(), update)]);
    of_schema(call, SchemaUpdate { tables: Some(tables), ..SchemaUpdate::default() })
}

async fn apply(services: &Services, call: &Call<'_>, update: ConfigUpdate) -> ApiResult<SchemaConfigBody> {
    if update.is_type_locked == Some(true) {
        return Err(ApiError::unsupported("is_type_locked", "Leave it out"));
    }
    let mut known = Known::load(services, found(services, call).await?).await?;
    let mut change = difference(&known, update.schemas.unwrap_or_default())?;
    let before = known.settings.clone();
    merge(&mut known.settings, &change);
    for (name, change) in &mut change.streams {
        change.resync = why_resync(before.streams.get(name), known.settings.streams.get(name));
    }
    for name in change.streams.keys() {
        check(&known, name)?;
    }
    let id = &known.connection.id;
    let policy = update.schema_change_handling;
    services.control.edit_stream_settings(id, &change.schemas, &change.streams, policy).await?;
    services.ports.reach(FaultPoint::AfterEdit, id).await?;
    // A column that was switched off or hashed a moment ago must not go on flowing. The live run would notice by itself; this
    // is for those who wait for what they set.
    services.syncs.restart(id).await?;
    let id = call.part("connection_id");
    log(services, call, id, &change).await?;
    known.settings = services.control.stream_settings(id).await?;
    Ok(SchemaConfigBody::of(&known))
}

/// Who changed what, in the words of Fivetran's log.
async fn log(services: &Services, call: &Call<'_>, id: &str, change: &ConnectionSettings) -> ApiResult<()> {
    let tables = change.streams.keys().map(ToString::to_string).collect::<Vec<_>>();
    let schemas = change.schemas.keys().collect::<Vec<_>>();
    let data = json!({ "actor": actor(call), "schemas": schemas, "tables": tables });
    let event = LogEvent::info(id, "change_schema_config_via_api", services.ports.clock.now_micros());
    Ok(events::log(services, LogEvent { data, ..event }).await?)
}

/// The settings an update names, after checking that everything named is there.
fn difference(known: &Known, schemas: BTreeMap<String, SchemaUpdate>) -> ApiResult<ConnectionSettings> {
    let mut change = ConnectionSettings::default();
    for (schema, update) in schemas {
        known.schema(&schema)?;
        for (table, update) in update.tables.unwrap_or_default() {
            let name = StreamName::new(&schema, table);
            let settings = table_difference(known, &name, update)?;
            change.streams.insert(name, settings);
        }
        if update.enabled.is_some() {
            change.schemas.insert(schema, SchemaSettings { enabled: update.enabled });
        }
    }
    Ok(change)
}

fn table_difference(known: &Known, name: &StreamName, update: TableUpdate) -> ApiResult<StreamSettings> {
    let stream = known.stream(name)?;
    if update.row_filter.is_some() {
        let remedy = "Leave it out, or send null: every row of the table is synced";
        let field = format!("schemas.{}.tables.{}.row_filter", name.schema, name.table);
        return Err(ApiError::unsupported(&field, remedy));
    }
    let own = known.settings.streams.get(name);
    let mut columns = BTreeMap::new();
    for (column, update) in update.columns.unwrap_or_default() {
        if !stream.columns.iter().any(|known| known.name == column) {
            return Err(ApiError::not_found("Column", &format!("{name}.{column}")));
        }
        let ColumnUpdate { enabled, hashed, is_primary_key } = update;
        let was_off = own.and_then(|own| own.columns.get(&column)).and_then(|set| set.enabled) == Some(false);
        // Asking for a drop while somebody else switches the column on may leave the mark behind. Who switches it off
        // later did not ask for that.
        let drop = (enabled == Some(false) && !was_off).then_some(false);
        columns.insert(column, ColumnSettings { enabled, hashed, is_primary_key, drop });
    }
    let cursor_column = update.cursor_column.filter(|column| !column.is_empty());
    let TableUpdate { enabled, sync_mode, .. } = update;
    Ok(StreamSettings { enabled, sync_mode, cursor_column, resync: None, columns })
}

/// Why an edit makes every row of the table be read again: the rows already at the destination would look otherwise
/// today. Without it a column that was off stays NULL in rows that do not change, and one that is hashed from now on
/// stays readable in them.
fn why_resync(before: Option<&StreamSettings>, after: Option<&StreamSettings>) -> Option<String> {
    let after = after?;
    let unset = StreamSettings::default();
    let before = before.unwrap_or(&unset);
    if before.sync_mode.unwrap_or_default() != after.sync_mode.unwrap_or_default() {
        return Some("The sync mode changed".to_owned());
    }
    after.columns.iter().find_map(|(name, set)| {
        let was = before.columns.get(name).copied().unwrap_or_default();
        if was.enabled == Some(false) && set.enabled == Some(true) {
            return Some(format!("Column '{name}' was switched on"));
        }
        let changed = was.hashed.unwrap_or(false) != set.hashed.unwrap_or(false);
        changed.then(|| format!("Hashing of column '{name}' was switched on or off"))
    })
}

/// As the database merges.
fn merge(settings: &mut ConnectionSettings, change: &ConnectionSettings) {
    for (schema, change) in &change.schemas {
        settings.schemas.insert(schema.clone(), *change);
    }
    for (name, change) in &change.streams {
        let own = settings.streams.entry(name.clone()).or_default();
        own.enabled = change.enabled.or(own.enabled);
        own.sync_mode = change.sync_mode.or(own.sync_mode);
        own.cursor_column = change.cursor_column.clone().or_else(|| own.cursor_column.take());
        for (column, change) in &change.columns {
            let own = own.columns.entry(column.clone()).or_default();
            own.enabled = change.enabled.or(own.enabled);
            own.drop = own.drop.filter(|_| own.enabled != Some(true));
            own.hashed = change.hashed.or(own.hashed);
            own.is_primary_key = change.is_primary_key.or(own.is_primary_key);
        }
    }
}

/// Refuses settings that a sync would refuse, or silently not honour.
fn check(known: &Known, name: &StreamName) -> ApiResult<()> {
    let stream = known.stream(name)?;
    let own = known.settings.streams.get(name);
    let key = crate::core::settings::primary_key(stream, own)?;
    let blocked = |column: &&String| {
        own.and_then(|own| own.columns.get(*column)).is_some_and(|set| set.enabled == Some(false))
    };
    if let Some(column) = key.iter().find(blocked) {
        return Err(Error::invalid("A column of the primary key cannot be left out")
            .field(format!("schemas.{name}.{column}.enabled"))
            .remedy("Leave it on, or take the column out of the key with is_primary_key false")
            .into());
    }
    let target = Target { schema: &name.schema, table: &name.table, current: None };
    select(stream, &known.settings, Some(stream), true, &target)?;
    Ok(())
}
