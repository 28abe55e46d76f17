//! Type-2 history, read with the documented SQL, against the stories and the model that D1 is held to as well.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array,
    Int16Array, Int32Array, Int64Array, RecordBatch, StringArray, Time64MicrosecondArray,
    TimestampMicrosecondArray,
};
use fivetran_do::core::table::{DELETED, LoadMode};
use fivetran_do::core::types::{ColumnType, UTC};
use fivetran_do::core::{ErrorKind, Result};
use fivetran_do::destinations::{Destination, KeyRange, TableLoad, TableReceipt};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use crate::harness::*;
use crate::support::history::{self, Model, Sync, Version, stories, sync, syncs, told};
use crate::support::objects::MemoryBucket;

fn synced_at(number: u64) -> i64 {
    load(orders(), number, LoadMode::Full).synced_at
}

fn load_of(number: u64, sync: &Sync) -> TableLoad {
    let mode = if sync.full { LoadMode::Full } else { LoadMode::Incremental };
    let mut table = history::people("shop", sync.color);
    table.table = "orders".to_owned();
    load(table, number, mode)
}

async fn try_sync(destination: &dyn Destination, number: u64, sync: &Sync) -> Result<TableReceipt> {
    let load = load_of(number, sync);
    let chunks: Vec<_> = sync.chunks.iter().map(|chunk| vec![history::batch(&load, chunk)]).collect();
    run(destination, &load, &chunks).await
}

/// A sync; where it is torn it dies first, somewhere.
fn play(bucket: &MemoryBucket, destination: &dyn Destination, number: u64, sync: &Sync) -> TableReceipt {
    if sync.torn {
        bucket.die_after(number * 7 % [17, 47][number as usize % 2] + 2);
        let died = block_on(try_sync(destination, number, sync));
        bucket.recover();
        if let Ok(receipt) = died {
            return receipt;
        }
    }
    block_on(try_sync(destination, number, sync)).unwrap()
}

/// The versions in each of those folders, by the documented SQL, in one process: starting Python costs more than all of it.
fn versions_in(folders: &[String]) -> Vec<Vec<(i64, Version)>> {
    let script = documented("History", "FOLDER");
    let program = format!(
        r#"
import duckdb, json
con = duckdb.connect()
con.execute("SET TimeZone = 'UTC'")
def versions(folder):
    for statement in con.extract_statements({script:?}.replace('FOLDER', folder)):
        rows = con.execute(statement)
    names = [column[0] for column in rows.description]
    color = 'color' if 'color' in names else 'NULL'
    return con.execute(f"SELECT id, name, {{color}}, epoch_us(_fivetran_start), epoch_us(_fivetran_end), _fivetran_active "
        "FROM query(getvariable('history'))").fetchall()
print(json.dumps([versions(folder) for folder in json.loads({folders:?})]))
"#,
        folders = serde_json::to_string(folders).unwrap()
    );
    type Read = (i64, Option<String>, Option<String>, i64, i64, bool);
    let read: Vec<Vec<Read>> = serde_json::from_value(python(&program)).unwrap();
    let version = |(id, name, color, start, end, active)| (id, ([name, color], start, end, active));
    read.into_iter().map(|rows| rows.into_iter().map(version).collect()).collect()
}

fn in_words(versions: &[(i64, Version)]) -> Vec<String> {
    versions.iter().map(|version| told(version, synced_at)).collect()
}

fn lake_of(format: &str) -> (Rc<MemoryBucket>, Box<dyn Destination>) {
    let bucket = Rc::new(MemoryBucket::default());
    let destination = open(&bucket, json!({ "bucket": "LAKE", "prefix": "lake", "format": format }));
    (bucket, destination)
}

const FORMATS: [&str; 3] = ["parquet", "jsonl", "csv"];

#[test]
fn the_stories_of_history_end_as_they_are_told_in_every_format() {
    let (mut folders, mut ends) = (Vec::new(), Vec::new());
    for format in FORMATS {
        for (what, syncs, end) in stories() {
            let (bucket, destination) = lake_of(format);
            for (number, sync) in (1..).zip(&syncs) {
                play(&bucket, &*destination, number, sync);
            }
            folders.push(on_disk(&bucket, "story"));
            ends.push((format, what, end));
        }
    }
    for (versions, (format, what, end)) in versions_in(&folders).iter().zip(ends) {
        assert_eq!(in_words(versions), end, "{what}, in {format}");
    }
}

