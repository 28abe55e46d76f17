//! When a connection syncs by itself.
//!
//! Fivetran's fields (`schedule_type`, `sync_frequency`, `daily_sync_time`) and the phrases of the SDK
//! (`every 15 minutes`) are two spellings of one [`Schedule`].

mod phrase;
mod zone;

use serde::{Deserialize, Serialize};

pub use zone::Zone;

use super::{Error, Result};

/// Minutes between two syncs that Fivetran's API knows, and so does ours.
pub const FREQUENCIES: [u32; 11] = [1, 5, 15, 30, 60, 120, 180, 360, 480, 720, DAILY];

/// The one frequency that may have a time of day.
pub const DAILY: u32 = 1440;

const MINUTE_MICROS: i128 = 60_000_000;

/// Whether the clock starts syncs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ScheduleKind {
    /// It does.
    #[default]
    Auto,
    /// Only a request does.
    Manual,
}

/// When a connection syncs by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    /// Whether the clock starts syncs at all.
    pub kind: ScheduleKind,
    /// Minutes between two due times, one of [`FREQUENCIES`]. Kept, but without effect, when manual.
    pub frequency_minutes: u32,
    /// Full hour (0..=23) of a daily sync, in the destination's zone.
    pub daily_sync_time: Option<u8>,
    /// The destination's zone.
    pub zone: Zone,
}

impl Schedule {
    /// A schedule from the API's fields.
    ///
    /// # Errors
    /// [`InvalidInput`](super::ErrorKind::InvalidInput) naming `sync_frequency` or `daily_sync_time` and what is
    /// allowed.
    pub fn new(
        kind: ScheduleKind,
        frequency_minutes: u32,
        daily_sync_time: Option<&str>,
        zone: Zone,
    ) -> Result<Self> {
        if !FREQUENCIES.contains(&frequency_minutes) {
            return Err(Error::invalid(format!("There is no sync frequency of {frequency_minutes} minutes"))
                .field("sync_frequency")
                .remedy(format!("Use one of: {}", allowed_frequencies())));
        }
        let hour = daily_sync_time.map(parse_full_hour).transpose()?;
        if hour.is_some() && frequency_minutes != DAILY {
            return Err(Error::invalid(format!(
                "A daily sync time makes no sense for a sync every {frequency_minutes} minutes"
            ))
            .field("daily_sync_time")
            .remedy("Set sync_frequency to 1440 or leave daily_sync_time out"));
        }
        Ok(Self { kind, frequency_minutes, daily_sync_time: hour, zone })
    }

    /// A schedule from a phrase: `every 15 minutes`, `hourly`, `every 6 hours`, `every day at 03:00`, `manual`.
    ///
    /// # Errors
    /// [`InvalidInput`](super::ErrorKind::InvalidInput) naming `schedule` and the closest allowed phrase.
    pub fn from_phrase(text: &str, zone: Zone) -> Result<Self> {
        phrase::parse(text, zone)
    }

    /// [`Schedule::daily_sync_time`] as the API spells it: `03:00`.
    #[must_use]
    pub fn daily_sync_time_text(&self) -> Option<String> {
        self.daily_sync_time.map(|hour| format!("{hour:02}:00"))
    }
}

/// The schedule as a phrase that [`Schedule::from_phrase`] reads.
impl std::fmt::Display for Schedule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.kind, self.daily_sync_time) {
            (ScheduleKind::Manual, _) => f.write_str("manual"),
            (ScheduleKind::Auto, Some(hour)) => write!(f, "every day at {hour:02}:00"),
            (ScheduleKind::Auto, None) => f.write_str(&phrase::of_frequency(self.frequency_minutes)),
        }
    }
}

/// The next time a connection is due, in microseconds UTC; `None` when the clock does not start it.
///
/// A connection that was never due is due at once: at the beginning of the current minute, so that all its due times
/// are whole minutes and the cron tick of a minute, which comes some milliseconds into it, never just misses one.
///
/// Afterwards the next due time is the first one after `now` that is in phase with the minute of `last_due` (or on the
/// daily hour), so that any number of missed times is caught up by the one run that is about to serve `last_due`. If the
/// clock went back behind `last_due`, the same due time is not given out again.
///
/// Only a daily hour follows the zone's clocks: its distance is 23 or 25 hours where they change. All other frequencies
/// are spans of time.
#[must_use]
pub fn next_due(schedule: &Schedule, last_due: Option<i64>, now: i64) -> Option<i64> {
    if schedule.kind == ScheduleKind::Manual {
        return None;
    }
    let Some(last_due) = last_due else {
        return i64::try_from(minute_of(now.into())).ok();
    };
    let next = match schedule.daily_sync_time {
        Some(hour) => next_daily(schedule.zone, hour, last_due.into(), now.into()),
        None => {
            let (now, last_due) = (i128::from(now), i128::from(last_due));
            let period = i128::from(schedule.frequency_minutes.max(1)) * MINUTE_MICROS;
            let first = now + period - (now - minute_of(last_due)).rem_euclid(period);
            if first == last_due { first + period } else { first }
        }
    };
    i64::try_from(next).ok()
}

/// The first time after `now` at which the zone's clocks show the hour, `last_due` excepted.
fn next_daily(zone: Zone, hour: u8, last_due: i128, now: i128) -> i128 {
    let minute = i64::try_from(now.div_euclid(MINUTE_MICROS)).unwrap_or(0);
    let today = zone.standard_day(minute);
    let due = |day: i64| i128::from(zone.minute_of(day, hour)) * MINUTE_MICROS;
    // Of the four days from yesterday on, three at least are ahead.
    let found = (today - 1..=today + 2).map(due).find(|due| *due > now && *due != last_due);
    found.unwrap_or_else(|| due(today + 3))
}

fn minute_of(micros: i128) -> i128 {
    micros - micros.rem_euclid(MINUTE_MICROS)
}

/// Reads `HH:00`.
fn parse_full_hour(text: &str) -> Result<u8> {
    let malformed = |why: &str| {
        Error::invalid(format!("'{text}' is not a daily sync time: {why}"))
            .field("daily_sync_time")
            .remedy("Use a full hour from 00:00 to 23:00")
    };
    let (hour, minute) = text.split_once(':').ok_or_else(|| malformed("it has no ':'"))?;
    let digits = |part: &str| part.len() <= 2 && part.bytes().all(|byte| byte.is_ascii_digit());
    match (hour.parse::<u8>(), minute) {
        (Ok(full @ 0..=23), "00") if digits(hour) => Ok(full),
        (Ok(0..=23), _) if digits(minute) => Err(malformed("only full hours are possible")),
        _ => Err(malformed("it is not HH:00")),
    }
}

fn allowed_frequencies() -> String {
    FREQUENCIES.map(|minutes| minutes.to_string()).join(", ")
}

#[cfg(test)]
mod tests;
