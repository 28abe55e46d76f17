//! The tables of a run and the small questions asked of them.

use crate::core::error::ErrorReport;
use crate::core::run::Effort;
use crate::core::{Error, Result};
use crate::engine::protocol::{RunSpec, SelectedStream};
use crate::engine::rows::{Row, count, json};
use crate::ports::{LocalSql, SqlValue};

const SCHEMA: [&str; 4] = [
    "CREATE TABLE IF NOT EXISTS run (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS streams (
        id INTEGER PRIMARY KEY,
        schema_name TEXT NOT NULL,
        table_name TEXT NOT NULL,
        state TEXT NOT NULL,              -- planned, reading, published, failed
        selected TEXT,                    -- SelectedStream; NULL when it could not be selected
        load TEXT,                        -- TableLoad
        next_cursor TEXT,                 -- Cursor
        receipt TEXT,                     -- TableReceipt
        error TEXT,                       -- ErrorReport
        UNIQUE (schema_name, table_name))",
    "CREATE TABLE IF NOT EXISTS orders (
        id INTEGER PRIMARY KEY,
        kind TEXT NOT NULL,
        rank INTEGER NOT NULL,            -- lower is leased first
        stream INTEGER,
        chunk TEXT,                       -- Chunk
        after_all INTEGER NOT NULL DEFAULT 0,
        state TEXT NOT NULL DEFAULT 'pending',
        lease INTEGER NOT NULL DEFAULT 0,
        lease_until INTEGER NOT NULL DEFAULT 0,
        attempt INTEGER NOT NULL DEFAULT 0,
        not_before INTEGER NOT NULL DEFAULT 0,
        receipt TEXT,                     -- DurableReceipt
        error TEXT,                       -- ErrorReport of the last attempt
        source_rows INTEGER,              -- NULL: the source does not count
        rows_read INTEGER NOT NULL DEFAULT 0,
        rows_filtered INTEGER NOT NULL DEFAULT 0,
        rows_written INTEGER NOT NULL DEFAULT 0,
        rows_deleted INTEGER NOT NULL DEFAULT 0,
        bytes INTEGER NOT NULL DEFAULT 0)",
    "CREATE INDEX IF NOT EXISTS orders_open ON orders (rank, id) WHERE state <> 'done'",
];

/// Wake-ups, in one row: they are noted with every order, and an object pays by the row.
#[derive(Clone, Copy, Default, serde::Serialize, serde::Deserialize)]
pub(super) struct Wakes {
    /// Announced and not answered yet.
    pub(super) on_their_way: u32,
    /// When the last was announced, microseconds UTC; 0 before the first.
    pub(super) at: i64,
    /// Rounds of them that stayed unanswered since a worker last came.
    pub(super) lost: u32,
}

/// Order kinds as stored, with their rank. Closing and publishing go first, so that what is finished becomes visible
/// before more is begun; reading goes before planning further streams, so that few tables are half-loaded at once.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Close,
    Publish,
    PlanRun,
    Read,
    PlanStream,
}

impl Kind {
    const ALL: [Self; 5] = [Self::Close, Self::Publish, Self::PlanRun, Self::Read, Self::PlanStream];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Close => "close",
            Self::Publish => "publish",
            Self::PlanRun => "plan_run",
            Self::Read => "read",
            Self::PlanStream => "plan_stream",
        }
    }

    fn rank(self) -> i64 {
        match self {
            Self::Close => 0,
            Self::Publish => 1,
            Self::PlanRun => 2,
            Self::Read => 3,
            Self::PlanStream => 4,
        }
    }

    pub(super) fn parse(name: Option<&str>) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|kind| Some(kind.name()) == name)
            .ok_or_else(|| Error::internal("a stored order has an unknown kind"))
    }
}

/// Access to the run's storage.
pub(super) struct State<'a> {
    pub(super) sql: &'a dyn LocalSql,
}

