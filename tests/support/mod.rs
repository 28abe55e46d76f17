//! Native adapters of the ports, for tests.

pub mod objects;
