//! Time, randomness and log of the Workers runtime.

use std::time::Duration;

use async_trait::async_trait;
use worker::Delay;

use crate::core::{Error, Result};
use crate::ports::{Clock, Log, Random, Timer};

/// The runtime's wall clock. On Cloudflare it stands still between I/O operations, so it dates events and never
/// measures CPU.
pub struct WorkerClock;

impl Clock for WorkerClock {
    fn now_micros(&self) -> i64 {
        // A double of milliseconds since 1970 is exact, and within i64 for as long as `Date` is defined.
        (js_sys::Date::now() as i64).saturating_mul(1000)
    }
}

/// `crypto.getRandomValues`.
pub struct WorkerRandom;

impl Random for WorkerRandom {
    fn fill(&self, buffer: &mut [u8]) -> Result<()> {
        getrandom::fill(buffer)
            .map_err(|error| Error::internal("The runtime gave no random bytes").caused_by(error))
    }
}

/// `setTimeout`.
pub struct WorkerTimer;

/// Longest single `setTimeout`: its argument is a signed 32-bit number of milliseconds.
const LONGEST_SLEEP_MS: u64 = 2_147_483_647;

#[async_trait(?Send)]
impl Timer for WorkerTimer {
    async fn sleep_ms(&self, ms: u64) {
        let mut left = ms;
        while left > 0 {
            let step = left.min(LONGEST_SLEEP_MS);
            Delay::from(Duration::from_millis(step)).await;
            left = left.saturating_sub(step);
        }
    }
}

/// The console, which Workers Logs takes apart by field when a line is JSON.
pub struct WorkerLog;

impl Log for WorkerLog {
    fn line(&self, urgent: bool, json: &str) {
        if urgent {
            worker::console_warn!("{json}");
        } else {
            worker::console_log!("{json}");
        }
    }
}
