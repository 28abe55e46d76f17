//! Rows a full load does not find any more stay, marked deleted.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray};
use fivetran_do::core::table::{LoadMode, TableSchema};
use fivetran_do::core::types::ColumnType;
use fivetran_do::destinations::{Destination, TableReceipt};

use crate::harness::*;
use crate::support::objects::MemoryBucket;

/// `id, note, deleted, hour of _fivetran_synced` of the current state.
fn state(bucket: &MemoryBucket) -> Vec<[String; 4]> {
    let script = documented("Current state", &on_disk(bucket, "state")).replace(
        "SELECT * EXCLUDE",
        "SELECT id::VARCHAR, coalesce(note, '-'), _fivetran_deleted::VARCHAR, \
         ((epoch_us(_fivetran_synced) - 1700000000000000) // 3600000000)::VARCHAR, * EXCLUDE",
    );
    let rows = duckdb(&script).into_iter();
    rows.map(|row| [0, 1, 2, 3].map(|cell| row[cell].clone().unwrap())).collect()
}

fn full(destination: &dyn Destination, number: u64, rows: &[(i64, Option<&str>)]) -> TableReceipt {
    let load = load(orders(), number, LoadMode::Full);
    block_on(run(destination, &load, &[vec![order_rows(&load, rows)]])).unwrap()
}

fn changes(destination: &dyn Destination, number: u64, rows: &[(i64, Option<&str>)]) {
    let load = load(orders(), number, LoadMode::Incremental);
    block_on(run(destination, &load, &[vec![order_rows(&load, rows)]])).unwrap();
}

#[test]
pub fn a_vanished_row_keeps_its_last_values_and_its_time() {
    let (bucket, destination) = lake();
    full(&*destination, 1, &[(1, Some("a")), (2, Some("b")), (3, None)]);
    changes(&*destination, 2, &[(2, Some("b2"))]);
    let receipt = full(&*destination, 3, &[(1, Some("a3")), (4, None)]);
    assert_eq!(receipt, TableReceipt { written: 2, deleted: 2, live_rows: Some(2) });
    let expected = [
        ["1", "a3", "false", "3"],
        ["2", "b2", "true", "2"],
        ["3", "-", "true", "1"],
        ["4", "-", "false", "3"],
    ];
    assert_eq!(state(&bucket), expected);
    assert!(parts(&bucket)[1].contains("/deleted-000000-"));
}

#[test]
pub fn marked_rows_are_carried_along_until_their_key_comes_back() {
    let (bucket, destination) = lake();
    full(&*destination, 1, &[(1, Some("a")), (2, Some("b"))]);
    assert_eq!(full(&*destination, 2, &[(2, Some("b"))]).deleted, 1);
    assert_eq!(full(&*destination, 3, &[(2, Some("b"))]).deleted, 0, "counted once");
    assert_eq!(state(&bucket)[0], ["1", "a", "true", "1"]);
    let receipt = full(&*destination, 4, &[(1, Some("back")), (2, Some("b"))]);
    assert_eq!(receipt, TableReceipt { written: 2, deleted: 0, live_rows: Some(2) });
    assert_eq!(state(&bucket)[0], ["1", "back", "false", "4"]);
    assert_eq!(parts(&bucket).len(), 1);
}

#[test]
pub fn an_empty_source_marks_everything() {
    let (bucket, destination) = lake();
    full(&*destination, 1, &[(1, Some("a")), (2, Some("b"))]);
    assert_eq!(full(&*destination, 2, &[]), TableReceipt { written: 0, deleted: 2, live_rows: Some(0) });
    assert_eq!(state(&bucket), [["1", "a", "true", "1"], ["2", "b", "true", "1"]]);
}

#[test]
pub fn rows_seen_twice_in_a_load_count_once() {
    let (_, destination) = lake();
    full(&*destination, 1, &[(1, None)]);
    let receipt = full(&*destination, 2, &[(1, None), (2, None), (2, Some("moved while it was read"))]);
    assert_eq!(receipt.live_rows, Some(2));
}

fn keyed(key_type: ColumnType) -> TableSchema {
    table(vec![column("id", key_type, false), column("note", ColumnType::String, true)], &["id"])
}

fn typed(destination: &dyn Destination, number: u64, key_type: ColumnType, ids: ArrayRef) -> TableReceipt {
    let load = load(keyed(key_type), number, LoadMode::Full);
    let notes = StringArray::from_iter_values((0..ids.len()).map(|_| "x"));
    let rows = batch(&load, vec![ids, Arc::new(notes)]);
    block_on(run(destination, &load, &[vec![rows]])).unwrap()
}

