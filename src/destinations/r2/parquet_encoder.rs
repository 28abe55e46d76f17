//! Parquet, tuned for speed within sensible sizes.
//!
//! On TPC-H lineitem-like batches the choices below take a quarter less CPU than the crate's defaults for files a tenth
//! larger (2.1 against 1.6 million rows a second of one core, natively); `tests/r2/speed.rs` prints the numbers.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt64Array};
use arrow::compute::take;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::row::{RowConverter, SortField};
use parquet::arrow::ArrowSchemaConverter;
use parquet::arrow::arrow_writer::{ArrowWriter, ArrowWriterOptions};
use parquet::basic::{Compression, LogicalType, Type as PhysicalType};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::{ColumnPath, SchemaDescriptor, Type, TypePtr};

use crate::core::Result;
use crate::core::limits::{MIB, ROW_GROUP_BYTES};
use crate::core::table::TableSchema;
use crate::core::types::ColumnType;

/// Rows looked at to guess whether a column repeats itself.
const SAMPLE_ROWS: usize = 1_024;

/// A column gets a dictionary when its sample has at most this share of distinct values, in percent. Above it the
/// dictionary costs a hash a value and then overflows into plain pages anyway.
const DICTIONARY_PERCENT: usize = 40;

/// A dictionary of this many bytes is given up for plain pages: 256 KiB stays in the second-level cache.
const DICTIONARY_BYTES: usize = 256 * 1024;

/// Most columns with a dictionary in a file. An empty one takes 40 KiB (a hash table of 8,192 slots) for as long as its row
/// group is open: 128 take 5 MiB, the 1,600 columns of the widest table of PostgreSQL would take 62 (I9).
const MOST_DICTIONARIES: usize = 128;

/// Row groups are closed at this many bytes of text and binary values, however small they get in the file: whoever reads the
/// group back has them in memory in full (I9).
pub(super) const GROUP_TEXT_BYTES: usize = 16 * MIB;

/// Bytes of a data page: what readers decompress at once. Parquet's usual megabyte.
const PAGE_BYTES: usize = 1024 * 1024;

/// From this size of an average row on, batches are written by the page. Doing so with narrow rows too made a million rows of
/// lineitem need 10 MiB more.
const LARGE_ROW_BYTES: usize = 1024;

/// Row groups of large rows are closed beyond this size, before the next page's worth: the network's buffer, the batch and
/// the smallest and largest value of each column are large then as well.
const LARGE_GROUP_BYTES: usize = 4 * MIB;

/// Values handed from Arrow to a column encoder at once; the default of 1,024 spends measurable time between pieces.
const WRITE_BATCH: usize = 8 * 1024;

/// The two schemas of a Parquet file.
#[derive(Clone)]
pub(super) struct FileSchema {
    /// Of the batches.
    pub(super) arrow: SchemaRef,
    /// Of the file.
    pub(super) parquet: SchemaDescriptor,
}

impl FileSchema {
    /// Whether batches of the one fit files of the other.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        self.parquet.root_schema() == other.parquet.root_schema()
    }

    /// The schema of a table's parts: what Arrow implies, and JSON columns marked as JSON. The crate does that itself
    /// only with a feature that pulls in more than this needs.
    ///
    /// # Errors
    /// [`Internal`](crate::core::ErrorKind::Internal) for an Arrow type Parquet has no place for.
    pub(super) fn of(table: &TableSchema) -> Result<Self> {
        let arrow = table.arrow();
        let implied = ArrowSchemaConverter::new().schema_root(&table.table).convert(&arrow)?;
        let fields =
            implied.root_schema().get_fields().iter().zip(&table.columns).map(|(field, column)| match column
                .column_type
            {
                ColumnType::Json => json_field(field),
                _ => Ok(Arc::clone(field)),
            });
        let root =
            Type::group_type_builder(&table.table).with_fields(fields.collect::<Result<_>>()?).build()?;
        Ok(Self { arrow, parquet: SchemaDescriptor::new(Arc::new(root)) })
    }
}

