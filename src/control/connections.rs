//! Connections: what the user defined, and what the engine last said of them.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::log_events::{LogEvent, insert, stored};
use super::page::{Keyset, Listing, Page};
use super::row::Row;
use super::scope::{Owned, Scope};
use super::vault::{SealedJson, mark};
use super::{ControlPlane, Vault};
use crate::connectors::{SetupTest, SyncMode};
use crate::core::certificate::Certificate;
use crate::core::schedule::{Schedule, ScheduleKind, Zone};
use crate::core::settings::SchemaChangePolicy;
use crate::core::{Error, Result};
use crate::ports::{SqlValue, Statement};

const COLUMNS: &str = "id, group_id, service, schema_name, config_public, config_sealed, config_mark, sync_mode, paused, \
    sync_frequency, daily_sync_time, schedule_type, schema_change_handling, extra, setup_state, setup_tests, \
    created_by, created_at, updated_at, sync_state, is_historical_sync, succeeded_at, failed_at, rescheduled_for, \
    tasks, warnings, next_due_at, settings_edits, \
    (SELECT json_group_array(der) FROM certificates WHERE connection_id = connections.id AND private) AS approved";

/// A connection: one source feeding one schema (or schema prefix) of one group's destination.
#[derive(Clone, Debug)]
pub struct Connection {
    /// Its id.
    pub id: String,
    /// Group, whose id is also the destination's.
    pub group_id: String,
    /// Connector, for example `postgres`.
    pub service: String,
    /// Name of the connection: schema at the destination, or prefix of the schemas there. Never changes.
    pub schema_name: String,
    /// The configuration with its secrets; `open()` it where it is needed and drop it there.
    pub config: SealedJson,
    /// Tells this configuration from every other the connection has had, and tells nothing of it. It stays when the
    /// configuration is sealed anew.
    pub config_mark: String,
    /// The configuration as answers show it: secrets masked.
    pub config_public: Value,
    /// Full or incremental.
    pub sync_mode: SyncMode,
    /// True while the user has switched it off.
    pub paused: bool,
    /// Minutes between syncs.
    pub sync_frequency: u32,
    /// `HH:00`, only with a frequency of 1440, in the destination's time zone.
    pub daily_sync_time: Option<String>,
    /// By the clock or only on request.
    pub schedule_type: ScheduleKind,
    /// What happens to new schemas, tables and columns.
    pub schema_change_handling: SchemaChangePolicy,
    /// Fields of the API that the engine does not read.
    pub extra: Map<String, Value>,
    /// What the setup tests concluded.
    pub setup_state: SetupState,
    /// The last setup tests.
    pub setup_tests: Vec<SetupTest>,
    /// User who created it.
    pub created_by: Option<String>,
    /// Microseconds UTC.
    pub created_at: i64,
    /// Microseconds UTC of the last change of the definition; grows with every one.
    pub updated_at: i64,
    /// What the engine last said.
    pub sync_state: SyncState,
    /// True until the first run that carried all history has succeeded, and again after a re-sync was asked for.
    pub is_historical_sync: bool,
    /// End of the last good run, microseconds UTC.
    pub succeeded_at: Option<i64>,
    /// End of the last failed run, microseconds UTC.
    pub failed_at: Option<i64>,
    /// When a rescheduled run is tried again, microseconds UTC.
    pub rescheduled_for: Option<i64>,
    /// What a person must do.
    pub tasks: Vec<Alert>,
    /// What a person should know.
    pub warnings: Vec<Alert>,
    /// Next start by the clock, microseconds UTC; `None` for never.
    pub next_due_at: Option<i64>,
    /// How often its schema settings were edited by hand.
    pub settings_edits: u64,
    /// Certificates of its source that a person vouches for, and no public authority.
    pub approved: Vec<Certificate>,
}

/// What the setup tests concluded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SetupState {
    /// A test failed at creation, or tests never ran to success: the clock does not start it.
    Incomplete,
    /// Fine.
    Connected,
    /// It worked once, and now a person must act.
    Broken,
}

