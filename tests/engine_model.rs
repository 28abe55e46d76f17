//! The engine under every kind of bad luck: random sequences of deliveries, duplicates, losses, crashes, lease expiry,
//! clock jumps, source transactions and schema changes, against the real state machines, the real D1 and R2
//! destinations and in-memory platforms. After it all calms down, the destination must equal the source.

#![cfg(not(target_arch = "wasm32"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod support;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use fivetran_do::destinations::registry::DESTINATIONS;
use fivetran_do::engine::protocol::Message;
use fivetran_do::engine::{Registry, RemoteSyncs, StartRequest, SyncControl, Trigger};
use fivetran_do::ports::{SqlDatabase, Statement};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use proptest::prelude::*;
use serde_json::json;
use support::deployment::define;
use support::ledger::{self, IDS, Ledger};
use support::world::{Worker, World, finish, step};

static CONNECTORS: [fivetran_do::connectors::registry::ConnectorType; 1] = [ledger::CONNECTOR];

const MINUTE: i64 = 60_000_000;

/// More borders than any single call crosses.
const PATIENCE: usize = 100_000;

#[derive(Clone, Debug)]
enum Event {
    /// Rows are written and committed at once.
    Commit(Vec<(i64, u8)>),
    /// A transaction writes, and stays open.
    Open(i64, u8),
    /// The oldest open transaction commits.
    CommitLate,
    Delete(i64),
    /// The source breaks in the middle of the next reads.
    SourceFails(u8),
    /// A column appears.
    Widen,
    /// A queue message reaches a worker.
    Deliver(usize),
    /// A queue message reaches a worker and stays on the queue.
    DeliverTwice(usize),
    Lose(usize),
    /// A worker gets that far.
    Work(usize, u8),
    /// A worker dies where it stands.
    Kill(usize),
    /// Time passes; alarms fire.
    Seconds(u16),
    ClockBack(u8),
    Sweep,
    Start,
    Force,
    Resync,
}

fn event() -> impl Strategy<Value = Event> {
    let id = 0..IDS;
    prop_oneof![
        4 => prop::collection::vec((id.clone(), any::<u8>()), 1..4).prop_map(Event::Commit),
        2 => (id.clone(), any::<u8>()).prop_map(|(id, value)| Event::Open(id, value)),
        2 => Just(Event::CommitLate),
        1 => id.prop_map(Event::Delete),
        1 => (1..4_u8).prop_map(Event::SourceFails),
        1 => Just(Event::Widen),
        8 => any::<usize>().prop_map(Event::Deliver),
        2 => any::<usize>().prop_map(Event::DeliverTwice),
        1 => any::<usize>().prop_map(Event::Lose),
        16 => (any::<usize>(), 1..40_u8).prop_map(|(worker, borders)| Event::Work(worker, borders)),
        2 => any::<usize>().prop_map(Event::Kill),
        4 => (1..200_u16).prop_map(Event::Seconds),
        1 => (1..60_u8).prop_map(Event::ClockBack),
        2 => Just(Event::Sweep),
        2 => Just(Event::Start),
        1 => Just(Event::Force),
        1 => Just(Event::Resync),
    ]
}

struct Model {
    world: World,
    ledger: Rc<RefCell<Ledger>>,
    workers: Vec<Worker>,
    connection: String,
}

impl Model {
    fn new(destination: &str) -> Self {
        let ledger = ledger::install();
        let world = World::new(Registry { connectors: &CONNECTORS, destinations: DESTINATIONS });
        let connection = finish(define(&world, destination), PATIENCE);
        Self { world, ledger, workers: Vec::new(), connection }
    }

