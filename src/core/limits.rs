//! Every number the platform or we ourselves impose, with its arithmetic. Sources: Cloudflare's limits pages.

/// Bytes in a mebibyte.
pub const MIB: usize = 1024 * 1024;

/// Target size of one Arrow batch between source and destination: 8 MiB. Two in flight (one decoding, one encoding)
/// plus a Parquet row group of [`ROW_GROUP_BYTES`] stay well under the 64 MiB budget of invariant I9.
pub const BATCH_BYTES: usize = 8 * MIB;

/// Most rows in one batch; bounds the builders of very narrow tables.
pub const BATCH_ROWS: usize = 64 * 1024;

/// Parquet row groups are closed at this many encoded bytes in memory.
pub const ROW_GROUP_BYTES: usize = 12 * MIB;

/// Largest single value we move: a little more than the whole of a row in D1 ([`D1_MAX_ROW_BYTES`]). What a row of
/// [`MAX_ROW_BYTES`] takes on its way to Parquet, all at the same time: 4 MiB in the network's buffer, which doubles; 3 in its
/// batch; 2 in the page being filled, 2 in the page being closed, 3 in its compressed form, 6 as smallest and largest
/// values of its columns; 7 in the row group; 7 in that group's bytes, and 5 in the part before them: 39 of 64 MiB, with
/// the program on top, and holes, because an isolate's memory is never compacted. Values of 3 MiB went well or trapped,
/// depending on what had been there before.
pub const MAX_VALUE_BYTES: usize = 2 * MIB;

/// Largest row we move: a value of [`MAX_VALUE_BYTES`] and its neighbours.
pub const MAX_ROW_BYTES: usize = 3 * MIB;

/// From this size on, a row is a batch of its own.
pub const LONE_ROW_BYTES: usize = MIB / 2;

/// D1: columns per table (d1/platform/limits).
pub const D1_MAX_COLUMNS: usize = 100;

/// D1: bytes in one row, string or BLOB (2 MB, decimal).
pub const D1_MAX_ROW_BYTES: usize = 2_000_000;

/// D1: one JSON parameter of a bulk upsert. Production refuses values over 2 MB; 1.8 MB leaves a tenth for the last
/// row that overshoots.
pub const D1_PARAM_BYTES: usize = 1_800_000;

/// D1: bytes of SQL text in one statement (100 KB).
pub const D1_MAX_SQL_BYTES: usize = 100_000;

/// R2: multipart parts are equal and at least 5 MiB, the last one excepted.
pub const R2_PART_BYTES: usize = 5 * MIB;

/// Largest request body the API reads: schema configurations of thousands of tables fit in 4 MiB, a 10 MB body does
/// not and is refused with 413 before it is parsed.
pub const API_MAX_BODY_BYTES: usize = 4 * MIB;

/// A lease on an order lasts this long without a heartbeat; a chunk heartbeats at every batch.
pub const LEASE_MS: i64 = 90_000;

/// A queue consumer stops taking new orders after this long and hands over to a fresh message at the end of the queue. This
/// is the time slice by which connections share consumers: when as many large runs are live as there are consumers, a
/// small one waits for an order to end and no longer. A handover costs a message ($0.0000012), 360 an hour. It is also far
/// below the 15 minutes of wall time an invocation has, so that a runtime upgrade (30 s of grace) costs one chunk at most.
pub const CONSUMER_BUDGET_MS: i64 = 10_000;

/// Most connections an invocation waits for at once. The platform queues up the seventh (workers/platform/limits), where it
/// would hold up the others unseen; of the six, one stays free for the queue. A worker of a run needs two: one to its source
/// and one to its destination.
pub const OUTGOING_CONNECTIONS: usize = 5;

/// Days that ended runs and log events are kept, unless the variable `FIVETRAN_RETENTION_DAYS` says otherwise: a quarter,
/// so that last month's question can still be answered. What that takes of D1's 10 GB is in docs/scale.md.
pub const RETENTION_DAYS: u32 = 90;

/// Attempts of one order before its table fails.
pub const MAX_ATTEMPTS: u32 = 6;
