//! What a cursor says was loaded, and a destination that does not have it any more, or has it in too many pieces.

use crate::CONNECTORS;
use crate::support::deployment::{define, synced};
use crate::support::ledger;
use crate::support::sqlite::MemoryLocalSql;
use crate::support::world::{World, finish};
use bytes::Bytes;
use fivetran_do::core::catalog::StreamName;
use fivetran_do::core::run::Cursor;
use fivetran_do::core::table::LoadMode;
use fivetran_do::destinations::registry::DESTINATIONS;
use fivetran_do::engine::Registry;
use fivetran_do::engine::connector::Connector;
use fivetran_do::engine::protocol::{ConnectorReply, ConnectorRequest};
use fivetran_do::ports::{LocalSql, ObjectStore, PutCondition, PutOutcome};
use serde_json::{Value, json};

/// More borders than any single call crosses.
const PATIENCE: usize = 100_000;

/// Takes the table away, behind our back.
fn drop_table(world: &World, destination: &str) {
    if destination == "d1" {
        world.0.analytics.with(|db| {
            let name: String =
                db.query_row("SELECT name FROM _fivetran_tables", [], |row| row.get(0)).unwrap();
            db.execute_batch(&format!("DROP TABLE \"{name}\"")).unwrap();
        });
    } else {
        finish(world.0.lake.delete(&world.0.lake.keys()), PATIENCE).unwrap();
    }
}

/// What a bucket holds; a database keeps its backup itself.
type Backup = Vec<(String, Bytes)>;

fn tables(db: &rusqlite::Connection) -> Vec<String> {
    let sql = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'backup %'";
    let mut select = db.prepare(sql).unwrap();
    select.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

fn back_up(world: &World) -> Backup {
    world.0.analytics.with(|db| {
        for table in tables(db) {
            let copy = format!("CREATE TABLE \"backup {table}\" AS SELECT * FROM \"{table}\"");
            db.execute_batch(&copy).unwrap();
        }
    });
    let lake = &world.0.lake;
    let read = |key: String| {
        let (body, _) = finish(lake.get(&key), PATIENCE).unwrap().unwrap();
        (key, body)
    };
    lake.keys().into_iter().map(read).collect()
}

/// Sets the destination back, behind our back.
fn restore(world: &World, backup: Backup) {
    world.0.analytics.with(|db| {
        for table in tables(db) {
            let restore =
                format!("DELETE FROM \"{table}\"; INSERT INTO \"{table}\" SELECT * FROM \"backup {table}\"");
            db.execute_batch(&restore).unwrap();
        }
    });
    let lake = &world.0.lake;
    finish(lake.delete(&lake.keys()), PATIENCE).unwrap();
    for (key, body) in backup {
        let put = lake.put(&key, body, "application/octet-stream", PutCondition::Always);
        assert!(matches!(finish(put, PATIENCE).unwrap(), PutOutcome::Written(_)));
    }
}

#[test]
fn i2_a_table_that_was_set_back_to_an_older_state_is_read_in_full_whatever_its_cursor_says() {
    for destination in ["d1", "r2"] {
        let ledger = ledger::install();
        let write = |ids, value| ledger.borrow_mut().transact(ids, value);
        let world = World::new(Registry { connectors: &CONNECTORS, destinations: DESTINATIONS });
        let connection = finish(define(&world, destination), PATIENCE);
        write(0..5, "old");
        synced(&world, &connection);
        let backup = back_up(&world);
        write(0..1, "new");
        let table = synced(&world, &connection);
        assert_eq!((table.mode, table.counts.written), (LoadMode::Incremental, 1), "{destination}");

        restore(&world, backup);
        write(1..2, "new");
        let table = synced(&world, &connection);
        assert_eq!((table.mode, table.counts.written), (LoadMode::Full, 5), "{destination}");
        write(2..3, "new");
        assert_eq!(synced(&world, &connection).mode, LoadMode::Incremental, "{destination}");
    }
}

#[test]
fn i2_a_table_that_is_gone_at_the_destination_is_read_in_full_whatever_its_cursor_says() {
    for destination in ["d1", "r2"] {
        let ledger = ledger::install();
        let write = |ids, value| ledger.borrow_mut().transact(ids, value);
        let world = World::new(Registry { connectors: &CONNECTORS, destinations: DESTINATIONS });
        let connection = finish(define(&world, destination), PATIENCE);
        write(0..5, "old");
        assert_eq!(synced(&world, &connection).mode, LoadMode::Full);
        write(0..1, "new");
        let table = synced(&world, &connection);
        assert_eq!((table.mode, table.counts.written), (LoadMode::Incremental, 1), "{destination}");

        drop_table(&world, destination);
        write(1..2, "new");
        let table = synced(&world, &connection);
        assert_eq!((table.mode, table.counts.written), (LoadMode::Full, 5), "{destination}");
    }
}

#[test]
fn a_table_of_too_many_parts_is_read_in_full_by_the_next_sync_and_has_few_again() {
    let ledger = ledger::install();
    let write = |value| ledger.borrow_mut().transact(0..2, value);
    let world = World::new(Registry { connectors: &CONNECTORS, destinations: DESTINATIONS });
    let connection = finish(define(&world, "r2"), PATIENCE);
    write("first");
    synced(&world, &connection);

    // As if it had been synced every minute for weeks.
    let key = world.0.lake.keys().into_iter().find(|key| key.ends_with("/manifest.json")).unwrap();
    let parts = |change: &dyn Fn(&mut Vec<Value>)| {
        let mut manifest: Value = serde_json::from_slice(&world.0.lake.body(&key).unwrap()).unwrap();
        change(manifest["parts"].as_array_mut().unwrap());
        world.0.lake.meddle(&key, manifest.to_string().as_bytes());
    };
    parts(&|parts| {
        let part = |number| json!({ "path": format!("data/00000001-full/x{number}.parquet"), "kind": "full", "rows": 1, "bytes": 1, "etag": "" });
        parts.extend((0..20_000).map(part));
    });
    write("second");
    assert_eq!(synced(&world, &connection).mode, LoadMode::Incremental);
    write("third");
    assert_eq!(synced(&world, &connection).mode, LoadMode::Full);
    parts(&|parts| assert!(parts.len() < 10, "{}", parts.len()));
    write("fourth");
    assert_eq!(synced(&world, &connection).mode, LoadMode::Incremental);
}

#[test]
fn a_cursor_that_was_kept_without_its_run_counts_as_one_that_a_person_set() {
    let sql = MemoryLocalSql::new();
    let made = "CREATE TABLE cursors (schema_name TEXT NOT NULL, table_name TEXT NOT NULL, cursor TEXT NOT NULL, \
        PRIMARY KEY (schema_name, table_name)) WITHOUT ROWID";
    sql.exec(made, &[]).unwrap();
    sql.exec("INSERT INTO cursors VALUES ('public', 'ledger', '7')", &[]).unwrap();
    for _ in 0..2 {
        let cursor = ConnectorRequest::Cursor { stream: StreamName::new("public", "ledger") };
        let reply = Connector::new(&sql).unwrap().handle(cursor, 0).unwrap();
        let kept = ConnectorReply::Cursor { cursor: Some(Cursor(serde_json::json!(7))), moved_by: None };
        assert_eq!(reply, kept);
    }
}
