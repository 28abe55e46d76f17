//! Reads rows back from Parquet parts: of each key in a range its newest version, unless that is deleted.
//!
//! Two passes, in bounded memory (I9). First the key columns of the parts are read newest first, row groups that
//! cannot hold a key of the range left out by their statistics, and the place of each key's newest version is noted.
//! Then those rows are read. Where a range has more keys than fit, it is worked on in stretches of the space of key
//! hashes, as [`vanished`](super::vanished) does.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::datatypes::{DataType, Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType};
use arrow::row::{OwnedRow, RowConverter, SortField};
use parquet::file::metadata::ParquetMetaData;
use parquet::file::statistics::Statistics;

use super::config::Format;
use super::history::row_key;
use super::key_hash::{KeyHasher, LastVersions, RowAt, key_columns};
use super::layout::TableLayout;
use super::manifest::{Manifest, Part};
use super::marked_rows::selection;
use super::parquet_reader::PartReader;
use super::vanished::{Mark, is_unreadable, position};
use crate::core::parse::{BytesForm, ColumnParser};
use crate::core::shape::convert::widen;
use crate::core::table::{TableColumn, TableSchema};
use crate::core::types::ColumnType;
use crate::core::{Error, ErrorKind, Result};
use crate::destinations::{KeyRange, Visit};
use crate::ports::ObjectStore;

/// Most versions noted in one pass. Each takes 66 bytes: hash and place, a control byte, and the table's slack of one half.
/// That is 8 MiB, an eighth of what invariant I9 allows.
const MOST_VERSIONS: usize = 128 * 1024;

/// See [`Destination::scan`](crate::destinations::Destination::scan).
pub(super) async fn scan(
    store: Rc<dyn ObjectStore>,
    layout: &TableLayout,
    manifest: &Manifest,
    table: &TableSchema,
    range: &KeyRange,
    visit: Visit<'_>,
) -> Result<Vec<String>> {
    if manifest.format != Format::Parquet {
        let message = format!("table {}.{} is not kept in Parquet", table.schema, table.table);
        return Err(Error::new(ErrorKind::DestinationConfig, message)
            .field("config.format")
            .remedy("Only Parquet tables can be read back; compare the files with your own tools"));
    }
    let key = key_of(manifest, table)?;
    let types = key.iter().map(|column| column.column_type).collect();
    // The seed need not be random: there are no sets here that a source could prepare keys for.
    let hasher = KeyHasher::new(types, [0; 16]);
    let bounds = Bounds::new(&key, range)?;
    let mut scan = Scan { store, layout, manifest, table, hasher, bounds, problems: BTreeMap::new() };
    let mut start = 0_u128;
    loop {
        let (end, rows) = scan.newest(start).await?;
        scan.fetch(&rows, visit).await?;
        if end == u128::MAX {
            return Ok(scan.problems.into_values().collect());
        }
        start = end.saturating_add(1);
    }
}

fn key_of(manifest: &Manifest, table: &TableSchema) -> Result<Vec<TableColumn>> {
    let column = |name: &String| table.column(name).cloned();
    let key: Option<Vec<_>> = row_key(&manifest.primary_key).iter().map(column).collect();
    key.filter(|key| !key.is_empty())
        .ok_or_else(|| Error::internal("a table to read back lacks a column of its key"))
}

struct Scan<'a> {
    store: Rc<dyn ObjectStore>,
    layout: &'a TableLayout,
    manifest: &'a Manifest,
    table: &'a TableSchema,
    hasher: KeyHasher,
    bounds: Bounds,
    /// What cannot be read, by part.
    problems: BTreeMap<String, String>,
}

