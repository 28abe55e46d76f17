//! Many small loads of changes end in few parts.

use std::collections::BTreeMap;

use fivetran_do::core::Result;
use fivetran_do::core::table::{LoadMode, TableSchema};
use fivetran_do::core::types::ColumnType;
use fivetran_do::destinations::{Destination, TableReceipt};
use serde_json::json;

use crate::harness::*;
use crate::support::objects::MemoryBucket;

/// Beyond what the documented merge needs, and more than one of its levels.
const MANY: u64 = 70;

/// Load `number` sets `number % 7` and a key of its own to its number.
fn changed(number: u64) -> [(i64, String); 2] {
    [(number as i64 % 7, format!("v{number}")), (100 + number as i64, format!("v{number}"))]
}

async fn try_sync(destination: &dyn Destination, number: u64) -> Result<TableReceipt> {
    let load = load(orders(), number, if number == 1 { LoadMode::Full } else { LoadMode::Incremental });
    let rows = changed(number);
    let rows: Vec<_> = rows.iter().map(|(id, note)| (*id, Some(note.as_str()))).collect();
    run(destination, &load, &[vec![order_rows(&load, &rows)]]).await
}

/// What a map holds after that many loads, as `id note`.
fn expected(loads: u64) -> Vec<String> {
    let map: BTreeMap<i64, String> = (1..=loads).flat_map(changed).collect();
    map.into_iter().map(|(id, note)| format!("{id} {note}")).collect()
}

fn state(bucket: &MemoryBucket) -> Vec<String> {
    let script = documented("Current state", &on_disk(bucket, "merged"));
    let script = script.replace("SELECT * EXCLUDE", "SELECT concat_ws(' ', id, note), * EXCLUDE");
    duckdb(&script).into_iter().map(|row| row[0].clone().unwrap()).collect()
}

#[test]
fn changes_of_many_loads_are_merged_into_few_parts_and_the_table_reads_the_same() {
    let (bucket, destination) = lake();
    for number in 1..=MANY {
        set_now(number as i64 * HOUR);
        let receipt = block_on(try_sync(&*destination, number)).unwrap();
        assert_eq!(receipt.written, 2, "load {number}");
        let manifest = manifest(&bucket);
        assert_eq!(manifest["total_rows"], json!(number * 2), "no version is lost or doubled");
        // Files of the manifest before are there for those who read by it.
        for gone in manifest["retired"].as_array().unwrap() {
            let path = gone["path"].as_str().unwrap();
            assert!(bucket.body(&format!("lake/shop/orders/{path}")).is_some(), "{path}");
        }
    }
    let parts = parts(&bucket);
    assert!(parts.len() < 20, "{parts:?}");
    assert!(parts.is_sorted(), "{parts:?}");
    assert_eq!(state(&bucket), expected(MANY));
    let files = bucket.keys().iter().filter(|key| key.ends_with(".parquet")).count();
    assert!(files < 22, "{files} files are left of {MANY}");
}

#[test]
fn replaced_parts_stay_for_readers_until_their_grace_is_over() {
    let (bucket, destination) = lake();
    set_now(0);
    for number in 1..=17 {
        block_on(try_sync(&*destination, number)).unwrap();
    }
    assert_eq!(
        parts(&bucket),
        ["data/00000001-full/c000000-1.parquet", "data/00000017-change/merged-1000.parquet"]
    );
    let early = "lake/shop/orders/data/00000002-change/c000000-1.parquet";
    set_now(15 * 60 * 1_000_000 - 1);
    block_on(try_sync(&*destination, 18)).unwrap();
    assert!(bucket.body(early).is_some());
    set_now(15 * 60 * 1_000_000);
    block_on(try_sync(&*destination, 19)).unwrap();
    assert!(bucket.body(early).is_none());
    assert_eq!(state(&bucket), expected(19));
}

#[test]
fn i3_a_merge_killed_at_any_operation_is_repeated_to_the_same_table() {
    let mut kills = 0;
    for operations in 0.. {
        let (bucket, destination) = lake();
        for number in 1..17 {
            block_on(try_sync(&*destination, number)).unwrap();
        }
        bucket.die_after(operations);
        let survived = block_on(try_sync(&*destination, 17)).is_ok();
        bucket.recover();
        assert_eq!(block_on(try_sync(&*destination, 17)).unwrap().written, 2);
        assert_eq!(manifest(&bucket)["total_rows"], json!(34), "after {operations} operations");
        assert_eq!(parts(&bucket).len(), 2, "after {operations} operations");
        block_on(try_sync(&*destination, 18)).unwrap();
        let merged = bucket.keys().iter().filter(|key| key.contains("merged")).count();
        assert_eq!(merged, 1, "after {operations} operations");
        if survived {
            break;
        }
        // The readers' own view, where it is most likely to differ: around the publish.
        kills += 1;
        if operations % 8 == 0 {
            assert_eq!(state(&bucket), expected(18), "after {operations} operations");
        }
    }
    assert!(kills > 40, "{kills} operations");
}

#[test]
fn parts_of_other_columns_or_that_are_damaged_are_left_as_they_are() {
    let (bucket, destination) = lake();
    for number in 1..=10 {
        block_on(try_sync(&*destination, number)).unwrap();
    }
    let wider = || -> TableSchema {
        let columns = vec![
            column("id", ColumnType::Long, false),
            column("note", ColumnType::String, true),
            column("size", ColumnType::Long, true),
        ];
        table(columns, &["id"])
    };
    let sync = |number: u64| {
        use arrow::array::{Int64Array, StringArray};
        use std::sync::Arc;
        let load = load(wider(), number, LoadMode::Incremental);
        let rows = changed(number);
        let ids = Int64Array::from_iter_values(rows.iter().map(|row| row.0));
        let notes = StringArray::from_iter_values(rows.iter().map(|row| &row.1));
        let rows = batch(&load, vec![Arc::new(ids), Arc::new(notes), Arc::new(Int64Array::from(vec![1, 2]))]);
        block_on(run(&*destination, &load, &[vec![rows]])).unwrap();
    };
    (11..=25).for_each(sync);
    assert_eq!(parts(&bucket).len(), 25, "fifteen of the new columns");
    sync(26);
    assert_eq!(parts(&bucket).len(), 11);
    assert_eq!(state(&bucket), expected(26));

    (27..=36).for_each(sync);
    let damaged = "lake/shop/orders/data/00000030-change/c000000-1.parquet";
    let mut body = bucket.body(damaged).unwrap().to_vec();
    body[4..60].fill(0xff);
    bucket.meddle(damaged, &body);
    (37..=45).for_each(sync);
    assert!(parts(&bucket).iter().any(|path| damaged.ends_with(path)));
    assert_eq!(manifest(&bucket)["total_rows"], json!(90));
    // It does not stop merging for ever.
    (46..=170).for_each(sync);
    assert!(parts(&bucket).len() < 45, "{}", parts(&bucket).len());
    assert_eq!(manifest(&bucket)["total_rows"], json!(340));
}
