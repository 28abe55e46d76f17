//! Planning one stream of a run: its position, its chunks, its table.

use serde_json::json;

use crate::connectors::{Source, SyncMode};
use crate::control::LogLevel;
use crate::core::Result;
use crate::core::catalog::StreamName;
use crate::core::fault_point::FaultPoint;
use crate::core::run::{Cursor, StreamPlan};
use crate::core::table::{LoadMode, TableSchema};
use crate::destinations::TableLoad;
use crate::engine::Engine;
use crate::engine::open::require_planned;
use crate::engine::protocol::{
    ConnectorReply, ConnectorRequest, DestinationReply, DestinationRequest, Outcome, RunSpec, SelectedStream,
};
use crate::engine::remote::unexpected;

impl Engine {
    /// Splits a stream into chunks and makes its table ready.
    ///
    /// The source takes its snapshot position before anything is read, so what is committed while the run reads is
    /// read by the next run again rather than lost. A stream that must be read again has no cursor: the plan of the
    /// run has seen to that.
    pub(in crate::engine) async fn plan_stream(
        &self,
        spec: &RunSpec,
        stream: SelectedStream,
    ) -> Result<Outcome> {
        let connection = self.fresh_connection(&spec.connection_id).await?;
        let destination = self.required_destination(&connection.group_id).await?;
        require_planned(&stream.definition, &connection, &destination)?;
        let source = self.open_source(&connection)?;
        let name = &stream.request.stream.name;
        let (cursor, since) = match stream.request.mode {
            SyncMode::Full => (None, None),
            SyncMode::Incremental => self.cursor(&spec.connection_id, name).await?,
        };
        let mut plan = source.plan(&stream.request, cursor.as_ref()).await?;
        self.ports.reach(FaultPoint::AfterPlan, &spec.run_id).await?;
        let mut load = TableLoad {
            connection_id: spec.connection_id.clone(),
            run_id: spec.run_id.clone(),
            run: spec.number,
            synced_at: spec.started_at,
            table: stream.selection.table.clone(),
            mode: if plan.full { LoadMode::Full } else { LoadMode::Incremental },
        };
        match self.prepare_table(spec, &connection.group_id, &load, since).await? {
            Some(table) => load.table = table,
            None => {
                // Before the table is made: a plan that is repeated after a crash must not find an empty table and a cursor.
                self.forget_cursor(spec, name).await?;
                let details = json!({ "schema": load.table.schema, "table": load.table.table });
                self.log_run(LogLevel::Warning, "table_lacks_what_was_synced", spec, details);
                plan = self.plan_in_full(spec, &connection.group_id, &*source, &stream, &mut load).await?;
            }
        }
        let in_full = self.drop_columns(spec, &connection.group_id, &stream, &load).await?;
        if in_full && load.mode == LoadMode::Incremental {
            plan = self.plan_in_full(spec, &connection.group_id, &*source, &stream, &mut load).await?;
        }
        Ok(Outcome::StreamPlanned { plan, load })
    }

    /// Plans the stream anew without a cursor, and makes its table ready for that.
    async fn plan_in_full(
        &self,
        spec: &RunSpec,
        destination_id: &str,
        source: &dyn Source,
        stream: &SelectedStream,
        load: &mut TableLoad,
    ) -> Result<StreamPlan> {
        let plan = source.plan(&stream.request, None).await?;
        load.mode = LoadMode::Full;
        let prepared = self.prepare_table(spec, destination_id, load, None).await?;
        load.table = prepared.ok_or_else(|| unexpected("DestinationDO"))?;
        Ok(plan)
    }

    /// Has the next plan of the stream read everything.
    pub(super) async fn forget_cursor(&self, spec: &RunSpec, stream: &StreamName) -> Result<()> {
        let forget = ConnectorRequest::ForgetCursor { stream: stream.clone() };
        self.actors.connector(&spec.connection_id, forget).await?;
        self.ports.reach(FaultPoint::AfterForget, &spec.run_id).await
    }

    async fn prepare_table(
        &self,
        spec: &RunSpec,
        destination_id: &str,
        load: &TableLoad,
        since: Option<u64>,
    ) -> Result<Option<TableSchema>> {
        let request = DestinationRequest::Prepare {
            destination_id: destination_id.to_owned(),
            load: Box::new(load.clone()),
            since,
        };
        match self.actors.destination(destination_id, request).await? {
            DestinationReply::Prepared { table, change } => {
                if let Some(change) = change {
                    self.log_change(spec, &load.table, &change).await?;
                }
                Ok(table)
            }
            _ => Err(unexpected("DestinationDO")),
        }
    }

    /// The stream's cursor, and the run that moved it there.
    async fn cursor(
        &self,
        connection_id: &str,
        stream: &StreamName,
    ) -> Result<(Option<Cursor>, Option<u64>)> {
        let request = ConnectorRequest::Cursor { stream: stream.clone() };
        match self.actors.connector(connection_id, request).await? {
            ConnectorReply::Cursor { cursor, moved_by } => Ok((cursor, moved_by)),
            _ => Err(unexpected("ConnectorDO")),
        }
    }
}
