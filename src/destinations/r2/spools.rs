//! Rows by the hash of their key, and sorted lists of them below `staging/`: more than memory holds.
//!
//! A list in an object is a [`Spool`]. Within one no two entries have the same key, so of several spools together a
//! [`Stretch`] can be read without knowing anything of them but their lengths: of each spool its next piece, as long as its share of
//! what fits memory. Up to the smallest of the pieces' last keys all spools are read completely, and that is what the
//! stretch is; what lies beyond is read again with the next one. Hashes are spread evenly, so that is little: a piece of n entries
//! strays from its share by the root of n. Whatever the keys, memory is bounded and every stretch gets somewhere.

use std::cmp::Ordering;
use std::rc::Rc;

use futures::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};

use super::key_hash::RowAt;
use super::layout::TableLayout;
use super::parquet_reader::fetch;
use super::upload::Upload;
use crate::core::limits::{OUTGOING_CONNECTIONS, R2_PART_BYTES};
use crate::core::{Error, Result};
use crate::ports::ObjectStore;

/// Bytes of an entry, in memory and in a spool: a key of 16 and a place of 8.
pub(super) const ENTRY_BYTES: usize = size_of::<Entry>();

/// Pieces of spools fetched at once, where they are small. One connection stays free for the heartbeat.
const FETCHES: usize = OUTGOING_CONNECTIONS - 1;

/// A row: its key, hashed, and its place. In order of keys, and of one key in order of places.
///
/// Three words and no `u128`, whose alignment would make it a third larger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    high: u64,
    low: u64,
    place: u64,
}

impl Entry {
    /// A row by the hash of its key.
    pub(super) fn new(key: u128, at: RowAt) -> Self {
        let (high, low) = ((key >> 64) as u64, key as u64);
        Self { high, low, place: at.to_place() }
    }

    /// The same row with its place for a key.
    pub(super) fn by_place(self) -> Self {
        Self { high: 0, low: self.place, ..self }
    }

    /// Where the row is.
    pub(super) fn row(self) -> RowAt {
        RowAt::of_place(self.place)
    }

    /// The same in one word, see [`RowAt::to_place`].
    pub(super) fn place(self) -> u64 {
        self.place
    }

    fn key(&self) -> (u64, u64) {
        (self.high, self.low)
    }

    fn to_bytes(self) -> [u8; ENTRY_BYTES] {
        let mut bytes = [0; ENTRY_BYTES];
        let words = [self.high, self.low, self.place];
        bytes.as_chunks_mut::<8>().0.iter_mut().zip(words).for_each(|(to, word)| *to = word.to_le_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8; ENTRY_BYTES]) -> Self {
        match bytes.as_chunks::<8>().0 {
            [high, low, place] => Self {
                high: u64::from_le_bytes(*high),
                low: u64::from_le_bytes(*low),
                place: u64::from_le_bytes(*place),
            },
            _ => Self { high: 0, low: 0, place: 0 },
        }
    }
}

/// Sorts, and keeps of each key the last place.
pub(super) fn settle(entries: &mut Vec<Entry>) {
    entries.sort_unstable();
    entries.dedup_by(|later, kept| {
        let same = later.key() == kept.key();
        if same {
            *kept = *later;
        }
        same
    });
}

/// A sorted list of entries of different keys in an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Spool {
    /// Relative to the table's folder.
    path: String,
    entries: u64,
    /// How many of them, from the first on, are dealt with.
    taken: u64,
}

impl Spool {
    fn left(&self) -> u64 {
        self.entries.saturating_sub(self.taken)
    }
}

/// True when all entries of all spools are dealt with.
pub(super) fn all_taken(spools: &[Spool]) -> bool {
    spools.iter().all(|spool| spool.left() == 0)
}

/// Writes the entries, which are [settled](settle), as a spool.
///
/// # Errors
/// An unreachable store.
pub(super) async fn spill(
    store: &Rc<dyn ObjectStore>,
    layout: &TableLayout,
    path: String,
    entries: &[Entry],
) -> Result<Spool> {
    let mut upload = Upload::new(Rc::clone(store), layout.key(&path), "application/octet-stream");
    let written = send(&mut upload, entries).await;
    if written.is_err() {
        upload.abort().await;
    }
    written.map(|()| Spool { path, entries: entries.len() as u64, taken: 0 })
}

async fn send(upload: &mut Upload, entries: &[Entry]) -> Result<()> {
    let mut ready = Vec::with_capacity(R2_PART_BYTES + ENTRY_BYTES);
    for piece in entries.chunks(R2_PART_BYTES.div_ceil(ENTRY_BYTES)) {
        piece.iter().for_each(|entry| ready.extend_from_slice(&entry.to_bytes()));
        upload.drain(&mut ready).await?;
    }
    upload.finish(ready).await.map(drop)
}

/// The next entries of all spools, up to a key that all of them are read to.
#[derive(Clone)]
pub(super) struct Stretch {
    /// Spool by spool.
    entries: Vec<Entry>,
    /// For each spool, the number of its entries.
    pieces: Vec<usize>,
    /// The last key; `None` when the spools are read to their ends.
    end: Option<(u64, u64)>,
}

