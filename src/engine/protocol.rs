//! What crosses the queue and the Durable Object borders. All of it is JSON between parts of this same program.

use serde::{Deserialize, Serialize};

use super::sync_control::{RunProgress, StartOutcome, StartRequest, TableProgress, Trigger};
use crate::connectors::StreamRequest;
use crate::core::Error;
use crate::core::catalog::StreamName;
use crate::core::error::ErrorReport;
use crate::core::run::{Chunk, Cursor, Effort, Fence, StreamPlan};
use crate::core::settings::Selection;
use crate::core::table::TableSchema;
use crate::core::table_change::TableChange;
use crate::destinations::{Dropped, DurableReceipt, TableLoad, TableReceipt};

/// A message on the queue: work orders, never rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Message {
    /// A connection is due.
    Start {
        /// Connection.
        connection_id: String,
        /// The due time being served, microseconds UTC.
        due_at: i64,
    },
    /// There may be work in this run: a wake-up, not an assignment. Losing or repeating one is harmless (I3), since
    /// workers pull their orders from the run itself.
    Work {
        /// Run.
        run_id: String,
    },
    /// There may be events to tell somebody ([`crate::delivery`]). Losing or repeating one is harmless: the outbox says
    /// what is due, and the sweep looks into it every minute.
    Deliver,
}

impl Message {
    /// Which of `queues` queues carries it: always the same one for a connection, so that a run that is read in many
    /// chunks shares its queue with some connections and not with all.
    #[must_use]
    pub fn queue_of(&self, queues: usize) -> usize {
        let connection_id = match self {
            Self::Start { connection_id, .. } => connection_id,
            // A run's id is its connection's, a dot and its number.
            Self::Work { run_id } => run_id.rsplit_once('.').map_or(run_id.as_str(), |(id, _)| id),
            _ => return 0,
        };
        // FNV-1a.
        let hash = connection_id
            .bytes()
            .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
        (hash as usize).checked_rem(queues).unwrap_or(0)
    }
}

/// What a run needs to know of itself from its first moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunSpec {
    /// Connection.
    pub connection_id: String,
    /// Run; also the name of its SyncDO.
    pub run_id: String,
    /// Number within the connection, from 1.
    pub number: u64,
    /// Microseconds UTC; strictly grows from run to run and is the `_fivetran_synced` of its rows.
    pub started_at: i64,
    /// Why it started.
    #[serde(default)]
    pub trigger: Trigger,
}

/// A stream as the plan of the run selects it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SelectedStream {
    /// What the source is asked for.
    pub request: StreamRequest,
    /// How its columns become the destination's, and the table that makes.
    pub selection: Selection,
    /// Fingerprint of the connection's definition when the run was planned, its destination included. A run that goes on under
    /// another one would mix two sources in one table, share a table out over two places, or move a column in clear that is to
    /// be hashed.
    pub definition: String,
}

/// A unit of work in a run, leased to one worker at a time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Order {
    /// Number within the run.
    pub id: i64,
    /// 1 for the first try.
    pub attempt: u32,
    /// What to do.
    pub task: Task,
}

/// What an order asks for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Task {
    /// Discover the source, record schema changes, select streams.
    PlanRun,
    /// Split one stream into chunks and prepare its table.
    PlanStream {
        /// The stream.
        stream: Box<SelectedStream>,
    },
    /// Move one chunk.
    Read {
        /// The stream.
        stream: Box<SelectedStream>,
        /// Its load.
        load: Box<TableLoad>,
        /// The chunk.
        chunk: Chunk,
    },
    /// Make a table's chunks its content.
    Publish {
        /// The load.
        load: Box<TableLoad>,
        /// See [`SelectedStream::definition`].
        definition: String,
        /// Proof of every chunk, in chunk order.
        receipts: Vec<DurableReceipt>,
    },
    /// Tell the connection, write history, end the run.
    Close {
        /// What the run came to.
        conclusion: Box<Conclusion>,
    },
}

/// The end of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conclusion {
    /// Final state and per-table equation.
    pub progress: RunProgress,
    /// Cursors of the streams that were published: proof-backed, see [`Advance`].
    pub advances: Vec<Advance>,
    /// True when a person must act before a retry can help.
    pub needs_person: bool,
}

/// Permission to move one stream's cursor (invariant I2). The field is private to the run's state machine, which
/// makes one only for a stream whose every chunk has a [`DurableReceipt`] and whose table has a [`TableReceipt`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Advance {
    stream: StreamName,
    cursor: Option<Cursor>,
}

