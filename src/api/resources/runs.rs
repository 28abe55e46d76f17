//! Sync history. Ours, not Fivetran's: what its log tables and dashboard show, over REST.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::connections::found;
use super::table_body::TableBody;
use crate::api::Services;
use crate::api::access::Needs;
use crate::api::cursor::{self, Items};
use crate::api::error::{ApiError, ApiResult};
use crate::api::request::Call;
use crate::api::response::Answer;
use crate::api::router::{CURSOR, LIMIT, Method, PAGED, Route, handler};
use crate::api::timestamp::Timestamp;
use crate::control::log_events::StoredLogEvent;
use crate::control::streams::StreamVersion;
use crate::control::{LogLevel, RunRecord};
use crate::core::access::Access;
use crate::core::catalog::StreamName;
use crate::core::error::ErrorReport;
use crate::core::run::{Counts, Effort};
use crate::engine::{RunProgress, TableProgress};

pub(crate) fn routes() -> Vec<Route> {
    const RUNS: &str = "/v1/connections/{connection_id}/runs";
    const RUN: &str = "/v1/connections/{connection_id}/runs/{run_id}";
    const PROGRESS: &str = "/v1/connections/{connection_id}/progress";
    const LOGS: &str = "/v1/connections/{connection_id}/logs";
    const VERSIONS: &str = "/v1/connections/{connection_id}/schema-versions";
    vec![
        Route::new(
            Method::Get,
            RUNS,
            "List runs, the oldest first",
            Needs::connection(Access::Read),
            handler!(list => Items<RunBody>),
        )
        .query(PAGED),
        Route::new(
            Method::Get,
            RUN,
            "Read a run with its tables",
            Needs::connection(Access::Read),
            handler!(get => RunBody),
        ),
        Route::new(
            Method::Get,
            PROGRESS,
            "Live progress of the current or last run",
            Needs::connection(Access::Read),
            handler!(progress => ProgressBody),
        ),
        Route::new(
            Method::Get,
            LOGS,
            "List log events, the oldest first",
            Needs::connection(Access::Read),
            handler!(logs => Items<LogBody>),
        )
        .query(&[("run_id", "Only events of this run"), ("cursor", CURSOR), ("limit", LIMIT)]),
        Route::new(
            Method::Get,
            VERSIONS,
            "List every version of every table's shape, with what changed",
            Needs::connection(Access::Read),
            handler!(versions => Items<VersionBody>),
        )
        .query(&[
            ("schema", "Schema at the source, with table"),
            ("table", "Only versions of this table, with schema"),
            ("cursor", CURSOR),
            ("limit", LIMIT),
        ]),
    ]
}

/// A run: one sync of a connection.
#[derive(Serialize, JsonSchema)]
struct RunBody {
    id: String,
    connection_id: String,
    /// Number of the run within its connection, from 1.
    number: u64,
    /// Why it started: `schedule`, `manual` or `resync`.
    trigger: String,
    /// `RUNNING`, `SUCCESSFUL`, `FAILURE`, `FAILURE_WITH_TASK`, `RESCHEDULED` or `CANCELED`.
    state: String,
    /// `planning`, `reading`, `publishing`, `closing` or `done`.
    phase: String,
    started_at: Timestamp,
    ended_at: Option<Timestamp>,
    /// Sums over the tables.
    counts: Counts,
    /// Attempts that failed and were made again; known at the end.
    retries: u64,
    /// Why it failed.
    error: Option<ErrorReport>,
    /// Only in the details.
    #[serde(skip_serializing_if = "Option::is_none")]
    tables: Option<Vec<TableBody>>,
}

impl RunBody {
    /// The tables of a live run are as of its last sign of life.
    fn of(run: RunRecord, tables: Option<Vec<TableProgress>>) -> Self {
        let at = run.ended_at.unwrap_or(run.active_at);
        Self {
            id: run.id,
            connection_id: run.connection_id,
            number: run.number,
            trigger: run.trigger,
            state: run.state,
            phase: run.phase,
            started_at: Timestamp(run.started_at),
            ended_at: run.ended_at.map(Timestamp),
            counts: run.counts,
            retries: run.retries,
            error: run.error,
            tables: tables.map(|tables| TableBody::all(tables, at)),
        }
    }
}

/// Progress of the connection's current or last run.
#[derive(Serialize, JsonSchema)]
struct ProgressBody {
    /// `null` before the first run.
    run: Option<ProgressRun>,
}

#[derive(Serialize, JsonSchema)]
struct ProgressRun {
    id: String,
    /// As of a run.
    state: String,
    /// As of a run.
    phase: String,
    started_at: Timestamp,
    ended_at: Option<Timestamp>,
    tables: Vec<TableBody>,
    /// What moving the data cost so far.
    effort: Effort,
    error: Option<ErrorReport>,
}

