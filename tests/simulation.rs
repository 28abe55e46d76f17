//! 100,000 connections over a day: the real sweep, the real claims in a real SQLite, the real schedule; queues, consumers
//! and the control plane's speed are modelled. Numbers and what they mean: docs/scale.md. Runs for a minute or two:
//!
//! `cargo test --release --test simulation -- --ignored --nocapture`
#![cfg(not(target_arch = "wasm32"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]
#![allow(clippy::print_stdout, clippy::disallowed_methods)]

mod support;

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::rc::Rc;

use async_trait::async_trait;
use fivetran_do::control::ControlPlane;
use fivetran_do::core::Result;
use fivetran_do::core::redact::Secret;
use fivetran_do::core::schedule::{Schedule, ScheduleKind, Zone, next_due};
use fivetran_do::destinations::registry::DESTINATIONS;
use fivetran_do::engine::protocol::*;
use fivetran_do::engine::{Actors, Engine, Registry};
use fivetran_do::ports::{LocalSql, QueryResult, SqlDatabase, SqlValue, Statement};
use serde_json::json;
use support::ledger;
use support::world::{World, finish};

static CONNECTORS: [fivetran_do::connectors::registry::ConnectorType; 1] = [ledger::CONNECTOR];

const CONNECTIONS: usize = 100_000;
const FREQUENCY: u32 = 15;
const MINUTE: i64 = 60_000_000;
const DAY_MINUTES: i64 = 1_440;

/// What a steady run of one small table does, counted by `a_steady_run_costs_this_much`: queries of the control plane, one of
/// them by the destination's object.
const QUERIES_PER_RUN: i64 = 22;
/// Those of them that open the run.
const QUERIES_PER_START: i64 = 5;
/// Rows of the control plane's D1. Read: one or two a query. Written: 9 rows besides the claim, and 10 entries of indexes
/// (`sync_runs` 3, `connections` 1, three log events with 2 each).
const ROWS_READ_PER_RUN: f64 = 40.0;
const ROWS_WRITTEN_PER_RUN: f64 = 19.0;
/// Calls to Durable Objects, and the rows that the run's and the connection's write, entries of indexes included.
const OBJECT_CALLS_PER_RUN: f64 = 20.0;
const OBJECT_ROWS_PER_RUN: f64 = 75.0;

/// A deployment.
struct Plant {
    name: &'static str,
    queues: usize,
    consumers: usize,
    /// Databases of the control plane that the connections are spread over. The service has one; more are arithmetic.
    databases: usize,
}

/// Time of a consumer for a start and for the work of a small run, and of D1 for a query, in microseconds. Assumed, not
/// measured on Cloudflare: a run of a small table is some 40 round trips of 10 to 100 ms.
const START: i64 = 300_000;
const WORK: i64 = 2_500_000;
const QUERY: i64 = 1_000;

/// Queues with their consumers and the databases behind them, in virtual time.
struct Consumers {
    /// By the time they were sent, then by number.
    waiting: Vec<BinaryHeap<Reverse<(i64, u64, Job)>>>,
    /// When each busy consumer of a queue is free again.
    busy: Vec<BinaryHeap<Reverse<i64>>>,
    /// When each database is through with what it was asked.
    databases: Vec<i64>,
    consumers: usize,
    messages: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Job {
    Start { connection: usize, due: i64 },
    Work { connection: usize },
}

impl Consumers {
    fn new(plant: &Plant) -> Self {
        Self {
            waiting: (0..plant.queues).map(|_| BinaryHeap::new()).collect(),
            busy: (0..plant.queues).map(|_| BinaryHeap::new()).collect(),
            databases: vec![0; plant.databases],
            consumers: plant.consumers,
            messages: 0,
        }
    }

    fn send(&mut self, queue: usize, at: i64, job: Job) {
        self.messages += 1;
        self.waiting[queue].push(Reverse((at, self.messages, job)));
    }

    /// Has a database answer so many queries, asked at `at`: when it is done.
    fn query(&mut self, connection: usize, at: i64, queries: i64) -> i64 {
        let count = self.databases.len();
        let free = &mut self.databases[connection % count];
        *free = at.max(*free) + queries * QUERY;
        *free
    }

