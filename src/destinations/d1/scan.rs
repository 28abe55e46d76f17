//! Reads rows back in key order, page by page, as Arrow.
//!
//! Every value crosses D1's border as text, because the border rounds 64-bit integers and knows no NaN; the inverse of
//! [`storage`](super::storage). A page is as many rows as make about [`PAGE_BYTES`], found by their lengths before any
//! of them is fetched: rows have between a few bytes and two million.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::database::Database;
use super::names::{self, quote};
use super::pages::{compare, key_of};
use super::{catalog, publish, storage};
use crate::core::parse::{BytesForm, ColumnParser};
use crate::core::table::{START, TableSchema};
use crate::core::types::ColumnType;
use crate::core::{Error, ErrorKind, Result};
use crate::destinations::{KeyRange, Visit};
use crate::ports::{SqlValue, Statement};

/// Characters of text and bytes of BLOBs on a page. JSON and JavaScript hold a page several times over.
const PAGE_BYTES: u32 = 2_000_000;

/// Most rows of a page.
const PAGE_ROWS: u32 = 4_000;

/// Bad values named one by one; more would help nobody.
const NAMED_PROBLEMS: usize = 10;

/// See [`Destination::scan`](crate::destinations::Destination::scan).
pub(super) async fn scan(
    database: &Database,
    table: &TableSchema,
    range: &KeyRange,
    visit: Visit<'_>,
) -> Result<Vec<String>> {
    let what = catalog::title(table);
    let name = names::physical(&table.schema, &table.table);
    let entry = catalog::find(database, &name, &what)
        .await?
        .ok_or_else(|| Error::new(ErrorKind::NotFound, format!("{what} was not synced yet")))?;
    // Of a history only one version of a key stands, so the start needs not be compared.
    let mut key = key_of(&entry.definition);
    key.retain(|(column, _)| *column != quote(START));
    let stored = |values: &Option<Vec<String>>| {
        values.as_ref().map(|values| {
            let typed = values.iter().zip(&key);
            typed.map(|(value, (_, kind))| stored_key(*kind, value)).collect::<Vec<_>>()
        })
    };
    let (mut after, upto) = (stored(&range.after), stored(&range.upto));
    let live = publish::live(&entry.definition);
    let mut problems = Vec::new();
    loop {
        let statement = page(table, &name, &key, &live, after.as_deref(), upto.as_deref());
        let rows = database.query(&what, statement).await?.rows;
        let Some(last) = rows.last() else { return Ok(problems) };
        let next = (0..key.len())
            .map(|index| Ok(catalog::text(last, &format!("k{index}"))?.into()))
            .collect::<Result<Vec<SqlValue>>>()?;
        visit(&batch(table, &what, &rows, &mut problems)?)?;
        after = Some(next);
    }
}

/// The statement of a page: the rows after `after` whose sizes add up to a page, at least one.
fn page(
    table: &TableSchema,
    name: &str,
    key: &[(String, ColumnType)],
    live: &str,
    after: Option<&[SqlValue]>,
    upto: Option<&[SqlValue]>,
) -> Statement {
    let mut params = Vec::new();
    let mut conditions = vec![live.to_owned()];
    for (bound, operator) in [(after, ">"), (upto, "<=")] {
        if let Some(values) = bound {
            conditions.push(compare(key, operator, params.len() + 1));
            params.extend_from_slice(values);
        }
    }
    let conditions = conditions.join(" AND ");
    let keys = key.iter().map(|(column, _)| column.as_str()).collect::<Vec<_>>().join(", ");
    let texts = key
        .iter()
        .enumerate()
        .map(|(index, (column, kind))| format!("{} AS k{index}", storage::key_to_text(*kind, column)));
    let values = table.columns.iter().enumerate().map(|(index, column)| {
        format!("{} AS c{index}", storage::to_text(column.column_type, &quote(&column.name)))
    });
    let selected = texts.chain(values).collect::<Vec<_>>().join(", ");
    let sql = format!(
        "WITH sizes AS (SELECT {keys}, sum(size) OVER (ORDER BY {keys}) AS upto, \
         row_number() OVER (ORDER BY {keys}) AS number FROM (SELECT {keys}, {size} AS size FROM {table} \
         WHERE {conditions} ORDER BY {keys} LIMIT {PAGE_ROWS})) \
         SELECT {selected} FROM {table} WHERE {conditions} AND ({keys}) <= (SELECT {keys} FROM sizes \
         WHERE number = 1 OR upto <= {PAGE_BYTES} ORDER BY number DESC LIMIT 1) ORDER BY {keys}",
        size = size(table),
        table = quote(name),
    );
    Statement::new(sql, params)
}

/// SQL of a row's size. Put together as a balanced tree: SQLite limits the depth of expressions to the number of
/// columns D1 allows.
fn size(table: &TableSchema) -> String {
    let mut terms: Vec<String> = table
        .columns
        .iter()
        .filter(|column| matches!(storage::declared(column.column_type), "TEXT" | "BLOB"))
        .map(|column| format!("coalesce(length({}), 0)", quote(&column.name)))
        .collect();
    terms.push((table.columns.len() * 16).to_string());
    while terms.len() > 1 {
        terms = terms.chunks(2).map(|pair| format!("({})", pair.join(" + "))).collect();
    }
    terms.concat()
}

/// A key value as [`storage::key_from_text`] takes it, from its general text form.
fn stored_key(column_type: ColumnType, text: &str) -> SqlValue {
    match column_type {
        ColumnType::Boolean => if text == "true" { "1" } else { "0" }.into(),
        ColumnType::Binary => {
            let bytes = STANDARD.decode(text).unwrap_or_default();
            bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into()
        }
        _ => text.into(),
    }
}

/// The table's columns, all of them nullable: what is stored may not be what was written.
fn schema(table: &TableSchema) -> SchemaRef {
    let mut lenient = table.clone();
    lenient.columns.iter_mut().for_each(|column| column.nullable = true);
    lenient.arrow()
}

fn batch(
    table: &TableSchema,
    what: &str,
    rows: &[serde_json::Map<String, Value>],
    problems: &mut Vec<String>,
) -> Result<RecordBatch> {
    let mut columns = Vec::with_capacity(table.columns.len());
    for (index, column) in table.columns.iter().enumerate() {
        let mut parser = ColumnParser::new(column.column_type, BytesForm::Hex);
        let place = format!("c{index}");
        for row in rows {
            let (text, known) = match row.get(&place) {
                Some(Value::String(text)) => (Some(text.as_str()), true),
                None | Some(Value::Null) => (None, true),
                Some(_) => (None, false),
            };
            if (!parser.push(text) || !known) && problems.len() < NAMED_PROBLEMS {
                let key = (0..table.primary_key.len())
                    .filter_map(|index| row.get(&format!("k{index}")).and_then(Value::as_str));
                let key = key.collect::<Vec<_>>().join(", ");
                let (name, kind) = (&column.name, column.column_type);
                problems.push(format!("{what}: column {name} of the row {key} holds what is no {kind}"));
            }
        }
        columns.push(parser.finish()?);
    }
    Ok(RecordBatch::try_new(schema(table), columns)?)
}