impl Scan<'_> {
    /// The places of the newest versions that are not deleted, for the keys whose hash is at least `start`; and the
    /// last hash they are complete for.
    async fn newest(&mut self, start: u128) -> Result<(u128, Vec<RowAt>)> {
        let mut versions = LastVersions::new(start..=u128::MAX, MOST_VERSIONS);
        for (index, part) in self.manifest.parts.iter().enumerate().rev() {
            let looked = self.look(position(index as u64)?, part, &mut versions).await;
            self.unless_damaged(part, looked)?;
        }
        let (end, mut rows) = versions.sorted();
        rows.retain(|row| !row.deleted);
        Ok((end, rows))
    }

    async fn look(&self, index: u32, part: &Part, versions: &mut LastVersions) -> Result<()> {
        let reader = PartReader::open(Rc::clone(&self.store), self.layout, part).await?;
        let mark = Mark::of(&self.manifest.primary_key);
        let key: Vec<String> = self.bounds.key.iter().map(|column| column.name.clone()).collect();
        let wanted: Vec<&str> =
            key.iter().map(String::as_str).chain(std::iter::once(mark.column())).collect();
        let groups = self.bounds.groups(reader.metadata(), &key);
        let mut batches = reader.read(Some(&wanted), Some(groups), None)?;
        let mut first_row = 0_u64;
        while let Some(batch) = batches.next().await? {
            let marks = mark.gone(&batch);
            let columns = key_columns(&batch, &key).ok_or_else(|| damaged("lacks a column of the key"))?;
            let keys = conformed(&columns, &self.bounds.key)?;
            let hashes = self.hasher.hash(&keys)?.ok_or_else(|| damaged("has keys of another type"))?;
            let inside = self.bounds.inside(&keys)?;
            for (offset, hash) in hashes.iter().enumerate() {
                if versions.wants(*hash)
                    && inside.as_ref().is_none_or(|inside| inside.get(offset) == Some(&true))
                {
                    let row = position(first_row.saturating_add(offset as u64))?;
                    let deleted = marks.is_valid(offset) && marks.value(offset);
                    versions.see(*hash, RowAt { part: index, row, deleted });
                }
            }
            first_row = first_row.saturating_add(batch.num_rows() as u64);
        }
        Ok(())
    }

    /// Reads the rows, which are sorted.
    async fn fetch(&mut self, rows: &[RowAt], visit: Visit<'_>) -> Result<()> {
        for of_part in rows.chunk_by(|one, next| one.part == next.part) {
            let part = of_part.first().and_then(|row| self.manifest.parts.get(row.part as usize));
            let part = part.ok_or_else(|| Error::internal("a row of no part"))?;
            let fetched = self.fetch_part(part, of_part, visit).await;
            self.unless_damaged(part, fetched)?;
        }
        Ok(())
    }

    async fn fetch_part(&self, part: &Part, rows: &[RowAt], visit: Visit<'_>) -> Result<()> {
        let reader = PartReader::open(Rc::clone(&self.store), self.layout, part).await?;
        let wanted: Vec<&str> = self.table.columns.iter().map(|column| column.name.as_str()).collect();
        let groups = self.bounds.groups(reader.metadata(), &self.manifest.primary_key);
        let mut batches = reader.read(Some(&wanted), Some(groups), Some(selection(rows)))?;
        while let Some(batch) = batches.next().await? {
            visit(&self.conform(part, &batch)?)?;
        }
        Ok(())
    }

    /// The batch with the table's columns and types. A column its part does not have is NULL, as readers take it.
    fn conform(&self, part: &Part, batch: &RecordBatch) -> Result<RecordBatch> {
        let mut lenient = self.table.clone();
        lenient.columns.iter_mut().for_each(|column| column.nullable = true);
        let dropped = self.manifest.dropped_of(part);
        let there = |name: &str| batch.column_by_name(name).filter(|_| !dropped.contains(&name));
        let columns = lenient.columns.iter().map(|column| match there(&column.name) {
            Some(array) => conform(array, column.column_type),
            None => Ok(new_null_array(&column.column_type.arrow(), batch.num_rows())),
        });
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let rows = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        Ok(RecordBatch::try_new_with_options(lenient.arrow(), columns, &rows)?)
    }

    /// A part that is gone or damaged is something to tell, not a reason to stop: its rows are the difference.
    fn unless_damaged(&mut self, part: &Part, outcome: Result<()>) -> Result<()> {
        match outcome {
            Err(error) if is_unreadable(&error) || error.kind() == ErrorKind::Data => {
                self.problems.insert(part.path.clone(), format!("{}: {}", part.path, error.chain()));
                Ok(())
            }
            outcome => outcome,
        }
    }
}

