//! One row of the control plane, read by column name into exact types.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::core::{Error, Result};

/// A row.
pub(crate) struct Row(pub(crate) Map<String, Value>);

impl Row {
    /// A text column that is never NULL.
    pub(crate) fn text(&self, column: &str) -> Result<String> {
        self.optional_text(column)?.ok_or_else(|| unexpected(column, "text"))
    }

    /// A text column.
    pub(crate) fn optional_text(&self, column: &str) -> Result<Option<String>> {
        match self.0.get(column) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(unexpected(column, "text")),
        }
    }

    /// An integer column that is never NULL.
    pub(crate) fn integer(&self, column: &str) -> Result<i64> {
        self.optional_integer(column)?.ok_or_else(|| unexpected(column, "an integer"))
    }

    /// An integer column. The D1 border hands every number over as a double, so a double that is whole and exact
    /// (below 2^53: microseconds reach that in the year 2255) counts as an integer.
    pub(crate) fn optional_integer(&self, column: &str) -> Result<Option<i64>> {
        const EXACT: f64 = 9_007_199_254_740_992.0;
        match self.0.get(column) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Number(number)) => match (number.as_i64(), number.as_f64()) {
                (Some(integer), _) => Ok(Some(integer)),
                (None, Some(double)) if double.fract() == 0.0 && double.abs() < EXACT =>
                {
                    #[expect(clippy::cast_possible_truncation, reason = "whole and below 2^53")]
                    Ok(Some(double as i64))
                }
                _ => Err(unexpected(column, "an integer")),
            },
            Some(_) => Err(unexpected(column, "an integer")),
        }
    }

    /// An integer column holding a count.
    pub(crate) fn count(&self, column: &str) -> Result<u64> {
        u64::try_from(self.integer(column)?).map_err(|_| unexpected(column, "a count"))
    }

    /// A 0/1 column.
    pub(crate) fn flag(&self, column: &str) -> Result<bool> {
        Ok(self.integer(column)? != 0)
    }

    /// A JSON text column.
    pub(crate) fn json<T: DeserializeOwned>(&self, column: &str) -> Result<T> {
        serde_json::from_str(&self.text(column)?).map_err(|error| unexpected(column, "JSON").caused_by(error))
    }

    /// A JSON text column that may be NULL.
    pub(crate) fn optional_json<T: DeserializeOwned>(&self, column: &str) -> Result<Option<T>> {
        self.optional_text(column)?
            .map(|text| serde_json::from_str(&text))
            .transpose()
            .map_err(|error| unexpected(column, "JSON").caused_by(error))
    }
}

fn unexpected(column: &str, wanted: &str) -> Error {
    Error::internal(format!("Column {column} of the control plane does not hold {wanted}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn row(value: Value) -> Row {
        Row(Map::from_iter([("c".to_owned(), value)]))
    }

    #[test]
    fn whole_doubles_are_integers_and_others_are_refused() {
        assert_eq!(row(json!(1_700_000_000_000_000.0)).integer("c").unwrap(), 1_700_000_000_000_000);
        assert!(row(json!(1.5)).integer("c").is_err());
        assert!(row(json!(1e300)).integer("c").is_err());
        assert!(row(json!("1")).integer("c").is_err());
    }

    #[test]
    fn null_is_not_empty_text() {
        assert_eq!(row(json!(null)).optional_text("c").unwrap(), None);
        assert_eq!(row(json!("")).optional_text("c").unwrap(), Some(String::new()));
        assert!(row(json!(null)).text("c").is_err());
    }
}
