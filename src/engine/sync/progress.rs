//! How far a run is, and what it came to.

use crate::core::error::ErrorReport;
use crate::core::run::Counts;
use crate::core::table::LoadMode;
use crate::core::{ErrorKind, Result};
use crate::destinations::TableReceipt;
use crate::engine::protocol::{Advance, Conclusion, RunSpec};
use crate::engine::rows::Row;
use crate::engine::sync_control::{Pace, RunProgress, TableProgress};
use crate::ports::SqlValue;

use super::Sync;

const TABLES: &str = "SELECT s.schema_name, s.table_name, s.state, \
    s.selected ->> '$.request.stream.estimated_rows', s.load ->> '$.mode', s.receipt, s.error, \
    COUNT(o.id), COALESCE(SUM(o.state = 'done'), 0), COALESCE(SUM(o.rows_read), 0), \
    COALESCE(SUM(o.rows_filtered), 0), COALESCE(SUM(o.rows_written), 0), COALESCE(SUM(o.rows_deleted), 0), \
    COALESCE(SUM(o.bytes), 0), MAX(CASE WHEN o.state <> 'done' THEN o.error END), \
    CASE WHEN COUNT(o.source_rows) = SUM(o.state = 'done') THEN SUM(o.source_rows) END, \
    COALESCE(SUM(o.attempt), 0), (SELECT value FROM run WHERE key = 'since.' || s.id), \
    (SELECT value FROM run WHERE key = 'until.' || s.id) \
    FROM streams s LEFT JOIN orders o ON o.stream = s.id AND o.kind = 'read'";

impl Sync<'_> {
    pub(super) fn progress(&self, spec: &RunSpec) -> Result<RunProgress> {
        let sql = format!("{TABLES} GROUP BY s.id ORDER BY s.schema_name, s.table_name");
        let rows = self.state.sql.exec(&sql, &[])?;
        let tables = rows.iter().map(|row| table(&Row(row))).collect::<Result<Vec<_>>>()?;
        let over_at = self.state.over_at()?;
        let error = self.run_error(&tables)?;
        let state = if over_at.is_some() { self.final_state(&tables)? } else { "RUNNING" };
        Ok(RunProgress {
            run_id: spec.run_id.clone(),
            state: state.to_owned(),
            phase: self.phase()?.to_owned(),
            started_at: spec.started_at,
            ended_at: over_at,
            tables,
            effort: self.state.effort()?,
            error,
        })
    }

    pub(super) fn table_progress(&self, stream: i64) -> Result<Option<TableProgress>> {
        let sql = format!("{TABLES} WHERE s.id = ?1 GROUP BY s.id");
        let rows = self.state.sql.exec(&sql, &[stream.into()])?;
        rows.first().map(|row| table(&Row(row))).transpose()
    }

    pub(super) fn phase(&self) -> Result<&'static str> {
        if self.state.is_over()? {
            return Ok("done");
        }
        let open = |kinds: &str| {
            let sql = format!("SELECT COUNT(*) FROM orders WHERE state <> 'done' AND kind IN ({kinds})");
            self.state.number(&sql, &[])
        };
        if open("'close'")? > 0 {
            Ok("closing")
        } else if open("'plan_run'")? > 0 {
            Ok("planning")
        } else if open("'read', 'plan_stream'")? > 0 {
            Ok("reading")
        } else {
            Ok("publishing")
        }
    }

    /// Everything the closing worker needs. I5: a run with an unbalanced table cannot be successful, whatever else
    /// went well.
    pub(super) fn conclusion(&self, spec: &RunSpec) -> Result<Conclusion> {
        let mut progress = self.progress(spec)?;
        self.final_state(&progress.tables)?.clone_into(&mut progress.state);
        "done".clone_into(&mut progress.phase);
        Ok(Conclusion {
            advances: self.advances()?,
            needs_person: self.state.get("needs_person")?.unwrap_or(false),
            progress,
        })
    }

    fn final_state(&self, tables: &[TableProgress]) -> Result<&'static str> {
        if self.state.is_cancelled()? {
            return Ok("CANCELED");
        }
        let mut failures: Vec<ErrorKind> = tables.iter().filter_map(failure).collect();
        failures.extend(self.state.run_error()?.map(|error| error.kind));
        if failures.is_empty() {
            return Ok("SUCCESSFUL");
        }
        if self.state.get("needs_person")?.unwrap_or(false) {
            return Ok("FAILURE_WITH_TASK");
        }
        let passing =
            |kind: &ErrorKind| matches!(kind, ErrorKind::SourceChanged | ErrorKind::SourceThrottled);
        Ok(if failures.iter().all(passing) { "RESCHEDULED" } else { "FAILURE" })
    }

    fn run_error(&self, tables: &[TableProgress]) -> Result<Option<ErrorReport>> {
        let own = self.state.run_error()?;
        Ok(own.or_else(|| {
            tables.iter().find_map(|table| table.error.clone().filter(|_| table.state == "failed"))
        }))
    }

    /// I2: only streams with a published table, which in turn has a receipt for every chunk, may move.
    fn advances(&self) -> Result<Vec<Advance>> {
        let rows = self.state.sql.exec(
            "SELECT schema_name, table_name, next_cursor, receipt FROM streams WHERE state = 'published'",
            &[],
        )?;
        rows.iter()
            .map(|row| {
                let row = Row(row);
                let name = crate::core::catalog::StreamName::new(
                    row.text(0)?.unwrap_or_default(),
                    row.text(1)?.unwrap_or_default(),
                );
                let proof: TableReceipt = row.required_json(3)?;
                Ok(Advance::of_published_stream(name, row.json(2)?, &proof))
            })
            .collect()
    }
}

/// Why a table does not count as synced.
fn failure(table: &TableProgress) -> Option<ErrorKind> {
    if table.state == "published" && table.counts.balanced() {
        return None;
    }
    Some(table.error.as_ref().map_or(ErrorKind::Mismatch, |error| error.kind))
}

fn table(row: &Row<'_>) -> Result<TableProgress> {
    let receipt: Option<TableReceipt> = row.json(5)?;
    let own_error: Option<ErrorReport> = row.json(6)?;
    let retrying: Option<ErrorReport> = match row.0.get(14) {
        None | Some(SqlValue::Null) => None,
        Some(_) => row.json(14)?,
    };
    let pace = Pace {
        attempts: u32::try_from(row.count(16)?).unwrap_or(u32::MAX),
        since: row.json(17)?,
        until: row.json(18)?,
    };
    Ok(TableProgress {
        schema: row.text(0)?.unwrap_or_default().to_owned(),
        table: row.text(1)?.unwrap_or_default().to_owned(),
        state: row.text(2)?.unwrap_or_default().to_owned(),
        mode: row.text(4)?.map_or(Ok(LoadMode::Full), |word| serde_json::from_value(word.into()))?,
        chunks_planned: u32::try_from(row.count(7)?).unwrap_or(u32::MAX),
        chunks_done: u32::try_from(row.count(8)?).unwrap_or(u32::MAX),
        counts: Counts {
            read: row.count(9)?,
            filtered: row.count(10)?,
            written: row.count(11)?,
            deleted: row.count(12)?.saturating_add(receipt.as_ref().map_or(0, |receipt| receipt.deleted)),
            bytes: row.count(13)?,
            source_rows: row.optional_count(15)?,
        },
        estimated_rows: row.optional_count(3)?,
        live_rows: receipt.and_then(|receipt| receipt.live_rows),
        pace: Some(pace),
        error: own_error.or(retrying),
    })
}
