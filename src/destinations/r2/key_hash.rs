//! Key hashes of the rows of a part, and where these are.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, TimestampMicrosecondType};
use siphasher::sip128::SipHasher13;

use super::cells::cells;
use crate::core::Result;
use crate::core::shape::widen;
use crate::core::types::ColumnType;

/// Hashes keys to 128 bits.
///
/// A collision cannot invent a delete, because a key that is still there always finds its own hash. It could lose one,
/// when a vanished key has the hash of another key. With 128 bits and 10^9 keys the chance of any collision in a whole
/// load is about 10^18 / 2^129, or 10^-21, below that of a bit flipped in memory meanwhile; with 64 bits it would be
/// about 3 %. The seed is random for each publish, so no source can prepare colliding keys.
///
/// Hashes are stored ([`resync`](super::resync)) and compared by later versions of this program. So the algorithm is one that
/// has a definition, SipHash-1-3, and what is hashed is spelled here, a value after the other: neither Rust's default hasher nor
/// the row format of Arrow promise to stay as they are.
pub(super) struct KeyHasher {
    types: Vec<ColumnType>,
    hasher: SipHasher13,
}

impl KeyHasher {
    /// A hasher of keys of those types, from 16 random bytes.
    pub(super) fn new(types: Vec<ColumnType>, seed: [u8; 16]) -> Self {
        Self { types, hasher: SipHasher13::new_with_key(&seed) }
    }

    /// Hashes the key of every row; `None` when a column cannot be compared with keys of the hasher's types, because
    /// an older part has it in a type that does not widen by value.
    ///
    /// # Errors
    /// [`Internal`](crate::core::ErrorKind::Internal) when Arrow refuses.
    pub(super) fn hash(&self, columns: &[ArrayRef]) -> Result<Option<Vec<u128>>> {
        let mut widened = Vec::with_capacity(columns.len());
        for (column, target) in columns.iter().zip(&self.types) {
            let Some(column) = widen_by_value(column, *target)? else { return Ok(None) };
            widened.push(column);
        }
        let cells = widened.iter().map(cells).collect::<Result<Vec<_>>>()?;
        let rows = widened.first().map_or(0, |column| column.len());
        let mut key = Vec::new();
        let hashes = (0..rows).map(|row| {
            key.clear();
            cells.iter().for_each(|cells| cells.push_key(row, &mut key));
            self.hasher.hash(&key).as_u128()
        });
        Ok(Some(hashes.collect()))
    }
}

/// The column in a wider type in which equal values are equal, or `None`. Text made of floats, times or bytes depends on
/// who made it; text made of integers and decimals does not.
///
/// Not Arrow's `cast`, which knows every pair of types: these few took an eleventh of the module with it.
fn widen_by_value(column: &ArrayRef, target: ColumnType) -> Result<Option<ArrayRef>> {
    let wanted = target.arrow();
    let from = match (column.data_type(), &wanted) {
        (there, wanted) if there == wanted => return Ok(Some(Arc::clone(column))),
        // Zone names differ ("UTC" from the file, "+00:00" in memory), the instants do not.
        (DataType::Timestamp(_, Some(_)), DataType::Timestamp(_, Some(zone))) => {
            let instants = column.as_primitive_opt::<TimestampMicrosecondType>();
            return Ok(
                instants.map(|instants| Arc::new(instants.clone().with_timezone(Arc::clone(zone))) as _)
            );
        }
        (DataType::Int16, _) => ColumnType::Short,
        (DataType::Int32, _) => ColumnType::Int,
        (DataType::Int64, _) => ColumnType::Long,
        (DataType::Decimal128(precision, scale), _) => {
            ColumnType::Decimal { precision: *precision, scale: scale.cast_unsigned() }
        }
        _ => return Ok(None),
    };
    if from.widen(target) == target { widen(column, from, target).map(Some) } else { Ok(None) }
}

/// The key columns of a batch in key order, or `None` when one is missing.
pub(super) fn key_columns(batch: &RecordBatch, primary_key: &[String]) -> Option<Vec<ArrayRef>> {
    primary_key.iter().map(|name| batch.column_by_name(name).cloned()).collect()
}

/// Where a row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RowAt {
    /// Index of the part in the manifest.
    pub(super) part: u32,
    /// Row within the part.
    pub(super) row: u32,
    /// Whether the row was marked deleted already.
    pub(super) deleted: bool,
}

impl RowAt {
    /// The same in one word, in the same order. No manifest lists the two billion parts that would not fit.
    pub(super) fn to_place(self) -> u64 {
        u64::from(self.part) << 33 | u64::from(self.row) << 1 | u64::from(self.deleted)
    }

    /// The inverse of [`RowAt::to_place`].
    pub(super) fn of_place(place: u64) -> Self {
        Self { part: (place >> 33) as u32, row: (place >> 1) as u32, deleted: place & 1 == 1 }
    }
}

/// The newest version of each key in a stretch of the space of hashes, when parts are visited newest first and rows of a part oldest first.
pub(super) struct LastVersions {
    /// Inclusive, so that it can reach the end of the space of hashes.
    stretch: RangeInclusive<u128>,
    versions: HashMap<u128, RowAt>,
    capacity: usize,
}

impl LastVersions {
    /// Nothing yet.
    pub(super) fn new(stretch: RangeInclusive<u128>, capacity: usize) -> Self {
        Self { stretch, versions: HashMap::new(), capacity: capacity.max(2) }
    }

    /// Whether the hash is of interest.
    pub(super) fn wants(&self, key: u128) -> bool {
        self.stretch.contains(&key)
    }

