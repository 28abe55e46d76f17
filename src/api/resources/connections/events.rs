//! What is logged, and told to webhooks, of changes to a connection. The names are those of Fivetran's webhooks.

use serde_json::json;

use crate::api::Services;
use crate::connectors::{SetupTest, SetupTestStatus};
use crate::control::{Connection, LogEvent, LogLevel, SyncStateChange};
use crate::core::Result;

/// Events of a creation.
pub(super) fn created(id: &str, tests: &[SetupTest], now: i64) -> Vec<LogEvent> {
    let mut events = vec![LogEvent::info(id, "create_connector", now)];
    if !tests.is_empty() {
        events.push(tested(id, tests, now));
    }
    events
}

/// Events of an edit. Pausing and resuming have names of their own; whatever else came with them is an edit, too, but one
/// event per request is what receivers count on.
pub(super) fn edited(
    connection: &Connection,
    change: SyncStateChange,
    ran_tests: bool,
    now: i64,
) -> Vec<LogEvent> {
    let event = match change {
        SyncStateChange::Keep => "edit_connector",
        SyncStateChange::Pause => "pause_connector",
        SyncStateChange::Resume => "resume_connector",
    };
    let mut events = vec![LogEvent::info(&connection.id, event, now)];
    if ran_tests {
        events.push(tested(&connection.id, &connection.setup_tests, now));
    }
    events
}

/// The event of setup tests: whether the source lets us in.
pub(super) fn tested(id: &str, tests: &[SetupTest], now: i64) -> LogEvent {
    let failed = tests.iter().find(|test| test.status == SetupTestStatus::Failed);
    match failed {
        None => LogEvent::info(id, "connection_successful", now),
        Some(test) => LogEvent {
            level: LogLevel::Warning,
            data: json!({ "test": test.title, "reason": test.message }),
            ..LogEvent::info(id, "connection_failure", now)
        },
    }
}

/// Logs an event of something that a Durable Object did, which no transaction of ours could include.
pub(crate) async fn log(services: &Services, event: LogEvent) -> Result<()> {
    services.control.append_log(&[event]).await?;
    services.syncs.announce().await;
    Ok(())
}
