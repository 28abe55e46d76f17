//! Key hashes of the rows of a part, and bounded sets of them.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hasher};
use std::ops::RangeInclusive;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, TimestampMicrosecondType};
use arrow::row::{RowConverter, SortField};

use crate::core::Result;
use crate::core::shape::widen;
use crate::core::types::ColumnType;

/// Bytes the sets of one pass may take together: a quarter of the 64 MiB of invariant I9, which leaves room for a row
/// group being read and one being written.
const SET_BYTES: usize = 16 * 1024 * 1024;

/// Bytes of a hash in a [`KeySet`].
const KEY_BYTES: usize = size_of::<u128>();

/// Most hashes of a [`KeySet`]: half of the budget.
pub(super) const MAX_KEYS: usize = SET_BYTES / 2 / KEY_BYTES;

/// Bytes of an entry in a [`LastVersions`]: hash and position, a control byte, and the table's slack of one half.
const VERSION_BYTES: usize = (size_of::<(u128, RowAt)>() + 1) * 2;

/// Hashes keys to 128 bits.
///
/// A collision cannot invent a delete, because a key that is still there always finds its own hash. It could lose one,
/// when a vanished key has the hash of another key. With 128 bits and 10^9 keys the chance of any collision in a whole
/// load is about 10^18 / 2^129, or 10^-21, below that of a bit flipped in memory meanwhile; with 64 bits it would be
/// about 3 %. The seed is random for each publish, so no source can prepare colliding keys.
pub(super) struct KeyHasher {
    types: Vec<ColumnType>,
    converter: RowConverter,
    low: DefaultHasher,
    high: DefaultHasher,
}

impl KeyHasher {
    /// A hasher of keys of those types, from 16 random bytes.
    ///
    /// # Errors
    /// [`Internal`](crate::core::ErrorKind::Internal) for a type that has no order.
    pub(super) fn new(types: Vec<ColumnType>, seed: [u8; 16]) -> Result<Self> {
        let fields = types.iter().map(|column| SortField::new(column.arrow())).collect();
        let seeded = |half: u8| {
            let mut hasher = DefaultHasher::new();
            hasher.write(&seed);
            hasher.write_u8(half);
            hasher
        };
        Ok(Self { types, converter: RowConverter::new(fields)?, low: seeded(0), high: seeded(1) })
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
        let rows = self.converter.convert_columns(&widened)?;
        Ok(Some(rows.iter().map(|row| self.hash_bytes(row.data())).collect()))
    }

    fn hash_bytes(&self, key: &[u8]) -> u128 {
        let half = |seeded: &DefaultHasher| {
            let mut hasher = seeded.clone();
            hasher.write(key);
            u128::from(hasher.finish())
        };
        half(&self.high) << 64 | half(&self.low)
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

/// A stretch of the space of hashes, worked on in one pass. Inclusive, so that it can reach the end of the space.
pub(super) type Stretch = RangeInclusive<u128>;

/// A bounded set of hashes within a stretch. When it would overflow, the stretch gets shorter instead: what falls out
/// is left to a later pass.
pub(super) struct KeySet {
    stretch: Stretch,
    keys: Vec<u128>,
    capacity: usize,
}

impl KeySet {
    /// An empty set over that stretch.
    pub(super) fn new(stretch: Stretch) -> Self {
        Self::with_capacity(stretch, MAX_KEYS)
    }

    fn with_capacity(stretch: Stretch, capacity: usize) -> Self {
        Self { stretch, keys: Vec::new(), capacity }
    }

    /// Adds a hash, if it lies within the stretch.
    pub(super) fn insert(&mut self, key: u128) {
        if self.stretch.contains(&key) {
            if self.keys.len() >= self.capacity {
                self.make_room();
            }
            if self.stretch.contains(&key) {
                self.keys.push(key);
            }
        }
    }

    /// Drops duplicates, and the upper half of the stretch if that was not enough.
    fn make_room(&mut self) {
        self.settle();
        if self.keys.len() > self.capacity / 2
            && let Some(&median) = self.keys.get(self.keys.len() / 2)
        {
            // The median of distinct keys is above the first one, so the stretch does not become empty.
            self.stretch = *self.stretch.start()..=median.saturating_sub(1);
            self.settle();
        }
    }

    fn settle(&mut self) {
        self.keys.sort_unstable();
        self.keys.dedup();
        self.keys.truncate(self.keys.partition_point(|key| key <= self.stretch.end()));
    }

    /// The set, ready to be asked.
    pub(super) fn sealed(mut self) -> SealedKeys {
        self.settle();
        SealedKeys { stretch: self.stretch, keys: self.keys }
    }
}

/// A finished [`KeySet`].
pub(super) struct SealedKeys {
    stretch: Stretch,
    keys: Vec<u128>,
}

impl SealedKeys {
    /// The stretch that came out.
    pub(super) fn stretch(&self) -> &Stretch {
        &self.stretch
    }

    /// Whether the hash is in the set.
    pub(super) fn contains(&self, key: u128) -> bool {
        self.keys.binary_search(&key).is_ok()
    }

    /// Distinct hashes up to and including that one.
    pub(super) fn count_up_to(&self, end: u128) -> u64 {
        self.keys.partition_point(|key| *key <= end) as u64
    }

    /// How many versions fit the budget beside this set.
    pub(super) fn room_for_versions(&self) -> usize {
        SET_BYTES.saturating_sub(self.keys.len() * KEY_BYTES) / VERSION_BYTES
    }
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

/// The newest version of each key, when parts are visited newest first and rows of a part oldest first.
pub(super) struct LastVersions {
    stretch: Stretch,
    versions: HashMap<u128, RowAt>,
    capacity: usize,
}

impl LastVersions {
    /// Nothing yet.
    pub(super) fn new(stretch: Stretch, capacity: usize) -> Self {
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
    use arrow::array::{Decimal128Array, Float64Array, Int32Array, StringArray, TimestampMicrosecondArray};

    use super::*;

    fn hash(column: ArrayRef, key: ColumnType) -> Option<Vec<u128>> {
        KeyHasher::new(vec![key], [7; 16]).unwrap().hash(&[column]).unwrap()
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
    fn a_full_set_shortens_its_stretch_and_keeps_all_below() {
        let mut set = KeySet::with_capacity(0..=u128::MAX, 8);
        for key in (0..100).rev().chain(0..100) {
            set.insert(key);
        }
        let sealed = set.sealed();
        let end = *sealed.stretch().end();
        assert!(end < 100, "{end}");
        assert_eq!(sealed.count_up_to(end), u64::try_from(end).unwrap() + 1);
        assert!((0..=end).all(|key| sealed.contains(key)));
    }

    #[test]
    fn duplicates_do_not_shorten_the_stretch() {
        let mut set = KeySet::with_capacity(0..=u128::MAX, 8);
        for _ in 0..100 {
            set.insert(3);
            set.insert(4);
        }
        assert_eq!(*set.sealed().stretch().end(), u128::MAX);
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
