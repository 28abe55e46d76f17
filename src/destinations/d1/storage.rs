//! How each column type is stored, and how stored values turn into those of a wider type.
//!
//! | type | declared | stored as |
//! |---|---|---|
//! | BOOLEAN | `BOOLEAN` | 0 or 1 |
//! | SHORT, INT, LONG | `INTEGER` | 64-bit integer |
//! | DECIMAL up to 15 digits | `NUMERIC` | number: a double holds 15 decimal digits exactly, so it compares and sums |
//! | DECIMAL with more digits | `TEXT` | all digits, always `scale` of them after the point |
//! | FLOAT | `REAL` | the shortest decimal that reads back as the same 32-bit float |
//! | DOUBLE | `REAL` | the double, except that SQLite keeps -0.0 as 0.0 |
//! | NaN, infinities | | text `NaN`, `Infinity`, `-Infinity`: D1's JSON border would turn them into NULL |
//! | NAIVE_DATE, NAIVE_TIME, NAIVE_DATETIME, UTC_DATETIME | `TEXT` | ISO 8601 (see [`temporal`](super::temporal)) |
//! | BINARY | `BLOB` | bytes |
//! | STRING, JSON | `TEXT` | text; a column declared `JSON` would get SQLite's NUMERIC affinity and change values |
//!
//! `NUMERIC` has no precision in brackets because SQLite ignores it and could not alter it when the type widens; the
//! exact type is in [`catalog`](super::catalog).

use super::text_form;
use crate::core::types::ColumnType;

/// Decimal digits every double holds exactly.
const DOUBLE_DIGITS: u8 = 15;

/// True when values of the type are stored as SQLite numbers, false when as text of all digits.
pub(super) fn decimal_is_number(precision: u8) -> bool {
    precision <= DOUBLE_DIGITS
}

/// The type name in `CREATE TABLE`; it decides SQLite's affinity.
pub(super) fn declared(column_type: ColumnType) -> &'static str {
    match column_type {
        ColumnType::Boolean => "BOOLEAN",
        ColumnType::Short | ColumnType::Int | ColumnType::Long => "INTEGER",
        ColumnType::Decimal { precision, .. } if decimal_is_number(precision) => "NUMERIC",
        ColumnType::Float | ColumnType::Double => "REAL",
        ColumnType::Binary => "BLOB",
        ColumnType::Decimal { .. }
        | ColumnType::NaiveDate
        | ColumnType::NaiveTime
        | ColumnType::NaiveDatetime
        | ColumnType::UtcDatetime
        | ColumnType::String
        | ColumnType::Json => "TEXT",
    }
}

/// SQL that turns a stored value of `from` into what a fresh load of the same value as `to` would store (I7, I8);
/// `None` when it is stored the same way. `to` is a type that [`ColumnType::widen`] can answer; `column` is SQL.
pub(super) fn conversion(from: ColumnType, to: ColumnType, column: &str) -> Option<String> {
    use ColumnType::{
        Binary, Boolean, Decimal, Double, Float, Int, Long, NaiveDate, NaiveDatetime, Short, String,
        UtcDatetime,
    };
    let sql = match (from, to) {
        (Boolean, String) => format!("CASE {column} WHEN 1 THEN 'true' WHEN 0 THEN 'false' END"),
        (Short | Int | Long, String) => format!("CAST({column} AS TEXT)"),
        (Float | Double, String) => real_text(column),
        (Binary, String) => text_form::bytes(column),
        (NaiveDate | NaiveDatetime | UtcDatetime, String) => text_form::date(column),
        (Decimal { precision, scale }, String) if decimal_is_number(precision) => fixed(column, scale),
        // 24 bits of mantissa survive adding and subtracting 2^29 + 1 times the value (Veltkamp's splitting): the
        // shortest decimal of a 32-bit float becomes the double of exactly the same value, which a source that
        // widened its column sends. Numbers below the normal range lie on a fixed grid of 2^-149 instead.
        (Float, Double) => format!(
            "CASE WHEN typeof({column}) <> 'real' THEN {column} \
             WHEN abs({column}) < 1.1754943508222875e-38 THEN ({column} + 9.466330862652142e-30) - 9.466330862652142e-30 \
             ELSE {column} * 536870913.0 - ({column} * 536870913.0 - {column}) END"
        ),
        (NaiveDate, NaiveDatetime) => format!(
            "CASE WHEN {column} IN ('infinity', '-infinity') THEN {column} ELSE {column} || 'T00:00:00.000000' END"
        ),
        (Short | Int | Long, Decimal { precision, scale }) if !decimal_is_number(precision) => {
            format!("CAST({column} AS TEXT) || '{}'", fraction_of_zeros(0, scale))
        }
        (Decimal { precision: narrow, scale: before }, Decimal { precision: wide, scale: after })
            if !decimal_is_number(wide) =>
        {
            let zeros = fraction_of_zeros(before, after);
            match (decimal_is_number(narrow), zeros.is_empty()) {
                (true, _) => format!("{} || '{zeros}'", fixed(column, before)),
                (false, false) => format!("{column} || '{zeros}'"),
                (false, true) => return None,
            }
        }
        // Text is text already, integers are exact in every wider number, and a number stays one.
        _ => return None,
    };
    Some(sql)
}

