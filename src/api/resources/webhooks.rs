//! Webhooks: who is told what happens, and what came of it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{actor, is_local};
use crate::api::Services;
use crate::api::access::Needs;
use crate::api::cursor::Items;
use crate::api::error::{ApiError, ApiResult};
use crate::api::request::Call;
use crate::api::response::{Answer, NoData};
use crate::api::router::{Method, PAGED, Route, handler};
use crate::api::timestamp::Timestamp;
use crate::control::deliveries::Delivery;
use crate::control::receivers::{NewReceiver, Receiver, WEBHOOK};
use crate::core::Error;
use crate::core::access::{Access, Resource};
use crate::core::delivery::{WEBHOOK_EVENTS, receiver_url};
use crate::core::redact::{MASK, Secret};
use crate::delivery::{post, test_event};

/// How often an edit is tried again when another edit came between reading and saving.
const EDIT_ATTEMPTS: u32 = 5;

pub(crate) fn routes() -> Vec<Route> {
    const LIST: &str = "/v1/webhooks";
    const ONE: &str = "/v1/webhooks/{webhook_id}";
    const TEST: &str = "/v1/webhooks/{webhook_id}/test";
    const DELIVERIES: &str = "/v1/webhooks/{webhook_id}/deliveries";
    const PROBED: &str = "Unless active is false, the URL is probed first with a POST of test_event, and refused with 400 \
        if it does not answer with 2xx within 10 seconds. Only https URLs of public hosts are taken; beside a service on \
        this machine, http and private addresses are, too.";
    vec![
        Route::new(Method::Get, LIST, "List webhooks", Needs::anywhere(Resource::Webhook, Access::Read), handler!(list => Items<WebhookBody>)).query(PAGED),
        Route::new(
            Method::Post,
            "/v1/webhooks/account",
            "Create a webhook of the account", Needs::throughout(Resource::Webhook, Access::Create),
            handler!(create_for_account, NewWebhook => WebhookBody),
        )
        .details(PROBED),
        Route::new(
            Method::Post,
            "/v1/webhooks/group/{group_id}",
            "Create a webhook of a group", Needs::on(Resource::Webhook, Access::Create, "group_id"),
            handler!(create_for_group, NewWebhook => WebhookBody),
        )
        .details(PROBED),
        Route::new(Method::Get, ONE, "Read a webhook", Needs::on(Resource::Webhook, Access::Read, "webhook_id"), handler!(get => WebhookBody)),
        Route::new(Method::Patch, ONE, "Change a webhook", Needs::on(Resource::Webhook, Access::Edit, "webhook_id"), handler!(edit, WebhookPatch => WebhookBody))
            .details(PROBED),
        Route::new(Method::Delete, ONE, "Delete a webhook", Needs::on(Resource::Webhook, Access::Manage, "webhook_id"), handler!(delete)),
        Route::new(Method::Post, TEST, "Send a made-up event", Needs::on(Resource::Webhook, Access::Edit, "webhook_id"), handler!(test, TestRequest => TestResult)),
        Route::new(
            Method::Get,
            DELIVERIES,
            "List what was and is to be delivered, the oldest event first", Needs::on(Resource::Webhook, Access::Read, "webhook_id"),
            handler!(deliveries => Items<DeliveryBody>),
        )
        .query(PAGED)
        .details(
            "Finished deliveries are kept for a week. A failed one is tried again after 5, 10, 15 … minutes for 24 hours; \
             then the webhook is switched off.",
        ),
    ]
}

/// A webhook.
#[derive(Serialize, JsonSchema)]
struct WebhookBody {
    id: String,
    /// `account` or `group`.
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    group_id: Option<String>,
    url: String,
    events: Vec<String>,
    active: bool,
    /// `******` where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<&'static str>,
    created_at: Timestamp,
    created_by: String,
}

impl From<Receiver> for WebhookBody {
    fn from(webhook: Receiver) -> Self {
        let text = |field: &str| webhook.config_public.get(field).and_then(Value::as_str);
        Self {
            r#type: if webhook.group_id.is_some() { "group" } else { "account" },
            url: text("url").unwrap_or_default().to_owned(),
            secret: text("secret").map(|_| MASK),
            id: webhook.id,
            group_id: webhook.group_id,
            events: webhook.events,
            active: webhook.active,
            created_at: Timestamp(webhook.created_at),
            created_by: webhook.created_by.unwrap_or_default(),
        }
    }
}

/// A webhook to create.
#[derive(Deserialize, JsonSchema)]
struct NewWebhook {
    /// Where to post.
    #[schemars(length(min = 1, max = 2048))]
    url: String,
    /// Names of the events to post. Transformation events and `status` are taken, but nothing here causes them yet.
    events: Vec<String>,
    /// Whether it is posted to; true where absent.
    active: Option<bool>,
    /// Signs the body: `X-Fivetran-Signature-256` is its HMAC-SHA256 in upper-case hexadecimal.
    secret: Option<Secret>,
}

