//! How much one API key may ask: a bucket of requests per key, refilled evenly over the hour.
//!
//! The buckets live in the memory of the isolate. That is inexact across isolates (a key used in many of Cloudflare's
//! locations has a bucket in each) and free; what it is for, a runaway script, stays within one location. A Durable
//! Object per key would be exact and cost a hop with every request; Cloudflare's own rate-limit binding counts over a
//! minute at most and cannot tell what remains.

use std::cell::RefCell;
use std::collections::HashMap;

/// Requests per hour where none are configured: five times what Fivetran grants an account.
pub const DEFAULT_PER_HOUR: u32 = 100_000;

/// Keys remembered before full buckets are forgotten, which are as good as none.
const MOST_BUCKETS: usize = 10_000;

const HOUR_MICROS: f64 = 3_600_000_000.0;

/// The buckets of an isolate.
#[derive(Debug)]
pub struct RateLimits {
    per_hour: u32,
    buckets: RefCell<HashMap<String, Bucket>>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    requests: f64,
    /// Microseconds UTC.
    at: i64,
}

/// What a request met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Allowance {
    pub(crate) limit: u32,
    /// Requests left, this one taken off.
    pub(crate) remaining: u32,
    /// Whole seconds until there is one again; `None`: this one is let through.
    pub(crate) retry_after: Option<u32>,
}

impl RateLimits {
    /// Full buckets of that many requests per hour; 0 for no limit.
    #[must_use]
    pub fn new(per_hour: u32) -> Self {
        Self { per_hour, buckets: RefCell::default() }
    }

    /// Takes a request out of a key's bucket. `None` where there is no limit.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and u32::MAX")]
    pub(crate) fn take(&self, key: &str, now: i64) -> Option<Allowance> {
        if self.per_hour == 0 {
            return None;
        }
        let limit = self.per_hour;
        let mut buckets = self.buckets.borrow_mut();
        if buckets.len() >= MOST_BUCKETS {
            buckets.retain(|_, bucket| self.filled(*bucket, now) < f64::from(limit));
        }
        let bucket = buckets.entry(key.to_owned()).or_insert(Bucket { requests: f64::from(limit), at: now });
        let filled = self.filled(*bucket, now);
        let through = filled >= 1.0;
        let left = if through { filled - 1.0 } else { filled };
        *bucket = Bucket { requests: left, at: now };
        let seconds = (1.0 - left) * HOUR_MICROS / f64::from(limit) / 1_000_000.0;
        Some(Allowance {
            limit,
            remaining: left as u32,
            retry_after: (!through).then(|| seconds.ceil().max(1.0) as u32),
        })
    }

    /// Microseconds of an hour are exact in a double, and so is a clock that stepped back: nothing is refilled then.
    #[expect(clippy::cast_precision_loss, reason = "differences of clocks are far below 2^53")]
    fn filled(&self, bucket: Bucket, now: i64) -> f64 {
        let passed = now.saturating_sub(bucket.at).max(0) as f64;
        let limit = f64::from(self.per_hour);
        (bucket.requests + passed / HOUR_MICROS * limit).min(limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_empties_and_refills_over_the_hour_and_keys_do_not_share_it() {
        let limits = RateLimits::new(60);
        let take = |key: &str, second: i64| limits.take(key, second * 1_000_000).unwrap();
        for left in (0..60).rev() {
            assert_eq!(take("a", 0), Allowance { limit: 60, remaining: left, retry_after: None });
        }
        assert_eq!(take("a", 0).retry_after, Some(60));
        assert_eq!(take("a", 59).retry_after, Some(1));
        assert_eq!(take("b", 59).retry_after, None);
        assert_eq!(take("a", 60).retry_after, None);
        assert_eq!(take("a", 7_200).remaining, 59);
        assert_eq!(RateLimits::new(0).take("a", 0), None);
    }
}
