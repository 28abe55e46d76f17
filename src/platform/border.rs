//! What crosses between WASM and JavaScript: errors, JSON and numbers.
//!
//! A crossing costs tens of nanoseconds and a JavaScript number carries only 53 bits, so the adapters cross once per
//! batch (as one JSON text or one `Uint8Array`) and refuse integers that a double would round (invariant I7).

use js_sys::{JSON, Reflect, Uint8Array};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use wasm_bindgen::{JsCast, JsValue};

use crate::core::{Error, ErrorKind, Result};

/// The largest integer that a JavaScript number carries exactly, 2^53 - 1.
pub const MAX_EXACT: i64 = 9_007_199_254_740_991;

/// The human text of a thrown value: an error's message, else the value as a string.
#[must_use]
pub fn text(thrown: &JsValue) -> String {
    if let Some(error) = thrown.dyn_ref::<js_sys::Error>() {
        return error.message().into();
    }
    thrown.as_string().unwrap_or_else(|| format!("{thrown:?}"))
}

/// The human text of a `worker` error, without the crate's own prefixes.
#[must_use]
pub fn worker_text(error: &worker::Error) -> String {
    match error {
        worker::Error::UnknownJsError { message, .. } => message.clone(),
        other => other.to_string(),
    }
}

/// A boolean property of a thrown value, such as `retryable` of a Durable Object's error; absent is false.
#[must_use]
pub fn flag(thrown: &JsValue, name: &str) -> bool {
    Reflect::get(thrown, &JsValue::from_str(name)).is_ok_and(|value| value.is_truthy())
}

/// A JavaScript copy of the bytes. A copy and not a view: a view of WASM memory dies when the memory grows, and the
/// platform reads the bytes after we returned.
#[must_use]
pub fn bytes(bytes: &[u8]) -> Uint8Array {
    Uint8Array::from(bytes)
}

/// A plain JavaScript object of the value, through one JSON text: `serde_wasm_bindgen` would cross once per field, and
/// make a `Map` of every serde map.
///
/// # Errors
/// When the value has no JSON form.
pub fn to_js<T: Serialize>(value: &T) -> Result<JsValue> {
    let json = serde_json::to_string(value)?;
    JSON::parse(&json).map_err(|thrown| Error::internal(format!("JSON.parse failed: {}", text(&thrown))))
}

/// A JavaScript value as the wanted type, through one JSON text.
///
/// # Errors
/// When the value has no JSON form or another shape.
pub fn from_js<T: DeserializeOwned>(value: &JsValue) -> Result<T> {
    let json = JSON::stringify(value)
        .map_err(|thrown| Error::internal(format!("JSON.stringify failed: {}", text(&thrown))))?;
    Ok(serde_json::from_str(&String::from(json))?)
}

/// An integer as a JavaScript number.
///
/// # Errors
/// [`ErrorKind::Data`] beyond 2^53 - 1, where a number would be rounded.
pub fn exact_number(integer: i64) -> Result<f64> {
    if integer.abs_diff(0) <= MAX_EXACT.unsigned_abs() {
        // Lossless within the bound just checked.
        Ok(integer as f64)
    } else {
        Err(Error::new(
            ErrorKind::Data,
            format!("The integer {integer} does not fit a JavaScript number exactly"),
        )
        .remedy("Bind it as text and use CAST(?1 AS INTEGER)"))
    }
}

/// Refuses a number read through JSON that stands for an integer beyond 2^53 - 1, since it may have been rounded on
/// the way. A REAL of that size looks the same and is refused too: reading wrong is worse than casting.
///
/// # Errors
/// [`ErrorKind::Data`] naming the column.
pub fn check_exact(column: &str, value: &Value) -> Result<()> {
    let rounds = match value {
        Value::Number(number) => number.as_f64().is_some_and(may_be_rounded),
        _ => false,
    };
    if rounds { Err(rounded(column)) } else { Ok(()) }
}

/// Whether a number out of JavaScript may stand for another integer: whole, beyond 2^53 - 1, within 64 bits.
#[must_use]
pub fn may_be_rounded(number: f64) -> bool {
    /// 2^63: beyond it a number can only have been a REAL.
    const INTEGERS_END: f64 = 9_223_372_036_854_775_808.0;
    number.fract() == 0.0 && number.abs() > MAX_EXACT as f64 && number.abs() <= INTEGERS_END
}

/// The error for a column whose number may have been rounded.
#[must_use]
pub fn rounded(column: &str) -> Error {
    Error::new(ErrorKind::Data, format!("Column {column} holds a number above 2^53, which JavaScript rounds"))
        .remedy(format!("Select CAST({column} AS TEXT)"))
}
