//! docs/reading-d1.md: its queries answer what it says, and its names are those that tables get.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int64Array, RecordBatch,
    StringArray, TimestampMicrosecondArray,
};
use fivetran_do::core::naming::{schema_names, table_names};
use fivetran_do::core::table::{ACTIVE, END, END_OF_TIME, LoadMode, START, SYNCED, TableColumn, TableSchema};
use fivetran_do::core::types::{ColumnType, UTC};
use fivetran_do::destinations::TableLoad;
use rusqlite::types::Value;

use crate::world::{World, batch, column, load, synced_at, table};

const GUIDE: &str = include_str!("../../docs/reading-d1.md");

fn decimals(precision: u8, scale: i8, values: [Option<i128>; 5]) -> ArrayRef {
    let values = Decimal128Array::from(values.to_vec());
    Arc::new(values.with_precision_and_scale(precision, scale).unwrap())
}

fn orders() -> TableSchema {
    use ColumnType::{Binary, Boolean, Decimal, Double, Json, Long, NaiveDate, String, UtcDatetime};
    let columns = [
        ("id", Long),
        ("customer", String),
        ("paid", Boolean),
        ("total", Decimal { precision: 12, scale: 2 }),
        ("rate", Decimal { precision: 18, scale: 8 }),
        ("weight", Double),
        ("placed", NaiveDate),
        ("changed", UtcDatetime),
        ("payload", Json),
        ("photo", Binary),
    ];
    TableSchema { schema: "shop_public".to_owned(), ..table("orders", &columns, 1) }
}

/// Five orders; the fourth is gone at the source at the second load, and so is the last, whose id is large.
async fn load_orders(world: &World) {
    const DAY: i64 = 86_400_000_000;
    let load_of = |run| load(orders(), run, LoadMode::Full);
    let placed = 20_512; // 2026-02-28
    let rows = |load: &TableLoad, count: usize| {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from(vec![1, 2, 3, 4, 9_007_199_254_740_993])),
            Arc::new(StringArray::from(vec![Some("Ada"), Some("Grace"), None, Some("Alan"), None])),
            Arc::new(BooleanArray::from(vec![Some(true), Some(false), None, Some(true), None])),
            decimals(12, 2, [Some(1_225), Some(10_010), None, Some(5), None]),
            decimals(18, 8, [Some(1_000_000_001), Some(900_000_000), None, Some(7), None]),
            Arc::new(Float64Array::from(vec![Some(2.5), Some(f64::NAN), Some(0.5), Some(9.0), None])),
            Arc::new(Date32Array::from(vec![Some(placed), Some(placed + 1), Some(i32::MAX), None, None])),
            Arc::new(
                TimestampMicrosecondArray::from(vec![
                    Some(i64::from(placed) * DAY + 36_930_123_456),
                    Some(0),
                    Some(i64::MAX),
                    None,
                    None,
                ])
                .with_timezone(UTC),
            ),
            Arc::new(StringArray::from(vec![Some(r#"{"tags": ["new"]}"#), None, None, None, None])),
            Arc::new(BinaryArray::from_opt_vec(vec![Some(b"\x00\xff"), None, None, None, None])),
        ];
        batch(load, columns.iter().map(|column| column.slice(0, count)).collect())
    };
    for (run, count) in [(1, 5), (2, 3)] {
        let load = load_of(run);
        let rows = rows(&load, count);
        world.load(&load, rows).await;
    }
}

/// Two prices, one of which changes.
async fn load_prices(world: &World) {
    let price = ColumnType::Decimal { precision: 10, scale: 2 };
    let mut columns = vec![column("id", ColumnType::Long), column("price", price)];
    let system = [
        (SYNCED, ColumnType::UtcDatetime),
        (START, ColumnType::UtcDatetime),
        (END, ColumnType::UtcDatetime),
        (ACTIVE, ColumnType::Boolean),
    ];
    columns.extend(system.map(|(name, column_type)| TableColumn {
        name: name.to_owned(),
        column_type,
        nullable: false,
    }));
    let prices = TableSchema {
        schema: "shop_public".to_owned(),
        table: "prices".to_owned(),
        columns,
        primary_key: vec!["id".to_owned(), START.to_owned()],
    };
    for (run, cents) in [(1, 999), (2, 1_250)] {
        let load = load(prices.clone(), run, LoadMode::Full);
        let time = |micros| -> ArrayRef {
            Arc::new(TimestampMicrosecondArray::from(vec![micros; 2]).with_timezone(UTC))
        };
        let values = Decimal128Array::from(vec![cents, 700]).with_precision_and_scale(10, 2).unwrap();
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from(vec![1, 2])),
            Arc::new(values),
            time(synced_at(run)),
            time(synced_at(run)),
            time(END_OF_TIME),
            Arc::new(BooleanArray::from(vec![true, true])),
        ];
        let rows = RecordBatch::try_new(load.table.arrow(), columns).unwrap();
        world.load(&load, rows).await;
    }
}

/// Queries of the guide, each with the answer below it.
fn examples() -> Vec<(&'static str, &'static str)> {
    let blocks = GUIDE.split("```sql\n").skip(1);
    blocks
        .map(|block| {
            let (query, rest) = block.split_once("\n```\n").expect("the end of a query");
            let answer = rest.strip_prefix("```text\n").expect("an answer right below it");
            (query, answer.split_once("\n```").expect("the end of an answer").0)
        })
        .collect()
}

fn shown(rows: &[Vec<Value>]) -> String {
    let value = |value: &Value| match value {
        Value::Null => "NULL".to_owned(),
        Value::Integer(integer) => integer.to_string(),
        Value::Real(real) => real.to_string(),
        Value::Text(text) => text.clone(),
        Value::Blob(bytes) => format!("{bytes:?}"),
    };
    let line = |row: &Vec<Value>| row.iter().map(value).collect::<Vec<_>>().join(" | ");
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn every_query_of_the_guide_answers_what_the_guide_shows() {
    let world = World::new();
    load_orders(&world).await;
    load_prices(&world).await;
    let examples = examples();
    assert!(examples.len() >= 10, "{}", examples.len());
    for (query, answer) in examples {
        assert_eq!(shown(&world.select(query.trim_end_matches(';'))), answer, "{query}");
    }
}

#[tokio::test]
async fn the_guides_names_are_those_that_tables_get() {
    let cells = |line: &'static str| {
        let cells =
            line.trim_matches('|').split('|').map(|cell| cell.trim().strip_prefix('`')?.strip_suffix('`'));
        cells.collect::<Option<Vec<_>>>().filter(|cells| cells.len() == 3)
    };
    let section = GUIDE.split("\n## ").find(|section| section.starts_with("Names")).unwrap();
    let rows = section.lines().filter_map(cells).collect::<Vec<_>>();
    assert!(rows.len() >= 6, "{rows:?}");
    let sources = rows.iter().map(|row| row[0]).collect::<Vec<_>>();
    let world = World::new();
    let schema = schema_names("shop", &["public"]).remove(0);
    for (row, name) in rows.iter().zip(table_names(&sources)) {
        let kind = [("id", ColumnType::Long)];
        let load = load(TableSchema { schema: schema.clone(), ..table(&name, &kind, 1) }, 1, LoadMode::Full);
        world.d1.prepare(&load).await.unwrap();
        let sql = format!("SELECT name FROM _fivetran_tables WHERE table_name = '{name}'");
        assert_eq!([row[1], row[2]], [name.as_str(), shown(&world.select(&sql)).as_str()], "{}", row[0]);
    }
}
