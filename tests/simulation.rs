//! 100,000 connections over a day: the real sweep, the real claims in a real SQLite, the real schedule; queues, consumers
//! and the control plane's speed are modelled. Numbers and what they mean: docs/scale.md. The whole of it takes minutes:
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
use fivetran_do::core::limits::{CONSUMER_BUDGET_MS, R2_PART_BYTES};
use fivetran_do::core::redact::Secret;
use fivetran_do::core::schedule::{Schedule, ScheduleKind, Zone, next_due};
use fivetran_do::destinations::registry::DESTINATIONS;
use fivetran_do::engine::protocol::*;
use fivetran_do::engine::{Actors, Engine, Registry};
use fivetran_do::ports::{LocalSql, QueryResult, SqlDatabase, SqlValue, Statement};
use serde_json::json;
use support::ledger;
use support::sqlite::SqliteDatabase;
use support::world::{World, finish, vault_key};

static CONNECTORS: [fivetran_do::connectors::registry::ConnectorType; 1] = [ledger::CONNECTOR];

const CONNECTIONS: usize = 100_000;
const MINUTE: i64 = 60_000_000;
const DAY_MINUTES: i64 = 1_440;

/// What a steady run of one small table does, counted by `a_steady_run_costs_this_much`: queries of the control plane, one of
/// them by the destination's object.
const QUERIES_PER_RUN: i64 = 13;
/// Rows of the control plane's D1. Read: two a query. Written: 11 rows besides the claim, and 14 entries of
/// indexes (`sync_runs` 3, `connections` 1, five log events with 2 each).
const ROWS_READ_PER_RUN: f64 = 26.0;
const ROWS_WRITTEN_PER_RUN: f64 = 25.0;
/// Calls to Durable Objects.
const OBJECT_CALLS_PER_RUN: f64 = 20.0;
/// Rows that the run's object (50) and the connection's (5) write; with an order's place in the index, twice for each of six,
/// and the alarm, set three times.
const OBJECT_ROWS_PER_RUN: f64 = 55.0 + 12.0 + 3.0;
/// How long objects are billed for a run, in GB s of 128 MB each: at least 10 ms for each call; at most three objects for all
/// of it, should idling between calls count.
const OBJECT_GB_SECONDS_PER_RUN: [f64; 2] = [OBJECT_CALLS_PER_RUN * 0.010 * 0.128, 3.0 * 2.8 * 0.128];

/// Time of a consumer for a start and for the work of a small run, and of D1 for a query, in microseconds. Assumed, not
/// measured on Cloudflare: a run of a small table is some 40 round trips of 10 to 100 ms; a millisecond is what Cloudflare
/// itself counts for a simple query.
const START: i64 = 300_000;
const WORK: i64 = 2_500_000;
const QUERY: i64 = 1_000;
/// Most runs are short; one in so many takes eight times as long.
const LONG_EVERY: usize = 50;
const LONG: i64 = 8 * WORK;

/// A deployment and what is asked of it.
struct Plant {
    name: &'static str,
    connections: usize,
    /// Minutes from one sync of a connection to its next.
    frequency: u32,
    /// Minutes over which the connections' due times are spread.
    spread: i64,
    queues: usize,
    consumers: usize,
    /// Databases of the control plane that the connections are spread over.
    databases: usize,
    /// Minutes that are simulated.
    minutes: i64,
}

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
    Start {
        connection: usize,
        due: i64,
    },
    /// The rest of a run, microseconds, that did not fit into a consumer's time slice.
    Work {
        rest: i64,
    },
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

    /// Works on the rest of a run for a slice of time; what is left goes to the end of the queue. When it stops.
    fn slice(&mut self, queue: usize, at: i64, rest: i64) -> i64 {
        let slice = CONSUMER_BUDGET_MS * 1_000;
        if rest > slice {
            self.send(queue, at + slice, Job::Work { rest: rest - slice });
        }
        at + rest.min(slice)
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
                    let work = if connection.is_multiple_of(LONG_EVERY) { LONG } else { WORK };
                    self.query(connection, at, QUERIES_PER_RUN).max(self.slice(queue, at, START + work))
                }
                // A repeated message: the connection's object knows the due time.
                Job::Start { connection, .. } => self.query(connection, at, 1).max(at + START / 3),
                Job::Work { rest } => self.slice(queue, at, rest),
            };
            self.busy[queue].push(Reverse(done));
        }
    }
}

