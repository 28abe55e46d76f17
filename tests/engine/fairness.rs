//! How connections share a source, an isolate and the queue's consumers: workers at every border, one after the other.

use std::cell::RefCell;
use std::future::Future as _;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Waker};

use crate::CONNECTORS;
use crate::support::world::{Worker, World, border, finish, step};
use crate::support::{crowd, ledger};
use async_trait::async_trait;
use fivetran_do::core::Result;
use fivetran_do::core::catalog::StreamName;
use fivetran_do::core::fault_point::FaultPoint;
use fivetran_do::core::limits::CONSUMER_BUDGET_MS;
use fivetran_do::destinations::registry::DESTINATIONS;
use fivetran_do::engine::protocol::{Message, SyncReply, SyncRequest, Task};
use fivetran_do::engine::reconcile::{ReconcileRequest, Reconciler};
use fivetran_do::engine::{Actors, Engine, Registry};
use fivetran_do::ports::{Faults, Ports};

const PATIENCE: usize = 100_000;

/// Enough borders for a worker to come to where it has to wait.
const A_WHILE: usize = 500;

/// Connections that are due, their starts on the queue, and who began to move a chunk, in order.
struct Crowd {
    world: World,
    movers: Rc<Movers>,
}

/// Notes the connection of every run that may write a chunk, the moment it may.
#[derive(Default)]
struct Movers(RefCell<Vec<String>>);

#[async_trait(?Send)]
impl Faults for Movers {
    async fn reach(&self, point: FaultPoint, id: &str) -> Result<()> {
        if point == FaultPoint::AfterClaim {
            self.0.borrow_mut().push(id.split('.').next().unwrap().to_owned());
        }
        border().await;
        Ok(())
    }
}

impl Crowd {
    fn of(connections: i64) -> Self {
        let ledger = ledger::install();
        let transaction = ledger.borrow_mut().begin();
        (0..ledger::IDS).for_each(|id| ledger.borrow_mut().write(transaction, id, "v".into()));
        ledger.borrow_mut().commit(transaction);
        let world = World::new(Registry { connectors: &CONNECTORS, destinations: DESTINATIONS });
        finish(crowd::define(&world, connections), PATIENCE);
        finish(world.engine().sweep(), PATIENCE).unwrap();
        Self { world, movers: Rc::default() }
    }

    fn worker(&self, message: Message) -> Worker {
        let engine = Rc::try_unwrap(self.world.engine()).unwrap_or_else(|_| panic!("the only one"));
        let ports = Ports { faults: Some(self.movers.clone()), ..self.world.ports() };
        let engine = Engine { ports, ..engine };
        Box::pin(async move { engine.consume(message).await })
    }

    fn moved(&self) -> Vec<String> {
        self.movers.0.borrow().clone()
    }
}

fn connection_of(message: &Message) -> String {
    match message {
        Message::Start { connection_id, .. } => connection_id.clone(),
        Message::Work { run_id } => run_id.split('.').next().unwrap().to_owned(),
        Message::Deliver => panic!("nobody asked to be told"),
    }
}

#[test]
fn who_wants_to_move_data_takes_turns_in_the_order_of_arrival() {
    let crowd = Crowd::of(3);
    let starts = crowd.world.0.queue.take();
    let ids: Vec<String> = starts.iter().map(connection_of).collect();
    let mut workers: Vec<Worker> = starts.into_iter().map(|start| crowd.worker(start)).collect();
    while crowd.moved().is_empty() {
        assert!(step(&mut workers[0]).is_none());
    }
    // The others come one after the other, and wait.
    for worker in &mut workers[1..] {
        (0..A_WHILE).for_each(|_| assert!(step(worker).is_none()));
    }
    assert_eq!(crowd.moved(), ids[..1], "one moves data at a time");
    let mut turn = 0;
    while !workers.is_empty() {
        turn = (turn + 1) % workers.len();
        if step(&mut workers[turn]).is_some_and(|ended| ended.is_ok()) {
            drop(workers.remove(turn));
        }
    }
    let moved = crowd.moved();
    // The first one, which has three more chunks, comes again after those who waited.
    assert_eq!(moved[..4], [&ids[..], &ids[..1]].concat(), "{moved:?}");
    assert_eq!(moved.len(), 3 * 4);
}

