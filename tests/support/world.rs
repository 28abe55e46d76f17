//! A whole deployment in memory, under a scheduler that the test drives: Durable Objects, queue, alarms, clock, and a
//! source whose transactions the test writes. Every call across a border is a point where a worker can be paused for
//! as long as the test likes, or killed for good.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use async_trait::async_trait;
use fivetran_do::control::ControlPlane;
use fivetran_do::core::fault_point::FaultPoint;
use fivetran_do::core::redact::Secret;
use fivetran_do::core::{Error, ErrorKind, Result};
use fivetran_do::engine::connector::Connector;
use fivetran_do::engine::destination::{SchemaLock, Tables};
use fivetran_do::engine::protocol::*;
use fivetran_do::engine::sync::Sync;
use fivetran_do::engine::{Actors, Definitions, Engine, Outbox, Registry};
use fivetran_do::ports::*;

use super::sqlite::{MemoryLocalSql, SqliteDatabase};

/// Everything that survives a crash.
pub struct Inner {
    pub now: Rc<Cell<i64>>,
    pub connectors: RefCell<BTreeMap<String, Rc<MemoryLocalSql>>>,
    pub syncs: RefCell<BTreeMap<String, Rc<MemoryLocalSql>>>,
    pub destinations: RefCell<BTreeMap<String, Rc<(MemoryLocalSql, SchemaLock)>>>,
    pub alarms: RefCell<BTreeMap<String, i64>>,
    pub queue: RefCell<Vec<Message>>,
    pub control: Rc<SqliteDatabase>,
    /// Further databases of a divided control plane.
    pub control_others: Vec<Rc<SqliteDatabase>>,
    pub analytics: Rc<SqliteDatabase>,
    pub lake: Rc<super::objects::MemoryBucket>,
    pub registry: Registry,
    pub log: RefCell<Vec<String>>,
    /// What happens at a border that is reached next, if it is this one.
    pub trap: Cell<Option<(FaultPoint, Trap)>>,
    /// Borders reached so far.
    pub reached: RefCell<BTreeSet<FaultPoint>>,
    /// Set by a worker that died in a trap; whoever polled it drops it.
    died: Cell<bool>,
    seed: Rc<Cell<u64>>,
    plane: ControlPlane,
}

/// What a border does to the worker that reaches it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trap {
    /// It dies on the spot.
    Kill,
    /// The call it is in fails.
    Fail,
}

/// A handle on the world; cheap to clone.
#[derive(Clone)]
pub struct World(pub Rc<Inner>);

/// Yields to the scheduler once.
struct Border(bool);

impl Future for Border {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.0, true) { Poll::Ready(()) } else { Poll::Pending }
    }
}

/// A point where the test may pause or kill a worker.
pub async fn border() {
    Border(false).await;
}

/// A worker somewhere in its work.
pub type Worker = Pin<Box<dyn Future<Output = Result<()>>>>;

/// Lets a worker run to its next border. `None` while it has not finished.
pub fn step(worker: &mut Worker) -> Option<Result<()>> {
    match worker.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => Some(result),
        Poll::Pending => None,
    }
}

/// Where a worker stands after a step in a world with traps.
#[derive(Debug)]
pub enum Step {
    /// At a border.
    Waits,
    /// It died in a trap: drop it.
    Died,
    /// At its end.
    Ended(Result<()>),
}

impl World {
    /// Lets a worker run to its next border.
    pub fn step(&self, worker: &mut Worker) -> Step {
        match step(worker) {
            Some(result) => Step::Ended(result),
            None if self.0.died.take() => Step::Died,
            None => Step::Waits,
        }
    }
}

/// Lets a worker run to its end, if it ends within `borders` of them.
pub fn finish<T>(future: impl Future<Output = T>, borders: usize) -> T {
    let mut future = std::pin::pin!(future);
    for _ in 0..borders {
        if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return value;
        }
    }
    panic!("still not finished after {borders} borders")
}

/// A key of the vault: a world seals with the first and opens what the second has sealed.
pub fn vault_key(number: u8) -> String {
    let letter = char::from(b'A' + number).to_string();
    format!("k{number}:{}A=", letter.repeat(42))
}

impl World {
    pub fn new(registry: Registry) -> Self {
        Self::divided(registry, 1)
    }

