//! Schema changes in the words of Fivetran's log: `create_table`, and `alter_table` once for each change.

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::control::LogEvent;
use crate::core::Result;
use crate::core::table::{TableColumn, TableSchema};
use crate::core::table_change::TableChange;
use crate::core::types::ColumnType;
use crate::engine::Engine;
use crate::engine::protocol::{NotedChange, RunSpec};

impl Engine {
    /// Logs what the run changed about a table. Repeating it changes nothing.
    ///
    /// # Errors
    /// When the control plane cannot be reached.
    pub(super) async fn log_change(
        &self,
        spec: &RunSpec,
        table: &TableSchema,
        noted: &NotedChange,
    ) -> Result<()> {
        self.log_schema(spec, table, &entries(table, &noted.change), noted.at).await
    }

    /// Logs that the run dropped columns.
    ///
    /// # Errors
    /// As [`Engine::log_change`].
    pub(super) async fn log_drop(
        &self,
        spec: &RunSpec,
        table: &TableSchema,
        columns: &[String],
    ) -> Result<()> {
        let dropped = columns
            .iter()
            .map(|name| altered(table, "DROP_COLUMN", json!({ "columnName": name })))
            .collect::<Vec<_>>();
        self.log_schema(spec, table, &dropped, self.ports.clock.now_micros()).await
    }

    async fn log_schema(
        &self,
        spec: &RunSpec,
        table: &TableSchema,
        entries: &[(&'static str, Value)],
        at: i64,
    ) -> Result<()> {
        let events = entries.iter().map(|(event, data)| LogEvent {
            run_id: Some(spec.run_id.clone()),
            data: data.clone(),
            ..LogEvent::info(&spec.connection_id, event, at)
        });
        // Two tables may change in one microsecond; their names may not be what an id can be made of.
        let hash =
            Sha256::new().chain_update(&table.schema).chain_update([0]).chain_update(&table.table).finalize();
        let table = hash.iter().take(6).map(|byte| format!("{byte:02x}")).collect::<String>();
        self.control.append_log_once(&events.collect::<Vec<_>>(), &format!("{}-{table}", spec.run_id)).await
    }
}

fn entries(table: &TableSchema, change: &TableChange) -> Vec<(&'static str, Value)> {
    match change {
        TableChange::Created { table } => vec![("create_table", created(table))],
        TableChange::Altered { added, retyped, primary_key } => {
            let added = added.iter().map(|column| altered(table, "ADD_COLUMN", properties(column)));
            let retyped =
                retyped.iter().map(|column| altered(table, "CHANGE_COLUMN_TYPE", properties(column)));
            let key = primary_key
                .iter()
                .map(|key| altered(table, "CHANGE_PRIMARY_KEY", json!({ "primaryKey": key })));
            added.chain(retyped).chain(key).collect()
        }
    }
}

fn created(table: &TableSchema) -> Value {
    let columns = table.columns.iter().map(|column| (column.name.clone(), column.column_type.name().into()));
    let key = table.primary_key.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>();
    json!({
        "schema": table.schema,
        "name": table.table,
        "columns": columns.collect::<Map<_, Value>>(),
        "primary_key_clause": key.join(", "),
    })
}

fn altered(table: &TableSchema, kind: &str, properties: Value) -> (&'static str, Value) {
    let data =
        json!({ "type": kind, "schema": table.schema, "table": table.table, "properties": properties });
    ("alter_table", data)
}

fn properties(column: &TableColumn) -> Value {
    let (precision, scale) = match column.column_type {
        ColumnType::Decimal { precision, scale } => (Some(precision), Some(scale)),
        _ => (None, None),
    };
    json!({
        "columnName": column.name,
        "dataType": column.column_type.name(),
        "precision": precision,
        "scale": scale,
        "notNull": !column.nullable,
    })
}