/// What the engine does with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SyncState {
    /// Waits for its time (or for a request).
    Scheduled,
    /// A run is live.
    Syncing,
    /// Switched off.
    Paused,
    /// Waits for a time other than the scheduled one.
    Rescheduled,
}

impl Connection {
    /// When it syncs by itself, given the [zone](super::DestinationRecord::zone) of its destination.
    ///
    /// # Errors
    /// When a stored field is malformed.
    pub fn schedule(&self, zone: Zone) -> Result<Schedule> {
        Schedule::new(self.schedule_type, self.sync_frequency, self.daily_sync_time.as_deref(), zone)
    }
}

/// Something a person must do (task) or should know (warning), in Fivetran's shape.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Alert {
    /// Kind, for example `reconnect`.
    pub code: String,
    /// For people.
    pub message: String,
}

/// What an edit does to the next due time, which the engine writes too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DueChange {
    /// Leave what is there.
    Keep,
    /// Microseconds UTC, or never.
    Set(Option<i64>),
}

/// What an edit does to the sync state, which the engine writes too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncStateChange {
    /// Leave what is there.
    Keep,
    /// Switched off.
    Pause,
    /// Switched on: scheduled, unless a run is live.
    Resume,
}

/// A connection about to be created: the definition, with its secrets in clear.
pub struct NewConnection {
    /// See [`Connection`].
    pub id: String,
    /// See [`Connection`].
    pub group_id: String,
    /// See [`Connection`].
    pub service: String,
    /// See [`Connection`].
    pub schema_name: String,
    /// With secrets in clear.
    pub config: Value,
    /// With secrets masked.
    pub config_public: Value,
    /// See [`Connection`].
    pub sync_mode: SyncMode,
    /// See [`Connection`].
    pub paused: bool,
    /// See [`Connection`].
    pub sync_frequency: u32,
    /// See [`Connection`].
    pub daily_sync_time: Option<String>,
    /// See [`Connection`].
    pub schedule_type: ScheduleKind,
    /// See [`Connection`].
    pub schema_change_handling: SchemaChangePolicy,
    /// See [`Connection`].
    pub extra: Map<String, Value>,
    /// See [`Connection`].
    pub setup_state: SetupState,
    /// See [`Connection`].
    pub setup_tests: Vec<SetupTest>,
    /// See [`Connection`].
    pub created_by: Option<String>,
    /// See [`Connection`].
    pub next_due_at: Option<i64>,
}

const OWNED: Owned = Owned {
    account: "(SELECT g.account_id FROM groups AS g WHERE g.id = connections.group_id)",
    id: "id",
    group: "group_id",
};

/// Which connections a listing shows.
#[derive(Clone, Debug, Default)]
pub struct ConnectionFilter {
    /// Of this group only.
    pub group_id: Option<String>,
    /// With exactly this name only.
    pub schema_name: Option<String>,
}

