//! Creating a connection: everything is checked before anything is written.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::body::ConnectionBody;
use super::events;
use super::schedule::ScheduleField;
use crate::api::config;
use crate::api::error::{ApiError, ApiResult};
use crate::api::request::Call;
use crate::api::resources::{actor, certificates};
use crate::api::response::Answer;
use crate::api::{Services, setup};
use crate::connectors::SyncMode;
use crate::control::{NewConnection, SetupState};
use crate::core::access::Place;
use crate::core::delay::Sensitivity;
use crate::core::roles::RoleScope;
use crate::core::schedule::{Schedule, ScheduleKind, Zone, next_due};
use crate::core::settings::SchemaChangePolicy;
use crate::core::{Error, Result};

/// Fivetran's default of `sync_frequency`, minutes.
const DEFAULT_FREQUENCY: u32 = 360;

/// A connection to create.
#[derive(Deserialize, JsonSchema)]
pub(crate) struct NewConnectionBody {
    /// Group whose destination it feeds.
    group_id: String,
    /// Connector, for example `postgres`.
    service: String,
    /// Whether the clock is kept from starting it; false where absent.
    paused: Option<bool>,
    /// Whether to run the setup tests; true where absent.
    run_setup_tests: Option<bool>,
    /// Whether to approve the certificate that the source shows now, if no public authority vouches for it; false where absent.
    trust_certificates: Option<bool>,
    /// The connector's configuration; its schema is at `/v1/metadata/connector-types/{service}`.
    config: Option<Map<String, Value>>,
    /// Credentials of connectors that sign in by OAuth; none does yet.
    auth: Option<Map<String, Value>>,
    /// What happens to new schemas, tables and columns; `ALLOW_ALL` where absent.
    schema_change_handling: Option<SchemaChangePolicy>,
    #[serde(flatten)]
    pub(super) timing: Timing,
    #[serde(flatten)]
    pub(super) extras: Extras,
}

/// When and how it syncs.
#[derive(Deserialize, JsonSchema)]
pub(super) struct Timing {
    /// Minutes between syncs: 1, 5, 15, 30, 60, 120, 180, 360 (default), 480, 720 or 1440.
    pub(super) sync_frequency: Option<u32>,
    /// `HH:00` in the destination's time zone; only with a frequency of 1440.
    pub(super) daily_sync_time: Option<String>,
    /// `manual`: only on request.
    pub(super) schedule_type: Option<ScheduleKind>,
    /// Instead of the three fields above: Fivetran's object, or words. Sent along with fields that say otherwise, it must
    /// be one of the two that asks for a change.
    pub(super) schedule: Option<ScheduleField>,
    /// `full`: everything at every sync. `incremental` (default): everything once, then changes. Ours, not Fivetran's.
    pub(super) sync_mode: Option<SyncMode>,
}

/// Fields that the engine does not read, and fields of Fivetran that need machinery this product does not have.
#[derive(Deserialize, JsonSchema)]
pub(super) struct Extras {
    /// Kept and answered.
    pause_after_trial: Option<bool>,
    /// How late data may be before `status.update_state` says `delayed`; `NORMAL` where absent.
    data_delay_sensitivity: Option<Sensitivity>,
    /// Minutes that data may be late; only with the sensitivity `CUSTOM`.
    #[schemars(range(min = 0))]
    data_delay_threshold: Option<u32>,
    /// Only `Directly`.
    networking_method: Option<String>,
    /// Only `FIVETRAN_NAMING`.
    destination_schema_names: Option<String>,
    /// Only `ready`: no sync waits here for columns to be masked first.
    schema_status: Option<String>,
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
    /// Not supported: leave it out.
    destination_configuration: Option<Map<String, Value>>,
    /// Not supported: leave it out.
    connect_card_config: Option<Map<String, Value>>,
}

