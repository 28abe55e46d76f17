//! Sync history: projections of what the engine did, written by it and read by the API.
//!
//! Every write is idempotent and safe in any order (invariant I3): a run is opened once, its progress counts only
//! while it is `RUNNING`, and it is closed once. Writes about a connection that is gone change nothing.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::ControlPlane;
use super::connections::read_word;
use super::log_events::{LogEvent, LogLevel, insert, stored};
use super::page::{Keyset, Listing, Page};
use super::row::Row;
use crate::core::Result;
use crate::core::error::ErrorReport;
use crate::core::run::Counts;
use crate::core::table::LoadMode;
use crate::engine::{RunProgress, TableProgress};
use crate::ports::Statement;

/// Rows of a JSON parameter: about 500 bytes each, far below D1's 2 MB.
const TABLES_PER_STATEMENT: usize = 1000;

/// A run was opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunStarted {
    /// Run.
    pub run_id: String,
    /// Connection.
    pub connection_id: String,
    /// Number within the connection ([`Fence::run`](crate::core::run::Fence::run)).
    pub number: u64,
    /// `schedule`, `manual` or `resync`.
    pub trigger: String,
    /// Microseconds UTC.
    pub started_at: i64,
    /// Next start by the clock, microseconds UTC.
    pub next_due_at: Option<i64>,
}

/// What a person must do before the next run can succeed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunTask {
    /// Fivetran's code, for example `reconnect`.
    pub code: String,
    /// For people.
    pub message: String,
}

/// A run ended.
#[derive(Clone, Debug)]
pub struct RunFinished<'a> {
    /// Run.
    pub run_id: &'a str,
    /// Connection.
    pub connection_id: &'a str,
    /// `SUCCESSFUL`, `FAILURE`, `FAILURE_WITH_TASK`, `RESCHEDULED` or `CANCELED`.
    pub state: &'a str,
    /// Microseconds UTC.
    pub ended_at: i64,
    /// Final progress of every table.
    pub progress: &'a RunProgress,
    /// When the run is tried again, for `RESCHEDULED`; microseconds UTC.
    pub rescheduled_for: Option<i64>,
    /// What a person must do, if anything: always for `FAILURE_WITH_TASK`, for `FAILURE` when it lasts.
    pub task: Option<RunTask>,
    /// True when every stream's history is complete now.
    pub historical_done: bool,
}

/// A run as kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunRecord {
    /// Id.
    pub id: String,
    /// Connection.
    pub connection_id: String,
    /// Number within the connection.
    pub number: u64,
    /// `schedule`, `manual` or `resync`.
    pub trigger: String,
    /// `RUNNING`, `SUCCESSFUL`, `FAILURE`, `FAILURE_WITH_TASK`, `RESCHEDULED` or `CANCELED`.
    pub state: String,
    /// `planning`, `reading`, `publishing`, `closing` or `done`.
    pub phase: String,
    /// Microseconds UTC.
    pub started_at: i64,
    /// Microseconds UTC.
    pub ended_at: Option<i64>,
    /// Last sign of life, microseconds UTC.
    pub active_at: i64,
    /// Sum over the tables.
    pub counts: Counts,
    /// Attempts that failed and were made again; known at the end.
    pub retries: u64,
    /// Why it failed.
    pub error: Option<ErrorReport>,
}

