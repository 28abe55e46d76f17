//! A source whose transactions the test writes: rows by id, and who wrote them when. It tracks changes as Postgres
//! does with `xmin`: a cursor is the oldest transaction still open when the plan was made.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use async_trait::async_trait;
use fivetran_do::connectors::registry::ConnectorType;
use fivetran_do::connectors::{BatchSink, SetupTest, Source, StreamRequest, SyncMode};
use fivetran_do::core::catalog::{Catalog, ChangeTracking, Column, Stream, StreamName};
use fivetran_do::core::error::ErrorReport;
use fivetran_do::core::run::{Chunk, Cursor, StreamPlan};
use fivetran_do::core::types::{ColumnType, Fidelity};
use fivetran_do::core::{Error, ErrorKind, Result};
use serde_json::{Value, json};

use super::world::border;

/// Ids are below this, so that the model meets the same rows often.
pub const IDS: i64 = 24;

/// Rows per chunk.
const CHUNK: i64 = 8;

#[derive(Default)]
pub struct Ledger {
    /// id -> (value, transaction that wrote it)
    pub rows: BTreeMap<i64, (String, u64)>,
    pub next_transaction: u64,
    /// Open transactions with what they will write.
    pub open: BTreeMap<u64, BTreeMap<i64, String>>,
    /// A second column appears.
    pub wide: bool,
    /// The next reads fail.
    pub failures: u32,
    /// What the next reads get before their first row, one each: `None` lets a read through.
    pub answers: VecDeque<Option<ErrorReport>>,
    /// Tables beside the ledger, of its shape and content.
    pub copies: usize,
    /// The schema the table is in.
    pub schema: &'static str,
    /// Reads hang before their first row.
    pub silent: bool,
    /// Every page of rows comes twice.
    pub repeats_pages: bool,
    /// Reads claim so many rows more than they hand over.
    pub overstates: u64,
    /// Rows handed over in all, to see that incremental runs move changes only.
    pub handed_over: u64,
}

thread_local! {
    /// One world per test thread; the registry's functions have no other way to find it.
    static LEDGER: RefCell<Rc<RefCell<Ledger>>> = RefCell::default();
}

/// Installs a fresh ledger for this thread.
pub fn install() -> Rc<RefCell<Ledger>> {
    let ledger = Rc::new(RefCell::new(Ledger { next_transaction: 1, schema: "public", ..Ledger::default() }));
    LEDGER.with(|slot| *slot.borrow_mut() = ledger.clone());
    ledger
}

/// The ledger of this thread.
pub fn current() -> Rc<RefCell<Ledger>> {
    LEDGER.with(|slot| slot.borrow().clone())
}

pub static CONNECTOR: ConnectorType = ConnectorType {
    id: "ledger",
    name: "Ledger",
    category: "Database",
    description: "A source under the test's control.",
    config_schema: || schemars::json_schema!({"type": "object"}),
    open: |_, _, _| Ok(Box::new(LedgerSource(current()))),
};

impl Ledger {
    pub fn begin(&mut self) -> u64 {
        let id = self.next_transaction;
        self.next_transaction += 1;
        self.open.insert(id, BTreeMap::new());
        id
    }

    pub fn write(&mut self, transaction: u64, id: i64, value: String) {
        self.open.get_mut(&transaction).unwrap().insert(id, value);
    }

    /// Commits: the rows appear now, under the transaction number of long ago.
    pub fn commit(&mut self, transaction: u64) {
        for (id, value) in self.open.remove(&transaction).unwrap() {
            self.rows.insert(id, (value, transaction));
        }
    }

    /// Writes the rows in a transaction of their own.
    pub fn transact(&mut self, ids: std::ops::Range<i64>, value: &str) {
        let transaction = self.begin();
        ids.for_each(|id| self.write(transaction, id, value.to_owned()));
        self.commit(transaction);
    }

    pub fn delete(&mut self, id: i64) {
        self.rows.remove(&id);
    }

    fn horizon(&self) -> u64 {
        self.open.keys().next().copied().unwrap_or(self.next_transaction)
    }
}

struct LedgerSource(Rc<RefCell<Ledger>>);

fn column(name: &str, column_type: ColumnType, nullable: bool) -> Column {
    Column {
        name: name.into(),
        column_type,
        source_type: column_type.name().into(),
        nullable,
        fidelity: Fidelity::Exact,
    }
}

