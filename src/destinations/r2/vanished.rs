//! Rows that a full load did not find any more.
//!
//! A full load replaces a table's parts. Rows that were there and are gone at the source must not just disappear: they
//! stay, marked `_fivetran_deleted`, as a part of their own next to the new ones. Finding them is an anti-join of the
//! old keys with the new, in bounded memory and without state between runs:
//!
//! 1. Only key columns are read, by range, a row group at a time, and hashed to 128 bits ([`KeyHasher`]).
//! 2. The space of hashes is walked in stretches. For each, the new keys within it are collected; then the old parts
//!    are read newest first, and for each old key that is not among the new its newest version's place is noted.
//! 3. Those rows are read in full, marked and written.
//!
//! A stretch is as long as the sets fit their budget, so a table of up to half a million keys takes one pass, and n
//! million about 2n, each reading only the key columns. The alternative, spilling partitions to temporary objects,
//! reads each key twice whatever their number but writes all of them on every full load, also when nothing vanished.
//!
//! An old part that is gone or damaged has nothing to carry over: what was only in it is lost already, and a table that
//! could never be loaded in full again would be lost whole.
//!
//! Rows keep `_fivetran_synced`: a mass delete of a re-sync does not touch it in Fivetran either. Rows already marked
//! are carried along and not counted again.
//!
//! Where history is kept the old parts stay, so what is written is only that a row was found gone now, if that was not
//! known: its last values with `_fivetran_active` false and the load's start for `_fivetran_start` and `_fivetran_end`.
//!
//! Where the sync mode has changed to SOFT_DELETE, all rows that are gone are marked now, as in D1; their parts lack the
//! column for it, or have those of a history instead.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch, TimestampMicrosecondArray, new_null_array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use parquet::arrow::arrow_reader::{RowSelection, RowSelector};
use parquet::basic::{LogicalType, Repetition, Type as PhysicalType};
use parquet::schema::types::{SchemaDescriptor, Type};

use super::config::{Encoding, Format};
use super::encoder::Encoder;
use super::history;
use super::key_hash::{KeyHasher, KeySet, LastVersions, MAX_KEYS, RowAt, SealedKeys, key_columns};
use super::layout;
use super::manifest::{Manifest, Part, PartKind};
use super::parquet_encoder::{FileSchema, ParquetEncoder};
use super::parquet_reader::PartReader;
use super::part::PartWriter;
use super::publish::PublishRequest;
use super::scan::conform;
use crate::core::settings::TableSyncMode;
use crate::core::table::{ACTIVE, DELETED, END, START, TableSchema};
use crate::core::types::ColumnType;
use crate::core::{Error, ErrorKind, Result};
use crate::destinations::TableLoad;

/// What a full load left behind.
pub(super) struct Vanished {
    /// Parts with the rows that are gone.
    pub(super) parts: Vec<Part>,
    /// Rows among them that were not marked before.
    pub(super) newly_deleted: u64,
    /// Distinct keys of the new parts.
    pub(super) live_rows: u64,
    /// Old parts that are gone or damaged, by path.
    pub(super) unreadable: BTreeSet<String>,
}

/// The column that says of a row that it is gone.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    /// `_fivetran_deleted` is true.
    Deleted,
    /// `_fivetran_active` is false.
    Inactive,
}

impl Mark {
    /// The mark in the parts of a table with that key.
    pub(super) fn of(primary_key: &[String]) -> Self {
        if primary_key.iter().any(|column| column == START) { Self::Inactive } else { Self::Deleted }
    }

    /// Name of the column.
    pub(super) fn column(self) -> &'static str {
        match self {
            Self::Deleted => DELETED,
            Self::Inactive => ACTIVE,
        }
    }

    /// True of the rows of the batch that are gone. A batch without the column has none.
    pub(super) fn gone(self, batch: &RecordBatch) -> BooleanArray {
        let marks = batch.column_by_name(self.column()).and_then(|column| column.as_boolean_opt());
        match (marks, self) {
            (Some(marks), Self::Deleted) => marks.clone(),
            (Some(marks), Self::Inactive) => {
                marks.iter().map(|active| active.map(|active| !active)).collect()
            }
            (None, _) => BooleanArray::from(vec![false; batch.num_rows()]),
        }
    }
}

