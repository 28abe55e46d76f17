//! Which chunks are durable, and who may write one: the table `_fivetran_commits` (invariants I2, I3, I4).
//!
//! A chunk is claimed by a lease, then written, then marked durable. Every statement that writes data carries
//! [`GUARD`], which fails unless the claim is still the newest and the run still the announced one. It is part of the
//! statement itself and not a statement before it, so it holds whether or not a batch is one transaction.
//!
//! A worker that dies half-way leaves rows behind. They are harmless: rows are upserted by key, the next lease of the
//! same chunk reads the source again and upserts the same keys, and a full load deletes nothing before all its chunks
//! are durable. So the mark does not have to share a transaction with the data; it has to come after it, and it does.

use serde_json::json;

use super::catalog::{number, text};
use super::database::Database;
use super::{catalog, fault};
use crate::core::run::{ChunkId, Counts, Fence};
use crate::core::{Error, ErrorKind, Result};
use crate::destinations::{DurableReceipt, TableLoad};
use crate::ports::{SqlValue, Statement};

/// One row per chunk of the newest run of a table. Rows of earlier runs go when a run is prepared, not when it is
/// published: a late duplicate of a message must still find that its chunk is durable.
pub(super) const CREATE_TABLES: &str = "CREATE TABLE IF NOT EXISTS _fivetran_commits (
  name TEXT NOT NULL, connection_id TEXT NOT NULL, run INTEGER NOT NULL,
  stream_schema TEXT NOT NULL, stream_table TEXT NOT NULL, chunk INTEGER NOT NULL,
  lease INTEGER NOT NULL, durable INTEGER NOT NULL DEFAULT 0, counts TEXT,
  PRIMARY KEY (name, connection_id, run, stream_schema, stream_table, chunk)
) WITHOUT ROWID";

/// The chunk of parameters `?1` to `?6` (see [`Claim::params`]).
const THIS_CHUNK: &str = "name = ?1 AND connection_id = ?2 AND run = CAST(?3 AS INTEGER) \
     AND stream_schema = ?4 AND stream_table = ?5 AND chunk = CAST(?6 AS INTEGER)";

/// Number of parameters a guarded statement spends on [`GUARD`]: `?1` to `?7`.
pub(super) const GUARD_PARAMS: usize = 7;

/// A scalar subquery that is 1, or fails the whole statement with [`fault::FENCED`] in the message. SQLite evaluates
/// it once per statement, because it depends on no row.
pub(super) fn guard() -> String {
    format!(
        "(SELECT json_extract('1', CASE WHEN {current} AND EXISTS (SELECT 1 FROM _fivetran_commits \
         WHERE {THIS_CHUNK} AND lease = CAST(?7 AS INTEGER) AND durable = 0) THEN '$' ELSE '{fenced}' END))",
        current = catalog::IS_CURRENT,
        fenced = fault::FENCED,
    )
}

/// What claiming a chunk found.
pub(super) enum Claimed {
    /// It is durable already.
    Durable(DurableReceipt),
    /// It is ours to write.
    Ours(Claim),
}

/// A chunk and the lease that writes it.
#[derive(Clone, Debug)]
pub(super) struct Claim {
    name: String,
    chunk: ChunkId,
    fence: Fence,
}

impl Claim {
    /// Claims a chunk for a lease, unless it is durable or a newer lease has it.
    pub(super) async fn take(
        database: &Database,
        name: &str,
        load: &TableLoad,
        chunk: &ChunkId,
        fence: Fence,
    ) -> Result<Claimed> {
        let claim = Self { name: name.to_owned(), chunk: chunk.clone(), fence };
        let what = catalog::title(&load.table);
        let insert = format!(
            "INSERT INTO _fivetran_commits (name, connection_id, run, stream_schema, stream_table, chunk, lease) \
             SELECT ?1, ?2, CAST(?3 AS INTEGER), ?4, ?5, CAST(?6 AS INTEGER), CAST(?7 AS INTEGER) \
             WHERE {current} \
             ON CONFLICT DO UPDATE SET lease = excluded.lease WHERE durable = 0 AND lease < excluded.lease",
            current = catalog::IS_CURRENT,
        );
        let statements = vec![Statement::new(insert, claim.params()), catalog::select(name), claim.select()];
        let mut results = database.batch(&what, statements).await?.into_iter().skip(1);
        let entry = catalog::entry(&results.next().unwrap_or_default().rows)?;
        match entry {
            None => return Err(Error::internal(format!("{what}: the run was not prepared"))),
            Some(entry) => entry.require_current(load)?,
        }
        let rows = results.next().unwrap_or_default().rows;
        let row = rows.first().ok_or_else(|| fault::fenced(&what))?;
        let lease = number(row, "lease")?;
        if number(row, "durable")? != 0 {
            let fence = Fence { run: fence.run, lease };
            let counts: Counts = serde_json::from_str(text(row, "counts")?)?;
            return Ok(Claimed::Durable(claim.receipt(fence, counts)?));
        }
        if lease == fence.lease { Ok(Claimed::Ours(claim)) } else { Err(fault::fenced(&what)) }
    }

