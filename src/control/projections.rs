//! Small writes of the engine that belong to no single API resource.

use std::collections::BTreeMap;

use super::ControlPlane;
use super::row::Row;
use super::streams::{Merge, merge};
use crate::core::Result;
use crate::core::catalog::StreamName;
use crate::core::settings::{SchemaSettings, StreamSettings};
use crate::ports::Statement;

impl ControlPlane {
    /// Moves a connection's due time, unless it is paused or manual by now.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn set_next_due(&self, connection_id: &str, next_due_at: Option<i64>) -> Result<()> {
        let sql = "UPDATE connections SET next_due_at = ?2 \
            WHERE id = ?1 AND paused = 0 AND schedule_type = 'auto'";
        self.home(connection_id)?
            .query(Statement::new(sql, vec![connection_id.into(), next_due_at.into()]))
            .await?;
        Ok(())
    }

    /// Shows that a live run rests until the time its source asked for, microseconds UTC. It counts as alive until then;
    /// the next report of progress shows it syncing again.
    ///
    /// # Errors
    /// When the database cannot be reached; nothing is written then.
    pub async fn run_rests(&self, run_id: &str, until: i64) -> Result<()> {
        let show = "UPDATE connections SET sync_state = 'rescheduled', rescheduled_for = ?2 WHERE sync_state = 'syncing' \
            AND id = (SELECT connection_id FROM sync_runs WHERE id = ?1 AND state = 'RUNNING')";
        let alive = "UPDATE sync_runs SET active_at = MAX(active_at, ?2) WHERE id = ?1 AND state = 'RUNNING'";
        let params = || vec![run_id.into(), until.into()];
        self.home(run_id)?
            .batch(vec![Statement::new(show, params()), Statement::new(alive, params())])
            .await?;
        Ok(())
    }

    /// Takes the mark back that an edit set on a stream, once its cursor is forgotten. Another mark, set meanwhile,
    /// stays.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn resync_noted(&self, connection_id: &str, stream: &StreamName, reason: &str) -> Result<()> {
        let sql = "UPDATE stream_settings SET settings = json_remove(settings, '$.resync') \
            WHERE connection_id = ?1 AND schema_name = ?2 AND table_name = ?3 AND settings ->> 'resync' = ?4";
        let params = vec![
            connection_id.into(),
            stream.schema.as_str().into(),
            stream.table.as_str().into(),
            reason.into(),
        ];
        self.home(connection_id)?.query(Statement::new(sql, params)).await?;
        Ok(())
    }

    /// The columns of a stream that are to be dropped, as of now.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn columns_to_drop(&self, connection_id: &str, stream: &StreamName) -> Result<Vec<String>> {
        let sql = "SELECT c.key FROM stream_settings, json_each(stream_settings.settings, '$.columns') AS c \
            WHERE connection_id = ?1 AND schema_name = ?2 AND table_name = ?3 \
            AND c.value ->> 'drop' = 1 AND c.value ->> 'enabled' = 0";
        let params = vec![connection_id.into(), stream.schema.as_str().into(), stream.table.as_str().into()];
        let found = self.home(connection_id)?.query(Statement::new(sql, params)).await?;
        found.rows.into_iter().map(|row| Row(row).text("key")).collect()
    }

    /// Takes back that a column is to be dropped: it was.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn column_dropped(&self, connection_id: &str, stream: &StreamName, column: &str) -> Result<()> {
        // Not json_remove: a path cannot quote every name that a column may have.
        let sql = "UPDATE stream_settings SET settings = json_patch(settings, \
                json_object('columns', json_object(?4, json_object('drop', NULL)))) \
            WHERE connection_id = ?1 AND schema_name = ?2 AND table_name = ?3";
        let params = vec![
            connection_id.into(),
            stream.schema.as_str().into(),
            stream.table.as_str().into(),
            column.into(),
        ];
        self.home(connection_id)?.query(Statement::new(sql, params)).await?;
        Ok(())
    }

    /// Writes down what the schema change policy decided about new schemas and new things of a stream, so that the next
    /// run does not take them for known and decide otherwise. What somebody has set by then stays: the decisions were made
    /// for what was read before.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn settle_streams(
        &self,
        connection_id: &str,
        schemas: &BTreeMap<String, SchemaSettings>,
        settled: &BTreeMap<StreamName, StreamSettings>,
    ) -> Result<()> {
        let batch = merge(connection_id, schemas, settled, Merge::Fill)?;
        if !batch.is_empty() {
            self.home(connection_id)?.batch(batch).await?;
        }
        Ok(())
    }
}
