//! What the R2 tests share: a destination over a bucket in memory, tables, loads, and Python as the independent reader.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use arrow::array::{ArrayRef, BooleanArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use async_trait::async_trait;
use fivetran_do::core::catalog::StreamName;
use fivetran_do::core::fault_point::FaultPoint;
use fivetran_do::core::redact::Secret;
use fivetran_do::core::run::{ChunkId, Counts, Fence};
use fivetran_do::core::table::{DELETED, LoadMode, SYNCED, TableColumn, TableSchema};
use fivetran_do::core::types::{ColumnType, UTC};
use fivetran_do::core::{Error, Result};
use fivetran_do::destinations::registry::destination;
use fivetran_do::destinations::{
    ChunkOpening, ChunkWriter, Destination, DurableReceipt, TableLoad, TableReceipt,
};
use fivetran_do::ports::{
    Bindings, Clock, Faults, Http, HttpRequest, HttpResponse, ObjectStore, Ports, Random, SqlDatabase, Tcp,
    TcpStream, Timer, TlsMode,
};
use serde_json::{Value, json};

use crate::support::objects::MemoryBucket;
pub use crate::support::publishing::PublishAll;

/// A world with one bucket, named `LAKE`, and nothing else.
struct World(Rc<MemoryBucket>);

thread_local! {
    static NOW: Cell<i64> = const { Cell::new(0) };
    static KEY_BUDGET: Cell<Option<usize>> = const { Cell::new(None) };
}

/// Has this thread's test tell what vanished in steps, with so many keys in memory.
pub fn set_key_budget(keys: Option<usize>) {
    KEY_BUDGET.set(keys);
}

#[async_trait(?Send)]
impl Faults for World {
    async fn reach(&self, _: FaultPoint, _: &str) -> Result<()> {
        Ok(())
    }

    fn key_budget(&self) -> Option<usize> {
        KEY_BUDGET.get()
    }
}

/// Sets the clock of this thread's test.
pub fn set_now(micros: i64) {
    NOW.set(micros);
}

impl Clock for World {
    fn now_micros(&self) -> i64 {
        NOW.get()
    }
}

impl Random for World {
    fn fill(&self, buffer: &mut [u8]) -> Result<()> {
        getrandom::fill(buffer).map_err(|_| Error::internal("no entropy"))
    }
}

#[async_trait(?Send)]
impl Timer for World {
    async fn sleep_ms(&self, _: u64) {}
}

#[async_trait(?Send)]
impl Tcp for World {
    async fn connect(&self, _: &str, _: u16, _: TlsMode) -> Result<Box<dyn TcpStream>> {
        Err(Error::internal("no network"))
    }
}

#[async_trait(?Send)]
impl Http for World {
    async fn send(&self, _: HttpRequest) -> Result<HttpResponse> {
        Err(Error::internal("no network"))
    }
}

impl Bindings for World {
    fn database(&self, _: &str) -> Result<Rc<dyn SqlDatabase>> {
        Err(Error::invalid("no such binding"))
    }

    fn bucket(&self, binding: &str) -> Result<Rc<dyn ObjectStore>> {
        match binding {
            "LAKE" => Ok(Rc::clone(&self.0) as Rc<dyn ObjectStore>),
            _ => Err(Error::invalid(format!("There is no R2 binding '{binding}'"))),
        }
    }

    fn hyperdrive(&self, _: &str) -> Result<Secret> {
        Err(Error::invalid("no such binding"))
    }
}

/// The R2 destination over that bucket.
pub fn open(bucket: &Rc<MemoryBucket>, config: Value) -> Box<dyn Destination> {
    let world = Rc::new(World(Rc::clone(bucket)));
    let ports = Ports {
        clock: Rc::clone(&world) as Rc<dyn Clock>,
        random: Rc::clone(&world) as Rc<dyn Random>,
        timer: Rc::clone(&world) as Rc<dyn Timer>,
        tcp: Rc::clone(&world) as Rc<dyn Tcp>,
        http: Rc::clone(&world) as Rc<dyn Http>,
        bindings: Rc::clone(&world) as Rc<dyn Bindings>,
        faults: Some(Rc::clone(&world) as Rc<dyn Faults>),
    };
    (destination("r2").unwrap().open)(&config, &ports).unwrap()
}

