//! `Idempotency-Key`: a POST that is sent again under the same key, by the same API key, within 24 hours, is answered as
//! the first time and not done again. Only successes are kept: a refused request did nothing, and may be mended.

use bytes::Bytes;

use super::Services;
use super::error::{ApiError, ApiResult};
use super::request::Call;
use super::response::ApiResponse;
use crate::control::api_keys::sha256_hex;
use crate::control::idempotency::{Attempt, Claim};
use crate::core::Error;

/// Does the work, unless it was done.
pub(crate) async fn once(
    services: &Services,
    call: &Call<'_>,
    work: impl Future<Output = ApiResult<ApiResponse>>,
) -> ApiResult<ApiResponse> {
    let key = call.request.header("idempotency-key").map(str::trim).unwrap_or_default();
    if call.request.method != "POST" || key.is_empty() {
        return work.await;
    }
    if key.len() > 255 || !key.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ') {
        return Err(Error::invalid("This is not an idempotency key")
            .field("Idempotency-Key")
            .remedy("Send 1 to 255 printable ASCII characters, for example a UUID")
            .into());
    }
    let request_sha256 = fingerprint(call);
    let attempt =
        Attempt { key_id: &call.caller.key_id, idempotency_key: key, request_sha256: &request_sha256 };
    match services.control.claim_answer(attempt).await? {
        Claim::New(claim) => {
            let answer = work.await;
            match answer
                .as_ref()
                .ok()
                .and_then(|answer| Some((answer.status, std::str::from_utf8(&answer.body).ok()?)))
            {
                Some((status, body)) if status < 300 => {
                    services.control.keep_answer(attempt, &claim, status, body).await?;
                }
                _ => services.control.release_answer(attempt, &claim).await?,
            }
            answer
        }
        Claim::Done(status, body) => {
            let mut answer = ApiResponse::json_text(status, Bytes::from(body));
            answer.set("idempotent-replayed", "true");
            Ok(answer)
        }
        Claim::AtWork => {
            let message =
                "Idempotency-Key: The same request is being served. Ask again in a second for its answer";
            Err(ApiError::new(409, "IdempotencyKeyInUse", message).with_header("retry-after", "1"))
        }
        Claim::Reused => {
            let message =
                "Idempotency-Key: Another request was sent with this key. Send a new key with a new request";
            Err(ApiError::new(422, "IdempotencyKeyReused", message))
        }
    }
}

/// A path and a query hold no line break, so the parts cannot run into each other.
fn fingerprint(call: &Call<'_>) -> String {
    let request = call.request;
    let mut bytes = format!("{}\n{}\n{}\n", request.method, request.path, request.query).into_bytes();
    bytes.extend_from_slice(&request.body);
    sha256_hex(&bytes)
}
