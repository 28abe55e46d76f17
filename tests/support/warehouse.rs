//! A destination in memory that honours the contract of [`Destination`]: announced runs, leases on chunks, durable marks,
//! soft deletes. It writes through, as D1 does, so that a fence that is not checked shows in the rows.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use async_trait::async_trait;
use fivetran_do::connectors::SetupTest;
use fivetran_do::core::fault_point::FaultPoint;
use fivetran_do::core::run::{ChunkId, Counts, Fence};
use fivetran_do::core::table::{LoadMode, TableSchema};
use fivetran_do::core::{Error, ErrorKind, Result};
use fivetran_do::destinations::registry::DestinationType;
use fivetran_do::destinations::{
    Capabilities, ChunkOpening, ChunkWriter, Destination, DurableReceipt, Publishing, Standing, TableLoad,
    TableReceipt, taken,
};
use fivetran_do::ports::Ports;
use serde_json::json;

use super::world::border;

/// A row as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRow {
    pub value: String,
    pub synced_at: i64,
    pub deleted: bool,
}

#[derive(Default)]
struct ChunkState {
    lease: u64,
    durable: Option<DurableReceipt>,
}

pub struct Table {
    schema: TableSchema,
    connection_id: String,
    run: u64,
    pub rows: BTreeMap<i64, StoredRow>,
    chunks: BTreeMap<u32, ChunkState>,
    marked: u64,
    /// Steps of the publish that were done.
    steps: u32,
    published: Option<TableReceipt>,
    last_published: Option<u64>,
}

/// Tables by schema and name.
#[derive(Default)]
pub struct Warehouse {
    pub tables: BTreeMap<(String, String), Table>,
    /// Changes of rows so far.
    pub writes: u64,
    /// Steps before a full load is published.
    pub publish_steps: u32,
    /// How often each chunk of each run became durable.
    pub commits: BTreeMap<(String, u32), u32>,
}

thread_local! {
    static WAREHOUSE: RefCell<Rc<RefCell<Warehouse>>> = RefCell::default();
}

/// Installs an empty warehouse for this thread.
pub fn install() -> Rc<RefCell<Warehouse>> {
    let warehouse = Rc::new(RefCell::new(Warehouse { publish_steps: 1, ..Warehouse::default() }));
    WAREHOUSE.with(|slot| *slot.borrow_mut() = warehouse.clone());
    warehouse
}

pub const DESTINATION: DestinationType = DestinationType {
    id: "memory",
    name: "Memory",
    config_schema: || schemars::json_schema!({"type": "object"}),
    open: |_, ports| {
        let warehouse = WAREHOUSE.with(|slot| slot.borrow().clone());
        Ok(Box::new(Memory { warehouse, ports: ports.clone() }))
    },
};

const CAPABILITIES: Capabilities =
    Capabilities { service: "memory", max_columns: 100, max_row_bytes: 1_000_000 };

struct Memory {
    warehouse: Rc<RefCell<Warehouse>>,
    ports: Ports,
}

fn fenced() -> Error {
    Error::new(ErrorKind::Fenced, "a newer run or lease has taken over")
}

impl Table {
    fn require_owner(&self, load: &TableLoad) -> Result<()> {
        if self.connection_id == load.connection_id {
            return Ok(());
        }
        Err(taken(&load.table, &self.connection_id))
    }

    fn require_current(&self, load: &TableLoad) -> Result<()> {
        if self.connection_id == load.connection_id && self.run == load.run { Ok(()) } else { Err(fenced()) }
    }

    fn require_claim(&self, load: &TableLoad, chunk: u32, fence: Fence) -> Result<()> {
        self.require_current(load)?;
        let held = self.chunks.get(&chunk).is_some_and(|at| at.lease == fence.lease && at.durable.is_none());
        if held { Ok(()) } else { Err(fenced()) }
    }

    fn receipt(&self) -> TableReceipt {
        let live = self.rows.values().filter(|row| !row.deleted).count();
        let durable = self.chunks.values().filter_map(|chunk| chunk.durable.as_ref());
        let written = durable.map(|receipt| receipt.counts().written).sum();
        TableReceipt { written, deleted: self.marked, live_rows: Some(live as u64) }
    }
}

impl Memory {
    fn with<T>(&self, table: &TableSchema, work: impl FnOnce(&mut Table) -> Result<T>) -> Result<T> {
        let mut warehouse = self.warehouse.borrow_mut();
        let key = (table.schema.clone(), table.table.clone());
        work(warehouse.tables.get_mut(&key).ok_or_else(|| Error::internal("the run was not prepared"))?)
    }
}

#[async_trait(?Send)]
impl Destination for Memory {
    fn capabilities(&self) -> &Capabilities {
        &CAPABILITIES
    }

    async fn check(&self) -> Vec<SetupTest> {
        Vec::new()
    }

    async fn standing(&self, schema: &str, table: &str) -> Result<Option<Standing>> {
        border().await;
        let key = (schema.to_owned(), table.to_owned());
        Ok(self.warehouse.borrow().tables.get(&key).map(|table| Standing {
            owner: table.connection_id.clone(),
            published: table.last_published,
            table: Some(table.schema.clone()),
        }))
    }

    async fn take_over(&self, load: &TableLoad, from: &str) -> Result<()> {
        border().await;
        self.with(&load.table, |table| {
            if table.connection_id == from {
                (table.connection_id, table.run) = (load.connection_id.clone(), 0);
                table.last_published = None;
            }
            table.require_owner(load)
        })
    }

