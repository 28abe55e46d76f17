//! The sweep of the cron with very many connections, over the real control plane: who is announced, in which order, how
//! often, and what is left when it is cut off.

use std::collections::{BTreeMap, BTreeSet};

use crate::CONNECTORS;
use crate::support::world::{Worker, World, finish, step};
use crate::support::{crowd, ledger};
use fivetran_do::destinations::registry::DESTINATIONS;
use fivetran_do::engine::Registry;
use fivetran_do::engine::protocol::Message;
use fivetran_do::ports::{SqlDatabase, Statement};
use serde_json::{Value, json};

const MINUTE: i64 = 60_000_000;

/// More borders than any single call crosses.
const PATIENCE: usize = 1_000_000;

/// A world with so many connections, each due a minute and some microseconds ago, in an order of its own.
fn crowded(connections: i64) -> World {
    ledger::install();
    let world = World::new(Registry { connectors: &CONNECTORS, destinations: DESTINATIONS });
    finish(crowd::define(&world, connections), PATIENCE);
    world
}

fn sweep(world: &World) {
    finish(world.engine().sweep(), PATIENCE).unwrap();
}

/// The connections on the queue and their due times, in order; the queue is empty afterwards.
fn announced(world: &World) -> Vec<(String, i64)> {
    let messages = world.0.queue.take();
    messages
        .into_iter()
        .map(|message| match message {
            Message::Start { connection_id, due_at } => (connection_id, due_at),
            other => panic!("{other:?} is not a start"),
        })
        .collect()
}

fn distinct(starts: &[(String, i64)]) -> usize {
    starts.iter().map(|(id, _)| id).collect::<BTreeSet<_>>().len()
}

fn query(world: &World, sql: &str) -> Vec<serde_json::Map<String, Value>> {
    finish(world.0.control.query(Statement::new(sql, vec![])), PATIENCE).unwrap().rows
}

#[test]
fn every_due_connection_is_announced_once_in_the_order_of_due_times() {
    let world = crowded(2_500);
    sweep(&world);
    let starts = announced(&world);
    assert_eq!((starts.len(), distinct(&starts)), (2_500, 2_500));
    assert!(starts.is_sorted_by_key(|(_, due)| *due));
    world.advance(MINUTE);
    sweep(&world);
    assert!(announced(&world).is_empty(), "they are on the queue already");
}

#[test]
fn sweeps_that_overlap_share_the_work() {
    let world = crowded(3_500);
    let mut sweepers: Vec<Worker> = (0..3).map(|_| world.sweeper()).collect();
    let mut turns = 0;
    while !sweepers.is_empty() {
        turns += 1;
        let turn = turns % sweepers.len();
        if step(&mut sweepers[turn]).is_some() {
            drop(sweepers.remove(turn));
        }
    }
    let starts = announced(&world);
    assert_eq!((starts.len(), distinct(&starts)), (3_500, 3_500));
}

#[test]
fn what_a_sweep_that_dies_leaves_behind_the_next_ones_announce() {
    for borders in 0..14 {
        let world = crowded(2_500);
        let mut sweeper = world.sweeper();
        for _ in 0..borders {
            let _ = step(&mut sweeper);
        }
        drop(sweeper);
        let before = announced(&world);
        world.advance(MINUTE);
        sweep(&world);
        let next = announced(&world);
        assert!(before.len() + next.len() >= 1_500, "one page at most was claimed and not sent");
        world.advance(3 * MINUTE);
        sweep(&world);
        let healed = announced(&world);
        let all = [before, next, healed.clone()].concat();
        assert_eq!(distinct(&all), 2_500, "nobody is skipped after {borders} borders");
        // By now none of them came to a start, so every claim counts as lost.
        assert!(healed.is_sorted_by_key(|(_, due)| *due));
    }
}

#[test]
fn a_sweep_whose_time_is_up_leaves_the_rest_to_the_next_in_order() {
    let world = crowded(2_500);
    let mut sweeper = world.sweeper();
    while world.0.queue.borrow().is_empty() {
        assert!(step(&mut sweeper).is_none());
    }
    world.advance(41_000_000);
    finish(sweeper, PATIENCE).unwrap();
    let first = announced(&world);
    assert_eq!(first.len(), 1_000, "it ends after the page it was at");
    sweep(&world);
    let rest = announced(&world);
    let all = [first, rest].concat();
    assert_eq!((all.len(), distinct(&all)), (2_500, 2_500));
    assert!(all.is_sorted_by_key(|(_, due)| *due));
}

