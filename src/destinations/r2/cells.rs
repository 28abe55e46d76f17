//! Values as text, exactly (invariant I7), for the text formats.
//!
//! Arrow's own CSV and JSON writers are not used: they format dates through chrono, which ends at year 262,143 and
//! knows no infinity (Postgres dates reach 5,874,897 and both infinities), CSV's cannot tell NULL from "" and JSON's
//! writes NaN as null.

use std::io::Write as _;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::array::{BinaryArray, BooleanArray, Decimal128Array, PrimitiveArray, StringArray};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type,
    Int64Type, Time64MicrosecondType, TimeUnit, TimestampMicrosecondType,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::core::{Error, ErrorKind, Result};

const MICROS_PER_DAY: i64 = 86_400 * 1_000_000;

/// As Postgres and DuckDB have it: the negated largest number, not the least.
const MINUS_INFINITE_DATE: i32 = -i32::MAX;
const MINUS_INFINITE_TIMESTAMP: i64 = -i64::MAX;

/// A column of a batch, downcast once, so that the row loop only matches on a tag.
pub(super) enum Cells<'a> {
    Boolean(&'a BooleanArray),
    Short(&'a PrimitiveArray<Int16Type>),
    Int(&'a PrimitiveArray<Int32Type>),
    Long(&'a PrimitiveArray<Int64Type>),
    Decimal(&'a Decimal128Array, u32),
    Float(&'a PrimitiveArray<Float32Type>),
    Double(&'a PrimitiveArray<Float64Type>),
    Date(&'a PrimitiveArray<Date32Type>),
    Time(&'a PrimitiveArray<Time64MicrosecondType>),
    /// The flag is true for instants, which end in `Z`.
    Timestamp(&'a PrimitiveArray<TimestampMicrosecondType>, bool),
    Binary(&'a BinaryArray),
    Text(&'a StringArray),
}

/// How a cell may be written without changing its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// A JSON literal: integers, booleans, finite floats.
    Literal,
    /// ASCII without quotes, commas, backslashes or line ends.
    Plain,
    /// Anything.
    Free,
}

/// The columns of a batch, downcast.
///
/// # Errors
/// [`Internal`](crate::core::ErrorKind::Internal) for an Arrow type that no [`ColumnType`](crate::core::types::ColumnType)
/// maps to.
pub(super) fn columns(batch: &RecordBatch) -> Result<Vec<Cells<'_>>> {
    batch.columns().iter().map(cells).collect()
}

fn cells(array: &ArrayRef) -> Result<Cells<'_>> {
    fn primitive<T: ArrowPrimitiveType>(array: &ArrayRef) -> Option<&PrimitiveArray<T>> {
        array.as_primitive_opt::<T>()
    }
    let cells = match array.data_type() {
        DataType::Boolean => array.as_boolean_opt().map(Cells::Boolean),
        DataType::Int16 => primitive(array).map(Cells::Short),
        DataType::Int32 => primitive(array).map(Cells::Int),
        DataType::Int64 => primitive(array).map(Cells::Long),
        DataType::Decimal128(_, scale) => {
            let scale = u32::try_from(*scale).ok();
            array
                .as_primitive_opt::<Decimal128Type>()
                .zip(scale)
                .map(|(array, scale)| Cells::Decimal(array, scale))
        }
        DataType::Float32 => primitive(array).map(Cells::Float),
        DataType::Float64 => primitive(array).map(Cells::Double),
        DataType::Date32 => primitive(array).map(Cells::Date),
        DataType::Time64(TimeUnit::Microsecond) => primitive(array).map(Cells::Time),
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            primitive(array).map(|array| Cells::Timestamp(array, zone.is_some()))
        }
        DataType::Binary => array.as_binary_opt().map(Cells::Binary),
        DataType::Utf8 => array.as_string_opt().map(Cells::Text),
        _ => None,
    };
    cells.ok_or_else(|| Error::internal(format!("no text form for Arrow type {}", array.data_type())))
}

impl Cells<'_> {
    /// Whether that row is NULL.
    pub(super) fn is_null(&self, row: usize) -> bool {
        match self {
            Self::Boolean(array) => array.is_null(row),
            Self::Short(array) => array.is_null(row),
            Self::Int(array) => array.is_null(row),
            Self::Long(array) => array.is_null(row),
            Self::Decimal(array, _) => array.is_null(row),
            Self::Float(array) => array.is_null(row),
            Self::Double(array) => array.is_null(row),
            Self::Date(array) => array.is_null(row),
            Self::Time(array) => array.is_null(row),
            Self::Timestamp(array, _) => array.is_null(row),
            Self::Binary(array) => array.is_null(row),
            Self::Text(array) => array.is_null(row),
        }
    }

    /// The text of a free cell; `None` for the other shapes.
    pub(super) fn free(&self, row: usize) -> Option<&str> {
        match self {
            Self::Text(array) => Some(array.value(row)),
            _ => None,
        }
    }

    /// How that row's value may be written.
    pub(super) fn shape(&self, row: usize) -> Shape {
        let literal_if = |finite: bool| if finite { Shape::Literal } else { Shape::Plain };
        match self {
            Self::Boolean(_) | Self::Short(_) | Self::Int(_) | Self::Long(_) => Shape::Literal,
            Self::Float(array) => literal_if(array.value(row).is_finite()),
            Self::Double(array) => literal_if(array.value(row).is_finite()),
            Self::Decimal(..) | Self::Date(_) | Self::Time(_) | Self::Timestamp(..) | Self::Binary(_) => {
                Shape::Plain
            }
            Self::Text(_) => Shape::Free,
        }
    }

    /// Appends that row's value, which is not NULL.
    ///
    /// # Errors
    /// [`Data`](ErrorKind::Data) for a negative time of day.
    pub(super) fn write(&self, row: usize, out: &mut Vec<u8>) -> Result<()> {
        match self {
            Self::Boolean(array) => out.extend_from_slice(if array.value(row) { b"true" } else { b"false" }),
            Self::Short(array) => write_number(out, &array.value(row))?,
            Self::Int(array) => write_number(out, &array.value(row))?,
            Self::Long(array) => write_number(out, &array.value(row))?,
            Self::Decimal(array, scale) => write_decimal(out, array.value(row), *scale)?,
            Self::Float(array) => match not_finite(f64::from(array.value(row))) {
                Some(name) => out.extend_from_slice(name),
                None => write_number(out, &array.value(row))?,
            },
            Self::Double(array) => match not_finite(array.value(row)) {
                Some(name) => out.extend_from_slice(name),
                None => write_number(out, &array.value(row))?,
            },
            Self::Date(array) => write_date(out, array.value(row)),
            Self::Time(array) => write_time(out, time_of_day(array.value(row))?),
            Self::Timestamp(array, instant) => write_timestamp(out, array.value(row), *instant),
            Self::Binary(array) => write_base64(out, array.value(row)),
            Self::Text(array) => out.extend_from_slice(array.value(row).as_bytes()),
        }
        Ok(())
    }
}

/// Integers as digits, floats as the shortest text that reads back as the same float.
fn write_number(out: &mut Vec<u8>, number: &impl serde::Serialize) -> Result<()> {
    Ok(serde_json::to_writer(out, number)?)
}

/// The names Postgres, DuckDB and Python read back.
fn not_finite(number: f64) -> Option<&'static [u8]> {
    if number.is_nan() {
        Some(b"NaN")
    } else if number == f64::INFINITY {
        Some(b"Infinity")
    } else if number == f64::NEG_INFINITY {
        Some(b"-Infinity")
    } else {
        None
    }
}

fn write_decimal(out: &mut Vec<u8>, unscaled: i128, scale: u32) -> Result<()> {
    if unscaled < 0 {
        out.push(b'-');
    }
    let digits = unscaled.unsigned_abs();
    let width = usize::try_from(scale).unwrap_or_default();
    // 128-bit division is slow, and most decimals fit 64 bits. A scale is at most 38 and 10^38 fits 128 bits.
    let small = u64::try_from(digits).ok().zip(10_u64.checked_pow(scale));
    match (small, 10_u128.checked_pow(scale)) {
        (_, None) => write!(out, "{digits}").map_err(memory)?,
        (_, Some(1)) => write!(out, "{digits}").map_err(memory)?,
        (Some((digits, unit)), _) => {
            push_padded(out, digits / unit, 1);
            out.push(b'.');
            push_padded(out, digits % unit, width);
        }
        (None, Some(unit)) => {
            write!(out, "{}.{:0width$}", digits / unit, digits % unit).map_err(memory)?;
        }
    }
    Ok(())
}

/// Appends a number with at least `width` digits, zeros in front. Several times as fast as `write!`, which matters
/// for formats that are nothing but dates and digits.
fn push_padded(out: &mut Vec<u8>, mut number: u64, width: usize) {
    // 2^64 has 20 digits.
    let mut reversed = [b'0'; 20];
    let mut length = 0;
    for place in &mut reversed {
        *place = b'0' + u8::try_from(number % 10).unwrap_or_default();
        number /= 10;
        length += 1;
        if number == 0 {
            break;
        }
    }
    out.extend(std::iter::repeat_n(b'0', width.saturating_sub(length)));
    out.extend(reversed.iter().take(length).rev());
}

/// Proleptic Gregorian date; year 0 is 1 BC. The two ends of the range are the infinities.
fn write_date(out: &mut Vec<u8>, days: i32) {
    match days {
        i32::MAX => out.extend_from_slice(b"infinity"),
        MINUS_INFINITE_DATE => out.extend_from_slice(b"-infinity"),
        days => write_civil(out, i64::from(days)),
    }
}

fn write_civil(out: &mut Vec<u8>, days: i64) {
    let (year, month, day) = civil(days);
    if year < 0 {
        out.push(b'-');
    }
    push_padded(out, year.unsigned_abs(), 4);
    out.push(b'-');
    push_padded(out, month.unsigned_abs(), 2);
    out.push(b'-');
    push_padded(out, day.unsigned_abs(), 2);
}

/// Year, month and day of a day number counted from 1970-01-01.
///
/// Years are counted from 1 March, so that the leap day is the last of its year; an era of 400 years has 146,097 days.
fn civil(days: i64) -> (i64, i64, i64) {
    const DAYS_FROM_YEAR_0_MARCH_TO_1970: i64 = 719_468;
    let shifted = days + DAYS_FROM_YEAR_0_MARCH_TO_1970;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // Months of 31, 30, 31, 30, 31 days from March repeat every 153 days.
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year, month, day)
}

fn time_of_day(micros: i64) -> Result<u64> {
    u64::try_from(micros)
        .map_err(|_| Error::new(ErrorKind::Data, format!("{micros} microseconds is no time of day")))
}

/// Time of day in microseconds; 24:00:00 is a time in Postgres.
fn write_time(out: &mut Vec<u8>, micros: u64) {
    let (seconds, fraction) = (micros / 1_000_000, micros % 1_000_000);
    push_padded(out, seconds / 3_600, 2);
    out.push(b':');
    push_padded(out, seconds / 60 % 60, 2);
    out.push(b':');
    push_padded(out, seconds % 60, 2);
    out.push(b'.');
    push_padded(out, fraction, 6);
}

fn write_timestamp(out: &mut Vec<u8>, micros: i64, instant: bool) {
    match micros {
        i64::MAX => out.extend_from_slice(b"infinity"),
        MINUS_INFINITE_TIMESTAMP => out.extend_from_slice(b"-infinity"),
        micros => {
            write_civil(out, micros.div_euclid(MICROS_PER_DAY));
            out.push(b'T');
            write_time(out, micros.rem_euclid(MICROS_PER_DAY).unsigned_abs());
            if instant {
                out.push(b'Z');
            }
        }
    }
}

/// Base64 with padding, as in Fivetran's own CSV files, encoded in place.
fn write_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    let start = out.len();
    out.resize(start + bytes.len().div_ceil(3) * 4, 0);
    if let Some(room) = out.get_mut(start..) {
        // The room is exactly what the encoding needs, so this cannot fail.
        let _ = STANDARD.encode_slice(bytes, room);
    }
}

fn memory(error: std::io::Error) -> Error {
    Error::internal("writing to memory failed").caused_by(error)
}

#[cfg(test)]
mod tests {
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
            (10_i128.pow(38) - 1, 0, "99999999999999999999999999999999999999"),
            (-(10_i128.pow(38) - 1), 37, "-9.9999999999999999999999999999999999999"),
            (1, 38, "0.00000000000000000000000000000000000001"),
        ] {
            assert_eq!(text(|out| write_decimal(out, unscaled, scale).unwrap()), expected);
        }
    }

    #[test]
    fn i7_dates_reach_from_postgres_first_to_its_last_day_and_to_both_infinities() {
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
            assert_eq!(text(|out| write_date(out, days)), expected);
        }
    }

    #[test]
    fn i7_timestamps_keep_microseconds() {
        for (micros, instant, expected) in [
            (0, true, "1970-01-01T00:00:00.000000Z"),
            (-1, false, "1969-12-31T23:59:59.999999"),
            (1_700_000_000_123_456, true, "2023-11-14T22:13:20.123456Z"),
            (i64::MAX, true, "infinity"),
            (-i64::MAX, false, "-infinity"),
            (i64::MAX - 1, false, "294247-01-10T04:00:54.775806"),
        ] {
            assert_eq!(text(|out| write_timestamp(out, micros, instant)), expected);
        }
        assert_eq!(time_of_day(-1).unwrap_err().kind(), ErrorKind::Data);
        assert_eq!(text(|out| write_time(out, time_of_day(MICROS_PER_DAY).unwrap())), "24:00:00.000000");
    }

    #[test]
    fn i7_floats_read_back_bit_for_bit() {
        for number in [0.1, -0.0, f64::MIN_POSITIVE, f64::MAX, 5e-324, 1e16] {
            let written = text(|out| write_number(out, &number).unwrap());
            assert_eq!(written.parse::<f64>().unwrap().to_bits(), number.to_bits(), "{written}");
        }
        let single = text(|out| write_number(out, &0.1_f32).unwrap());
        assert_eq!(single, "0.1");
    }

    proptest::proptest! {
        #[test]
        fn i7_every_day_agrees_with_chrono(days in -90_000_000_i32..90_000_000) {
            let date = chrono::NaiveDate::from_epoch_days(days).unwrap();
            use chrono::Datelike;
            let (year, month, day) = civil(i64::from(days));
            proptest::prop_assert_eq!(
                (year, month, day),
                (i64::from(date.year()), i64::from(date.month()), i64::from(date.day()))
            );
        }
    }
}
