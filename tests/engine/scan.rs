//! Reading rows back from D1 and R2: what was written comes back with equal digests, whatever its type, in whatever
//! pieces; deleted rows and older versions do not; what is damaged is told.

use std::sync::Arc;

use crate::support::publishing::PublishAll;
use crate::support::world::{World, finish};
use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array,
    Int16Array, Int32Array, Int64Array, RecordBatch, StringArray, Time64MicrosecondArray,
    TimestampMicrosecondArray,
};
use fivetran_do::core::catalog::StreamName;
use fivetran_do::core::compare::{RowDigests, Tally};
use fivetran_do::core::run::{ChunkId, Counts, Fence};
use fivetran_do::core::table::{DELETED, LoadMode, SYNCED, TableColumn, TableSchema};
use fivetran_do::core::types::{ColumnType, UTC};
use fivetran_do::destinations::{ChunkOpening, Destination, KeyRange, TableLoad, registry};
use fivetran_do::engine::Registry;
use fivetran_do::ports::ObjectStore;
use proptest::prelude::*;
use serde_json::json;

const DAY: i64 = 86_400_000_000;

/// More borders than any test crosses.
const PATIENCE: usize = 1_000_000;

const BOTH: [&str; 2] = ["d1", "r2"];

fn open(world: &World, service: &str) -> Box<dyn Destination> {
    let config = if service == "d1" { json!({"binding": "DB"}) } else { json!({"bucket": "LAKE"}) };
    (registry::destination(service).unwrap().open)(&config, &world.ports()).unwrap()
}

fn world() -> World {
    World::new(Registry::default())
}

fn table(columns: &[(&str, ColumnType)], key: &[&str]) -> TableSchema {
    let column = |(name, column_type): (&str, ColumnType)| TableColumn {
        name: name.to_owned(),
        column_type,
        nullable: !key.contains(&name) && !name.starts_with('_'),
    };
    let system = [(DELETED, ColumnType::Boolean), (SYNCED, ColumnType::UtcDatetime)];
    TableSchema {
        schema: "s".into(),
        table: "t".into(),
        columns: columns.iter().copied().chain(system).map(column).collect(),
        primary_key: key.iter().map(|name| (*name).to_owned()).collect(),
    }
}

fn load(table: &TableSchema, run: u64, mode: LoadMode) -> TableLoad {
    TableLoad {
        connection_id: "c".into(),
        run_id: format!("c.{run}"),
        run,
        synced_at: 1_800_000_000_000_000 + run as i64 * 1_000_000,
        table: table.clone(),
        mode,
    }
}

/// Writes batches of the table's columns, each as a chunk, and publishes.
fn write(destination: &dyn Destination, load: &TableLoad, chunks: &[Vec<ArrayRef>]) {
    let stored = async {
        destination.prepare(load).await.unwrap();
        let mut receipts = Vec::new();
        for (index, columns) in chunks.iter().enumerate() {
            let rows = columns[0].len();
            let synced = TimestampMicrosecondArray::from_value(load.synced_at, rows).with_timezone(UTC);
            let system: [ArrayRef; 2] = [Arc::new(BooleanArray::from(vec![false; rows])), Arc::new(synced)];
            let columns = columns.iter().cloned().chain(system).collect();
            let batch = RecordBatch::try_new(load.table.arrow(), columns).unwrap();
            let chunk = ChunkId {
                connection_id: "c".into(),
                run_id: load.run_id.clone(),
                stream: StreamName::new("public", "t"),
                chunk: index as u32,
            };
            let fence = Fence { run: load.run, lease: index as u64 + 1 };
            let ChunkOpening::Writer(mut writer) = destination.open(load, &chunk, fence).await.unwrap()
            else {
                panic!("durable already")
            };
            writer.write(batch).await.unwrap();
            receipts.push(writer.commit(Counts { read: rows as u64, ..Counts::default() }).await.unwrap());
        }
        destination.publish_all(load, &receipts, Fence { run: load.run, lease: 1_000 }).await.unwrap();
    };
    finish(stored, PATIENCE);
}

/// The table less its system columns.
fn compared(table: &TableSchema) -> TableSchema {
    let mut table = table.clone();
    table.columns.retain(|column| column.name != DELETED && column.name != SYNCED);
    table
}

fn digests(table: &TableSchema) -> RowDigests {
    let names: Vec<_> = table.columns.iter().map(|column| column.name.clone()).collect();
    RowDigests::over(table, &names)
}

