//! Connections whose time has come.

use super::ControlPlane;
use crate::core::Result;
use crate::ports::Statement;

/// Holds for connections that the clock may start now (?1). Paused, incomplete and syncing ones are left out, so are those
/// that wait for the time their source asked for, and manual ones unless their sync was rescheduled.
pub(super) const IS_DUE: &str = "next_due_at IS NOT NULL AND next_due_at <= ?1 AND paused = 0 \
    AND (schedule_type = 'auto' OR rescheduled_for IS NOT NULL) \
    AND (rescheduled_for IS NULL OR rescheduled_for <= ?1) \
    AND setup_state <> 'incomplete' AND sync_state <> 'syncing'";

/// Longest time a claim holds: what the message of a connection waits for that was lost while the queue was long.
const LONGEST_PATIENCE_MICROS: i64 = 15 * 60_000_000;

impl ControlPlane {
    /// Claims up to `limit` due connections of each database for the queue, the longest overdue first: id and due time. A
    /// due time claimed less than `patience` microseconds ago is left out, so sweeps that overlap, or that follow each other while the queue
    /// is long, announce it once; after that its message counts as lost. Whose claim was late already is given as long
    /// again: with one patience for all, a queue longer than it got a message more of everybody in it every few minutes,
    /// three times as many as there was work (docs/scale.md).
    ///
    /// # Errors
    /// When no database can be reached; nothing is claimed then.
    pub async fn claim_due(&self, now_micros: i64, patience: i64, limit: u32) -> Result<Vec<(String, i64)>> {
        // A claim from the future was made under a clock that ran ahead; it must not hold anybody back.
        let sql = format!(
            "UPDATE connections SET announced_due = next_due_at, announced_at = ?1 WHERE id IN ( \
             SELECT id FROM connections WHERE {IS_DUE} \
             AND (announced_due IS NOT next_due_at OR announced_at > ?1 \
             OR ?1 - announced_at > MIN({LONGEST_PATIENCE_MICROS}, MAX(?2, announced_at - next_due_at))) \
             ORDER BY next_due_at LIMIT ?3) RETURNING id, next_due_at"
        );
        let params = vec![now_micros.into(), patience.into(), i64::from(limit).into()];
        let mut due = self
            .rows_of_reachable(vec![Statement::new(sql, params)])
            .await?
            .iter()
            .map(|row| Ok((row.text("id")?, row.integer("next_due_at")?)))
            .collect::<Result<Vec<_>>>()?;
        // RETURNING promises no order, and databases know nothing of each other.
        due.sort_by_key(|(_, due_at)| *due_at);
        Ok(due)
    }

    /// Gives a claim back: whoever had it could not serve that due time now.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn release_due(&self, connection_id: &str, due_at: i64) -> Result<()> {
        let sql = "UPDATE connections SET announced_due = NULL WHERE id = ?1 AND announced_due = ?2";
        self.home(connection_id)?
            .query(Statement::new(sql, vec![connection_id.into(), due_at.into()]))
            .await?;
        Ok(())
    }
}
