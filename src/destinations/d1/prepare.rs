//! Brings a table to the shape a run needs and announces the run.

use std::collections::HashSet;

use serde_json::Value;

use super::catalog::{self, Entry};
use super::database::Database;
use super::ddl::{self, Change};
use super::{fault, names, rebuild, watermark};
use crate::core::fault_point::FaultPoint;
use crate::core::{Error, ErrorKind, Result};
use crate::destinations::TableLoad;
use crate::ports::Statement;

/// See [`Destination::prepare`](crate::destinations::Destination::prepare).
///
/// The run is announced before anything is changed: from then on older runs can neither write nor change the table,
/// so a rebuild that copies it in many steps sees it at rest.
pub(super) async fn prepare(database: &Database, load: &TableLoad) -> Result<()> {
    ddl::validate(&load.table)?;
    let name = names::physical(&load.table.schema, &load.table.table);
    let found = Found::read(database, &name, load).await?;
    refuse_strangers(&found, load)?;
    if let Some(entry) = &found.entry {
        entry.admit(load)?;
        // What can fail for reasons of shape fails before the run is announced, and leaves the older run in peace.
        if !found.columns.is_empty() {
            ddl::validate(&ddl::merge(&entry.definition, &load.table)?)?;
        }
    }
    announce(database, &name, load).await?;
    database.reach(FaultPoint::DuringDdl, &load.run_id).await?;
    if let Some(rebuild) = found.entry.and_then(|entry| entry.rebuild) {
        rebuild::recover(database, &name, load, rebuild).await?;
    }
    shape(database, &name, load).await
}

/// What the database holds under a name.
struct Found {
    entry: Option<Entry>,
    /// Names of the table's columns in lower case; none when there is no table.
    columns: HashSet<String>,
}

impl Found {
    /// Creates our own tables where they are missing, and looks.
    async fn read(database: &Database, name: &str, load: &TableLoad) -> Result<Self> {
        let statements = vec![
            Statement::new(catalog::CREATE_TABLES, Vec::new()),
            Statement::new(catalog::CREATE_PUBLISHED, Vec::new()),
            Statement::new(watermark::CREATE_TABLES, Vec::new()),
            catalog::select(name),
            Statement::new("SELECT lower(name) AS name FROM pragma_table_info(?1)", vec![name.into()]),
        ];
        let mut results = database.batch(&catalog::title(&load.table), statements).await?.into_iter().skip(3);
        let entry = catalog::entry(&results.next().unwrap_or_default().rows)?;
        let columns = results
            .next()
            .unwrap_or_default()
            .rows
            .iter()
            .filter_map(|row| row.get("name").and_then(Value::as_str).map(str::to_owned))
            .collect();
        Ok(Self { entry, columns })
    }
}

/// A table of that name that we did not create is the user's: it is neither adopted nor altered (I8). Tables of an
/// earlier connection of ours are adopted, as Fivetran does; the catalog knows them.
fn refuse_strangers(found: &Found, load: &TableLoad) -> Result<()> {
    if found.entry.is_some() || found.columns.is_empty() {
        return Ok(());
    }
    let name = names::physical(&load.table.schema, &load.table.table);
    Err(Error::new(
        ErrorKind::Conflict,
        format!("{}: the database has a table {name} that was not created here", catalog::title(&load.table)),
    )
    .remedy("Rename or drop that table, or give the connection another schema name"))
}

/// Makes the run the only one that may write, and forgets the chunks of earlier ones. A new table gets its row here,
/// before it is created: the other way round, a crash in between would leave a table that looks like a stranger's.
async fn announce(database: &Database, name: &str, load: &TableLoad) -> Result<()> {
    let what = catalog::title(&load.table);
    let mut params = catalog::current_params(name, load);
    params.push(load.table.schema.as_str().into());
    params.push(load.table.table.as_str().into());
    params.push(serde_json::to_string(&load.table)?.into());
    let upsert = "INSERT INTO _fivetran_tables (name, connection_id, run, schema_name, table_name, definition) \
         VALUES (?1, ?2, CAST(?3 AS INTEGER), ?4, ?5, ?6) ON CONFLICT (name) DO UPDATE \
         SET run = excluded.run, marked = 0, published = 0, live_rows = NULL \
         WHERE connection_id = excluded.connection_id AND run < excluded.run";
    let statements =
        vec![Statement::new(upsert, params), watermark::forget_other_runs(name, load), catalog::select(name)];
    let results = database.batch(&what, statements).await?;
    let entry = results.last().map(|result| catalog::entry(&result.rows)).transpose()?.flatten();
    let entry = entry.ok_or_else(|| fault::fenced(&what))?;
    entry.admit(load)?;
    entry.require_current(load)
}

/// Creates, extends or rebuilds the table.
async fn shape(database: &Database, name: &str, load: &TableLoad) -> Result<()> {
    let what = catalog::title(&load.table);
    let found = Found::read(database, name, load).await?;
    let entry = found.entry.ok_or_else(|| fault::fenced(&what))?;
    if found.columns.is_empty() {
        let create = Statement::new(ddl::create(&load.table, name), Vec::new());
        let statements = vec![catalog::define(name, load, &load.table)?, create];
        database.batch(&what, statements).await?;
        return Ok(());
    }
    let target = ddl::merge(&entry.definition, &load.table)?;
    let additions = match ddl::change(&entry.definition, &found.columns, &target) {
        Change::Rebuild => {
            return rebuild::rebuild(database, name, load, &entry.definition, target).await;
        }
        Change::Nothing if entry.definition == target => return Ok(()),
        Change::Nothing => Vec::new(),
        Change::Add(columns) => columns,
    };
    let mut statements: Vec<Statement> =
        additions.iter().map(|column| Statement::new(ddl::add_column(name, column), Vec::new())).collect();
    statements.push(catalog::define(name, load, &target)?);
    database.batch(&what, statements).await?;
    Ok(())
}
