//! What workers do: one file per kind of order.

mod close;
mod drop;
mod plan_run;
mod plan_stream;
mod publish;
pub(super) mod read;
mod schema_log;
