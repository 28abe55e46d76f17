//! What connectors there are, and what they want to know.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::api::Services;
use crate::api::access::Needs;
use crate::api::cursor::{self, Items};
use crate::api::error::{ApiError, ApiResult};
use crate::api::request::Call;
use crate::api::response::Answer;
use crate::api::router::{Method, PAGED, Route, handler};
use crate::connectors::registry::ConnectorType;

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
    /// JSON schema of `config`; only in the details.
    #[serde(skip_serializing_if = "Option::is_none")]
    config: Option<Value>,
}

/// Something the connector can do.
#[derive(Serialize, JsonSchema)]
struct Feature {
    id: &'static str,
}

impl ConnectorTypeBody {
    fn short(connector: &ConnectorType) -> Self {
        let features = ["CAPTURE_DELETES", "DATA_BLOCKING", "COLUMN_HASHING", "RE_SYNC", "API_CONFIGURABLE"];
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
    let config = Some((connector.config_schema)().to_value());
    let body = ConnectorTypeBody { config, ..ConnectorTypeBody::short(connector) };
    Answer::new("Connector configuration retrieved successfully", &body)
}
