//! Comparing rows of source and destination: a digest per row, and counts and sums of digests per range.
//!
//! A digest is the first 128 bits of the SHA-256 of the row's [canonical encoding](super::shape::canonical) by
//! destination names, system columns left out, -0.0 taken for 0.0 (SQLite keeps no sign of zero). A range's hash is the
//! sum of its rows' digests modulo 2^128: it does not depend on their order, so either side may be read in whatever
//! pieces suit it, and unlike XOR it does not cancel a row that is there twice. Two different ranges agree by accident
//! with probability 2^-128; the sum is no defence against somebody who forges rows on purpose, and need not be one.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{Float32Type, Float64Type};
use sha2::{Digest, Sha256};

use super::shape::canonical::CanonicalRows;
use super::table::TableSchema;
use super::types::ColumnType;
use super::{Error, Result};

/// Rows, and the sum of their digests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Rows.
    pub rows: u64,
    /// Sum of their digests modulo 2^128.
    pub hash: u128,
}

impl Tally {
    /// Adds a row.
    pub fn add(&mut self, digest: u128) {
        self.rows = self.rows.saturating_add(1);
        self.hash = self.hash.wrapping_add(digest);
    }
}

/// Digests rows of batches that carry a table's columns, or some of them.
pub struct RowDigests {
    columns: Vec<(String, ColumnType)>,
    rows: CanonicalRows,
}

impl RowDigests {
    /// Over the named columns of the table.
    #[must_use]
    pub fn over(table: &TableSchema, names: &[String]) -> Self {
        let columns: Vec<_> = table
            .columns
            .iter()
            .filter(|column| names.contains(&column.name))
            .map(|column| (column.name.clone(), column.column_type))
            .collect();
        let rows = CanonicalRows::new(columns.iter().map(|(name, _)| name.as_str()));
        Self { columns, rows }
    }

    /// The digest of every row, in order. The batch's columns are found by name.
    ///
    /// # Errors
    /// [`Internal`](super::ErrorKind::Internal) when the batch lacks a column or has it in another type.
    pub fn of(&self, batch: &RecordBatch) -> Result<Vec<u128>> {
        let arrays = self
            .columns
            .iter()
            .map(|(name, column_type)| {
                let array = batch.column_by_name(name).ok_or_else(|| lacks(name))?;
                Ok((with_one_zero(array, *column_type), *column_type))
            })
            .collect::<Result<Vec<_>>>()?;
        let mut digests = Vec::with_capacity(batch.num_rows());
        let pairs = arrays.iter().map(|(array, column_type)| (array, *column_type));
        self.rows.visit(pairs, batch.num_rows(), &mut |row| {
            let hash: [u8; 32] = Sha256::digest(row).into();
            digests.push(u128::from_be_bytes(*hash.first_chunk().unwrap_or(&[0; 16])));
            Ok(())
        })?;
        Ok(digests)
    }
}

fn lacks(column: &str) -> Error {
    Error::internal(format!("a batch to compare lacks the column {column}"))
}

/// Floats with -0.0 as 0.0; everything else as it is.
fn with_one_zero(array: &ArrayRef, column_type: ColumnType) -> ArrayRef {
    match column_type {
        ColumnType::Float => array.as_primitive_opt::<Float32Type>().map_or_else(
            || Arc::clone(array),
            |floats| Arc::new(floats.unary::<_, Float32Type>(|value| value + 0.0)),
        ),
        ColumnType::Double => array.as_primitive_opt::<Float64Type>().map_or_else(
            || Arc::clone(array),
            |floats| Arc::new(floats.unary::<_, Float64Type>(|value| value + 0.0)),
        ),
        _ => Arc::clone(array),
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Float64Array, Int64Array, StringArray};
    use proptest::prelude::*;

    use super::*;
    use crate::core::table::TableColumn;

    fn table(columns: &[(&str, ColumnType)]) -> TableSchema {
        let column = |(name, column_type): &(&str, ColumnType)| TableColumn {
            name: (*name).to_owned(),
            column_type: *column_type,
            nullable: true,
        };
        TableSchema {
            schema: "s".to_owned(),
            table: "t".to_owned(),
            columns: columns.iter().map(column).collect(),
            primary_key: vec![],
        }
    }

    fn digests(table: &TableSchema, columns: Vec<ArrayRef>) -> Vec<u128> {
        let names: Vec<_> = table.columns.iter().map(|column| column.name.clone()).collect();
        let batch = RecordBatch::try_new(table.arrow(), columns).unwrap();
        RowDigests::over(table, &names).of(&batch).unwrap()
    }

    fn tally(digests: &[u128]) -> Tally {
        let mut tally = Tally::default();
        digests.iter().for_each(|digest| tally.add(*digest));
        tally
    }

    #[test]
    fn a_zero_has_no_sign() {
        let table = table(&[("v", ColumnType::Double)]);
        let zeros = digests(&table, vec![Arc::new(Float64Array::from(vec![0.0, -0.0, f64::MIN_POSITIVE]))]);
        assert_eq!(zeros[0], zeros[1]);
        assert_ne!(zeros[0], zeros[2]);
    }

    #[test]
    fn a_row_that_is_there_twice_does_not_cancel_itself() {
        assert_ne!(tally(&[7, 7]), tally(&[]));
        assert_ne!(tally(&[7, 7]).hash, 0);
    }

    proptest! {
        #[test]
        fn a_range_is_told_from_any_other_whatever_the_order(
            a in prop::collection::btree_map(any::<i64>(), "[ab]{0,2}", 0..8),
            b in prop::collection::btree_map(any::<i64>(), "[ab]{0,2}", 0..8),
        ) {
            let table = table(&[("id", ColumnType::Long), ("v", ColumnType::String)]);
            let of = |rows: &[(&i64, &String)]| {
                let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| *row.0)));
                let values: ArrayRef = Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.1)));
                tally(&digests(&table, vec![ids, values]))
            };
            let forward: Vec<_> = a.iter().collect();
            let backward: Vec<_> = a.iter().rev().collect();
            prop_assert_eq!(of(&forward), of(&backward));
            let other: Vec<_> = b.iter().collect();
            prop_assert_eq!(of(&forward) == of(&other), a == b);
        }
    }
}
