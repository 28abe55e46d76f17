//! Tables that keep every version of a row (type-2 history).
//!
//! A version begins with the run that sees it first and is superseded by the next one, a millisecond before that one
//! begins. What a run at time T leaves behind of a key depends on two things only: the newest version older than T, and
//! the last values the run read. So chunks may be repeated, and a catch-up may bring a row a second time with other
//! values, or with the old ones again (I3): a merge first takes back what the run itself did to the keys at hand, then
//! does it anew.
//!
//! 1. Versions of T or later go, and the version the run had closed stands again.
//! 2. A version that stands and has the values that came is marked as seen; no version begins, because nothing changed
//!    (incremental reads bring rows at the edge twice).
//! 3. One with other values is closed, and the new one begins.

use super::insert::{Origin, ROWS_PARAM, Step, list, values};
use super::names::quote;
use super::{temporal, watermark};
use crate::core::table::{ACTIVE, END, END_OF_TIME, START, SYNCED, TableColumn};
use crate::destinations::TableLoad;

/// From a version's end to the next one's start, microseconds.
const MILLISECOND: i64 = 1_000;

/// The statements that merge JSON rows into a table's history; see [`insert::upsert`](super::insert::upsert) for the
/// parameters.
pub(super) fn merge(
    load: &TableLoad,
    name: &str,
    reader: &str,
    origin: impl Fn(usize) -> Origin,
) -> Vec<Step> {
    let table = &load.table;
    let is_key = |column: &&TableColumn| table.primary_key.contains(&column.name);
    let keys: Vec<&TableColumn> = table.carried().filter(is_key).collect();
    let others: Vec<&TableColumn> = table.carried().filter(|column| !is_key(column)).collect();
    // One row value instead of a chain of ANDs, which could be deeper than D1 lets expressions be.
    let qualified = |alias: &str, columns: &[&TableColumn]| {
        list(columns.iter().map(|column| format!("{alias}.{}", quote(&column.name))))
    };
    let tuple = |alias: &str, columns: &[&TableColumn]| format!("({})", qualified(alias, columns));
    let named = values(table, origin).into_iter().zip(&table.columns);
    let incoming = list(named.map(|(value, column)| format!("{value} AS {}", quote(&column.name))));
    let incoming = format!("(SELECT {incoming} FROM {reader}(?{ROWS_PARAM}))");
    let (start, before) = (instant(load.synced_at), instant(load.synced_at.saturating_sub(MILLISECOND)));
    let (target, guard) = (quote(name), watermark::guard());
    let [s, e, active, synced] = [START, END, ACTIVE, SYNCED].map(quote);
    let among = format!("{} IN (SELECT {} FROM {incoming} AS n)", tuple("t", &keys), qualified("n", &keys));
    let same_key = format!("{} = {}", tuple("t", &keys), tuple("n", &keys));
    let (same, other) = if others.is_empty() {
        ("1 = 1".to_owned(), "1 = 0".to_owned())
    } else {
        let (old, new) = (tuple("t", &others), tuple("n", &others));
        (format!("{old} IS {new}"), format!("{old} IS NOT {new}"))
    };
    let columns = list(table.columns.iter().map(|column| quote(&column.name)));
    let key = list(table.primary_key.iter().map(|column| quote(column)));
    let updates = list(table.columns.iter().map(|column| format!("{0} = excluded.{0}", quote(&column.name))));
    let step = |sql: String, takes_rows: bool| Step { sql, takes_rows };
    vec![
        step(format!("DELETE FROM {target} AS t WHERE t.{s} >= {start} AND {among} AND {guard}"), false),
        step(
            format!(
                "UPDATE {target} AS t SET {e} = {forever}, {active} = 1 \
                 WHERE t.{active} = 0 AND t.{e} = {before} AND {among} AND {guard}",
                forever = instant(END_OF_TIME)
            ),
            false,
        ),
        step(
            format!(
                "UPDATE {target} AS t SET {synced} = {start} FROM {incoming} AS n \
                 WHERE t.{active} = 1 AND {same_key} AND {same} AND {guard}"
            ),
            false,
        ),
        // Not what the statement before changed: it changes a version once, however many of the rows are its like, as
        // they may be in a table without a key.
        step(
            format!(
                "SELECT CAST(count(*) AS TEXT) AS changes FROM {incoming} AS n WHERE EXISTS (SELECT 1 FROM {target} AS t \
                 WHERE t.{active} = 1 AND t.{synced} = {start} AND {same_key} AND {same}) AND {guard}"
            ),
            false,
        ),
        step(
            format!(
                "UPDATE {target} AS t SET {active} = 0, {e} = {before} FROM {incoming} AS n \
                 WHERE t.{active} = 1 AND {same_key} AND {other} AND {guard}"
            ),
            false,
        ),
        step(
            format!(
                "INSERT INTO {target} ({columns}) SELECT {columns} FROM {incoming} AS n \
                 WHERE NOT EXISTS (SELECT 1 FROM {target} AS t WHERE t.{active} = 1 AND {same_key}) AND {guard} \
                 ON CONFLICT ({key}) DO UPDATE SET {updates}"
            ),
            true,
        ),
    ]
}

/// A time as an SQL literal; digits and punctuation only.
pub(super) fn instant(micros: i64) -> String {
    format!("'{}'", temporal::instant(micros))
}
