//! Destinations.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::connections::asks_for_something;
use crate::api::access::Needs;
use crate::api::config::{self, CheckedConfig};
use crate::api::cursor::Items;
use crate::api::error::{ApiError, ApiResult};
use crate::api::request::Call;
use crate::api::response::{Answer, NoData};
use crate::api::router::{Method, PAGED, Route, handler};
use crate::api::{Services, setup};
use crate::connectors::SetupTest;
use crate::control::ObjectKind;
use crate::control::destinations::NewDestination;
use crate::control::{DestinationRecord, SetupState};
use crate::core::access::{Access, Resource};
use crate::core::fault_point::FaultPoint;
use crate::core::schedule::Zone;
use crate::core::{Error, Result};

/// How often an edit is tried again when another edit came between reading and saving.
const EDIT_ATTEMPTS: u32 = 5;

/// Most runs that an edit starts over itself: a dozen calls each, of the thousand an invocation may make.
const MOST_RESTARTED: u32 = 50;

pub(crate) fn routes() -> Vec<Route> {
    const LIST: &str = "/v1/destinations";
    const ONE: &str = "/v1/destinations/{destination_id}";
    const TEST: &str = "/v1/destinations/{destination_id}/test";
    vec![
        Route::new(Method::Get, LIST, "List destinations", Needs::anywhere(Resource::Destination, Access::Read), handler!(list => Items<DestinationBody>)).query(PAGED),
        Route::new(Method::Post, LIST, "Create a group's destination", Needs::in_body(Resource::Destination, Access::Create, &[(ObjectKind::Group, "/group_id")]), handler!(create, NewDestinationBody => DestinationBody))
            .status(201)
            .details(
                "An invalid configuration is refused and nothing is created. A valid one whose setup tests fail is \
                 created with setup_status INCOMPLETE.",
            ),
        Route::new(Method::Get, ONE, "Read a destination", Needs::on(Resource::Destination, Access::Read, "destination_id"), handler!(get => DestinationBody)),
        Route::new(Method::Patch, ONE, "Change a destination", Needs::on(Resource::Destination, Access::Edit, "destination_id"), handler!(edit, DestinationPatch => DestinationBody)),
        Route::new(Method::Delete, ONE, "Delete a destination without connections", Needs::on(Resource::Destination, Access::Manage, "destination_id"), handler!(delete))
            .details("The data at the destination is not touched."),
        Route::new(Method::Post, TEST, "Run setup tests", Needs::on(Resource::Destination, Access::Edit, "destination_id"), handler!(test => DestinationBody)),
    ]
}

/// A destination. Secrets in `config` are masked.
#[derive(Serialize, JsonSchema)]
struct DestinationBody {
    id: String,
    group_id: String,
    service: String,
    region: String,
    time_zone_offset: String,
    daylight_saving_time_enabled: bool,
    setup_status: SetupStatus,
    networking_method: &'static str,
    private_link_id: Option<String>,
    proxy_agent_id: Option<String>,
    hybrid_deployment_agent_id: Option<String>,
    external_secrets_manager_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    setup_tests: Option<Vec<SetupTest>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    config: Option<Map<String, Value>>,
}

/// What the setup tests concluded; upper case here and lower case on connections, as Fivetran has it.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum SetupStatus {
    Incomplete,
    Connected,
    Broken,
}

impl DestinationBody {
    fn short(destination: DestinationRecord) -> Self {
        Self { setup_tests: None, config: None, ..Self::full(destination) }
    }

    fn full(destination: DestinationRecord) -> Self {
        Self {
            group_id: destination.id.clone(),
            id: destination.id,
            service: destination.service,
            region: destination.region,
            time_zone_offset: destination.time_zone_offset,
            daylight_saving_time_enabled: destination.daylight_saving_time_enabled,
            setup_status: match destination.setup_status {
                SetupState::Incomplete => SetupStatus::Incomplete,
                SetupState::Connected => SetupStatus::Connected,
                SetupState::Broken => SetupStatus::Broken,
            },
            networking_method: "Directly",
            private_link_id: None,
            proxy_agent_id: None,
            hybrid_deployment_agent_id: None,
            external_secrets_manager_id: None,
            setup_tests: Some(destination.setup_tests),
            config: match destination.config_public {
                Value::Object(fields) => Some(fields),
                _ => Some(Map::new()),
            },
        }
    }
}

