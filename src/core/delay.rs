//! When data counts as delayed.
//!
//! Data is expected to be renewed within the sync frequency after it was renewed last. How much later than that somebody
//! wants to hear of it is the sensitivity. Fivetran names the levels and publishes no numbers; these are ours.

use serde::{Deserialize, Serialize};

const MICROS_PER_MINUTE: i64 = 60_000_000;

/// How soon late data counts as delayed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Sensitivity {
    /// Two periods late, and a day at least.
    Low,
    /// A period late, and an hour at least.
    #[default]
    Normal,
    /// Half a period late, and 15 minutes at least.
    High,
    /// As many minutes late as `data_delay_threshold` says.
    Custom,
    /// A period late.
    SyncFrequency,
}

impl Sensitivity {
    /// Minutes that data may be late, for a sync frequency in minutes.
    fn patience(self, frequency: u32, threshold: u32) -> u32 {
        match self {
            Self::Low => frequency.saturating_mul(2).max(24 * 60),
            Self::Normal => frequency.max(60),
            Self::High => (frequency / 2).max(15),
            Self::Custom => threshold,
            Self::SyncFrequency => frequency,
        }
    }
}

/// Whether data that was renewed at that time is delayed `now`. Times in microseconds UTC, `frequency` and `threshold` in
/// minutes.
#[must_use]
pub fn is_delayed(
    sensitivity: Sensitivity,
    threshold: u32,
    frequency: u32,
    renewed_at: i64,
    now: i64,
) -> bool {
    let minutes = i64::from(frequency).saturating_add(sensitivity.patience(frequency, threshold).into());
    now > renewed_at.saturating_add(minutes.saturating_mul(MICROS_PER_MINUTE))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Minutes after a renewal at which data is not delayed yet, but a moment later is.
    fn limit(sensitivity: Sensitivity, threshold: u32, frequency: u32) -> u32 {
        let delayed = |minutes: u32, moment: i64| {
            let now = i64::from(minutes) * MICROS_PER_MINUTE + moment;
            is_delayed(sensitivity, threshold, frequency, 0, now)
        };
        let found = (0..=4 * 24 * 60).find(|minutes| !delayed(*minutes, 0) && delayed(*minutes, 1));
        found.unwrap()
    }

    #[test]
    fn each_sensitivity_has_its_patience() {
        for (sensitivity, [of_five_minutes, of_six_hours, of_a_day]) in [
            (Sensitivity::High, [5 + 15, 360 + 180, 1440 + 720]),
            (Sensitivity::SyncFrequency, [5 + 5, 360 + 360, 1440 + 1440]),
            (Sensitivity::Normal, [5 + 60, 360 + 360, 1440 + 1440]),
            (Sensitivity::Low, [5 + 1440, 360 + 1440, 1440 + 2880]),
            (Sensitivity::Custom, [5 + 7, 360 + 7, 1440 + 7]),
        ] {
            assert_eq!(limit(sensitivity, 7, 5), of_five_minutes, "{sensitivity:?}");
            assert_eq!(limit(sensitivity, 7, 360), of_six_hours, "{sensitivity:?}");
            assert_eq!(limit(sensitivity, 7, 1440), of_a_day, "{sensitivity:?}");
        }
        assert!(!is_delayed(Sensitivity::Custom, u32::MAX, u32::MAX, i64::MAX, i64::MAX));
    }
}
