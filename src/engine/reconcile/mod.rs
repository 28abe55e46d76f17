//! Comparing a table at the destination with its stream at the source, range by range.
//!
//! Stateless: a call compares some ranges and says where the next one goes on. Source rows go the way a sync takes them
//! (the same types, names, hashes), destination rows are read back, and both are digested alike
//! ([`compare`](crate::core::compare)).
//!
//! Tables whose key both sides order alike are compared [by key](by_key): the source is read in key order. The others
//! (no key, floats, decimals of more digits than a double has, hashed keys) are compared [by hash](by_hash) of the key:
//! both sides are read whole for each call, which a table of that kind allows no way around.
//!
//! Nothing is locked. What changed at the source since the last sync differs until the next one.

mod by_hash;
mod by_key;

use arrow::array::RecordBatch;
use serde::{Deserialize, Serialize};

use super::Registry;
use super::steps::read::salt_of;
use super::turn;
use crate::connectors::{Source, StreamRequest, SyncMode};
use crate::control::{Connection, ControlPlane};
use crate::core::catalog::{Stream, StreamName};
use crate::core::compare::{RowDigests, Tally};
use crate::core::destination_names::DestinationNames;
use crate::core::settings::{Selection, Target, select};
use crate::core::shape::Shaper;
use crate::core::table::{START, TableSchema};
use crate::core::types::ColumnType;
use crate::core::{Error, ErrorKind, Result};
use crate::destinations::Destination;
use crate::ports::Ports;

/// A call begins no other range after this many milliseconds: people and proxies wait half a minute for an answer.
const BUDGET_MS: i64 = 20_000;

/// Decimals of that many digits are ordered by value everywhere; D1 keeps longer ones as text.
const ORDERED_DIGITS: u8 = 15;

/// What a reconciliation works with.
#[derive(Clone, Copy)]
pub struct Reconciler<'a> {
    /// Definitions.
    pub control: &'a ControlPlane,
    /// What can be opened.
    pub registry: Registry,
    /// The world.
    pub ports: &'a Ports,
}

/// What to compare.
#[derive(Clone, Debug)]
pub struct ReconcileRequest {
    /// The stream.
    pub stream: StreamName,
    /// Most ranges to compare in this call.
    pub ranges: usize,
    /// Rows of the source in a range.
    pub rows_per_range: u64,
    /// Where to go on; `None` for the beginning.
    pub from: Option<Position>,
}

/// The end of the last range compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Position {
    /// Its last key, in text form.
    Key(Vec<String>),
    /// Its last key's hash, in hexadecimal digits.
    Hash(String),
}

/// How ranges are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// By the values of the key.
    Key,
    /// By the hash of the key, in hexadecimal digits.
    Hash,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct ReconcileReport {
    /// How ranges are cut.
    pub method: Method,
    /// Key columns at the destination.
    pub key: Vec<String>,
    /// The ranges in order.
    pub ranges: Vec<RangeReport>,
    /// Where to go on; `None` at the end.
    pub next: Option<Position>,
}

/// One range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RangeReport {
    /// The greatest key before it; `None` for the first range.
    pub from_key: Option<Vec<String>>,
    /// The greatest key in it; `None` for the last range.
    pub to_key: Option<Vec<String>>,
    /// Rows at the source.
    pub source: Tally,
    /// Rows at the destination, without those marked deleted.
    pub destination: Tally,
    /// What is stored at the destination and cannot be read.
    pub problems: Vec<String>,
}

impl RangeReport {
    /// Whether both sides have the same rows.
    #[must_use]
    pub fn equal(&self) -> bool {
        self.source == self.destination && self.problems.is_empty()
    }
}

/// Both sides, open.
struct Sides {
    source: Box<dyn Source>,
    destination: Box<dyn Destination>,
    request: StreamRequest,
    shaper: Shaper,
    /// The table as it stands, less the columns that are not compared.
    table: TableSchema,
    key: RowDigests,
    rows: RowDigests,
}

