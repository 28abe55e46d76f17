//! From stored definitions to live sources, destinations and schedules.

use std::fmt::Write as _;
use std::rc::Rc;

use sha2::{Digest, Sha256};

use crate::connectors::{Source, SyncMode};
use crate::control::{Connection, DestinationRecord};
use crate::core::schedule::{ScheduleKind, Zone, next_due};
use crate::core::{Error, ErrorKind, Result};
use crate::destinations::Destination;

use super::Engine;

impl Engine {
    /// The connection as it is now.
    pub(super) async fn fresh_connection(&self, id: &str) -> Result<Rc<Connection>> {
        let found = self.control.connection(id).await?.ok_or_else(|| {
            Error::new(ErrorKind::Cancelled, format!("connection {id} was deleted while it was syncing"))
        })?;
        Ok(self.definitions.keep_connection(found))
    }

    /// The connection as this worker first saw it.
    pub(super) async fn required_connection(&self, id: &str) -> Result<Rc<Connection>> {
        match self.definitions.connection(id) {
            Some(known) => Ok(known),
            None => self.fresh_connection(id).await,
        }
    }

    /// The destination of a connection: group id == destination id.
    pub(super) async fn required_destination(&self, id: &str) -> Result<Rc<DestinationRecord>> {
        self.destination_of(id).await?.ok_or_else(|| {
            Error::new(ErrorKind::DestinationConfig, format!("group {id} has no destination"))
                .remedy("Create one with POST /v1/destinations")
        })
    }

    async fn destination_of(&self, id: &str) -> Result<Option<Rc<DestinationRecord>>> {
        if let Some(known) = self.definitions.destination(id) {
            return Ok(Some(known));
        }
        Ok(self.control.destination(id).await?.map(|found| self.definitions.keep_destination(found)))
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
        let destination = self.destination_of(&connection.group_id).await?;
        let zone = destination.as_deref().map_or_else(|| Ok(Zone::default()), DestinationRecord::zone)?;
        let now = self.ports.clock.now_micros();
        Ok(next_due(&connection.schedule(zone)?, connection.next_due_at.or(Some(now)), now))
    }
}

/// Refuses to go on unless the run was planned for connection and destination as they are.
pub(super) fn require_planned(
    planned: &str,
    connection: &Connection,
    destination: &DestinationRecord,
) -> Result<()> {
    if definition(connection, destination) == planned {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Cancelled,
        format!(
            "the definition of connection {}, or of its destination, was changed while it was syncing",
            connection.id
        ),
    ))
}

/// Fingerprint of what a run reads from and how, its schema settings included, and of where it writes to. It changes with every
/// change of a configuration, is the same when that is only sealed anew, and tells nothing of the secrets. Decisions of the
/// schema change policy are not in it: the run itself makes them.
pub(super) fn definition(connection: &Connection, destination: &DestinationRecord) -> String {
    let mut hash = Sha256::new_with_prefix(&connection.config_mark);
    hash.update([u8::from(connection.sync_mode == SyncMode::Full)]);
    hash.update(connection.settings_edits.to_be_bytes());
    hash.update(&destination.config_mark);
    hash.finalize().iter().take(8).fold(String::new(), |mut hex, byte| {
        // Writing to a string cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}