/// The connections of a plant, in the real control plane.
fn world(plant: &Plant) -> (World, BTreeMap<String, usize>) {
    ledger::install();
    let registry = Registry { connectors: &CONNECTORS, destinations: DESTINATIONS };
    let world = World::divided(registry, plant.databases);
    let midnight = world.0.now.get().div_euclid(DAY_MINUTES * MINUTE) * DAY_MINUTES * MINUTE;
    world.0.now.set(midnight);
    let Plant { connections, frequency, spread, databases, .. } = plant;
    for (home, database) in control_databases(&world).into_iter().enumerate() {
        let prefix = id_prefix(home);
        let sql = format!(
            "INSERT INTO accounts VALUES ('a', 'a', 0); INSERT INTO groups VALUES ('g', 'a', 'g', 0);
             WITH RECURSIVE n (i) AS (SELECT {home} UNION ALL SELECT i + {databases} FROM n WHERE i + {databases} < {connections})
             INSERT INTO connections (id, group_id, service, schema_name, config_public, config_sealed, setup_state,
               created_at, updated_at, sync_frequency, next_due_at)
             SELECT printf('{prefix}%06d', i), 'g', 'ledger', 's' || i, '{{}}', '', 'connected', 0, 0, {frequency},
               {midnight} + (i % {spread}) * {MINUTE} FROM n"
        );
        database.with(|sqlite| sqlite.execute_batch(&sql)).unwrap();
    }
    let numbers = (0..*connections).map(|number| (id_of(number, *databases), number)).collect();
    (world, numbers)
}

fn control_databases(world: &World) -> Vec<Rc<SqliteDatabase>> {
    std::iter::once(&world.0.control).chain(&world.0.control_others).cloned().collect()
}

/// What the ids of connections begin with that live in the database of that number: with six digits, 16 letters, as real
/// ones have.
fn id_prefix(home: usize) -> String {
    match home {
        0 => "c".to_owned(),
        _ => format!("0{}........", char::from(b'a' + home as u8)),
    }
}

/// Connections take turns at the databases, as [`Consumers::query`] has them.
fn id_of(number: usize, databases: usize) -> String {
    format!("{}{number:06}", id_prefix(number % databases))
}

fn simulate(plant: &Plant) -> String {
    let (world, numbers) = world(plant);
    let midnight = world.0.now.get();
    let schedule = Schedule::new(ScheduleKind::Auto, plant.frequency, None, Zone::default()).unwrap();
    let mut at_work = Consumers::new(plant);
    let mut served = vec![0_i64; plant.connections];
    let mut lateness: Vec<i64> = Vec::new();
    let (mut announced, mut sweep_took, mut longest) = (0_u64, 0.0, 0.0_f64);
    for minute in 0..plant.minutes {
        // The cron fires some time into its minute.
        let now = midnight + minute * MINUTE + 500_000;
        let mut moved: Vec<(usize, i64)> = Vec::new();
        at_work.run(now, |connection, due, at| {
            if served[connection] >= due {
                return false;
            }
            served[connection] = due;
            lateness.push(at - due);
            moved.push((connection, next_due(&schedule, Some(due), at).unwrap()));
            true
        });
        advance(&world, plant.databases, &moved);
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
            at_work.send(queue, sent, Job::Start { connection: numbers[&connection_id], due: due_at });
        }
    }
    // Of this machine, so not in the report.
    println!(
        "{}: a sweep took {:.0} ms, the longest {:.0} ms",
        plant.name,
        sweep_took / plant.minutes as f64 * 1e3,
        longest * 1e3
    );
    report(plant, lateness, announced, at_work.messages)
}

/// What `run_started` does to the due times of connections that started.
fn advance(world: &World, databases: usize, moved: &[(usize, i64)]) {
    for (home, database) in control_databases(world).into_iter().enumerate() {
        let mine = moved.iter().filter(|(number, _)| number % databases == home);
        let rows = mine.map(|(number, due)| format!("[\"{}\",{due}]", id_of(*number, databases)));
        let sql = format!(
            "UPDATE connections SET next_due_at = e.value ->> 1 FROM json_each('[{}]') AS e \
             WHERE connections.id = e.value ->> 0",
            rows.collect::<Vec<_>>().join(",")
        );
        database.with(|sqlite| sqlite.execute_batch(&sql)).unwrap();
    }
}

/// Dollars of a month for so much a day, above what the plan includes.
fn dollars(a_day: f64, included: f64, per_million: f64) -> f64 {
    (a_day * 30.0 - included).max(0.0) / 1e6 * per_million
}

