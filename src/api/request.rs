//! Requests, and how leniently they are read.

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::conform::conform;
use super::cursor;
use super::error::{ApiError, ApiResult};
use crate::control::Page;
use crate::control::identity::Identity;
use crate::core::limits::API_MAX_BODY_BYTES;
use crate::core::{Error, Result};

/// An HTTP request, whole. A shell need not read more of a body than
/// [`API_MAX_BODY_BYTES`](crate::core::limits::API_MAX_BODY_BYTES) and one byte.
#[derive(Clone, Debug, Default)]
pub struct ApiRequest {
    /// `GET`, `POST`, …
    pub method: String,
    /// Path, percent-encoded as it came.
    pub path: String,
    /// What follows the `?`, or nothing.
    pub query: String,
    /// Header names in any case, and values.
    pub headers: Vec<(String, String)>,
    /// Body; empty for none.
    pub body: Bytes,
    /// Whether the platform vouches that the owner's own Worker asks, which then needs no key. Nothing that a request
    /// carries may set it.
    pub vouched: bool,
}

impl ApiRequest {
    /// The first header of that name, in any case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// Clients send `application/json;version=2`, `*/*` or nothing; version 2 shapes suit them all, so only an `Accept`
    /// that JSON cannot meet is refused.
    pub(crate) fn check_accept(&self) -> ApiResult<()> {
        let Some(accept) = self.header("accept") else { return Ok(()) };
        let fits = |range: &str| {
            let range = range.split(';').next().unwrap_or_default().trim();
            ["", "*/*", "application/*", "application/json"]
                .iter()
                .any(|known| range.eq_ignore_ascii_case(known))
        };
        if accept.split(',').any(fits) {
            return Ok(());
        }
        Err(ApiError::new(
            406,
            "NotAcceptable",
            "Accept: Answers are JSON only. Send 'application/json' or '*/*'",
        ))
    }

    /// The body as a JSON object; an empty body is an empty object. Several clients send no `Content-Type` with an empty
    /// body and some send one with parameters, so only a body declared to be something else is refused.
    pub(crate) fn json(&self) -> ApiResult<Value> {
        if self.body.len() > API_MAX_BODY_BYTES {
            let message = format!(
                "The request body is larger than {API_MAX_BODY_BYTES} bytes. Send it in smaller parts"
            );
            return Err(ApiError::new(413, "PayloadTooLarge", message));
        }
        if self.body.iter().all(u8::is_ascii_whitespace) {
            return Ok(Value::Object(Map::new()));
        }
        let declared = self.header("content-type").map(str::trim).unwrap_or_default();
        let json = "application/json";
        if !declared.is_empty()
            && !declared.get(..json.len()).is_some_and(|head| head.eq_ignore_ascii_case(json))
        {
            let message =
                "Content-Type: The request body must be JSON. Send 'Content-Type: application/json'";
            return Err(ApiError::new(415, "UnsupportedMediaType", message));
        }
        let text = std::str::from_utf8(&self.body).map_err(|error| {
            Error::invalid(format!("The request body is not UTF-8: byte {} is wrong", error.valid_up_to()))
                .remedy("Encode it as UTF-8")
        })?;
        // Only syntax can be wrong here, so the parser's words name a place and quote no content.
        let value = serde_json::from_str(text.trim_start_matches('\u{feff}')).map_err(|error| {
            Error::invalid(format!("The request body is not JSON: {error}")).remedy("Correct it there")
        })?;
        match value {
            Value::Object(_) => Ok(value),
            _ => Err(Error::invalid("The request body is not a JSON object")
                .remedy("Send an object: {…}")
                .into()),
        }
    }
}

/// A request on its way to a resource.
pub(crate) struct Call<'a> {
    pub(crate) request: &'a ApiRequest,
    /// Decoded parts of the path by name.
    pub(crate) path: Vec<(String, String)>,
    /// Decoded query by name.
    pub(crate) query: Vec<(String, String)>,
    pub(crate) caller: Identity,
}

impl Call<'_> {
    /// The part of the path of that name; the route's template has it.
    pub(crate) fn part(&self, name: &str) -> &str {
        self.path.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str()).unwrap_or_default()
    }

    /// A query parameter that is not empty.
    pub(crate) fn query(&self, name: &str) -> Option<&str> {
        self.query
            .iter()
            .find(|(key, value)| key == name && !value.is_empty())
            .map(|(_, value)| value.as_str())
    }

    /// `limit`, 1 to 1000, 100 where absent.
    pub(crate) fn limit(&self) -> Result<u32> {
        let Some(limit) = self.query("limit") else { return Ok(100) };
        limit.parse().ok().filter(|limit| (1..=1000).contains(limit)).ok_or_else(|| {
            Error::invalid("The limit is not a number from 1 to 1000").field("limit").remedy("Use 1 to 1000")
        })
    }

    /// `cursor` and `limit`.
    pub(crate) fn page(&self) -> Result<Page> {
        let after = self.query("cursor").map(cursor::read_keyset).transpose()?;
        Ok(Page { after, limit: self.limit()? })
    }

    /// The body as the type its schema describes.
    pub(crate) fn body<T: DeserializeOwned>(&self, schema: &Value) -> ApiResult<T> {
        let mut value = self.request.json()?;
        conform(&mut value, schema, "")?;
        // The value conforms, so this fails only where a type accepts less than its schema says; its words could quote
        // the content, so they are not passed on.
        serde_json::from_value(value)
            .map_err(|_| Error::invalid("The request body does not have the documented shape").into())
    }
}
