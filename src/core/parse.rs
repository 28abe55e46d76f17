//! The inverse of [`text`](super::text): values from their text forms, exactly or not at all (invariant I7).

use std::sync::Arc;

use arrow::array::{
    ArrayBuilder, ArrayRef, BinaryBuilder, BooleanBuilder, Date32Builder, Decimal128Builder, Float32Builder,
    Float64Builder, Int16Builder, Int32Builder, Int64Builder, StringBuilder, Time64MicrosecondBuilder,
    TimestampMicrosecondBuilder,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::Result;
use super::text::{DATE_INFINITY, DAY, TIMESTAMP_INFINITY};
use super::types::{ColumnType, UTC};

/// How a text stands for bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BytesForm {
    /// As [`text`](super::text) writes them.
    Base64,
    /// As SQLite's `hex` does.
    Hex,
}

/// Collects the values of a column from texts.
pub(crate) struct ColumnParser {
    values: Values,
    bytes: BytesForm,
}

enum Values {
    Boolean(BooleanBuilder),
    Short(Int16Builder),
    Int(Int32Builder),
    Long(Int64Builder),
    Decimal(Decimal128Builder, u8, u8),
    Float(Float32Builder),
    Double(Float64Builder),
    Date(Date32Builder),
    Time(Time64MicrosecondBuilder),
    Timestamp(TimestampMicrosecondBuilder),
    Binary(BinaryBuilder),
    Text(StringBuilder),
}

impl ColumnParser {
    /// A parser of values of that type.
    pub(crate) fn new(column_type: ColumnType, bytes: BytesForm) -> Self {
        let timestamps = TimestampMicrosecondBuilder::new;
        let values = match column_type {
            ColumnType::Boolean => Values::Boolean(BooleanBuilder::new()),
            ColumnType::Short => Values::Short(Int16Builder::new()),
            ColumnType::Int => Values::Int(Int32Builder::new()),
            ColumnType::Long => Values::Long(Int64Builder::new()),
            ColumnType::Decimal { precision, scale } => {
                Values::Decimal(Decimal128Builder::new(), precision, scale)
            }
            ColumnType::Float => Values::Float(Float32Builder::new()),
            ColumnType::Double => Values::Double(Float64Builder::new()),
            ColumnType::NaiveDate => Values::Date(Date32Builder::new()),
            ColumnType::NaiveTime => Values::Time(Time64MicrosecondBuilder::new()),
            ColumnType::NaiveDatetime => Values::Timestamp(timestamps()),
            ColumnType::UtcDatetime => Values::Timestamp(timestamps().with_timezone(UTC)),
            ColumnType::Binary => Values::Binary(BinaryBuilder::new()),
            ColumnType::String | ColumnType::Json => Values::Text(StringBuilder::new()),
        };
        Self { values, bytes }
    }

    /// Takes the next value. False, and NULL in its place, when the text is none of the type's.
    #[must_use]
    pub(crate) fn push(&mut self, text: Option<&str>) -> bool {
        macro_rules! append {
            ($builder:expr, $parse:expr) => {{
                let value = text.and_then($parse);
                $builder.append_option(value);
                value.is_some() || text.is_none()
            }};
        }
        match &mut self.values {
            Values::Boolean(builder) => append!(builder, boolean),
            Values::Short(builder) => append!(builder, |text| text.parse().ok()),
            Values::Int(builder) => append!(builder, |text| text.parse().ok()),
            Values::Long(builder) => append!(builder, |text| text.parse().ok()),
            Values::Decimal(builder, precision, scale) => {
                append!(builder, |text| decimal(text, *precision, *scale))
            }
            Values::Float(builder) => append!(builder, |text| text.parse().ok()),
            Values::Double(builder) => append!(builder, |text| text.parse().ok()),
            Values::Date(builder) => append!(builder, date),
            Values::Time(builder) => append!(builder, time),
            Values::Timestamp(builder) => append!(builder, timestamp),
            Values::Binary(builder) => {
                let bytes = text.and_then(|text| bytes(text, self.bytes));
                builder.append_option(bytes.as_deref());
                bytes.is_some() || text.is_none()
            }
            Values::Text(builder) => {
                builder.append_option(text);
                true
            }
        }
    }