impl ControlPlane {
    /// Notes that a run was opened: history, the connection's state, next due time, log event `sync_start`. A live run
    /// that rests and is asked for again goes on resting. False when there was nothing to show: the run rests or is over, or
    /// its connection is gone.
    ///
    /// # Errors
    /// When the database cannot be reached; nothing is written then.
    pub async fn run_started(&self, run: &RunStarted) -> Result<bool> {
        let open = Statement::new(
            "INSERT OR IGNORE INTO sync_runs (id, connection_id, number, trigger_kind, state, started_at, active_at) \
             SELECT ?1, id, ?3, ?4, 'RUNNING', ?5, ?5 FROM connections WHERE id = ?2",
            vec![
                run.run_id.as_str().into(),
                run.connection_id.as_str().into(),
                number(run.number).into(),
                run.trigger.as_str().into(),
                run.started_at.into(),
            ],
        );
        let project = Statement::new(
            "UPDATE connections SET sync_state = 'syncing', rescheduled_for = NULL, \
             next_due_at = CASE WHEN paused = 1 OR schedule_type = 'manual' THEN NULL ELSE ?3 END \
             WHERE id = ?2 AND EXISTS (SELECT 1 FROM sync_runs WHERE id = ?1 AND state = 'RUNNING' \
             AND NOT (connections.sync_state = 'rescheduled' AND active_at > started_at))",
            vec![run.run_id.as_str().into(), run.connection_id.as_str().into(), run.next_due_at.into()],
        );
        let event = LogEvent {
            connection_id: run.connection_id.clone(),
            run_id: Some(run.run_id.clone()),
            level: LogLevel::Info,
            event: "sync_start".to_owned(),
            data: json!({ "trigger": run.trigger }),
            created_at: run.started_at,
        };
        let mut batch = vec![open, project];
        batch.extend(insert(vec![stored(&event, 0, &run.run_id)], "TRUE"));
        let results = self.home(&run.connection_id)?.batch(batch).await?;
        Ok(results.get(1).is_some_and(|projected| projected.changes > 0))
    }

    /// Notes how far a live run is. Tables are upserted by name; those not given keep what they had.
    ///
    /// # Errors
    /// When the database cannot be reached; nothing is written then.
    pub async fn run_progress(
        &self,
        run_id: &str,
        phase: &str,
        active_at: i64,
        tables: &[TableProgress],
    ) -> Result<()> {
        let mut batch = upsert_tables(run_id, tables)?;
        batch.push(Statement::new(
            format!(
                "UPDATE sync_runs SET phase = ?2, active_at = MAX(active_at, ?3), {TOTALS} \
                 WHERE id = ?1 AND state = 'RUNNING'"
            ),
            vec![run_id.into(), phase.into(), active_at.into()],
        ));
        // It may have rested (see `run_rests`) and goes on.
        batch.push(Statement::new(
            "UPDATE connections SET sync_state = 'syncing', rescheduled_for = NULL WHERE sync_state = 'rescheduled' \
             AND id = (SELECT connection_id FROM sync_runs WHERE id = ?1 AND state = 'RUNNING')",
            vec![run_id.into()],
        ));
        self.home(run_id)?.batch(batch).await?;
        Ok(())
    }

    /// Closes a run: final tables and totals, the connection's state, `succeeded_at` or `failed_at` (later than
    /// either was before: clients poll for that), tasks, next due time, log events `write_to_table_start`,
    /// `records_modified` and `write_to_table_end` per table that changed, and `sync_end`. A cancelled or rescheduled run is neither a success nor a failure: a forced restart must not look
    /// like the failure of what it started.
    ///
    /// The first call for a run known from [`ControlPlane::run_started`] counts; repeating it changes nothing. Where a
    /// newer run is live already, the connection's state stays `syncing`.
    ///
    /// # Errors
    /// When the database cannot be reached; nothing is written then.
    pub async fn run_finished(&self, run: &RunFinished<'_>) -> Result<()> {
        let mut batch = upsert_tables(run.run_id, &run.progress.tables)?;
        batch.extend(insert(closing_events(run), LIVE_EVENT));
        batch.push(project_end(run)?);
        batch.push(count(run));
        batch.push(Statement::new(
            format!(
                "UPDATE sync_runs SET state = ?2, phase = 'done', ended_at = ?3, error = ?4, retries = ?5, \
                 active_at = MAX(active_at, ?3), {TOTALS} WHERE id = ?1 AND state = 'RUNNING'"
            ),
            vec![
                run.run_id.into(),
                run.state.into(),
                run.ended_at.into(),
                run.progress.error.as_ref().map(serde_json::to_string).transpose()?.into(),
                i64::from(run.progress.effort.retries).into(),
            ],
        ));
        self.home(run.connection_id)?.batch(batch).await?;
        Ok(())
    }

