//! HTTP requests of the runtime to and from the API's own.

use std::cell::OnceCell;
use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use serde::Deserialize;
use worker::{Context, Env, Headers, Method, Request, Response};

use super::{engine, ports};
use crate::api::{ApiRequest, ApiResponse, DEFAULT_PER_HOUR, Origins, RateLimits, RootKey, Services, handle};
use crate::core::Result;
use crate::core::limits::API_MAX_BODY_BYTES;
use crate::core::redact::Secret;
use crate::engine::RemoteSyncs;

/// Answers one request.
///
/// # Errors
/// Only when the runtime cannot make a response.
pub async fn answer(request: Request, env: &Env, context: &Context) -> worker::Result<Response> {
    let origin = request.url().map(|url| url.origin().ascii_serialization()).unwrap_or_default();
    let head = request.method() == Method::Head;
    let request = read(request, vouched(context)).await?;
    match services(env, origin) {
        Ok(services) => write(handle(&services, request).await, head),
        Err(error) => {
            worker::console_error!("the API cannot start: {}", error.chain());
            Response::error(format!("The Worker is not set up: {error}"), 503)
        }
    }
}

/// What the service binding says that a request came over: `props = { caller = "owner" }` in the configuration of the
/// Worker that calls. Only who may deploy this Worker can set it, and requests from elsewhere have none.
#[derive(Deserialize)]
struct Props {
    caller: String,
}

fn vouched(context: &Context) -> bool {
    context.props::<Props>().is_ok_and(|props| props.caller == "owner")
}

fn services(env: &Env, origin: String) -> Result<Services> {
    let engine = Rc::new(engine(env)?);
    let secret = |name: &str| env.secret(name).map(|secret| secret.to_string()).unwrap_or_default();
    let root_key = RootKey {
        api_key: Secret::new(secret("FIVETRAN_API_KEY")),
        api_secret: Secret::new(secret("FIVETRAN_API_SECRET")),
    };
    let control = engine.control.clone();
    let mut services =
        Services::new(control, Rc::new(RemoteSyncs::new(engine)), ports(env), origin, root_key);
    services.rate_limits = rate_limits(env);
    if let Ok(origins) = env.var("FIVETRAN_ALLOWED_ORIGINS") {
        services.origins = Origins::listed(&origins.to_string());
    }
    Ok(services)
}

thread_local! {
    /// Of the isolate, so that they outlive the request.
    static RATE_LIMITS: OnceCell<Rc<RateLimits>> = const { OnceCell::new() };
}

/// `FIVETRAN_RATE_LIMIT` is in requests per hour and API key; 0 is no limit.
fn rate_limits(env: &Env) -> Rc<RateLimits> {
    let configured = || {
        let text = env.var("FIVETRAN_RATE_LIMIT").ok()?.to_string();
        text.trim().parse().ok()
    };
    RATE_LIMITS.with(|limits| {
        limits.get_or_init(|| Rc::new(RateLimits::new(configured().unwrap_or(DEFAULT_PER_HOUR)))).clone()
    })
}

/// Keeps no more of a body than decides that it is too large. The rest is read and thrown away: answering a client that
/// is still sending breaks the connection under it, and it may never see why.
async fn read(mut request: Request, vouched: bool) -> worker::Result<ApiRequest> {
    let url = request.url()?;
    let headers = request.headers().entries().collect();
    let mut body = BytesMut::new();
    if !matches!(request.method(), Method::Get | Method::Head)
        && let Ok(mut stream) = request.stream()
    {
        while let Some(piece) = stream.next().await {
            let piece = piece?;
            if body.len() <= API_MAX_BODY_BYTES {
                body.extend_from_slice(&piece);
            }
        }
    }
    Ok(ApiRequest {
        // From the runtime's own request: the crate takes a method it does not know (`QUERY`) for a GET.
        method: request.inner().method(),
        path: url.path().to_owned(),
        query: url.query().unwrap_or_default().to_owned(),
        headers,
        body: Bytes::from(body),
        vouched,
    })
}

fn write(answer: ApiResponse, head: bool) -> worker::Result<Response> {
    if let Some(fault) = &answer.fault {
        worker::console_error!("{fault}");
    }
    let headers = Headers::new();
    for (name, value) in &answer.headers {
        headers.set(name, value)?;
    }
    let response = if head || answer.body.is_empty() {
        Response::empty()?
    } else {
        Response::from_bytes(answer.body.to_vec())?
    };
    Ok(response.with_headers(headers).with_status(answer.status))
}
