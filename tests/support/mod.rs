//! Native adapters of the ports, for tests. Each test crate uses some of them.

#![allow(dead_code, unreachable_pub)]

pub mod crowd;
pub mod deployment;
pub mod history;
pub mod ledger;
pub mod objects;
pub mod postgres;
pub mod proxy;
pub mod publishing;
pub mod sqlite;
pub mod tcp;
pub mod warehouse;
pub mod world;
