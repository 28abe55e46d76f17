//! Tables: made, extended, adopted, never harmed (invariant I8).

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringArray};
use fivetran_do::connectors::SetupTestStatus;
use fivetran_do::core::ErrorKind;
use fivetran_do::core::table::{LoadMode, TableSchema};
use fivetran_do::core::types::ColumnType;
use rusqlite::types::Value::{Integer, Null, Text};

use crate::support::sqlite::{Fault, SqliteDatabase};
use crate::world::{World, batch, column, load, people, people_batch, table};

#[tokio::test]
async fn a_table_is_described_exactly_as_it_was_prepared() {
    let world = World::new();
    assert_eq!(world.d1.describe("crm", "all").await.unwrap(), None);
    let kinds = [
        ("boolean", ColumnType::Boolean),
        ("short", ColumnType::Short),
        ("int", ColumnType::Int),
        ("long", ColumnType::Long),
        ("small decimal", ColumnType::Decimal { precision: 15, scale: 15 }),
        ("large decimal", ColumnType::Decimal { precision: 38, scale: 0 }),
        ("float", ColumnType::Float),
        ("double", ColumnType::Double),
        ("date", ColumnType::NaiveDate),
        ("time", ColumnType::NaiveTime),
        ("datetime", ColumnType::NaiveDatetime),
        ("utc", ColumnType::UtcDatetime),
        ("binary", ColumnType::Binary),
        ("string", ColumnType::String),
        ("json", ColumnType::Json),
    ];
    let load = load(table("all", &kinds, 4), 1, LoadMode::Full);
    world.d1.prepare(&load).await.unwrap();
    world.d1.prepare(&load).await.unwrap();
    assert_eq!(world.d1.describe("crm", "all").await.unwrap(), Some(load.table));
    assert_eq!(world.d1.describe("crm", "other").await.unwrap(), None);
}

#[tokio::test]
async fn a_single_integer_key_is_the_rowid_and_every_table_is_one_b_tree() {
    let world = World::new();
    let keys = [
        ("rowid", ColumnType::Long),
        ("text", ColumnType::String),
        ("decimal", ColumnType::Decimal { precision: 9, scale: 0 }),
    ];
    for (name, kind) in keys {
        let schema = table(name, &[("id", kind)], 1);
        world.d1.prepare(&load(schema, 1, LoadMode::Full)).await.unwrap();
        let sql = &world.select(&format!("SELECT sql FROM sqlite_master WHERE name = 'crm__{name}'"))[0][0];
        let Text(sql) = sql else { panic!() };
        assert_eq!(sql.contains("WITHOUT ROWID"), name != "rowid", "{sql}");
    }
    assert_eq!(world.count("SELECT count(*) FROM sqlite_master WHERE type = 'index'"), 0);
}

#[tokio::test]
async fn names_with_quotes_keywords_and_unicode_work() {
    let world = World::new();
    let mut schema = table(
        "select \"x\"; --",
        &[("order", ColumnType::Long), ("a\"b", ColumnType::String), ("größe 😀", ColumnType::String)],
        1,
    );
    schema.schema = "my schema'".to_owned();
    let first = load(schema.clone(), 1, LoadMode::Full);
    let rows = |load: &_| {
        let texts: ArrayRef = Arc::new(StringArray::from(vec!["x"]));
        batch(load, vec![Arc::new(Int64Array::from(vec![1])), Arc::clone(&texts), texts])
    };
    assert_eq!(world.load(&first, rows(&first)).await.live_rows, Some(1));
    schema.columns.push(column("new \"one\"", ColumnType::Long));
    schema.primary_key = vec!["a\"b".to_owned()];
    world.d1.prepare(&load(schema.clone(), 2, LoadMode::Full)).await.unwrap();
    let described = world.d1.describe("my schema'", "select \"x\"; --").await.unwrap().unwrap();
    assert_eq!(described.primary_key, schema.primary_key);
    assert_eq!(
        world.select("SELECT \"größe 😀\", \"new \"\"one\"\"\" FROM \"my schema'__select \"\"x\"\"; --\""),
        [[Text("x".into()), Null]]
    );
}

