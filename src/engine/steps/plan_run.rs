//! Planning a run: what of the source is synced, and as what.

use std::collections::BTreeMap;

use crate::connectors::StreamRequest;
use crate::control::Connection;
use crate::control::streams::{StreamVersion, changed_versions};
use crate::core::catalog::{Catalog, Stream, StreamName};
use crate::core::destination_names::DestinationNames;
use crate::core::error::ErrorReport;
use crate::core::fault_point::FaultPoint;
use crate::core::settings::{ConnectionSettings, SchemaSettings, Selection, Target, select, settle_schemas};
use crate::core::table::TableSchema;
use crate::core::{Error, ErrorKind, Result};
use crate::engine::Engine;
use crate::engine::open::definition;
use crate::engine::protocol::{DestinationReply, DestinationRequest, Outcome, RunSpec, SelectedStream};
use crate::engine::pulse::Pulse;
use crate::engine::remote::unexpected;

/// Most streams of a plan that are worked out, and sent to the run, at once. A stream of 20 columns takes some 6 KB of JSON.
const PAGE_STREAMS: usize = 200;

/// Most columns of such a page, unless a single stream has more.
const PAGE_COLUMNS: usize = 4_000;

/// What a plan makes of some streams.
#[derive(Default)]
struct Selected {
    streams: Vec<(Stream, Selection)>,
    refused: Vec<(StreamName, ErrorReport)>,
}

/// What streams are selected by.
struct Rules<'a> {
    connection: &'a Connection,
    settings: ConnectionSettings,
    /// What the policy decided about schemas seen for the first time; in the settings already.
    schemas: BTreeMap<String, SchemaSettings>,
    /// Whether the connection has completed a sync before.
    known_any: bool,
    /// The streams as they were last seen.
    known: BTreeMap<&'a StreamName, &'a Stream>,
    names: DestinationNames,
}

impl Engine {
    /// Discovers the source, records what changed in its schema, and selects what is synced.
    ///
    /// A source may have ten thousand streams: what they become is worked out page by page, and each page is handed in before
    /// the next one is begun.
    pub(in crate::engine) async fn plan_run(&self, spec: &RunSpec, pulse: &Pulse<'_>) -> Result<Outcome> {
        let connection = self.fresh_connection(&spec.connection_id).await?;
        if connection.paused {
            // It was switched off between the check of whoever started it and the opening of the run.
            return Err(Error::new(ErrorKind::Cancelled, format!("connection {} is paused", connection.id)));
        }
        self.ensure_recorded(spec, &connection).await?;
        let source = self.open_source(&connection)?;
        let catalog = source.discover().await?;
        let destination = self.required_destination(&connection.group_id).await?;
        let definition = definition(&connection, &destination);
        let known = self.control.latest_versions(&connection.id).await?;
        let rules = self.rules(&connection, &catalog, &known).await?;
        let (mut refused, mut streams) = (Vec::new(), Vec::new());
        for page in pages(&catalog.streams) {
            // The last page goes with the outcome: most plans have no other.
            if !streams.is_empty() {
                pulse.plan(std::mem::take(&mut streams)).await?;
            }
            let selected = self.select_streams(&rules, page, spec).await?;
            refused.extend(selected.refused);
            let enabled = selected.streams.into_iter().filter(|(_, selection)| selection.enabled);
            let planned =
                enabled.map(|(stream, selection)| planned(&connection, &definition, stream, selection));
            streams.extend(planned);
        }
        let versions = changed_versions(&catalog, &known)?;
        self.control.record_stream_versions(&connection.id, &versions, Some(&spec.run_id)).await?;
        self.ports.reach(FaultPoint::AfterVersions, &spec.run_id).await?;
        Ok(Outcome::RunPlanned { streams, refused, max_parallel_reads: source.max_parallel_reads() })
    }