fn json_field(field: &TypePtr) -> Result<TypePtr> {
    let json = Type::primitive_type_builder(field.name(), PhysicalType::BYTE_ARRAY)
        .with_repetition(field.get_basic_info().repetition())
        .with_logical_type(Some(LogicalType::Json))
        .build()?;
    Ok(Arc::new(json))
}

/// Turns batches into one Parquet file.
///
/// The file begins with the first batch, because that one decides which columns get dictionaries.
pub(super) struct ParquetEncoder {
    schema: FileSchema,
    snappy: bool,
    metadata: Vec<KeyValue>,
    writer: Option<ArrowWriter<Vec<u8>>>,
    /// Bytes of text in the row group that is being written.
    text: usize,
    empty: Vec<u8>,
}

impl ParquetEncoder {
    /// An encoder. `metadata` goes into the file's footer.
    pub(super) fn new(schema: FileSchema, snappy: bool, metadata: Vec<(String, String)>) -> Self {
        let metadata = metadata.into_iter().map(|(key, value)| KeyValue::new(key, value)).collect();
        Self { schema, snappy, metadata, writer: None, text: 0, empty: Vec::new() }
    }

    /// Appends the rows of a batch. A row group is closed, and its bytes become [`ready`](Self::ready), when another
    /// batch like this one would take it over [`ROW_GROUP_BYTES`] of memory or [`GROUP_TEXT_BYTES`] of text.
    ///
    /// # Errors
    /// [`Internal`](crate::core::ErrorKind::Internal) when the batch has another schema.
    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let writer = match &mut self.writer {
            Some(writer) => writer,
            none => none.insert(begin(&self.schema, self.snappy, &self.metadata, batch)?),
        };
        let before = writer.memory_size();
        // A page that is larger than PAGE_BYTES ends when WRITE_BATCH values were added, however large: rows go in by the
        // page's worth.
        let bytes_per_row = batch.get_array_memory_size() / batch.num_rows();
        let large = bytes_per_row >= LARGE_ROW_BYTES;
        let step = if large { (PAGE_BYTES / bytes_per_row).max(1) } else { batch.num_rows() };
        for from in (0..batch.num_rows()).step_by(step) {
            if large && writer.memory_size() > LARGE_GROUP_BYTES {
                make_room(writer);
                writer.flush()?;
                self.text = 0;
            }
            writer.write(&batch.slice(from, step.min(batch.num_rows() - from)))?;
        }
        let after = writer.memory_size();
        let grown = after.saturating_sub(before);
        let text = text_bytes(batch);
        self.text += text;
        if after.saturating_add(grown) > ROW_GROUP_BYTES || self.text.saturating_add(text) > GROUP_TEXT_BYTES
        {
            make_room(writer);
            writer.flush()?;
            self.text = 0;
        }
        Ok(())
    }

    /// What is ready to be stored; the caller takes it out.
    pub(super) fn ready(&mut self) -> &mut Vec<u8> {
        match &mut self.writer {
            // The writer counts what it wrote by itself, so taking bytes out does not shift its offsets.
            Some(writer) => writer.inner_mut(),
            None => &mut self.empty,
        }
    }

    /// Ends the file and returns what was not taken out yet, and the rows that the footer states.
    ///
    /// # Errors
    /// Never in practice: writing to memory.
    pub(super) fn finish(self) -> Result<(Vec<u8>, u64)> {
        let Some(mut writer) = self.writer else { return Ok((self.empty, 0)) };
        make_room(&mut writer);
        let footer = writer.finish()?;
        let rows = u64::try_from(footer.file_metadata().num_rows()).unwrap_or(0);
        Ok((std::mem::take(writer.inner_mut()), rows))
    }
}

/// Room for the row group that is about to be closed, all at once: a buffer that doubles on the way to 12 MiB holds 24 of them
/// for a moment, beside the group itself.
fn make_room(writer: &mut ArrowWriter<Vec<u8>>) {
    let bytes = writer.in_progress_size();
    writer.inner_mut().reserve_exact(bytes);
}

