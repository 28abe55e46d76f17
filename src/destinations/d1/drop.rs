//! Drops columns that a person asked to drop.
//!
//! SQLite refuses a column that an index, a trigger or a view of the user's needs, and then nothing is done: those are
//! theirs. The catalog is written last, so that what a batch cut short leaves is a column that the catalog still knows,
//! and the next call finds it gone.

use super::catalog::{self, Entry};
use super::database::Database;
use super::{fault, names};
use crate::core::fault_point::FaultPoint;
use crate::core::table::TableSchema;
use crate::core::{Error, ErrorKind, Result};
use crate::destinations::TableLoad;
use crate::ports::Statement;

/// See [`Destination::drop_columns`](crate::destinations::Destination::drop_columns).
pub(super) async fn drop_columns(database: &Database, load: &TableLoad, columns: &[String]) -> Result<()> {
    let what = catalog::title(&load.table);
    let name = names::physical(&load.table.schema, &load.table.table);
    let entry = catalog::find(database, &name, &what).await?.ok_or_else(|| fault::fenced(&what))?;
    entry.require_current(load)?;
    if entry.rebuild.is_some() {
        let message = format!("{what} is being rebuilt");
        return Err(Error::new(ErrorKind::DestinationUnavailable, message));
    }
    let present = physical(database, &name, &what).await?;
    let definition = without(&entry, load, columns);
    let gone = entry.definition.columns.iter().filter(|column| definition.column(&column.name).is_none());
    let drops = gone.filter(|column| present.contains(&column.name.to_ascii_lowercase())).map(|column| {
        let sql = format!("ALTER TABLE {} DROP COLUMN {}", names::quote(&name), names::quote(&column.name));
        Statement::new(sql, Vec::new())
    });
    let mut statements = vec![catalog::guard(&name, load)];
    statements.extend(drops);
    if statements.len() == 1 && definition == entry.definition {
        return Ok(());
    }
    statements.push(catalog::define(&name, load, &definition)?);
    database.reach(FaultPoint::DuringDdl, &load.run_id).await?;
    database.batch(&what, statements).await?;
    Ok(())
}

/// The table less the columns, but for those that the load carries or that are of the key. What the catalog does not
/// know is the user's own, and stays.
fn without(entry: &Entry, load: &TableLoad, columns: &[String]) -> TableSchema {
    let mut definition = entry.definition.clone();
    let key = &entry.definition.primary_key;
    definition.columns.retain(|column| {
        !columns.contains(&column.name)
            || key.contains(&column.name)
            || load.table.columns.iter().any(|wanted| wanted.name.eq_ignore_ascii_case(&column.name))
    });
    definition
}

/// Names of the table's columns in lower case.
async fn physical(database: &Database, name: &str, what: &str) -> Result<Vec<String>> {
    let select = Statement::new("SELECT lower(name) AS name FROM pragma_table_info(?1)", vec![name.into()]);
    let rows = database.query(what, select).await?.rows;
    rows.iter().map(|row| catalog::text(row, "name").map(str::to_owned)).collect()
}
