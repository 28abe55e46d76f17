//! The runtime truth of one connection: its live run and its cursors. The state machine behind `ConnectorDo`.
//!
//! Kept here: I1 (one live run at most) and the receiving end of I2 (cursors move on [`Advance`]s only).

use crate::core::catalog::StreamName;
use crate::core::run::Cursor;
use crate::core::{Error, ErrorKind, Result};
use crate::ports::{LocalSql, SqlValue};

use super::protocol::{Advance, ConnectorReply, ConnectorRequest, RunSpec};
use super::rows::{Row, count, json};
use super::sync_control::{StartOutcome, StartRequest, Trigger};

const SCHEMA: [&str; 2] = [
    "CREATE TABLE IF NOT EXISTS runtime (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    // `run`: the one that moved the cursor; NULL when a person set it.
    "CREATE TABLE IF NOT EXISTS cursors (schema_name TEXT NOT NULL, table_name TEXT NOT NULL, cursor TEXT NOT NULL, \
     run INTEGER, PRIMARY KEY (schema_name, table_name)) WITHOUT ROWID",
];

/// Finds `cursors` as objects have it that were made before it had `run`.
const OLD_CURSORS: &str =
    "SELECT 1 FROM sqlite_schema WHERE name = 'cursors' AND sql NOT LIKE '% run INTEGER%'";

/// Key of the live run.
const LIVE: &str = "live";
/// Key of the newest run, live or not.
const LAST: &str = "last";
/// Key of the newest due time served.
const SERVED: &str = "served";

/// The state machine; all state is in `sql`, so an evicted object loses nothing.
pub struct Connector<'a> {
    sql: &'a dyn LocalSql,
}

impl<'a> Connector<'a> {
    /// Opens the state, creating its tables when they are missing.
    ///
    /// # Errors
    /// When the storage fails.
    pub fn new(sql: &'a dyn LocalSql) -> Result<Self> {
        for statement in SCHEMA {
            sql.exec(statement, &[])?;
        }
        if !sql.exec(OLD_CURSORS, &[])?.is_empty() {
            sql.exec("ALTER TABLE cursors ADD COLUMN run INTEGER", &[])?;
        }
        Ok(Self { sql })
    }

    /// Answers one request. `now` is in microseconds UTC.
    ///
    /// # Errors
    /// [`Conflict`](ErrorKind::Conflict) for cursors set while a run is live; storage failures.
    pub fn handle(&self, request: ConnectorRequest, now: i64) -> Result<ConnectorReply> {
        match request {
            ConnectorRequest::Open { connection_id, request } => self.open(connection_id, &request, now),
            ConnectorRequest::Close { run_id, advances } => self.close(&run_id, &advances),
            ConnectorRequest::Runs => {
                Ok(ConnectorReply::Runs { live: self.get(LIVE)?, last: self.get(LAST)? })
            }
            ConnectorRequest::Cursor { stream } => self.cursor(&stream),
            ConnectorRequest::ForgetCursor { stream } => {
                self.forget_cursors(Some(&[stream]))?;
                Ok(ConnectorReply::Done)
            }
            ConnectorRequest::State => Ok(ConnectorReply::State { cursors: self.cursors()? }),
            ConnectorRequest::SetState { cursors } => self.set_state(&cursors),
            ConnectorRequest::Forget => self.forget(),
        }
    }

    /// I1: a live run is answered, never doubled. A repeated schedule message is recognised by its due time.
    fn open(&self, connection_id: String, request: &StartRequest, now: i64) -> Result<ConnectorReply> {
        if let Some(live) = self.get::<RunSpec>(LIVE)? {
            let outcome = StartOutcome::AlreadyRunning { run_id: live.run_id.clone() };
            return Ok(ConnectorReply::Opened { outcome, run: Some(live) });
        }
        if let Some(due_at) = request.due_at {
            // A served time in the future was written under a clock that ran ahead; it must not block what is due now.
            if self.get::<i64>(SERVED)?.is_some_and(|served| due_at <= served && served <= now) {
                return Ok(ConnectorReply::Opened { outcome: StartOutcome::AlreadyServed, run: None });
            }
            self.put(SERVED, &due_at)?;
        }
        if request.trigger == Trigger::Resync {
            self.forget_cursors(request.scope.as_deref())?;
        }
        let last = self.get::<RunSpec>(LAST)?;
        let number = last.as_ref().map_or(0, |run| run.number).saturating_add(1);
        // A clock that went back must not give two runs the same `_fivetran_synced`: a full load finds vanished
        // rows by comparing it.
        let started_at = last.map_or(now, |run| now.max(run.started_at.saturating_add(1_000)));
        let run_id = format!("{connection_id}.{number}");
        let run = RunSpec { run_id, connection_id, number, started_at, trigger: request.trigger };
        self.put(LIVE, &run)?;
        self.put(LAST, &run)?;
        let outcome = StartOutcome::Started { run_id: run.run_id.clone() };
        Ok(ConnectorReply::Opened { outcome, run: Some(run) })
    }

