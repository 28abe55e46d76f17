//! The PostgreSQL source against real servers.
//!
//! One program and not one for each file: each would link the crate again, and compile the support anew.
#![cfg(not(target_arch = "wasm32"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(unreachable_pub, reason = "one crate, shared by its modules")]
#![allow(missing_docs, reason = "names of tests say what they show")]

mod certificate;
mod changes;
mod discovery;
mod faults;
mod key_range;
mod misbehaving;
mod speed;
#[path = "../support/mod.rs"]
mod support;
mod types;
