//! Old history goes.

use super::ControlPlane;
use crate::core::Result;
use crate::ports::Statement;

/// Runs and log events of one statement: D1 runs one statement at a time, and a delete of this many takes milliseconds.
const BATCH: u32 = 500;

/// What was deleted, in rows; the tables of runs are counted where the database counts them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Runs.
    pub runs: u64,
    /// Log events.
    pub events: u64,
}

impl Pruned {
    /// Whether there may be more to delete.
    #[must_use]
    pub fn more(&self) -> bool {
        self.runs.max(self.events) >= u64::from(BATCH)
    }
}

impl ControlPlane {
    /// Deletes one batch, of each database, of the oldest runs and log events if they ended before that time (microseconds UTC).
    ///
    /// # Errors
    /// When a database cannot be reached; others may have deleted then.
    pub async fn prune(&self, before_micros: i64) -> Result<Pruned> {
        // Row ids grow with every insert, so the oldest runs are the first rows: no index on the time is needed, which
        // would cost a written row per run.
        let runs = "DELETE FROM sync_runs WHERE rowid IN (SELECT rowid FROM sync_runs ORDER BY rowid LIMIT ?2) \
            AND ended_at < ?1";
        // The ids of log events begin with their time.
        let events = "DELETE FROM log_events WHERE id IN (SELECT id FROM log_events WHERE id < ?1 ORDER BY id LIMIT ?2)";
        let limit = i64::from(BATCH);
        let batch = vec![
            Statement::new(runs, vec![before_micros.into(), limit.into()]),
            Statement::new(events, vec![format!("{:020}", before_micros.max(0)).into(), limit.into()]),
        ];
        let mut pruned = Pruned::default();
        for results in self.everywhere(batch).await? {
            let mut changes = results.into_iter().map(|result| result.changes);
            pruned.runs = pruned.runs.saturating_add(changes.next().unwrap_or(0));
            pruned.events = pruned.events.saturating_add(changes.next().unwrap_or(0));
        }
        Ok(pruned)
    }
}
