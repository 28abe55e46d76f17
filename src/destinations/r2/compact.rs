//! Merging the newest change parts of a Parquet table into one.
//!
//! A table that is synced every minute gets a part a minute. Every one of them is an entry in the manifest, which is read
//! whole at every open and commit, and a file that readers open. So a publish of changes looks back: a part is merged with
//! the newer ones once those are together as large as it, and there are [`FEWEST`]. Sizes then double from part to part, as
//! the digits of a binary counter do: of n equal parts some log2(n) are left beside at most [`FEWEST`] new ones, and each row
//! was copied as often. Parts beyond [`MOST_DECODED`] together are left as they are, so a publish stays short and their number
//! grows with the volume of the changes and no more with the number of syncs.
//!
//! Always the newest parts, and always under the number of the load that is being published: the merged part sorts where the
//! parts it replaces were, after all older ones and before all that come, and no [`sweep`](super::sweep) of an older load can
//! take it for an older load's. Rows are copied in the order they had, so that within the file, too, later ones are newer;
//! versions that are superseded stay, as they would in parts of their own, because telling them apart would take the keys of
//! all rows in memory. Histories merge as well: what a load saw carries its time.
//!
//! What is merged becomes the table's content in the same swap of the manifest as the load. Readers of the manifest before
//! keep the replaced parts for their grace. A worker that dies leaves a part that nobody names.
//!
//! Not in JSON lines and CSV: there a key occurs once in a file, and rows have no number to order them by.

use std::rc::Rc;

use parquet::basic::Type as PhysicalType;
use parquet::file::metadata::ParquetMetaData;

use super::config::Encoding;
use super::layout;
use super::manifest::{Part, PartKind};
use super::parquet_encoder::FileSchema;
use super::parquet_reader::PartReader;
use super::part::PartWriter;
use super::publish::PublishRequest;
use super::vanished::is_unreadable;
use crate::core::limits::MIB;
use crate::core::{Error, ErrorKind, Result};

/// Fewer parts are not worth a merge. With 16, a table synced every minute copies its changes of a quarter of an hour at a
/// time, and a reader opens at most that many small files.
const FEWEST: usize = 16;

/// More parts are not merged at once: three requests for each stay far below the thousand that any plan has for an
/// invocation. Only a part that cannot be read lets so many gather, because every merge with it fails; once that many are
/// newer, it is out of the way.
const MOST: usize = 128;

/// Bytes of parts merged at once, in memory: four chunks' worth, some 5 s of CPU. A part of more than a sixteenth of it is
/// never merged; 50,000 of those, where a manifest no longer fits memory, hold 800 GB of changes.
const MOST_DECODED: u64 = 256 * MIB as u64;

