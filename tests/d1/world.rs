//! A D1 destination over a database the tests can look into.

use std::rc::Rc;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use async_trait::async_trait;
use fivetran_do::core::catalog::StreamName;
use fivetran_do::core::redact::Secret;
use fivetran_do::core::run::{ChunkId, Counts, Fence};
use fivetran_do::core::table::{DELETED, LoadMode, SYNCED, TableColumn, TableSchema};
use fivetran_do::core::types::{ColumnType, UTC};
use fivetran_do::core::{Error, Result};
use fivetran_do::destinations::{
    ChunkOpening, ChunkWriter, Destination, DurableReceipt, TableLoad, registry,
};
use fivetran_do::ports::{
    Bindings, Clock, Http, HttpRequest, HttpResponse, ObjectStore, Ports, Random, SqlDatabase, Tcp,
    TcpStream, Timer, TlsMode,
};
use rusqlite::types::Value;
use serde_json::json;

use crate::support::publishing::PublishAll;
use crate::support::sqlite::SqliteDatabase;

/// A destination and its database.
pub struct World {
    pub db: Rc<SqliteDatabase>,
    pub d1: Box<dyn Destination>,
}

impl World {
    pub fn new() -> Self {
        Self::over(Rc::new(SqliteDatabase::with_d1_limits()))
    }

    /// Another instance of the destination over the same database, as another worker would have.
    pub fn over(db: Rc<SqliteDatabase>) -> Self {
        let ports = ports(db.clone(), Rc::new(Nowhere));
        let d1 = (registry::destination("d1").unwrap().open)(&json!({ "binding": "DB" }), &ports).unwrap();
        Self { db, d1 }
    }

    /// Rows of a query as SQLite values.
    pub fn select(&self, sql: &str) -> Vec<Vec<Value>> {
        self.db.with(|connection| {
            let mut statement = connection.prepare(sql).unwrap();
            let width = statement.column_count();
            let rows = statement
                .query_map([], |row| {
                    (0..width).map(|i| row.get::<_, Value>(i)).collect::<rusqlite::Result<_>>()
                })
                .unwrap();
            rows.map(|row| row.unwrap()).collect()
        })
    }

    /// One integer.
    pub fn count(&self, sql: &str) -> i64 {
        match self.select(sql)[0][0] {
            Value::Integer(count) => count,
            ref other => panic!("{other:?} is no integer"),
        }
    }

    /// A writer of a chunk that is not durable yet.
    pub async fn writer(&self, load: &TableLoad, chunk: u32, lease: u64) -> Box<dyn ChunkWriter> {
        match self.d1.open(load, &chunk_id(load, chunk), Fence { run: load.run, lease }).await.unwrap() {
            ChunkOpening::Writer(writer) => writer,
            ChunkOpening::AlreadyDurable(receipt) => panic!("durable already: {receipt:?}"),
        }
    }

    /// Writes a chunk of one batch.
    pub async fn load_chunk(&self, load: &TableLoad, chunk: u32, batch: RecordBatch) -> DurableReceipt {
        let read = batch.num_rows() as u64;
        let mut writer = self.writer(load, chunk, 1).await;
        writer.write(batch).await.unwrap();
        writer.commit(Counts { read, ..Counts::default() }).await.unwrap()
    }

    /// Prepares, writes one chunk of one batch, publishes.
    pub async fn load(
        &self,
        load: &TableLoad,
        batch: RecordBatch,
    ) -> fivetran_do::destinations::TableReceipt {
        self.d1.prepare(load).await.unwrap();
        let receipt = self.load_chunk(load, 0, batch).await;
        self.d1.publish_all(load, &[receipt], Fence { run: load.run, lease: 2 }).await.unwrap()
    }
}

pub fn chunk_id(load: &TableLoad, chunk: u32) -> ChunkId {
    ChunkId {
        connection_id: load.connection_id.clone(),
        run_id: load.run_id.clone(),
        stream: StreamName::new("public", load.table.table.clone()),
        chunk,
    }
}

/// A load of a table by run number `run` of connection `crm`.
pub fn load(table: TableSchema, run: u64, mode: LoadMode) -> TableLoad {
    TableLoad {
        connection_id: "crm".to_owned(),
        run_id: format!("run-{run}"),
        run,
        synced_at: synced_at(run),
        table,
        mode,
    }
}