    /// Live runs without a sign of life since then, the most silent of each database first, so many of each: run id and
    /// connection id. A sign of life later than
    /// `until` was given under a clock that ran ahead and was put right since; it counts for nothing, unless the run rests
    /// until that time.
    ///
    /// # Errors
    /// When no database can be reached.
    pub async fn silent_runs(
        &self,
        since_micros: i64,
        until_micros: i64,
        limit: u32,
    ) -> Result<Vec<(String, String)>> {
        let forget = "UPDATE sync_runs SET active_at = ?1 - 1 WHERE state = 'RUNNING' AND active_at > ?2 \
            AND NOT EXISTS (SELECT 1 FROM connections AS c WHERE c.id = connection_id AND c.rescheduled_for >= active_at)";
        let sql = "SELECT id, connection_id FROM sync_runs WHERE state = 'RUNNING' AND active_at < ?1 \
            ORDER BY active_at LIMIT ?2";
        let batch = vec![
            Statement::new(forget, vec![since_micros.into(), until_micros.into()]),
            Statement::new(sql, vec![since_micros.into(), i64::from(limit).into()]),
        ];
        let silent = self.rows_of_reachable(batch).await?;
        silent.iter().map(|row| Ok((row.text("id")?, row.text("connection_id")?))).collect()
    }

    /// A connection's runs, the oldest first.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn runs(&self, connection_id: &str, page: &Page) -> Result<Listing<RunRecord>> {
        let [started_at, id] = page.position();
        let sql = format!(
            "SELECT {RUN_COLUMNS} FROM sync_runs WHERE connection_id = ?1 AND (started_at, id) > (?2, ?3) \
             ORDER BY started_at, id LIMIT ?4"
        );
        let params = vec![connection_id.into(), started_at, id, (i64::from(page.limit) + 1).into()];
        let found = self.home(connection_id)?.query(Statement::new(sql, params)).await?;
        let items = found.rows.into_iter().map(|row| read_run(&Row(row))).collect::<Result<Vec<_>>>()?;
        Ok(Listing::cut(items, page.limit, |run| Keyset { created_at: run.started_at, id: run.id.clone() }))
    }

    /// A run with its tables by name.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn run(
        &self,
        connection_id: &str,
        run_id: &str,
    ) -> Result<Option<(RunRecord, Vec<TableProgress>)>> {
        let run = Statement::new(
            format!("SELECT {RUN_COLUMNS} FROM sync_runs WHERE id = ?1 AND connection_id = ?2"),
            vec![run_id.into(), connection_id.into()],
        );
        let tables = Statement::new(
            "SELECT * FROM run_tables WHERE run_id = ?1 ORDER BY schema_name, table_name",
            vec![run_id.into()],
        );
        let mut results = self.home(connection_id)?.batch(vec![run, tables]).await?.into_iter();
        let run = results.next().and_then(|result| result.rows.into_iter().next());
        let tables = results.next().map(|result| result.rows).unwrap_or_default();
        let Some(run) = run else { return Ok(None) };
        let tables = tables.into_iter().map(|row| read_table(&Row(row))).collect::<Result<Vec<_>>>()?;
        Ok(Some((read_run(&Row(run))?, tables)))
    }
}

const RUN_COLUMNS: &str = "id, connection_id, number, trigger_kind, state, phase, started_at, ended_at, active_at, \
    rows_read, rows_written, rows_filtered, rows_deleted, bytes, source_rows, retries, error";

/// A run's totals are the sums of its tables, so they can never disagree. A sum of the source's own counts means
/// something only where every table has one.
const TOTALS: &str = "(rows_read, rows_written, rows_filtered, rows_deleted, bytes, source_rows) = \
    (SELECT COALESCE(SUM(rows_read), 0), COALESCE(SUM(rows_written), 0), COALESCE(SUM(rows_filtered), 0), \
    COALESCE(SUM(rows_deleted), 0), COALESCE(SUM(bytes), 0), \
    CASE WHEN COUNT(source_rows) = COUNT(*) THEN SUM(source_rows) END FROM run_tables WHERE run_id = ?1)";