impl ProgressRun {
    fn of(run: RunProgress, now: i64) -> Self {
        Self {
            id: run.run_id,
            state: run.state,
            phase: run.phase,
            started_at: Timestamp(run.started_at),
            ended_at: run.ended_at.map(Timestamp),
            tables: TableBody::all(run.tables, run.ended_at.unwrap_or(now)),
            effort: run.effort,
            error: run.error,
        }
    }
}

/// Something that happened.
#[derive(Serialize, JsonSchema)]
struct LogBody {
    id: String,
    level: LogLevel,
    /// For example `sync_start`, `create_table`, `alter_table`, `write_to_table_start`, `records_modified`,
    /// `write_to_table_end`, `sync_end`.
    event: String,
    run_id: Option<String>,
    created_at: Timestamp,
    data: Value,
}

impl From<StoredLogEvent> for LogBody {
    fn from(stored: StoredLogEvent) -> Self {
        Self {
            id: stored.id,
            level: stored.event.level,
            event: stored.event.event,
            run_id: stored.event.run_id,
            created_at: Timestamp(stored.event.created_at),
            data: stored.event.data,
        }
    }
}

/// A version of a table's shape at the source.
#[derive(Serialize, JsonSchema)]
struct VersionBody {
    schema: String,
    table: String,
    /// From 1.
    version: u32,
    detected_at: Timestamp,
    /// Run that found it; `null` for a reload.
    run_id: Option<String>,
    /// Columns, key and types; `null` when the table was gone from the source.
    stream: Option<Value>,
    /// What changed since the version before.
    diff: Value,
}

async fn list(services: &Services, call: &Call<'_>) -> ApiResult<Answer<Items<RunBody>>> {
    let connection = found(services, call).await?;
    let listing = services.control.runs(&connection.id, &call.page()?).await?;
    Answer::new("Runs retrieved successfully", &Items::of(listing, |run| RunBody::of(run, None)))
}

async fn get(services: &Services, call: &Call<'_>) -> ApiResult<Answer<RunBody>> {
    let connection = found(services, call).await?;
    let id = call.part("run_id");
    let run = services.control.run(&connection.id, id).await?;
    let (run, tables) = run.ok_or_else(|| ApiError::not_found("Run", id))?;
    Answer::new("Run details retrieved successfully", &RunBody::of(run, Some(tables)))
}

async fn progress(services: &Services, call: &Call<'_>) -> ApiResult<Answer<ProgressBody>> {
    let connection = found(services, call).await?;
    let now = services.ports.clock.now_micros();
    let run = services.syncs.progress(&connection.id).await?.map(|run| ProgressRun::of(run, now));
    Answer::new("Progress retrieved successfully", &ProgressBody { run })
}

async fn logs(services: &Services, call: &Call<'_>) -> ApiResult<Answer<Items<LogBody>>> {
    let connection = found(services, call).await?;
    let listing = services.control.log_events(&connection.id, call.query("run_id"), &call.page()?).await?;
    Answer::new("Log events retrieved successfully", &Items::of(listing, LogBody::from))
}

/// Position in a listing of versions. Short names, because it travels in URLs.
#[derive(Serialize, Deserialize)]
struct VersionCursor {
    s: String,
    t: String,
    v: u32,
}

async fn versions(services: &Services, call: &Call<'_>) -> ApiResult<Answer<Items<VersionBody>>> {
    let connection = found(services, call).await?;
    let stream = match (call.query("schema"), call.query("table")) {
        (Some(schema), Some(table)) => Some(StreamName::new(schema, table)),
        (None, None) => None,
        (schema, _) => {
            let missing = if schema.is_none() { "schema" } else { "table" };
            return Err(crate::core::Error::invalid("A table is named by schema and table")
                .field(missing)
                .remedy("Send both, or neither for all tables")
                .into());
        }
    };
    let after = call.query("cursor").map(cursor::read::<VersionCursor>).transpose()?;
    let after = after.map(|position| (StreamName::new(position.s, position.t), position.v));
    let limit = call.limit()?;
    let after = after.as_ref().map(|(name, version)| (name, *version));
    let mut found = services.control.stream_versions(&connection.id, stream.as_ref(), after, limit).await?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = found.len() > limit;
    found.truncate(limit);
    let next_cursor = found.last().filter(|_| more).map(|last| {
        cursor::write(&VersionCursor {
            s: last.name.schema.clone(),
            t: last.name.table.clone(),
            v: last.version,
        })
    });
    let items = found.into_iter().map(body).collect::<ApiResult<Vec<_>>>()?;
    Answer::new("Schema versions retrieved successfully", &Items { items, next_cursor })
}

fn body(version: StreamVersion) -> ApiResult<VersionBody> {
    Ok(VersionBody {
        schema: version.name.schema,
        table: version.name.table,
        version: version.version,
        detected_at: Timestamp(version.detected_at),
        run_id: version.run_id,
        stream: version.stream.map(serde_json::to_value).transpose().map_err(crate::core::Error::from)?,
        diff: version.diff,
    })
}
