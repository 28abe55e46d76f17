//! Native adapters of the ports, for tests.

#![allow(dead_code, unreachable_pub)]

pub mod sqlite;
