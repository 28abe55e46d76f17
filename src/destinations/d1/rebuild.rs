//! Changes what `ALTER TABLE` cannot: types, stored forms and keys, by copying the table (I7, I8).
//!
//! 1. The plan is written into the catalog and an empty table `…__new` is created.
//! 2. Rows are copied and converted page by page.
//! 3. The old table is renamed to `…__old`, the new one takes its name, and the old one is dropped; the user's indexes
//!    and triggers are created again.
//!
//! Whatever step fails, [`recover`] tells from the plan and from the tables that exist what is left to do: before the
//! first rename the copy is thrown away, after it the rest of step 3 is done. The user's views keep working: they name
//! the table, and `legacy_alter_table` stops SQLite from rewriting them to follow the old one.

use std::collections::HashSet;

use serde_json::Value;

use super::catalog::{self, Rebuild, SchemaObject};
use super::database::Database;
use super::names::{self, quote};
use super::pages::{Page, Pages};
use super::{ddl, fault, storage};
use crate::core::Result;
use crate::core::fault_point::FaultPoint;
use crate::core::table::{DELETED, TableColumn, TableSchema};
use crate::destinations::TableLoad;
use crate::ports::Statement;

/// Rebuilds the table of that SQLite name from what it is to what it must be.
pub(super) async fn rebuild(
    database: &Database,
    name: &str,
    load: &TableLoad,
    existing: &TableSchema,
    target: TableSchema,
) -> Result<()> {
    let what = catalog::title(&load.table);
    let objects = schema_objects(database, name, &what).await?;
    let plan = Rebuild { target, objects, swapped: false };
    let new = names::rebuilt(name);
    let statements = vec![
        guard(name, load),
        note(name, load, Some(&plan))?,
        sql(format!("DROP TABLE IF EXISTS {}", quote(&new))),
        sql(ddl::create(&plan.target, &new)),
    ];
    database.batch(&what, statements).await?;
    database.reach(FaultPoint::DuringDdl, &load.run_id).await?;
    let mut pages = Pages::of(existing, name).costing(cost(existing, &plan.target));
    while let Some(page) = pages.next(database).await? {
        database.query(&what, copy(name, load, existing, &plan.target, &page)).await?;
        database.reach(FaultPoint::DuringDdl, &load.run_id).await?;
    }
    swap(database, name, load, plan, true).await
}

/// Finishes or abandons a rebuild that was cut short.
pub(super) async fn recover(database: &Database, name: &str, load: &TableLoad, plan: Rebuild) -> Result<()> {
    let what = catalog::title(&load.table);
    let old = names::replaced(name);
    if plan.swapped {
        return finish(database, name, load, &plan).await;
    }
    let tables = existing_tables(database, name, &what).await?;
    if tables.contains(&old) {
        return swap(database, name, load, plan, !tables.contains(name)).await;
    }
    let statements = vec![
        guard(name, load),
        sql(format!("DROP TABLE IF EXISTS {}", quote(&names::rebuilt(name)))),
        note(name, load, None)?,
    ];
    database.batch(&what, statements).await?;
    Ok(())
}

/// Step 3. `rename_new` is false when the new table has its final name already; the old one is renamed unless it was
/// before.
async fn swap(
    database: &Database,
    name: &str,
    load: &TableLoad,
    mut plan: Rebuild,
    rename_new: bool,
) -> Result<()> {
    let what = catalog::title(&load.table);
    let (new, old) = (names::rebuilt(name), names::replaced(name));
    let tables = existing_tables(database, name, &what).await?;
    let mut statements = vec![guard(name, load), sql("PRAGMA legacy_alter_table = ON".to_owned())];
    if !tables.contains(&old) {
        statements.push(rename(name, &old));
    }
    if rename_new {
        statements.push(rename(&new, name));
    }
    plan.swapped = true;
    statements.push(note(name, load, Some(&plan))?);
    statements.push(catalog::define(name, load, &plan.target)?);
    statements.push(sql("PRAGMA legacy_alter_table = OFF".to_owned()));
    database.batch(&what, statements).await?;
    database.reach(FaultPoint::DuringDdl, &load.run_id).await?;
    finish(database, name, load, &plan).await
}

/// Drops the old table and creates the user's indexes and triggers again.
async fn finish(database: &Database, name: &str, load: &TableLoad, plan: &Rebuild) -> Result<()> {
    let what = catalog::title(&load.table);
    let drop = sql(format!("DROP TABLE IF EXISTS {}", quote(&names::replaced(name))));
    database.batch(&what, vec![guard(name, load), drop]).await?;
    database.reach(FaultPoint::DuringDdl, &load.run_id).await?;
    let present: HashSet<String> =
        schema_objects(database, name, &what).await?.into_iter().map(|object| object.name).collect();
    let mut statements = vec![guard(name, load)];
    statements.extend(
        plan.objects
            .iter()
            .filter(|object| !present.contains(&object.name))
            .map(|object| sql(object.sql.clone())),
    );
    statements.push(note(name, load, None)?);
    database.batch(&what, statements).await?;
    Ok(())
}