/// Merges the newest of those parts, the load's own at the end, where that is due. Returns the merged part and how many it
/// stands for.
///
/// # Errors
/// An unreachable store. Parts that are gone or damaged, and those before them, are left as they are.
pub(super) async fn merge(
    request: &PublishRequest<'_>,
    parts: &[Part],
    load_number: u64,
) -> Result<Option<(Part, usize)>> {
    let Encoding::Parquet { .. } = request.encoding else { return Ok(None) };
    let Some((schema, count)) = alike(request, newest(parts, ripe(parts))).await? else { return Ok(None) };
    let merged = newest(parts, count);
    let path = layout::merged_part(load_number, request.fence)?;
    let writer = PartWriter::of_rows_there(request, path, PartKind::Change, schema);
    match copy(request, merged, writer).await {
        Ok(part) => Ok(part.map(|part| (part, count))),
        Err(error) if is_unreadable(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

fn newest(parts: &[Part], count: usize) -> &[Part] {
    parts.get(parts.len().saturating_sub(count)..).unwrap_or_default()
}

/// How many of the newest parts are due, by what the manifest says; 0 for none. In the file they are smaller than in
/// memory, so the bound is one for both.
fn ripe(parts: &[Part]) -> usize {
    let (mut count, mut bytes) = (0, 0_u64);
    for part in parts.iter().rev().take(MOST).take_while(|part| part.kind == PartKind::Change) {
        let together = bytes.saturating_add(part.bytes);
        if (count > 0 && part.bytes > bytes) || together > MOST_DECODED {
            break;
        }
        (count, bytes) = (count + 1, together);
    }
    if count < FEWEST { 0 } else { count }
}

/// The newest of the parts that have one schema and fit the bound in memory: that schema, and their number.
async fn alike(request: &PublishRequest<'_>, parts: &[Part]) -> Result<Option<(FileSchema, usize)>> {
    let mut common: Option<FileSchema> = None;
    let (mut count, mut bytes) = (0, 0_u64);
    for part in parts.iter().rev() {
        let reader = match PartReader::open(Rc::clone(&request.store), &request.layout, part).await {
            Err(error) if is_unreadable(&error) => break,
            reader => reader?,
        };
        let schema = reader.schema();
        bytes = bytes.saturating_add(decoded_bytes(reader.metadata()));
        if bytes > MOST_DECODED || common.as_ref().is_some_and(|common| !common.is_like(&schema)) {
            break;
        }
        common.get_or_insert(schema);
        count += 1;
    }
    Ok(common.filter(|_| count >= FEWEST).map(|schema| (schema, count)))
}

/// Bytes of the file's values in memory.
fn decoded_bytes(file: &ParquetMetaData) -> u64 {
    let columns = file.row_groups().iter().flat_map(|group| group.columns());
    let bytes = columns.map(|column| {
        let text = match column.column_type() {
            PhysicalType::BYTE_ARRAY => {
                column.unencoded_byte_array_data_bytes().unwrap_or(column.uncompressed_size())
            }
            _ => 0,
        };
        let fixed = column.num_values().saturating_mul(size_of::<u64>() as i64);
        u64::try_from(fixed.saturating_add(text)).unwrap_or(u64::MAX)
    });
    bytes.fold(0, u64::saturating_add)
}

async fn copy(request: &PublishRequest<'_>, parts: &[Part], mut writer: PartWriter) -> Result<Option<Part>> {
    let copied = append(request, parts, &mut writer).await;
    let expected: u64 = parts.iter().map(|part| part.rows).sum();
    let (error, rows) = (copied.err(), writer.rows());
    let Some(error) = error.or_else(|| (rows != expected).then(|| lost(rows, expected))) else {
        return writer.finish().await;
    };
    writer.abort().await;
    Err(error)
}

/// I5: what the manifest says of the parts, not what was found in them.
fn lost(rows: u64, expected: u64) -> Error {
    Error::new(ErrorKind::Mismatch, format!("{rows} rows were found in parts of {expected}"))
}

async fn append(request: &PublishRequest<'_>, parts: &[Part], writer: &mut PartWriter) -> Result<()> {
    for part in parts {
        let reader = PartReader::open(Rc::clone(&request.store), &request.layout, part).await?;
        let mut batches = reader.read(None, None, None)?;
        while let Some(batch) = batches.next().await? {
            writer.write(&batch).await?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(kind: PartKind, bytes: u64) -> Part {
        Part { path: String::new(), kind, rows: 1, bytes, etag: String::new() }
    }

    fn changes(sizes: impl IntoIterator<Item = u64>) -> Vec<Part> {
        sizes.into_iter().map(|bytes| part(PartKind::Change, bytes)).collect()
    }

    #[test]
    fn a_table_synced_every_minute_for_a_year_keeps_few_parts_and_copies_rows_seldom() {
        let (mut parts, mut copied, mut most) = (changes([]), 0, 0);
        const SYNCS: u64 = 366 * 24 * 60;
        for _ in 0..SYNCS {
            parts.push(part(PartKind::Change, 100));
            let count = ripe(&parts);
            if count > 0 {
                let bytes = parts.drain(parts.len() - count..).map(|part| part.bytes).sum();
                parts.push(part(PartKind::Change, bytes));
                copied += bytes;
            }
            most = most.max(parts.len());
        }
        assert!(most <= FEWEST + 16, "{most} parts");
        assert!(copied <= SYNCS * 100 * 17, "{} times", copied / SYNCS / 100);
    }

    #[test]
    fn only_changes_are_merged_and_large_parts_are_left_alone() {
        assert_eq!(ripe(&changes([1; 15])), 0);
        assert_eq!(ripe(&changes([1; 16])), 16);
        assert_eq!(ripe(&changes([17].into_iter().chain([1; 16]))), 16);
        assert_eq!(ripe(&changes([16].into_iter().chain([1; 16]))), 17);
        assert_eq!(ripe(&changes([MOST_DECODED / 15; 100])), 0);
        let mut parts = changes([1; 20]);
        parts[3].kind = PartKind::Deleted;
        assert_eq!(ripe(&parts), 16);
        parts[4].kind = PartKind::Full;
        assert_eq!(ripe(&parts), 0);
    }
}