fn report(plant: &Plant, mut lateness: Vec<i64>, announced: u64, messages: u64) -> String {
    lateness.sort_unstable();
    let part = |share: f64| {
        let at = ((lateness.len() as f64 - 1.0) * share) as usize;
        lateness.get(at).copied().unwrap_or(0) as f64 / 1e6
    };
    let days = plant.minutes as f64 / DAY_MINUTES as f64;
    let a_day = |count: f64| count / days;
    let runs = a_day(lateness.len() as f64);
    let (messages, announced) = (a_day(messages as f64), a_day(announced as f64));
    let due = plant.connections as f64 * DAY_MINUTES as f64 / f64::from(plant.frequency);
    let busy = runs * (START + WORK + (LONG - WORK) / LONG_EVERY as i64) as f64 / 1e6 / 86_400.0;
    let read = runs * ROWS_READ_PER_RUN + announced * 3.0 + DAY_MINUTES as f64 * 1_000.0;
    let written = runs * ROWS_WRITTEN_PER_RUN + announced;
    let objects =
        dollars(runs * OBJECT_CALLS_PER_RUN, 1e6, 0.15) + dollars(runs * OBJECT_ROWS_PER_RUN, 50e6, 1.0);
    let duration = OBJECT_GB_SECONDS_PER_RUN.map(|each| dollars(runs * each, 400e3, 12.50));
    [
        format!(
            "{}: {} connections every {} min over {} h, {} x {} consumers, {} database(s)",
            plant.name,
            plant.connections,
            plant.frequency,
            plant.minutes / 60,
            plant.queues,
            plant.consumers,
            plant.databases
        ),
        format!("  a day: {runs:.0} runs of {due:.0} due, {messages:.0} messages, {announced:.0} of them starts"),
        format!("  late: p50 {:.1} s, p99 {:.1} s, longest {:.1} s", part(0.5), part(0.99), part(1.0)),
        format!(
            "  busy: {busy:.0} consumers, each database {:.0} %",
            runs * (QUERIES_PER_RUN * QUERY) as f64 / 1e6 / 864.0 / plant.databases as f64
        ),
        format!("  D1 a day: {:.1} M rows read, {:.1} M written", read / 1e6, written / 1e6),
        format!(
            "  dollars a month: queues {:.0}, D1 {:.0}, objects {objects:.0} and for their time {:.0} to {:.0}",
            dollars(messages * 3.0, 1e6, 0.40),
            dollars(read, 25e9, 0.001) + dollars(written, 50e6, 1.0),
            duration[0],
            duration[1]
        ),
    ]
    .join("\n")
}

/// What is printed here is quoted in docs/scale.md; whoever changes the one changes the other.
fn documented(report: &str) {
    println!("{report}");
    let page = include_str!("../docs/scale.md");
    for line in report.lines() {
        assert!(page.contains(line.trim()), "docs/scale.md says something else than\n{line}");
    }
}

const HOURLY: Plant = Plant {
    name: "hourly",
    connections: CONNECTIONS,
    frequency: 60,
    spread: 60,
    queues: 1,
    consumers: 250,
    databases: 1,
    minutes: DAY_MINUTES,
};

/// Three hours of it, so that every `npm test` sees the numbers of the page.
#[test]
fn a_hundred_thousand_hourly_connections_start_within_their_minute() {
    documented(&simulate(&Plant { name: "hourly, the first hours", minutes: 180, ..HOURLY }));
}

#[test]
#[ignore = "takes minutes; see docs/scale.md"]
fn a_day_of_100_000_connections() {
    let daily = DAY_MINUTES as u32;
    let plants = [
        Plant { name: "as shipped", frequency: daily, spread: DAY_MINUTES, consumers: 10, ..HOURLY },
        Plant { name: "all at midnight", frequency: daily, spread: 1, ..HOURLY },
        HOURLY,
        Plant { name: "half-hourly", frequency: 30, spread: 30, ..HOURLY },
        Plant { name: "quarter-hourly", frequency: 15, spread: 15, queues: 2, minutes: 180, ..HOURLY },
        Plant {
            name: "quarter-hourly, divided",
            frequency: 15,
            spread: 15,
            queues: 2,
            databases: 2,
            ..HOURLY
        },
    ];
    let wanted = std::env::var("PLANT").unwrap_or_default();
    let reports: Vec<String> =
        plants.iter().filter(|plant| plant.name.contains(&wanted)).map(simulate).collect();
    documented(&reports.join("\n"));
}

/// Rows a second of one mover to R2 and D1, bytes of a row at the source: lineitem, as measured in docs/benchmarks.md.
const R2_ROWS_PER_SECOND: f64 = 261_849.0;
const D1_ROWS_PER_SECOND: f64 = 98_261.0;
const ROW_BYTES: f64 = 165.8;
/// Bytes of such a row in Parquet; assumed, Snappy leaves about this.
const PARQUET_ROW_BYTES: f64 = 60.0;