    /// With a control plane over so many databases.
    pub fn divided(registry: Registry, databases: usize) -> Self {
        let database = || Rc::new(SqliteDatabase::reused("control", fivetran_do::control::SCHEMA));
        let control = database();
        let control_others = (1..databases).map(|_| database()).collect::<Vec<_>>();
        let now = Rc::new(Cell::new(1_800_000_000_000_000));
        let seed = Rc::new(Cell::new(1));
        let keys = Secret::new(format!("{},{}", vault_key(1), vault_key(2)));
        // Its own handles on clock and randomness: a world that held itself would never be dropped.
        let outside = Rc::new(Outside { now: now.clone(), seed: seed.clone() });
        let db = Rc::new(Bordered(control.clone()));
        let others =
            control_others.iter().map(|other| Rc::new(Bordered(other.clone())) as Rc<dyn SqlDatabase>);
        let plane =
            ControlPlane::new(db, &keys, outside.clone(), outside).unwrap().divided_over(others.collect());
        Self(Rc::new(Inner {
            now,
            connectors: RefCell::default(),
            syncs: RefCell::default(),
            destinations: RefCell::default(),
            alarms: RefCell::default(),
            queue: RefCell::default(),
            control,
            control_others,
            analytics: Rc::new(SqliteDatabase::with_d1_limits()),
            lake: Rc::new(super::objects::MemoryBucket::default()),
            registry,
            log: RefCell::default(),
            trap: Cell::new(None),
            reached: RefCell::default(),
            died: Cell::new(false),
            seed,
            plane,
        }))
    }

    pub fn ports(&self) -> Ports {
        let world = Rc::new(self.clone());
        Ports {
            clock: world.clone(),
            random: world.clone(),
            timer: world.clone(),
            tcp: world.clone(),
            http: world.clone(),
            bindings: world.clone(),
            faults: Some(world),
        }
    }

    pub fn control(&self) -> ControlPlane {
        self.0.plane.clone()
    }

    pub fn engine(&self) -> Rc<Engine> {
        Rc::new(Engine {
            registry: self.0.registry,
            control: self.control(),
            ports: self.ports(),
            actors: Rc::new(self.clone()),
            outbox: Rc::new(self.clone()),
            log: Rc::new(self.clone()),
            retention_days: 90,
            memory: || 0,
            definitions: Definitions::default(),
        })
    }

    pub fn worker(&self, message: Message) -> Worker {
        let engine = self.engine();
        Box::pin(async move { engine.consume(message).await })
    }

    pub fn sweeper(&self) -> Worker {
        let engine = self.engine();
        Box::pin(async move { engine.sweep().await })
    }

    pub fn advance(&self, micros: i64) {
        self.0.now.set(self.0.now.get() + micros);
    }

    /// Fires every alarm that is due.
    pub fn fire_alarms(&self) {
        let now = self.0.now.get();
        let due: Vec<String> =
            self.0.alarms.borrow().iter().filter(|(_, at)| **at <= now).map(|(run, _)| run.clone()).collect();
        for run in due {
            self.0.alarms.borrow_mut().remove(&run);
            self.apply_effects(&run);
        }
    }

    /// Forgets what the objects of destinations hold in memory, as an eviction does. What is under way in them goes on,
    /// which is worse than in the platform.
    pub fn evict(&self) {
        for object in self.0.destinations.borrow_mut().values_mut() {
            *object = Rc::new((object.0.clone(), SchemaLock::default()));
        }
    }

    fn apply_effects(&self, run_id: &str) {
        let Some(sql) = self.0.syncs.borrow().get(run_id).cloned() else { return };
        let effects = Sync::new(&*sql).unwrap().effects(self.0.now.get()).unwrap();
        if effects.purge {
            self.0.syncs.borrow_mut().remove(run_id);
            return;
        }
        if let Some(at) = effects.alarm_at {
            self.0.alarms.borrow_mut().insert(run_id.to_owned(), at);
        }
        for _ in 0..effects.wake {
            self.0.queue.borrow_mut().push(Message::Work { run_id: run_id.to_owned() });
        }
    }
}

#[async_trait(?Send)]
impl Actors for World {
    async fn connector(&self, id: &str, request: ConnectorRequest) -> Result<ConnectorReply> {
        Border(false).await;
        let sql = self
            .0
            .connectors
            .borrow_mut()
            .entry(id.to_owned())
            .or_insert_with(|| Rc::new(MemoryLocalSql::reused("connector")))
            .clone();
        let reply = Connector::new(&*sql)?.handle(request, self.0.now.get());
        Border(false).await;
        reply
    }

    async fn sync(&self, run_id: &str, request: SyncRequest) -> Result<SyncReply> {
        Border(false).await;
        let sql = self
            .0
            .syncs
            .borrow_mut()
            .entry(run_id.to_owned())
            .or_insert_with(|| Rc::new(MemoryLocalSql::reused("sync")))
            .clone();
        let reply = Sync::new(&*sql)?.handle(request, self.0.now.get());
        self.apply_effects(run_id);
        Border(false).await;
        reply
    }

