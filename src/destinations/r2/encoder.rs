//! The file formats behind one face.

use arrow::array::RecordBatch;

use super::config::Encoding;
use super::parquet_encoder::{FileSchema, ParquetEncoder};
use super::text_encoder::{Dialect, ROWS_PER_STEP, TextEncoder};
use crate::core::Result;
use crate::core::table::TableSchema;

/// Turns batches into the bytes of one file. An enum and not a trait object: the three are all there will be, and
/// consuming `finish` needs no box.
pub(super) enum Encoder {
    /// Parquet.
    Parquet(Box<ParquetEncoder>),
    /// JSON lines or CSV.
    Text(TextEncoder),
}

impl Encoder {
    /// An encoder of that format for batches of that table. `metadata` is kept where the format has a place for it.
    ///
    /// # Errors
    /// [`Internal`](crate::core::ErrorKind::Internal) for a type the format has no place for.
    pub(super) fn new(
        encoding: Encoding,
        table: &TableSchema,
        metadata: Vec<(String, String)>,
    ) -> Result<Self> {
        Ok(match encoding {
            Encoding::Parquet { snappy } => {
                Self::Parquet(Box::new(ParquetEncoder::new(FileSchema::of(table)?, snappy, metadata)))
            }
            Encoding::Jsonl { gzip } => Self::Text(TextEncoder::new(Dialect::Jsonl, &table.arrow(), gzip)?),
            Encoding::Csv { gzip } => Self::Text(TextEncoder::new(Dialect::Csv, &table.arrow(), gzip)?),
        })
    }

    /// Rows to encode before looking whether something is ready to be stored.
    pub(super) fn rows_per_step(&self) -> usize {
        match self {
            Self::Parquet(_) => usize::MAX,
            Self::Text(_) => ROWS_PER_STEP,
        }
    }

    /// Appends rows.
    ///
    /// # Errors
    /// [`Internal`](crate::core::ErrorKind::Internal) when the batch has another schema.
    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        match self {
            Self::Parquet(parquet) => parquet.write(batch),
            Self::Text(text) => text.write(batch),
        }
    }

    /// What is ready to be stored; the caller takes it out.
    pub(super) fn ready(&mut self) -> &mut Vec<u8> {
        match self {
            Self::Parquet(parquet) => parquet.ready(),
            Self::Text(text) => text.ready(),
        }
    }

    /// Ends the file and returns what was not taken out yet, and the rows the file holds by its own account.
    ///
    /// # Errors
    /// Never in practice: writing to memory.
    pub(super) fn finish(self) -> Result<(Vec<u8>, u64)> {
        match self {
            Self::Parquet(parquet) => parquet.finish(),
            Self::Text(text) => text.finish(),
        }
    }
}
