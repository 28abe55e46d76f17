//! D1 as [`SqlDatabase`].
//!
//! One `batch` call is one transaction and one round trip; its results cross into WASM as one JSON text.

use async_trait::async_trait;
use js_sys::Array;
use serde::Deserialize;
use serde_json::{Map, Value};
use wasm_bindgen::{JsCast, JsValue};
use worker::wasm_bindgen_futures::JsFuture;
use worker::worker_sys::types::{D1Database, D1PreparedStatement};

use super::border;
use crate::core::{Error, ErrorKind, Result};
use crate::ports::{QueryResult, SqlDatabase, SqlValue, Statement};

/// A D1 database. Below the `worker` crate's own wrapper, which unwraps in `prepare` (invariant I10).
pub struct D1 {
    database: D1Database,
    binding: String,
}

/// The parts of a D1 result that we read.
#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    results: Vec<Map<String, Value>>,
    #[serde(default)]
    meta: Meta,
}

#[derive(Default, Deserialize)]
struct Meta {
    #[serde(default)]
    changes: u64,
}

impl D1 {
    /// Wraps the binding of that name.
    #[must_use]
    pub fn new(database: worker::D1Database, binding: &str) -> Self {
        Self { database: JsValue::from(database).unchecked_into(), binding: binding.to_owned() }
    }

    fn prepare(&self, statement: &Statement) -> Result<D1PreparedStatement> {
        let prepared = self.database.prepare(&statement.sql).map_err(|thrown| self.failure(&thrown))?;
        if statement.params.is_empty() {
            return Ok(prepared);
        }
        let values = Array::new();
        for param in &statement.params {
            values.push(&bound(param)?);
        }
        prepared.bind(values).map_err(|thrown| self.failure(&thrown))
    }

    fn failure(&self, thrown: &JsValue) -> Error {
        let words = border::text(thrown);
        Error::new(kind_of(&words), format!("D1 database {}: {words}", self.binding))
    }
}

#[async_trait(?Send)]
impl SqlDatabase for D1 {
    async fn batch(&self, statements: Vec<Statement>) -> Result<Vec<QueryResult>> {
        if statements.is_empty() {
            return Ok(Vec::new());
        }
        let prepared = Array::new();
        for statement in &statements {
            prepared.push(self.prepare(statement)?.as_ref());
        }
        // The parameters live on in JavaScript; megabytes of JSON need not wait here as well.
        drop(statements);
        let promise = self.database.batch(prepared).map_err(|thrown| self.failure(&thrown))?;
        let results = JsFuture::from(promise).await.map_err(|thrown| self.failure(&thrown))?;
        let answers: Vec<Answer> = border::from_js(&results)?;
        answers.into_iter().map(checked).collect()
    }
}

fn checked(answer: Answer) -> Result<QueryResult> {
    for row in &answer.results {
        for (column, value) in row {
            border::check_exact(column, value)?;
        }
    }
    Ok(QueryResult { rows: answer.results, changes: answer.meta.changes })
}

/// A parameter as D1 takes it. D1 knows neither BigInt nor NaN.
fn bound(value: &SqlValue) -> Result<JsValue> {
    match value {
        SqlValue::Null => Ok(JsValue::NULL),
        SqlValue::Integer(integer) => Ok(JsValue::from_f64(border::exact_number(*integer)?)),
        SqlValue::Real(real) if real.is_finite() => Ok(JsValue::from_f64(*real)),
        SqlValue::Real(real) => {
            Err(Error::new(ErrorKind::Data, format!("D1 cannot store {real} as a number"))
                .remedy("Bind it as text"))
        }
        SqlValue::Text(text) => Ok(JsValue::from_str(text)),
    }
}

/// What D1's text means for a retry. The texts are those of D1's error list and of SQLite's result codes.
fn kind_of(words: &str) -> ErrorKind {
    const TRANSIENT: [&str; 10] = [
        "overloaded",
        "Network connection lost",
        "exceeded timeout",
        "timed out",
        "was reset",
        "code was updated",
        "starting up",
        "internal error",
        "Internal error",
        "SQLITE_BUSY",
    ];
    const LIMIT: [&str; 6] =
        ["too big", "too large", "too many columns", "SQLITE_FULL", "maximum DB size", "SQLITE_TOOBIG"];
    let any = |list: &[&str]| list.iter().any(|part| words.contains(part));
    if any(&TRANSIENT) {
        ErrorKind::DestinationUnavailable
    } else if any(&LIMIT) {
        ErrorKind::DestinationLimit
    } else if words.contains("UNIQUE constraint") {
        ErrorKind::Conflict
    } else {
        ErrorKind::Internal
    }
}
