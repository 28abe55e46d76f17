//! What a run changes about a table, noted before it is done: after a crash in between the table says nothing of it any
//! more, and the log would never hear of it. Repeating the preparation finds the note of its own run.

use crate::core::Result;
use crate::core::table_change::TableChange;
use crate::destinations::TableLoad;
use crate::ports::LocalSql;

use super::protocol::NotedChange;
use super::rows::{Row, json};

const SCHEMA: &str = "CREATE TABLE IF NOT EXISTS changes (schema_name TEXT NOT NULL, table_name TEXT NOT NULL, \
    run_id TEXT NOT NULL, change TEXT NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (schema_name, table_name)) WITHOUT ROWID";

/// Notes what the load is about to change, unless its run has noted something before, and gives what is noted of it.
pub(super) fn note(
    sql: &dyn LocalSql,
    load: &TableLoad,
    change: Option<&TableChange>,
    now: i64,
) -> Result<Option<NotedChange>> {
    sql.exec(SCHEMA, &[])?;
    if let Some(change) = change {
        sql.exec(
            "INSERT INTO changes (schema_name, table_name, run_id, change, at) VALUES (?1, ?2, ?3, ?4, ?5) \
             ON CONFLICT (schema_name, table_name) DO UPDATE \
             SET run_id = excluded.run_id, change = excluded.change, at = excluded.at WHERE run_id <> excluded.run_id",
            &[
                load.table.schema.as_str().into(),
                load.table.table.as_str().into(),
                load.run_id.as_str().into(),
                json(change)?,
                now.into(),
            ],
        )?;
    }
    let rows = sql.exec(
        "SELECT change, at FROM changes WHERE schema_name = ?1 AND table_name = ?2 AND run_id = ?3",
        &[load.table.schema.as_str().into(), load.table.table.as_str().into(), load.run_id.as_str().into()],
    )?;
    rows.first()
        .map(|row| Ok(NotedChange { change: Row(row).required_json(0)?, at: Row(row).integer(1)? }))
        .transpose()
}

/// Forgets every note.
pub(super) fn forget(sql: &dyn LocalSql) -> Result<()> {
    sql.exec("DROP TABLE IF EXISTS changes", &[])?;
    Ok(())
}
