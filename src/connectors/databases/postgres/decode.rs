//! COPY BINARY to Arrow: the framing of rows and fields. What is in a field is the business of [`super::values`].
//!
//! Format (PostgreSQL manual, COPY, file formats): a signature and two 32-bit words; then rows, each a 16-bit field count
//! and per field a 32-bit length, -1 for NULL, and the type's send form, all big-endian; then a count of -1.

use std::rc::Rc;
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Field, Schema, SchemaRef};

use super::oversize::Limits;
use super::types::Passage;
use super::values::Column;
use super::wire::Oversize;
use crate::core::limits::{BATCH_BYTES, BATCH_ROWS, LONE_ROW_BYTES, MAX_VALUE_BYTES};
use crate::core::{Error, ErrorKind, Result};

const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";

/// Decodes the rows of one COPY.
pub(super) struct Decoder {
    /// Name of the stream, for errors.
    stream: String,
    schema: SchemaRef,
    columns: Vec<Column>,
    limits: Rc<Limits>,
    /// Bytes a row takes in the builders even if all of it is NULL, which is 4 bytes a column on the wire.
    row_width: usize,
    stage: Stage,
    /// A row whose end has not arrived. Servers send a row per message, poolers need not.
    carry: Vec<u8>,
    /// Rows and bytes in the builders.
    rows: usize,
    bytes: usize,
    /// Rows in all.
    total: u64,
}

#[derive(PartialEq, Eq)]
enum Stage {
    Header,
    Rows,
    Done,
}

impl Decoder {
    /// A decoder for columns of these names and passages, in the order they are selected.
    pub(super) fn new(stream: String, columns: Vec<(String, Passage)>, limits: Rc<Limits>) -> Self {
        let fields =
            columns.iter().map(|(name, passage)| Field::new(name, passage.column_type.arrow(), true));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let row_width = columns.iter().map(|(_, passage)| passage.format.width()).sum();
        let columns = columns.into_iter().map(|(name, passage)| Column::new(name, passage.format)).collect();
        Self {
            stream,
            schema,
            columns,
            limits,
            row_width,
            stage: Stage::Header,
            carry: Vec::new(),
            rows: 0,
            bytes: 0,
            total: 0,
        }
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// A value that cannot be carried, or bytes that make no sense.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<()> {
        if self.carry.is_empty() {
            let rest = self.decode(bytes)?;
            self.carry.extend_from_slice(rest);
            return Ok(());
        }
        let mut joined = std::mem::take(&mut self.carry);
        joined.extend_from_slice(bytes);
        let used = joined.len() - self.decode(&joined)?.len();
        joined.drain(..used);
        self.carry = joined;
        Ok(())
    }

    /// True when the builders hold a batch.
    pub(super) fn is_full(&self) -> bool {
        self.rows >= BATCH_ROWS
            || self.bytes >= BATCH_BYTES
            || (self.rows == 1 && self.bytes >= LONE_ROW_BYTES)
    }

    /// True when so many bytes may be fed without making the batch too large. Large rows go alone: while one is on its way
    /// to the destination, everything that holds it is large.
    pub(super) fn has_room_for(&self, bytes: usize) -> bool {
        self.rows == 0 || (bytes < LONE_ROW_BYTES && self.bytes.saturating_add(bytes) <= BATCH_BYTES)
    }

    /// Rows decoded in all.
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// True when the trailer arrived and nothing is left over.
    pub(super) fn is_complete(&self) -> bool {
        self.stage == Stage::Done && self.carry.is_empty()
    }

    /// The rows in the builders, if there are any.
    ///
    /// # Errors
    /// [`Data`](ErrorKind::Data) when text is not UTF-8.
    pub(super) fn take_batch(&mut self) -> Result<Option<RecordBatch>> {
        if self.rows == 0 {
            return Ok(None);
        }
        let stream = &self.stream;
        let arrays = self
            .columns
            .iter_mut()
            .map(|column| column.take().map_err(|wrong| wrong.error(stream, column.name())));
        let arrays = arrays.collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        let batch = RecordBatch::try_new_with_options(self.schema.clone(), arrays, &options)?;
        (self.rows, self.bytes) = (0, 0);
        Ok(Some(batch))
    }