impl<'a> State<'a> {
    pub(super) fn open(sql: &'a dyn LocalSql) -> Result<Self> {
        // One look instead of four statements at every request; the index is made last, so it stands for all of them.
        let made = sql.exec("SELECT 1 FROM sqlite_schema WHERE name = 'orders_open'", &[])?;
        if made.is_empty() {
            for statement in SCHEMA {
                sql.exec(statement, &[])?;
            }
        }
        Ok(Self { sql })
    }

    pub(super) fn begin(&self, spec: &RunSpec) -> Result<()> {
        self.put("spec", spec)?;
        self.add_order(Kind::PlanRun, None, None, false)
    }

    pub(super) fn spec(&self) -> Result<Option<RunSpec>> {
        self.get("spec")
    }

    pub(super) fn required_spec(&self) -> Result<RunSpec> {
        self.spec()?.ok_or_else(|| Error::internal("this run was never opened"))
    }

    pub(super) fn over_at(&self) -> Result<Option<i64>> {
        self.get("over_at")
    }

    pub(super) fn is_over(&self) -> Result<bool> {
        Ok(self.over_at()?.is_some())
    }

    pub(super) fn is_cancelled(&self) -> Result<bool> {
        Ok(self.get::<bool>("cancelled")?.unwrap_or(false))
    }

    /// Throws every open order away but an order to close: workers that hold one find out at their next heartbeat.
    pub(super) fn cancel(&self) -> Result<()> {
        self.put("cancelled", &true)?;
        self.sql.exec("DELETE FROM orders WHERE state <> 'done' AND kind <> 'close'", &[])?;
        self.ensure_close()
    }

    /// True once nothing but the end is left to do.
    pub(super) fn is_closing(&self) -> Result<bool> {
        Ok(self.number("SELECT COUNT(*) FROM orders WHERE kind = 'close'", &[])? > 0)
    }

    /// Takes the order to close back from whoever holds it.
    pub(super) fn release_close(&self) -> Result<()> {
        self.sql.exec(
            "UPDATE orders SET state = 'pending', not_before = 0 WHERE kind = 'close' AND state <> 'done'",
            &[],
        )?;
        Ok(())
    }

    pub(super) fn finish(&self, now: i64) -> Result<()> {
        self.put("over_at", &now)
    }

    pub(super) fn run_error(&self) -> Result<Option<ErrorReport>> {
        self.get("error")
    }

    pub(super) fn set_run_error(&self, error: &ErrorReport) -> Result<()> {
        self.put("error", error)
    }

    pub(super) fn effort(&self) -> Result<Effort> {
        Ok(self.get("effort")?.unwrap_or_default())
    }

    pub(super) fn add_effort(&self, more: Effort) -> Result<()> {
        self.put("effort", &self.effort()?.plus(more))
    }

    pub(super) fn max_parallel_reads(&self) -> Result<u32> {
        Ok(self.get("max_parallel_reads")?.unwrap_or(1))
    }

    pub(super) fn add_order(
        &self,
        kind: Kind,
        stream: Option<i64>,
        chunk: Option<&crate::core::run::Chunk>,
        after_all: bool,
    ) -> Result<()> {
        let chunk = chunk.map(json).transpose()?.unwrap_or(SqlValue::Null);
        self.sql.exec(
            "INSERT INTO orders (kind, rank, stream, chunk, after_all) VALUES (?1, ?2, ?3, ?4, ?5)",
            &[kind.name().into(), kind.rank().into(), stream.into(), chunk, after_all.into()],
        )?;
        Ok(())
    }

    pub(super) fn add_streams(&self, streams: &[SelectedStream]) -> Result<()> {
        for stream in streams {
            let name = &stream.request.stream.name;
            self.sql.exec(
                "INSERT INTO streams (schema_name, table_name, state, selected) VALUES (?1, ?2, 'planned', ?3) \
                 ON CONFLICT DO NOTHING",
                &[name.schema.as_str().into(), name.table.as_str().into(), json(stream)?],
            )?;
        }
        Ok(())
    }

    pub(super) fn forget_streams(&self) -> Result<()> {
        self.sql.exec("DELETE FROM streams", &[])?;
        Ok(())
    }

