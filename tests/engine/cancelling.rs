//! A request that ends a run, and another worker that is at its end as well.

use std::cell::Cell;
use std::rc::Rc;

use crate::CONNECTORS;
use crate::support::deployment::define;
use crate::support::ledger;
use crate::support::world::{World, finish, step, vault_key};
use async_trait::async_trait;
use fivetran_do::control::ControlPlane;
use fivetran_do::control::resealing::ResealPosition;
use fivetran_do::core::Result;
use fivetran_do::core::fault_point::FaultPoint;
use fivetran_do::core::redact::Secret;
use fivetran_do::destinations::registry::DESTINATIONS;
use fivetran_do::engine::protocol::{SyncReply, SyncRequest, Task};
use fivetran_do::engine::{
    Actors, Engine, Registry, RemoteSyncs, StartOutcome, StartRequest, SyncControl, Trigger,
};
use fivetran_do::ports::{Faults, Ports};

/// More borders than any single call crosses.
const PATIENCE: usize = 100_000;

/// Leases the order to close at the first moments at which it can be had, and then says nothing more.
struct Rivals {
    world: World,
    left: Cell<u32>,
}

#[async_trait(?Send)]
impl Faults for Rivals {
    async fn reach(&self, point: FaultPoint, run: &str) -> Result<()> {
        if point == FaultPoint::AfterCancel && self.left.get() > 0 {
            self.left.set(self.left.get() - 1);
            let SyncReply::Leased { order, .. } = self.world.sync(run, SyncRequest::Lease).await? else {
                panic!("a cancelled run has an order to close")
            };
            assert!(matches!(order.task, Task::Close { .. }));
        }
        Ok(())
    }
}

fn request(force: bool) -> StartRequest {
    StartRequest { trigger: Trigger::Manual, due_at: None, force, scope: None }
}

#[test]
fn i1_a_run_is_replaced_at_once_though_other_workers_took_the_order_to_close_it() {
    let _ledger = ledger::install();
    let world = World::new(Registry { connectors: &CONNECTORS, destinations: DESTINATIONS });
    let connection = finish(define(&world, "d1"), PATIENCE);
    let first =
        finish(RemoteSyncs::new(world.engine()).start(&connection, request(false)), PATIENCE).unwrap();

    let engine = Rc::try_unwrap(world.engine()).unwrap_or_else(|_| panic!("the only one"));
    let rivals = Rc::new(Rivals { world: world.clone(), left: Cell::new(2) });
    let ports = Ports { faults: Some(rivals.clone()), ..world.ports() };
    let syncs = RemoteSyncs::new(Rc::new(Engine { ports, ..engine }));
    let second = finish(syncs.start(&connection, request(true)), PATIENCE).unwrap();

    assert_eq!(rivals.left.get(), 0);
    assert!(matches!(second, StartOutcome::Started { .. }) && second != first, "{second:?}");
}

#[test]
fn a_live_run_does_not_take_the_sealing_anew_of_its_configuration_for_a_change() {
    let _ledger = ledger::install();
    let mut paused = 0;
    for borders in (0..).step_by(5) {
        let world = World::new(Registry { connectors: &CONNECTORS, destinations: DESTINATIONS });
        let connection = finish(define(&world, "d1"), PATIENCE);
        let syncs = RemoteSyncs::new(world.engine());
        finish(syncs.start(&connection, request(false)), PATIENCE).unwrap();
        let mut worker = world.worker(world.0.queue.borrow_mut().pop().unwrap());
        let ended = (0..borders).any(|_| step(&mut worker).is_some());
        let (keys, outside) = (format!("{},{}", vault_key(2), vault_key(1)), Rc::new(world.clone()));
        let database = world.0.control.clone();
        let control = ControlPlane::new(database, &Secret::new(keys), outside.clone(), outside).unwrap();
        let done = finish(control.reseal(ResealPosition::default()), PATIENCE).unwrap();
        assert!(done.resealed >= 2 && done.unopened.is_empty(), "{done:?}");
        if !ended {
            finish(worker, PATIENCE).unwrap();
            paused += 1;
        }
        loop {
            let Some(message) = world.0.queue.borrow_mut().pop() else { break };
            finish(world.worker(message), PATIENCE).unwrap();
        }
        let run = finish(syncs.progress(&connection), PATIENCE).unwrap().unwrap();
        assert_eq!(run.state, "SUCCESSFUL", "sealed anew after {borders} borders: {run:?}");
        if ended {
            break;
        }
    }
    assert!(paused > 5, "{paused}");
}
