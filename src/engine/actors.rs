//! The engine's way to its three kinds of Durable Objects and to the queue.

use async_trait::async_trait;

use super::protocol::{
    ConnectorReply, ConnectorRequest, DestinationReply, DestinationRequest, Message, SyncReply, SyncRequest,
};
use crate::core::Result;

/// Calls to Durable Objects by name. On the platform a stub and a fetch; in tests the state machines themselves.
#[async_trait(?Send)]
pub trait Actors {
    /// The object of a connection.
    ///
    /// # Errors
    /// What the object answered, or that it could not be reached.
    async fn connector(&self, connection_id: &str, request: ConnectorRequest) -> Result<ConnectorReply>;

    /// The object of a run.
    ///
    /// # Errors
    /// As [`Actors::connector`].
    async fn sync(&self, run_id: &str, request: SyncRequest) -> Result<SyncReply>;

    /// The object of a destination.
    ///
    /// # Errors
    /// As [`Actors::connector`].
    async fn destination(
        &self,
        destination_id: &str,
        request: DestinationRequest,
    ) -> Result<DestinationReply>;
}

/// The queue.
#[async_trait(?Send)]
pub trait Outbox {
    /// Sends messages, in batches of the platform's size.
    ///
    /// # Errors
    /// When the queue cannot be reached; some messages may have been sent then, which is harmless (I3).
    async fn send(&self, messages: &[Message]) -> Result<()>;
}
