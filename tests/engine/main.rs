//! What a run does when people, clocks, sources and destinations get in its way: the engine over ports in memory.
//!
//! One program and not one for each file: each would link the crate again, and compile the support anew.
#![cfg(not(target_arch = "wasm32"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(unreachable_pub, reason = "one crate, shared by its modules")]
#![allow(missing_docs, reason = "names of tests say what they show")]

mod cancelling;
mod clocks;
mod columns_dropped;
mod definition_edits;
mod divided;
mod equation;
mod fairness;
mod misbehaving_sources;
mod scan;
mod schema_log;
#[path = "../support/mod.rs"]
mod support;
mod sweep;
mod table_gone;
mod table_owner;
mod wide_plans;

use fivetran_do::connectors::registry::ConnectorType;

/// The one source of these tests: they decide all it does.
static CONNECTORS: [ConnectorType; 1] = [support::ledger::CONNECTOR];
