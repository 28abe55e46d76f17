//! Cursor columns: which may serve, their largest value, and the lower bound of the next read.

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
        let value = self.value(value);
        match self.base {
            "date" | "timestamp" | "timestamptz" => format!(
                "({value} - {}::pg_catalog.interval)::pg_catalog.{}",
                literal(&format!("{overlap_seconds} seconds")),
                self.base
            ),
            _ => value,
        }
    }

    /// A value as an SQL expression.
    fn value(&self, text: &str) -> String {
        format!("{}::pg_catalog.{}", literal(text), self.base)
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

/// `count - 1` values at equal distances between the smallest and `largest`, as SQL expressions, in order; none for texts,
/// which have no distances.
///
/// # Errors
/// When the server fails.
pub(super) async fn cuts(
    session: &mut Session,
    stream: &StreamName,
    column: &CursorColumn,
    largest: &str,
    count: u64,
) -> Result<Vec<String>> {
    let base = column.base;
    let (name, largest) = (identifier(&column.name), column.value(largest));
    // Infinities have no distances either.
    let (finite, step) = match base {
        "text" | "varchar" => return Ok(Vec::new()),
        "date" => (format!("isfinite({name})"), format!("low + ((high - low)::int8 * i / {count})::int4")),
        "timestamp" | "timestamptz" => {
            (format!("isfinite({name})"), format!("low + (high - low) * (i::float8 / {count})"))
        }
        _ => {
            let finite = match base {
                "numeric" => format!("{name}::text NOT IN ('NaN', 'Infinity', '-Infinity')"),
                _ => "true".to_owned(),
            };
            (finite, format!("(low::numeric + (high::numeric - low::numeric) * i / {count})::{base}"))
        }
    };
    let sql = format!(
        "{begin}SET LOCAL search_path TO DEFAULT; SELECT DISTINCT {step} AS cut FROM generate_series(1, {count} - 1) i CROSS JOIN \
         (SELECT min({name}) AS low, {largest} AS high FROM {relation} WHERE {finite}) ends \
         WHERE low < high ORDER BY cut; COMMIT",
        begin = session.begin,
        relation = qualified(&stream.schema, &stream.table),
    );
    let cuts = session.query(&sql, &format!("dividing the values of {} of {stream}", column.name)).await?;
    Ok(cuts.iter().map(|cut| column.value(cut)).collect())
}
