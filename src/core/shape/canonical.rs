//! The one encoding of a row's values in bytes: what [`_fivetran_id`](super::row_id) and the
//! [comparison](crate::core::compare) of source and destination hash.
//!
//! An encoding of our own, which no library's version can change. Per value that is not NULL, by column name in byte
//! order: the column's mark, a tag, the value in a form that does not depend on its width (lengths and numbers
//! big-endian). So the encoding stays when columns are reordered, when a column is added and is NULL in the row, and
//! when an integer, decimal or float column widens within its family; it changes with any value.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{
    ArrowPrimitiveType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type,
    Int64Type, Time64MicrosecondType, TimestampMicrosecondType,
};
use sha2::{Digest, Sha256};

use crate::core::text::typed;
use crate::core::types::ColumnType;
use crate::core::{Error, Result};

/// Rows encoded before they are handed on. Columns are encoded one after the other, so a block's encodings are alive
/// together; this keeps them small beside the batch and in the cache.
const BLOCK_ROWS: usize = 256;

/// What stands for a column in the encoding: the first 64 bits of its name's SHA-256.
type Mark = [u8; 8];

/// Encodes rows of batches whose columns have these names.
pub(crate) struct CanonicalRows {
    /// Position in the batch and mark, by column name.
    columns: Vec<(usize, Mark)>,
}

impl CanonicalRows {
    /// For batches with these columns, in the batch's order.
    pub(crate) fn new<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        let mut named = names.enumerate().collect::<Vec<_>>();
        named.sort_unstable_by_key(|(_, name)| *name);
        let columns = named.into_iter().map(|(index, name)| (index, mark(name))).collect();
        Self { columns }
    }

    /// Visits the encoding of every row, in order.
    ///
    /// # Errors
    /// [`Internal`](crate::core::ErrorKind::Internal) when an array is not of its column's Arrow type; whatever
    /// `visit` returns.
    pub(crate) fn visit<'a>(
        &self,
        arrays: impl Iterator<Item = (&'a ArrayRef, ColumnType)>,
        rows: usize,
        visit: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        let arrays = arrays.collect::<Vec<_>>();
        let mut block = vec![Vec::new(); rows.min(BLOCK_ROWS)];
        for start in (0..rows).step_by(BLOCK_ROWS) {
            let length = BLOCK_ROWS.min(rows - start);
            block.truncate(length);
            block.iter_mut().for_each(Vec::clear);
            for (index, mark) in &self.columns {
                let (array, column_type) =
                    arrays.get(*index).ok_or_else(|| Error::internal("a batch lacks a column"))?;
                encode(&array.slice(start, length), *column_type, *mark, &mut block)?;
            }
            block.iter().try_for_each(|row| visit(row))?;
        }
        Ok(())
    }
}

fn mark(name: &str) -> Mark {
    let mut mark = Mark::default();
    mark.iter_mut().zip(Sha256::digest(name)).for_each(|(slot, byte)| *slot = byte);
    mark
}