/// What lies in a range, and what cannot be read.
fn scan(destination: &dyn Destination, table: &TableSchema, range: &KeyRange) -> (Tally, Vec<String>) {
    let table = compared(table);
    let digests = digests(&table);
    let mut tally = Tally::default();
    let mut visit = |batch: &RecordBatch| {
        digests.of(batch)?.into_iter().for_each(|digest| tally.add(digest));
        Ok(())
    };
    let problems = finish(destination.scan(&table, range, &mut visit), PATIENCE).unwrap();
    (tally, problems)
}

/// What rows come to.
fn tally(table: &TableSchema, columns: Vec<ArrayRef>) -> Tally {
    let table = compared(table);
    let batch = RecordBatch::try_new(table.arrow(), columns).unwrap();
    let mut tally = Tally::default();
    digests(&table).of(&batch).unwrap().into_iter().for_each(|digest| tally.add(digest));
    tally
}

fn between(after: Option<&[&str]>, upto: Option<&[&str]>) -> KeyRange {
    let texts = |key: &[&str]| key.iter().map(|part| (*part).to_owned()).collect();
    KeyRange { after: after.map(texts), upto: upto.map(texts) }
}

fn orders() -> TableSchema {
    table(&[("id", ColumnType::Long), ("note", ColumnType::String)], &["id"])
}

fn rows(rows: &[(i64, &str)]) -> Vec<ArrayRef> {
    vec![
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.0))),
        Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.1))),
    ]
}

fn decimals(precision: u8, scale: u8, values: Vec<Option<i128>>) -> ArrayRef {
    let array = Decimal128Array::from(values).with_precision_and_scale(precision, scale.cast_signed());
    Arc::new(array.unwrap())
}

/// A table with a column of every type, and four rows: NULL, least, greatest, odd.
fn every_type() -> (TableSchema, Vec<ArrayRef>) {
    use ColumnType::*;
    let most = 10_i128.pow(38) - 1;
    let times = |values: [Option<i64>; 4]| TimestampMicrosecondArray::from(values.to_vec());
    let all_bytes: Vec<u8> = (0..=255).collect();
    let columns: Vec<(&str, ColumnType, ArrayRef)> = vec![
        ("id", Int, Arc::new(Int32Array::from(vec![1, 2, 3, 4]))),
        ("boolean", Boolean, Arc::new(BooleanArray::from(vec![None, Some(false), Some(true), Some(true)]))),
        ("short", Short, Arc::new(Int16Array::from(vec![None, Some(i16::MIN), Some(i16::MAX), Some(-1)]))),
        ("int", Int, Arc::new(Int32Array::from(vec![None, Some(i32::MIN), Some(i32::MAX), Some(-1)]))),
        (
            "long",
            Long,
            Arc::new(Int64Array::from(vec![None, Some(i64::MIN), Some(i64::MAX), Some((1 << 53) + 1)])),
        ),
        (
            "decimal9",
            Decimal { precision: 9, scale: 2 },
            decimals(9, 2, vec![None, Some(-999_999_999), Some(999_999_999), Some(10)]),
        ),
        (
            "decimal15",
            Decimal { precision: 15, scale: 15 },
            decimals(15, 15, vec![None, Some(-999_999_999_999_999), Some(999_999_999_999_999), Some(1)]),
        ),
        (
            "decimal38",
            Decimal { precision: 38, scale: 37 },
            decimals(38, 37, vec![None, Some(-most), Some(most), Some(-1)]),
        ),
        (
            "float",
            Float,
            Arc::new(Float32Array::from(vec![None, Some(f32::NEG_INFINITY), Some(f32::NAN), Some(0.1)])),
        ),
        (
            "double",
            Double,
            Arc::new(Float64Array::from(vec![None, Some(f64::MAX), Some(f64::INFINITY), Some(-0.0)])),
        ),
        (
            "date",
            NaiveDate,
            Arc::new(Date32Array::from(vec![None, Some(-i32::MAX), Some(i32::MAX), Some(-719_529)])),
        ),
        ("time", NaiveTime, Arc::new(Time64MicrosecondArray::from(vec![None, Some(0), Some(DAY), Some(1)]))),
        ("naive", NaiveDatetime, Arc::new(times([None, Some(-i64::MAX), Some(i64::MAX - 1), Some(-1)]))),
        (
            "utc",
            UtcDatetime,
            Arc::new(
                times([None, Some(i64::MAX), Some(-62_200_000_000_000_000), Some(7)]).with_timezone(UTC),
            ),
        ),
        (
            "binary",
            Binary,
            Arc::new(BinaryArray::from(vec![None, Some(&b""[..]), Some(&all_bytes), Some(b"\0")])),
        ),
        (
            "string",
            String,
            Arc::new(StringArray::from(vec![None, Some(""), Some("ü🦀\u{1}\"\n"), Some("NULL")])),
        ),
        ("json", Json, Arc::new(StringArray::from(vec![None, Some("{}"), Some("{\"b\": 1.10}"), Some("1")]))),
    ];
    let types: Vec<_> = columns.iter().map(|(name, kind, _)| (*name, *kind)).collect();
    (table(&types, &["id"]), columns.into_iter().map(|(_, _, array)| array).collect())
}

