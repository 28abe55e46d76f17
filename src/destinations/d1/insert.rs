//! The SQL of a bulk upsert: one JSON parameter of many rows, unpacked by SQLite itself.
//!
//! Measured in workerd's D1 (miniflare 5, November 2026) with 18 lineitem-like columns and 1.9 MB parameters: `jsonb_each` 280,000 rows/s,
//! `json_each` 145,000 rows/s; `value->>0`, `value->>'$[0]'` and `json_extract` make no difference, nor do four
//! statements in a batch instead of one.

use super::names::quote;
use super::watermark::{self, GUARD_PARAMS};
use crate::core::table::{TableColumn, TableSchema};
use crate::core::types::ColumnType;
use crate::ports::Statement;

/// Where a column's value comes from in an upsert.
pub(super) enum Origin {
    /// From the JSON row.
    Row,
    /// From that many parameters, put together again.
    Params(usize),
}

/// A statement of a merge; its parameters are the guard's, the rows and the large values.
pub(super) struct Step {
    /// SQL.
    pub(super) sql: String,
    /// Whether the rows it changes are rows of the source taken in.
    pub(super) takes_rows: bool,
}

/// The parameter that holds the JSON rows.
pub(super) const ROWS_PARAM: usize = GUARD_PARAMS + 1;

/// The upsert of a table. Parameters `?1` to `?7` are the guard's, `?8` holds the rows, further ones hold the values
/// of columns whose origin is [`Origin::Params`], in column order. A key that occurs twice is no error: SQLite takes
/// the rows in order, so the last one wins.
pub(super) fn upsert(
    table: &TableSchema,
    name: &str,
    reader: &str,
    origin: impl Fn(usize) -> Origin,
) -> String {
    let columns = list(table.columns.iter().map(|column| quote(&column.name)));
    let values = list(values(table, origin).into_iter());
    let key = list(table.primary_key.iter().map(|column| quote(column)));
    let updates = list(
        table
            .columns
            .iter()
            .filter(|column| !table.primary_key.contains(&column.name))
            .map(|column| format!("{0} = excluded.{0}", quote(&column.name))),
    );
    // A table of nothing but its key is updated in place, where DO NOTHING would do: every row must count as a change.
    let updates = match table.primary_key.first() {
        Some(key) if updates.is_empty() => format!("{0} = excluded.{0}", quote(key)),
        _ => updates,
    };
    format!(
        "INSERT INTO {table} ({columns}) SELECT {values} FROM {reader}(?{ROWS_PARAM}) WHERE {guard} \
         ON CONFLICT ({key}) DO UPDATE SET {updates}",
        table = quote(name),
        guard = watermark::guard(),
    )
}

/// SQL of a row's values, in column order.
pub(super) fn values(table: &TableSchema, origin: impl Fn(usize) -> Origin) -> Vec<String> {
    let mut next_param = ROWS_PARAM + 1;
    let value = |(index, column): (usize, &TableColumn)| match origin(index) {
        Origin::Row => from_row(index, column),
        Origin::Params(count) => {
            let params: Vec<usize> = (next_param..next_param + count).collect();
            next_param += count;
            from_params(&params, column)
        }
    };
    table.columns.iter().enumerate().map(value).collect()
}

/// How many rows the statement before it in the same batch took: SQLite's own count, which leaves out what the user's
/// triggers did, as D1's `meta.changes` does not.
pub(super) fn count_changes() -> Statement {
    Statement::new("SELECT CAST(changes() AS TEXT) AS changes", Vec::new())
}

fn from_row(index: usize, column: &TableColumn) -> String {
    match column.column_type {
        ColumnType::Binary => format!("unhex(value->>{index})"),
        _ => format!("value->>{index}"),
    }
}

/// SQLite's `||` keeps bytes as they are, so pieces of a BLOB can be put together as text.
fn from_params(params: &[usize], column: &TableColumn) -> String {
    let pieces = |wrap: fn(&usize) -> String| params.iter().map(wrap).collect::<Vec<_>>().join(" || ");
    match column.column_type {
        ColumnType::Binary => format!("CAST({} AS BLOB)", pieces(|param| format!("unhex(?{param})"))),
        _ => pieces(|param| format!("?{param}")),
    }
}

pub(super) fn list(items: impl Iterator<Item = String>) -> String {
    items.collect::<Vec<_>>().join(", ")
}