/// Whether old and new rows of the table can be told apart by key, and vanished ones marked.
pub(super) fn comparable(current: &Manifest, load: &TableLoad) -> bool {
    current.format == Format::Parquet
        && !current.parts.is_empty()
        && !load.table.primary_key.is_empty()
        && match load.table.sync_mode() {
            TableSyncMode::SoftDelete => history::row_key(&current.primary_key) == load.table.primary_key,
            TableSyncMode::History => current.primary_key == load.table.primary_key,
            TableSyncMode::Live => false,
        }
}

/// Finds the rows of the current parts whose keys are not in the new ones and writes them, marked. `None` when old keys
/// cannot be compared with the new: the load replaces them as it would without a key.
///
/// # Errors
/// An unreachable store, or a part that is gone or damaged.
pub(super) async fn carry_over(
    request: &PublishRequest<'_>,
    current: &Manifest,
    new_parts: &[Part],
    load_number: u64,
) -> Result<Option<Vanished>> {
    let new_rows: u64 = new_parts.iter().map(|part| part.rows).sum();
    let mut seed = [0_u8; 16];
    request.ports.random.fill(&mut seed)?;
    let (before, mark) = (Mark::of(&current.primary_key), Mark::of(&request.load.table.primary_key));
    let key = history::row_key(&current.primary_key);
    let key_types = key.iter().filter_map(|name| {
        let column = current.columns.iter().find(|column| column.name == *name)?;
        Some(column.column_type)
    });
    let search = Search {
        request,
        old: &current.parts,
        new: new_parts,
        hasher: KeyHasher::new(key_types.collect(), seed)?,
        key,
        before,
        mark,
        unreadable: RefCell::default(),
    };
    let table = match mark {
        Mark::Inactive => request.load.table.clone(),
        Mark::Deleted => current.table_schema(),
    };
    let mut marked = MarkedRows { request, load_number, mark, table, open: None, parts: Vec::new() };
    let (mut newly_deleted, mut live_rows) = (0, 0);

    let passes = u128::from(new_rows.div_ceil(MAX_KEYS as u64 / 10 * 9).max(1));
    let mut length = u128::MAX / passes;
    let mut start = 0_u128;
    loop {
        let stretch = start..=start.saturating_add(length);
        let Some((end, new_keys, mut rows)) = search.pass(stretch).await? else {
            marked.finish().await?;
            return Ok(None);
        };
        live_rows += new_keys.count_up_to(end);
        drop(new_keys);
        newly_deleted += rows.iter().filter(|row| !row.deleted).count() as u64;
        if mark == Mark::Inactive {
            rows.retain(|row| !row.deleted);
        }
        marked.copy(&current.parts, &rows).await?;
        if end == u128::MAX {
            break;
        }
        length = length.min(end.saturating_sub(start));
        start = end.saturating_add(1);
    }
    let (parts, unreadable) = (marked.finish().await?, search.unreadable.into_inner());
    Ok(Some(Vanished { parts, newly_deleted, live_rows, unreadable }))
}

/// The anti-join.
struct Search<'a> {
    request: &'a PublishRequest<'a>,
    old: &'a [Part],
    new: &'a [Part],
    hasher: KeyHasher,
    key: Vec<String>,
    before: Mark,
    mark: Mark,
    unreadable: RefCell<BTreeSet<String>>,
}