impl Stretch {
    /// Reads on where the spools were taken to; about as many entries as `budget` says at most.
    ///
    /// # Errors
    /// An unreachable store, or a spool that is gone.
    pub(super) async fn next(
        store: &Rc<dyn ObjectStore>,
        layout: &TableLayout,
        spools: &[Spool],
        budget: usize,
    ) -> Result<Self> {
        let left: u64 = spools.iter().map(Spool::left).sum();
        let share = |spool: &Spool| {
            let even = u128::from(spool.left()) * budget as u128 / u128::from(left.max(1));
            u64::try_from(even).unwrap_or(u64::MAX).max(1).min(spool.left())
        };
        let asked: Vec<u64> = spools.iter().map(share).collect();
        let pieces = spools
            .iter()
            .zip(&asked)
            .map(|(spool, asked)| piece(store, layout.key(&spool.path), spool.taken, *asked));
        let total = asked.iter().sum::<u64>();
        let entries = Vec::with_capacity(usize::try_from(total).unwrap_or(0));
        let mut next = Self { entries, pieces: Vec::with_capacity(spools.len()), end: None };
        // Of few spools the pieces are large, and are in memory twice for a moment.
        let at_once = (spools.len() / FETCHES).clamp(1, FETCHES);
        let mut bodies = stream::iter(pieces).buffered(at_once);
        let mut of = spools.iter().zip(&asked);
        while let (Some(body), Some((spool, asked))) = (bodies.try_next().await?, of.next()) {
            next.entries.extend(body.as_chunks().0.iter().map(Entry::from_bytes));
            next.pieces.push(body.len() / ENTRY_BYTES);
            if *asked < spool.left() {
                let last = next.entries.last().map(Entry::key);
                next.end = next.end.into_iter().chain(last).min();
            }
        }
        Ok(next)
    }

    /// Takes the entries of the stretch off the spools they are of; with `upto`, only those not after that one.
    pub(super) fn take(&self, spools: &mut [Spool], upto: Option<&Entry>) {
        let mut rest = self.entries.as_slice();
        for (spool, piece) in spools.iter_mut().zip(&self.pieces) {
            let (of_spool, others) = rest.split_at_checked(*piece).unwrap_or((rest, &[]));
            let taken = of_spool.partition_point(|entry| {
                self.holds(entry) && upto.is_none_or(|upto| entry.cmp(upto) != Ordering::Greater)
            });
            spool.taken = spool.taken.saturating_add(taken as u64);
            rest = others;
        }
    }

    /// The entries of the stretch, [settled](settle).
    pub(super) fn into_entries(mut self) -> Vec<Entry> {
        let end = self.end;
        self.entries.retain(|entry| end.is_none_or(|end| entry.key() <= end));
        settle(&mut self.entries);
        self.entries
    }

    /// How many pieces it was read in.
    pub(super) fn fetched(&self) -> usize {
        self.pieces.len()
    }

    fn holds(&self, entry: &Entry) -> bool {
        self.end.is_none_or(|end| entry.key() <= end)
    }
}

/// The bytes of that many entries of a spool.
async fn piece(store: &Rc<dyn ObjectStore>, key: String, from: u64, entries: u64) -> Result<bytes::Bytes> {
    if entries == 0 {
        return Ok(bytes::Bytes::new());
    }
    let at = |entries: u64| entries.checked_mul(ENTRY_BYTES as u64);
    match (at(from), from.checked_add(entries).and_then(at)) {
        (Some(start), Some(end)) => fetch(&**store, &key, start..end).await,
        _ => Err(Error::internal(format!("{key} has more entries than bytes can be counted"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(key: u128, part: u32, row: u32) -> Entry {
        Entry::new(key, RowAt { part, row, deleted: false })
    }

    #[test]
    fn an_entry_keeps_its_place_and_its_order_in_bytes() {
        assert_eq!(ENTRY_BYTES, 24);
        for at in [
            RowAt { part: 0, row: 0, deleted: true },
            RowAt { part: u32::MAX >> 1, row: u32::MAX, deleted: false },
            RowAt { part: 7, row: 1, deleted: true },
        ] {
            let entry = Entry::new(u128::MAX / 3, at);
            assert_eq!(entry.row(), at);
            assert_eq!(Entry::from_bytes(&entry.to_bytes()), entry);
            assert_eq!(entry.by_place().row(), at);
        }
        assert!(entry(1, 9, 9) < entry(1 << 64, 0, 0));
        assert!(entry(5, 1, 9).by_place() < entry(4, 2, 0).by_place());
    }

    #[test]
    fn the_newest_place_of_a_key_is_kept() {
        let mut entries = vec![entry(2, 0, 0), entry(1, 3, 1), entry(1, 2, 9), entry(1, 3, 2)];
        settle(&mut entries);
        assert_eq!(entries, [entry(1, 3, 2), entry(2, 0, 0)]);
    }
}
