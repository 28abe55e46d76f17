//! Arrow rows as the JSON text that `jsonb_each` unpacks: `[[1,"a"],[2,null]]`.
//!
//! Columns are downcast once per batch; a row then costs one `match` per value and no allocation. serde_json formats
//! numbers and escapes text (its integers, shortest floats and escape tables are as fast as they come); SQLite reads
//! them back bit by bit, which was checked with a million random doubles.

use arrow::array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array,
    Int16Array, Int32Array, Int64Array, RecordBatch, StringArray, Time64MicrosecondArray,
    TimestampMicrosecondArray,
};
use serde::Serialize;

use super::{catalog, storage, temporal};
use crate::core::table::{TableColumn, TableSchema};
use crate::core::types::ColumnType;
use crate::core::{Error, ErrorKind, Result};

/// The columns of a batch, ready to be written row by row.
pub(super) struct RowEncoder<'batch> {
    what: String,
    columns: Vec<Column<'batch>>,
}

struct Column<'batch> {
    name: &'batch str,
    array: &'batch dyn Array,
    nullable: bool,
    is_key: bool,
    cells: Cells<'batch>,
}

enum Cells<'batch> {
    Boolean(&'batch BooleanArray),
    Short(&'batch Int16Array),
    Int(&'batch Int32Array),
    Long(&'batch Int64Array),
    Decimal { values: &'batch Decimal128Array, precision: u8, scale: u8 },
    Float(&'batch Float32Array),
    Double(&'batch Float64Array),
    Date(&'batch Date32Array),
    Time(&'batch Time64MicrosecondArray),
    Timestamp { values: &'batch TimestampMicrosecondArray, zone: &'static str },
    Binary(&'batch BinaryArray),
    Text(&'batch StringArray),
}

impl<'batch> RowEncoder<'batch> {
    /// # Errors
    /// [`Internal`](ErrorKind::Internal) when the batch is not of the table's shape,
    /// [`Data`](ErrorKind::Data) when a key column holds NULL.
    pub(super) fn new(table: &'batch TableSchema, batch: &'batch RecordBatch) -> Result<Self> {
        let what = catalog::title(table);
        if batch.num_columns() != table.columns.len() {
            return Err(Error::internal(format!(
                "{what}: a batch has {} columns, the table {}",
                batch.num_columns(),
                table.columns.len()
            )));
        }
        let mut columns = Vec::with_capacity(table.columns.len());
        for (column, array) in table.columns.iter().zip(batch.columns()) {
            let is_key = table.primary_key.contains(&column.name);
            if is_key && array.null_count() > 0 {
                return Err(Error::new(
                    ErrorKind::Data,
                    format!("{what}: the key column {} holds NULL", column.name),
                )
                .remedy("Rows without a key cannot be merged: give the source table a key without NULL"));
            }
            let cells = Cells::of(column, array).ok_or_else(|| {
                let (name, kind, found) = (&column.name, column.column_type, array.data_type());
                Error::internal(format!("{what}: column {name} of type {kind:?} came as Arrow {found}"))
            })?;
            let nullable = array.null_count() > 0;
            columns.push(Column { name: &column.name, array: array.as_ref(), nullable, is_key, cells });
        }
        Ok(Self { what, columns })
    }

    /// Appends a row as a JSON array.
    ///
    /// # Errors
    /// [`Data`](ErrorKind::Data) for a value that its type cannot hold. The buffer is garbage then.
    pub(super) fn row(&self, row: usize, out: &mut Vec<u8>) -> Result<()> {
        let mut separator = b'[';
        for column in &self.columns {
            out.push(separator);
            separator = b',';
            if column.nullable && column.array.is_null(row) {
                out.extend_from_slice(b"null");
            } else {
                column.cells.write(row, out).map_err(|reason| self.bad_value(column, reason))?;
            }
        }
        out.push(b']');
        Ok(())
    }

    /// Appends a row with NULL in place of texts and bytes larger than `threshold`, and returns those with their
    /// columns: a text as it is, bytes as hexadecimal pieces of at most `piece` bytes of input.
    pub(super) fn wide_row(
        &self,
        row: usize,
        threshold: usize,
        piece: usize,
        out: &mut Vec<u8>,
    ) -> Result<Vec<(usize, Vec<String>)>> {
        let mut large = Vec::new();
        let mut separator = b'[';
        for (index, column) in self.columns.iter().enumerate() {
            out.push(separator);
            separator = b',';
            if column.array.is_null(row) {
                out.extend_from_slice(b"null");
                continue;
            }
            match column.cells {
                Cells::Text(values) if values.value(row).len() > threshold => {
                    large.push((index, vec![values.value(row).to_owned()]));
                    out.extend_from_slice(b"null");
                }
                Cells::Binary(values) if values.value(row).len() > threshold => {
                    large.push((index, values.value(row).chunks(piece).map(hex).collect()));
                    out.extend_from_slice(b"null");
                }
                _ => column.cells.write(row, out).map_err(|reason| self.bad_value(column, reason))?,
            }
        }
        out.push(b']');
        Ok(large)
    }

    /// Bytes of the row as SQLite stores it, within a few per column.
    pub(super) fn stored_bytes(&self, row: usize) -> usize {
        self.columns
            .iter()
            .filter(|column| !column.array.is_null(row))
            .map(|column| match column.cells {
                Cells::Text(values) => values.value(row).len(),
                Cells::Binary(values) => values.value(row).len(),
                _ => 9,
            })
            .sum()
    }

    /// The column with the largest text or bytes in a row, and their size, for messages.
    pub(super) fn largest_value(&self, row: usize) -> Option<(&str, usize)> {
        let sizes =
            self.columns.iter().filter(|column| !column.array.is_null(row)).filter_map(|column| match column
                .cells
            {
                Cells::Text(values) => Some((column.name, values.value(row).len())),
                Cells::Binary(values) => Some((column.name, values.value(row).len())),
                _ => None,
            });
        sizes.max_by_key(|(_, bytes)| *bytes)
    }

    /// The row's key as JSON, shortened, for messages.
    pub(super) fn key_text(&self, row: usize) -> String {
        let mut out = Vec::new();
        for column in self.columns.iter().filter(|column| column.is_key) {
            out.extend_from_slice(if out.is_empty() { b"" } else { b", " });
            out.extend_from_slice(column.name.as_bytes());
            out.push(b'=');
            if column.cells.write(row, &mut out).is_err() {
                out.push(b'?');
            }
        }
        String::from_utf8_lossy(&out).chars().take(200).collect()
    }

    fn bad_value(&self, column: &Column<'_>, reason: &str) -> Error {
        Error::new(ErrorKind::Data, format!("{}: column {} {reason}", self.what, column.name))
            .remedy("Exclude the column, or widen its type at the source")
    }
}

/// What is wrong with a value.
type Reason = &'static str;

impl<'batch> Cells<'batch> {
    fn of(column: &TableColumn, array: &'batch ArrayRef) -> Option<Self> {
        let any = array.as_any();
        Some(match column.column_type {
            ColumnType::Boolean => Self::Boolean(any.downcast_ref()?),
            ColumnType::Short => Self::Short(any.downcast_ref()?),
            ColumnType::Int => Self::Int(any.downcast_ref()?),
            ColumnType::Long => Self::Long(any.downcast_ref()?),
            ColumnType::Decimal { precision, scale } => {
                let values: &Decimal128Array = any.downcast_ref()?;
                (values.scale() == scale.cast_signed()).then_some(())?;
                Self::Decimal { values, precision, scale }
            }
            ColumnType::Float => Self::Float(any.downcast_ref()?),
            ColumnType::Double => Self::Double(any.downcast_ref()?),
            ColumnType::NaiveDate => Self::Date(any.downcast_ref()?),
            ColumnType::NaiveTime => Self::Time(any.downcast_ref()?),
            ColumnType::NaiveDatetime => Self::Timestamp { values: any.downcast_ref()?, zone: "" },
            ColumnType::UtcDatetime => Self::Timestamp { values: any.downcast_ref()?, zone: "Z" },
            ColumnType::Binary => Self::Binary(any.downcast_ref()?),
            ColumnType::String | ColumnType::Json => Self::Text(any.downcast_ref()?),
        })
    }

    /// Appends one value that is not NULL.
    fn write(&self, row: usize, out: &mut Vec<u8>) -> Result<(), Reason> {
        match self {
            Self::Boolean(values) => out.push(if values.value(row) { b'1' } else { b'0' }),
            Self::Short(values) => json(values.value(row), out)?,
            Self::Int(values) => json(values.value(row), out)?,
            Self::Long(values) => json(values.value(row), out)?,
            Self::Decimal { values, precision, scale } => {
                decimal(values.value(row), *precision, *scale, out)?
            }
            Self::Float(values) => match values.value(row) {
                value if value.is_finite() => json(value, out)?,
                value => out.extend_from_slice(not_finite(f64::from(value))),
            },
            Self::Double(values) => match values.value(row) {
                value if value.is_finite() => json(value, out)?,
                value => out.extend_from_slice(not_finite(value)),
            },
            Self::Date(values) => {
                out.push(b'"');
                temporal::push_date(out, values.value(row));
                out.push(b'"');
            }
            Self::Time(values) => {
                out.push(b'"');
                if !temporal::push_time(out, values.value(row)) {
                    return Err("holds a time of day outside 00:00 to 24:00");
                }
                out.push(b'"');
            }
            Self::Timestamp { values, zone } => {
                out.push(b'"');
                temporal::push_timestamp(out, values.value(row), zone);
                out.push(b'"');
            }
            Self::Binary(values) => {
                out.push(b'"');
                push_hex(values.value(row), out);
                out.push(b'"');
            }
            Self::Text(values) => json(values.value(row), out)?,
        }
        Ok(())
    }
}

/// serde_json into memory cannot fail for numbers and text; the type does not know.
fn json(value: impl Serialize, out: &mut Vec<u8>) -> Result<(), Reason> {
    serde_json::to_writer(out, &value).map_err(|_| "holds a value that JSON cannot carry")
}

fn not_finite(value: f64) -> &'static [u8] {
    match (value.is_nan(), value > 0.0) {
        (true, _) => b"\"NaN\"",
        (false, true) => b"\"Infinity\"",
        (false, false) => b"\"-Infinity\"",
    }
}

/// All digits; a JSON number where SQLite keeps a number, else text.
fn decimal(value: i128, precision: u8, scale: u8, out: &mut Vec<u8>) -> Result<(), Reason> {
    let unit = 10_u128.pow(u32::from(scale.min(38)));
    let magnitude = value.unsigned_abs();
    if magnitude >= 10_u128.pow(u32::from(precision.min(38))) {
        return Err("holds a decimal with more digits than its type allows");
    }
    let number = storage::decimal_is_number(precision);
    if !number {
        out.push(b'"');
    }
    if value < 0 {
        out.push(b'-');
    }
    // 64-bit division is many times faster than 128-bit, and most decimals fit.
    match (u64::try_from(magnitude), u64::try_from(unit)) {
        (Ok(magnitude), Ok(unit)) => {
            json(magnitude / unit, out)?;
            if scale > 0 {
                out.push(b'.');
                temporal::push_padded(out, magnitude % unit, usize::from(scale));
            }
        }
        _ => {
            json(magnitude / unit, out)?;
            if scale > 0 {
                out.push(b'.');
                // 38 digits in two halves of at most 19, which fit 64 bits.
                let half = 10_u128.pow(19);
                let fraction = magnitude % unit;
                let upper = usize::from(scale).saturating_sub(19);
                temporal::push_padded(out, u64::try_from(fraction / half).unwrap_or(0), upper);
                temporal::push_padded(
                    out,
                    u64::try_from(fraction % half).unwrap_or(0),
                    usize::from(scale) - upper,
                );
            }
        }
    }
    if !number {
        out.push(b'"');
    }
    Ok(())
}

/// Hexadecimal text, because JSON has no bytes and SQLite no base64.
fn push_hex(bytes: &[u8], out: &mut Vec<u8>) {
    let digit = |nibble: u8| if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 };
    out.extend(bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]));
}

fn hex(bytes: &[u8]) -> String {
    let mut out = Vec::with_capacity(bytes.len().saturating_mul(2));
    push_hex(bytes, &mut out);
    String::from_utf8_lossy(&out).into_owned()
}