fn begin(
    schema: &FileSchema,
    snappy: bool,
    metadata: &[KeyValue],
    sample: &RecordBatch,
) -> Result<ArrowWriter<Vec<u8>>> {
    let mut properties = WriterProperties::builder()
        .set_compression(if snappy { Compression::SNAPPY } else { Compression::UNCOMPRESSED })
        // Chunk statistics let readers skip row groups; page statistics cost CPU and footer for groups this small.
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_offset_index_disabled(true)
        .set_dictionary_page_size_limit(DICTIONARY_BYTES)
        .set_data_page_size_limit(PAGE_BYTES)
        .set_data_page_row_count_limit(usize::MAX)
        .set_write_batch_size(WRITE_BATCH)
        .set_max_row_group_row_count(None)
        .set_key_value_metadata(Some(metadata.to_vec()))
        .set_created_by(concat!("fivetran-do ", env!("CARGO_PKG_VERSION")).to_owned());
    let mut dictionaries = 0;
    for (field, column) in sample.schema_ref().fields().iter().zip(sample.columns()) {
        let path = ColumnPath::from(vec![field.name().clone()]);
        let wanted = dictionaries < MOST_DICTIONARIES && repeats_itself(column)?;
        dictionaries += usize::from(wanted);
        properties = properties.set_column_dictionary_enabled(path, wanted);
    }
    // The embedded Arrow schema would only repeat what the logical types say, with "+00:00" for a zone name.
    let options = ArrowWriterOptions::new()
        .with_properties(properties.build())
        .with_parquet_schema(schema.parquet.clone())
        .with_skip_arrow_metadata(true);
    Ok(ArrowWriter::try_new_with_options(Vec::new(), Arc::clone(&schema.arrow), options)?)
}

/// Bytes of the batch's text and binary values.
fn text_bytes(batch: &RecordBatch) -> usize {
    let span = |offsets: &[i32]| match offsets {
        [first, .., last] => usize::try_from(last - first).unwrap_or(0),
        _ => 0,
    };
    (batch.columns().iter())
        .map(|column| match column.data_type() {
            DataType::Utf8 => column.as_string_opt::<i32>().map_or(0, |texts| span(texts.value_offsets())),
            DataType::Binary => column.as_binary_opt::<i32>().map_or(0, |bytes| span(bytes.value_offsets())),
            _ => 0,
        })
        .sum()
}