/// Copies a page. A key column that had no value in some row gets a zero, because a key cannot be NULL; such a row
/// cannot be matched with the source any more, so it is kept but marked as deleted.
fn copy(
    name: &str,
    load: &TableLoad,
    existing: &TableSchema,
    target: &TableSchema,
    page: &Page,
) -> Statement {
    let shared: Vec<(&TableColumn, &TableColumn)> =
        target.columns.iter().filter_map(|column| Some((existing.column(&column.name)?, column))).collect();
    let mut columns: Vec<String> = shared.iter().map(|(_, to)| quote(&to.name)).collect();
    let mut values: Vec<String> =
        shared.iter().map(|(from, to)| copied_value(existing, target, from, to)).collect();
    // Key columns that are new to the table.
    for key in target.primary_key.iter().filter(|key| existing.column(key).is_none()) {
        if let Some(column) = target.column(key) {
            columns.push(quote(key));
            values.push(storage::zero(column.column_type).to_owned());
        }
    }
    let mut params = catalog::current_params(name, load);
    let condition = page.condition(existing, &mut params);
    Statement::new(
        format!(
            "INSERT OR REPLACE INTO {} ({}) SELECT {} FROM {} WHERE {} AND {condition}",
            quote(&names::rebuilt(name)),
            columns.join(", "),
            values.join(", "),
            quote(name),
            current_or_fail(),
        ),
        params,
    )
}

/// SQL of what copying a row costs, where that depends on its values.
fn cost(existing: &TableSchema, target: &TableSchema) -> Option<String> {
    let costs = existing.columns.iter().filter_map(|from| {
        let to = target.column(&from.name)?;
        storage::conversion_cost(from.column_type, to.column_type, &quote(&from.name))
    });
    let costs = costs.collect::<Vec<_>>();
    (!costs.is_empty()).then(|| costs.join(" + "))
}

fn copied_value(
    existing: &TableSchema,
    target: &TableSchema,
    from: &TableColumn,
    to: &TableColumn,
) -> String {
    let column = quote(&from.name);
    let value =
        storage::conversion(from.column_type, to.column_type, &column).unwrap_or_else(|| column.clone());
    if target.primary_key.contains(&to.name) {
        return format!("coalesce({value}, {})", storage::zero(to.column_type));
    }
    if to.name == DELETED {
        let unkeyed = target.primary_key.iter().map(|key| match existing.column(key) {
            Some(_) => format!("{} IS NULL", quote(key)),
            None => "1".to_owned(),
        });
        return format!("CASE WHEN {} THEN 1 ELSE {value} END", unkeyed.collect::<Vec<_>>().join(" OR "));
    }
    value
}

/// The user's indexes and triggers on the table; those of SQLite's own have no SQL.
async fn schema_objects(database: &Database, name: &str, what: &str) -> Result<Vec<SchemaObject>> {
    let select = Statement::new(
        "SELECT name, sql FROM sqlite_master \
         WHERE type IN ('index', 'trigger') AND tbl_name = ?1 AND sql IS NOT NULL",
        vec![name.into()],
    );
    let rows = database.query(what, select).await?.rows;
    rows.iter()
        .map(|row| {
            Ok(SchemaObject {
                name: catalog::text(row, "name")?.to_owned(),
                sql: catalog::text(row, "sql")?.to_owned(),
            })
        })
        .collect()
}

/// Which of the table, its copy and its predecessor exist.
async fn existing_tables(database: &Database, name: &str, what: &str) -> Result<HashSet<String>> {
    let select = Statement::new(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name IN (?1, ?2, ?3)",
        vec![name.into(), names::rebuilt(name).into(), names::replaced(name).into()],
    );
    let rows = database.query(what, select).await?.rows;
    Ok(rows.iter().filter_map(|row| row.get("name").and_then(Value::as_str).map(str::to_owned)).collect())
}

/// A scalar subquery that fails the statement unless the run of `?1` to `?3` is the announced one (I4).
fn current_or_fail() -> String {
    format!(
        "(SELECT json_extract('1', CASE WHEN {} THEN '$' ELSE '{}' END))",
        catalog::IS_CURRENT,
        fault::FENCED
    )
}

/// Stops a batch whose run is not the announced one; `ALTER` and `DROP` have no place for a condition.
fn guard(name: &str, load: &TableLoad) -> Statement {
    Statement::new(format!("SELECT {}", current_or_fail()), catalog::current_params(name, load))
}

fn note(name: &str, load: &TableLoad, plan: Option<&Rebuild>) -> Result<Statement> {
    let mut params = catalog::current_params(name, load);
    params.push(plan.map(serde_json::to_string).transpose()?.unwrap_or_default().into());
    let update = format!(
        "UPDATE _fivetran_tables SET rebuild = nullif(?4, '') WHERE name = ?1 AND {}",
        catalog::IS_CURRENT
    );
    Ok(Statement::new(update, params))
}

fn rename(from: &str, to: &str) -> Statement {
    sql(format!("ALTER TABLE {} RENAME TO {}", quote(from), quote(to)))
}

fn sql(text: String) -> Statement {
    Statement::new(text, Vec::new())
}
