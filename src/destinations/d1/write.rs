//! Writes a chunk: rows gather in a JSON text until it is as large as D1 takes, then go off as one upsert.

use std::rc::Rc;

use arrow::array::RecordBatch;
use async_trait::async_trait;
use futures::future::LocalBoxFuture;
use futures::{FutureExt, poll};

use super::database::Database;
use super::encode::RowEncoder;
use super::history;
use super::insert::{self, Origin, Step};
use super::watermark::{Claim, Claimed};
use super::{catalog, names};
use crate::core::fault_point::FaultPoint;
use crate::core::limits::{D1_MAX_ROW_BYTES, D1_PARAM_BYTES};
use crate::core::run::{ChunkId, Counts, Fence};
use crate::core::settings::TableSyncMode;
use crate::core::{Error, ErrorKind, Result};
use crate::destinations::{ChunkOpening, ChunkWriter, DurableReceipt, TableLoad};
use crate::ports::{SqlValue, Statement};

/// In a row too wide for one JSON parameter, values larger than this travel in parameters of their own: at most 61 of
/// them fit D1's 2 MB for a row, within its 100 parameters.
const WIDE_VALUE_BYTES: usize = 32 * 1024;

/// Bytes of a BLOB in one parameter, which holds them as twice as many hexadecimal digits.
const BLOB_PIECE_BYTES: usize = D1_PARAM_BYTES / 2;

/// See [`Destination::open`](crate::destinations::Destination::open).
pub(super) async fn open(
    database: &Rc<Database>,
    load: &TableLoad,
    chunk: &ChunkId,
    fence: Fence,
) -> Result<ChunkOpening> {
    let name = names::physical(&load.table.schema, &load.table.table);
    let what = catalog::title(&load.table);
    if fence.run != load.run || chunk.run_id != load.run_id || chunk.connection_id != load.connection_id {
        return Err(Error::internal(format!("{what}: chunk, fence and load belong to different runs")));
    }
    match Claim::take(database, &name, load, chunk, fence).await? {
        Claimed::Durable(receipt) => Ok(ChunkOpening::AlreadyDurable(receipt)),
        Claimed::Ours(claim) => {
            let reader = database.row_reader().await?;
            let merge = merge(load, &name, reader, |_| Origin::Row);
            Ok(ChunkOpening::Writer(Box::new(D1ChunkWriter {
                database: Rc::clone(database),
                load: load.clone(),
                what,
                name,
                reader,
                merge,
                claim,
                buffer: Vec::with_capacity(D1_PARAM_BYTES),
                buffered: 0,
                in_flight: None,
                taken: 0,
                bytes: 0,
            })))
        }
    }
}

struct D1ChunkWriter {
    database: Rc<Database>,
    load: TableLoad,
    what: String,
    name: String,
    reader: &'static str,
    merge: Vec<Step>,
    claim: Claim,
    /// JSON rows not yet sent, without the closing bracket; empty when there are none.
    buffer: Vec<u8>,
    /// How many.
    buffered: u64,
    /// The upsert D1 is working on, which answers how many rows it took.
    in_flight: Option<LocalBoxFuture<'static, Result<u64>>>,
    /// Rows D1 says it took.
    taken: u64,
    bytes: u64,
}

#[async_trait(?Send)]
impl ChunkWriter for D1ChunkWriter {
    async fn write(&mut self, batch: RecordBatch) -> Result<()> {
        let table = self.load.table.clone();
        let encoder = RowEncoder::new(&table, &batch)?;
        for row in 0..batch.num_rows() {
            // First: a text of control characters is six times as long in JSON, and megabytes of it are not worth making.
            if encoder.stored_bytes(row) > D1_MAX_ROW_BYTES {
                return Err(self.too_large(&encoder, row));
            }
            let start = self.buffer.len();
            self.buffer.push(if start == 0 { b'[' } else { b',' });
            encoder.row(row, &mut self.buffer)?;
            if self.buffer.len() < D1_PARAM_BYTES {
                self.buffered = self.buffered.saturating_add(1);
                continue;
            }
            let mut last = Vec::with_capacity(D1_PARAM_BYTES);
            last.push(b'[');
            last.extend_from_slice(self.buffer.get(start.saturating_add(1)..).unwrap_or_default());
            self.buffer.truncate(start);
            self.flush().await?;
            if last.len() < D1_PARAM_BYTES {
                self.buffer = last;
                self.buffered = 1;
            } else {
                drop(last);
                self.write_wide_row(&encoder, row).await?;
            }
        }
        let bytes = u64::try_from(batch.get_array_memory_size()).unwrap_or(u64::MAX);
        self.bytes = self.bytes.saturating_add(bytes);
        Ok(())
    }

    async fn commit(mut self: Box<Self>, counts: Counts) -> Result<DurableReceipt> {
        self.flush().await?;
        self.settle().await?;
        self.database.reach(FaultPoint::AfterPut, &self.load.run_id).await?;
        let bytes = if counts.bytes == 0 { self.bytes } else { counts.bytes };
        let counts = Counts { written: self.taken, bytes, ..counts };
        self.claim.make_durable(&self.database, &self.what, counts).await
    }
}

