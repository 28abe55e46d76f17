//! The end of a run: what is gone at the source becomes deleted, and the counts are right.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringArray};
use fivetran_do::core::ErrorKind;
use fivetran_do::core::run::Fence;
use fivetran_do::core::table::LoadMode;
use fivetran_do::core::types::ColumnType;
use fivetran_do::destinations::TableReceipt;
use rusqlite::types::Value::{Integer, Text};

use crate::support::publishing::PublishAll;
use crate::support::sqlite::Fault;
use crate::world::{World, batch, load, people, people_batch, table};

#[tokio::test]
async fn a_full_load_marks_what_it_did_not_see_and_revives_what_returns() {
    let world = World::new();
    let first = load(people(), 1, LoadMode::Full);
    world.load(&first, people_batch(&first, &[(1, "Ada"), (2, "Bob"), (3, "Cyd")])).await;
    let second = load(people(), 2, LoadMode::Full);
    let receipt = world.load(&second, people_batch(&second, &[(1, "Ada"), (3, "Cyd")])).await;
    assert_eq!(receipt, TableReceipt { written: 2, deleted: 1, live_rows: Some(2) });
    assert_eq!(
        world.select("SELECT name, _fivetran_deleted, _fivetran_synced FROM crm__people WHERE id = 2"),
        [[Text("Bob".into()), Integer(1), Text("2026-11-23T00:01:00.000000Z".into())]]
    );
    let third = load(people(), 3, LoadMode::Full);
    let receipt = world.load(&third, people_batch(&third, &[(1, "Ada"), (2, "Bob"), (3, "Cyd")])).await;
    assert_eq!(receipt, TableReceipt { written: 3, deleted: 0, live_rows: Some(3) });
    assert_eq!(world.count("SELECT count(*) FROM crm__people WHERE _fivetran_deleted = 0"), 3);
}

#[tokio::test]
async fn an_incremental_load_deletes_nothing() {
    let world = World::new();
    let first = load(people(), 1, LoadMode::Full);
    world.load(&first, people_batch(&first, &[(1, "Ada"), (2, "Bob")])).await;
    let second = load(people(), 2, LoadMode::Incremental);
    let receipt = world.load(&second, people_batch(&second, &[(3, "Cyd")])).await;
    assert_eq!(receipt, TableReceipt { written: 1, deleted: 0, live_rows: Some(3) });
}

#[tokio::test]
async fn i3_publishing_again_answers_the_same() {
    let world = World::new();
    let first = load(people(), 1, LoadMode::Full);
    world.load(&first, people_batch(&first, &[(1, "Ada"), (2, "Bob")])).await;
    let second = load(people(), 2, LoadMode::Full);
    world.d1.prepare(&second).await.unwrap();
    let chunk = world.load_chunk(&second, 0, people_batch(&second, &[(1, "Ada")])).await;
    let fence = Fence { run: 2, lease: 2 };
    for _ in 0..2 {
        let receipt = world.d1.publish_all(&second, std::slice::from_ref(&chunk), fence).await.unwrap();
        assert_eq!(receipt, TableReceipt { written: 1, deleted: 1, live_rows: Some(1) });
    }
}

#[tokio::test]
async fn i3_a_publish_cut_short_anywhere_ends_the_same() {
    for statements in 0..12 {
        let world = World::new();
        let first = load(people(), 1, LoadMode::Full);
        world.load(&first, people_batch(&first, &[(1, "Ada"), (2, "Bob"), (3, "Cyd")])).await;
        let second = load(people(), 2, LoadMode::Full);
        world.d1.prepare(&second).await.unwrap();
        let chunk = world.load_chunk(&second, 0, people_batch(&second, &[(1, "Ada")])).await;
        let fence = Fence { run: 2, lease: 2 };
        world.db.set_fault(Some(Fault::LostAfter(statements)));
        let _ = world.d1.publish_all(&second, std::slice::from_ref(&chunk), fence).await;
        world.db.set_fault(None);
        let receipt = world.d1.publish_all(&second, &[chunk], fence).await.unwrap();
        assert_eq!(
            receipt,
            TableReceipt { written: 1, deleted: 2, live_rows: Some(1) },
            "cut after {statements}"
        );
    }
}

