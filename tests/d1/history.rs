//! Type-2 history and current state only, against a reference model.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use fivetran_do::core::run::{Counts, Fence};
use fivetran_do::core::table::{ACTIVE, END, END_OF_TIME, LoadMode, START, SYNCED, TableSchema};
use fivetran_do::core::types::{ColumnType, UTC};
use fivetran_do::destinations::{DurableReceipt, TableLoad, TableReceipt};
use proptest::prelude::*;
use rusqlite::types::Value::{Integer, Null, Text};

use crate::support::sqlite::Fault;
use crate::world::{World, column, load, people, people_batch, synced_at};

/// `people` with history.
fn people_over_time() -> TableSchema {
    let mut table = people();
    table.columns.truncate(2);
    table.columns.extend([
        column(START, ColumnType::UtcDatetime),
        column(END, ColumnType::UtcDatetime),
        column(ACTIVE, ColumnType::Boolean),
        column(SYNCED, ColumnType::UtcDatetime),
    ]);
    table.primary_key.push(START.to_owned());
    table
}

fn rows(load: &TableLoad, rows: &[(i64, Option<String>)]) -> RecordBatch {
    let instants = |micros: i64| -> ArrayRef {
        Arc::new(TimestampMicrosecondArray::from_value(micros, rows.len()).with_timezone(UTC))
    };
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.0))),
        Arc::new(StringArray::from_iter(rows.iter().map(|row| row.1.as_deref()))),
        instants(load.synced_at),
        instants(END_OF_TIME),
        Arc::new(BooleanArray::from(vec![true; rows.len()])),
        instants(load.synced_at),
    ];
    RecordBatch::try_new(load.table.arrow(), columns).unwrap()
}

/// Chunks of keys and values.
type Chunks = Vec<BTreeMap<i64, Option<String>>>;

async fn write(
    world: &World,
    load: &TableLoad,
    index: u32,
    lease: u64,
    chunk: &[(i64, Option<String>)],
) -> DurableReceipt {
    let mut writer = world.writer(load, index, lease).await;
    writer.write(rows(load, chunk)).await.unwrap();
    writer.commit(Counts { read: chunk.len() as u64, ..Counts::default() }).await.unwrap()
}

/// A run of those chunks. With `torn`, each chunk is written before by a worker that dies with its lease.
async fn run(world: &World, load: &TableLoad, chunks: &Chunks, torn: bool) -> TableReceipt {
    world.d1.prepare(load).await.unwrap();
    let mut receipts = Vec::new();
    for (index, chunk) in (0..).zip(chunks) {
        let chunk: Vec<_> = chunk.clone().into_iter().collect();
        if torn {
            let mut writer = world.writer(load, index, 1).await;
            writer.write(rows(load, &chunk)).await.unwrap();
            let wrong = Counts { read: chunk.len() as u64 + 1, ..Counts::default() };
            assert!(writer.commit(wrong).await.is_err(), "the data is there, the chunk is not durable");
        }
        receipts.push(write(world, load, index, 2, &chunk).await);
    }
    world.d1.publish(load, &receipts, Fence { run: load.run, lease: 9 }).await.unwrap()
}

/// A version: value, start, end, active.
type Version = (Option<String>, i64, i64, bool);

/// What the rules say, without any of the program's means.
#[derive(Default)]
struct Model(BTreeMap<i64, Vec<Version>>);

impl Model {
    fn run(&mut self, at: i64, full: bool, chunks: &Chunks) {
        let mut seen: BTreeMap<i64, Option<String>> = BTreeMap::new();
        chunks.iter().for_each(|chunk| seen.extend(chunk.clone()));
        for (key, value) in &seen {
            let versions = self.0.entry(*key).or_default();
            match versions.last_mut() {
                Some((old, _, _, true)) if old == value => continue,
                Some((_, _, end, active @ true)) => (*end, *active) = (at - 1_000, false),
                _ => {}
            }
            versions.push((value.clone(), at, END_OF_TIME, true));
        }
        for (_, versions) in self.0.iter_mut().filter(|(key, _)| full && !seen.contains_key(*key)) {
            if let Some((_, _, end, active @ true)) = versions.last_mut() {
                (*end, *active) = (at, false);
            }
        }
    }
}

fn instant(micros: i64) -> String {
    chrono::DateTime::from_timestamp_micros(micros).unwrap().format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}

fn assert_history(world: &World, model: &Model) {
    let stored = world.select(
        "SELECT id, name, _fivetran_start, _fivetran_end, _fivetran_active FROM crm__people ORDER BY id, _fivetran_start",
    );
    let expected: Vec<_> = model
        .0
        .iter()
        .flat_map(|(key, versions)| versions.iter().map(move |version| (key, version)))
        .map(|(key, (value, start, end, active))| {
            let value = value.clone().map_or(Null, Text);
            let (start, end) = (Text(instant(*start)), Text(instant(*end)));
            vec![Integer(*key), value, start, end, Integer((*active).into())]
        })
        .collect();
    assert_eq!(stored, expected);
}

