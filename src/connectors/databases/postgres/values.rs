//! Fields to typed Arrow builders. The inner loop of every sync: no allocation and no formatting per value.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, BooleanBuilder, Date32Builder, Decimal128Builder, Float32Builder,
    Float64Builder, Int16Builder, Int32Builder, Int64Builder, StringArray, Time64MicrosecondBuilder,
    TimestampMicrosecondBuilder,
};

use super::numeric::{self, NotDecimal};
use super::types::Format;
use crate::core::types::UTC;
use crate::core::{Error, ErrorKind};

/// Days from the Unix epoch to 2000-01-01, PostgreSQL's epoch.
const EPOCH_DAYS: i32 = 10_957;

/// The same in microseconds.
const EPOCH_MICROS: i64 = EPOCH_DAYS as i64 * 86_400_000_000;

/// A column being decoded.
pub(super) struct Column {
    name: String,
    format: Format,
    values: Values,
    /// Rows and bytes of the last batch: what the next one reserves.
    last: (usize, usize),
}

/// What is wrong with a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    /// Its bytes are not of the planned type.
    Type,
    /// A numeric NaN or infinity, which decimals do not have.
    NotDecimal,
    /// A time stamp that microseconds since 1970 cannot express in 64 bits (after the year 294246).
    OutOfRange,
    /// Text that is not UTF-8.
    NotUtf8,
}

impl Wrong {
    /// The error for that column.
    pub(super) fn error(self, stream: &str, column: &str) -> Error {
        let (kind, what, remedy) = match self {
            Self::Type => (
                ErrorKind::SourceChanged,
                "does not have the planned type any more",
                "The table is planned again with its new shape",
            ),
            Self::NotDecimal => (
                ErrorKind::Data,
                "holds NaN or an infinity, which exact decimals cannot carry",
                "Set numeric_as_text in the configuration, or exclude the column",
            ),
            Self::OutOfRange => (
                ErrorKind::Data,
                "holds a time beyond the year 294246, which microseconds cannot carry",
                "Correct the value, use 'infinity', or exclude the column",
            ),
            Self::NotUtf8 => (
                ErrorKind::Data,
                "holds text that is not UTF-8 (the database is encoded as SQL_ASCII and accepts any bytes)",
                "Correct the text, or exclude the column",
            ),
        };
        Error::new(kind, format!("Column {column} of {stream} {what}")).remedy(remedy)
    }
}

impl Column {
    /// A column whose fields arrive in that form.
    pub(super) fn new(name: String, format: Format) -> Self {
        Self { name, format, values: Values::new(format, 0, 0), last: (0, 0) }
    }

    /// Its name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Reserves for a batch like the last one. Done when the first row arrives and not when the last batch leaves,
    /// which would hold two batches' memory while the destination works.
    pub(super) fn prepare(&mut self) {
        self.values = Values::new(self.format, self.last.0, self.last.1);
    }

    /// Takes the next value.
    pub(super) fn append(&mut self, field: Option<&[u8]>) -> Result<(), Wrong> {
        match field {
            Some(field) => self.values.append(field),
            None => {
                self.values.append_null();
                Ok(())
            }
        }
    }

    /// The values taken since the last call.
    pub(super) fn take(&mut self) -> Result<ArrayRef, Wrong> {
        let (array, bytes) = self.values.finish()?;
        self.last = (array.len(), bytes);
        Ok(array)
    }
}

/// The builders.
enum Values {
    Bool(BooleanBuilder),
    Int2(Int16Builder),
    Int4(Int32Builder),
    Int8(Int64Builder),
    Oid(Int64Builder),
    Float4(Float32Builder),
    Float8(Float64Builder),
    Numeric {
        builder: Decimal128Builder,
        precision: u8,
        scale: u8,
    },
    Date(Date32Builder),
    Time(Time64MicrosecondBuilder),
    Timestamp(TimestampMicrosecondBuilder),
    Bytes(BinaryBuilder),
    /// Validated as UTF-8 column by column at the end, which is several times faster than value by value.
    Text(BinaryBuilder),
    Uuid(BinaryBuilder),
    Jsonb(BinaryBuilder),
}

