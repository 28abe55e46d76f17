use proptest::prelude::*;

use super::*;
use crate::core::ErrorKind;

const HOUR: i64 = 3_600_000_000;
const DAY: i64 = 24 * HOUR;

fn every(minutes: u32) -> Schedule {
    Schedule::new(ScheduleKind::Auto, minutes, None, 0).unwrap()
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
        assert_eq!(Schedule::from_phrase(text, 0).unwrap(), every(minutes), "{text}");
    }
    assert_eq!(Schedule::from_phrase("every day at 03:00", 60).unwrap().daily_sync_time, Some(3));
    assert_eq!(Schedule::from_phrase("daily at 3:00", 0).unwrap().daily_sync_time, Some(3));
    assert_eq!(Schedule::from_phrase("manual", 0).unwrap().kind, ScheduleKind::Manual);
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
        let error = Schedule::from_phrase(text, 0).unwrap_err();
        assert_eq!((error.kind(), error.field_name()), (ErrorKind::InvalidInput, Some("schedule")));
        assert!(error.remedy_text().unwrap().contains(&format!("'{closest}'")), "{error}");
    }
}

#[test]
fn an_unreadable_phrase_names_the_field_and_an_example() {
    for text in ["", "sometimes", "every", "every x minutes", "every 15", "hourly at 03:00", "daily at 03:30"]
    {
        let error = Schedule::from_phrase(text, 0).unwrap_err();
        assert_eq!(error.field_name(), Some("schedule"), "{text}");
        assert!(error.remedy_text().unwrap().contains("every 15 minutes"), "{text}");
    }
}

#[test]
fn a_frequency_outside_the_list_names_the_list() {
    let error = Schedule::new(ScheduleKind::Auto, 7, None, 0).unwrap_err();
    assert_eq!(error.field_name(), Some("sync_frequency"));
    assert!(error.to_string().contains("1, 5, 15, 30, 60, 120, 180, 360, 480, 720, 1440"), "{error}");
}

#[test]
fn a_daily_sync_time_is_a_full_hour_of_a_daily_sync() {
    let daily = |time| Schedule::new(ScheduleKind::Auto, 1440, Some(time), 0);
    assert_eq!(daily("03:00").unwrap().daily_sync_time_text().as_deref(), Some("03:00"));
    assert_eq!(daily("23:00").unwrap().daily_sync_time, Some(23));
    for time in ["24:00", "03:30", "3", "aa:00", "03:0", "", "-1:00", "+3:00", "003:00"] {
        assert_eq!(daily(time).unwrap_err().field_name(), Some("daily_sync_time"), "{time}");
    }
    let hourly = Schedule::new(ScheduleKind::Auto, 60, Some("03:00"), 0);
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
    let manual = Schedule::new(ScheduleKind::Manual, 15, None, 0).unwrap();
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
    let schedule = Schedule::new(ScheduleKind::Auto, 1440, Some("03:00"), -5 * 60).unwrap();
    assert_eq!(next_due(&schedule, Some(0), 100 * DAY), Some(100 * DAY + 8 * HOUR));
    assert_eq!(next_due(&schedule, Some(0), 100 * DAY + 8 * HOUR), Some(101 * DAY + 8 * HOUR));
}

#[test]
fn a_clock_far_in_the_future_does_not_stop_syncs_once_it_is_right_again() {
    assert_eq!(next_due(&every(60), Some(9000 * DAY), 100 * DAY + 1), Some(100 * DAY + HOUR));
}

#[test]
fn utc_offsets_are_whole_hours() {
    assert_eq!(parse_utc_offset("+12").unwrap(), 720);
    assert_eq!(parse_utc_offset("0").unwrap(), 0);
    assert_eq!(parse_utc_offset("-11").unwrap(), -660);
    for text in ["+13", "-12", "5.5", "", "UTC"] {
        assert_eq!(parse_utc_offset(text).unwrap_err().field_name(), Some("time_zone_offset"));
    }
}

fn schedule() -> impl Strategy<Value = Schedule> {
    let frequency = proptest::sample::select(FREQUENCIES.to_vec());
    (frequency, proptest::option::of(0_u8..24), -11 * 60..=12 * 60).prop_map(|(minutes, hour, offset)| {
        Schedule {
            kind: ScheduleKind::Auto,
            frequency_minutes: minutes,
            daily_sync_time: hour.filter(|_| minutes == DAILY),
            utc_offset_minutes: offset,
        }
    })
}

proptest! {
    #[test]
    fn a_schedule_survives_being_said(schedule in schedule()) {
        let said = schedule.to_string();
        prop_assert_eq!(Schedule::from_phrase(&said, schedule.utc_offset_minutes).unwrap(), schedule);
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
                let local = next + i64::from(schedule.utc_offset_minutes) * 60_000_000;
                prop_assert_eq!(local.rem_euclid(DAY), i64::from(hour) * HOUR);
            }
        }
    }

    #[test]
    fn no_text_and_no_time_makes_it_panic(text in "\\PC{0,30}", last in any::<i64>(), now in any::<i64>()) {
        let _ = Schedule::from_phrase(&text, 0);
        let _ = Schedule::new(ScheduleKind::Auto, 1440, Some(&text), 0);
        let _ = next_due(&every(1), Some(last), now);
    }
}