#[test]
fn i1_overlapping_sweeps_and_repeated_messages_start_every_connection_once() {
    let world = crowded(1_000);
    let mut sweepers = [world.sweeper(), world.sweeper()];
    for sweeper in &mut sweepers {
        while step(sweeper).is_none() {}
    }
    let messages = world.0.queue.take();
    assert_eq!(messages.len(), 1_000);
    for message in messages.iter().chain(&messages) {
        finish(world.worker(message.clone()), PATIENCE).unwrap();
    }
    let runs = query(&world, "SELECT COUNT(*) AS runs, COUNT(DISTINCT connection_id) AS ids FROM sync_runs");
    assert_eq!((&runs[0]["runs"], &runs[0]["ids"]), (&json!(1_000), &json!(1_000)));
    let due = query(&world, "SELECT MIN(next_due_at) AS due FROM connections");
    assert!(due[0]["due"].as_i64().unwrap() > world.0.now.get());
}

#[test]
fn a_start_that_was_lost_is_announced_again_and_one_that_came_is_not() {
    let world = crowded(2);
    sweep(&world);
    let mut messages = world.0.queue.take();
    finish(world.worker(messages.remove(0)), PATIENCE).unwrap();
    world.0.queue.take();
    world.advance(2 * MINUTE);
    sweep(&world);
    assert!(announced(&world).is_empty(), "it may still be on the queue");
    world.advance(2 * MINUTE);
    sweep(&world);
    let starts: Vec<Message> =
        world.0.queue.take().into_iter().filter(|message| matches!(message, Message::Start { .. })).collect();
    assert_eq!(starts, messages);
}

#[test]
fn a_start_that_waits_in_a_long_queue_is_announced_again_less_and_less_often() {
    let world = crowded(1);
    let mut minutes = Vec::new();
    for minute in 0..60 {
        sweep(&world);
        if !announced(&world).is_empty() {
            minutes.push(minute);
        }
        world.advance(MINUTE);
    }
    // It was a minute late at first. Three minutes of patience, then as long again as it was late, a quarter of an hour at most.
    assert_eq!(minutes, [0, 4, 10, 22, 38, 54]);
}

#[test]
fn history_older_than_its_retention_goes_in_batches_and_nothing_else_does() {
    let world = crowded(1);
    let day = 24 * 60 * MINUTE;
    let now = world.0.now.get();
    let old = now - 91 * day;
    let insert = |id: &str, state: &str, ended: Option<i64>| {
        let ended = ended.map_or("NULL".to_owned(), |at| at.to_string());
        format!(
            "INSERT INTO sync_runs (id, connection_id, number, trigger_kind, state, started_at, ended_at, active_at)
             VALUES ('{id}', 'c000000', 1, 'schedule', '{state}', {old}, {ended}, {now});
             INSERT INTO run_tables (run_id, schema_name, table_name, state, mode) VALUES ('{id}', 's', 't', 'published', 'full');
             INSERT INTO log_events (id, connection_id, level, event, data, created_at)
             VALUES ('{:020}-{id}', 'c000000', 'INFO', 'sync_end', '{{}}', {old});",
            if id.starts_with('o') { old } else { now - day }
        )
    };
    let mut sql = String::from("BEGIN;");
    sql.push_str(&insert("live", "RUNNING", None));
    (0..1_200).for_each(|run| sql.push_str(&insert(&format!("o{run}"), "SUCCESSFUL", Some(old))));
    sql.push_str(&insert("young", "SUCCESSFUL", Some(now - day)));
    sql.push_str("COMMIT;");
    world.0.control.with(|sqlite| sqlite.execute_batch(&sql)).unwrap();
    sweep(&world);
    let left = |table: &str| query(&world, &format!("SELECT COUNT(*) AS n FROM {table}"))[0]["n"].clone();
    assert_eq!(
        (left("sync_runs"), left("run_tables"), left("log_events")),
        (json!(2), json!(2), json!(2)),
        "the live run and the young one, with what is theirs"
    );
    let line: Value = serde_json::from_str(world.0.log.borrow().last().unwrap()).unwrap();
    assert_eq!(line["event"], "sweep");
    assert!(line["pruned"].as_u64().unwrap() >= 2_400, "{line}");
}

