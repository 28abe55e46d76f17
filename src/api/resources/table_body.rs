//! A table of a run as answers show it: its progress, how fast it goes and when it will be done.

use schemars::JsonSchema;
use serde::Serialize;

use crate::engine::TableProgress;

/// Progress of one table.
#[derive(Serialize, JsonSchema)]
pub(super) struct TableBody {
    #[serde(flatten)]
    table: TableProgress,
    /// Attempts at its chunks so far; a chunk that is read without trouble takes one.
    attempts: u32,
    /// Rows read per second since its chunks were planned; `null` before.
    rows_per_second: Option<u64>,
    /// Seconds until everything is read, by the source's estimate of its rows or else by its chunks; `null` where neither
    /// tells, and when nothing is being read.
    eta_seconds: Option<u64>,
}

impl TableBody {
    /// `at` is the time of the run's end, or now; microseconds UTC.
    pub(super) fn of(mut table: TableProgress, at: i64) -> Self {
        let pace = table.pace.take().unwrap_or_default();
        let elapsed =
            pace.since.map(|since| pace.until.unwrap_or(at).saturating_sub(since).max(1).unsigned_abs());
        let read = table.counts.read;
        Self {
            attempts: pace.attempts,
            rows_per_second: elapsed.and_then(|micros| share(read, 1_000_000, micros)),
            eta_seconds: elapsed.filter(|_| table.state == "reading").and_then(|micros| eta(&table, micros)),
            table,
        }
    }

    /// All tables of a run.
    pub(super) fn all(tables: Vec<TableProgress>, at: i64) -> Vec<Self> {
        tables.into_iter().map(|table| Self::of(table, at)).collect()
    }
}

fn eta(table: &TableProgress, elapsed_micros: u64) -> Option<u64> {
    let read = table.counts.read;
    let by_rows = table.estimated_rows.filter(|expected| *expected > read);
    let (done, left) = match by_rows {
        Some(expected) => (read, expected.saturating_sub(read)),
        None => (table.chunks_done.into(), table.chunks_planned.saturating_sub(table.chunks_done).into()),
    };
    share(left, elapsed_micros, done).map(|micros| micros.div_ceil(1_000_000))
}

/// `count * by / of`, if that can be told.
fn share(count: u64, by: u64, of: u64) -> Option<u64> {
    let product = u128::from(count) * u128::from(by);
    product.checked_div(u128::from(of)).and_then(|share| u64::try_from(share).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::run::Counts;
    use crate::core::table::LoadMode;
    use crate::engine::Pace;

    const SECOND: i64 = 1_000_000;

    fn reading(read: u64, estimated_rows: Option<u64>, chunks: (u32, u32)) -> TableBody {
        let table = TableProgress {
            schema: "s".to_owned(),
            table: "t".to_owned(),
            state: "reading".to_owned(),
            mode: LoadMode::Full,
            chunks_planned: chunks.1,
            chunks_done: chunks.0,
            counts: Counts { read, ..Counts::default() },
            estimated_rows,
            live_rows: None,
            pace: Some(Pace { attempts: 3, since: Some(100 * SECOND), until: None }),
            error: None,
        };
        TableBody::of(table, 110 * SECOND)
    }

    #[test]
    fn the_end_is_told_by_rows_or_else_by_chunks() {
        let body = reading(1_000, Some(4_000), (1, 2));
        assert_eq!((body.attempts, body.rows_per_second, body.eta_seconds), (3, Some(100), Some(30)));
        assert_eq!(reading(5_000, Some(4_000), (1, 4)).eta_seconds, Some(30), "the estimate was too low");
        assert_eq!(reading(10, None, (2, 3)).eta_seconds, Some(5));
        assert_eq!(reading(0, None, (0, 3)).eta_seconds, None, "nothing is known yet");
        assert_eq!(reading(u64::MAX, Some(u64::MAX), (0, 0)).eta_seconds, None);
    }
}
