//! The SQLite of a Durable Object as [`LocalSql`].

use wasm_bindgen::JsValue;
use worker::{SqlStorage, SqlStorageValue};

use super::border;
use crate::core::{Error, Result};
use crate::ports::{LocalSql, SqlValue};

/// `state.storage().sql()`. Only `raw()` of its cursors is used: the other readers throw past Rust.
pub struct DurableSql(SqlStorage);

impl DurableSql {
    /// Wraps the storage of this object.
    #[must_use]
    pub fn new(storage: SqlStorage) -> Self {
        Self(storage)
    }
}

impl LocalSql for DurableSql {
    fn exec(&self, sql: &str, params: &[SqlValue]) -> Result<Vec<Vec<SqlValue>>> {
        let values: Vec<JsValue> = params.iter().map(bound).collect();
        let cursor = self.0.exec_raw(sql, values).map_err(|error| failure(&error))?;
        let columns = cursor.column_names();
        let mut rows = Vec::new();
        for row in cursor.raw() {
            let row = row.map_err(|error| failure(&error))?;
            rows.push(
                columns.iter().zip(row).map(|(column, value)| read(column, value)).collect::<Result<_>>()?,
            );
        }
        Ok(rows)
    }
}

/// A parameter as the runtime takes it. Numbers arrive in SQLite as REAL and become exact integers again by column
/// affinity; past 2^53 they travel as text, which the same affinity converts exactly.
fn bound(value: &SqlValue) -> JsValue {
    match value {
        SqlValue::Null => JsValue::NULL,
        SqlValue::Integer(integer) => match border::exact_number(*integer) {
            Ok(number) => JsValue::from_f64(number),
            Err(_) => JsValue::from_str(&integer.to_string()),
        },
        SqlValue::Real(real) => JsValue::from_f64(*real),
        SqlValue::Text(text) => JsValue::from_str(text),
    }
}

fn read(column: &str, value: SqlStorageValue) -> Result<SqlValue> {
    match value {
        SqlStorageValue::Null => Ok(SqlValue::Null),
        SqlStorageValue::Boolean(flag) => Ok(SqlValue::Integer(i64::from(flag))),
        SqlStorageValue::Integer(integer) => Ok(SqlValue::Integer(integer)),
        SqlStorageValue::Float(real) if border::may_be_rounded(real) => Err(border::rounded(column)),
        SqlStorageValue::Float(real) => Ok(SqlValue::Real(real)),
        SqlStorageValue::String(text) => Ok(SqlValue::Text(text)),
        SqlStorageValue::Blob(_) => {
            Err(Error::internal(format!("Column {column} is a BLOB")).remedy(format!("Select hex({column})")))
        }
    }
}

fn failure(error: &worker::Error) -> Error {
    Error::internal(format!("Durable Object storage: {}", border::worker_text(error)))
}
