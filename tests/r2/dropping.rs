//! Columns that a person asked to drop.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use fivetran_do::core::ErrorKind;
use fivetran_do::core::table::{LoadMode, TableSchema};
use fivetran_do::core::types::ColumnType;
use fivetran_do::destinations::{Destination, Dropped, Publishing, TableLoad};
use serde_json::json;

use crate::harness::*;
use crate::support::objects::MemoryBucket;

/// `orders` with a column `secret`.
fn wide() -> TableSchema {
    let columns = [("id", ColumnType::Long), ("note", ColumnType::String), ("secret", ColumnType::String)];
    table(columns.map(|(name, kind)| column(name, kind, name != "id")).to_vec(), &["id"])
}

fn wide_rows(load: &TableLoad) -> RecordBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(vec![1, 2])),
        Arc::new(StringArray::from(vec!["a", "b"])),
        Arc::new(StringArray::from(vec!["s3cret-1", "s3cret-2"])),
    ];
    batch(load, columns)
}

fn loaded(destination: &dyn Destination) {
    let first = load(wide(), 1, LoadMode::Full);
    block_on(run(destination, &first, &[vec![wide_rows(&first)]])).unwrap();
}

fn dropped(destination: &dyn Destination, load: &TableLoad, columns: &[&str]) -> Dropped {
    let columns = columns.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    block_on(destination.drop_columns(load, &columns)).unwrap()
}

fn columns(bucket: &MemoryBucket) -> Vec<String> {
    let manifest = manifest(bucket);
    let columns = manifest["columns"].as_array().unwrap().iter();
    columns.map(|column| column["name"].as_str().unwrap().to_owned()).collect()
}

const LEFT: [&str; 4] = ["id", "note", "_fivetran_synced", "_fivetran_deleted"];

#[test]
fn a_dropped_column_leaves_the_manifest_at_once_and_every_file_with_the_full_load() {
    for format in ["parquet", "jsonl", "csv"] {
        let bucket = std::rc::Rc::new(MemoryBucket::default());
        let config = json!({ "bucket": "LAKE", "prefix": "lake", "format": format, "compression": "none" });
        let destination = open(&bucket, config);
        loaded(&*destination);
        let next = load(orders(), 2, LoadMode::Full);
        block_on(destination.prepare(&next)).unwrap();
        for _ in 0..2 {
            assert_eq!(dropped(&*destination, &next, &["secret"]), Dropped::UntilFullLoad, "{format}");
            assert_eq!(columns(&bucket), LEFT);
        }
        // Row 2 is gone at the source: Parquet keeps it, without the column.
        block_on(run(&*destination, &next, &[vec![order_rows(&next, &[(1, Some("a"))])]])).unwrap();
        assert_eq!(columns(&bucket), LEFT);
        for part in parts(&bucket) {
            let body = bucket.body(&format!("lake/shop/orders/{part}")).unwrap();
            assert!(!body.windows(6).any(|bytes| bytes == b"s3cret"), "{format} {part}");
        }
        if format == "parquet" {
            let rows = duckdb(&documented("Current state", &on_disk(&bucket, "dropped")));
            assert_eq!((rows.len(), rows[0].len()), (2, 4), "{rows:?}");
        }
    }
}

#[test]
fn i8_neither_a_column_of_the_load_nor_of_the_key_is_dropped() {
    let (bucket, destination) = lake();
    loaded(&*destination);
    let next = load(orders(), 2, LoadMode::Incremental);
    block_on(destination.prepare(&next)).unwrap();
    dropped(&*destination, &next, &["id", "note", "_fivetran_synced", "nowhere"]);
    assert_eq!(columns(&bucket), ["id", "note", "_fivetran_synced", "_fivetran_deleted", "secret"]);
}

