//! JSON lines and CSV, gzipped or not. What each type looks like is documented in `docs/reading-r2.md`.

use std::io::Write as _;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use flate2::Compression;
use flate2::write::GzEncoder;

use super::cells::{self, Cells, Shape};
use crate::core::{Error, Result};

/// Rows turned into text at a time: keeps the text of a slice around a megabyte for rows of 250 bytes, whatever the
/// size of the batch.
pub(super) const ROWS_PER_STEP: usize = 4_096;

/// Level 3 of 9: on this kind of text within a few percent of level 6 in size at a good half of its CPU.
const GZIP_LEVEL: u32 = 3;

/// Which text format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// One JSON object a line.
    Jsonl,
    /// RFC 4180 with a header line.
    Csv,
}

/// Where text goes.
enum Sink {
    Raw(Vec<u8>),
    Gzip(GzEncoder<Vec<u8>>),
}

/// Turns batches into text.
pub(super) struct TextEncoder {
    dialect: Dialect,
    /// What comes before each value of a row: `{"a":`, `,"b":` or nothing and commas.
    lead: Vec<Vec<u8>>,
    scratch: Vec<u8>,
    sink: Sink,
    rows: u64,
}

impl TextEncoder {
    /// An encoder for batches of that schema.
    ///
    /// # Errors
    /// Never in practice: writing to memory.
    pub(super) fn new(dialect: Dialect, schema: &SchemaRef, gzip: bool) -> Result<Self> {
        let mut scratch = Vec::new();
        let mut lead = Vec::with_capacity(schema.fields().len());
        for (index, field) in schema.fields().iter().enumerate() {
            let mut before = Vec::new();
            match dialect {
                Dialect::Jsonl => {
                    before.push(if index == 0 { b'{' } else { b',' });
                    serde_json::to_writer(&mut before, field.name())?;
                    before.push(b':');
                }
                Dialect::Csv => {
                    if index > 0 {
                        before.push(b',');
                        scratch.push(b',');
                    }
                    push_csv_quoted(&mut scratch, field.name());
                }
            }
            lead.push(before);
        }
        if dialect == Dialect::Csv {
            scratch.push(b'\n');
        }
        let sink = if gzip {
            Sink::Gzip(GzEncoder::new(Vec::new(), Compression::new(GZIP_LEVEL)))
        } else {
            Sink::Raw(Vec::new())
        };
        let mut encoder = Self { dialect, lead, scratch, sink, rows: 0 };
        encoder.flush_scratch()?;
        Ok(encoder)
    }

    /// Appends the rows of a batch.
    ///
    /// # Errors
    /// [`Internal`](crate::core::ErrorKind::Internal) for a type without text form.
    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let columns = cells::columns(batch)?;
        for row in 0..batch.num_rows() {
            for (cells, lead) in columns.iter().zip(&self.lead) {
                self.scratch.extend_from_slice(lead);
                match self.dialect {
                    Dialect::Jsonl => push_json(&mut self.scratch, cells, row)?,
                    Dialect::Csv => push_csv(&mut self.scratch, cells, row)?,
                }
            }
            if self.dialect == Dialect::Jsonl {
                self.scratch.push(b'}');
            }
            self.scratch.push(b'\n');
            self.rows += 1;
        }
        self.flush_scratch()
    }

    /// What is ready to be stored; the caller takes it out.
    pub(super) fn ready(&mut self) -> &mut Vec<u8> {
        match &mut self.sink {
            Sink::Raw(bytes) => bytes,
            Sink::Gzip(gzip) => gzip.get_mut(),
        }
    }

    /// Ends the file and returns what was not taken out yet, and the rows it holds.
    ///
    /// # Errors
    /// Never in practice: writing to memory.
    pub(super) fn finish(self) -> Result<(Vec<u8>, u64)> {
        let bytes = match self.sink {
            Sink::Raw(bytes) => bytes,
            Sink::Gzip(gzip) => gzip.finish().map_err(gzip_error)?,
        };
        Ok((bytes, self.rows))
    }

    fn flush_scratch(&mut self) -> Result<()> {
        match &mut self.sink {
            Sink::Raw(bytes) => bytes.append(&mut self.scratch),
            Sink::Gzip(gzip) => {
                gzip.write_all(&self.scratch).map_err(gzip_error)?;
                self.scratch.clear();
            }
        }
        Ok(())
    }
}

fn push_json(out: &mut Vec<u8>, cells: &Cells<'_>, row: usize) -> Result<()> {
    if cells.is_null(row) {
        out.extend_from_slice(b"null");
        return Ok(());
    }
    if let Some(text) = cells.free(row) {
        return Ok(serde_json::to_writer(out, text)?);
    }
    // Decimals are strings too: most readers take a JSON number for a double.
    let quoted = cells.shape(row) != Shape::Literal;
    if quoted {
        out.push(b'"');
    }
    cells.write(row, out)?;
    if quoted {
        out.push(b'"');
    }
    Ok(())
}

/// NULL is nothing at all, text is always quoted: so NULL is never taken for "" (invariant I7).
fn push_csv(out: &mut Vec<u8>, cells: &Cells<'_>, row: usize) -> Result<()> {
    if cells.is_null(row) {
        return Ok(());
    }
    match cells.free(row) {
        Some(text) => {
            push_csv_quoted(out, text);
            Ok(())
        }
        // Quoted, because empty bytes are not NULL either.
        None if matches!(cells, Cells::Binary(_)) => {
            out.push(b'"');
            cells.write(row, out)?;
            out.push(b'"');
            Ok(())
        }
        None => cells.write(row, out),
    }
}

fn push_csv_quoted(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    for (index, piece) in text.split('"').enumerate() {
        if index > 0 {
            out.extend_from_slice(b"\"\"");
        }
        out.extend_from_slice(piece.as_bytes());
    }
    out.push(b'"');
}

fn gzip_error(error: std::io::Error) -> Error {
    Error::internal("gzip failed").caused_by(error)
}