impl Advance {
    pub(super) fn of_published_stream(
        stream: StreamName,
        cursor: Option<Cursor>,
        _proof: &TableReceipt,
    ) -> Self {
        Self { stream, cursor }
    }

    /// The stream.
    #[must_use]
    pub fn stream(&self) -> &StreamName {
        &self.stream
    }

    /// Where its next run starts; `None` for streams that are read in full every time.
    #[must_use]
    pub fn cursor(&self) -> Option<&Cursor> {
        self.cursor.as_ref()
    }
}

impl Task {
    /// For logs.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::PlanRun => "plan_run",
            Self::PlanStream { .. } => "plan_stream",
            Self::Read { .. } => "read",
            Self::Publish { .. } => "publish",
            Self::Close { .. } => "close",
        }
    }
}

/// What came of an order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Outcome {
    /// Of [`Task::PlanRun`].
    RunPlanned {
        /// The enabled streams, those left out that were handed in before with [`SyncRequest::Plan`].
        streams: Vec<SelectedStream>,
        /// Streams whose settings contradict what the source offers: they fail, the others go on.
        refused: Vec<(StreamName, ErrorReport)>,
        /// Most chunks to read at once.
        max_parallel_reads: u32,
    },
    /// Of [`Task::PlanStream`].
    StreamPlanned {
        /// The chunks.
        plan: StreamPlan,
        /// The prepared load.
        load: TableLoad,
    },
    /// Of [`Task::Read`].
    ChunkDurable {
        /// The proof.
        receipt: DurableReceipt,
        /// What it cost this worker; nothing when another one had made the chunk durable.
        effort: Effort,
    },
    /// Of [`Task::Publish`].
    Published {
        /// The proof.
        receipt: TableReceipt,
        /// Whether the next load must be a full one, see [`Publishing::Crowded`](crate::destinations::Publishing::Crowded).
        #[serde(default)]
        crowded: bool,
    },
    /// Of [`Task::Publish`]: a step is done, and the order is to be leased again for the next.
    PublishGoesOn,
    /// Of [`Task::Close`].
    Closed,
    /// The order failed; the retry policy decides what follows.
    Failed {
        /// Why.
        error: ErrorReport,
        /// Randomness for the back-off.
        jitter: u8,
    },
}

/// Requests to a ConnectorDO.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum ConnectorRequest {
    /// Open a run, unless one is live.
    Open {
        /// Connection (the object does not know its own name).
        connection_id: String,
        /// The request.
        request: StartRequest,
    },
    /// End a run and move the cursors its conclusion allows.
    Close {
        /// Run; ignored unless it is the live one.
        run_id: String,
        /// Cursors to move.
        advances: Vec<Advance>,
    },
    /// The live run and the last one.
    Runs,
    /// One stream's cursor.
    Cursor {
        /// The stream.
        stream: StreamName,
    },
    /// Forget one stream's cursor: it must be read in full.
    ForgetCursor {
        /// The stream.
        stream: StreamName,
    },
    /// All cursors.
    State,
    /// Replace all cursors.
    SetState {
        /// New cursors.
        cursors: Vec<(StreamName, Cursor)>,
    },
    /// Forget everything.
    Forget,
}

/// Answers of a ConnectorDO.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "snake_case")]
pub enum ConnectorReply {
    /// To `Open`. The run is the new or the live one; absent when the due time was served before.
    Opened {
        /// What happened.
        outcome: StartOutcome,
        /// The run concerned.
        run: Option<RunSpec>,
    },
    /// To `Runs`.
    Runs {
        /// The live run.
        live: Option<RunSpec>,
        /// The newest run, live or not.
        last: Option<RunSpec>,
    },
    /// To `Cursor`.
    Cursor {
        /// The cursor, if there is one.
        cursor: Option<Cursor>,
        /// Number of the run that moved it there; `None` when a person set it.
        moved_by: Option<u64>,
    },
    /// To `State`.
    State {
        /// Every cursor.
        cursors: Vec<(StreamName, Cursor)>,
    },
    /// To the rest.
    Done,
}