impl Search<'_> {
    /// Works on a stretch, and returns how far it came, the new keys, and the places of the old rows that are gone.
    /// `None` when old keys cannot be compared.
    async fn pass(
        &self,
        stretch: std::ops::RangeInclusive<u128>,
    ) -> Result<Option<(u128, SealedKeys, Vec<RowAt>)>> {
        let mut new_keys = KeySet::new(stretch);
        for part in self.new {
            let comparable =
                self.scan(part, |_, hashes, _| hashes.iter().for_each(|hash| new_keys.insert(*hash)));
            if !comparable.await? {
                return Ok(None);
            }
        }
        let new_keys = new_keys.sealed();
        let mut gone = LastVersions::new(new_keys.stretch().clone(), new_keys.room_for_versions());
        for (index, part) in self.old.iter().enumerate().rev() {
            let index = position(index as u64)?;
            let comparable = self.scan(part, |first_row, hashes, deleted| {
                for ((row, hash), deleted) in (first_row..).zip(hashes).zip(deleted) {
                    if gone.wants(*hash) && !new_keys.contains(*hash) {
                        let deleted = deleted == Some(true) && self.before == self.mark;
                        gone.see(*hash, RowAt { part: index, row, deleted });
                    }
                }
            });
            match comparable.await {
                Err(error) if is_unreadable(&error) => {
                    self.unreadable.borrow_mut().insert(part.path.clone());
                }
                comparable => {
                    if !comparable? {
                        return Ok(None);
                    }
                }
            }
        }
        let (end, rows) = gone.sorted();
        Ok(Some((end, new_keys, rows)))
    }

    /// Visits the key hashes of a part batch by batch, with the number of the batch's first row and the deletion
    /// marks. False when the part's keys cannot be compared.
    async fn scan(&self, part: &Part, mut visit: impl FnMut(u32, &[u128], &BooleanArray)) -> Result<bool> {
        let reader = PartReader::open(Rc::clone(&self.request.store), &self.request.layout, part).await?;
        let wanted: Vec<&str> =
            self.key.iter().map(String::as_str).chain(std::iter::once(self.before.column())).collect();
        let mut batches = reader.read(Some(&wanted), None, None)?;
        let mut row = 0_u64;
        while let Some(batch) = batches.next().await? {
            let Some(columns) = key_columns(&batch, &self.key) else { return Ok(false) };
            let Some(hashes) = self.hasher.hash(&columns)? else { return Ok(false) };
            visit(position(row)?, &hashes, &self.before.gone(&batch));
            row += batch.num_rows() as u64;
        }
        Ok(true)
    }
}

/// True when reading again would not help: the object is gone, or is no Parquet.
pub(super) fn is_unreadable(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Mismatch | ErrorKind::Internal)
}

/// Parts end at 48 GiB and hold a byte a row at the very least only in theory; still, no silent wrap-around.
pub(super) fn position(number: u64) -> Result<u32> {
    u32::try_from(number).map_err(|_| Error::internal("a part has more than 2^32 rows"))
}

/// Writes the rows that are gone. One file takes all of them, unless parts have different columns or types: old rows
/// keep the types of their part, as readers expect of parts anyway, so a change of schema begins another file.
struct MarkedRows<'a> {
    request: &'a PublishRequest<'a>,
    load_number: u64,
    mark: Mark,
    /// The load's table where history is kept, otherwise with the columns of old parts too.
    table: TableSchema,
    open: Option<(FileSchema, PartWriter)>,
    parts: Vec<Part>,
}

impl MarkedRows<'_> {
    /// Copies the rows, which are sorted, and marks them.
    async fn copy(&mut self, parts: &[Part], rows: &[RowAt]) -> Result<()> {
        for of_part in rows.chunk_by(|one, next| one.part == next.part) {
            let part = of_part.first().and_then(|row| parts.get(row.part as usize));
            let part = part.ok_or_else(|| Error::internal("a row of no part"))?;
            let reader = PartReader::open(Rc::clone(&self.request.store), &self.request.layout, part).await?;
            let schema = marked_schema(reader.schema(), self.mark, &self.table)?;
            let mut batches = reader.read(None, None, Some(selection(of_part)))?;
            loop {
                let batch = match batches.next().await {
                    Err(error) if is_unreadable(&error) => break,
                    batch => batch?,
                };
                let Some(batch) = batch else { break };
                let marked = self.marked(&batch, &schema.arrow)?;
                self.writer(&schema).await?.write(&marked).await?;
            }
        }
        Ok(())
    }

    /// The batch, its rows marked throughout, with the columns of that schema.
    fn marked(&self, batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
        let columns = schema.fields().iter().map(|field| self.marked_column(batch, field));
        Ok(RecordBatch::try_new(Arc::clone(schema), columns.collect::<Result<_>>()?)?)
    }

    fn marked_column(&self, batch: &RecordBatch, field: &Field) -> Result<ArrayRef> {
        let (name, rows) = (field.name().as_str(), batch.num_rows());
        let inactive = self.mark == Mark::Inactive;
        if name == self.mark.column() {
            return Ok(Arc::new(BooleanArray::from(vec![!inactive; rows])));
        }
        if let (START | END, DataType::Timestamp(_, zone)) = (name, field.data_type()) {
            let now = TimestampMicrosecondArray::from_value(self.request.load.synced_at, rows);
            return Ok(Arc::new(now.with_timezone_opt(zone.clone())));
        }
        match batch.column_by_name(name) {
            Some(column) if column.data_type() == field.data_type() => Ok(Arc::clone(column)),
            // What a row was is in the parts before; that it is gone is all that is said here.
            _ if inactive && field.is_nullable() => Ok(new_null_array(field.data_type(), rows)),
            Some(column) => {
                let to = self.table.column(name).map_or(ColumnType::String, |column| column.column_type);
                conform(column, to)
            }
            None => Err(Error::internal(format!("a part lost its column {name}"))),
        }
    }

    async fn writer(&mut self, schema: &FileSchema) -> Result<&mut PartWriter> {
        let fits = |open: &FileSchema| open.parquet.root_schema() == schema.parquet.root_schema();
        if !self.open.as_ref().is_some_and(|(open, _)| fits(open)) {
            self.close().await?;
        }
        if self.open.is_none() {
            let number = position(self.parts.len() as u64)?;
            let path = layout::deleted_part(self.load_number, number, self.request.fence)?;
            let snappy = matches!(self.request.encoding, Encoding::Parquet { snappy: true });
            let run = ("fivetran.run".to_owned(), self.request.load.run_id.clone());
            let encoder = Encoder::Parquet(Box::new(ParquetEncoder::new(schema.clone(), snappy, vec![run])));
            let writer = PartWriter::new(
                Rc::clone(&self.request.store),
                &self.request.layout,
                path,
                PartKind::Deleted,
                encoder,
                self.request.encoding,
            );
            self.open = Some((schema.clone(), writer));
        }
        let open = self.open.as_mut().map(|(_, writer)| writer);
        open.ok_or_else(|| Error::internal("a part that was just opened is closed"))
    }

    async fn close(&mut self) -> Result<()> {
        if let Some((_, writer)) = self.open.take() {
            self.parts.extend(writer.finish().await?);
        }
        Ok(())
    }

    async fn finish(mut self) -> Result<Vec<Part>> {
        self.close().await?;
        Ok(self.parts)
    }
}

