//! The type lattice: one semantic type per column, its Arrow form, and how two types widen into one.
//!
//! The set is Fivetran's (partner SDK `common.proto`), so that destinations, docs and clients agree on names.

use arrow::datatypes::{DataType, TimeUnit};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Time zone label of instants in Arrow. arrow-rs needs `chrono-tz` for "UTC" but not for an offset.
pub const UTC: &str = "+00:00";

/// Most digits of a decimal that Arrow's Decimal128 (and every destination of ours) holds exactly.
pub const MAX_DECIMAL_PRECISION: u8 = 38;

/// Semantic type of a column, from source to destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ColumnType {
    /// true or false.
    Boolean,
    /// 16-bit integer.
    Short,
    /// 32-bit integer.
    Int,
    /// 64-bit integer.
    Long,
    /// Exact decimal with `precision` (1..=38) digits, `scale` (0..=precision) of them after the point.
    Decimal {
        /// All digits.
        precision: u8,
        /// Digits after the point.
        scale: u8,
    },
    /// 32-bit float.
    Float,
    /// 64-bit float.
    Double,
    /// Calendar date.
    NaiveDate,
    /// Time of day, microseconds.
    NaiveTime,
    /// Date and time without zone, microseconds.
    NaiveDatetime,
    /// Instant, microseconds since the Unix epoch, UTC.
    UtcDatetime,
    /// Bytes.
    Binary,
    /// Text.
    String,
    /// JSON text.
    Json,
}

impl ColumnType {
    /// The Arrow type that carries this column between source and destination.
    #[must_use]
    pub fn arrow(self) -> DataType {
        match self {
            Self::Boolean => DataType::Boolean,
            Self::Short => DataType::Int16,
            Self::Int => DataType::Int32,
            Self::Long => DataType::Int64,
            Self::Decimal { precision, scale } => DataType::Decimal128(precision, scale.cast_signed()),
            Self::Float => DataType::Float32,
            Self::Double => DataType::Float64,
            Self::NaiveDate => DataType::Date32,
            Self::NaiveTime => DataType::Time64(TimeUnit::Microsecond),
            Self::NaiveDatetime => DataType::Timestamp(TimeUnit::Microsecond, None),
            Self::UtcDatetime => DataType::Timestamp(TimeUnit::Microsecond, Some(UTC.into())),
            Self::Binary => DataType::Binary,
            Self::String | Self::Json => DataType::Utf8,
        }
    }

    /// Fivetran's name of the type, as shown by the metadata endpoints.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Boolean => "BOOLEAN",
            Self::Short => "SHORT",
            Self::Int => "INT",
            Self::Long => "LONG",
            Self::Decimal { .. } => "DECIMAL",
            Self::Float => "FLOAT",
            Self::Double => "DOUBLE",
            Self::NaiveDate => "NAIVE_DATE",
            Self::NaiveTime => "NAIVE_TIME",
            Self::NaiveDatetime => "NAIVE_DATETIME",
            Self::UtcDatetime => "UTC_DATETIME",
            Self::Binary => "BINARY",
            Self::String => "STRING",
            Self::Json => "JSON",
        }
    }

    /// The narrowest type that holds every value of both exactly (invariants I7, I8). Text is the top.
    ///
    /// Boolean does not widen into integers: `true` is not 1 in every destination, so the pair becomes text.
    #[must_use]
    pub fn widen(self, other: Self) -> Self {
        use ColumnType::{Decimal, Double, Float, Int, Long, NaiveDate, NaiveDatetime, Short, String};
        if self == other {
            return self;
        }
        match (self, other) {
            (Short, Int) | (Int, Short) => Int,
            (Short | Int, Long) | (Long, Short | Int) => Long,
            (Float, Double) | (Double, Float) => Double,
            // A 16-bit integer fits a 24-bit mantissa, a 32-bit one a 53-bit mantissa; a 64-bit one fits neither.
            (Short, Float) | (Float, Short) => Float,
            (Short | Int, Double) | (Double, Short | Int) | (Int, Float) | (Float, Int) => Double,
            (Decimal { precision: p1, scale: s1 }, Decimal { precision: p2, scale: s2 }) => {
                decimal_of(p1.saturating_sub(s1).max(p2.saturating_sub(s2)), s1.max(s2))
            }
            (Decimal { precision, scale }, integer @ (Short | Int | Long))
            | (integer @ (Short | Int | Long), Decimal { precision, scale }) => {
                decimal_of(precision.saturating_sub(scale).max(integer_digits(integer)), scale)
            }
            (NaiveDate, NaiveDatetime) | (NaiveDatetime, NaiveDate) => NaiveDatetime,
            _ => String,
        }
    }
}

/// Decimal digits needed by an integer type.
fn integer_digits(integer: ColumnType) -> u8 {
    match integer {
        ColumnType::Short => 5,
        ColumnType::Int => 10,
        _ => 19,
    }
}

/// A decimal of that many digits before and after the point, or text where 38 digits do not suffice.
fn decimal_of(integer_digits: u8, scale: u8) -> ColumnType {
    let precision = integer_digits.saturating_add(scale);
    if precision > MAX_DECIMAL_PRECISION {
        ColumnType::String
    } else {
        ColumnType::Decimal { precision, scale }
    }
}

/// How faithfully a source type survives the journey; shown before a run, so that no loss is a surprise (I7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Fidelity {
    /// Same type, same values.
    Exact,
    /// The value survives exactly as text in the source's own notation (ranges, intervals, unbounded numerics).
    LogicalString,
}
