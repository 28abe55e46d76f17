//! Ring 3: the ports on Cloudflare's bindings. Compiled for WASM only; everything above it is tested natively too.

mod actors;
mod bindings;
pub mod border;
mod clock;
pub mod durable;
mod faults;
mod http;
pub mod jobs;
mod local_sql;
mod objects;
mod sql;
mod tcp;
pub mod web;

use std::rc::Rc;

use worker::Env;

pub use bindings::WorkerBindings;
pub use clock::{WorkerClock, WorkerLog, WorkerRandom, WorkerTimer};
pub use http::WorkerHttp;
pub use local_sql::DurableSql;
pub use objects::R2;
pub use sql::D1;
pub use tcp::WorkerTcp;

use crate::core::Result;
use crate::core::limits::RETENTION_DAYS;
use crate::engine::{Definitions, Engine, Registry};
use crate::ports::Ports;

/// The ports of one event. Make them anew for each: I/O objects may not cross from one request to another.
#[must_use]
pub fn ports(env: &Env) -> Ports {
    Ports {
        clock: Rc::new(WorkerClock),
        random: Rc::new(WorkerRandom),
        timer: Rc::new(WorkerTimer),
        tcp: Rc::new(WorkerTcp),
        http: Rc::new(WorkerHttp),
        bindings: Rc::new(WorkerBindings::new(env.clone())),
        faults: faults::faults(env),
    }
}

/// The engine of one event.
///
/// # Errors
/// When the control plane's binding or the vault's secret is missing.
pub fn engine(env: &Env) -> Result<Engine> {
    Ok(Engine {
        registry: Registry::default(),
        control: crate::durable_object::control_plane(env)?,
        ports: ports(env),
        actors: Rc::new(actors::WorkerActors(env.clone())),
        outbox: Rc::new(actors::WorkerOutbox(env.clone())),
        log: Rc::new(WorkerLog),
        retention_days: retention_days(env),
        memory: memory_bytes,
        definitions: Definitions::default(),
    })
}

/// The variable `FIVETRAN_RETENTION_DAYS`; nonsense counts as absent, because deleting history early cannot be undone.
fn retention_days(env: &Env) -> u32 {
    let given = env.var("FIVETRAN_RETENTION_DAYS").ok().and_then(|days| days.to_string().trim().parse().ok());
    given.filter(|days| *days > 0).unwrap_or(RETENTION_DAYS)
}

/// Size of WASM memory in bytes. It never shrinks, so this is also the peak since the isolate began (invariant I9).
#[must_use]
pub fn memory_bytes() -> usize {
    core::arch::wasm32::memory_size::<0>().saturating_mul(64 * 1024)
}
