//! Reading rows of a Durable Object's SQLite, whose numbers may come back as integer, double or text.

use serde::de::DeserializeOwned;

use crate::core::{Error, Result};
use crate::ports::SqlValue;

/// One row, read by position.
pub(super) struct Row<'a>(pub(super) &'a [SqlValue]);

impl Row<'_> {
    fn value(&self, index: usize) -> Result<&SqlValue> {
        self.0.get(index).ok_or_else(|| Error::internal(format!("a state row has no column {index}")))
    }

    /// An integer, whatever form the border gave it.
    pub(super) fn integer(&self, index: usize) -> Result<i64> {
        match self.value(index)? {
            SqlValue::Integer(integer) => Ok(*integer),
            // Only values within 2^53 are kept as numbers here, so the cast is exact.
            #[allow(clippy::cast_possible_truncation)]
            SqlValue::Real(real) => Ok(*real as i64),
            SqlValue::Text(text) => {
                text.parse().map_err(|_| Error::internal(format!("state column {index} is not a number")))
            }
            SqlValue::Null => Err(Error::internal(format!("state column {index} is NULL"))),
        }
    }

    /// An integer that is never negative.
    pub(super) fn count(&self, index: usize) -> Result<u64> {
        Ok(u64::try_from(self.integer(index)?).unwrap_or(0))
    }

    /// Text or NULL.
    pub(super) fn text(&self, index: usize) -> Result<Option<&str>> {
        match self.value(index)? {
            SqlValue::Null => Ok(None),
            SqlValue::Text(text) => Ok(Some(text)),
            _ => Err(Error::internal(format!("state column {index} is not text"))),
        }
    }

    /// An integer that is never negative, or NULL.
    pub(super) fn optional_count(&self, index: usize) -> Result<Option<u64>> {
        match self.value(index)? {
            SqlValue::Null => Ok(None),
            _ => self.count(index).map(Some),
        }
    }

    /// JSON text or NULL.
    pub(super) fn json<T: DeserializeOwned>(&self, index: usize) -> Result<Option<T>> {
        self.text(index)?.map(|text| serde_json::from_str(text).map_err(Error::from)).transpose()
    }

    /// JSON text that must be there.
    pub(super) fn required_json<T: DeserializeOwned>(&self, index: usize) -> Result<T> {
        self.json(index)?.ok_or_else(|| Error::internal(format!("state column {index} is NULL")))
    }
}

/// JSON text of a value, as a parameter.
pub(super) fn json<T: serde::Serialize>(value: &T) -> Result<SqlValue> {
    Ok(SqlValue::Text(serde_json::to_string(value)?))
}

/// A count as a parameter.
pub(super) fn count(value: u64) -> SqlValue {
    SqlValue::Integer(i64::try_from(value).unwrap_or(i64::MAX))
}
