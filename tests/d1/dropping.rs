//! Columns that a person asked to drop.

use fivetran_do::core::ErrorKind;
use fivetran_do::core::table::{LoadMode, TableSchema};
use fivetran_do::core::types::ColumnType;
use fivetran_do::destinations::Dropped;
use rusqlite::types::Value::{Integer, Null, Text};

use crate::support::sqlite::Fault;
use crate::world::{World, batch, load, people, people_batch, table};

/// `people` with a column `salary`, which runs after the first do not carry.
fn wide() -> TableSchema {
    let columns = [("id", ColumnType::Long), ("name", ColumnType::String), ("salary", ColumnType::String)];
    table("people", &columns, 1)
}

async fn loaded() -> World {
    use arrow::array::{ArrayRef, Int64Array, StringArray};
    use std::sync::Arc;
    let world = World::new();
    let first = load(wide(), 1, LoadMode::Full);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(vec![1, 2])),
        Arc::new(StringArray::from(vec!["Ada", "Bob"])),
        Arc::new(StringArray::from(vec!["lots", "little"])),
    ];
    world.load(&first, batch(&first, columns)).await;
    world
}

fn names(columns: &[&str]) -> Vec<String> {
    columns.iter().map(|name| (*name).to_owned()).collect()
}

fn columns(world: &World) -> Vec<String> {
    let rows = world.select("SELECT name FROM pragma_table_info('crm__people')");
    rows.into_iter().map(|row| if let Text(name) = &row[0] { name.clone() } else { panic!() }).collect()
}

const LEFT: [&str; 4] = ["id", "name", "_fivetran_synced", "_fivetran_deleted"];

#[tokio::test]
async fn a_dropped_column_is_gone_with_its_values_and_everything_else_stays() {
    let world = loaded().await;
    let next = load(people(), 2, LoadMode::Incremental);
    world.d1.prepare(&next).await.unwrap();
    for _ in 0..2 {
        assert_eq!(world.d1.drop_columns(&next, &names(&["salary"])).await.unwrap(), Dropped::Whole);
        assert_eq!(columns(&world), LEFT);
    }
    assert_eq!(world.d1.describe("crm", "people").await.unwrap().unwrap().columns.len(), 4);
    let receipt = world.load_chunk(&next, 0, people_batch(&next, &[(2, "Bea")])).await;
    let fence = fivetran_do::core::run::Fence { run: 2, lease: 2 };
    world.d1.publish(&next, &[receipt], fence).await.unwrap();
    let rows = world.select("SELECT id, name FROM crm__people ORDER BY id");
    assert_eq!(rows, [[Integer(1), Text("Ada".into())], [Integer(2), Text("Bea".into())]]);
    // Switched on again it begins empty.
    world.d1.prepare(&load(wide(), 3, LoadMode::Full)).await.unwrap();
    assert_eq!(world.select("SELECT DISTINCT salary FROM crm__people"), [[Null]]);
}

#[tokio::test]
async fn i8_neither_a_column_of_the_load_nor_of_the_key_nor_of_the_users_own_is_dropped() {
    let world = loaded().await;
    world.db.with(|db| db.execute_batch("ALTER TABLE crm__people ADD COLUMN mine TEXT").unwrap());
    let next = load(people(), 2, LoadMode::Incremental);
    world.d1.prepare(&next).await.unwrap();
    let wanted = ["id", "name", "NAME", "mine", "_fivetran_synced", "nowhere"];
    world.d1.drop_columns(&next, &names(&wanted)).await.unwrap();
    assert_eq!(columns(&world), ["id", "name", "salary", "_fivetran_synced", "_fivetran_deleted", "mine"]);
}

#[tokio::test]
async fn i4_a_run_that_is_over_drops_nothing() {
    let world = loaded().await;
    let (old, new) = (load(people(), 2, LoadMode::Incremental), load(wide(), 3, LoadMode::Full));
    world.d1.prepare(&old).await.unwrap();
    world.d1.prepare(&new).await.unwrap();
    let error = world.d1.drop_columns(&old, &names(&["salary"])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fenced);
    let mut stranger = load(people(), 9, LoadMode::Incremental);
    stranger.connection_id = "another".to_owned();
    let error = world.d1.drop_columns(&stranger, &names(&["salary"])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fenced);
    assert_eq!(world.select("SELECT salary FROM crm__people WHERE id = 1"), [[Text("lots".into())]]);
}

#[tokio::test]
async fn i8_a_column_that_the_users_own_index_needs_stays_whole() {
    let world = loaded().await;
    world.db.with(|db| db.execute_batch("CREATE INDEX mine ON crm__people (salary)").unwrap());
    let next = load(people(), 2, LoadMode::Incremental);
    world.d1.prepare(&next).await.unwrap();
    let error = world.d1.drop_columns(&next, &names(&["salary"])).await.unwrap_err();
    assert!(error.to_string().contains("salary"), "{error}");
    assert_eq!(world.select("SELECT salary FROM crm__people WHERE id = 2"), [[Text("little".into())]]);
    world.db.with(|db| db.execute_batch("DROP INDEX mine").unwrap());
    world.d1.drop_columns(&next, &names(&["salary"])).await.unwrap();
    assert_eq!(columns(&world), LEFT);
}

#[tokio::test]
async fn i3_a_drop_that_is_cut_short_anywhere_is_finished_by_the_next_run() {
    for fault in [Fault::LostAfter as fn(u32) -> Fault, Fault::TornAfter] {
        for after in 0..8 {
            let world = loaded().await;
            let next = load(people(), 2, LoadMode::Incremental);
            world.d1.prepare(&next).await.unwrap();
            world.db.set_fault(Some(fault(after)));
            let _ = world.d1.drop_columns(&next, &names(&["salary"])).await;
            world.db.set_fault(None);
            let again = load(people(), 3, LoadMode::Incremental);
            world.d1.prepare(&again).await.unwrap();
            world.d1.drop_columns(&again, &names(&["salary"])).await.unwrap();
            assert_eq!(columns(&world), LEFT, "cut after {after} statements");
            assert_eq!(world.count("SELECT count(*) FROM crm__people WHERE name IN ('Ada', 'Bob')"), 2);
        }
    }
}
