//! Chunks: replayed, fenced, cut short (invariants I2 to I5).

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringArray};
use fivetran_do::core::ErrorKind;
use fivetran_do::core::run::{Counts, Fence};
use fivetran_do::core::table::LoadMode;
use fivetran_do::core::types::ColumnType;
use fivetran_do::destinations::ChunkOpening;
use proptest::prelude::*;
use rusqlite::types::Value::{Integer, Text};

use crate::support::publishing::PublishAll;
use crate::support::sqlite::Fault;
use crate::world::{World, batch, chunk_id, load, people, people_batch, table};

fn read(rows: u64) -> Counts {
    Counts { read: rows, ..Counts::default() }
}

#[tokio::test]
async fn i3_replaying_a_chunk_changes_nothing_and_returns_the_same_receipt() {
    let world = World::new();
    let load = load(people(), 1, LoadMode::Incremental);
    world.d1.prepare(&load).await.unwrap();
    let receipt = world.load_chunk(&load, 0, people_batch(&load, &[(1, "Ada"), (2, "Bob")])).await;
    assert_eq!((receipt.counts().written, receipt.fence()), (2, Fence { run: 1, lease: 1 }));
    let before = world.select("SELECT * FROM crm__people");
    let again = World::over(world.db.clone());
    again.d1.prepare(&load).await.unwrap();
    match again.d1.open(&load, &chunk_id(&load, 0), Fence { run: 1, lease: 7 }).await.unwrap() {
        ChunkOpening::AlreadyDurable(found) => assert_eq!(found, receipt),
        ChunkOpening::Writer(_) => panic!("the chunk is durable"),
    }
    assert_eq!(world.select("SELECT * FROM crm__people"), before);
}