/// SQL of what a conversion costs where that depends on the value, in the bytes it takes apart.
pub(super) fn conversion_cost(from: ColumnType, to: ColumnType, column: &str) -> Option<String> {
    matches!((from, to), (ColumnType::Binary, ColumnType::String)).then(|| text_form::cost(column))
}

/// A stored number as text with exactly `scale` digits after the point. `printf` makes 0 of NULL (and `hex` an empty
/// text), hence the CASE.
fn fixed(column: &str, scale: u8) -> String {
    format!("CASE WHEN {column} IS NOT NULL THEN printf('%.{scale}f', {column}) END")
}

/// A stored double as text that reads back as the same double: 15 digits where they suffice, else 17.
fn real_text(column: &str) -> String {
    format!(
        "CASE WHEN typeof({column}) <> 'real' THEN {column} \
         WHEN CAST(printf('%!.15g', {column}) AS REAL) = {column} THEN printf('%!.15g', {column}) \
         ELSE printf('%!.17g', {column}) END"
    )
}

/// What is missing after the last digit when the scale grows.
fn fraction_of_zeros(before: u8, after: u8) -> String {
    let zeros = "0".repeat(usize::from(after.saturating_sub(before)));
    if before == 0 && !zeros.is_empty() { format!(".{zeros}") } else { zeros }
}

/// A value for a key column that must not be NULL; see [`rebuild`](super::rebuild).
pub(super) fn zero(column_type: ColumnType) -> &'static str {
    match declared(column_type) {
        "TEXT" => "''",
        "BLOB" => "x''",
        _ => "0",
    }
}

/// SQL that reads a key value in a form that crosses D1's border exactly, as text.
pub(super) fn key_to_text(column_type: ColumnType, column: &str) -> String {
    match declared(column_type) {
        "TEXT" => column.to_owned(),
        "BLOB" => format!("hex({column})"),
        "REAL" | "NUMERIC" => {
            format!(
                "CASE typeof({column}) WHEN 'real' THEN printf('%!.17g', {column}) ELSE CAST({column} AS TEXT) END"
            )
        }
        _ => format!("CAST({column} AS TEXT)"),
    }
}

/// SQL that reads a value in a form that crosses D1's border exactly: the text that
/// [`ColumnParser`](crate::core::parse::ColumnParser) reads, bytes as hexadecimal digits. A value that is none of the
/// column's type (SQLite would keep one) comes out as what it is.
pub(super) fn to_text(column_type: ColumnType, column: &str) -> String {
    match (declared(column_type), column_type) {
        ("TEXT", _) => column.to_owned(),
        ("BLOB", _) => format!("CASE WHEN {column} IS NOT NULL THEN hex({column}) END"),
        ("NUMERIC", ColumnType::Decimal { scale, .. }) => format!(
            "CASE WHEN typeof({column}) IN ('integer', 'real') THEN printf('%.{scale}f', {column}) \
             ELSE CAST({column} AS TEXT) END"
        ),
        _ => key_to_text(column_type, column),
    }
}

/// The inverse of [`key_to_text`]: SQL of the key value held by a text parameter.
pub(super) fn key_from_text(column_type: ColumnType, parameter: &str) -> String {
    match declared(column_type) {
        "TEXT" => parameter.to_owned(),
        "BLOB" => format!("unhex({parameter})"),
        "REAL" => format!(
            "CASE WHEN {parameter} IN ('NaN', 'Infinity', '-Infinity') THEN {parameter} ELSE CAST({parameter} AS REAL) END"
        ),
        "NUMERIC" => format!("CAST({parameter} AS NUMERIC)"),
        _ => format!("CAST({parameter} AS INTEGER)"),
    }
}
