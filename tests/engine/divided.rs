//! The engine over a control plane of several databases: the sweep serves all of them, and a run asks no other than its own.

use std::collections::BTreeMap;

use crate::CONNECTORS;
use crate::support::deployment::{define_connection_to, define_destination};
use crate::support::ledger;
use crate::support::sqlite::Fault;
use crate::support::world::{World, finish};
use fivetran_do::destinations::registry::DESTINATIONS;
use fivetran_do::engine::Registry;
use fivetran_do::engine::protocol::Message;
use fivetran_do::ports::{SqlDatabase, Statement};
use serde_json::json;

const MINUTE: i64 = 60_000_000;

/// More borders than any single call crosses.
const PATIENCE: usize = 1_000_000;

const DATABASES: usize = 3;

/// A connection in each database, by what its id begins with.
fn divided() -> (World, BTreeMap<String, String>) {
    let installed = ledger::install();
    {
        let mut ledger = installed.borrow_mut();
        let transaction = ledger.begin();
        ledger.write(transaction, 1, "one".to_owned());
        ledger.commit(transaction);
    }
    let world = World::divided(Registry { connectors: &CONNECTORS, destinations: DESTINATIONS }, DATABASES);
    let mut connections = BTreeMap::new();
    for _ in 0..100 {
        let group = finish(define_destination(&world, "d1"), PATIENCE);
        let home = if group.starts_with('0') { group[..2].to_owned() } else { "first".to_owned() };
        // All write to one destination database, each into schemas of its own.
        let define = || finish(define_connection_to(&world, &group, &format!("in_{home}")), PATIENCE);
        connections.entry(home.clone()).or_insert_with(define);
        if connections.len() == DATABASES {
            return (world, connections);
        }
    }
    panic!("a hundred groups are not in all databases");
}

fn statements_run(world: &World) -> Vec<u64> {
    let all = std::iter::once(&world.0.control).chain(&world.0.control_others);
    all.map(|database| database.statements_run()).collect()
}

fn consume_all(world: &World, first: Message) {
    let mut waiting = vec![first];
    while let Some(message) = waiting.pop() {
        finish(world.engine().consume(message), PATIENCE).unwrap();
        waiting.append(&mut world.0.queue.take());
    }
}

#[test]
fn the_sweep_starts_what_is_due_in_every_database_and_a_run_asks_no_other_than_its_own() {
    let (world, connections) = divided();
    finish(world.engine().sweep(), PATIENCE).unwrap();
    let starts = world.0.queue.take();
    assert_eq!(starts.len(), DATABASES);
    for start in starts {
        let Message::Start { connection_id, .. } = &start else { panic!("{start:?}") };
        let number = connections.values().position(|id| id == connection_id).unwrap();
        // The map's order: 0b, 0c, first.
        let home = (number + 1) % DATABASES;
        let before = statements_run(&world);
        consume_all(&world, start);
        for (at, (before, after)) in before.iter().zip(statements_run(&world)).enumerate() {
            assert_eq!(at == home, after > *before, "database {at}, for a run that lives in {home}");
        }
    }
    for id in connections.values() {
        let (run, tables) =
            finish(world.control().run(id, &format!("{id}.1")), PATIENCE).unwrap().expect("a run");
        assert_eq!((run.state.as_str(), tables.len()), ("SUCCESSFUL", 1));
        assert!(finish(world.control().latest_streams(id), PATIENCE).unwrap().len() == 1);
    }
    let metrics = finish(world.control().metrics(world.0.now.get()), PATIENCE).unwrap();
    assert_eq!(metrics.ended.iter().map(|ended| ended.runs).collect::<Vec<_>>(), [DATABASES as u64]);
    assert_eq!(metrics.ended[0].counts.written, DATABASES as u64);
}

#[test]
fn runs_that_fell_silent_are_woken_and_old_history_goes_in_every_database() {
    let (world, connections) = divided();
    finish(world.engine().sweep(), PATIENCE).unwrap();
    // Each is started, and its worker dies in the middle.
    for start in world.0.queue.take() {
        let mut worker = world.worker(start);
        for _ in 0..60 {
            assert!(crate::support::world::step(&mut worker).is_none());
        }
    }
    let metrics = finish(world.control().metrics(world.0.now.get()), PATIENCE).unwrap();
    assert_eq!(metrics.running.count, DATABASES as u64);
    world.advance(10 * MINUTE);
    finish(world.engine().sweep(), PATIENCE).unwrap();
    for message in world.0.queue.take() {
        consume_all(&world, message);
    }
    for id in connections.values() {
        let (run, _) = finish(world.control().run(id, &format!("{id}.1")), PATIENCE).unwrap().unwrap();
        assert_eq!(run.state, "SUCCESSFUL");
    }
    world.advance(100 * 1_440 * MINUTE);
    finish(world.engine().sweep(), PATIENCE).unwrap();
    for database in std::iter::once(&world.0.control).chain(&world.0.control_others) {
        let runs = "SELECT COUNT(*) AS n FROM sync_runs";
        let left = finish(database.query(Statement::new(runs, vec![])), PATIENCE).unwrap();
        assert_eq!(json!(left.rows), json!([{ "n": 0 }]));
    }
}

#[test]
fn a_database_that_cannot_be_reached_holds_up_nobody_elses_connections() {
    let (world, connections) = divided();
    world.0.control_others[1].set_fault(Some(Fault::LostAfter(0)));
    // The sweep says that it could not do all.
    assert!(finish(world.engine().sweep(), PATIENCE).is_err());
    let started = world.0.queue.take().into_iter().map(|message| match message {
        Message::Start { connection_id, .. } => connection_id,
        other => panic!("{other:?}"),
    });
    let mut expected: Vec<_> = connections.values().filter(|id| !id.starts_with("0c")).cloned().collect();
    expected.sort();
    assert_eq!(started.collect::<std::collections::BTreeSet<_>>().into_iter().collect::<Vec<_>>(), expected);
}
