//! Where the server is and who we are there: connection URLs and Hyperdrive strings.

use std::str::FromStr;

use tokio_postgres::config::Host;
use url::Url;

use super::config::SslMode;
use crate::core::redact::Secret;
use crate::core::{Error, Result};

/// PostgreSQL's registered port.
pub(super) const DEFAULT_PORT: u16 = 5432;

/// Everything needed to log in.
#[derive(Clone, Debug)]
pub(super) struct Address {
    /// Host name or IP address.
    pub(super) host: String,
    /// Port.
    pub(super) port: u16,
    /// User.
    pub(super) user: String,
    /// Password; empty for none.
    pub(super) password: Secret,
    /// Database.
    pub(super) database: String,
    /// How much TLS.
    pub(super) sslmode: SslMode,
    /// `options` of the startup message; some providers route by it.
    pub(super) options: Option<String>,
}

/// Reads a connection string of a Hyperdrive binding. The way to it never leaves the machine, and Hyperdrive itself
/// speaks TLS to the database, so no TLS is wanted here whatever the string says.
///
/// # Errors
/// As [`from_url`].
pub(super) fn from_hyperdrive(connection_string: &Secret) -> Result<Address> {
    let mut address = from_url(connection_string, "config.hyperdrive")?;
    address.sslmode = SslMode::Disable;
    Ok(address)
}

/// Reads `postgres://user:password@host:port/database?sslmode=...`.
///
/// # Errors
/// [`InvalidInput`](crate::core::ErrorKind::InvalidInput) naming `field`; the URL's text is never quoted (I6).
pub(super) fn from_url(text: &Secret, field: &str) -> Result<Address> {
    let wrong = |what: &str| {
        Error::invalid(format!("The connection URL {what}"))
            .field(field)
            .remedy("Write postgres://user:password@host:5432/database, special characters percent-encoded")
    };
    let mut url = Url::parse(text.expose()).map_err(|_| wrong("cannot be parsed"))?;
    if !matches!(url.scheme(), "postgres" | "postgresql") {
        return Err(wrong("does not start with postgres://"));
    }
    let parameters = Parameters::of(&url, field)?;
    url.set_query(None);
    url.set_fragment(None);
    // tokio-postgres refuses query parameters it does not know, but it does percent-decode the rest.
    let parsed = tokio_postgres::Config::from_str(url.as_str()).map_err(|_| wrong("cannot be parsed"))?;
    let host = match parsed.get_hosts() {
        [Host::Tcp(host)] if !host.is_empty() => host.trim_matches(['[', ']']).to_owned(),
        _ => return Err(wrong("does not name exactly one host")),
    };
    let password = match parsed.get_password().map(std::str::from_utf8) {
        None => Secret::default(),
        Some(Ok(password)) => Secret::new(password),
        Some(Err(_)) => return Err(wrong("has a password that is not UTF-8")),
    };
    Ok(Address {
        host,
        port: parsed.get_ports().first().copied().unwrap_or(DEFAULT_PORT),
        user: parsed
            .get_user()
            .filter(|user| !user.is_empty())
            .ok_or_else(|| wrong("names no user"))?
            .to_owned(),
        password,
        database: parsed
            .get_dbname()
            .filter(|name| !name.is_empty())
            .ok_or_else(|| wrong("names no database"))?
            .to_owned(),
        sslmode: parameters.sslmode,
        options: parameters.options,
    })
}

/// The query parameters we heed. Those that only tune other drivers (`pgbouncer`, `connect_timeout`, ...) are ignored,
/// because providers put them into the URLs users copy; those that ask for security we cannot give are refused.
struct Parameters {
    sslmode: SslMode,
    options: Option<String>,
}

impl Parameters {
    fn of(url: &Url, field: &str) -> Result<Self> {
        let mut found = Self { sslmode: SslMode::Prefer, options: None };
        let mut bind_channel = false;
        for (name, value) in url.query_pairs() {
            match (name.as_ref(), value.as_ref()) {
                ("sslmode", mode) => {
                    found.sslmode = match mode {
                        "disable" => SslMode::Disable,
                        "allow" | "prefer" => SslMode::Prefer,
                        "require" | "verify-ca" | "verify-full" => SslMode::Require,
                        _ => return Err(unsupported(field, "sslmode")),
                    }
                }
                ("ssl", "true") => found.sslmode = SslMode::Require,
                ("options", options) => found.options = Some(options.to_owned()),
                // The platform's TLS does not show us the certificate that channel binding signs, but what binding is
                // for, that nobody sits in between, the verified certificate gives as well. So TLS becomes mandatory.
                ("channel_binding", "require") => bind_channel = true,
                ("sslrootcert", "system") => {}
                ("sslrootcert" | "sslcert" | "sslkey", _) => return Err(unsupported(field, &name)),
                _ => {}
            }
        }
        if bind_channel {
            found.sslmode = SslMode::Require;
        }
        Ok(found)
    }
}

fn unsupported(field: &str, parameter: &str) -> Error {
    Error::invalid(format!("The connection URL's parameter '{parameter}' has a value that is not supported"))
        .field(field)
        .remedy(
            "Leave it out. Certificates are verified against public authorities, and those you approve for the connection",
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str) -> Result<Address> {
        from_url(&Secret::new(url), "config.url")
    }

    #[test]
    fn urls_are_decoded() {
        let address =
            read("postgresql://us%40er:p%3Aw%2Fd%20@db.example.com:6432/my%20db?sslmode=verify-full")
                .unwrap();
        assert_eq!(address.user, "us@er");
        assert_eq!(address.password.expose(), "p:w/d ");
        assert_eq!(address.database, "my db");
        assert_eq!((address.host.as_str(), address.port), ("db.example.com", 6432));
        assert!(address.sslmode.required());
    }

    #[test]
    fn providers_parameters_are_heeded_or_ignored() {
        let address =
            read("postgres://u@h/d?pgbouncer=true&connect_timeout=10&options=endpoint%3Dep-1&channel_binding=require")
                .unwrap();
        assert_eq!((address.port, address.options.as_deref()), (DEFAULT_PORT, Some("endpoint=ep-1")));
        assert_eq!(address.sslmode, SslMode::Require);
        assert_eq!(read("postgres://u@[::1]:99/d").unwrap().host, "::1");
    }

    #[test]
    fn i6_a_bad_url_is_refused_without_quoting_it() {
        for url in [
            "hunter2",
            "mysql://u:hunter2@h/d",
            "postgres://u:hunter2@h",
            "postgres://:hunter2@h/d",
            "postgres://u:hunter2@h:99999/d",
            "postgres://u:hunter2@h/d?sslmode=hunter2",
            "postgres://u:hunter2@h/d?sslrootcert=ca.pem",
            "postgres://u:hunter2@a,b/d",
        ] {
            let error = read(url).expect_err(url).to_string();
            assert!(error.starts_with("config.url: ") && !error.contains("hunter2"), "{error}");
        }
    }
}
