//! Schedules as people say them.

use super::{DAILY, FREQUENCIES, Schedule, ScheduleKind, Zone, parse_full_hour};
use crate::core::{Error, Result};

/// Reads a phrase. Case and spacing do not matter.
pub(super) fn parse(text: &str, zone: Zone) -> Result<Schedule> {
    let lower = text.to_lowercase();
    let words = lower.split_whitespace().collect::<Vec<_>>();
    let (kind, frequency_minutes, hour) = match words.as_slice() {
        ["manual" | "manually"] => (ScheduleKind::Manual, DAILY, None),
        [span @ .., "at", time] => {
            let frequency = frequency(span, text)?;
            if frequency != DAILY {
                return Err(malformed(text, "only a daily sync has a time of day"));
            }
            let hour = parse_full_hour(time).map_err(|error| malformed(text, error.message()))?;
            (ScheduleKind::Auto, frequency, Some(hour))
        }
        span => (ScheduleKind::Auto, frequency(span, text)?, None),
    };
    Ok(Schedule { kind, frequency_minutes, daily_sync_time: hour, zone })
}

/// The phrase of a frequency.
pub(super) fn of_frequency(minutes: u32) -> String {
    match minutes {
        1 => "every minute".to_owned(),
        60 => "every hour".to_owned(),
        DAILY => "every day".to_owned(),
        hours if hours % 60 == 0 => format!("every {} hours", hours / 60),
        _ => format!("every {minutes} minutes"),
    }
}

fn frequency(span: &[&str], text: &str) -> Result<u32> {
    let minutes = match span {
        ["hourly"] => 60,
        ["daily"] => DAILY,
        ["weekly"] => DAILY * 7,
        ["every", unit] => minutes_of(unit, text)?,
        ["every", count, unit] => {
            let count = count.parse::<u32>().map_err(|_| malformed(text, "the count is not a number"))?;
            minutes_of(unit, text)?.saturating_mul(count)
        }
        _ => return Err(malformed(text, "it is not a schedule phrase")),
    };
    if FREQUENCIES.contains(&minutes) {
        return Ok(minutes);
    }
    // Of two equally close ones the slower: kinder to the source.
    let closest = FREQUENCIES.iter().rev().min_by_key(|allowed| allowed.abs_diff(minutes));
    let closest = of_frequency(closest.copied().unwrap_or(DAILY));
    Err(Error::invalid(format!("There is no schedule '{text}'")).field("schedule").remedy(format!(
        "The closest is '{closest}'; allowed are every {} minutes",
        super::allowed_frequencies()
    )))
}

fn minutes_of(unit: &str, text: &str) -> Result<u32> {
    match unit {
        "minute" | "minutes" | "min" | "mins" => Ok(1),
        "hour" | "hours" => Ok(60),
        "day" | "days" => Ok(DAILY),
        "week" | "weeks" => Ok(DAILY * 7),
        _ => Err(malformed(text, &format!("'{unit}' is not a unit"))),
    }
}

fn malformed(text: &str, why: &str) -> Error {
    Error::invalid(format!("Cannot read the schedule '{text}': {why}"))
        .field("schedule")
        .remedy("Write for example 'every 15 minutes', 'every 6 hours', 'every day at 03:00' or 'manual'")
}
