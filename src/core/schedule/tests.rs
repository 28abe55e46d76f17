use proptest::prelude::*;

use super::*;
use crate::core::ErrorKind;

const HOUR: i64 = 3_600_000_000;
const DAY: i64 = 24 * HOUR;

const UTC: Zone = Zone { utc_offset_minutes: 0, daylight_saving: false };
const NEW_YORK: Zone = Zone { utc_offset_minutes: -300, daylight_saving: true };

fn every(minutes: u32) -> Schedule {
    Schedule::new(ScheduleKind::Auto, minutes, None, UTC).unwrap()
}

fn daily(hour: u8, zone: Zone) -> Schedule {
    Schedule::new(ScheduleKind::Auto, 1440, Some(&format!("{hour:02}:00")), zone).unwrap()
}

/// Microseconds of `2026-03-08T07:00:00Z`.
fn at(text: &str) -> i64 {
    chrono::DateTime::parse_from_rfc3339(text).unwrap().timestamp_micros()
}

#[test]
fn phrases_say_what_they_mean() {
    for (text, minutes) in [
        ("every 15 minutes", 15),
        ("every minute", 1),
        ("every 1 minute", 1),
        ("Every  5 MINS", 5),
        ("every hour", 60),
        ("hourly", 60),
        ("every 6 hours", 360),
        ("every 60 minutes", 60),
        ("daily", 1440),
        ("every day", 1440),
        ("every 24 hours", 1440),
    ] {
        assert_eq!(Schedule::from_phrase(text, UTC).unwrap(), every(minutes), "{text}");
    }
    assert_eq!(Schedule::from_phrase("every day at 03:00", UTC).unwrap().daily_sync_time, Some(3));
    assert_eq!(Schedule::from_phrase("daily at 3:00", UTC).unwrap().daily_sync_time, Some(3));
    assert_eq!(Schedule::from_phrase("manual", UTC).unwrap().kind, ScheduleKind::Manual);
}

#[test]
fn a_phrase_without_a_frequency_names_the_closest() {
    for (text, closest) in [
        ("every 10 minutes", "every 15 minutes"),
        ("every 2 minutes", "every minute"),
        ("every 0 minutes", "every minute"),
        ("every 5 hours", "every 6 hours"),
        ("weekly", "every day"),
        ("every 4294967295 weeks", "every day"),
    ] {
        let error = Schedule::from_phrase(text, UTC).unwrap_err();
        assert_eq!((error.kind(), error.field_name()), (ErrorKind::InvalidInput, Some("schedule")));
        assert!(error.remedy_text().unwrap().contains(&format!("'{closest}'")), "{error}");
    }
}

#[test]
fn an_unreadable_phrase_names_the_field_and_an_example() {
    for text in ["", "sometimes", "every", "every x minutes", "every 15", "hourly at 03:00", "daily at 03:30"]
    {
        let error = Schedule::from_phrase(text, UTC).unwrap_err();
        assert_eq!(error.field_name(), Some("schedule"), "{text}");
        assert!(error.remedy_text().unwrap().contains("every 15 minutes"), "{text}");
    }
}

#[test]
fn a_frequency_outside_the_list_names_the_list() {
    let error = Schedule::new(ScheduleKind::Auto, 7, None, UTC).unwrap_err();
    assert_eq!(error.field_name(), Some("sync_frequency"));
    assert!(error.to_string().contains("1, 5, 15, 30, 60, 120, 180, 360, 480, 720, 1440"), "{error}");
}

