//! The one place that knows every connector by name.

use serde_json::Value;

use super::Source;
use crate::core::certificate::Certificate;
use crate::core::{Error, Result};
use crate::ports::Ports;

/// What the metadata endpoints and the API's validation know of a connector without opening it.
#[derive(Clone, Copy)]
pub struct ConnectorType {
    /// Service id, for example `postgres`.
    pub id: &'static str,
    /// Name for people.
    pub name: &'static str,
    /// Fivetran's category, for example `Database`.
    pub category: &'static str,
    /// One sentence.
    pub description: &'static str,
    /// JSON schema of `config`; secrets are strings of format `password`.
    pub config_schema: fn() -> schemars::Schema,
    /// Opens a source.
    pub open: OpenSource,
}

/// Opens a source from a configuration with its secrets in clear; validates it first. The server may show an approved
/// certificate, or one signed by it, besides those of public authorities.
pub type OpenSource = fn(config: &Value, approved: &[Certificate], ports: &Ports) -> Result<Box<dyn Source>>;

/// Every connector.
pub const CONNECTORS: &[ConnectorType] = &super::databases::postgres::CONNECTORS;

/// The connector of that service id.
///
/// # Errors
/// [`InvalidInput`](crate::core::ErrorKind::InvalidInput) naming the services there are.
pub fn connector(service: &str) -> Result<&'static ConnectorType> {
    CONNECTORS.iter().find(|connector| connector.id == service).ok_or_else(|| {
        let known = CONNECTORS.iter().map(|connector| connector.id).collect::<Vec<_>>().join(", ");
        Error::invalid(format!("Unsupported connector service '{service}'"))
            .field("service")
            .remedy(format!("Use one of: {known}"))
    })
}
