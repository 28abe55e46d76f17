//! One destination's tables and their history; serialises schema changes. The state machine behind `DestinationDo`.

use futures::lock::Mutex;

use crate::control::ControlPlane;
use crate::core::fault_point::FaultPoint;
use crate::core::table::{LoadMode, TableSchema};
use crate::core::table_change::TableChange;
use crate::core::{Error, ErrorKind, Result};
use crate::destinations::{Destination, Dropped, Standing, TableLoad};
use crate::ports::{LocalSql, Ports};

use super::protocol::{NotedChange, TableVersion};
use super::rows::{Row, json};
use super::{table_changes, table_owner};

const SCHEMA: &str = "CREATE TABLE IF NOT EXISTS versions (schema_name TEXT NOT NULL, table_name TEXT NOT NULL, \
    version INTEGER NOT NULL, definition TEXT NOT NULL, run_id TEXT NOT NULL, at INTEGER NOT NULL, \
    PRIMARY KEY (schema_name, table_name, version)) WITHOUT ROWID";

/// Serialises schema changes of one destination. Lives as long as the object, so that two events of it share it: an
/// awaited destination call lets other events in, which the platform's input gate does not prevent.
#[derive(Default)]
pub struct SchemaLock(Mutex<()>);

/// The state machine; all state is in `sql`.
pub struct Tables<'a> {
    sql: &'a dyn LocalSql,
}

impl<'a> Tables<'a> {
    /// Opens the state, creating its table when it is missing.
    ///
    /// # Errors
    /// When the storage fails.
    pub fn new(sql: &'a dyn LocalSql) -> Result<Self> {
        sql.exec(SCHEMA, &[])?;
        Ok(Self { sql })
    }

    /// Widens what the run wants by what is there (I8), creates or alters the table, and records the version.
    /// Returns the table as the run must load it, and what the run changed about it.
    ///
    /// No table, with nothing done, when changes are to go to a table that does not hold what they follow (I2): it is not there,
    /// because the user dropped it or the destination is another place now; or its last published run is older than
    /// `since`, the run that moved the cursor, because it was restored to an older state.
    ///
    /// # Errors
    /// The destination's; [`DestinationLimit`](ErrorKind::DestinationLimit) when the table has too many columns;
    /// [`DestinationConfig`](ErrorKind::DestinationConfig) when another connection loads it.
    pub async fn prepare(
        &self,
        lock: &SchemaLock,
        destination: &dyn Destination,
        mut load: TableLoad,
        since: Option<u64>,
        control: &ControlPlane,
        ports: &Ports,
    ) -> Result<(Option<TableSchema>, Option<NotedChange>)> {
        let _turn = lock.0.lock().await;
        let standing = destination.standing(&load.table.schema, &load.table.table).await?;
        table_owner::claim(destination, standing.as_ref(), &load, control).await?;
        if load.mode == LoadMode::Incremental && !holds(standing.as_ref(), &load, since) {
            return Ok((None, None));
        }
        let current = standing.and_then(|standing| standing.table);
        if let Some(current) = &current {
            widen(&mut load.table, current);
        }
        check_width(destination, &load.table, current.as_ref())?;
        let change = TableChange::between(current.as_ref(), &load.table);
        let noted = table_changes::note(self.sql, &load, change.as_ref(), ports.clock.now_micros())?;
        destination.prepare(&load).await?;
        ports.reach(FaultPoint::AfterDdl, &load.run_id).await?;
        self.record(&load, ports.clock.now_micros())?;
        Ok((Some(load.table), noted))
    }

    /// Drops columns of a table that was prepared for the load, which must be of the connection that owns it.
    ///
    /// # Errors
    /// The destination's; [`DestinationConfig`](ErrorKind::DestinationConfig) when another connection loads the table.
    pub async fn drop_columns(
        &self,
        lock: &SchemaLock,
        destination: &dyn Destination,
        load: &TableLoad,
        columns: &[String],
        control: &ControlPlane,
    ) -> Result<Dropped> {
        let _turn = lock.0.lock().await;
        let standing = destination.standing(&load.table.schema, &load.table.table).await?;
        table_owner::claim(destination, standing.as_ref(), load, control).await?;
        destination.drop_columns(load, columns).await
    }

