//! The engine: runs, orders, leases. State machines on ports; `durable_object/` and `queue/` are thin shells over it.

pub mod sync_control;

pub use sync_control::{RunProgress, StartOutcome, StartRequest, SyncControl, TableProgress, Trigger};
