//! Telling what vanished in steps, by workers that die, are late, or are overtaken.

use std::rc::Rc;

use fivetran_do::core::table::LoadMode;
use fivetran_do::core::{ErrorKind, Result};
use fivetran_do::destinations::{Destination, DurableReceipt, Publishing, TableLoad, TableReceipt};
use futures::join;
use serde_json::{Value, json};

use crate::harness::*;
use crate::support::objects::MemoryBucket;
use crate::vanished;

/// Old rows: three parts of ten and changes of five.
const OLD: i64 = 30;

/// A table whose rows 10 to 30 its second load, written and not published, does not find any more, but rows 30 to 40 instead.
fn about_to_publish() -> (Rc<MemoryBucket>, Box<dyn Destination>, TableLoad, Vec<DurableReceipt>) {
    let (bucket, destination) = lake();
    let rows = |load: &TableLoad, ids: std::ops::Range<i64>, note: &str| {
        vec![order_rows(load, &ids.map(|id| (id, Some(note))).collect::<Vec<_>>())]
    };
    let first = load(orders(), 1, LoadMode::Full);
    let chunks: Vec<_> = (0..3).map(|chunk| rows(&first, chunk * 10..chunk * 10 + 10, "a")).collect();
    block_on(run(&*destination, &first, &chunks)).unwrap();
    let second = load(orders(), 2, LoadMode::Incremental);
    block_on(run(&*destination, &second, &[rows(&second, 8..13, "b")])).unwrap();
    let third = load(orders(), 3, LoadMode::Full);
    block_on(destination.prepare(&third)).unwrap();
    let chunks = [rows(&third, 0..10, "c"), rows(&third, OLD..40, "c")];
    let receipts = chunks
        .iter()
        .zip(0..)
        .map(|(batches, index)| block_on(write_chunk(&*destination, &third, index, 1, batches)).unwrap());
    let receipts = receipts.collect();
    (bucket, destination, third, receipts)
}

fn receipt() -> TableReceipt {
    TableReceipt { written: 20, deleted: 20, live_rows: Some(20) }
}

/// `id note deleted` of the table once that load is published.
fn expected() -> Vec<String> {
    let note = |id: i64| match id {
        10..13 => "b true",
        13..OLD => "a true",
        _ => "c false",
    };
    (0..40).map(|id| format!("{id} {}", note(id))).collect()
}

fn state(bucket: &MemoryBucket) -> Vec<String> {
    let script = documented("Current state", &on_disk(bucket, "steps"));
    let script =
        script.replace("SELECT * EXCLUDE", "SELECT concat_ws(' ', id, note, _fivetran_deleted), * EXCLUDE");
    duckdb(&script).into_iter().map(|row| row[0].clone().unwrap()).collect()
}

/// What there is of steps.
fn staged(bucket: &MemoryBucket) -> Vec<String> {
    bucket.keys().into_iter().filter(|key| key.contains("/resync/")).collect()
}

fn progress(bucket: &MemoryBucket, load: u64) -> Value {
    let key = format!("lake/shop/orders/staging/{load:08}/resync/progress.json");
    serde_json::from_slice(&bucket.body(&key).unwrap()).unwrap()
}

/// One order.
async fn step(
    destination: &dyn Destination,
    load: &TableLoad,
    receipts: &[DurableReceipt],
    lease: u64,
) -> Result<Publishing> {
    destination.publish(load, receipts, fence(load, lease)).await
}

#[test]
fn a_large_table_is_published_in_steps_that_show_only_at_the_end() {
    set_key_budget(Some(4));
    let (bucket, destination, load, receipts) = about_to_publish();
    let before = manifest(&bucket);
    for lease in 10.. {
        assert_eq!(manifest(&bucket), before);
        match block_on(step(&*destination, &load, &receipts, lease)).unwrap() {
            Publishing::GoesOn => assert_eq!(progress(&bucket, 3)["lease"], json!(lease)),
            done => {
                assert!(lease > 15, "{} steps", lease - 10);
                assert_eq!(done, Publishing::Done(receipt()));
                break;
            }
        }
    }
    assert_eq!(state(&bucket), expected());
    assert_eq!(staged(&bucket), Vec::<String>::new());
    assert_eq!(manifest(&bucket)["total_rows"], json!(40));
}