#[test]
fn a_dropped_column_leaves_history_and_its_values_do_not_come_back_with_it() {
    let (mut folders, mut ends) = (Vec::new(), Vec::new());
    let person =
        |name: &str, color: &str| BTreeMap::from([(1, [Some(name.to_owned()), Some(color.to_owned())])]);
    for format in FORMATS {
        let (bucket, destination) = lake_of(format);
        let of = |name: &str, color: bool| Sync {
            full: false,
            color,
            torn: false,
            chunks: vec![person(name, if name == "Bea" { "blue" } else { "red" })],
        };
        play(&bucket, &*destination, 1, &Sync { full: true, ..of("Ada", true) });
        let second = of("Bob", false);
        let load = load_of(2, &second);
        block_on(destination.prepare(&load)).unwrap();
        let dropped = block_on(destination.drop_columns(&load, &["color".to_owned()])).unwrap();
        assert_eq!(dropped, fivetran_do::destinations::Dropped::Whole);
        let sql = manifest(&bucket)["history"]["sql"].as_str().unwrap().to_owned();
        assert!(!sql.contains("\"color\""), "{sql}");
        folders.push(on_disk(&bucket, "dropped"));
        ends.push(vec!["1 Ada -: since 1"]);
        play(&bucket, &*destination, 2, &second);
        folders.push(on_disk(&bucket, "dropped"));
        ends.push(vec!["1 Ada -: 1 to just before 2", "1 Bob -: since 2"]);
        play(&bucket, &*destination, 3, &of("Bea", true));
        folders.push(on_disk(&bucket, "dropped"));
        ends.push(vec!["1 Ada -: 1 to just before 2", "1 Bob -: 2 to just before 3", "1 Bea blue: since 3"]);
    }
    for (versions, end) in versions_in(&folders).iter().zip(ends) {
        assert_eq!(in_words(versions), end);
    }
}

/// Chunks of one person with a color.
fn person(id: i64, name: &str, color: &str) -> BTreeMap<i64, history::Row> {
    BTreeMap::from([(id, [Some(name.to_owned()), Some(color.to_owned())])])
}

/// A history with colors, in many small parts, whose colors were dropped by a sync that brought nothing.
fn without_colors(parts: u64) -> (Rc<MemoryBucket>, Box<dyn Destination>) {
    let (bucket, destination) = lake();
    for number in 1..=parts {
        let full = number == 1;
        let chunks = vec![person(number as i64, "Ada", "s3cret")];
        play(&bucket, &*destination, number, &Sync { full, color: true, torn: false, chunks });
    }
    let sync = Sync { full: false, color: false, torn: false, chunks: Vec::new() };
    let load = load_of(parts + 1, &sync);
    block_on(destination.prepare(&load)).unwrap();
    block_on(destination.drop_columns(&load, &["color".to_owned()])).unwrap();
    play(&bucket, &*destination, parts + 1, &sync);
    (bucket, destination)
}

#[test]
fn a_dropped_column_does_not_come_back_with_the_merge_of_parts_from_before_and_after() {
    let (bucket, destination) = without_colors(5);
    for number in 7..30 {
        let chunks = vec![person(100, &format!("n{number}"), "red")];
        play(&bucket, &*destination, number, &Sync { full: false, color: true, torn: false, chunks });
    }
    assert!(parts(&bucket).iter().any(|path| path.contains("merged")));
    let versions = versions_in(&[on_disk(&bucket, "dropped")]).remove(0);
    let of_before: Vec<_> =
        versions.iter().filter(|(id, _)| *id < 100).map(|(_, version)| &version.0[1]).collect();
    assert_eq!(of_before, [&None; 5]);
    assert_eq!(versions.len(), 5 + 23);
}

