//! Which connectors and destinations an engine knows. The Worker has the standard ones; the model tests bring a
//! source whose every row and every failure they control.

use crate::connectors::Source;
use crate::connectors::registry::{CONNECTORS, ConnectorType};
use crate::control::{Connection, DestinationRecord};
use crate::core::{Error, ErrorKind, Result};
use crate::destinations::Destination;
use crate::destinations::registry::{DESTINATIONS, DestinationType};
use crate::ports::Ports;

/// The services that can be opened.
#[derive(Clone, Copy)]
pub struct Registry {
    /// Sources.
    pub connectors: &'static [ConnectorType],
    /// Destinations.
    pub destinations: &'static [DestinationType],
}

impl Default for Registry {
    fn default() -> Self {
        Self { connectors: CONNECTORS, destinations: DESTINATIONS }
    }
}

impl Registry {
    /// Opens a connection's source.
    ///
    /// # Errors
    /// When the service is gone from this version, or its configuration is not valid any more.
    pub fn source(&self, connection: &Connection, ports: &Ports) -> Result<Box<dyn Source>> {
        let found = self.connectors.iter().find(|entry| entry.id == connection.service);
        let entry = found.ok_or_else(|| unknown(ErrorKind::SourceConfig, &connection.service))?;
        (entry.open)(&connection.config.open()?, &connection.approved, ports)
    }

    /// Opens a destination.
    ///
    /// # Errors
    /// As [`Registry::source`].
    pub fn destination(&self, record: &DestinationRecord, ports: &Ports) -> Result<Box<dyn Destination>> {
        let found = self.destinations.iter().find(|entry| entry.id == record.service);
        let entry = found.ok_or_else(|| unknown(ErrorKind::DestinationConfig, &record.service))?;
        (entry.open)(&record.config.open()?, ports)
    }
}

fn unknown(kind: ErrorKind, service: &str) -> Error {
    Error::new(kind, format!("this version of the Worker does not know the service '{service}'"))
        .remedy("Deploy a version that does")
}