#[test]
fn i4_a_run_that_is_over_drops_nothing() {
    let (bucket, destination) = lake();
    loaded(&*destination);
    let (old, new) = (load(orders(), 2, LoadMode::Incremental), load(wide(), 3, LoadMode::Full));
    block_on(destination.prepare(&old)).unwrap();
    block_on(destination.prepare(&new)).unwrap();
    let error = block_on(destination.drop_columns(&old, &["secret".to_owned()])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fenced);
    assert!(columns(&bucket).contains(&"secret".to_owned()));
}

#[test]
fn a_column_made_anew_before_the_full_load_came_through_has_no_values_and_no_type_of_the_dropped_one() {
    let (bucket, destination) = lake();
    loaded(&*destination);
    // The run that drops the column dies before it publishes, and then the column is wanted again, as a number.
    let second = load(orders(), 2, LoadMode::Full);
    block_on(destination.prepare(&second)).unwrap();
    dropped(&*destination, &second, &["secret"]);
    let mut again = wide();
    again.columns[2].column_type = ColumnType::Long;
    let third = load(again, 3, LoadMode::Full);
    let rows: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(vec![1])),
        Arc::new(StringArray::from(vec!["a"])),
        Arc::new(Int64Array::from(vec![7])),
    ];
    block_on(run(&*destination, &third, &[vec![batch(&third, rows)]])).unwrap();
    let script = documented("Current state", &on_disk(&bucket, "anew"));
    let script = script.replace("SELECT * EXCLUDE", "SELECT typeof(secret), secret, * EXCLUDE");
    let values: Vec<_> = duckdb(&script).into_iter().map(|row| (row[0].clone(), row[1].clone())).collect();
    let long = Some("BIGINT".to_owned());
    assert_eq!(values, [(long.clone(), Some("7".to_owned())), (long, None)]);
}

#[test]
fn to_drop_what_the_table_never_had_is_no_reason_to_read_it_anew() {
    let (_, destination) = lake();
    loaded(&*destination);
    let next = load(wide(), 2, LoadMode::Incremental);
    block_on(destination.prepare(&next)).unwrap();
    assert_eq!(dropped(&*destination, &next, &["nowhere"]), Dropped::Whole);
}

#[test]
fn i8_a_column_switched_on_again_before_the_full_load_keeps_what_changes_brought_since() {
    let (bucket, destination) = lake();
    loaded(&*destination);
    // The worker dies before the cursor is forgotten, and the person changes their mind.
    let second = load(orders(), 2, LoadMode::Incremental);
    block_on(destination.prepare(&second)).unwrap();
    dropped(&*destination, &second, &["secret"]);
    let third = load(wide(), 3, LoadMode::Incremental);
    block_on(run(&*destination, &third, &[vec![wide_rows(&third)]])).unwrap();
    let fourth = load(wide(), 4, LoadMode::Full);
    block_on(run(&*destination, &fourth, &[])).unwrap();
    let script = documented("Current state", &on_disk(&bucket, "again"));
    let script = script.replace("SELECT * EXCLUDE", "SELECT secret, * EXCLUDE");
    let secrets: Vec<_> = duckdb(&script).into_iter().map(|row| row[0].clone().unwrap()).collect();
    assert_eq!(secrets, ["s3cret-1", "s3cret-2"]);
}

#[test]
fn changes_that_come_between_a_drop_and_its_full_load_ask_for_that_load() {
    let (_, destination) = lake();
    loaded(&*destination);
    let second = load(orders(), 2, LoadMode::Incremental);
    block_on(destination.prepare(&second)).unwrap();
    dropped(&*destination, &second, &["secret"]);
    let publish = |load: &TableLoad| {
        block_on(destination.prepare(load)).unwrap();
        block_on(destination.publish(load, &[], fence(load, 1))).unwrap()
    };
    assert!(matches!(publish(&load(orders(), 3, LoadMode::Incremental)), Publishing::Crowded(_)));
    assert!(matches!(publish(&load(orders(), 4, LoadMode::Full)), Publishing::Done(_)));
    assert!(matches!(publish(&load(orders(), 5, LoadMode::Incremental)), Publishing::Done(_)));
}
