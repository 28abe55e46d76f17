//! Calls between the Worker and its Durable Objects: JSON over `fetch`, with our errors kept whole.
//!
//! Both ends of the border are here: [`call`] for callers, [`request`] and [`answer`] for the objects.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use wasm_bindgen::JsValue;
use worker::{Delay, Env, Method, Request, RequestInit, Response};

use super::border;
use crate::core::error::ErrorReport;
use crate::core::{Error, ErrorKind, Result};

/// Status by which an object says that the body is an [`ErrorReport`]. Not a 500, which the runtime itself may answer.
const REFUSED: u16 = 422;

/// Tries of a call whose failure the platform marks as retryable. Every operation of our objects may be repeated
/// (invariant I3), so a lost answer is harmless.
const TRIES: u32 = 3;

/// First wait between tries, in milliseconds; doubled for each further one.
const FIRST_WAIT_MS: u64 = 100;

/// Calls `path` (with a leading slash) of the object `name` in the namespace `binding`.
///
/// # Errors
/// The object's own error, or [`ErrorKind::DestinationUnavailable`] when it cannot be reached or is overloaded.
pub async fn call<I: Serialize, O: DeserializeOwned>(
    env: &Env,
    binding: &str,
    name: &str,
    path: &str,
    input: &I,
) -> Result<O> {
    let body = serde_json::to_string(input)?;
    let mut wait_ms = FIRST_WAIT_MS;
    for attempt in 1..=TRIES {
        // A stub that threw stays broken: each try takes a fresh one.
        match exchange(env, binding, name, path, &body).await {
            Ok((REFUSED, text)) => return Err(serde_json::from_str::<ErrorReport>(&text)?.into()),
            Ok((200, text)) => return Ok(serde_json::from_str(&text)?),
            Ok((status, text)) => {
                return Err(Error::internal(format!("{binding} {name}{path} answered {status}: {text}")));
            }
            Err(error) => {
                let thrown = error.to_js_value();
                let again = border::flag(&thrown, "retryable") && !border::flag(&thrown, "overloaded");
                if !again || attempt == TRIES {
                    return Err(Error::new(
                        ErrorKind::DestinationUnavailable,
                        format!("{binding} {name}{path} failed: {}", border::worker_text(&error)),
                    ));
                }
                Delay::from(Duration::from_millis(wait_ms)).await;
                wait_ms = wait_ms.saturating_mul(2);
            }
        }
    }
    Err(Error::internal(format!("{binding} {name}{path} was never tried")))
}

async fn exchange(
    env: &Env,
    binding: &str,
    name: &str,
    path: &str,
    body: &str,
) -> worker::Result<(u16, String)> {
    let stub = env.durable_object(binding)?.get_by_name(name)?;
    let mut init = RequestInit::new();
    init.with_method(Method::Post).with_body(Some(JsValue::from_str(body)));
    // The host is never resolved; a Request merely needs an absolute URL.
    let request = Request::new_with_init(&format!("https://object{path}"), &init)?;
    let mut response = stub.fetch_with_request(request).await?;
    Ok((response.status_code(), response.text().await?))
}

/// Path and input of a call, inside the object.
///
/// # Errors
/// When the body is not text.
pub async fn request(mut request: Request) -> Result<(String, String)> {
    let failed =
        |error: &worker::Error| Error::internal(format!("unreadable call: {}", border::worker_text(error)));
    let body = request.text().await.map_err(|error| failed(&error))?;
    Ok((request.path(), body))
}

/// The object's answer to a call.
///
/// # Errors
/// Only when the runtime cannot make a response.
pub fn answer<T: Serialize>(result: &Result<T>) -> worker::Result<Response> {
    let encoded = match result {
        Ok(value) => serde_json::to_string(value).map(|text| (200, text)),
        Err(error) => serde_json::to_string(&ErrorReport::from(error)).map(|text| (REFUSED, text)),
    };
    let (status, text) = encoded?;
    Ok(Response::ok(text)?.with_status(status))
}