impl D1ChunkWriter {
    /// Sends what has gathered.
    async fn flush(&mut self) -> Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let mut rows = std::mem::take(&mut self.buffer);
        rows.push(b']');
        let mut params = self.claim.params();
        params.push(text(rows)?);
        let sent = std::mem::take(&mut self.buffered);
        self.send(bound(&self.merge, params), sent).await
    }

    /// Starts a statement after the one before it has succeeded, and does not wait for it: while D1 works, the source
    /// delivers and the next text is encoded. One statement is under way at most, so two texts are the most memory.
    ///
    /// A first poll is what starts a call (on the platform it sends the request); no executor has to be borrowed.
    async fn send(&mut self, merge: Vec<Statement>, rows: u64) -> Result<()> {
        self.settle().await?;
        let (database, what) = (Rc::clone(&self.database), self.what.clone());
        let mut call = async move { merged(&database, &what, merge, rows).await }.boxed_local();
        match poll!(&mut call) {
            std::task::Poll::Ready(taken) => self.taken = self.taken.saturating_add(taken?),
            std::task::Poll::Pending => self.in_flight = Some(call),
        }
        Ok(())
    }

    /// Waits for the statement under way.
    async fn settle(&mut self) -> Result<()> {
        if let Some(call) = self.in_flight.take() {
            self.taken = self.taken.saturating_add(call.await?);
        }
        Ok(())
    }

    /// Sends one row that is too long as JSON, its large values in parameters of their own: escapes and hexadecimal
    /// digits must not make D1's limit smaller than it is.
    async fn write_wide_row(&mut self, encoder: &RowEncoder<'_>, row: usize) -> Result<()> {
        let mut rows = vec![b'['];
        let large = encoder.wide_row(row, WIDE_VALUE_BYTES, BLOB_PIECE_BYTES, &mut rows)?;
        rows.push(b']');
        if rows.len() > D1_MAX_ROW_BYTES {
            return Err(self.too_large(encoder, row));
        }
        let merge = merge(&self.load, &self.name, self.reader, |index| {
            match large.iter().find(|(column, _)| *column == index) {
                Some((_, pieces)) => Origin::Params(pieces.len()),
                None => Origin::Row,
            }
        });
        let mut params = self.claim.params();
        params.push(text(rows)?);
        params.extend(large.into_iter().flat_map(|(_, pieces)| pieces).map(SqlValue::Text));
        self.send(bound(&merge, params), 1).await
    }

    fn too_large(&self, encoder: &RowEncoder<'_>, row: usize) -> Error {
        let (key, stored) = (encoder.key_text(row), encoder.stored_bytes(row));
        let (column, bytes) = encoder.largest_value(row).unwrap_or_default();
        let message = format!(
            "{}: the row {key} has {stored} bytes, {bytes} of them in column {column}; D1 takes {D1_MAX_ROW_BYTES}",
            self.what
        );
        Error::new(ErrorKind::DestinationLimit, message)
            .remedy("Exclude the large column in the connection's schema settings, or use an R2 destination")
    }
}

/// How rows meet those already there, as the table's mode says.
fn merge(load: &TableLoad, name: &str, reader: &str, origin: impl Fn(usize) -> Origin) -> Vec<Step> {
    match load.table.sync_mode() {
        TableSyncMode::History => history::merge(load, name, reader, origin),
        TableSyncMode::SoftDelete | TableSyncMode::Live => {
            vec![Step { sql: insert::upsert(&load.table, name, reader, origin), takes_rows: true }]
        }
    }
}

/// The statements of a merge over these parameters. Those that take rows are followed by a count.
fn bound(merge: &[Step], params: Vec<SqlValue>) -> Vec<Statement> {
    let mut statements = Vec::with_capacity(merge.len() * 2);
    for step in merge {
        statements.push(Statement::new(step.sql.clone(), params.clone()));
        if step.takes_rows {
            statements.push(insert::count_changes());
        }
    }
    statements
}

/// Merges that many rows and answers how many D1 took (I5): a trigger of the user's may leave rows out.
async fn merged(database: &Database, what: &str, merge: Vec<Statement>, rows: u64) -> Result<u64> {
    let results = database.batch(what, merge).await?;
    let mut taken = 0_u64;
    for answer in results.iter().filter_map(|result| result.rows.first()) {
        taken = taken.saturating_add(catalog::number(answer, "changes")?);
    }
    if taken == rows {
        return Ok(taken);
    }
    Err(Error::new(ErrorKind::Mismatch, format!("{what}: D1 took {taken} of {rows} rows"))
        .remedy("Look for a trigger on the table that leaves rows out"))
}

fn text(json: Vec<u8>) -> Result<SqlValue> {
    let text = String::from_utf8(json)
        .map_err(|error| Error::internal("an encoded row is not UTF-8").caused_by(error))?;
    Ok(SqlValue::Text(text))
}