/// An empty bucket and a Parquet destination under `lake/`.
pub fn lake() -> (Rc<MemoryBucket>, Box<dyn Destination>) {
    let bucket = Rc::new(MemoryBucket::default());
    let destination = open(&bucket, json!({ "bucket": "LAKE", "prefix": "lake" }));
    (bucket, destination)
}

/// Runs a future that only waits for the bucket in memory.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(future)
}

pub fn column(name: &str, column_type: ColumnType, nullable: bool) -> TableColumn {
    TableColumn { name: name.to_owned(), column_type, nullable }
}

/// A table `shop.orders` of those columns and the system columns.
pub fn table(columns: Vec<TableColumn>, primary_key: &[&str]) -> TableSchema {
    let system =
        [column(SYNCED, ColumnType::UtcDatetime, false), column(DELETED, ColumnType::Boolean, false)];
    TableSchema {
        schema: "shop".to_owned(),
        table: "orders".to_owned(),
        columns: columns.into_iter().chain(system).collect(),
        primary_key: primary_key.iter().map(|name| (*name).to_owned()).collect(),
    }
}

/// `shop.orders (id bigint primary key, note text)`.
pub fn orders() -> TableSchema {
    table(vec![column("id", ColumnType::Long, false), column("note", ColumnType::String, true)], &["id"])
}

/// Microseconds in an hour: how far runs are apart here.
pub const HOUR: i64 = 3_600_000_000;

pub fn load(table: TableSchema, run: u64, mode: LoadMode) -> TableLoad {
    TableLoad {
        connection_id: "connection".to_owned(),
        run_id: format!("run-{run}"),
        run,
        synced_at: 1_700_000_000_000_000 + run as i64 * HOUR,
        table,
        mode,
    }
}

pub fn chunk(load: &TableLoad, index: u32) -> ChunkId {
    ChunkId {
        connection_id: load.connection_id.clone(),
        run_id: load.run_id.clone(),
        stream: StreamName::new("public", "orders"),
        chunk: index,
    }
}

pub fn fence(load: &TableLoad, lease: u64) -> Fence {
    Fence { run: load.run, lease }
}

/// Those columns and the system columns of the load, as a batch.
pub fn batch(load: &TableLoad, columns: Vec<ArrayRef>) -> RecordBatch {
    let rows = columns[0].len();
    let synced = TimestampMicrosecondArray::from_value(load.synced_at, rows).with_timezone(UTC);
    let system: [ArrayRef; 2] = [Arc::new(synced), Arc::new(BooleanArray::from(vec![false; rows]))];
    RecordBatch::try_new(load.table.arrow(), columns.into_iter().chain(system).collect()).unwrap()
}

/// Rows of [`orders`].
pub fn order_rows(load: &TableLoad, rows: &[(i64, Option<&str>)]) -> RecordBatch {
    let ids = Int64Array::from_iter_values(rows.iter().map(|row| row.0));
    let notes = StringArray::from_iter(rows.iter().map(|row| row.1));
    batch(load, vec![Arc::new(ids), Arc::new(notes)])
}

pub fn read(rows: u64) -> Counts {
    Counts { read: rows, ..Counts::default() }
}

/// A writer, where none has committed the chunk before.
pub async fn writer(
    destination: &dyn Destination,
    load: &TableLoad,
    index: u32,
    lease: u64,
) -> Result<Box<dyn ChunkWriter>> {
    match destination.open(load, &chunk(load, index), fence(load, lease)).await? {
        ChunkOpening::Writer(writer) => Ok(writer),
        ChunkOpening::AlreadyDurable(receipt) => panic!("durable already: {receipt:?}"),
    }
}

/// One chunk from opening to receipt, whoever wrote it.
pub async fn write_chunk(
    destination: &dyn Destination,
    load: &TableLoad,
    index: u32,
    lease: u64,
    batches: &[RecordBatch],
) -> Result<DurableReceipt> {
    match destination.open(load, &chunk(load, index), fence(load, lease)).await? {
        ChunkOpening::AlreadyDurable(receipt) => Ok(receipt),
        ChunkOpening::Writer(mut writer) => {
            let mut rows = 0;
            for batch in batches {
                rows += batch.num_rows() as u64;
                writer.write(batch.clone()).await?;
            }
            writer.commit(read(rows)).await
        }
    }
}