/// Adds a run that is about to be closed to the counters: its state in history still decides, so a repeated close adds
/// nothing.
fn count(run: &RunFinished<'_>) -> Statement {
    let sql = "INSERT INTO run_counters (state, runs, rows_read, rows_written, rows_filtered, rows_deleted, bytes, \
        retries) SELECT ?2, 1, sums.*, ?3 FROM (SELECT COALESCE(SUM(rows_read), 0), COALESCE(SUM(rows_written), 0), \
        COALESCE(SUM(rows_filtered), 0), COALESCE(SUM(rows_deleted), 0), COALESCE(SUM(bytes), 0) \
        FROM run_tables WHERE run_id = ?1) AS sums \
        WHERE EXISTS (SELECT 1 FROM sync_runs WHERE id = ?1 AND state = 'RUNNING') \
        ON CONFLICT (state) DO UPDATE SET runs = runs + 1, rows_read = rows_read + excluded.rows_read, \
        rows_written = rows_written + excluded.rows_written, rows_filtered = rows_filtered + excluded.rows_filtered, \
        rows_deleted = rows_deleted + excluded.rows_deleted, bytes = bytes + excluded.bytes, \
        retries = retries + excluded.retries";
    let retries = i64::from(run.progress.effort.retries).into();
    Statement::new(sql, vec![run.run_id.into(), run.state.into(), retries])
}

/// Holds for log events of runs that are still open.
const LIVE_EVENT: &str = "EXISTS (SELECT 1 FROM sync_runs AS r \
    WHERE r.id = e.value ->> 'run_id' AND r.state = 'RUNNING')";

/// SQLite's integers are signed; the numbers and counts of a real run never come near 2^63.
fn number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn upsert_tables(run_id: &str, tables: &[TableProgress]) -> Result<Vec<Statement>> {
    tables
        .chunks(TABLES_PER_STATEMENT)
        .map(|tables| {
            let rows = tables.iter().map(table_row).collect::<Result<Vec<_>>>()?;
            let sql = "INSERT INTO run_tables (run_id, schema_name, table_name, state, mode, chunks_planned, \
                chunks_done, rows_read, rows_written, rows_filtered, rows_deleted, bytes, source_rows, \
                estimated_rows, live_rows, pace, error) \
                SELECT ?1, t.value ->> 'schema', t.value ->> 'table', t.value ->> 'state', t.value ->> 'mode', \
                t.value ->> 'chunks_planned', t.value ->> 'chunks_done', t.value ->> 'read', \
                t.value ->> 'written', t.value ->> 'filtered', t.value ->> 'deleted', t.value ->> 'bytes', \
                t.value ->> 'source_rows', \
                t.value ->> 'estimated_rows', t.value ->> 'live_rows', t.value ->> 'pace', \
                t.value ->> 'error' FROM json_each(?2) AS t \
                WHERE EXISTS (SELECT 1 FROM sync_runs WHERE id = ?1 AND state = 'RUNNING') \
                ON CONFLICT (run_id, schema_name, table_name) DO UPDATE SET state = excluded.state, \
                mode = excluded.mode, chunks_planned = excluded.chunks_planned, \
                chunks_done = excluded.chunks_done, rows_read = excluded.rows_read, \
                rows_written = excluded.rows_written, rows_filtered = excluded.rows_filtered, \
                rows_deleted = excluded.rows_deleted, bytes = excluded.bytes, source_rows = excluded.source_rows, \
                estimated_rows = excluded.estimated_rows, live_rows = excluded.live_rows, \
                pace = excluded.pace, error = excluded.error";
            Ok(Statement::new(sql, vec![run_id.into(), Value::Array(rows).to_string().into()]))
        })
        .collect()
}

