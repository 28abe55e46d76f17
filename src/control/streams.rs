//! Streams of a connection: every version of their shape, and what the user set by hand.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::ControlPlane;
use super::connections::{read_word, word};
use super::row::Row;
use crate::core::Result;
use crate::core::catalog::{Catalog, Stream, StreamName};
use crate::core::schema_diff::diff;
use crate::core::settings::{ConnectionSettings, SchemaChangePolicy, SchemaSettings, StreamSettings};
use crate::ports::{SqlValue, Statement};

/// Bytes of JSON rows in one parameter: far below D1's 2 MB, even where one wide stream overshoots.
const PARAMETER_BYTES: usize = 1_000_000;

/// A version of a stream about to be recorded.
#[derive(Clone, Debug)]
pub struct NewStreamVersion<'a> {
    /// Stream.
    pub name: &'a StreamName,
    /// Its shape; `None` when it is gone from the source.
    pub stream: Option<&'a Stream>,
    /// What changed, as [`StreamDiff`](crate::core) JSON.
    pub diff: Value,
}

/// The versions a discovery adds: streams whose shape changed, streams that are new, streams that are gone.
///
/// # Errors
/// When a shape cannot be written as JSON.
pub fn changed_versions<'a>(
    catalog: &'a Catalog,
    known: &'a [StreamVersion],
) -> serde_json::Result<Vec<NewStreamVersion<'a>>> {
    // By name, because a database may have ten thousand tables: comparing each with each takes seconds.
    let latest: BTreeMap<_, _> = known.iter().map(|version| (&version.name, version)).collect();
    let there: BTreeSet<_> = catalog.streams.iter().map(|stream| &stream.name).collect();
    let mut versions = Vec::new();
    for stream in &catalog.streams {
        let before = latest.get(&stream.name);
        let change = diff(before.and_then(|version| version.stream.as_ref()), stream);
        if !change.is_empty() {
            let diff = serde_json::to_value(&change)?;
            versions.push(NewStreamVersion { name: &stream.name, stream: Some(stream), diff });
        }
    }
    let gone = known
        .iter()
        .filter(|version| version.stream.is_some() && !there.contains(&version.name))
        .map(|version| NewStreamVersion { name: &version.name, stream: None, diff: json!({ "gone": true }) });
    versions.extend(gone);
    Ok(versions)
}

/// A version of a stream as kept.
#[derive(Clone, Debug, PartialEq)]
pub struct StreamVersion {
    /// Stream.
    pub name: StreamName,
    /// From 1.
    pub version: u32,
    /// Its shape; `None` when it was gone from the source.
    pub stream: Option<Stream>,
    /// What changed.
    pub diff: Value,
    /// Microseconds UTC.
    pub detected_at: i64,
    /// Run that found it; `None` for a reload.
    pub run_id: Option<String>,
}