/// Changes of a webhook. What is left out stays.
#[derive(Deserialize, JsonSchema)]
struct WebhookPatch {
    /// As at creation.
    #[schemars(length(min = 1, max = 2048))]
    url: Option<String>,
    /// As at creation.
    events: Option<Vec<String>>,
    /// As at creation; true also revives one that was switched off because it could not be reached.
    active: Option<bool>,
    /// As at creation; `******` leaves it as it is, an empty one removes it.
    secret: Option<Secret>,
}

/// Which event to make up.
#[derive(Deserialize, JsonSchema)]
struct TestRequest {
    /// Its name.
    event: String,
}

/// What the receiver said.
#[derive(Serialize, JsonSchema)]
struct TestResult {
    succeed: bool,
    /// HTTP status of its answer; 0 where none came.
    status: u16,
    message: String,
}

/// An event on its way to a webhook.
#[derive(Serialize, JsonSchema)]
struct DeliveryBody {
    /// The same at every attempt; sent as `X-Fivetran-Delivery-Id`.
    id: String,
    event: String,
    occurred_at: Timestamp,
    connection_id: String,
    /// Run, if one is concerned.
    sync_id: Option<String>,
    /// `pending`, `delivered` or `failed`.
    state: String,
    attempts: u32,
    last_attempt_at: Option<Timestamp>,
    next_attempt_at: Option<Timestamp>,
    /// HTTP status of the last answer.
    response_status: Option<u16>,
    /// Why the last attempt failed.
    error: Option<String>,
}

impl From<Delivery> for DeliveryBody {
    fn from(delivery: Delivery) -> Self {
        Self {
            id: delivery.id,
            event: delivery.event,
            occurred_at: Timestamp(delivery.occurred_at),
            connection_id: delivery.connection_id,
            sync_id: delivery.run_id,
            state: delivery.state,
            attempts: delivery.attempts,
            last_attempt_at: delivery.last_attempt_at.map(Timestamp),
            next_attempt_at: delivery.next_attempt_at.map(Timestamp),
            response_status: delivery.response_status,
            error: delivery.error,
        }
    }
}

async fn found(services: &Services, call: &Call<'_>) -> ApiResult<Receiver> {
    let id = call.part("webhook_id");
    services.control.receiver(id, true).await?.ok_or_else(|| ApiError::not_found("Webhook", id))
}

fn checked_url(services: &Services, url: &str) -> ApiResult<String> {
    Ok(receiver_url(url, "url", is_local(services))?.to_string())
}

fn checked_events(events: &[String]) -> ApiResult<()> {
    let known = || format!("Use some of: {}", WEBHOOK_EVENTS.join(", "));
    if events.is_empty() {
        return Err(Error::invalid("A webhook needs at least one event")
            .field("events")
            .remedy(known())
            .into());
    }
    match events.iter().position(|event| !WEBHOOK_EVENTS.contains(&event.as_str())) {
        Some(at) => Err(Error::invalid("There is no such event")
            .field(format!("events[{at}]"))
            .remedy(known())
            .into()),
        None => Ok(()),
    }
}

/// Both halves of a configuration: in clear for the vault, masked for answers.
fn config(url: &str, secret: Option<&Secret>) -> (Value, Value) {
    match secret.filter(|secret| !secret.is_empty()) {
        Some(secret) => {
            (json!({ "url": url, "secret": secret.expose() }), json!({ "url": url, "secret": MASK }))
        }
        None => (json!({ "url": url }), json!({ "url": url })),
    }
}

/// Posts `test_event`; a receiver that does not take it is refused.
async fn probe(services: &Services, config: &Value) -> ApiResult<()> {
    let event = test_event("test_event", services.ports.clock.now_micros());
    match post(&services.ports, WEBHOOK, config, &[event]).await.error {
        None => Ok(()),
        Some(error) => Err(Error::invalid(format!("The webhook could not be delivered to: {error}"))
            .field("url")
            .remedy("Make it answer a POST with a status of 2xx, or create it with active false")
            .into()),
    }
}

