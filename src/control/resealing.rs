//! Sealing everything anew under the newest key, so that an older one can be removed.
//!
//! A pass goes over every sealed column in the order of its table's key, some values at a time. A value is replaced only
//! if it is still the one that was read, so an edit meanwhile wins, and is sealed with the newest key by itself. What has
//! been done needs no record: it is no longer found. So a pass may end anywhere, be repeated, and run twice at once.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ControlPlane;
use super::row::Row;
use super::vault::mark;
use crate::core::Result;
use crate::ports::{SqlDatabase, SqlValue, Statement};

/// Values read at once: each may be as large as a row of D1, 2 MB, and together they must fit the memory (I9).
const PAGE: u32 = 10;
/// Pages of one call: about 200 values, a second or two, and far below the statements one event may send.
const PAGES: u32 = 20;

/// A column of sealed values. A test looks through the schema for one that is missing here.
struct SealedColumn {
    /// What it holds, as reports name it.
    holds: &'static str,
    table: &'static str,
    column: &'static str,
    /// Columns of the primary key, all of them texts.
    key: &'static [&'static str],
    /// What its values are sealed for, around the key's parts with slashes between them.
    place: (&'static str, &'static str),
    /// Whether it is in the first database alone.
    shared: bool,
    /// The column that keeps the [`mark`] of the value as it was first sealed.
    mark: Option<&'static str>,
}

#[rustfmt::skip]
const COLUMNS: [SealedColumn; 6] = [
    SealedColumn { holds: "connections", table: "connections", column: "config_sealed", key: &["id"], place: ("connections/", ""), shared: false, mark: Some("config_mark") },
    SealedColumn { holds: "destinations", table: "destinations", column: "config_sealed", key: &["id"], place: ("destinations/", ""), shared: false, mark: Some("config_mark") },
    SealedColumn { holds: "hash_salts", table: "destinations", column: "hash_salt_sealed", key: &["id"], place: ("destinations/", "/hash_salt"), shared: false, mark: None },
    SealedColumn { holds: "webhooks_and_log_services", table: "receivers", column: "config_sealed", key: &["id"], place: ("receivers/", ""), shared: true, mark: None },
    SealedColumn { holds: "transformations", table: "definitions", column: "body_sealed", key: &["id"], place: ("definitions/", ""), shared: true, mark: None },
    SealedColumn { holds: "idempotent_answers", table: "idempotent_answers", column: "answer_sealed", key: &["key_id", "idempotency_key"], place: ("idempotent_answers/", ""), shared: true, mark: None },
];

/// Where a pass stands.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ResealPosition {
    /// Number of the database.
    #[serde(default)]
    database: usize,
    /// Number of the column.
    column: usize,
    /// Key of the last row that was looked at; empty before the first.
    after: Vec<String>,
}

/// What a call of a pass did.
#[derive(Debug, Default)]
pub struct Resealed {
    /// Values sealed anew.
    pub resealed: u64,
    /// Values that do not open, with the reason. They are left as they are.
    pub unopened: Vec<(String, String)>,
    /// Where to go on; `None` at the end.
    pub next: Option<ResealPosition>,
}

/// A key, and how much is sealed with it.
#[derive(Debug)]
pub struct KeyUse {
    /// Its id; empty for values that are not in the vault's format.
    pub id: String,
    /// Whether the vault has it.
    pub configured: bool,
    /// Whether the vault seals with it.
    pub seals: bool,
    /// Numbers of values, by what they are; what there is none of is left out.
    pub held: BTreeMap<&'static str, u64>,
}

impl ControlPlane {
    /// What every key holds, the keys of the vault first, in their order.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn key_uses(&self) -> Result<Vec<KeyUse>> {
        let mut uses = Vec::new();
        for (at, id) in self.vault.key_ids().enumerate() {
            uses.push(KeyUse { id: id.to_owned(), configured: true, seals: at == 0, held: BTreeMap::new() });
        }
        for (number, database) in self.databases.all().enumerate() {
            let columns = COLUMNS.iter().filter(|column| column.is_in(number)).collect::<Vec<_>>();
            let counted = database.batch(columns.iter().map(|column| count(column)).collect()).await?;
            for (column, found) in columns.into_iter().zip(counted) {
                for row in found.rows.into_iter().map(Row) {
                    note(&mut uses, column.holds, row.text("key_id")?, row.count("held")?);
                }
            }
        }
        Ok(uses)
    }

    /// Goes on with a pass from there, for about 200 values.
    ///
    /// # Errors
    /// When the database cannot be reached or the platform has no entropy. What was done stays done.
    pub async fn reseal(&self, from: ResealPosition) -> Result<Resealed> {
        let (mut done, mut position) = (Resealed::default(), from);
        for _ in 0..PAGES {
            let Some(database) = self.databases.all().nth(position.database) else { return Ok(done) };
            let last = match COLUMNS.get(position.column) {
                Some(column) if column.is_in(position.database) => {
                    self.reseal_page(database, column, &position.after, &mut done).await?
                }
                _ => None,
            };
            position = position.after(last);
        }
        done.next = (position.database < self.databases.all().count()).then_some(position);
        Ok(done)
    }

    /// Seals one page of a column anew. Gives the key of its last row, if there may be more.
    async fn reseal_page(
        &self,
        database: &dyn SqlDatabase,
        column: &SealedColumn,
        after: &[String],
        done: &mut Resealed,
    ) -> Result<Option<Vec<String>>> {
        let rows = database.query(page(column, after, &self.vault.newest_head())).await?.rows;
        let full = rows.len() >= PAGE as usize;
        let (mut updates, mut last) = (Vec::new(), None);
        for row in rows.into_iter().map(Row) {
            let key = column.key.iter().map(|part| row.text(part)).collect::<Result<Vec<_>>>()?;
            let (place, old) = (column.place(&key), row.text("sealed")?);
            match self.vault.open(&place, &old) {
                Ok(clear) => updates.push(replace(column, &key, &old, self.vault.seal(&place, &clear)?)),
                Err(error) => done.unopened.push((place, error.to_string())),
            }
            last = Some(key);
        }
        if !updates.is_empty() {
            let replaced = database.batch(updates).await?;
            done.resealed += replaced.iter().map(|result| result.changes).sum::<u64>();
        }
        Ok(last.filter(|_| full))
    }
}

