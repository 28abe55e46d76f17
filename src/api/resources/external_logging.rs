//! External log services: everything that is logged, posted to somebody else's log. A group has one at most, whose id is
//! the group's; the account has one at most, whose id is the account's.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{actor, is_local};
use crate::api::access::Needs;
use crate::api::cursor::Items;
use crate::api::error::{ApiError, ApiResult};
use crate::api::request::Call;
use crate::api::response::{Answer, NoData};
use crate::api::router::{Method, PAGED, Route, handler};
use crate::api::{Services, config};
use crate::connectors::{SetupTest, SetupTestStatus};
use crate::control::ObjectKind;
use crate::control::receivers::{NewReceiver, Receiver};
use crate::core::Error;
use crate::core::access::{Access, Resource};
use crate::delivery::{log_service, post, test_event};

pub(crate) fn routes() -> Vec<Route> {
    const LIST: &str = "/v1/external-logging";
    const ACCOUNT: &str = "/v1/external-logging/account";
    const ACCOUNT_TEST: &str = "/v1/external-logging/account/test";
    const ONE: &str = "/v1/external-logging/{log_id}";
    const TEST: &str = "/v1/external-logging/{log_id}/test";
    const SERVICES: &str = "Events are posted as they happen, those of a moment together, and tried again for 24 hours. \
        Services that take logs over HTTP are supported: datadog_log, new_relic_log, splunkLog, grafana_loki and \
        azure_monitor_log.";
    let mut routes = vec![
        Route::new(
            Method::Get,
            LIST,
            "List external log services",
            Needs::anywhere(Resource::Destination, Access::Read),
            handler!(list => Items<LogBody>),
        )
        .query(PAGED),
        Route::new(
            Method::Post,
            LIST,
            "Set a group's log service",
            Needs::in_body(Resource::Destination, Access::Manage, &[(ObjectKind::Group, "/group_id")]),
            handler!(create_for_group, NewLog => LogDetails),
        )
        .status(201)
        .details(SERVICES),
        Route::new(
            Method::Post,
            ACCOUNT,
            "Set the account's log service",
            Needs::throughout(Resource::Account, Access::Manage),
            handler!(create_for_account, NewLog => LogDetails),
        )
        .status(201)
        .details(SERVICES),
    ];
    let of_account = |access| Needs::throughout(Resource::Account, access);
    let of_log = |access| Needs::on(Resource::Destination, access, "log_id");
    for (one, test, reads, changes) in [
        (ACCOUNT, ACCOUNT_TEST, of_account(Access::Read), of_account(Access::Manage)),
        (ONE, TEST, of_log(Access::Read), of_log(Access::Manage)),
    ] {
        routes.extend([
            Route::new(Method::Get, one, "Read a log service", reads, handler!(get => LogDetails)),
            Route::new(
                Method::Patch,
                one,
                "Change a log service",
                changes,
                handler!(edit, LogPatch => LogDetails),
            ),
            Route::new(Method::Delete, one, "Delete a log service", changes, handler!(delete)),
            Route::new(Method::Post, test, "Send a test event", changes, handler!(self::test => TestBody)),
        ]);
    }
    routes
}

/// A log service.
#[derive(Serialize, JsonSchema)]
struct LogBody {
    id: String,
    service: String,
    enabled: bool,
}

/// A log service with its configuration, secrets masked.
#[derive(Serialize, JsonSchema)]
struct LogDetails {
    id: String,
    service: String,
    enabled: bool,
    config: Map<String, Value>,
}

/// A log service to create.
#[derive(Deserialize, JsonSchema)]
struct NewLog {
    /// Group whose events it gets; not for the account's.
    group_id: Option<String>,
    /// Which log service.
    service: String,
    /// Whether it is sent to; true where absent.
    enabled: Option<bool>,
    /// The service's configuration.
    config: Option<Map<String, Value>>,
}

/// Changes of a log service. What is left out stays.
#[derive(Deserialize, JsonSchema)]
struct LogPatch {
    /// As at creation.
    enabled: Option<bool>,
    /// Fields to change; `null` removes one, `******` leaves a secret as it is.
    config: Option<Map<String, Value>>,
}

/// What a test event came to.
#[derive(Serialize, JsonSchema)]
struct TestBody {
    setup_tests: Vec<SetupTest>,
}

impl From<Receiver> for LogBody {
    fn from(log: Receiver) -> Self {
        Self { id: log.id, service: log.service, enabled: log.active }
    }
}

impl From<Receiver> for LogDetails {
    fn from(log: Receiver) -> Self {
        let config = match log.config_public {
            Value::Object(fields) => fields,
            _ => Map::new(),
        };
        Self { id: log.id, service: log.service, enabled: log.active, config }
    }
}

