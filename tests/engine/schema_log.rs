//! Schema changes in the log: each is told once, by the run that made it, and to whoever wants to be told.

use crate::CONNECTORS;
use crate::support::deployment::{define, sync};
use crate::support::ledger::{self, Ledger};
use crate::support::world::{Trap, World, finish};
use fivetran_do::control::Page;
use fivetran_do::core::fault_point::FaultPoint;
use fivetran_do::destinations::registry::DESTINATIONS;
use fivetran_do::engine::Registry;
use fivetran_do::engine::protocol::Message;
use serde_json::{Value, json};

/// More borders than any single call crosses.
const PATIENCE: usize = 100_000;

fn world(destination: &str) -> (World, String, std::rc::Rc<std::cell::RefCell<Ledger>>) {
    let ledger = ledger::install();
    write(&ledger, "v");
    let world = World::new(Registry { connectors: &CONNECTORS, destinations: DESTINATIONS });
    let connection = finish(define(&world, destination), PATIENCE);
    (world, connection, ledger)
}

fn write(ledger: &std::cell::RefCell<Ledger>, value: &str) {
    let mut ledger = ledger.borrow_mut();
    let transaction = ledger.begin();
    ledger.write(transaction, 1, value.to_owned());
    ledger.commit(transaction);
}

/// Events of the connection's tables, in order.
fn told(world: &World, connection: &str) -> Vec<(String, Value)> {
    let control = world.control();
    let page = Page::first();
    let listed = finish(control.log_events(connection, None, &page), PATIENCE).unwrap().items;
    let events = listed.into_iter().map(|stored| stored.event);
    events.filter(|event| event.event.contains("table")).map(|event| (event.event, event.data)).collect()
}

fn names(told: &[(String, Value)]) -> Vec<&str> {
    told.iter().map(|(event, _)| event.as_str()).collect()
}

#[test]
fn a_table_is_told_when_it_is_created_altered_and_written() {
    for destination in ["d1", "r2"] {
        let (world, connection, ledger) = world(destination);
        assert_eq!(sync(&world, &connection).state, "SUCCESSFUL");
        let first = told(&world, &connection);
        let all = ["create_table", "write_to_table_end", "write_to_table_start"];
        let mut seen = names(&first);
        seen.sort_unstable();
        assert_eq!(seen, all, "{destination}");
        let (_, created) = first.iter().find(|(event, _)| event == "create_table").unwrap();
        assert_eq!((&created["schema"], &created["name"]), (&json!("model_public"), &json!("ledger")));
        assert_eq!(created["columns"]["value"], "STRING");
        assert_eq!(created["primary_key_clause"], "\"id\"");
        // Nothing to write, nothing to tell.
        assert_eq!(sync(&world, &connection).state, "SUCCESSFUL");
        assert_eq!(told(&world, &connection).len(), 3, "{destination}");

        ledger.borrow_mut().wide = true;
        assert_eq!(sync(&world, &connection).state, "SUCCESSFUL");
        let last = told(&world, &connection);
        let altered = last.iter().filter(|(event, _)| event == "alter_table").collect::<Vec<_>>();
        assert_eq!(altered.len(), 1, "{destination}");
        assert_eq!((&altered[0].1["type"], &altered[0].1["table"]), (&json!("ADD_COLUMN"), &json!("ledger")));
        assert_eq!(altered[0].1["properties"]["columnName"], "extra");
        assert_eq!(altered[0].1["properties"]["dataType"], "LONG");
    }
}

#[test]
fn i3_a_change_is_told_once_though_its_run_dies_after_making_it() {
    for destination in ["d1", "r2"] {
        let (world, connection, ledger) = world(destination);
        assert_eq!(sync(&world, &connection).state, "SUCCESSFUL");
        ledger.borrow_mut().wide = true;
        // The table has the column, and nobody was told.
        world.0.trap.set(Some((FaultPoint::AfterDdl, Trap::Fail)));
        let run = sync(&world, &connection);
        assert_eq!((world.0.trap.get(), run.state.as_str()), (None, "RUNNING"), "{destination}");
        world.0.now.set(world.0.now.get() + 60_000_000);
        world.0.queue.borrow_mut().push(Message::Work { run_id: run.run_id });
        assert_eq!(sync(&world, &connection).state, "SUCCESSFUL");
        let told = told(&world, &connection);
        let altered = names(&told).into_iter().filter(|event| *event == "alter_table").count();
        assert_eq!(altered, 1, "{destination}");
    }
}