impl Reconciler<'_> {
    /// Compares ranges.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) for an unknown stream, [`Conflict`](ErrorKind::Conflict) for one that is
    /// not synced or was not yet, [`InvalidInput`](ErrorKind::InvalidInput) for a position of another method, and what
    /// reading either side can end in.
    pub async fn reconcile(
        &self,
        connection: &Connection,
        request: &ReconcileRequest,
    ) -> Result<ReconcileReport> {
        let (stream, selection, table, destination) = self.selected(connection, &request.stream).await?;
        let source = self.registry.source(connection, self.ports)?;
        let salt = salt_of(self.control, &connection.group_id, &selection).await?;
        let shaper = Shaper::new(&stream, &selection, &selection.table, 0, &salt)?;
        let ordered = source.reads_in_key_order() && is_ordered(&stream, &selection, &table);
        let names: Vec<_> = table.columns.iter().map(|column| column.name.clone()).collect();
        let stream = StreamRequest {
            columns: selection.source_columns(),
            mode: SyncMode::Full,
            cursor_column: None,
            stream,
        };
        let sides = Sides {
            key: RowDigests::over(&table, &table.primary_key),
            rows: RowDigests::over(&table, &names),
            request: stream,
            source,
            destination,
            shaper,
            table,
        };
        // Moves data as a chunk does, so it takes its turn (I9).
        let turn = turn::take(self.ports).await;
        turn.during(self.ports, self.compare(ordered, sides, request)).await
    }

    async fn compare(
        &self,
        ordered: bool,
        sides: Sides,
        request: &ReconcileRequest,
    ) -> Result<ReconcileReport> {
        match (ordered, &request.from) {
            (true, None) => by_key::compare(self.ports, sides, request, None).await,
            (true, Some(Position::Key(key))) => {
                by_key::compare(self.ports, sides, request, Some(key.clone())).await
            }
            (false, None) => by_hash::compare(sides, request, 0).await,
            (false, Some(Position::Hash(hash))) => match u128::from_str_radix(hash, 16) {
                Ok(last) => by_hash::compare(sides, request, last.saturating_add(1)).await,
                Err(_) => Err(foreign_position()),
            },
            _ => Err(foreign_position()),
        }
    }

    /// The stream as it was last seen, what is synced of it, and the table it lands in.
    async fn selected(
        &self,
        connection: &Connection,
        name: &StreamName,
    ) -> Result<(Stream, Selection, TableSchema, Box<dyn Destination>)> {
        let known = self.control.latest_versions(&connection.id).await?;
        let names = DestinationNames::of(&connection.schema_name, known.iter().map(|version| &version.name));
        let stream = known.iter().find(|version| version.name == *name);
        let stream = stream.and_then(|version| version.stream.clone()).ok_or_else(|| {
            Error::new(ErrorKind::NotFound, format!("The source has no table {name}"))
                .field("table")
                .remedy("Names are those of the source, and case-sensitive")
        })?;
        let record = self.control.destination(&connection.group_id).await?;
        let record = record.ok_or_else(|| Error::new(ErrorKind::Conflict, "The group has no destination"))?;
        let destination = self.registry.destination(&record, self.ports)?;
        let (schema, table) = (names.schema(&name.schema), names.table(name));
        let current = destination.describe(schema, table).await?.ok_or_else(|| not_synced(name))?;
        let settings = self.control.stream_settings(&connection.id).await?;
        let target = Target { schema, table, current: Some(&current) };
        let selection = select(&stream, &settings, Some(&stream), true, &target)?;
        if let Some(reason) = selection.reason.filter(|_| !selection.enabled) {
            return Err(Error::new(ErrorKind::Conflict, reason).remedy("Switch it on and sync it first"));
        }
        let selection = Selection { reason: None, ..selection };
        let stands = selection.table.columns.iter().all(|column| {
            current.column(&column.name).is_some_and(|there| there.column_type == column.column_type)
        });
        if !stands || selection.table.primary_key != current.primary_key {
            return Err(Error::new(
                ErrorKind::Conflict,
                format!("The table of {name} at the destination has not the shape that is set for it yet"),
            )
            .remedy("Sync first"));
        }
        let mut compared = selection.table.clone();
        compared.columns = selection.table.carried().cloned().collect();
        compared.primary_key.retain(|column| column != START);
        Ok((stream, selection, compared, destination))
    }
}

fn not_synced(name: &StreamName) -> Error {
    Error::new(ErrorKind::Conflict, format!("{name} has no table at the destination"))
        .remedy("Sync the connection first")
}

fn foreign_position() -> Error {
    Error::invalid("The cursor belongs to another comparison, or the table's key changed since")
        .field("cursor")
        .remedy("Begin again without a cursor")
}

/// True when source and destination order the rows alike: by the source's own key, of types whose values are ordered
/// alike everywhere, neither hashed nor turned into another type on the way.
fn is_ordered(stream: &Stream, selection: &Selection, table: &TableSchema) -> bool {
    let key = selection.columns.iter().filter(|column| stream.primary_key.contains(&column.source));
    let names: Vec<_> = stream
        .primary_key
        .iter()
        .filter_map(|name| selection.columns.iter().find(|column| column.source == *name))
        .map(|column| column.destination.clone())
        .collect();
    let by_value = |kind: ColumnType| match kind {
        ColumnType::Decimal { precision, .. } => precision <= ORDERED_DIGITS,
        ColumnType::Float | ColumnType::Double | ColumnType::Json => false,
        _ => true,
    };
    let alike = |from: ColumnType, to: ColumnType| {
        from == to || (by_value(from) && by_value(to) && to != ColumnType::String)
    };
    !names.is_empty()
        && names == table.primary_key
        && key.into_iter().all(|column| {
            let from = stream.columns.iter().find(|from| from.name == column.source);
            let to = selection.table.column(&column.destination);
            !column.hashed
                && from.zip(to).is_some_and(|(from, to)| {
                    by_value(from.column_type) && alike(from.column_type, to.column_type)
                })
        })
}

impl Sides {
    /// A batch of the source, shaped.
    fn shape(&self, batch: RecordBatch) -> Result<RecordBatch> {
        self.shaper.shape(batch)
    }
}