    /// The column.
    ///
    /// # Errors
    /// [`Internal`](super::ErrorKind::Internal) for a decimal type that Arrow does not know.
    pub(crate) fn finish(self) -> Result<ArrayRef> {
        fn array<B: ArrayBuilder>(mut builder: B) -> ArrayRef {
            ArrayBuilder::finish(&mut builder)
        }
        Ok(match self.values {
            Values::Boolean(builder) => array(builder),
            Values::Short(builder) => array(builder),
            Values::Int(builder) => array(builder),
            Values::Long(builder) => array(builder),
            Values::Decimal(mut builder, precision, scale) => {
                Arc::new(builder.finish().with_precision_and_scale(precision, scale.cast_signed())?)
            }
            Values::Float(builder) => array(builder),
            Values::Double(builder) => array(builder),
            Values::Date(builder) => array(builder),
            Values::Time(builder) => array(builder),
            Values::Timestamp(builder) => array(builder),
            Values::Binary(builder) => array(builder),
            Values::Text(builder) => array(builder),
        })
    }
}

fn boolean(text: &str) -> Option<bool> {
    match text {
        "true" | "1" => Some(true),
        "false" | "0" => Some(false),
        _ => None,
    }
}

/// The unscaled value; more digits after the point than the scale are none of the type's.
fn decimal(text: &str, precision: u8, scale: u8) -> Option<i128> {
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |digits| (true, digits));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let scale = usize::from(scale);
    let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !all_digits(whole) || !all_digits(fraction) || fraction.len() > scale {
        return None;
    }
    let zeros = std::iter::repeat_n(b'0', scale - fraction.len());
    let mut unscaled = 0_i128;
    for digit in whole.bytes().chain(fraction.bytes()).chain(zeros) {
        unscaled = unscaled.checked_mul(10)?.checked_add(i128::from(digit - b'0'))?;
    }
    let limit = 10_i128.checked_pow(u32::from(precision))?;
    (unscaled < limit).then_some(if negative { -unscaled } else { unscaled })
}

/// Days since 1970-01-01.
fn date(text: &str) -> Option<i32> {
    match text {
        "infinity" => Some(DATE_INFINITY),
        "-infinity" => Some(-DATE_INFINITY),
        text => i32::try_from(day(text)?).ok(),
    }
}

/// Microseconds since midnight, 24:00 included.
fn time(text: &str) -> Option<i64> {
    let mut parts = text.splitn(3, ':');
    let mut two = || parts.next().filter(|part| part.len() == 2)?.parse::<i64>().ok();
    let (hours, minutes) = (two()?, two()?);
    let (seconds, fraction) = parts.next()?.split_once('.')?;
    let micros = (fraction.len() == 6).then(|| fraction.parse::<i64>().ok())??;
    let seconds = seconds.parse::<i64>().ok()?;
    let total = ((hours * 60 + minutes) * 60 + seconds) * 1_000_000 + micros;
    let valid = (0..60).contains(&minutes) && (0..60).contains(&seconds) && (0..=DAY).contains(&total);
    (valid && micros >= 0).then_some(total)
}

/// Microseconds since 1970-01-01T00:00:00, with or without the `Z` of an instant.
fn timestamp(text: &str) -> Option<i64> {
    match text {
        "infinity" => return Some(TIMESTAMP_INFINITY),
        "-infinity" => return Some(-TIMESTAMP_INFINITY),
        _ => {}
    }
    let (date, clock) = text.strip_suffix('Z').unwrap_or(text).split_once('T')?;
    day(date)?.checked_mul(DAY)?.checked_add(time(clock)?)
}

/// The day number of `YYYY-MM-DD`, the year with a sign and more digits where it needs them.
fn day(text: &str) -> Option<i64> {
    let (sign, digits) = match text.as_bytes().first()? {
        b'-' => (-1, text.get(1..)?),
        b'+' => (1, text.get(1..)?),
        _ => (1, text),
    };
    let mut parts = digits.splitn(3, '-');
    let year = parts.next().filter(|year| (4..=7).contains(&year.len()))?.parse::<i64>().ok()? * sign;
    let month = parts.next()?.parse::<i64>().ok().filter(|month| (1..=12).contains(month))?;
    let day = parts.next()?.parse::<i64>().ok().filter(|day| (1..=31).contains(day))?;
    // Counted in years that begin in March, as `text::civil` does, so that the leap day is the last of its year.
    let (year, month_from_march) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let day_of_era = 365 * year_of_era + year_of_era / 4 - year_of_era / 100 + day_of_year;
    Some(era * 146_097 + day_of_era - 719_468)
}

