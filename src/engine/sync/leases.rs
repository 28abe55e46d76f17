//! Handing orders out and taking them back (I4).

use crate::core::error::ErrorReport;
use crate::core::retry::CEILING_MS;
use crate::core::run::Fence;
use crate::core::{Error, ErrorKind, Result};
use crate::engine::protocol::{Order, RunSpec, SyncReply, Task};
use crate::engine::rows::{Row, count};

use super::state::Kind;
use super::{LEASE, Sync};

/// The orders a worker may have at ?1: waiting ones whose back-off is over and leased ones whose worker fell silent.
/// ?2 says whether the source has room for one more reader. Chunks marked `after_all` wait for their stream's others.
///
/// A back-off further ahead than one can be was set under a clock that ran ahead and was put right since. It counts as over:
/// nobody shall wait for hours that never were.
fn eligible() -> String {
    let held = held();
    format!(
        "FROM orders o WHERE o.state <> 'done' \
         AND CASE o.state WHEN 'leased' THEN NOT {held} ELSE o.not_before NOT BETWEEN ?1 + 1 \
             AND ?1 + 1000 * ({CEILING_MS} + COALESCE(o.error ->> 'retry_after_ms', 0)) END \
         AND (?2 OR o.kind NOT IN ('read', 'plan_stream', 'plan_run')) \
         AND (o.after_all = 0 OR NOT EXISTS (SELECT 1 FROM orders p WHERE p.stream = o.stream AND p.kind = 'read' \
              AND p.after_all = 0 AND p.state <> 'done'))"
    )
}

/// Whether a leased order has its worker at ?1. A lease that ends later than two of them from now does not count, for the
/// reason above; two, because a clock that is put right by a second must not take their work from the living.
fn held() -> String {
    format!("lease_until BETWEEN ?1 + 1 AND ?1 + {}", 2 * LEASE)
}

/// An order that may be handed out.
struct Eligible {
    id: i64,
    kind: Kind,
    stream: Option<i64>,
    /// Tries so far.
    attempt: u32,
}