impl Extras {
    /// Refuses what cannot be honoured and keeps the rest.
    pub(super) fn apply(&self, extra: &mut Map<String, Value>) -> ApiResult<()> {
        let only = [
            ("networking_method", &self.networking_method, "Directly"),
            ("destination_schema_names", &self.destination_schema_names, "FIVETRAN_NAMING"),
            ("schema_status", &self.schema_status, "ready"),
            ("hybrid_deployment_agent_id", &self.hybrid_deployment_agent_id, ""),
            ("private_link_id", &self.private_link_id, ""),
            ("proxy_agent_id", &self.proxy_agent_id, ""),
            ("external_secrets_manager_id", &self.external_secrets_manager_id, ""),
        ];
        for (field, value, allowed) in only {
            if value.as_deref().is_some_and(|value| !value.is_empty() && value != allowed) {
                let remedy =
                    if allowed.is_empty() { "Leave it out".to_owned() } else { format!("Use {allowed}") };
                return Err(ApiError::unsupported(field, &remedy));
            }
        }
        let objects = [
            ("external_secrets_keys_config", &self.external_secrets_keys_config),
            ("destination_configuration", &self.destination_configuration),
            ("connect_card_config", &self.connect_card_config),
        ];
        if let Some((field, _)) = objects.iter().find(|(_, object)| asks_for_something(object.as_ref())) {
            return Err(ApiError::unsupported(field, "Leave it out"));
        }
        if let Some(pause) = self.pause_after_trial {
            extra.insert("pause_after_trial".to_owned(), pause.into());
        }
        if let Some(sensitivity) = self.data_delay_sensitivity {
            let word = serde_json::to_value(sensitivity).map_err(Error::from)?;
            extra.insert("data_delay_sensitivity".to_owned(), word);
        }
        if let Some(threshold) = self.data_delay_threshold {
            extra.insert("data_delay_threshold".to_owned(), threshold.into());
        }
        Ok(())
    }
}

/// Clients send `null` and `{}` for what was not set.
pub(crate) fn asks_for_something(object: Option<&Map<String, Value>>) -> bool {
    object.is_some_and(|object| object.values().any(|value| !value.is_null()))
}

impl Timing {
    /// The schedule that these fields make of the present one.
    pub(super) fn schedule(&self, present: Option<&Schedule>, zone: Zone) -> Result<Schedule> {
        let fields =
            self.sync_frequency.is_some() || self.daily_sync_time.is_some() || self.schedule_type.is_some();
        let twice = || {
            Error::invalid("The schedule is given twice")
                .field("schedule")
                .remedy("Send either schedule, or sync_frequency, daily_sync_time and schedule_type")
        };
        match &self.schedule {
            None => self.by_fields(present, zone),
            Some(ScheduleField::Phrase(_)) if fields => Err(twice()),
            Some(ScheduleField::Phrase(phrase)) => Schedule::from_phrase(phrase, zone),
            Some(ScheduleField::Object(object)) => {
                let wanted = object.read(present, DEFAULT_FREQUENCY, zone)?;
                let numbers = self.sync_frequency.is_some() || self.daily_sync_time.is_some();
                if !numbers && self.schedule_type.is_none_or(|kind| kind == wanted.kind) {
                    return Ok(wanted);
                }
                // Clients send back a connection as they read it, with one of the two changed.
                let by_fields = self.by_fields(present, zone)?;
                if wanted == by_fields || present == Some(&by_fields) {
                    Ok(wanted)
                } else if present == Some(&wanted) {
                    Ok(by_fields)
                } else {
                    Err(twice())
                }
            }
        }
    }

    fn by_fields(&self, present: Option<&Schedule>, zone: Zone) -> Result<Schedule> {
        let kind = self.schedule_type.or(present.map(|present| present.kind)).unwrap_or_default();
        let frequency = self.sync_frequency.or(present.map(|present| present.frequency_minutes));
        let kept_time = present
            .filter(|present| {
                self.sync_frequency.is_none_or(|frequency| frequency == present.frequency_minutes)
            })
            .and_then(Schedule::daily_sync_time_text);
        let time = self.daily_sync_time.clone().filter(|time| !time.is_empty()).or(kept_time);
        Schedule::new(kind, frequency.unwrap_or(DEFAULT_FREQUENCY), time.as_deref(), zone)
    }
}

pub(super) fn refuse_auth(auth: Option<&Map<String, Value>>) -> ApiResult<()> {
    match auth {
        Some(auth) if !auth.is_empty() => {
            Err(ApiError::unsupported("auth", "Put the credentials into config and leave auth out"))
        }
        _ => Ok(()),
    }
}

