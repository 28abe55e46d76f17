//! One part of a table: batches in, one object out.

use std::rc::Rc;

use arrow::array::RecordBatch;

use super::config::Encoding;
use super::encoder::Encoder;
use super::layout::TableLayout;
use super::manifest::{Part, PartKind};
use super::parquet_encoder::{FileSchema, ParquetEncoder};
use super::publish::PublishRequest;
use super::upload::Upload;
use crate::core::{Error, ErrorKind, Result};
use crate::ports::ObjectStore;

/// Writes one part. It holds at most a row group in progress plus less than one multipart part.
pub(super) struct PartWriter {
    encoder: Encoder,
    upload: Upload,
    path: String,
    kind: PartKind,
    rows: u64,
}

impl PartWriter {
    /// A part at that path below the table's folder.
    pub(super) fn new(
        store: Rc<dyn ObjectStore>,
        layout: &TableLayout,
        path: String,
        kind: PartKind,
        encoder: Encoder,
        encoding: Encoding,
    ) -> Self {
        let upload = Upload::new(store, layout.key(&path), encoding.content_type());
        Self { encoder, upload, path, kind, rows: 0 }
    }

    /// A Parquet part of rows that other parts have, which carries the run it is of.
    pub(super) fn of_rows_there(
        request: &PublishRequest<'_>,
        path: String,
        kind: PartKind,
        schema: FileSchema,
    ) -> Self {
        let snappy = matches!(request.encoding, Encoding::Parquet { snappy: true });
        let run = ("fivetran.run".to_owned(), request.load.run_id.clone());
        let encoder = Encoder::Parquet(Box::new(ParquetEncoder::new(schema, snappy, vec![run])));
        Self::new(Rc::clone(&request.store), &request.layout, path, kind, encoder, request.encoding)
    }

    /// Rows taken so far.
    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    /// Takes a batch and sends what has become ready.
    ///
    /// # Errors
    /// When the store is unreachable or the batch has another schema; the upload is given up then.
    pub(super) async fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let written = self.encode(batch).await;
        if written.is_err() {
            self.upload.abort().await;
        }
        written
    }

    /// Ends the part. A part without rows is not stored: thousands of empty files help nobody.
    ///
    /// # Errors
    /// When the store is unreachable, [`Mismatch`](ErrorKind::Mismatch) when the file lacks rows; the upload is given up
    /// then.
    pub(super) async fn finish(mut self) -> Result<Option<Part>> {
        if self.rows == 0 {
            return Ok(None);
        }
        let stored = match self.encoder.finish() {
            Ok((rest, rows)) if rows == self.rows => self.upload.finish(rest).await,
            // I5: what the file itself says it holds, not what was handed to its encoder.
            Ok((_, rows)) => Err(Error::new(
                ErrorKind::Mismatch,
                format!("{} holds {rows} rows where {} were written to it", self.path, self.rows),
            )),
            Err(error) => Err(error),
        };
        match stored {
            Ok(stored) => Ok(Some(Part {
                path: self.path,
                kind: self.kind,
                rows: self.rows,
                bytes: stored.bytes,
                etag: stored.etag,
            })),
            Err(error) => {
                self.upload.abort().await;
                Err(error)
            }
        }
    }

    /// Gives the part up.
    pub(super) async fn abort(&mut self) {
        self.upload.abort().await;
    }

    async fn encode(&mut self, batch: &RecordBatch) -> Result<()> {
        let step = self.encoder.rows_per_step();
        let mut from = 0;
        while from < batch.num_rows() {
            let rows = step.min(batch.num_rows() - from);
            self.encoder.write(&batch.slice(from, rows))?;
            self.upload.drain(self.encoder.ready()).await?;
            from += rows;
        }
        self.rows += batch.num_rows() as u64;
        Ok(())
    }
}
