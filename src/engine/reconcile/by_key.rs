//! Ranges of keys, in the order both sides have.

use arrow::array::RecordBatch;
use async_trait::async_trait;

use super::{BUDGET_MS, Method, Position, RangeReport, ReconcileReport, ReconcileRequest, Sides};
use crate::connectors::{BatchSink, KeyScan};
use crate::core::compare::Tally;
use crate::core::{Error, Result, text};
use crate::destinations::KeyRange;
use crate::ports::Ports;

/// Compares ranges after a key until there are enough, the time is up, or the source ends. The last range has no upper
/// bound, so what the destination has beyond the source's last key is in it.
pub(super) async fn compare(
    ports: &Ports,
    sides: Sides,
    request: &ReconcileRequest,
    mut after: Option<Vec<String>>,
) -> Result<ReconcileReport> {
    let stop_at = ports.clock.now_ms().saturating_add(BUDGET_MS);
    let mut ranges = Vec::new();
    let next = loop {
        let range = one(&sides, request, after.take()).await?;
        after.clone_from(&range.to_key);
        ranges.push(range);
        if after.is_none() || ranges.len() >= request.ranges || ports.clock.now_ms() >= stop_at {
            break after;
        }
    };
    Ok(ReconcileReport {
        method: Method::Key,
        key: sides.table.primary_key.clone(),
        ranges,
        next: next.map(Position::Key),
    })
}

async fn one(sides: &Sides, request: &ReconcileRequest, after: Option<Vec<String>>) -> Result<RangeReport> {
    let key = sides.request.stream.primary_key.clone();
    let scan = KeyScan { key, after: after.clone(), limit: request.rows_per_range };
    let mut sink = Ordered { sides, tally: Tally::default(), last: None };
    let rows = sides.source.read_range(&sides.request, &scan, &mut sink).await?;
    let Ordered { tally: source, last, .. } = sink;
    let upto = last.filter(|_| rows >= request.rows_per_range);
    let range = KeyRange { after: after.clone(), upto: upto.clone() };
    let mut destination = Tally::default();
    let problems = sides
        .destination
        .scan(&sides.table, &range, &mut |batch| {
            sides.rows.of(batch)?.into_iter().for_each(|digest| destination.add(digest));
            Ok(())
        })
        .await?;
    Ok(RangeReport { from_key: after, to_key: upto, source, destination, problems })
}

/// Counts rows and remembers the last one's key.
struct Ordered<'a> {
    sides: &'a Sides,
    tally: Tally,
    last: Option<Vec<String>>,
}

#[async_trait(?Send)]
impl BatchSink for Ordered<'_> {
    async fn batch(&mut self, batch: RecordBatch) -> Result<()> {
        let shaped = self.sides.shape(batch)?;
        self.sides.rows.of(&shaped)?.into_iter().for_each(|digest| self.tally.add(digest));
        if shaped.num_rows() > 0 {
            let last = shaped.slice(shaped.num_rows() - 1, 1);
            self.last = Some(key_texts(self.sides, &last)?);
        }
        Ok(())
    }

    async fn deletes(&mut self, _keys: RecordBatch) -> Result<()> {
        Err(Error::internal("a range to compare has no deletes"))
    }
}

/// The key of a batch of one row, in text form.
fn key_texts(sides: &Sides, row: &RecordBatch) -> Result<Vec<String>> {
    let mut texts = Vec::with_capacity(sides.table.primary_key.len());
    for name in &sides.table.primary_key {
        let column = sides.table.column(name).zip(row.column_by_name(name));
        let (column, array) = column.ok_or_else(|| Error::internal("a row lacks a column of its key"))?;
        text::for_each_row(array, column.column_type, |value| {
            texts.push(String::from_utf8_lossy(value.unwrap_or_default()).into_owned());
            Ok(())
        })?;
    }
    Ok(texts)
}