fn damaged(what: &str) -> Error {
    Error::new(ErrorKind::Mismatch, format!("the part {what}"))
}

fn conformed(columns: &[ArrayRef], key: &[TableColumn]) -> Result<Vec<ArrayRef>> {
    columns.iter().zip(key).map(|(array, column)| conform(array, column.column_type)).collect()
}

/// A column as read from a part, in the table's type.
pub(super) fn conform(array: &ArrayRef, to: ColumnType) -> Result<ArrayRef> {
    let from = type_of(array.data_type())
        .ok_or_else(|| damaged(&format!("has a column of the type {}", array.data_type())))?;
    if from == ColumnType::UtcDatetime && to == from {
        // The file names the zone, the table gives its offset.
        let instants = array.as_primitive_opt::<TimestampMicrosecondType>().cloned();
        let instants = instants.ok_or_else(|| damaged("has instants of another unit"))?;
        return Ok(Arc::new(instants.with_timezone(crate::core::types::UTC)));
    }
    // Text and JSON look alike in a part.
    if from == ColumnType::String && to.arrow() == from.arrow() {
        return Ok(Arc::clone(array));
    }
    widen(array, from, to)
}

/// The inverse of [`ColumnType::arrow`].
fn type_of(arrow: &DataType) -> Option<ColumnType> {
    Some(match arrow {
        DataType::Boolean => ColumnType::Boolean,
        DataType::Int16 => ColumnType::Short,
        DataType::Int32 => ColumnType::Int,
        DataType::Int64 => ColumnType::Long,
        DataType::Decimal128(precision, scale) => {
            ColumnType::Decimal { precision: *precision, scale: u8::try_from(*scale).ok()? }
        }
        DataType::Float32 => ColumnType::Float,
        DataType::Float64 => ColumnType::Double,
        DataType::Date32 => ColumnType::NaiveDate,
        DataType::Time64(TimeUnit::Microsecond) => ColumnType::NaiveTime,
        DataType::Timestamp(TimeUnit::Microsecond, None) => ColumnType::NaiveDatetime,
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => ColumnType::UtcDatetime,
        DataType::Binary => ColumnType::Binary,
        DataType::Utf8 => ColumnType::String,
        _ => return None,
    })
}

/// The bounds of a range, in the forms they are compared in.
struct Bounds {
    key: Vec<TableColumn>,
    converter: RowConverter,
    after: Option<Bound>,
    upto: Option<Bound>,
}

/// One bound.
struct Bound {
    /// The whole key.
    row: OwnedRow,
    /// The first key column, where statistics can be compared with it.
    first: Option<First>,
}

/// A value of a kind whose statistics are comparable with it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum First {
    /// An integer, or the number of a day.
    Integer(i64),
    /// Microseconds.
    Micros(i64),
    /// Text by its bytes.
    Text(Vec<u8>),
}

impl Bounds {
    fn new(key: &[TableColumn], range: &KeyRange) -> Result<Self> {
        let fields = key.iter().map(|column| SortField::new(column.column_type.arrow())).collect();
        let converter = RowConverter::new(fields)?;
        let bound = |values: &Option<Vec<String>>| {
            values.as_ref().map(|values| Bound::new(key, &converter, values)).transpose()
        };
        let (after, upto) = (bound(&range.after)?, bound(&range.upto)?);
        Ok(Self { key: key.to_vec(), converter, after, upto })
    }

    /// Whether each key lies in the range; `None` when the range has no bounds.
    fn inside(&self, keys: &[ArrayRef]) -> Result<Option<Vec<bool>>> {
        if self.after.is_none() && self.upto.is_none() {
            return Ok(None);
        }
        let rows = self.converter.convert_columns(keys)?;
        let inside = rows.iter().map(|row| {
            self.after.as_ref().is_none_or(|after| row > after.row.row())
                && self.upto.as_ref().is_none_or(|upto| row <= upto.row.row())
        });
        Ok(Some(inside.collect()))
    }

