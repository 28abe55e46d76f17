//! `GET /`, `GET /healthz`, `GET /v1/openapi.json`: for everybody, without a key.

use serde_json::json;

use crate::api::access::Needs;
use crate::api::error::ApiResult;
use crate::api::response::ApiResponse;
use crate::api::router::{Method, Route, Run};
use crate::api::{Services, openapi};

pub(crate) fn routes() -> Vec<Route> {
    let plain = |path, summary, run| {
        Route::new(Method::Get, path, summary, Needs::NOTHING, (Run::Plain(run), None, None))
    };
    vec![
        plain("/", "What this is", about),
        plain("/healthz", "Whether it runs", healthy),
        plain("/v1/openapi.json", "This document", document),
    ]
}

fn about(services: &Services) -> ApiResult<ApiResponse> {
    let url = &services.public_url;
    let about = json!({
        "name": "fivetran.do",
        "description": "Moves data from databases, APIs and files into Cloudflare D1 and R2, inside your own account. \
            Speaks Fivetran's REST API.",
        "version": env!("CARGO_PKG_VERSION"),
        "authentication": "HTTP Basic with your API key and secret",
        "links": {
            "api": format!("{url}/v1"),
            "openapi": format!("{url}/v1/openapi.json"),
            "health": format!("{url}/healthz"),
            "connectors": format!("{url}/v1/metadata/connector-types"),
            "source": env!("CARGO_PKG_REPOSITORY"),
        },
    });
    Ok(ApiResponse::json(200, &about))
}

fn healthy(_: &Services) -> ApiResult<ApiResponse> {
    Ok(ApiResponse::json(200, &json!({ "status": "ok", "version": env!("CARGO_PKG_VERSION") })))
}

fn document(services: &Services) -> ApiResult<ApiResponse> {
    Ok(ApiResponse::json(200, &openapi::document(&services.public_url)))
}
