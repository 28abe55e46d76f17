//! External log services: how each takes log events over HTTP. A table of services with their fields; adding one is an
//! entry and a function that makes the request.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::{azure_monitor, json_request, text, timestamp, unsupported};
use crate::control::deliveries::Delivery;
use crate::core::delivery::receiver_url;
use crate::core::{Error, Result};
use crate::ports::{HttpRequest, Ports};

/// A log service that can be reached by HTTP.
pub(crate) struct LogService {
    /// Fivetran's name.
    pub(crate) id: &'static str,
    /// Name and kind of each field of its configuration, and whether it is required.
    fields: &'static [(&'static str, Field, bool)],
}

enum Field {
    Text,
    Secret,
    Number,
    Flag,
    Choice(&'static [&'static str]),
}

const LOG_SERVICES: &[LogService] = &[
    LogService {
        id: "datadog_log",
        fields: &[
            ("api_key", Field::Secret, true),
            ("region", Field::Choice(&["US1", "US3", "US5", "EU", "AP1", "AP2", "US1_FED"]), false),
            ("hostname", Field::Text, false),
        ],
    },
    LogService {
        id: "new_relic_log",
        fields: &[
            ("api_key", Field::Secret, true),
            ("sub_domain", Field::Choice(&["US", "EU", "FedRAMP"]), false),
        ],
    },
    LogService {
        id: "splunkLog",
        fields: &[
            ("host", Field::Text, true),
            ("port", Field::Number, false),
            ("token", Field::Secret, true),
            ("channel", Field::Text, false),
            ("enable_ssl", Field::Flag, false),
        ],
    },
    LogService {
        id: "grafana_loki",
        fields: &[
            ("loki_url", Field::Text, true),
            ("username", Field::Text, false),
            ("access_token", Field::Secret, false),
            ("tenant_id", Field::Secret, false),
        ],
    },
    LogService {
        id: "azure_monitor_log",
        fields: &[
            ("workspace_id", Field::Text, false),
            ("primary_key", Field::Secret, false),
            ("tenant_id", Field::Text, false),
            ("client_id", Field::Text, false),
            ("client_secret", Field::Secret, false),
            ("data_collection_endpoint", Field::Text, false),
            ("dcr_immutable_id", Field::Text, false),
            ("dcr_stream_name", Field::Text, false),
        ],
    },
];

/// Log services of Fivetran that this product does not send to, and why.
const REFUSED_LOG_SERVICES: &[(&str, &str)] = &[
    (
        "cloudwatch",
        "CloudWatch takes logs through AWS roles and signed calls, which this version does not make",
    ),
    (
        "stackdriver",
        "Google Cloud Logging needs tokens signed with a service account's RSA key, which this version does not make",
    ),
];

/// The log service of that name, in any case: clients disagree on `splunkLog` and `DATADOG_LOG`.
pub(crate) fn log_service(name: &str) -> Result<&'static LogService> {
    if let Some(found) = LOG_SERVICES.iter().find(|service| service.id.eq_ignore_ascii_case(name)) {
        return Ok(found);
    }
    let known = LOG_SERVICES.iter().map(|service| service.id).collect::<Vec<_>>().join(", ");
    let refused = REFUSED_LOG_SERVICES.iter().find(|(id, _)| id.eq_ignore_ascii_case(name));
    let message =
        refused.map_or_else(|| "Unsupported log service".to_owned(), |(_, reason)| (*reason).to_owned());
    Err(Error::invalid(message).field("service").remedy(format!("Use one of: {known}")))
}

impl LogService {
    /// JSON schema of the configuration.
    pub(crate) fn schema(&self) -> Value {
        let properties = self.fields.iter().map(|(name, field, _)| {
            let schema = match field {
                Field::Text => json!({ "type": "string" }),
                Field::Secret => json!({ "type": "string", "format": "password" }),
                Field::Number => json!({ "type": "integer", "minimum": 1, "maximum": 65535 }),
                Field::Flag => json!({ "type": "boolean" }),
                Field::Choice(choices) => json!({ "type": "string", "enum": choices }),
            };
            ((*name).to_owned(), schema)
        });
        let required = self.fields.iter().filter(|(_, _, required)| *required).map(|(name, _, _)| *name);
        json!({
            "type": "object",
            "properties": properties.collect::<Map<_, _>>(),
            "required": required.collect::<Vec<_>>(),
            "additionalProperties": false,
        })
    }

    /// Checks what the schema cannot say: that the place is one we may send to, and that there are credentials for it.
    /// `local` as in [`receiver_url`].
    pub(crate) fn check(&self, config: &Value, local: bool) -> Result<()> {
        match self.id {
            "splunkLog" => {
                let url = receiver_url(&splunk_url(config), "config.host", local)?;
                if url.path() == SPLUNK_PATH && url.query().is_none() {
                    return Ok(());
                }
                Err(Error::invalid("This is not the name of a host")
                    .field("config.host")
                    .remedy("Send the name alone, without scheme, port and path"))
            }
            "grafana_loki" => receiver_url(text(config, "loki_url"), "config.loki_url", local).map(|_| ()),
            "azure_monitor_log" => azure_monitor::check(config, local),
            _ => Ok(()),
        }
    }
}