/// A destination to create.
#[derive(Deserialize, JsonSchema)]
struct NewDestinationBody {
    /// Group it belongs to, and whose id it gets.
    group_id: String,
    /// Destination type, for example `d1` or `r2`.
    service: String,
    /// Fivetran's region label. It is kept and answered; where things run is Cloudflare's choice.
    #[schemars(length(min = 1, max = 64))]
    region: Option<String>,
    /// Whole hours from UTC, `-11` to `+12`; `0` where absent. `daily_sync_time` is in it.
    time_zone_offset: Option<String>,
    /// Whether clocks are an hour ahead of the offset while the US has daylight saving time, from the second Sunday of
    /// March to the first Sunday of November. No other rule is known: leave it off elsewhere. False where absent.
    daylight_saving_time_enabled: Option<bool>,
    /// Whether to run the setup tests; true where absent.
    run_setup_tests: Option<bool>,
    /// The destination's configuration.
    config: Option<Map<String, Value>>,
    #[serde(flatten)]
    unsupported: Unsupported,
}

/// Changes of a destination. What is left out stays.
#[derive(Deserialize, JsonSchema)]
struct DestinationPatch {
    /// As at creation.
    #[schemars(length(min = 1, max = 64))]
    region: Option<String>,
    /// As at creation.
    time_zone_offset: Option<String>,
    /// As at creation.
    daylight_saving_time_enabled: Option<bool>,
    /// Whether to run the setup tests; where absent, only when `config` changes.
    run_setup_tests: Option<bool>,
    /// Fields to change; `null` removes one, `******` leaves a secret as it is.
    config: Option<Map<String, Value>>,
    #[serde(flatten)]
    unsupported: Unsupported,
}

/// Fields of Fivetran that need machinery this product does not have.
#[derive(Deserialize, JsonSchema)]
struct Unsupported {
    /// Only `Directly`.
    networking_method: Option<String>,
    /// Not supported: leave it out.
    hybrid_deployment_agent_id: Option<String>,
    /// Not supported: leave it out.
    private_link_id: Option<String>,
    /// Not supported: leave it out.
    proxy_agent_id: Option<String>,
    /// Not supported: leave it out.
    external_secrets_manager_id: Option<String>,
    /// Not supported: leave it out.
    external_secrets_keys_config: Option<Map<String, Value>>,
}

impl Unsupported {
    fn refuse(&self) -> ApiResult<()> {
        if self.networking_method.as_deref().is_some_and(|method| method != "Directly") {
            return Err(ApiError::unsupported("networking_method", "Use Directly"));
        }
        if asks_for_something(self.external_secrets_keys_config.as_ref()) {
            return Err(ApiError::unsupported("external_secrets_keys_config", "Leave it out"));
        }
        let fields = [
            ("hybrid_deployment_agent_id", &self.hybrid_deployment_agent_id),
            ("private_link_id", &self.private_link_id),
            ("proxy_agent_id", &self.proxy_agent_id),
            ("external_secrets_manager_id", &self.external_secrets_manager_id),
        ];
        match fields.iter().find(|(_, value)| value.as_deref().is_some_and(|value| !value.is_empty())) {
            Some((field, _)) => Err(ApiError::unsupported(field, "Leave it out")),
            None => Ok(()),
        }
    }
}

async fn found(services: &Services, id: &str) -> ApiResult<DestinationRecord> {
    services.control.destination(id).await?.ok_or_else(|| ApiError::not_found("Destination", id))
}

/// Clients send Fivetran's labels in lower case, too, and know them only in upper case. Others are their sender's own.
fn normal_region(text: &str) -> String {
    let label = text.to_ascii_uppercase();
    if ["GCP_", "AWS_", "AZURE_"].iter().any(|cloud| label.starts_with(cloud)) {
        label
    } else {
        text.to_owned()
    }
}

/// `+2`, `2` and `02` are one offset, written `+2`.
fn normal_offset(text: &str) -> Result<String> {
    Ok(match Zone::parse(text.trim(), false)?.utc_offset_minutes / 60 {
        0 => "0".to_owned(),
        hours => format!("{hours:+}"),
    })
}

fn checked(
    services: &Services,
    service: &str,
    sent: &Map<String, Value>,
    stored: Option<&Value>,
) -> ApiResult<CheckedConfig> {
    let schema = (setup::destination(services, service)?.config_schema)().to_value();
    Ok(config::check(sent, stored, &schema)?)
}

async fn list(services: &Services, call: &Call<'_>) -> ApiResult<Answer<Items<DestinationBody>>> {
    let listing = services.control.destinations(&call.scope(Resource::Destination), &call.page()?).await?;
    Answer::new("Destinations list retrieved successfully", &Items::of(listing, DestinationBody::short))
}

async fn get(services: &Services, call: &Call<'_>) -> ApiResult<Answer<DestinationBody>> {
    let destination = found(services, call.part("destination_id")).await?;
    Answer::new("Destination details retrieved successfully", &DestinationBody::full(destination))
}