    /// The newest version of those tables that there are, by schema and name.
    ///
    /// # Errors
    /// When the storage fails.
    pub fn current(&self, tables: &[(String, String)]) -> Result<Vec<TableSchema>> {
        // With a single MAX() SQLite takes the other columns from the row that holds the maximum.
        let rows = self.sql.exec(
            "SELECT definition, MAX(version) FROM versions WHERE (schema_name, table_name) IN \
             (SELECT value ->> 0, value ->> 1 FROM json_each(?1)) GROUP BY schema_name, table_name",
            &[json(&tables)?],
        )?;
        rows.iter().map(|row| Row(row).required_json(0)).collect()
    }

    /// Every version of a table, oldest first.
    ///
    /// # Errors
    /// When the storage fails.
    pub fn history(&self, schema: &str, table: &str) -> Result<Vec<TableVersion>> {
        let rows = self.sql.exec(
            "SELECT version, definition, run_id, at FROM versions WHERE schema_name = ?1 AND table_name = ?2 \
             ORDER BY version",
            &[schema.into(), table.into()],
        )?;
        rows.iter()
            .map(|row| {
                let row = Row(row);
                Ok(TableVersion {
                    version: u32::try_from(row.count(0)?).unwrap_or(u32::MAX),
                    table: row.required_json(1)?,
                    run_id: row.text(2)?.unwrap_or_default().to_owned(),
                    at: row.integer(3)?,
                })
            })
            .collect()
    }

    /// Forgets every history; the tables themselves are the user's and stay (I8).
    ///
    /// # Errors
    /// When the storage fails.
    pub fn forget(&self) -> Result<()> {
        self.sql.exec("DELETE FROM versions", &[])?;
        table_changes::forget(self.sql)
    }

    fn record(&self, load: &TableLoad, now: i64) -> Result<()> {
        let table = &load.table;
        let history = self.history(&table.schema, &table.table)?;
        if history.last().is_some_and(|version| version.table == *table) {
            return Ok(());
        }
        let version = history.last().map_or(0, |version| version.version).saturating_add(1);
        self.sql.exec(
            "INSERT INTO versions (schema_name, table_name, version, definition, run_id, at) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            &[
                table.schema.as_str().into(),
                table.table.as_str().into(),
                i64::from(version).into(),
                json(table)?,
                load.run_id.as_str().into(),
                now.into(),
            ],
        )?;
        Ok(())
    }
}

/// Whether the table is there and holds what that run of the load's connection, if a run it was, published.
fn holds(standing: Option<&Standing>, load: &TableLoad, since: Option<u64>) -> bool {
    let Some(standing) = standing.filter(|standing| standing.table.is_some()) else { return false };
    let published = standing.published.filter(|_| standing.owner == load.connection_id);
    since.is_none_or(|since| published.is_some_and(|published| published >= since))
}

/// No column gets narrower than it is (I8).
fn widen(wanted: &mut TableSchema, current: &TableSchema) {
    for column in &mut wanted.columns {
        if let Some(there) = current.column(&column.name) {
            column.column_type = there.column_type.widen(column.column_type);
        }
    }
}

/// Columns that the source no longer has stay at the destination and count.
fn check_width(
    destination: &dyn Destination,
    wanted: &TableSchema,
    current: Option<&TableSchema>,
) -> Result<()> {
    let kept = current.map_or(0, |current| {
        current.columns.iter().filter(|column| wanted.column(&column.name).is_none()).count()
    });
    let total = wanted.columns.len().saturating_add(kept);
    let limit = destination.capabilities().max_columns;
    if total <= limit {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::DestinationLimit,
        format!(
            "table {}.{} needs {total} columns, and {} takes {limit}",
            wanted.schema,
            wanted.table,
            destination.capabilities().service
        ),
    )
    .remedy("Disable columns in the connection's schema configuration, or send this table to R2"))
}