    /// When the queue's next message finds a consumer.
    fn next(&self, queue: usize) -> Option<i64> {
        let Reverse((sent, _, _)) = self.waiting[queue].peek()?;
        let full = self.busy[queue].len() >= self.consumers;
        let free = self.busy[queue].peek().filter(|_| full).map_or(*sent, |Reverse(free)| *free);
        Some(free.max(*sent))
    }

    /// Works until `until`, in the order of time; `start` is told of every start and says whether it was the first for
    /// that due time.
    fn run(&mut self, until: i64, mut start: impl FnMut(usize, i64, i64) -> bool) {
        loop {
            let next = (0..self.waiting.len()).filter_map(|queue| Some((self.next(queue)?, queue))).min();
            let Some((at, queue)) = next.filter(|(at, _)| *at < until) else { return };
            let Some(Reverse((_, _, job))) = self.waiting[queue].pop() else { return };
            while self.busy[queue].peek().is_some_and(|Reverse(free)| *free <= at) {
                self.busy[queue].pop();
            }
            let done = match job {
                Job::Start { connection, due } if start(connection, due, at) => {
                    let done = self.query(connection, at, QUERIES_PER_START).max(at + START);
                    // The run's object wakes a worker, at the end of the queue.
                    self.send(queue, done, Job::Work { connection });
                    done
                }
                // A repeated message: the connection's object knows the due time.
                Job::Start { connection, .. } => self.query(connection, at, 4).max(at + START / 3),
                Job::Work { connection } => {
                    // Most runs are short and a few are long.
                    let long = if connection % 50 == 0 { 8 * WORK } else { WORK };
                    self.query(connection, at, QUERIES_PER_RUN - QUERIES_PER_START).max(at + long)
                }
            };
            self.busy[queue].push(Reverse(done));
        }
    }
}

/// 100,000 connections whose minutes are spread over the quarter of an hour.
fn world() -> (World, BTreeMap<String, usize>) {
    ledger::install();
    let world = World::new(Registry { connectors: &CONNECTORS, destinations: DESTINATIONS });
    let midnight = world.0.now.get().div_euclid(DAY_MINUTES * MINUTE) * DAY_MINUTES * MINUTE;
    world.0.now.set(midnight);
    let sql = format!(
        "INSERT INTO accounts VALUES ('a', 'a', 0); INSERT INTO groups VALUES ('g', 'a', 'g', 0);
         WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {CONNECTIONS})
         INSERT INTO connections (id, group_id, service, schema_name, config_public, config_sealed, setup_state,
           created_at, updated_at, next_due_at)
         SELECT printf('c%06d', i), 'g', 'ledger', 's' || i, '{{}}', '', 'connected', 0, 0,
           {midnight} + (i % {FREQUENCY}) * {MINUTE} FROM n"
    );
    let numbers = (0..CONNECTIONS).map(|number| (format!("c{number:06}"), number)).collect();
    world.0.control.with(|sqlite| sqlite.execute_batch(&sql)).unwrap();
    (world, numbers)
}

fn simulate(plant: &Plant, days_minutes: i64) {
    let (world, numbers) = world();
    let midnight = world.0.now.get();
    let schedule = Schedule::new(ScheduleKind::Auto, FREQUENCY, None, Zone::default()).unwrap();
    let mut plant_at_work = Consumers::new(plant);
    let mut served = vec![0_i64; CONNECTIONS];
    let mut lateness: Vec<i64> = Vec::new();
    let (mut announced, mut sweep_took, mut longest) = (0_u64, 0.0, 0.0_f64);
    for minute in 0..days_minutes {
        // The cron fires some time into its minute.
        let now = midnight + minute * MINUTE + 500_000;
        let mut moved: Vec<(usize, i64)> = Vec::new();
        plant_at_work.run(now, |connection, due, at| {
            if served[connection] >= due {
                return false;
            }
            served[connection] = due;
            lateness.push(at - due);
            moved.push((connection, next_due(&schedule, Some(due), at).unwrap()));
            true
        });
        advance(&world, &moved);
        world.0.now.set(now);
        let began = std::time::Instant::now();
        finish(world.engine().sweep(), 1_000_000).unwrap();
        let took = began.elapsed().as_secs_f64();
        (sweep_took, longest) = (sweep_took + took, longest.max(took));
        for (at, message) in world.0.queue.take().into_iter().enumerate() {
            let queue = message.queue_of(plant.queues);
            let Message::Start { connection_id, due_at } = message else { continue };
            announced += 1;
            // A sendBatch of 100 takes 30 ms.
            let sent = now + (at as i64 / 100) * 30_000;
            plant_at_work.send(queue, sent, Job::Start { connection: numbers[&connection_id], due: due_at });
        }
    }
    report(plant, days_minutes, lateness, announced, plant_at_work.messages, (sweep_took, longest));
}

