//! Log events: what happened to a connection, in Fivetran's vocabulary.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::ControlPlane;
use super::connections::read_word;
use super::page::{Keyset, Listing, Page};
use super::row::Row;
use crate::core::Result;
use crate::ports::Statement;

/// One event.
#[derive(Clone, Debug, PartialEq)]
pub struct LogEvent {
    /// Connection.
    pub connection_id: String,
    /// Run, if one is concerned.
    pub run_id: Option<String>,
    /// How bad.
    pub level: LogLevel,
    /// Name, for example `sync_start`.
    pub event: String,
    /// Details; must not contain a secret.
    pub data: Value,
    /// Microseconds UTC.
    pub created_at: i64,
}

impl LogEvent {
    /// An event without details that concerns no run.
    #[must_use]
    pub fn info(connection_id: &str, event: &str, now: i64) -> Self {
        Self {
            connection_id: connection_id.to_owned(),
            run_id: None,
            level: LogLevel::Info,
            event: event.to_owned(),
            data: Value::Object(serde_json::Map::new()),
            created_at: now,
        }
    }
}

/// How bad an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum LogLevel {
    /// For the record.
    Info,
    /// Worth a look.
    Warning,
    /// A person must act.
    Severe,
}

/// An event as stored.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredLogEvent {
    /// Sortable by time.
    pub id: String,
    /// The event.
    pub event: LogEvent,
}

impl ControlPlane {
    /// Appends events of one connection in order. Those of one that is gone are dropped.
    ///
    /// # Errors
    /// When the database cannot be reached or the platform has no entropy.
    pub async fn append_log(&self, events: &[LogEvent]) -> Result<()> {
        self.append_log_once(events, &self.new_id()?).await
    }

    /// Appends events of one connection that a crash may make us append again: ids are made of their times and `unique`,
    /// and what is there already stays.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn append_log_once(&self, events: &[LogEvent], unique: &str) -> Result<()> {
        let Some(first) = events.first() else { return Ok(()) };
        let rows = (0_u32..).zip(events).map(|(at, event)| stored(event, at, unique)).collect::<Vec<_>>();
        self.home(&first.connection_id)?.batch(insert(rows, "TRUE")).await?;
        Ok(())
    }

    /// A connection's events by time, of one run only if asked.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn log_events(
        &self,
        connection_id: &str,
        run_id: Option<&str>,
        page: &Page,
    ) -> Result<Listing<StoredLogEvent>> {
        let sql = "SELECT id, run_id, level, event, data, created_at FROM log_events \
            WHERE connection_id = ?1 AND id > ?2 AND (?3 IS NULL OR run_id = ?3) ORDER BY id LIMIT ?4";
        let params = vec![
            connection_id.into(),
            page.after.as_ref().map_or("", |key| key.id.as_str()).into(),
            run_id.into(),
            (i64::from(page.limit) + 1).into(),
        ];
        let found = self.home(connection_id)?.query(Statement::new(sql, params)).await?;
        let items =
            found.rows.into_iter().map(|row| read(&Row(row), connection_id)).collect::<Result<Vec<_>>>()?;
        Ok(Listing::cut(items, page.limit, |stored| Keyset {
            created_at: stored.event.created_at,
            id: stored.id.clone(),
        }))
    }
}

/// An event as the JSON row of [`insert`]. The id sorts by time, then by position among those written together;
/// `unique` makes it one of a kind, and the same again when the same write is repeated.
pub(crate) fn stored(event: &LogEvent, position: u32, unique: &str) -> Value {
    serde_json::json!({
        "id": format!("{:020}-{position:06}-{unique}", event.created_at),
        "connection_id": event.connection_id,
        "run_id": event.run_id,
        "level": event.level,
        "event": event.event,
        "data": event.data.to_string(),
        "created_at": event.created_at,
    })
}

/// Statements that insert rows of [`stored`] where `condition` holds, 500 a statement so that a parameter stays far
/// below D1's 2 MB. Repeating them changes nothing.
pub(crate) fn insert(rows: Vec<Value>, condition: &str) -> Vec<Statement> {
    rows.chunks(500)
        .map(|rows| {
            let sql = format!(
                "INSERT OR IGNORE INTO log_events (id, connection_id, run_id, level, event, data, created_at) \
                 SELECT e.value ->> 'id', e.value ->> 'connection_id', e.value ->> 'run_id', \
                 e.value ->> 'level', e.value ->> 'event', e.value ->> 'data', e.value ->> 'created_at' \
                 FROM json_each(?1) AS e \
                 JOIN connections AS c ON c.id = e.value ->> 'connection_id' WHERE {condition}"
            );
            Statement::new(sql, vec![Value::Array(rows.to_vec()).to_string().into()])
        })
        .collect()
}

fn read(row: &Row, connection_id: &str) -> Result<StoredLogEvent> {
    Ok(StoredLogEvent {
        id: row.text("id")?,
        event: LogEvent {
            connection_id: connection_id.to_owned(),
            run_id: row.optional_text("run_id")?,
            level: read_word(row, "level")?,
            event: row.text("event")?,
            data: row.json("data")?,
            created_at: row.integer("created_at")?,
        },
    })
}