#[test]
fn a_daily_sync_time_is_a_full_hour_of_a_daily_sync() {
    let daily = |time| Schedule::new(ScheduleKind::Auto, 1440, Some(time), UTC);
    assert_eq!(daily("03:00").unwrap().daily_sync_time_text().as_deref(), Some("03:00"));
    assert_eq!(daily("23:00").unwrap().daily_sync_time, Some(23));
    for time in ["24:00", "03:30", "3", "aa:00", "03:0", "", "-1:00", "+3:00", "003:00"] {
        assert_eq!(daily(time).unwrap_err().field_name(), Some("daily_sync_time"), "{time}");
    }
    let hourly = Schedule::new(ScheduleKind::Auto, 60, Some("03:00"), UTC);
    assert_eq!(hourly.unwrap_err().field_name(), Some("daily_sync_time"));
}

#[test]
fn the_first_sync_is_due_at_once_and_a_manual_one_never() {
    assert_eq!(next_due(&every(15), None, 7 * HOUR), Some(7 * HOUR));
    assert_eq!(
        next_due(&every(15), None, 7 * HOUR + 59_999_999),
        Some(7 * HOUR),
        "the minute's cron tick sees it"
    );
    let manual = Schedule::new(ScheduleKind::Manual, 15, None, UTC).unwrap();
    assert_eq!(next_due(&manual, None, 42), None);
    assert_eq!(next_due(&manual, Some(1), 42), None);
}

#[test]
fn missed_times_are_caught_up_once() {
    let last = 1000 * HOUR;
    assert_eq!(next_due(&every(60), Some(last), last + 10 * HOUR + 5), Some(last + 11 * HOUR));
}

#[test]
fn a_daily_sync_comes_at_the_hour_of_the_destinations_zone() {
    let schedule = daily(3, Zone { utc_offset_minutes: -5 * 60, daylight_saving: false });
    assert_eq!(next_due(&schedule, Some(0), 100 * DAY), Some(100 * DAY + 8 * HOUR));
    assert_eq!(next_due(&schedule, Some(0), 100 * DAY + 8 * HOUR), Some(101 * DAY + 8 * HOUR));
}

#[test]
fn the_second_sunday_of_march_and_the_first_of_november_move_a_daily_sync() {
    for (now, due) in [
        ("2026-03-07T12:00:00Z", "2026-03-08T07:00:00Z"), // 03:00 EDT, the clocks having jumped at 2:00
        ("2026-03-06T12:00:00Z", "2026-03-07T08:00:00Z"), // 03:00 EST
        ("2026-10-31T12:00:00Z", "2026-11-01T08:00:00Z"), // 03:00 EST, the clocks having gone back at 2:00
        ("2026-10-30T12:00:00Z", "2026-10-31T07:00:00Z"),
        ("2024-03-09T12:00:00Z", "2024-03-10T07:00:00Z"), // a leap year
        ("2024-11-02T12:00:00Z", "2024-11-03T08:00:00Z"),
        ("2027-03-13T12:00:00Z", "2027-03-14T07:00:00Z"), // the latest possible Sundays
        ("2027-11-06T12:00:00Z", "2027-11-07T08:00:00Z"),
    ] {
        assert_eq!(next_due(&daily(3, NEW_YORK), Some(0), at(now)), Some(at(due)), "{now}");
    }
}

#[test]
fn an_hour_that_is_skipped_is_the_moment_of_the_change_and_one_that_comes_twice_is_the_first() {
    let next = |hour, now: &str| next_due(&daily(hour, NEW_YORK), Some(0), at(now)).unwrap();
    assert_eq!(next(2, "2026-03-08T00:00:00Z"), at("2026-03-08T07:00:00Z"), "there is no 2:00");
    assert_eq!(next(2, "2026-03-08T07:00:00Z"), at("2026-03-09T06:00:00Z"));
    assert_eq!(next(1, "2026-11-01T00:00:00Z"), at("2026-11-01T05:00:00Z"), "1:00 EDT");
    assert_eq!(next(1, "2026-11-01T05:00:00Z"), at("2026-11-02T06:00:00Z"), "1:00 EST is not a second turn");
}