#[test]
fn i7_every_type_comes_back_with_an_equal_digest() {
    let (table, columns) = every_type();
    let expected = tally(&table, columns.clone());
    for service in BOTH {
        let world = world();
        let destination = open(&world, service);
        write(&*destination, &load(&table, 1, LoadMode::Full), std::slice::from_ref(&columns));
        assert_eq!(scan(&*destination, &table, &KeyRange::default()), (expected, vec![]), "{service}");
    }
}

#[test]
fn i7_another_value_in_any_column_is_another_digest() {
    let (table, columns) = every_type();
    let all = tally(&table, columns.clone());
    for column in 1..columns.len() {
        // Each row's value of this column moves to the next row.
        let mut changed = columns.clone();
        let order = arrow::array::UInt32Array::from(vec![1, 2, 3, 0]);
        changed[column] = arrow::compute::take(&columns[column], &order, None).unwrap();
        assert_ne!(tally(&table, changed), all, "{}", table.columns[column].name);
    }
}

#[test]
fn the_newest_version_counts_and_deleted_rows_do_not() {
    for service in BOTH {
        let world = world();
        let destination = open(&world, service);
        let table = orders();
        write(&*destination, &load(&table, 1, LoadMode::Full), &[rows(&[(1, "a"), (2, "b"), (3, "c")])]);
        write(
            &*destination,
            &load(&table, 2, LoadMode::Incremental),
            &[rows(&[(2, "B")]), rows(&[(4, "d")])],
        );
        let (found, problems) = scan(&*destination, &table, &KeyRange::default());
        let expected = tally(&table, rows(&[(1, "a"), (2, "B"), (3, "c"), (4, "d")]));
        assert_eq!((found, problems.len()), (expected, 0), "{service}");
        write(&*destination, &load(&table, 3, LoadMode::Full), &[rows(&[(2, "B"), (4, "d")])]);
        let (found, _) = scan(&*destination, &table, &KeyRange::default());
        assert_eq!(found, tally(&table, rows(&[(2, "B"), (4, "d")])), "{service}");
    }
}

#[test]
fn columns_that_widened_or_came_later_read_as_the_table_has_them() {
    let narrow = table(&[("id", ColumnType::Int), ("v", ColumnType::Int)], &["id"]);
    let wide =
        table(&[("id", ColumnType::Long), ("v", ColumnType::String), ("more", ColumnType::Long)], &["id"]);
    let ints = |values: [i32; 2]| -> ArrayRef { Arc::new(Int32Array::from(values.to_vec())) };
    for service in BOTH {
        let world = world();
        let destination = open(&world, service);
        write(&*destination, &load(&narrow, 1, LoadMode::Full), &[vec![ints([1, 2]), ints([7, -7])]]);
        let one: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from(vec![3])),
            Arc::new(StringArray::from(vec!["x"])),
            Arc::new(Int64Array::from(vec![9])),
        ];
        write(&*destination, &load(&wide, 2, LoadMode::Incremental), &[one]);
        let expected = tally(
            &wide,
            vec![
                Arc::new(Int64Array::from(vec![1, 2, 3])),
                Arc::new(StringArray::from(vec!["7", "-7", "x"])),
                Arc::new(Int64Array::from(vec![None, None, Some(9)])),
            ],
        );
        assert_eq!(scan(&*destination, &wide, &KeyRange::default()), (expected, vec![]), "{service}");
        // The bound is of the wider type, the older part's statistics are not.
        let (found, _) = scan(&*destination, &wide, &between(Some(&["1"]), Some(&["2"])));
        assert_eq!(found.rows, 1, "{service}");
    }
}

#[test]
fn large_rows_come_in_pages() {
    let world = world();
    let destination = open(&world, "d1");
    let table = orders();
    let large = "x".repeat(900_000);
    let many: Vec<_> = (0..9).map(|id| (id, large.as_str())).collect();
    write(&*destination, &load(&table, 1, LoadMode::Full), &[rows(&many)]);
    let mut pages = Vec::new();
    let compared = compared(&table);
    let mut visit = |batch: &RecordBatch| {
        pages.push(batch.num_rows());
        Ok(())
    };
    finish(destination.scan(&compared, &KeyRange::default(), &mut visit), PATIENCE).unwrap();
    assert_eq!(pages, [2, 2, 2, 2, 1]);
}

