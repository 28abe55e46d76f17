//! Ending a run.

use serde_json::{Value, json};

use crate::control::{Connection, LogLevel, RunFinished, RunTask};
use crate::core::error::ErrorReport;
use crate::core::fault_point::FaultPoint;
use crate::core::retry::{LONGEST_WAIT_MS, is_lasting};
use crate::core::run::Counts;
use crate::core::{ErrorKind, Result};
use crate::engine::protocol::{Conclusion, ConnectorRequest, Outcome, RunSpec};
use crate::engine::{Engine, RunProgress};

/// A run that ended `RESCHEDULED` is tried again after this long, or later if the source asked for it: the time a source
/// usually needs to breathe, and long enough for a schema migration at the source to be through.
const RESCHEDULE_MICROS: i64 = 60 * 1_000_000;

const HOUR_MICROS: i64 = 3_600 * 1_000_000;

impl Engine {
    /// Moves the cursors, then writes history. In this order: should we die in between, the order to close is leased
    /// again and both steps repeat harmlessly.
    pub(in crate::engine) async fn close(&self, spec: &RunSpec, conclusion: Conclusion) -> Result<Outcome> {
        let Conclusion { mut progress, advances, needs_person } = conclusion;
        self.ports.reach(FaultPoint::BeforeClose, &spec.run_id).await?;
        let close = ConnectorRequest::Close { run_id: spec.run_id.clone(), advances: advances.clone() };
        self.actors.connector(&spec.connection_id, close).await?;
        self.ports.reach(FaultPoint::AfterCursors, &spec.run_id).await?;
        let Some(connection) = self.control.connection(&spec.connection_id).await? else {
            // Deleted while a start of it was under way: nobody else would remove what that start left.
            self.actors.connector(&spec.connection_id, ConnectorRequest::Forget).await?;
            return Ok(Outcome::Closed);
        };
        self.ensure_recorded(spec, &connection).await?;
        let now = self.ports.clock.now_micros();
        progress.ended_at = Some(now);
        let rescheduled_for =
            (progress.state == "RESCHEDULED").then(|| now.saturating_add(reschedule_after(&progress)));
        self.control
            .run_finished(&RunFinished {
                run_id: &spec.run_id,
                connection_id: &spec.connection_id,
                state: &progress.state,
                ended_at: now,
                historical_done: progress.state == "SUCCESSFUL",
                task: what_to_do(&connection, &progress, needs_person, now),
                progress: &progress,
                rescheduled_for,
            })
            .await?;
        self.ports.reach(FaultPoint::AfterHistory, &spec.run_id).await?;
        let level = if progress.error.is_some() { LogLevel::Warning } else { LogLevel::Info };
        self.log_run(level, "run_end", spec, ended(&progress));
        self.announce(Some(&spec.connection_id)).await;
        if let Ok(source) = self.open_source(&connection) {
            for cursor in advances.iter().filter_map(|advance| advance.cursor()) {
                // Ignored on purpose: what is not confirmed now is confirmed by the next run; success does not hang
                // on it.
                let _ = source.confirm(cursor).await;
            }
        }
        Ok(Outcome::Closed)
    }
}

/// A run's end, for the log.
fn ended(progress: &RunProgress) -> Value {
    let sum = |of: fn(&Counts) -> u64| {
        progress.tables.iter().map(|table| of(&table.counts)).fold(0, u64::saturating_add)
    };
    json!({
        "state": progress.state,
        "seconds": progress.ended_at.unwrap_or_default().saturating_sub(progress.started_at) / 1_000_000,
        "tables": progress.tables.len(),
        "rows_read": sum(|counts| counts.read),
        "rows_written": sum(|counts| counts.written),
        "bytes": sum(|counts| counts.bytes),
        "retries": progress.effort.retries,
        "error": progress.error,
    })
}

/// Microseconds.
fn reschedule_after(progress: &RunProgress) -> i64 {
    let errors = progress.tables.iter().filter_map(|table| table.error.as_ref()).chain(&progress.error);
    let asked = errors.filter_map(|error| error.retry_after_ms).max().unwrap_or(0);
    i64::try_from(asked.min(LONGEST_WAIT_MS)).unwrap_or(i64::MAX).saturating_mul(1_000).max(RESCHEDULE_MICROS)
}

/// What a person must do: what the run found to be theirs, or look why syncs have failed for so long.
fn what_to_do(
    connection: &Connection,
    progress: &RunProgress,
    needs_person: bool,
    now: i64,
) -> Option<RunTask> {
    let error = progress.error.as_ref()?;
    let well_at = connection.succeeded_at.unwrap_or(connection.created_at);
    match progress.state.as_str() {
        "FAILURE_WITH_TASK" if needs_person => Some(task(error)),
        "FAILURE" if is_lasting(well_at, connection.failed_at, now) => {
            let RunTask { code, message } = task(error);
            let hours = now.saturating_sub(well_at) / HOUR_MICROS;
            let since = if hours == 1 { "an hour".to_owned() } else { format!("{hours} hours") };
            Some(RunTask { code, message: format!("No sync has succeeded for {since}. {message}") })
        }
        _ => None,
    }
}

/// What a person finds under `status.tasks`.
fn task(error: &ErrorReport) -> RunTask {
    let code = match error.kind {
        ErrorKind::SourceAuth | ErrorKind::SourceConfig | ErrorKind::SourcePermission => "reconnect",
        ErrorKind::DestinationConfig => "reconnect_destination",
        ErrorKind::DestinationLimit => "destination_limit",
        ErrorKind::SourceUnavailable => "source_unavailable",
        ErrorKind::DestinationUnavailable => "destination_unavailable",
        ErrorKind::Data => "unsupported_value",
        _ => "sync_failed",
    };
    RunTask { code: code.to_owned(), message: crate::core::Error::from(error.clone()).to_string() }
}
