//! Exact conversion of a column into a wider type (invariant I7).
//!
//! By hand and not with Arrow's `cast`: its default lets overflow become NULL, it writes other text forms than ours,
//! and the few pairs of [`ColumnType::widen`] are all there is.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringBuilder};
use arrow::datatypes::{
    ArrowPrimitiveType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type,
    Int64Type, TimestampMicrosecondType,
};
use arrow::error::ArrowError;

use crate::core::text::{self, DATE_INFINITY, TIMESTAMP_INFINITY, typed};
use crate::core::types::ColumnType;
use crate::core::{Error, ErrorKind, Result};

/// Room for one value's text, to size the buffer of a text column once.
const TEXT_BYTES_PER_VALUE: usize = 16;

/// The column in the wider type; the same array when there is nothing to do.
///
/// # Errors
/// [`Data`](ErrorKind::Data) when a value does not fit; [`Internal`](ErrorKind::Internal) when `to` is not wider.
pub(crate) fn widen(array: &ArrayRef, from: ColumnType, to: ColumnType) -> Result<ArrayRef> {
    use ColumnType::{Decimal, Double, Float, Int, Long, NaiveDate, NaiveDatetime, Short, String as Text};
    if from.arrow() == to.arrow() {
        return Ok(Arc::clone(array));
    }
    match (from, to) {
        (_, Text) => text_of(array, from),
        (Short, Int) => map::<Int16Type, Int32Type>(array, i32::from),
        (Short, Long) => map::<Int16Type, Int64Type>(array, i64::from),
        (Int, Long) => map::<Int32Type, Int64Type>(array, i64::from),
        (Short, Float) => map::<Int16Type, Float32Type>(array, f32::from),
        (Short, Double) => map::<Int16Type, Float64Type>(array, f64::from),
        (Int, Double) => map::<Int32Type, Float64Type>(array, f64::from),
        (Float, Double) => map::<Float32Type, Float64Type>(array, f64::from),
        (Short, Decimal { precision, scale }) => rescale::<Int16Type>(array, scale, precision, scale),
        (Int, Decimal { precision, scale }) => rescale::<Int32Type>(array, scale, precision, scale),
        (Long, Decimal { precision, scale }) => rescale::<Int64Type>(array, scale, precision, scale),
        (Decimal { scale: old, .. }, Decimal { precision, scale }) if old <= scale => {
            rescale::<Decimal128Type>(array, scale - old, precision, scale)
        }
        (NaiveDate, NaiveDatetime) => {
            try_map::<Date32Type, TimestampMicrosecondType>(array, midnight).map(|array| Arc::new(array) as _)
        }
        _ => Err(Error::internal(format!("{to} is not wider than {from}"))),
    }
}

fn map<From: ArrowPrimitiveType, To: ArrowPrimitiveType>(
    array: &ArrayRef,
    convert: impl Fn(From::Native) -> To::Native,
) -> Result<ArrayRef> {
    Ok(Arc::new(typed(array.as_primitive_opt::<From>())?.unary::<_, To>(convert)))
}

fn try_map<From: ArrowPrimitiveType, To: ArrowPrimitiveType>(
    array: &ArrayRef,
    convert: impl Fn(From::Native) -> Option<To::Native>,
) -> Result<arrow::array::PrimitiveArray<To>> {
    let array = typed(array.as_primitive_opt::<From>())?;
    let overflow = || ArrowError::ArithmeticOverflow(String::new());
    array
        .try_unary::<_, To, _>(|value| convert(value).ok_or_else(overflow))
        .map_err(|_| Error::new(ErrorKind::Data, "a value is outside of the range of the table's type"))
}

/// Numbers as decimals, multiplied by a power of ten.
fn rescale<From>(array: &ArrayRef, power: u8, precision: u8, scale: u8) -> Result<ArrayRef>
where
    From: ArrowPrimitiveType,
    From::Native: Into<i128>,
{
    let factor = 10_i128
        .checked_pow(power.into())
        .ok_or_else(|| Error::internal(format!("a decimal cannot have {power} more digits")))?;
    let decimals = try_map::<From, Decimal128Type>(array, |value| value.into().checked_mul(factor))?;
    Ok(Arc::new(decimals.with_precision_and_scale(precision, scale.cast_signed())?))
}

/// The day's beginning in microseconds, `None` beyond the range of 64 bits (year 294,247).
fn midnight(days: i32) -> Option<i64> {
    match days {
        DATE_INFINITY => Some(TIMESTAMP_INFINITY),
        days if days == -DATE_INFINITY => Some(-TIMESTAMP_INFINITY),
        days => i64::from(days).checked_mul(text::DAY),
    }
}

fn text_of(array: &ArrayRef, from: ColumnType) -> Result<ArrayRef> {
    let mut texts = StringBuilder::with_capacity(array.len(), array.len() * TEXT_BYTES_PER_VALUE);
    text::for_each_row(array, from, |value| {
        let value = value.map(std::str::from_utf8).transpose();
        texts.append_option(
            value.map_err(|error| Error::internal("a text form is not text").caused_by(error))?,
        );
        Ok(())
    })?;
    Ok(Arc::new(texts.finish()))
}
