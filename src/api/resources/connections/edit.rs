//! Changing a connection.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::body::ConnectionBody;
use super::create::{Extras, Timing, name_in, refuse_auth};
use super::{EDIT_ATTEMPTS, events, found};
use crate::api::config::{self, CheckedConfig};
use crate::api::error::{ApiError, ApiResult};
use crate::api::request::Call;
use crate::api::resources::certificates;
use crate::api::response::Answer;
use crate::api::{Services, setup};
use crate::control::{Connection, DueChange, SetupState, SyncStateChange};
use crate::core::Error;
use crate::core::certificate::Certificate;
use crate::core::fault_point::FaultPoint;
use crate::core::schedule::{self, Schedule, ScheduleKind, Zone};
use crate::core::settings::SchemaChangePolicy;
use crate::engine::{StartRequest, Trigger};

/// Changes of a connection.
#[derive(Deserialize, JsonSchema)]
pub(crate) struct ConnectionPatch {
    /// Switches it off or on.
    paused: Option<bool>,
    /// Whether to run the setup tests; where absent, only when `config` changes.
    run_setup_tests: Option<bool>,
    /// As at creation, whenever the setup tests run.
    trust_certificates: Option<bool>,
    /// Fields of the configuration to change.
    config: Option<Map<String, Value>>,
    /// As at creation.
    auth: Option<Map<String, Value>>,
    /// True reads all history again: cursors are forgotten, and a running sync starts over.
    is_historical_sync: Option<bool>,
    /// As at creation.
    schema_change_handling: Option<SchemaChangePolicy>,
    #[serde(flatten)]
    timing: Timing,
    #[serde(flatten)]
    extras: Extras,
}

/// An edited connection and what else must be written with it.
struct Edited {
    connection: Connection,
    config: Option<CheckedConfig>,
    mode_changed: bool,
    due: DueChange,
    sync_state: SyncStateChange,
    /// Whether the setup tests ran.
    tested: bool,
    /// The certificate to approve with it.
    sighted: Option<Certificate>,
}

pub(crate) async fn edit(
    services: &Services,
    call: &Call<'_>,
    patch: ConnectionPatch,
) -> ApiResult<Answer<ConnectionBody>> {
    refuse_auth(patch.auth.as_ref())?;
    for _ in 0..EDIT_ATTEMPTS {
        let edited = apply(services, found(services, call).await?, &patch).await?;
        let config = edited.config.as_ref().map(|config| &config.clear);
        let (due, sync_state) = (edited.due, edited.sync_state);
        let now = services.ports.clock.now_micros();
        let events = events::edited(&edited.connection, sync_state, edited.tested, now);
        if services.control.save_connection(&edited.connection, config, due, sync_state, &events).await? {
            after(services, &edited, &patch).await?;
            certificates::keep_sighted(services, call, &edited.connection.id, edited.sighted).await?;
            services.syncs.announce().await;
            let body = ConnectionBody::full(found(services, call).await?, services.ports.clock.now_micros());
            return Answer::new("Connection has been updated", &body);
        }
    }
    Err(ApiError::conflict("The connection is being edited by others. Try again"))
}

async fn apply(
    services: &Services,
    mut connection: Connection,
    patch: &ConnectionPatch,
) -> ApiResult<Edited> {
    patch.extras.apply(&mut connection.extra)?;
    let was = Schedulable::of(&connection);
    let destination = services.control.destination(&connection.group_id).await?;
    let zone = destination.map_or_else(|| Ok(Zone::default()), |destination| destination.zone())?;
    let present = connection.schedule(zone)?;
    let schedule = patch.timing.schedule(Some(&present), zone)?;
    connection.schedule_type = schedule.kind;
    connection.sync_frequency = schedule.frequency_minutes;
    connection.daily_sync_time = schedule.daily_sync_time_text();
    let mode = connection.sync_mode;
    connection.sync_mode = patch.timing.sync_mode.unwrap_or(connection.sync_mode);
    connection.schema_change_handling =
        patch.schema_change_handling.unwrap_or(connection.schema_change_handling);
    let (config, sighted) = check_config(services, &mut connection, patch).await?;
    let sync_state = match patch.paused {
        Some(true) if !connection.paused => SyncStateChange::Pause,
        Some(false) if connection.paused => SyncStateChange::Resume,
        _ => SyncStateChange::Keep,
    };
    connection.paused = patch.paused.unwrap_or(connection.paused);
    if patch.is_historical_sync == Some(true) {
        connection.is_historical_sync = true;
    }
    let due = if schedule == present && Schedulable::of(&connection) == was {
        DueChange::Keep
    } else {
        DueChange::Set(next_due(&connection, &schedule, services.ports.clock.now_micros()))
    };
    let mode_changed = connection.sync_mode != mode;
    let tested = runs_tests(patch);
    Ok(Edited { connection, config, mode_changed, due, sync_state, tested, sighted })
}