    /// An order to plan each stream.
    pub(super) fn add_plan_orders(&self) -> Result<()> {
        self.sql.exec(
            "INSERT INTO orders (kind, rank, stream) SELECT ?1, ?2, id FROM streams ORDER BY id",
            &[Kind::PlanStream.name().into(), Kind::PlanStream.rank().into()],
        )?;
        Ok(())
    }

    pub(super) fn ensure_close(&self) -> Result<()> {
        if !self.is_closing()? {
            self.add_order(Kind::Close, None, None, false)?;
        }
        Ok(())
    }

    /// The next lease number; grows for ever within the run.
    pub(super) fn next_lease(&self) -> Result<u64> {
        let next = self.get::<u64>("leases")?.unwrap_or(0).saturating_add(1);
        self.put("leases", &next)?;
        Ok(next)
    }

    pub(super) fn wakes(&self) -> Result<Wakes> {
        Ok(self.get("announced")?.unwrap_or_default())
    }

    pub(super) fn record_wakes(&self, more: u32, now: i64) -> Result<()> {
        let wakes = self.wakes()?;
        self.put(
            "announced",
            &Wakes { on_their_way: wakes.on_their_way.saturating_add(more), at: now, ..wakes },
        )
    }

    /// A worker arrived (or left): one announced wake-up is used up.
    pub(super) fn redeem_wake(&self) -> Result<()> {
        let wakes = self.wakes()?;
        self.put("announced", &Wakes { on_their_way: wakes.on_their_way.saturating_sub(1), lost: 0, ..wakes })
    }

    pub(super) fn forget_lost_wakes(&self, now: i64, patience: i64) -> Result<()> {
        let wakes = self.wakes()?;
        let stale = now.saturating_sub(wakes.at) >= patience || wakes.at > now;
        if stale && wakes.on_their_way > 0 {
            self.put("announced", &Wakes { on_their_way: 0, lost: wakes.lost.saturating_add(1), ..wakes })?;
        }
        Ok(())
    }

    /// The next moment at which time alone changes what can be done. A lease that is over is none: its order waits for a worker.
    pub(super) fn next_deadline(&self, now: i64) -> Result<Option<i64>> {
        let rows = self.sql.exec(
            "SELECT MIN(at) FROM (SELECT CASE state WHEN 'leased' THEN lease_until ELSE not_before END AS at \
             FROM orders WHERE state <> 'done') WHERE at > ?1",
            &[now.into()],
        )?;
        match rows.first().and_then(|row| row.first()) {
            None | Some(SqlValue::Null) => Ok(None),
            Some(value) => Ok(Some(Row(std::slice::from_ref(value)).integer(0)?)),
        }
    }

    pub(super) fn number(&self, sql: &str, params: &[SqlValue]) -> Result<u64> {
        let rows = self.sql.exec(sql, params)?;
        rows.first().map_or(Ok(0), |row| Row(row).count(0))
    }

    pub(super) fn get<T: serde::de::DeserializeOwned>(&self, key: &str) -> Result<Option<T>> {
        let rows = self.sql.exec("SELECT value FROM run WHERE key = ?1", &[key.into()])?;
        rows.first().map(|row| Row(row).required_json(0)).transpose()
    }

    pub(super) fn put<T: serde::Serialize>(&self, key: &str, value: &T) -> Result<()> {
        self.sql.exec(
            "INSERT INTO run (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            &[key.into(), json(value)?],
        )?;
        Ok(())
    }

    pub(super) fn extend_lease(&self, order: i64, until: i64) -> Result<()> {
        self.sql.exec("UPDATE orders SET lease_until = ?2 WHERE id = ?1", &[order.into(), until.into()])?;
        Ok(())
    }

    /// Records what a leased order has read so far, for progress only.
    pub(super) fn note_partial(&self, order: i64, rows: u64, bytes: u64) -> Result<()> {
        self.sql.exec(
            "UPDATE orders SET rows_read = ?2, bytes = ?3 WHERE id = ?1",
            &[order.into(), count(rows), count(bytes)],
        )?;
        Ok(())
    }
}
