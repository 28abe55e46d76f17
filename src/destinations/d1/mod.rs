//! Cloudflare D1.

use crate::core::Error;
use crate::destinations::registry::DestinationType;

/// The registry's entry.
pub(crate) const DESTINATION: DestinationType = DestinationType {
    id: "d1",
    name: "Cloudflare D1",
    config_schema: || schemars::json_schema!({}),
    open: |_, _| Err(Error::internal("not there yet")),
};
