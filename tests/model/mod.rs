//! One connection in a world that a test drives event by event.

#![allow(unreachable_pub)]

mod checks;
pub mod event;
mod rows;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::OnceLock;

use fivetran_do::control::{DueChange, SyncStateChange};
use fivetran_do::core::ErrorKind;
use fivetran_do::core::catalog::StreamName;
use fivetran_do::core::fault_point::FaultPoint;
use fivetran_do::core::settings::{StreamSettings, TableSyncMode};
use fivetran_do::destinations::registry::{DESTINATIONS, DestinationType};
use fivetran_do::engine::protocol::Message;
use fivetran_do::engine::{Registry, RemoteSyncs, StartRequest, SyncControl, Trigger};
use proptest::test_runner::TestCaseError;
use serde_json::json;

use crate::support::deployment::{define_connection, define_destination};
use crate::support::ledger::{self, Ledger};
use crate::support::warehouse::{self, Warehouse};
use crate::support::world::{Step, Worker, World, finish};
use event::Event;

static CONNECTORS: [fivetran_do::connectors::registry::ConnectorType; 1] = [ledger::CONNECTOR];

/// More borders than any single call crosses.
const PATIENCE: usize = 100_000;

/// Borders after which a worker is taken to be waiting for somebody else.
const LONG: usize = 2_000;

/// Rounds of calm after which people ask again: half an hour.
const PEOPLE_WAIT: usize = 100;

const HOUR: i64 = 3_600 * 1_000_000;

/// A day and an hour: longer than a finished run is kept.
const DAY: i64 = 25 * HOUR;

/// The product's destinations and the one in memory.
fn destinations() -> &'static [DestinationType] {
    static ALL: OnceLock<Vec<DestinationType>> = OnceLock::new();
    ALL.get_or_init(|| {
        let copy = |one: &DestinationType| DestinationType {
            id: one.id,
            name: one.name,
            config_schema: one.config_schema,
            open: one.open,
        };
        DESTINATIONS.iter().chain([&warehouse::DESTINATION]).map(copy).collect()
    })
}

/// A connection whose table is in that sync mode; gives its id.
async fn define(world: &World, group: &str, mode: TableSyncMode) -> String {
    let id = define_connection(world, group).await;
    let settings = StreamSettings { sync_mode: Some(mode), ..StreamSettings::default() };
    let streams = BTreeMap::from([(StreamName::new("public", "ledger"), settings)]);
    world.control().save_stream_settings(&id, &BTreeMap::new(), &streams).await.unwrap();
    id
}

pub struct Model {
    pub world: World,
    pub ledger: Rc<RefCell<Ledger>>,
    pub warehouse: Rc<RefCell<Warehouse>>,
    service: &'static str,
    /// How the table keeps rows that change or vanish.
    mode: TableSyncMode,
    workers: Vec<Worker>,
    /// Messages held back, with the time until when.
    held: Vec<(i64, Message)>,
    group: String,
    pub connection: String,
    /// Connections that were here before this one.
    gone: Vec<String>,
    /// Those whose deletion came to its end.
    answered: Rc<RefCell<BTreeSet<String>>>,
    /// The cursor and the number of writes when they were last compared with the destination.
    compared: (String, u64),
    /// Runs that are over.
    over: RefCell<BTreeSet<String>>,
    /// What people were told who could have done nothing about it.
    excuses: Rc<RefCell<Vec<String>>>,
}

impl Model {
    pub fn new(service: &'static str) -> Self {
        Self::keeping(service, TableSyncMode::SoftDelete)
    }

    /// The same, its table in that sync mode.
    pub fn keeping(service: &'static str, mode: TableSyncMode) -> Self {
        let ledger = ledger::install();
        let warehouse = warehouse::install();
        let world = World::new(Registry { connectors: &CONNECTORS, destinations: destinations() });
        let group = finish(define_destination(&world, service), PATIENCE);
        let connection = finish(define(&world, &group, mode), PATIENCE);
        Self {
            world,
            ledger,
            warehouse,
            service,
            mode,
            workers: Vec::new(),
            held: Vec::new(),
            group,
            connection,
            gone: Vec::new(),
            answered: Rc::default(),
            compared: Default::default(),
            over: RefCell::default(),
            excuses: Rc::default(),
        }
    }

