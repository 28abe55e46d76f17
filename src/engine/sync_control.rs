//! What the API, the cron and the SDK may ask of the engine.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::core::Result;
use crate::core::catalog::StreamName;
use crate::core::error::ErrorReport;
use crate::core::run::{Counts, Effort};
use crate::core::table::LoadMode;

/// Why a run starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// Its time has come.
    #[default]
    Schedule,
    /// Somebody asked.
    Manual,
    /// Somebody asked for all history again.
    Resync,
}

/// A request to start a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartRequest {
    /// Why.
    pub trigger: Trigger,
    /// The due time being served (microseconds UTC), for [`Trigger::Schedule`]: the same due time starts one run only.
    #[serde(default)]
    pub due_at: Option<i64>,
    /// Cancel a live run first.
    #[serde(default)]
    pub force: bool,
    /// For [`Trigger::Resync`]: the streams whose cursors are forgotten; `None` means all of them.
    #[serde(default)]
    pub scope: Option<Vec<StreamName>>,
}

/// What came of a start request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum StartOutcome {
    /// A run was opened.
    Started {
        /// Its id.
        run_id: String,
    },
    /// A run is live already and was left alone (invariant I1).
    AlreadyRunning {
        /// Its id.
        run_id: String,
    },
    /// This due time was served before.
    AlreadyServed,
}

/// How the reading of one table goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pace {
    /// Attempts at its chunks so far; a chunk that is read without trouble takes one.
    pub attempts: u32,
    /// When its chunks were planned, microseconds UTC.
    pub since: Option<i64>,
    /// When it was published, microseconds UTC.
    pub until: Option<i64>,
}

/// Progress of one table in a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct TableProgress {
    /// Schema at the source.
    pub schema: String,
    /// Table at the source.
    pub table: String,
    /// `planned`, `reading`, `published` or `failed`.
    pub state: String,
    /// How the table is loaded.
    pub mode: LoadMode,
    /// Chunks known so far.
    pub chunks_planned: u32,
    /// Chunks durable.
    pub chunks_done: u32,
    /// Rows and bytes so far.
    pub counts: Counts,
    /// Rows expected in all, by the source's own estimate.
    pub estimated_rows: Option<u64>,
    /// Live rows at the destination after publishing, where it can tell cheaply.
    pub live_rows: Option<u64>,
    /// How its reading goes; the API makes rates of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(skip)]
    pub pace: Option<Pace>,
    /// What went wrong.
    pub error: Option<ErrorReport>,
}

/// Progress of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct RunProgress {
    /// Run.
    pub run_id: String,
    /// `RUNNING`, `SUCCESSFUL`, `FAILURE`, `FAILURE_WITH_TASK`, `RESCHEDULED` or `CANCELED`.
    pub state: String,
    /// `planning`, `reading`, `publishing`, `closing` or `done`.
    pub phase: String,
    /// Microseconds UTC.
    pub started_at: i64,
    /// Microseconds UTC.
    pub ended_at: Option<i64>,
    /// Tables by name.
    pub tables: Vec<TableProgress>,
    /// What moving the data cost so far.
    #[serde(default)]
    pub effort: Effort,
    /// Why the run failed.
    pub error: Option<ErrorReport>,
}

/// The engine as the API sees it.
#[async_trait(?Send)]
pub trait SyncControl {
    /// Starts a run of a connection, at most one at a time (invariant I1).
    ///
    /// # Errors
    /// When the connection's object cannot be reached.
    async fn start(&self, connection_id: &str, request: StartRequest) -> Result<StartOutcome>;

    /// Cancels the live run, if there is one, and returns when it is over. What is durable stays, and tables that were
    /// published keep their new cursors. A run whose tables are all settled is brought to its end instead.
    ///
    /// # Errors
    /// As [`SyncControl::start`]; when the run could not be ended now.
    async fn cancel(&self, connection_id: &str) -> Result<()>;

    /// Starts the live run over, if there is one: what it was planned from was changed.
    ///
    /// # Errors
    /// As [`SyncControl::cancel`].
    async fn restart(&self, connection_id: &str) -> Result<()> {
        let live = self.progress(connection_id).await?.is_some_and(|run| run.state == "RUNNING");
        if live {
            let request = StartRequest { trigger: Trigger::Manual, due_at: None, force: true, scope: None };
            self.start(connection_id, request).await?;
        }
        Ok(())
    }

    /// Live progress of the connection's current or last run.
    ///
    /// # Errors
    /// As [`SyncControl::start`].
    async fn progress(&self, connection_id: &str) -> Result<Option<RunProgress>>;

    /// The cursors, as `{ "schema": { "table": cursor } }`.
    ///
    /// # Errors
    /// As [`SyncControl::start`].
    async fn state(&self, connection_id: &str) -> Result<Value>;

    /// Replaces the cursors.
    ///
    /// # Errors
    /// [`Conflict`](crate::core::ErrorKind::Conflict) while a run is live,
    /// [`InvalidInput`](crate::core::ErrorKind::InvalidInput) for another shape.
    async fn set_state(&self, connection_id: &str, state: Value) -> Result<()>;

    /// Cancels and forgets everything the engine holds for the connection, once its definition is deleted: a connection
    /// that went on after this would count its runs from 1 again, and destinations would take them for old ones (I4).
    /// The user's tables are not touched (I8). Objects of runs that ended before expire by themselves within a day.
    ///
    /// # Errors
    /// As [`SyncControl::cancel`].
    async fn forget(&self, connection_id: &str) -> Result<()>;

    /// Forgets everything the engine holds for a destination: the history of its tables. The tables stay (I8).
    ///
    /// # Errors
    /// When the destination's object cannot be reached.
    async fn forget_destination(&self, destination_id: &str) -> Result<()>;

    /// Has what just happened told to webhooks and log services soon, instead of with the next minute.
    async fn announce(&self);
}