/// Appends a column's values to the encodings of their rows.
fn encode(array: &ArrayRef, column_type: ColumnType, mark: Mark, rows: &mut [Vec<u8>]) -> Result<()> {
    use ColumnType::{
        Binary, Boolean, Decimal, Double, Float, Int, Json, Long, NaiveDate, NaiveDatetime, NaiveTime, Short,
        String, UtcDatetime,
    };
    match column_type {
        Boolean => {
            each(typed(array.as_boolean_opt())?.iter(), mark, rows, |row, value| {
                row.extend_from_slice(&[b'b', value.into()]);
            });
            Ok(())
        }
        Short => primitive::<Int16Type>(array, mark, rows, |row, value| number(row, value.into(), 0)),
        Int => primitive::<Int32Type>(array, mark, rows, |row, value| number(row, value.into(), 0)),
        Long => primitive::<Int64Type>(array, mark, rows, |row, value| number(row, value.into(), 0)),
        Decimal { scale, .. } => {
            primitive::<Decimal128Type>(array, mark, rows, |row, value| number(row, value, scale))
        }
        Float => primitive::<Float32Type>(array, mark, rows, |row, value| float(row, value.into())),
        Double => primitive::<Float64Type>(array, mark, rows, float),
        NaiveDate => primitive::<Date32Type>(array, mark, rows, |row, value| {
            row.push(b'd');
            row.extend_from_slice(&value.to_be_bytes());
        }),
        NaiveTime => {
            primitive::<Time64MicrosecondType>(array, mark, rows, |row, value| micros(row, b'h', value))
        }
        NaiveDatetime => {
            primitive::<TimestampMicrosecondType>(array, mark, rows, |row, value| micros(row, b't', value))
        }
        UtcDatetime => {
            primitive::<TimestampMicrosecondType>(array, mark, rows, |row, value| micros(row, b'u', value))
        }
        Binary => {
            each(typed(array.as_binary_opt::<i32>())?.iter(), mark, rows, |row, value| {
                sized(row, b'x', value);
            });
            Ok(())
        }
        String | Json => {
            each(typed(array.as_string_opt::<i32>())?.iter(), mark, rows, |row, value| {
                sized(row, b's', value.as_bytes());
            });
            Ok(())
        }
    }
}

fn primitive<T: ArrowPrimitiveType>(
    array: &ArrayRef,
    mark: Mark,
    rows: &mut [Vec<u8>],
    append: impl Fn(&mut Vec<u8>, T::Native),
) -> Result<()> {
    each(typed(array.as_primitive_opt::<T>())?.iter(), mark, rows, append);
    Ok(())
}

fn each<T>(
    values: impl Iterator<Item = Option<T>>,
    mark: Mark,
    rows: &mut [Vec<u8>],
    append: impl Fn(&mut Vec<u8>, T),
) {
    for (row, value) in rows.iter_mut().zip(values) {
        if let Some(value) = value {
            row.extend_from_slice(&mark);
            append(row, value);
        }
    }
}

/// Integers and decimals: trailing zeros after the point are dropped, so that 5 and 5.00 are one number.
fn number(row: &mut Vec<u8>, unscaled: i128, scale: u8) {
    // Dividing 128 bits is a library call in WebAssembly, and nearly every decimal fits 64.
    let (unscaled, scale) = match i64::try_from(unscaled) {
        Ok(small) => {
            let (small, scale) = without_trailing_zeros(small, scale, |value| (value / 10, value % 10));
            (i128::from(small), scale)
        }
        Err(_) => without_trailing_zeros(unscaled, scale, |value| (value / 10, value % 10)),
    };
    match i64::try_from(unscaled) {
        Ok(integer) if scale == 0 => {
            row.push(b'i');
            row.extend_from_slice(&integer.to_be_bytes());
        }
        _ => {
            row.extend_from_slice(&[b'n', scale]);
            row.extend_from_slice(&unscaled.to_be_bytes());
        }
    }
}

fn without_trailing_zeros<T: Copy + Default + PartialEq>(
    mut value: T,
    mut scale: u8,
    split_last_digit: impl Fn(T) -> (T, T),
) -> (T, u8) {
    while scale > 0 {
        let (rest, digit) = split_last_digit(value);
        if digit != T::default() {
            break;
        }
        (value, scale) = (rest, scale - 1);
    }
    (value, scale)
}

/// Floats by their bits, -0.0 distinct from 0.0, but NaN of any bits alike.
fn float(row: &mut Vec<u8>, value: f64) {
    row.push(b'f');
    let value = if value.is_nan() { f64::NAN } else { value };
    row.extend_from_slice(&value.to_bits().to_be_bytes());
}

fn micros(row: &mut Vec<u8>, tag: u8, value: i64) {
    row.push(tag);
    row.extend_from_slice(&value.to_be_bytes());
}

fn sized(row: &mut Vec<u8>, tag: u8, value: &[u8]) {
    row.push(tag);
    row.extend_from_slice(&(value.len() as u64).to_be_bytes());
    row.extend_from_slice(value);
}
