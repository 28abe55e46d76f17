//! What D1 cannot hold is refused with a message a person can act on, and what it can hold gets in.

use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, Int32Array, Int64Array, RecordBatch, StringArray};
use fivetran_do::core::run::Counts;
use fivetran_do::core::table::LoadMode;
use fivetran_do::core::types::ColumnType;
use fivetran_do::core::{Error, ErrorKind};
use fivetran_do::destinations::TableLoad;
use rusqlite::types::Value::{Blob, Integer, Text};

use crate::world::{World, batch, column, load, people, people_batch, table};

/// `id` and so many more columns that there are `count` with the two system columns.
fn wide_table(count: usize) -> fivetran_do::core::table::TableSchema {
    let mut schema = people();
    for index in schema.columns.len()..count {
        schema.columns.insert(1, column(&format!("c{index}"), ColumnType::String));
    }
    schema
}

#[tokio::test]
async fn a_hundred_columns_fit_and_one_more_is_refused() {
    let world = World::new();
    let fits = load(wide_table(100), 1, LoadMode::Full);
    world.d1.prepare(&fits).await.unwrap();
    let nulls = fits.table.columns.iter().map(|column| {
        let values: ArrayRef = match column.column_type {
            ColumnType::String => Arc::new(StringArray::from(vec!["x"])),
            ColumnType::Long => Arc::new(Int64Array::from(vec![1])),
            other => arrow::array::new_null_array(&other.arrow(), 1),
        };
        values
    });
    let rows = RecordBatch::try_new(fits.table.arrow(), nulls.collect()).unwrap();
    world.load_chunk(&fits, 0, rows).await;
    let error = world.d1.prepare(&load(wide_table(101), 2, LoadMode::Full)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DestinationLimit);
    assert!(error.message().contains("crm.people would have 101 columns"), "{error}");
    assert!(error.remedy_text().unwrap().contains("Exclude columns"));
    assert_eq!(world.count("SELECT count(*) FROM pragma_table_info('crm__people')"), 100);
}

#[tokio::test]
async fn columns_left_from_earlier_shapes_count_too() {
    let world = World::new();
    world.d1.prepare(&load(wide_table(99), 1, LoadMode::Full)).await.unwrap();
    let mut schema = people();
    schema.columns.push(column("new one", ColumnType::Long));
    world.d1.prepare(&load(schema.clone(), 2, LoadMode::Full)).await.unwrap();
    schema.columns.push(column("new two", ColumnType::Long));
    let error = world.d1.prepare(&load(schema, 3, LoadMode::Full)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DestinationLimit);
}

#[tokio::test]
async fn columns_that_differ_only_in_case_are_refused() {
    let world = World::new();
    let schema = table("t", &[("id", ColumnType::Long), ("ID", ColumnType::Long)], 1);
    let error = world.d1.prepare(&load(schema, 1, LoadMode::Full)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DestinationLimit);
    assert!(error.message().contains("ID"), "{error}");
}

#[tokio::test]
async fn a_hundred_columns_with_very_long_names_are_refused() {
    let world = World::new();
    let mut schema = people();
    for index in 0..90 {
        schema.columns.push(column(&format!("{index}{}", "n".repeat(400)), ColumnType::String));
    }
    let error = world.d1.prepare(&load(schema, 1, LoadMode::Full)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DestinationLimit);
}

fn blobs() -> TableLoad {
    let columns = [("id", ColumnType::Int), ("text", ColumnType::String), ("bytes", ColumnType::Binary)];
    load(table("t", &columns, 1), 1, LoadMode::Full)
}

fn blob_rows(load: &TableLoad, rows: &[(i32, &str, &[u8])]) -> RecordBatch {
    let ids: ArrayRef = Arc::new(rows.iter().map(|row| Some(row.0)).collect::<Int32Array>());
    let texts: ArrayRef = Arc::new(rows.iter().map(|row| Some(row.1)).collect::<StringArray>());
    let bytes: ArrayRef = Arc::new(rows.iter().map(|row| Some(row.2)).collect::<BinaryArray>());
    batch(load, vec![ids, texts, bytes])
}

#[tokio::test]
async fn i7_a_row_of_almost_two_megabytes_arrives_exactly() {
    let world = World::new();
    let load = blobs();
    world.d1.prepare(&load).await.unwrap();
    let bytes: Vec<u8> = (0..1_950_000_u32).map(|index| (index * 7) as u8).collect();
    // A text of control characters is six times as long in JSON.
    let text = "\u{1}\"\0é".repeat(300_000);
    let rows: [(i32, &str, &[u8]); 5] =
        [(1, "before", b"x"), (2, "", &bytes), (3, "between", b"y"), (4, &text, b""), (5, "after", b"z")];
    let mut writer = world.writer(&load, 0, 1).await;
    writer.write(blob_rows(&load, &rows)).await.unwrap();
    let receipt = writer.commit(Counts { read: 5, ..Counts::default() }).await.unwrap();
    assert_eq!(receipt.counts().written, 5);
    for (id, text, bytes) in rows {
        let found = world.select(&format!("SELECT id, text, bytes FROM crm__t WHERE id = {id}"));
        assert!(found == [[Integer(i64::from(id)), Text(text.to_owned()), Blob(bytes.to_vec())]], "row {id}");
    }
}

#[tokio::test]
async fn a_row_of_more_than_two_megabytes_is_refused_by_table_key_and_size() {
    let world = World::new();
    let load = blobs();
    world.d1.prepare(&load).await.unwrap();
    let bytes = vec![0_u8; 2_000_001];
    let mut writer = world.writer(&load, 0, 1).await;
    let error = writer.write(blob_rows(&load, &[(41, "a", b""), (42, "b", &bytes)])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DestinationLimit);
    let text = error.to_string();
    assert!(text.contains("crm.t") && text.contains("id=42") && text.contains("2000029 bytes"), "{text}");
    assert!(text.contains("2000001 of them in column bytes"), "{text}");
}

#[tokio::test]
async fn a_full_database_says_so() {
    let world = World::new();
    let load = load(people(), 1, LoadMode::Full);
    world.d1.prepare(&load).await.unwrap();
    let pages = world.count("SELECT page_count FROM pragma_page_count");
    world.db.with(|connection| connection.pragma_update(None, "max_page_count", pages).unwrap());
    let name = "x".repeat(10_000);
    let rows: Vec<(i64, &str)> = (0..100).map(|id| (id, name.as_str())).collect();
    let mut writer = world.writer(&load, 0, 1).await;
    let written = writer.write(people_batch(&load, &rows)).await;
    let error: Error = match written {
        Err(error) => error,
        Ok(()) => writer.commit(Counts { read: 100, ..Counts::default() }).await.unwrap_err(),
    };
    assert_eq!(error.kind(), ErrorKind::DestinationLimit);
    assert!(error.to_string().contains("10 GB"), "{error}");
}
