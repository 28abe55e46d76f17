//! Duplicates, stale workers, races and crashes.

use std::rc::Rc;

use fivetran_do::core::ErrorKind;
use fivetran_do::core::table::LoadMode;
use fivetran_do::destinations::{ChunkOpening, TableReceipt};
use futures::join;

use crate::harness::*;

#[test]
fn i3_replaying_a_chunk_changes_nothing() {
    let (bucket, destination) = lake();
    let load = load(orders(), 1, LoadMode::Full);
    block_on(async {
        destination.prepare(&load).await.unwrap();
        let rows = [order_rows(&load, &[(1, None)])];
        let receipt = write_chunk(&*destination, &load, 0, 1, &rows).await.unwrap();
        let before = bucket.keys();
        for lease in [1, 2] {
            match destination.open(&load, &chunk(&load, 0), fence(&load, lease)).await.unwrap() {
                ChunkOpening::AlreadyDurable(again) => assert_eq!(again, receipt),
                ChunkOpening::Writer(_) => panic!("the chunk is durable"),
            }
        }
        assert_eq!(bucket.keys(), before);
    });
}

#[test]
fn i3_two_workers_on_one_chunk_end_in_one_receipt() {
    let (bucket, destination) = lake();
    let load = load(orders(), 1, LoadMode::Full);
    block_on(async {
        destination.prepare(&load).await.unwrap();
        let rows = [order_rows(&load, &[(1, None)])];
        let (one, two) = join!(
            write_chunk(&*destination, &load, 0, 1, &rows),
            write_chunk(&*destination, &load, 0, 2, &rows)
        );
        let receipt = two.unwrap();
        if let Ok(one) = one {
            assert_eq!(one, receipt);
        }
        destination.publish_all(&load, &[receipt.clone(), receipt], fence(&load, 3)).await.unwrap();
    });
    assert_eq!(parts(&bucket).len(), 1);
}

#[test]
fn i4_a_stale_worker_cannot_touch_what_a_newer_lease_committed() {
    let (bucket, destination) = lake();
    let load = load(orders(), 1, LoadMode::Full);
    block_on(async {
        destination.prepare(&load).await.unwrap();
        let mut stale = writer(&*destination, &load, 0, 1).await.unwrap();
        stale.write(order_rows(&load, &[(1, Some("stale"))])).await.unwrap();
        let rows = [order_rows(&load, &[(1, Some("fresh")), (2, None)])];
        let receipt = write_chunk(&*destination, &load, 0, 2, &rows).await.unwrap();
        let before = bucket.body("lake/shop/orders/data/00000001-full/c000000-2.parquet").unwrap();

        assert_eq!(stale.commit(read(1)).await.unwrap_err().kind(), ErrorKind::Fenced);
        destination.publish_all(&load, &[receipt], fence(&load, 3)).await.unwrap();
        assert_eq!(parts(&bucket), ["data/00000001-full/c000000-2.parquet"]);
        let after = bucket.body("lake/shop/orders/data/00000001-full/c000000-2.parquet").unwrap();
        assert_eq!(before, after);
    });
}

#[test]
fn i4_a_newer_lease_adopts_what_an_older_one_committed_first() {
    let (_, destination) = lake();
    let load = load(orders(), 1, LoadMode::Full);
    block_on(async {
        destination.prepare(&load).await.unwrap();
        let mut newer = writer(&*destination, &load, 0, 2).await.unwrap();
        newer.write(order_rows(&load, &[(1, None)])).await.unwrap();
        let rows = [order_rows(&load, &[(1, None)])];
        let older = write_chunk(&*destination, &load, 0, 1, &rows).await.unwrap();
        assert_eq!(newer.commit(read(1)).await.unwrap(), older);
    });
}

#[test]
fn i4_an_older_run_can_neither_prepare_open_commit_nor_publish() {
    let (bucket, destination) = lake();
    let older = load(orders(), 1, LoadMode::Full);
    let newer = load(orders(), 2, LoadMode::Full);
    block_on(async {
        destination.prepare(&older).await.unwrap();
        let rows = [order_rows(&older, &[(1, None)])];
        let receipt = write_chunk(&*destination, &older, 0, 1, &rows).await.unwrap();
        let mut writer = writer(&*destination, &older, 1, 2).await.unwrap();
        writer.write(order_rows(&older, &[(2, None)])).await.unwrap();
        destination.prepare(&newer).await.unwrap();

        let fenced = |error: fivetran_do::core::Error| assert_eq!(error.kind(), ErrorKind::Fenced);
        fenced(writer.commit(read(1)).await.unwrap_err());
        fenced(destination.prepare(&older).await.unwrap_err());
        fenced(destination.open(&older, &chunk(&older, 2), fence(&older, 3)).await.err().unwrap());
        fenced(destination.publish_all(&older, &[receipt], fence(&older, 3)).await.unwrap_err());
    });
    assert!(parts(&bucket).is_empty());
}