    /// Decodes all complete rows and returns what is left.
    fn decode<'a>(&mut self, mut bytes: &'a [u8]) -> Result<&'a [u8]> {
        if self.stage == Stage::Header {
            match after_header(bytes) {
                Some(Ok(rest)) => bytes = rest,
                Some(Err(())) => return Err(self.malformed("it does not begin as COPY BINARY does")),
                None => return Ok(bytes),
            }
            self.stage = Stage::Rows;
        }
        while let Some((count, fields)) = bytes.split_first_chunk::<2>() {
            let count = i16::from_be_bytes(*count);
            if self.stage == Stage::Done || (count == -1 && !fields.is_empty()) {
                return Err(self.malformed("bytes follow the trailer"));
            }
            if count == -1 {
                self.stage = Stage::Done;
                return Ok(fields);
            }
            if usize::try_from(count) != Ok(self.columns.len()) {
                return Err(self.malformed("a row has another number of fields than columns were selected"));
            }
            let Some(length) = row_length(fields, self.columns.len()) else { break };
            let Some((row, rest)) = fields.split_at_checked(length) else { break };
            self.row(row)?;
            self.bytes += length.max(self.row_width);
            bytes = rest;
        }
        Ok(bytes)
    }

    /// Decodes the fields of one row that is complete.
    fn row(&mut self, mut fields: &[u8]) -> Result<()> {
        if self.rows == 0 {
            self.columns.iter_mut().for_each(Column::prepare);
        }
        for (index, column) in self.columns.iter_mut().enumerate() {
            let (field, rest) = next_field(fields).unwrap_or((None, &[]));
            fields = rest;
            if field.is_some_and(|field| field.len() > MAX_VALUE_BYTES) {
                let bytes = field.map_or(0, <[u8]>::len);
                return Err(self.limits.error(Oversize { field: Some(index), bytes }));
            }
            column.append(field).map_err(|wrong| wrong.error(&self.stream, column.name()))?;
        }
        self.rows += 1;
        self.total += 1;
        Ok(())
    }

    fn malformed(&self, what: &str) -> Error {
        Error::new(
            ErrorKind::SourceUnavailable,
            format!("The data of {} arrived damaged: {what}", self.stream),
        )
    }
}

/// What follows the file header, `None` while it is incomplete, an error when it is none.
fn after_header(bytes: &[u8]) -> Option<std::result::Result<&[u8], ()>> {
    let Some(rest) = bytes.strip_prefix(SIGNATURE) else {
        return if SIGNATURE.starts_with(bytes) { None } else { Some(Err(())) };
    };
    // Flags (none is defined that we could meet: the one for oids is gone since PostgreSQL 12, and was never ours),
    // then the length of an extension to skip.
    let (_flags, rest) = rest.split_first_chunk::<4>()?;
    let (extension, rest) = rest.split_first_chunk::<4>()?;
    rest.get(u32::from_be_bytes(*extension) as usize..).map(Ok)
}

/// Bytes of a row's `count` fields with their lengths, `None` while it is incomplete.
fn row_length(bytes: &[u8], count: usize) -> Option<usize> {
    let mut rest = bytes;
    for _ in 0..count {
        (_, rest) = next_field(rest)?;
    }
    Some(bytes.len() - rest.len())
}

