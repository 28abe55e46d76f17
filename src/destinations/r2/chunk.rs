//! A chunk: its part, and the receipt that makes it durable.
//!
//! # Why replays and stale workers do no harm
//!
//! Everything below a chunk hangs on one object, its receipt `staging/{load}/c{chunk}.json`, written once with a put
//! that only succeeds if nothing is there. That put is the commit, and the store decides the race:
//!
//! * **Replay (I3).** Whoever opens a chunk with a receipt gets that receipt and does not read the source. Whoever was
//!   already writing loses the put, gets the winner's receipt, and its own part is never named by a manifest.
//! * **Stale worker (I4).** Parts carry the lease in their name, so a worker whose lease was taken over can neither
//!   overwrite nor remove what another lease stored, before or after a commit. If its put comes second, it is
//!   [`Fenced`](ErrorKind::Fenced). If it comes first, the newer lease finds a receipt for a complete reading of the
//!   same chunk and adopts it: the stale worker's bytes count, but only through the worker that holds the lease,
//!   since the SyncDO takes no report from an expired one.
//! * **Older run (I4).** Opening and committing look at the run the manifest announces. A worker that slips between
//!   that look and its put leaves a receipt that nothing reads: publishing checks the announced run inside the same
//!   compare-and-set that would make the chunk count.
//! * **Crash.** Before the put there is at most an unnamed object or an unfinished upload; the next run's publish
//!   sweeps the one ([`super::sweep`]), R2 the other.
//!
//! The rejected alternative, a claim object per chunk that the newest lease overwrites and the commit must match, keeps
//! stale bytes out altogether but writes one key twice within a second for every small chunk, which R2 throttles, and
//! rejects bytes that are as good as their replacement.

use std::rc::Rc;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, SchemaRef};
use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::config::Encoding;
use super::encoder::Encoder;
use super::layout::{self, TableLayout};
use super::manifest::{Part, PartKind};
use super::manifest_store::ManifestStore;
use super::part::PartWriter;
use crate::core::fault_point::FaultPoint;
use crate::core::run::{ChunkId, Counts, Fence};
use crate::core::table::LoadMode;
use crate::core::{Error, ErrorKind, Result};
use crate::destinations::{ChunkOpening, ChunkWriter, DurableReceipt, TableLoad};
use crate::ports::{ObjectStore, Ports, PutCondition, PutOutcome};

/// What a receipt keeps for publishing.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct ChunkArtifact {
    /// The stored part; `None` for a chunk without rows.
    pub(super) part: Option<Part>,
}

/// What opening a chunk needs to know.
pub(super) struct ChunkRequest<'a> {
    pub(super) store: Rc<dyn ObjectStore>,
    pub(super) ports: &'a Ports,
    pub(super) layout: TableLayout,
    pub(super) encoding: Encoding,
    pub(super) load: &'a TableLoad,
    pub(super) chunk: &'a ChunkId,
    pub(super) fence: Fence,
}

/// Finds the chunk's receipt, or begins its part.
///
/// # Errors
/// [`Fenced`](ErrorKind::Fenced) when a newer run was announced; an unreachable store.
pub(super) async fn open(request: ChunkRequest<'_>) -> Result<ChunkOpening> {
    let ChunkRequest { store, ports, layout, encoding, load, chunk, fence } = request;
    let manifests = ManifestStore::new(Rc::clone(&store), ports, &layout);
    let number = manifests.prepared().await?.manifest.load_number(load)?;
    let receipt_key = layout.receipt(number, chunk.chunk);
    if let Some(receipt) = read_receipt(&*store, &receipt_key).await? {
        return Ok(ChunkOpening::AlreadyDurable(receipt));
    }
    let path = layout::chunk_part(number, load.mode, chunk.chunk, fence, encoding)?;
    let kind = match load.mode {
        LoadMode::Full => PartKind::Full,
        LoadMode::Incremental => PartKind::Change,
    };
    let metadata = vec![
        ("fivetran.table".to_owned(), format!("{}.{}", load.table.schema, load.table.table)),
        ("fivetran.run".to_owned(), load.run_id.clone()),
        ("fivetran.chunk".to_owned(), chunk.chunk.to_string()),
    ];
    let encoder = Encoder::new(encoding, &load.table, metadata)?;
    let part = PartWriter::new(Rc::clone(&store), &layout, path, kind, encoder, encoding);
    Ok(ChunkOpening::Writer(Box::new(R2ChunkWriter {
        store,
        ports: ports.clone(),
        manifests,
        receipt_key,
        load: load.clone(),
        chunk: chunk.clone(),
        fence,
        expected: load.table.arrow(),
        part,
    })))
}

