//! A clock that was hours ahead and is put right.

use crate::CONNECTORS;
use crate::support::deployment::{define, sync_until, work};
use crate::support::ledger;
use crate::support::world::{World, finish};
use fivetran_do::core::fault_point::FaultPoint;
use fivetran_do::destinations::registry::DESTINATIONS;
use fivetran_do::engine::{Registry, RemoteSyncs, SyncControl};

/// More borders than any single call crosses.
const PATIENCE: usize = 100_000;

const MINUTE: i64 = 60_000_000;

#[test]
fn a_run_whose_worker_died_under_a_clock_hours_ahead_goes_on_within_minutes_of_the_right_time() {
    for point in [FaultPoint::AfterLease, FaultPoint::AfterPlan, FaultPoint::AfterCommit] {
        let _ledger = ledger::install();
        let world = World::new(Registry { connectors: &CONNECTORS, destinations: DESTINATIONS });
        let connection = finish(define(&world, "d1"), PATIENCE);
        sync_until(&world, &connection, point);
        world.0.queue.borrow_mut().clear();
        world.advance(-300 * MINUTE);
        for _ in 0..4 {
            world.advance(MINUTE);
            world.fire_alarms();
            finish(world.engine().sweep(), PATIENCE).unwrap();
            work(&world);
        }
        let run = finish(RemoteSyncs::new(world.engine()).progress(&connection), PATIENCE).unwrap().unwrap();
        assert_eq!(run.state, "SUCCESSFUL", "{point:?}: {run:?}");
    }
}

#[test]
fn i9_an_object_whose_worker_died_does_not_ring_without_pause_until_another_one_comes() {
    let _ledger = ledger::install();
    let world = World::new(Registry { connectors: &CONNECTORS, destinations: DESTINATIONS });
    let connection = finish(define(&world, "d1"), PATIENCE);
    sync_until(&world, &connection, FaultPoint::AfterLease);
    world.0.queue.borrow_mut().clear();
    world.advance(2 * MINUTE);
    // The lease is over, and the queue is so long that nobody comes for five minutes.
    let until = world.0.now.get() + 5 * MINUTE;
    let mut rings = 0;
    loop {
        world.fire_alarms();
        let next = *world.0.alarms.borrow().values().next().unwrap();
        // As the object sets an alarm that is due already.
        world.advance((next - world.0.now.get()).max(50_000));
        if world.0.now.get() >= until {
            break;
        }
        rings += 1;
    }
    assert!(rings < 10, "{rings} rings");
    assert!(!world.0.queue.borrow().is_empty());
}