    fn close(&self, run_id: &str, advances: &[Advance]) -> Result<ConnectorReply> {
        if let Some(live) = self.get::<RunSpec>(LIVE)?.filter(|live| live.run_id == run_id) {
            for advance in advances {
                match advance.cursor() {
                    Some(cursor) => self.put_cursor(advance.stream(), cursor, Some(live.number))?,
                    None => self.forget_cursors(Some(std::slice::from_ref(advance.stream())))?,
                }
            }
            self.sql.exec("DELETE FROM runtime WHERE key = ?1", &[LIVE.into()])?;
        }
        Ok(ConnectorReply::Done)
    }

    fn set_state(&self, cursors: &[(StreamName, Cursor)]) -> Result<ConnectorReply> {
        if self.get::<RunSpec>(LIVE)?.is_some() {
            return Err(Error::new(
                ErrorKind::Conflict,
                "the state cannot be changed while a sync is running",
            )
            .remedy("Pause the connection, or wait for the sync to end"));
        }
        self.forget_cursors(None)?;
        for (stream, cursor) in cursors {
            self.put_cursor(stream, cursor, None)?;
        }
        Ok(ConnectorReply::Done)
    }

    fn forget(&self) -> Result<ConnectorReply> {
        self.forget_cursors(None)?;
        self.sql.exec("DELETE FROM runtime", &[])?;
        Ok(ConnectorReply::Done)
    }

    fn cursor(&self, stream: &StreamName) -> Result<ConnectorReply> {
        let rows = self.sql.exec(
            "SELECT cursor, run FROM cursors WHERE schema_name = ?1 AND table_name = ?2",
            &[stream.schema.as_str().into(), stream.table.as_str().into()],
        )?;
        let Some(row) = rows.first().map(|row| Row(row)) else {
            return Ok(ConnectorReply::Cursor { cursor: None, moved_by: None });
        };
        Ok(ConnectorReply::Cursor { cursor: row.json(0)?, moved_by: row.optional_count(1)? })
    }

    fn cursors(&self) -> Result<Vec<(StreamName, Cursor)>> {
        let rows = self.sql.exec(
            "SELECT schema_name, table_name, cursor FROM cursors ORDER BY schema_name, table_name",
            &[],
        )?;
        rows.iter()
            .map(|row| {
                let row = Row(row);
                let name =
                    StreamName::new(row.text(0)?.unwrap_or_default(), row.text(1)?.unwrap_or_default());
                Ok((name, row.required_json(2)?))
            })
            .collect()
    }

    fn put_cursor(&self, stream: &StreamName, cursor: &Cursor, run: Option<u64>) -> Result<()> {
        self.sql.exec(
            "INSERT INTO cursors (schema_name, table_name, cursor, run) VALUES (?1, ?2, ?3, ?4) \
             ON CONFLICT (schema_name, table_name) DO UPDATE SET cursor = excluded.cursor, run = excluded.run",
            &[
                stream.schema.as_str().into(),
                stream.table.as_str().into(),
                json(cursor)?,
                run.map_or(SqlValue::Null, count),
            ],
        )?;
        Ok(())
    }

    fn forget_cursors(&self, scope: Option<&[StreamName]>) -> Result<()> {
        let Some(streams) = scope else {
            self.sql.exec("DELETE FROM cursors", &[])?;
            return Ok(());
        };
        for stream in streams {
            self.sql.exec(
                "DELETE FROM cursors WHERE schema_name = ?1 AND table_name = ?2",
                &[stream.schema.as_str().into(), stream.table.as_str().into()],
            )?;
        }
        Ok(())
    }

    fn get<T: serde::de::DeserializeOwned>(&self, key: &str) -> Result<Option<T>> {
        let rows = self.sql.exec("SELECT value FROM runtime WHERE key = ?1", &[SqlValue::from(key)])?;
        rows.first().map(|row| Row(row).required_json(0)).transpose()
    }

    fn put<T: serde::Serialize>(&self, key: &str, value: &T) -> Result<()> {
        self.sql.exec(
            "INSERT INTO runtime (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            &[key.into(), json(value)?],
        )?;
        Ok(())
    }
}
