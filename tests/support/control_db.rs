//! The control plane's database on rusqlite: the real schema, foreign keys on as on D1.

use async_trait::async_trait;
use fivetran_do::core::{Error, Result};
use fivetran_do::ports::{QueryResult, SqlDatabase, SqlValue, Statement};
use rusqlite::types::{ToSqlOutput, Value as Cell, ValueRef};
use rusqlite::{Connection, ToSql, params_from_iter};
use serde_json::{Map, Value};

/// A fresh control plane in memory.
pub struct ControlDb {
    sqlite: Connection,
}

impl ControlDb {
    pub fn new() -> Self {
        let sqlite = Connection::open_in_memory().unwrap();
        sqlite.execute_batch("PRAGMA foreign_keys = ON").unwrap();
        sqlite.execute_batch(fivetran_do::control::SCHEMA).unwrap();
        Self { sqlite }
    }

    /// Everything stored, as text, for greps.
    pub fn dump(&self) -> String {
        let mut names = self.sqlite.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'").unwrap();
        let names = names.query_map([], |row| row.get::<_, String>(0)).unwrap().map(Result::unwrap);
        let mut dump = String::new();
        for name in names.collect::<Vec<_>>() {
            let mut rows = self.sqlite.prepare(&format!("SELECT * FROM {name}")).unwrap();
            let columns = rows.column_count();
            let mut rows = rows.query([]).unwrap();
            while let Some(row) = rows.next().unwrap() {
                dump.push_str(&name);
                for at in 0..columns {
                    dump.push_str(&format!("|{:?}", row.get::<_, Cell>(at).unwrap()));
                }
                dump.push('\n');
            }
        }
        dump
    }

    /// Every column that is named so, as `table.column`, with its texts.
    pub fn columns(&self, suffix: &str) -> Vec<(String, Vec<String>)> {
        let sql = "SELECT t.name, c.name FROM sqlite_schema AS t, pragma_table_info(t.name) AS c \
            WHERE t.type = 'table' AND c.name LIKE '%' || ?1 ORDER BY 1, 2";
        let mut named = self.sqlite.prepare(sql).unwrap();
        let named = named.query_map([suffix], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)));
        let texts = |(table, column): (String, String)| {
            let sql = format!("SELECT {column} FROM {table} WHERE {column} IS NOT NULL");
            let mut found = self.sqlite.prepare(&sql).unwrap();
            let found = found.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
            (format!("{table}.{column}"), found)
        };
        named.unwrap().map(Result::unwrap).map(texts).collect()
    }

    pub fn execute(&self, sql: &str) {
        self.sqlite.execute_batch(sql).unwrap();
    }
}

/// A parameter as SQLite takes it.
struct Param<'a>(&'a SqlValue);

impl ToSql for Param<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self.0 {
            SqlValue::Null => ToSqlOutput::Owned(Cell::Null),
            SqlValue::Integer(integer) => ToSqlOutput::Owned(Cell::Integer(*integer)),
            SqlValue::Real(real) => ToSqlOutput::Owned(Cell::Real(*real)),
            SqlValue::Text(text) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
        })
    }
}

impl ControlDb {
    fn run(&self, statement: &Statement) -> rusqlite::Result<QueryResult> {
        assert!(statement.params.len() <= 100, "D1 takes at most 100 parameters");
        let mut prepared = self.sqlite.prepare_cached(&statement.sql)?;
        let columns = prepared.column_names().map(str::to_owned).collect::<Vec<_>>();
        let mut rows = prepared.query(params_from_iter(statement.params.iter().map(Param)))?;
        let mut result = QueryResult::default();
        while let Some(row) = rows.next()? {
            let mut object = Map::new();
            for (at, column) in columns.iter().enumerate() {
                let value = match row.get_ref(at)? {
                    ValueRef::Null => Value::Null,
                    ValueRef::Integer(integer) => integer.into(),
                    ValueRef::Real(real) => real.into(),
                    ValueRef::Text(text) => String::from_utf8_lossy(text).into(),
                    ValueRef::Blob(_) => panic!("the control plane holds no blobs"),
                };
                object.insert(column.clone(), value);
            }
            result.rows.push(object);
        }
        drop(rows);
        if !prepared.readonly() {
            result.changes = self.sqlite.changes();
        }
        Ok(result)
    }
}

#[async_trait(?Send)]
impl SqlDatabase for ControlDb {
    async fn batch(&self, statements: Vec<Statement>) -> Result<Vec<QueryResult>> {
        assert!(statements.len() <= 1_000, "D1 lets an invocation send a thousand queries in all");
        let failed = |error: rusqlite::Error| Error::internal(format!("SQLite: {error}"));
        self.sqlite.execute_batch("BEGIN IMMEDIATE").map_err(failed)?;
        let results =
            statements.iter().map(|statement| self.run(statement)).collect::<rusqlite::Result<Vec<_>>>();
        let end = if results.is_ok() { "COMMIT" } else { "ROLLBACK" };
        self.sqlite.execute_batch(end).map_err(failed)?;
        results.map_err(failed)
    }
}
