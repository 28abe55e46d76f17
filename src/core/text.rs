//! The one text form of every value: what a value becomes in a text column, in a hash, in CSV.
//!
//! ISO 8601 with six fractional digits, so that text sorts as time does within the years 0..=9999; `true`/`false`;
//! every digit of a decimal's scale; the shortest digits that read back as the same float; Base64 for bytes. Not
//! Arrow's display kernels: they format dates through chrono, which ends at year 262,143 and knows no infinity
//! (Postgres dates reach 5,874,897 and both infinities).

use arrow::array::{ArrayRef, AsArray};
use arrow::datatypes::{
    ArrowPrimitiveType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type,
    Int64Type, Time64MicrosecondType, TimestampMicrosecondType,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::types::ColumnType;
use super::{Error, Result};

/// Day number that means "later than every date"; its negative means "earlier".
pub const DATE_INFINITY: i32 = i32::MAX;

/// Microseconds that mean "later than every time"; its negative means "earlier".
pub const TIMESTAMP_INFINITY: i64 = i64::MAX;

const SECOND: i64 = 1_000_000;
/// Microseconds in a day.
pub(crate) const DAY: i64 = 86_400 * SECOND;

/// Calls `each` with the text form of every row of a column, `None` for NULL, in order. The text is only valid during
/// the call.
///
/// # Errors
/// [`Internal`](super::ErrorKind::Internal) when the array is not of the column's Arrow type; whatever `each` returns.
pub fn for_each_row(
    array: &ArrayRef,
    column_type: ColumnType,
    mut each: impl FnMut(Option<&[u8]>) -> Result<()>,
) -> Result<()> {
    use ColumnType::{
        Binary, Boolean, Decimal, Double, Float, Int, Json, Long, NaiveDate, NaiveDatetime, NaiveTime, Short,
        String, UtcDatetime,
    };
    match column_type {
        Boolean => typed(array.as_boolean_opt())?
            .iter()
            .try_for_each(|value| each(value.map(|value| if value { b"true".as_slice() } else { b"false" }))),
        Short => primitive::<Int16Type>(array, each, |out, value| number(out, &value)),
        Int => primitive::<Int32Type>(array, each, |out, value| number(out, &value)),
        Long => primitive::<Int64Type>(array, each, |out, value| number(out, &value)),
        Decimal { scale, .. } => primitive::<Decimal128Type>(array, each, |out, value| {
            decimal(out, value, scale);
            Ok(())
        }),
        Float => primitive::<Float32Type>(array, each, |out, value| match not_finite(value.into()) {
            Some(name) => {
                out.extend_from_slice(name.as_bytes());
                Ok(())
            }
            None => number(out, &value),
        }),
        Double => primitive::<Float64Type>(array, each, |out, value| match not_finite(value) {
            Some(name) => {
                out.extend_from_slice(name.as_bytes());
                Ok(())
            }
            None => number(out, &value),
        }),
        NaiveDate => primitive::<Date32Type>(array, each, |out, value| {
            date(out, value);
            Ok(())
        }),
        NaiveTime => primitive::<Time64MicrosecondType>(array, each, |out, value| {
            time(out, value);
            Ok(())
        }),
        NaiveDatetime | UtcDatetime => primitive::<TimestampMicrosecondType>(array, each, |out, value| {
            timestamp(out, value, column_type == UtcDatetime);
            Ok(())
        }),
        Binary => {
            let mut scratch = Vec::new();
            typed(array.as_binary_opt::<i32>())?.iter().try_for_each(|value| {
                let Some(value) = value else { return each(None) };
                scratch.clear();
                base64(&mut scratch, value);
                each(Some(&scratch))
            })
        }
        String | Json => {
            typed(array.as_string_opt::<i32>())?.iter().try_for_each(|value| each(value.map(str::as_bytes)))
        }
    }
}

fn primitive<T: ArrowPrimitiveType>(
    array: &ArrayRef,
    mut each: impl FnMut(Option<&[u8]>) -> Result<()>,
    write: impl Fn(&mut Vec<u8>, T::Native) -> Result<()>,
) -> Result<()> {
    let mut scratch = Vec::with_capacity(48);
    typed(array.as_primitive_opt::<T>())?.iter().try_for_each(|value| {
        let Some(value) = value else { return each(None) };
        scratch.clear();
        write(&mut scratch, value)?;
        each(Some(&scratch))
    })
}

/// The array, or the complaint that it has another type than its column says.
pub(crate) fn typed<A>(array: Option<A>) -> Result<A> {
    array.ok_or_else(|| Error::internal("a batch's column does not have the Arrow type of its column type"))
}

/// Integers as digits, finite floats as the shortest digits that read back as the same float.
pub(crate) fn number(out: &mut Vec<u8>, number: &impl serde::Serialize) -> Result<()> {
    Ok(serde_json::to_writer(out, number)?)
}

/// The names Postgres, DuckDB and Python read back; `None` for a finite number.
pub(crate) fn not_finite(number: f64) -> Option<&'static str> {
    if number.is_nan() {
        Some("NaN")
    } else if number.is_infinite() {
        Some(if number > 0.0 { "Infinity" } else { "-Infinity" })
    } else {
        None
    }
}

