//! One run: its streams, its orders and who holds them. The state machine behind `SyncDo`.
//!
//! Workers pull: a queue message only says that there may be work. So losing, repeating or reordering messages can
//! waste a wake-up but never a row (I3). A lease carries a growing number; a report under an old number is refused
//! (I4). The rejected alternative, a message per chunk, needs the queue to be reliable and ordered to be simple.

mod leases;
mod progress;
mod reports;
mod state;

use crate::core::Result;
use crate::core::limits::{LEASE_MS, MAX_ATTEMPTS};
use crate::ports::LocalSql;

use super::protocol::{RunSpec, SyncReply, SyncRequest};
use super::sync_control::Trigger;
use state::State;

/// How long the first wake-up on the queue is believed in before it counts as lost: ten seconds, twice the queue's own
/// batching delay in production. It doubles with each that stays unanswered, up to five minutes: a queue that is longer
/// than our patience must not get longer by it.
const WAKE_PATIENCE: i64 = 10_000_000;

/// Doublings of [`WAKE_PATIENCE`].
const MOST_DOUBLINGS: u32 = 5;

/// A finished run's rows are kept this long for `progress`, then purged: history is in D1 by then.
const KEEP_FINISHED: i64 = 24 * 3_600 * 1_000_000;

/// A lease in microseconds.
const LEASE: i64 = LEASE_MS * 1_000;

/// What the shell must do after a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// Messages to put on the queue.
    pub wake: u32,
    /// When to ask for effects again, microseconds UTC.
    pub alarm_at: Option<i64>,
    /// Everything may be deleted.
    pub purge: bool,
}

/// The state machine; all state is in `sql`.
pub struct Sync<'a> {
    state: State<'a>,
}

impl<'a> Sync<'a> {
    /// Opens the state, creating its tables when they are missing.
    ///
    /// # Errors
    /// When the storage fails.
    pub fn new(sql: &'a dyn LocalSql) -> Result<Self> {
        Ok(Self { state: State::open(sql)? })
    }

    /// Answers one request at `now` (microseconds UTC).
    ///
    /// # Errors
    /// [`Fenced`](crate::core::ErrorKind::Fenced) for a report under a lost lease,
    /// [`Cancelled`](crate::core::ErrorKind::Cancelled) when the run was cancelled; storage failures.
    pub fn handle(&self, request: SyncRequest, now: i64) -> Result<SyncReply> {
        match request {
            SyncRequest::Open { spec } => self.open(&spec, now),
            SyncRequest::Lease => self.lease(now),
            SyncRequest::Heartbeat { order, fence, progress } => self.heartbeat(order, fence, progress, now),
            SyncRequest::Plan { order, fence, streams } => {
                self.check_lease(order, fence)?;
                self.state.add_streams(&streams)?;
                Ok(SyncReply::Done)
            }
            SyncRequest::Yield => {
                // A run that was forgotten meanwhile must not leave a row again.
                if self.state.spec()?.is_some() {
                    self.state.redeem_wake()?;
                }
                Ok(SyncReply::Done)
            }
            SyncRequest::Complete { order, fence, outcome } => self.complete(order, fence, *outcome, now),
            SyncRequest::Cancel => self.cancel(),
            SyncRequest::Forget => {
                self.state.put("forgotten", &true)?;
                Ok(SyncReply::Done)
            }
            SyncRequest::Progress => {
                let progress = self.state.spec()?.map(|spec| self.progress(&spec)).transpose()?;
                Ok(SyncReply::Progress { progress: progress.map(Box::new) })
            }
        }
    }

    fn open(&self, spec: &RunSpec, now: i64) -> Result<SyncReply> {
        if self.state.spec()?.is_none() {
            self.state.begin(spec)?;
            if spec.trigger == Trigger::Schedule {
                // Who opens a run for the clock is a consumer and works on it itself: that is one wake-up on its way.
                self.state.record_wakes(1, now)?;
            }
        }
        Ok(SyncReply::Done)
    }

    fn cancel(&self) -> Result<SyncReply> {
        if self.state.spec()?.is_some() && !self.state.is_over()? {
            if !self.state.is_closing()? {
                self.state.cancel()?;
            }
            // Whoever was closing may be dead, and whoever cancels shall not wait for its lease: closing twice is
            // harmless.
            self.state.release_close()?;
        }
        Ok(SyncReply::Done)
    }

    /// The run's own id, once it was opened.
    ///
    /// # Errors
    /// When the storage fails.
    pub fn run_id(&self) -> Result<Option<String>> {
        Ok(self.state.spec()?.map(|spec| spec.run_id))
    }

    /// What the shell must do now. Called after every request and every alarm; sending is recorded, so that the same
    /// work is not announced twice within the patience.
    ///
    /// # Errors
    /// When the storage fails.
    pub fn effects(&self, now: i64) -> Result<Effects> {
        if self.state.get("forgotten")?.unwrap_or(false) {
            return Ok(Effects { purge: true, ..Effects::default() });
        }
        if self.state.spec()?.is_none() {
            return Ok(Effects::default());
        }
        if let Some(over_at) = self.state.over_at()? {
            let purge_at = over_at.saturating_add(KEEP_FINISHED);
            return Ok(Effects { wake: 0, alarm_at: Some(purge_at), purge: now >= purge_at });
        }
        self.state.forget_lost_wakes(now, self.wake_patience()?)?;
        let room = self.room_for_source_work(now)?;
        let eligible = self.eligible_count(now, room)?;
        let wake = eligible.saturating_sub(self.state.wakes()?.on_their_way);
        if wake > 0 {
            self.state.record_wakes(wake, now)?;
        }
        let mut alarm_at = self.state.next_deadline(now)?;
        if eligible > 0 {
            let patience_ends = self.state.wakes()?.at.saturating_add(self.wake_patience()?);
            alarm_at = Some(alarm_at.map_or(patience_ends, |at| at.min(patience_ends)));
        }
        Ok(Effects { wake, alarm_at, purge: false })
    }

    fn wake_patience(&self) -> Result<i64> {
        Ok(WAKE_PATIENCE << self.state.wakes()?.lost.min(MOST_DOUBLINGS))
    }

    fn exhausted(attempt: u32) -> bool {
        attempt >= MAX_ATTEMPTS
    }
}
