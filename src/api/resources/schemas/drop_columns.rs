//! Asking for blocked columns to be dropped at the destination.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::known::Known;
use crate::api::Services;
use crate::api::error::{ApiError, ApiResult};
use crate::api::request::Call;
use crate::api::resources::actor;
use crate::api::resources::connections::{events, found};
use crate::api::response::{Answer, NoData};
use crate::control::LogEvent;
use crate::core::Error;
use crate::core::catalog::StreamName;
use crate::core::settings::{ColumnSettings, StreamSettings, primary_key};

/// Columns to drop, by source names.
#[derive(Deserialize, JsonSchema)]
pub(super) struct DropColumns {
    schemas: BTreeMap<String, DropInSchema>,
}

/// Columns to drop in a schema.
#[derive(Deserialize, JsonSchema)]
struct DropInSchema {
    tables: BTreeMap<String, DropInTable>,
}

/// Columns to drop in a table.
#[derive(Deserialize, JsonSchema)]
struct DropInTable {
    columns: Vec<String>,
}

pub(super) async fn one(services: &Services, call: &Call<'_>) -> ApiResult<Answer<NoData>> {
    let name = StreamName::new(call.part("schema"), call.part("table"));
    mark(services, call, vec![(name, vec![call.part("column").to_owned()])]).await?;
    Ok(Answer::done("Column successfully marked for deletion"))
}

pub(super) async fn many(
    services: &Services,
    call: &Call<'_>,
    body: DropColumns,
) -> ApiResult<Answer<NoData>> {
    let tables = body.schemas.into_iter().flat_map(|(schema, inside)| {
        inside.tables.into_iter().map(move |(table, drop)| (StreamName::new(&schema, table), drop.columns))
    });
    mark(services, call, tables.collect()).await?;
    Ok(Answer::done("Column(s) successfully marked for deletion"))
}

/// Marks the columns, all or none. The next sync of their tables drops them, as no request could wait for that.
async fn mark(services: &Services, call: &Call<'_>, tables: Vec<(StreamName, Vec<String>)>) -> ApiResult<()> {
    let known = Known::load(services, found(services, call).await?).await?;
    if tables.iter().all(|(_, columns)| columns.is_empty()) {
        return Err(Error::invalid("There is nothing to drop")
            .field("schemas")
            .remedy("Name at least one column")
            .into());
    }
    let mut marks = BTreeMap::new();
    for (name, columns) in tables {
        let stream = known.stream(&name)?;
        let own = known.settings.streams.get(&name);
        let key = primary_key(stream, own)?;
        let mut settings = StreamSettings::default();
        for column in columns {
            let full = format!("{name}.{column}");
            if !stream.columns.iter().any(|known| known.name == column) {
                return Err(ApiError::not_found("Column", &full));
            }
            let set = own.and_then(|own| own.columns.get(&column));
            if set.and_then(|set| set.enabled) != Some(false) || key.contains(&column) {
                return Err(ApiError::illegal_state(format!(
                    "Column '{full}' is not blocked. Set enabled to false first"
                )));
            }
            settings.columns.insert(column, ColumnSettings { drop: Some(true), ..ColumnSettings::default() });
        }
        if !settings.columns.is_empty() {
            marks.insert(name, settings);
        }
    }
    let id = &known.connection.id;
    services.control.save_stream_settings(id, &BTreeMap::new(), &marks).await?;
    let columns =
        marks.iter().flat_map(|(name, set)| set.columns.keys().map(move |column| format!("{name}.{column}")));
    let data = json!({ "actor": actor(call), "drop_columns": columns.collect::<Vec<_>>() });
    let event = LogEvent::info(id, "change_schema_config_via_api", services.ports.clock.now_micros());
    Ok(events::log(services, LogEvent { data, ..event }).await?)
}
