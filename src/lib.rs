//! A Fivetran that runs in your own Cloudflare account.
//!
//! The tour of the house, from the inside out:
//!
//! 1. [`core`] — pure rules: types, schedules, naming, schema changes, retries. No I/O, no clock.
//! 2. [`ports`] — the traits through which everything else touches the world.
//! 3. [`connectors`] and [`destinations`] — where data comes from and goes to, on ports only.
//! 4. [`control`] — what the user defined, in D1; [`engine`] — runs, orders, leases; [`delivery`] — telling others.
//! 5. `api` — REST in Fivetran's shapes; `queue` and `durable_object` — thin shells over the engine.
//! 6. `platform` — the ports on Cloudflare's bindings; compiled for WASM only, as are the events below.

pub mod api;
pub mod connectors;
pub mod control;
pub mod core;
pub mod delivery;
pub mod destinations;
#[cfg(target_arch = "wasm32")]
mod durable_object;
pub mod engine;
#[cfg(target_arch = "wasm32")]
mod events;
#[cfg(target_arch = "wasm32")]
pub mod platform;
pub mod ports;
#[cfg(target_arch = "wasm32")]
mod queue;