/// Appends a decimal with all digits of its scale.
pub(crate) fn decimal(out: &mut Vec<u8>, unscaled: i128, scale: u8) {
    if unscaled < 0 {
        out.push(b'-');
    }
    let mut digits = [b'0'; 40];
    let mut rest = unscaled.unsigned_abs();
    let mut used = 0_usize;
    // From the right; at least one digit before the point.
    for (index, slot) in digits.iter_mut().rev().enumerate() {
        if rest == 0 && index > usize::from(scale) {
            break;
        }
        *slot = b'0' + u8::try_from(rest % 10).unwrap_or_default();
        rest /= 10;
        used = index + 1;
    }
    let (_, written) = digits.split_at(digits.len() - used);
    let (whole, fraction) = written.split_at(used.saturating_sub(usize::from(scale)));
    out.extend_from_slice(whole);
    if scale > 0 {
        out.push(b'.');
        out.extend_from_slice(fraction);
    }
}

/// Appends a proleptic Gregorian date from its day number since 1970-01-01; year 0 is 1 BC, earlier ones are negative.
pub(crate) fn date(out: &mut Vec<u8>, days: i32) {
    match days {
        DATE_INFINITY => out.extend_from_slice(b"infinity"),
        days if days == -DATE_INFINITY => out.extend_from_slice(b"-infinity"),
        days => civil_date(out, days.into()),
    }
}

/// Appends a time of day in microseconds; `24:00:00` is one in Postgres.
pub(crate) fn time(out: &mut Vec<u8>, micros: i64) {
    let (seconds, fraction) = (micros.div_euclid(SECOND), micros.rem_euclid(SECOND));
    padded(out, seconds / 3_600, 2);
    out.push(b':');
    padded(out, seconds / 60 % 60, 2);
    out.push(b':');
    padded(out, seconds % 60, 2);
    out.push(b'.');
    padded(out, fraction, 6);
}

/// Appends a timestamp in microseconds since 1970; an `instant` ends in `Z`.
pub(crate) fn timestamp(out: &mut Vec<u8>, micros: i64, instant: bool) {
    match micros {
        TIMESTAMP_INFINITY => out.extend_from_slice(b"infinity"),
        micros if micros == -TIMESTAMP_INFINITY => out.extend_from_slice(b"-infinity"),
        micros => {
            civil_date(out, micros.div_euclid(DAY));
            out.push(b'T');
            time(out, micros.rem_euclid(DAY));
            if instant {
                out.push(b'Z');
            }
        }
    }
}

/// Appends bytes as Base64 with padding, as Fivetran's own CSV files have them.
pub(crate) fn base64(out: &mut Vec<u8>, bytes: &[u8]) {
    let start = out.len();
    out.resize(start + bytes.len().div_ceil(3) * 4, 0);
    if let Some(room) = out.get_mut(start..) {
        // The room is exactly what the encoding needs, so this cannot fail.
        let _ = STANDARD.encode_slice(bytes, room);
    }
}

fn civil_date(out: &mut Vec<u8>, days: i64) {
    let (year, month, day) = civil(days);
    if year < 0 {
        out.push(b'-');
    }
    padded(out, year.abs(), 4);
    out.push(b'-');
    padded(out, month, 2);
    out.push(b'-');
    padded(out, day, 2);
}

