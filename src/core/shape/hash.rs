//! Column hashing.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, StringBuilder};
use sha2::{Digest, Sha256};

use crate::core::types::ColumnType;
use crate::core::{Error, Result, text};

/// Digits of a hash: 256 bits in lower-case hexadecimal, as every database's own SHA-256 prints them.
const HEX_DIGITS: usize = 64;

/// `SHA-256(salt || text form)`. Made from the text form, so that equal values hash equally whatever the width of
/// their type and hashed columns can still be joined; NULL stays NULL.
pub(super) struct SaltedHash {
    salted: Sha256,
}

impl SaltedHash {
    pub(super) fn new(salt: &[u8]) -> Self {
        Self { salted: Sha256::new_with_prefix(salt) }
    }

    /// The hashes of a column.
    ///
    /// # Errors
    /// [`Internal`](crate::core::ErrorKind::Internal) when the array is not of the column's Arrow type.
    pub(super) fn column(&self, array: &ArrayRef, column_type: ColumnType) -> Result<ArrayRef> {
        let mut hashes = StringBuilder::with_capacity(array.len(), array.len() * HEX_DIGITS);
        text::for_each_row(array, column_type, |value| {
            match value {
                None => hashes.append_null(),
                Some(value) => hashes.append_value(hex(&mut [0; HEX_DIGITS], &self.of(value))?),
            }
            Ok(())
        })?;
        Ok(Arc::new(hashes.finish()))
    }

    fn of(&self, value: &[u8]) -> [u8; 32] {
        self.salted.clone().chain_update(value).finalize().into()
    }
}

fn hex<'a>(room: &'a mut [u8; HEX_DIGITS], bytes: &[u8; 32]) -> Result<&'a str> {
    let digit = |value: u8| if value < 10 { b'0' + value } else { b'a' + value - 10 };
    for (pair, byte) in room.chunks_exact_mut(2).zip(bytes) {
        if let [high, low] = pair {
            (*high, *low) = (digit(byte >> 4), digit(byte & 15));
        }
    }
    std::str::from_utf8(room).map_err(|error| Error::internal("a hash is not text").caused_by(error))
}
