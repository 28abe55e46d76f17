//! A source of many tables: its plan goes over borders page by page, and asks a destination for its own tables alone.

use std::cell::RefCell;
use std::rc::Rc;

use crate::CONNECTORS;
use crate::support::deployment::{define_connection_to, define_destination, sync, sync_until};
use crate::support::ledger;
use crate::support::world::{World, finish, step};
use async_trait::async_trait;
use fivetran_do::core::Result;
use fivetran_do::core::fault_point::FaultPoint;
use fivetran_do::destinations::registry::DESTINATIONS;
use fivetran_do::engine::protocol::{
    ConnectorReply, ConnectorRequest, DestinationReply, DestinationRequest, Outcome, SyncReply, SyncRequest,
};
use fivetran_do::engine::{Actors, Engine, Registry};
use fivetran_do::ports::LocalSql;

/// More borders than any single call crosses.
const PATIENCE: usize = 1_000_000;

/// Longer than a lease.
const SILENCE: i64 = 100_000_000;

/// What a plan asked and said: tables asked for and known, and the length of each page.
#[derive(Default)]
struct Plan {
    asked: Vec<usize>,
    known: Vec<usize>,
    pages: Vec<usize>,
}

/// The objects, overheard.
struct Overheard(World, Rc<RefCell<Plan>>);

#[async_trait(?Send)]
impl Actors for Overheard {
    async fn connector(&self, id: &str, request: ConnectorRequest) -> Result<ConnectorReply> {
        self.0.connector(id, request).await
    }

    async fn sync(&self, run_id: &str, request: SyncRequest) -> Result<SyncReply> {
        let outcome = match &request {
            SyncRequest::Complete { outcome, .. } => Some(&**outcome),
            _ => None,
        };
        if let (SyncRequest::Plan { streams, .. }, _) | (_, Some(Outcome::RunPlanned { streams, .. })) =
            (&request, outcome)
        {
            self.1.borrow_mut().pages.push(streams.len());
        }
        self.0.sync(run_id, request).await
    }

    async fn destination(&self, id: &str, request: DestinationRequest) -> Result<DestinationReply> {
        if let DestinationRequest::Current { tables } = &request {
            self.1.borrow_mut().asked.push(tables.len());
        }
        let reply = self.0.destination(id, request).await?;
        if let DestinationReply::Current { tables } = &reply {
            self.1.borrow_mut().known.push(tables.len());
        }
        Ok(reply)
    }
}

#[test]
fn i9_a_plan_of_many_tables_is_handed_in_page_by_page_and_asks_for_its_own_tables_alone() {
    let ledger = ledger::install();
    let world = World::new(Registry { connectors: &CONNECTORS, destinations: DESTINATIONS });
    let group = finish(define_destination(&world, "d1"), PATIENCE);
    let other = finish(define_connection_to(&world, &group, "other"), PATIENCE);
    let connection = finish(define_connection_to(&world, &group, "own"), PATIENCE);
    ledger.borrow_mut().copies = 3;
    assert_eq!(sync(&world, &other).state, "SUCCESSFUL");
    ledger.borrow_mut().copies = 0;
    assert_eq!(sync(&world, &connection).state, "SUCCESSFUL");

    // A worker plans the run and dies before it says so; another one plans it again, and finds a table less.
    ledger.borrow_mut().copies = 450;
    sync_until(&world, &connection, FaultPoint::AfterVersions);
    ledger.borrow_mut().copies = 449;
    world.advance(SILENCE);
    world.fire_alarms();
    let message = world.0.queue.borrow_mut().pop().unwrap();
    let engine = Rc::try_unwrap(world.engine()).unwrap_or_else(|_| panic!("the only one"));
    let plan = Rc::new(RefCell::new(Plan::default()));
    let engine = Engine { actors: Rc::new(Overheard(world.clone(), plan.clone())), ..engine };
    let mut worker: crate::support::world::Worker = Box::pin(async move { engine.consume(message).await });
    let run = format!("{connection}.2");
    let orders = || {
        let sql = world.0.syncs.borrow()[&run].clone();
        sql.exec("SELECT COUNT(*) FROM orders WHERE kind = 'plan_stream'", &[]).unwrap()[0][0].clone()
    };
    while orders() == 0.into() {
        assert!(step(&mut worker).is_none(), "it has tables to plan");
    }
    assert_eq!(orders(), 450.into(), "one for each table that is there");
    let plan = plan.borrow();
    assert_eq!((&plan.pages[..], &plan.asked[..]), (&[200, 200, 50][..], &[200, 200, 50][..]));
    assert_eq!(plan.known, [1, 0, 0], "the other connection's tables are none of its business");
}