#[test]
fn a_row_that_vanishes_does_not_bring_the_values_of_a_dropped_column_back() {
    for keys in [None, Some(2)] {
        set_key_budget(keys);
        let (bucket, destination) = without_colors(5);
        let chunks = vec![person(100, "Bea", "red")];
        play(&bucket, &*destination, 7, &Sync { full: true, color: true, torn: false, chunks });
        for part in parts(&bucket).iter().filter(|path| path.contains("deleted")) {
            let body = bucket.body(&format!("lake/shop/orders/{part}")).unwrap();
            assert!(!body.windows(6).any(|bytes| bytes == b"s3cret"), "{part}");
        }
    }
}

/// Rows as [`Destination::scan`] gives them: what stands.
fn standing(destination: &dyn Destination) -> BTreeMap<i64, Option<String>> {
    use arrow::array::AsArray;
    let mut table = history::people("shop", false);
    table.table = "orders".to_owned();
    table.columns.truncate(2);
    table.primary_key.truncate(1);
    let mut rows = BTreeMap::new();
    let mut visit = |batch: &RecordBatch| {
        let ids = batch.column(0).as_primitive::<arrow::datatypes::Int64Type>();
        let names = batch.column(1).as_string::<i32>();
        rows.extend(ids.values().iter().zip(names).map(|(id, name)| (*id, name.map(ToOwned::to_owned))));
        Ok(())
    };
    let problems = block_on(destination.scan(&table, &KeyRange::default(), &mut visit)).unwrap();
    assert_eq!(problems, Vec::<String>::new());
    rows
}

#[test]
fn i3_any_syncs_and_deaths_leave_the_history_of_the_rules_in_every_format() {
    let mut runner = TestRunner::default();
    let (mut folders, mut ends) = (Vec::new(), Vec::new());
    for number in 0..45 {
        let format = FORMATS[number % 3];
        set_key_budget(Some(number / 3 + 1).filter(|keys| *keys < 12));
        let syncs = syncs().new_tree(&mut runner).unwrap().current();
        let (bucket, destination) = lake_of(format);
        let mut model = Model::default();
        for (number, sync) in (1..).zip(&syncs) {
            let active = model.active();
            let first = number == 1 || parts(&bucket).is_empty();
            let receipt = play(&bucket, &*destination, number, sync);
            model.sync(synced_at(number), sync);
            let said = format!("{format}, sync {number} of {syncs:?}");
            assert_eq!(
                receipt.written,
                sync.chunks.iter().map(BTreeMap::len).sum::<usize>() as u64,
                "{said}"
            );
            if format == "parquet" {
                let versions = model.versions().into_iter();
                let stands =
                    versions.filter(|(_, version)| version.3).map(|(id, version)| (id, version.0[0].clone()));
                assert_eq!(standing(&*destination), stands.collect(), "{said}");
                // Keys of a table's first load are not looked for twice.
                if sync.full && !first {
                    assert_eq!(receipt.live_rows, Some(model.active()), "{said}");
                    assert!(receipt.deleted <= active, "{said}");
                }
            }
            folders.push(on_disk(&bucket, "history"));
            ends.push((said, model.clone()));
        }
    }
    for (versions, (said, model)) in versions_in(&folders).iter().zip(ends) {
        assert_eq!(in_words(versions), in_words(&model.versions()), "{said}");
    }
}

#[test]
fn a_history_of_many_small_syncs_is_merged_and_reads_the_same() {
    let mut runner = TestRunner::default();
    let (mut folders, mut ends) = (Vec::new(), Vec::new());
    for case in 0..4 {
        let (bucket, destination) = lake();
        let mut model = Model::default();
        for number in 1..=80 {
            let mut sync = syncs().new_tree(&mut runner).unwrap().current().swap_remove(0);
            // Long stretches of changes, with full loads and without a column in between.
            sync.full = number == 1 || number == 37 + case;
            sync.color = !(20..25).contains(&number);
            sync.chunks.truncate(2);
            play(&bucket, &*destination, number, &sync);
            model.sync(synced_at(number), &sync);
        }
        let parts = parts(&bucket);
        assert!(parts.len() < 60 && parts.iter().any(|path| path.contains("merged")), "{parts:?}");
        folders.push(on_disk(&bucket, "merged"));
        ends.push(model);
    }
    for (versions, model) in versions_in(&folders).iter().zip(ends) {
        assert_eq!(in_words(versions), in_words(&model.versions()));
    }
}

