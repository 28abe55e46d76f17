//! What a user writes, and what remains of it after validation.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::address::{self, Address};
use super::patience::{DEFAULT_QUERY_SECONDS, MAX_QUERY_SECONDS, MIN_QUERY_SECONDS};
use crate::core::catalog::StreamName;
use crate::core::certificate::Certificate;
use crate::core::redact::Secret;
use crate::core::{Error, Result};
use crate::ports::Bindings;

/// Default of `cursor_overlap_seconds`: longer than almost any transaction between setting a timestamp and committing.
const DEFAULT_OVERLAP_SECONDS: u32 = 3600;

/// Default of `max_parallel_reads`: a server of 100 connections, Postgres's own default, hardly notices two.
const DEFAULT_PARALLEL_READS: u32 = 2;

/// Most of `max_parallel_reads`.
const MOST_PARALLEL_READS: u32 = 16;

/// `config` as it arrives. Fivetran's own fields of the `postgres` service are all accepted, so that existing clients
/// work; those that ask for what this connector does not do are refused by name in [`RawConfig::validate`].
#[derive(Debug, Default, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawConfig {
    /// Host name or IP address of the server.
    host: Option<String>,
    /// Port of the server; 5432 when absent. A number, or a string of digits.
    #[serde(deserialize_with = "lenient_port")]
    #[schemars(with = "Option<u16>")]
    port: Option<u16>,
    /// User to log in as.
    user: Option<String>,
    /// Password of the user.
    password: Option<Secret>,
    /// Database to read.
    database: Option<String>,
    /// `postgres://user:password@host:port/database?sslmode=require`, instead of the five fields above.
    url: Option<Secret>,
    /// Name of a Hyperdrive binding of the Worker, instead of host or URL.
    hyperdrive: Option<String>,
    /// `disable`, `prefer` (default), `require`, `verify-ca` or `verify-full`. Every TLS connection verifies the
    /// certificate and its host name, so the last three are the same. A certificate that no public authority vouches for
    /// must be approved (`trust_certificates`, `/v1/connections/{id}/certificates`).
    sslmode: Option<SslMode>,
    /// Prefix of the destination schemas.
    schema_prefix: Option<String>,
    /// Read only these schemas. The setup test tells which of them, and of the names below, are not there.
    schemas: Option<Vec<String>>,
    /// Read only these tables, each as `schema.table`.
    tables: Option<Vec<String>>,
    /// Column whose growth marks changes, by `schema.table`. Tables without an entry are followed by transaction id, and so
    /// are materialized views with one.
    cursor_columns: BTreeMap<String, String>,
    /// Seconds before the last cursor value that every incremental sync reads again, so that rows are not lost whose time
    /// was taken long before their transaction began to write. Applies to date and time cursor columns.
    cursor_overlap_seconds: Option<u32>,
    /// Carry every `numeric` column as text, which also carries `NaN`.
    numeric_as_text: bool,
    /// Seconds, 5 to 750, after which the server cancels a statement of ours; 600 when absent. A server that says nothing
    /// for ten seconds longer counts as lost.
    query_timeout_seconds: Option<u32>,
    /// Most connections to the server at once for one sync, 1 to 16; 2 when absent. Each connection of yours to the same
    /// server counts for itself: all together have at most as many as the Worker's queues have consumers.
    max_parallel_reads: Option<u32>,

    /// `QUERY_BASED` (default). `WAL_PGOUTPUT` is not available.
    update_method: Option<String>,
    /// `Directly` (default). Tunnels and private links are not available; use Hyperdrive for private networks.
    connection_type: Option<String>,
    /// `PASSWORD` (default).
    auth_method: Option<String>,
    /// True makes `sslmode` at least `require`.
    always_encrypted: Option<bool>,
    /// Not available: deletes are found by a full sync.
    delete_capture_enabled: Option<bool>,
    /// Not available.
    publication_name: Option<String>,
    /// Not available.
    replication_slot: Option<String>,
    /// Not available.
    tunnel_host: Option<String>,
    /// Not available.
    tunnel_port: Option<Value>,
    /// Not available.
    tunnel_user: Option<String>,
    /// Not available.
    entra_app_id: Option<String>,
    /// Not available.
    entra_tenant_id: Option<String>,
    /// Not available.
    client_private_key: Option<Secret>,
    /// Not available.
    client_public_certificate: Option<String>,
    /// Ours to give, ignored when sent back.
    public_key: Option<String>,
}

/// How much TLS is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum SslMode {
    /// Never.
    Disable,
    /// When the server offers it. Somebody in the middle of the network can pretend that it does not.
    Prefer,
    /// Always. As on Workers a certificate is never left unverified, this is `VerifyFull`.
    Require,
    /// As `Require`.
    VerifyCa,
    /// As `Require`.
    VerifyFull,
}

