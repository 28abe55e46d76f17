//! Writing rows that are gone at the source, marked.

use std::rc::Rc;
use std::sync::Arc;

use arrow::array::{
    Array as _, ArrayRef, BooleanArray, RecordBatch, TimestampMicrosecondArray, new_null_array,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use parquet::arrow::arrow_reader::{RowSelection, RowSelector};
use parquet::basic::{LogicalType, Repetition, Type as PhysicalType};
use parquet::schema::types::{SchemaDescriptor, Type};

use super::key_hash::RowAt;
use super::layout;
use super::manifest::{Manifest, Part, PartKind};
use super::parquet_encoder::FileSchema;
use super::parquet_reader::PartReader;
use super::part::PartWriter;
use super::publish::PublishRequest;
use super::scan::conform;
use super::vanished::{Mark, is_unreadable, position};
use crate::core::table::{ACTIVE, DELETED, END, START, TableSchema};
use crate::core::types::ColumnType;
use crate::core::{Error, Result};

/// Rows selected from a part at once: a selection takes 16 bytes a row where every other one is taken, twice while it is
/// put together.
const SELECTED: usize = 128 * 1024;

/// What may be copied before it is somebody else's turn.
pub(super) struct Bounds {
    /// Bytes of rows, in memory.
    pub(super) bytes: u64,
    /// Times a part is opened.
    pub(super) opened: usize,
}

impl Bounds {
    /// Everything.
    pub(super) const NONE: Self = Self { bytes: u64::MAX, opened: usize::MAX };
}

/// Writes the rows that are gone. One file takes all of them, unless parts have different columns or types: old rows
/// keep the types of their part, as readers expect of parts anyway, so a change of schema begins another file.
pub(super) struct MarkedRows<'a> {
    request: &'a PublishRequest<'a>,
    current: &'a Manifest,
    load_number: u64,
    mark: Mark,
    /// The load's table where history is kept, otherwise with the columns of old parts too.
    table: TableSchema,
    open: Option<(FileSchema, PartWriter)>,
    /// Marked parts there are already.
    before: usize,
    parts: Vec<Part>,
    newly_marked: u64,
    copied: Bounds,
    bounds: Bounds,
}

impl<'a> MarkedRows<'a> {
    /// For rows of that manifest's parts, in parts that are numbered from `before` on, within bounds.
    pub(super) fn new(
        request: &'a PublishRequest<'a>,
        current: &'a Manifest,
        load_number: u64,
        before: usize,
        bounds: Bounds,
    ) -> Self {
        let mark = Mark::of(&request.load.table.primary_key);
        let table = match mark {
            Mark::Inactive => request.load.table.clone(),
            Mark::Deleted => current.table_schema(),
        };
        let (parts, open) = (Vec::new(), None);
        let copied = Bounds { bytes: 0, opened: 0 };
        Self {
            request,
            current,
            load_number,
            mark,
            table,
            open,
            before,
            parts,
            newly_marked: 0,
            copied,
            bounds,
        }
    }

    /// True when the bounds are reached.
    pub(super) fn is_spent(&self) -> bool {
        self.copied.bytes >= self.bounds.bytes || self.copied.opened >= self.bounds.opened
    }

    /// Copies the rows at the [places](RowAt::to_place), which are sorted, and marks them, within the bounds. Returns how many
    /// of the places are dealt with. Rows that cannot be read any more are left out.
    ///
    /// # Errors
    /// An unreachable store.
    pub(super) async fn copy(&mut self, places: &[u64]) -> Result<usize> {
        let mut done = 0;
        for of_part in places.chunk_by(|one, next| RowAt::of_place(*one).part == RowAt::of_place(*next).part)
        {
            for piece in of_part.chunks(SELECTED) {
                let rows: Vec<RowAt> = piece.iter().copied().map(RowAt::of_place).collect();
                let copied = self.copy_of_part(&rows).await?;
                done += copied.unwrap_or(rows.len());
                if self.is_spent() {
                    return Ok(done);
                }
            }
        }
        Ok(done)
    }