    /// Sees a version.
    pub(super) fn see(&mut self, key: u128, at: RowAt) {
        if !self.wants(key) {
            return;
        }
        if let Some(known) = self.versions.get_mut(&key) {
            if known.part == at.part {
                *known = at;
            }
            return;
        }
        if self.versions.len() >= self.capacity {
            self.make_room();
        }
        if self.wants(key) {
            self.versions.insert(key, at);
        }
    }

    /// Drops the upper half of the stretch.
    fn make_room(&mut self) {
        let mut keys: Vec<u128> = self.versions.keys().copied().collect();
        let middle = keys.len() / 2;
        let (_, median, _) = keys.select_nth_unstable(middle);
        let end = median.saturating_sub(1);
        self.stretch = *self.stretch.start()..=end;
        self.versions.retain(|key, _| *key <= end);
    }

    /// The end of the stretch that came out, and the versions in order of part and row.
    pub(super) fn sorted(self) -> (u128, Vec<RowAt>) {
        let mut rows: Vec<RowAt> = self.versions.into_values().collect();
        rows.sort_unstable();
        (*self.stretch.end(), rows)
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{
        BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int16Array,
        Int32Array, Int64Array, StringArray, Time64MicrosecondArray, TimestampMicrosecondArray,
    };

    use super::*;

    fn hash(column: ArrayRef, key: ColumnType) -> Option<Vec<u128>> {
        KeyHasher::new(vec![key], [7; 16]).hash(&[column]).unwrap()
    }

    #[test]
    fn keys_hash_equally_in_the_types_they_were_widened_through() {
        let numbers: ArrayRef = Arc::new(Int32Array::from(vec![Some(1), Some(-20), None]));
        let cents = Decimal128Array::from(vec![Some(100), Some(-2000), None])
            .with_precision_and_scale(12, 2)
            .unwrap();
        let texts: ArrayRef = Arc::new(StringArray::from(vec![Some("1"), Some("-20"), None]));
        let decimal = ColumnType::Decimal { precision: 12, scale: 2 };
        assert_eq!(hash(Arc::clone(&numbers), decimal), hash(Arc::new(cents), decimal));
        assert_eq!(hash(numbers, ColumnType::String), hash(texts, ColumnType::String));
    }

    #[test]
    fn hashes_are_what_they_were_when_they_were_stored() {
        let mut columns: Vec<(ColumnType, ArrayRef)> = vec![
            (ColumnType::Boolean, Arc::new(BooleanArray::from(vec![Some(true), None]))),
            (ColumnType::Short, Arc::new(Int16Array::from(vec![Some(-2), None]))),
            (ColumnType::Int, Arc::new(Int32Array::from(vec![Some(-2), None]))),
            (ColumnType::Long, Arc::new(Int64Array::from(vec![Some(-2), None]))),
            (ColumnType::Float, Arc::new(Float32Array::from(vec![Some(-0.5), None]))),
            (ColumnType::Double, Arc::new(Float64Array::from(vec![Some(-0.5), None]))),
            (ColumnType::NaiveDate, Arc::new(Date32Array::from(vec![Some(-2), None]))),
            (ColumnType::NaiveTime, Arc::new(Time64MicrosecondArray::from(vec![Some(2), None]))),
            (ColumnType::NaiveDatetime, Arc::new(TimestampMicrosecondArray::from(vec![Some(-2), None]))),
            (ColumnType::Binary, Arc::new(BinaryArray::from(vec![Some(&b"\xff"[..]), None]))),
            (ColumnType::String, Arc::new(StringArray::from(vec![Some("größer"), None]))),
        ];
        let cents = Decimal128Array::from(vec![Some(-150), None]).with_precision_and_scale(38, 2).unwrap();
        columns.push((ColumnType::Decimal { precision: 38, scale: 2 }, Arc::new(cents)));
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![Some(-2), None]));
        // Of a part from before the key became text.
        columns.push((ColumnType::String, numbers));
        let (types, columns): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
        let hashes = KeyHasher::new(types, [7; 16]).hash(&columns).unwrap().unwrap();
        // By an implementation in another language. Whoever has to change them raises the format of the steps that store hashes.
        let told = [
            74_221_617_778_240_097_691_308_384_052_547_706_029,
            181_179_802_534_596_798_993_029_539_917_336_000_958,
        ];
        assert_eq!(hashes, told);
    }

    #[test]
    fn instants_hash_equally_whatever_the_file_calls_their_zone() {
        let zoned = |zone: &str| {
            Arc::new(TimestampMicrosecondArray::from(vec![1, 2]).with_timezone(zone)) as ArrayRef
        };
        let of = |zone| hash(zoned(zone), ColumnType::UtcDatetime);
        assert!(of("UTC").is_some());
        assert_eq!(of("UTC"), of("+00:00"));
    }

    #[test]
    fn keys_whose_text_depends_on_its_maker_are_not_compared() {
        let doubles: ArrayRef = Arc::new(Float64Array::from(vec![1.5]));
        assert_eq!(hash(doubles, ColumnType::String), None);
    }

    #[test]
    fn the_newest_part_and_its_last_row_win() {
        let at = |part, row| RowAt { part, row, deleted: false };
        let mut versions = LastVersions::new(0..=u128::MAX, 4);
        versions.see(1, at(9, 0));
        versions.see(1, at(9, 5));
        versions.see(1, at(8, 7));
        assert_eq!(versions.sorted().1, [at(9, 5)]);
    }

    #[test]
    fn full_versions_shorten_their_stretch() {
        let mut versions = LastVersions::new(0..=u128::MAX, 4);
        for key in 0..100 {
            versions.see(key, RowAt { part: 0, row: u32::try_from(key).unwrap(), deleted: false });
        }
        let (end, rows) = versions.sorted();
        assert_eq!(rows.len() as u128, end + 1);
    }
}