#[test]
fn i3_steps_killed_at_any_operation_are_gone_on_with() {
    set_key_budget(Some(5));
    for operations in 0.. {
        let (bucket, destination, load, receipts) = about_to_publish();
        bucket.die_after(operations);
        let survived = block_on(destination.publish_all(&load, &receipts, fence(&load, 10))).is_ok();
        bucket.recover();
        let done = block_on(destination.publish_all(&load, &receipts, fence(&load, 100))).unwrap();
        assert_eq!(done, receipt(), "killed after {operations} operations");
        if operations % 16 == 0 || survived {
            assert_eq!(state(&bucket), expected(), "killed after {operations} operations");
        }
        // The sweep at the very end may be what was killed; the next load's does it.
        let after = crate::harness::load(orders(), 4, LoadMode::Incremental);
        block_on(run(&*destination, &after, &[])).unwrap();
        assert_eq!(staged(&bucket), Vec::<String>::new());
        if survived {
            assert!(operations > 100, "{operations} operations");
            break;
        }
    }
}

#[test]
fn i3_a_publish_whose_workers_all_die_early_gets_to_its_end() {
    set_key_budget(Some(5));
    let (bucket, destination, load, receipts) = about_to_publish();
    // No worker lives long enough for more than a step or a few.
    let done = (1..).find_map(|attempt| {
        bucket.die_after(100);
        let done = block_on(destination.publish_all(&load, &receipts, fence(&load, attempt * 100)));
        bucket.recover();
        assert!(attempt < 40, "it gets nowhere");
        done.ok().map(|done| (attempt, done))
    });
    let (attempts, done) = done.unwrap();
    assert!(attempts > 1, "{attempts} attempts");
    assert_eq!(done, receipt());
    assert_eq!(state(&bucket), expected());
}

#[test]
fn i3_i4_of_two_workers_at_the_same_steps_one_counts() {
    set_key_budget(Some(4));
    let (bucket, destination, load, receipts) = about_to_publish();
    let (one, two) = block_on(async {
        join!(
            destination.publish_all(&load, &receipts, fence(&load, 10)),
            destination.publish_all(&load, &receipts, fence(&load, 500)),
        )
    });
    // The older lease may be refused on the way.
    assert_eq!(two.unwrap(), receipt());
    assert!(one.map_or_else(|error| error.kind() == ErrorKind::Fenced, |one| one == receipt()));
    assert_eq!(state(&bucket), expected());
}

#[test]
fn i4_a_worker_whose_lease_was_taken_over_cannot_do_a_step() {
    set_key_budget(Some(4));
    let (bucket, destination, load, receipts) = about_to_publish();
    for lease in [10, 12] {
        assert_eq!(block_on(step(&*destination, &load, &receipts, lease)).unwrap(), Publishing::GoesOn);
    }
    let before = bucket.keys();
    let late = block_on(step(&*destination, &load, &receipts, 11)).unwrap_err();
    assert_eq!(late.kind(), ErrorKind::Fenced);
    assert_eq!(bucket.keys(), before);
    assert_eq!(block_on(destination.publish_all(&load, &receipts, fence(&load, 13))).unwrap(), receipt());
}

