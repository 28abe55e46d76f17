//! A Fivetran that runs in your own Cloudflare account.

pub mod api;
pub mod connectors;
pub mod control;
pub mod core;
pub mod destinations;
pub mod engine;
pub mod ports;
