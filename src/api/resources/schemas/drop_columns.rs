//! Dropping columns at the destination: Fivetran's checks, and then an honest no.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::known::Known;
use crate::api::Services;
use crate::api::error::{ApiError, ApiResult};
use crate::api::request::Call;
use crate::api::resources::connections::found;
use crate::api::response::{Answer, NoData};
use crate::core::Error;
use crate::core::catalog::StreamName;

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
    refuse(services, call, vec![(name, vec![call.part("column").to_owned()])]).await
}

pub(super) async fn many(
    services: &Services,
    call: &Call<'_>,
    body: DropColumns,
) -> ApiResult<Answer<NoData>> {
    let tables = body.schemas.into_iter().flat_map(|(schema, inside)| {
        inside.tables.into_iter().map(move |(table, drop)| (StreamName::new(&schema, table), drop.columns))
    });
    refuse(services, call, tables.collect()).await
}

async fn refuse(
    services: &Services,
    call: &Call<'_>,
    tables: Vec<(StreamName, Vec<String>)>,
) -> ApiResult<Answer<NoData>> {
    let known = Known::load(services, found(services, call).await?).await?;
    if tables.iter().all(|(_, columns)| columns.is_empty()) {
        return Err(Error::invalid("There is nothing to drop")
            .field("schemas")
            .remedy("Name at least one column")
            .into());
    }
    for (name, columns) in &tables {
        let stream = known.stream(name)?;
        let own = known.settings.streams.get(name);
        for column in columns {
            let full = format!("{name}.{column}");
            if !stream.columns.iter().any(|known| known.name == *column) {
                return Err(ApiError::not_found("Column", &full));
            }
            let set = own.and_then(|own| own.columns.get(column));
            if set.and_then(|set| set.enabled) != Some(false) {
                return Err(ApiError::illegal_state(format!(
                    "Column '{full}' is not blocked. Set enabled to false first"
                )));
            }
        }
    }
    Err(ApiError::new(
        400,
        "NotSupported",
        "Nothing at the destination is ever dropped: a blocked column gets no new values, and what is there is yours. \
         Drop it at the destination yourself",
    ))
}
