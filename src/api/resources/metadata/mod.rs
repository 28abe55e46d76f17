//! What connectors there are and what they want to know; what a connection is known to read.

mod form;
mod objects;

use objects::{ColumnBody, ObjectBody};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::api::Services;
use crate::api::access::Needs;
use crate::api::cursor::{self, Items};
use crate::api::error::{ApiError, ApiResult};
use crate::api::request::Call;
use crate::api::response::{Answer, ApiResponse};
use crate::api::router::{Method, PAGED, Route, Run, handler, schema_of};
use crate::connectors::registry::ConnectorType;
use crate::core::access::Access;

pub(crate) fn routes() -> Vec<Route> {
    vec![
        Route::new(
            Method::Get,
            "/v1/metadata/connector-types",
            "List connector types",
            Needs::KEY,
            handler!(list => Items<ConnectorTypeBody>),
        )
        .query(PAGED),
        Route::new(
            Method::Get,
            "/v1/metadata/connector-types/{service}",
            "Read a connector type with the schema of its configuration",
            Needs::KEY,
            handler!(get => ConnectorTypeBody),
        ),
        Route::new(
            Method::Get,
            "/v1/metadata/connectors/{connection_id}/schemas",
            "List what is known of a connection's schemas",
            Needs::connection(Access::Read),
            handler!(objects::schemas => Items<ObjectBody>),
        )
        .query(PAGED),
        Route::new(
            Method::Get,
            "/v1/metadata/connectors/{connection_id}/tables",
            "List what is known of a connection's tables",
            Needs::connection(Access::Read),
            handler!(objects::tables => Items<ObjectBody>),
        )
        .query(PAGED),
        Route::new(
            Method::Get,
            "/v1/metadata/connectors/{connection_id}/columns",
            "List what is known of the columns of a connection's tables",
            Needs::connection(Access::Read),
            handler!(objects::columns => Items<ColumnBody>),
        )
        .query(PAGED),
        Route::new(
            Method::Get,
            "/public/connector-types",
            "List connector types with their configurations, for everybody",
            Needs::NOTHING,
            (Run::Plain(public), None, Some(schema_of::<Items<ConnectorTypeBody>>)),
        ),
    ]
}

/// A kind of source.
#[derive(Serialize, JsonSchema)]
struct ConnectorTypeBody {
    id: &'static str,
    name: &'static str,
    r#type: &'static str,
    description: &'static str,
    connector_class: &'static str,
    service_status: &'static str,
    supported_features: Vec<Feature>,
    /// The fields of `config`, each with `type`, `format` and so on; only in the details.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Map<String, Value>>")]
    config: Option<Value>,
}

/// Something the connector can do.
#[derive(Serialize, JsonSchema)]
struct Feature {
    id: &'static str,
}

impl ConnectorTypeBody {
    /// The features are the engine's, so every connector has them. CAPTURE_DELETES is none of them: deletes at the source
    /// are found by full syncs only.
    fn short(connector: &ConnectorType) -> Self {
        let features = ["DATA_BLOCKING", "COLUMN_HASHING", "RE_SYNC", "HISTORY", "API_CONFIGURABLE"];
        Self {
            id: connector.id,
            name: connector.name,
            r#type: connector.category,
            description: connector.description,
            connector_class: "standard",
            service_status: "general_availability",
            supported_features: features.into_iter().map(|id| Feature { id }).collect(),
            config: None,
        }
    }

    fn full(connector: &ConnectorType) -> Self {
        let config = form::form(&(connector.config_schema)().to_value());
        Self { config: Some(config), ..Self::short(connector) }
    }
}

/// The table is in the program, so its order is a position.
#[derive(Serialize, serde::Deserialize)]
struct Position {
    n: usize,
}

async fn list(services: &Services, call: &Call<'_>) -> ApiResult<Answer<Items<ConnectorTypeBody>>> {
    let limit = usize::try_from(call.limit()?).unwrap_or(usize::MAX);
    let start =
        call.query("cursor").map(cursor::read::<Position>).transpose()?.map_or(0, |position| position.n);
    let all = services.connectors;
    let end = start.saturating_add(limit);
    let items = all.iter().skip(start).take(limit).map(ConnectorTypeBody::short).collect();
    let next_cursor = (end < all.len()).then(|| cursor::write(&Position { n: end }));
    Answer::new("Connectors list retrieved successfully", &Items { items, next_cursor })
}

async fn get(services: &Services, call: &Call<'_>) -> ApiResult<Answer<ConnectorTypeBody>> {
    let id = call.part("service");
    let connector = services.connectors.iter().find(|connector| connector.id == id);
    let connector = connector.ok_or_else(|| ApiError::not_found("Service", id))?;
    Answer::new("Connector configuration retrieved successfully", &ConnectorTypeBody::full(connector))
}

fn public(services: &Services) -> ApiResult<ApiResponse> {
    let items = services.connectors.iter().map(ConnectorTypeBody::full).collect();
    let answer =
        Answer::new("Connector metadata retrieved successfully", &Items { items, next_cursor: None })?;
    Ok(ApiResponse::json(200, &answer.envelope()))
}