async fn create(
    services: &Services,
    _: &Call<'_>,
    new: NewDestinationBody,
) -> ApiResult<Answer<DestinationBody>> {
    new.unsupported.refuse()?;
    setup::destination(services, &new.service)?;
    let id = new.group_id;
    if services.control.group(&id).await?.is_none() {
        return Err(ApiError::not_found("Group", &id));
    }
    let time_zone_offset = normal_offset(new.time_zone_offset.as_deref().unwrap_or("0"))?;
    let config = checked(services, &new.service, &new.config.unwrap_or_default(), None)?;
    let opened = setup::open_destination(services, &new.service, &config.clear)?;
    let mut setup_status = SetupState::Incomplete;
    let mut setup_tests = Vec::new();
    if new.run_setup_tests.unwrap_or(true) {
        setup_tests = opened.check().await;
        setup_status = setup::concluded(&setup_tests, setup_status);
    }
    let created = NewDestination {
        id: id.clone(),
        service: new.service,
        config: config.clear,
        config_public: config.public,
        region: normal_region(new.region.as_deref().unwrap_or("GCP_US_EAST4")),
        time_zone_offset,
        daylight_saving_time_enabled: new.daylight_saving_time_enabled.unwrap_or(false),
        setup_status,
        setup_tests,
    };
    if !services.control.create_destination(&created).await? {
        return Err(ApiError::conflict(format!(
            "group_id: Group with id '{id}' has a destination already. Change it, or create another group"
        )));
    }
    let destination = found(services, &id).await?;
    Answer::new("Destination has been created", &DestinationBody::full(destination))
}

async fn edit(
    services: &Services,
    call: &Call<'_>,
    patch: DestinationPatch,
) -> ApiResult<Answer<DestinationBody>> {
    patch.unsupported.refuse()?;
    let id = call.part("destination_id");
    for _ in 0..EDIT_ATTEMPTS {
        let mut destination = found(services, id).await?;
        if let Some(region) = &patch.region {
            destination.region = normal_region(region);
        }
        if let Some(offset) = &patch.time_zone_offset {
            destination.time_zone_offset = normal_offset(offset)?;
        }
        if let Some(enabled) = patch.daylight_saving_time_enabled {
            destination.daylight_saving_time_enabled = enabled;
        }
        let stored = destination.config.open()?;
        let config = match &patch.config {
            Some(sent) => Some(checked(services, &destination.service, sent, Some(&stored))?),
            None => None,
        };
        let clear = config.as_ref().map_or(&stored, |config| &config.clear);
        let opened = setup::open_destination(services, &destination.service, clear)?;
        if patch.run_setup_tests.unwrap_or(config.is_some()) {
            destination.setup_tests = opened.check().await;
            destination.setup_status = setup::concluded(&destination.setup_tests, destination.setup_status);
        }
        if let Some(config) = &config {
            destination.config_public = config.public.clone();
        }
        let clear = config.as_ref().map(|config| &config.clear);
        if services.control.save_destination(&destination, clear).await? {
            if clear.is_some() {
                services.ports.reach(FaultPoint::AfterEdit, id).await?;
                restart_live(services, id).await?;
            }
            let saved = found(services, id).await?;
            return Answer::new("Destination has been updated", &DestinationBody::full(saved));
        }
    }
    Err(ApiError::conflict(format!("Destination with id '{id}' is being edited by others. Try again")))
}

/// Starts over what is running into a destination that may be another place now. Runs beyond the most that a request may tell
/// find out by themselves, and go on by the clock.
async fn restart_live(services: &Services, id: &str) -> ApiResult<()> {
    for connection in services.control.syncing_connections(id, MOST_RESTARTED).await? {
        services.syncs.restart(&connection).await?;
    }
    Ok(())
}

async fn delete(services: &Services, call: &Call<'_>) -> ApiResult<Answer<NoData>> {
    let id = call.part("destination_id");
    found(services, id).await?;
    if !services.control.delete_destination(id).await? {
        return Err(ApiError::illegal_state(format!(
            "Destination with id '{id}' still has connections. Delete them first"
        )));
    }
    services.syncs.forget_destination(id).await?;
    Ok(Answer::done(format!("Destination with id '{id}' has been deleted")))
}

async fn test(services: &Services, call: &Call<'_>) -> ApiResult<Answer<DestinationBody>> {
    let id = call.part("destination_id");
    for _ in 0..EDIT_ATTEMPTS {
        let mut destination = found(services, id).await?;
        let opened = setup::open_destination(services, &destination.service, &destination.config.open()?)?;
        destination.setup_tests = opened.check().await;
        destination.setup_status = setup::concluded(&destination.setup_tests, destination.setup_status);
        if services.control.save_destination(&destination, None).await? {
            return Answer::new("Setup tests have been completed", &DestinationBody::full(destination));
        }
    }
    Err(Error::new(crate::core::ErrorKind::Conflict, "The destination is being edited by others")
        .remedy("Try again")
        .into())
}