    async fn destination(&self, id: &str, request: DestinationRequest) -> Result<DestinationReply> {
        Border(false).await;
        let object = self
            .0
            .destinations
            .borrow_mut()
            .entry(id.to_owned())
            .or_insert_with(|| Rc::new((MemoryLocalSql::reused("destination"), SchemaLock::default())))
            .clone();
        let tables = Tables::new(&object.0)?;
        let reply = match request {
            DestinationRequest::Prepare { destination_id, load, since } => {
                let control = self.control();
                let record = control.destination(&destination_id).await?;
                let record = record.ok_or_else(|| Error::internal("no such destination"))?;
                let ports = self.ports();
                let destination = self.0.registry.destination(&record, &ports)?;
                let destination = destination.as_ref();
                let (table, change) =
                    tables.prepare(&object.1, destination, *load, since, &control, &ports).await?;
                DestinationReply::Prepared { table, change }
            }
            DestinationRequest::DropColumns { destination_id, load, columns } => {
                let control = self.control();
                let record = control.destination(&destination_id).await?;
                let record = record.ok_or_else(|| Error::internal("no such destination"))?;
                let destination = self.0.registry.destination(&record, &self.ports())?;
                let dropped =
                    tables.drop_columns(&object.1, destination.as_ref(), &load, &columns, &control).await?;
                DestinationReply::Dropped { dropped }
            }
            DestinationRequest::Current { tables: wanted } => {
                DestinationReply::Current { tables: tables.current(&wanted)? }
            }
            DestinationRequest::History { schema, table } => {
                DestinationReply::History { versions: tables.history(&schema, &table)? }
            }
            DestinationRequest::Forget => {
                tables.forget()?;
                DestinationReply::Done
            }
        };
        Border(false).await;
        Ok(reply)
    }
}

#[async_trait(?Send)]
impl Outbox for World {
    async fn send(&self, messages: &[Message]) -> Result<()> {
        Border(false).await;
        self.0.queue.borrow_mut().extend(messages.iter().cloned());
        Border(false).await;
        Ok(())
    }
}

#[async_trait(?Send)]
impl Faults for World {
    async fn reach(&self, point: FaultPoint, _: &str) -> Result<()> {
        Border(false).await;
        self.0.reached.borrow_mut().insert(point);
        match self.0.trap.get() {
            Some((armed, trap)) if armed == point => {
                self.0.trap.set(None);
                if trap == Trap::Fail {
                    return Err(Error::new(ErrorKind::DestinationUnavailable, "a trap"));
                }
                self.0.died.set(true);
                std::future::pending().await
            }
            _ => Ok(()),
        }
    }

    /// A quarter of a ledger's rows, so that its re-syncs in R2 take every kind of step.
    fn key_budget(&self) -> Option<usize> {
        Some(6)
    }
}

/// Time and randomness of a world.
struct Outside {
    now: Rc<Cell<i64>>,
    seed: Rc<Cell<u64>>,
}

impl Clock for Outside {
    fn now_micros(&self) -> i64 {
        self.now.get()
    }
}

impl Random for Outside {
    fn fill(&self, buffer: &mut [u8]) -> Result<()> {
        for byte in buffer {
            let next = self
                .seed
                .get()
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            self.seed.set(next);
            *byte = (next >> 56) as u8;
        }
        Ok(())
    }
}

impl Clock for World {
    fn now_micros(&self) -> i64 {
        self.0.now.get()
    }
}

impl Log for World {
    fn line(&self, _: bool, json: &str) {
        self.0.log.borrow_mut().push(json.to_owned());
    }
}

impl Random for World {
    fn fill(&self, buffer: &mut [u8]) -> Result<()> {
        Outside { now: self.0.now.clone(), seed: self.0.seed.clone() }.fill(buffer)
    }
}

#[async_trait(?Send)]
impl Timer for World {
    /// Long sleeps last until the clock was set on; short ones, between two looks at something, are a border.
    async fn sleep_ms(&self, ms: u64) {
        let until = self.0.now.get() + ms as i64 * 1_000;
        Border(false).await;
        while ms > 2_000 && self.0.now.get() < until {
            Border(false).await;
        }
    }
}

#[async_trait(?Send)]
impl Tcp for World {
    async fn connect(&self, _: &str, _: u16, _: TlsMode) -> Result<Box<dyn TcpStream>> {
        panic!("the model has no network")
    }
}

#[async_trait(?Send)]
impl Http for World {
    async fn send(&self, _: HttpRequest) -> Result<HttpResponse> {
        panic!("the model has no network")
    }
}

impl Bindings for World {
    fn database(&self, _: &str) -> Result<Rc<dyn SqlDatabase>> {
        Ok(Rc::new(Bordered(self.0.analytics.clone())))
    }

    fn bucket(&self, _: &str) -> Result<Rc<dyn ObjectStore>> {
        Ok(self.0.lake.clone())
    }

    fn hyperdrive(&self, _: &str) -> Result<Secret> {
        panic!("the model has no Hyperdrive")
    }
}

/// A database beyond a border: the batch happens whole, but its caller may die before or after.
struct Bordered(Rc<SqliteDatabase>);

#[async_trait(?Send)]
impl SqlDatabase for Bordered {
    async fn batch(&self, statements: Vec<Statement>) -> Result<Vec<QueryResult>> {
        Border(false).await;
        let results = self.0.batch(statements).await;
        Border(false).await;
        results
    }
}