impl Values {
    fn new(format: Format, rows: usize, bytes: usize) -> Self {
        match format {
            Format::Bool => Self::Bool(BooleanBuilder::with_capacity(rows)),
            Format::Int2 => Self::Int2(Int16Builder::with_capacity(rows)),
            Format::Int4 => Self::Int4(Int32Builder::with_capacity(rows)),
            Format::Int8 => Self::Int8(Int64Builder::with_capacity(rows)),
            Format::Oid => Self::Oid(Int64Builder::with_capacity(rows)),
            Format::Float4 => Self::Float4(Float32Builder::with_capacity(rows)),
            Format::Float8 => Self::Float8(Float64Builder::with_capacity(rows)),
            Format::Numeric { precision, scale } => {
                let data_type = arrow::datatypes::DataType::Decimal128(precision, scale.cast_signed());
                let builder = Decimal128Builder::with_capacity(rows).with_data_type(data_type);
                Self::Numeric { builder, precision, scale }
            }
            Format::Date => Self::Date(Date32Builder::with_capacity(rows)),
            Format::Time => Self::Time(Time64MicrosecondBuilder::with_capacity(rows)),
            Format::Timestamp { utc } => Self::Timestamp(
                TimestampMicrosecondBuilder::with_capacity(rows).with_timezone_opt(utc.then_some(UTC)),
            ),
            Format::Bytes => Self::Bytes(BinaryBuilder::with_capacity(rows, bytes)),
            Format::Text => Self::Text(BinaryBuilder::with_capacity(rows, bytes)),
            Format::Uuid => Self::Uuid(BinaryBuilder::with_capacity(rows, bytes)),
            Format::Jsonb => Self::Jsonb(BinaryBuilder::with_capacity(rows, bytes)),
        }
    }

    #[inline]
    fn append(&mut self, field: &[u8]) -> Result<(), Wrong> {
        match self {
            Self::Bool(builder) => {
                let [byte] = array(field)?;
                builder.append_value(byte != 0);
            }
            Self::Int2(builder) => builder.append_value(i16::from_be_bytes(array(field)?)),
            Self::Int4(builder) => builder.append_value(i32::from_be_bytes(array(field)?)),
            Self::Int8(builder) => builder.append_value(i64::from_be_bytes(array(field)?)),
            Self::Oid(builder) => builder.append_value(i64::from(u32::from_be_bytes(array(field)?))),
            Self::Float4(builder) => builder.append_value(f32::from_be_bytes(array(field)?)),
            Self::Float8(builder) => builder.append_value(f64::from_be_bytes(array(field)?)),
            Self::Numeric { builder, precision, scale } => {
                let value = numeric::decode(field, *precision, *scale).map_err(|wrong| match wrong {
                    NotDecimal::NotANumber | NotDecimal::Infinite => Wrong::NotDecimal,
                    NotDecimal::Malformed => Wrong::Type,
                })?;
                builder.append_value(value);
            }
            Self::Date(builder) => builder.append_value(date(i32::from_be_bytes(array(field)?))?),
            // 24:00:00 is a valid time of day in PostgreSQL and passes as 86,400,000,000.
            Self::Time(builder) => builder.append_value(i64::from_be_bytes(array(field)?)),
            Self::Timestamp(builder) => builder.append_value(timestamp(i64::from_be_bytes(array(field)?))?),
            Self::Bytes(builder) | Self::Text(builder) => builder.append_value(field),
            Self::Uuid(builder) => builder.append_value(uuid(array(field)?)),
            Self::Jsonb(builder) => match field.split_first() {
                Some((1, text)) => builder.append_value(text),
                _ => return Err(Wrong::Type),
            },
        }
        Ok(())
    }

    fn append_null(&mut self) {
        match self {
            Self::Bool(builder) => builder.append_null(),
            Self::Int2(builder) => builder.append_null(),
            Self::Int4(builder) => builder.append_null(),
            Self::Int8(builder) | Self::Oid(builder) => builder.append_null(),
            Self::Float4(builder) => builder.append_null(),
            Self::Float8(builder) => builder.append_null(),
            Self::Numeric { builder, .. } => builder.append_null(),
            Self::Date(builder) => builder.append_null(),
            Self::Time(builder) => builder.append_null(),
            Self::Timestamp(builder) => builder.append_null(),
            Self::Bytes(builder) | Self::Text(builder) | Self::Uuid(builder) | Self::Jsonb(builder) => {
                builder.append_null();
            }
        }
    }

