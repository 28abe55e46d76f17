//! Reading our own parts back, a row group at a time, through range reads.

use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

use arrow::array::RecordBatch;
use bytes::Bytes;
use parquet::DecodeResult;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, RowSelection};
use parquet::arrow::push_decoder::{ParquetPushDecoder, ParquetPushDecoderBuilder};
use parquet::basic::Type as PhysicalType;
use parquet::file::metadata::{
    PageIndexPolicy, ParquetMetaData, ParquetMetaDataPushDecoder, RowGroupMetaData,
};

use super::layout::TableLayout;
use super::manifest::Part;
use super::parquet_encoder::FileSchema;
use crate::core::{Error, ErrorKind, Result};
use crate::ports::ObjectStore;

/// Bytes fetched from a part's end at first: holds the footer of all but very wide tables.
const TAIL_BYTES: u64 = 64 * 1024;

/// Ranges with at most this many bytes between them are fetched as one.
const GAP_BYTES: u64 = 64 * 1024;

/// Most rows of a decoded batch.
const BATCH_ROWS: usize = 16 * 1024;

/// Text and binary values of a decoded batch, on the average of its row group. Where a selection picks the longest ones only,
/// the batch holds the whole group's at worst: [`GROUP_TEXT_BYTES`](super::parquet_encoder::GROUP_TEXT_BYTES).
const BATCH_TEXT_BYTES: i64 = 4 * 1024 * 1024;

/// One part, its footer read.
pub(super) struct PartReader {
    store: Rc<dyn ObjectStore>,
    key: String,
    footer: ArrowReaderMetadata,
}

impl PartReader {
    /// Opens a part.
    ///
    /// # Errors
    /// [`Mismatch`](ErrorKind::Mismatch) when the object is gone, an unreachable store, a damaged file.
    pub(super) async fn open(store: Rc<dyn ObjectStore>, layout: &TableLayout, part: &Part) -> Result<Self> {
        let key = layout.key(&part.path);
        let mut decoder =
            ParquetMetaDataPushDecoder::try_new(part.bytes)?.with_page_index_policy(PageIndexPolicy::Skip);
        let tail = part.bytes.saturating_sub(TAIL_BYTES)..part.bytes;
        decoder.push_range(tail.clone(), fetch(&*store, &key, tail).await?)?;
        let metadata = loop {
            match decoder.try_decode()? {
                DecodeResult::Data(metadata) => break metadata,
                DecodeResult::NeedsData(ranges) => {
                    for range in ranges {
                        decoder.push_range(range.clone(), fetch(&*store, &key, range).await?)?;
                    }
                }
                DecodeResult::Finished => return Err(Error::internal(format!("{key} has no footer"))),
            }
        };
        let footer = ArrowReaderMetadata::try_new(Arc::new(metadata), ArrowReaderOptions::new())?;
        Ok(Self { store, key, footer })
    }

    /// The schemas of the file.
    pub(super) fn schema(&self) -> FileSchema {
        FileSchema { arrow: Arc::clone(self.footer.schema()), parquet: self.footer.parquet_schema().clone() }
    }

    /// What the footer says of the file.
    pub(super) fn metadata(&self) -> &ParquetMetaData {
        self.footer.metadata()
    }

    /// Reads the named columns, in the file's order, of the selected rows of the named row groups; everything where
    /// `None` says so. A selection counts rows of those groups only.
    ///
    /// # Errors
    /// A damaged file.
    pub(super) fn read(
        &self,
        columns: Option<&[&str]>,
        groups: Option<Vec<usize>>,
        selection: Option<RowSelection>,
    ) -> Result<PartStream<'_>> {
        let mask = match columns {
            Some(columns) => ProjectionMask::columns(self.footer.parquet_schema(), columns.iter().copied()),
            None => ProjectionMask::all(),
        };
        let rows = self.footer.metadata().row_groups().iter().map(|group| batch_rows(group, &mask)).min();
        let mut builder = ParquetPushDecoderBuilder::new_with_metadata(self.footer.clone())
            .with_batch_size(rows.unwrap_or(BATCH_ROWS))
            .with_projection(mask);
        if let Some(groups) = groups {
            builder = builder.with_row_groups(groups);
        }
        if let Some(selection) = selection {
            builder = builder.with_row_selection(selection);
        }
        Ok(PartStream { reader: self, decoder: builder.build()? })
    }
}

