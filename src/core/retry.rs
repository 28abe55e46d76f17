//! The one retry policy: a pure function of the error's kind and the attempt.

use super::error::{Error, ErrorKind};

/// What to do with an order that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Try again no sooner than this many milliseconds from now.
    RetryIn(u64),
    /// Give up: the table fails, and a person sees a task when `needs_person`.
    Fail {
        /// True when retrying cannot help until somebody changes something.
        needs_person: bool,
    },
    /// Throw the work away silently: somebody else owns it now.
    Drop,
}

/// First delay: 1 s doubles to 2, 4, 8, 16 s, so the six attempts of [`MAX_ATTEMPTS`](super::limits::MAX_ATTEMPTS)
/// span about half a minute, after which the run fails and the schedule tries again.
const BASE_MS: u64 = 1_000;

/// Longest delay we choose ourselves.
const CEILING_MS: u64 = 60_000;

/// Decides. `attempt` counts from 1; `jitter` is a random number in 0..=255, passed in because this ring has no
/// randomness: the delay is scaled to 50..=100 % of the exponential one.
#[must_use]
pub fn verdict(error: &Error, attempt: u32, max_attempts: u32, jitter: u8) -> Verdict {
    use ErrorKind::{
        Cancelled, Conflict, Data, DestinationConfig, DestinationLimit, DestinationUnavailable, Fenced,
        Internal, InvalidInput, Mismatch, NotFound, SourceAuth, SourceChanged, SourceConfig,
        SourcePermission, SourceThrottled, SourceUnavailable,
    };
    match error.kind() {
        Fenced | Cancelled => Verdict::Drop,
        SourceUnavailable
        | SourceThrottled
        | DestinationUnavailable
        | SourceChanged
        | Internal
        | Mismatch => {
            if attempt >= max_attempts {
                Verdict::Fail { needs_person: false }
            } else {
                Verdict::RetryIn(delay_ms(error.requested_delay_ms(), attempt, jitter))
            }
        }
        InvalidInput | NotFound | Conflict | SourceAuth | SourcePermission | SourceConfig | Data
        | DestinationConfig | DestinationLimit => Verdict::Fail { needs_person: true },
    }
}

/// The other side's own wish wins over our back-off.
fn delay_ms(requested: Option<u64>, attempt: u32, jitter: u8) -> u64 {
    if let Some(requested) = requested {
        return requested;
    }
    let doubled =
        BASE_MS.saturating_mul(1_u64.checked_shl(attempt.saturating_sub(1).min(16)).unwrap_or(u64::MAX));
    let full = doubled.min(CEILING_MS);
    full / 2 + full / 2 * u64::from(jitter) / 255
}