impl ControlPlane {
    /// The latest version of every stream the source had when it was last looked at, by name.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn latest_streams(&self, connection_id: &str) -> Result<Vec<(Stream, u32)>> {
        let latest = self.latest_versions(connection_id).await?;
        Ok(latest
            .into_iter()
            .filter_map(|version| version.stream.map(|stream| (stream, version.version)))
            .collect())
    }

    /// The latest version of every stream, those gone from the source included, by name.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn latest_versions(&self, connection_id: &str) -> Result<Vec<StreamVersion>> {
        // With a single MAX() SQLite takes the other columns from the row that holds the maximum; documented
        // behaviour (lang_select.html, "bare columns in an aggregate query") and one walk over the primary key.
        let sql = "SELECT schema_name, table_name, MAX(version) AS version, stream, diff, detected_at, run_id \
            FROM stream_versions WHERE connection_id = ?1 GROUP BY schema_name, table_name \
            ORDER BY schema_name, table_name";
        let found = self.home(connection_id)?.query(Statement::new(sql, vec![connection_id.into()])).await?;
        found.rows.into_iter().map(|row| read(&Row(row))).collect()
    }

    /// Versions of every stream (or of one) by name and version, after the last one seen: `limit` of them, and one more
    /// where there are more.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn stream_versions(
        &self,
        connection_id: &str,
        stream: Option<&StreamName>,
        after: Option<(&StreamName, u32)>,
        limit: u32,
    ) -> Result<Vec<StreamVersion>> {
        let sql = "SELECT schema_name, table_name, version, stream, diff, detected_at, run_id FROM stream_versions \
            WHERE connection_id = ?1 AND (?2 IS NULL OR (schema_name = ?2 AND table_name = ?3)) \
            AND (schema_name, table_name, version) > (?4, ?5, ?6) ORDER BY schema_name, table_name, version LIMIT ?7";
        let params = vec![
            connection_id.into(),
            stream.map(|name| name.schema.as_str()).into(),
            stream.map(|name| name.table.as_str()).into(),
            after.map_or("", |(name, _)| name.schema.as_str()).into(),
            after.map_or("", |(name, _)| name.table.as_str()).into(),
            after.map_or(0, |(_, version)| i64::from(version)).into(),
            (i64::from(limit) + 1).into(),
        ];
        let found = self.home(connection_id)?.query(Statement::new(sql, params)).await?;
        found.rows.into_iter().map(|row| read(&Row(row))).collect()
    }

    /// Records a stream's shape as a new version, only if it differs from the latest.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn record_stream_version(
        &self,
        connection_id: &str,
        stream: &Stream,
        diff: &Value,
        run_id: Option<&str>,
    ) -> Result<()> {
        let version = NewStreamVersion { name: &stream.name, stream: Some(stream), diff: diff.clone() };
        self.record_stream_versions(connection_id, &[version], run_id).await
    }

    /// Records many shapes in one transaction; see [`ControlPlane::record_stream_version`].
    ///
    /// # Errors
    /// When the database cannot be reached; nothing is recorded then.
    pub async fn record_stream_versions(
        &self,
        connection_id: &str,
        versions: &[NewStreamVersion<'_>],
        run_id: Option<&str>,
    ) -> Result<()> {
        let now = self.now();
        let rows = versions.iter().map(version_row).collect::<Result<Vec<_>>>()?;
        let mut batch = Vec::new();
        for parameter in parameters(rows) {
            batch.push(Statement::new(
                "INSERT INTO stream_versions \
                 (connection_id, schema_name, table_name, version, stream, diff, detected_at, run_id) \
                 SELECT c.id, n.value ->> 'schema', n.value ->> 'table', \
                 1 + COALESCE((SELECT MAX(version) FROM stream_versions AS v WHERE v.connection_id = c.id \
                    AND v.schema_name = n.value ->> 'schema' AND v.table_name = n.value ->> 'table'), 0), \
                 n.value ->> 'stream', n.value ->> 'diff', ?3, ?4 \
                 FROM json_each(?2) AS n JOIN connections AS c ON c.id = ?1 \
                 WHERE (SELECT v.stream FROM stream_versions AS v WHERE v.connection_id = c.id \
                    AND v.schema_name = n.value ->> 'schema' AND v.table_name = n.value ->> 'table' \
                    ORDER BY v.version DESC LIMIT 1) IS NOT n.value ->> 'stream'",
                vec![connection_id.into(), parameter.into(), now.into(), run_id.into()],
            ));
        }
        if !batch.is_empty() {
            self.home(connection_id)?.batch(batch).await?;
        }
        Ok(())
    }

    /// What the user set by hand, and what the policy decided about things that appeared later.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn stream_settings(&self, connection_id: &str) -> Result<ConnectionSettings> {
        let policy = Statement::new(
            "SELECT schema_change_handling FROM connections WHERE id = ?1",
            vec![connection_id.into()],
        );
        let rows = Statement::new(
            "SELECT schema_name, table_name, settings FROM stream_settings WHERE connection_id = ?1",
            vec![connection_id.into()],
        );
        let mut results = self.home(connection_id)?.batch(vec![policy, rows]).await?.into_iter();
        let mut settings = ConnectionSettings::default();
        if let Some(row) = results.next().and_then(|result| result.rows.into_iter().next()) {
            settings.policy = read_word(&Row(row), "schema_change_handling")?;
        }
        for row in results.next().map(|result| result.rows).unwrap_or_default().into_iter().map(Row) {
            let (schema, table) = (row.text("schema_name")?, row.text("table_name")?);
            if table.is_empty() {
                settings.schemas.insert(schema, row.json("settings")?);
            } else {
                settings.streams.insert(StreamName { schema, table }, row.json("settings")?);
            }
        }
        Ok(settings)
    }

    /// Merges settings of schemas and streams into the stored ones, field by field, in one transaction; what is not
    /// given stays as it is.
    ///
    /// # Errors
    /// When the database cannot be reached; nothing is stored then.
    pub async fn save_stream_settings(
        &self,
        connection_id: &str,
        schemas: &BTreeMap<String, SchemaSettings>,
        streams: &BTreeMap<StreamName, StreamSettings>,
    ) -> Result<()> {
        let batch = merge(connection_id, schemas, streams, Merge::Replace)?;
        if !batch.is_empty() {
            self.home(connection_id)?.batch(batch).await?;
        }
        Ok(())
    }

    /// What a person sets by hand: as [`save_stream_settings`](Self::save_stream_settings), with the policy where it is
    /// given. It is counted in the same transaction ([`Connection::settings_edits`](super::Connection::settings_edits)),
    /// so a run that was planned before cannot go on, whoever fails to tell it.
    ///
    /// # Errors
    /// When the database cannot be reached; nothing is stored then.
    pub async fn edit_stream_settings(
        &self,
        connection_id: &str,
        schemas: &BTreeMap<String, SchemaSettings>,
        streams: &BTreeMap<StreamName, StreamSettings>,
        policy: Option<SchemaChangePolicy>,
    ) -> Result<()> {
        let mut batch = merge(connection_id, schemas, streams, Merge::Replace)?;
        let policy = policy.as_ref().map(word).transpose()?.unwrap_or(SqlValue::Null);
        batch.push(Statement::new(
            "UPDATE connections SET settings_edits = settings_edits + 1, \
             schema_change_handling = COALESCE(?2, schema_change_handling), updated_at = MAX(?3, updated_at + 1) \
             WHERE id = ?1",
            vec![connection_id.into(), policy, self.now().into()],
        ));
        self.home(connection_id)?.batch(batch).await?;
        Ok(())
    }
}

