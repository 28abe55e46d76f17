//! What workers do: one file per kind of order.

mod close;
mod drop;
mod plan;
mod publish;
pub(super) mod read;
mod schema_log;
