//! The time zone of a destination: whole hours from UTC, with or without the daylight saving time of the US.
//!
//! Fivetran knows no other rule: its reference says of `daylight_saving_time_enabled` that it applies to U.S. time zones
//! only. So one rule of two Sundays serves, and a table of zones (chrono-tz: half a megabyte) would have nobody to ask it
//! for more, since the API takes offsets and no names. Destinations elsewhere leave the flag off and keep their offset all
//! year; a zone with another rule (Europe) is not guessed from the offset.

use serde::{Deserialize, Serialize};

use crate::core::{Error, Result};

/// Minutes of a day.
pub(super) const DAY: i64 = 1440;

/// What a destination's clocks show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Zone {
    /// What standard time is ahead of UTC.
    pub utc_offset_minutes: i32,
    /// Whether clocks are an hour ahead of that while the US has daylight saving time: from 2:00 on the second Sunday
    /// of March until 2:00 on the first Sunday of November, local time (Energy Policy Act of 2005, in force since 2007).
    pub daylight_saving: bool,
}

impl Zone {
    /// Reads a destination's `time_zone_offset` (whole hours, `-11` to `+12`).
    ///
    /// # Errors
    /// [`InvalidInput`](crate::core::ErrorKind::InvalidInput) naming the field.
    pub fn parse(time_zone_offset: &str, daylight_saving: bool) -> Result<Self> {
        match time_zone_offset.parse::<i32>() {
            Ok(hours @ -11..=12) => Ok(Self { utc_offset_minutes: hours * 60, daylight_saving }),
            _ => Err(Error::invalid(format!("'{time_zone_offset}' is not a time zone offset"))
                .field("time_zone_offset")
                .remedy("Use whole hours from -11 to +12, for example \"-5\" or \"+2\"")),
        }
    }

    /// The day of the standard clock at a minute since the epoch. For an hour a day after midnight daylight saving time
    /// is a day ahead of it, so callers look at the neighbours too.
    pub(super) fn standard_day(self, utc_minute: i64) -> i64 {
        utc_minute.saturating_add(i64::from(self.utc_offset_minutes)).div_euclid(DAY)
    }

    /// The minute since the epoch at which clocks show the full hour on a local day (counted from 1970-01-01).
    ///
    /// An hour that is skipped in March is the moment of the change, when clocks jump to 3:00; of an hour that comes
    /// twice in November it is the first. So there is exactly one on every day, and they grow from day to day.
    pub(super) fn minute_of(self, day: i64, hour: u8) -> i64 {
        let ahead = if self.daylight_saving && is_daylight_hour(day, hour) { 60 } else { 0 };
        let local = day.saturating_mul(DAY).saturating_add(i64::from(hour) * 60);
        local.saturating_sub(i64::from(self.utc_offset_minutes) + ahead)
    }
}

/// Whether clocks that show `hour` on that day are ahead.
fn is_daylight_hour(day: i64, hour: u8) -> bool {
    let march = march_of(day);
    let start = sunday_from(march) + 7;
    // March to October have 245 days.
    let end = sunday_from(march + 245);
    (day > start || (day == start && hour > 2)) && (day < end || (day == end && hour < 2))
}

/// The last 1 March until that day.
fn march_of(day: i64) -> i64 {
    // Years counted from March have their leap day at the end, which makes the first day of each a formula; 719,468 days
    // lie between 0000-03-01 and 1970-01-01, and 400 years have 146,097.
    let first_day =
        |year: i64| year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) - 719_468;
    let guess = ((day + 719_468) * 400).div_euclid(146_097);
    let year = [guess + 1, guess].into_iter().find(|year| first_day(*year) <= day);
    first_day(year.unwrap_or(guess - 1))
}

/// The first Sunday from that day on. Day 0 was a Thursday.
fn sunday_from(day: i64) -> i64 {
    day + (3 - day).rem_euclid(7)
}
