//! A definition that changes while a run is live, and nobody who comes to tell the run: what a crash between storing an edit
//! and starting the run over leaves.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::CONNECTORS;
use crate::support::deployment::{define, sync, sync_until, work};
use crate::support::ledger::{self, IDS, Ledger};
use crate::support::world::{World, finish};
use fivetran_do::core::catalog::{Column, StreamName};
use fivetran_do::core::fault_point::FaultPoint;
use fivetran_do::core::settings::{
    ColumnSettings, SchemaChangePolicy, SchemaSettings, StreamSettings, Target, select,
};
use fivetran_do::core::table::LoadMode;
use fivetran_do::destinations::registry::DESTINATIONS;
use fivetran_do::engine::{Registry, RemoteSyncs, RunProgress, SyncControl};

/// More borders than any single call crosses.
const PATIENCE: usize = 100_000;

/// Longer than a lease.
const SILENCE: i64 = 100_000_000;

fn world_of_a_full_ledger() -> (World, Rc<RefCell<Ledger>>) {
    let ledger = ledger::install();
    {
        let mut ledger = ledger.borrow_mut();
        let transaction = ledger.begin();
        (0..IDS).for_each(|id| ledger.write(transaction, id, format!("secret {id}")));
        ledger.commit(transaction);
    }
    (World::new(Registry { connectors: &CONNECTORS, destinations: DESTINATIONS }), ledger)
}

/// Lets the run go on, once the lease of whoever died is over, as far as it goes.
fn heal(world: &World, connection: &str) -> RunProgress {
    world.advance(SILENCE);
    world.fire_alarms();
    work(world);
    finish(RemoteSyncs::new(world.engine()).progress(connection), PATIENCE).unwrap().unwrap()
}

fn values(world: &World) -> Vec<String> {
    world.0.analytics.with(|db| {
        let name: String = db.query_row("SELECT name FROM _fivetran_tables", [], |row| row.get(0)).unwrap();
        let mut select = db.prepare(&format!("SELECT value FROM \"{name}\"")).unwrap();
        select.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    })
}

#[test]
fn i6_a_column_that_is_hashed_from_now_on_does_not_go_on_flowing_though_nobody_told_the_run() {
    let (world, ledger) = world_of_a_full_ledger();
    let connection = finish(define(&world, "d1"), PATIENCE);
    sync_until(&world, &connection, FaultPoint::AfterCommit);
    let (read, moved) = (ledger.borrow().handed_over, values(&world).len());
    assert!((1..IDS as usize).contains(&moved), "one chunk is there, and not all: {moved}");

    let hashed = ColumnSettings { hashed: Some(true), ..ColumnSettings::default() };
    let settings = StreamSettings {
        resync: Some("Hashing of column 'value' was switched on or off".into()),
        columns: BTreeMap::from([("value".to_owned(), hashed)]),
        ..StreamSettings::default()
    };
    let streams = BTreeMap::from([(StreamName::new("public", "ledger"), settings)]);
    let edit = world.control();
    finish(edit.edit_stream_settings(&connection, &BTreeMap::new(), &streams, None), PATIENCE).unwrap();

    assert_eq!(heal(&world, &connection).state, "CANCELED");
    assert_eq!(ledger.borrow().handed_over, read, "something was read under the old settings");
    assert_eq!(values(&world).len(), moved);
    assert_eq!(sync(&world, &connection).state, "SUCCESSFUL");
    let values = values(&world);
    assert_eq!(values.len(), IDS as usize);
    assert!(values.iter().all(|value| !value.contains("secret")), "{values:?}");
}