    fn apply(&mut self, event: Event) {
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
            Event::Delete(id) => self.ledger.borrow_mut().delete(id),
            Event::SourceFails(times) => self.ledger.borrow_mut().failures = u32::from(times),
            Event::Widen => self.ledger.borrow_mut().wide = true,
            Event::Deliver(which) => self.deliver(which, true),
            Event::DeliverTwice(which) => self.deliver(which, false),
            Event::Lose(which) => drop(self.take_message(which)),
            Event::Work(which, borders) => self.work(which, borders),
            Event::Kill(which) => {
                if !self.workers.is_empty() {
                    let index = which % self.workers.len();
                    drop(self.workers.swap_remove(index));
                }
            }
            Event::Seconds(seconds) => {
                self.world.advance(i64::from(seconds) * 1_000_000);
                self.world.fire_alarms();
            }
            Event::ClockBack(seconds) => self.world.advance(-i64::from(seconds) * 1_000_000),
            Event::Sweep => self.workers.push(self.world.sweeper()),
            Event::Start => self.request(Trigger::Manual, false),
            Event::Force => self.request(Trigger::Manual, true),
            Event::Resync => self.request(Trigger::Resync, true),
        }
    }

    fn commit(&self, rows: &[(i64, u8)]) {
        let mut ledger = self.ledger.borrow_mut();
        let transaction = ledger.begin();
        for (id, value) in rows {
            ledger.write(transaction, *id, format!("v{value}"));
        }
        ledger.commit(transaction);
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

    fn work(&mut self, which: usize, borders: u8) {
        if self.workers.is_empty() {
            return;
        }
        let index = which % self.workers.len();
        for _ in 0..borders {
            if step(&mut self.workers[index]).is_some() {
                drop(self.workers.swap_remove(index));
                return;
            }
        }
    }

    fn request(&mut self, trigger: Trigger, force: bool) {
        let syncs = RemoteSyncs::new(self.world.engine());
        let connection = self.connection.clone();
        let request = StartRequest { trigger, due_at: None, force, scope: None };
        self.workers.push(Box::pin(async move { syncs.start(&connection, request).await.map(|_| ()) }));
    }

    /// Lets everything that is under way come to its end, with no more bad luck.
    fn calm_down(&mut self) {
        self.ledger.borrow_mut().failures = 0;
        for _ in 0..400 {
            while let Some(message) = self.take_message(0) {
                self.workers.push(self.world.worker(message));
            }
            for mut worker in std::mem::take(&mut self.workers) {
                let mut borders = 0;
                while step(&mut worker).is_none() && borders < 2_000 {
                    borders += 1;
                }
                if borders == 2_000 {
                    self.workers.push(worker);
                }
            }
            let live = finish(self.live(), PATIENCE);
            if !live && self.workers.is_empty() && self.world.0.queue.borrow().is_empty() {
                return;
            }
            self.world.advance(20_000_000);
            self.world.fire_alarms();
            let _ = finish(self.world.engine().sweep(), PATIENCE);
        }
        panic!("a run is stuck: {:?}", finish(self.progress(), PATIENCE));
    }

    async fn live(&self) -> bool {
        let progress = RemoteSyncs::new(self.world.engine()).progress(&self.connection).await.unwrap();
        let known = self.world.control().connection(&self.connection).await.unwrap().unwrap();
        progress.is_some_and(|progress| progress.state == "RUNNING")
            || known.sync_state == fivetran_do::control::SyncState::Syncing
    }

    async fn progress(&self) -> String {
        format!("{:#?}", RemoteSyncs::new(self.world.engine()).progress(&self.connection).await)
    }

    /// One last sync in peace; it must succeed.
    fn last_sync(&mut self, trigger: Trigger) {
        let mut ledger = self.ledger.borrow_mut();
        let open: Vec<u64> = ledger.open.keys().copied().collect();
        open.into_iter().for_each(|transaction| ledger.commit(transaction));
        drop(ledger);
        self.request(trigger, trigger == Trigger::Resync);
        self.calm_down();
        let progress = finish(RemoteSyncs::new(self.world.engine()).progress(&self.connection), PATIENCE)
            .unwrap()
            .unwrap();
        assert_eq!(progress.state, "SUCCESSFUL", "{progress:#?}");
        for table in &progress.tables {
            assert!(table.counts.balanced(), "I5: {table:#?}");
        }
    }

    fn source_rows(&self) -> BTreeMap<i64, String> {
        self.ledger.borrow().rows.iter().map(|(id, (value, _))| (*id, value.clone())).collect()
    }

    /// id -> (value, deleted)
    fn d1_rows(&self) -> BTreeMap<i64, (String, bool)> {
        let sql = "SELECT id, value, _fivetran_deleted AS gone FROM model_public__ledger";
        let result = finish(self.world.0.analytics.query(Statement::new(sql, vec![])), PATIENCE).unwrap();
        let rows: Vec<_> = result
            .rows
            .iter()
            .map(|row| {
                (
                    row["id"].as_i64().unwrap(),
                    (row["value"].as_str().unwrap().to_owned(), row["gone"] == json!(1)),
                )
            })
            .collect();
        let count = rows.len();
        let by_id: BTreeMap<_, _> = rows.into_iter().collect();
        assert_eq!(by_id.len(), count, "a key stands twice");
        by_id
    }
}

