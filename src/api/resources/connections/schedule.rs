//! A schedule as Fivetran's newer clients write and read it: one object instead of three fields.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::resources::transformations::Day;
use crate::core::schedule::{DAILY, Schedule, ScheduleKind, Zone};
use crate::core::{Error, Result};

/// `schedule` in requests. The object comes first: what is wrong inside it is more telling than that it is no text.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum ScheduleField {
    /// Fivetran's.
    Object(ConnectionSchedule),
    /// In words: `every 15 minutes`, `every day at 03:00`, `manual`. Ours, not Fivetran's.
    Phrase(String),
}

/// When a connection syncs.
#[derive(Serialize, Deserialize, JsonSchema)]
pub(super) struct ConnectionSchedule {
    schedule_type: ScheduleType,
    /// Minutes between syncs, as `sync_frequency`; for INTERVAL.
    #[serde(skip_serializing_if = "Option::is_none")]
    interval: Option<u32>,
    /// `HH:00` in the destination's time zone; for TIME_OF_DAY.
    #[serde(skip_serializing_if = "Option::is_none")]
    time_of_day: Option<String>,
    /// Only all seven, which is what leaving it out means.
    #[serde(skip_serializing_if = "Option::is_none")]
    days_of_week: Option<BTreeSet<Day>>,
    /// Not supported: leave it out.
    #[serde(skip_serializing_if = "Option::is_none")]
    cron: Option<String>,
}

/// Fivetran's CRON is not among them.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum ScheduleType {
    Interval,
    TimeOfDay,
    Manual,
}

impl ConnectionSchedule {
    /// As answers show a schedule: only what belongs to its type, as Terraform compares every field it knows.
    pub(super) fn of(schedule: &Schedule) -> Self {
        let (schedule_type, interval) = match (schedule.kind, schedule.daily_sync_time) {
            (ScheduleKind::Manual, _) => (ScheduleType::Manual, None),
            (ScheduleKind::Auto, Some(_)) => (ScheduleType::TimeOfDay, None),
            (ScheduleKind::Auto, None) => (ScheduleType::Interval, Some(schedule.frequency_minutes)),
        };
        let daily = schedule_type == ScheduleType::TimeOfDay;
        let time_of_day = schedule.daily_sync_time_text().filter(|_| daily);
        Self { schedule_type, interval, time_of_day, days_of_week: None, cron: None }
    }

    /// The schedule it asks for. What belongs to another type is refused: it would have no effect.
    pub(super) fn read(
        &self,
        present: Option<&Schedule>,
        default_minutes: u32,
        zone: Zone,
    ) -> Result<Schedule> {
        if self.cron.as_deref().is_some_and(|cron| !cron.is_empty()) {
            return Err(refused("cron", "Syncs by cron are not supported here", "Leave it out"));
        }
        if self.days_of_week.as_ref().is_some_and(|days| !matches!(days.len(), 0 | 7)) {
            let message = "Syncs on some days of the week only are not supported here";
            return Err(refused("days_of_week", message, "Leave it out, or name all seven days"));
        }
        let strange = |field| refused(field, "This belongs to another schedule_type", "Leave it out");
        match self.schedule_type {
            ScheduleType::TimeOfDay | ScheduleType::Manual if self.interval.is_some() => {
                Err(strange("interval"))
            }
            ScheduleType::Interval | ScheduleType::Manual if self.time_of_day.is_some() => {
                Err(strange("time_of_day"))
            }
            ScheduleType::Interval => {
                let minutes =
                    self.interval.ok_or_else(|| refused("interval", "This is required", "Add it"))?;
                Schedule::new(ScheduleKind::Auto, minutes, None, zone)
                    .map_err(|error| error.field("schedule.interval"))
            }
            ScheduleType::TimeOfDay => {
                let time = self.time_of_day.as_deref();
                let time = time.ok_or_else(|| refused("time_of_day", "This is required", "Add it"))?;
                // Fivetran answers with seconds, and clients send back what they read.
                let time = time.strip_suffix(":00").filter(|time| time.contains(':')).unwrap_or(time);
                Schedule::new(ScheduleKind::Auto, DAILY, Some(time), zone)
                    .map_err(|error| error.field("schedule.time_of_day"))
            }
            ScheduleType::Manual => match present {
                Some(present) => Ok(Schedule { kind: ScheduleKind::Manual, ..*present }),
                None => Schedule::new(ScheduleKind::Manual, default_minutes, None, zone),
            },
        }
    }
}

fn refused(field: &str, message: &str, remedy: &str) -> Error {
    Error::invalid(message).field(format!("schedule.{field}")).remedy(remedy)
}
