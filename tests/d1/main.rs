//! The D1 destination against real SQLite with D1's limits.

#![cfg(not(target_arch = "wasm32"))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::disallowed_methods,
    unreachable_pub
)]

mod chunks;
mod history;
mod http;
mod limits;
mod publishing;
mod reading;
#[path = "../support/mod.rs"]
mod support;
mod tables;
mod throughput;
mod values;
mod widening;
mod world;