#[test]
fn i4_receipts_of_another_run_are_not_published() {
    let (_, destination) = lake();
    let first = load(orders(), 1, LoadMode::Full);
    let second = load(orders(), 2, LoadMode::Full);
    block_on(async {
        destination.prepare(&first).await.unwrap();
        let rows = [order_rows(&first, &[(1, None)])];
        let receipt = write_chunk(&*destination, &first, 0, 1, &rows).await.unwrap();
        destination.prepare(&second).await.unwrap();
        let error = destination.publish_all(&second, &[receipt], fence(&second, 1)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Mismatch);
    });
}

#[test]
fn i3_publishing_twice_even_at_once_says_and_does_the_same() {
    let (bucket, destination) = lake();
    let first = load(orders(), 1, LoadMode::Full);
    let second = load(orders(), 2, LoadMode::Full);
    block_on(async {
        run(&*destination, &first, &[vec![order_rows(&first, &[(1, None), (2, None)])]]).await.unwrap();
        destination.prepare(&second).await.unwrap();
        let rows = [order_rows(&second, &[(2, None)])];
        let receipts = [write_chunk(&*destination, &second, 0, 1, &rows).await.unwrap()];
        let (one, two) = join!(
            destination.publish_all(&second, &receipts, fence(&second, 7)),
            destination.publish_all(&second, &receipts, fence(&second, 8))
        );
        let receipt = TableReceipt { written: 1, deleted: 1, live_rows: Some(1) };
        assert_eq!((one.unwrap(), two.unwrap()), (receipt.clone(), receipt.clone()));
        let before = manifest(&bucket);
        assert_eq!(destination.publish_all(&second, &receipts, fence(&second, 9)).await.unwrap(), receipt);
        assert_eq!(manifest(&bucket), before);
    });
    assert_eq!(manifest(&bucket)["generation"], 2);
    assert_eq!(parts(&bucket).len(), 2);
}

#[test]
fn i3_a_late_publisher_of_the_last_run_does_not_undo_the_next() {
    let (bucket, destination) = lake();
    let first = load(orders(), 1, LoadMode::Full);
    let second = load(orders(), 2, LoadMode::Incremental);
    block_on(async {
        destination.prepare(&first).await.unwrap();
        let rows = [order_rows(&first, &[(1, None)])];
        let receipts = [write_chunk(&*destination, &first, 0, 1, &rows).await.unwrap()];
        destination.publish_all(&first, &receipts, fence(&first, 2)).await.unwrap();
        run(&*destination, &second, &[vec![order_rows(&second, &[(2, None)])]]).await.unwrap();
        let late = destination.publish_all(&first, &receipts, fence(&first, 2)).await.unwrap_err();
        assert_eq!(late.kind(), ErrorKind::Fenced);
    });
    assert_eq!(parts(&bucket).len(), 2);
}

#[test]
fn i4_a_publish_that_races_with_the_next_announcement_is_all_or_nothing() {
    // The announcement slips in after every possible number of operations of the publish.
    for delay in 0..12 {
        let (bucket, destination) = lake();
        let first = load(orders(), 1, LoadMode::Full);
        let second = load(orders(), 2, LoadMode::Full);
        block_on(async {
            destination.prepare(&first).await.unwrap();
            let rows = [order_rows(&first, &[(1, None)])];
            let receipts = [write_chunk(&*destination, &first, 0, 1, &rows).await.unwrap()];
            let announce = async {
                use fivetran_do::ports::ObjectStore as _;
                for _ in 0..delay {
                    let _ = bucket.head("elsewhere").await;
                }
                destination.prepare(&second).await
            };
            let (published, announced) =
                join!(destination.publish_all(&first, &receipts, fence(&first, 2)), announce);
            announced.unwrap();
            match published {
                Ok(_) => assert_eq!(parts(&bucket).len(), 1),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Fenced);
                    assert!(parts(&bucket).is_empty());
                }
            }
        });
        assert_eq!(manifest(&bucket)["run"], 2);
    }
}