/// id -> (value, deleted), by the documented rule: the newest version of a key, in part order, then row order.
fn r2_rows(bucket: &support::objects::MemoryBucket) -> BTreeMap<i64, (String, bool)> {
    let manifest: serde_json::Value =
        serde_json::from_slice(&bucket.body("p/model_public/ledger/manifest.json").unwrap()).unwrap();
    let mut newest = BTreeMap::new();
    for part in manifest["parts"].as_array().unwrap() {
        let key = format!("p/model_public/ledger/{}", part["path"].as_str().unwrap());
        let reader =
            ParquetRecordBatchReaderBuilder::try_new(bucket.body(&key).unwrap()).unwrap().build().unwrap();
        for batch in reader.map(|batch| batch.unwrap()) {
            let ids = batch.column_by_name("id").unwrap().as_primitive::<Int64Type>();
            let values = batch.column_by_name("value").unwrap().as_string::<i32>();
            let gone = batch.column_by_name("_fivetran_deleted").unwrap().as_boolean();
            for row in 0..batch.num_rows() {
                newest.insert(ids.value(row), (values.value(row).to_owned(), gone.value(row)));
            }
        }
    }
    newest
}

fn cases() -> u32 {
    std::env::var("MODEL_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(256)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), max_shrink_iters: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn i1_i2_i3_i4_whatever_happens_to_messages_and_workers_d1_equals_the_source(
        events in prop::collection::vec(event(), 1..80),
        resync in any::<bool>(),
    ) {
        let model = survive("d1", events, resync);
        check(&model.source_rows(), &model.d1_rows(), resync)?;
    }

    #[test]
    fn i1_i2_i3_i4_whatever_happens_to_messages_and_workers_r2_equals_the_source(
        events in prop::collection::vec(event(), 1..80),
        resync in any::<bool>(),
    ) {
        let model = survive("r2", events, resync);
        check(&model.source_rows(), &r2_rows(&model.world.0.lake), resync)?;
    }
}

/// Lives through the events, calms down and syncs once more in peace.
fn survive(destination: &str, events: Vec<Event>, resync: bool) -> Model {
    let mut model = Model::new(destination);
    events.into_iter().for_each(|event| model.apply(event));
    model.calm_down();
    model.last_sync(if resync { Trigger::Resync } else { Trigger::Manual });
    model
}

/// Every row of the source is there with its value; after a re-sync the vanished ones are marked, and no others.
fn check(
    source: &BTreeMap<i64, String>,
    there: &BTreeMap<i64, (String, bool)>,
    resync: bool,
) -> Result<(), TestCaseError> {
    for (id, value) in source {
        prop_assert_eq!(there.get(id), Some(&(value.clone(), false)), "row {} is lost or stale", id);
    }
    for (id, (_, gone)) in there {
        prop_assert!(!resync || *gone != source.contains_key(id), "row {} is wrongly marked", id);
    }
    Ok(())
}

#[test]
fn an_incremental_sync_moves_only_what_changed() {
    let mut model = Model::new("d1");
    model.commit(&(0..IDS).map(|id| (id, 1)).collect::<Vec<_>>());
    model.last_sync(Trigger::Manual);
    let before = model.ledger.borrow().handed_over;
    assert_eq!(before, IDS as u64);
    model.commit(&[(3, 9)]);
    model.last_sync(Trigger::Manual);
    assert_eq!(model.ledger.borrow().handed_over - before, 1);
}

#[test]
fn a_row_committed_late_by_an_old_transaction_is_not_lost() {
    let mut model = Model::new("d1");
    let late = model.ledger.borrow_mut().begin();
    model.ledger.borrow_mut().write(late, 1, "late".into());
    model.commit(&[(2, 1)]);
    model.world.advance(MINUTE);
    model.request(Trigger::Manual, false);
    model.calm_down();
    assert!(!model.d1_rows().contains_key(&1));
    model.ledger.borrow_mut().commit(late);
    model.last_sync(Trigger::Manual);
    assert_eq!(model.d1_rows()[&1], ("late".to_owned(), false));
}
