//! [`SyncControl`] over the Durable Objects: what the API calls.

use std::rc::Rc;

use async_trait::async_trait;
use serde_json::{Map, Value};

use crate::core::catalog::StreamName;
use crate::core::fault_point::FaultPoint;
use crate::core::run::Cursor;
use crate::core::{Error, ErrorKind, Result};

use super::Engine;
use super::protocol::{
    ConnectorReply, ConnectorRequest, DestinationRequest, RunSpec, SyncReply, SyncRequest,
};
use super::sync_control::{RunProgress, StartOutcome, StartRequest, SyncControl, Trigger};

/// Tries of a start that replaces the live run.
const START_TRIES: u32 = 3;

/// Rounds of a cancellation. One is lost each time another worker, woken meanwhile, leases the order to close between our
/// releasing it and our leasing it; a run that is cancelled wakes few.
const CANCEL_TRIES: u32 = 5;

/// Between two rounds of a cancellation, in milliseconds: what closing usually takes whoever is at it.
const CANCEL_PAUSE_MS: u64 = 200;

/// The engine, remote-controlled.
pub struct RemoteSyncs {
    engine: Rc<Engine>,
}

impl RemoteSyncs {
    /// Over that engine.
    #[must_use]
    pub fn new(engine: Rc<Engine>) -> Self {
        Self { engine }
    }

    async fn runs(&self, connection_id: &str) -> Result<(Option<RunSpec>, Option<RunSpec>)> {
        self.engine.runs(connection_id).await
    }
}

impl Engine {
    /// The live run and the newest one.
    async fn runs(&self, connection_id: &str) -> Result<(Option<RunSpec>, Option<RunSpec>)> {
        match self.actors.connector(connection_id, ConnectorRequest::Runs).await? {
            ConnectorReply::Runs { live, last } => Ok((live, last)),
            _ => Err(unexpected("ConnectorDO")),
        }
    }

    /// Has the objects of a connection that has no live run forget it.
    pub(super) async fn forget(&self, connection_id: &str) -> Result<()> {
        let (_, last) = self.runs(connection_id).await?;
        if let Some(last) = last {
            self.actors.sync(&last.run_id, SyncRequest::Forget).await?;
        }
        self.actors.connector(connection_id, ConnectorRequest::Forget).await?;
        Ok(())
    }
}

pub(super) fn unexpected(who: &str) -> Error {
    Error::internal(format!("{who} gave an answer to another question"))
}

#[async_trait(?Send)]
impl SyncControl for RemoteSyncs {
    async fn start(&self, connection_id: &str, request: StartRequest) -> Result<StartOutcome> {
        // A re-sync replaces whatever runs, as in Fivetran: half of it would be read under the old cursor.
        if !request.force && request.trigger != Trigger::Resync {
            return self.engine.start(connection_id, request).await;
        }
        // Another start may come between cancelling and starting. Answering with its run would drop what this one was
        // asked for: the scope of a re-sync.
        for _ in 0..START_TRIES {
            self.cancel(connection_id).await?;
            let outcome = self.engine.start(connection_id, request.clone()).await?;
            if !matches!(outcome, StartOutcome::AlreadyRunning { .. }) {
                return Ok(outcome);
            }
        }
        Err(Error::new(ErrorKind::Conflict, format!("others keep starting connection {connection_id}"))
            .remedy("Try again"))
    }

    async fn cancel(&self, connection_id: &str) -> Result<()> {
        let (live, _) = self.runs(connection_id).await?;
        let Some(run) = live else { return Ok(()) };
        // Opened first: a start that was cut short, or is still on its way, must find its run cancelled.
        self.engine.actors.sync(&run.run_id, SyncRequest::Open { spec: run.clone() }).await?;
        for _ in 0..CANCEL_TRIES {
            // Takes the order to close back, too, from a worker that may be dead or slow.
            self.engine.actors.sync(&run.run_id, SyncRequest::Cancel).await?;
            self.engine.ports.reach(FaultPoint::AfterCancel, &run.run_id).await?;
            // The order to close is now the only one left: do it here, so that the caller may start anew at once.
            self.engine.work(&run.run_id).await?;
            if self.runs(connection_id).await?.0.is_none_or(|live| live.run_id != run.run_id) {
                return Ok(());
            }
            self.engine.ports.timer.sleep_ms(CANCEL_PAUSE_MS).await;
        }
        Err(Error::new(
            ErrorKind::Conflict,
            format!("run {} was told to stop and others keep closing it", run.run_id),
        )
        .remedy("It ends within a quarter of a minute; try again then"))
    }

    async fn progress(&self, connection_id: &str) -> Result<Option<RunProgress>> {
        let (_, last) = self.runs(connection_id).await?;
        let Some(run) = last else { return Ok(None) };
        match self.engine.actors.sync(&run.run_id, SyncRequest::Progress).await? {
            SyncReply::Progress { progress } => Ok(progress.map(|progress| *progress)),
            _ => Err(unexpected("SyncDO")),
        }
    }

    async fn state(&self, connection_id: &str) -> Result<Value> {
        let reply = self.engine.actors.connector(connection_id, ConnectorRequest::State).await?;
        let ConnectorReply::State { cursors } = reply else { return Err(unexpected("ConnectorDO")) };
        let mut schemas = Map::new();
        for (stream, cursor) in cursors {
            let tables = schemas.entry(stream.schema).or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(tables) = tables {
                tables.insert(stream.table, cursor.0);
            }
        }
        Ok(Value::Object(schemas))
    }

    async fn set_state(&self, connection_id: &str, state: Value) -> Result<()> {
        let cursors = cursors_of(state)?;
        self.engine.actors.connector(connection_id, ConnectorRequest::SetState { cursors }).await?;
        Ok(())
    }

    async fn forget(&self, connection_id: &str) -> Result<()> {
        self.cancel(connection_id).await?;
        self.engine.forget(connection_id).await
    }

    async fn forget_destination(&self, destination_id: &str) -> Result<()> {
        self.engine.actors.destination(destination_id, DestinationRequest::Forget).await?;
        Ok(())
    }

    async fn announce(&self) {
        self.engine.announce(None).await;
    }
}

fn cursors_of(state: Value) -> Result<Vec<(StreamName, Cursor)>> {
    let shape = || {
        Error::invalid("the state must be an object of schemas, each an object of tables with their cursors")
            .field("state")
            .remedy("Send what GET .../state returned, changed where needed")
    };
    let Value::Object(schemas) = state else { return Err(shape()) };
    let mut cursors = Vec::new();
    for (schema, tables) in schemas {
        let Value::Object(tables) = tables else { return Err(shape()) };
        cursors.extend(
            tables.into_iter().map(|(table, cursor)| (StreamName::new(&schema, table), Cursor(cursor))),
        );
    }
    Ok(cursors)
}