/// A whole load, one chunk for each list of batches.
pub async fn run(
    destination: &dyn Destination,
    load: &TableLoad,
    chunks: &[Vec<RecordBatch>],
) -> Result<TableReceipt> {
    destination.prepare(load).await?;
    let mut receipts = Vec::new();
    for (index, batches) in chunks.iter().enumerate() {
        receipts.push(write_chunk(destination, load, index as u32, index as u64 + 1, batches).await?);
    }
    destination.publish_all(load, &receipts, fence(load, publish_lease(load))).await
}

/// Whoever publishes a load again has a newer lease.
fn publish_lease(load: &TableLoad) -> u64 {
    thread_local! {
        static LAST: Cell<(u64, u64)> = const { Cell::new((0, 0)) };
    }
    let lease = match LAST.get() {
        (run, lease) if run == load.run => lease + 1_000,
        _ => 1_000,
    };
    LAST.set((load.run, lease));
    lease
}

/// The manifest of `shop.orders` below `lake/`.
pub fn manifest(bucket: &MemoryBucket) -> Value {
    serde_json::from_slice(&bucket.body("lake/shop/orders/manifest.json").unwrap()).unwrap()
}

/// Paths of the parts a manifest lists.
pub fn parts(bucket: &MemoryBucket) -> Vec<String> {
    let manifest = manifest(bucket);
    let parts = manifest["parts"].as_array().unwrap();
    parts.iter().map(|part| part["path"].as_str().unwrap().to_owned()).collect()
}

/// A folder of its own below the build folder, empty.
pub fn scratch(name: &str) -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("r2-{name}-{number}"));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// The bucket as files, and the folder of `shop.orders` among them, with a trailing slash.
pub fn on_disk(bucket: &MemoryBucket, name: &str) -> String {
    let folder = scratch(name);
    bucket.write_to(&folder);
    format!("{}/", folder.join("lake/shop/orders").display())
}

/// Runs a Python program and returns what it prints, as JSON. Needs an interpreter with `duckdb` and `pyarrow`.
pub fn python(program: &str) -> Value {
    let interpreter = std::env::var("FIVETRAN_TEST_PYTHON").expect(
        "FIVETRAN_TEST_PYTHON must name a Python with duckdb and pyarrow: \
         python3 -m venv DIR && DIR/bin/pip install duckdb pyarrow, then set it to DIR/bin/python",
    );
    let output = Command::new(&interpreter).arg("-c").arg(program).output().expect("the interpreter starts");
    assert!(
        output.status.success(),
        "{program}\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).expect("the program prints JSON")
}

/// The fenced block of `docs/reading-r2.md` under that heading, about the table in that folder.
pub fn documented(heading: &str, folder: &str) -> String {
    let guide = include_str!("../../docs/reading-r2.md");
    let section = guide.split("\n#").find(|section| {
        section.lines().next().is_some_and(|line| line.trim_start_matches('#').trim() == heading)
    });
    let section = section.unwrap_or_else(|| panic!("no section '{heading}'"));
    let block = section.split("```").nth(1).expect("a fenced block");
    let code = block.split_once('\n').expect("a language line").1;
    assert!(code.contains("s3://my-bucket/lake/shop/orders/"), "{code}");
    code.replace("s3://my-bucket/lake/shop/orders/", folder)
}

/// Runs a documented SQL script in DuckDB, its last statement being `query`, and returns rows as lists of text.
pub fn duckdb(script: &str) -> Vec<Vec<Option<String>>> {
    // A JSON string is a Python string.
    let script = serde_json::to_string(script).unwrap();
    let program = format!(
        r#"
import duckdb, json
con = duckdb.connect()
con.execute("SET TimeZone = 'UTC'")
rows = None
for statement in con.extract_statements({script}):
    con.execute(statement)
rows = con.fetchall()
print(json.dumps([[None if v is None else v if isinstance(v, str) else repr(v) for v in row] for row in rows]))
"#
    );
    serde_json::from_value(python(&program)).unwrap()
}
