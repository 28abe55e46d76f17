//! PostgreSQL.

use crate::connectors::registry::ConnectorType;
use crate::core::Error;

/// The registry's entry.
pub(crate) const CONNECTOR: ConnectorType = ConnectorType {
    id: "postgres",
    name: "PostgreSQL",
    category: "Database",
    description: "Tables and views of a PostgreSQL database.",
    config_schema: || schemars::json_schema!({}),
    open: |_, _| Err(Error::internal("not there yet")),
};
