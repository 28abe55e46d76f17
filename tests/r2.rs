//! The R2 destination over a bucket in memory, read back by DuckDB and pyarrow.
#![cfg(not(target_arch = "wasm32"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(unreachable_pub, reason = "one crate, shared by its modules")]
#![allow(missing_docs, reason = "names of tests say what they show")]

#[path = "r2/dropping.rs"]
mod dropping;
#[path = "r2/harness.rs"]
mod harness;
#[path = "r2/history.rs"]
mod history;
#[path = "r2/loads.rs"]
mod loads;
#[path = "r2/merging.rs"]
mod merging;
#[path = "r2/mixed.rs"]
mod mixed;
#[path = "r2/model.rs"]
mod model;
#[path = "r2/readers.rs"]
mod readers;
#[path = "r2/resync.rs"]
mod resync;
#[path = "r2/speed.rs"]
mod speed;
mod support;
#[path = "r2/vanished.rs"]
mod vanished;
#[path = "r2/workers.rs"]
mod workers;
