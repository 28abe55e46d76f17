//! How a stream is cut into chunks, and where its next sync starts.
//!
//! # What is promised
//! Take the *horizon* H: the oldest transaction still running at plan time. Everything committed by transactions before
//! H is visible to every read that follows, and whatever is committed later was written by H or a younger transaction.
//! So the next sync reads the rows with `xmin >= H`: rows of transactions that were open while this one ran are read
//! however late they commit, and nothing can fall between two syncs. Rows at the edge are read twice and merged by key.
//! A transaction left open holds H back: more is read again, nothing is lost.
//!
//! A table is read in page ranges by many short transactions, so an update can move a row from a range not yet read to
//! one already read. Such an update is younger than H. After all ranges a *catch-up* chunk reads `xmin >= H` once more in
//! a single snapshot; a table that fits one chunk needs none. An incremental sync needs none either: what it misses in
//! this way is beyond its own next cursor.
//!
//! VACUUM FULL, CLUSTER and their like move rows anywhere and leave their transaction ids alone. So page ranges name the
//! files they were cut for; a chunk that finds another file fails, and the table is planned again.
//!
//! A table without a key cannot tell a row's new version from another row: rows updated while a full read of several
//! chunks is under way arrive in both versions. Where the server's [`tally`](super::tally) of replaced rows has moved, the
//! next sync is full.
//!
//! With a cursor column the promise is a little weaker; [`by_column`] says how.

use super::by_column;
use super::config::Config;
use super::cursor::{Horizon, Position, Xid};
use super::range::{Pages, Range, RelationRef, Rows};
use super::relation::{self, Part, Relation};
use super::session::Session;
use super::tally::Tally;
use super::watermark::CursorColumn;
use crate::connectors::{StreamRequest, SyncMode};
use crate::core::limits::MIB;
use crate::core::run::{Chunk, Cursor, StreamPlan};
use crate::core::{Error, ErrorKind, Result};

/// Heap and TOAST bytes of one chunk of a full read: a few seconds at the speed one consumer decodes.
pub(super) const CHUNK_BYTES: u64 = 64 * MIB as u64;

/// Heap and TOAST bytes one chunk of an incremental read looks through. It returns few of the rows it sees, so a chunk
/// as small as a full read's would cost an order each for nothing.
const SCAN_BYTES: u64 = 8 * CHUNK_BYTES;

/// Most chunks of one stream; beyond 640 GB chunks grow instead. Bounds the run's book-keeping.
const MAX_CHUNKS: u64 = 10_000;

/// Largest distance to a horizon that 32-bit arithmetic bears, less 2^28 (a quarter of a billion transactions) for what
/// is written between planning and reading.
const MAX_TRANSACTIONS: u64 = (1 << 31) - (1 << 28);

/// Plans a stream.
///
/// # Errors
/// When the server fails, the stream is gone, or the cursor column cannot be used.
pub(super) async fn plan(
    session: &mut Session,
    config: &Config,
    request: &StreamRequest,
    from: Option<&Cursor>,
) -> Result<StreamPlan> {
    let database = relation::identity(session).await?;
    // The horizon is taken by this statement, before anything is read and before the largest cursor value is.
    let relation = Relation::look_up(session, &request.stream.name).await?;
    let position = match request.mode {
        SyncMode::Full => None,
        SyncMode::Incremental => from.and_then(Position::of),
    };
    let keyless = request.stream.primary_key.is_empty();
    let tally = if keyless { Tally::take(session, &relation).await? } else { None };
    let planner = Planner { request, relation: &relation, database: &database, tally };
    let named = request.cursor_column.as_deref().or_else(|| config.cursor_column(&request.stream.name));
    match named {
        // A refresh brings rows that were committed long before it, below values that were read. Its transaction tells.
        Some(name) if !relation.materialized => {
            let column = CursorColumn::of(&relation.columns, name, &request.stream.name)?;
            by_column::plan(&planner, session, &column, position, config.cursor_overlap_seconds).await
        }
        _ => planner.by_transaction(position),
    }
}

/// A stream that is being planned.
pub(super) struct Planner<'a> {
    /// What is asked for.
    pub(super) request: &'a StreamRequest,
    /// The stream as it stands.
    pub(super) relation: &'a Relation,
    database: &'a str,
    /// Of a stream without a key.
    tally: Option<Tally>,
}