/// The rows of one part, which are sorted and distinct, as runs to skip and to take.
pub(super) fn selection(rows: &[RowAt]) -> RowSelection {
    let mut selectors = Vec::with_capacity(rows.len() * 2);
    let mut next = 0_u32;
    for row in rows {
        if row.row > next {
            selectors.push(RowSelector::skip((row.row - next) as usize));
        }
        selectors.push(RowSelector::select(1));
        next = row.row.saturating_add(1);
    }
    RowSelection::from(selectors)
}

/// The schema of a part with marked rows. Of a history it is the load's, of which all its parts are. Otherwise the old
/// part's, without the columns of another sync mode and with the one for the mark; but a column that is text by now is
/// text here, because readers would take the text of newer parts for the JSON or the bytes of this one.
fn marked_schema(old: FileSchema, mark: Mark, table: &TableSchema) -> Result<FileSchema> {
    if mark == Mark::Inactive {
        return FileSchema::of(table);
    }
    let (mut arrow, mut parquet) = (Vec::new(), Vec::new());
    let root = old.parquet.root_schema();
    for (field, stored) in old.arrow.fields().iter().zip(root.get_fields()) {
        let column = table.column(field.name());
        match field.name().as_str() {
            START | END | ACTIVE | DELETED => {}
            // Dropped: its values go with the old parts.
            _ if column.is_none() => {}
            name if column.is_some_and(|column| column.column_type == ColumnType::String)
                && stored.get_physical_type() == PhysicalType::BYTE_ARRAY =>
            {
                arrow.push(Arc::new(Field::new(name, DataType::Utf8, field.is_nullable())));
                let text = Type::primitive_type_builder(name, PhysicalType::BYTE_ARRAY)
                    .with_logical_type(Some(LogicalType::String))
                    .with_repetition(stored.get_basic_info().repetition());
                parquet.push(Arc::new(text.build()?));
            }
            _ => {
                arrow.push(Arc::clone(field));
                parquet.push(Arc::clone(stored));
            }
        }
    }
    arrow.push(Arc::new(Field::new(DELETED, DataType::Boolean, false)));
    let deleted = Type::primitive_type_builder(DELETED, PhysicalType::BOOLEAN);
    parquet.push(Arc::new(deleted.with_repetition(Repetition::REQUIRED).build()?));
    let root = Type::group_type_builder(root.name()).with_fields(parquet).build()?;
    let (arrow, parquet) = (Arc::new(Schema::new(arrow)), SchemaDescriptor::new(Arc::new(root)));
    Ok(FileSchema { arrow, parquet })
}
