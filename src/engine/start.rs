//! Opening a run.

use serde_json::json;

use crate::control::{Connection, LogLevel, RunStarted};
use crate::core::fault_point::FaultPoint;
use crate::core::{Error, ErrorKind, Result};

use super::Engine;
use super::protocol::{ConnectorReply, ConnectorRequest, RunSpec, SyncRequest};
use super::remote::unexpected;
use super::sync_control::{StartOutcome, StartRequest, Trigger};

impl Engine {
    /// Opens a run, or finds the live one, and makes sure that its SyncDO exists. Every step repeats harmlessly, and
    /// the steps stand in this order for the crash between any two of them:
    ///
    /// * after the ConnectorDO opened: the connection is still due in D1, so the next sweep comes here again;
    /// * after the SyncDO opened: its alarm drives the run, whatever happens to us, and the run records itself.
    ///
    /// A connection that was deleted meanwhile gets nothing: what was made for it here is removed again.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) for an unknown connection; unreachable objects.
    pub(super) async fn start(&self, connection_id: &str, request: StartRequest) -> Result<StartOutcome> {
        let connection =
            self.control.connection(connection_id).await?.ok_or_else(|| unknown(connection_id))?;
        self.start_connection(&connection, request).await
    }

    /// As [`start`](Self::start), for who has just read the connection.
    pub(super) async fn start_connection(
        &self,
        connection: &Connection,
        request: StartRequest,
    ) -> Result<StartOutcome> {
        let connection_id = connection.id.as_str();
        let still_shown = connection.next_due_at == request.due_at;
        let open = ConnectorRequest::Open { connection_id: connection_id.to_owned(), request };
        let reply = self.actors.connector(connection_id, open).await?;
        let ConnectorReply::Opened { outcome, run } = reply else { return Err(unexpected("ConnectorDO")) };
        let Some(run) = run else {
            // A repeated message, mostly: where D1 has moved on there is nothing to do, and a long queue has many of them.
            if still_shown {
                self.skip_served(connection).await?;
            }
            return Ok(outcome);
        };
        self.ports.reach(FaultPoint::AfterOpen, &run.run_id).await?;
        self.actors.sync(&run.run_id, SyncRequest::Open { spec: run.clone() }).await?;
        self.ports.reach(FaultPoint::AfterCreate, &run.run_id).await?;
        let recorded = self.record(&run, connection).await?;
        if !recorded && self.control.connection(connection_id).await?.is_none() {
            self.actors.connector(connection_id, ConnectorRequest::Forget).await?;
            self.actors.sync(&run.run_id, SyncRequest::Forget).await?;
            return Err(unknown(connection_id));
        }
        if let StartOutcome::Started { .. } = outcome {
            let details = json!({ "trigger": trigger_name(run.trigger), "number": run.number });
            self.log_run(LogLevel::Info, "run_start", &run, details);
        }
        self.ports.reach(FaultPoint::AfterStart, &run.run_id).await?;
        self.announce(Some(connection_id)).await;
        Ok(outcome)
    }

    /// Writes the beginning of a run into history, unless it is there. Whoever started the run does so; should it have
    /// died before, the run's first order or its last one does: a run that moved rows must not be missing.
    pub(super) async fn ensure_recorded(&self, run: &RunSpec, connection: &Connection) -> Result<()> {
        if self.definitions.is_recorded(&run.run_id) {
            return Ok(());
        }
        match self.control.run(&connection.id, &run.run_id).await? {
            Some(_) => self.definitions.note_recorded(&run.run_id),
            None => _ = self.record(run, connection).await?,
        }
        Ok(())
    }

    async fn record(&self, run: &RunSpec, connection: &Connection) -> Result<bool> {
        let recorded = self
            .control
            .run_started(&RunStarted {
                run_id: run.run_id.clone(),
                connection_id: connection.id.clone(),
                number: run.number,
                trigger: trigger_name(run.trigger).to_owned(),
                started_at: run.started_at,
                next_due_at: self.next_due(connection).await?,
            })
            .await?;
        if recorded {
            self.definitions.note_recorded(&run.run_id);
        }
        Ok(recorded)
    }

    /// A due time that was served already but still stands in D1 (a crash after the run was opened): move it on.
    async fn skip_served(&self, connection: &Connection) -> Result<()> {
        let next_due_at = self.next_due(connection).await?;
        self.control.set_next_due(&connection.id, next_due_at).await
    }
}

fn unknown(connection_id: &str) -> Error {
    Error::new(ErrorKind::NotFound, format!("Connection with id '{connection_id}' does not exist."))
}

fn trigger_name(trigger: Trigger) -> &'static str {
    match trigger {
        Trigger::Schedule => "schedule",
        Trigger::Manual => "manual",
        Trigger::Resync => "resync",
    }
}