/// The id in the path; the account's paths have none.
fn id_of<'a>(call: &'a Call<'_>) -> &'a str {
    match call.part("log_id") {
        "" => &call.caller.account_id,
        id => id,
    }
}

async fn found(services: &Services, call: &Call<'_>) -> ApiResult<Receiver> {
    let id = id_of(call);
    services.control.receiver(id, false).await?.ok_or_else(|| ApiError::not_found("LogService", id))
}

async fn create(
    services: &Services,
    call: &Call<'_>,
    group_id: Option<String>,
    new: NewLog,
) -> ApiResult<LogDetails> {
    let service = log_service(&new.service)?;
    let config = config::check(&new.config.unwrap_or_default(), None, &service.schema())?;
    service.check(&config.clear, is_local(services))?;
    let id = match &group_id {
        Some(id) => id.clone(),
        None => call.caller.account_id.clone(),
    };
    let receiver = NewReceiver {
        id: id.clone(),
        account_id: call.caller.account_id.clone(),
        group_id,
        service: service.id.to_owned(),
        config: config.clear,
        config_public: config.public,
        events: Vec::new(),
        active: new.enabled.unwrap_or(true),
        created_by: actor(call),
    };
    if !services.control.create_receiver(&receiver).await? {
        return Err(ApiError::conflict(format!(
            "There is a log service with id '{id}' already. Change or delete it"
        )));
    }
    let stored = services.control.receiver(&id, false).await?;
    stored.map(LogDetails::from).ok_or_else(|| ApiError::not_found("LogService", &id))
}

async fn create_for_group(
    services: &Services,
    call: &Call<'_>,
    new: NewLog,
) -> ApiResult<Answer<LogDetails>> {
    let group_id = new.group_id.clone().filter(|id| !id.is_empty()).ok_or_else(|| {
        Error::invalid("This is required")
            .field("group_id")
            .remedy("Add it, or set the account's log service at /v1/external-logging/account")
    })?;
    if services.control.group(&group_id).await?.is_none() {
        return Err(ApiError::not_found("Group", &group_id));
    }
    let created = create(services, call, Some(group_id), new).await?;
    Answer::new("External logging service has been added", &created)
}

async fn create_for_account(
    services: &Services,
    call: &Call<'_>,
    new: NewLog,
) -> ApiResult<Answer<LogDetails>> {
    let created = create(services, call, None, new).await?;
    Answer::new("Account external logging service has been added", &created)
}

async fn list(services: &Services, call: &Call<'_>) -> ApiResult<Answer<Items<LogBody>>> {
    let listing =
        services.control.receivers(false, &call.scope(Resource::Destination), &call.page()?).await?;
    Answer::new("External logging services retrieved successfully", &Items::of(listing, LogBody::from))
}

async fn get(services: &Services, call: &Call<'_>) -> ApiResult<Answer<LogDetails>> {
    let log = found(services, call).await?;
    Answer::new("External logging service details retrieved successfully", &LogDetails::from(log))
}

async fn edit(services: &Services, call: &Call<'_>, patch: LogPatch) -> ApiResult<Answer<LogDetails>> {
    let mut log = found(services, call).await?;
    let service = log_service(&log.service)?;
    let config = match &patch.config {
        Some(sent) => Some(config::check(sent, Some(&log.config.open()?), &service.schema())?),
        None => None,
    };
    if let Some(config) = &config {
        service.check(&config.clear, is_local(services))?;
        log.config_public = config.public.clone();
    }
    log.active = patch.enabled.unwrap_or(log.active);
    if !services.control.save_receiver(&log, config.as_ref().map(|config| &config.clear)).await? {
        return Err(ApiError::conflict("The log service is being edited by others. Try again"));
    }
    let saved = found(services, call).await?;
    Answer::new("External logging service has been updated", &LogDetails::from(saved))
}

async fn delete(services: &Services, call: &Call<'_>) -> ApiResult<Answer<NoData>> {
    let log = found(services, call).await?;
    services.control.delete_receiver(&log.id).await?;
    Ok(Answer::done(format!("External logging service with id '{}' has been deleted", log.id)))
}

async fn test(services: &Services, call: &Call<'_>) -> ApiResult<Answer<TestBody>> {
    let log = found(services, call).await?;
    let event = test_event("test_event", services.ports.clock.now_micros());
    let sent = post(&services.ports, &log.service, &log.config.open()?, &[event]).await;
    let status = if sent.error.is_none() { SetupTestStatus::Passed } else { SetupTestStatus::Failed };
    let test = SetupTest::new("Sending a test event", status, sent.error.unwrap_or_default());
    Answer::new("Setup tests have been completed", &TestBody { setup_tests: vec![test] })
}
