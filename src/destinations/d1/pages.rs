//! Walks a table in key order in steps that stay far below D1's 30 seconds a query, whatever the table's size.

use super::database::Database;
use super::names::quote;
use super::{catalog, storage};
use crate::core::Result;
use crate::core::table::TableSchema;
use crate::core::types::ColumnType;
use crate::ports::{SqlValue, Statement};

/// Rows of a step. SQLite copies or updates some 300,000 rows a second, so a step takes about a second.
const STEP_ROWS: u32 = 200_000;

/// Most that a step may cost, where rows have a cost: some 10 seconds.
const STEP_COST: u32 = 5_000_000;

/// A range of keys: after `after` (if any), up to and including `upto` (if any).
pub(super) struct Page {
    after: Option<Vec<SqlValue>>,
    upto: Option<Vec<SqlValue>>,
}

/// The pages of a table. The whole key is compared, so no page depends on values being unique in a part of it.
pub(super) struct Pages {
    what: String,
    name: String,
    key: Vec<(String, ColumnType)>,
    /// SQL of what a row costs, where that depends on the row.
    cost: Option<String>,
    after: Option<Vec<SqlValue>>,
    done: bool,
}

impl Pages {
    /// The pages of the table of that SQLite name.
    pub(super) fn of(table: &TableSchema, name: &str) -> Self {
        let (what, key) = (catalog::title(table), key_of(table));
        Self { what, name: quote(name), key, cost: None, after: None, done: false }
    }

    /// The same, with steps that end where their rows have cost enough.
    pub(super) fn costing(self, cost: Option<String>) -> Self {
        Self { cost, ..self }
    }

    /// The next page; `None` after the last one. There is always a first one.
    pub(super) async fn next(&mut self, database: &Database) -> Result<Option<Page>> {
        if self.done {
            return Ok(None);
        }
        let after = self.after.take();
        let columns = self.key.iter().map(|(column, _)| column.as_str()).collect::<Vec<_>>().join(", ");
        let texts = self
            .key
            .iter()
            .enumerate()
            .map(|(index, (column, kind))| format!("{} AS k{index}", storage::key_to_text(*kind, column)))
            .collect::<Vec<_>>()
            .join(", ");
        let bound =
            after.as_ref().map_or(String::new(), |_| format!(" WHERE {}", compare(&self.key, ">", 1)));
        let sql = match &self.cost {
            None => {
                let (name, most) = (&self.name, STEP_ROWS - 1);
                format!("SELECT {texts} FROM {name} {bound} ORDER BY {columns} LIMIT 1 OFFSET {most}")
            }
            // Names that begin so are ours, so no key has them.
            Some(cost) => format!(
                "SELECT {texts} FROM (SELECT {columns}, row_number() OVER step AS _fivetran_row, \
                 sum({cost}) OVER step AS _fivetran_cost FROM {} {bound} \
                 WINDOW step AS (ORDER BY {columns} ROWS UNBOUNDED PRECEDING) LIMIT {STEP_ROWS}) \
                 WHERE _fivetran_row = {STEP_ROWS} OR _fivetran_cost >= {STEP_COST} ORDER BY {columns} LIMIT 1",
                self.name
            ),
        };
        let statement = Statement::new(sql, after.clone().unwrap_or_default());
        let result = database.query(&self.what, statement).await?;
        let upto = match result.rows.first() {
            None => None,
            Some(row) => Some(
                (0..self.key.len())
                    .map(|index| Ok(catalog::text(row, &format!("k{index}"))?.into()))
                    .collect::<Result<Vec<SqlValue>>>()?,
            ),
        };
        self.done = upto.is_none();
        self.after.clone_from(&upto);
        Ok(Some(Page { after, upto }))
    }
}

impl Page {
    /// SQL of the range, for a statement that already has `params`; the range's own are added to them.
    pub(super) fn condition(&self, table: &TableSchema, params: &mut Vec<SqlValue>) -> String {
        let key = key_of(table);
        let mut conditions = vec!["1 = 1".to_owned()];
        for (bound, operator) in [(&self.after, ">"), (&self.upto, "<=")] {
            if let Some(values) = bound {
                conditions.push(compare(&key, operator, params.len() + 1));
                params.extend(values.iter().cloned());
            }
        }
        conditions.join(" AND ")
    }
}

pub(super) fn key_of(table: &TableSchema) -> Vec<(String, ColumnType)> {
    table.primary_key.iter().filter_map(|key| Some((quote(key), table.column(key)?.column_type))).collect()
}

/// Compares the key with parameters that start at number `first`.
pub(super) fn compare(key: &[(String, ColumnType)], operator: &str, first: usize) -> String {
    let columns = key.iter().map(|(column, _)| column.as_str()).collect::<Vec<_>>().join(", ");
    let params = key
        .iter()
        .zip(first..)
        .map(|((_, kind), number)| storage::key_from_text(*kind, &format!("?{number}")))
        .collect::<Vec<_>>()
        .join(", ");
    format!("({columns}) {operator} ({params})")
}
