//! The configuration a user writes.

use serde::Deserialize;
use serde_json::Value;
use url::{Host, Url};

use crate::core::redact::Secret;
use crate::core::{Error, Result};

/// Cloudflare's API.
const API_BASE: &str = "https://api.cloudflare.com/client/v4";

/// A D1 database: bound to the Worker, or any other by id over Cloudflare's API.
#[derive(Clone, Debug, Default, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Fields {
    /// Name of a D1 binding of this Worker. The faster way; no other field is needed then.
    binding: Option<String>,
    /// Another name of `binding`: the one that Terraform's provider knows.
    database: Option<String>,
    /// Id (UUID) of a database without a binding.
    database_id: Option<String>,
    /// Id of the Cloudflare account that owns the database.
    account_id: Option<String>,
    /// API token with the permission D1 Edit on that account.
    api_token: Option<Secret>,
    /// Where the API is, for tests and proxies. Default: `https://api.cloudflare.com/client/v4`.
    api_base: Option<String>,
}

/// A valid configuration.
#[derive(Clone, Debug)]
pub(super) enum Config {
    /// A binding by name.
    Binding {
        /// Its name.
        name: String,
        /// The field that names it.
        field: &'static str,
    },
    /// A database over Cloudflare's API.
    Http {
        /// `{base}/accounts/{account}/d1/database/{database}/query`.
        endpoint: String,
        /// Bearer token.
        token: Secret,
    },
}

/// The JSON schema of the configuration.
pub(super) fn schema() -> schemars::Schema {
    schemars::schema_for!(Fields)
}

impl Config {
    /// Reads and validates.
    ///
    /// # Errors
    /// [`InvalidInput`](crate::core::ErrorKind::InvalidInput) naming the field.
    pub(super) fn parse(config: &Value) -> Result<Self> {
        let fields = read_fields(config)?;
        let binding = match (text(fields.binding), text(fields.database)) {
            (Some(binding), Some(database)) if binding != database => {
                return Err(invalid("database", "It is another name of binding, and they differ")
                    .remedy("Remove one of the two"));
            }
            (Some(name), _) => Some((name, "binding")),
            (None, database) => database.map(|name| (name, "database")),
        };
        match (binding, text(fields.database_id)) {
            (Some(_), Some(_)) => Err(invalid("database_id", "A binding names its database already")
                .remedy("Remove one of the two")),
            (Some((name, field)), None) => Ok(Self::Binding { name, field }),
            (None, Some(database)) => {
                let account = text(fields.account_id)
                    .ok_or_else(|| invalid("account_id", "It is needed to reach a database by its id"))?;
                let token = fields.api_token.filter(|token| !token.is_empty()).ok_or_else(|| {
                    invalid("api_token", "It is needed to reach a database by its id")
                        .remedy("Create a token with the permission D1 Edit")
                })?;
                check_id("database_id", &database)?;
                check_id("account_id", &account)?;
                let base = api_base(text(fields.api_base))?;
                Ok(Self::Http {
                    endpoint: format!("{base}/accounts/{account}/d1/database/{database}/query"),
                    token,
                })
            }
            (None, None) => Err(invalid("binding", "The database is not named").remedy(
                "Set binding to a D1 binding of the Worker, or database_id, account_id and api_token",
            )),
        }
    }
}

/// serde's own errors name neither the field's path nor the remedy, so the shape is checked first.
fn read_fields(config: &Value) -> Result<Fields> {
    let known: Vec<String> = serde_json::to_value(schema())?
        .get("properties")
        .and_then(Value::as_object)
        .map(|properties| properties.keys().cloned().collect())
        .unwrap_or_default();
    let object = config.as_object().ok_or_else(|| Error::invalid("It must be an object").field("config"))?;
    for (name, value) in object {
        if !known.contains(name) {
            return Err(invalid(name, "There is no such field").remedy(format!("Use {}", known.join(", "))));
        }
        if !value.is_string() && !value.is_null() {
            return Err(invalid(name, "It must be a string"));
        }
    }
    Ok(Fields::deserialize(config)?)
}

