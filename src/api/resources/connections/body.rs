//! A connection as answers show it. Every key Fivetran's clients index is there, `null` where there is nothing.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use super::schedule::ConnectionSchedule;
use crate::api::timestamp::Timestamp;
use crate::connectors::{SetupTest, SyncMode};
use crate::control::{Alert, Connection, SetupState, SyncState};
use crate::core::schedule::{ScheduleKind, Zone};

/// A due time missed by more than this is called a delay: Fivetran's own threshold is not published; two periods of the
/// cron that starts syncs are certain to be one.
const DELAY_MICROS: i64 = 120_000_000;

/// A connection. Secrets in `config` are masked.
#[derive(Serialize, JsonSchema)]
pub(crate) struct ConnectionBody {
    id: String,
    group_id: String,
    service: String,
    /// Version of the connector.
    service_version: u32,
    /// Name of the connection: schema at the destination, or prefix of the schemas there.
    schema: String,
    connected_by: Option<String>,
    created_at: Timestamp,
    /// When the clock starts the next sync; null while paused or manual. Ours, not Fivetran's.
    next_sync_at: Option<Timestamp>,
    /// End of the last good sync.
    succeeded_at: Option<Timestamp>,
    /// End of the last failed sync.
    failed_at: Option<Timestamp>,
    paused: bool,
    pause_after_trial: bool,
    /// Minutes between syncs.
    sync_frequency: u32,
    /// `HH:00` in the destination's time zone, for a frequency of 1440.
    daily_sync_time: Option<String>,
    schedule_type: ScheduleKind,
    /// The same as one object, as Fivetran's newer clients read it.
    schedule: Option<ConnectionSchedule>,
    /// The schedule in words, as `schedule` takes them. Ours, not Fivetran's.
    schedule_phrase: String,
    /// Whether syncs carry everything or changes. Ours, not Fivetran's.
    sync_mode: SyncMode,
    data_delay_sensitivity: String,
    data_delay_threshold: Option<i64>,
    networking_method: &'static str,
    destination_schema_names: &'static str,
    proxy_agent_id: Option<String>,
    private_link_id: Option<String>,
    hybrid_deployment_agent_id: Option<String>,
    external_secrets_manager_id: Option<String>,
    status: StatusBody,
    #[serde(skip_serializing_if = "Option::is_none")]
    setup_tests: Option<Vec<SetupTest>>,
    config: Map<String, Value>,
    source_sync_details: Map<String, Value>,
}

/// How a connection is.
#[derive(Serialize, JsonSchema)]
struct StatusBody {
    setup_state: SetupState,
    sync_state: SyncState,
    /// `delayed` when a due sync has not started.
    update_state: UpdateState,
    is_historical_sync: bool,
    /// When a rescheduled sync is tried again.
    rescheduled_for: Option<Timestamp>,
    /// What a person must do.
    tasks: Vec<Alert>,
    /// What a person should know.
    warnings: Vec<Alert>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum UpdateState {
    OnSchedule,
    Delayed,
}

impl ConnectionBody {
    /// As listings show it: without setup tests.
    pub(crate) fn short(connection: Connection, now: i64) -> Self {
        Self { setup_tests: None, ..Self::full(connection, now) }
    }

    /// As details show it.
    pub(crate) fn full(connection: Connection, now: i64) -> Self {
        // Stored schedules passed the check when they were made; the zone is not shown.
        let schedule = connection.schedule(Zone::default()).ok();
        let extra = |name: &str| connection.extra.get(name);
        let overdue = connection.next_due_at.is_some_and(|due| due.saturating_add(DELAY_MICROS) < now);
        Self {
            service_version: 1,
            connected_by: connection.created_by,
            created_at: Timestamp(connection.created_at),
            next_sync_at: connection.next_due_at.map(Timestamp),
            succeeded_at: connection.succeeded_at.map(Timestamp),
            failed_at: connection.failed_at.map(Timestamp),
            paused: connection.paused,
            pause_after_trial: extra("pause_after_trial").and_then(Value::as_bool).unwrap_or(false),
            sync_frequency: connection.sync_frequency,
            daily_sync_time: connection.daily_sync_time,
            schedule_type: connection.schedule_type,
            schedule: schedule.as_ref().map(ConnectionSchedule::of),
            schedule_phrase: schedule.map(|schedule| schedule.to_string()).unwrap_or_default(),
            sync_mode: connection.sync_mode,
            data_delay_sensitivity: extra("data_delay_sensitivity")
                .and_then(Value::as_str)
                .unwrap_or("NORMAL")
                .to_owned(),
            data_delay_threshold: extra("data_delay_threshold").and_then(Value::as_i64),
            networking_method: "Directly",
            destination_schema_names: "FIVETRAN_NAMING",
            proxy_agent_id: None,
            private_link_id: None,
            hybrid_deployment_agent_id: None,
            external_secrets_manager_id: None,
            status: StatusBody {
                setup_state: connection.setup_state,
                sync_state: connection.sync_state,
                update_state: if overdue && connection.sync_state != SyncState::Syncing {
                    UpdateState::Delayed
                } else {
                    UpdateState::OnSchedule
                },
                is_historical_sync: connection.is_historical_sync,
                rescheduled_for: connection.rescheduled_for.map(Timestamp),
                tasks: connection.tasks,
                warnings: connection.warnings,
            },
            setup_tests: Some(connection.setup_tests),
            config: match connection.config_public {
                Value::Object(fields) => fields,
                _ => Map::new(),
            },
            source_sync_details: Map::new(),
            id: connection.id,
            group_id: connection.group_id,
            service: connection.service,
            schema: connection.schema_name,
        }
    }
}
