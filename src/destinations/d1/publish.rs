//! Ends a run's load of a table: rows a full load did not carry become deleted.

use super::catalog;
use super::database::Database;
use super::names::{self, quote};
use super::pages::{Page, Pages};
use super::{fault, history, temporal, watermark};
use crate::core::fault_point::FaultPoint;
use crate::core::run::Fence;
use crate::core::settings::TableSyncMode;
use crate::core::table::{ACTIVE, DELETED, END, LoadMode, START, SYNCED, TableSchema};
use crate::core::{Error, Result};
use crate::destinations::{DurableReceipt, TableLoad, TableReceipt};
use crate::ports::Statement;

/// An incremental load tells its live rows only up to here. Counting reads the whole table, and a sync that brings
/// ten rows every minute must not read ten million.
const COUNTED_ROWS: u64 = 1_000_000;

/// See [`Destination::publish`](crate::destinations::Destination::publish).
///
/// Every row of a full load carries the run's own `_fivetran_synced`, so a row with another one was not seen: it is gone at the
/// source. Another and not an older one, because the table may have been taken over from a connection that was deleted and
/// whose clock was ahead. As in Fivetran, marking it leaves its `_fivetran_synced` alone.
pub(super) async fn publish(
    database: &Database,
    load: &TableLoad,
    chunks: &[DurableReceipt],
    fence: Fence,
) -> Result<TableReceipt> {
    let name = names::physical(&load.table.schema, &load.table.table);
    let what = catalog::title(&load.table);
    if fence.run != load.run {
        return Err(Error::internal(format!("{what}: the fence belongs to another run")));
    }
    let entry = catalog::find(database, &name, &what)
        .await?
        .ok_or_else(|| Error::internal(format!("{what}: the run was not prepared")))?;
    entry.require_current(load)?;
    let written = watermark::require_durable(database, &name, load, chunks).await?;
    if entry.published {
        return Ok(TableReceipt { written, deleted: entry.marked, live_rows: entry.live_rows });
    }
    let live_rows = match load.mode {
        LoadMode::Full => {
            let mut live = 0_u64;
            let mut pages = Pages::of(&entry.definition, &name);
            while let Some(page) = pages.next(database).await? {
                live = live.saturating_add(sweep(database, &name, load, &page, &entry.definition).await?);
            }
            Some(live)
        }
        LoadMode::Incremental => count_some(database, &name, load).await?,
    };
    database.reach(FaultPoint::DuringPublish, &load.run_id).await?;
    close(database, &name, load, written, live_rows).await
}

/// Marks what a page has left over, and counts its live rows. The number of marked rows is added up in the catalog in
/// the same transaction, so a publish that is cut short and repeated reports all of them. (Over an API whose batches are
/// no transactions a torn page would be counted twice; its rows would still be right.)
async fn sweep(
    database: &Database,
    name: &str,
    load: &TableLoad,
    page: &Page,
    standing: &TableSchema,
) -> Result<u64> {
    let table = quote(name);
    let mut statements = Vec::with_capacity(4);
    if load.table.column(SYNCED).is_some() {
        let mut params = catalog::current_params(name, load);
        params.push(temporal::instant(load.synced_at).into());
        let range = page.condition(&load.table, &mut params);
        let missing = format!("{range} AND {} <> ?4 AND {}", quote(SYNCED), live(&load.table));
        statements.push(Statement::new(
            format!(
                "UPDATE _fivetran_tables SET marked = marked + (SELECT count(*) FROM {table} WHERE {missing}) \
                 WHERE name = ?1 AND {}",
                catalog::IS_CURRENT
            ),
            params.clone(),
        ));
        for leave in leave_behind(load, &table, &range, &missing, standing) {
            statements.push(Statement::new(format!("{leave} AND {}", catalog::IS_CURRENT), params.clone()));
        }
    }
    let mut params = Vec::new();
    let range = page.condition(&load.table, &mut params);
    statements.push(Statement::new(
        format!("SELECT CAST(count(*) AS TEXT) AS live FROM {table} WHERE {range} AND {}", live(&load.table)),
        params,
    ));
    let results = database.batch(&catalog::title(&load.table), statements).await?;
    match results.last().and_then(|result| result.rows.first()) {
        Some(row) => catalog::number(row, "live"),
        None => Err(Error::internal("D1 did not answer a count")),
    }
}