async fn read_receipt(store: &dyn ObjectStore, key: &str) -> Result<Option<DurableReceipt>> {
    match store.get(key).await? {
        Some((body, _)) => Ok(Some(serde_json::from_slice(&body)?)),
        None => Ok(None),
    }
}

/// Writes one chunk.
struct R2ChunkWriter {
    store: Rc<dyn ObjectStore>,
    ports: Ports,
    manifests: ManifestStore,
    receipt_key: String,
    load: TableLoad,
    chunk: ChunkId,
    fence: Fence,
    expected: SchemaRef,
    part: PartWriter,
}

/// The Parquet encoder would take a batch that lacks columns and write a file that cannot be read.
fn check_columns(expected: &SchemaRef, batch: &RecordBatch) -> Result<()> {
    let shape = |schema: &SchemaRef| -> Vec<(String, DataType)> {
        schema.fields().iter().map(|field| (field.name().clone(), field.data_type().clone())).collect()
    };
    if Arc::ptr_eq(expected, batch.schema_ref()) || shape(expected) == shape(batch.schema_ref()) {
        return Ok(());
    }
    Err(Error::internal(format!(
        "a batch has the columns {:?} where the table has {:?}",
        shape(batch.schema_ref()),
        shape(expected)
    )))
}

#[async_trait(?Send)]
impl ChunkWriter for R2ChunkWriter {
    async fn write(&mut self, batch: RecordBatch) -> Result<()> {
        if let Err(error) = check_columns(&self.expected, &batch) {
            self.part.abort().await;
            return Err(error);
        }
        self.part.write(&batch).await
    }

    async fn commit(self: Box<Self>, counts: Counts) -> Result<DurableReceipt> {
        let Self { store, ports, manifests, receipt_key, load, chunk, fence, mut part, .. } = *self;
        let counts = Counts { written: part.rows(), ..counts };
        // Checked before the last bytes are sent: an unbalanced chunk must not even exist (invariant I5).
        if let Err(error) = DurableReceipt::issue(chunk.clone(), fence, counts, serde_json::Value::Null) {
            part.abort().await;
            return Err(error);
        }
        let artifact = serde_json::to_value(ChunkArtifact { part: part.finish().await? })?;
        let receipt = DurableReceipt::issue(chunk, fence, counts, artifact)?;
        ports.reach(FaultPoint::AfterPut, &load.run_id).await?;
        manifests.prepared().await?.manifest.load_number(&load)?;
        let body = Bytes::from(serde_json::to_vec(&receipt)?);
        match store.put(&receipt_key, body, "application/json", PutCondition::IfAbsent).await? {
            PutOutcome::Written(_) => Ok(receipt),
            PutOutcome::Conflict => adopt(&*store, &receipt_key, fence).await,
        }
    }
}

/// The receipt of the worker that committed first.
async fn adopt(store: &dyn ObjectStore, key: &str, fence: Fence) -> Result<DurableReceipt> {
    let winner = read_receipt(store, key)
        .await?
        .ok_or_else(|| Error::new(ErrorKind::Fenced, format!("{key} was swept: its run is over")))?;
    if winner.fence() > fence {
        return Err(Error::new(
            ErrorKind::Fenced,
            format!(
                "chunk {} was committed under lease {}, after lease {} had expired",
                winner.chunk().chunk,
                winner.fence().lease,
                fence.lease
            ),
        ));
    }
    Ok(winner)
}
