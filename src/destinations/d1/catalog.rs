//! Our own catalog inside the user's database: which tables are ours, their exact types, and which run may write.
//!
//! SQLite's DDL cannot say `DECIMAL(10,2)` or tell an instant from a string, and parsing it back would be guessing;
//! so [`Destination::standing`](crate::destinations::Destination::standing) answers from here. A table without a row
//! here is not ours and is never touched (I8).

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::database::Database;
use super::{fault, names};
use crate::core::table::TableSchema;
use crate::core::{Error, Result};
use crate::destinations::{Standing, TableLoad, taken};
use crate::ports::{SqlValue, Statement};

/// One row per table of ours. `run` and `connection_id` are the fence: only that run of that connection may write.
/// `marked` counts rows the run's publish marked as deleted, `live_rows` is set once it is published.
pub(super) const CREATE_TABLES: &str = "CREATE TABLE IF NOT EXISTS _fivetran_tables (
  name TEXT NOT NULL PRIMARY KEY, schema_name TEXT NOT NULL, table_name TEXT NOT NULL,
  definition TEXT NOT NULL, rebuild TEXT,
  connection_id TEXT NOT NULL, run INTEGER NOT NULL,
  marked INTEGER NOT NULL DEFAULT 0, published INTEGER NOT NULL DEFAULT 0, live_rows INTEGER
) WITHOUT ROWID";

/// Newest published run of each table. Announcing the next run does not touch it, so that a database which was set back to an
/// older state says so. A table of its own because catalogs that were made before it have theirs already.
pub(super) const CREATE_PUBLISHED: &str = "CREATE TABLE IF NOT EXISTS _fivetran_published (
  name TEXT NOT NULL PRIMARY KEY, connection_id TEXT NOT NULL, run INTEGER NOT NULL
) WITHOUT ROWID";

/// True when the run of parameters `?1` (table), `?2` (connection) and `?3` (run) is the announced one.
pub(super) const IS_CURRENT: &str = "EXISTS (SELECT 1 FROM _fivetran_tables \
     WHERE name = ?1 AND connection_id = ?2 AND run = CAST(?3 AS INTEGER))";

/// A row of the catalog.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// The table as it stands.
    pub definition: TableSchema,
    /// A change of types or key under way.
    pub rebuild: Option<Rebuild>,
    /// Connection that loads the table.
    pub connection_id: String,
    /// Its newest run.
    pub run: u64,
    /// Rows the run's publish marked so far.
    pub marked: u64,
    /// The run is published.
    pub published: bool,
    /// Live rows after the publish, where counted.
    pub live_rows: Option<u64>,
}

/// A rebuild under way, so that any later call can finish or abandon it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Rebuild {
    /// The table as it will be.
    pub target: TableSchema,
    /// The user's own indexes and triggers on the table, created again at the end (I8).
    pub objects: Vec<SchemaObject>,
    /// True when the new table has taken the old one's name.
    pub swapped: bool,
}

/// An index or trigger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SchemaObject {
    /// Its name.
    pub name: String,
    /// The statement that created it.
    pub sql: String,
}

impl Entry {
    /// Refuses a run that is not newer than or equal to the announced one, and every run of another connection: it has to
    /// [take the table over](take_over) first.
    pub(super) fn admit(&self, load: &TableLoad) -> Result<()> {
        if self.connection_id != load.connection_id {
            return Err(taken(&load.table, &self.connection_id));
        }
        if self.run > load.run {
            return Err(fault::fenced(&title(&load.table)));
        }
        Ok(())
    }

    /// Refuses a run that is not the announced one.
    pub(super) fn require_current(&self, load: &TableLoad) -> Result<()> {
        if self.connection_id == load.connection_id && self.run == load.run {
            return Ok(());
        }
        Err(fault::fenced(&title(&load.table)))
    }

    fn from_row(row: &Map<String, Value>) -> Result<Self> {
        let rebuild = row.get("rebuild").and_then(Value::as_str).map(serde_json::from_str).transpose()?;
        Ok(Self {
            definition: serde_json::from_str(text(row, "definition")?)?,
            rebuild,
            connection_id: text(row, "connection_id")?.to_owned(),
            run: number(row, "run")?,
            marked: number(row, "marked")?,
            published: number(row, "published")? != 0,
            live_rows: if row.get("live_rows").is_none_or(Value::is_null) {
                None
            } else {
                Some(number(row, "live_rows")?)
            },
        })
    }
}

/// How errors name a table.
pub(super) fn title(table: &TableSchema) -> String {
    format!("D1 table {}.{}", table.schema, table.table)
}

/// The parameters `?1` to `?3` of [`IS_CURRENT`].
pub(super) fn current_params(name: &str, load: &TableLoad) -> Vec<SqlValue> {
    vec![name.into(), load.connection_id.as_str().into(), load.run.to_string().into()]
}

/// Reads a row of the catalog.
pub(super) fn select(name: &str) -> Statement {
    Statement::new(
        "SELECT definition, rebuild, connection_id, CAST(run AS TEXT) AS run, CAST(marked AS TEXT) AS marked, \
         CAST(published AS TEXT) AS published, CAST(live_rows AS TEXT) AS live_rows \
         FROM _fivetran_tables WHERE name = ?1",
        vec![name.into()],
    )
}