impl ControlPlane {
    /// The connection of that id.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn connection(&self, id: &str) -> Result<Option<Connection>> {
        let sql = format!("SELECT {COLUMNS} FROM connections WHERE id = ?1");
        let found = self.home(id)?.query(Statement::new(sql, vec![id.into()])).await?;
        found.rows.into_iter().next().map(|row| read(&Row(row), &self.vault)).transpose()
    }

    /// Connections by age.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn connections(
        &self,
        scope: &Scope,
        filter: &ConnectionFilter,
        page: &Page,
    ) -> Result<Listing<Connection>> {
        let [created_at, id] = page.position();
        let mut params = vec![created_at, id, (i64::from(page.limit) + 1).into()];
        // Only the conditions there are: `?4 IS NULL OR …` would keep SQLite from the group's index.
        let mut conditions = scope.condition(&OWNED, &mut params)?;
        for (column, wanted) in [("group_id", &filter.group_id), ("schema_name", &filter.schema_name)] {
            if let Some(wanted) = wanted {
                params.push(wanted.as_str().into());
                conditions.push_str(&format!(" AND {column} = ?{}", params.len()));
            }
        }
        let sql = format!(
            "SELECT {COLUMNS} FROM connections WHERE (created_at, id) > (?1, ?2) AND {conditions} \
             ORDER BY created_at, id LIMIT ?3"
        );
        let listed = Statement::new(sql, params);
        let found = match &filter.group_id {
            Some(group_id) => self.home(group_id)?.query(listed).await?.rows.into_iter().map(Row).collect(),
            None => self.rows_everywhere(listed).await?,
        };
        let items = found.iter().map(|row| read(row, &self.vault)).collect::<Result<Vec<_>>>()?;
        Ok(Listing::merged(items, page.limit, |connection| Keyset {
            created_at: connection.created_at,
            id: connection.id.clone(),
        }))
    }

    /// Connections of a group that have a live run, as far as the control plane knows.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn syncing_connections(&self, group_id: &str, limit: u32) -> Result<Vec<String>> {
        // Crossed, so that the few live runs of all groups are looked through and not all runs of the group.
        let sql = "SELECT c.id FROM sync_runs AS r CROSS JOIN connections AS c ON c.id = r.connection_id \
            WHERE r.state = 'RUNNING' AND c.group_id = ?1 LIMIT ?2";
        let params = vec![group_id.into(), i64::from(limit).into()];
        let found = self.home(group_id)?.query(Statement::new(sql, params)).await?;
        found.rows.into_iter().map(|row| Row(row).text("id")).collect()
    }

    /// Creates a connection, and with it the log events that say so. False when the group has one of that name already:
    /// nothing is created then.
    ///
    /// # Errors
    /// When the database cannot be reached or the group does not exist.
    pub async fn create_connection(&self, new: &NewConnection, events: &[LogEvent]) -> Result<bool> {
        let now = self.now();
        let sealed = self.vault.seal_json(&place(&new.id), &new.config)?;
        let sync_state = if new.paused { SyncState::Paused } else { SyncState::Scheduled };
        let values = vec![
            new.id.as_str().into(),
            new.group_id.as_str().into(),
            new.service.as_str().into(),
            new.schema_name.as_str().into(),
            new.config_public.to_string().into(),
            sealed.as_stored().into(),
            word(&new.sync_mode)?,
            new.paused.into(),
            i64::from(new.sync_frequency).into(),
            new.daily_sync_time.clone().into(),
            word(&new.schedule_type)?,
            word(&new.schema_change_handling)?,
            serde_json::to_string(&new.extra)?.into(),
            word(&new.setup_state)?,
            serde_json::to_string(&new.setup_tests)?.into(),
            new.created_by.clone().into(),
            now.into(),
            word(&sync_state)?,
            new.next_due_at.into(),
        ];
        let sql = "INSERT INTO connections (id, group_id, service, schema_name, config_public, config_sealed, \
            sync_mode, paused, sync_frequency, daily_sync_time, schedule_type, schema_change_handling, extra, \
            setup_state, setup_tests, created_by, created_at, updated_at, sync_state, next_due_at) \
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?17, ?18, ?19) \
            ON CONFLICT (group_id, schema_name) DO NOTHING RETURNING id";
        self.write_with_events(&new.id, Statement::new(sql, values), events).await
    }

    /// Saves an edited definition, if nobody edited it since it was read (`edited.updated_at` is still stored). False
    /// when somebody did: read, edit and save again. `config` is the new configuration with secrets, when it changed.
    ///
    /// The columns the engine writes are touched only as `due` and `sync_state` say. `events` are logged with it.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn save_connection(
        &self,
        edited: &Connection,
        config: Option<&Value>,
        due: DueChange,
        sync_state: SyncStateChange,
        events: &[LogEvent],
    ) -> Result<bool> {
        let sealed = config.map(|clear| self.vault.seal_json(&place(&edited.id), clear)).transpose()?;
        let (set_due, due) = match due {
            DueChange::Keep => (false, None),
            DueChange::Set(due) => (true, due),
        };
        let sync_state = match sync_state {
            SyncStateChange::Keep => "keep",
            SyncStateChange::Pause => "pause",
            SyncStateChange::Resume => "resume",
        };
        let values = vec![
            edited.id.as_str().into(),
            edited.updated_at.into(),
            self.now().into(),
            edited.config_public.to_string().into(),
            sealed.as_ref().map(SealedJson::as_stored).into(),
            word(&edited.sync_mode)?,
            edited.paused.into(),
            i64::from(edited.sync_frequency).into(),
            edited.daily_sync_time.clone().into(),
            word(&edited.schedule_type)?,
            word(&edited.schema_change_handling)?,
            serde_json::to_string(&edited.extra)?.into(),
            word(&edited.setup_state)?,
            serde_json::to_string(&edited.setup_tests)?.into(),
            edited.is_historical_sync.into(),
            set_due.into(),
            due.into(),
            sync_state.into(),
        ];
        let sql = "UPDATE connections SET config_public = ?4, config_sealed = COALESCE(?5, config_sealed), \
            config_mark = CASE WHEN ?5 IS NULL THEN config_mark END, sync_mode = ?6, paused = ?7, \
            sync_frequency = ?8, daily_sync_time = ?9, schedule_type = ?10, schema_change_handling = ?11, \
            extra = ?12, setup_state = ?13, setup_tests = ?14, is_historical_sync = ?15, \
            next_due_at = CASE WHEN ?16 THEN ?17 ELSE next_due_at END, \
            sync_state = CASE ?18 WHEN 'pause' THEN 'paused' \
                WHEN 'resume' THEN CASE sync_state WHEN 'paused' THEN 'scheduled' ELSE sync_state END \
                ELSE sync_state END, \
            updated_at = MAX(?3, updated_at + 1) \
            WHERE id = ?1 AND updated_at = ?2 RETURNING id";
        self.write_with_events(&edited.id, Statement::new(sql, values), events).await
    }

    /// Runs a statement that returns a row where it takes effect, and logs the events if it did, in one transaction.
    async fn write_with_events(&self, id: &str, write: Statement, events: &[LogEvent]) -> Result<bool> {
        let unique = self.new_id()?;
        let rows = (0_u32..).zip(events).map(|(at, event)| stored(event, at, &unique)).collect();
        let mut batch = vec![write];
        batch.extend(insert(rows, "changes() > 0"));
        let results = self.home(id)?.batch(batch).await?;
        Ok(results.first().is_some_and(|written| !written.rows.is_empty()))
    }

    /// Deletes a connection with everything kept about it (settings, versions, runs, log). False when there is none.
    /// What is still to be told of it, its deletion included, stays in the outbox; and it is kept in mind that it was
    /// deleted ([`deleted_connections`](Self::deleted_connections)).
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn delete_connection(&self, id: &str) -> Result<bool> {
        let event = LogEvent::info(id, "delete_connector", self.now());
        let mut batch = insert(vec![stored(&event, 0, &self.new_id()?)], "TRUE");
        batch.push(Statement::new(
            "INSERT INTO deleted_connections (id, deleted_at) SELECT id, ?2 FROM connections WHERE id = ?1 \
             ON CONFLICT DO NOTHING",
            vec![id.into(), self.now().into()],
        ));
        batch.push(Statement::new("DELETE FROM connections WHERE id = ?1 RETURNING id", vec![id.into()]));
        let results = self.home(id)?.batch(batch).await?;
        self.end_memberships(id).await?;
        Ok(results.last().is_some_and(|deleted| !deleted.rows.is_empty()))
    }

    /// Memberships of a connection that lives apart from them, which no trigger of its database can end.
    async fn end_memberships(&self, id: &str) -> Result<()> {
        if self.lives_apart(id) {
            let sql = "DELETE FROM memberships WHERE object_id = ?1 AND scope = 'CONNECTOR'";
            self.shared().query(Statement::new(sql, vec![id.into()])).await?;
        }
        Ok(())
    }

    /// Connections that were deleted before that time and are still kept in mind, those deleted first first.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn deleted_connections(&self, before: i64, limit: u32) -> Result<Vec<String>> {
        let sql = "SELECT id FROM deleted_connections WHERE deleted_at < ?1 ORDER BY deleted_at LIMIT ?2";
        let deleted = Statement::new(sql, vec![before.into(), i64::from(limit).into()]);
        self.rows_everywhere(deleted).await?.iter().map(|row| row.text("id")).collect()
    }

    /// Nothing is left anywhere of a connection that was deleted: it need not be kept in mind.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn deletion_is_complete(&self, id: &str) -> Result<()> {
        // Once more: the deletion may have died before it came to this.
        self.end_memberships(id).await?;
        let sql = "DELETE FROM deleted_connections WHERE id = ?1";
        self.home(id)?.query(Statement::new(sql, vec![id.into()])).await.map(|_| ())
    }
}

