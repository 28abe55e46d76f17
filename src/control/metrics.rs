//! The numbers behind `GET /metrics`: counters kept by [`run_finished`](ControlPlane::run_finished), and what partial
//! indexes answer about the moment. History is never scanned.

use super::ControlPlane;
use super::due::IS_DUE;
use super::row::Row;
use crate::core::Result;
use crate::core::run::Counts;
use crate::ports::{QueryResult, Statement};

/// All runs that ever ended in one state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndedRuns {
    /// `SUCCESSFUL`, `FAILURE`, `FAILURE_WITH_TASK`, `RESCHEDULED` or `CANCELED`.
    pub state: String,
    /// How many.
    pub runs: u64,
    /// Sum of what they moved.
    pub counts: Counts,
    /// Attempts that failed and were made again.
    pub retries: u64,
}

/// How many wait, and since when (microseconds UTC) the first of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// How many.
    pub count: u64,
    /// `None` when there are none.
    pub since: Option<i64>,
}

/// A moment of the service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metrics {
    /// By state.
    pub ended: Vec<EndedRuns>,
    /// Runs that are live, and the start of the oldest.
    pub running: Waiting,
    /// Connections that are due and not started, and the oldest due time.
    pub overdue: Waiting,
    /// Those of them that are on the queue, and when the first was sent.
    pub queued: Waiting,
}

impl ControlPlane {
    /// A moment of the service, in one round trip to each database that reads a row per live run and per overdue connection.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn metrics(&self, now_micros: i64) -> Result<Metrics> {
        let overdue = format!(
            "SELECT COUNT(*) AS overdue, MIN(next_due_at) AS due, \
             COALESCE(SUM(announced_due IS next_due_at), 0) AS queued, \
             MIN(CASE WHEN announced_due IS next_due_at THEN announced_at END) AS announced \
             FROM connections WHERE {IS_DUE}"
        );
        let running =
            "SELECT COUNT(*) AS running, MIN(started_at) AS started FROM sync_runs WHERE state = 'RUNNING'";
        let batch = vec![
            Statement::new("SELECT * FROM run_counters ORDER BY state", vec![]),
            Statement::new(running, vec![]),
            Statement::new(overdue, vec![now_micros.into()]),
        ];
        let mut metrics = Metrics::default();
        for results in self.everywhere(batch).await? {
            let mut results = results.into_iter();
            let mut next = || results.next().unwrap_or_default();
            let (ended, running, overdue) = (next(), next(), next());
            for row in ended.rows.into_iter().map(Row) {
                metrics.count(ended_runs(&row)?);
            }
            metrics.running = metrics.running.with(waiting(&running, "running", "started")?);
            metrics.queued = metrics.queued.with(waiting(&overdue, "queued", "announced")?);
            metrics.overdue = metrics.overdue.with(waiting(&overdue, "overdue", "due")?);
        }
        metrics.ended.sort_by(|one, other| one.state.cmp(&other.state));
        Ok(metrics)
    }
}

impl Metrics {
    /// Adds what one database has counted.
    fn count(&mut self, more: EndedRuns) {
        match self.ended.iter_mut().find(|known| known.state == more.state) {
            Some(known) => {
                known.runs = known.runs.saturating_add(more.runs);
                known.counts = known.counts.plus(more.counts);
                known.retries = known.retries.saturating_add(more.retries);
            }
            None => self.ended.push(more),
        }
    }
}

impl Waiting {
    /// Those of two databases.
    fn with(self, other: Self) -> Self {
        let since = [self.since, other.since].into_iter().flatten().min();
        Self { count: self.count.saturating_add(other.count), since }
    }
}

fn ended_runs(row: &Row) -> Result<EndedRuns> {
    Ok(EndedRuns {
        state: row.text("state")?,
        runs: row.count("runs")?,
        counts: super::runs::read_counts(row)?,
        retries: row.count("retries")?,
    })
}

fn waiting(result: &QueryResult, count: &str, since: &str) -> Result<Waiting> {
    let Some(row) = result.rows.first() else { return Ok(Waiting::default()) };
    let row = Row(row.clone());
    Ok(Waiting { count: row.count(count)?, since: row.optional_integer(since)? })
}
