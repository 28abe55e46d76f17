//! Schema configuration: what of a source is synced, by source names, and under which names it lands.

mod body;
mod drop_columns;
mod edit;
mod known;
mod reload;

use body::{ColumnsBody, SchemaConfigBody};
use drop_columns::DropColumns;
use edit::{ColumnUpdate, ConfigUpdate, SchemaUpdate, TableUpdate};
use known::Known;
use reload::ReloadBody;

use super::connections::found;
use crate::api::Services;
use crate::api::access::Needs;
use crate::api::error::ApiResult;
use crate::api::request::Call;
use crate::api::response::Answer;
use crate::api::router::{Method, Route, handler};
use crate::core::access::Access;
use crate::core::catalog::StreamName;

pub(crate) fn routes() -> Vec<Route> {
    const ALL: &str = "/v1/connections/{connection_id}/schemas";
    const RELOAD: &str = "/v1/connections/{connection_id}/schemas/reload";
    const SCHEMA: &str = "/v1/connections/{connection_id}/schemas/{schema}";
    const TABLE: &str = "/v1/connections/{connection_id}/schemas/{schema}/tables/{table}";
    const COLUMNS: &str = "/v1/connections/{connection_id}/schemas/{schema}/tables/{table}/columns";
    const COLUMN: &str = "/v1/connections/{connection_id}/schemas/{schema}/tables/{table}/columns/{column}";
    const DROPPED: &str = "With its values, by the next sync of its table; switching the column on before takes that back. \
        404 for what there is not, 409 for a column that is not blocked; then nothing is marked.";
    const PATCHED: &str = "Keys are source names, case-sensitive. What is left out stays.";
    vec![
        Route::new(Method::Get, ALL, "Read the schema configuration", Needs::connection(Access::Read), handler!(get => SchemaConfigBody)).details(
            "404 NotFound_SchemaConfig before the first sync or reload. Lists every schema and table, but only those \
             columns that were set by hand.",
        ),
        Route::new(
            Method::Patch,
            ALL,
            "Change the schema configuration", Needs::connection(Access::Edit),
            handler!(edit::config, ConfigUpdate => SchemaConfigBody),
        )
        .details(PATCHED),
        Route::new(
            Method::Post,
            ALL,
            "Set the schema configuration before the first sync", Needs::connection(Access::Edit),
            handler!(edit::first, ConfigUpdate => SchemaConfigBody),
        )
        .details("Looks at the source first where nothing is known of it yet, so that every name is checked."),
        Route::new(
            Method::Post,
            RELOAD,
            "Look at the source again", Needs::connection(Access::Edit),
            handler!(reload::reload, ReloadBody => SchemaConfigBody),
        )
        .details("Records new versions of what changed. Does not start a sync."),
        Route::new(
            Method::Patch,
            SCHEMA,
            "Change a schema's configuration", Needs::connection(Access::Edit),
            handler!(edit::schema, SchemaUpdate => SchemaConfigBody),
        )
        .details(PATCHED),
        Route::new(
            Method::Patch,
            TABLE,
            "Change a table's configuration", Needs::connection(Access::Edit),
            handler!(edit::table, TableUpdate => SchemaConfigBody),
        )
        .details(PATCHED),
        Route::new(Method::Get, COLUMNS, "List all columns of a table", Needs::connection(Access::Read), handler!(columns => ColumnsBody)),
        Route::new(
            Method::Patch,
            COLUMN,
            "Change a column's configuration", Needs::connection(Access::Edit),
            handler!(edit::column, ColumnUpdate => SchemaConfigBody),
        ),
        Route::new(Method::Delete, COLUMN, "Drop a blocked column at the destination", Needs::connection(Access::Manage), handler!(drop_columns::one))
            .details(DROPPED),
        Route::new(
            Method::Post,
            "/v1/connections/{connection_id}/schemas/drop-columns",
            "Drop blocked columns at the destination", Needs::connection(Access::Manage),
            handler!(drop_columns::many, DropColumns),
        )
        .details(DROPPED),
    ]
}

async fn get(services: &Services, call: &Call<'_>) -> ApiResult<Answer<SchemaConfigBody>> {
    let known = Known::load(services, found(services, call).await?).await?;
    Answer::new("Schema configuration retrieved successfully", &SchemaConfigBody::of(&known))
}

async fn columns(services: &Services, call: &Call<'_>) -> ApiResult<Answer<ColumnsBody>> {
    let known = Known::load(services, found(services, call).await?).await?;
    let stream = known.stream(&StreamName::new(call.part("schema"), call.part("table")))?;
    let body = ColumnsBody::of(stream, known.settings.streams.get(&stream.name));
    Answer::new("Column configuration retrieved successfully", &body)
}
