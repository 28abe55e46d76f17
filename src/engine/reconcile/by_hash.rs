//! Ranges of key hashes, for tables whose keys the two sides do not order alike or which have none.
//!
//! A call works on as long a stretch of the space of hashes as its rows fit in memory, and reads both sides whole for
//! it: the source first, to cut the stretch into ranges, then the destination. Source rows of equal key count once: a
//! table without a key has no place for the second of two equal rows.

use arrow::array::RecordBatch;
use async_trait::async_trait;

use super::{Method, Position, RangeReport, ReconcileReport, ReconcileRequest, Sides};
use crate::connectors::BatchSink;
use crate::core::compare::Tally;
use crate::core::{Error, Result};
use crate::destinations::KeyRange;

/// Rows of the source held at once: 8 MiB of key hashes and digests.
const HELD_ROWS: usize = 256 * 1024;

/// Compares the ranges of hashes from `start` on.
pub(super) async fn compare(
    sides: Sides,
    request: &ReconcileRequest,
    start: u128,
) -> Result<ReconcileReport> {
    let mut sample = Sample { start, end: u128::MAX, rows: Vec::new(), capacity: HELD_ROWS };
    let plan = sides.source.plan(&sides.request, None).await?;

    // A catch-up chunk reads again what changed while the others were read: nothing a comparison waits for.
    for chunk in plan.chunks.iter().filter(|chunk| !chunk.after_all) {
        let mut sink = Hashed { sides: &sides, sample: &mut sample };
        sides.source.read(&sides.request, chunk, &mut sink).await?;
    }
    let cut = sample.cut(request.rows_per_range, request.ranges);
    let mut found = vec![Tally::default(); cut.len()];
    let problems = sides
        .destination
        .scan(&sides.table, &KeyRange::default(), &mut |batch| {
            for (key, digest) in sides.key.of(batch)?.into_iter().zip(sides.rows.of(batch)?) {
                let range = cut.partition_point(|(end, _)| *end < key);
                if let Some(tally) = found.get_mut(range).filter(|_| key >= start) {
                    tally.add(digest);
                }
            }
            Ok(())
        })
        .await?;
    let digits = |hash: u128| format!("{hash:032x}");
    let mut before = start.checked_sub(1).map(digits);
    let mut ranges = Vec::with_capacity(cut.len());
    for ((end, source), destination) in cut.into_iter().zip(found) {
        let to_key = (end < u128::MAX).then(|| digits(end));
        ranges.push(RangeReport {
            from_key: std::mem::replace(&mut before, to_key.clone()).map(|hash| vec![hash]),
            to_key: to_key.map(|hash| vec![hash]),
            source,
            destination,
            problems: problems.clone(),
        });
    }
    Ok(ReconcileReport {
        method: Method::Hash,
        key: sides.table.primary_key.clone(),
        ranges,
        next: before.map(Position::Hash),
    })
}

/// Key hashes and digests of the rows in a stretch. When it would overflow, the stretch gets shorter instead.
struct Sample {
    start: u128,
    end: u128,
    rows: Vec<(u128, u128)>,
    capacity: usize,
}

impl Sample {
    fn add(&mut self, key: u128, digest: u128) {
        if self.rows.len() >= self.capacity {
            self.make_room();
        }
        if (self.start..=self.end).contains(&key) {
            self.rows.push((key, digest));
        }
    }

    fn make_room(&mut self) {
        self.settle();
        let middle = self.rows.len() / 2;
        if self.rows.len() > self.capacity / 2
            && let Some((median, _)) = self.rows.get(middle)
        {
            // Distinct keys: the median is above the first, so the stretch does not become empty.
            self.end = median.saturating_sub(1);
            self.rows.truncate(middle);
        }
    }

    fn settle(&mut self) {
        self.rows.sort_unstable();
        self.rows.dedup_by_key(|(key, _)| *key);
    }

    /// The stretch in at most `most` ranges of `rows` rows: the last hash of each, and its rows.
    fn cut(mut self, rows: u64, most: usize) -> Vec<(u128, Tally)> {
        self.settle();
        let rows = usize::try_from(rows).unwrap_or(usize::MAX).max(1);
        let mut ranges: Vec<(u128, Tally)> = Vec::new();
        for piece in self.rows.chunks(rows).take(most) {
            let mut tally = Tally::default();
            piece.iter().for_each(|(_, digest)| tally.add(*digest));
            ranges.push((piece.last().map_or(self.end, |(key, _)| *key), tally));
        }
        let whole = self.rows.len().div_ceil(rows) <= most;
        match ranges.last_mut() {
            // What the destination has behind the source's last row belongs to the last range.
            Some((end, _)) if whole => *end = self.end,
            Some(_) => {}
            None => ranges.push((self.end, Tally::default())),
        }
        ranges
    }
}

/// Collects the rows of the source.
struct Hashed<'a> {
    sides: &'a Sides,
    sample: &'a mut Sample,
}

#[async_trait(?Send)]
impl BatchSink for Hashed<'_> {
    async fn batch(&mut self, batch: RecordBatch) -> Result<()> {
        let shaped = self.sides.shape(batch)?;
        let keys = self.sides.key.of(&shaped)?;
        for (key, digest) in keys.into_iter().zip(self.sides.rows.of(&shaped)?) {
            self.sample.add(key, digest);
        }
        Ok(())
    }

    async fn deletes(&mut self, _keys: RecordBatch) -> Result<()> {
        Err(Error::internal("a table to compare has no deletes"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(capacity: usize) -> Sample {
        Sample { start: 0, end: u128::MAX, rows: Vec::new(), capacity }
    }

    #[test]
    fn ranges_cover_the_stretch_without_gap_and_equal_keys_count_once() {
        let mut all = sample(100);
        (0..10).chain(0..10).for_each(|key| all.add(key, 1));
        let ranges = all.cut(4, 10);
        assert_eq!(ranges.iter().map(|(end, _)| *end).collect::<Vec<_>>(), [3, 7, u128::MAX]);
        assert_eq!(ranges.iter().map(|(_, tally)| tally.rows).collect::<Vec<_>>(), [4, 4, 2]);
    }

    #[test]
    fn a_full_sample_shortens_its_stretch_and_loses_nothing_below() {
        let mut few = sample(8);
        (0..1000_u128).rev().for_each(|key| few.add(key, key));
        let end = few.end;
        let ranges = few.cut(1_000, 10);
        assert_eq!(ranges.len(), 1);
        assert_eq!(u128::from(ranges[0].1.rows), end + 1);
        assert_eq!(ranges[0].0, end);
    }

    #[test]
    fn fewer_ranges_than_there_are_leave_the_rest_for_the_next_call() {
        let mut all = sample(100);
        (0..10).for_each(|key| all.add(key, 1));
        assert_eq!(all.cut(3, 2).iter().map(|(end, _)| *end).collect::<Vec<_>>(), [2, 5]);
    }

    #[test]
    fn nothing_at_the_source_is_one_range() {
        assert_eq!(sample(8).cut(3, 2), [(u128::MAX, Tally::default())]);
    }
}