/// What `run_started` does to the due times of connections that started.
fn advance(world: &World, moved: &[(usize, i64)]) {
    let rows =
        moved.iter().map(|(number, due)| format!("[\"c{number:06}\",{due}]")).collect::<Vec<_>>().join(",");
    let sql = format!(
        "UPDATE connections SET next_due_at = e.value ->> 1 FROM json_each('[{rows}]') AS e \
         WHERE connections.id = e.value ->> 0"
    );
    world.0.control.with(|sqlite| sqlite.execute_batch(&sql)).unwrap();
}

fn report(
    plant: &Plant,
    minutes: i64,
    mut lateness: Vec<i64>,
    announced: u64,
    messages: u64,
    sweep: (f64, f64),
) {
    lateness.sort_unstable();
    let part = |share: f64| {
        let at = ((lateness.len() as f64 - 1.0) * share) as usize;
        lateness.get(at).copied().unwrap_or(0) as f64 / 1e6
    };
    let to_day = DAY_MINUTES as f64 / minutes as f64;
    let runs = lateness.len() as f64 * to_day;
    let (messages, announced) = (messages as f64 * to_day, announced as f64 * to_day);
    let sweeps = DAY_MINUTES as f64;
    let read = runs * ROWS_READ_PER_RUN + announced * 3.0 + sweeps * 1_000.0;
    let written = runs * ROWS_WRITTEN_PER_RUN + announced;
    let month = 30.0;
    let over = |used: f64, free: f64, per_million: f64| ((used * month - free).max(0.0) / 1e6) * per_million;
    let queue_cost = over(messages * 3.0, 1e6, 0.40);
    let d1_cost = over(read, 25e9, 0.001) + over(written, 50e6, 1.0);
    let object_cost =
        over(runs * OBJECT_CALLS_PER_RUN, 1e6, 0.15) + over(runs * OBJECT_ROWS_PER_RUN, 50e6, 1.0);
    println!(
        "{}: {} queue(s) of {} consumers, {} database(s)",
        plant.name, plant.queues, plant.consumers, plant.databases
    );
    println!("  runs a day {:.0}, of {:.0} due", runs, CONNECTIONS as f64 * sweeps / f64::from(FREQUENCY));
    println!("  lateness p50 {:.1} s, p99 {:.1} s, longest {:.1} s", part(0.5), part(0.99), part(1.0));
    println!("  starts announced {announced:.0}, messages {messages:.0}");
    println!(
        "  sweep: mean {:.0} ms, longest {:.0} ms of this machine's SQLite",
        sweep.0 / minutes as f64 * 1e3,
        sweep.1 * 1e3
    );
    println!("  D1 control plane a day: {:.2} M rows read, {:.1} M written", read / 1e6, written / 1e6);
    println!("  dollars a month: queues {queue_cost:.0}, D1 {d1_cost:.0}, Durable Objects {object_cost:.0}");
}

#[test]
#[ignore = "takes minutes; see docs/scale.md"]
fn a_day_of_100_000_connections() {
    let minutes =
        std::env::var("SIMULATED_MINUTES").ok().and_then(|text| text.parse().ok()).unwrap_or(DAY_MINUTES);
    for plant in [
        Plant { name: "as shipped", queues: 1, consumers: 10, databases: 1 },
        Plant { name: "one full queue", queues: 1, consumers: 250, databases: 1 },
        Plant { name: "four full queues", queues: 4, consumers: 250, databases: 1 },
        Plant { name: "four full queues, four databases", queues: 4, consumers: 250, databases: 4 },
    ] {
        simulate(&plant, minutes);
    }
}

/// The control plane's database with a meter.
struct Counted {
    world: World,
    queries: Cell<i64>,
    statements: RefCell<Vec<String>>,
}

#[async_trait(?Send)]
impl SqlDatabase for Counted {
    async fn batch(&self, statements: Vec<Statement>) -> Result<Vec<QueryResult>> {
        self.queries.set(self.queries.get() + 1);
        let texts = statements.iter().map(|statement| statement.sql.chars().take(60).collect());
        self.statements.borrow_mut().extend(texts);
        self.world.0.control.batch(statements).await
    }
}

