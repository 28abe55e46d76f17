//! A request that ends a run, and another worker that is at its end as well.

#![cfg(not(target_arch = "wasm32"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod support;

use std::cell::Cell;
use std::rc::Rc;

use async_trait::async_trait;
use fivetran_do::core::Result;
use fivetran_do::core::fault_point::FaultPoint;
use fivetran_do::destinations::registry::DESTINATIONS;
use fivetran_do::engine::protocol::{SyncReply, SyncRequest, Task};
use fivetran_do::engine::{
    Actors, Engine, Registry, RemoteSyncs, StartOutcome, StartRequest, SyncControl, Trigger,
};
use fivetran_do::ports::{Faults, Ports};
use support::deployment::define;
use support::ledger;
use support::world::{World, finish};

static CONNECTORS: [fivetran_do::connectors::registry::ConnectorType; 1] = [ledger::CONNECTOR];

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
