//! Proof that data is durable (invariant I2). Only a destination can issue one; only one can move a cursor.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::core::Result;
use crate::core::run::{ChunkId, Counts, Fence};

/// A chunk is durable at the destination. Fields are private, so no other module can make one up; it crosses the
/// queue and Durable Object borders as JSON between parts of this same program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DurableReceipt {
    chunk: ChunkId,
    fence: Fence,
    counts: Counts,
    /// What the destination needs to find the data again (part names, sizes, ETags).
    artifact: Value,
}

impl DurableReceipt {
    /// Issues a receipt. The equation of invariant I5 is checked here, so an unbalanced chunk cannot be durable.
    ///
    /// # Errors
    /// [`Mismatch`](ErrorKind::Mismatch) when rows read and rows written do not balance.
    pub(in crate::destinations) fn issue(
        chunk: ChunkId,
        fence: Fence,
        counts: Counts,
        artifact: Value,
    ) -> Result<Self> {
        counts.check(format_args!("chunk {} of {}", chunk.chunk, chunk.stream))?;
        Ok(Self { chunk, fence, counts, artifact })
    }

    /// The chunk.
    #[must_use]
    pub fn chunk(&self) -> &ChunkId {
        &self.chunk
    }

    /// The lease that committed it.
    #[must_use]
    pub fn fence(&self) -> Fence {
        self.fence
    }

    /// Its rows and bytes.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// The destination's own description of what it stored.
    #[must_use]
    pub fn artifact(&self) -> &Value {
        &self.artifact
    }
}

/// A table was published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableReceipt {
    /// Rows of the run that the published table holds, counted by the destination over the chunks it found durable
    /// when it published. The run compares it with the sum of the chunks' receipts (I5).
    pub written: u64,
    /// Rows marked or removed as deleted by the publish.
    pub deleted: u64,
    /// Live rows at the destination after the publish, where the destination can tell cheaply.
    pub live_rows: Option<u64>,
}
