//! The worker: leases orders of one run and does them until its time is up or there is nothing to do.

use std::pin::pin;

use futures::future::{Either, select};
use serde_json::json;

use crate::control::LogLevel;
use crate::core::error::ErrorReport;
use crate::core::fault_point::FaultPoint;
use crate::core::limits::CONSUMER_BUDGET_MS;
use crate::core::run::Fence;
use crate::core::{Error, ErrorKind, Result};
use crate::delivery::deliver;

use super::Engine;
use super::protocol::{Message, Order, Outcome, RunSpec, SyncReply, SyncRequest, Task};
use super::pulse::Pulse;
use super::remote::unexpected;
use super::sync_control::{StartOutcome, StartRequest, TableProgress, Trigger};

/// Age from which a run's progress is shown in the control plane, besides in its own object.
const TELL_AFTER_MICROS: i64 = 5_000_000;

impl Engine {
    /// Handles one queue message. Never fails for the message's sake: what cannot be done now is healed by alarms
    /// and the sweep, and a redelivery would do nothing that those do not.
    ///
    /// # Errors
    /// When an object or the control plane cannot be reached; the message should be delivered again.
    pub async fn consume(&self, message: Message) -> Result<()> {
        match message {
            Message::Work { run_id } => self.work(&run_id).await,
            Message::Start { connection_id, due_at } => self.start_due(&connection_id, due_at).await,
            Message::Deliver => deliver(&self.control, &self.ports).await,
        }
    }

    async fn start_due(&self, connection_id: &str, due_at: i64) -> Result<()> {
        let found = self.control.connection(connection_id).await?;
        let Some(connection) = found.filter(|connection| !connection.paused) else { return Ok(()) };
        let request =
            StartRequest { trigger: Trigger::Schedule, due_at: Some(due_at), force: false, scope: None };
        match self.start_connection(&connection, request).await? {
            // Here and now, so that a short run is one message, and runs end in the order of their due times.
            StartOutcome::Started { run_id } => self.work(&run_id).await,
            // This due time is still to be served, once that run is over.
            StartOutcome::AlreadyRunning { .. } => self.control.release_due(connection_id, due_at).await,
            StartOutcome::AlreadyServed => Ok(()),
        }
    }

    /// Works on a run until nothing can be done at the moment, or the time budget of an invocation is used up.
    ///
    /// # Errors
    /// When the run's object cannot be reached.
    pub async fn work(&self, run_id: &str) -> Result<()> {
        let stop_at = self.ports.clock.now_ms().saturating_add(CONSUMER_BUDGET_MS);
        let mut worked = false;
        loop {
            match self.actors.sync(run_id, SyncRequest::Lease).await? {
                SyncReply::Leased { spec, order, fence } => self.execute(&spec, *order, fence).await?,
                SyncReply::Unknown => return self.bury(run_id).await,
                // Woken for a run that is over: history may not have heard of its end.
                SyncReply::Over if !worked => return self.settle(run_id).await,
                SyncReply::Idle | SyncReply::Over => return Ok(()),
                _ => return Err(unexpected("SyncDO")),
            }
            worked = true;
            if self.ports.clock.now_ms() >= stop_at {
                self.actors.sync(run_id, SyncRequest::Yield).await?;
                return Ok(());
            }
        }
    }

    /// Does one order and reports. Only a report that cannot be delivered is an error here.
    async fn execute(&self, spec: &RunSpec, order: Order, fence: Fence) -> Result<()> {
        let (id, attempt, task) = (order.id, order.attempt, order.task.name());
        self.ports.reach(FaultPoint::AfterLease, &spec.run_id).await?;
        let outcome = match self.perform(spec, order, fence).await {
            Ok(outcome) => outcome,
            // A lost lease too: its report is refused. Where the destination fenced a lease off that is still held, a
            // newer run owns the table, and only the report ends this one; silence would cost six leases.
            Err(error) => {
                let report = ErrorReport::from(&error);
                let details = json!({ "order": id, "task": task, "attempt": attempt, "error": report });
                self.log_run(LogLevel::Warning, "attempt_failed", spec, details);
                self.failure(&error)?
            }
        };
        self.ports.reach(FaultPoint::BeforeReport, &spec.run_id).await?;
        let complete = SyncRequest::Complete { order: id, fence, outcome: Box::new(outcome) };
        match self.actors.sync(&spec.run_id, complete).await {
            Ok(SyncReply::Recorded { phase, table, rests_until }) => {
                self.ports.reach(FaultPoint::AfterReport, &spec.run_id).await?;
                self.project(spec, &phase, table.as_deref(), rests_until).await
            }
            Ok(_) => Err(unexpected("SyncDO")),
            Err(error) if matches!(error.kind(), ErrorKind::Fenced | ErrorKind::Cancelled) => {
                self.log_lost(spec, id, &error);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn log_lost(&self, spec: &RunSpec, order: i64, error: &Error) {
        let event = if error.kind() == ErrorKind::Fenced { "lease_lost" } else { "order_cancelled" };
        let details = json!({ "order": order, "error": ErrorReport::from(error) });
        self.log_run(LogLevel::Warning, event, spec, details);
    }

    async fn perform(&self, spec: &RunSpec, order: Order, fence: Fence) -> Result<Outcome> {
        let pulse = Pulse::new(self, spec, order.id, fence);
        let task = pin!(self.perform_task(spec, order.task, &pulse));
        let silence = pin!(pulse.keep_alive());
        match select(task, silence).await {
            Either::Left((outcome, _)) => outcome,
            Either::Right((lost, _)) => Err(lost),
        }
    }

    async fn perform_task(&self, spec: &RunSpec, task: Task, pulse: &Pulse<'_>) -> Result<Outcome> {
        match task {
            Task::PlanRun => self.plan_run(spec, pulse).await,
            Task::PlanStream { stream } => self.plan_stream(spec, *stream).await,
            Task::Read { stream, load, chunk } => self.read_chunk(spec, pulse, &stream, &load, &chunk).await,
            Task::Publish { load, definition, receipts } => {
                self.publish(spec, pulse, &definition, &load, &receipts).await
            }
            Task::Close { conclusion } => self.close(spec, *conclusion).await,
        }
    }

    fn failure(&self, error: &Error) -> Result<Outcome> {
        let mut jitter = [0_u8; 1];
        self.ports.random.fill(&mut jitter)?;
        let [jitter] = jitter;
        Ok(Outcome::Failed { error: ErrorReport::from(error), jitter })
    }

    /// Shows progress in the control plane. The run does not depend on it, so a failure here is not one of the run.
    ///
    /// A run of a few seconds is told as a whole at its end: at 15 minutes most runs are that short, and four batches
    /// less are a third of what each writes.
    async fn project(
        &self,
        spec: &RunSpec,
        phase: &str,
        table: Option<&TableProgress>,
        rests_until: Option<i64>,
    ) -> Result<()> {
        let now = self.ports.clock.now_micros();
        // A run that starts later than now was opened under a clock that ran ahead; how old it is nobody knows.
        let age = now.saturating_sub(spec.started_at);
        if rests_until.is_none() && (0..TELL_AFTER_MICROS).contains(&age) {
            return Ok(());
        }
        let tables = table.map(std::slice::from_ref).unwrap_or_default();
        // Ignored on purpose: the next report or the close writes the same rows again.
        let _ = self.control.run_progress(&spec.run_id, phase, now, tables).await;
        if let Some(until) = rests_until {
            let _ = self.control.run_rests(&spec.run_id, until).await;
        }
        Ok(())
    }
}
