//! SQLite (rusqlite, bundled) behind the ports: D1 with its limits, and the storage of a Durable Object.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ops::Deref;
use std::rc::Rc;

use async_trait::async_trait;
use fivetran_do::core::limits::{D1_MAX_COLUMNS, D1_MAX_ROW_BYTES, D1_MAX_SQL_BYTES};
use fivetran_do::core::{Error, Result};
use fivetran_do::ports::{LocalSql, QueryResult, SqlDatabase, SqlValue, Statement};
use rusqlite::config::DbConfig;
use rusqlite::fallible_iterator::FallibleIterator;
use rusqlite::limits::Limit;
use rusqlite::types::{ToSqlOutput, Value as SqliteValue, ValueRef};
use rusqlite::{Batch, CachedStatement, Connection, ToSql};
use serde_json::{Map, Number, Value};

/// What to do with the next statements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// After this many more statements the connection is lost, and the batch under way is rolled back.
    LostAfter(u32),
    /// The same over an API whose batches are no transactions: what ran stays.
    TornAfter(u32),
}

/// A database as D1 offers it.
pub struct SqliteDatabase {
    connection: RefCell<Lent>,
    fault: Cell<Option<Fault>>,
    statements: Cell<u64>,
    old_sqlite: Cell<bool>,
}

impl SqliteDatabase {
    /// An empty database in memory without limits.
    pub fn new() -> Self {
        Self::over(Lent { kind: None, connection: Some(Connection::open_in_memory().unwrap()) })
    }

    /// An empty database with the tables of `schema`, reused as [`MemoryLocalSql::reused`] is.
    pub fn reused(kind: &'static str, schema: &str) -> Self {
        let connection = Lent::of(kind);
        if table_names(&connection).is_empty() {
            connection.execute_batch(schema).unwrap();
            let born_with = rows_as_sql(&connection);
            BORN_WITH.with(|slot| slot.borrow_mut().insert(kind, born_with));
        } else {
            BORN_WITH.with(|slot| connection.execute_batch(&slot.borrow()[kind])).unwrap();
        }
        Self::over(connection)
    }

    fn over(connection: Lent) -> Self {
        Self {
            connection: RefCell::new(connection),
            fault: Cell::new(None),
            statements: Cell::new(0),
            old_sqlite: Cell::new(false),
        }
    }

    /// An empty database in memory with D1's limits: 100 columns, 100 parameters, 2 MB values and rows, 100 KB SQL.
    pub fn with_d1_limits() -> Self {
        let database = Self::new();
        let limits = [
            (Limit::SQLITE_LIMIT_COLUMN, D1_MAX_COLUMNS),
            (Limit::SQLITE_LIMIT_VARIABLE_NUMBER, 100),
            (Limit::SQLITE_LIMIT_LENGTH, D1_MAX_ROW_BYTES),
            (Limit::SQLITE_LIMIT_SQL_LENGTH, D1_MAX_SQL_BYTES),
            (Limit::SQLITE_LIMIT_COMPOUND_SELECT, 5),
            (Limit::SQLITE_LIMIT_EXPR_DEPTH, 100),
            (Limit::SQLITE_LIMIT_FUNCTION_ARG, 32),
            (Limit::SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 50),
            (Limit::SQLITE_LIMIT_TRIGGER_DEPTH, 10),
            (Limit::SQLITE_LIMIT_ATTACHED, 0),
        ];
        for (limit, value) in limits {
            database.connection.borrow().set_limit(limit, i32::try_from(value).unwrap()).unwrap();
        }
        database
    }

    /// Makes calls fail; `None` heals.
    pub fn set_fault(&self, fault: Option<Fault>) {
        self.fault.set(fault);
    }

    /// Pretends to be a SQLite before 3.51, without `jsonb_each`.
    pub fn without_jsonb_each(&self) {
        self.old_sqlite.set(true);
    }

    /// Statements run so far.
    pub fn statements_run(&self) -> u64 {
        self.statements.get()
    }

    /// Straight to the database, for set-up and for reading back what was written.
    pub fn with<T>(&self, work: impl FnOnce(&Connection) -> T) -> T {
        work(&self.connection.borrow())
    }

    fn run(&self, connection: &Connection, statement: &Statement) -> Result<QueryResult> {
        if self.old_sqlite.get() && statement.sql.contains("jsonb_each") {
            return Err(Error::internal("D1_ERROR: no such table: jsonb_each: SQLITE_ERROR"));
        }
        self.statements.set(self.statements.get() + 1);
        let before = connection.total_changes();
        let mut prepared = connection.prepare_cached(&statement.sql).map_err(complaint)?;
        let columns: Vec<String> = prepared.column_names().map(str::to_owned).collect();
        let params = rusqlite::params_from_iter(statement.params.iter().map(Param));
        let mut cursor = prepared.query(params).map_err(complaint)?;
        let mut rows = Vec::new();
        while let Some(row) = cursor.next().map_err(complaint)? {
            let mut object = Map::new();
            for (index, column) in columns.iter().enumerate() {
                object.insert(column.clone(), to_json(row.get_ref(index).map_err(complaint)?));
            }
            rows.push(object);
        }
        drop(cursor);
        Ok(QueryResult { rows, changes: connection.total_changes() - before })
    }

