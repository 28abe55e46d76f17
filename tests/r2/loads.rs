//! Loads: replacing, appending, retiring, sweeping, checking.

use std::rc::Rc;

use fivetran_do::connectors::SetupTestStatus;
use fivetran_do::core::ErrorKind;
use fivetran_do::core::table::LoadMode;
use fivetran_do::destinations::TableReceipt;
use serde_json::json;

use crate::harness::*;
use crate::support::objects::MemoryBucket;

#[test]
fn a_table_that_was_never_prepared_is_not_there() {
    let (_, destination) = lake();
    assert!(block_on(destination.describe("shop", "orders")).unwrap().is_none());
    let load = load(orders(), 1, LoadMode::Full);
    block_on(destination.prepare(&load)).unwrap();
    assert_eq!(block_on(destination.describe("shop", "orders")).unwrap().unwrap(), orders());
}

#[test]
fn a_reader_sees_a_full_load_all_at_once() {
    let (bucket, destination) = lake();
    let first = load(orders(), 1, LoadMode::Full);
    block_on(run(&*destination, &first, &[vec![order_rows(&first, &[(1, None)])]])).unwrap();
    let before = parts(&bucket);

    let second = load(orders(), 2, LoadMode::Full);
    block_on(destination.prepare(&second)).unwrap();
    let mut receipts = Vec::new();
    for index in 0..3 {
        let rows = [order_rows(&second, &[(i64::from(index), None)])];
        receipts.push(block_on(write_chunk(&*destination, &second, index, 1, &rows)).unwrap());
        assert_eq!(parts(&bucket), before, "nothing shows before the publish");
    }
    bucket.take_log();
    block_on(destination.publish_all(&second, &receipts, fence(&second, 9))).unwrap();
    let swaps = bucket
        .take_log()
        .iter()
        .filter(|line| line.starts_with("put ") && line.ends_with("manifest.json"))
        .count();
    assert_eq!(swaps, 1, "and then everything in one step");
    assert_eq!(
        parts(&bucket),
        [
            "data/00000002-full/c000000-1.parquet",
            "data/00000002-full/c000001-1.parquet",
            "data/00000002-full/c000002-1.parquet"
        ]
    );
    let manifest = manifest(&bucket);
    assert_eq!((manifest["generation"].clone(), manifest["live_rows"].clone()), (json!(2), json!(3)));
}

#[test]
fn a_chunk_without_rows_leaves_no_file() {
    let (bucket, destination) = lake();
    let first = load(orders(), 1, LoadMode::Full);
    let receipt = block_on(run(&*destination, &first, &[vec![order_rows(&first, &[(1, None)])]])).unwrap();
    assert_eq!(receipt, TableReceipt { written: 1, deleted: 0, live_rows: Some(1) });
    let second = load(orders(), 2, LoadMode::Incremental);
    let receipt = block_on(run(&*destination, &second, &[vec![], vec![]])).unwrap();
    assert_eq!(
        receipt,
        TableReceipt { written: 0, deleted: 0, live_rows: Some(1) },
        "nothing changed, so it is still known"
    );
    assert_eq!(parts(&bucket).len(), 1);
    let third = load(orders(), 3, LoadMode::Incremental);
    let rows = vec![order_rows(&third, &[(1, Some("x"))])];
    let receipt = block_on(run(&*destination, &third, &[rows])).unwrap();
    assert_eq!(receipt.live_rows, None);
}

#[test]
fn replaced_parts_outlive_their_grace_and_then_go() {
    let (bucket, destination) = lake();
    let full = |run_number: u64, published_at: i64| {
        // However long the run took: readers may have taken the older manifest a moment ago.
        let mut load = load(orders(), run_number, LoadMode::Full);
        load.synced_at = i64::try_from(run_number).unwrap();
        set_now(published_at);
        let rows = vec![order_rows(&load, &[(1, None)])];
        block_on(run(&*destination, &load, &[rows])).unwrap();
        let keys = bucket.keys();
        let loads = keys.iter().filter_map(|key| key.split_once("/data/000000"));
        loads.map(|(_, name)| name[..2].to_owned()).collect::<Vec<_>>()
    };
    let minute = 60_000_000;
    assert_eq!(full(1, 0), ["01"]);
    assert_eq!(full(2, minute), ["01", "02"], "kept for readers of the older manifest");
    assert_eq!(full(3, 2 * minute), ["01", "02", "03"], "still within a quarter of an hour");
    assert_eq!(full(4, 17 * minute), ["03", "04"]);
    assert_eq!(full(5, 60 * minute), ["04", "05"]);
}

