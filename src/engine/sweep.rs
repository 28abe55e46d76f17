//! Once a minute: start what is due, heal what fell silent.

use serde_json::json;

use crate::control::{LogLevel, RunFinished, RunRecord};
use crate::core::error::ErrorReport;
use crate::core::run::Effort;
use crate::core::{Error, ErrorKind, Result};

use super::Engine;
use super::protocol::{Conclusion, ConnectorRequest, Message, RunSpec, SyncReply, SyncRequest};
use super::sync_control::{RunProgress, Trigger};

/// Connections claimed by one statement of each database, and sent to the queue before the next is claimed.
const PAGE: u32 = 1_000;

/// Most pages of one sweep: 40 queries and 400 sends stay within what an invocation may do even on the free plan (50
/// queries, 1,000 calls), and 40,000 connections a minute are 600,000 at a frequency of 15 minutes. What is left is still
/// due a minute later and comes first then.
const MOST_PAGES: u32 = 40;

/// Most batches of old history deleted by one sweep: up to 10,000 runs a minute, the ends of 150,000 connections at a
/// frequency of 15 minutes.
const MOST_PRUNED: u32 = 20;

/// A sweep begins nothing further after this long, so that it ends before the next one begins.
const BUDGET_MICROS: i64 = 40_000_000;

/// Most silent runs woken by one sweep.
const MOST_SILENT: u32 = 1_000;

/// A run without a sign of life for this long is woken: twice the lease, so that a working one never is. A start that was
/// announced this long ago and never came counts as lost, unless it was late already.
const SILENCE_MICROS: i64 = 2 * crate::core::limits::LEASE_MS * 1_000;

/// A connection that was deleted this long ago is not begun to be synced any more: no invocation lasts longer than a
/// quarter of it (Queues: 15 minutes).
const DELETED_FOR_MICROS: i64 = 3_600_000_000;

/// Most deleted connections that one sweep has forgotten for good.
const MOST_FORGOTTEN: u32 = 20;

const DAY_MICROS: i64 = 86_400_000_000;

impl Engine {
    /// The cron's work: wake what fell silent, start what is due in the order of due times, delete old history.
    ///
    /// A sweep may be cut off anywhere and may overlap with the next: claims keep two of them from announcing the same due
    /// time, and a claim whose message never left is made again after [`SILENCE_MICROS`].
    ///
    /// # Errors
    /// When the control plane or the queue cannot be reached; the next minute tries again.
    pub async fn sweep(&self) -> Result<()> {
        let now = self.ports.clock.now_micros();
        let woken = self.wake(now).await?;
        let started = self.announce_due(now).await?;
        self.control.copy_receivers().await?;
        self.announce(None).await;
        self.control.tidy_deliveries(now).await?;
        self.control.tidy_answers(now).await?;
        self.forget_deleted(now).await?;
        let pruned = self.prune(now).await?;
        if started > 0 || woken > 0 || pruned > 0 {
            let ms = self.ports.clock.now_micros().saturating_sub(now) / 1_000;
            let details = json!({ "started": started, "woken": woken, "pruned": pruned, "ms": ms });
            self.log_event(LogLevel::Info, "sweep", details);
        }
        Ok(())
    }

    /// Wakes runs that fell silent: how many.
    async fn wake(&self, now: i64) -> Result<usize> {
        let (since, until) = (now.saturating_sub(SILENCE_MICROS), now.saturating_add(SILENCE_MICROS));
        let silent = self.control.silent_runs(since, until, MOST_SILENT).await?;
        if silent.is_empty() {
            return Ok(0);
        }
        for (run_id, connection_id) in &silent {
            let details = json!({ "run_id": run_id, "connection_id": connection_id });
            self.log_event(LogLevel::Warning, "run_woken", details);
        }
        let wakes: Vec<Message> = silent.into_iter().map(|(run_id, _)| Message::Work { run_id }).collect();
        self.outbox.send(&wakes).await?;
        Ok(wakes.len())
    }

    /// Puts what is due on the queue, page by page: how many.
    async fn announce_due(&self, now: i64) -> Result<usize> {
        let mut started = 0_usize;
        for _ in 0..MOST_PAGES {
            let due = self.control.claim_due(now, SILENCE_MICROS, PAGE).await?;
            let page = due.len();
            let messages: Vec<Message> = due
                .into_iter()
                .map(|(connection_id, due_at)| Message::Start { connection_id, due_at })
                .collect();
            if !messages.is_empty() {
                self.outbox.send(&messages).await?;
            }
            started = started.saturating_add(page);
            if page < PAGE as usize || self.spent(now) {
                break;
            }
        }
        Ok(started)
    }

    /// Has the objects of deleted connections forget them once more. The deletion itself may have died before it asked them;
    /// and whoever had read the connection before may have opened a run after, and died before it took that back.
    async fn forget_deleted(&self, now: i64) -> Result<()> {
        let before = now.saturating_sub(DELETED_FOR_MICROS);
        for id in self.control.deleted_connections(before, MOST_FORGOTTEN).await? {
            self.forget(&id).await?;
            self.control.deletion_is_complete(&id).await?;
        }
        Ok(())
    }

    /// Deletes history that is older than its retention: how many runs and events.
    async fn prune(&self, now: i64) -> Result<u64> {
        let before = now.saturating_sub(i64::from(self.retention_days).saturating_mul(DAY_MICROS));
        let mut deleted = 0_u64;
        for _ in 0..MOST_PRUNED {
            if self.spent(now) {
                break;
            }
            let pruned = self.control.prune(before).await?;
            deleted = deleted.saturating_add(pruned.runs).saturating_add(pruned.events);
            if !pruned.more() {
                break;
            }
        }
        Ok(deleted)
    }

    fn spent(&self, began: i64) -> bool {
        self.ports.clock.now_micros().saturating_sub(began) >= BUDGET_MICROS
    }

    /// Has what just happened (to one connection, where it is named) told to those who asked, soon. Failing is no matter: the next sweep finds the same.
    pub(super) async fn announce(&self, connection_id: Option<&str>) {
        let now = self.ports.clock.now_micros();
        if let Ok(true) = self.control.deliveries_due(now, connection_id).await {
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
            trigger: Trigger::default(),
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
        let details = json!({ "connection_id": connection_id, "run_id": run_id });
        self.log_event(LogLevel::Severe, "run_lost", details);
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
