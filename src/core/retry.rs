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

/// Longest delay we choose ourselves. A run that waits longer than this does so because the other side asked for it, and
/// its connection says so: `rescheduled`, with the time.
pub const CEILING_MS: u64 = 60_000;

/// Longest delay we accept: a day, which is the longest period that quotas are counted in. A wish beyond it is more likely
/// a number in the wrong unit than meant.
pub const LONGEST_WAIT_MS: u64 = 24 * 3_600_000;

/// How long the runs of a connection may fail, one after the other, for reasons that pass by themselves, before a person
/// is told: a restart, a failover or an upgrade is over by then.
const LASTING_MICROS: i64 = 3_600 * 1_000_000;

/// Whether a run that failed for such a reason is one too many. `well_at` is when the connection was last known to be well,
/// `failed_at` the end of the last run that failed before this one, if any: microseconds UTC, as `now`. A single failure is
/// no reason to call anybody, however long ago the last success was: the schedule may be that slow.
#[must_use]
pub fn is_lasting(well_at: i64, failed_at: Option<i64>, now: i64) -> bool {
    failed_at.is_some_and(|failed_at| failed_at > well_at) && now.saturating_sub(well_at) >= LASTING_MICROS
}

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
            // The plan is what does not fit any more. One more look is for tables that are being swapped by name; the next
            // plan is the next run's, which a run that fails for this reason alone is rescheduled for.
            let enough = if error.kind() == SourceChanged { 2 } else { max_attempts };
            if attempt >= enough.min(max_attempts) {
                Verdict::Fail { needs_person: false }
            } else {
                Verdict::RetryIn(delay_ms(error.requested_delay_ms(), attempt, jitter))
            }
        }
        InvalidInput | NotFound | Conflict | SourceAuth | SourcePermission | SourceConfig | Data
        | DestinationConfig | DestinationLimit => Verdict::Fail { needs_person: true },
    }
}

/// The other side's own wish wins over our back-off, within reason.
fn delay_ms(requested: Option<u64>, attempt: u32, jitter: u8) -> u64 {
    if let Some(requested) = requested {
        return requested.min(LONGEST_WAIT_MS);
    }
    let doubled =
        BASE_MS.saturating_mul(1_u64.checked_shl(attempt.saturating_sub(1).min(16)).unwrap_or(u64::MAX));
    let full = doubled.min(CEILING_MS);
    full / 2 + full / 2 * u64::from(jitter) / 255
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::core::limits::MAX_ATTEMPTS;

    const EVERY_KIND: [ErrorKind; 17] = [
        ErrorKind::InvalidInput,
        ErrorKind::NotFound,
        ErrorKind::Conflict,
        ErrorKind::SourceAuth,
        ErrorKind::SourcePermission,
        ErrorKind::SourceConfig,
        ErrorKind::SourceUnavailable,
        ErrorKind::SourceThrottled,
        ErrorKind::SourceChanged,
        ErrorKind::Data,
        ErrorKind::DestinationConfig,
        ErrorKind::DestinationUnavailable,
        ErrorKind::DestinationLimit,
        ErrorKind::Fenced,
        ErrorKind::Cancelled,
        ErrorKind::Mismatch,
        ErrorKind::Internal,
    ];

    fn judge(kind: ErrorKind, attempt: u32) -> Verdict {
        verdict(&Error::new(kind, "x"), attempt, MAX_ATTEMPTS, 255)
    }

    #[test]
    fn i4_work_that_was_taken_over_is_dropped_at_any_attempt() {
        for attempt in [0, 1, MAX_ATTEMPTS, u32::MAX] {
            assert_eq!(judge(ErrorKind::Fenced, attempt), Verdict::Drop);
            assert_eq!(judge(ErrorKind::Cancelled, attempt), Verdict::Drop);
        }
    }

    #[test]
    fn what_only_a_person_can_mend_is_never_retried() {
        for kind in
            [ErrorKind::SourceAuth, ErrorKind::Data, ErrorKind::DestinationLimit, ErrorKind::InvalidInput]
        {
            assert_eq!(judge(kind, 1), Verdict::Fail { needs_person: true }, "{kind:?}");
        }
    }

    #[test]
    fn every_kind_ends_at_the_last_attempt() {
        for kind in EVERY_KIND {
            assert!(!matches!(judge(kind, MAX_ATTEMPTS), Verdict::RetryIn(_)), "{kind:?}");
        }
        assert_eq!(
            judge(ErrorKind::SourceUnavailable, MAX_ATTEMPTS),
            Verdict::Fail { needs_person: false },
            "the schedule tries again"
        );
    }

    #[test]
    fn delays_double_from_a_second_to_a_minute() {
        let delays = (1..=8).map(|attempt| match verdict(&Error::internal("x"), attempt, 99, 255) {
            Verdict::RetryIn(ms) => ms,
            other => panic!("{other:?}"),
        });
        assert_eq!(delays.collect::<Vec<_>>(), [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]);
    }

    #[test]
    fn the_other_sides_wish_wins() {
        let error = Error::new(ErrorKind::SourceThrottled, "slow down").retry_after_ms(123_456);
        assert_eq!(verdict(&error, 1, MAX_ATTEMPTS, 0), Verdict::RetryIn(123_456));
        let error = Error::new(ErrorKind::SourceThrottled, "slow down").retry_after_ms(u64::MAX);
        assert_eq!(verdict(&error, 1, MAX_ATTEMPTS, 0), Verdict::RetryIn(LONGEST_WAIT_MS));
    }

    #[test]
    fn a_source_that_changed_is_looked_at_once_more_and_then_planned_anew() {
        assert_eq!(judge(ErrorKind::SourceChanged, 1), Verdict::RetryIn(1_000));
        assert_eq!(judge(ErrorKind::SourceChanged, 2), Verdict::Fail { needs_person: false });
    }

    #[test]
    fn a_failure_is_lasting_when_it_is_not_the_first_and_an_hour_has_passed() {
        let hour = LASTING_MICROS;
        assert!(!is_lasting(0, None, 9 * hour));
        assert!(!is_lasting(5, Some(5), 9 * hour), "the failure was before the success");
        assert!(!is_lasting(0, Some(1), hour - 1));
        assert!(is_lasting(0, Some(1), hour));
    }

    proptest! {
        #[test]
        fn jitter_keeps_a_delay_between_half_and_whole(attempt in any::<u32>(), jitter in any::<u8>()) {
            let error = Error::new(ErrorKind::DestinationUnavailable, "x");
            let at = |jitter| match verdict(&error, attempt, u32::MAX, jitter) {
                Verdict::RetryIn(ms) => ms,
                _ => 0,
            };
            prop_assert!(at(0) <= at(jitter) && at(jitter) <= at(255));
            prop_assert_eq!(at(0) * 2, at(255));
            prop_assert!(at(255) <= CEILING_MS);
        }
    }
}