fn chunks() -> impl Strategy<Value = Chunks> {
    let value = prop::option::weighted(0.8, "[ab]");
    prop::collection::vec(prop::collection::btree_map(0..6_i64, value, 0..5), 1..4)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    /// Chunks of a run repeat keys with other values and with the old ones again; workers die and are replaced.
    #[test]
    fn i3_any_runs_leave_the_history_of_the_rules(runs in prop::collection::vec((any::<bool>(), any::<bool>(), chunks()), 1..6)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let world = World::new();
            let mut model = Model::default();
            for (number, (full, torn, chunks)) in (1..).zip(&runs) {
                let mode = if *full { LoadMode::Full } else { LoadMode::Incremental };
                let load = load(people_over_time(), number, mode);
                let receipt = run(&world, &load, chunks, *torn).await;
                model.run(synced_at(number), *full, chunks);
                assert_history(&world, &model);
                assert_eq!(receipt.written, chunks.iter().map(BTreeMap::len).sum::<usize>() as u64);
                let active = model.0.values().flatten().filter(|version| version.3).count();
                assert_eq!(receipt.live_rows, Some(active as u64));
            }
        });
    }
}

#[tokio::test]
async fn i3_a_merge_that_is_cut_short_between_its_statements_is_done_anew() {
    // Over Cloudflare's API a batch is not promised to be a transaction.
    for statements in 0..8 {
        let world = World::new();
        let mut model = Model::default();
        let (first, second) = (one(1, "a"), one(1, "b"));
        run(&world, &load(people_over_time(), 1, LoadMode::Full), &first, false).await;
        model.run(synced_at(1), true, &first);
        let later = load(people_over_time(), 2, LoadMode::Incremental);
        world.d1.prepare(&later).await.unwrap();
        let mut writer = world.writer(&later, 0, 1).await;
        writer.write(rows(&later, &[(1, Some("b".to_owned()))])).await.unwrap();
        world.db.set_fault(Some(Fault::TornAfter(statements)));
        let outcome = writer.commit(Counts { read: 1, ..Counts::default() }).await;
        assert!(outcome.is_err(), "cut after {statements}");
        world.db.set_fault(None);
        run(&world, &later, &second, false).await;
        model.run(synced_at(2), false, &second);
        assert_history(&world, &model);
    }
}

fn one(id: i64, name: &str) -> Chunks {
    vec![BTreeMap::from([(id, Some(name.to_owned()))])]
}

#[tokio::test]
async fn a_table_that_begins_to_keep_history_begins_with_its_resync() {
    let world = World::new();
    let plain = load(people(), 1, LoadMode::Full);
    world.load(&plain, people_batch(&plain, &[(1, "Ada"), (2, "Bob")])).await;
    run(&world, &load(people_over_time(), 2, LoadMode::Full), &one(1, "Ada"), false).await;
    let mut model = Model::default();
    model.run(synced_at(2), true, &one(1, "Ada"));
    assert_history(&world, &model);
    // And back: one row per key again.
    let back = load(people(), 3, LoadMode::Full);
    let receipt = world.load(&back, people_batch(&back, &[(1, "Ada")])).await;
    assert_eq!(receipt, TableReceipt { written: 1, deleted: 0, live_rows: Some(1) });
    assert_eq!(world.count("SELECT count(*) FROM crm__people WHERE _fivetran_deleted IS NOT 1"), 1);
}

#[tokio::test]
async fn a_live_table_holds_what_the_source_holds() {
    let world = World::new();
    let plain = load(people(), 1, LoadMode::Full);
    world.load(&plain, people_batch(&plain, &[(1, "Ada"), (2, "Bob"), (3, "Cyd")])).await;
    let plain = load(people(), 2, LoadMode::Full);
    world.load(&plain, people_batch(&plain, &[(1, "Ada"), (3, "Cyd")])).await;
    let mut live = people();
    live.columns.retain(|column| column.name != fivetran_do::core::table::DELETED);
    let rows = |load: &TableLoad, rows: &[(i64, &str)]| {
        let all = people_batch(&TableLoad { table: people(), ..load.clone() }, rows);
        all.project(&[0, 1, 2]).unwrap()
    };
    let third = load(live.clone(), 3, LoadMode::Full);
    let receipt = world.load(&third, rows(&third, &[(2, "back"), (3, "Cyd")])).await;
    // Bob had been marked; his mark must not outlive him. Ada is gone, without a trace.
    assert_eq!(receipt, TableReceipt { written: 2, deleted: 1, live_rows: Some(2) });
    let left = world.select("SELECT id, name, _fivetran_deleted FROM crm__people ORDER BY id");
    assert_eq!(
        left,
        [[Integer(2), Text("back".into()), Integer(0)], [Integer(3), Text("Cyd".into()), Integer(0)]]
    );
    let fourth = load(live, 4, LoadMode::Incremental);
    world.load(&fourth, rows(&fourth, &[(3, "Cid")])).await;
    assert_eq!(world.select("SELECT name FROM crm__people WHERE id = 3"), [[Text("Cid".into())]]);
}
