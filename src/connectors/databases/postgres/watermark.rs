//! Cursor columns: which may serve, their largest value, and the lower bound of the next read.

use serde_json::Value;

use super::range::Range;
use super::session::Session;
use super::sql::{identifier, literal, qualified};
use super::types::CatalogColumn;
use crate::core::catalog::StreamName;
use crate::core::{Error, ErrorKind, Result};

/// Rows from which an incremental read by cursor column is cut into page ranges: a few seconds of decoding.
pub(super) const MANY_ROWS: u64 = 2_000_000;

/// A column that can serve as cursor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CursorColumn {
    /// Name.
    pub(super) name: String,
    /// Base type in `pg_catalog`.
    base: &'static str,
}

impl CursorColumn {
    /// The column of that name, if values of its type grow in a way the server and we agree on.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) when the type cannot serve,
    /// [`SourceConfig`](ErrorKind::SourceConfig) when there is no such column: planning again would not find it either.
    pub(super) fn of(columns: &[CatalogColumn], name: &str, stream: &StreamName) -> Result<Self> {
        const USABLE: [&str; 9] =
            ["int2", "int4", "int8", "numeric", "date", "timestamp", "timestamptz", "text", "varchar"];
        let column = columns.iter().find(|column| column.name == name).ok_or_else(|| {
            Error::new(ErrorKind::SourceConfig, format!("{stream} has no column {name}"))
                .field("config.cursor_columns")
                .remedy("Name a column of the table, in the database's own upper and lower case")
        })?;
        let base = USABLE.into_iter().find(|usable| *usable == column.base).ok_or_else(|| {
            Error::invalid(format!("Column {name} of {stream} has type {}, which cannot serve as cursor", column.declared))
                .field("config.cursor_columns")
                .remedy("Name a column of an integer, numeric, date, timestamp or text type that grows with every change")
        })?;
        Ok(Self { name: name.to_owned(), base })
    }

    /// The first value to read again, an SQL expression. The bound itself is included: rows of equal value may have
    /// been committed since. Dates and times go back further, by the overlap.
    pub(super) fn lower_bound(&self, value: &str, overlap_seconds: u32) -> String {
        let value = format!("{}::pg_catalog.{}", literal(value), self.base);
        match self.base {
            "date" | "timestamp" | "timestamptz" => format!(
                "({value} - {}::pg_catalog.interval)::pg_catalog.{}",
                literal(&format!("{overlap_seconds} seconds")),
                self.base
            ),
            _ => value,
        }
    }

    /// The expression of the largest value. A timestamp in the future (a typing error, `infinity`) must not become the
    /// cursor, or all rows until then would be lost; a numeric NaN is larger than any number.
    fn largest(&self) -> String {
        let column = identifier(&self.name);
        match self.base {
            "timestamptz" => format!("least(max({column}), now())::text"),
            "timestamp" => format!("least(max({column}), localtimestamp)::text"),
            "date" => format!("least(max({column}), current_date)::text"),
            "numeric" => format!("(max({column}) FILTER (WHERE {column} <> 'NaN'))::text"),
            _ => format!("max({column})::text"),
        }
    }
}

/// The largest value there is, as text; `None` when there is none. Taken before the first chunk is read, never after:
/// rows committed while chunks are read would otherwise be skipped for ever.
///
/// # Errors
/// When the server fails.
pub(super) async fn largest(
    session: &mut Session,
    stream: &StreamName,
    column: &CursorColumn,
) -> Result<Option<String>> {
    let relation = qualified(&stream.schema, &stream.table);
    let sql = format!(
        "{}SET LOCAL search_path TO DEFAULT; SELECT {} FROM {relation}; COMMIT",
        session.begin,
        column.largest()
    );
    let during = format!("reading the largest {} of {stream}", column.name);
    let rows = session.query(&sql, &during).await?;
    // A NULL arrives as an empty string, which is also what the largest of only empty strings would be: then there is
    // no cursor and the next sync is full, which is right as well.
    Ok(rows.into_iter().next().filter(|value| !value.is_empty()))
}

/// The planner's estimate of the rows of a range, if it gives one.
///
/// # Errors
/// When the server fails.
pub(super) async fn estimate(session: &mut Session, range: &Range) -> Result<Option<u64>> {
    let sql = format!(
        "{}SET LOCAL search_path TO DEFAULT; EXPLAIN (FORMAT JSON) {}; COMMIT",
        session.begin,
        range.select(&["1".to_owned()])
    );
    let during = format!("estimating the changes of {}", range.relation.quoted());
    let rows = session.query(&sql, &during).await?;
    let plan: Value = rows.first().and_then(|row| serde_json::from_str(row).ok()).unwrap_or_default();
    Ok(plan.pointer("/0/Plan/Plan Rows").and_then(Value::as_f64).map(|rows| rows as u64))
}
