//! Failures as the API tells them: HTTP status, Fivetran's code, a message a person can act on.

use std::borrow::Cow;

use crate::core::{Error, ErrorKind};

/// Result of a resource.
pub(crate) type ApiResult<T> = Result<T, ApiError>;

/// A failed request.
#[derive(Debug)]
pub(crate) struct ApiError {
    pub(crate) status: u16,
    pub(crate) code: Cow<'static, str>,
    pub(crate) message: String,
    /// Headers that belong to this failure, for example `Allow`.
    pub(crate) headers: Vec<(&'static str, String)>,
    /// For the log only: what went wrong on our side.
    pub(crate) fault: Option<String>,
}

impl ApiError {
    pub(crate) fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code: Cow::Borrowed(code), message: message.into(), headers: Vec::new(), fault: None }
    }

    pub(crate) fn with_header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// `kind` is Fivetran's name of the object, as in `NotFound_Connection`: Terraform and others compare the code.
    pub(crate) fn not_found(kind: &str, id: &str) -> Self {
        let mut error = Self::new(404, "", format!("{kind} with id '{id}' does not exist."));
        error.code = Cow::Owned(format!("NotFound_{kind}"));
        error
    }

    /// Clients that ask under the old name of connections compare the old code.
    pub(crate) fn in_words_of(mut self, path: &str) -> Self {
        // Further behind there are names that people gave: a schema may be called `connectors`, too.
        let asked = || path.split('/').take(5).any(|part| part == "connectors");
        if self.code == "NotFound_Connection" && asked() {
            self.code = Cow::Borrowed("NotFound_Connector");
            self.message = self.message.replacen("Connection", "Connector", 1);
        }
        self
    }

    /// The object's state forbids the action.
    pub(crate) fn illegal_state(message: impl Into<String>) -> Self {
        Self::new(409, "IllegalState", message)
    }

    /// Another object, or another edit, is in the way.
    pub(crate) fn conflict(message: impl Into<String>) -> Self {
        Self::new(409, "Conflict", message)
    }

    /// A field the API knows and this product cannot honour: an honest refusal instead of a silent no.
    pub(crate) fn unsupported(field: &str, remedy: &str) -> Self {
        Error::invalid("This is not supported here").field(field).remedy(remedy).into()
    }
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        // What the source or destination answered is the caller's to mend, hence 4xx; the code says which side it was.
        let (status, code) = match error.kind() {
            ErrorKind::InvalidInput => (400, "InvalidInput"),
            ErrorKind::NotFound => (404, "NotFound"),
            ErrorKind::Conflict => (409, "IllegalState"),
            ErrorKind::SourceAuth => (400, "SourceAuth"),
            ErrorKind::SourcePermission => (400, "SourcePermission"),
            ErrorKind::SourceConfig => (400, "SourceConfig"),
            ErrorKind::SourceUnavailable => (400, "SourceUnavailable"),
            ErrorKind::SourceThrottled => (400, "SourceThrottled"),
            ErrorKind::SourceChanged => (409, "SourceChanged"),
            ErrorKind::Data => (400, "UnsupportedData"),
            ErrorKind::DestinationConfig => (400, "DestinationConfig"),
            ErrorKind::DestinationUnavailable => (400, "DestinationUnavailable"),
            ErrorKind::DestinationLimit => (400, "DestinationLimit"),
            ErrorKind::Cancelled => (409, "Cancelled"),
            ErrorKind::Fenced | ErrorKind::Mismatch | ErrorKind::Internal => (500, "InternalError"),
        };
        // A resource looks for the parent of what it writes, for a telling message; only the database's own check holds
        // when the parent is deleted between the look and the write. SQLite's sentence is D1's, too.
        if status == 500 && error.chain().contains("FOREIGN KEY constraint failed") {
            return Self::conflict(
                "What this belongs to is being deleted by others. Look whether it is still there",
            );
        }
        let mut failure = Self::new(status, code, error.to_string());
        if status == 500 {
            failure.fault = Some(error.chain());
            // A remedy is written for people; anything else may quote the database and helps nobody outside.
            if error.remedy_text().is_none() {
                failure.message =
                    "Something went wrong on our side. Quote the X-Request-Id when you report it".to_owned();
            }
        }
        failure
    }
}
