//! The one error type of the crate.
//!
//! An [`Error`] says what went wrong, where (a config field, a table), and what the user can do. Retry policy is a
//! function of [`ErrorKind`] and lives in [`crate::core::retry`], nowhere else.

use std::fmt;

/// Result with the crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What class of failure this is. Decides retries, HTTP status and whether a person must act.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// The caller sent something malformed or contradictory (HTTP 400).
    InvalidInput,
    /// The named object does not exist (HTTP 404).
    NotFound,
    /// The object exists already or its state forbids the action (HTTP 409).
    Conflict,
    /// The source refused our credentials: a person must act.
    SourceAuth,
    /// The source lets us in but not at this object: a person must act.
    SourcePermission,
    /// The source's configuration is wrong (unknown host, database, TLS mismatch): a person must act.
    SourceConfig,
    /// The source is unreachable, dropped the connection or answered 5xx: retried.
    SourceUnavailable,
    /// The source asks us to slow down: retried after its delay.
    SourceThrottled,
    /// A schema, table or column changed or vanished while it was read: the table is planned again, by a run that is
    /// rescheduled for it.
    SourceChanged,
    /// A value cannot be represented exactly, or exceeds a documented limit (invariant I7): a person must act.
    Data,
    /// The destination refused our credentials or its configuration is wrong: a person must act.
    DestinationConfig,
    /// The destination is unreachable or overloaded: retried.
    DestinationUnavailable,
    /// The destination's hard limit is reached (columns, row size, database size): a person must act.
    DestinationLimit,
    /// The worker's lease was taken over; its work must be thrown away (invariant I4).
    Fenced,
    /// The run was cancelled.
    Cancelled,
    /// A checked equation did not hold (invariant I5).
    Mismatch,
    /// A defect of ours. Never retried blindly, always logged.
    Internal,
}

/// An error a person can act on. `Display` is safe to show and log: it never contains secrets (invariant I6).
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    field: Option<String>,
    remedy: Option<String>,
    retry_after_ms: Option<u64>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// A new error. `message` says what happened and where; it must not contain a secret.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), field: None, remedy: None, retry_after_ms: None, source: None }
    }

    /// Shorthand for [`ErrorKind::InvalidInput`].
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidInput, message)
    }

    /// Shorthand for [`ErrorKind::Internal`].
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }

    /// Names the input field at fault, in the caller's own terms (for example `config.password`).
    #[must_use]
    pub fn field(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }

    /// Says what the reader can do about it.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// The other side told us how long to wait, in milliseconds.
    #[must_use]
    pub fn retry_after_ms(mut self, delay: u64) -> Self {
        self.retry_after_ms = Some(delay);
        self
    }

    /// Keeps the cause for logs. The cause's text must not contain a secret either.
    #[must_use]
    pub fn caused_by(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.source = Some(Box::new(source));
        self
    }

    /// The class of the failure.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What happened, without field and remedy.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The input field at fault, if one is.
    #[must_use]
    pub fn field_name(&self) -> Option<&str> {
        self.field.as_deref()
    }

    /// The advice, if there is any.
    #[must_use]
    pub fn remedy_text(&self) -> Option<&str> {
        self.remedy.as_deref()
    }

    /// The delay the other side asked for, in milliseconds.
    #[must_use]
    pub fn requested_delay_ms(&self) -> Option<u64> {
        self.retry_after_ms
    }

    /// Message plus the chain of causes, for logs.
    #[must_use]
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(inner) = cause {
            text.push_str(": ");
            text.push_str(&inner.to_string());
            cause = inner.source();
        }
        text
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(field) = &self.field {
            write!(f, "{field}: ")?;
        }
        f.write_str(&self.message)?;
        if let Some(remedy) = &self.remedy {
            write!(f, ". {remedy}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// The serialisable part of an [`Error`]: how it crosses queue and Durable Object borders and is kept in history.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
pub struct ErrorReport {
    /// Class of the failure.
    pub kind: ErrorKind,
    /// What happened and what to do, as shown to people.
    pub message: String,
    /// Input field at fault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// Advice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
    /// Delay asked for by the other side, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// What caused it, the nearest cause first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<String>,
}

/// A cause that crossed a border as text.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
struct Cause {
    text: String,
    #[source]
    next: Option<Box<Cause>>,
}

impl From<&Error> for ErrorReport {
    fn from(error: &Error) -> Self {
        Self {
            kind: error.kind,
            message: error.message.clone(),
            field: error.field.clone(),
            remedy: error.remedy.clone(),
            retry_after_ms: error.retry_after_ms,
            causes: std::iter::successors(std::error::Error::source(error), |cause| cause.source())
                .map(ToString::to_string)
                .collect(),
        }
    }
}

impl From<ErrorReport> for Error {
    fn from(report: ErrorReport) -> Self {
        let causes = report.causes.into_iter().rev();
        let cause = causes.fold(None, |next, text| Some(Box::new(Cause { text, next })));
        Self {
            kind: report.kind,
            message: report.message,
            field: report.field,
            remedy: report.remedy,
            retry_after_ms: report.retry_after_ms,
            source: cause.map(|cause| cause as _),
        }
    }
}

impl From<arrow::error::ArrowError> for Error {
    fn from(error: arrow::error::ArrowError) -> Self {
        Self::internal("Arrow refused a batch").caused_by(error)
    }
}

impl From<parquet::errors::ParquetError> for Error {
    fn from(error: parquet::errors::ParquetError) -> Self {
        Self::internal("Parquet encoding failed").caused_by(error)
    }
}

impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Self {
        Self::internal("a JSON document of ours did not have the expected shape").caused_by(error)
    }
}
