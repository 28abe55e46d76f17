//! The OpenAPI 3.1 document, generated from the table of routes and the types they take and answer.

use schemars::SchemaGenerator;
use schemars::generate::{Contract, SchemaSettings};
use serde_json::{Map, Value, json};

use super::response::ErrorBody;
use super::router::{Route, Run, SchemaOf, all_routes, schema_of};

/// The document of a deployment.
pub(crate) fn document(public_url: &str) -> Value {
    let mut requests = generator(Contract::Deserialize);
    let mut responses = generator(Contract::Serialize);
    let error = schema_of::<ErrorBody>(&mut responses).to_value();
    let mut paths: Map<String, Value> = Map::new();
    for route in all_routes() {
        let operation = operation(&route, &mut requests, &mut responses);
        let methods = paths.entry(route.path.clone()).or_insert_with(|| json!({}));
        if let Some(methods) = methods.as_object_mut() {
            methods.insert(route.method.name().to_lowercase(), operation);
        }
    }
    let mut schemas = requests.take_definitions(true);
    schemas.extend(responses.take_definitions(true));
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "fivetran.do",
            "version": env!("CARGO_PKG_VERSION"),
            "license": { "name": "MIT", "identifier": "MIT" },
            "description": "Fivetran's REST API, served from your own Cloudflare account. Every path under \
                /v1/connections exists under /v1/connectors, too, every path under /v1 also under /v2, and a trailing \
                slash is ignored. Numbers and booleans \
                are also taken as text. Secrets are answered as ******, which sent back means unchanged.",
        },
        "servers": [{ "url": public_url }],
        "security": [{ "basic": [] }],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": { "basic": {
                "type": "http", "scheme": "basic", "description": "API key and secret",
            } },
            "responses": { "Error": {
                "description": "The request failed: the code is for programs, the message for people",
                "content": { "application/json": { "schema": error } },
            } },
        },
    })
}

fn generator(contract: Contract) -> SchemaGenerator {
    let mut settings = SchemaSettings::draft2020_12();
    settings.definitions_path = "/components/schemas".into();
    settings.meta_schema = None;
    settings.contract = contract;
    settings.into_generator()
}

fn operation(route: &Route, requests: &mut SchemaGenerator, responses: &mut SchemaGenerator) -> Value {
    let mut operation = json!({
        "operationId": operation_id(route),
        "summary": route.summary,
        "tags": [tag(&route.path)],
        "parameters": parameters(route),
        "responses": {
            route.status.to_string(): success(route, responses),
            "default": { "$ref": "#/components/responses/Error" },
        },
    });
    let Some(fields) = operation.as_object_mut() else { return operation };
    if !route.details.is_empty() {
        fields.insert("description".to_owned(), route.details.into());
    }
    if let Some(body) = route.body {
        let schema = body(requests).to_value();
        let content = json!({ "application/json": { "schema": schema } });
        fields.insert("requestBody".to_owned(), json!({ "content": content }));
    }
    if matches!(route.run, Run::Plain(_)) {
        fields.insert("security".to_owned(), json!([]));
    }
    if route.alias {
        fields.insert("deprecated".to_owned(), true.into());
    }
    operation
}

/// `GET /v1/groups/{group_id}` is `get_groups_group_id`.
fn operation_id(route: &Route) -> String {
    let words = route.path.split(['/', '{', '}', '-', '.']).filter(|word| !word.is_empty() && *word != "v1");
    let method = route.method.name().to_lowercase();
    std::iter::once(method.as_str()).chain(words).collect::<Vec<_>>().join("_")
}

fn tag(path: &str) -> &str {
    path.trim_start_matches("/v1").split('/').find(|part| !part.is_empty()).unwrap_or("service")
}

fn parameters(route: &Route) -> Value {
    let in_path = route.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).map(
        |name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string", "minLength": 1 } }),
    );
    let in_query = route.query.iter().map(|(name, description)| {
        let schema = match *name {
            "limit" => json!({ "type": "integer", "minimum": 1, "maximum": 1000, "default": 100 }),
            _ => json!({ "type": "string" }),
        };
        json!({ "name": name, "in": "query", "description": description, "schema": schema })
    });
    in_path.chain(in_query).collect()
}

fn success(route: &Route, responses: &mut SchemaGenerator) -> Value {
    let (media, schema) = match route.run {
        Run::Plain(_) if route.data.is_none() => ("application/json", json!({ "type": "object" })),
        Run::Plain(_) | Run::Envelope(_) => ("application/json", envelope(route.data, responses)),
        Run::Guarded(_) => ("application/openmetrics-text", json!({ "type": "string" })),
    };
    json!({ "description": route.summary, "content": { media: { "schema": schema } } })
}

fn envelope(data: Option<SchemaOf>, responses: &mut SchemaGenerator) -> Value {
    let mut properties = json!({ "code": { "const": "Success" }, "message": { "type": "string" } });
    let mut required = vec!["code", "message"];
    if let (Some(data), Some(properties)) = (data, properties.as_object_mut()) {
        properties.insert("data".to_owned(), data(responses).to_value());
        required.push("data");
    }
    json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_in_requests_and_responses_has_one_schema() {
        let (mut requests, mut responses) =
            (generator(Contract::Deserialize), generator(Contract::Serialize));
        for route in all_routes() {
            operation(&route, &mut requests, &mut responses);
        }
        let responses = responses.take_definitions(true);
        for (name, schema) in requests.take_definitions(true) {
            assert!(responses.get(&name).is_none_or(|other| *other == schema), "{name}");
        }
    }
}