impl SslMode {
    /// True when a server without TLS must be refused.
    pub(super) fn required(self) -> bool {
        matches!(self, Self::Require | Self::VerifyCa | Self::VerifyFull)
    }
}

/// A configuration that makes sense.
#[derive(Clone, Debug)]
pub(super) struct Config {
    /// Where the server is and who we are there.
    pub(super) address: Address,
    /// Schemas to read; empty for all.
    pub(super) schemas: Vec<String>,
    /// Tables to read as `schema.table`; empty for all.
    pub(super) tables: Vec<String>,
    /// Cursor columns by `schema.table`.
    pub(super) cursor_columns: BTreeMap<String, String>,
    /// Seconds read again before a temporal cursor.
    pub(super) cursor_overlap_seconds: u32,
    /// Carry numerics as text.
    pub(super) numeric_as_text: bool,
    /// Longest time for a statement.
    pub(super) query_timeout_seconds: u32,
    /// Most chunks of a sync read at once, each over a connection of its own.
    pub(super) max_parallel_reads: u32,
    /// Certificates that the server may show besides those of public authorities.
    pub(super) approved: Vec<Certificate>,
}

impl Config {
    /// Parses and validates.
    ///
    /// # Errors
    /// [`InvalidInput`](crate::core::ErrorKind::InvalidInput) naming the field.
    pub(super) fn parse(config: &Value, approved: &[Certificate], bindings: &dyn Bindings) -> Result<Self> {
        // serde quotes a number where it wanted a string: fine for a host, not for a password (I6).
        for field in ["password", "url", "client_private_key"] {
            if config.get(field).is_some_and(|value| !value.is_string() && !value.is_null()) {
                return Err(Error::invalid("The value must be a string").field(format!("config.{field}")));
            }
        }
        RawConfig::deserialize(config)
            .map_err(|error| {
                Error::invalid(format!("The configuration is malformed: {error}")).field("config")
            })?
            .validate(approved, bindings)
    }

    /// The cursor column the user named for a stream.
    pub(super) fn cursor_column(&self, stream: &StreamName) -> Option<&str> {
        self.cursor_columns.get(&stream.to_string()).map(String::as_str)
    }
}

impl RawConfig {
    fn validate(self, approved: &[Certificate], bindings: &dyn Bindings) -> Result<Config> {
        self.refuse_the_unavailable()?;
        let mut address = self.address(bindings)?;
        if let Some(mode) = self.sslmode {
            address.sslmode = mode;
        }
        if self.always_encrypted == Some(true) && !address.sslmode.required() {
            address.sslmode = SslMode::Require;
        }
        let tables = self.tables.unwrap_or_default();
        for table in tables.iter().chain(self.cursor_columns.keys()) {
            if !table.contains('.') {
                return Err(Error::invalid(format!("'{table}' is not of the form schema.table"))
                    .field(if tables.contains(table) { "config.tables" } else { "config.cursor_columns" })
                    .remedy("Write it as schema.table, in the database's own upper and lower case"));
            }
        }
        let query_timeout_seconds = self.query_timeout_seconds.unwrap_or(DEFAULT_QUERY_SECONDS);
        if !(MIN_QUERY_SECONDS..=MAX_QUERY_SECONDS).contains(&query_timeout_seconds) {
            let range = format!("{MIN_QUERY_SECONDS} to {MAX_QUERY_SECONDS}");
            return Err(Error::invalid(format!("A query cannot be given {query_timeout_seconds} s"))
                .field("config.query_timeout_seconds")
                .remedy(format!("Give {range} seconds: an invocation of a Worker ends after 15 minutes")));
        }
        let max_parallel_reads = self.max_parallel_reads.unwrap_or(DEFAULT_PARALLEL_READS);
        if !(1..=MOST_PARALLEL_READS).contains(&max_parallel_reads) {
            return Err(Error::invalid(format!("A sync cannot read over {max_parallel_reads} connections"))
                .field("config.max_parallel_reads")
                .remedy(format!("Give 1 to {MOST_PARALLEL_READS}")));
        }
        Ok(Config {
            address,
            schemas: self.schemas.unwrap_or_default(),
            tables,
            cursor_columns: self.cursor_columns,
            cursor_overlap_seconds: self.cursor_overlap_seconds.unwrap_or(DEFAULT_OVERLAP_SECONDS),
            numeric_as_text: self.numeric_as_text,
            query_timeout_seconds,
            max_parallel_reads,
            approved: approved.to_vec(),
        })
    }

