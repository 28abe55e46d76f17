//! A whole deployment in memory, under a scheduler that the test drives: Durable Objects, queue, alarms, clock, and a
//! source whose transactions the test writes. Every call across a border is a point where a worker can be paused for
//! as long as the test likes, or killed for good.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use async_trait::async_trait;
use fivetran_do::control::ControlPlane;
use fivetran_do::core::Result;
use fivetran_do::core::redact::Secret;
use fivetran_do::engine::connector::Connector;
use fivetran_do::engine::destination::{SchemaLock, Tables};
use fivetran_do::engine::protocol::*;
use fivetran_do::engine::sync::Sync;
use fivetran_do::engine::{Actors, Engine, Outbox, Registry};
use fivetran_do::ports::*;

use super::sqlite::{MemoryLocalSql, SqliteDatabase};

/// Everything that survives a crash.
pub struct Inner {
    pub now: Cell<i64>,
    pub connectors: RefCell<BTreeMap<String, Rc<MemoryLocalSql>>>,
    pub syncs: RefCell<BTreeMap<String, Rc<MemoryLocalSql>>>,
    pub destinations: RefCell<BTreeMap<String, Rc<(MemoryLocalSql, SchemaLock)>>>,
    pub alarms: RefCell<BTreeMap<String, i64>>,
    pub queue: RefCell<Vec<Message>>,
    pub control: Rc<SqliteDatabase>,
    pub analytics: Rc<SqliteDatabase>,
    pub lake: Rc<super::objects::MemoryBucket>,
    pub registry: Registry,
    pub log: RefCell<Vec<String>>,
    seed: Cell<u64>,
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

impl World {
    pub fn new(registry: Registry) -> Self {
        let control = SqliteDatabase::new();
        control.with(|connection| connection.execute_batch(fivetran_do::control::SCHEMA)).unwrap();
        Self(Rc::new(Inner {
            now: Cell::new(1_800_000_000_000_000),
            connectors: RefCell::default(),
            syncs: RefCell::default(),
            destinations: RefCell::default(),
            alarms: RefCell::default(),
            queue: RefCell::default(),
            control: Rc::new(control),
            analytics: Rc::new(SqliteDatabase::with_d1_limits()),
            lake: Rc::new(super::objects::MemoryBucket::default()),
            registry,
            log: RefCell::default(),
            seed: Cell::new(1),
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
            bindings: world,
        }
    }

    pub fn control(&self) -> ControlPlane {
        let keys = Secret::new(format!("k1:{}", "A".repeat(43) + "="));
        let db = Rc::new(Bordered(self.0.control.clone()));
        ControlPlane::new(db, &keys, Rc::new(self.clone()), Rc::new(self.clone())).unwrap()
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
            .or_insert_with(|| Rc::new(MemoryLocalSql::new()))
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
            .or_insert_with(|| Rc::new(MemoryLocalSql::new()))
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
            .or_insert_with(|| Rc::new((MemoryLocalSql::new(), SchemaLock::default())))
            .clone();
        let tables = Tables::new(&object.0)?;
        let reply = match request {
            DestinationRequest::Prepare { destination_id, load } => {
                let record = self.control().destination(&destination_id).await?.unwrap();
                let destination = self.0.registry.destination(&record, &self.ports())?;
                let table = tables.prepare(&object.1, destination.as_ref(), *load, self.0.now.get()).await?;
                DestinationReply::Prepared { table }
            }
            DestinationRequest::Current => DestinationReply::Current { tables: tables.current()? },
            DestinationRequest::History { schema, table } => {
                DestinationReply::History { versions: tables.history(&schema, &table)? }
            }
            DestinationRequest::Forget => tables.forget().map(|()| DestinationReply::Done)?,
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
        for byte in buffer {
            let next = self
                .0
                .seed
                .get()
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            self.0.seed.set(next);
            *byte = (next >> 56) as u8;
        }
        Ok(())
    }
}

#[async_trait(?Send)]
impl Timer for World {
    async fn sleep_ms(&self, _: u64) {
        Border(false).await;
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
