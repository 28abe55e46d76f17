//! `_fivetran_id`: the key of tables that have none. A hash of the row's values in their
//! [canonical encoding](super::canonical), by the source's column names.

use std::sync::Arc;

use arrow::array::{ArrayRef, StringBuilder};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use super::canonical::CanonicalRows;
use crate::core::types::ColumnType;
use crate::core::{Error, Result};

/// Bytes of SHA-256 kept: 144 bits. Among 10^12 rows two different ones share an id with probability 2 * 10^-20.
const ID_BYTES: usize = 18;

/// Base64 digits of an id; 18 bytes fill them exactly.
const ID_DIGITS: usize = 24;

/// Makes the ids of a stream's rows.
pub(super) struct RowIds(CanonicalRows);

impl RowIds {
    /// For batches with these columns, by source name.
    pub(super) fn new<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        Self(CanonicalRows::new(names))
    }

    /// The ids of a batch's rows.
    ///
    /// # Errors
    /// [`Internal`](crate::core::ErrorKind::Internal) when an array is not of its column's Arrow type.
    pub(super) fn column<'a>(
        &self,
        arrays: impl Iterator<Item = (&'a ArrayRef, ColumnType)>,
        rows: usize,
    ) -> Result<ArrayRef> {
        let mut ids = StringBuilder::with_capacity(rows, rows * ID_DIGITS);
        self.0.visit(arrays, rows, &mut |row| append_id(&mut ids, row))?;
        Ok(Arc::new(ids.finish()))
    }
}

fn append_id(ids: &mut StringBuilder, row: &[u8]) -> Result<()> {
    let hash = Sha256::digest(row);
    let kept = hash.split_at_checked(ID_BYTES).map_or(hash.as_slice(), |(kept, _)| kept);
    let mut digits = [0; ID_DIGITS];
    let failed = || Error::internal("a row id is not 24 digits");
    URL_SAFE_NO_PAD.encode_slice(kept, &mut digits).map_err(|_| failed())?;
    ids.append_value(std::str::from_utf8(&digits).map_err(|_| failed())?);
    Ok(())
}
