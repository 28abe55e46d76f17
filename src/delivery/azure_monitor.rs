//! Azure Monitor, by either of its two ways in: the Logs Ingestion API with an application's token, or the older HTTP
//! Data Collector API with the workspace's shared key.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use url::form_urlencoded;

use super::log_services::line;
use super::{ANSWER_MS, json_request, text};
use crate::control::deliveries::Delivery;
use crate::core::delivery::{hmac_sha256, receiver_url};
use crate::core::{Error, ErrorKind, Result};
use crate::ports::{HttpRequest, Ports};

/// Fields of the Logs Ingestion API.
const INGESTION: [&str; 6] = [
    "tenant_id",
    "client_id",
    "client_secret",
    "data_collection_endpoint",
    "dcr_immutable_id",
    "dcr_stream_name",
];

/// Either way in, whole.
pub(super) fn check(config: &Value, local: bool) -> Result<()> {
    let missing =
        |fields: &[&'static str]| fields.iter().find(|field| text(config, field).is_empty()).copied();
    if !text(config, "workspace_id").is_empty() {
        let key = text(config, "primary_key");
        if key.is_empty() || STANDARD.decode(key).is_err() {
            return Err(Error::invalid("The workspace needs its primary key, which is base64")
                .field("config.primary_key")
                .remedy("Copy it from the workspace's agents page"));
        }
        return name_in_host("workspace_id", config);
    }
    if let Some(field) = missing(&INGESTION) {
        return Err(Error::invalid("This is required for the Logs Ingestion API")
            .field(format!("config.{field}"))
            .remedy("Set it, or set workspace_id and primary_key for the HTTP Data Collector API"));
    }
    receiver_url(text(config, "data_collection_endpoint"), "config.data_collection_endpoint", local)
        .map(|_| ())
}

/// The workspace becomes part of a host name, so it must not be able to name another.
fn name_in_host(field: &str, config: &Value) -> Result<()> {
    let plain = text(config, field).bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if plain {
        return Ok(());
    }
    Err(Error::invalid("This is not an id of Azure")
        .field(format!("config.{field}"))
        .remedy("Copy the GUID from the Azure portal"))
}

pub(super) async fn request(ports: &Ports, config: &Value, events: &[Delivery]) -> Result<HttpRequest> {
    let body = events.iter().map(line).collect::<Value>().to_string();
    if !text(config, "workspace_id").is_empty() {
        return Ok(collector(config, body, ports.clock.now_micros()));
    }
    let token = token(ports, config).await?;
    let url = format!(
        "{}/dataCollectionRules/{}/streams/{}?api-version=2023-01-01",
        text(config, "data_collection_endpoint").trim_end_matches('/'),
        encoded(text(config, "dcr_immutable_id")),
        encoded(text(config, "dcr_stream_name")),
    );
    Ok(json_request(url, vec![("authorization".to_owned(), format!("Bearer {token}"))], body))
}

/// Signs as Azure describes: `POST`, length, type, date and resource, by HMAC with the decoded key.
fn collector(config: &Value, body: String, now: i64) -> HttpRequest {
    let workspace = text(config, "workspace_id");
    let key = STANDARD.decode(text(config, "primary_key")).unwrap_or_default();
    let date = chrono::DateTime::from_timestamp_micros(now)
        .map(|instant| instant.format("%a, %d %b %Y %H:%M:%S GMT").to_string())
        .unwrap_or_default();
    let signed = format!("POST\n{}\napplication/json\nx-ms-date:{date}\n/api/logs", body.len());
    let signature = STANDARD.encode(hmac_sha256(&key, signed.as_bytes()));
    let headers = vec![
        ("authorization".to_owned(), format!("SharedKey {workspace}:{signature}")),
        ("log-type".to_owned(), "Fivetran".to_owned()),
        ("x-ms-date".to_owned(), date),
        ("time-generated-field".to_owned(), "created".to_owned()),
    ];
    let url = format!("https://{workspace}.ods.opinsights.azure.com/api/logs?api-version=2016-04-01");
    json_request(url, headers, body)
}

/// An application's token, by the client credentials grant of Microsoft Entra. Not kept: one more call per delivery is
/// cheaper than a second place that holds a credential.
async fn token(ports: &Ports, config: &Value) -> Result<String> {
    let form = form_urlencoded::Serializer::new(String::new())
        .append_pair("grant_type", "client_credentials")
        .append_pair("client_id", text(config, "client_id"))
        .append_pair("client_secret", text(config, "client_secret"))
        .append_pair("scope", "https://monitor.azure.com/.default")
        .finish();
    let request = HttpRequest {
        method: "POST",
        url: format!(
            "https://login.microsoftonline.com/{}/oauth2/v2.0/token",
            encoded(text(config, "tenant_id"))
        ),
        headers: vec![("content-type".to_owned(), "application/x-www-form-urlencoded".to_owned())],
        body: form.into(),
    };
    let answer = ports.http.send_direct(request, ANSWER_MS).await?;
    let body: Option<Value> = serde_json::from_slice(&answer.body).ok();
    let token = body.as_ref().map(|body| text(body, "access_token")).filter(|token| !token.is_empty());
    token.map(str::to_owned).ok_or_else(|| {
        Error::new(
            ErrorKind::SourceAuth,
            format!("Microsoft Entra gave no token, but status {}", answer.status),
        )
        .field("config.client_secret")
        .remedy("Check tenant_id, client_id and client_secret")
    })
}

fn encoded(part: &str) -> String {
    form_urlencoded::byte_serialize(part.as_bytes()).collect()
}
