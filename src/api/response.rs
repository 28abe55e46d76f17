//! Answers: Fivetran's envelope around data.

use std::marker::PhantomData;

use bytes::Bytes;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::value::RawValue;

use super::error::{ApiError, ApiResult};
use crate::core::Error;

/// An HTTP answer, whole.
#[derive(Clone, Debug)]
pub struct ApiResponse {
    /// Status code.
    pub status: u16,
    /// Header names and values.
    pub headers: Vec<(String, String)>,
    /// Body; empty for answers to `HEAD`.
    pub body: Bytes,
    /// For the log, never for the wire: what went wrong on our side.
    pub fault: Option<String>,
}

/// What a resource answers on success: data of a known type, or none, and Fivetran's sentence.
pub(crate) struct Answer<T> {
    message: String,
    data: Option<Box<RawValue>>,
    of: PhantomData<T>,
}

/// Marks answers without data.
pub(crate) struct NoData;

impl Answer<NoData> {
    pub(crate) fn done(message: impl Into<String>) -> Self {
        Self { message: message.into(), data: None, of: PhantomData }
    }
}

impl<T: Serialize> Answer<T> {
    /// Serialises at once, so that nothing is copied through a tree of values.
    pub(crate) fn new(message: impl Into<String>, data: &T) -> ApiResult<Self> {
        let data = serde_json::value::to_raw_value(data).map_err(Error::from)?;
        Ok(Self { message: message.into(), data: Some(data), of: PhantomData })
    }
}

impl<T> Answer<T> {
    /// Forgets the type.
    pub(crate) fn envelope(self) -> Envelope {
        Envelope { code: "Success".to_owned(), message: Some(self.message), data: self.data }
    }
}

/// The envelope every answer comes in.
#[derive(Serialize)]
pub(crate) struct Envelope {
    code: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Box<RawValue>>,
}

/// A failed request. `code` is one of Fivetran's where Fivetran has one.
#[derive(Serialize, JsonSchema)]
pub(crate) struct ErrorBody {
    /// Class of the failure, for programs.
    pub(crate) code: String,
    /// What happened, where, and what to do about it, for people.
    pub(crate) message: String,
}

impl ApiResponse {
    /// An answer in JSON.
    pub(crate) fn json(status: u16, body: &impl Serialize) -> Self {
        match serde_json::to_vec(body) {
            Ok(body) => Self::json_text(status, Bytes::from(body)),
            Err(error) => Self::from(ApiError::from(Error::from(error))),
        }
    }

    /// An answer that is JSON already.
    pub(crate) fn json_text(status: u16, body: Bytes) -> Self {
        let content_type = ("content-type".to_owned(), "application/json;charset=utf-8".to_owned());
        Self { status, headers: vec![content_type], body, fault: None }
    }

    pub(crate) fn set(&mut self, name: &str, value: impl Into<String>) {
        self.headers.push((name.to_owned(), value.into()));
    }
}

impl From<ApiError> for ApiResponse {
    fn from(error: ApiError) -> Self {
        let body = ErrorBody { code: error.code.into_owned(), message: error.message };
        let mut response = Self::json(error.status, &body);
        for (name, value) in error.headers {
            response.set(name, value);
        }
        response.fault = error.fault;
        response
    }
}