#[test]
fn a_run_whose_slice_of_time_is_over_queues_up_behind_the_others() {
    let crowd = Crowd::of(2);
    let first = crowd.world.0.queue.borrow_mut().remove(0);
    let id = connection_of(&first);
    let mut worker = crowd.worker(first);
    while crowd.moved().is_empty() {
        assert!(step(&mut worker).is_none());
    }
    let before = crowd.world.0.queue.borrow().clone();
    crowd.world.advance((CONSUMER_BUDGET_MS + 1) * 1_000);
    finish(worker, PATIENCE).unwrap();
    let queue = crowd.world.0.queue.borrow().clone();
    assert_eq!(crowd.moved(), std::slice::from_ref(&id), "it finishes its chunk and takes no other");
    assert_eq!(queue[..before.len()], before, "nobody lost a place");
    assert_ne!(connection_of(&queue[0]), id);
    let behind: Vec<String> = queue[before.len()..].iter().map(connection_of).collect();
    assert!(!behind.is_empty() && behind.iter().all(|connection| *connection == id), "{behind:?}");
}

#[test]
fn a_run_reads_its_source_over_two_connections_at_once_unless_told_otherwise() {
    let crowd = Crowd::of(1);
    let start = crowd.world.0.queue.borrow_mut().remove(0);
    let id = connection_of(&start);
    let mut worker = crowd.worker(start);
    while crowd.moved().is_empty() {
        assert!(step(&mut worker).is_none());
    }
    let lease = || finish(crowd.world.sync(&format!("{id}.1"), SyncRequest::Lease), PATIENCE).unwrap();
    // Three chunks are ready, and one is being read.
    let SyncReply::Leased { order, .. } = lease() else { panic!("a second one may read") };
    assert!(matches!(order.task, Task::Read { .. }));
    assert!(matches!(lease(), SyncReply::Idle), "a third one may not");
}

#[test]
fn a_comparison_whose_source_is_silent_for_minutes_keeps_its_turn() {
    let crowd = Crowd::of(2);
    let mut starts = crowd.world.0.queue.take();
    let compared = connection_of(&starts[0]);
    finish(crowd.worker(starts.remove(0)), PATIENCE).unwrap();
    let before = crowd.moved();

    let (control, ports) = (crowd.world.control(), crowd.world.ports());
    let connection = finish(control.connection(&compared), PATIENCE).unwrap().unwrap();
    let reconciler = Reconciler { control: &control, registry: crowd.world.0.registry, ports: &ports };
    let request = ReconcileRequest {
        stream: StreamName::new("public", "ledger"),
        ranges: 1,
        rows_per_range: 1_000,
        from: None,
    };
    ledger::current().borrow_mut().silent = true;
    let mut comparison = pin!(reconciler.reconcile(&connection, &request));
    let mut wait = || {
        for _ in 0..A_WHILE {
            let waiting = comparison.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            assert!(waiting.is_pending(), "its source says nothing");
        }
    };
    wait();
    let mut other = crowd.worker(starts.remove(0));
    // Two leases long.
    for _ in 0..6 {
        crowd.world.advance(30_000_000);
        wait();
        (0..A_WHILE).for_each(|_| assert!(step(&mut other).is_none()));
    }
    assert_eq!(crowd.moved(), before, "two moved data at once");

    ledger::current().borrow_mut().silent = false;
    assert!(finish(comparison, PATIENCE).unwrap().ranges.iter().all(|range| range.equal()));
    finish(other, PATIENCE).unwrap();
    assert!(crowd.moved().len() > before.len(), "now it is the other's turn");
}