/// Whether a sample across the whole column has few distinct values. Rows are taken at even steps: the first rows of
/// a sorted column repeat themselves more than the column does.
fn repeats_itself(column: &ArrayRef) -> Result<bool> {
    if column.null_count() == column.len() {
        // NULLs are levels, not values.
        return Ok(false);
    }
    let rows = column.len();
    let step = rows.div_ceil(SAMPLE_ROWS).max(1);
    let picked = UInt64Array::from_iter_values((0..rows).step_by(step).map(|row| row as u64));
    let sample = take(column, &picked, None)?;
    let converter = RowConverter::new(vec![SortField::new(sample.data_type().clone())])?;
    let rows = converter.convert_columns(&[sample])?;
    let distinct = rows.iter().map(|row| row.data()).collect::<HashSet<_>>().len();
    Ok(distinct * 100 <= rows.num_rows() * DICTIONARY_PERCENT)
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, StringArray};

    use super::*;
    use crate::core::limits::R2_PART_BYTES;
    use crate::core::table::TableColumn;

    fn table(columns: usize, column_type: ColumnType) -> TableSchema {
        let columns = (0..columns).map(|number| TableColumn {
            name: format!("c{number}"),
            column_type,
            nullable: true,
        });
        TableSchema {
            schema: "s".to_owned(),
            table: "t".to_owned(),
            columns: columns.collect(),
            primary_key: vec![],
        }
    }

    /// Writes that many batches, taking out what is ready as an upload does, and returns the most bytes ever held and
    /// the row groups of the file.
    fn most_held(table: &TableSchema, batches: usize, column: impl Fn(usize) -> ArrayRef) -> (usize, usize) {
        let mut encoder = ParquetEncoder::new(FileSchema::of(table).unwrap(), true, vec![]);
        let (mut most, mut left) = (0, 0);
        for number in 0..batches {
            let columns = table.columns.iter().map(|_| column(number)).collect();
            encoder.write(&RecordBatch::try_new(table.arrow(), columns).unwrap()).unwrap();
            let writer = encoder.writer.as_ref().unwrap();
            most = most.max(writer.memory_size() + writer.inner().len() + left);
            left = (left + encoder.ready().len()) % R2_PART_BYTES;
            encoder.ready().clear();
        }
        (most, encoder.writer.unwrap().flushed_row_groups().len())
    }

    #[test]
    fn i9_memory_stays_flat_however_much_is_written() {
        let text = |number: usize| -> ArrayRef {
            Arc::new(StringArray::from_iter_values(
                (0..8_192)
                    .map(|row| format!("{:x}", (number * 8_192 + row).wrapping_mul(0x9E37_79B9_7F4A_7C15))),
            ))
        };
        let table = table(8, ColumnType::String);
        let (short, _) = most_held(&table, 30, text);
        let (long, groups) = most_held(&table, 300, text);
        assert!(groups > 5, "{groups}");
        assert!(long <= ROW_GROUP_BYTES + R2_PART_BYTES, "{long}");
        assert!(long <= short + R2_PART_BYTES, "{short} then {long}");
    }

    #[test]
    fn i9_text_that_compresses_well_does_not_make_row_groups_nobody_can_read_back() {
        let table = table(1, ColumnType::String);
        let batch = |number: usize| -> ArrayRef {
            Arc::new(StringArray::from_iter_values((0..100).map(|_| format!("{number}").repeat(20_000))))
        };
        let (_, groups) = most_held(&table, 40, batch);
        assert!(groups >= 40 * 100 * 20_000 / GROUP_TEXT_BYTES, "{groups}");
    }

    #[test]
    fn i9_sixteen_hundred_columns_fit() {
        let table = table(1_600, ColumnType::Long);
        let column = |number: usize| -> ArrayRef {
            Arc::new(Int64Array::from_iter_values((0..256).map(|row| (number * 256 + row) as i64)))
        };
        let (most, groups) = most_held(&table, 40, column);
        assert!(
            groups > 1 && most <= ROW_GROUP_BYTES + R2_PART_BYTES + 4 * MIB,
            "{groups} groups, {most} bytes"
        );
    }

    #[test]
    fn i9_sixteen_hundred_columns_that_repeat_themselves_fit() {
        let table = table(1_600, ColumnType::Long);
        let column =
            |_| -> ArrayRef { Arc::new(Int64Array::from_iter_values((0..256).map(|row| row / 128))) };
        let mut encoder = ParquetEncoder::new(FileSchema::of(&table).unwrap(), true, vec![]);
        let columns = table.columns.iter().map(|_| column(0)).collect();
        encoder.write(&RecordBatch::try_new(table.arrow(), columns).unwrap()).unwrap();
        encoder.writer.as_mut().unwrap().flush().unwrap();
        let groups = encoder.writer.as_ref().unwrap().flushed_row_groups();
        let with_dictionary =
            groups[0].columns().iter().filter(|column| column.dictionary_page_offset().is_some()).count();
        assert_eq!(with_dictionary, MOST_DICTIONARIES);
    }

    #[test]
    fn only_columns_that_repeat_themselves_get_a_dictionary() {
        let column = |step: i64| -> ArrayRef {
            Arc::new(Int64Array::from_iter_values((0..40_000).map(|row| row / step)))
        };
        assert!(!repeats_itself(&column(1)).unwrap());
        // Four in a row are the same, but seen across the column they are ten thousand values.
        assert!(!repeats_itself(&column(4)).unwrap());
        assert!(repeats_itself(&column(1_000)).unwrap());
    }
}