impl Planner<'_> {
    fn by_transaction(&self, position: Option<Position>) -> Result<StreamPlan> {
        if !self.relation.paged {
            return Ok(full(self.everything()?, None));
        }
        let known = match &position {
            Some(Position::Transaction(from)) => Some(from),
            _ => None,
        };
        let next = Position::Transaction(self.horizon(known)?).cursor()?;
        match position {
            Some(Position::Transaction(from)) if self.still_means_something(&from)? => {
                let ranges = self.changes(&from);
                Ok(StreamPlan { full: false, chunks: ranges.chunks()?, next_cursor: Some(next) })
            }
            _ => Ok(full(self.everything()?, Some(next))),
        }
    }

    /// All rows, and a catch-up if they take more than one snapshot.
    pub(super) fn everything(&self) -> Result<Vec<Chunk>> {
        self.caught_up(self.paged(&Rows::All, CHUNK_BYTES))
    }

    /// The ranges; where they are several, what was written since the plan comes after them in one snapshot.
    pub(super) fn caught_up(&self, ranges: Ranges) -> Result<Vec<Chunk>> {
        let mut chunks = ranges.chunks()?;
        if chunks.len() > 1 {
            let since = self.relation.horizon;
            let range = self.range(self.itself(), Rows::Changes { since }, None);
            let index = u32::try_from(chunks.len()).map_err(|_| too_many())?;
            chunks.push(Chunk { index, range: range.to_json()?, estimated_rows: None, after_all: true });
        }
        Ok(chunks)
    }

    /// The rows written since a horizon; all rows of parts it did not know.
    pub(super) fn changes(&self, from: &Horizon) -> Ranges {
        let rows = Rows::Changes { since: from.transaction };
        let (new, known): (Vec<&Part>, Vec<&Part>) =
            self.relation.parts.iter().partition(|part| self.is_new(part, from));
        if new.is_empty() {
            return self.paged(&rows, SCAN_BYTES);
        }
        if !self.by_part() {
            // We may not read the new part by its name, so everything is read by the stream's.
            return self.paged(&Rows::All, CHUNK_BYTES);
        }
        let mut ranges = self.part_by_part(known.into_iter(), &rows, SCAN_BYTES);
        ranges.list.extend(self.part_by_part(new.into_iter(), &Rows::All, CHUNK_BYTES).list);
        ranges
    }

    /// Those rows of the parts that a horizon did not know; `None` when we may not read them by their own names.
    pub(super) fn of_new_parts(&self, rows: &Rows, from: &Horizon) -> Option<Ranges> {
        let new: Vec<&Part> = self.relation.parts.iter().filter(|part| self.is_new(part, from)).collect();
        if new.is_empty() {
            return Some(Ranges { list: Vec::new() });
        }
        if self.relation.filtered || !new.iter().all(|part| part.readable) {
            return None;
        }
        if self.relation.paged {
            return Some(self.part_by_part(new.into_iter(), rows, CHUNK_BYTES));
        }
        let whole = |part: &Part| (self.range(part.relation.clone(), rows.clone(), None), None);
        Some(Ranges { list: new.into_iter().map(whole).collect() })
    }

    /// True for a part that was attached since.
    fn is_new(&self, part: &Part, since: &Horizon) -> bool {
        part.relation.oid != self.relation.oid && !since.parts.contains(&part.relation.oid)
    }

    /// Cuts the stream into ranges of about `target` bytes.
    pub(super) fn paged(&self, rows: &Rows, target: u64) -> Ranges {
        let parts = &self.relation.parts;
        let target = target.max(self.relation.bytes() / MAX_CHUNKS);
        if !self.relation.paged || self.relation.bytes() <= target {
            let estimate = match rows {
                Rows::All if self.relation.paged => {
                    parts.iter().map(|part| u64::try_from(part.rows).ok()).sum()
                }
                Rows::All => self.request.stream.estimated_rows,
                _ => None,
            };
            return Ranges { list: vec![(self.range(self.itself(), rows.clone(), None), estimate)] };
        }
        if self.by_part() {
            return self.part_by_part(parts.iter(), rows, target);
        }
        // Through the stream's name a page range means those pages of every partition, so ranges are as many times
        // narrower, and as many as the longest partition needs.
        let longest = parts.iter().map(|part| part.pages).max().unwrap_or(0);
        let pages: u64 = parts.iter().map(|part| u64::from(part.pages)).sum();
        let step =
            step(pages, self.relation.bytes(), target) / u64::try_from(parts.len()).unwrap_or(1).max(1);
        let list = cut(longest, step.max(1))
            .map(|pages| (self.range(self.itself(), rows.clone(), Some(pages)), None))
            .collect();
        Ranges { list }
    }

    fn part_by_part<'p>(&self, parts: impl Iterator<Item = &'p Part>, rows: &Rows, target: u64) -> Ranges {
        let mut list = Vec::new();
        for part in parts {
            let step = step(u64::from(part.pages), part.bytes, target);
            let estimate = match (rows, u64::try_from(part.rows)) {
                (Rows::All, Ok(rows)) => Some(rows.saturating_mul(step) / u64::from(part.pages).max(step)),
                _ => None,
            };
            for pages in cut(part.pages, step) {
                list.push((self.range(part.relation.clone(), rows.clone(), Some(pages)), estimate));
            }
        }
        Ranges { list }
    }

    /// True when every part may be read by its own name and nothing is defined on the stream's alone.
    fn by_part(&self) -> bool {
        !self.relation.partitioned
            || (!self.relation.filtered && self.relation.parts.iter().all(|part| part.readable))
    }

    /// The stream as a relation to select from.
    pub(super) fn itself(&self) -> RelationRef {
        self.relation.itself(&self.request.stream.name)
    }

    /// A range, held to what the relation is now.
    pub(super) fn range(&self, relation: RelationRef, rows: Rows, pages: Option<Pages>) -> Range {
        let whole = relation.oid == self.relation.oid;
        let parts = self.relation.parts.iter().filter(|part| whole || part.relation.oid == relation.oid);
        let files = if pages.is_some() { parts.map(|part| part.file).collect() } else { Vec::new() };
        Range { rows, relation, pages, files, horizon: self.relation.horizon }
    }

    /// Where the next sync starts; what the last one knew of columns is carried along.
    pub(super) fn horizon(&self, last: Option<&Horizon>) -> Result<Horizon> {
        let columns = self.wanted()?;
        let known = last.iter().flat_map(|last| last.columns.iter().map(|(_, name)| name).chain(&last.gone));
        let mut gone: Vec<String> =
            known.filter(|name| columns.iter().all(|(_, wanted)| wanted != *name)).cloned().collect();
        gone.sort_unstable();
        gone.dedup();
        let parts = self.relation.parts.iter().map(|part| part.relation.oid);
        Ok(Horizon {
            transaction: self.relation.horizon,
            database: self.database.to_owned(),
            relation: self.relation.oid,
            parts: parts.chain(self.relation.behind.iter().copied()).collect(),
            columns,
            gone,
            newest_column: self.relation.columns.iter().map(|column| column.number).max().unwrap_or(0),
            definition: self.relation.definition.clone(),
            tally: self.tally.clone(),
        })
    }

    /// True when reading what was written since `from` gives all that changed.
    pub(super) fn still_means_something(&self, from: &Horizon) -> Result<bool> {
        let Relation { horizon: Xid(horizon), next: Xid(next), .. } = self.relation;
        let Xid(since) = from.transaction;
        Ok(since <= *horizon
            && next.saturating_sub(since) < MAX_TRANSACTIONS
            && self.is_of_this_stream(from)?)
    }

    /// True when `from` was taken of the very relation, and rows not written since are at the destination with all columns.
    /// A relation that is new behind a view brings rows as old as it likes, and nothing tells them from the others.
    pub(super) fn is_of_this_stream(&self, from: &Horizon) -> Result<bool> {
        Ok(from.database == self.database
            && from.relation == self.relation.oid
            && self.relation.behind.iter().all(|behind| from.parts.contains(behind))
            && self.relation.definition == from.definition
            && self.only_grew_since(from)
            && !self.has_columns_to_fill(from)?)
    }

    /// True when what has a key brings new versions of rows under it, and what has none brought none.
    fn only_grew_since(&self, from: &Horizon) -> bool {
        match (&self.tally, &from.tally) {
            (None, _) => true,
            (Some(now), Some(then)) => now.only_grew_since(then),
            (Some(_), None) => false,
        }
    }

    /// Number and name of the columns to read.
    fn wanted(&self) -> Result<Vec<(i16, String)>> {
        let number = |name: &String| {
            let column = self.relation.columns.iter().find(|column| column.name == *name);
            column.map(|column| (column.number, name.clone())).ok_or_else(|| {
                let message = format!("Column {name} of {} is not there any more", self.request.stream.name);
                Error::new(ErrorKind::SourceChanged, message)
            })
        };
        self.request.columns.iter().map(number).collect()
    }

    /// True when a column is wanted now whose values in unchanged rows are not what the destination has: one that was
    /// not enabled before; one added with a default, which PostgreSQL keeps aside without touching the rows; one that
    /// was renamed, which touches no row either; one that took the name of a column that was read before; one that a view
    /// computes. A column added without a default is NULL in every row not written since, and so it is at the destination.
    fn has_columns_to_fill(&self, from: &Horizon) -> Result<bool> {
        let wanted = self.wanted()?;
        let filled =
            |number| self.relation.columns.iter().any(|column| column.number == number && column.filled);
        Ok(wanted.iter().any(|(number, name)| match from.columns.iter().find(|(known, _)| known == number) {
            Some((_, known)) => known != name,
            None => {
                *number <= from.newest_column
                    || !self.relation.paged
                    || filled(*number)
                    || from
                        .columns
                        .iter()
                        .map(|(_, known)| known)
                        .chain(&from.gone)
                        .any(|known| known == name)
            }
        }))
    }
}