#[async_trait(?Send)]
impl Source for LedgerSource {
    async fn check(&self) -> Vec<SetupTest> {
        Vec::new()
    }

    async fn discover(&self) -> Result<Catalog> {
        border().await;
        let mut columns =
            vec![column("id", ColumnType::Long, false), column("value", ColumnType::String, true)];
        if self.0.borrow().wide {
            columns.push(column("extra", ColumnType::Long, true));
        }
        let ledger = self.0.borrow();
        let copies = (0..ledger.copies).map(|copy| format!("copy_{copy}"));
        let stream = |table| Stream {
            name: StreamName::new(ledger.schema, table),
            columns: columns.clone(),
            primary_key: vec!["id".into()],
            change_tracking: ChangeTracking::Transaction,
            estimated_rows: None,
            estimated_bytes: None,
        };
        Ok(Catalog { streams: std::iter::once("ledger".to_owned()).chain(copies).map(stream).collect() })
    }

    async fn plan(&self, request: &StreamRequest, from: Option<&Cursor>) -> Result<StreamPlan> {
        border().await;
        let ledger = self.0.borrow();
        let since =
            from.filter(|_| request.mode == SyncMode::Incremental).and_then(|cursor| cursor.0.as_u64());
        let ranges: Vec<(Value, bool)> = match since {
            None => (0..IDS / CHUNK)
                .map(|n| (json!({"from": n * CHUNK, "to": (n + 1) * CHUNK, "since": 0}), false))
                .chain([(json!({"from": 0, "to": IDS, "since": ledger.horizon()}), true)])
                .collect(),
            Some(since) => (0..2)
                .map(|n| (json!({"from": n * IDS / 2, "to": (n + 1) * IDS / 2, "since": since}), false))
                .collect(),
        };
        let chunks = ranges
            .into_iter()
            .enumerate()
            .map(|(index, (range, after_all))| Chunk {
                index: index as u32,
                range,
                estimated_rows: None,
                after_all,
            })
            .collect();
        let next_cursor = Some(Cursor(json!(ledger.horizon())));
        Ok(StreamPlan { full: since.is_none(), chunks, next_cursor })
    }

    async fn read(&self, request: &StreamRequest, chunk: &Chunk, sink: &mut dyn BatchSink) -> Result<u64> {
        border().await;
        while self.0.borrow().silent {
            border().await;
        }
        if let Some(Some(refusal)) = self.0.borrow_mut().answers.pop_front() {
            return Err(refusal.into());
        }
        let number = |key: &str| chunk.range[key].as_i64().unwrap();
        let rows: Vec<(i64, String)> = {
            let mut ledger = self.0.borrow_mut();
            let rows: Vec<_> = ledger
                .rows
                .range(number("from")..number("to"))
                .filter(|(_, (_, transaction))| *transaction >= number("since") as u64)
                .map(|(id, (value, _))| (*id, value.clone()))
                .collect();
            ledger.handed_over += rows.len() as u64;
            rows
        };
        let (times, overstated) = {
            let ledger = self.0.borrow();
            (if ledger.repeats_pages { 2 } else { 1 }, ledger.overstates)
        };
        let names: BTreeSet<&str> = request.columns.iter().map(String::as_str).collect();
        for piece in rows.chunks(3) {
            border().await;
            if self.0.borrow().failures > 0 {
                self.0.borrow_mut().failures -= 1;
                return Err(Error::new(
                    ErrorKind::SourceUnavailable,
                    "connection reset in the middle of a read",
                ));
            }
            for _ in 0..times {
                sink.batch(batch(piece, names.contains("extra"))).await?;
            }
        }
        Ok(rows.len() as u64 * times + overstated)
    }
}

fn batch(rows: &[(i64, String)], wide: bool) -> RecordBatch {
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.iter().map(|(id, _)| *id)));
    let values: ArrayRef = Arc::new(StringArray::from_iter_values(rows.iter().map(|(_, value)| value)));
    let mut fields =
        vec![Field::new("id", DataType::Int64, false), Field::new("value", DataType::Utf8, true)];
    let mut columns = vec![ids.clone(), values];
    if wide {
        fields.push(Field::new("extra", DataType::Int64, true));
        columns.push(ids);
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}