    /// What a person asked for. Whatever else is going on, it ends well or in an error that says what to do.
    fn ask(&mut self, request: impl Future<Output = fivetran_do::core::Result<()>> + 'static) {
        let excuses = self.excuses.clone();
        self.workers.push(Box::pin(async move {
            let answer = request.await;
            if let Err(error) = &answer
                && error.kind() == ErrorKind::Internal
            {
                excuses.borrow_mut().push(error.chain());
            }
            answer
        }));
    }

    /// Lets one event happen, and checks what must hold at any time.
    pub fn apply(&mut self, event: Event) -> Result<(), TestCaseError> {
        self.happen(event);
        self.replace_deleted();
        self.check_at_any_time()
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Commit(rows) => self.commit(&rows),
            Event::Open(id, value) => {
                let mut ledger = self.ledger.borrow_mut();
                let transaction = ledger.begin();
                ledger.write(transaction, id, format!("v{value}"));
            }
            Event::CommitLate => {
                let mut ledger = self.ledger.borrow_mut();
                if let Some(oldest) = ledger.open.keys().next().copied() {
                    ledger.commit(oldest);
                }
            }
            Event::DeleteRow(id) => self.ledger.borrow_mut().delete(id),
            Event::SourceFails(times) => self.ledger.borrow_mut().failures = u32::from(times),
            Event::Reshape(wide) => self.ledger.borrow_mut().wide = wide,
            Event::Deliver(which) => self.deliver(which, true),
            Event::DeliverTwice(which) => self.deliver(which, false),
            Event::Lose(which) => drop(self.take_message(which)),
            Event::Delay(which, seconds) => {
                let until = self.world.0.now.get() + i64::from(seconds) * 1_000_000;
                let message = self.take_message(which);
                self.held.extend(message.map(|message| (until, message)));
            }
            Event::Work(which, borders) => self.work(which, borders.into()),
            Event::Kill(which) => {
                if !self.workers.is_empty() {
                    let index = which % self.workers.len();
                    drop(self.workers.swap_remove(index));
                }
            }
            Event::Trap(point, trap) => self.world.0.trap.set(Some((point, trap))),
            Event::Restart => {
                self.workers.clear();
                self.held.clear();
                self.world.0.queue.borrow_mut().clear();
                self.world.evict();
            }
            Event::Evict => self.world.evict(),
            Event::Seconds(seconds) => self.pass(i64::from(seconds) * 1_000_000),
            Event::Day => self.pass(DAY),
            Event::ClockBack(seconds) => {
                let back = i64::from(seconds) * 1_000_000;
                self.world.advance(-back);
                // A delay is a span of time, whatever the clock shows.
                self.held.iter_mut().for_each(|(until, _)| *until -= back);
            }
            Event::Sweep => self.workers.push(self.world.sweeper()),
            Event::Start => self.request(Trigger::Manual, false),
            Event::StartTwice => {
                self.request(Trigger::Manual, false);
                self.request(Trigger::Manual, false);
            }
            Event::Force => self.request(Trigger::Manual, true),
            Event::Resync => self.request(Trigger::Resync, true),
            Event::Pause => self.pause(true),
            Event::Unpause => self.pause(false),
            Event::Edit => self.edit(),
            Event::EditSettings => self.edit_settings(),
            Event::DeleteConnection => self.delete_connection(),
        }
    }

    pub fn commit(&self, rows: &[(i64, u8)]) {
        let mut ledger = self.ledger.borrow_mut();
        let transaction = ledger.begin();
        for (id, value) in rows {
            ledger.write(transaction, *id, format!("v{value}"));
        }
        ledger.commit(transaction);
    }

    fn pass(&mut self, micros: i64) {
        self.world.advance(micros);
        self.world.fire_alarms();
        let now = self.world.0.now.get();
        for (until, message) in std::mem::take(&mut self.held) {
            if until <= now {
                self.world.0.queue.borrow_mut().push(message);
            } else {
                self.held.push((until, message));
            }
        }
    }

    fn take_message(&self, which: usize) -> Option<Message> {
        let mut queue = self.world.0.queue.borrow_mut();
        if queue.is_empty() {
            return None;
        }
        let index = which % queue.len();
        Some(queue.remove(index))
    }

    fn deliver(&mut self, which: usize, once: bool) {
        let Some(message) = self.take_message(which) else { return };
        if !once {
            self.world.0.queue.borrow_mut().push(message.clone());
        }
        self.workers.push(self.world.worker(message));
    }

    fn work(&mut self, which: usize, borders: usize) {
        if self.workers.is_empty() {
            return;
        }
        let index = which % self.workers.len();
        for _ in 0..borders {
            if !matches!(self.world.step(&mut self.workers[index]), Step::Waits) {
                drop(self.workers.swap_remove(index));
                return;
            }
        }
    }

    pub fn request(&mut self, trigger: Trigger, force: bool) {
        let engine = self.world.engine();
        let connection = self.connection.clone();
        let request = StartRequest { trigger, due_at: None, force, scope: None };
        self.ask(async move {
            // As the API: it starts nothing that is switched off.
            if engine.control.connection(&connection).await?.is_none_or(|found| found.paused) {
                return Ok(());
            }
            RemoteSyncs::new(engine).start(&connection, request).await.map(|_| ())
        });
    }

    /// As `PATCH paused` does it: stored first, then the live run is stopped.
    fn pause(&mut self, paused: bool) {
        let engine = self.world.engine();
        let connection = self.connection.clone();
        let due = DueChange::Set((!paused).then(|| self.world.0.now.get()));
        self.ask(async move {
            let Some(mut found) = engine.control.connection(&connection).await? else { return Ok(()) };
            found.paused = paused;
            let change = if paused { SyncStateChange::Pause } else { SyncStateChange::Resume };
            let saved = engine.control.save_connection(&found, None, due, change, &[]).await?;
            if saved && paused { RemoteSyncs::new(engine).cancel(&connection).await } else { Ok(()) }
        });
    }

    /// As `PATCH config` does it: stored first, then the live run starts over.
    fn edit(&mut self) {
        let engine = self.world.engine();
        let connection = self.connection.clone();
        self.ask(async move {
            let Some(found) = engine.control.connection(&connection).await? else { return Ok(()) };
            let (due, state) = (DueChange::Keep, SyncStateChange::Keep);
            let saved = engine.control.save_connection(&found, Some(&json!({})), due, state, &[]).await?;
            engine.ports.reach(FaultPoint::AfterEdit, &connection).await?;
            if saved && !found.paused { RemoteSyncs::new(engine).restart(&connection).await } else { Ok(()) }
        });
    }

    /// As `PATCH schemas` does it: stored first, then the live run starts over.
    fn edit_settings(&mut self) {
        let engine = self.world.engine();
        let connection = self.connection.clone();
        self.ask(async move {
            let Some(found) = engine.control.connection(&connection).await? else { return Ok(()) };
            let (schemas, streams) = (BTreeMap::new(), BTreeMap::new());
            engine.control.edit_stream_settings(&connection, &schemas, &streams, None).await?;
            engine.ports.reach(FaultPoint::AfterEdit, &connection).await?;
            if found.paused { Ok(()) } else { RemoteSyncs::new(engine).restart(&connection).await }
        });
    }

    /// As `DELETE` does it.
    fn delete_connection(&mut self) {
        let engine = self.world.engine();
        let (connection, answered) = (self.connection.clone(), self.answered.clone());
        self.ask(async move {
            let syncs = RemoteSyncs::new(engine.clone());
            if engine.control.connection(&connection).await?.is_some() {
                syncs.cancel(&connection).await?;
                engine.control.delete_connection(&connection).await?;
                engine.ports.reach(FaultPoint::AfterDelete, &connection).await?;
            }
            syncs.forget(&connection).await?;
            answered.borrow_mut().insert(connection);
            Ok(())
        });
    }

    /// A connection of the same name takes the place of one that was deleted, and its tables over.
    fn replace_deleted(&mut self) {
        if !self.has_definition(&self.connection) {
            // Nobody is so fast that two connections start a run in the same microsecond.
            self.world.advance(1);
            let next = finish(define(&self.world, &self.group, self.mode), PATIENCE);
            self.gone.push(std::mem::replace(&mut self.connection, next));
        }
    }

    /// Lets everything that is under way come to its end, with no more bad luck.
    pub fn calm_down(&mut self) -> Result<(), TestCaseError> {
        self.ledger.borrow_mut().failures = 0;
        self.world.0.trap.set(None);
        for round in 0..400 {
            if round == PEOPLE_WAIT {
                self.ask_again();
            }
            while let Some(message) = self.take_message(0) {
                self.workers.push(self.world.worker(message));
            }
            for mut worker in std::mem::take(&mut self.workers) {
                if !self.run_long(&mut worker) {
                    self.workers.push(worker);
                }
                self.check_at_any_time()?;
            }
            self.replace_deleted();
            let quiet = self.workers.is_empty() && self.held.is_empty();
            // History may call a run running whose beginning was written after its end; the sweep settles that.
            let idle = self.world.0.queue.borrow().is_empty() && self.running() == 0;
            let open = self.open_runs();
            if quiet && idle && open.is_empty() {
                return Ok(());
            }
            // A run that only does not know of its own end, or history not of the run, waits for the alarm, which may
            // follow a clock that was hours ahead.
            let asleep = quiet && idle && round > PEOPLE_WAIT && open.iter().all(|(_, orders)| *orders == 0);
            self.pass(if asleep { HOUR } else { 20_000_000 });
            let _ = finish(self.world.engine().sweep(), PATIENCE);
        }
        Err(TestCaseError::fail(format!("a run is stuck: {:#?}", self.progress())))
    }

    /// People who wait for too long ask again: for a sync, and for deletions that were not answered. Nobody else knows of a run
    /// whose opening died before history had it, while its own alarm waits for a clock that was hours ahead.
    fn ask_again(&mut self) {
        self.request(Trigger::Manual, false);
        let unanswered = self.gone.iter().filter(|gone| !self.answered.borrow().contains(*gone));
        for gone in unanswered.cloned().collect::<Vec<_>>() {
            let syncs = RemoteSyncs::new(self.world.engine());
            self.ask(async move { syncs.forget(&gone).await });
        }
    }

    /// True when the worker came to its end.
    fn run_long(&self, worker: &mut Worker) -> bool {
        (0..LONG).any(|_| !matches!(self.world.step(worker), Step::Waits))
    }

    /// Runs that history calls running.
    fn running(&self) -> i64 {
        self.count("SELECT COUNT(*) FROM sync_runs WHERE state = 'RUNNING'")
    }

    fn progress(&self) -> Option<fivetran_do::engine::RunProgress> {
        finish(RemoteSyncs::new(self.world.engine()).progress(&self.connection), PATIENCE).unwrap()
    }

    /// One last sync in peace; it must succeed.
    pub fn last_sync(&mut self, trigger: Trigger) -> Result<(), TestCaseError> {
        let mut ledger = self.ledger.borrow_mut();
        let open: Vec<u64> = ledger.open.keys().copied().collect();
        open.into_iter().for_each(|transaction| ledger.commit(transaction));
        drop(ledger);
        if self.count("SELECT COUNT(*) FROM connections WHERE paused = 1") > 0 {
            self.pause(false);
            self.calm_down()?;
        }
        self.request(trigger, trigger == Trigger::Resync);
        self.calm_down()?;
        let progress = self.progress().unwrap();
        if progress.state != "SUCCESSFUL" {
            return Err(TestCaseError::fail(format!("the last sync failed: {progress:#?}")));
        }
        self.check_history()
    }

    pub fn source_rows(&self) -> BTreeMap<i64, String> {
        self.ledger.borrow().rows.iter().map(|(id, (value, _))| (*id, value.clone())).collect()
    }
}
