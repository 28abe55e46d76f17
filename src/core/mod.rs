//! Ring 1: pure rules. No `worker::`, no I/O, no clock, no randomness.
//!
//! Everything here is a function of its arguments, so every promise the product makes can be tested natively in
//! microseconds. The outer rings bring the world in through [`crate::ports`].

pub mod access;
pub mod catalog;
pub mod certificate;
pub mod compare;
pub mod delivery;
pub(crate) mod destination_names;
pub mod error;
pub mod fault_point;
pub mod limits;
pub mod naming;
pub(crate) mod parse;
pub mod redact;
pub mod retry;
pub mod roles;
pub mod run;
pub mod schedule;
pub mod schema_diff;
pub mod settings;
pub mod shape;
pub mod table;
pub mod text;
pub mod types;

pub use error::{Error, ErrorKind, Result};
