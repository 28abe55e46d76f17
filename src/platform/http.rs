//! Outgoing HTTP through `fetch`.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::{Either, select};
use wasm_bindgen::JsValue;
use worker::{AbortController, Delay, Fetch, Headers, Method, Request, RequestInit, Response};

use super::border;
use crate::core::{Error, ErrorKind, Result};
use crate::ports::{Http, HttpRequest, HttpResponse};

/// How long an answer with its whole body may take, in milliseconds. Generous, since a report export can make a
/// server think for a minute, and waiting costs a Worker nothing.
const TIMEOUT_MS: u64 = 120_000;

/// `fetch` of the Workers runtime. Redirects are followed.
pub struct WorkerHttp;

#[async_trait(?Send)]
impl Http for WorkerHttp {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse> {
        let target = origin(&request.url);
        let head = request.method == "HEAD";
        let request = build(request).map_err(|error| {
            Error::invalid(format!("Cannot call {target}: {}", border::worker_text(&error)))
        })?;
        let abort = AbortController::default();
        let signal = abort.signal();
        let exchange = async {
            let mut response = Fetch::Request(request).send_with_signal(&signal).await?;
            let body = response.bytes().await?;
            Ok::<_, worker::Error>((response, body))
        };
        let limit = Delay::from(Duration::from_millis(TIMEOUT_MS));
        match select(Box::pin(exchange), limit).await {
            Either::Left((Ok((response, body)), _)) => answer(&target, head, &response, body),
            Either::Left((Err(error), _)) => Err(unreachable_peer(&target, &border::worker_text(&error))),
            Either::Right(_) => {
                abort.abort();
                Err(unreachable_peer(&target, "no complete answer in 120 seconds"))
            }
        }
    }
}

fn build(request: HttpRequest) -> worker::Result<Request> {
    let headers = Headers::new();
    for (name, value) in &request.headers {
        headers.append(name, value)?;
    }
    let mut init = RequestInit::new();
    init.with_method(Method::from(request.method.to_owned())).with_headers(headers);
    if !request.body.is_empty() {
        init.with_body(Some(JsValue::from(border::bytes(&request.body))));
    }
    Request::new_with_init(&request.url, &init)
}

fn answer(target: &str, head: bool, response: &Response, body: Vec<u8>) -> Result<HttpResponse> {
    let headers: Vec<(String, String)> = response.headers().entries().collect();
    let find =
        |wanted: &str| headers.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
    // An aborted body can read as a clean end, so the length is checked. Not under a content encoding: there the
    // header counts the encoded bytes, and a cut stream fails to decode.
    let announced = find("content-length").and_then(|length| length.parse::<usize>().ok());
    let encoded = find("content-encoding").is_some_and(|encoding| encoding != "identity");
    if let Some(announced) = announced
        && !head
        && !encoded
        && announced != body.len()
    {
        let words = format!("the answer was cut short, {} of {announced} bytes arrived", body.len());
        return Err(unreachable_peer(target, &words));
    }
    Ok(HttpResponse { status: response.status_code(), headers, body: Bytes::from(body) })
}

fn unreachable_peer(target: &str, words: &str) -> Error {
    Error::new(ErrorKind::SourceUnavailable, format!("Calling {target} failed: {words}"))
}

/// Scheme, host and port: path and query may hold tokens (invariant I6).
fn origin(url: &str) -> String {
    url::Url::parse(url)
        .map_or_else(|_| "an invalid URL".to_owned(), |url| url.origin().ascii_serialization())
}