/// Syncs that many times, dying after that many operations of the last.
fn dying_in_the_last(format: &str, syncs: &[Sync], operations: u64) -> (Rc<MemoryBucket>, bool) {
    let (bucket, destination) = lake_of(format);
    let (last, before) = syncs.split_last().unwrap();
    for (number, sync) in (1..).zip(before) {
        block_on(try_sync(&*destination, number, sync)).unwrap();
    }
    let number = syncs.len() as u64;
    bucket.die_after(operations);
    let survived = block_on(try_sync(&*destination, number, last)).is_ok();
    bucket.recover();
    block_on(try_sync(&*destination, number, last)).unwrap();
    (bucket, survived)
}

#[test]
fn i3_a_full_sync_killed_at_any_operation_is_repeated_to_the_same_history() {
    let syncs = [
        sync(true, true, &["1 Ada red", "2 Bob red", "3 Cyd red"]),
        sync(false, true, &["2 Bob blue"]),
        sync(true, true, &["2 Bob blue", "3 Cyd blue"]),
    ];
    let end = [
        "1 Ada red: 1 to 3",
        "2 Bob red: 1 to just before 2",
        "2 Bob blue: since 2",
        "3 Cyd red: 1 to just before 3",
        "3 Cyd blue: since 3",
    ];
    for format in FORMATS {
        let mut folders = Vec::new();
        for operations in 0.. {
            let (bucket, survived) = dying_in_the_last(format, &syncs, operations);
            folders.push(on_disk(&bucket, "killed"));
            if survived {
                break;
            }
        }
        assert!(folders.len() > 8, "{format} has {} operations", folders.len());
        for (operations, versions) in versions_in(&folders).iter().enumerate() {
            assert_eq!(in_words(versions), end, "{format}, killed after {operations} operations");
        }
    }
}

#[test]
fn i4_a_run_that_was_replaced_adds_nothing_to_the_history() {
    let (bucket, destination) = lake();
    let (first, stale, newer) = (
        sync(true, true, &["1 Ada red"]),
        sync(true, true, &["1 Ada stale"]),
        sync(false, true, &["1 Ada blue"]),
    );
    play(&bucket, &*destination, 1, &first);
    let load = load_of(2, &stale);
    block_on(async {
        destination.prepare(&load).await.unwrap();
        let rows = [history::batch(&load, &stale.chunks[0])];
        let receipt = write_chunk(&*destination, &load, 0, 1, &rows).await.unwrap();
        try_sync(&*destination, 3, &newer).await.unwrap();
        let error = destination.publish_all(&load, &[receipt], fence(&load, 2)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Fenced);
    });
    let seen = &versions_in(&[on_disk(&bucket, "stale")])[0];
    assert_eq!(in_words(seen), ["1 Ada red: 1 to just before 3", "1 Ada blue: since 3"]);
}