#[test]
fn leap_days_and_ends_of_months_are_days_like_any_other() {
    for (now, due) in [
        ("2028-02-28T22:00:00Z", "2028-02-28T23:00:00Z"),
        ("2028-02-28T23:00:00Z", "2028-02-29T23:00:00Z"),
        ("2028-02-29T23:00:00Z", "2028-03-01T23:00:00Z"),
        ("2027-02-28T23:30:00Z", "2027-03-01T23:00:00Z"),
        ("2026-12-31T23:30:00Z", "2027-01-01T23:00:00Z"),
        ("2100-02-28T23:30:00Z", "2100-03-01T23:00:00Z"),
    ] {
        assert_eq!(next_due(&daily(23, UTC), Some(0), at(now)), Some(at(due)), "{now}");
    }
}

#[test]
fn spans_of_time_know_no_daylight_saving() {
    let schedule = Schedule::new(ScheduleKind::Auto, 1440, None, NEW_YORK).unwrap();
    let before = at("2026-03-08T06:30:00Z");
    assert_eq!(next_due(&schedule, Some(before), before), Some(before + DAY));
}

#[test]
fn a_clock_that_goes_back_does_not_give_a_due_time_out_again() {
    let due = at("2026-05-01T07:00:00Z");
    let back = due - 600_000_000;
    assert_eq!(next_due(&daily(3, NEW_YORK), Some(due), back), Some(due + DAY));
    assert_eq!(next_due(&every(60), Some(due), back), Some(due + HOUR));
}

#[test]
fn a_clock_far_in_the_future_does_not_stop_syncs_once_it_is_right_again() {
    assert_eq!(next_due(&every(60), Some(9000 * DAY), 100 * DAY + 1), Some(100 * DAY + HOUR));
}

#[test]
fn utc_offsets_are_whole_hours() {
    assert_eq!(Zone::parse("+12", false).unwrap().utc_offset_minutes, 720);
    assert_eq!(Zone::parse("0", false).unwrap(), UTC);
    assert_eq!(Zone::parse("-5", true).unwrap(), NEW_YORK);
    for text in ["+13", "-12", "5.5", "", "UTC"] {
        assert_eq!(Zone::parse(text, true).unwrap_err().field_name(), Some("time_zone_offset"));
    }
}

/// What the zone's clocks show at a moment: microseconds as if they were UTC. Written from the rule's text, with a
/// calendar, to be compared with arithmetic.
fn shown(zone: Zone, utc: i64) -> chrono::NaiveDateTime {
    use chrono::{Datelike, Days, NaiveDate, TimeDelta, Weekday};
    let standard = chrono::DateTime::from_timestamp_micros(utc).unwrap().naive_utc()
        + TimeDelta::minutes(zone.utc_offset_minutes.into());
    let sunday = |month, nth: u64| {
        let first = NaiveDate::from_ymd_opt(standard.year(), month, 1).unwrap();
        let sunday = first.iter_days().find(|day| day.weekday() == Weekday::Sun).unwrap();
        sunday.checked_add_days(Days::new(7 * (nth - 1))).unwrap()
    };
    let start = sunday(3, 2).and_hms_opt(2, 0, 0).unwrap();
    let end = sunday(11, 1).and_hms_opt(1, 0, 0).unwrap();
    let ahead = zone.daylight_saving && standard >= start && standard < end;
    standard + TimeDelta::hours(i64::from(ahead))
}

fn schedule() -> impl Strategy<Value = Schedule> {
    let frequency = proptest::sample::select(FREQUENCIES.to_vec());
    (frequency, proptest::option::of(0_u8..24), zone()).prop_map(|(minutes, hour, zone)| Schedule {
        kind: ScheduleKind::Auto,
        frequency_minutes: minutes,
        daily_sync_time: hour.filter(|_| minutes == DAILY),
        zone,
    })
}

fn zone() -> impl Strategy<Value = Zone> {
    (-11..=12_i32, any::<bool>())
        .prop_map(|(hours, daylight_saving)| Zone { utc_offset_minutes: hours * 60, daylight_saving })
}