fn table_row(table: &TableProgress) -> Result<Value> {
    Ok(json!({
        "schema": table.schema,
        "table": table.table,
        "state": table.state,
        "mode": table.mode,
        "chunks_planned": table.chunks_planned,
        "chunks_done": table.chunks_done,
        "read": number(table.counts.read),
        "written": number(table.counts.written),
        "filtered": number(table.counts.filtered),
        "deleted": number(table.counts.deleted),
        "bytes": number(table.counts.bytes),
        "source_rows": table.counts.source_rows.map(number),
        "estimated_rows": table.estimated_rows.map(number),
        "live_rows": table.live_rows.map(number),
        "pace": table.pace.as_ref().map(serde_json::to_string).transpose()?,
        "error": table.error.as_ref().map(serde_json::to_string).transpose()?,
    }))
}

/// For every table that changed when it was written and what came of it, then `sync_end`.
fn closing_events(run: &RunFinished<'_>) -> Vec<Value> {
    let mut events = Vec::new();
    for table in &run.progress.tables {
        let changes = [("REPLACED_OR_INSERTED", table.counts.written), ("DELETED", table.counts.deleted)];
        if changes.iter().all(|(_, count)| *count == 0) {
            continue;
        }
        // Told at the end, with the times it happened: as events of their own they would be two more writes for every
        // table of every run, and a run that dies would have begun to write and never ended.
        let within = |at: Option<i64>, otherwise: i64| {
            at.unwrap_or(otherwise).clamp(run.progress.started_at.min(run.ended_at), run.ended_at)
        };
        let pace = table.pace.unwrap_or_default();
        let (since, until) = (within(pace.since, run.progress.started_at), within(pace.until, run.ended_at));
        let name = || json!({ "schema": table.schema, "table": table.table });
        events.push(table_event(run, "write_to_table_start", name(), since.min(until)));
        for (operation, count) in changes.into_iter().filter(|(_, count)| *count > 0) {
            let data = json!({ "schema": table.schema, "table": table.table, "operationType": operation,
                "count": count });
            events.push(table_event(run, "records_modified", data, until));
        }
        events.push(table_event(run, "write_to_table_end", name(), until));
    }
    let reason = run.progress.error.as_ref().map(|error| error.message.as_str());
    let level = match run.state {
        "SUCCESSFUL" | "CANCELED" => LogLevel::Info,
        "RESCHEDULED" => LogLevel::Warning,
        _ => LogLevel::Severe,
    };
    let mut data = json!({ "status": run.state });
    if let (Some(reason), Some(data)) = (reason, data.as_object_mut()) {
        data.insert("reason".to_owned(), reason.into());
    }
    events.push(closing_event(run, level, "sync_end", data));
    // `sync_start` has position 0 of the start's own microsecond; a run that ends in it still sorts after.
    (1_u32..).zip(&events).map(|(position, event)| stored(event, position, run.run_id)).collect()
}

fn table_event(run: &RunFinished<'_>, event: &str, data: Value, at: i64) -> LogEvent {
    LogEvent { created_at: at, ..closing_event(run, LogLevel::Info, event, data) }
}

fn closing_event(run: &RunFinished<'_>, level: LogLevel, event: &str, data: Value) -> LogEvent {
    LogEvent {
        connection_id: run.connection_id.to_owned(),
        run_id: Some(run.run_id.to_owned()),
        level,
        event: event.to_owned(),
        data,
        created_at: run.ended_at,
    }
}

