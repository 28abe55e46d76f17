//! The type table: what each PostgreSQL type becomes, how it is selected and in which binary form it arrives.

use serde::Deserialize;

use super::sql::identifier;
use crate::core::catalog::Column;
use crate::core::types::{ColumnType, Fidelity, MAX_DECIMAL_PRECISION};

/// A column as the catalog query of [`super::sql::columns`] describes it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct CatalogColumn {
    /// Name.
    pub(super) name: String,
    /// `format_type` of the declared type, for example `numeric(12,2)` or the name of a domain.
    #[serde(rename = "type")]
    pub(super) declared: String,
    /// `typname` of the base type, domains resolved, when it is one of `pg_catalog`; else empty. Enumerations are
    /// `enum`, `citext` wherever it was installed is `citext`.
    pub(super) base: String,
    /// Type modifier of the base type, -1 for none.
    pub(super) typmod: i32,
    /// Declared NOT NULL, or a domain that is.
    pub(super) not_null: bool,
    /// Position, growing for ever; never reused.
    pub(super) number: i16,
    /// True when rows that exist already may hold something else than NULL in it from the moment it was added.
    pub(super) filled: bool,
}

/// The binary form of a field, which decides its decoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Bool,
    Int2,
    Int4,
    Int8,
    /// Unsigned 32 bits, widened.
    Oid,
    Float4,
    Float8,
    Numeric {
        precision: u8,
        scale: u8,
    },
    Date,
    Time,
    Timestamp {
        utc: bool,
    },
    Bytes,
    Text,
    /// 16 bytes, shown in the usual 36 characters.
    Uuid,
    /// A version byte, then text.
    Jsonb,
}

impl Format {
    /// Bytes a value takes in Arrow apart from what varies with it; NULL takes them too.
    pub(super) fn width(self) -> usize {
        match self {
            Self::Bool => 1,
            Self::Int2 => 2,
            // The others' 4 bytes are their offset.
            Self::Int4 | Self::Float4 | Self::Date | Self::Bytes | Self::Text | Self::Uuid | Self::Jsonb => 4,
            Self::Int8 | Self::Oid | Self::Float8 | Self::Time | Self::Timestamp { .. } => 8,
            Self::Numeric { .. } => 16,
        }
    }
}

/// How one column travels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Passage {
    /// Semantic type.
    pub(super) column_type: ColumnType,
    /// Fidelity.
    pub(super) fidelity: Fidelity,
    /// Binary form of what is selected.
    pub(super) format: Format,
    /// What is selected.
    select: Select,
}

/// The select expression of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Select {
    /// The column itself.
    Column,
    /// `column::text`: the type's own notation.
    CastToText,
    /// The output function. `inet`'s cast to text appends a mask length that the value's own notation leaves out.
    InetOutput,
}

impl Passage {
    /// The passage of a column. `numeric_as_text` sends every numeric as text.
    pub(super) fn of(column: &CatalogColumn, numeric_as_text: bool) -> Self {
        let native = |column_type, format| Self {
            column_type,
            fidelity: Fidelity::Exact,
            format,
            select: Select::Column,
        };
        let as_text = |fidelity, select| Self {
            column_type: ColumnType::String,
            fidelity,
            format: Format::Text,
            select,
        };
        match column.base.as_str() {
            "bool" => native(ColumnType::Boolean, Format::Bool),
            "int2" => native(ColumnType::Short, Format::Int2),
            "int4" => native(ColumnType::Int, Format::Int4),
            "int8" => native(ColumnType::Long, Format::Int8),
            "oid" => native(ColumnType::Long, Format::Oid),
            "float4" => native(ColumnType::Float, Format::Float4),
            "float8" => native(ColumnType::Double, Format::Float8),
            "numeric" => match decimal(column.typmod) {
                Some((precision, scale)) if !numeric_as_text => {
                    native(ColumnType::Decimal { precision, scale }, Format::Numeric { precision, scale })
                }
                _ => as_text(Fidelity::LogicalString, Select::CastToText),
            },
            "date" => native(ColumnType::NaiveDate, Format::Date),
            "time" => native(ColumnType::NaiveTime, Format::Time),
            "timestamp" => native(ColumnType::NaiveDatetime, Format::Timestamp { utc: false }),
            "timestamptz" => native(ColumnType::UtcDatetime, Format::Timestamp { utc: true }),
            "bytea" => native(ColumnType::Binary, Format::Bytes),
            // char(n) keeps its padding, which a cast to text would strip.
            "text" | "varchar" | "bpchar" | "name" => native(ColumnType::String, Format::Text),
            "citext" => as_text(Fidelity::Exact, Select::CastToText),
            "json" => native(ColumnType::Json, Format::Text),
            "jsonb" => native(ColumnType::Json, Format::Jsonb),
            "uuid" => Self { fidelity: Fidelity::LogicalString, ..native(ColumnType::String, Format::Uuid) },
            "inet" => as_text(Fidelity::LogicalString, Select::InetOutput),
            // Enumerations, arrays, ranges, composites, intervals, geometry, network, text search, extensions' types.
            _ => as_text(Fidelity::LogicalString, Select::CastToText),
        }
    }

    /// The select expression.
    pub(super) fn expression(&self, column: &str) -> String {
        let column = identifier(column);
        match self.select {
            Select::Column => column,
            Select::CastToText => format!("{column}::pg_catalog.text"),
            Select::InetOutput => format!("pg_catalog.textin(pg_catalog.inet_out({column}))"),
        }
    }
}

impl CatalogColumn {
    /// The column as the engine sees it.
    pub(super) fn column(&self, numeric_as_text: bool) -> Column {
        let passage = Passage::of(self, numeric_as_text);
        Column {
            name: self.name.clone(),
            column_type: passage.column_type,
            source_type: self.declared.clone(),
            nullable: !self.not_null,
            fidelity: passage.fidelity,
        }
    }
}

/// Precision and scale of a numeric's type modifier (`numeric_typmod` of the server's source: precision in the high
/// half, scale in the low 11 bits with sign since PostgreSQL 15), or `None` when Arrow's decimal cannot hold it.
fn decimal(typmod: i32) -> Option<(u8, u8)> {
    let packed = typmod.checked_sub(4).filter(|packed| *packed >= 0)?;
    let scale = ((packed & 0x7ff) ^ 0x400) - 0x400;
    let (precision, scale) = (u8::try_from(packed >> 16).ok()?, u8::try_from(scale).ok()?);
    (precision <= MAX_DECIMAL_PRECISION && scale <= precision && precision > 0).then_some((precision, scale))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typmod(precision: i32, scale: i32) -> i32 {
        ((precision << 16) | (scale & 0x7ff)) + 4
    }

    #[test]
    fn numerics_that_arrow_holds_are_decimals_and_others_text() {
        assert_eq!(decimal(typmod(12, 2)), Some((12, 2)));
        assert_eq!(decimal(typmod(38, 38)), Some((38, 38)));
        assert_eq!(decimal(typmod(39, 2)), None);
        assert_eq!(decimal(typmod(1000, 0)), None);
        assert_eq!(decimal(typmod(3, -2)), None);
        assert_eq!(decimal(typmod(2, 5)), None);
        assert_eq!(decimal(-1), None);
    }
}
