//! Dates and times as text that sorts: ISO 8601, fractions always six digits, `Z` for instants.
//!
//! Years 0000 to 9999 have four digits (year 0000 is 1 BC). Others take ISO 8601's expanded form, a sign and at least
//! six digits (`-000043-03-15` is 44 BC, `+294276-12-31`), which is exact but no longer sorts with the rest.
//! Infinities are the words `infinity` and `-infinity`, as Postgres prints them. Written by hand because chrono ends
//! at the year 262142 and Postgres does not.

/// Microseconds in a day.
const DAY: i64 = 86_400_000_000;

/// What the source sends for a date that never comes.
const DATE_INFINITY: i32 = i32::MAX;

/// What the source sends for an instant that never comes.
const TIMESTAMP_INFINITY: i64 = i64::MAX;

/// `YYYY-MM-DD`, from days since 1970-01-01.
pub(super) fn push_date(out: &mut Vec<u8>, days: i32) {
    match days {
        DATE_INFINITY => out.extend_from_slice(b"infinity"),
        days if days == -DATE_INFINITY => out.extend_from_slice(b"-infinity"),
        days => push_day(out, i64::from(days)),
    }
}

/// `YYYY-MM-DDTHH:MM:SS.ffffff` and the zone, from microseconds since 1970-01-01T00:00:00.
pub(super) fn push_timestamp(out: &mut Vec<u8>, micros: i64, zone: &str) {
    match micros {
        TIMESTAMP_INFINITY => out.extend_from_slice(b"infinity"),
        micros if micros == -TIMESTAMP_INFINITY => out.extend_from_slice(b"-infinity"),
        micros => {
            push_day(out, micros.div_euclid(DAY));
            out.push(b'T');
            push_clock(out, micros.rem_euclid(DAY).cast_unsigned());
            out.extend_from_slice(zone.as_bytes());
        }
    }
}

/// `HH:MM:SS.ffffff`, from microseconds since midnight. `24:00:00.000000` is a time of day in Postgres. False, and
/// nothing written, when it is no time of day.
#[must_use]
pub(super) fn push_time(out: &mut Vec<u8>, micros: i64) -> bool {
    let valid = (0..=DAY).contains(&micros);
    if valid {
        push_clock(out, micros.cast_unsigned());
    }
    valid
}

/// An instant as it is stored in `_fivetran_synced`, for comparisons in SQL.
pub(super) fn instant(micros: i64) -> String {
    let mut out = Vec::with_capacity(27);
    push_timestamp(&mut out, micros, "Z");
    String::from_utf8_lossy(&out).into_owned()
}

fn push_day(out: &mut Vec<u8>, days: i64) {
    let (year, month, day) = civil(days);
    if (0..=9999).contains(&year) {
        push_padded(out, year.unsigned_abs(), 4);
    } else {
        out.push(if year < 0 { b'-' } else { b'+' });
        let width = if year.unsigned_abs() < 1_000_000 { 6 } else { 7 };
        push_padded(out, year.unsigned_abs(), width);
    }
    out.push(b'-');
    push_padded(out, month, 2);
    out.push(b'-');
    push_padded(out, day, 2);
}

fn push_clock(out: &mut Vec<u8>, micros: u64) {
    let seconds = micros / 1_000_000;
    push_padded(out, seconds / 3600, 2);
    out.push(b':');
    push_padded(out, seconds / 60 % 60, 2);
    out.push(b':');
    push_padded(out, seconds % 60, 2);
    out.push(b'.');
    push_padded(out, micros % 1_000_000, 6);
}

/// Year, month, day of a day number in the proleptic Gregorian calendar.
///
/// Counts in years that begin on 1 March, so that the leap day is the last of its year: an era of 400 such years has
/// 146,097 days, and the months from March on repeat 153 days every five.
fn civil(days: i64) -> (i64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month.unsigned_abs(), day.unsigned_abs())
}

/// The number's last `width` digits, with zeros in front.
pub(super) fn push_padded(out: &mut Vec<u8>, mut number: u64, width: usize) {
    let start = out.len();
    out.resize(start.saturating_add(width), b'0');
    for slot in out.iter_mut().skip(start).rev() {
        *slot = b'0' + (number % 10).to_le_bytes()[0];
        number /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::{DateTime, NaiveDate};
    use proptest::prelude::*;

    fn date(days: i32) -> String {
        let mut out = Vec::new();
        push_date(&mut out, days);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn i7_dates_outside_four_digit_years_take_the_expanded_form() {
        assert_eq!(date(0), "1970-01-01");
        assert_eq!(date(-719_528), "0000-01-01");
        assert_eq!(date(-719_529), "-000001-12-31");
        assert_eq!(date(2_932_896), "9999-12-31");
        assert_eq!(date(2_932_897), "+010000-01-01");
        assert_eq!(date(2_145_042_905), "+5874897-12-31");
        assert_eq!(date(i32::MAX), "infinity");
        assert_eq!(date(-i32::MAX), "-infinity");
    }

    #[test]
    fn i7_instants_keep_six_digits() {
        assert_eq!(instant(0), "1970-01-01T00:00:00.000000Z");
        assert_eq!(instant(-1), "1969-12-31T23:59:59.999999Z");
        assert_eq!(instant(i64::MAX), "infinity");
        assert_eq!(instant(-i64::MAX), "-infinity");
        let mut out = Vec::new();
        assert!(push_time(&mut out, DAY) && !push_time(&mut out, DAY + 1) && !push_time(&mut out, -1));
        assert_eq!(out, b"24:00:00.000000");
    }

    proptest! {
        #[test]
        fn i7_dates_agree_with_chrono(days in -719_528_i32..2_932_896) {
            let expected = NaiveDate::from_num_days_from_ce_opt(days + 719_163).unwrap();
            prop_assert_eq!(date(days), expected.format("%Y-%m-%d").to_string());
        }

        #[test]
        fn i7_instants_agree_with_chrono(micros in -62_135_596_800_000_000_i64..253_402_300_799_999_999) {
            let expected = DateTime::from_timestamp_micros(micros).unwrap();
            prop_assert_eq!(instant(micros), expected.format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string());
        }
    }
}