#[test]
fn no_sync_writes_or_removes_what_earlier_ones_wrote() {
    let (bucket, destination) = lake();
    let mut before = Vec::new();
    for (number, full) in (1..).zip([true, false, true, false, true]) {
        let rows: &[&str] = if number == 5 { &[] } else { &["1 Ada red", "2 Bob red"] };
        play(&bucket, &*destination, number, &sync(full, true, rows));
        let parts: Vec<Value> = manifest(&bucket)["parts"].as_array().unwrap().clone();
        assert_eq!(parts[..before.len()], before[..], "sync {number}");
        before = parts;
    }
    let kinds: Vec<_> = before.iter().map(|part| part["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["full", "change", "full", "change", "deleted"]);
    assert_eq!(manifest(&bucket)["retired"], json!([]));
}

/// `id note deleted` of the current state.
fn current(bucket: &MemoryBucket) -> Vec<String> {
    let script = documented("Current state", &on_disk(bucket, "current"));
    let script =
        script.replace("SELECT * EXCLUDE", "SELECT concat_ws(' ', id, note, _fivetran_deleted), * EXCLUDE");
    duckdb(&script).into_iter().map(|row| row[0].clone().unwrap()).collect()
}

/// A full sync of `shop.orders` as another sync mode has it.
fn plain(
    destination: &dyn Destination,
    number: u64,
    live: bool,
    rows: &[(i64, Option<&str>)],
) -> TableReceipt {
    let mut load = load(orders(), number, LoadMode::Full);
    let mut batch = order_rows(&load, rows);
    if live {
        load.table.columns.retain(|column| column.name != DELETED);
        batch = batch.project(&[0, 1, 2]).unwrap();
    }
    block_on(run(destination, &load, &[vec![batch]])).unwrap()
}

#[test]
fn a_table_that_begins_to_keep_history_begins_with_its_resync() {
    let (bucket, destination) = lake();
    plain(&*destination, 1, false, &[(1, Some("Ada")), (2, Some("Bob"))]);
    play(&bucket, &*destination, 2, &sync(true, true, &["1 Ada red", "3 Cyd -"]));
    assert_eq!(parts(&bucket), ["data/00000002-full/c000000-1.parquet"]);
    play(&bucket, &*destination, 3, &sync(true, true, &["1 Ada red"]));
    let seen = &versions_in(&[on_disk(&bucket, "begun")])[0];
    assert_eq!(in_words(seen), ["1 Ada red: since 2", "3 Cyd -: 2 to 3"]);
    let columns = manifest(&bucket)["columns"].to_string();
    assert!(columns.contains("note") && !columns.contains(DELETED), "{columns}");
    // And back: one row per key again. Of a row that is gone its last values stay, as of any other.
    let receipt = plain(&*destination, 4, false, &[(1, Some("Ada"))]);
    assert_eq!(receipt, TableReceipt { written: 1, deleted: 1, live_rows: Some(1) });
    assert_eq!(current(&bucket), ["1 Ada false", "3 true"]);
    let manifest = manifest(&bucket);
    assert!(
        manifest.get("history").is_none() && !manifest["columns"].to_string().contains("_fivetran_active")
    );
    assert_eq!(manifest["primary_key"], json!(["id"]));
}

#[test]
fn a_live_table_that_marks_what_is_gone_from_now_on_begins_with_its_resync() {
    let (bucket, destination) = lake();
    plain(&*destination, 1, true, &[(1, Some("Ada")), (2, Some("Bob"))]);
    let receipt = plain(&*destination, 2, false, &[(1, Some("Ada"))]);
    assert_eq!(receipt, TableReceipt { written: 1, deleted: 1, live_rows: Some(1) });
    assert_eq!(current(&bucket), ["1 Ada false", "2 Bob true"]);
    plain(&*destination, 3, true, &[(1, Some("Ada"))]);
    assert!(!manifest(&bucket)["columns"].to_string().contains(DELETED));
    play(&bucket, &*destination, 4, &sync(true, true, &["1 Ada red"]));
    let receipt = plain(&*destination, 5, true, &[]);
    assert_eq!(receipt, TableReceipt { written: 0, deleted: 0, live_rows: Some(0) });
    assert_eq!(parts(&bucket), Vec::<String>::new());
}

#[test]
fn changes_are_not_appended_to_parts_of_another_sync_mode() {
    for to_history in [true, false] {
        let (_, destination) = lake();
        let history = load_of(1, &sync(true, true, &["1 Ada red"]));
        let first = if to_history { load(orders(), 1, LoadMode::Full) } else { history.clone() };
        let rows = if to_history {
            order_rows(&first, &[(1, None)])
        } else {
            history::batch(&first, &sync(true, true, &["1 Ada red"]).chunks[0])
        };
        block_on(run(&*destination, &first, &[vec![rows]])).unwrap();
        let table = if to_history { history.table } else { orders() };
        let error = block_on(destination.prepare(&load(table, 2, LoadMode::Incremental))).unwrap_err();
        assert_eq!((error.kind(), error.field_name()), (ErrorKind::DestinationConfig, Some("sync_mode")));
    }
}

#[test]
fn a_history_of_another_key_or_format_begins_anew() {
    let (bucket, destination) = lake();
    play(&bucket, &*destination, 1, &sync(true, true, &["1 Ada red"]));
    let csv = open(&bucket, json!({ "bucket": "LAKE", "prefix": "lake", "format": "csv" }));
    play(&bucket, &*csv, 2, &sync(true, true, &["1 Ada red"]));
    assert_eq!(in_words(&versions_in(&[on_disk(&bucket, "format")])[0]), ["1 Ada red: since 2"]);
    let mut load = load_of(3, &sync(true, true, &[]));
    load.table.primary_key = vec!["name".to_owned(), "_fivetran_start".to_owned()];
    let rows = history::batch(&load, &sync(true, true, &["1 Ada red"]).chunks[0]);
    block_on(run(&*destination, &load, &[vec![rows]])).unwrap();
    assert_eq!(in_words(&versions_in(&[on_disk(&bucket, "key")])[0]), ["1 Ada red: since 3"]);
    assert_eq!(parts(&bucket).len(), 1);
}

#[test]
fn a_history_whose_part_is_lost_goes_on_with_what_is_left_after_a_full_sync() {
    let (bucket, destination) = lake();
    play(&bucket, &*destination, 1, &sync(true, true, &["1 Ada red", "2 Bob red"]));
    play(&bucket, &*destination, 2, &sync(false, true, &["1 Ada blue", "3 Cyd red"]));
    use fivetran_do::ports::ObjectStore as _;
    block_on(bucket.delete(&["lake/shop/orders/data/00000001-full/c000000-1.parquet".to_owned()])).unwrap();
    play(&bucket, &*destination, 3, &sync(true, true, &["1 Ada blue", "2 Bob red"]));
    let seen = &versions_in(&[on_disk(&bucket, "lost")])[0];
    assert_eq!(in_words(seen), ["1 Ada blue: since 2", "2 Bob red: since 3", "3 Cyd red: 2 to 3"]);
}

/// A column of every type that is neither key nor ours, and two values of it.
fn typed() -> Vec<(ColumnType, ArrayRef)> {
    let decimal = |precision, scale: u8, values: Vec<i128>| -> (ColumnType, ArrayRef) {
        let array = Decimal128Array::from(values).with_precision_and_scale(precision, scale.cast_signed());
        (ColumnType::Decimal { precision, scale }, Arc::new(array.unwrap()))
    };
    let instants = vec![i64::MAX, -i64::MAX];
    vec![
        (ColumnType::Boolean, Arc::new(BooleanArray::from(vec![true, false]))),
        (ColumnType::Short, Arc::new(Int16Array::from(vec![1, -1]))),
        (ColumnType::Int, Arc::new(Int32Array::from(vec![1, -1]))),
        (ColumnType::Long, Arc::new(Int64Array::from(vec![i64::MAX, i64::MIN]))),
        decimal(9, 2, vec![1, -1]),
        decimal(38, 37, vec![1, -1]),
        (ColumnType::Float, Arc::new(Float32Array::from(vec![f32::NAN, 0.1]))),
        (ColumnType::Double, Arc::new(Float64Array::from(vec![f64::NAN, f64::INFINITY]))),
        (ColumnType::NaiveDate, Arc::new(Date32Array::from(vec![i32::MAX, -719_529]))),
        (ColumnType::NaiveTime, Arc::new(Time64MicrosecondArray::from(vec![86_400_000_000, 1]))),
        (ColumnType::NaiveDatetime, Arc::new(TimestampMicrosecondArray::from(instants.clone()))),
        (ColumnType::UtcDatetime, Arc::new(TimestampMicrosecondArray::from(instants).with_timezone(UTC))),
        (ColumnType::Binary, Arc::new(BinaryArray::from(vec![&b"\0"[..], b""]))),
        (ColumnType::String, Arc::new(StringArray::from(vec!["a \"quote\",\r\n", ""]))),
        (ColumnType::Json, Arc::new(StringArray::from(vec!["{\"b\": 1.10}", "null"]))),
    ]
}

/// `id`, a column of every type with a name that needs quoting, and what history adds.
fn typed_load(number: u64, mode: LoadMode) -> TableLoad {
    let mut table = history::people("shop", false);
    table.table = "orders".to_owned();
    let typed = typed().into_iter().enumerate();
    table.columns.splice(1..2, typed.map(|(at, (kind, _))| column(&format!("it's \"{at}\""), kind, true)));
    load(table, number, mode)
}

fn typed_rows(load: &TableLoad, values: &[ArrayRef]) -> RecordBatch {
    let ends = history::batch(
        &TableLoad { table: history::people("shop", false), ..load.clone() },
        &sync(true, false, &["1 - -", "2 - -"]).chunks[0],
    );
    let system = ends.columns()[2..].iter().cloned();
    let ids: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
    let columns = std::iter::once(ids).chain(values.iter().cloned()).chain(system);
    RecordBatch::try_new(load.table.arrow(), columns.collect()).unwrap()
}

#[test]
fn i7_a_version_begins_with_a_change_of_any_type_and_with_nothing_else() {
    let values: Vec<ArrayRef> = typed().into_iter().map(|(_, values)| values).collect();
    let swapped = |at: usize| {
        let mut values = values.clone();
        let order = arrow::array::UInt32Array::from(vec![1, 0]);
        values[at] = arrow::compute::take(&values[at], &order, None).unwrap();
        values
    };
    let mut folders = Vec::new();
    for (format, compression) in FORMATS.iter().zip(["none", "gzip", "gzip"]) {
        let bucket = Rc::new(MemoryBucket::default());
        let config =
            json!({ "bucket": "LAKE", "prefix": "lake", "format": format, "compression": compression });
        let destination = open(&bucket, config);
        let first = typed_load(1, LoadMode::Full);
        block_on(run(&*destination, &first, &[vec![typed_rows(&first, &values)]])).unwrap();
        // The same again, then each column changes in turn, and changes back.
        for number in 2..2 + 2 * values.len() as u64 {
            let load = typed_load(number, LoadMode::Incremental);
            let at = (number as usize - 2) / 2;
            let values = if number % 2 == 0 { values.clone() } else { swapped(at) };
            block_on(run(&*destination, &load, &[vec![typed_rows(&load, &values)]])).unwrap();
        }
        folders.push(on_disk(&bucket, "typed"));
    }
    for (format, folder) in FORMATS.iter().zip(folders) {
        let script = documented("History", &folder).replace(
            "FROM query(",
            "SELECT id::VARCHAR, count(*)::VARCHAR, string_agg((epoch_us(_fivetran_start) - 1700000000000000) // 3600000000, ' ' \
             ORDER BY _fivetran_start) FROM query(",
        );
        let script = script.trim_end().trim_end_matches(';').to_owned() + " GROUP BY id ORDER BY id;";
        // Load 2 changes nothing; each later one changes a column or changes it back.
        let last = 2 * values.len() + 1;
        let starts = (1..=last).filter(|number| *number != 2).map(|number| number.to_string());
        let starts = starts.collect::<Vec<_>>().join(" ");
        let row =
            |id: &str| [id, &(last - 1).to_string(), &starts].map(|cell| Some(cell.to_owned())).to_vec();
        assert_eq!(duckdb(&script), [row("1"), row("2")], "{format}");
    }
}

/// The value of column `v` in every version, by the documented SQL, as `id v`.
fn values_in(folder: &str, columns: &str) -> Vec<String> {
    let script = documented("History", folder);
    let script = script
        .replace("FROM query(", &format!("SELECT concat_ws(' ', {columns}, _fivetran_active) FROM query("));
    duckdb(&script).into_iter().map(|row| row[0].clone().unwrap()).collect()
}

/// `shop.orders (id, v)` with history, `v` of that type.
fn valued(number: u64, mode: LoadMode, kind: ColumnType) -> TableLoad {
    let mut table = history::people("shop", false);
    table.table = "orders".to_owned();
    table.columns[1] = column("v", kind, true);
    load(table, number, mode)
}

/// Rows with ids from 1 on.
fn valued_rows(load: &TableLoad, ids: ArrayRef, values: ArrayRef) -> RecordBatch {
    let chunk = (1..=ids.len() as i64).map(|id| (id, [None, None])).collect();
    let plain = TableLoad { table: history::people("shop", false), ..load.clone() };
    let rest = history::batch(&plain, &chunk);
    let columns = [ids, values].into_iter().chain(rest.columns()[2..].iter().cloned());
    RecordBatch::try_new(load.table.arrow(), columns.collect()).unwrap()
}

#[test]
fn i8_a_column_that_widens_or_is_hashed_reads_across_old_and_new_versions() {
    let text = |values: [&str; 2]| -> ArrayRef { Arc::new(StringArray::from(values.to_vec())) };
    let bytes: ArrayRef = Arc::new(BinaryArray::from(vec![&b"\xab"[..], b""]));
    let ints: ArrayRef = Arc::new(Int32Array::from(vec![7, -8]));
    let cases: Vec<(ColumnType, ArrayRef, ColumnType, ArrayRef, [&str; 3])> = vec![
        (
            ColumnType::Json,
            text(["{}", "[]"]),
            ColumnType::String,
            text(["hash", "[]"]),
            ["{}", "hash", "[]"],
        ),
        (ColumnType::Binary, bytes, ColumnType::String, text(["hash", ""]), ["qw==", "hash", ""]),
        (
            ColumnType::Int,
            Arc::clone(&ints),
            ColumnType::Long,
            Arc::new(Int64Array::from(vec![i64::MAX, -8])),
            ["7", "9223372036854775807", "-8"],
        ),
        (ColumnType::Int, ints, ColumnType::String, text(["x", "-8"]), ["7", "x", "-8"]),
    ];
    for (old, old_values, new, new_values, [before, after, same]) in cases {
        for format in FORMATS {
            let (bucket, destination) = lake_of(format);
            let ids = |ids: &[i64]| -> ArrayRef { Arc::new(Int64Array::from(ids.to_vec())) };
            let first = valued(1, LoadMode::Full, old);
            let mut chunks = vec![vec![valued_rows(&first, ids(&[1, 2]), Arc::clone(&old_values))]];
            chunks.push(vec![valued_rows(&first, ids(&[3]), old_values.slice(0, 1))]);
            block_on(run(&*destination, &first, &chunks)).unwrap();
            let second = valued(2, LoadMode::Full, new);
            let rows = valued_rows(&second, ids(&[1, 2]), Arc::clone(&new_values));
            block_on(run(&*destination, &second, &[vec![rows]])).unwrap();
            let expected = [
                format!("1 {before} false"),
                format!("1 {after} true"),
                format!("2 {same} true"),
                format!("3 {before} false"),
            ];
            let seen = values_in(&on_disk(&bucket, "retyped"), "id, v");
            assert_eq!(seen, expected, "{old:?} to {new:?} in {format}");
        }
    }
}

#[test]
fn a_key_that_widens_goes_on_and_a_table_of_nothing_but_its_key_has_versions_too() {
    let (bucket, destination) = lake();
    let keyed = |number, kind| {
        let mut load = load_of(number, &sync(true, false, &[]));
        load.table.columns[0].column_type = kind;
        load.table.columns.remove(1);
        load
    };
    let rows = |load: &TableLoad, ids: ArrayRef| {
        let chunk = (1..=ids.len() as i64).map(|id| (id, [None, None])).collect();
        let plain = TableLoad { table: history::people("shop", false), ..load.clone() };
        let rest = history::batch(&plain, &chunk);
        let columns = std::iter::once(ids).chain(rest.columns()[2..].iter().cloned());
        vec![RecordBatch::try_new(load.table.arrow(), columns.collect()).unwrap()]
    };
    let first = keyed(1, ColumnType::Int);
    let ids: ArrayRef = Arc::new(Int32Array::from(vec![1, 2]));
    block_on(run(&*destination, &first, &[rows(&first, ids)])).unwrap();
    let second = keyed(2, ColumnType::Long);
    let ids: ArrayRef = Arc::new(Int64Array::from(vec![1, i64::MAX]));
    let receipt = block_on(run(&*destination, &second, &[rows(&second, ids)])).unwrap();
    assert_eq!(receipt, TableReceipt { written: 2, deleted: 1, live_rows: Some(2) });
    let seen = values_in(&on_disk(&bucket, "keys"), "id");
    assert_eq!(seen, ["1 true", "2 false", "9223372036854775807 true"]);
}