    /// True when the connection is lost before the next statement.
    fn is_lost(&self) -> bool {
        match self.fault.get() {
            None => false,
            Some(Fault::LostAfter(0) | Fault::TornAfter(0)) => true,
            Some(Fault::LostAfter(left)) => {
                self.fault.set(Some(Fault::LostAfter(left - 1)));
                false
            }
            Some(Fault::TornAfter(left)) => {
                self.fault.set(Some(Fault::TornAfter(left - 1)));
                false
            }
        }
    }
}

#[async_trait(?Send)]
impl SqlDatabase for SqliteDatabase {
    async fn batch(&self, statements: Vec<Statement>) -> Result<Vec<QueryResult>> {
        // A turn of the executor, as a call over the network would take: in-flight work really is in flight.
        tokio::task::yield_now().await;
        let connection = self.connection.borrow();
        let torn = matches!(self.fault.get(), Some(Fault::TornAfter(_)));
        if torn {
            let mut results = Vec::new();
            for statement in &statements {
                if self.is_lost() {
                    return Err(lost());
                }
                results.push(self.run(&connection, statement)?);
            }
            return Ok(results);
        }
        let transaction = connection.unchecked_transaction().map_err(complaint)?;
        let mut results = Vec::new();
        for statement in &statements {
            if self.is_lost() {
                return Err(lost());
            }
            results.push(self.run(&transaction, statement)?);
        }
        transaction.commit().map_err(complaint)?;
        Ok(results)
    }
}

/// The SQLite of a Durable Object. Clones share the storage, so a second one is the object after a restart.
#[derive(Clone)]
pub struct MemoryLocalSql {
    connection: Rc<Lent>,
}

impl MemoryLocalSql {
    /// An empty storage.
    pub fn new() -> Self {
        Self {
            connection: Rc::new(Lent { kind: None, connection: Some(Connection::open_in_memory().unwrap()) }),
        }
    }

    /// An empty storage for an object of that kind, made from one that was given back where there is one: thousands of
    /// worlds then prepare their statements once. It may have the kind's tables already, without rows.
    pub fn reused(kind: &'static str) -> Self {
        Self { connection: Rc::new(Lent::of(kind)) }
    }

    /// Rows of all tables together.
    pub fn rows(&self) -> i64 {
        let tables = table_names(&self.connection);
        let count = |name: &String| {
            let sql = format!("SELECT COUNT(*) FROM \"{name}\"");
            self.connection.query_row(&sql, [], |row| row.get::<_, i64>(0)).unwrap()
        };
        tables.iter().map(count).sum()
    }
}

thread_local! {
    /// Emptied databases by kind.
    static SPARE: RefCell<BTreeMap<&'static str, Vec<Connection>>> = RefCell::default();
    /// The rows a kind's schema comes with, as statements.
    static BORN_WITH: RefCell<BTreeMap<&'static str, String>> = RefCell::default();
}

/// A database that goes back to its kind's spare ones, emptied.
struct Lent {
    kind: Option<&'static str>,
    connection: Option<Connection>,
}

impl Lent {
    fn of(kind: &'static str) -> Self {
        let spare = SPARE.with(|spare| spare.borrow_mut().entry(kind).or_default().pop());
        let connection = spare.unwrap_or_else(|| {
            let connection = Connection::open_in_memory().unwrap();
            connection.set_prepared_statement_cache_capacity(256);
            // Otherwise a statement is planned anew for every value bound to it.
            connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).unwrap();
            connection
        });
        Self { kind: Some(kind), connection: Some(connection) }
    }
}

impl Deref for Lent {
    type Target = Connection;
    fn deref(&self) -> &Connection {
        self.connection.as_ref().unwrap()
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let (Some(kind), Some(connection)) = (self.kind, self.connection.take())
            && !std::thread::panicking()
        {
            empty(&connection);
            SPARE.with(|spare| spare.borrow_mut().entry(kind).or_default().push(connection));
        }
    }
}

fn table_names(connection: &Connection) -> Vec<String> {
    let sql = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'";
    let mut select = connection.prepare_cached(sql).unwrap();
    let names = select.query_map([], |row| row.get(0)).unwrap();
    names.map(Result::unwrap).collect()
}

/// Every row of every table as a statement that inserts it.
fn rows_as_sql(connection: &Connection) -> String {
    let mut statements = String::new();
    for table in table_names(connection) {
        let values =
            "SELECT group_concat('quote(\"' || name || '\")', ' || '','' || ') FROM pragma_table_info(?1)";
        let values: String = connection.query_row(values, [&table], |row| row.get(0)).unwrap();
        let rows = format!("SELECT 'INSERT INTO \"{table}\" VALUES (' || {values} || ');' FROM \"{table}\"");
        let mut select = connection.prepare(&rows).unwrap();
        let rows = select.query_map([], |row| row.get::<_, String>(0)).unwrap();
        statements.extend(rows.map(Result::unwrap));
    }
    statements
}