/// Ranges with their expected rows.
pub(super) struct Ranges {
    /// In the order of the chunks.
    pub(super) list: Vec<(Range, Option<u64>)>,
}

impl Ranges {
    /// True when a relation's pages are shared out among several.
    pub(super) fn cut_pages(&self) -> bool {
        self.list.iter().any(|(range, _)| range.pages.is_some_and(|pages| pages.from > 0))
    }

    /// The chunks that read them.
    pub(super) fn chunks(self) -> Result<Vec<Chunk>> {
        let chunk = |(index, (range, estimated_rows)): (usize, (Range, Option<u64>))| {
            Ok(Chunk {
                index: u32::try_from(index).map_err(|_| too_many())?,
                range: range.to_json()?,
                estimated_rows,
                after_all: false,
            })
        };
        self.list.into_iter().enumerate().map(chunk).collect()
    }
}

/// A plan of chunks that carry the whole stream.
pub(super) fn full(chunks: Vec<Chunk>, next_cursor: Option<Cursor>) -> StreamPlan {
    StreamPlan { full: true, chunks, next_cursor }
}

/// The error of more chunks than can be numbered.
pub(super) fn too_many() -> Error {
    Error::internal("A stream was cut into more chunks than can be numbered")
}

/// Pages that carry about `target` bytes, TOAST included.
fn step(pages: u64, bytes: u64, target: u64) -> u64 {
    (u128::from(pages) * u128::from(target) / u128::from(bytes.max(1))).clamp(1, u128::from(u32::MAX)) as u64
}

