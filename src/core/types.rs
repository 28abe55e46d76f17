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

/// The name, with the digits of a decimal: `DECIMAL(10,2)`.
impl std::fmt::Display for ColumnType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Decimal { precision, scale } => write!(f, "DECIMAL({precision},{scale})"),
            other => f.write_str(other.name()),
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn column_type() -> impl Strategy<Value = ColumnType> {
        use ColumnType::*;
        let decimal = (1..=MAX_DECIMAL_PRECISION)
            .prop_flat_map(|precision| (Just(precision), 0..=precision))
            .prop_map(|(precision, scale)| Decimal { precision, scale });
        let other = proptest::sample::select(vec![
            Boolean,
            Short,
            Int,
            Long,
            Float,
            Double,
            NaiveDate,
            NaiveTime,
            NaiveDatetime,
            UtcDatetime,
            Binary,
            String,
            Json,
        ]);
        prop_oneof![other, decimal]
    }

    /// `wide` holds every value of `narrow`.
    fn holds(wide: ColumnType, narrow: ColumnType) -> bool {
        wide.widen(narrow) == wide
    }

    proptest! {
        #[test]
        fn i8_widening_is_a_least_upper_bound(a in column_type(), b in column_type(), c in column_type()) {
            prop_assert_eq!(a.widen(a), a, "idempotent");
            prop_assert_eq!(a.widen(b), b.widen(a), "commutative");
            prop_assert_eq!(a.widen(b).widen(c), a.widen(b.widen(c)), "associative");
            prop_assert!(holds(a.widen(b), a) && holds(a.widen(b), b), "holds both");
            prop_assert!(!(holds(c, a) && holds(c, b)) || holds(c, a.widen(b)), "the least that does");
            prop_assert!(!holds(a, b) || holds(a.widen(c), b.widen(c)), "monotone");
            prop_assert!(holds(ColumnType::String, a), "text holds everything");
        }

        #[test]
        fn a_type_is_stored_and_read_back(a in column_type()) {
            let json = serde_json::to_string(&a).unwrap();
            prop_assert_eq!(serde_json::from_str::<ColumnType>(&json).unwrap(), a);
        }
    }

    #[test]
    fn i7_numbers_widen_only_into_what_holds_them_exactly() {
        use ColumnType::*;
        let decimal = |precision, scale| Decimal { precision, scale };
        for (a, b, widened) in [
            (Short, Int, Int),
            (Int, Long, Long),
            (Short, Float, Float),
            (Int, Float, Double),
            (Int, Double, Double),
            (Long, Double, String),
            (Long, Float, String),
            (Boolean, Short, String),
            (decimal(10, 2), decimal(8, 4), decimal(12, 4)),
            (decimal(4, 2), Int, decimal(12, 2)),
            (decimal(4, 2), Long, decimal(21, 2)),
            (decimal(38, 30), Long, String),
            (decimal(38, 0), decimal(38, 38), String),
            (decimal(4, 2), Double, String),
            (NaiveDate, NaiveDatetime, NaiveDatetime),
            (NaiveDate, UtcDatetime, String),
            (NaiveDatetime, UtcDatetime, String),
            (Json, String, String),
            (Binary, String, String),
        ] {
            assert_eq!(a.widen(b), widened, "{a} and {b}");
        }
    }

    #[test]
    fn types_are_named_as_fivetran_names_them() {
        assert_eq!(ColumnType::NaiveDatetime.to_string(), "NAIVE_DATETIME");
        assert_eq!(ColumnType::Decimal { precision: 10, scale: 2 }.to_string(), "DECIMAL(10,2)");
        let json = serde_json::to_string(&ColumnType::Decimal { precision: 10, scale: 2 }).unwrap();
        assert_eq!(json, r#"{"type":"DECIMAL","precision":10,"scale":2}"#);
    }
}