impl ResealPosition {
    /// Where a page that ended with that key leads to: the next page, or the next column, or the next database.
    fn after(self, last: Option<Vec<String>>) -> Self {
        match last {
            Some(after) => Self { after, ..self },
            None if self.column.saturating_add(1) < COLUMNS.len() => {
                Self { column: self.column.saturating_add(1), after: Vec::new(), ..self }
            }
            None => Self { database: self.database.saturating_add(1), ..Self::default() },
        }
    }
}

/// Adds what a key holds in one column of one database.
fn note(uses: &mut Vec<KeyUse>, holds: &'static str, id: String, held: u64) {
    let known = uses.iter().position(|key| key.id == id);
    if let Some(key) = known.and_then(|at| uses.get_mut(at)) {
        let sum = key.held.entry(holds).or_default();
        *sum = sum.saturating_add(held);
    } else {
        uses.push(KeyUse { id, configured: false, seals: false, held: BTreeMap::from([(holds, held)]) });
    }
}

impl SealedColumn {
    /// Whether the database of that number has such values.
    fn is_in(&self, number: usize) -> bool {
        number == 0 || !self.shared
    }

    /// What the value of that row is sealed for.
    fn place(&self, key: &[String]) -> String {
        let (before, behind) = self.place;
        format!("{before}{}{behind}", key.join("/"))
    }
}

/// How many values each key holds. What does not begin as sealed values do counts for the key without a name.
fn count(SealedColumn { table, column, .. }: &SealedColumn) -> Statement {
    let sql = format!(
        "SELECT CASE WHEN {column} GLOB 'v1.*.*' THEN substr({column}, 4, instr(substr({column}, 4), '.') - 1) \
         ELSE '' END AS key_id, COUNT(*) AS held FROM {table} WHERE {column} IS NOT NULL GROUP BY 1 ORDER BY 1"
    );
    Statement::new(sql, Vec::new())
}

/// The next values that the newest key did not seal.
fn page(SealedColumn { table, column, key, .. }: &SealedColumn, after: &[String], newest: &str) -> Statement {
    let mut params = vec![newest.into(), i64::from(PAGE).into()];
    // Where there is nothing to come after yet, everything comes after the empty text.
    params.extend((0..key.len()).map(|at| SqlValue::from(after.get(at).cloned().unwrap_or_default())));
    let (columns, marks) = (key.join(", "), placeholders(3, key.len()));
    let sql = format!(
        "SELECT {columns}, {column} AS sealed FROM {table} WHERE ({columns}) > ({marks}) \
         AND substr({column}, 1, length(?1)) <> ?1 ORDER BY {columns} LIMIT ?2"
    );
    Statement::new(sql, params)
}

/// Replaces a value, if it is still the one that was read.
fn replace(column: &SealedColumn, key: &[String], old: &str, new: String) -> Statement {
    let SealedColumn { table, column, key: columns, mark: marked, .. } = column;
    let mut params = vec![old.into(), new.into()];
    params.extend(key.iter().map(|part| SqlValue::from(part.as_str())));
    let (columns, values) = (columns.join(", "), placeholders(3, columns.len()));
    let mut set = format!("{column} = ?2");
    if let Some(marked) = marked {
        params.push(mark(old).into());
        set.push_str(&format!(", {marked} = COALESCE({marked}, ?{})", params.len()));
    }
    let sql = format!("UPDATE {table} SET {set} WHERE ({columns}) = ({values}) AND {column} = ?1");
    Statement::new(sql, params)
}

/// `?3, ?4`.
fn placeholders(first: usize, count: usize) -> String {
    (first..first + count).map(|at| format!("?{at}")).collect::<Vec<_>>().join(", ")
}