/// Which of two settings of the same thing stays.
#[derive(Clone, Copy)]
pub(super) enum Merge {
    /// The new one.
    Replace,
    /// The stored one.
    Fill,
}

/// The statements that merge settings into the stored ones.
pub(super) fn merge(
    connection_id: &str,
    schemas: &BTreeMap<String, SchemaSettings>,
    streams: &BTreeMap<StreamName, StreamSettings>,
    how: Merge,
) -> Result<Vec<Statement>> {
    let mut rows = Vec::with_capacity(schemas.len() + streams.len());
    for (schema, settings) in schemas {
        rows.push(settings_row(schema, "", settings)?);
    }
    for (name, settings) in streams {
        rows.push(settings_row(&name.schema, &name.table, &taking_back(settings)?)?);
    }
    let merged = match how {
        Merge::Replace => "stream_settings.settings, excluded.settings",
        Merge::Fill => "excluded.settings, stream_settings.settings",
    };
    let statement = |parameter: String| {
        let sql = format!(
            "INSERT INTO stream_settings (connection_id, schema_name, table_name, settings) \
             SELECT c.id, n.value ->> 'schema', n.value ->> 'table', n.value ->> 'settings' \
             FROM json_each(?2) AS n JOIN connections AS c ON c.id = ?1 WHERE TRUE \
             ON CONFLICT (connection_id, schema_name, table_name) DO UPDATE \
             SET settings = json_patch({merged})"
        );
        Statement::new(sql, vec![connection_id.into(), parameter.into()])
    };
    Ok(parameters(rows).into_iter().map(statement).collect())
}

/// The settings as they are merged: switching a column on takes back that it is to be dropped, or the next one to switch it
/// off would drop it unasked.
fn taking_back(settings: &StreamSettings) -> Result<Value> {
    let mut merged = serde_json::to_value(settings)?;
    for (name, _) in settings.columns.iter().filter(|(_, column)| column.enabled == Some(true)) {
        let columns = merged.get_mut("columns");
        if let Some(Value::Object(column)) = columns.and_then(|columns| columns.get_mut(name)) {
            column.insert("drop".to_owned(), Value::Null);
        }
    }
    Ok(merged)
}

fn settings_row(schema: &str, table: &str, settings: &impl serde::Serialize) -> Result<String> {
    let settings = serde_json::to_string(settings)?;
    Ok(json!({ "schema": schema, "table": table, "settings": settings }).to_string())
}

/// Cuts JSON rows into arrays that fit a parameter.
fn parameters(mut rows: Vec<String>) -> Vec<String> {
    let mut parameters = Vec::new();
    while !rows.is_empty() {
        let mut bytes = 0_usize;
        let fits = |row: &&String| {
            let first = bytes == 0;
            bytes = bytes.saturating_add(row.len());
            first || bytes <= PARAMETER_BYTES
        };
        let rest = rows.split_off(rows.iter().take_while(fits).count());
        parameters.push(format!("[{}]", rows.join(",")));
        rows = rest;
    }
    parameters
}

/// The estimates change with every look, so they are not part of a version.
fn version_row(version: &NewStreamVersion<'_>) -> Result<String> {
    let stream = version
        .stream
        .map(|stream| {
            serde_json::to_string(&Stream { estimated_rows: None, estimated_bytes: None, ..stream.clone() })
        })
        .transpose()?;
    Ok(json!({
        "schema": version.name.schema,
        "table": version.name.table,
        "stream": stream,
        "diff": version.diff.to_string(),
    })
    .to_string())
}

fn read(row: &Row) -> Result<StreamVersion> {
    let version = row.count("version")?;
    Ok(StreamVersion {
        name: StreamName { schema: row.text("schema_name")?, table: row.text("table_name")? },
        version: u32::try_from(version).unwrap_or(u32::MAX),
        stream: row.optional_json("stream")?,
        diff: row.json("diff")?,
        detected_at: row.integer("detected_at")?,
        run_id: row.optional_text("run_id")?,
    })
}