    /// The row groups that may hold keys of the range.
    fn groups(&self, metadata: &ParquetMetaData, key: &[String]) -> Vec<usize> {
        let name = key.first().map(String::as_str);
        let may_hold = |index: &usize| {
            let group = metadata.row_group(*index);
            let column =
                group.columns().iter().find(|column| Some(column.column_path().string().as_str()) == name);
            column.and_then(|column| column.statistics()).is_none_or(|statistics| self.overlaps(statistics))
        };
        (0..metadata.num_row_groups()).filter(may_hold).collect()
    }

    fn overlaps(&self, statistics: &Statistics) -> bool {
        let ends_before = |after: &First| extremes(statistics, after).is_some_and(|(_, most)| most < *after);
        let begins_behind = |upto: &First| extremes(statistics, upto).is_some_and(|(least, _)| least > *upto);
        let first = |bound: &'_ Option<Bound>| bound.as_ref().and_then(|bound| bound.first.clone());
        !first(&self.after).as_ref().is_some_and(ends_before)
            && !first(&self.upto).as_ref().is_some_and(begins_behind)
    }
}

/// The least and the greatest value of a column chunk, where they are of the kind of `like`. A part older than a change
/// of type may have another kind.
fn extremes(statistics: &Statistics, like: &First) -> Option<(First, First)> {
    Some(match (statistics, like) {
        (Statistics::Int32(values), First::Integer(_)) => {
            (First::Integer((*values.min_opt()?).into()), First::Integer((*values.max_opt()?).into()))
        }
        (Statistics::Int64(values), First::Integer(_)) => {
            (First::Integer(*values.min_opt()?), First::Integer(*values.max_opt()?))
        }
        (Statistics::Int64(values), First::Micros(_)) => {
            (First::Micros(*values.min_opt()?), First::Micros(*values.max_opt()?))
        }
        (Statistics::ByteArray(values), First::Text(_)) => {
            (First::Text(values.min_opt()?.data().to_vec()), First::Text(values.max_opt()?.data().to_vec()))
        }
        _ => return None,
    })
}

impl Bound {
    fn new(key: &[TableColumn], converter: &RowConverter, values: &[String]) -> Result<Self> {
        let mut arrays = Vec::with_capacity(key.len());
        for (column, value) in key.iter().zip(values) {
            let mut parser = ColumnParser::new(column.column_type, BytesForm::Base64);
            if !parser.push(Some(value)) {
                let (name, kind) = (&column.name, column.column_type);
                return Err(Error::internal(format!("'{value}' is no {kind} of the key column {name}")));
            }
            arrays.push(parser.finish()?);
        }
        let rows = converter.convert_columns(&arrays)?;
        let first =
            key.first().zip(arrays.first()).and_then(|(column, array)| first(column.column_type, array));
        Ok(Self { row: rows.row(0).owned(), first })
    }
}

/// The value in the form that Parquet's statistics of its type have.
fn first(column_type: ColumnType, array: &ArrayRef) -> Option<First> {
    match column_type {
        ColumnType::Short | ColumnType::Int | ColumnType::Long => {
            let wide = widen(array, column_type, ColumnType::Long).ok()?;
            Some(First::Integer(wide.as_primitive_opt::<Int64Type>()?.value(0)))
        }
        ColumnType::NaiveDate => {
            let days = array.as_primitive_opt::<arrow::datatypes::Date32Type>()?;
            Some(First::Integer(days.reinterpret_cast::<Int32Type>().value(0).into()))
        }
        ColumnType::UtcDatetime | ColumnType::NaiveDatetime => {
            let instants = array.as_primitive_opt::<TimestampMicrosecondType>()?;
            Some(First::Micros(instants.value(0)))
        }
        ColumnType::String => Some(First::Text(array.as_string_opt::<i32>()?.value(0).as_bytes().to_vec())),
        _ => None,
    }
}