proptest! {
    #[test]
    fn a_schedule_survives_being_said(schedule in schedule()) {
        let said = schedule.to_string();
        prop_assert_eq!(Schedule::from_phrase(&said, schedule.zone).unwrap(), schedule);
    }

    #[test]
    fn the_next_due_time_is_ahead_soon_in_phase_and_new(
        schedule in schedule(),
        last in -1_i64 << 60..1 << 60,
        now in prop_oneof![-1_i64 << 60..1 << 60, Just(0)],
        nearby in proptest::option::of(-3 * DAY..3 * DAY),
    ) {
        // Half of the time the clock is close to the last due time, on either side.
        let now = nearby.map_or(now, |delta| last + delta);
        let next = next_due(&schedule, Some(last), now).unwrap();
        let period = i64::from(schedule.frequency_minutes) * 60_000_000;
        prop_assert!(next > now);
        prop_assert!(next - now <= 2 * period);
        prop_assert_ne!(next, last);
        match schedule.daily_sync_time {
            None => prop_assert_eq!((next - last.div_euclid(60_000_000) * 60_000_000).rem_euclid(period), 0),
            Some(hour) => {
                let standard = i64::from(schedule.zone.utc_offset_minutes) * 60_000_000;
                let behind = (i64::from(hour) * HOUR - next - standard).rem_euclid(DAY);
                prop_assert!(behind == 0 || (schedule.zone.daylight_saving && behind == HOUR));
            }
        }
    }

    /// A year of days, each served a little late: every local day once, in order, when clocks show the hour.
    #[test]
    fn a_daily_sync_skips_no_day_and_doubles_none(
        zone in zone(),
        hour in 0_u8..24,
        begin in 0_i64..(80 * 365 * DAY),
        late in 0_i64..HOUR,
    ) {
        use chrono::Timelike;
        let begin = at("2007-04-01T00:00:00Z") + begin;
        let schedule = daily(hour, zone);
        let mut due = next_due(&schedule, Some(begin - 1), begin).unwrap();
        for _ in 0..366 {
            let next = next_due(&schedule, Some(due), due + late).unwrap();
            let (today, tomorrow) = (shown(zone, due), shown(zone, next));
            prop_assert_eq!(today.date().succ_opt().unwrap(), tomorrow.date());
            let jumped = hour == 2 && tomorrow.hour() == 3 && shown(zone, next - 1).hour() == 1;
            prop_assert!((tomorrow.hour() == u32::from(hour) || jumped) && tomorrow.minute() == 0);
            due = next;
        }
    }

    /// However rarely and irregularly the clock ticks, and even if it is set back: at any tick at most one due time is
    /// open, and serving it leaves the next one ahead.
    #[test]
    fn missed_minutes_are_caught_up_by_one_run(
        schedule in schedule(),
        ticks in proptest::collection::vec(-30_i64..3000, 1..40),
    ) {
        let mut now = at("2026-03-01T00:00:00Z");
        let mut due = next_due(&schedule, None, now).unwrap();
        let mut served = Vec::new();
        for minutes in ticks {
            now += minutes * 60_000_000;
            if due <= now {
                served.push(due);
                due = next_due(&schedule, Some(due), now).unwrap();
                prop_assert!(due > now);
                prop_assert!(!served.contains(&due), "the clock went back 30 minutes at most, a due time never comes again");
            }
        }
    }

    #[test]
    fn no_text_and_no_time_makes_it_panic(text in "\\PC{0,30}", last in any::<i64>(), now in any::<i64>()) {
        let _ = Schedule::from_phrase(&text, UTC);
        let _ = Schedule::new(ScheduleKind::Auto, 1440, Some(&text), UTC);
        let _ = next_due(&every(1), Some(last), now);
        let _ = next_due(&daily(2, NEW_YORK), Some(last), now);
    }
}
