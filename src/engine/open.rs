//! From stored definitions to live sources, destinations and schedules.

use crate::connectors::Source;
use crate::control::{Connection, DestinationRecord};
use crate::core::schedule::{ScheduleKind, next_due};
use crate::core::{Error, ErrorKind, Result};
use crate::destinations::Destination;

use super::Engine;

impl Engine {
    pub(super) async fn required_connection(&self, id: &str) -> Result<Connection> {
        self.control.connection(id).await?.ok_or_else(|| {
            Error::new(ErrorKind::Cancelled, format!("connection {id} was deleted while it was syncing"))
        })
    }

    /// The destination of a connection: group id == destination id.
    pub(super) async fn required_destination(&self, id: &str) -> Result<DestinationRecord> {
        self.control.destination(id).await?.ok_or_else(|| {
            Error::new(ErrorKind::DestinationConfig, format!("group {id} has no destination"))
                .remedy("Create one with POST /v1/destinations")
        })
    }

    pub(super) fn open_source(&self, connection: &Connection) -> Result<Box<dyn Source>> {
        self.registry.source(connection, &self.ports)
    }

    pub(super) fn open_destination(&self, record: &DestinationRecord) -> Result<Box<dyn Destination>> {
        self.registry.destination(record, &self.ports)
    }

    /// When the connection is due next, counted from now; `None` when only a person starts it.
    pub(super) async fn next_due(&self, connection: &Connection) -> Result<Option<i64>> {
        if connection.paused || connection.schedule_type == ScheduleKind::Manual {
            return Ok(None);
        }
        let destination = self.control.destination(&connection.group_id).await?;
        let offset = destination.as_ref().map_or("0", |record| &record.time_zone_offset);
        let now = self.ports.clock.now_micros();
        Ok(next_due(&connection.schedule(offset)?, connection.next_due_at.or(Some(now)), now))
    }
}
