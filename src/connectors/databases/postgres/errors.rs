//! What PostgreSQL and the network say, in the words of [`crate::core::Error`].

use std::error::Error as _;
use std::io;

use tokio_postgres::error::DbError;

use super::wire::Oversize;
use crate::core::{Error, ErrorKind};

/// Advice for a server that cannot be reached.
pub(super) const REACH: &str =
    "Check host and port, that the server is up, and that its firewall lets Cloudflare in";

/// Advice for an error that anybody who reads the table meets.
const RAISED_BY_READING: &str =
    "Reading the table raises this error for any client; correct the view or exclude it";

/// Translates an error of tokio-postgres. `during` completes "PostgreSQL failed while ...".
pub(super) fn translate(error: tokio_postgres::Error, during: &str) -> Error {
    if let Some(refusal) = error.as_db_error() {
        return from_server(refusal, during);
    }
    if error.is_closed() {
        return unavailable(format!("The server closed the connection while {during}")).caused_by(error);
    }
    if is_network(&error) {
        let cause = error.source().map(ToString::to_string).unwrap_or_default();
        return unavailable(format!("The connection to the server failed while {during}: {cause}"));
    }
    // Bytes were lost or damaged on the way, or a proxy in between lost count: another connection may do better.
    let message = format!("The server's answer made no sense while {during}: {}", chain(&error));
    Error::new(ErrorKind::SourceUnavailable, message).remedy("It is tried again")
}

/// Translates an error of a COPY. Its table and columns were there when it began, and locked since, so what is missing
/// now is something that computing them needs: planning again would find the same, for ever.
pub(super) fn translate_reading(error: tokio_postgres::Error, during: &str) -> Error {
    let error = translate(error, during);
    if error.kind() != ErrorKind::SourceChanged {
        return error;
    }
    Error::new(ErrorKind::Data, error.message()).remedy(RAISED_BY_READING)
}

/// True when the network failed, and not what came over it.
pub(super) fn is_network(error: &tokio_postgres::Error) -> bool {
    error.source().is_some_and(|cause| cause.is::<io::Error>())
}

/// The limit an error of the stream carries, if it is [`Oversize`].
pub(super) fn oversize_in(error: &tokio_postgres::Error) -> Option<Oversize> {
    error.source()?.downcast_ref::<io::Error>()?.get_ref()?.downcast_ref::<Oversize>().copied()
}

/// An error that is retried.
pub(super) fn unavailable(message: String) -> Error {
    Error::new(ErrorKind::SourceUnavailable, message).remedy(REACH)
}

/// tokio-postgres keeps the interesting part of some errors in their source.
pub(super) fn chain(error: &tokio_postgres::Error) -> String {
    match error.source() {
        Some(cause) => format!("{error} ({cause})"),
        None => error.to_string(),
    }
}

/// Translates an error the server reported. Its primary message names objects and never credentials; detail and hint
/// may quote rows and are left out, except for the hint of an unpopulated view.
fn from_server(refusal: &DbError, during: &str) -> Error {
    let code = refusal.code().code();
    let (kind, remedy) = classify(code, refusal.message());
    let error = Error::new(
        kind,
        format!("PostgreSQL refused while {during}: {} (SQLSTATE {code})", refusal.message()),
    );
    let error = match code {
        "28P01" => error.field("config.password"),
        "28000" => error.field("config.user"),
        "3D000" => error.field("config.database"),
        _ => error,
    };
    match remedy {
        "" => error,
        remedy => error.remedy(remedy),
    }
}

/// Kind and remedy by SQLSTATE (PostgreSQL manual, appendix A).
fn classify(code: &str, message: &str) -> (ErrorKind, &'static str) {
    match code {
        "28P01" => (ErrorKind::SourceAuth, "Correct the user or the password"),
        "28000" if message.contains("no encryption") || message.contains("SSL off") => {
            (ErrorKind::SourceConfig, "The server demands TLS: set sslmode to require")
        }
        "28000" => (
            ErrorKind::SourceAuth,
            "Allow this user to log in: check that the role exists, may log in, and is admitted by pg_hba.conf",
        ),
        "3D000" => (ErrorKind::SourceConfig, "Correct the name of the database"),
        "42501" => {
            (ErrorKind::SourcePermission, "GRANT USAGE on the schema and SELECT on the table to the user")
        }
        "53300" => (
            ErrorKind::SourceThrottled,
            "Raise max_connections, free connections, or connect through Hyperdrive",
        ),
        "42P01" | "42703" | "3F000" | "42704" | "42883" => {
            (ErrorKind::SourceChanged, "The table is planned again with its new shape")
        }
        "55000" => (ErrorKind::Data, "If it is a materialized view, run REFRESH MATERIALIZED VIEW"),
        "57014" => (
            ErrorKind::SourceUnavailable,
            "A timeout or an administrator cancelled the query; it is tried again. If it needs more time, raise \
             query_timeout_seconds",
        ),
        "55P03" => (ErrorKind::SourceUnavailable, "Another session locks the table; it is tried again"),
        "22021" => (
            ErrorKind::Data,
            "A text is not valid UTF-8 (the database accepts any bytes): correct it, or exclude the column",
        ),
        "54000" | "54001" | "54023" => {
            (ErrorKind::Data, "A value or a row is beyond what the server can send; exclude the column")
        }
        "0A000" | "08P01" => (ErrorKind::SourceConfig, ""),
        _ => match code.get(..2) {
            Some("XX") if code != "XX000" => {
                (ErrorKind::Data, "The server found its own data corrupted; repair the table")
            }
            // What computing a view or a generated text may raise: division by zero, a failing function, ...
            Some("22" | "2F" | "38" | "39" | "42" | "P0") => (ErrorKind::Data, RAISED_BY_READING),
            // 08 connection, 25 transaction state, 40 rollback (including a standby's replay conflict), 53 resources,
            // 57 operator intervention, 58 system error, XX000 internal error.
            _ => (ErrorKind::SourceUnavailable, "It is tried again"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_a_person_must_act_on_are_told_from_those_that_pass() {
        for (code, kind) in [
            ("28P01", ErrorKind::SourceAuth),
            ("28000", ErrorKind::SourceAuth),
            ("3D000", ErrorKind::SourceConfig),
            ("42501", ErrorKind::SourcePermission),
            ("53300", ErrorKind::SourceThrottled),
            ("42P01", ErrorKind::SourceChanged),
            ("42703", ErrorKind::SourceChanged),
            ("22012", ErrorKind::Data),
            ("P0001", ErrorKind::Data),
            ("XX001", ErrorKind::Data),
            ("XX000", ErrorKind::SourceUnavailable),
            ("40001", ErrorKind::SourceUnavailable),
            ("57P01", ErrorKind::SourceUnavailable),
            ("57P03", ErrorKind::SourceUnavailable),
            ("", ErrorKind::SourceUnavailable),
        ] {
            assert_eq!(classify(code, "").0, kind, "{code}");
        }
        assert_eq!(classify("28000", "no pg_hba.conf entry ..., no encryption").0, ErrorKind::SourceConfig);
    }
}
