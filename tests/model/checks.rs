//! What must hold at any time, and what must hold at the end.

use fivetran_do::ports::{LocalSql, SqlValue};
use proptest::prelude::*;

use super::{DAY, Model, PATIENCE};
use crate::support::world::finish;

impl Model {
    pub(super) fn check_at_any_time(&mut self) -> Result<(), TestCaseError> {
        self.check_live_runs()?;
        self.check_answers()?;
        self.check_cursor()
    }

    /// Nobody who starts, forces, pauses, edits or deletes is told of an error of ours.
    fn check_answers(&self) -> Result<(), TestCaseError> {
        let excuses = self.excuses.borrow();
        prop_assert!(excuses.is_empty(), "a request ended in {excuses:?}");
        Ok(())
    }

    /// I1: of all runs of a connection, one at most has work left.
    fn check_live_runs(&self) -> Result<(), TestCaseError> {
        let live: Vec<String> = self
            .open_runs()
            .into_iter()
            .filter(|(_, orders)| *orders > 0)
            .map(|(run_id, _)| run_id)
            .collect();
        let of = |run_id: &str| run_id.rsplit_once('.').unwrap().0.to_owned();
        for pair in live.windows(2) {
            prop_assert!(of(&pair[0]) != of(&pair[1]), "I1: {live:?} are live at once");
        }
        Ok(())
    }

    /// Runs that are not over, with the number of their orders that are not done, those to close left out.
    pub(super) fn open_runs(&self) -> Vec<(String, i64)> {
        const OPEN: &str = "SELECT EXISTS (SELECT 1 FROM run WHERE key = 'over_at'), \
            EXISTS (SELECT 1 FROM run WHERE key = 'spec'), \
            (SELECT COUNT(*) FROM orders WHERE state <> 'done' AND kind <> 'close')";
        let mut open = Vec::new();
        for (run_id, sql) in &*self.world.0.syncs.borrow() {
            if self.over.borrow().contains(run_id) {
                continue;
            }
            match sql.exec(OPEN, &[]).unwrap()[0][..] {
                [SqlValue::Integer(1), ..] => drop(self.over.borrow_mut().insert(run_id.clone())),
                [_, SqlValue::Integer(1), SqlValue::Integer(orders)] => open.push((run_id.clone(), orders)),
                _ => {}
            }
        }
        open
    }

    /// I2: what was committed before the cursor stands at the destination. Looked at whenever the cursor moved, and,
    /// where looking is cheap, whenever something was written: a stale writer spoils rows long after.
    fn check_cursor(&mut self) -> Result<(), TestCaseError> {
        let Some(cursor) = self.cursor() else { return Ok(()) };
        let writes = match self.service {
            "r2" => 0,
            "d1" => self.world.0.analytics.statements_run(),
            _ => self.warehouse.borrow().writes,
        };
        let seen = (cursor.clone(), writes);
        if self.compared == seen {
            return Ok(());
        }
        self.compared = seen;
        let cursor: u64 = cursor.parse().unwrap();
        let there = self.rows();
        for (id, (value, transaction)) in &self.ledger.borrow().rows {
            let stands = there.get(id) == Some(&(value.clone(), false));
            prop_assert!(
                *transaction >= cursor || stands,
                "I2: the cursor is at {cursor}, and row {id} of transaction {transaction} is {:?}, not {value}",
                there.get(id)
            );
        }
        Ok(())
    }

    fn cursor(&self) -> Option<String> {
        let connectors = self.world.0.connectors.borrow();
        let sql = connectors.get(&self.connection)?;
        let rows = sql.exec("SELECT cursor FROM cursors", &[]).unwrap();
        match rows.first()?.first()? {
            SqlValue::Text(text) => Some(text.clone()),
            other => panic!("a cursor is {other:?}"),
        }
    }

    /// Every run ended once, with a balanced equation; none is left over.
    pub(super) fn check_history(&self) -> Result<(), TestCaseError> {
        let count = |sql: &str| self.count(sql);
        prop_assert_eq!(self.running(), 0, "history calls a run running that is over");
        let repeated = count(
            "SELECT COUNT(*) FROM (SELECT 1 FROM sync_runs GROUP BY connection_id, number HAVING COUNT(*) > 1)",
        );
        prop_assert_eq!(repeated, 0, "two runs have one number");
        let missing = count(
            "SELECT COUNT(*) FROM (SELECT 1 FROM sync_runs GROUP BY connection_id HAVING COUNT(*) <> MAX(number))",
        );
        prop_assert_eq!(missing, 0, "a run is missing in history");
        let ends = count(
            "SELECT COUNT(*) FROM (SELECT 1 FROM log_events WHERE event = 'sync_end' GROUP BY run_id \
             HAVING COUNT(*) > 1)",
        );
        prop_assert_eq!(ends, 0, "a run ended twice");
        let unbalanced = count(
            "SELECT COUNT(*) FROM run_tables t JOIN sync_runs r ON r.id = t.run_id WHERE r.state = 'SUCCESSFUL' \
             AND t.rows_read <> t.rows_written + t.rows_filtered",
        );
        prop_assert_eq!(unbalanced, 0, "I5: a success is not balanced");
        let commits = &self.warehouse.borrow().commits;
        prop_assert!(
            commits.values().all(|times| *times == 1),
            "I3: chunks became durable twice: {commits:?}"
        );
        Ok(())
    }

    /// A number out of the control plane.
    pub(super) fn count(&self, sql: &str) -> i64 {
        let read = |sqlite: &rusqlite::Connection| {
            sqlite.prepare_cached(sql).unwrap().query_row([], |row| row.get(0)).unwrap()
        };
        self.world.0.control.with(read)
    }

    pub(super) fn has_definition(&self, connection: &str) -> bool {
        self.world.0.control.with(|sqlite| {
            let mut select = sqlite.prepare_cached("SELECT 1 FROM connections WHERE id = ?1").unwrap();
            select.exists([connection]).unwrap()
        })
    }

    /// Days later nothing is left of a connection that was deleted, but the tables are.
    pub fn check_deleted(&mut self) -> Result<(), TestCaseError> {
        if self.gone.is_empty() {
            return Ok(());
        }
        // A sweep finishes what a deletion or a start that came too late has left. The first day ends what that start has
        // begun, the second purges it.
        for _ in 0..2 {
            self.pass(DAY);
            self.calm_down()?;
            finish(self.world.engine().sweep(), PATIENCE).unwrap();
        }
        let connectors = self.world.0.connectors.borrow();
        for gone in &self.gone {
            prop_assert!(!self.has_definition(gone));
            prop_assert_eq!(connectors.get(gone).map_or(0, |sql| sql.rows()), 0, "{} has an object", gone);
            for (run_id, sql) in &*self.world.0.syncs.borrow() {
                prop_assert!(!run_id.starts_with(gone) || sql.rows() == 0, "{run_id} has an object");
            }
        }
        Ok(())
    }
}
