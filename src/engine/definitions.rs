//! What a worker works under, read once.

use std::cell::RefCell;
use std::rc::Rc;

use crate::control::{Connection, DestinationRecord};

/// The definitions a worker has read, for the seconds it lives.
///
/// One database, one query at a time, defines the connections of all workers. Reading the same two rows again for each order
/// was half of what a short run asked of it (docs/scale.md). Nothing is mixed by keeping them: a run is planned for one
/// configuration, and who changes that cancels the run. Where nobody came to do that, it is noticed when the next table is
/// planned, or by the next worker, after [`CONSUMER_BUDGET_MS`](crate::core::limits::CONSUMER_BUDGET_MS) at most.
#[derive(Default)]
pub struct Definitions {
    connection: RefCell<Option<Rc<Connection>>>,
    destination: RefCell<Option<Rc<DestinationRecord>>>,
    /// The run whose beginning this worker found or wrote in history.
    recorded: RefCell<Option<String>>,
}

impl Definitions {
    pub(super) fn connection(&self, id: &str) -> Option<Rc<Connection>> {
        self.connection.borrow().as_ref().filter(|known| known.id == id).cloned()
    }

    pub(super) fn keep_connection(&self, connection: Connection) -> Rc<Connection> {
        let connection = Rc::new(connection);
        self.connection.replace(Some(Rc::clone(&connection)));
        connection
    }

    pub(super) fn destination(&self, id: &str) -> Option<Rc<DestinationRecord>> {
        self.destination.borrow().as_ref().filter(|known| known.id == id).cloned()
    }

    pub(super) fn keep_destination(&self, destination: DestinationRecord) -> Rc<DestinationRecord> {
        let destination = Rc::new(destination);
        self.destination.replace(Some(Rc::clone(&destination)));
        destination
    }

    pub(super) fn is_recorded(&self, run_id: &str) -> bool {
        self.recorded.borrow().as_deref() == Some(run_id)
    }

    pub(super) fn note_recorded(&self, run_id: &str) {
        self.recorded.replace(Some(run_id.to_owned()));
    }
}