#[test]
fn i3_a_worker_that_dies_at_any_operation_leaves_nothing_visible_and_a_retry_finishes() {
    let (mut deaths, mut died) = (0, true);
    while died {
        let (bucket, destination) = lake();
        let first = load(orders(), 1, LoadMode::Full);
        let second = load(orders(), 2, LoadMode::Full);
        let rows = |load| vec![order_rows(load, &[(1, Some("new")), (3, None)])];
        block_on(run(&*destination, &first, &[vec![order_rows(&first, &[(1, None), (2, None)])]])).unwrap();
        let before = parts(&bucket);
        bucket.die_after(deaths);
        let outcome = block_on(run(&*destination, &second, &[rows(&second), rows(&second)]));
        let visible = parts(&bucket);
        died = bucket.recover();
        assert!(visible == before || visible.len() == 3, "never half a load: {visible:?}");
        // Only the sweep may fail without the publish failing.
        assert!(outcome.is_err() || visible.len() == 3);

        let receipt = block_on(run(&*destination, &second, &[rows(&second), rows(&second)])).unwrap();
        assert_eq!(
            receipt,
            TableReceipt { written: 4, deleted: 1, live_rows: Some(2) },
            "after {deaths} operations"
        );
        deaths += 1;
    }
    assert!(deaths > 15, "{deaths}");
}

#[test]
fn a_worker_that_dies_in_the_middle_of_an_upload_leaves_nothing_visible() {
    let (bucket, destination) = lake();
    let load = load(orders(), 1, LoadMode::Full);
    block_on(async {
        destination.prepare(&load).await.unwrap();
        let mut writer = writer(&*destination, &load, 0, 1).await.unwrap();
        for number in 0..60 {
            writer.write(noise(&load, number)).await.unwrap();
        }
        drop(writer);
    });
    assert_eq!(bucket.unfinished_uploads(), 1, "R2 removes it after seven days");
    assert_eq!(bucket.keys(), ["lake/shop/orders/manifest.json"]);
}

#[test]
fn an_upload_that_fails_is_given_up() {
    let (bucket, destination) = lake();
    let load = load(orders(), 1, LoadMode::Full);
    block_on(async {
        destination.prepare(&load).await.unwrap();
        let mut writer = writer(&*destination, &load, 0, 1).await.unwrap();
        for number in 0..60 {
            writer.write(noise(&load, number)).await.unwrap();
        }
        assert_eq!(bucket.unfinished_uploads(), 1);
        // A batch of another schema.
        let other = fivetran_do::core::table::TableSchema { columns: vec![], ..orders() };
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(1));
        let wrong = arrow::array::RecordBatch::try_new_with_options(other.arrow(), vec![], &options).unwrap();
        assert_eq!(writer.write(wrong).await.unwrap_err().kind(), ErrorKind::Internal);
        assert_eq!(bucket.unfinished_uploads(), 0);
    });
}

/// About a megabyte that does not compress.
fn noise(load: &fivetran_do::destinations::TableLoad, number: u32) -> arrow::array::RecordBatch {
    let mut bytes = vec![0_u8; 512 * 1024];
    getrandom::fill(&mut bytes).unwrap();
    let rows: Vec<(i64, String)> = bytes
        .chunks(512)
        .enumerate()
        .map(|(row, bytes)| {
            let text = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            (i64::from(number) * 1_024 + row as i64, text)
        })
        .collect();
    let rows: Vec<_> = rows.iter().map(|(id, text)| (*id, Some(text.as_str()))).collect();
    order_rows(load, &rows)
}

#[test]
fn i9_large_chunks_go_up_in_even_parts_and_read_back_whole() {
    for format in ["parquet", "jsonl"] {
        let bucket = Rc::new(crate::support::objects::MemoryBucket::default());
        let config = serde_json::json!({ "bucket": "LAKE", "prefix": "lake", "format": format });
        let destination = open(&bucket, config);
        let load = load(orders(), 1, LoadMode::Full);
        let batches: Vec<_> = (0..40).map(|number| noise(&load, number)).collect();
        bucket.take_log();
        block_on(run(&*destination, &load, &[batches])).unwrap();
        let log = bucket.take_log();
        let uploads = log.iter().filter(|line| line.starts_with("multipart_part")).count();
        assert!(uploads >= 4, "{uploads}");
        let section = if format == "parquet" { "Current state" } else { "JSON lines" };
        let state = documented(section, &on_disk(&bucket, "large"));
        let state = state.replace(
            "SELECT * EXCLUDE",
            "SELECT count(*) OVER ()::VARCHAR, sum(id) OVER ()::VARCHAR, * EXCLUDE",
        );
        let state = state.trim_end().trim_end_matches(';').to_owned() + " LIMIT 1;";
        let rows = 40 * 1_024;
        let seen = &duckdb(&state)[0][..2];
        // Windows are computed before QUALIFY, over all versions; keys are distinct here.
        assert_eq!(seen, [Some(rows.to_string()), Some((rows * (rows - 1) / 2).to_string())]);
    }
}