#[test]
pub fn a_key_that_widened_still_matches() {
    let ints = || -> ArrayRef { Arc::new(Int32Array::from(vec![1, 2, 3])) };
    let (bucket, destination) = lake();
    typed(&*destination, 1, ColumnType::Int, ints());
    let longs = Arc::new(Int64Array::from(vec![2, 3, i64::MAX]));
    let receipt = typed(&*destination, 2, ColumnType::Long, longs);
    assert_eq!(receipt, TableReceipt { written: 3, deleted: 1, live_rows: Some(3) });
    let text = Arc::new(StringArray::from(vec!["3", "x"]));
    let receipt = typed(&*destination, 3, ColumnType::String, text);
    assert_eq!(receipt, TableReceipt { written: 2, deleted: 2, live_rows: Some(2) });
    assert_eq!(parts(&bucket).len(), 3, "marked rows of two types, in a file each");
    let ids: Vec<_> = state(&bucket).into_iter().map(|row| format!("{} {}", row[0], row[2])).collect();
    assert_eq!(ids, ["1 true", "2 true", "3 false", "9223372036854775807 true", "x false"]);
}

#[test]
pub fn a_table_whose_keys_cannot_be_compared_is_replaced() {
    use arrow::array::Float64Array;
    let (bucket, destination) = lake();
    typed(&*destination, 1, ColumnType::Double, Arc::new(Float64Array::from(vec![0.1])));
    let receipt = typed(&*destination, 2, ColumnType::String, Arc::new(StringArray::from(vec!["a"])));
    assert_eq!(receipt, TableReceipt { written: 1, deleted: 0, live_rows: Some(1) });
    assert_eq!(parts(&bucket).len(), 1);

    let mut other_key = load(keyed(ColumnType::String), 3, LoadMode::Full);
    other_key.table.primary_key = vec!["note".to_owned()];
    let ids: ArrayRef = Arc::new(StringArray::from(vec!["b"]));
    let rows = batch(&other_key, vec![Arc::clone(&ids), ids]);
    let receipt = block_on(run(&*destination, &other_key, &[vec![rows]])).unwrap();
    assert_eq!(receipt.deleted, 0);
    assert_eq!(manifest(&bucket)["primary_key"], serde_json::json!(["note"]));
}

#[test]
pub fn keys_of_every_type_and_of_several_columns_are_told_apart() {
    let columns = vec![
        column("id", ColumnType::Long, false),
        column("note", ColumnType::String, true),
        column("day", ColumnType::UtcDatetime, false),
    ];
    let schema = table(columns, &["note", "day"]);
    let rows = |number: u64, notes: &[Option<&str>], days: &[i64]| {
        use arrow::array::TimestampMicrosecondArray;
        let load = load(schema.clone(), number, LoadMode::Full);
        let ids = Int64Array::from_iter_values(0..notes.len() as i64);
        let days = TimestampMicrosecondArray::from(days.to_vec()).with_timezone("+00:00");
        let columns: Vec<ArrayRef> =
            vec![Arc::new(ids), Arc::new(StringArray::from(notes.to_vec())), Arc::new(days)];
        let rows: RecordBatch = batch(&load, columns);
        (load, rows)
    };
    let (_, destination) = lake();
    let (first, all) = rows(1, &[None, Some(""), Some("a"), Some("a")], &[1, 1, 1, 2]);
    block_on(run(&*destination, &first, &[vec![all]])).unwrap();
    let (second, some) = rows(2, &[Some("a"), None], &[2, 1]);
    let receipt = block_on(run(&*destination, &second, &[vec![some]])).unwrap();
    assert_eq!(receipt, TableReceipt { written: 2, deleted: 2, live_rows: Some(2) });
}

/// Rows `from..to`, in chunks of 200,000.
fn many(destination: &dyn Destination, number: u64, from: i64, to: i64) -> TableReceipt {
    let load = load(orders(), number, LoadMode::Full);
    let ids: Vec<i64> = (from..to).collect();
    let chunks: Vec<_> = ids
        .chunks(200_000)
        .map(|ids| {
            let notes = StringArray::from(vec!["x"; ids.len()]);
            let ids: ArrayRef = Arc::new(Int64Array::from(ids.to_vec()));
            vec![batch(&load, vec![ids, Arc::new(notes)])]
        })
        .collect();
    block_on(run(destination, &load, &chunks)).unwrap()
}

