//! A value or a row that is larger than we move, in words a person can act on.

use super::sql::{identifier, qualified};
use super::types::{Format, Passage};
use super::wire::Oversize;
use crate::core::catalog::Stream;
use crate::core::limits::{MAX_ROW_BYTES, MAX_VALUE_BYTES};
use crate::core::{Error, ErrorKind};

/// Knows a stream well enough to describe what is too large in it.
pub(super) struct Limits {
    stream: String,
    /// Name and passage of the columns, in the order they are selected.
    columns: Vec<(String, Passage)>,
    /// How a person selects from the stream, and what names a row there.
    relation: String,
    key: String,
}

impl Limits {
    /// Of a stream whose columns are selected in that order.
    pub(super) fn new(stream: &Stream, columns: Vec<(String, Passage)>) -> Self {
        let key: Vec<String> = stream.primary_key.iter().map(|name| identifier(name)).collect();
        Self {
            stream: stream.name.to_string(),
            columns,
            relation: qualified(&stream.name.schema, &stream.name.table),
            key: if key.is_empty() { "*".to_owned() } else { key.join(", ") },
        }
    }

    /// The error. It gives the query that finds the rows, all of them, instead of the key of the first one: the key may be
    /// what the user has us hash, and by then the row may not even have arrived as far as its key.
    pub(super) fn error(&self, oversize: Oversize) -> Error {
        let Self { stream, relation, key, .. } = self;
        let bytes = oversize.bytes;
        let Some((column, passage)) = oversize.field.and_then(|field| self.columns.get(field)) else {
            let message = format!(
                "A row of {stream} has {bytes} bytes, more than the {MAX_ROW_BYTES} that can be moved"
            );
            return Error::new(ErrorKind::Data, message)
                .remedy("Exclude large columns from the sync, or read a view that shortens them");
        };
        let message = format!(
            "A value of column {column} in {stream} has {bytes} bytes, more than the {MAX_VALUE_BYTES} that can be moved"
        );
        let quoted = identifier(column);
        let length = match passage.format {
            Format::Bytes => format!("octet_length({quoted})"),
            _ => format!("octet_length({quoted}::text)"),
        };
        Error::new(ErrorKind::Data, message).remedy(format!(
            "Exclude the column from the sync, or shorten what this finds: \
             SELECT {key} FROM {relation} WHERE {length} > {MAX_VALUE_BYTES}"
        ))
    }
}