#[test]
fn orphans_of_failed_runs_are_swept_and_strangers_left_alone() {
    let (bucket, destination) = lake();
    let failed = load(orders(), 1, LoadMode::Full);
    block_on(destination.prepare(&failed)).unwrap();
    block_on(write_chunk(&*destination, &failed, 0, 1, &[order_rows(&failed, &[(1, None)])])).unwrap();
    for stranger in ["notes.txt", "data/notes.txt", "data/00000001.bak/x"] {
        bucket.meddle(&format!("lake/shop/orders/{stranger}"), b"mine");
    }
    let second = load(orders(), 2, LoadMode::Full);
    block_on(run(&*destination, &second, &[vec![order_rows(&second, &[(2, None)])]])).unwrap();
    let keys = bucket.keys();
    let keys: Vec<&str> = keys.iter().map(|key| key.strip_prefix("lake/shop/orders/").unwrap()).collect();
    assert_eq!(
        keys,
        [
            "data/00000001.bak/x",
            "data/00000002-full/c000000-1.parquet",
            "data/notes.txt",
            "manifest.json",
            "notes.txt",
            "staging/00000002/c000000.json"
        ]
    );
}

#[test]
fn i5_a_chunk_that_lost_rows_gets_no_receipt() {
    let (bucket, destination) = lake();
    let load = load(orders(), 1, LoadMode::Full);
    block_on(async {
        destination.prepare(&load).await.unwrap();
        let mut writer = writer(&*destination, &load, 0, 1).await.unwrap();
        writer.write(order_rows(&load, &[(1, None)])).await.unwrap();
        assert_eq!(writer.commit(read(2)).await.unwrap_err().kind(), ErrorKind::Mismatch);
    });
    assert_eq!(bucket.keys(), ["lake/shop/orders/manifest.json"]);
}

#[test]
fn i5_a_receipt_with_another_count_than_its_part_is_not_published() {
    let (_, destination) = lake();
    let load = load(orders(), 1, LoadMode::Full);
    block_on(destination.prepare(&load)).unwrap();
    let rows = [order_rows(&load, &[(1, None), (2, None)])];
    let receipt = block_on(write_chunk(&*destination, &load, 0, 1, &rows)).unwrap();
    for place in ["/counts/written", "/artifact/part/rows"] {
        let mut mutated = json!(receipt);
        *mutated.pointer_mut(place).unwrap() = json!(1);
        let mutated = serde_json::from_value(mutated).unwrap();
        let error = block_on(destination.publish_all(&load, &[mutated], fence(&load, 9))).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Mismatch, "{place}: {error}");
    }
    assert_eq!(block_on(destination.publish_all(&load, &[receipt], fence(&load, 9))).unwrap().written, 2);
}

#[test]
fn a_part_that_was_tampered_with_is_not_published() {
    for gone in [true, false] {
        let (bucket, destination) = lake();
        let load = load(orders(), 1, LoadMode::Full);
        block_on(destination.prepare(&load)).unwrap();
        let rows = [order_rows(&load, &[(1, None)])];
        let receipt = block_on(write_chunk(&*destination, &load, 0, 1, &rows)).unwrap();
        let key = "lake/shop/orders/data/00000001-full/c000000-1.parquet";
        if gone {
            use fivetran_do::ports::ObjectStore as _;
            block_on(bucket.delete(&[key.to_owned()])).unwrap();
        } else {
            bucket.meddle(key, b"something else");
        }
        let error = block_on(destination.publish_all(&load, &[receipt], fence(&load, 2))).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Mismatch);
        assert!(parts(&bucket).is_empty());
    }
}

