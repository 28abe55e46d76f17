//! The one place that knows every destination by name.

use serde_json::Value;

use super::Destination;
use crate::core::{Error, Result};
use crate::ports::Ports;

/// What the metadata endpoints and the API's validation know of a destination without opening it.
#[derive(Clone, Copy)]
pub struct DestinationType {
    /// Service id, for example `d1`.
    pub id: &'static str,
    /// Name for people.
    pub name: &'static str,
    /// JSON schema of `config`; secrets are strings of format `password`.
    pub config_schema: fn() -> schemars::Schema,
    /// Opens a destination from a configuration with its secrets in clear; validates it first.
    pub open: fn(config: &Value, ports: &Ports) -> Result<Box<dyn Destination>>,
}

/// Every destination.
pub const DESTINATIONS: &[DestinationType] = &[super::d1::DESTINATION, super::r2::DESTINATION];

/// The destination of that service id.
///
/// # Errors
/// [`InvalidInput`](crate::core::ErrorKind::InvalidInput) naming the services there are.
pub fn destination(service: &str) -> Result<&'static DestinationType> {
    DESTINATIONS.iter().find(|destination| destination.id == service).ok_or_else(|| {
        let known = DESTINATIONS.iter().map(|destination| destination.id).collect::<Vec<_>>().join(", ");
        Error::invalid(format!("Unsupported destination service '{service}'"))
            .field("service")
            .remedy(format!("Use one of: {known}"))
    })
}
