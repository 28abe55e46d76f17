//! Planning a run and its streams.

use std::collections::BTreeMap;

use crate::connectors::{StreamRequest, SyncMode};
use crate::control::Connection;
use crate::control::streams::NewStreamVersion;
use crate::core::catalog::{Catalog, Stream, StreamName};
use crate::core::run::Cursor;
use crate::core::settings::{Selection, Target, select};
use crate::core::table::{LoadMode, TableSchema};
use crate::core::{Result, naming, schema_diff};
use crate::destinations::TableLoad;
use crate::engine::Engine;
use crate::engine::protocol::{
    ConnectorReply, ConnectorRequest, DestinationReply, DestinationRequest, Outcome, RunSpec, SelectedStream,
};
use crate::engine::remote::unexpected;

impl Engine {
    /// Discovers the source, records what changed in its schema, and selects what is synced.
    pub(in crate::engine) async fn plan_run(&self, spec: &RunSpec) -> Result<Outcome> {
        let connection = self.required_connection(&spec.connection_id).await?;
        let source = self.open_source(&connection)?;
        let catalog = source.discover().await?;
        let selections = self.select_streams(&connection, &catalog, Some(&spec.run_id)).await?;
        let streams = selections
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
            })
            .collect();
        Ok(Outcome::RunPlanned { streams, max_parallel_reads: source.max_parallel_reads() })
    }

    /// Resolves settings and policy for every stream of the catalog, and keeps what is new: versions of streams with
    /// their diffs, and decisions of the policy about things seen for the first time.
    pub(in crate::engine) async fn select_streams(
        &self,
        connection: &Connection,
        catalog: &Catalog,
        run_id: Option<&str>,
    ) -> Result<Vec<(Stream, Selection)>> {
        let settings = self.control.stream_settings(&connection.id).await?;
        let known: BTreeMap<StreamName, Stream> = self
            .control
            .latest_streams(&connection.id)
            .await?
            .into_iter()
            .map(|(stream, _)| (stream.name.clone(), stream))
            .collect();
        let names = destination_names(&connection.schema_name, catalog);
        let tables = self.tables_of(&connection.group_id).await?;
        let mut selections = Vec::with_capacity(catalog.streams.len());
        let mut settled = BTreeMap::new();
        let mut versions = Vec::new();
        for stream in &catalog.streams {
            let before = known.get(&stream.name);
            let Some((schema, table)) = names.get(&stream.name) else { continue };
            let current = tables.get(&(schema.clone(), table.clone()));
            let target = Target { schema, table, current };
            let selection = select(stream, &settings, before, !known.is_empty(), &target)?;
            let diff = schema_diff::diff(before, stream);
            if !diff.is_empty() {
                let diff = serde_json::to_value(&diff)?;
                versions.push(NewStreamVersion { name: &stream.name, stream: Some(stream), diff });
            }
            if let Some(decided) = &selection.settled {
                settled.insert(stream.name.clone(), decided.clone());
            }
            selections.push((stream.clone(), selection));
        }
        // Decisions before versions: a crash in between must not leave a stream known but undecided.
        self.control.settle_streams(&connection.id, &settled).await?;
        self.control.record_stream_versions(&connection.id, &versions, run_id).await?;
        Ok(selections)
    }

    /// Splits a stream into chunks and makes its table ready.
    ///
    /// The source takes its snapshot position before anything is read, so what is committed while the run reads is
    /// read by the next run again rather than lost.
    pub(in crate::engine) async fn plan_stream(
        &self,
        spec: &RunSpec,
        stream: SelectedStream,
    ) -> Result<Outcome> {
        let connection = self.required_connection(&spec.connection_id).await?;
        let source = self.open_source(&connection)?;
        let name = &stream.request.stream.name;
        if stream.selection.resync.is_some() {
            // Durably, and before the table is prepared: afterwards the difference can no longer be seen.
            let forget = ConnectorRequest::ForgetCursor { stream: name.clone() };
            self.actors.connector(&spec.connection_id, forget).await?;
        }
        let cursor = match stream.request.mode {
            SyncMode::Full => None,
            SyncMode::Incremental => self.cursor(&spec.connection_id, name).await?,
        };
        let plan = source.plan(&stream.request, cursor.as_ref()).await?;
        let mut load = TableLoad {
            connection_id: spec.connection_id.clone(),
            run_id: spec.run_id.clone(),
            run: spec.number,
            synced_at: spec.started_at,
            table: stream.selection.table.clone(),
            mode: if plan.full { LoadMode::Full } else { LoadMode::Incremental },
        };
        load.table = self.prepare_table(&connection.group_id, &load).await?;
        Ok(Outcome::StreamPlanned { plan, load })
    }

    async fn prepare_table(&self, destination_id: &str, load: &TableLoad) -> Result<TableSchema> {
        let request = DestinationRequest::Prepare {
            destination_id: destination_id.to_owned(),
            load: Box::new(load.clone()),
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

    async fn cursor(&self, connection_id: &str, stream: &StreamName) -> Result<Option<Cursor>> {
        let request = ConnectorRequest::Cursor { stream: stream.clone() };
        match self.actors.connector(connection_id, request).await? {
            ConnectorReply::Cursor { cursor } => Ok(cursor),
            _ => Err(unexpected("ConnectorDO")),
        }
    }
}

/// Destination schema and table of every stream. Computed over the whole catalog, because two source names may fall
/// together after renaming and must be told apart.
pub(crate) fn destination_names(prefix: &str, catalog: &Catalog) -> BTreeMap<StreamName, (String, String)> {
    let mut by_schema: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for stream in &catalog.streams {
        by_schema.entry(&stream.name.schema).or_default().push(&stream.name.table);
    }
    let schemas: Vec<&str> = by_schema.keys().copied().collect();
    let mut names = BTreeMap::new();
    for (schema, destination) in schemas.iter().zip(naming::schema_names(prefix, &schemas)) {
        let tables = by_schema.get(schema).map(Vec::as_slice).unwrap_or_default();
        for (table, renamed) in tables.iter().zip(naming::table_names(tables)) {
            names.insert(StreamName::new(*schema, *table), (destination.clone(), renamed));
        }
    }
    names
}