    async fn rules<'a>(
        &self,
        connection: &'a Connection,
        catalog: &Catalog,
        known: &'a [StreamVersion],
    ) -> Result<Rules<'a>> {
        let present = catalog.streams.iter().map(|stream| &stream.name);
        let known_names = known.iter().map(|version| &version.name);
        let known_any = connection.succeeded_at.is_some();
        let mut settings = self.control.stream_settings(&connection.id).await?;
        let schemas = settle_schemas(present.clone(), known_names.clone(), &settings, known_any);
        settings.schemas.extend(schemas.clone());
        let names = DestinationNames::of(&connection.schema_name, present.chain(known_names));
        let seen = known.iter().filter_map(|version| Some((&version.name, version.stream.as_ref()?)));
        Ok(Rules { connection, settings, schemas, known_any, known: seen.collect(), names })
    }

    /// Resolves settings and policy for some streams, and keeps the decisions of the policy about things seen for the first
    /// time. Decisions and forgotten cursors come before versions: afterwards what is new can no longer be seen, so a crash
    /// in between must leave nothing known but undecided, or renamed but not read again.
    async fn select_streams(&self, rules: &Rules<'_>, page: &[Stream], spec: &RunSpec) -> Result<Selected> {
        let connection = rules.connection;
        let target = |name: &StreamName| (rules.names.schema(&name.schema), rules.names.table(name));
        let wanted = page.iter().map(|stream| target(&stream.name));
        let wanted = wanted.map(|(schema, table)| (schema.to_owned(), table.to_owned())).collect();
        let tables = self.tables_of(&connection.group_id, wanted).await?;
        let mut selected = Selected::default();
        let mut settled = BTreeMap::new();
        for stream in page {
            let (schema, table) = target(&stream.name);
            let current = tables.iter().find(|current| current.schema == schema && current.table == table);
            let target = Target { schema, table, current };
            let before = rules.known.get(&stream.name).copied();
            match select(stream, &rules.settings, before, rules.known_any, &target) {
                Ok(selection) => {
                    if let Some(decided) = &selection.settled {
                        settled.insert(stream.name.clone(), decided.clone());
                    }
                    selected.streams.push((stream.clone(), selection));
                }
                Err(error) => selected.refused.push((stream.name.clone(), ErrorReport::from(&error))),
            }
        }
        self.control.settle_streams(&connection.id, &rules.schemas, &settled).await?;
        self.ports.reach(FaultPoint::AfterSettle, &spec.run_id).await?;
        for (stream, selection) in &selected.streams {
            let Some(reason) = &selection.resync else { continue };
            self.forget_cursor(spec, &stream.name).await?;
            self.control.resync_noted(&connection.id, &stream.name, reason).await?;
        }
        Ok(selected)
    }

    /// Those of the tables that the destination has, as its object last prepared them.
    async fn tables_of(
        &self,
        destination_id: &str,
        wanted: Vec<(String, String)>,
    ) -> Result<Vec<TableSchema>> {
        let request = DestinationRequest::Current { tables: wanted };
        match self.actors.destination(destination_id, request).await? {
            DestinationReply::Current { tables } => Ok(tables),
            _ => Err(unexpected("DestinationDO")),
        }
    }
}

/// What the run is to know of a stream.
fn planned(
    connection: &Connection,
    definition: &str,
    stream: Stream,
    selection: Selection,
) -> SelectedStream {
    SelectedStream {
        request: StreamRequest {
            columns: selection.source_columns(),
            mode: connection.sync_mode,
            cursor_column: selection.cursor_column.clone(),
            stream,
        },
        selection,
        definition: definition.to_owned(),
    }
}

/// Cuts streams into pages of [`PAGE_STREAMS`] and [`PAGE_COLUMNS`] at most.
fn pages(mut streams: &[Stream]) -> Vec<&[Stream]> {
    let mut pages = Vec::new();
    while !streams.is_empty() {
        let mut columns = 0_usize;
        let fits = |stream: &&Stream| {
            let first = columns == 0;
            columns = columns.saturating_add(stream.columns.len().max(1));
            first || columns <= PAGE_COLUMNS
        };
        let length = streams.iter().take(PAGE_STREAMS).take_while(fits).count();
        let (page, rest) = streams.split_at(length.clamp(1, streams.len()));
        pages.push(page);
        streams = rest;
    }
    pages
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::catalog::{ChangeTracking, Column};
    use crate::core::types::{ColumnType, Fidelity};

    fn stream(columns: usize) -> Stream {
        let column = |at| Column {
            name: format!("c{at}"),
            column_type: ColumnType::Int,
            source_type: "int".to_owned(),
            nullable: false,
            fidelity: Fidelity::Exact,
        };
        Stream {
            name: StreamName::new("s", "t"),
            columns: (0..columns).map(column).collect(),
            primary_key: Vec::new(),
            change_tracking: ChangeTracking::Transaction,
            estimated_rows: None,
            estimated_bytes: None,
        }
    }

    #[test]
    fn i9_a_page_of_a_plan_is_as_long_as_its_streams_are_narrow() {
        let lengths = |streams: &[Stream]| pages(streams).iter().map(|page| page.len()).collect::<Vec<_>>();
        assert_eq!(lengths(&vec![stream(3); 450]), [200, 200, 50]);
        assert_eq!(lengths(&vec![stream(1_500); 5]), [2, 2, 1]);
        assert_eq!(lengths(&[stream(5_000), stream(0), stream(5_000)]), [1, 1, 1]);
        assert!(pages(&[]).is_empty());
    }
}
