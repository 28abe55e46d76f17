//! Values as text, exactly (invariant I7), for the text formats.
//!
//! Arrow's own CSV and JSON writers are not used: they format dates through chrono, which ends at year 262,143 and
//! knows no infinity (Postgres dates reach 5,874,897 and both infinities), CSV's cannot tell NULL from "" and JSON's
//! writes NaN as null.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::array::{BinaryArray, BooleanArray, Decimal128Array, PrimitiveArray, StringArray};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type,
    Int64Type, Time64MicrosecondType, TimeUnit, TimestampMicrosecondType,
};

use crate::core::{Error, ErrorKind, Result, text};

/// A column of a batch, downcast once, so that the row loop only matches on a tag.
pub(super) enum Cells<'a> {
    Boolean(&'a BooleanArray),
    Short(&'a PrimitiveArray<Int16Type>),
    Int(&'a PrimitiveArray<Int32Type>),
    Long(&'a PrimitiveArray<Int64Type>),
    Decimal(&'a Decimal128Array, u8),
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

/// A column, downcast.
///
/// # Errors
/// As [`columns`].
pub(super) fn cells(array: &ArrayRef) -> Result<Cells<'_>> {
    fn primitive<T: ArrowPrimitiveType>(array: &ArrayRef) -> Option<&PrimitiveArray<T>> {
        array.as_primitive_opt::<T>()
    }
    let cells = match array.data_type() {
        DataType::Boolean => array.as_boolean_opt().map(Cells::Boolean),
        DataType::Int16 => primitive(array).map(Cells::Short),
        DataType::Int32 => primitive(array).map(Cells::Int),
        DataType::Int64 => primitive(array).map(Cells::Long),
        DataType::Decimal128(_, scale) => {
            let scale = u8::try_from(*scale).ok();
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

    /// Appends that row's value in bytes from which it could be told where it ends and what it is, so that columns can follow
    /// each other. **Hashes of it are stored**: whoever changes it raises the format of [`resync`](super::resync).
    pub(super) fn push_key(&self, row: usize, key: &mut Vec<u8>) {
        if self.is_null(row) {
            return key.push(0);
        }
        key.push(1);
        let mut sized = |bytes: &[u8]| {
            key.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
            key.extend_from_slice(bytes);
        };
        match self {
            Self::Text(array) => sized(array.value(row).as_bytes()),
            Self::Binary(array) => sized(array.value(row)),
            Self::Boolean(array) => key.push(u8::from(array.value(row))),
            Self::Short(array) => key.extend_from_slice(&array.value(row).to_le_bytes()),
            Self::Int(array) => key.extend_from_slice(&array.value(row).to_le_bytes()),
            Self::Long(array) => key.extend_from_slice(&array.value(row).to_le_bytes()),
            Self::Decimal(array, _) => key.extend_from_slice(&array.value(row).to_le_bytes()),
            Self::Float(array) => key.extend_from_slice(&array.value(row).to_bits().to_le_bytes()),
            Self::Double(array) => key.extend_from_slice(&array.value(row).to_bits().to_le_bytes()),
            Self::Date(array) => key.extend_from_slice(&array.value(row).to_le_bytes()),
            Self::Time(array) => key.extend_from_slice(&array.value(row).to_le_bytes()),
            Self::Timestamp(array, _) => key.extend_from_slice(&array.value(row).to_le_bytes()),
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
            Self::Short(array) => text::number(out, &array.value(row))?,
            Self::Int(array) => text::number(out, &array.value(row))?,
            Self::Long(array) => text::number(out, &array.value(row))?,
            Self::Decimal(array, scale) => text::decimal(out, array.value(row), *scale),
            Self::Float(array) => match text::not_finite(f64::from(array.value(row))) {
                Some(name) => out.extend_from_slice(name.as_bytes()),
                None => text::number(out, &array.value(row))?,
            },
            Self::Double(array) => match text::not_finite(array.value(row)) {
                Some(name) => out.extend_from_slice(name.as_bytes()),
                None => text::number(out, &array.value(row))?,
            },
            Self::Date(array) => text::date(out, array.value(row)),
            Self::Time(array) => text::time(out, time_of_day(array.value(row))?),
            Self::Timestamp(array, instant) => text::timestamp(out, array.value(row), *instant),
            Self::Binary(array) => text::base64(out, array.value(row)),
            Self::Text(array) => out.extend_from_slice(array.value(row).as_bytes()),
        }
        Ok(())
    }
}

fn time_of_day(micros: i64) -> Result<i64> {
    if micros >= 0 {
        return Ok(micros);
    }
    Err(Error::new(ErrorKind::Data, format!("{micros} microseconds is no time of day")))
}