impl Sync<'_> {
    /// How many more workers the source takes right now.
    pub(super) fn room_for_source_work(&self, now: i64) -> Result<u32> {
        let busy = format!(
            "SELECT COUNT(*) FROM orders WHERE state = 'leased' AND {} AND kind IN ('read', 'plan_stream', 'plan_run')",
            held()
        );
        let busy = self.state.number(&busy, &[now.into()])?;
        let most = u64::from(self.state.max_parallel_reads()?);
        Ok(u32::try_from(most.saturating_sub(busy)).unwrap_or(u32::MAX))
    }

    /// How many workers could start something now.
    pub(super) fn eligible_count(&self, now: i64, room: u32) -> Result<u32> {
        let eligible = eligible();
        let other = self.state.number(&format!("SELECT COUNT(*) {eligible}"), &[now.into(), false.into()])?;
        let source = if room == 0 {
            0
        } else {
            let sql = format!(
                "SELECT COUNT(*) FROM (SELECT 1 {eligible} AND o.kind IN ('read', 'plan_stream', 'plan_run') \
                 LIMIT {room})"
            );
            self.state.number(&sql, &[now.into(), true.into()])?
        };
        Ok(u32::try_from(other.saturating_add(source)).unwrap_or(u32::MAX))
    }

    /// When there is something to do again, if there is nothing before, nobody is at work, and it is later than any
    /// back-off of ours: then the other side asked for the time. The run keeps what is durable and goes on from there;
    /// ending it instead would begin a large table anew after every quota, and never finish it.
    pub(super) fn rests_until(&self, now: i64) -> Result<Option<i64>> {
        let leased = self.state.number("SELECT COUNT(*) FROM orders WHERE state = 'leased'", &[])?;
        if leased > 0 || self.eligible_count(now, 1)? > 0 {
            return Ok(None);
        }
        let soon = now.saturating_add(i64::try_from(CEILING_MS).unwrap_or(i64::MAX).saturating_mul(1_000));
        Ok(self.state.next_deadline(now)?.filter(|at| *at > soon))
    }

    pub(super) fn lease(&self, now: i64) -> Result<SyncReply> {
        let Some(spec) = self.state.spec()? else { return Ok(SyncReply::Unknown) };
        self.state.redeem_wake()?;
        if self.state.is_over()? {
            return Ok(SyncReply::Over);
        }
        // Orders that ran out of attempts by falling silent are settled on the way; each settles at most once.
        while let Some(order) = self.next_eligible(now)? {
            if Self::exhausted(order.attempt) && order.kind != Kind::Close {
                let error = fell_silent(order.attempt);
                self.settle_failure(order.id, order.kind, order.stream, &error, false)?;
                continue;
            }
            return self.grant(spec, &order, now);
        }
        Ok(SyncReply::Idle)
    }

    fn next_eligible(&self, now: i64) -> Result<Option<Eligible>> {
        let room = self.room_for_source_work(now)? > 0;
        let sql = format!(
            "SELECT o.id, o.kind, COALESCE(o.stream, -1), o.attempt {} ORDER BY o.rank, o.id LIMIT 1",
            eligible()
        );
        let rows = self.state.sql.exec(&sql, &[now.into(), room.into()])?;
        let Some(row) = rows.first().map(|row| Row(row)) else { return Ok(None) };
        let stream = row.integer(2)?;
        Ok(Some(Eligible {
            id: row.integer(0)?,
            kind: Kind::parse(row.text(1)?)?,
            stream: (stream >= 0).then_some(stream),
            attempt: u32::try_from(row.count(3)?).unwrap_or(u32::MAX),
        }))
    }

    fn grant(&self, spec: RunSpec, order: &Eligible, now: i64) -> Result<SyncReply> {
        let lease = self.state.next_lease()?;
        let attempt = order.attempt.saturating_add(1);
        self.state.sql.exec(
            "UPDATE orders SET state = 'leased', lease = ?2, lease_until = ?3, attempt = ?4, rows_read = 0, \
             bytes = 0 WHERE id = ?1",
            &[order.id.into(), count(lease), now.saturating_add(LEASE).into(), i64::from(attempt).into()],
        )?;
        let task = self.task(&spec, order)?;
        let fence = Fence { run: spec.number, lease };
        Ok(SyncReply::Leased { spec, order: Box::new(Order { id: order.id, attempt, task }), fence })
    }

    /// Puts together what the worker needs.
    fn task(&self, spec: &RunSpec, order: &Eligible) -> Result<Task> {
        let (id, stream) = (order.id, order.stream.unwrap_or(-1));
        match order.kind {
            Kind::PlanRun => {
                // What an attempt before this one has handed in may not be what there is now.
                self.state.forget_streams()?;
                Ok(Task::PlanRun)
            }
            Kind::Close => Ok(Task::Close { conclusion: Box::new(self.conclusion(spec)?) }),
            Kind::PlanStream => {
                let rows =
                    self.state.sql.exec("SELECT selected FROM streams WHERE id = ?1", &[stream.into()])?;
                Ok(Task::PlanStream { stream: first(&rows)?.required_json(0)? })
            }
            Kind::Read => {
                let rows = self.state.sql.exec(
                    "SELECT s.selected, s.load, o.chunk FROM orders o JOIN streams s ON s.id = o.stream \
                     WHERE o.id = ?1",
                    &[id.into()],
                )?;
                let row = first(&rows)?;
                Ok(Task::Read {
                    stream: row.required_json(0)?,
                    load: row.required_json(1)?,
                    chunk: row.required_json(2)?,
                })
            }
            Kind::Publish => {
                let rows = self.state.sql.exec(
                    "SELECT load, selected ->> 'definition' FROM streams WHERE id = ?1",
                    &[stream.into()],
                )?;
                let row = first(&rows)?;
                let definition = row.text(1)?.unwrap_or_default().to_owned();
                let receipts = self.state.sql.exec(
                    "SELECT receipt FROM orders WHERE stream = ?1 AND kind = 'read' ORDER BY id",
                    &[stream.into()],
                )?;
                let receipts =
                    receipts.iter().map(|row| Row(row).required_json(0)).collect::<Result<Vec<_>>>()?;
                Ok(Task::Publish { load: row.required_json(0)?, definition, receipts })
            }
        }
    }

    pub(super) fn heartbeat(
        &self,
        order: i64,
        fence: Fence,
        progress: Option<(u64, u64)>,
        now: i64,
    ) -> Result<SyncReply> {
        self.check_lease(order, fence)?;
        self.state.extend_lease(order, now.saturating_add(LEASE))?;
        if let Some((rows, bytes)) = progress {
            self.state.note_partial(order, rows, bytes)?;
        }
        Ok(SyncReply::Done)
    }

    /// I4: only the newest lease of an open order may speak for it.
    pub(super) fn check_lease(&self, order: i64, fence: Fence) -> Result<()> {
        if self.state.is_cancelled()? {
            let close = self
                .state
                .number("SELECT COUNT(*) FROM orders WHERE id = ?1 AND kind = 'close'", &[order.into()])?;
            if close == 0 {
                return Err(Error::new(ErrorKind::Cancelled, "the run was cancelled"));
            }
        }
        let held = self.state.number(
            "SELECT COUNT(*) FROM orders WHERE id = ?1 AND state = 'leased' AND lease = ?2",
            &[order.into(), count(fence.lease)],
        )?;
        if held == 1 {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Fenced,
            format!("lease {} of order {order} is no longer held", fence.lease),
        ))
    }
}

fn first(rows: &[Vec<crate::ports::SqlValue>]) -> Result<Row<'_>> {
    rows.first()
        .map(|row| Row(row))
        .ok_or_else(|| Error::internal("an order points at a stream that is not there"))
}

fn fell_silent(attempts: u32) -> ErrorReport {
    ErrorReport {
        kind: ErrorKind::Internal,
        message: format!("the worker fell silent {attempts} times in a row"),
        field: None,
        remedy: Some(
            "Look for out-of-memory or CPU-limit errors in the Worker's logs, then sync again".to_owned(),
        ),
        retry_after_ms: None,
        causes: Vec::new(),
    }
}