/// Calls to Durable Objects, counted.
struct Calls(World, Cell<u32>);

#[async_trait(?Send)]
impl Actors for Calls {
    async fn connector(&self, id: &str, request: ConnectorRequest) -> Result<ConnectorReply> {
        self.1.set(self.1.get() + 1);
        self.0.connector(id, request).await
    }

    async fn sync(&self, id: &str, request: SyncRequest) -> Result<SyncReply> {
        self.1.set(self.1.get() + 1);
        self.0.sync(id, request).await
    }

    async fn destination(&self, id: &str, request: DestinationRequest) -> Result<DestinationReply> {
        self.1.set(self.1.get() + 1);
        self.0.destination(id, request).await
    }
}

/// Rows inserted, updated and deleted so far, without the entries of indexes.
fn rows_changed(sql: &dyn LocalSql) -> i64 {
    let rows = sql.exec("SELECT total_changes()", &[]).unwrap();
    match rows[0][0] {
        SqlValue::Integer(count) => count,
        _ => panic!("not a number"),
    }
}

/// The bill of a run of one table that finds one changed row: what docs/scale.md multiplies.
#[test]
fn a_steady_run_costs_this_much() {
    let installed = ledger::install();
    let world = World::new(Registry { connectors: &CONNECTORS, destinations: DESTINATIONS });
    let id = finish(support::crowd::define(&world, 1), 1_000_000).remove(0);
    let write = |value: &str| {
        let mut ledger = installed.borrow_mut();
        let transaction = ledger.begin();
        ledger.write(transaction, 1, value.to_owned());
        ledger.commit(transaction);
    };
    let due = |world: &World| world.0.queue.take();
    let db = Rc::new(Counted { world: world.clone(), queries: Cell::new(0), statements: RefCell::default() });
    let calls = Rc::new(Calls(world.clone(), Cell::new(0)));
    let keys = Secret::new(format!("k1:{}", "A".repeat(43) + "="));
    let clock = Rc::new(world.clone());
    let control = ControlPlane::new(db.clone(), &keys, clock.clone(), clock).unwrap();
    let engine = || {
        let engine = Rc::try_unwrap(world.engine()).unwrap_or_else(|_| panic!("the only one"));
        Engine { control: control.clone(), actors: calls.clone(), ..engine }
    };
    let total = "SELECT total_changes() AS n";
    let changed = || {
        let row = finish(world.0.control.query(Statement::new(total, vec![])), 100).unwrap().rows.remove(0);
        row["n"].as_i64().unwrap()
    };
    for value in ["first", "second", "third"] {
        write(value);
        db.queries.set(0);
        db.statements.take();
        calls.1.set(0);
        let before = changed();
        finish(engine().sweep(), 1_000_000).unwrap();
        let (mut messages, sweep) = (0, db.queries.take());
        loop {
            let queue = due(&world);
            if queue.is_empty() {
                break;
            }
            for message in queue {
                messages += 1;
                finish(engine().consume(message), 1_000_000).unwrap();
            }
        }
        let rows = changed() - before;
        let (connector, sync) = (world.0.connectors.borrow()[&id].clone(), world.0.syncs.borrow());
        let run = sync.values().last().unwrap();
        println!(
            "{value}: {messages} messages, {} queries of the control plane (and {sweep} of the sweep), {rows} rows changed \
             there, {} calls to objects, {} rows changed in the run's, {} in the connection's so far",
            db.queries.get(),
            calls.1.get(),
            rows_changed(&**run),
            rows_changed(&*connector),
        );
        world.advance(i64::from(FREQUENCY) * MINUTE);
    }
    for statement in db.statements.take() {
        println!("  {statement}");
    }
    // One comes on top: the destination's object asks for its own definition.
    assert_eq!(db.queries.get() + 1, QUERIES_PER_RUN);
    assert!(f64::from(calls.1.get()) <= OBJECT_CALLS_PER_RUN);
    let ended =
        finish(world.0.control.query(Statement::new("SELECT state FROM sync_runs", vec![])), 100).unwrap();
    assert_eq!(
        json!(ended.rows),
        json!([{"state": "SUCCESSFUL"}, {"state": "SUCCESSFUL"}, {"state": "SUCCESSFUL"}])
    );
}
