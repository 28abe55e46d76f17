//! Reads rows in key order, for comparison with a destination.

use super::config::Config;
use super::range::{Range, Rows};
use super::read::{self, OpenChunk};
use super::relation::Relation;
use super::session::Session;
use super::sql::literal;
use super::types::{CatalogColumn, Format};
use crate::connectors::{KeyScan, StreamRequest};
use crate::core::run::Chunk;
use crate::core::{Error, Result};

/// Opens the transaction of a range: like a chunk of the whole table, ordered and cut short.
///
/// # Errors
/// As [`read::open`].
pub(super) async fn open(
    session: &mut Session,
    config: &Config,
    request: &StreamRequest,
    scan: &KeyScan,
) -> Result<OpenChunk> {
    let relation = Relation::look_up(session, &request.stream.name).await?;
    let itself = relation.itself(&request.stream.name);
    let name = itself.quoted();
    let range = Range {
        rows: Rows::All,
        relation: itself,
        pages: None,
        files: Vec::new(),
        horizon: relation.horizon,
    };
    let chunk = Chunk { index: 0, range: range.to_json()?, estimated_rows: None, after_all: false };
    let mut open = read::open(session, config, request, &chunk).await?;
    let tail = in_order(&open, &relation.columns, &name, scan)?;
    open.select.push_str(&tail);
    Ok(open)
}

/// `WHERE key > (...) ORDER BY key LIMIT n`. The names are qualified, because a bare one in `ORDER BY` means the
/// output column, which may be the text form of the key.
fn in_order(open: &OpenChunk, columns: &[CatalogColumn], relation: &str, scan: &KeyScan) -> Result<String> {
    let mut order = Vec::with_capacity(scan.key.len());
    let mut bounds = Vec::with_capacity(scan.key.len());
    for (index, name) in scan.key.iter().enumerate() {
        let passage = open.columns.iter().find(|(column, _)| column == name);
        let column = columns.iter().find(|column| column.name == *name);
        let (Some((_, passage)), Some(column)) = (passage, column) else {
            return Err(Error::internal(format!("the key column {name} is not read")));
        };
        let qualified = format!("{relation}.{}", super::sql::identifier(name));
        order.push(expression(passage.format, column, &qualified));
        if let Some(after) = &scan.after {
            let value = after.get(index).ok_or_else(|| Error::internal("a bound lacks a key column"))?;
            bounds.push(bound(passage.format, value));
        }
    }
    let order = order.join(", ");
    let from = match &scan.after {
        Some(_) => format!(" WHERE ({order}) > ({})", bounds.join(", ")),
        None => String::new(),
    };
    Ok(format!("{from} ORDER BY {order} LIMIT {}", scan.limit))
}

/// What the rows are ordered by. Texts by their bytes, as destinations order them: where the column has another
/// collation the server sorts, since the key's index does not help it.
fn expression(format: Format, column: &CatalogColumn, name: &str) -> String {
    match (format, column.base.as_str()) {
        // The cast to text would strip the padding.
        (Format::Text, "bpchar") => {
            format!("pg_catalog.textin(pg_catalog.bpcharout({name})) COLLATE pg_catalog.\"C\"")
        }
        (Format::Text, "inet") => {
            format!("pg_catalog.textin(pg_catalog.inet_out({name})) COLLATE pg_catalog.\"C\"")
        }
        (Format::Text | Format::Jsonb, _) => format!("{name}::pg_catalog.text COLLATE pg_catalog.\"C\""),
        _ => name.to_owned(),
    }
}

/// A key value from its text form.
fn bound(format: Format, text: &str) -> String {
    let typed = |base: &str| format!("{}::pg_catalog.{base}", literal(text));
    match format {
        Format::Bool => typed("bool"),
        Format::Int2 => typed("int2"),
        Format::Int4 => typed("int4"),
        Format::Int8 => typed("int8"),
        Format::Oid => typed("oid"),
        Format::Float4 => typed("float4"),
        Format::Float8 => typed("float8"),
        Format::Numeric { .. } => typed("numeric"),
        Format::Date => typed("date"),
        Format::Time => typed("time"),
        Format::Timestamp { utc: false } => typed("timestamp"),
        Format::Timestamp { utc: true } => typed("timestamptz"),
        Format::Bytes => format!("pg_catalog.decode({}, 'base64')", literal(text)),
        Format::Uuid => typed("uuid"),
        Format::Text | Format::Jsonb => format!("{} COLLATE pg_catalog.\"C\"", typed("text")),
    }
}
