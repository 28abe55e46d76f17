//! Planning by a cursor column.
//!
//! The largest value is taken, then who is writing ([`writers`](super::writers)), then rows are read, each in a later
//! snapshot than the one before. A transaction that took a smaller value before the largest was seen either has ended when
//! rows are read, and is read; or it was still writing, and then the largest value waits for it: the next sync starts
//! where this one did. What is missed are values taken by a transaction before it began to write: those a client thought up,
//! those a sequence with a cache had set aside, times of a transaction that had only read so far. For dates and times the
//! overlap covers these.
//!
//! Rows that are read in page ranges may be moved from one not yet read to one already read, by an update that leaves the
//! cursor column alone. The next sync would not look for them, so a catch-up by transaction follows, as in a full read.

use super::cursor::{Bound, Horizon, Position};
use super::estimate::Estimate;
use super::plan::{CHUNK_BYTES, Planner, Ranges, full};
use super::range::Rows;
use super::session::Session;
use super::value_ranges;
use super::watermark::{self, CursorColumn};
use super::writers::Writers;
use crate::core::Result;
use crate::core::run::{Chunk, StreamPlan};

/// Plans a stream by a cursor column.
///
/// # Errors
/// When the server fails.
pub(super) async fn plan(
    planner: &Planner<'_>,
    session: &mut Session,
    column: &CursorColumn,
    position: Option<Position>,
    overlap_seconds: u32,
) -> Result<StreamPlan> {
    let largest = watermark::largest(session, &planner.request.stream.name, column).await?;
    let (seen, bound) = match position {
        Some(Position::Column { column: of, bound, seen }) => {
            let counts = of == column.name && planner.is_of_this_stream(&seen)?;
            (Some(seen), counts.then_some(bound))
        }
        _ => (None, None),
    };
    let largest = match largest {
        Some(value) => Some((value, Writers::slow(session).await?)),
        None => None,
    };
    let ranges = match (&bound, &seen) {
        (Some(Bound { value: Some(value), .. }), Some(seen)) => {
            let from = column.lower_bound(value, overlap_seconds);
            since(planner, session, &column.name, &from, seen).await?
        }
        // No value counts yet. What was written since is found by transaction, where there is one to find it by.
        (Some(_), Some(seen)) if planner.relation.paged && planner.still_means_something(seen)? => {
            Some(planner.caught_up(planner.changes(seen))?)
        }
        _ => None,
    };
    let by_value = match (&ranges, &largest) {
        (None, Some((largest, (slow, _)))) if slow.none() && !planner.relation.paged => {
            value_ranges::chunks(planner, session, column, largest, overlap_seconds).await?
        }
        _ => None,
    };
    let next_cursor = match largest {
        Some((largest, (slow, now))) => {
            let bound = bound.unwrap_or_default().after(largest, slow, &now);
            let seen = planner.horizon(seen.as_ref())?;
            Some(Position::Column { column: column.name.clone(), bound, seen }.cursor()?)
        }
        None => None,
    };
    match (ranges, by_value) {
        (Some(chunks), _) => Ok(StreamPlan { full: false, chunks, next_cursor }),
        (None, Some(chunks)) => Ok(full(chunks, next_cursor)),
        (None, None) => Ok(full(planner.everything()?, next_cursor)),
    }
}

/// The rows from a value on, and all rows of parts that were not there before: they bring rows as old as they like.
/// `None` when such a part cannot be read by its own name.
async fn since(
    planner: &Planner<'_>,
    session: &mut Session,
    column: &str,
    from: &str,
    seen: &Horizon,
) -> Result<Option<Vec<Chunk>>> {
    let below = Rows::Below { column: column.to_owned(), from: from.to_owned() };
    let Some(below) = planner.of_new_parts(&below, seen) else { return Ok(None) };
    let rows = Rows::Cursor { column: column.to_owned(), from: from.to_owned() };
    let whole = planner.range(planner.itself(), rows.clone(), None);
    // With an index on the cursor column one query finds the rows; only many of them are worth page ranges.
    let mut ranges = match Estimate::of(session, &whole, &planner.request.columns).await? {
        Some(expected) if expected.rows > watermark::MANY_ROWS && planner.relation.paged => {
            planner.paged(&rows, CHUNK_BYTES)
        }
        expected => Ranges { list: vec![(whole, expected.map(|expected| expected.rows))] },
    };
    let many = ranges.list.len() > 1;
    ranges.list.extend(below.list);
    let moving = planner.relation.paged && (many || ranges.cut_pages());
    Ok(Some(if moving { planner.caught_up(ranges)? } else { ranges.chunks()? }))
}
