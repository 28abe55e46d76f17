//! Planning a run and its streams.

use std::collections::BTreeMap;

use serde_json::json;

use crate::connectors::{StreamRequest, SyncMode};
use crate::control::streams::changed_versions;
use crate::control::{Connection, LogLevel};
use crate::core::catalog::{Catalog, Stream, StreamName};
use crate::core::destination_names::DestinationNames;
use crate::core::error::ErrorReport;
use crate::core::fault_point::FaultPoint;
use crate::core::run::Cursor;
use crate::core::settings::{Selection, Target, select};
use crate::core::table::{LoadMode, TableSchema};
use crate::core::{Error, ErrorKind, Result};
use crate::destinations::TableLoad;
use crate::engine::Engine;
use crate::engine::open::{definition, require_planned};
use crate::engine::protocol::{
    ConnectorReply, ConnectorRequest, DestinationReply, DestinationRequest, Outcome, RunSpec, SelectedStream,
};
use crate::engine::remote::unexpected;

/// What a plan makes of a catalog.
#[derive(Default)]
struct Selected {
    streams: Vec<(Stream, Selection)>,
    refused: Vec<(StreamName, ErrorReport)>,
}

impl Engine {
    /// Discovers the source, records what changed in its schema, and selects what is synced.
    pub(in crate::engine) async fn plan_run(&self, spec: &RunSpec) -> Result<Outcome> {
        let connection = self.fresh_connection(&spec.connection_id).await?;
        if connection.paused {
            // It was switched off between the check of whoever started it and the opening of the run.
            return Err(Error::new(ErrorKind::Cancelled, format!("connection {} is paused", connection.id)));
        }
        self.ensure_recorded(spec, &connection).await?;
        let source = self.open_source(&connection)?;
        let catalog = source.discover().await?;
        let Selected { streams, refused } = self.select_streams(&connection, &catalog, &spec.run_id).await?;
        let destination = self.required_destination(&connection.group_id).await?;
        let definition = definition(&connection, &destination);
        let streams = streams
            .into_iter()
            .filter(|(_, selection)| selection.enabled)
            .map(|(stream, selection)| SelectedStream {
                request: StreamRequest {
                    columns: selection.source_columns(),
                    mode: connection.sync_mode,
                    cursor_column: selection.cursor_column.clone(),
                    stream,
                },
                selection,
                definition: definition.clone(),
            })
            .collect();
        Ok(Outcome::RunPlanned { streams, refused, max_parallel_reads: source.max_parallel_reads() })
    }

    /// Resolves settings and policy for every stream of the catalog, and keeps what is new: versions of streams with
    /// their diffs, and decisions of the policy about things seen for the first time.
    async fn select_streams(
        &self,
        connection: &Connection,
        catalog: &Catalog,
        run_id: &str,
    ) -> Result<Selected> {
        let settings = self.control.stream_settings(&connection.id).await?;
        let known = self.control.latest_versions(&connection.id).await?;
        let present = catalog.streams.iter().map(|stream| &stream.name);
        let names = DestinationNames::of(
            &connection.schema_name,
            present.chain(known.iter().map(|version| &version.name)),
        );
        let tables = self.tables_of(&connection.group_id).await?;
        let mut selected = Selected::default();
        let mut settled = BTreeMap::new();
        for stream in &catalog.streams {
            let before = known.iter().find(|version| version.name == stream.name);
            let before = before.and_then(|version| version.stream.as_ref());
            let (schema, table) = (names.schema(&stream.name.schema), names.table(&stream.name));
            let current = tables.get(&(schema.to_owned(), table.to_owned()));
            let target = Target { schema, table, current };
            let selection =
                match select(stream, &settings, before, connection.succeeded_at.is_some(), &target) {
                    Ok(selection) => selection,
                    Err(error) => {
                        selected.refused.push((stream.name.clone(), ErrorReport::from(&error)));
                        continue;
                    }
                };
            if let Some(decided) = &selection.settled {
                settled.insert(stream.name.clone(), decided.clone());
            }
            selected.streams.push((stream.clone(), selection));
        }
        // Decisions and forgotten cursors before versions: afterwards what is new can no longer be seen, so a crash in
        // between must leave nothing known but undecided, or renamed but not read again.
        self.control.settle_streams(&connection.id, &settled).await?;
        self.ports.reach(FaultPoint::AfterSettle, run_id).await?;
        for (stream, selection) in &selected.streams {
            let Some(reason) = &selection.resync else { continue };
            let forget = ConnectorRequest::ForgetCursor { stream: stream.name.clone() };
            self.actors.connector(&connection.id, forget).await?;
            self.control.resync_noted(&connection.id, &stream.name, reason).await?;
            self.ports.reach(FaultPoint::AfterForget, run_id).await?;
            self.control.resync_noted(&connection.id, &stream.name, reason).await?;
        }
        let versions = changed_versions(catalog, &known)?;
        self.control.record_stream_versions(&connection.id, &versions, Some(run_id)).await?;
        self.ports.reach(FaultPoint::AfterVersions, run_id).await?;
        Ok(selected)
    }

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
        let mut prepared = self.prepare_table(&connection.group_id, &load, since).await?;
        if prepared.is_none() {
            // Before the table is made: a plan that is repeated after a crash must not find an empty table and a cursor.
            let forget = ConnectorRequest::ForgetCursor { stream: name.clone() };
            self.actors.connector(&connection.id, forget).await?;
            self.ports.reach(FaultPoint::AfterForget, &spec.run_id).await?;
            let details = json!({ "schema": load.table.schema, "table": load.table.table });
            self.log_run(LogLevel::Warning, "table_lacks_what_was_synced", spec, details);
            plan = source.plan(&stream.request, None).await?;
            load.mode = LoadMode::Full;
            prepared = self.prepare_table(&connection.group_id, &load, None).await?;
        }
        load.table = prepared.ok_or_else(|| unexpected("DestinationDO"))?;
        Ok(Outcome::StreamPlanned { plan, load })
    }

    async fn prepare_table(
        &self,
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
            DestinationReply::Prepared { table } => Ok(table),
            _ => Err(unexpected("DestinationDO")),
        }
    }

    /// The destination's tables by schema and name, as its object last prepared them.
    async fn tables_of(&self, destination_id: &str) -> Result<BTreeMap<(String, String), TableSchema>> {
        match self.actors.destination(destination_id, DestinationRequest::Current).await? {
            DestinationReply::Current { tables } => Ok(tables
                .into_iter()
                .map(|table| ((table.schema.clone(), table.table.clone()), table))
                .collect()),
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