/// What decides whether the clock may start a connection.
#[derive(PartialEq, Eq)]
struct Schedulable {
    paused: bool,
    incomplete: bool,
}

impl Schedulable {
    fn of(connection: &Connection) -> Self {
        Self { paused: connection.paused, incomplete: connection.setup_state == SetupState::Incomplete }
    }
}

/// The next due time after an edit: at once for a connection that never ran, otherwise the first time after now in
/// phase with its last run.
pub(super) fn next_due(connection: &Connection, schedule: &Schedule, now: i64) -> Option<i64> {
    let idle = connection.paused
        || connection.setup_state == SetupState::Incomplete
        || schedule.kind == ScheduleKind::Manual;
    if idle {
        return None;
    }
    schedule::next_due(schedule, connection.succeeded_at.max(connection.failed_at), now)
}

fn runs_tests(patch: &ConnectionPatch) -> bool {
    patch.run_setup_tests.unwrap_or(patch.config.is_some())
}

async fn check_config(
    services: &Services,
    connection: &mut Connection,
    patch: &ConnectionPatch,
) -> ApiResult<(Option<CheckedConfig>, Option<Certificate>)> {
    let run_tests = runs_tests(patch);
    if patch.config.is_none() && !run_tests {
        return Ok((None, None));
    }
    let stored = connection.config.open()?;
    let checked = match &patch.config {
        Some(sent) => {
            let schema = (setup::connector(services, &connection.service)?.config_schema)().to_value();
            let checked = config::check(sent, Some(&stored), &schema)?;
            if name_in(&checked.clear)? != connection.schema_name {
                return Err(Error::invalid("The name of a connection never changes")
                    .field(if sent.contains_key("schema_prefix") {
                        "config.schema_prefix"
                    } else {
                        "config.schema"
                    })
                    .remedy("Create another connection, or leave the name out")
                    .into());
            }
            connection.config_public = checked.public.clone();
            Some(checked)
        }
        None => None,
    };
    let clear = checked.as_ref().map_or(&stored, |checked| &checked.clear);
    let trust = patch.trust_certificates.filter(|_| run_tests);
    let (service, approved) = (&connection.service, &connection.approved);
    let (source, sighted) = certificates::open_trusting(services, service, clear, approved, trust).await?;
    if run_tests {
        connection.setup_tests = source.check().await;
        connection.setup_state = setup::concluded(&connection.setup_tests, connection.setup_state);
    }
    Ok((checked, sighted))
}

/// What the engine must hear once the edit is saved.
async fn after(services: &Services, edited: &Edited, patch: &ConnectionPatch) -> ApiResult<()> {
    let id = &edited.connection.id;
    if edited.sync_state == SyncStateChange::Pause {
        services.syncs.cancel(id).await?;
    }
    if patch.is_historical_sync == Some(true) {
        if edited.connection.paused {
            services.syncs.set_state(id, Value::Object(Map::new())).await?;
        } else {
            let request = StartRequest { trigger: Trigger::Resync, due_at: None, force: true, scope: None };
            services.syncs.start(id, request).await?;
        }
    } else if edited.config.is_some() || edited.mode_changed {
        services.ports.reach(FaultPoint::AfterEdit, id).await?;
        services.syncs.restart(id).await?;
    }
    Ok(())
}