#[test]
fn something_else_under_the_manifests_name_is_never_overwritten() {
    let (bucket, destination) = lake();
    for foreign in [&b"{}"[..], b"hello", br#"{"format_version": 2}"#] {
        bucket.meddle("lake/shop/orders/manifest.json", foreign);
        let error = block_on(destination.prepare(&load(orders(), 1, LoadMode::Full))).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DestinationConfig);
        assert_eq!(bucket.body("lake/shop/orders/manifest.json").unwrap(), foreign);
    }
}

#[test]
fn changes_are_not_appended_in_another_format_but_a_full_load_may_change_it() {
    let (bucket, destination) = lake();
    let first = load(orders(), 1, LoadMode::Full);
    block_on(run(&*destination, &first, &[vec![order_rows(&first, &[(1, None)])]])).unwrap();
    let csv = open(&bucket, json!({ "bucket": "LAKE", "prefix": "lake", "format": "csv" }));
    let error = block_on(csv.prepare(&load(orders(), 2, LoadMode::Incremental))).unwrap_err();
    assert_eq!((error.kind(), error.field_name()), (ErrorKind::DestinationConfig, Some("config.format")));
    let second = load(orders(), 2, LoadMode::Full);
    block_on(run(&*csv, &second, &[vec![order_rows(&second, &[(2, None)])]])).unwrap();
    assert_eq!(manifest(&bucket)["format"], "csv");
    assert_eq!(parts(&bucket), ["data/00000002-full/c000000-1.csv"]);
}

#[test]
fn another_connection_may_take_a_table_over_and_the_first_one_is_fenced() {
    let (bucket, destination) = lake();
    let first = load(orders(), 41, LoadMode::Full);
    block_on(run(&*destination, &first, &[vec![order_rows(&first, &[(1, None)])]])).unwrap();
    let mut taker = load(orders(), 1, LoadMode::Full);
    taker.connection_id = "another".to_owned();
    let refused = block_on(destination.prepare(&taker)).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::DestinationConfig);
    assert!(refused.message().contains("is loaded by connection connection already"), "{refused}");
    assert_eq!(
        block_on(destination.take_over(&taker, "gone")).unwrap_err().kind(),
        ErrorKind::DestinationConfig
    );
    let standing = || block_on(destination.standing("shop", "orders")).unwrap().unwrap();
    assert_eq!(standing().published, Some(41));
    block_on(destination.take_over(&taker, "connection")).unwrap();
    assert_eq!((standing().owner.as_str(), standing().published), ("another", None));
    block_on(run(&*destination, &taker, &[vec![order_rows(&taker, &[(1, None)])]])).unwrap();
    assert_eq!(parts(&bucket), ["data/00000042-full/c000000-1.parquet"], "loads keep growing");
    assert_eq!(standing().published, Some(1));
    let late = load(orders(), 41, LoadMode::Incremental);
    let error = block_on(destination.publish_all(&late, &[], fence(&late, 3))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fenced);
}

#[test]
fn a_check_passes_on_a_good_bucket_and_leaves_nothing() {
    let (bucket, destination) = lake();
    let tests = block_on(destination.check());
    assert!(tests.iter().all(|test| test.status == SetupTestStatus::Passed), "{tests:?}");
    assert_eq!(bucket.keys(), Vec::<String>::new());
}

#[test]
fn a_check_says_what_is_wrong() {
    let bucket = Rc::new(MemoryBucket::default());
    let statuses = |config| {
        let tests = block_on(open(&bucket, config).check());
        tests.into_iter().map(|test| (test.status, test.message)).collect::<Vec<_>>()
    };
    let missing = statuses(json!({ "bucket": "POND" }));
    assert_eq!(missing[0].0, SetupTestStatus::Failed);
    assert!(missing[0].1.contains("config.bucket") && missing[0].1.contains("POND"), "{missing:?}");
    assert_eq!(missing[1].0, SetupTestStatus::Skipped);
    bucket.die_after(0);
    let down = statuses(json!({ "bucket": "LAKE" }));
    assert_eq!(down[1], (SetupTestStatus::Failed, "the bucket is unreachable".to_owned()));
}