fn bytes(text: &str, form: BytesForm) -> Option<Vec<u8>> {
    match form {
        BytesForm::Base64 => STANDARD.decode(text).ok(),
        BytesForm::Hex => {
            let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
            let pairs = text.as_bytes().chunks(2).map(|pair| match pair {
                [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
                _ => None,
            });
            pairs.collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::core::text;

    fn round_trip(column_type: ColumnType, array: &ArrayRef) -> ArrayRef {
        let mut parser = ColumnParser::new(column_type, BytesForm::Base64);
        text::for_each_row(array, column_type, |value| {
            assert!(parser.push(value.map(|value| std::str::from_utf8(value).unwrap())), "{value:?}");
            Ok(())
        })
        .unwrap();
        parser.finish().unwrap()
    }

    proptest! {
        #[test]
        fn i7_every_text_form_reads_back_as_the_value_it_came_from(
            integers in prop::collection::vec(any::<Option<i64>>(), 1..5),
            days in prop::collection::vec(-800_000_i32..2_145_042_905, 1..5),
            doubles in prop::collection::vec(any::<f64>(), 1..5),
            floats in prop::collection::vec(any::<f32>(), 1..5),
            texts in prop::collection::vec(any::<Option<String>>(), 1..5),
            blobs in prop::collection::vec(any::<Vec<u8>>(), 1..5),
        ) {
            use arrow::array::*;
            let unscaled = integers.iter().map(|value| value.map(i128::from));
            let decimals: Decimal128Array = unscaled.collect();
            let times: Vec<i64> = days.iter().map(|day| i64::from(*day).rem_euclid(DAY + 1)).collect();
            let decimal = ColumnType::Decimal { precision: 38, scale: 11 };
            let columns: Vec<(ColumnType, ArrayRef)> = vec![
                (ColumnType::Long, Arc::new(Int64Array::from(integers.clone()))),
                (decimal, Arc::new(decimals.with_precision_and_scale(38, 11).unwrap())),
                (ColumnType::NaiveDate, Arc::new(Date32Array::from(days))),
                (ColumnType::NaiveTime, Arc::new(Time64MicrosecondArray::from(times))),
                (ColumnType::NaiveDatetime, Arc::new(TimestampMicrosecondArray::from(integers.clone()))),
                (
                    ColumnType::UtcDatetime,
                    Arc::new(TimestampMicrosecondArray::from(integers).with_timezone(UTC)),
                ),
                (ColumnType::Double, Arc::new(Float64Array::from(doubles))),
                (ColumnType::Float, Arc::new(Float32Array::from(floats))),
                (ColumnType::String, Arc::new(StringArray::from(texts))),
                (ColumnType::Binary, Arc::new(BinaryArray::from_iter_values(blobs))),
            ];
            for (column_type, array) in columns {
                prop_assert_eq!(&*round_trip(column_type, &array), &*array, "{}", column_type);
            }
        }

        #[test]
        fn i10_no_text_makes_a_parser_panic(text in ".{0,24}") {
            use ColumnType::*;
            for column_type in [
                Boolean, Short, Int, Long, Decimal { precision: 38, scale: 38 }, Float, Double, NaiveDate, NaiveTime,
                NaiveDatetime, UtcDatetime, Binary, String, Json,
            ] {
                for form in [BytesForm::Base64, BytesForm::Hex] {
                    let mut parser = ColumnParser::new(column_type, form);
                    let _ = parser.push(Some(&text));
                    prop_assert_eq!(parser.finish().unwrap().len(), 1);
                }
            }
        }
    }

    #[test]
    fn what_is_none_of_the_types_values_is_refused() {
        use ColumnType::*;
        for (column_type, text) in [
            (Long, "1.5"),
            (Boolean, "2"),
            (Decimal { precision: 4, scale: 2 }, "1.234"),
            (Decimal { precision: 4, scale: 2 }, "123.00"),
            (NaiveDate, "2024-13-01"),
            (NaiveTime, "24:00:00.000001"),
            (UtcDatetime, "yesterday"),
        ] {
            assert!(
                !ColumnParser::new(column_type, BytesForm::Base64).push(Some(text)),
                "{column_type} {text}"
            );
        }
    }
}
