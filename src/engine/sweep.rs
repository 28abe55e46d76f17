//! Once a minute: start what is due, heal what fell silent.

use crate::control::{RunFinished, RunRecord};
use crate::core::error::ErrorReport;
use crate::core::run::Effort;
use crate::core::{Error, ErrorKind, Result};

use super::Engine;
use super::protocol::{Conclusion, ConnectorRequest, Message, RunSpec, SyncReply, SyncRequest};
use super::sync_control::RunProgress;

/// Most connections started by one sweep: ten batches of the queue's 100 messages. What is left is due a minute
/// later still, and comes first then, since the query is ordered by due time.
const MOST_DUE: u32 = 1_000;

/// Most silent runs woken by one sweep.
const MOST_SILENT: u32 = 1_000;

/// A run without a sign of life for this long is woken: twice the lease, so that a working one never is.
const SILENCE_MICROS: i64 = 2 * crate::core::limits::LEASE_MS * 1_000;

impl Engine {
    /// The cron's work: five indexed statements and a few queue sends.
    ///
    /// # Errors
    /// When the control plane or the queue cannot be reached; the next minute tries again.
    pub async fn sweep(&self) -> Result<()> {
        let now = self.ports.clock.now_micros();
        let due = self.control.due_connections(now, MOST_DUE).await?;
        let mut messages: Vec<Message> =
            due.into_iter().map(|(connection_id, due_at)| Message::Start { connection_id, due_at }).collect();
        let silent = self.control.silent_runs(now.saturating_sub(SILENCE_MICROS), MOST_SILENT).await?;
        messages.extend(silent.into_iter().map(|(run_id, _)| Message::Work { run_id }));
        if self.control.deliveries_due(now).await? {
            messages.push(Message::Deliver);
        }
        self.control.tidy_deliveries(now).await?;
        self.control.tidy_answers(now).await?;
        if messages.is_empty() { Ok(()) } else { self.outbox.send(&messages).await }
    }

    /// Has what just happened told to those who asked, soon. Failing is no matter: the next sweep finds the same.
    pub(super) async fn announce(&self) {
        let now = self.ports.clock.now_micros();
        if let Ok(true) = self.control.deliveries_due(now).await {
            let _ = self.outbox.send(&[Message::Deliver]).await;
        }
    }

    /// A run that is over while history calls it running: whoever opened it was so slow to write its beginning that
    /// others had written its end before. The end is written again.
    pub(super) async fn settle(&self, run_id: &str) -> Result<()> {
        let Some((connection_id, run)) = self.open_in_history(run_id).await? else { return Ok(()) };
        let SyncReply::Progress { progress: Some(progress) } =
            self.actors.sync(run_id, SyncRequest::Progress).await?
        else {
            return Ok(());
        };
        let needs_person = progress.state == "FAILURE_WITH_TASK";
        let spec = RunSpec {
            connection_id,
            run_id: run_id.to_owned(),
            number: run.number,
            started_at: run.started_at,
        };
        let conclusion = Conclusion { progress: *progress, advances: Vec::new(), needs_person };
        self.close(&spec, conclusion).await.map(|_| ())
    }

    /// The run and its connection, if history calls it running. A run's id is its connection's id, a dot and its
    /// number.
    async fn open_in_history(&self, run_id: &str) -> Result<Option<(String, RunRecord)>> {
        let Some((connection_id, _)) = run_id.rsplit_once('.') else { return Ok(None) };
        let found = self.control.run(connection_id, run_id).await?;
        let open = found.map(|(run, _)| run).filter(|run| run.state == "RUNNING");
        Ok(open.map(|run| (connection_id.to_owned(), run)))
    }

    /// A run that history calls running but whose object knows nothing of it: its state was lost, or it ended and
    /// was purged before history heard. Either way it must not hold its connection for ever.
    pub(super) async fn bury(&self, run_id: &str) -> Result<()> {
        let Some((connection_id, run)) = self.open_in_history(run_id).await? else { return Ok(()) };
        let connection_id = connection_id.as_str();
        let close = ConnectorRequest::Close { run_id: run_id.to_owned(), advances: Vec::new() };
        self.actors.connector(connection_id, close).await?;
        let error = Error::new(ErrorKind::Internal, "the state of this run was lost")
            .remedy("Nothing durable is affected; the next sync reads from the last cursor");
        let now = self.ports.clock.now_micros();
        let progress = RunProgress {
            run_id: run_id.to_owned(),
            state: "FAILURE".to_owned(),
            phase: "done".to_owned(),
            started_at: run.started_at,
            ended_at: Some(now),
            tables: Vec::new(),
            effort: Effort::default(),
            error: Some(ErrorReport::from(&error)),
        };
        self.control
            .run_finished(&RunFinished {
                run_id,
                connection_id,
                state: &progress.state,
                ended_at: now,
                progress: &progress,
                rescheduled_for: None,
                task: None,
                historical_done: false,
            })
            .await
    }
}
