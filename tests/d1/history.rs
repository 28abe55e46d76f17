//! Type-2 history and current state only, against a reference model.

use std::collections::BTreeMap;

use fivetran_do::core::run::{Counts, Fence};
use fivetran_do::core::table::{LoadMode, TableSchema};
use fivetran_do::destinations::{DurableReceipt, TableLoad, TableReceipt};
use proptest::prelude::*;
use rusqlite::types::Value::{self, Integer, Null, Text};

use crate::support::history::{self, Model, Row, Sync, Version, batch, stories, sync, syncs, told};
use crate::support::publishing::PublishAll;
use crate::support::sqlite::Fault;
use crate::world::{World, load, people, people_batch, synced_at};

fn people_over_time() -> TableSchema {
    history::people("crm", true)
}

fn load_of(number: u64, sync: &Sync) -> TableLoad {
    let mode = if sync.full { LoadMode::Full } else { LoadMode::Incremental };
    load(history::people("crm", sync.color), number, mode)
}

async fn write(
    world: &World,
    load: &TableLoad,
    index: u32,
    lease: u64,
    chunk: &BTreeMap<i64, Row>,
) -> DurableReceipt {
    let mut writer = world.writer(load, index, lease).await;
    writer.write(batch(load, chunk)).await.unwrap();
    writer.commit(Counts { read: chunk.len() as u64, ..Counts::default() }).await.unwrap()
}

/// A run of those chunks. Where it is torn, each chunk is written before by a worker that dies with its lease.
async fn run(world: &World, load: &TableLoad, sync: &Sync) -> TableReceipt {
    world.d1.prepare(load).await.unwrap();
    let mut receipts = Vec::new();
    for (index, chunk) in (0..).zip(&sync.chunks) {
        if sync.torn {
            let mut writer = world.writer(load, index, 1).await;
            writer.write(batch(load, chunk)).await.unwrap();
            let wrong = Counts { read: chunk.len() as u64 + 1, ..Counts::default() };
            assert!(writer.commit(wrong).await.is_err(), "the data is there, the chunk is not durable");
        }
        receipts.push(write(world, load, index, 2, chunk).await);
    }
    world.d1.publish_all(load, &receipts, Fence { run: load.run, lease: 9 }).await.unwrap()
}

fn micros(value: &Value) -> i64 {
    let Text(text) = value else { panic!("{value:?} is no text") };
    chrono::DateTime::parse_from_rfc3339(text).unwrap().timestamp_micros()
}

/// What is stored; tables that never had colors have no column for them.
fn stored(world: &World) -> Vec<(i64, Version)> {
    let colors = world.count("SELECT count(*) FROM pragma_table_info('crm__people') WHERE name = 'color'");
    let color = if colors == 0 { "NULL" } else { "color" };
    let rows = world.select(&format!(
        "SELECT id, name, {color}, _fivetran_start, _fivetran_end, _fivetran_active FROM crm__people \
         ORDER BY id, _fivetran_start"
    ));
    let text = |value: &Value| match value {
        Text(text) => Some(text.clone()),
        Null => None,
        other => panic!("{other:?} is no text"),
    };
    let version = |row: &Vec<Value>| match row[..] {
        [Integer(id), ref name, ref color, ref start, ref end, Integer(active)] => {
            (id, ([text(name), text(color)], micros(start), micros(end), active == 1))
        }
        _ => panic!("{row:?}"),
    };
    rows.iter().map(version).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    /// Chunks of a run repeat keys with other values and with the old ones again; workers die and are replaced.
    #[test]
    fn i3_any_runs_leave_the_history_of_the_rules(syncs in syncs()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let world = World::new();
            let mut model = Model::default();
            for (number, sync) in (1..).zip(&syncs) {
                let receipt = run(&world, &load_of(number, sync), sync).await;
                model.sync(synced_at(number), sync);
                assert_eq!(stored(&world), model.versions());
                assert_eq!(receipt.written, sync.chunks.iter().map(BTreeMap::len).sum::<usize>() as u64);
                assert_eq!(receipt.live_rows, Some(model.active()));
            }
        });
    }
}

#[tokio::test]
async fn the_stories_of_history_end_as_they_are_told() {
    for (what, syncs, end) in stories() {
        let (world, mut model) = (World::new(), Model::default());
        for (number, sync) in (1..).zip(&syncs) {
            run(&world, &load_of(number, sync), sync).await;
            model.sync(synced_at(number), sync);
        }
        let in_words = |versions: Vec<_>| -> Vec<String> {
            versions.iter().map(|version| told(version, synced_at)).collect()
        };
        assert_eq!(in_words(model.versions()), end, "the model: {what}");
        assert_eq!(in_words(stored(&world)), end, "{what}");
    }
}

