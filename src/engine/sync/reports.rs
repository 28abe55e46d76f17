//! What came of orders, and what follows from it.

use crate::core::catalog::StreamName;
use crate::core::error::ErrorReport;
use crate::core::limits::MAX_ATTEMPTS;
use crate::core::retry::{Verdict, verdict};
use crate::core::run::{Effort, Fence, StreamPlan};
use crate::core::{Error, ErrorKind, Result};
use crate::destinations::{DurableReceipt, TableLoad, TableReceipt};
use crate::engine::protocol::{Outcome, SyncReply};
use crate::engine::rows::{Row, count, json};
use crate::ports::SqlValue;

use super::Sync;
use super::state::Kind;

/// A close that fails is tried again for as long as it takes, at this interval: nobody else would end the run.
const CLOSE_RETRY_MS: u64 = 15_000;

impl Sync<'_> {
    pub(super) fn complete(&self, order: i64, fence: Fence, outcome: Outcome, now: i64) -> Result<SyncReply> {
        self.check_lease(order, fence)?;
        let (kind, stream) = self.order(order)?;
        match outcome {
            Outcome::Failed { error, jitter } => self.failed(order, kind, stream, error, jitter, now)?,
            Outcome::RunPlanned { streams, refused, max_parallel_reads } => {
                self.state.add_streams(&streams)?;
                self.state.put("max_parallel_reads", &max_parallel_reads.max(1))?;
                self.state.add_plan_orders()?;
                self.refuse(&refused)?;
                self.done(order)?;
            }
            Outcome::StreamPlanned { plan, load } => {
                let stream = required(stream)?;
                self.stream_planned(stream, &plan, &load)?;
                self.state.put(&format!("since.{stream}"), &now)?;
                self.done(order)?;
            }
            Outcome::ChunkDurable { receipt, effort } => {
                self.state.add_effort(effort)?;
                let recorded = self.chunk_durable(order, required(stream)?, &receipt);
                self.fail_if_unequal(recorded, order, kind, stream, now)?;
            }
            Outcome::Published { receipt, crowded } => {
                let stream = required(stream)?;
                let recorded = self.published(stream, &receipt, crowded).and_then(|()| self.done(order));
                self.state.put(&format!("until.{stream}"), &now)?;
                self.fail_if_unequal(recorded, order, kind, Some(stream), now)?;
            }
            Outcome::PublishGoesOn => self.goes_on(order)?,
            Outcome::Closed => {
                self.done(order)?;
                self.state.finish(now)?;
            }
        }
        self.advance_stream(stream)?;
        self.close_when_settled()?;
        // The worker comes back for more; its return counts as a wake-up that is on its way.
        self.state.record_wakes(1, now)?;
        let table = stream.map(|stream| self.table_progress(stream)).transpose()?.flatten();
        let rests_until = self.rests_until(now)?;
        Ok(SyncReply::Recorded { phase: self.phase()?.to_owned(), table: table.map(Box::new), rests_until })
    }

    /// An order whose counts do not add up failed, whatever its worker believes (I5); left leased, it would only be
    /// noticed when the lease runs out.
    fn fail_if_unequal(
        &self,
        recorded: Result<()>,
        order: i64,
        kind: Kind,
        stream: Option<i64>,
        now: i64,
    ) -> Result<()> {
        match recorded {
            Err(error) if error.kind() == ErrorKind::Mismatch => {
                self.failed(order, kind, stream, ErrorReport::from(&error), u8::MAX, now)
            }
            recorded => recorded,
        }
    }

    fn order(&self, order: i64) -> Result<(Kind, Option<i64>)> {
        let rows = self
            .state
            .sql
            .exec("SELECT kind, COALESCE(stream, -1) FROM orders WHERE id = ?1", &[order.into()])?;
        let row = rows.first().map(|row| Row(row)).ok_or_else(|| Error::internal("no such order"))?;
        let stream = row.integer(1)?;
        Ok((Kind::parse(row.text(0)?)?, (stream >= 0).then_some(stream)))
    }

    fn done(&self, order: i64) -> Result<()> {
        self.state
            .sql
            .exec("UPDATE orders SET state = 'done', error = NULL WHERE id = ?1", &[order.into()])?;
        Ok(())
    }

    /// The order waits for whoever comes next, this worker unless its time is up, and under a lease of its own: each step is
    /// an order's worth of work, and a worker that dies in one costs that one (I4). Attempts are counted anew, since they
    /// are there to end what gets nowhere.
    fn goes_on(&self, order: i64) -> Result<()> {
        self.state.sql.exec(
            "UPDATE orders SET state = 'pending', attempt = 0, not_before = 0, error = NULL WHERE id = ?1",
            &[order.into()],
        )?;
        Ok(())
    }

    fn refuse(&self, refused: &[(StreamName, ErrorReport)]) -> Result<()> {
        for (name, error) in refused {
            self.state.put("needs_person", &true)?;
            self.state.sql.exec(
                "INSERT INTO streams (schema_name, table_name, state, error) VALUES (?1, ?2, 'failed', ?3) \
                 ON CONFLICT DO NOTHING",
                &[name.schema.as_str().into(), name.table.as_str().into(), json(error)?],
            )?;
        }
        Ok(())
    }

    fn stream_planned(&self, stream: i64, plan: &StreamPlan, load: &TableLoad) -> Result<()> {
        let next = plan.next_cursor.as_ref().map(json).transpose()?.unwrap_or(SqlValue::Null);
        self.state.sql.exec(
            "UPDATE streams SET state = 'reading', load = ?2, next_cursor = ?3 WHERE id = ?1",
            &[stream.into(), json(load)?, next],
        )?;
        for chunk in &plan.chunks {
            self.state.add_order(Kind::Read, Some(stream), Some(chunk), chunk.after_all)?;
        }
        Ok(())
    }

    fn chunk_durable(&self, order: i64, stream: i64, receipt: &DurableReceipt) -> Result<()> {
        let spec = self.state.required_spec()?;
        let (name, index) = self.chunk_of(order, stream)?;
        let chunk = receipt.chunk();
        if chunk.run_id != spec.run_id || chunk.stream != name || chunk.chunk != index {
            return Err(Error::internal(format!(
                "the receipt of another chunk was handed in for order {order}"
            )));
        }
        let counts = receipt.counts();
        counts.check(format_args!("the receipt of chunk {index} of {name}"))?;
        self.state.sql.exec(
            "UPDATE orders SET state = 'done', error = NULL, receipt = ?2, rows_read = ?3, rows_filtered = ?4, \
             rows_written = ?5, rows_deleted = ?6, bytes = ?7, source_rows = ?8 WHERE id = ?1",
            &[
                order.into(),
                json(receipt)?,
                count(counts.read),
                count(counts.filtered),
                count(counts.written),
                count(counts.deleted),
                count(counts.bytes),
                counts.source_rows.map_or(SqlValue::Null, count),
            ],
        )?;
        Ok(())
    }

    fn chunk_of(&self, order: i64, stream: i64) -> Result<(StreamName, u32)> {
        let rows = self.state.sql.exec(
            "SELECT s.schema_name, s.table_name, o.chunk FROM orders o JOIN streams s ON s.id = ?2 WHERE o.id = ?1",
            &[order.into(), stream.into()],
        )?;
        let row = rows.first().map(|row| Row(row)).ok_or_else(|| Error::internal("no such order"))?;
        let chunk: crate::core::run::Chunk = row.required_json(2)?;
        Ok((StreamName::new(row.text(0)?.unwrap_or_default(), row.text(1)?.unwrap_or_default()), chunk.index))
    }

    /// I5, the table's side: what the destination found in the published table is the sum of what the chunks' receipts
    /// say. A table that fails this moves no cursor.
    /// A crowded one loses its cursor, so that the next run reads it in full.
    fn published(&self, stream: i64, receipt: &TableReceipt, crowded: bool) -> Result<()> {
        let table = self.table_progress(stream)?.ok_or_else(|| Error::internal("no such stream"))?;
        let what = format!("table {}.{}", table.schema, table.table);
        table.counts.check(&what)?;
        if receipt.written != table.counts.written {
            let (found, sum) = (receipt.written, table.counts.written);
            return Err(Error::new(
                ErrorKind::Mismatch,
                format!("{what}: {found} rows were published, its chunks wrote {sum}"),
            ));
        }
        self.state.sql.exec(
            "UPDATE streams SET state = 'published', receipt = ?2, \
             next_cursor = CASE WHEN ?3 THEN NULL ELSE next_cursor END WHERE id = ?1",
            &[stream.into(), json(receipt)?, crowded.into()],
        )?;
        Ok(())
    }

    fn failed(
        &self,
        order: i64,
        kind: Kind,
        stream: Option<i64>,
        report: ErrorReport,
        jitter: u8,
        now: i64,
    ) -> Result<()> {
        // The worker found that its connection is gone, switched off or another one than the run was planned for.
        if report.kind == ErrorKind::Cancelled && kind != Kind::Close {
            return self.state.cancel();
        }
        let rows = self.state.sql.exec("SELECT attempt FROM orders WHERE id = ?1", &[order.into()])?;
        let attempt = rows.first().map_or(Ok(1), |row| Row(row).count(0))?;
        let attempt = u32::try_from(attempt).unwrap_or(u32::MAX);
        let decision = match kind {
            Kind::Close => Verdict::RetryIn(CLOSE_RETRY_MS),
            _ => verdict(&Error::from(report.clone()), attempt, MAX_ATTEMPTS, jitter),
        };
        match decision {
            Verdict::RetryIn(ms) => {
                self.state.add_effort(Effort { retries: 1, ..Effort::default() })?;
                let delay = i64::try_from(ms).unwrap_or(i64::MAX).saturating_mul(1_000);
                self.state.sql.exec(
                    "UPDATE orders SET state = 'pending', not_before = ?2, error = ?3 WHERE id = ?1",
                    &[order.into(), now.saturating_add(delay).into(), json(&report)?],
                )?;
                Ok(())
            }
            Verdict::Fail { needs_person } => self.settle_failure(order, kind, stream, &report, needs_person),
            // The destination knows of a newer run than this one: nothing this run does can count any more.
            Verdict::Drop => self.settle_failure(order, kind, stream, &report, false),
        }
    }

    /// An order is given up: its stream (or, while planning, the run) fails; other streams go on.
    pub(super) fn settle_failure(
        &self,
        order: i64,
        kind: Kind,
        stream: Option<i64>,
        report: &ErrorReport,
        needs_person: bool,
    ) -> Result<()> {
        if needs_person {
            self.state.put("needs_person", &true)?;
        }
        self.state.sql.exec("DELETE FROM orders WHERE id = ?1", &[order.into()])?;
        match stream {
            Some(stream) => {
                self.state.sql.exec(
                    "UPDATE streams SET state = 'failed', error = ?2 WHERE id = ?1",
                    &[stream.into(), json(report)?],
                )?;
                self.state
                    .sql
                    .exec("DELETE FROM orders WHERE stream = ?1 AND state <> 'done'", &[stream.into()])?;
            }
            None => self.state.set_run_error(report)?,
        }
        if kind == Kind::PlanRun {
            self.state.forget_streams()?;
            self.state.ensure_close()?;
        }
        self.close_when_settled()
    }

    /// A stream whose every chunk is durable is published next.
    fn advance_stream(&self, stream: Option<i64>) -> Result<()> {
        let Some(stream) = stream else { return Ok(()) };
        if self.state.is_cancelled()? {
            return Ok(());
        }
        let reading = self
            .state
            .number("SELECT COUNT(*) FROM streams WHERE id = ?1 AND state = 'reading'", &[stream.into()])?;
        let open = self.state.number(
            "SELECT COUNT(*) FROM orders WHERE stream = ?1 AND (state <> 'done' OR kind = 'publish')",
            &[stream.into()],
        )?;
        if reading == 1 && open == 0 {
            self.state.add_order(Kind::Publish, Some(stream), None, false)?;
        }
        Ok(())
    }

    fn close_when_settled(&self) -> Result<()> {
        let open = self.state.number("SELECT COUNT(*) FROM orders WHERE state <> 'done'", &[])?;
        if open == 0 && !self.state.is_over()? {
            self.state.ensure_close()?;
        }
        Ok(())
    }
}

fn required(stream: Option<i64>) -> Result<i64> {
    stream.ok_or_else(|| {
        Error::new(ErrorKind::Internal, "a report about a stream came for an order without one")
    })
}