    /// Exactly one of `hyperdrive`, `url` and `host` says where the server is.
    fn address(&self, bindings: &dyn Bindings) -> Result<Address> {
        let host = present(self.host.as_deref());
        let url = self.url.as_ref().filter(|url| !url.is_empty());
        let hyperdrive = present(self.hyperdrive.as_deref());
        match (hyperdrive, url, host) {
            (Some(binding), None, None) => address::from_hyperdrive(&bindings.hyperdrive(binding)?),
            (None, Some(url), None) => address::from_url(url, "config.url"),
            (None, None, Some(host)) => Ok(Address {
                host: host.to_owned(),
                port: self.port.unwrap_or(address::DEFAULT_PORT),
                user: required(self.user.as_deref(), "config.user")?,
                password: self.password.clone().unwrap_or_default(),
                database: required(self.database.as_deref(), "config.database")?,
                sslmode: SslMode::Prefer,
                options: None,
            }),
            (None, None, None) => Err(Error::invalid("No server is named")
                .field("config.host")
                .remedy("Give host, port, user, password and database; or url; or hyperdrive")),
            _ => Err(Error::invalid("The server is named more than once")
                .field("config.host")
                .remedy("Keep one of host, url and hyperdrive")),
        }
    }

    fn refuse_the_unavailable(&self) -> Result<()> {
        accept_only(
            self.update_method.as_deref(),
            "QUERY_BASED",
            "config.update_method",
            "Reading the write-ahead log is not available yet; use QUERY_BASED, which follows transaction ids",
        )?;
        accept_only(
            self.connection_type.as_deref(),
            "Directly",
            "config.connection_type",
            "Tunnels and private links are not available; reach private servers through a Hyperdrive binding",
        )?;
        accept_only(
            self.auth_method.as_deref(),
            "PASSWORD",
            "config.auth_method",
            "Only password authentication is available",
        )?;
        if self.delete_capture_enabled == Some(true) {
            return Err(Error::invalid("Deletes cannot be captured between full syncs yet")
                .field("config.delete_capture_enabled")
                .remedy("Leave it out; a re-sync marks the rows that are gone"));
        }
        let unavailable = [
            ("config.publication_name", present(self.publication_name.as_deref()).is_some()),
            ("config.replication_slot", present(self.replication_slot.as_deref()).is_some()),
            ("config.tunnel_host", present(self.tunnel_host.as_deref()).is_some()),
            ("config.tunnel_port", self.tunnel_port.is_some()),
            ("config.tunnel_user", present(self.tunnel_user.as_deref()).is_some()),
            ("config.entra_app_id", present(self.entra_app_id.as_deref()).is_some()),
            ("config.entra_tenant_id", present(self.entra_tenant_id.as_deref()).is_some()),
            (
                "config.client_private_key",
                self.client_private_key.as_ref().is_some_and(|key| !key.is_empty()),
            ),
            (
                "config.client_public_certificate",
                present(self.client_public_certificate.as_deref()).is_some(),
            ),
        ];
        match unavailable.into_iter().find(|(_, given)| *given) {
            Some((field, _)) => {
                Err(Error::invalid("This setting belongs to a feature that is not available")
                    .field(field)
                    .remedy("Leave it out"))
            }
            None => Ok(()),
        }
    }
}

/// An empty string counts as absent: forms send it.
fn present(text: Option<&str>) -> Option<&str> {
    text.map(str::trim).filter(|text| !text.is_empty())
}

fn required(text: Option<&str>, field: &str) -> Result<String> {
    present(text)
        .map(str::to_owned)
        .ok_or_else(|| Error::invalid("A value is missing").field(field).remedy("Fill it in"))
}

fn accept_only(given: Option<&str>, only: &str, field: &str, remedy: &str) -> Result<()> {
    match present(given) {
        Some(other) if !other.eq_ignore_ascii_case(only) => {
            Err(Error::invalid(format!("'{other}' is not supported")).field(field).remedy(remedy))
        }
        _ => Ok(()),
    }
}

