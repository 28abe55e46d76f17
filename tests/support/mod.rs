//! Native adapters of the ports, for tests. Each test crate uses some of them.

#![allow(dead_code, unreachable_pub)]

pub mod postgres;
pub mod tcp;