#[tokio::test]
async fn i3_a_commit_whose_answer_was_lost_can_be_repeated() {
    let world = World::new();
    let load = load(people(), 1, LoadMode::Incremental);
    world.d1.prepare(&load).await.unwrap();
    let mut writer = world.writer(&load, 0, 1).await;
    writer.write(people_batch(&load, &[(1, "Ada")])).await.unwrap();
    // Data and its count, then both statements of the mark, then silence: the mark is there, the worker does not know.
    world.db.set_fault(Some(Fault::TornAfter(3)));
    let error = writer.commit(read(1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DestinationUnavailable);
    world.db.set_fault(None);
    let opening = world.d1.open(&load, &chunk_id(&load, 0), Fence { run: 1, lease: 2 }).await.unwrap();
    assert!(matches!(opening, ChunkOpening::AlreadyDurable(_)));
}

#[tokio::test]
async fn i4_a_stale_lease_can_neither_write_nor_commit() {
    let world = World::new();
    let load = load(people(), 1, LoadMode::Incremental);
    world.d1.prepare(&load).await.unwrap();
    let mut stale = world.writer(&load, 0, 1).await;
    stale.write(people_batch(&load, &[(1, "stale")])).await.unwrap();
    let mut fresh = world.writer(&load, 0, 2).await;
    fresh.write(people_batch(&load, &[(1, "fresh")])).await.unwrap();
    assert_eq!(stale.commit(read(1)).await.unwrap_err().kind(), ErrorKind::Fenced);
    assert!(world.select("SELECT * FROM crm__people").is_empty());
    fresh.commit(read(1)).await.unwrap();
    assert_eq!(world.select("SELECT name FROM crm__people"), [[Text("fresh".into())]]);
    let older = world.d1.open(&load, &chunk_id(&load, 1), Fence { run: 1, lease: 9 }).await.unwrap();
    assert!(matches!(older, ChunkOpening::Writer(_)));
    let refused = world.d1.open(&load, &chunk_id(&load, 1), Fence { run: 1, lease: 8 }).await.err().unwrap();
    assert_eq!(refused.kind(), ErrorKind::Fenced);
}

#[tokio::test]
async fn i4_a_stale_lease_cannot_write_after_the_chunk_is_durable() {
    let world = World::new();
    let load = load(people(), 1, LoadMode::Incremental);
    world.d1.prepare(&load).await.unwrap();
    let mut zombie = world.writer(&load, 0, 1).await;
    zombie.write(people_batch(&load, &[(1, "old")])).await.unwrap();
    let mut owner = world.writer(&load, 0, 2).await;
    owner.write(people_batch(&load, &[(1, "new")])).await.unwrap();
    owner.commit(read(1)).await.unwrap();
    assert_eq!(zombie.commit(read(1)).await.unwrap_err().kind(), ErrorKind::Fenced);
    assert_eq!(world.select("SELECT name FROM crm__people"), [[Text("new".into())]]);
}

#[tokio::test]
async fn i4_a_newer_run_fences_the_older_one_everywhere() {
    let world = World::new();
    let old = load(people(), 1, LoadMode::Full);
    world.d1.prepare(&old).await.unwrap();
    let receipt = world.load_chunk(&old, 0, people_batch(&old, &[(1, "Ada")])).await;
    let mut writer = world.writer(&old, 1, 1).await;
    writer.write(people_batch(&old, &[(2, "late")])).await.unwrap();
    let new = load(people(), 2, LoadMode::Full);
    world.d1.prepare(&new).await.unwrap();
    assert_eq!(writer.commit(read(1)).await.unwrap_err().kind(), ErrorKind::Fenced);
    let fence = Fence { run: 1, lease: 3 };
    let opened = world.d1.open(&old, &chunk_id(&old, 2), fence).await.err().unwrap();
    assert_eq!(opened.kind(), ErrorKind::Fenced);
    assert_eq!(world.d1.publish_all(&old, &[receipt], fence).await.unwrap_err().kind(), ErrorKind::Fenced);
    assert_eq!(world.d1.prepare(&old).await.unwrap_err().kind(), ErrorKind::Fenced);
    assert_eq!(world.count("SELECT count(*) FROM crm__people"), 1);
    assert_eq!(world.count("SELECT count(*) FROM _fivetran_commits"), 0);
}

#[tokio::test]
async fn i3_another_worker_finishes_a_chunk_that_was_cut_short() {
    let world = World::new();
    let load = load(table("t", &[("id", ColumnType::Long), ("v", ColumnType::String)], 1), 1, LoadMode::Full);
    world.d1.prepare(&load).await.unwrap();
    let wide = "x".repeat(1000);
    let part = |from: i64, rows: i64| {
        let ids: ArrayRef = Arc::new((from..from + rows).map(Some).collect::<Int64Array>());
        let texts: ArrayRef = Arc::new((0..rows).map(|_| Some(wide.as_str())).collect::<StringArray>());
        batch(&load, vec![ids, texts])
    };
    let mut first = world.writer(&load, 0, 1).await;
    first.write(part(0, 4000)).await.unwrap();
    first.write(part(4000, 4000)).await.unwrap();
    world.db.set_fault(Some(Fault::LostAfter(0)));
    assert_eq!(first.commit(read(8000)).await.unwrap_err().kind(), ErrorKind::DestinationUnavailable);
    world.db.set_fault(None);
    let landed = world.count("SELECT count(*) FROM crm__t");
    assert!(landed > 0 && landed < 8000, "{landed} rows landed");
    let mut second = world.writer(&load, 0, 2).await;
    second.write(part(0, 8000)).await.unwrap();
    let receipt = second.commit(read(8000)).await.unwrap();
    assert_eq!(receipt.counts().written, 8000);
    assert_eq!(world.count("SELECT count(*) FROM crm__t"), 8000);
}

#[tokio::test]
async fn i2_a_failed_write_surfaces_at_the_commit_at_the_latest() {
    let world = World::new();
    let load = load(people(), 1, LoadMode::Full);
    world.d1.prepare(&load).await.unwrap();
    let mut writer = world.writer(&load, 0, 1).await;
    world.db.with(|connection| connection.execute_batch("DROP TABLE crm__people").unwrap());
    writer.write(people_batch(&load, &[(1, "Ada")])).await.unwrap();
    assert!(writer.commit(read(1)).await.is_err());
    assert_eq!(world.count("SELECT count(*) FROM _fivetran_commits WHERE durable"), 0);
}

#[tokio::test]
async fn i5_a_chunk_that_lost_rows_does_not_become_durable() {
    let world = World::new();
    let load = load(people(), 1, LoadMode::Full);
    world.d1.prepare(&load).await.unwrap();
    let mut writer = world.writer(&load, 0, 1).await;
    writer.write(people_batch(&load, &[(1, "Ada")])).await.unwrap();
    assert_eq!(writer.commit(read(2)).await.unwrap_err().kind(), ErrorKind::Mismatch);
    assert_eq!(world.count("SELECT count(*) FROM _fivetran_commits WHERE durable"), 0);
    let mut writer = world.writer(&load, 0, 2).await;
    writer.write(people_batch(&load, &[(1, "Ada")])).await.unwrap();
    let counts = Counts { read: 3, filtered: 2, ..Counts::default() };
    assert_eq!(writer.commit(counts).await.unwrap().counts().written, 1);
}

#[tokio::test]
async fn a_key_that_occurs_twice_ends_with_its_last_row() {
    let world = World::new();
    let load = load(people(), 1, LoadMode::Full);
    let receipt = world.load(&load, people_batch(&load, &[(1, "first"), (2, "b"), (1, "last")])).await;
    assert_eq!(receipt.live_rows, Some(2));
    assert_eq!(
        world.select("SELECT id, name FROM crm__people ORDER BY id"),
        [[Integer(1), Text("last".into())], [Integer(2), Text("b".into())]]
    );
}

#[tokio::test]
async fn a_table_of_key_columns_only_loads() {
    let world = World::new();
    let mut schema = people();
    schema.columns.truncate(2);
    schema.primary_key = vec!["id".into(), "name".into()];
    let load = load(schema, 1, LoadMode::Incremental);
    let ids: ArrayRef = Arc::new(Int64Array::from(vec![1, 1, 2]));
    let names: ArrayRef = Arc::new(StringArray::from(vec!["a", "a", "a"]));
    let rows = arrow::array::RecordBatch::try_new(load.table.arrow(), vec![ids, names]).unwrap();
    assert_eq!(world.load(&load, rows).await.live_rows, Some(2));
}

#[tokio::test]
async fn an_empty_chunk_becomes_durable() {
    let world = World::new();
    let load = load(people(), 1, LoadMode::Full);
    assert_eq!(world.load(&load, people_batch(&load, &[])).await.live_rows, Some(0));
}

#[tokio::test]
async fn small_batches_share_a_statement() {
    let world = World::new();
    let load = load(people(), 1, LoadMode::Full);
    world.d1.prepare(&load).await.unwrap();
    let mut writer = world.writer(&load, 0, 1).await;
    let before = world.db.statements_run();
    for id in 0..100 {
        writer.write(people_batch(&load, &[(id, "Ada")])).await.unwrap();
    }
    writer.commit(read(100)).await.unwrap();
    assert_eq!(world.db.statements_run() - before, 4);
    assert_eq!(world.count("SELECT count(*) FROM crm__people"), 100);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn i3_random_chunks_with_replays_equal_a_map(
        chunks in prop::collection::vec(prop::collection::vec((0_i64..20, "[a-z]{0,4}"), 0..15), 1..6),
        replays in prop::collection::vec(any::<bool>(), 6),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (found, model) = runtime.block_on(async {
            let world = World::new();
            let load = load(people(), 1, LoadMode::Incremental);
            world.d1.prepare(&load).await.unwrap();
            let mut model = BTreeMap::new();
            for (index, chunk) in chunks.iter().enumerate() {
                let rows: Vec<(i64, &str)> = chunk.iter().map(|(id, name)| (*id, name.as_str())).collect();
                if replays[index] {
                    let mut dead = world.writer(&load, index as u32, 1).await;
                    dead.write(people_batch(&load, &rows)).await.unwrap();
                }
                let mut writer = world.writer(&load, index as u32, 2).await;
                writer.write(people_batch(&load, &rows)).await.unwrap();
                writer.commit(read(rows.len() as u64)).await.unwrap();
                model.extend(chunk.iter().cloned());
            }
            (world.select("SELECT id, name FROM crm__people ORDER BY id"), model)
        });
        let expected: Vec<_> = model.into_iter().map(|(id, name)| vec![Integer(id), Text(name)]).collect();
        prop_assert_eq!(found, expected);
    }
}

#[tokio::test]
async fn i5_rows_that_a_trigger_leaves_out_fail_the_chunk() {
    let world = World::new();
    let first = load(people(), 1, LoadMode::Incremental);
    world.load(&first, people_batch(&first, &[(1, "Ada")])).await;
    let trigger = "CREATE TRIGGER no_bob BEFORE INSERT ON crm__people WHEN NEW.name = 'Bob' \
        BEGIN SELECT RAISE(IGNORE); END";
    world.db.with(|connection| connection.execute_batch(trigger)).unwrap();
    let second = load(people(), 2, LoadMode::Incremental);
    world.d1.prepare(&second).await.unwrap();
    let mut writer = world.writer(&second, 0, 1).await;
    writer.write(people_batch(&second, &[(2, "Bob"), (3, "Cyd")])).await.unwrap();
    let error = writer.commit(read(2)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Mismatch);
    assert!(error.to_string().contains("1 of 2"), "{error}");
}

#[tokio::test]
async fn i5_what_a_users_trigger_does_besides_is_not_counted() {
    let world = World::new();
    let first = load(people(), 1, LoadMode::Incremental);
    world.load(&first, people_batch(&first, &[(1, "Ada")])).await;
    let audit = "CREATE TABLE audit (name TEXT); CREATE TRIGGER audited AFTER INSERT ON crm__people \
        BEGIN INSERT INTO audit VALUES (NEW.name); END";
    world.db.with(|connection| connection.execute_batch(audit)).unwrap();
    let second = load(people(), 2, LoadMode::Incremental);
    let receipt = world.load(&second, people_batch(&second, &[(2, "Bob"), (3, "Cyd")])).await;
    assert_eq!((receipt.written, world.count("SELECT count(*) FROM audit")), (2, 2));
}

#[tokio::test]
async fn i5_a_source_that_counted_otherwise_fails_the_chunk() {
    let world = World::new();
    let load = load(people(), 1, LoadMode::Full);
    world.d1.prepare(&load).await.unwrap();
    let mut writer = world.writer(&load, 0, 1).await;
    writer.write(people_batch(&load, &[(1, "Ada")])).await.unwrap();
    let error = writer.commit(Counts { source_rows: Some(2), ..read(1) }).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Mismatch);
    assert!(error.to_string().contains("the source counted 2 rows"), "{error}");
}