#[test]
fn a_value_of_another_type_in_d1_is_told() {
    let world = world();
    let destination = open(&world, "d1");
    let table = table(&[("id", ColumnType::Long), ("n", ColumnType::Int)], &["id"]);
    let numbers: Vec<ArrayRef> =
        vec![Arc::new(Int64Array::from(vec![1, 2])), Arc::new(Int32Array::from(vec![None, Some(5)]))];
    write(&*destination, &load(&table, 1, LoadMode::Full), &[numbers]);
    let by_hand = "UPDATE s__t SET n = 'five' WHERE id = 1";
    world.0.analytics.with(|connection| connection.execute(by_hand, [])).unwrap();
    let (found, problems) = scan(&*destination, &table, &KeyRange::default());
    assert_eq!(found.rows, 2);
    assert_eq!(problems, ["D1 table s.t: column n of the row 1 holds what is no INT"]);
}

#[test]
fn a_part_that_is_gone_or_damaged_is_told_and_the_others_are_read() {
    for damage in ["gone", "footer", "data"] {
        let world = world();
        let destination = open(&world, "r2");
        let table = orders();
        let parts = [rows(&[(1, "a"), (2, "b")]), rows(&[(3, "c")])];
        write(&*destination, &load(&table, 1, LoadMode::Full), &parts);
        let key = "s/t/data/00000001-full/c000000-1.parquet";
        let mut body = world.0.lake.body(key).unwrap().to_vec();
        match damage {
            "gone" => finish(world.0.lake.delete(&[key.to_owned()]), PATIENCE).unwrap(),
            "footer" => {
                let end = body.len() - 12;
                body[end..].fill(0xff);
                world.0.lake.meddle(key, &body);
            }
            _ => {
                body[4..60].fill(0xff);
                world.0.lake.meddle(key, &body);
            }
        }
        let (found, problems) = scan(&*destination, &table, &KeyRange::default());
        assert_eq!(found, tally(&table, rows(&[(3, "c")])), "{damage}");
        assert_eq!(problems.len(), 1, "{damage}: {problems:?}");
        assert!(problems[0].starts_with("data/00000001-full/c000000-1.parquet"), "{problems:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// Ranges that follow each other add up to the table, and each holds what a map would.
    #[test]
    fn ranges_of_a_key_of_two_columns_are_what_a_map_says(
        first in prop::collection::btree_map((-3_i64..3, "[ -~äß]{0,2}"), any::<u8>(), 1..20),
        second in prop::collection::btree_map((-3_i64..3, "[ -~äß]{0,2}"), any::<u8>(), 0..10),
        cuts in prop::collection::btree_set((-3_i64..3, "[ -~äß]{0,2}"), 0..4),
    ) {
        let table = table(
            &[("n", ColumnType::Long), ("s", ColumnType::String), ("v", ColumnType::Short)],
            &["n", "s"],
        );
        let columns = |rows: &std::collections::BTreeMap<(i64, String), u8>| -> Vec<ArrayRef> {
            vec![
                Arc::new(Int64Array::from_iter_values(rows.keys().map(|key| key.0))),
                Arc::new(StringArray::from_iter_values(rows.keys().map(|key| key.1.as_str()))),
                Arc::new(Int16Array::from_iter_values(rows.values().map(|value| i16::from(*value)))),
            ]
        };
        let mut model = first.clone();
        model.extend(second.clone());
        for service in BOTH {
            let world = world();
            let destination = open(&world, service);
            write(&*destination, &load(&table, 1, LoadMode::Full), &[columns(&first)]);
            write(&*destination, &load(&table, 2, LoadMode::Incremental), &[columns(&second)]);
            let mut after: Option<(i64, String)> = None;
            for upto in cuts.iter().cloned().map(Some).chain([None]) {
                let texts = |key: &(i64, String)| vec![key.0.to_string(), key.1.clone()];
                let range = KeyRange { after: after.as_ref().map(texts), upto: upto.as_ref().map(texts) };
                let inside = model.iter().filter(|(key, _)| {
                    after.as_ref().is_none_or(|after| *key > after) && upto.as_ref().is_none_or(|upto| *key <= upto)
                });
                let expected = tally(&table, columns(&inside.map(|(key, value)| (key.clone(), *value)).collect()));
                prop_assert_eq!(scan(&*destination, &table, &range), (expected, vec![]), "{} {:?}", service, range);
                after = upto;
            }
        }
    }
}
