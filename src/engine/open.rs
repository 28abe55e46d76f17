//! From stored definitions to live sources, destinations and schedules.

use crate::connectors::registry::connector;
use crate::connectors::Source;
use crate::control::{Connection, DestinationRecord, ScheduleType};
use crate::core::schedule::{Schedule, next_due};
use crate::core::{Error, ErrorKind, Result};
use crate::destinations::Destination;
use crate::destinations::registry::destination;

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
        let config = self.control.connection_config(connection)?;
        (connector(&connection.service)?.open)(&config, &self.ports)
    }

    /// Opens a destination from its record; the DestinationDO does so too.
    ///
    /// # Errors
    /// When its configuration is not valid any more.
    pub fn open_destination(&self, record: &DestinationRecord) -> Result<Box<dyn Destination>> {
        let config = self.control.destination_config(record)?;
        (destination(&record.service)?.open)(&config, &self.ports)
    }

    /// When the connection is due next, counted from now; `None` when only a person starts it.
    pub(super) async fn next_due(&self, connection: &Connection) -> Result<Option<i64>> {
        if connection.paused || connection.schedule_type == ScheduleType::Manual {
            return Ok(None);
        }
        let offset = self.control.destination(&connection.group_id).await?.map_or(0, |record| record.utc_offset_minutes());
        let schedule = Schedule::automatic(connection.sync_frequency, connection.daily_sync_time.as_deref(), offset)?;
        Ok(next_due(&schedule, connection.next_due_at, self.ports.clock.now_micros()))
    }
}