#[tokio::test]
async fn new_columns_are_added_and_dropped_ones_stay() {
    let world = World::new();
    let first = load(people(), 1, LoadMode::Full);
    world.load(&first, people_batch(&first, &[(1, "Ada"), (2, "Bob")])).await;
    let schema = table("people", &[("id", ColumnType::Long), ("age", ColumnType::Long)], 1);
    let second = load(schema, 2, LoadMode::Incremental);
    let ages: ArrayRef = Arc::new(Int64Array::from(vec![36]));
    world.load(&second, batch(&second, vec![Arc::new(Int64Array::from(vec![2])), ages])).await;
    assert_eq!(
        world.select("SELECT id, name, age FROM crm__people ORDER BY id"),
        [[Integer(1), Text("Ada".into()), Null], [Integer(2), Text("Bob".into()), Integer(36)]]
    );
    let described = world.d1.describe("crm", "people").await.unwrap().unwrap();
    let names: Vec<&str> = described.columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(names, ["id", "name", "_fivetran_synced", "_fivetran_deleted", "age"]);
}

#[tokio::test]
async fn i8_a_table_of_the_users_own_is_not_touched() {
    let world = World::new();
    world.db.with(|connection| {
        connection.execute_batch("CREATE TABLE crm__people (x); INSERT INTO crm__people VALUES (1)").unwrap();
    });
    let error = world.d1.prepare(&load(people(), 1, LoadMode::Full)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.to_string().contains("crm__people"), "{error}");
    assert_eq!(world.select("SELECT * FROM crm__people"), [[Integer(1)]]);
    assert_eq!(world.d1.describe("crm", "people").await.unwrap(), None);
}

#[tokio::test]
async fn a_table_of_an_earlier_connection_is_adopted_even_if_its_clock_was_ahead() {
    const HOUR: i64 = 3_600_000_000;
    for later in [1, -HOUR] {
        let world = World::new();
        let old = load(people(), 9, LoadMode::Full);
        world.load(&old, people_batch(&old, &[(1, "Ada")])).await;
        let mut new = load(people(), 1, LoadMode::Full);
        new.connection_id = "crm-again".to_owned();
        new.synced_at = old.synced_at + later;
        world.d1.take_over(&new, "crm").await.unwrap();
        world.d1.take_over(&new, "crm").await.unwrap();
        let receipt = world.load(&new, people_batch(&new, &[(2, "Bob")])).await;
        assert_eq!((receipt.deleted, receipt.live_rows), (1, Some(1)));
        let standing = world.d1.standing("crm", "people").await.unwrap().unwrap();
        assert_eq!((standing.owner.as_str(), standing.published), ("crm-again", Some(1)));
    }
}

#[tokio::test]
async fn i3_of_two_connections_that_come_to_a_table_at_once_the_second_is_refused() {
    let world = World::new();
    let first = load(people(), 1, LoadMode::Full);
    let mut second = load(people(), 7, LoadMode::Full);
    second.connection_id = "other".to_owned();
    world.d1.prepare(&first).await.unwrap();
    for refused in [world.d1.prepare(&second).await, world.d1.take_over(&second, "gone").await] {
        let error = refused.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DestinationConfig);
        assert!(error.message().contains("crm.people is loaded by connection crm already"), "{error}");
    }
    world.load(&first, people_batch(&first, &[(1, "Ada")])).await;
}

