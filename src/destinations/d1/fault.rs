//! What a complaint of D1 means for a run. D1 says it in English only, so this file is where its sentences are known.
//!
//! Source of the texts: Cloudflare's "Debug D1" page and SQLite's own messages.

use crate::core::{Error, ErrorKind};

/// The text our guards raise inside SQL when a newer lease or run owns the table (invariant I4). It reaches us as
/// part of SQLite's message about a bad JSON path, the only function D1 allows that fails with a text of our choice.
pub(super) const FENCED: &str = "fivetran_fenced";

/// Overloads, resets and lost connections: trying again helps.
const PASSING: &[&str] = &[
    "overloaded",
    "requests queued",
    "network connection lost",
    "storage operation exceeded timeout",
    "caused object to be reset",
    "code was updated",
    "cannot resolve d1 db",
    "exceeded its memory limit and was reset",
    "exceeded its cpu time limit and was reset",
    "stream because client disconnected",
    "timed out",
    "sqlite_busy",
    "database is locked",
    "internal error",
];

/// The database or the account is full.
const FULL: &[&str] =
    &["sqlite_full", "is full", "maximum db size", "maximum database size", "maximum account storage"];

/// One value or row is larger than D1 takes.
const TOO_BIG: &[&str] = &["too big", "sqlite_toobig", "too large"];

/// Turns a failed call into an error that names the table or task and says what to do.
pub(super) fn explain(error: Error, what: &str) -> Error {
    let text = error.message().to_ascii_lowercase();
    let says = |texts: &[&str]| texts.iter().any(|known| text.contains(known));
    if text.contains(FENCED) {
        return fenced(what);
    }
    let kind = if says(FULL) || says(TOO_BIG) || text.contains("too many columns") {
        ErrorKind::DestinationLimit
    } else if says(PASSING) {
        ErrorKind::DestinationUnavailable
    } else if text.contains("not authorized") {
        ErrorKind::DestinationConfig
    } else {
        error.kind()
    };
    let mut explained = Error::new(kind, format!("{what}: {}", error.message()));
    if let Some(field) = error.field_name() {
        explained = explained.field(field);
    }
    if let Some(delay) = error.requested_delay_ms() {
        explained = explained.retry_after_ms(delay);
    }
    let remedy = if says(FULL) {
        Some("A D1 database ends at 10 GB: sync fewer tables or columns into it, or use an R2 destination")
    } else if says(TOO_BIG) {
        Some("D1 takes rows of at most 2 MB: exclude the large column, or use an R2 destination")
    } else {
        error.remedy_text()
    };
    match remedy {
        Some(remedy) => explained.remedy(remedy).caused_by(error),
        None => explained.caused_by(error),
    }
}

/// A newer lease or run owns the table or chunk.
pub(super) fn fenced(what: &str) -> Error {
    Error::new(ErrorKind::Fenced, format!("{what}: a newer run or lease has taken over"))
}

/// True when the error says that a table of ours is not there yet.
pub(super) fn is_missing_table(error: &Error) -> bool {
    error.message().contains("no such table")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(text: &str) -> ErrorKind {
        explain(Error::internal(text), "table a.b").kind()
    }

    #[test]
    fn d1s_sentences_become_kinds() {
        assert_eq!(kind("D1_ERROR: bad JSON path: 'fivetran_fenced': SQLITE_ERROR"), ErrorKind::Fenced);
        assert_eq!(
            kind("D1_ERROR: D1 DB is overloaded. Requests queued for too long."),
            ErrorKind::DestinationUnavailable
        );
        assert_eq!(kind("D1_ERROR: Network connection lost."), ErrorKind::DestinationUnavailable);
        assert_eq!(
            kind("D1 DB storage operation exceeded timeout which caused object to be reset."),
            ErrorKind::DestinationUnavailable
        );
        assert_eq!(kind("D1_ERROR: database or disk is full: SQLITE_FULL"), ErrorKind::DestinationLimit);
        assert_eq!(kind("D1_ERROR: Exceeded maximum DB size"), ErrorKind::DestinationLimit);
        assert_eq!(kind("D1_ERROR: string or blob too big: SQLITE_TOOBIG"), ErrorKind::DestinationLimit);
        assert_eq!(kind("D1_ERROR: near \"x\": syntax error: SQLITE_ERROR"), ErrorKind::Internal);
    }

    #[test]
    fn a_full_database_comes_with_advice() {
        let error = explain(Error::internal("SQLITE_FULL"), "table a.b");
        assert!(error.to_string().contains("table a.b"));
        assert!(error.remedy_text().unwrap().contains("10 GB"));
    }
}