/// Year, month and day of a day number counted from 1970-01-01.
///
/// Counted in eras of 400 years (146,097 days) that begin on 1 March, so that the leap day is the last of its year.
fn civil(days: i64) -> (i64, i64, i64) {
    const FROM_MARCH_OF_YEAR_0: i64 = 719_468;
    let days = days + FROM_MARCH_OF_YEAR_0;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    // Take out one day for each leap year that has passed; what remains are years of 365 days.
    let leap_days = day_of_era / 1_460 - day_of_era / 36_524 + day_of_era / 146_096;
    let year_of_era = (day_of_era - leap_days) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // From March on, every five months have 153 days.
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let is_next_year = month_from_march >= 10;
    let month = if is_next_year { month_from_march - 9 } else { month_from_march + 3 };
    (era * 400 + year_of_era + i64::from(is_next_year), month, day)
}

/// Appends a number that is not negative with at least `width` digits.
fn padded(out: &mut Vec<u8>, number: i64, width: usize) {
    let mut digits = [b'0'; 20];
    let mut rest = number.unsigned_abs();
    let mut used = 0_usize;
    for (index, slot) in digits.iter_mut().rev().enumerate() {
        if rest == 0 && index >= width {
            break;
        }
        *slot = b'0' + u8::try_from(rest % 10).unwrap_or_default();
        rest /= 10;
        used = index + 1;
    }
    out.extend_from_slice(digits.split_at(digits.len() - used).1);
}

#[cfg(test)]
mod tests {
    use chrono::Datelike;
    use proptest::prelude::*;

    use super::*;

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn i7_decimals_keep_every_digit() {
        for (unscaled, scale, expected) in [
            (0, 0, "0"),
            (0, 2, "0.00"),
            (-1, 2, "-0.01"),
            (12_345, 2, "123.45"),
            (100, 0, "100"),
            (10_i128.pow(38) - 1, 0, "99999999999999999999999999999999999999"),
            (1 - 10_i128.pow(38), 37, "-9.9999999999999999999999999999999999999"),
            (1, 38, "0.00000000000000000000000000000000000001"),
        ] {
            assert_eq!(text(|out| decimal(out, unscaled, scale)), expected);
        }
    }

    #[test]
    fn i7_dates_reach_from_before_christ_to_postgres_last_day_and_both_infinities() {
        for (days, expected) in [
            (0, "1970-01-01"),
            (-1, "1969-12-31"),
            (11_016, "2000-02-29"),
            (-719_528, "0000-01-01"),
            (-719_529, "-0001-12-31"),
            (2_145_042_905, "5874897-12-31"),
            (i32::MAX, "infinity"),
            (-i32::MAX, "-infinity"),
        ] {
            assert_eq!(text(|out| date(out, days)), expected);
        }
    }

    #[test]
    fn i7_times_keep_microseconds() {
        for (micros, instant, expected) in [
            (0, true, "1970-01-01T00:00:00.000000Z"),
            (-1, false, "1969-12-31T23:59:59.999999"),
            (1_700_000_000_123_456, true, "2023-11-14T22:13:20.123456Z"),
            (i64::MAX, true, "infinity"),
            (-i64::MAX, false, "-infinity"),
            (i64::MAX - 1, false, "294247-01-10T04:00:54.775806"),
        ] {
            assert_eq!(text(|out| timestamp(out, micros, instant)), expected);
        }
        assert_eq!(text(|out| time(out, DAY)), "24:00:00.000000");
    }

    proptest! {
        #[test]
        fn i7_every_day_agrees_with_chrono(days in -90_000_000_i32..90_000_000) {
            let date = chrono::NaiveDate::from_epoch_days(days).unwrap();
            let expected = (i64::from(date.year()), i64::from(date.month()), i64::from(date.day()));
            prop_assert_eq!(civil(days.into()), expected);
        }

        #[test]
        fn i7_a_decimals_digits_read_back(unscaled in any::<i64>(), scale in 0_u8..=38) {
            let written = text(|out| decimal(out, unscaled.into(), scale));
            prop_assert_eq!(written.replace('.', "").parse::<i64>().unwrap(), unscaled);
            prop_assert_eq!(written.find('.').map_or(0, |point| written.len() - point - 1), usize::from(scale));
        }
    }
}