#[tokio::test]
async fn i2_publishing_a_chunk_that_is_not_durable_is_refused() {
    let world = World::new();
    let first = load(people(), 1, LoadMode::Full);
    world.d1.prepare(&first).await.unwrap();
    let chunk = world.load_chunk(&first, 0, people_batch(&first, &[(1, "Ada")])).await;
    world.db.with(|connection| connection.execute_batch("UPDATE _fivetran_commits SET durable = 0").unwrap());
    let fence = Fence { run: 1, lease: 1 };
    let error = world.d1.publish_all(&first, std::slice::from_ref(&chunk), fence).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Mismatch);
    assert!(error.message().contains("chunk [\"public\",\"people\",0,1] is not durable"), "{error}");
    let second = load(people(), 2, LoadMode::Full);
    world.d1.prepare(&second).await.unwrap();
    let error = world.d1.publish_all(&second, &[chunk], Fence { run: 2, lease: 1 }).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Mismatch);
}

/// More rows than a page, with a key of two columns whose first one repeats.
#[tokio::test]
async fn a_table_of_many_pages_is_swept_completely() {
    const ROWS: i64 = 450_000;
    let world = World::new();
    let schema = table("t", &[("tenant", ColumnType::String), ("id", ColumnType::Long)], 2);
    let first = load(schema.clone(), 1, LoadMode::Full);
    let rows = |load: &_, step: usize| {
        let ids: Vec<i64> = (0..ROWS).step_by(step).collect();
        let tenants: ArrayRef =
            Arc::new(ids.iter().map(|id| Some(format!("t{}", id % 3))).collect::<StringArray>());
        batch(load, vec![tenants, Arc::new(Int64Array::from(ids))])
    };
    let receipt = world.load(&first, rows(&first, 1)).await;
    assert_eq!(receipt, TableReceipt { written: 450_000, deleted: 0, live_rows: Some(450_000) });
    let second = load(schema, 2, LoadMode::Full);
    let receipt = world.load(&second, rows(&second, 2)).await;
    assert_eq!(receipt, TableReceipt { written: 225_000, deleted: 225_000, live_rows: Some(225_000) });
    assert_eq!(world.count("SELECT count(*) FROM crm__t WHERE _fivetran_deleted AND id % 2 = 1"), 225_000);
}

#[tokio::test]
async fn i5_a_chunk_whose_stored_count_is_another_is_not_published() {
    let world = World::new();
    let load = load(people(), 1, LoadMode::Full);
    world.d1.prepare(&load).await.unwrap();
    let receipt = world.load_chunk(&load, 0, people_batch(&load, &[(1, "Ada"), (2, "Bob")])).await;
    let fence = Fence { run: 1, lease: 2 };
    let mutate = "UPDATE _fivetran_commits SET counts = json_set(counts, '$.written', 1)";
    world.db.with(|connection| connection.execute(mutate, [])).unwrap();
    let error = world.d1.publish_all(&load, std::slice::from_ref(&receipt), fence).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Mismatch, "{error}");
    let restore = "UPDATE _fivetran_commits SET counts = json_set(counts, '$.written', 2)";
    world.db.with(|connection| connection.execute(restore, [])).unwrap();
    assert_eq!(world.d1.publish_all(&load, &[receipt], fence).await.unwrap().written, 2);
}

#[tokio::test]
async fn i5_a_durable_chunk_that_nobody_handed_in_shows_in_the_published_count() {
    let world = World::new();
    let load = load(people(), 1, LoadMode::Incremental);
    world.d1.prepare(&load).await.unwrap();
    let receipt = world.load_chunk(&load, 0, people_batch(&load, &[(1, "Ada")])).await;
    world.load_chunk(&load, 1, people_batch(&load, &[(2, "Bob"), (3, "Cyd")])).await;
    let published = world.d1.publish_all(&load, &[receipt], Fence { run: 1, lease: 2 }).await.unwrap();
    assert_eq!(published.written, 3, "one row was handed in");
}