#[test]
fn i6_what_a_person_sets_while_a_plan_is_made_is_not_taken_back_by_what_the_policy_decided_before() {
    let (world, _ledger) = world_of_a_full_ledger();
    let connection = finish(define(&world, "d1"), PATIENCE);
    assert_eq!(sync(&world, &connection).state, "SUCCESSFUL");
    let (control, name) = (world.control(), StreamName::new("public", "ledger"));
    let edit = |policy, enabled, value: ColumnSettings| {
        let columns = BTreeMap::from([("value".to_owned(), value)]);
        let settings = StreamSettings { enabled, columns, ..StreamSettings::default() };
        let streams = BTreeMap::from([(name.clone(), settings)]);
        finish(control.edit_stream_settings(&connection, &BTreeMap::new(), &streams, policy), PATIENCE)
            .unwrap();
    };
    let set = |enabled, hashed, drop| ColumnSettings { enabled, hashed, drop, ..ColumnSettings::default() };
    edit(Some(SchemaChangePolicy::BlockAll), None, set(Some(false), Some(false), Some(true)));
    let before = finish(control.stream_settings(&connection), PATIENCE).unwrap();

    // A run has read these settings and looks at the source, where a column is new. Meanwhile a person changes their mind.
    let known = finish(control.latest_versions(&connection), PATIENCE).unwrap();
    let stream = known[0].stream.clone().unwrap();
    let mut grown = stream.clone();
    grown.columns.push(Column { name: "new".to_owned(), ..stream.columns[1].clone() });
    let target = Target { schema: "own_public", table: "ledger", current: None };
    let decided = select(&grown, &before, Some(&stream), true, &target).unwrap().settled.unwrap();
    edit(None, Some(true), set(Some(true), Some(true), None));
    let after = finish(control.stream_settings(&connection), PATIENCE).unwrap().streams[&name].clone();

    let decisions = BTreeMap::from([(name.clone(), decided)]);
    finish(control.settle_streams(&connection, &BTreeMap::new(), &decisions), PATIENCE).unwrap();
    let mut wanted = after;
    wanted.columns.insert("new".to_owned(), set(Some(false), None, None));
    assert_eq!(finish(control.stream_settings(&connection), PATIENCE).unwrap().streams[&name], wanted);

    // Nor does a decision about the schema or the table itself win over theirs.
    let off = SchemaSettings { enabled: Some(false) };
    let on = BTreeMap::from([("public".to_owned(), SchemaSettings { enabled: Some(true) })]);
    finish(control.edit_stream_settings(&connection, &on, &BTreeMap::new(), None), PATIENCE).unwrap();
    let late = StreamSettings { enabled: Some(false), ..StreamSettings::default() };
    let (schemas, tables) =
        (BTreeMap::from([("public".to_owned(), off)]), BTreeMap::from([(name.clone(), late)]));
    finish(control.settle_streams(&connection, &schemas, &tables), PATIENCE).unwrap();
    let settings = finish(control.stream_settings(&connection), PATIENCE).unwrap();
    assert_eq!((&settings.schemas, &settings.streams[&name]), (&on, &wanted));
}

#[test]
fn i2_a_destination_that_becomes_another_place_starts_the_run_over_there_and_in_full() {
    let (world, _ledger) = world_of_a_full_ledger();
    let connection = finish(define(&world, "r2"), PATIENCE);
    assert_eq!(sync(&world, &connection).state, "SUCCESSFUL");
    sync_until(&world, &connection, FaultPoint::AfterClaim);
    let there = world.0.lake.keys();

    let control = world.control();
    let group = finish(control.connection(&connection), PATIENCE).unwrap().unwrap().group_id;
    let destination = finish(control.destination(&group), PATIENCE).unwrap().unwrap();
    let elsewhere = serde_json::json!({"bucket": "LAKE", "prefix": "elsewhere"});
    assert!(finish(control.save_destination(&destination, Some(&elsewhere)), PATIENCE).unwrap());

    assert_eq!(heal(&world, &connection).state, "CANCELED");
    assert_eq!(world.0.lake.keys(), there, "something was written after the edit");
    let run = sync(&world, &connection);
    assert_eq!((run.state.as_str(), run.tables[0].mode), ("SUCCESSFUL", LoadMode::Full), "{run:?}");
    assert_eq!(run.tables[0].counts.written, IDS as u64);
    assert_eq!(sync(&world, &connection).tables[0].mode, LoadMode::Incremental);
    assert!(world.0.lake.keys().iter().filter(|key| !key.starts_with("elsewhere/")).eq(&there));
}