/// Arithmetic with the prices of November 2026; the speeds are this machine's, not Cloudflare's.
#[test]
fn ten_billion_rows_a_day_cost_this_much() {
    let rows = 10e9;
    let (chunk, part) = (64.0 * 1_048_576.0, R2_PART_BYTES as f64);
    let seconds = rows / R2_ROWS_PER_SECOND;
    let messages = seconds * 1_000.0 / CONSUMER_BUDGET_MS as f64;
    let chunks = rows * ROW_BYTES / chunk;
    let stored = rows * PARQUET_ROW_BYTES;
    // Each chunk is an upload: its parts, its beginning and its end.
    let writes = stored / part + 2.0 * chunks;
    let (speed, d1_seconds) = (rows / 86_400.0, rows / D1_ROWS_PER_SECOND);
    documented(
        &[
            format!(
                "10 billion rows a day: {speed:.0} a second, {:.2} TB at the source, {chunks:.0} chunks, {messages:.0} messages",
                rows * ROW_BYTES / 1e12
            ),
            format!(
                "  to R2: {:.2} movers busy, {:.2} TB of Parquet, {writes:.0} writes",
                seconds / 86_400.0,
                stored / 1e12
            ),
            format!(
                "  dollars a month to R2: CPU {:.0}, writes {:.0}, queues {:.0}, keeping what a month adds {:.0}",
                dollars(seconds * 1e3, 30e6, 0.02),
                dollars(writes, 1e6, 4.50),
                dollars(messages * 3.0, 1e6, 0.40),
                stored * 30.0 / 1e9 * 0.015
            ),
            format!(
                "  to D1: {:.2} databases busy, {:.0} filled a day if all are new, {:.0} dollars a month for each row written",
                d1_seconds / 86_400.0,
                rows * ROW_BYTES / 10e9,
                dollars(rows, 50e6, 1.0)
            ),
        ]
        .join("\n"),
    );
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
    let keys = Secret::new(vault_key(1));
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
        world.advance(15 * MINUTE);
    }
    for statement in db.statements.take() {
        println!("  {statement}");
    }
    // One comes on top: the destination's object asks for its own definition.
    assert_eq!(db.queries.get() + 1, QUERIES_PER_RUN);
    assert_eq!(f64::from(calls.1.get()), OBJECT_CALLS_PER_RUN);
    let (connector, sync) = (world.0.connectors.borrow()[&id].clone(), world.0.syncs.borrow());
    let rows = rows_changed(&**sync.values().last().unwrap()) + rows_changed(&*connector) / 3;
    assert_eq!(rows as f64 + 12.0 + 3.0, OBJECT_ROWS_PER_RUN);
    let ended =
        finish(world.0.control.query(Statement::new("SELECT state FROM sync_runs", vec![])), 100).unwrap();
    assert_eq!(
        json!(ended.rows),
        json!([{"state": "SUCCESSFUL"}, {"state": "SUCCESSFUL"}, {"state": "SUCCESSFUL"}])
    );
}

/// Bytes of the control plane's database that a run of one table leaves, indexes included, with ids of seven letters.
const HISTORY_BYTES_PER_RUN: i64 = 740;

#[test]
fn history_fills_a_database_this_fast() {
    ledger::install();
    let world = World::new(Registry { connectors: &CONNECTORS, destinations: DESTINATIONS });
    finish(support::crowd::define(&world, 1), 1_000_000);
    let mut sizes = Vec::new();
    for run in 0..=400 {
        if run % 200 == 0 {
            let bytes = "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()";
            sizes.push(
                world
                    .0
                    .control
                    .with(|sqlite| sqlite.query_row(bytes, [], |row| row.get::<_, i64>(0)))
                    .unwrap(),
            );
        }
        finish(world.engine().sweep(), 1_000_000).unwrap();
        for message in world.0.queue.take() {
            finish(world.engine().consume(message), 1_000_000).unwrap();
        }
        world.advance(15 * MINUTE);
    }
    let count = "SELECT COUNT(*) FROM sync_runs";
    let runs =
        world.0.control.with(|sqlite| sqlite.query_row(count, [], |row| row.get::<_, i64>(0))).unwrap();
    assert_eq!(runs, 401);
    let bytes = (sizes[2] - sizes[1]) / 200;
    println!("a run leaves {bytes} bytes");
    assert!((bytes - HISTORY_BYTES_PER_RUN).abs() < 40, "{bytes}");
    let lines = [(1_440, CONNECTIONS), (60, CONNECTIONS), (15, CONNECTIONS), (15, 1_000)].map(|(frequency, connections)| {
        let runs = (connections as i64 * DAY_MINUTES / frequency) as f64;
        let days = 10e9 / (runs * HISTORY_BYTES_PER_RUN as f64);
        format!("{connections} connections every {frequency} min: {runs:.0} runs a day, 10 GB of history in {days:.0} days")
    });
    documented(&lines.join("\n"));
}
