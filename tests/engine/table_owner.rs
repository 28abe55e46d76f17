//! Two connections whose tables would be one: prefix `a` with schema `b_c`, prefix `a_b` with schema `c`; or the same prefix, in
//! two groups whose destinations are one place.

use crate::CONNECTORS;
use crate::support::deployment::{define_connection_to, define_destination, sync};
use crate::support::ledger;
use crate::support::world::{World, finish};
use fivetran_do::core::ErrorKind;
use fivetran_do::core::table::LoadMode;
use fivetran_do::destinations::registry::DESTINATIONS;
use fivetran_do::engine::Registry;

/// More borders than any single call crosses.
const PATIENCE: usize = 100_000;

#[test]
fn i3_a_table_that_another_connection_loads_is_refused_until_that_one_is_deleted() {
    let ledger = ledger::install();
    let world = World::new(Registry { connectors: &CONNECTORS, destinations: DESTINATIONS });
    let group = finish(define_destination(&world, "d1"), PATIENCE);
    let first = finish(define_connection_to(&world, &group, "a"), PATIENCE);
    let second = finish(define_connection_to(&world, &group, "a_b"), PATIENCE);

    ledger.borrow_mut().schema = "b_c";
    assert_eq!(sync(&world, &first).state, "SUCCESSFUL");
    ledger.borrow_mut().schema = "c";
    let refused = sync(&world, &second);
    assert_eq!(refused.state, "FAILURE_WITH_TASK");
    let error = refused.tables[0].error.as_ref().unwrap();
    assert_eq!(error.kind, ErrorKind::DestinationConfig);
    assert!(error.message.contains("a_b_c.ledger") && error.message.contains(&first), "{}", error.message);

    // The first goes on, and once it is gone its tables are for others to go on with.
    ledger.borrow_mut().schema = "b_c";
    assert_eq!(sync(&world, &first).state, "SUCCESSFUL");
    assert!(finish(world.control().delete_connection(&first), PATIENCE).unwrap());
    ledger.borrow_mut().schema = "c";
    assert_eq!(sync(&world, &second).state, "SUCCESSFUL");
}

#[test]
fn i3_a_table_that_a_connection_of_another_group_loads_into_the_same_place_is_refused() {
    for service in ["d1", "r2"] {
        let _ledger = ledger::install();
        let world = World::new(Registry { connectors: &CONNECTORS, destinations: DESTINATIONS });
        let connect = || {
            let group = finish(define_destination(&world, service), PATIENCE);
            finish(define_connection_to(&world, &group, "shop"), PATIENCE)
        };
        let (first, second) = (connect(), connect());
        assert_eq!(sync(&world, &first).state, "SUCCESSFUL");
        let refused = sync(&world, &second);
        assert_eq!(refused.state, "FAILURE_WITH_TASK", "{service}");
        let error = refused.tables[0].error.as_ref().unwrap();
        assert_eq!(error.kind, ErrorKind::DestinationConfig);
        assert!(error.message.contains(&first) && error.remedy.is_some(), "{error:?}");

        assert_eq!(sync(&world, &first).state, "SUCCESSFUL", "{service}");
        assert!(finish(world.control().delete_connection(&first), PATIENCE).unwrap());
        assert_eq!(sync(&world, &second).state, "SUCCESSFUL", "{service}");
        assert_eq!(sync(&world, &second).tables[0].mode, LoadMode::Incremental, "{service}");
    }
}