#[tokio::test]
async fn i3_a_merge_that_is_cut_short_between_its_statements_is_done_anew() {
    // Over Cloudflare's API a batch is not promised to be a transaction.
    for statements in 0..8 {
        let world = World::new();
        let mut model = Model::default();
        let (first, second) = (sync(true, true, &["1 a -"]), sync(false, true, &["1 b -"]));
        run(&world, &load_of(1, &first), &first).await;
        model.sync(synced_at(1), &first);
        let later = load(people_over_time(), 2, LoadMode::Incremental);
        world.d1.prepare(&later).await.unwrap();
        let mut writer = world.writer(&later, 0, 1).await;
        writer.write(batch(&later, &second.chunks[0])).await.unwrap();
        world.db.set_fault(Some(Fault::TornAfter(statements)));
        let outcome = writer.commit(Counts { read: 1, ..Counts::default() }).await;
        assert!(outcome.is_err(), "cut after {statements}");
        world.db.set_fault(None);
        run(&world, &later, &second).await;
        model.sync(synced_at(2), &second);
        assert_eq!(stored(&world), model.versions());
    }
}

#[tokio::test]
async fn i5_rows_that_occur_twice_count_twice_whether_they_are_new_or_known() {
    // As in a table without a key, whose rows are keyed by their values.
    let world = World::new();
    for number in 1..=3 {
        let load = load(people_over_time(), number, LoadMode::Incremental);
        world.d1.prepare(&load).await.unwrap();
        let once = batch(&load, &sync(false, true, &["1 a -", "2 b -"]).chunks[0]);
        let twice = arrow::compute::concat_batches(&once.schema(), [&once, &once]).unwrap();
        let mut writer = world.writer(&load, 0, 1).await;
        writer.write(twice).await.unwrap();
        let receipt = writer.commit(Counts { read: 4, ..Counts::default() }).await.unwrap();
        let receipt = world.d1.publish_all(&load, &[receipt], Fence { run: number, lease: 2 }).await.unwrap();
        assert_eq!(receipt, TableReceipt { written: 4, deleted: 0, live_rows: Some(2) }, "run {number}");
        assert_eq!(stored(&world).len(), 2, "run {number}: no version begins, because nothing changed");
    }
}

#[tokio::test]
async fn a_table_that_begins_to_keep_history_begins_with_its_resync() {
    let world = World::new();
    let plain = load(people(), 1, LoadMode::Full);
    world.load(&plain, people_batch(&plain, &[(1, "Ada"), (2, "Bob")])).await;
    let mut model = Model::default();
    for (number, sync) in
        (2..).zip([sync(true, true, &["1 Ada red", "3 Cyd -"]), sync(true, true, &["1 Ada red"])])
    {
        run(&world, &load_of(number, &sync), &sync).await;
        model.sync(synced_at(number), &sync);
        assert_eq!(stored(&world), model.versions());
    }
    // And back: one row per key again. Of a row that is gone its last values stay, as of any other.
    let back = load(people(), 4, LoadMode::Full);
    let receipt = world.load(&back, people_batch(&back, &[(1, "Ada")])).await;
    assert_eq!(receipt, TableReceipt { written: 1, deleted: 1, live_rows: Some(1) });
    let rows = world.select("SELECT id, name, coalesce(_fivetran_deleted, 0) FROM crm__people ORDER BY id");
    let ada = [Integer(1), Text("Ada".into()), Integer(0)];
    assert_eq!(rows, [ada, [Integer(3), Text("Cyd".into()), Integer(1)]]);
}

#[tokio::test]
async fn a_live_table_that_marks_what_is_gone_from_now_on_begins_with_its_resync() {
    let world = World::new();
    let mut live = people();
    live.columns.retain(|column| column.name != fivetran_do::core::table::DELETED);
    let first = load(live, 1, LoadMode::Full);
    let all = people_batch(&TableLoad { table: people(), ..first.clone() }, &[(1, "Ada"), (2, "Bob")]);
    world.load(&first, all.project(&[0, 1, 2]).unwrap()).await;
    let second = load(people(), 2, LoadMode::Full);
    let receipt = world.load(&second, people_batch(&second, &[(1, "Ada")])).await;
    assert_eq!(receipt, TableReceipt { written: 1, deleted: 1, live_rows: Some(1) });
    assert_eq!(world.select("SELECT id FROM crm__people WHERE _fivetran_deleted = 1"), [[Integer(2)]]);
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
