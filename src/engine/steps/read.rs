//! Moving one chunk: source -> shape -> destination.

use arrow::array::RecordBatch;
use async_trait::async_trait;

use crate::connectors::BatchSink;
use crate::core::limits::LEASE_MS;
use crate::core::run::{Chunk, ChunkId, Counts, Fence};
use crate::core::shape::Shaper;
use crate::core::{Error, ErrorKind, Result};
use crate::destinations::{ChunkOpening, ChunkWriter, TableLoad};
use crate::engine::Engine;
use crate::engine::protocol::{Outcome, RunSpec, SelectedStream, SyncRequest};

impl Engine {
    /// Reads a chunk and makes it durable, unless some worker did already (I3).
    pub(in crate::engine) async fn read_chunk(
        &self,
        spec: &RunSpec,
        order: i64,
        fence: Fence,
        stream: &SelectedStream,
        load: &TableLoad,
        chunk: &Chunk,
    ) -> Result<Outcome> {
        let connection = self.required_connection(&spec.connection_id).await?;
        let record = self.required_destination(&connection.group_id).await?;
        let destination = self.open_destination(&record)?;
        let id = ChunkId {
            connection_id: spec.connection_id.clone(),
            run_id: spec.run_id.clone(),
            stream: stream.request.stream.name.clone(),
            chunk: chunk.index,
        };
        let writer = match destination.open(load, &id, fence).await? {
            ChunkOpening::AlreadyDurable(receipt) => return Ok(Outcome::ChunkDurable { receipt }),
            ChunkOpening::Writer(writer) => writer,
        };
        let source = self.open_source(&connection)?;
        let salt = self.control.hash_salt(&record);
        let mut sink = ChunkSink {
            engine: self,
            spec,
            order,
            fence,
            shaper: Shaper::new(
                &stream.request.stream,
                &stream.selection,
                &load.table,
                load.synced_at,
                &salt,
            )?,
            writer,
            counts: Counts::default(),
            beat_at: self.ports.clock.now_ms(),
        };
        let handed_over = source.read(&stream.request, chunk, &mut sink).await?;
        if handed_over != sink.counts.read {
            return Err(Error::new(
                ErrorKind::Mismatch,
                format!(
                    "chunk {} of {}: the source counted {handed_over} rows and handed over {}",
                    id.chunk, id.stream, sink.counts.read
                ),
            ));
        }
        Ok(Outcome::ChunkDurable { receipt: sink.writer.commit(sink.counts).await? })
    }
}

/// Shapes batches, writes them, and tells the run that its worker is alive.
struct ChunkSink<'a> {
    engine: &'a Engine,
    spec: &'a RunSpec,
    order: i64,
    fence: Fence,
    shaper: Shaper,
    writer: Box<dyn ChunkWriter>,
    counts: Counts,
    beat_at: i64,
}

/// A sixth of the lease: five beats may be lost before the lease is, and progress is fresh enough for a person.
const BEAT_MS: i64 = LEASE_MS / 6;

/// Live progress is worth a call this often even when the lease is not in danger.
const PROGRESS_MS: i64 = 2_000;

impl ChunkSink<'_> {
    /// A beat that fails because the lease is lost ends the chunk; an unreachable object does not, as long as the
    /// lease may still be ours: the commit is fenced anyway (I4).
    async fn beat(&mut self) -> Result<()> {
        let now = self.engine.ports.clock.now_ms();
        if now.saturating_sub(self.beat_at) < PROGRESS_MS {
            return Ok(());
        }
        let beat = SyncRequest::Heartbeat {
            order: self.order,
            fence: self.fence,
            rows: self.counts.read,
            bytes: self.counts.bytes,
        };
        match self.engine.actors.sync(&self.spec.run_id, beat).await {
            Ok(_) => {
                self.beat_at = now;
                Ok(())
            }
            Err(error) if matches!(error.kind(), ErrorKind::Fenced | ErrorKind::Cancelled) => Err(error),
            Err(error) if now.saturating_sub(self.beat_at) > BEAT_MS.saturating_mul(5) => Err(error),
            Err(_) => Ok(()),
        }
    }
}

#[async_trait(?Send)]
impl BatchSink for ChunkSink<'_> {
    async fn batch(&mut self, batch: RecordBatch) -> Result<()> {
        let rows = u64::try_from(batch.num_rows()).unwrap_or(u64::MAX);
        let shaped = self.shaper.shape(batch)?;
        self.counts.read = self.counts.read.saturating_add(rows);
        let bytes = u64::try_from(shaped.get_array_memory_size()).unwrap_or(u64::MAX);
        self.counts.bytes = self.counts.bytes.saturating_add(bytes);
        self.writer.write(shaped).await?;
        self.beat().await
    }

    async fn deletes(&mut self, _keys: RecordBatch) -> Result<()> {
        Err(Error::internal("no source reports deletes yet"))
    }
}
