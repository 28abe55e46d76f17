//! A Fivetran that runs in your own Cloudflare account.

pub mod connectors;
pub mod control;
pub mod core;
pub mod destinations;
pub mod engine;
#[cfg(target_arch = "wasm32")]
pub mod platform;
pub mod ports;
