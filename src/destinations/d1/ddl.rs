//! `CREATE TABLE`, what D1 can hold, and which change leads from a table to another (I8: only wider).

use std::collections::HashSet;

use super::{catalog, names, storage};
use crate::core::limits::{D1_MAX_COLUMNS, D1_MAX_SQL_BYTES};
use crate::core::table::{TableColumn, TableSchema};
use crate::core::types::ColumnType;
use crate::core::{Error, ErrorKind, Result};

/// How a table must change to hold another one.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Its columns are stored as they must be.
    Nothing,
    /// Columns are missing.
    Add(Vec<TableColumn>),
    /// Stored values, affinities or the key change: SQLite can only copy the table.
    Rebuild,
}

/// `CREATE TABLE` for a table under a SQLite name.
///
/// D1 bills a written row per index, so every table is a single B-tree: a single integer key is the rowid itself, any
/// other key makes the table `WITHOUT ROWID`. A rowid table with such a key would cost twice the money. Measured, it
/// is also no faster and no smaller.
pub(super) fn create(table: &TableSchema, name: &str) -> String {
    let rowid = rowid_key(table);
    let mut lines: Vec<String> = table
        .columns
        .iter()
        .map(|column| {
            let key = rowid == Some(column.name.as_str());
            let not_null = !key && table.primary_key.contains(&column.name);
            format!(
                "{} {}{}{}",
                names::quote(&column.name),
                storage::declared(column.column_type),
                if key { " PRIMARY KEY" } else { "" },
                if not_null { " NOT NULL" } else { "" },
            )
        })
        .collect();
    if rowid.is_none() {
        let key = table.primary_key.iter().map(|column| names::quote(column)).collect::<Vec<_>>();
        lines.push(format!("PRIMARY KEY ({})", key.join(", ")));
    }
    let options = if rowid.is_none() { " WITHOUT ROWID" } else { "" };
    format!("CREATE TABLE IF NOT EXISTS {} ({}){options}", names::quote(name), lines.join(", "))
}

/// The key column that becomes SQLite's rowid, if there is one.
fn rowid_key(table: &TableSchema) -> Option<&str> {
    let [only] = table.primary_key.as_slice() else { return None };
    let column = table.column(only)?;
    matches!(column.column_type, ColumnType::Short | ColumnType::Int | ColumnType::Long)
        .then_some(column.name.as_str())
}

/// `ALTER TABLE ADD COLUMN`.
pub(super) fn add_column(name: &str, column: &TableColumn) -> String {
    format!(
        "ALTER TABLE {} ADD COLUMN {} {}",
        names::quote(name),
        names::quote(&column.name),
        storage::declared(column.column_type)
    )
}

/// The table that holds both what is there and what is to come. Columns the load no longer has stay.
///
/// # Errors
/// [`Conflict`](ErrorKind::Conflict) when the load's type cannot hold what is there.
pub(super) fn merge(existing: &TableSchema, load: &TableSchema) -> Result<TableSchema> {
    let mut columns = Vec::with_capacity(existing.columns.len());
    for old in &existing.columns {
        match load.column(&old.name) {
            None => columns.push(TableColumn { nullable: true, ..old.clone() }),
            Some(new) if old.column_type.widen(new.column_type) == new.column_type => {
                columns.push(TableColumn { nullable: old.nullable || new.nullable, ..new.clone() });
            }
            Some(new) => {
                return Err(Error::new(
                    ErrorKind::Conflict,
                    format!(
                        "{}: column {} holds {:?}, which {:?} cannot hold",
                        catalog::title(load),
                        old.name,
                        old.column_type,
                        new.column_type
                    ),
                )
                .remedy("Reload the schema; if it persists, drop the table and re-sync it"));
            }
        }
    }
    columns.extend(load.columns.iter().filter(|new| existing.column(&new.name).is_none()).cloned());
    Ok(TableSchema { columns, ..load.clone() })
}

/// What leads from a table with those physical columns to the target.
pub(super) fn change(existing: &TableSchema, physical: &HashSet<String>, target: &TableSchema) -> Change {
    let restored =
        existing.columns.iter().filter_map(|old| Some((old, target.column(&old.name)?))).any(|(old, new)| {
            storage::declared(old.column_type) != storage::declared(new.column_type)
                || storage::conversion(old.column_type, new.column_type, "c").is_some()
        });
    if restored || existing.primary_key != target.primary_key {
        return Change::Rebuild;
    }
    let missing: Vec<TableColumn> = target
        .columns
        .iter()
        .filter(|column| !physical.contains(&column.name.to_ascii_lowercase()))
        .cloned()
        .collect();
    if missing.is_empty() { Change::Nothing } else { Change::Add(missing) }
}

/// Refuses a table that D1 cannot hold, before anything is changed.
///
/// # Errors
/// [`DestinationLimit`](ErrorKind::DestinationLimit) or [`InvalidInput`](ErrorKind::InvalidInput), naming the table.
pub(super) fn validate(table: &TableSchema) -> Result<()> {
    let what = catalog::title(table);
    let count = table.columns.len();
    if count > D1_MAX_COLUMNS {
        return Err(Error::new(
            ErrorKind::DestinationLimit,
            format!("{what} would have {count} columns with the system columns; D1 allows {D1_MAX_COLUMNS}"),
        )
        .remedy("Exclude columns in the connection's schema settings, or use an R2 destination"));
    }
    let mut seen = HashSet::new();
    for column in &table.columns {
        if column.name.is_empty() || column.name.contains('\0') {
            return Err(Error::invalid(format!("{what} has a column whose name SQLite cannot hold")));
        }
        if !seen.insert(column.name.to_ascii_lowercase()) {
            return Err(Error::new(
                ErrorKind::DestinationLimit,
                format!("{what} has two columns {}: D1 does not tell upper from lower case", column.name),
            )
            .remedy("Exclude one of them, or use an R2 destination"));
        }
    }
    let known = |key: &String| table.column(key).is_some();
    if table.primary_key.is_empty() || !table.primary_key.iter().all(known) {
        return Err(Error::internal(format!("{what}: the key is empty or not among the columns")));
    }
    let names: usize = table.columns.iter().map(|column| column.name.len()).sum();
    // An upsert spells every column three times, with quotes and operators of some 60 bytes each, after a fixed part.
    if names * 3 + count * 60 + 2_000 > D1_MAX_SQL_BYTES {
        return Err(Error::new(
            ErrorKind::DestinationLimit,
            format!(
                "{what}: its column names are too long for one SQL statement of {D1_MAX_SQL_BYTES} bytes"
            ),
        )
        .remedy("Exclude columns in the connection's schema settings, or use an R2 destination"));
    }
    Ok(())
}
