//! Invariant I5 in the run's own books: a count that was changed anywhere between source and destination fails the
//! table, and a table that failed moves no cursor.

use crate::support::sqlite::MemoryLocalSql;
use fivetran_do::connectors::{StreamRequest, SyncMode};
use fivetran_do::core::ErrorKind;
use fivetran_do::core::catalog::{ChangeTracking, Column, Stream, StreamName};
use fivetran_do::core::limits::MAX_ATTEMPTS;
use fivetran_do::core::run::{Chunk, Cursor, Fence, StreamPlan};
use fivetran_do::core::settings::{ConnectionSettings, Target, select};
use fivetran_do::core::table::LoadMode;
use fivetran_do::core::types::{ColumnType, Fidelity};
use fivetran_do::destinations::{DurableReceipt, TableLoad, TableReceipt};
use fivetran_do::engine::protocol::{
    Conclusion, Order, Outcome, RunSpec, SelectedStream, SyncReply, SyncRequest, Task,
};
use fivetran_do::engine::sync::Sync;
use serde_json::{Value, json};

const START: i64 = 1_800_000_000_000_000;

/// More than any back-off.
const LONG: i64 = 120_000_000;

/// A run of one table in two chunks, driven as a worker would.
struct Run {
    sql: MemoryLocalSql,
    now: i64,
}

impl Run {
    fn planned() -> Self {
        let mut run = Self { sql: MemoryLocalSql::new(), now: START };
        run.ask(SyncRequest::Open { spec: spec() });
        let (order, fence) = run.lease();
        run.report(
            order.id,
            fence,
            Outcome::RunPlanned { streams: vec![selected()], refused: vec![], max_parallel_reads: 1 },
        );
        let (order, fence) = run.lease();
        let chunk = |index| Chunk { index, range: Value::Null, estimated_rows: None, after_all: false };
        let next_cursor = Some(Cursor(json!(7)));
        let plan = StreamPlan { full: true, chunks: vec![chunk(0), chunk(1)], next_cursor };
        run.report(order.id, fence, Outcome::StreamPlanned { plan, load: load() });
        run
    }

    fn ask(&mut self, request: SyncRequest) -> SyncReply {
        Sync::new(&self.sql).unwrap().handle(request, self.now).unwrap()
    }

    fn lease(&mut self) -> (Order, Fence) {
        self.now += LONG;
        match self.ask(SyncRequest::Lease) {
            SyncReply::Leased { order, fence, .. } => (*order, fence),
            other => panic!("nothing to do: {other:?}"),
        }
    }

    fn report(&mut self, order: i64, fence: Fence, outcome: Outcome) {
        self.ask(SyncRequest::Complete { order, fence, outcome: Box::new(outcome) });
    }

    /// Does whatever comes, with those receipts of the chunks and that one of the table, until the run closes.
    fn conclude(&mut self, chunks: [Value; 2], published: u64) -> Conclusion {
        for _ in 0..4 * MAX_ATTEMPTS {
            let (order, fence) = self.lease();
            let outcome = match order.task {
                Task::Read { chunk, .. } => Outcome::ChunkDurable {
                    receipt: receipt(chunk.index, fence, &chunks[chunk.index as usize]),
                    effort: Default::default(),
                },
                Task::Publish { .. } => Outcome::Published {
                    receipt: TableReceipt { written: published, deleted: 0, live_rows: None },
                    crowded: false,
                },
                Task::Close { conclusion } => return *conclusion,
                other => panic!("{other:?}"),
            };
            self.report(order.id, fence, outcome);
        }
        panic!("the run does not end");
    }
}

fn spec() -> RunSpec {
    let trigger = fivetran_do::engine::Trigger::Manual;
    RunSpec { connection_id: "crm".into(), run_id: "crm.1".into(), number: 1, started_at: START, trigger }
}

fn selected() -> SelectedStream {
    let column = Column {
        name: "id".into(),
        column_type: ColumnType::Long,
        source_type: "bigint".into(),
        nullable: false,
        fidelity: Fidelity::Exact,
    };
    let stream = Stream {
        name: StreamName::new("public", "people"),
        columns: vec![column],
        primary_key: vec!["id".into()],
        change_tracking: ChangeTracking::Transaction,
        estimated_rows: None,
        estimated_bytes: None,
    };
    let target = Target { schema: "crm_public", table: "people", current: None };
    let selection = select(&stream, &ConnectionSettings::default(), None, false, &target).unwrap();
    let columns = selection.source_columns();
    let request = StreamRequest { stream, columns, mode: SyncMode::Incremental, cursor_column: None };
    SelectedStream { request, selection, definition: String::new() }
}

fn load() -> TableLoad {
    TableLoad {
        connection_id: "crm".into(),
        run_id: "crm.1".into(),
        run: 1,
        synced_at: START,
        table: selected().selection.table,
        mode: LoadMode::Full,
    }
}

/// A receipt as it would cross the border, counts and all.
fn receipt(chunk: u32, fence: Fence, counts: &Value) -> DurableReceipt {
    let chunk = json!({
        "connection_id": "crm", "run_id": "crm.1", "stream": {"schema": "public", "table": "people"}, "chunk": chunk
    });
    serde_json::from_value(json!({"chunk": chunk, "fence": fence, "counts": counts, "artifact": null}))
        .unwrap()
}

fn counts(source: u64, read: u64, filtered: u64, written: u64) -> Value {
    json!({"source_rows": source, "read": read, "filtered": filtered, "written": written, "deleted": 0, "bytes": 1})
}

#[test]
fn i5_a_balanced_run_succeeds_and_keeps_the_sources_own_count() {
    let conclusion = Run::planned().conclude([counts(5, 5, 1, 4), counts(3, 3, 0, 3)], 7);
    let table = &conclusion.progress.tables[0];
    assert_eq!(conclusion.progress.state, "SUCCESSFUL");
    assert_eq!((table.counts.source_rows, table.counts.read, table.counts.written), (Some(8), 8, 7));
    assert_eq!(conclusion.advances.len(), 1);
}

#[test]
fn i5_a_source_that_does_not_count_is_not_taken_for_one_that_counted_nothing() {
    let silent = json!({"read": 3, "filtered": 0, "written": 3, "deleted": 0, "bytes": 1});
    let conclusion = Run::planned().conclude([counts(5, 5, 0, 5), silent], 8);
    assert_eq!(conclusion.progress.state, "SUCCESSFUL");
    assert_eq!(conclusion.progress.tables[0].counts.source_rows, None);
}

#[test]
fn i5_a_count_changed_anywhere_fails_the_table_and_moves_no_cursor() {
    let right = counts(3, 3, 0, 3);
    for (what, changed, published) in [
        ("the source's count", counts(6, 5, 1, 4), 7),
        ("rows read", counts(5, 4, 1, 4), 7),
        ("rows filtered", counts(5, 5, 0, 4), 7),
        ("rows written", counts(5, 5, 1, 3), 7),
        ("rows read and written alike", counts(5, 4, 0, 4), 7),
        ("rows published", counts(5, 5, 1, 4), 6),
    ] {
        let conclusion = Run::planned().conclude([changed, right.clone()], published);
        assert_eq!(conclusion.progress.state, "FAILURE", "{what}");
        assert_eq!(conclusion.advances, [], "{what}");
        let table = &conclusion.progress.tables[0];
        assert_eq!(table.state, "failed", "{what}");
        assert_eq!(table.error.as_ref().map(|error| error.kind), Some(ErrorKind::Mismatch), "{what}");
    }
}