    /// Parameters `?1` to `?7` of a guarded statement.
    pub(super) fn params(&self) -> Vec<SqlValue> {
        let ChunkId { connection_id, stream, chunk, .. } = &self.chunk;
        vec![
            self.name.as_str().into(),
            connection_id.as_str().into(),
            self.fence.run.to_string().into(),
            stream.schema.as_str().into(),
            stream.table.as_str().into(),
            chunk.to_string().into(),
            self.fence.lease.to_string().into(),
        ]
    }

    /// Marks the chunk durable; everything written under this claim must have been acknowledged before. A repeated
    /// call after a lost answer succeeds.
    pub(super) async fn make_durable(
        &self,
        database: &Database,
        what: &str,
        counts: Counts,
    ) -> Result<DurableReceipt> {
        let receipt = self.receipt(self.fence, counts)?;
        let mut params = self.params();
        params.push(serde_json::to_string(&counts)?.into());
        let update = format!(
            "UPDATE _fivetran_commits SET durable = 1, counts = ?8 \
             WHERE {THIS_CHUNK} AND lease = CAST(?7 AS INTEGER) AND durable = 0 AND {current}",
            current = catalog::IS_CURRENT,
        );
        let results = database.batch(what, vec![Statement::new(update, params), self.select()]).await?;
        let row = results.into_iter().nth(1).and_then(|result| result.rows.into_iter().next());
        let row = row.ok_or_else(|| fault::fenced(what))?;
        if number(&row, "durable")? != 0 && number(&row, "lease")? == self.fence.lease {
            return Ok(receipt);
        }
        Err(fault::fenced(what))
    }

    fn select(&self) -> Statement {
        let mut params = self.params();
        params.truncate(GUARD_PARAMS - 1);
        Statement::new(
            format!(
                "SELECT CAST(lease AS TEXT) AS lease, CAST(durable AS TEXT) AS durable, counts \
                 FROM _fivetran_commits WHERE {THIS_CHUNK}"
            ),
            params,
        )
    }

    fn receipt(&self, fence: Fence, counts: Counts) -> Result<DurableReceipt> {
        DurableReceipt::issue(self.chunk.clone(), fence, counts, json!({ "table": self.name }))
    }
}

/// Forgets the chunks of all runs but this one, once this one is announced.
pub(super) fn forget_other_runs(name: &str, load: &TableLoad) -> Statement {
    Statement::new(
        format!(
            "DELETE FROM _fivetran_commits WHERE name = ?1 \
             AND NOT (connection_id = ?2 AND run = CAST(?3 AS INTEGER)) AND {current}",
            current = catalog::IS_CURRENT
        ),
        catalog::current_params(name, load),
    )
}

/// The rows of the run's durable chunks, as their commits counted them. Fails with [`Mismatch`](ErrorKind::Mismatch)
/// when one of the receipts is not for a durable chunk of this run with those counts (I5).
pub(super) async fn require_durable(
    database: &Database,
    name: &str,
    load: &TableLoad,
    receipts: &[DurableReceipt],
) -> Result<u64> {
    let what = catalog::title(&load.table);
    let foreign = receipts.iter().find(|receipt| {
        receipt.chunk().connection_id != load.connection_id || receipt.fence().run != load.run
    });
    if let Some(receipt) = foreign {
        let chunk = receipt.chunk();
        return Err(Error::new(
            ErrorKind::Mismatch,
            format!("{what}: chunk {} of {} belongs to another run", chunk.chunk, chunk.stream),
        ));
    }
    // A chunk's three coordinates and count need some 100 bytes, so 5,000 of them stay far below D1's 2 MB for a parameter.
    for receipts in receipts.chunks(5_000) {
        let chunks: Vec<_> = receipts
            .iter()
            .map(|receipt| {
                let chunk = receipt.chunk();
                json!([chunk.stream.schema, chunk.stream.table, chunk.chunk, receipt.counts().written])
            })
            .collect();
        let mut params = catalog::current_params(name, load);
        params.push(serde_json::to_string(&chunks)?.into());
        let missing = Statement::new(
            "SELECT value FROM json_each(?4) WHERE NOT EXISTS (SELECT 1 FROM _fivetran_commits \
             WHERE name = ?1 AND connection_id = ?2 AND run = CAST(?3 AS INTEGER) \
             AND stream_schema = value->>0 AND stream_table = value->>1 AND chunk = value->>2 AND durable = 1 \
             AND counts->>'written' = value->>3) LIMIT 1",
            params,
        );
        if let Some(row) = database.query(&what, missing).await?.rows.first() {
            let chunk = text(row, "value")?;
            return Err(Error::new(ErrorKind::Mismatch, format!("{what}: chunk {chunk} is not durable")));
        }
    }
    let sum = Statement::new(
        "SELECT CAST(coalesce(sum(counts->>'written'), 0) AS TEXT) AS written FROM _fivetran_commits \
         WHERE name = ?1 AND connection_id = ?2 AND run = CAST(?3 AS INTEGER) AND durable = 1",
        catalog::current_params(name, load),
    );
    match database.query(&what, sum).await?.rows.first() {
        Some(row) => number(row, "written"),
        None => Err(Error::internal(format!("{what}: D1 did not answer a sum"))),
    }
}