/// Where the connection's secrets are sealed for.
fn place(id: &str) -> String {
    format!("connections/{id}")
}

/// The word an enum is stored as: its own JSON string.
pub(crate) fn word(value: &impl Serialize) -> Result<SqlValue> {
    match serde_json::to_value(value)? {
        Value::String(word) => Ok(word.into()),
        _ => Err(Error::internal("A stored word is not a string")),
    }
}

/// Reads a stored word back.
pub(crate) fn read_word<T: serde::de::DeserializeOwned>(row: &Row, column: &str) -> Result<T> {
    Ok(serde_json::from_value(Value::String(row.text(column)?))?)
}

fn read_approved(row: &Row) -> Result<Vec<Certificate>> {
    let approved: Vec<String> = row.json("approved")?;
    approved.iter().map(|text| Certificate::from_text(text)).collect()
}

fn read(row: &Row, vault: &Vault) -> Result<Connection> {
    let id = row.text("id")?;
    let frequency = row.integer("sync_frequency")?;
    let sealed = row.text("config_sealed")?;
    Ok(Connection {
        config_mark: row.optional_text("config_mark")?.unwrap_or_else(|| mark(&sealed)),
        config: vault.sealed_json(&place(&id), sealed),
        id,
        group_id: row.text("group_id")?,
        service: row.text("service")?,
        schema_name: row.text("schema_name")?,
        config_public: row.json("config_public")?,
        sync_mode: read_word(row, "sync_mode")?,
        paused: row.flag("paused")?,
        sync_frequency: u32::try_from(frequency)
            .map_err(|_| Error::internal(format!("A sync frequency of {frequency} minutes is stored")))?,
        daily_sync_time: row.optional_text("daily_sync_time")?,
        schedule_type: read_word(row, "schedule_type")?,
        schema_change_handling: read_word(row, "schema_change_handling")?,
        extra: row.json("extra")?,
        setup_state: read_word(row, "setup_state")?,
        setup_tests: row.json("setup_tests")?,
        created_by: row.optional_text("created_by")?,
        created_at: row.integer("created_at")?,
        updated_at: row.integer("updated_at")?,
        sync_state: read_word(row, "sync_state")?,
        is_historical_sync: row.flag("is_historical_sync")?,
        succeeded_at: row.optional_integer("succeeded_at")?,
        failed_at: row.optional_integer("failed_at")?,
        rescheduled_for: row.optional_integer("rescheduled_for")?,
        tasks: row.json("tasks")?,
        warnings: row.json("warnings")?,
        next_due_at: row.optional_integer("next_due_at")?,
        settings_edits: row.count("settings_edits")?,
        approved: read_approved(row)?,
    })
}