/// Empties every table. One that others refer to waits for the next round: a pragma that defers the check would make
/// every prepared statement expire.
fn empty(connection: &Connection) {
    let mut full = table_names(connection);
    while !full.is_empty() {
        let before = full.len();
        full.retain(|name| {
            connection.prepare_cached(&format!("DELETE FROM \"{name}\"")).unwrap().execute([]).is_err()
        });
        assert!(full.len() < before, "{full:?} refer to each other");
    }
}

impl LocalSql for MemoryLocalSql {
    /// As on the platform, `sql` may hold several statements; parameters belong to the last one, whose rows come back.
    fn exec(&self, sql: &str, params: &[SqlValue]) -> Result<Vec<Vec<SqlValue>>> {
        if !sql.contains(';') {
            return read_all(self.connection.prepare_cached(sql).map_err(complaint)?, params);
        }
        let mut rows = Vec::new();
        let mut batch = Batch::new(&self.connection, sql);
        while let Some(mut statement) = batch.next().map_err(complaint)? {
            rows.clear();
            let count = statement.column_count();
            let bound = params.iter().take(statement.parameter_count()).map(Param);
            let mut cursor = statement.query(rusqlite::params_from_iter(bound)).map_err(complaint)?;
            while let Some(row) = cursor.next().map_err(complaint)? {
                let cells = (0..count).map(|index| Ok(to_sql_value(row.get_ref(index).map_err(complaint)?)));
                rows.push(cells.collect::<Result<Vec<_>>>()?);
            }
        }
        Ok(rows)
    }
}

fn read_all(mut statement: CachedStatement<'_>, params: &[SqlValue]) -> Result<Vec<Vec<SqlValue>>> {
    let count = statement.column_count();
    let bound = params.iter().take(statement.parameter_count()).map(Param);
    let mut cursor = statement.query(rusqlite::params_from_iter(bound)).map_err(complaint)?;
    let mut rows = Vec::new();
    while let Some(row) = cursor.next().map_err(complaint)? {
        let cells = (0..count).map(|index| Ok(to_sql_value(row.get_ref(index).map_err(complaint)?)));
        rows.push(cells.collect::<Result<Vec<_>>>()?);
    }
    Ok(rows)
}

struct Param<'a>(&'a SqlValue);

impl ToSql for Param<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self.0 {
            SqlValue::Null => ToSqlOutput::Owned(SqliteValue::Null),
            SqlValue::Integer(integer) => ToSqlOutput::Owned(SqliteValue::Integer(*integer)),
            SqlValue::Real(real) => ToSqlOutput::Owned(SqliteValue::Real(*real)),
            SqlValue::Text(text) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
        })
    }
}

/// As D1's border: integers beyond 2^53 are rounded, infinities become null, bytes an array of numbers.
fn to_json(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(integer) if integer.unsigned_abs() > 1 << 53 => {
            Number::from_f64(integer as f64).map_or(Value::Null, Value::Number)
        }
        ValueRef::Integer(integer) => integer.into(),
        ValueRef::Real(real) => Number::from_f64(real).map_or(Value::Null, Value::Number),
        ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned().into(),
        ValueRef::Blob(bytes) => bytes.iter().copied().map(Value::from).collect::<Vec<_>>().into(),
    }
}

fn to_sql_value(value: ValueRef<'_>) -> SqlValue {
    match value {
        ValueRef::Null => SqlValue::Null,
        ValueRef::Integer(integer) => SqlValue::Integer(integer),
        ValueRef::Real(real) => SqlValue::Real(real),
        ValueRef::Text(text) | ValueRef::Blob(text) => {
            SqlValue::Text(String::from_utf8_lossy(text).into_owned())
        }
    }
}

/// In D1's words.
fn complaint(error: rusqlite::Error) -> Error {
    let code = match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::TooBig) => "SQLITE_TOOBIG",
        Some(rusqlite::ErrorCode::DiskFull) => "SQLITE_FULL",
        _ => "SQLITE_ERROR",
    };
    Error::internal(format!("D1_ERROR: {error}: {code}"))
}

fn lost() -> Error {
    Error::internal("D1_ERROR: Network connection lost.")
}

#[test]
fn a_restarted_object_finds_its_storage() {
    let sql = MemoryLocalSql::new();
    sql.exec(
        "CREATE TABLE a (id INTEGER, t TEXT); INSERT INTO a VALUES (?1, ?2)",
        &[i64::MAX.into(), "x".into()],
    )
    .unwrap();
    let restarted = sql.clone();
    drop(sql);
    let rows = restarted.exec("SELECT id, t, NULL, 0.5 FROM a", &[]).unwrap();
    assert_eq!(rows, [[SqlValue::Integer(i64::MAX), "x".into(), SqlValue::Null, SqlValue::Real(0.5)]]);
}
