//! Reading the keys of a table's old and new rows.

use std::collections::BTreeSet;
use std::rc::Rc;

use parquet::arrow::arrow_reader::{RowSelection, RowSelector};
use serde::{Deserialize, Serialize};

use super::history;
use super::key_hash::{KeyHasher, RowAt, key_columns};
use super::manifest::{Manifest, Part};
use super::parquet_reader::PartReader;
use super::publish::PublishRequest;
use super::spools::Entry;
use super::vanished::{Mark, is_unreadable, position};
use crate::core::Result;

/// Most parts opened in one go. Each takes two requests or more, and an invocation may make 10,000: this leaves room for a
/// few goes, and for what else a step asks for.
const MOST_OPENED: usize = 250;

/// A row among those of all parts, the old ones first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Position {
    part: u32,
    row: u32,
}

/// How far a reading came.
pub(super) enum Reached {
    /// To the end.
    End,
    /// To where there was no room for this row, or enough parts were opened before it.
    Row(Position),
    /// To a part whose keys cannot be compared with others.
    Incomparable,
}

/// The keys of the parts that a full load found, and of those it wrote.
pub(super) struct KeyScan<'a> {
    request: &'a PublishRequest<'a>,
    old: &'a [Part],
    new: &'a [Part],
    hasher: KeyHasher,
    key: Vec<String>,
    before: Mark,
    mark: Mark,
}

impl<'a> KeyScan<'a> {
    /// Over the parts of the manifest and the new ones, with hashes of that seed.
    pub(super) fn new(
        request: &'a PublishRequest<'a>,
        current: &'a Manifest,
        new: &'a [Part],
        seed: [u8; 16],
    ) -> Self {
        let key = history::row_key(&current.primary_key);
        let types = key.iter().filter_map(|name| {
            let column = current.columns.iter().find(|column| column.name == *name)?;
            Some(column.column_type)
        });
        Self {
            request,
            old: &current.parts,
            new,
            hasher: KeyHasher::new(types.collect(), seed),
            key,
            before: Mark::of(&current.primary_key),
            mark: Mark::of(&request.load.table.primary_key),
        }
    }

    /// Reads on from there until there are `room` entries, or as many parts were opened as an order should at once. Places
    /// count the parts as positions do. Old parts that cannot be read are noted and left out.
    ///
    /// # Errors
    /// An unreachable store, or a new part that is gone or damaged.
    pub(super) async fn fill(
        &self,
        from: Position,
        room: usize,
        entries: &mut Vec<Entry>,
        unreadable: &mut BTreeSet<String>,
    ) -> Result<Reached> {
        let parts = self.old.iter().chain(self.new).enumerate().skip(from.part as usize);
        let mut row = from.row;
        for (opened, (index, part)) in parts.enumerate() {
            let at = Position { part: position(index as u64)?, row: std::mem::take(&mut row) };
            if opened >= MOST_OPENED {
                return Ok(Reached::Row(at));
            }
            match self.fill_from(part, at, room, entries).await {
                Ok(Reached::End) => {}
                Err(error) if index < self.old.len() && is_unreadable(&error) => {
                    unreadable.insert(part.path.clone());
                }
                reached => return reached,
            }
        }
        Ok(Reached::End)
    }

    /// The same, to the end of one part.
    async fn fill_from(
        &self,
        part: &Part,
        from: Position,
        room: usize,
        entries: &mut Vec<Entry>,
    ) -> Result<Reached> {
        let reader = PartReader::open(Rc::clone(&self.request.store), &self.request.layout, part).await?;
        let rows = usize::try_from(reader.metadata().file_metadata().num_rows()).unwrap_or(0);
        let skipped = (from.row as usize).min(rows);
        let rest = (skipped > 0).then(|| {
            RowSelection::from(vec![RowSelector::skip(skipped), RowSelector::select(rows - skipped)])
        });
        let wanted: Vec<&str> =
            self.key.iter().map(String::as_str).chain(std::iter::once(self.before.column())).collect();
        let mut batches = reader.read(Some(&wanted), None, rest)?;
        let is_old = (from.part as usize) < self.old.len();
        let mut row = skipped as u64;
        while let Some(batch) = batches.next().await? {
            let Some(columns) = key_columns(&batch, &self.key) else { return Ok(Reached::Incomparable) };
            let Some(hashes) = self.hasher.hash(&columns)? else { return Ok(Reached::Incomparable) };
            for (hash, gone) in hashes.iter().zip(&self.before.gone(&batch)) {
                let at = Position { part: from.part, row: position(row)? };
                if entries.len() >= room {
                    return Ok(Reached::Row(at));
                }
                let deleted = is_old && gone == Some(true) && self.before == self.mark;
                entries.push(Entry::new(*hash, RowAt { part: at.part, row: at.row, deleted }));
                row += 1;
            }
        }
        Ok(Reached::End)
    }
}
