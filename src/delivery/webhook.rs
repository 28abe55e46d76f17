//! Webhooks: one event, one signed POST.

use serde::Serialize;
use serde_json::Value;

use super::{json_request, text, timestamp};
use crate::control::deliveries::Delivery;
use crate::core::delivery::signature;
use crate::core::{Error, Result};
use crate::ports::HttpRequest;

/// The event of a probe. It tells of nothing that is there, so it has fewer fields.
pub(super) const TEST_EVENT: &str = "test_event";

/// Fivetran's body, keys in the order of a real one (captured in May 2026).
#[derive(Serialize)]
struct Body<'a> {
    event: &'a str,
    created: String,
    connector_type: &'a str,
    connector_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    connector_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sync_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    destination_group_id: Option<&'a str>,
    /// The name older receivers know, which probes still have.
    #[serde(skip_serializing_if = "Option::is_none")]
    group_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a Value>,
}

impl<'a> Body<'a> {
    fn of(event: &'a Delivery) -> Self {
        let real = event.event != TEST_EVENT;
        Self {
            event: &event.event,
            created: timestamp(event.occurred_at),
            connector_type: &event.connector_type,
            connector_id: &event.connection_id,
            connector_name: real.then_some(event.connection_name.as_str()),
            sync_id: event.run_id.as_deref(),
            destination_group_id: real.then_some(event.group_id.as_str()),
            group_id: (!real).then_some(event.group_id.as_str()),
            data: real.then_some(&event.data),
        }
    }
}

/// The request that tells one event.
pub(super) fn request(config: &Value, events: &[Delivery]) -> Result<HttpRequest> {
    let [event] = events else {
        return Err(Error::internal("a webhook is told one event at a time"));
    };
    let body = serde_json::to_string(&Body::of(event))?;
    let mut headers = vec![
        ("x-fivetran-delivery-id".to_owned(), event.id.clone()),
        ("x-fivetran-delivery-attempt".to_owned(), event.attempts.to_string()),
    ];
    let secret = text(config, "secret");
    if !secret.is_empty() {
        headers.push(("x-fivetran-signature-256".to_owned(), signature(secret, body.as_bytes())));
    }
    Ok(json_request(text(config, "url").to_owned(), headers, body))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::test_event;
    use super::*;

    #[test]
    fn a_body_is_compact_with_fivetrans_keys_in_fivetrans_order_and_its_signature_is_of_exactly_that() {
        let mut event = test_event("sync_end", 1_733_067_809_013_729);
        event.run_id = Some("c.7".to_owned());
        event.data = json!({ "status": "SUCCESSFUL" });
        let request =
            request(&json!({ "url": "https://x/", "secret": "s" }), std::slice::from_ref(&event)).unwrap();
        let body = concat!(
            r#"{"event":"sync_end","created":"2024-12-01T15:43:29.013729Z","connector_type":"_connector_type","#,
            r#""connector_id":"_connector_1","connector_name":"_connector","sync_id":"c.7","#,
            r#""destination_group_id":"_destination_1","data":{"status":"SUCCESSFUL"}}"#
        );
        assert_eq!(request.body, body);
        let header = |name: &str| request.headers.iter().find(|(key, _)| key == name).unwrap().1.clone();
        assert_eq!(header("x-fivetran-signature-256"), signature("s", body.as_bytes()));
        assert_eq!(header("x-fivetran-delivery-id"), event.id);
    }

    #[test]
    fn a_probe_has_fivetrans_made_up_names_and_without_a_secret_nothing_is_signed() {
        let event = test_event("test_event", 0);
        let request = request(&json!({ "url": "https://x/" }), &[event]).unwrap();
        let body = concat!(
            r#"{"event":"test_event","created":"1970-01-01T00:00:00.000000Z","connector_type":"_connector_type","#,
            r#""connector_id":"_connector_1","group_id":"_destination_1"}"#
        );
        assert_eq!(request.body, body);
        assert!(request.headers.iter().all(|(name, _)| name != "x-fivetran-signature-256"));
    }
}