/// The request that tells events to a log service.
pub(super) async fn request(
    ports: &Ports,
    service: &str,
    config: &Value,
    events: &[Delivery],
) -> Result<HttpRequest> {
    match service {
        "datadog_log" => Ok(datadog(config, events)),
        "new_relic_log" => Ok(new_relic(config, events)),
        "splunkLog" => Ok(splunk(config, events)),
        "grafana_loki" => Ok(loki(config, events)),
        "azure_monitor_log" => azure_monitor::request(ports, config, events).await,
        other => Err(unsupported(other)),
    }
}

/// An event as log services get it: the common fields, and its own under `data`.
pub(super) fn line(event: &Delivery) -> Value {
    json!({
        "event": event.event,
        "data": event.data,
        "created": timestamp(event.occurred_at),
        "level": event.level,
        "connector_type": event.connector_type,
        "connector_id": event.connection_id,
        "connector_name": event.connection_name,
        "destination_group_id": event.group_id,
        "sync_id": event.run_id,
        "message_id": event.id,
    })
}

/// `POST /api/v2/logs` (Datadog's API reference, "Send logs").
fn datadog(config: &Value, events: &[Delivery]) -> HttpRequest {
    let site = match text(config, "region") {
        "EU" => "datadoghq.eu",
        "US3" => "us3.datadoghq.com",
        "US5" => "us5.datadoghq.com",
        "AP1" => "ap1.datadoghq.com",
        "AP2" => "ap2.datadoghq.com",
        "US1_FED" => "ddog-gov.com",
        _ => "datadoghq.com",
    };
    let hostname = text(config, "hostname");
    let logs = events.iter().map(|event| {
        json!({
            "ddsource": "fivetran",
            "service": "fivetran",
            "hostname": if hostname.is_empty() { "fivetran" } else { hostname },
            "status": event.level,
            "message": line(event).to_string(),
        })
    });
    let headers = vec![("dd-api-key".to_owned(), text(config, "api_key").to_owned())];
    json_request(format!("https://http-intake.logs.{site}/api/v2/logs"), headers, list(logs))
}

/// The Log API (New Relic's documentation, "Introduction to the Log API").
fn new_relic(config: &Value, events: &[Delivery]) -> HttpRequest {
    let host = match text(config, "sub_domain") {
        "EU" => "log-api.eu.newrelic.com",
        "FedRAMP" => "gov-log-api.newrelic.com",
        _ => "log-api.newrelic.com",
    };
    let logs = events.iter().map(|event| {
        json!({ "timestamp": event.occurred_at.div_euclid(1000), "message": line(event).to_string() })
    });
    let body =
        json!([{ "common": { "attributes": { "logtype": "fivetran" } }, "logs": logs.collect::<Value>() }]);
    let headers = vec![("api-key".to_owned(), text(config, "api_key").to_owned())];
    json_request(format!("https://{host}/log/v1"), headers, body.to_string())
}

/// Splunk's default port of the HTTP Event Collector.
const SPLUNK_PORT: u64 = 8088;

/// Path of the HTTP Event Collector.
const SPLUNK_PATH: &str = "/services/collector/event";

fn splunk_url(config: &Value) -> String {
    let scheme =
        if config.get("enable_ssl").and_then(Value::as_bool).unwrap_or(true) { "https" } else { "http" };
    let port = config.get("port").and_then(Value::as_u64).unwrap_or(SPLUNK_PORT);
    format!("{scheme}://{}:{port}{SPLUNK_PATH}", text(config, "host"))
}

/// The HTTP Event Collector: objects one after another, without a list around them.
fn splunk(config: &Value, events: &[Delivery]) -> HttpRequest {
    let mut headers = vec![("authorization".to_owned(), format!("Splunk {}", text(config, "token")))];
    let channel = text(config, "channel");
    if !channel.is_empty() {
        headers.push(("x-splunk-request-channel".to_owned(), channel.to_owned()));
    }
    let bodies = events.iter().map(|event| {
        let micros = event.occurred_at;
        let time = format!("{}.{:06}", micros.div_euclid(1_000_000), micros.rem_euclid(1_000_000));
        json!({ "time": time, "source": "fivetran", "sourcetype": "_json", "event": line(event) }).to_string()
    });
    json_request(splunk_url(config), headers, bodies.collect())
}

/// `POST /loki/api/v1/push` (Loki's HTTP API).
fn loki(config: &Value, events: &[Delivery]) -> HttpRequest {
    let mut headers = Vec::new();
    let (user, token) = (text(config, "username"), text(config, "access_token"));
    if !user.is_empty() || !token.is_empty() {
        headers.push((
            "authorization".to_owned(),
            format!("Basic {}", STANDARD.encode(format!("{user}:{token}"))),
        ));
    }
    let tenant = text(config, "tenant_id");
    if !tenant.is_empty() {
        headers.push(("x-scope-orgid".to_owned(), tenant.to_owned()));
    }
    let values = events
        .iter()
        .map(|event| json!([event.occurred_at.saturating_mul(1000).to_string(), line(event).to_string()]));
    let body =
        json!({ "streams": [{ "stream": { "source": "fivetran" }, "values": values.collect::<Value>() }] });
    let url = text(config, "loki_url").trim_end_matches('/');
    // Grafana shows the address with the path, its documentation without.
    let url = if url.ends_with("/push") { url.to_owned() } else { format!("{url}/loki/api/v1/push") };
    json_request(url, headers, body.to_string())
}

fn list(items: impl Iterator<Item = Value>) -> String {
    items.collect::<Value>().to_string()
}