async fn create(
    services: &Services,
    call: &Call<'_>,
    group_id: Option<&str>,
    new: NewWebhook,
) -> ApiResult<Receiver> {
    let url = checked_url(services, &new.url)?;
    checked_events(&new.events)?;
    if new.secret.as_ref().is_some_and(|secret| secret.expose() == MASK) {
        return Err(Error::invalid("The mask ****** stands for a stored secret, and none is stored")
            .field("secret")
            .remedy("Send the secret itself")
            .into());
    }
    let (config, config_public) = config(&url, new.secret.as_ref());
    let active = new.active.unwrap_or(true);
    if active {
        probe(services, &config).await?;
    }
    let receiver = NewReceiver {
        id: services.control.new_id()?,
        account_id: call.caller.account_id.clone(),
        group_id: group_id.map(str::to_owned),
        service: WEBHOOK.to_owned(),
        config,
        config_public,
        events: new.events,
        active,
        created_by: actor(call),
    };
    services.control.create_receiver(&receiver).await?;
    let stored = services.control.receiver(&receiver.id, true).await?;
    stored.ok_or_else(|| ApiError::not_found("Webhook", &receiver.id))
}

async fn create_for_account(
    services: &Services,
    call: &Call<'_>,
    new: NewWebhook,
) -> ApiResult<Answer<WebhookBody>> {
    let created = create(services, call, None, new).await?;
    Answer::new("Account webhook has been created", &WebhookBody::from(created))
}

async fn create_for_group(
    services: &Services,
    call: &Call<'_>,
    new: NewWebhook,
) -> ApiResult<Answer<WebhookBody>> {
    let group_id = call.part("group_id");
    if services.control.group(group_id).await?.is_none() {
        return Err(ApiError::not_found("Group", group_id));
    }
    let created = create(services, call, Some(group_id), new).await?;
    Answer::new("Group webhook has been created", &WebhookBody::from(created))
}

async fn list(services: &Services, call: &Call<'_>) -> ApiResult<Answer<Items<WebhookBody>>> {
    let listing = services.control.receivers(true, &call.scope(Resource::Webhook), &call.page()?).await?;
    Answer::new("Webhooks retrieved successfully", &Items::of(listing, WebhookBody::from))
}

async fn get(services: &Services, call: &Call<'_>) -> ApiResult<Answer<WebhookBody>> {
    let webhook = found(services, call).await?;
    Answer::new("Webhook details retrieved successfully", &WebhookBody::from(webhook))
}

async fn edit(services: &Services, call: &Call<'_>, patch: WebhookPatch) -> ApiResult<Answer<WebhookBody>> {
    for _ in 0..EDIT_ATTEMPTS {
        let mut webhook = found(services, call).await?;
        let stored = webhook.config.open()?;
        let text = |field: &str| stored.get(field).and_then(Value::as_str).unwrap_or_default();
        let url = match &patch.url {
            Some(url) => checked_url(services, url)?,
            None => text("url").to_owned(),
        };
        let kept = Secret::new(text("secret"));
        let secret = patch.secret.as_ref().filter(|secret| secret.expose() != MASK).unwrap_or(&kept);
        if let Some(events) = &patch.events {
            checked_events(events)?;
            webhook.events.clone_from(events);
        }
        let was_active = webhook.active;
        webhook.active = patch.active.unwrap_or(was_active);
        let (config, config_public) = config(&url, Some(secret));
        webhook.config_public = config_public;
        if webhook.active && (!was_active || url != text("url")) {
            probe(services, &config).await?;
        }
        if services.control.save_receiver(&webhook, Some(&config)).await? {
            let saved = WebhookBody::from(found(services, call).await?);
            return Answer::new("Webhook has been updated", &saved);
        }
    }
    Err(ApiError::conflict("The webhook is being edited by others. Try again"))
}

async fn delete(services: &Services, call: &Call<'_>) -> ApiResult<Answer<NoData>> {
    let webhook = found(services, call).await?;
    services.control.delete_receiver(&webhook.id).await?;
    Ok(Answer::done(format!("Webhook with id '{}' has been deleted", webhook.id)))
}

async fn test(services: &Services, call: &Call<'_>, body: TestRequest) -> ApiResult<Answer<TestResult>> {
    let webhook = found(services, call).await?;
    if body.event != "test_event" {
        checked_events(std::slice::from_ref(&body.event))
            .map_err(|error| ApiError { message: error.message.replace("events[0]", "event"), ..error })?;
    }
    let event = test_event(&body.event, services.ports.clock.now_micros());
    let sent = post(&services.ports, WEBHOOK, &webhook.config.open()?, &[event]).await;
    let result = TestResult {
        succeed: sent.error.is_none(),
        status: sent.status.unwrap_or(0),
        message: sent.error.unwrap_or_else(|| "The receiver took the event".to_owned()),
    };
    Answer::new("Webhook test completed successfully", &result)
}

async fn deliveries(services: &Services, call: &Call<'_>) -> ApiResult<Answer<Items<DeliveryBody>>> {
    let webhook = found(services, call).await?;
    let listing = services.control.deliveries(&webhook.id, &call.page()?).await?;
    Answer::new("Deliveries retrieved successfully", &Items::of(listing, DeliveryBody::from))
}