/// 2026-11-23T00:00:00Z and a minute for every run.
pub fn synced_at(run: u64) -> i64 {
    1_795_392_000_000_000 + run as i64 * 60_000_000
}

pub fn column(name: &str, column_type: ColumnType) -> TableColumn {
    TableColumn { name: name.to_owned(), column_type, nullable: true }
}

/// A table of those columns, the first ones of which are the key, with the system columns.
pub fn table(name: &str, columns: &[(&str, ColumnType)], keys: usize) -> TableSchema {
    let mut all: Vec<TableColumn> = columns.iter().map(|(name, kind)| column(name, *kind)).collect();
    all.push(column(SYNCED, ColumnType::UtcDatetime));
    all.push(column(DELETED, ColumnType::Boolean));
    TableSchema {
        schema: "crm".to_owned(),
        table: name.to_owned(),
        columns: all,
        primary_key: columns.iter().take(keys).map(|(name, _)| (*name).to_owned()).collect(),
    }
}

/// A batch of a table made with [`table`], its system columns filled in for the load.
pub fn batch(load: &TableLoad, columns: Vec<ArrayRef>) -> RecordBatch {
    let rows = columns[0].len();
    let mut all = columns;
    all.push(Arc::new(TimestampMicrosecondArray::from_value(load.synced_at, rows).with_timezone(UTC)));
    all.push(Arc::new(BooleanArray::from(vec![false; rows])));
    RecordBatch::try_new(load.table.arrow(), all).unwrap()
}

/// The table `people (id LONG key, name STRING)`.
pub fn people() -> TableSchema {
    table("people", &[("id", ColumnType::Long), ("name", ColumnType::String)], 1)
}

pub fn people_batch(load: &TableLoad, rows: &[(i64, &str)]) -> RecordBatch {
    let ids: Int64Array = rows.iter().map(|(id, _)| Some(*id)).collect();
    let names: StringArray = rows.iter().map(|(_, name)| Some(*name)).collect();
    batch(load, vec![Arc::new(ids), Arc::new(names)])
}

/// Ports with that database under the binding `DB`.
pub fn ports(db: Rc<dyn SqlDatabase>, http: Rc<dyn Http>) -> Ports {
    Ports {
        clock: Rc::new(Nowhere),
        random: Rc::new(Nowhere),
        timer: Rc::new(Nowhere),
        tcp: Rc::new(Nowhere),
        http,
        bindings: Rc::new(OneBinding(db)),
        faults: None,
    }
}

struct OneBinding(Rc<dyn SqlDatabase>);

impl Bindings for OneBinding {
    fn database(&self, binding: &str) -> Result<Rc<dyn SqlDatabase>> {
        if binding == "DB" {
            return Ok(Rc::clone(&self.0));
        }
        Err(Error::invalid(format!("There is no D1 binding {binding}")))
    }

    fn bucket(&self, binding: &str) -> Result<Rc<dyn ObjectStore>> {
        Err(Error::invalid(format!("There is no R2 binding {binding}")))
    }

    fn hyperdrive(&self, binding: &str) -> Result<Secret> {
        Err(Error::invalid(format!("There is no Hyperdrive binding {binding}")))
    }
}

/// The part of the world D1 does not need.
pub struct Nowhere;

impl Clock for Nowhere {
    fn now_micros(&self) -> i64 {
        synced_at(0)
    }
}

impl Random for Nowhere {
    fn fill(&self, _: &mut [u8]) -> Result<()> {
        Err(Error::internal("no randomness here"))
    }
}

#[async_trait(?Send)]
impl Timer for Nowhere {
    async fn sleep_ms(&self, _: u64) {}
}

#[async_trait(?Send)]
impl Tcp for Nowhere {
    async fn connect(&self, _: &str, _: u16, _: TlsMode) -> Result<Box<dyn TcpStream>> {
        Err(Error::internal("no network here"))
    }
}

#[async_trait(?Send)]
impl Http for Nowhere {
    async fn send(&self, _: HttpRequest) -> Result<HttpResponse> {
        Err(Error::internal("no network here"))
    }
}