#[test]
fn i4_steps_of_a_run_that_was_overtaken_are_refused_and_cleared_away() {
    set_key_budget(Some(4));
    let (bucket, destination, load, receipts) = about_to_publish();
    for lease in 10..13 {
        block_on(step(&*destination, &load, &receipts, lease)).unwrap();
    }
    assert!(!staged(&bucket).is_empty());
    let next = crate::harness::load(orders(), 4, LoadMode::Full);
    let rows = [order_rows(&next, &(0..20).map(|id| (id, Some("d"))).collect::<Vec<_>>())];
    block_on(destination.prepare(&next)).unwrap();
    assert_eq!(block_on(step(&*destination, &load, &receipts, 13)).unwrap_err().kind(), ErrorKind::Fenced);
    let receipts = [block_on(write_chunk(&*destination, &next, 0, 1, &rows)).unwrap()];
    assert_eq!(block_on(step(&*destination, &next, &receipts, 2)).unwrap(), Publishing::GoesOn);
    let of_before = staged(&bucket).into_iter().filter(|key| key.contains("/00000003/")).count();
    assert_eq!(of_before, 0, "its first step makes room");
    let done = block_on(destination.publish_all(&next, &receipts, fence(&next, 3))).unwrap();
    assert_eq!(done, TableReceipt { written: 20, deleted: 10, live_rows: Some(20) });
    assert_eq!(staged(&bucket), Vec::<String>::new());
}

#[test]
fn steps_begin_anew_when_the_manifest_was_touched_or_their_state_is_of_another_version() {
    set_key_budget(Some(4));
    for version in [false, true] {
        let (bucket, destination, load, receipts) = about_to_publish();
        for lease in 10..16 {
            block_on(step(&*destination, &load, &receipts, lease)).unwrap();
        }
        let (key, body) = if version {
            let mut progress = progress(&bucket, 3);
            progress["format"] = json!(0);
            ("staging/00000003/resync/progress.json", progress.to_string())
        } else {
            ("manifest.json", manifest(&bucket).to_string())
        };
        bucket.meddle(&format!("lake/shop/orders/{key}"), body.as_bytes());
        block_on(step(&*destination, &load, &receipts, 16)).unwrap();
        assert!(!progress(&bucket, 3)["next"].is_null(), "from the start");
        assert_eq!(block_on(destination.publish_all(&load, &receipts, fence(&load, 17))).unwrap(), receipt());
        assert_eq!(state(&bucket), expected());
    }
}

#[test]
fn a_table_of_more_parts_than_an_order_should_open_is_told_in_steps() {
    set_key_budget(None);
    let (bucket, destination) = lake();
    let part = |load: &TableLoad, id: i64| vec![order_rows(load, &[(id, Some("a"))])];
    let first = load(orders(), 1, LoadMode::Full);
    let chunks: Vec<_> = (0..260).map(|id| part(&first, id)).collect();
    block_on(run(&*destination, &first, &chunks)).unwrap();
    let second = load(orders(), 2, LoadMode::Full);
    block_on(destination.prepare(&second)).unwrap();
    let receipts = [block_on(write_chunk(&*destination, &second, 0, 1, &part(&second, 7))).unwrap()];
    assert_eq!(block_on(step(&*destination, &second, &receipts, 2)).unwrap(), Publishing::GoesOn);
    let done = block_on(destination.publish_all(&second, &receipts, fence(&second, 3))).unwrap();
    assert_eq!(done, TableReceipt { written: 1, deleted: 259, live_rows: Some(1) });
    assert_eq!(parts(&bucket).len(), 2);
}

#[test]
fn what_holds_of_vanished_rows_holds_in_steps() {
    for budget in [1, 2, 3] {
        set_key_budget(Some(budget));
        vanished::a_vanished_row_keeps_its_last_values_and_its_time();
        vanished::marked_rows_are_carried_along_until_their_key_comes_back();
        vanished::an_empty_source_marks_everything();
        vanished::rows_seen_twice_in_a_load_count_once();
        vanished::a_key_that_widened_still_matches();
        vanished::a_table_whose_keys_cannot_be_compared_is_replaced();
        vanished::keys_of_every_type_and_of_several_columns_are_told_apart();
        vanished::a_full_load_mends_a_table_whose_part_is_gone_or_damaged();
        vanished::a_row_that_vanished_before_its_column_became_text_is_still_read_with_the_others();
    }
}