fn invalid(field: &str, message: &str) -> Error {
    Error::invalid(message).field(format!("config.{field}"))
}

/// An empty string is no value: forms send it for fields left blank.
fn text(value: Option<String>) -> Option<String> {
    value.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// Ids become part of a URL, so nothing but what ids consist of may pass.
fn check_id(field: &str, id: &str) -> Result<()> {
    let plausible = id.len() <= 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    if plausible {
        return Ok(());
    }
    Err(invalid(field, "It is not an id")
        .remedy("Copy it from the Cloudflare dashboard: hexadecimal digits and dashes"))
}

/// The token travels there, so only TLS will do, except on this machine.
fn api_base(base: Option<String>) -> Result<String> {
    let Some(base) = base else { return Ok(API_BASE.to_owned()) };
    let url = Url::parse(&base).map_err(|_| invalid("api_base", "It is not a URL"))?;
    let local = match url.host() {
        Some(Host::Domain(domain)) => domain == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    if url.scheme() == "https" || (url.scheme() == "http" && local) {
        return Ok(base.trim_end_matches('/').to_owned());
    }
    Err(invalid("api_base", "It must be an https URL"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn field_at_fault(config: Value) -> String {
        Config::parse(&config).unwrap_err().field_name().unwrap().to_owned()
    }

    #[test]
    fn a_binding_is_enough() {
        for config in
            [json!({"binding": "DB"}), json!({"database": "DB"}), json!({"binding": "DB", "database": "DB"})]
        {
            let parsed = Config::parse(&config).unwrap();
            assert!(matches!(parsed, Config::Binding { name, .. } if name == "DB"), "{config}");
        }
    }

    #[test]
    fn a_database_by_id_needs_account_and_token() {
        let full = json!({"database_id": "0a1b-2c", "account_id": "ff00", "api_token": "t"});
        let Config::Http { endpoint, .. } = Config::parse(&full).unwrap() else { panic!() };
        assert_eq!(endpoint, "https://api.cloudflare.com/client/v4/accounts/ff00/d1/database/0a1b-2c/query");
        assert_eq!(field_at_fault(json!({"database_id": "0a"})), "config.account_id");
        assert_eq!(field_at_fault(json!({"database_id": "0a", "account_id": "ff"})), "config.api_token");
    }

    #[test]
    fn every_mistake_names_its_field() {
        assert_eq!(field_at_fault(json!([])), "config");
        assert_eq!(field_at_fault(json!({})), "config.binding");
        assert_eq!(field_at_fault(json!({"binding": "  "})), "config.binding");
        assert_eq!(field_at_fault(json!({"bindin": "DB"})), "config.bindin");
        assert_eq!(field_at_fault(json!({"binding": 3})), "config.binding");
        assert_eq!(field_at_fault(json!({"binding": "DB", "database_id": "0a"})), "config.database_id");
        assert_eq!(field_at_fault(json!({"database": "DB", "database_id": "0a"})), "config.database_id");
        assert_eq!(field_at_fault(json!({"binding": "DB", "database": "OTHER"})), "config.database");
        let http = |key: &str, value: &str| {
            let mut config = json!({"database_id": "0a", "account_id": "ff", "api_token": "t"});
            config[key] = json!(value);
            field_at_fault(config)
        };
        assert_eq!(http("database_id", "../x"), "config.database_id");
        assert_eq!(http("account_id", "a/b"), "config.account_id");
        assert_eq!(http("api_base", "http://example.com"), "config.api_base");
        assert_eq!(http("api_base", "nonsense"), "config.api_base");
    }

    #[test]
    fn i6_the_token_is_marked_as_a_password_and_never_printed() {
        let schema = serde_json::to_string(&schema()).unwrap();
        assert!(schema.contains("\"format\":\"password\""), "{schema}");
        let config = json!({"database_id": "0a", "account_id": "ff", "api_token": "geheim"});
        assert!(!format!("{:?}", Config::parse(&config).unwrap()).contains("geheim"));
    }
}
