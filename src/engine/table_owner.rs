//! Whose a destination table is.
//!
//! The schema a table lands in is made of the connection's prefix and the source's schema, so two connections may meet:
//! prefix `a` with schema `b_c`, and prefix `a_b` with schema `c`. Each would take the other's rows for vanished ones. The
//! second to come is refused, and not merged: Fivetran merges silently there, which nobody has ever wanted.

use crate::control::ControlPlane;
use crate::core::{Error, ErrorKind, Result};
use crate::destinations::TableLoad;
use crate::ports::LocalSql;

use super::rows::Row;

const SCHEMA: &str = "CREATE TABLE IF NOT EXISTS owners (schema_name TEXT NOT NULL, table_name TEXT NOT NULL, \
    connection_id TEXT NOT NULL, PRIMARY KEY (schema_name, table_name)) WITHOUT ROWID";

/// Notes that the load's connection owns its table. A table whose owner was deleted is free to take: that is how a
/// connection made anew goes on with its tables.
///
/// # Errors
/// [`DestinationConfig`](ErrorKind::DestinationConfig) when the table is another living connection's; storage failures.
pub(super) async fn claim(sql: &dyn LocalSql, load: &TableLoad, control: &ControlPlane) -> Result<()> {
    sql.exec(SCHEMA, &[])?;
    if let Some(owner) = other_owner(sql, load)? {
        if control.connection(&owner).await?.is_some() {
            return Err(taken(load, &owner));
        }
        // Others had their turn during the await; only the owner that is gone may be replaced.
        if other_owner(sql, load)?.is_some_and(|now| now != owner) {
            return Err(Error::new(ErrorKind::DestinationUnavailable, "the table just found another owner"));
        }
    }
    sql.exec(
        "INSERT INTO owners (schema_name, table_name, connection_id) VALUES (?1, ?2, ?3) \
         ON CONFLICT (schema_name, table_name) DO UPDATE SET connection_id = excluded.connection_id",
        &[
            load.table.schema.as_str().into(),
            load.table.table.as_str().into(),
            load.connection_id.as_str().into(),
        ],
    )?;
    Ok(())
}

/// Forgets every owner.
pub(super) fn forget(sql: &dyn LocalSql) -> Result<()> {
    sql.exec("DROP TABLE IF EXISTS owners", &[])?;
    Ok(())
}

fn other_owner(sql: &dyn LocalSql, load: &TableLoad) -> Result<Option<String>> {
    let rows = sql.exec(
        "SELECT connection_id FROM owners WHERE schema_name = ?1 AND table_name = ?2 AND connection_id <> ?3",
        &[
            load.table.schema.as_str().into(),
            load.table.table.as_str().into(),
            load.connection_id.as_str().into(),
        ],
    )?;
    rows.first().map(|row| Ok(Row(row).text(0)?.unwrap_or_default().to_owned())).transpose()
}

fn taken(load: &TableLoad, owner: &str) -> Error {
    Error::new(
        ErrorKind::DestinationConfig,
        format!("table {}.{} is loaded by connection {owner} already", load.table.schema, load.table.table),
    )
    .remedy(
        "Make this connection anew with another schema or prefix, or delete the other one; its table stays",
    )
}
