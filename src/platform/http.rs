//! Outgoing HTTP through `fetch`.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::future::{Either, select};
use wasm_bindgen::JsValue;
use worker::{
    AbortController, Delay, Fetch, Headers, Method, Request, RequestInit, RequestRedirect, Response,
};

use super::border;
use crate::core::{Error, ErrorKind, Result};
use crate::ports::{Http, HttpRequest, HttpResponse};

/// How long an answer with its whole body may take, in milliseconds. Generous, since a report export can make a
/// server think for a minute, and waiting costs a Worker nothing.
const TIMEOUT_MS: u64 = 120_000;

/// `fetch` of the Workers runtime.
pub struct WorkerHttp;

/// Most of a stranger's answer that is read, in bytes: nothing we ask them for is longer.
const SHORT_BYTES: usize = 64 * 1024;

#[async_trait(?Send)]
impl Http for WorkerHttp {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse> {
        let (target, head) = (origin(&request.url), request.method == "HEAD");
        let (response, body) = exchange(request, RequestRedirect::Follow, TIMEOUT_MS, usize::MAX).await?;
        answer(&target, head, &response, body)
    }

    async fn send_direct(&self, request: HttpRequest, patience_ms: u64) -> Result<HttpResponse> {
        let (response, body) = exchange(request, RequestRedirect::Manual, patience_ms, SHORT_BYTES).await?;
        let headers = response.headers().entries().collect();
        Ok(HttpResponse { status: response.status_code(), headers, body: Bytes::from(body) })
    }
}

/// Sends, and reads no more than `most` bytes of the answer.
async fn exchange(
    request: HttpRequest,
    redirect: RequestRedirect,
    patience_ms: u64,
    most: usize,
) -> Result<(Response, Vec<u8>)> {
    let target = origin(&request.url);
    let request = build(request, redirect)
        .map_err(|error| Error::invalid(format!("Cannot call {target}: {}", border::worker_text(&error))))?;
    let abort = AbortController::default();
    let signal = abort.signal();
    let exchange = async {
        let mut response = Fetch::Request(request).send_with_signal(&signal).await?;
        if most == usize::MAX {
            let body = response.bytes().await?;
            return Ok((response, body));
        }
        let mut body = Vec::new();
        if let Ok(mut pieces) = response.stream() {
            while body.len() < most
                && let Some(piece) = pieces.next().await
            {
                body.extend_from_slice(&piece?);
            }
        }
        Ok::<_, worker::Error>((response, body))
    };
    let limit = Delay::from(Duration::from_millis(patience_ms));
    match select(Box::pin(exchange), limit).await {
        Either::Left((Ok(done), _)) => Ok(done),
        Either::Left((Err(error), _)) => Err(unreachable_peer(&target, &border::worker_text(&error))),
        Either::Right(_) => {
            abort.abort();
            let words = format!("no complete answer in {} seconds", patience_ms / 1000);
            Err(unreachable_peer(&target, &words))
        }
    }
}

fn build(request: HttpRequest, redirect: RequestRedirect) -> worker::Result<Request> {
    let headers = Headers::new();
    for (name, value) in &request.headers {
        headers.append(name, value)?;
    }
    let mut init = RequestInit::new();
    init.with_method(Method::from(request.method.to_owned())).with_headers(headers).with_redirect(redirect);
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