    /// Copies rows of one part: how many, or `None` when it came to their end, or cannot read on.
    async fn copy_of_part(&mut self, rows: &[RowAt]) -> Result<Option<usize>> {
        self.copied.opened += 1;
        let part = rows.first().and_then(|row| self.current.parts.get(row.part as usize));
        let part = part.ok_or_else(|| Error::internal("a row of no part"))?;
        let reader = match PartReader::open(Rc::clone(&self.request.store), &self.request.layout, part).await
        {
            Err(error) if is_unreadable(&error) => return Ok(None),
            reader => reader?,
        };
        let old = reader.schema();
        // The values of columns that were dropped go with the old parts.
        let dropped = self.current.dropped_of(part);
        let names = old.arrow.fields().iter().map(|field| field.name().as_str());
        let others = || names.filter(|name| !dropped.contains(name)).collect::<Vec<_>>();
        let others = (!dropped.is_empty()).then(others);
        let schema = marked_schema(&old, &dropped, self.mark, &self.table)?;
        let mut batches = reader.read(others.as_deref(), None, Some(selection(rows)))?;
        let mut copied = 0;
        loop {
            let batch = match batches.next().await {
                Err(error) if is_unreadable(&error) => return Ok(None),
                batch => batch?,
            };
            let Some(batch) = batch else { return Ok(None) };
            let marked = self.marked(&batch, &schema.arrow)?;
            self.writer(&schema).await?.write(&marked).await?;
            let of_batch = rows.iter().skip(copied).take(batch.num_rows());
            self.newly_marked += of_batch.filter(|row| !row.deleted).count() as u64;
            self.copied.bytes += batch.get_array_memory_size() as u64;
            copied += batch.num_rows();
            if self.copied.bytes >= self.bounds.bytes {
                return Ok(Some(copied));
            }
        }
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
        if !self.open.as_ref().is_some_and(|(open, _)| open.is_like(schema)) {
            self.close().await?;
        }
        if self.open.is_none() {
            let number = position(self.before.saturating_add(self.parts.len()) as u64)?;
            let path = layout::deleted_part(self.load_number, number, self.request.fence)?;
            let writer = PartWriter::of_rows_there(self.request, path, PartKind::Deleted, schema.clone());
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

    /// The parts with the rows, and how many of these were not marked before.
    ///
    /// # Errors
    /// An unreachable store.
    pub(super) async fn finish(mut self) -> Result<(Vec<Part>, u64)> {
        self.close().await?;
        Ok((self.parts, self.newly_marked))
    }
}

/// The rows of one part, which are sorted and distinct, as stretches to skip and to take.
pub(super) fn selection(rows: &[RowAt]) -> RowSelection {
    let mut selectors: Vec<RowSelector> = Vec::new();
    let mut next = 0_u32;
    for row in rows {
        match selectors.last_mut() {
            Some(taken) if row.row == next => taken.row_count += 1,
            _ => {
                if row.row > next {
                    selectors.push(RowSelector::skip((row.row - next) as usize));
                }
                selectors.push(RowSelector::select(1));
            }
        }
        next = row.row.saturating_add(1);
    }
    RowSelection::from(selectors)
}

/// The schema of a part with marked rows. Of a history it is the load's, of which all its parts are. Otherwise the old
/// part's, without columns that were dropped and those of another sync mode, and with the one for the mark; but a column that is text by now is
/// text here, because readers would take the text of newer parts for the JSON or the bytes of this one.
fn marked_schema(old: &FileSchema, dropped: &[&str], mark: Mark, table: &TableSchema) -> Result<FileSchema> {
    if mark == Mark::Inactive {
        return FileSchema::of(table);
    }
    let (mut arrow, mut parquet) = (Vec::new(), Vec::new());
    let root = old.parquet.root_schema();
    for (field, stored) in old.arrow.fields().iter().zip(root.get_fields()) {
        let column = table.column(field.name());
        match field.name().as_str() {
            START | END | ACTIVE | DELETED => {}
            name if column.is_none() || dropped.contains(&name) => {}
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