/// Fivetran's clients send the port as a number or as a string.
fn lenient_port<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Option<u16>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Port {
        Number(u64),
        Text(String),
    }
    let number = match Option::<Port>::deserialize(deserializer)? {
        None => return Ok(None),
        Some(Port::Text(text)) if text.trim().is_empty() => return Ok(None),
        Some(Port::Text(text)) => text.trim().parse().map_err(|_| ()),
        Some(Port::Number(number)) => Ok(number),
    };
    number
        .and_then(|number| u16::try_from(number).map_err(|_| ()))
        .ok()
        .filter(|port| *port > 0)
        .map(Some)
        .ok_or_else(|| serde::de::Error::custom("`port` must be a number from 1 to 65535"))
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use serde_json::json;

    use super::*;
    use crate::core::ErrorKind;
    use crate::ports::{ObjectStore, SqlDatabase};

    struct OneHyperdrive;

    impl Bindings for OneHyperdrive {
        fn database(&self, _: &str) -> Result<Rc<dyn SqlDatabase>> {
            Err(Error::invalid("none"))
        }
        fn bucket(&self, _: &str) -> Result<Rc<dyn ObjectStore>> {
            Err(Error::invalid("none"))
        }
        fn hyperdrive(&self, binding: &str) -> Result<Secret> {
            assert_eq!(binding, "PG");
            Ok(Secret::new("postgres://hyper:drive@1f.hyperdrive.local:5432/shop?sslmode=disable"))
        }
    }

    fn parse(config: Value) -> Result<Config> {
        Config::parse(&config, &[], &OneHyperdrive)
    }

    fn refused(config: Value, field: &str) {
        let error = parse(config).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains(field), "{error}");
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }

    #[test]
    fn fivetrans_own_fields_are_accepted() {
        let config = parse(json!({
            "host": "db.example.com", "port": "6543", "user": "u", "password": "hunter2", "database": "shop",
            "schema_prefix": "p", "update_method": "QUERY_BASED", "connection_type": "Directly",
            "auth_method": "PASSWORD", "always_encrypted": true, "publication_name": "", "public_key": null,
            "delete_capture_enabled": false, "cursor_columns": {"public.orders": "updated_at"},
        }))
        .unwrap();
        assert_eq!((config.address.host.as_str(), config.address.port), ("db.example.com", 6543));
        assert_eq!(config.address.sslmode, SslMode::Require);
        assert_eq!(config.cursor_column(&StreamName::new("public", "orders")), Some("updated_at"));
        assert!(!format!("{config:?}").contains("hunter2"));
    }

    #[test]
    fn a_hyperdrive_binding_is_enough() {
        let config = parse(json!({"hyperdrive": "PG"})).unwrap();
        assert_eq!(config.address.host, "1f.hyperdrive.local");
        assert_eq!(config.address.sslmode, SslMode::Disable);
        assert_eq!(config.address.password.expose(), "drive");
    }

    #[test]
    fn what_is_wrong_is_named() {
        let with = |field: &str, value: Value| {
            let mut config = json!({"host": "h", "user": "u", "password": "hunter2", "database": "d"});
            config[field] = value;
            config
        };
        refused(json!({}), "config.host");
        refused(with("user", json!("")), "config.user");
        refused(with("database", Value::Null), "config.database");
        refused(with("port", json!(0)), "port");
        refused(with("port", json!("many")), "port");
        refused(with("port", json!(70000)), "port");
        refused(with("url", json!("postgres://u:hunter2@h/d")), "config.host");
        refused(with("sslmode", json!("allow")), "one of `disable`");
        refused(with("update_method", json!("WAL_PGOUTPUT")), "config.update_method");
        refused(with("connection_type", json!("SshTunnel")), "config.connection_type");
        refused(with("auth_method", json!("AWS_IAM")), "config.auth_method");
        refused(with("tunnel_host", json!("t")), "config.tunnel_host");
        refused(with("replication_slot", json!("s")), "config.replication_slot");
        refused(with("delete_capture_enabled", json!(true)), "config.delete_capture_enabled");
        refused(with("tables", json!(["orders"])), "config.tables");
        refused(with("cursor_columns", json!({"orders": "id"})), "config.cursor_columns");
        refused(with("hostname", json!("h")), "hostname");
        refused(with("max_parallel_reads", json!(0)), "config.max_parallel_reads");
        refused(with("max_parallel_reads", json!(17)), "config.max_parallel_reads");
        assert_eq!(parse(with("max_parallel_reads", json!(5))).unwrap().max_parallel_reads, 5);
    }

    #[test]
    fn i6_a_password_of_the_wrong_type_is_not_quoted() {
        let error =
            parse(json!({"host": "h", "user": "u", "password": 471_147, "database": "d"})).unwrap_err();
        assert_eq!(error.field_name(), Some("config.password"));
        assert!(!error.chain().contains("471147"));
    }

    #[test]
    fn i6_secrets_are_marked_in_the_schema() {
        let schema = serde_json::to_value(schemars::schema_for!(RawConfig)).unwrap();
        for field in ["password", "url", "client_private_key"] {
            assert!(schema["properties"][field].to_string().contains("\"format\":\"password\""), "{field}");
        }
    }
}