/// A scalar subquery that fails the statement unless the run of `?1` to `?3` is the announced one (I4).
pub(super) fn current_or_fail() -> String {
    format!("(SELECT json_extract('1', CASE WHEN {} THEN '$' ELSE '{}' END))", IS_CURRENT, fault::FENCED)
}

/// Stops a batch whose run is not the announced one; `ALTER` and `DROP` have no place for a condition.
pub(super) fn guard(name: &str, load: &TableLoad) -> Statement {
    Statement::new(format!("SELECT {}", current_or_fail()), current_params(name, load))
}

/// Writes how the table stands, unless a newer run was announced.
pub(super) fn define(name: &str, load: &TableLoad, definition: &TableSchema) -> Result<Statement> {
    let mut params = current_params(name, load);
    params.push(serde_json::to_string(definition)?.into());
    let update = format!("UPDATE _fivetran_tables SET definition = ?4 WHERE name = ?1 AND {IS_CURRENT}");
    Ok(Statement::new(update, params))
}

/// The row of the catalog among the rows of [`select`].
pub(super) fn entry(rows: &[Map<String, Value>]) -> Result<Option<Entry>> {
    rows.first().map(Entry::from_row).transpose()
}

/// The catalog's row of a table; `None` when there is none, or no catalog yet.
pub(super) async fn find(database: &Database, name: &str, what: &str) -> Result<Option<Entry>> {
    match database.query(what, select(name)).await {
        Ok(result) => entry(&result.rows),
        Err(error) if fault::is_missing_table(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What is known of the table; `None` when it is not ours. One that a rebuild moved aside, and died, is there.
pub(super) async fn standing(database: &Database, schema: &str, table: &str) -> Result<Option<Standing>> {
    let name = names::physical(schema, table);
    let what = format!("D1 table {schema}.{table}");
    let exists = Statement::new(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name IN (?1, ?2)",
        vec![name.as_str().into(), names::replaced(&name).into()],
    );
    let found = match database.batch(&what, vec![exists, select(&name)]).await {
        Err(error) if fault::is_missing_table(&error) => return Ok(None),
        found => found?,
    };
    let mut found = found.into_iter();
    let is_there = !found.next().unwrap_or_default().rows.is_empty();
    let Some(entry) = entry(&found.next().unwrap_or_default().rows)? else { return Ok(None) };
    Ok(Some(Standing {
        published: published(database, &name, &what, &entry.connection_id).await?,
        owner: entry.connection_id,
        table: is_there.then_some(entry.definition),
    }))
}

/// The newest published run of that connection.
async fn published(database: &Database, name: &str, what: &str, connection_id: &str) -> Result<Option<u64>> {
    let select = Statement::new(
        "SELECT CAST(run AS TEXT) AS run FROM _fivetran_published WHERE name = ?1 AND connection_id = ?2",
        vec![name.into(), connection_id.into()],
    );
    match database.query(what, select).await {
        Ok(result) => result.rows.first().map(|row| number(row, "run")).transpose(),
        // A catalog from before there was this table.
        Err(error) if fault::is_missing_table(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Notes that the announced run is published.
pub(super) fn note_published(name: &str, load: &TableLoad) -> Statement {
    let sql = "INSERT INTO _fivetran_published (name, connection_id, run) SELECT name, connection_id, run \
         FROM _fivetran_tables WHERE name = ?1 AND connection_id = ?2 AND run = CAST(?3 AS INTEGER) \
         ON CONFLICT (name) DO UPDATE SET connection_id = excluded.connection_id, run = excluded.run";
    Statement::new(sql, current_params(name, load))
}

/// See [`Destination::take_over`](crate::destinations::Destination::take_over). Runs of two connections cannot be compared,
/// and a connection that was made anew starts again at 1.
pub(super) async fn take_over(database: &Database, load: &TableLoad, from: &str) -> Result<()> {
    let name = names::physical(&load.table.schema, &load.table.table);
    let update = "UPDATE _fivetran_tables SET connection_id = ?2, run = 0, marked = 0, published = 0, live_rows = NULL \
         WHERE name = ?1 AND connection_id = ?3";
    let params = vec![name.as_str().into(), load.connection_id.as_str().into(), from.into()];
    let statements = vec![Statement::new(update, params), select(&name)];
    let results = database.batch(&title(&load.table), statements).await?;
    let owner = results.last().map(|result| entry(&result.rows)).transpose()?.flatten();
    match owner.map(|entry| entry.connection_id).filter(|owner| *owner != load.connection_id) {
        Some(owner) => Err(taken(&load.table, &owner)),
        None => Ok(()),
    }
}

/// A text column of a row of ours.
pub(super) fn text<'row>(row: &'row Map<String, Value>, column: &str) -> Result<&'row str> {
    row.get(column)
        .and_then(Value::as_str)
        .ok_or_else(|| Error::internal(format!("D1 returned a row without the text column {column}")))
}

/// An integer column of a row of ours, selected as `CAST(x AS TEXT)`.
pub(super) fn number(row: &Map<String, Value>, column: &str) -> Result<u64> {
    text(row, column)?
        .parse()
        .map_err(|_| Error::internal(format!("D1 returned a row whose column {column} is no integer")))
}
