//! Columns that a person blocked and then asked to drop: the next sync of their table does it, once.

use std::collections::BTreeMap;

use crate::CONNECTORS;
use crate::support::deployment::{define, sync, synced};
use crate::support::ledger;
use crate::support::world::{Trap, World, finish};
use fivetran_do::core::catalog::StreamName;
use fivetran_do::core::fault_point::FaultPoint;
use fivetran_do::core::settings::{ColumnSettings, StreamSettings};
use fivetran_do::core::table::LoadMode;
use fivetran_do::destinations::registry::DESTINATIONS;
use fivetran_do::engine::Registry;
use fivetran_do::engine::protocol::Message;

/// More borders than any single call crosses.
const PATIENCE: usize = 100_000;

/// Sets the column `extra`.
fn set(world: &World, connection: &str, column: ColumnSettings) {
    let settings =
        StreamSettings { columns: BTreeMap::from([("extra".into(), column)]), ..StreamSettings::default() };
    let streams = BTreeMap::from([(StreamName::new("public", "ledger"), settings)]);
    let (control, schemas) = (world.control(), BTreeMap::new());
    let saving = control.save_stream_settings(connection, &schemas, &streams);
    finish(saving, PATIENCE).unwrap();
}

fn block() -> ColumnSettings {
    ColumnSettings { enabled: Some(false), ..ColumnSettings::default() }
}

fn drop() -> ColumnSettings {
    ColumnSettings { drop: Some(true), ..ColumnSettings::default() }
}

/// Whether the destination has the column.
fn has_extra(world: &World, destination: &str) -> bool {
    if destination == "d1" {
        return world.0.analytics.with(|db| {
            let sql = "SELECT count(*) FROM _fivetran_tables AS t, pragma_table_info(t.name) AS c WHERE c.name = 'extra'";
            db.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap() > 0
        });
    }
    let key = world.0.lake.keys().into_iter().find(|key| key.ends_with("manifest.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&world.0.lake.body(&key).unwrap()).unwrap();
    manifest["columns"].as_array().unwrap().iter().any(|column| column["name"] == "extra")
}

/// A connection whose table has the column `extra`, synced, and blocked since.
fn world_with_a_blocked_column(destination: &str) -> (World, String) {
    let ledger = ledger::install();
    ledger.borrow_mut().wide = true;
    ledger.borrow_mut().transact(0..5, "v");
    let world = World::new(Registry { connectors: &CONNECTORS, destinations: DESTINATIONS });
    let connection = finish(define(&world, destination), PATIENCE);
    synced(&world, &connection);
    set(&world, &connection, block());
    (world, connection)
}

#[test]
fn a_column_is_dropped_by_the_next_sync_when_a_person_asked_and_not_before() {
    for destination in ["d1", "r2"] {
        let (world, connection) = world_with_a_blocked_column(destination);
        assert_eq!(synced(&world, &connection).mode, LoadMode::Incremental);
        assert!(has_extra(&world, destination), "I8: {destination}: blocked is not dropped");
        set(&world, &connection, drop());
        let table = synced(&world, &connection);
        assert!(!has_extra(&world, destination), "{destination}");
        // Files can only be replaced; D1 goes on as it was.
        let mode = if destination == "r2" { LoadMode::Full } else { LoadMode::Incremental };
        assert_eq!(table.mode, mode, "{destination}");
        assert_eq!(synced(&world, &connection).mode, LoadMode::Incremental, "asked once, done once");
        // The request is over: switched on and off again, the column stays.
        set(&world, &connection, ColumnSettings { enabled: Some(true), ..ColumnSettings::default() });
        synced(&world, &connection);
        set(&world, &connection, block());
        synced(&world, &connection);
        assert!(has_extra(&world, destination), "{destination}");
    }
}

#[test]
fn switching_the_column_on_takes_the_request_back() {
    for destination in ["d1", "r2"] {
        let (world, connection) = world_with_a_blocked_column(destination);
        set(&world, &connection, drop());
        set(&world, &connection, ColumnSettings { enabled: Some(true), ..ColumnSettings::default() });
        synced(&world, &connection);
        set(&world, &connection, block());
        synced(&world, &connection);
        assert!(has_extra(&world, destination), "{destination}");
    }
}

#[test]
fn a_column_that_cannot_be_dropped_stops_no_sync_and_is_dropped_when_it_can() {
    let (world, connection) = world_with_a_blocked_column("d1");
    let name: String = world
        .0
        .analytics
        .with(|db| db.query_row("SELECT name FROM _fivetran_tables", [], |row| row.get(0)).unwrap());
    world
        .0
        .analytics
        .with(|db| db.execute_batch(&format!("CREATE INDEX mine ON \"{name}\" (extra)")).unwrap());
    set(&world, &connection, drop());
    synced(&world, &connection);
    assert!(has_extra(&world, "d1"));
    world.0.analytics.with(|db| db.execute_batch("DROP INDEX mine").unwrap());
    synced(&world, &connection);
    assert!(!has_extra(&world, "d1"));
}

#[test]
fn i3_a_drop_that_dies_before_it_is_noted_is_done_again_and_the_table_read_in_full() {
    let (world, connection) = world_with_a_blocked_column("r2");
    set(&world, &connection, drop());
    // The manifest has lost the column and the cursor is forgotten; the request still stands.
    world.0.trap.set(Some((FaultPoint::AfterForget, Trap::Fail)));
    let run = sync(&world, &connection);
    assert_eq!((world.0.trap.get(), run.state.as_str()), (None, "RUNNING"));
    world.0.now.set(world.0.now.get() + 60_000_000);
    world.0.queue.borrow_mut().push(Message::Work { run_id: run.run_id });
    let table = synced(&world, &connection);
    assert_eq!((table.mode, table.counts.written), (LoadMode::Full, 5));
    assert!(!has_extra(&world, "r2"));
    assert_eq!(synced(&world, &connection).mode, LoadMode::Incremental);
}
