//! Relational and document databases.

pub mod postgres;