/// True, in SQL, of the rows that exist at the source as far as we know.
pub(super) fn live(table: &TableSchema) -> String {
    match table.sync_mode() {
        TableSyncMode::SoftDelete => format!("{} IS NOT 1", quote(DELETED)),
        TableSyncMode::History => format!("{} = 1", quote(ACTIVE)),
        TableSyncMode::Live => "1 = 1".to_owned(),
    }
}

/// What becomes of the rows of a page that a full load did not see, and of what another mode left in the page. `?4` is
/// the start of the run.
fn leave_behind(
    load: &TableLoad,
    table: &str,
    range: &str,
    missing: &str,
    standing: &TableSchema,
) -> Vec<String> {
    let synced = quote(SYNCED);
    match load.table.sync_mode() {
        TableSyncMode::SoftDelete => {
            vec![format!("UPDATE {table} SET {} = 1 WHERE {missing}", quote(DELETED))]
        }
        TableSyncMode::History => {
            let (active, end, time) = (quote(ACTIVE), quote(END), history::instant(load.synced_at));
            vec![
                format!("UPDATE {table} SET {active} = 0, {end} = {time} WHERE {missing}"),
                // Rows from before the table kept history are none of its versions.
                format!("DELETE FROM {table} WHERE {range} AND {synced} <> ?4 AND {} = ''", quote(START)),
            ]
        }
        TableSyncMode::Live => {
            let mut left = vec![format!("DELETE FROM {table} WHERE {missing}")];
            // The column stays when the mode changes (I8), and must not say of a living row that it is gone.
            if standing.column(DELETED).is_some() {
                let deleted = quote(DELETED);
                left.push(format!(
                    "UPDATE {table} SET {deleted} = 0 WHERE {range} AND {synced} = ?4 AND {deleted} IS 1"
                ));
            }
            left
        }
    }
}

/// Live rows, or `None` when there are more than [`COUNTED_ROWS`].
async fn count_some(database: &Database, name: &str, load: &TableLoad) -> Result<Option<u64>> {
    let column = match load.table.sync_mode() {
        TableSyncMode::SoftDelete => quote(DELETED),
        TableSyncMode::History => quote(ACTIVE),
        TableSyncMode::Live => "1".to_owned(),
    };
    let live = live(&load.table);
    let count = format!(
        "SELECT CAST(count(*) AS TEXT) AS seen, CAST(coalesce(sum({live}), 0) AS TEXT) AS live \
         FROM (SELECT {column} FROM {table} LIMIT {limit})",
        table = quote(name),
        limit = COUNTED_ROWS + 1,
    );
    let result = database.query(&catalog::title(&load.table), Statement::new(count, Vec::new())).await?;
    let Some(row) = result.rows.first() else { return Ok(None) };
    if catalog::number(row, "seen")? > COUNTED_ROWS {
        return Ok(None);
    }
    catalog::number(row, "live").map(Some)
}

/// Remembers that the run is published, so that a repeated publish answers the same. First for good, and then of the run: over
/// an API whose batches are no transactions, a publish that is cut short between the two is repeated.
async fn close(
    database: &Database,
    name: &str,
    load: &TableLoad,
    written: u64,
    live_rows: Option<u64>,
) -> Result<TableReceipt> {
    let what = catalog::title(&load.table);
    let mut params = catalog::current_params(name, load);
    params.push(live_rows.map(|rows| rows.to_string()).unwrap_or_default().into());
    let update = format!(
        "UPDATE _fivetran_tables SET published = 1, live_rows = CAST(nullif(?4, '') AS INTEGER) \
         WHERE name = ?1 AND {}",
        catalog::IS_CURRENT
    );
    let statements =
        vec![catalog::note_published(name, load), Statement::new(update, params), catalog::select(name)];
    let results = database.batch(&what, statements).await?;
    let entry = results.last().map(|result| catalog::entry(&result.rows)).transpose()?.flatten();
    let entry = entry.ok_or_else(|| fault::fenced(&what))?;
    entry.require_current(load)?;
    Ok(TableReceipt { written, deleted: entry.marked, live_rows })
}
