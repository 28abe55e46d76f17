//! Cuts the first read of a large stream without pages by its cursor column: views and inheritance parents.
//!
//! Every chunk is a snapshot of its own, so a row can move from a range not yet read to one already read. It moves only
//! when its value changes, and what is written after the largest value was taken has a larger one; so a last chunk, read
//! when the others are durable, reads from that value on. A transaction that was writing at the time may bring a smaller
//! one: while there is one that does not end, the stream is read in one piece. So it is where writers cannot be seen, behind
//! a foreign table, and where a range costs the server nearly as much as the whole (a view that aggregates, a column without
//! an index).
//!
//! Where exactly the cuts are matters only for their size: any of them leave every value in one range.

use super::estimate::Estimate;
use super::plan::{Planner, Ranges, too_many};
use super::range::Rows;
use super::session::Session;
use super::watermark::{self, CursorColumn};
use crate::core::Result;
use crate::core::run::Chunk;

/// Rows of one chunk: some tens of seconds of one consumer.
const CHUNK_ROWS: u64 = 5_000_000;

/// Chunks worth the cut. Below, one COPY is done well within the time of a statement, and its one snapshot cannot show two
/// versions of a row, which without a key are two rows.
const FEWEST_CHUNKS: u64 = 5;

/// Most chunks; a bad guess of the server must not make more of them than help.
const MOST_CHUNKS: u64 = 1000;

/// How many times the whole all ranges together may cost the server. By an index they cost about twice as much.
const BEARABLE: f64 = 2.5;

/// The chunks of everything in a stream without pages, where `largest` is the largest value and whoever was writing then has
/// ended; `None` where it is better read in one piece.
///
/// # Errors
/// When the server fails.
pub(super) async fn chunks(
    planner: &Planner<'_>,
    session: &mut Session,
    column: &CursorColumn,
    largest: &str,
    overlap_seconds: u32,
) -> Result<Option<Vec<Chunk>>> {
    if planner.relation.foreign {
        return Ok(None);
    }
    let columns = &planner.request.columns;
    let whole = planner.range(planner.itself(), Rows::All, None);
    let Some(whole) = Estimate::of(session, &whole, columns).await? else { return Ok(None) };
    let count = whole.rows.div_ceil(CHUNK_ROWS).min(MOST_CHUNKS);
    if count < FEWEST_CHUNKS {
        return Ok(None);
    }
    let bounds = watermark::cuts(session, &planner.request.stream.name, column, largest, count).await?;
    let ranges: Vec<_> = between(&column.name, &bounds)
        .into_iter()
        .map(|rows| (planner.range(planner.itself(), rows, None), Some(whole.rows / count)))
        .collect();
    let Some((middle, _)) = ranges.get(ranges.len() / 2) else { return Ok(None) };
    let Some(middle) = Estimate::of(session, middle, columns).await? else { return Ok(None) };
    if middle.cost * count as f64 > BEARABLE * whole.cost {
        return Ok(None);
    }
    let mut chunks = Ranges { list: ranges }.chunks()?;
    let from = column.lower_bound(largest, overlap_seconds);
    let since = planner.range(planner.itself(), Rows::Cursor { column: column.name.clone(), from }, None);
    let index = u32::try_from(chunks.len()).map_err(|_| too_many())?;
    chunks.push(Chunk { index, range: since.to_json()?, estimated_rows: None, after_all: true });
    Ok(Some(chunks))
}

/// The rows below the first bound, between any two, and from the last on, which includes NULL.
fn between(column: &str, bounds: &[String]) -> Vec<Rows> {
    let (Some(first), Some(last)) = (bounds.first(), bounds.last()) else { return Vec::new() };
    let column = || column.to_owned();
    let mut ranges = vec![Rows::Below { column: column(), from: first.clone() }];
    let pairs = bounds.iter().zip(bounds.iter().skip(1));
    ranges.extend(pairs.map(|(from, to)| Rows::Between {
        column: column(),
        from: from.clone(),
        to: to.clone(),
    }));
    ranges.push(Rows::Cursor { column: column(), from: last.clone() });
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_meet_where_they_end_and_have_no_ends() {
        let bounds = ["1".to_owned(), "2".to_owned(), "3".to_owned()];
        let column = "c".to_owned();
        let between_ = |from: &str, to: &str| Rows::Between {
            column: column.clone(),
            from: from.to_owned(),
            to: to.to_owned(),
        };
        assert_eq!(
            between("c", &bounds),
            [
                Rows::Below { column: column.clone(), from: "1".to_owned() },
                between_("1", "2"),
                between_("2", "3"),
                Rows::Cursor { column: column.clone(), from: "3".to_owned() },
            ]
        );
        assert_eq!(between("c", &[]), []);
    }
}