/// Cuts `pages` pages into ranges of `step`; the last one has no end, for what is appended meanwhile.
fn cut(pages: u32, step: u64) -> impl Iterator<Item = Pages> {
    let step = u32::try_from(step).unwrap_or(u32::MAX).max(1);
    let count = pages.div_ceil(step).max(1);
    (0..count)
        .map(move |index| Pages { from: index * step, to: (index + 1 < count).then(|| (index + 1) * step) })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn page_ranges_cover_every_page_once_and_have_no_end(pages in 0_u32.., step in 1_u64..) {
            prop_assume!(u64::from(pages) / step < 10_000);
            let ranges: Vec<Pages> = cut(pages, step).collect();
            prop_assert_eq!(ranges[0].from, 0);
            prop_assert_eq!(ranges[ranges.len() - 1].to, None);
            for pair in ranges.windows(2) {
                prop_assert_eq!(pair[0].to, Some(pair[1].from));
                prop_assert!(pair[0].from < pair[1].from);
            }
        }
    }

    #[test]
    fn a_table_of_large_values_is_cut_finer() {
        assert_eq!(step(8192, CHUNK_BYTES, CHUNK_BYTES), 8192);
        assert_eq!(step(8192, 1000 * CHUNK_BYTES, CHUNK_BYTES), 8);
        assert_eq!(step(1, u64::MAX, CHUNK_BYTES), 1);
    }
}