#[tokio::test]
async fn a_catalog_from_before_published_runs_were_noted_stands_and_notes_them_from_now_on() {
    let world = World::new();
    let first = load(people(), 1, LoadMode::Full);
    world.load(&first, people_batch(&first, &[(1, "Ada")])).await;
    world.db.with(|connection| connection.execute_batch("DROP TABLE _fivetran_published").unwrap());
    let standing = world.d1.standing("crm", "people").await.unwrap().unwrap();
    assert_eq!((standing.published, standing.table.unwrap()), (None, people()));
    let second = load(people(), 2, LoadMode::Full);
    world.load(&second, people_batch(&second, &[(1, "Ada")])).await;
    let third = load(people(), 3, LoadMode::Full);
    world.d1.prepare(&third).await.unwrap();
    let standing = world.d1.standing("crm", "people").await.unwrap().unwrap();
    assert_eq!(standing.published, Some(2), "an announced run is not a published one");
}

#[tokio::test]
async fn a_table_the_user_dropped_is_made_again() {
    let world = World::new();
    let first = load(people(), 1, LoadMode::Full);
    world.load(&first, people_batch(&first, &[(1, "Ada")])).await;
    world.db.with(|connection| connection.execute_batch("DROP TABLE crm__people").unwrap());
    assert_eq!(world.d1.describe("crm", "people").await.unwrap(), None);
    let second = load(people(), 2, LoadMode::Full);
    let receipt = world.load(&second, people_batch(&second, &[(2, "Bob")])).await;
    assert_eq!(receipt.live_rows, Some(1));
}

#[tokio::test]
async fn i8_a_type_that_cannot_hold_what_is_there_is_refused_before_the_run_is_announced() {
    let world = World::new();
    let first = load(people(), 1, LoadMode::Full);
    world.load(&first, people_batch(&first, &[(1, "Ada")])).await;
    let narrow = table("people", &[("id", ColumnType::Long), ("name", ColumnType::Long)], 1);
    let error = world.d1.prepare(&load(narrow, 2, LoadMode::Full)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.message().contains("column name"), "{error}");
    assert_eq!(world.count("SELECT run FROM _fivetran_tables"), 1);
}

#[tokio::test]
async fn i3_a_preparation_torn_anywhere_can_be_repeated() {
    for statements in 0..20 {
        let world = World::new();
        let first = load(people(), 1, LoadMode::Full);
        world.db.set_fault(Some(Fault::TornAfter(statements)));
        let _ = world.d1.prepare(&first).await;
        world.db.set_fault(None);
        world.load(&first, people_batch(&first, &[(1, "Ada")])).await;
        let mut schema = people();
        schema.columns.insert(2, column("a", ColumnType::Long));
        schema.columns.insert(3, column("b", ColumnType::Long));
        let second = load(schema, 2, LoadMode::Full);
        world.db.set_fault(Some(Fault::TornAfter(statements)));
        let _ = world.d1.prepare(&second).await;
        world.db.set_fault(None);
        world.d1.prepare(&second).await.unwrap();
        assert_eq!(world.select("SELECT name, a, b FROM crm__people"), [[Text("Ada".into()), Null, Null]]);
        let described: TableSchema = world.d1.describe("crm", "people").await.unwrap().unwrap();
        assert_eq!(described.columns.len(), 6, "torn after {statements}");
    }
}

#[tokio::test]
async fn checking_a_database_says_what_works() {
    let world = World::new();
    let tests = world.d1.check().await;
    assert_eq!(tests.len(), 3);
    assert!(tests.iter().all(|test| test.status == SetupTestStatus::Passed), "{tests:?}");
    assert_eq!(world.count("SELECT count(*) FROM sqlite_master"), 0);
    world.db.set_fault(Some(Fault::LostAfter(0)));
    let statuses: Vec<_> = world.d1.check().await.into_iter().map(|test| test.status).collect();
    assert_eq!(statuses, [SetupTestStatus::Failed, SetupTestStatus::Skipped, SetupTestStatus::Skipped]);
    let unlimited = World::over(std::rc::Rc::new(SqliteDatabase::new()));
    assert!(unlimited.d1.check().await.iter().all(|test| test.status == SetupTestStatus::Passed));
}
