//! Telling others what happened: takes deliveries from the outbox, posts them, notes what came of it.
//!
//! A run never waits for this: events and their deliveries are written with the run's own history
//! (`control/deliveries.rs`), and posted by a queue message of their own or by the next sweep. Delivery is at least
//! once; the id of a delivery is the same at every attempt, so that a receiver can tell.

mod azure_monitor;
mod log_services;
mod webhook;

use std::collections::BTreeMap;

use futures::future::join_all;
use serde_json::Value;

pub(crate) use log_services::log_service;

use crate::control::ControlPlane;
use crate::control::deliveries::{Attempted, Delivery};
use crate::control::log_events::LogLevel;
use crate::control::receivers::{Receiver, WEBHOOK};
use crate::core::delivery::next_attempt;
use crate::core::limits::{CONSUMER_BUDGET_MS, OUTGOING_CONNECTIONS};
use crate::core::{Error, ErrorKind, Result};
use crate::ports::{HttpRequest, Ports};

/// How long a receiver may take to answer, in milliseconds. Fivetran's own patience.
const ANSWER_MS: u64 = 10_000;

/// Deliveries to webhooks claimed at once. With one log service they make four rounds of [`OUTGOING_CONNECTIONS`], which end before a
/// claim does.
const WEBHOOKS: u32 = 19;

/// Log lines claimed at once for a log service: less than half of what the strictest takes in one request (Datadog: 1000
/// lines, 5 MB), since a line is far below 1 kB.
const LOG_LINES: u32 = 400;

/// Delivers what is due, until nothing is or the time budget of an invocation is used up.
///
/// # Errors
/// When the control plane cannot be reached; what was claimed is due again after two minutes.
pub async fn deliver(control: &ControlPlane, ports: &Ports) -> Result<()> {
    let stop_at = ports.clock.now_ms().saturating_add(CONSUMER_BUDGET_MS);
    while ports.clock.now_ms() < stop_at {
        let claimed = control.claim_deliveries(ports.clock.now_micros(), WEBHOOKS, LOG_LINES).await?;
        if claimed.is_empty() {
            break;
        }
        let mut ids = claimed.iter().map(|delivery| delivery.receiver_id.as_str()).collect::<Vec<_>>();
        ids.sort_unstable();
        ids.dedup();
        let receivers = control.receivers_by_id(&ids).await?;
        let parcels = parcels(&receivers, claimed);
        for some in parcels.chunks(OUTGOING_CONNECTIONS) {
            let attempted = join_all(some.iter().map(|parcel| attempt(ports, parcel))).await;
            control.settle_deliveries(&attempted.into_iter().flatten().collect::<Vec<_>>()).await?;
        }
    }
    Ok(())
}

/// What is sent in one request.
struct Parcel<'a> {
    receiver: &'a Receiver,
    deliveries: Vec<Delivery>,
}

/// A webhook is posted one event at a time; a log service takes what there is of it together.
fn parcels(receivers: &[Receiver], claimed: Vec<Delivery>) -> Vec<Parcel<'_>> {
    let mut parcels: Vec<Parcel<'_>> = Vec::new();
    let mut open: BTreeMap<&str, usize> = BTreeMap::new();
    for delivery in claimed {
        let Some(receiver) = receivers.iter().find(|receiver| receiver.id == delivery.receiver_id) else {
            continue;
        };
        let joined = open.get(receiver.id.as_str()).and_then(|at| parcels.get_mut(*at));
        match joined {
            Some(parcel) => parcel.deliveries.push(delivery),
            None => {
                if receiver.service != WEBHOOK {
                    open.insert(&receiver.id, parcels.len());
                }
                parcels.push(Parcel { receiver, deliveries: vec![delivery] });
            }
        }
    }
    parcels
}

async fn attempt(ports: &Ports, parcel: &Parcel<'_>) -> Vec<Attempted> {
    let config = parcel.receiver.config.open();
    let sent = match &config {
        Ok(config) => post(ports, &parcel.receiver.service, config, &parcel.deliveries).await,
        Err(error) => Sent { status: None, error: Some(error.to_string()) },
    };
    let now = ports.clock.now_micros();
    let attempted = |delivery: &Delivery| Attempted {
        id: delivery.id.clone(),
        receiver_id: delivery.receiver_id.clone(),
        connection_id: delivery.connection_id.clone(),
        attempt: delivery.attempts,
        status: sent.status,
        error: sent.error.clone(),
        next_attempt_at: next_attempt(delivery.first_attempt_at.unwrap_or(now), delivery.attempts, now),
    };
    parcel.deliveries.iter().map(attempted).collect()
}

/// What came of a request.
pub(crate) struct Sent {
    /// HTTP status of the answer, if there was one.
    pub(crate) status: Option<u16>,
    /// `None` for success.
    pub(crate) error: Option<String>,
}

/// Posts events to a receiver of that service. Only an answer of 2xx is success: redirects are not followed, because
/// the secret and what happened would go where nobody checked.
pub(crate) async fn post(ports: &Ports, service: &str, config: &Value, events: &[Delivery]) -> Sent {
    match exchange(ports, service, config, events).await {
        Ok(status) if (200..300).contains(&status) => Sent { status: Some(status), error: None },
        Ok(status) => {
            Sent { status: Some(status), error: Some(format!("The receiver answered with status {status}")) }
        }
        Err(error) => Sent { status: None, error: Some(error.to_string()) },
    }
}

async fn exchange(ports: &Ports, service: &str, config: &Value, events: &[Delivery]) -> Result<u16> {
    let request = if service == WEBHOOK {
        webhook::request(config, events)?
    } else {
        log_services::request(ports, service, config, events).await?
    };
    Ok(ports.http.send_direct(request, ANSWER_MS).await?.status)
}

/// An event made up to see whether a receiver is there: the names are Fivetran's.
pub(crate) fn test_event(event: &str, now: i64) -> Delivery {
    Delivery {
        id: format!("test-{now}"),
        receiver_id: String::new(),
        event: event.to_owned(),
        level: LogLevel::Info,
        data: Value::Object(serde_json::Map::new()),
        occurred_at: now,
        connection_id: "_connector_1".to_owned(),
        connection_name: "_connector".to_owned(),
        connector_type: "_connector_type".to_owned(),
        group_id: "_destination_1".to_owned(),
        run_id: None,
        state: "pending".to_owned(),
        attempts: 1,
        first_attempt_at: None,
        last_attempt_at: None,
        next_attempt_at: None,
        response_status: None,
        error: None,
    }
}

/// A text field of a checked configuration; empty where it is left out.
fn text<'a>(config: &'a Value, field: &str) -> &'a str {
    config.get(field).and_then(Value::as_str).unwrap_or_default()
}

fn json_request(url: String, mut headers: Vec<(String, String)>, body: String) -> HttpRequest {
    headers.push(("content-type".to_owned(), "application/json".to_owned()));
    headers.push(("user-agent".to_owned(), concat!("fivetran.do/", env!("CARGO_PKG_VERSION")).to_owned()));
    HttpRequest { method: "POST", url, headers, body: body.into() }
}

/// `2024-12-01T15:43:29.013729Z`.
fn timestamp(micros: i64) -> String {
    chrono::DateTime::from_timestamp_micros(micros)
        .map(|instant| instant.format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string())
        .unwrap_or_default()
}

fn unsupported(service: &str) -> Error {
    Error::new(ErrorKind::InvalidInput, format!("This version cannot send to '{service}'"))
}