/// Requests to a SyncDO.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum SyncRequest {
    /// Begin; repeating it is harmless.
    Open {
        /// The run.
        spec: RunSpec,
    },
    /// Ask for work.
    Lease,
    /// Still at it.
    Heartbeat {
        /// Order.
        order: i64,
        /// Lease.
        fence: Fence,
        /// Rows and bytes read so far in this attempt, where there is news.
        progress: Option<(u64, u64)>,
    },
    /// Some of the streams that a run's plan enables, before the last ones come with its outcome. There may be ten thousand,
    /// which no single message should carry.
    Plan {
        /// Order.
        order: i64,
        /// Lease.
        fence: Fence,
        /// The streams.
        streams: Vec<SelectedStream>,
    },
    /// Hand over: this worker's time is up, another one must be woken for what is left.
    Yield,
    /// Report.
    Complete {
        /// Order.
        order: i64,
        /// Lease.
        fence: Fence,
        /// What came of it.
        outcome: Box<Outcome>,
    },
    /// Stop. A run whose every order is settled is not stopped any more; it may be closed at once.
    Cancel,
    /// Forget everything: the connection is being deleted.
    Forget,
    /// How far it is.
    Progress,
}

/// Answers of a SyncDO.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "snake_case")]
pub enum SyncReply {
    /// To `Lease`.
    Leased {
        /// The run.
        spec: RunSpec,
        /// The order.
        order: Box<Order>,
        /// The lease.
        fence: Fence,
    },
    /// To `Lease`: nothing to do right now; the run wakes workers when there is.
    Idle,
    /// To `Lease`: the run is over.
    Over,
    /// To `Lease`: no such run here. Either it was purged long ago, or its state was lost.
    Unknown,
    /// To `Complete`.
    Recorded {
        /// Phase of the run.
        phase: String,
        /// The table concerned, as it stands now.
        table: Option<Box<TableProgress>>,
        /// When the run goes on, microseconds UTC, if the other side asked for so much time that it rests until then.
        #[serde(default)]
        rests_until: Option<i64>,
    },
    /// To `Progress`.
    Progress {
        /// The progress, if the run is known.
        progress: Option<Box<RunProgress>>,
    },
    /// To the rest.
    Done,
}

/// Requests to a DestinationDO.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum DestinationRequest {
    /// Create or widen a table; one at a time per destination.
    Prepare {
        /// Destination.
        destination_id: String,
        /// The load; its table is what the run needs.
        load: Box<TableLoad>,
        /// The run whose cursor the load goes on from.
        since: Option<u64>,
    },
    /// Those of the tables that there are, as they stand, from this object's own records.
    Current {
        /// Schema and table at the destination.
        tables: Vec<(String, String)>,
    },
    /// Drop columns of a table that was prepared for the load; takes turns with `Prepare`.
    DropColumns {
        /// Destination.
        destination_id: String,
        /// The load.
        load: Box<TableLoad>,
        /// Names at the destination.
        columns: Vec<String>,
    },
    /// Every version of a table this destination has been given.
    History {
        /// Schema at the destination.
        schema: String,
        /// Table at the destination.
        table: String,
    },
    /// Forget the histories of a destination that was deleted.
    Forget,
}

/// Answers of a DestinationDO.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "snake_case")]
pub enum DestinationReply {
    /// To `Prepare`: the table as it now stands for this load (types possibly wider than asked).
    Prepared {
        /// The table; `None` when changes were to go to a table that does not hold what they follow.
        table: Option<TableSchema>,
        /// What this run changed about it.
        #[serde(default)]
        change: Option<NotedChange>,
    },
    /// To `DropColumns`.
    Dropped {
        /// What it came to.
        dropped: Dropped,
    },
    /// To `Current`.
    Current {
        /// The tables.
        tables: Vec<TableSchema>,
    },
    /// To `History`.
    History {
        /// Versions, oldest first.
        versions: Vec<TableVersion>,
    },
    /// To the rest.
    Done,
}

/// What a run changed about a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotedChange {
    /// The change.
    pub change: TableChange,
    /// Microseconds UTC; the same however often it is asked for.
    pub at: i64,
}

/// One version of a destination table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableVersion {
    /// From 1.
    pub version: u32,
    /// The table.
    pub table: TableSchema,
    /// Run that made it.
    pub run_id: String,
    /// Microseconds UTC.
    pub at: i64,
}

/// An answer or an error, as it crosses an object border.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Envelope<T> {
    /// The answer.
    Ok(T),
    /// The error, without its causes.
    Error(ErrorReport),
}

impl<T> Envelope<T> {
    /// Back to a result.
    ///
    /// # Errors
    /// The error inside.
    pub fn into_result(self) -> Result<T, Error> {
        match self {
            Self::Ok(value) => Ok(value),
            Self::Error(report) => Err(report.into()),
        }
    }
}

impl<T> From<Result<T, Error>> for Envelope<T> {
    fn from(result: Result<T, Error>) -> Self {
        match result {
            Ok(value) => Self::Ok(value),
            Err(error) => Self::Error(ErrorReport::from(&error)),
        }
    }
}