/// The connection's name, from the configuration: Fivetran spells it differently per kind of service.
pub(super) fn name_in(config: &Value) -> Result<String> {
    let part = |name: &str| config.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    if let Some(prefix) = part("schema_prefix") {
        return checked_name("config.schema_prefix", prefix).map(str::to_owned);
    }
    let Some(schema) = part("schema") else {
        return Err(Error::invalid("The connection has no name").field("config.schema_prefix").remedy(
            "Set config.schema_prefix (databases) or config.schema to the name of the schema to write",
        ));
    };
    let schema = checked_name("config.schema", schema)?;
    for field in ["table", "table_group_name"] {
        if let Some(table) = part(field) {
            return Ok(format!("{schema}.{}", checked_name(&format!("config.{field}"), table)?));
        }
    }
    Ok(schema.to_owned())
}

fn checked_name<'a>(field: &str, name: &'a str) -> Result<&'a str> {
    let mut letters = name.bytes();
    let starts = letters.next().is_some_and(|first| first.is_ascii_lowercase() || first == b'_');
    let goes_on = letters.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    if starts && goes_on && name.len() <= 63 {
        return Ok(name);
    }
    Err(Error::invalid("This cannot be the name of a schema")
        .field(field)
        .remedy("Use 1 to 63 of the characters a-z, 0-9 and _, the first one not a digit"))
}

pub(crate) async fn create(
    services: &Services,
    call: &Call<'_>,
    new: NewConnectionBody,
) -> ApiResult<Answer<ConnectionBody>> {
    refuse_auth(new.auth.as_ref())?;
    let schema = (setup::connector(services, &new.service)?.config_schema)().to_value();
    let mut extra = Map::new();
    new.extras.apply(&mut extra)?;
    if services.control.group(&new.group_id).await?.is_none() {
        return Err(ApiError::not_found("Group", &new.group_id));
    }
    let destination = services.control.destination(&new.group_id).await?;
    let zone = destination.map_or_else(|| Ok(Zone::default()), |destination| destination.zone())?;
    let schedule = new.timing.schedule(None, zone)?;
    let config = config::check(&new.config.unwrap_or_default(), None, &schema)?;
    let schema_name = name_in(&config.clear)?;
    let trust = new.trust_certificates;
    let (source, sighted) =
        certificates::open_trusting(services, &new.service, &config.clear, &[], trust).await?;
    let mut setup_state = SetupState::Incomplete;
    let mut setup_tests = Vec::new();
    if new.run_setup_tests.unwrap_or(true) {
        setup_tests = source.check().await;
        setup_state = setup::concluded(&setup_tests, setup_state);
    }
    let paused = new.paused.unwrap_or(false);
    let by_clock = !paused && schedule.kind == ScheduleKind::Auto && setup_state == SetupState::Connected;
    let connection = NewConnection {
        id: services.control.new_id_beside(&new.group_id)?,
        group_id: new.group_id,
        service: new.service,
        schema_name,
        config: config.clear,
        config_public: config.public,
        sync_mode: new.timing.sync_mode.unwrap_or_default(),
        paused,
        sync_frequency: schedule.frequency_minutes,
        daily_sync_time: schedule.daily_sync_time_text(),
        schedule_type: schedule.kind,
        schema_change_handling: new.schema_change_handling.unwrap_or_default(),
        extra,
        setup_state,
        setup_tests,
        created_by: actor(call),
        next_due_at: if by_clock {
            next_due(&schedule, None, services.ports.clock.now_micros())
        } else {
            None
        },
    };
    let events = events::created(&connection.id, &connection.setup_tests, services.ports.clock.now_micros());
    if !services.control.create_connection(&connection, &events).await? {
        return Err(ApiError::conflict(format!(
            "config: The group has a connection called '{}' already. Choose another schema name",
            connection.schema_name
        )));
    }
    certificates::keep_sighted(services, call, &connection.id, sighted).await?;
    services.syncs.announce().await;
    let place = Place { id: &connection.id, group_id: Some(&connection.group_id) };
    call.adopt(services, RoleScope::Connector, place).await?;
    let id = connection.id;
    let stored = services.control.connection(&id).await?;
    let stored = stored.ok_or_else(|| ApiError::not_found("Connection", &id))?;
    let body = ConnectionBody::full(stored, services.ports.clock.now_micros());
    Answer::new("Connection has been created", &body)
}