/// What the end of a run does to its connection. A success clears tasks and mends `broken`; a failure with a task
/// breaks the connection, which stays scheduled, so that mending the source is enough to mend the connection.
///
/// The next due time was set when the run started and is left alone, so that no turn is skipped; should it have passed
/// while the run took its time, the next tick of the cron serves it: even if it was announced already, for that
/// message found the run in its way.
fn project_end(run: &RunFinished<'_>) -> Result<Statement> {
    let sql = "UPDATE connections AS c SET \
        sync_state = CASE WHEN newer.live THEN sync_state WHEN paused = 1 THEN 'paused' \
            WHEN ?3 = 'RESCHEDULED' THEN 'rescheduled' ELSE 'scheduled' END, \
        rescheduled_for = CASE WHEN newer.live THEN rescheduled_for WHEN ?3 = 'RESCHEDULED' AND paused = 0 THEN ?5 \
            END, \
        next_due_at = CASE WHEN newer.live THEN next_due_at WHEN paused = 1 THEN NULL \
            WHEN ?3 = 'RESCHEDULED' THEN ?5 WHEN schedule_type = 'manual' THEN NULL ELSE next_due_at END, \
        announced_due = NULL, \
        succeeded_at = CASE WHEN ?3 = 'SUCCESSFUL' \
            THEN MAX(?4, COALESCE(succeeded_at, 0) + 1, COALESCE(failed_at, 0) + 1) ELSE succeeded_at END, \
        failed_at = CASE WHEN ?3 IN ('FAILURE', 'FAILURE_WITH_TASK') \
            THEN MAX(?4, COALESCE(succeeded_at, 0) + 1, COALESCE(failed_at, 0) + 1) ELSE failed_at END, \
        tasks = CASE WHEN ?3 = 'SUCCESSFUL' THEN '[]' WHEN ?6 <> '[]' THEN ?6 ELSE tasks END, \
        setup_state = CASE WHEN ?3 = 'SUCCESSFUL' THEN 'connected' WHEN ?6 <> '[]' THEN 'broken' \
            ELSE setup_state END, \
        is_historical_sync = CASE WHEN ?7 THEN 0 ELSE is_historical_sync END \
        FROM (SELECT EXISTS (SELECT 1 FROM sync_runs AS other, sync_runs AS this WHERE this.id = ?1 \
            AND other.connection_id = ?2 AND other.state = 'RUNNING' AND other.number > this.number) AS live) AS newer \
        WHERE c.id = ?2 AND EXISTS (SELECT 1 FROM sync_runs WHERE id = ?1 AND state = 'RUNNING')";
    let tasks = run.task.iter().map(|task| json!({ "code": task.code, "message": task.message }));
    let params = vec![
        run.run_id.into(),
        run.connection_id.into(),
        run.state.into(),
        run.ended_at.into(),
        run.rescheduled_for.into(),
        Value::Array(tasks.collect()).to_string().into(),
        run.historical_done.into(),
    ];
    Ok(Statement::new(sql, params))
}

pub(super) fn read_counts(row: &Row) -> Result<Counts> {
    Ok(Counts {
        read: row.count("rows_read")?,
        filtered: row.count("rows_filtered")?,
        written: row.count("rows_written")?,
        deleted: row.count("rows_deleted")?,
        bytes: row.count("bytes")?,
        source_rows: row.optional_integer("source_rows")?.and_then(|rows| u64::try_from(rows).ok()),
    })
}

fn read_run(row: &Row) -> Result<RunRecord> {
    Ok(RunRecord {
        id: row.text("id")?,
        connection_id: row.text("connection_id")?,
        number: row.count("number")?,
        trigger: row.text("trigger_kind")?,
        state: row.text("state")?,
        phase: row.text("phase")?,
        started_at: row.integer("started_at")?,
        ended_at: row.optional_integer("ended_at")?,
        active_at: row.integer("active_at")?,
        counts: read_counts(row)?,
        retries: row.count("retries")?,
        error: row.optional_json("error")?,
    })
}

fn read_table(row: &Row) -> Result<TableProgress> {
    let small =
        |column: &str| Ok::<_, crate::core::Error>(u32::try_from(row.count(column)?).unwrap_or(u32::MAX));
    let optional = |column: &str| {
        Ok::<_, crate::core::Error>(row.optional_integer(column)?.and_then(|count| u64::try_from(count).ok()))
    };
    Ok(TableProgress {
        schema: row.text("schema_name")?,
        table: row.text("table_name")?,
        state: row.text("state")?,
        mode: read_word::<LoadMode>(row, "mode")?,
        chunks_planned: small("chunks_planned")?,
        chunks_done: small("chunks_done")?,
        counts: read_counts(row)?,
        estimated_rows: optional("estimated_rows")?,
        live_rows: optional("live_rows")?,
        pace: row.optional_json("pace")?,
        error: row.optional_json("error")?,
    })
}
