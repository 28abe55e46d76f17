//! The REST API over the real control plane on SQLite. Every answer of every test is validated against our own OpenAPI
//! document and searched for secrets.
#![cfg(not(target_arch = "wasm32"))]
#![allow(unreachable_pub)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../support/control_db.rs"]
mod control_db;

mod bad_input;
mod certificates;
mod clients;
mod concurrent;
mod connections;
mod cors;
mod destinations;
mod divided;
mod fuzz;
mod groups;
mod harness;
mod idempotency;
mod identity;
mod isolation;
mod metadata;
mod metrics;
mod pages;
mod projections;
mod protocol;
mod published;
mod rate_limits;
mod real;
mod rights;
mod schemas;
mod secrets;
mod shop;
mod unavailable;
mod validator;
mod vault;
mod webhooks;