    async fn prepare(&self, load: &TableLoad) -> Result<()> {
        border().await;
        let key = (load.table.schema.clone(), load.table.table.clone());
        {
            let mut warehouse = self.warehouse.borrow_mut();
            let table = warehouse.tables.entry(key).or_insert_with(|| Table {
                schema: TableSchema { columns: Vec::new(), ..load.table.clone() },
                connection_id: load.connection_id.clone(),
                run: 0,
                rows: BTreeMap::new(),
                chunks: BTreeMap::new(),
                marked: 0,
                steps: 0,
                published: None,
                last_published: None,
            });
            table.require_owner(load)?;
            if table.run > load.run {
                return Err(fenced());
            }
            if table.run < load.run {
                table.run = load.run;
                table.chunks.clear();
                (table.marked, table.steps, table.published) = (0, 0, None);
            }
        }
        self.ports.reach(FaultPoint::DuringDdl, &load.run_id).await?;
        self.with(&load.table, |table| {
            table.require_current(load)?;
            for column in &load.table.columns {
                if table.schema.column(&column.name).is_none() {
                    table.schema.columns.push(column.clone());
                }
            }
            Ok(())
        })
    }

    async fn open(&self, load: &TableLoad, chunk: &ChunkId, fence: Fence) -> Result<ChunkOpening> {
        border().await;
        let found = self.with(&load.table, |table| {
            table.require_current(load)?;
            let state = table.chunks.entry(chunk.chunk).or_default();
            if state.durable.is_none() {
                if state.lease > fence.lease {
                    return Err(fenced());
                }
                state.lease = fence.lease;
            }
            Ok(state.durable.clone())
        })?;
        border().await;
        Ok(match found {
            Some(receipt) => ChunkOpening::AlreadyDurable(receipt),
            None => ChunkOpening::Writer(Box::new(MemoryWriter {
                memory: Memory { warehouse: self.warehouse.clone(), ports: self.ports.clone() },
                load: load.clone(),
                chunk: chunk.clone(),
                fence,
                written: 0,
            })),
        })
    }

    async fn publish(&self, load: &TableLoad, chunks: &[DurableReceipt], _: Fence) -> Result<Publishing> {
        border().await;
        let steps = self.warehouse.borrow().publish_steps;
        let published = self.with(&load.table, |table| {
            table.require_current(load)?;
            let durable = |index: u32| table.chunks.get(&index).is_some_and(|at| at.durable.is_some());
            if !chunks.iter().all(|receipt| durable(receipt.chunk().chunk)) {
                return Err(Error::new(ErrorKind::Mismatch, "a chunk is not durable"));
            }
            if table.published.is_none() && load.mode == LoadMode::Full {
                for row in table.rows.values_mut().filter(|row| row.synced_at != load.synced_at) {
                    table.marked += u64::from(!std::mem::replace(&mut row.deleted, true));
                }
            }
            if load.mode == LoadMode::Full && table.published.is_none() && table.steps < steps {
                table.steps += 1;
                return Ok(Some(Publishing::GoesOn));
            }
            Ok(table.published.clone().map(Publishing::Done))
        })?;
        self.warehouse.borrow_mut().writes += 1;
        if let Some(published) = published {
            return Ok(published);
        }
        self.ports.reach(FaultPoint::DuringPublish, &load.run_id).await?;
        let receipt = self.with(&load.table, |table| {
            table.require_current(load)?;
            let receipt = table.receipt();
            table.published = Some(receipt.clone());
            table.last_published = Some(load.run);
            Ok(receipt)
        })?;
        border().await;
        Ok(Publishing::Done(receipt))
    }
}

struct MemoryWriter {
    memory: Memory,
    load: TableLoad,
    chunk: ChunkId,
    fence: Fence,
    written: u64,
}

#[async_trait(?Send)]
impl ChunkWriter for MemoryWriter {
    async fn write(&mut self, batch: RecordBatch) -> Result<()> {
        border().await;
        let ids = batch.column_by_name("id").unwrap().as_primitive::<Int64Type>();
        let values = batch.column_by_name("value").unwrap().as_string::<i32>();
        self.memory.with(&self.load.table, |table| {
            table.require_claim(&self.load, self.chunk.chunk, self.fence)?;
            for row in 0..batch.num_rows() {
                let stored = StoredRow {
                    value: values.value(row).to_owned(),
                    synced_at: self.load.synced_at,
                    deleted: false,
                };
                table.rows.insert(ids.value(row), stored);
            }
            Ok(())
        })?;
        self.memory.warehouse.borrow_mut().writes += 1;
        self.written += batch.num_rows() as u64;
        border().await;
        Ok(())
    }

    async fn commit(self: Box<Self>, counts: Counts) -> Result<DurableReceipt> {
        let Self { memory, load, chunk, fence, written } = *self;
        memory.ports.reach(FaultPoint::AfterPut, &load.run_id).await?;
        let counts = Counts { written, ..counts };
        if !counts.balanced() {
            return Err(Error::new(ErrorKind::Mismatch, format!("{counts:?}")));
        }
        // Receipts are issued by destinations only, and this one stands outside the crate: it goes the way they take
        // over borders.
        let receipt = json!({ "chunk": chunk, "fence": fence, "counts": counts, "artifact": null });
        let receipt: DurableReceipt = serde_json::from_value(receipt).unwrap();
        memory.with(&load.table, |table| {
            table.require_claim(&load, chunk.chunk, fence)?;
            let state = table.chunks.entry(chunk.chunk).or_default();
            state.durable = Some(receipt.clone());
            Ok(())
        })?;
        *memory.warehouse.borrow_mut().commits.entry((chunk.run_id, chunk.chunk)).or_default() += 1;
        border().await;
        Ok(receipt)
    }
}
