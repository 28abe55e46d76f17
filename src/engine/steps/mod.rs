//! What workers do: one file per kind of order.

mod close;
mod plan;
mod publish;
pub(super) mod read;