/// Works off everything that is on the queue, as long as it takes.
fn settle(world: &World) {
    for _ in 0..200 {
        let messages = world.0.queue.take();
        if messages.is_empty() && world.0.alarms.borrow().values().all(|at| *at > world.0.now.get() + MINUTE)
        {
            return;
        }
        for message in messages {
            finish(world.worker(message), PATIENCE).unwrap();
        }
        world.advance(5_000_000);
        world.fire_alarms();
    }
    panic!("the queue never gets empty");
}

#[test]
fn what_happens_in_a_run_is_logged_as_one_json_object_a_line() {
    let world = crowded(1);
    let ledger = ledger::install();
    ledger.borrow_mut().failures = 1;
    let transaction = ledger.borrow_mut().begin();
    ledger.borrow_mut().write(transaction, 1, "v".into());
    ledger.borrow_mut().commit(transaction);
    sweep(&world);
    settle(&world);
    let lines: Vec<Value> =
        world.0.log.borrow().iter().map(|line| serde_json::from_str(line).expect(line)).collect();
    let mut events: BTreeMap<&str, &Value> = BTreeMap::new();
    for line in &lines {
        assert!(line["at"].is_i64() && line["level"].is_string(), "{line}");
        events.insert(line["event"].as_str().unwrap(), line);
    }
    assert_eq!(
        events.keys().copied().collect::<Vec<_>>(),
        ["attempt_failed", "run_end", "run_start", "sweep"]
    );
    for name in ["attempt_failed", "run_end", "run_start"] {
        assert_eq!(events[name]["connection_id"], "c000000");
        assert_eq!(events[name]["run_id"], "c000000.1");
    }
    let failed = events["attempt_failed"];
    assert_eq!(
        (&failed["task"], &failed["attempt"], &failed["level"]),
        (&json!("read"), &json!(1), &json!("WARNING"))
    );
    assert!(failed["error"]["message"].is_string());
    let end = events["run_end"];
    assert_eq!(
        (&end["state"], &end["retries"], &end["rows_written"]),
        (&json!("SUCCESSFUL"), &json!(1), &json!(1))
    );
}

#[test]
fn a_lost_lease_and_a_healed_run_are_logged() {
    let world = crowded(1);
    sweep(&world);
    let mut slow = world.worker(world.0.queue.take().remove(0));
    while query(&world, "SELECT COUNT(*) AS n FROM sync_runs")[0]["n"] == json!(0) {
        assert!(step(&mut slow).is_none());
    }
    for _ in 0..14 {
        assert!(step(&mut slow).is_none(), "it holds a lease and has not reported");
    }
    world.advance(4 * MINUTE);
    sweep(&world);
    settle(&world);
    finish(slow, PATIENCE).unwrap();
    let logged = world.0.log.borrow().join("\n");
    assert!(logged.contains("\"event\":\"run_woken\""), "{logged}");
    assert!(
        logged.contains("\"event\":\"lease_lost\"") || logged.contains("\"event\":\"order_cancelled\""),
        "{logged}"
    );
}

#[test]
fn a_connections_messages_share_one_queue_and_connections_spread_over_all() {
    let mut sizes = [0_usize; 4];
    for number in 0..10_000 {
        let id = format!("c{number:06}");
        let start = Message::Start { connection_id: id.clone(), due_at: 1 };
        let work = Message::Work { run_id: format!("{id}.17") };
        assert_eq!(start.queue_of(4), work.queue_of(4));
        assert_eq!(start.queue_of(1), 0);
        sizes[start.queue_of(4)] += 1;
    }
    assert!(sizes.iter().all(|size| (2_000..3_000).contains(size)), "{sizes:?}");
}

#[test]
fn a_queue_that_is_longer_than_patience_gets_no_longer_by_it() {
    let world = crowded(1);
    sweep(&world);
    let mut dying = world.worker(world.0.queue.take().remove(0));
    while query(&world, "SELECT COUNT(*) AS n FROM sync_runs")[0]["n"] == json!(0) {
        assert!(step(&mut dying).is_none());
    }
    drop(dying);
    // Nobody takes the wake-ups off the queue for ten minutes; alarms are looked at every second.
    for _ in 0..600 {
        world.advance(1_000_000);
        world.fire_alarms();
    }
    let wakes = world.0.queue.borrow().len();
    assert!((5..=8).contains(&wakes), "{wakes} messages in ten minutes, 10, 20, 40 ... s apart");
    settle(&world);
    assert_eq!(query(&world, "SELECT state FROM sync_runs")[0]["state"], "SUCCESSFUL");
}
