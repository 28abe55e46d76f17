//! [`Actors`] and [`Outbox`] on Durable Object stubs and the queue.

use async_trait::async_trait;
use worker::Env;

use super::durable::call;
use super::jobs::JobQueue;
use crate::core::Result;
use crate::durable_object::{CONNECTOR, DESTINATION, SYNC};
use crate::engine::protocol::{
    ConnectorReply, ConnectorRequest, DestinationReply, DestinationRequest, Message, SyncReply, SyncRequest,
};
use crate::engine::{Actors, Outbox};

/// The Durable Objects of this Worker.
pub(super) struct WorkerActors(pub(super) Env);

#[async_trait(?Send)]
impl Actors for WorkerActors {
    async fn connector(&self, connection_id: &str, request: ConnectorRequest) -> Result<ConnectorReply> {
        call(&self.0, CONNECTOR, connection_id, "/", &request).await
    }

    async fn sync(&self, run_id: &str, request: SyncRequest) -> Result<SyncReply> {
        call(&self.0, SYNC, run_id, "/", &request).await
    }

    async fn destination(
        &self,
        destination_id: &str,
        request: DestinationRequest,
    ) -> Result<DestinationReply> {
        call(&self.0, DESTINATION, destination_id, "/", &request).await
    }
}

/// The queue of this Worker.
pub(super) struct WorkerOutbox(pub(super) Env);

#[async_trait(?Send)]
impl Outbox for WorkerOutbox {
    async fn send(&self, messages: &[Message]) -> Result<()> {
        JobQueue::new(&self.0)?.send(messages).await
    }
}