    /// The array, and the bytes of its variable part.
    fn finish(&mut self) -> Result<(ArrayRef, usize), Wrong> {
        Ok(match self {
            Self::Bool(builder) => (Arc::new(builder.finish()), 0),
            Self::Int2(builder) => (Arc::new(builder.finish()), 0),
            Self::Int4(builder) => (Arc::new(builder.finish()), 0),
            Self::Int8(builder) | Self::Oid(builder) => (Arc::new(builder.finish()), 0),
            Self::Float4(builder) => (Arc::new(builder.finish()), 0),
            Self::Float8(builder) => (Arc::new(builder.finish()), 0),
            Self::Numeric { builder, .. } => (Arc::new(builder.finish()), 0),
            Self::Date(builder) => (Arc::new(builder.finish()), 0),
            Self::Time(builder) => (Arc::new(builder.finish()), 0),
            Self::Timestamp(builder) => (Arc::new(builder.finish()), 0),
            Self::Bytes(builder) => {
                let array = builder.finish();
                let bytes = array.value_data().len();
                (Arc::new(array), bytes)
            }
            Self::Text(builder) | Self::Uuid(builder) | Self::Jsonb(builder) => {
                let array = StringArray::try_from_binary(builder.finish()).map_err(|_| Wrong::NotUtf8)?;
                let bytes = array.value_data().len();
                (Arc::new(array), bytes)
            }
        })
    }
}

#[inline]
fn array<const N: usize>(field: &[u8]) -> Result<[u8; N], Wrong> {
    field.try_into().map_err(|_| Wrong::Type)
}

/// Days since 1970. `infinity` becomes the largest and `-infinity` the smallest symmetric number, which DuckDB reads as
/// infinities; no finite date of PostgreSQL comes near them.
fn date(days: i32) -> Result<i32, Wrong> {
    match days {
        i32::MAX => Ok(i32::MAX),
        i32::MIN => Ok(-i32::MAX),
        days => days.checked_add(EPOCH_DAYS).ok_or(Wrong::OutOfRange),
    }
}

/// Microseconds since 1970. Infinities as for [`date`]; PostgreSQL's last thirty years overflow.
fn timestamp(micros: i64) -> Result<i64, Wrong> {
    match micros {
        i64::MAX => Ok(i64::MAX),
        i64::MIN => Ok(-i64::MAX),
        micros => {
            micros.checked_add(EPOCH_MICROS).filter(|micros| *micros != i64::MAX).ok_or(Wrong::OutOfRange)
        }
    }
}

/// The usual form in lower case: 8-4-4-4-12 hexadecimal digits.
fn uuid(bytes: [u8; 16]) -> [u8; 36] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| DIGITS.get(usize::from(nibble & 15)).copied().unwrap_or_default();
    let mut text = [b'-'; 36];
    let places = text.iter_mut().enumerate().filter(|(place, _)| ![8, 13, 18, 23].contains(place));
    let nibbles = bytes.into_iter().flat_map(|byte| [byte >> 4, byte]);
    for ((_, place), nibble) in places.zip(nibbles) {
        *place = digit(nibble);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuids_are_spelled_as_usual() {
        let bytes = 0x1234_5678_9abc_def0_0fed_cba9_8765_4321_u128.to_be_bytes();
        assert_eq!(&uuid(bytes), b"12345678-9abc-def0-0fed-cba987654321");
    }

    #[test]
    fn i7_times_that_microseconds_cannot_hold_are_errors() {
        assert_eq!(timestamp(i64::MAX - 1), Err(Wrong::OutOfRange));
        assert_eq!(timestamp(i64::MAX - EPOCH_MICROS), Err(Wrong::OutOfRange));
        assert_eq!(timestamp(i64::MAX - EPOCH_MICROS - 1), Ok(i64::MAX - 1));
        assert_eq!(timestamp(0), Ok(946_684_800_000_000));
        assert_eq!(date(0), Ok(EPOCH_DAYS));
    }
}