#[test]
fn i9_millions_of_keys_are_compared_in_steps_that_read_them_once() {
    set_key_budget(None);
    let (bucket, destination) = lake();
    many(&*destination, 1, 0, 1_300_000);
    bucket.take_log();
    // A million keys stay, 300,000 are gone, 300,000 are new.
    let receipt = many(&*destination, 2, 300_000, 1_600_000);
    assert_eq!(receipt, TableReceipt { written: 1_300_000, deleted: 300_000, live_rows: Some(1_300_000) });
    let log = bucket.take_log();
    let read =
        |what: &str| log.iter().filter(|line| line.starts_with("get_range") && line.contains(what)).count();
    // Its footer and its keys, twice where a run began in the middle, and its rows, which are gone.
    assert!(read("00000001-full/c000000") <= 8, "{}", read("00000001-full/c000000"));
    let keys =
        log.iter().filter(|line| line.starts_with("multipart_complete") && line.contains("/keys-")).count();
    assert_eq!(keys, 4, "2.6 million keys, 700,000 in memory at once");
    // Everything vanishes.
    assert_eq!(
        many(&*destination, 3, 0, 0),
        TableReceipt { written: 0, deleted: 1_300_000, live_rows: Some(0) }
    );
    let script = documented("Current state", &on_disk(&bucket, "many"));
    let counts = format!(
        "{} SELECT count(*)::VARCHAR, count(DISTINCT id)::VARCHAR, sum(id)::VARCHAR, bool_and(_fivetran_deleted)::VARCHAR \
         FROM read_parquet(getvariable('files'));",
        script.split_at(script.rfind("SELECT * EXCLUDE").unwrap()).0
    );
    let sum: i64 = (0..1_600_000).sum();
    let expected = ["1600000".to_owned(), "1600000".to_owned(), sum.to_string(), "true".to_owned()];
    assert_eq!(duckdb(&counts), [expected.map(Some)]);
    assert!(!bucket.keys().iter().any(|key| key.contains("/resync/")));
}

#[test]
pub fn a_full_load_mends_a_table_whose_part_is_gone_or_damaged() {
    for damaged in [false, true] {
        let (bucket, destination) = lake();
        full(&*destination, 1, &[(1, Some("a")), (2, Some("b"))]);
        changes(&*destination, 2, &[(3, Some("c"))]);
        let key = "lake/shop/orders/data/00000001-full/c000000-1.parquet";
        if damaged {
            let mut body = bucket.body(key).unwrap().to_vec();
            body[4..60].fill(0xff);
            bucket.meddle(key, &body);
        } else {
            use fivetran_do::ports::ObjectStore as _;
            block_on(bucket.delete(&[key.to_owned()])).unwrap();
        }
        // What was only in that part cannot be marked any more; what is readable is.
        let receipt = full(&*destination, 3, &[(1, Some("a"))]);
        assert_eq!(receipt, TableReceipt { written: 1, deleted: 1, live_rows: Some(1) }, "{damaged}");
        let ids: Vec<_> = state(&bucket).into_iter().map(|row| format!("{} {}", row[0], row[2])).collect();
        assert_eq!(ids, ["1 false", "3 true"], "{damaged}");
    }
}

#[test]
pub fn a_row_that_vanished_before_its_column_became_text_is_still_read_with_the_others() {
    use arrow::array::BinaryArray;
    let text = |value: &str| -> ArrayRef { Arc::new(StringArray::from(vec![value])) };
    let bytes: ArrayRef = Arc::new(BinaryArray::from(vec![&b"\xab"[..]]));
    // As when a column begins to be hashed.
    for (old, values, stays) in [(ColumnType::Json, text("{}"), "{}"), (ColumnType::Binary, bytes, "qw==")] {
        let (bucket, destination) = lake();
        let rows = |number, kind, id: i64, values| {
            let columns = vec![column("id", ColumnType::Long, false), column("note", kind, true)];
            let load = load(table(columns, &["id"]), number, LoadMode::Full);
            let rows = batch(&load, vec![Arc::new(Int64Array::from(vec![id])), values]);
            block_on(run(&*destination, &load, &[vec![rows]])).unwrap();
        };
        rows(1, old, 1, values);
        rows(2, ColumnType::String, 2, text("ünhashed"));
        let seen: Vec<_> = state(&bucket).into_iter().map(|row| row[..3].join(" ")).collect();
        assert_eq!(seen, [format!("1 {stays} true"), "2 ünhashed false".to_owned()], "{old:?}");
    }
}
