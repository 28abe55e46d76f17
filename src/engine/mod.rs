//! The engine: runs, orders, leases. State machines on ports; `durable_object/` and `queue/` are thin shells over it.
//!
//! Life of a run: [`Engine::start`] asks the connection's [`Connector`](connector::Connector) to open a run and hands
//! it to a [`Sync`](sync::Sync); workers ([`Engine::work`]) lease orders from it (plan, read, publish, close), do them
//! ([`steps`]) and report. [`Engine::sweep`] runs every minute: it starts what is due and heals what fell silent.

mod actors;
pub mod connector;
mod definitions;
pub mod destination;
mod log;
mod meter;
mod open;
pub mod protocol;
mod pulse;
pub mod reconcile;
mod registry;
mod remote;
mod rows;
mod start;
mod steps;
mod sweep;
pub mod sync;
pub mod sync_control;
mod table_changes;
mod table_owner;
mod turn;
mod worker;

use std::rc::Rc;

pub use actors::{Actors, Outbox};
pub use definitions::Definitions;
pub use registry::Registry;
pub use remote::RemoteSyncs;
pub use sync_control::{Pace, RunProgress, StartOutcome, StartRequest, SyncControl, TableProgress, Trigger};

use crate::control::ControlPlane;
use crate::ports::{Log, Ports};

/// Everything a worker needs. Made anew for every event; holds handles, and what it has read of its definitions.
pub struct Engine {
    /// What can be opened.
    pub registry: Registry,
    /// Definitions and projections.
    pub control: ControlPlane,
    /// The world.
    pub ports: Ports,
    /// The Durable Objects.
    pub actors: Rc<dyn Actors>,
    /// The queue.
    pub outbox: Rc<dyn Outbox>,
    /// Structured logs.
    pub log: Rc<dyn Log>,
    /// Days that history is kept; see [`RETENTION_DAYS`](crate::core::limits::RETENTION_DAYS).
    pub retention_days: u32,
    /// Bytes of memory in use by the program, 0 where that cannot be known.
    pub memory: fn() -> usize,
    /// What was read for this event.
    pub definitions: Definitions,
}