/// The first field, which is `None` for NULL, and what follows it.
fn next_field(bytes: &[u8]) -> Option<(Option<&[u8]>, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    match usize::try_from(i32::from_be_bytes(*length)) {
        Ok(length) => rest.split_at_checked(length).map(|(field, rest)| (Some(field), rest)),
        Err(_) => Some((None, rest)),
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::AsArray;
    use arrow::datatypes::Int32Type;
    use proptest::prelude::*;

    use super::super::types::CatalogColumn;
    use super::*;
    use crate::core::catalog::{ChangeTracking, Stream, StreamName};

    fn decoder() -> Decoder {
        let column = |name: &str, base: &str| {
            let column = CatalogColumn {
                name: name.to_owned(),
                declared: base.to_owned(),
                base: base.to_owned(),
                typmod: -1,
                not_null: false,
                number: 1,
                filled: false,
            };
            (name.to_owned(), Passage::of(&column, false))
        };
        let columns = vec![column("n", "int4"), column("t", "text")];
        let stream = Stream {
            name: StreamName::new("s", "t"),
            columns: Vec::new(),
            primary_key: vec!["n".to_owned()],
            change_tracking: ChangeTracking::Transaction,
            estimated_rows: None,
            estimated_bytes: None,
        };
        let limits = Rc::new(Limits::new(&stream, columns.clone()));
        Decoder::new("s.t".to_owned(), columns, limits)
    }

    fn copy(rows: &[(Option<i32>, Option<&str>)]) -> Vec<u8> {
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend([0; 8]);
        for (number, text) in rows {
            bytes.extend(2_i16.to_be_bytes());
            let number = number.map(i32::to_be_bytes);
            for field in [number.as_ref().map(|bytes| &bytes[..]), text.map(str::as_bytes)] {
                match field {
                    Some(field) => {
                        bytes.extend(i32::try_from(field.len()).unwrap().to_be_bytes());
                        bytes.extend(field);
                    }
                    None => bytes.extend((-1_i32).to_be_bytes()),
                }
            }
        }
        bytes.extend((-1_i16).to_be_bytes());
        bytes
    }

    #[test]
    fn rows_come_through_however_the_bytes_are_cut() {
        let bytes = copy(&[(Some(1), Some("")), (None, None), (Some(-7), Some("é"))]);
        for piece in 1..bytes.len() {
            let mut decoder = decoder();
            bytes.chunks(piece).for_each(|piece| decoder.feed(piece).unwrap());
            assert!(decoder.is_complete());
            let batch = decoder.take_batch().unwrap().unwrap();
            let numbers: Vec<_> = batch.column(0).as_primitive::<Int32Type>().iter().collect();
            let texts: Vec<_> = batch.column(1).as_string::<i32>().iter().collect();
            assert_eq!(numbers, [Some(1), None, Some(-7)]);
            assert_eq!(texts, [Some(""), None, Some("é")]);
            assert_eq!(decoder.total(), 3);
        }
    }

    #[test]
    fn i5_a_stream_cut_short_is_never_complete() {
        let bytes = copy(&[(Some(1), Some("a"))]);
        for end in 0..bytes.len() {
            let mut decoder = decoder();
            decoder.feed(&bytes[..end]).unwrap();
            assert!(!decoder.is_complete());
        }
    }

    #[test]
    fn i7_a_field_of_the_wrong_length_means_the_type_changed() {
        let mut bytes = copy(&[(Some(1), Some("a"))]);
        bytes[24] = 3;
        bytes.remove(25);
        let error = decoder().feed(&bytes).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::SourceChanged);
        assert!(error.to_string().contains("n of s.t"), "{error}");
    }

    #[test]
    fn i7_text_that_is_not_utf8_is_an_error_and_not_mangled() {
        let mut bytes = copy(&[(Some(1), Some("ab"))]);
        let position = bytes.len() - 3;
        bytes[position] = 0xff;
        let mut decoder = decoder();
        decoder.feed(&bytes).unwrap();
        let error = decoder.take_batch().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Data);
        assert!(error.to_string().contains("t of s.t"), "{error}");
    }

    proptest! {
        #[test]
        fn i10_no_bytes_panic(tail in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut bytes = copy(&[]);
            bytes.truncate(bytes.len() - 2);
            bytes.extend(tail);
            let mut decoder = decoder();
            let _ = decoder.feed(&bytes);
            let _ = decoder.take_batch();
        }
    }
}
