//! Moving one chunk: source -> shape -> destination.

use std::rc::Rc;

use arrow::array::RecordBatch;
use async_trait::async_trait;

use crate::connectors::BatchSink;
use crate::control::ControlPlane;
use crate::core::fault_point::FaultPoint;
use crate::core::run::{Chunk, ChunkId, Counts, Effort};
use crate::core::settings::Selection;
use crate::core::shape::Shaper;
use crate::core::{Error, ErrorKind, Result};
use crate::destinations::{ChunkOpening, ChunkWriter, DurableReceipt, TableLoad};
use crate::engine::Engine;
use crate::engine::meter::Meter;
use crate::engine::open::require_planned;
use crate::engine::protocol::{Outcome, RunSpec, SelectedStream};
use crate::engine::pulse::Pulse;

impl Engine {
    /// Reads a chunk and makes it durable, unless some worker did already (I3).
    pub(in crate::engine) async fn read_chunk(
        &self,
        spec: &RunSpec,
        pulse: &Pulse<'_>,
        stream: &SelectedStream,
        load: &TableLoad,
        chunk: &Chunk,
    ) -> Result<Outcome> {
        pulse.take_turn().await;
        let connection = self.required_connection(&spec.connection_id).await?;
        let record = self.required_destination(&connection.group_id).await?;
        require_planned(&stream.definition, &connection, &record)?;
        let meter = Meter::new(self.ports.clock.clone());
        let ports = meter.ports(&self.ports);
        let destination = self.registry.destination(&record, &ports)?;
        let id = ChunkId {
            connection_id: spec.connection_id.clone(),
            run_id: spec.run_id.clone(),
            stream: stream.request.stream.name.clone(),
            chunk: chunk.index,
        };
        let writer = match destination.open(load, &id, pulse.fence()).await? {
            ChunkOpening::AlreadyDurable(receipt) => {
                return Ok(Outcome::ChunkDurable { receipt, effort: Effort::default() });
            }
            ChunkOpening::Writer(writer) => writer,
        };
        self.ports.reach(FaultPoint::AfterClaim, &spec.run_id).await?;
        let source = self.registry.source(&connection, &ports)?;
        let request = &stream.request;
        let salt = salt_of(&self.control, &record.id, &stream.selection).await?;
        let shaper = Shaper::new(&request.stream, &stream.selection, &load.table, load.synced_at, &salt)?;
        let mut sink = ChunkSink::new(shaper, writer, meter, pulse);
        let handed_over = source.read(request, chunk, &mut sink).await?;
        if handed_over != sink.counts.read {
            return Err(Error::new(
                ErrorKind::Mismatch,
                format!(
                    "chunk {} of {}: the source counted {handed_over} rows and handed over {}",
                    id.chunk, id.stream, sink.counts.read
                ),
            ));
        }
        let (receipt, effort) = sink.commit().await?;
        self.ports.reach(FaultPoint::AfterCommit, &spec.run_id).await?;
        Ok(Outcome::ChunkDurable { receipt, effort })
    }
}

/// The destination's salt, if anything of the stream is hashed.
pub(in crate::engine) async fn salt_of(
    control: &ControlPlane,
    destination_id: &str,
    selection: &Selection,
) -> Result<Vec<u8>> {
    if selection.columns.iter().any(|column| column.hashed) {
        return control.hash_salt(destination_id).await;
    }
    Ok(Vec::new())
}

/// Shapes batches, writes them, and tells the run that its worker is alive.
struct ChunkSink<'a> {
    shaper: Shaper,
    writer: Box<dyn ChunkWriter>,
    counts: Counts,
    meter: Rc<Meter>,
    pulse: &'a Pulse<'a>,
    /// When the chunk began, and how much time passed in here since, waiting for the destination included.
    began: i64,
    inside: i64,
    peak_memory: usize,
}

impl<'a> ChunkSink<'a> {
    fn new(shaper: Shaper, writer: Box<dyn ChunkWriter>, meter: Rc<Meter>, pulse: &'a Pulse<'a>) -> Self {
        let began = pulse.now();
        Self { shaper, writer, counts: Counts::default(), meter, pulse, began, inside: 0, peak_memory: 0 }
    }

    async fn commit(mut self) -> Result<(DurableReceipt, Effort)> {
        let since = self.pulse.now();
        let receipt = self.writer.commit(self.counts).await?;
        let now = self.pulse.now();
        self.inside = self.inside.saturating_add(now.saturating_sub(since));
        let memory = (self.pulse.engine().memory)().max(self.peak_memory);
        let micros = |span: i64| u64::try_from(span).unwrap_or(0);
        let source_wait = self.meter.waited_for_source();
        let destination_wait = self.meter.waited_for_destination();
        let outside = now.saturating_sub(self.began).saturating_sub(self.inside);
        let effort = Effort {
            source_wait: micros(source_wait),
            decode: micros(outside.saturating_sub(source_wait)),
            encode: micros(self.inside.saturating_sub(destination_wait)),
            destination_wait: micros(destination_wait),
            peak_memory: u64::try_from(memory).unwrap_or(u64::MAX),
            retries: 0,
        };
        Ok((receipt, effort))
    }

    async fn take(&mut self, batch: RecordBatch) -> Result<()> {
        self.pulse.reach(FaultPoint::AfterRead).await?;
        let rows = u64::try_from(batch.num_rows()).unwrap_or(u64::MAX);
        let shaped = self.shaper.shape(batch)?;
        let bytes = u64::try_from(shaped.get_array_memory_size()).unwrap_or(u64::MAX);
        self.counts.read = self.counts.read.saturating_add(rows);
        self.counts.bytes = self.counts.bytes.saturating_add(bytes);
        self.writer.write(shaped).await?;
        self.pulse.reach(FaultPoint::AfterStage).await?;
        self.peak_memory = self.peak_memory.max((self.pulse.engine().memory)());
        self.pulse.progress(self.counts).await
    }
}

#[async_trait(?Send)]
impl BatchSink for ChunkSink<'_> {
    async fn batch(&mut self, batch: RecordBatch) -> Result<()> {
        let since = self.pulse.now();
        let taken = self.take(batch).await;
        self.inside = self.inside.saturating_add(self.pulse.now().saturating_sub(since));
        taken
    }

    async fn deletes(&mut self, _keys: RecordBatch) -> Result<()> {
        Err(Error::internal("no source reports deletes yet"))
    }

    fn source_counted(&mut self, rows: u64) {
        self.counts.source_rows = Some(self.counts.source_rows.unwrap_or(0).saturating_add(rows));
    }
}