/// Rows to decode at once: compressed or repeated, 20 KB a row takes hardly any room in the file and all of it here (I9).
fn batch_rows(group: &RowGroupMetaData, mask: &ProjectionMask) -> usize {
    let text: i64 = (group.columns().iter().enumerate())
        .filter(|(leaf, column)| {
            mask.leaf_included(*leaf) && column.column_type() == PhysicalType::BYTE_ARRAY
        })
        .map(|(_, column)| column.unencoded_byte_array_data_bytes().unwrap_or(column.uncompressed_size()))
        .sum();
    let rows = group.num_rows().saturating_mul(BATCH_TEXT_BYTES) / text.max(1);
    usize::try_from(rows).unwrap_or(BATCH_ROWS).clamp(1, BATCH_ROWS)
}

/// The batches of a part.
pub(super) struct PartStream<'a> {
    reader: &'a PartReader,
    decoder: ParquetPushDecoder,
}

impl PartStream<'_> {
    /// The next batch, or `None` at the end.
    ///
    /// # Errors
    /// When the store is unreachable or the file is damaged.
    pub(super) async fn next(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            match self.decoder.try_decode()? {
                DecodeResult::Data(batch) => return Ok(Some(batch)),
                DecodeResult::Finished => return Ok(None),
                DecodeResult::NeedsData(ranges) => {
                    for span in spans(ranges) {
                        let body = fetch(&*self.reader.store, &self.reader.key, span.whole.clone()).await?;
                        for range in span.ranges {
                            let piece = piece(&body, span.whole.start, &range)?;
                            self.decoder.push_range(range, piece)?;
                        }
                    }
                }
            }
        }
    }
}

/// Neighbouring ranges that are fetched at once.
struct Span {
    whole: Range<u64>,
    ranges: Vec<Range<u64>>,
}

fn spans(mut ranges: Vec<Range<u64>>) -> Vec<Span> {
    ranges.sort_unstable_by_key(|range| range.start);
    let mut spans: Vec<Span> = Vec::new();
    for range in ranges {
        match spans.last_mut() {
            Some(span) if range.start <= span.whole.end.saturating_add(GAP_BYTES) => {
                span.whole.end = span.whole.end.max(range.end);
                span.ranges.push(range);
            }
            _ => spans.push(Span { whole: range.clone(), ranges: vec![range] }),
        }
    }
    spans
}

fn piece(body: &Bytes, base: u64, range: &Range<u64>) -> Result<Bytes> {
    let offset =
        |at: u64| usize::try_from(at.saturating_sub(base)).ok().filter(|offset| *offset <= body.len());
    match (offset(range.start), offset(range.end)) {
        (Some(from), Some(to)) if from <= to => Ok(body.slice(from..to)),
        _ => Err(Error::internal("a Parquet range lies outside what was fetched")),
    }
}

/// The bytes of an object in that range, all of them.
///
/// # Errors
/// [`Mismatch`](ErrorKind::Mismatch) when the object is gone; an unreachable store.
pub(super) async fn fetch(store: &dyn ObjectStore, key: &str, range: Range<u64>) -> Result<Bytes> {
    let length = range.end.saturating_sub(range.start);
    let body = store.get_range(key, range.start, length).await?;
    let body = body.ok_or_else(|| {
        Error::new(ErrorKind::Mismatch, format!("{key}, which the manifest names, is not in the bucket"))
    })?;
    if body.len() as u64 == length {
        return Ok(body);
    }
    // An aborted body reads as a clean end on this platform.
    Err(Error::new(
        ErrorKind::DestinationUnavailable,
        format!("{key} was cut short: {} of {length} bytes arrived", body.len()),
    ))
}
