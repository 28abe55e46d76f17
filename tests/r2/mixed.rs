//! Everything that happens to a table, in any order: loads, deaths, runs that are cancelled, columns that go and come back, and
//! another connection that takes it over.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::Int64Type;
use fivetran_do::core::Result;
use fivetran_do::core::table::{LoadMode, TableSchema};
use fivetran_do::core::types::ColumnType;
use fivetran_do::destinations::{Destination, Dropped, KeyRange, Publishing, TableLoad};
use proptest::prelude::*;

use crate::harness::*;
use crate::support::objects::MemoryBucket;

/// What happens in one run.
#[derive(Clone, Debug)]
struct Run {
    full: bool,
    /// Whether `size` is synced.
    sized: bool,
    /// Whether `size` is asked to be dropped, if it is not synced.
    drops: bool,
    /// Whether another connection begins with this run.
    taken_over: bool,
    /// Steps of the publish after which the run is cancelled.
    cancelled: Option<u64>,
    deaths: u64,
    rows: BTreeMap<i64, u8>,
}

fn runs() -> impl Strategy<Value = Vec<Run>> {
    let yes = |weight| prop::bool::weighted(weight);
    let rows = prop::collection::btree_map(0..12_i64, any::<u8>(), 0..5);
    let cancelled = prop::option::weighted(0.1, 0..12_u64);
    let run = (yes(0.06), yes(0.8), yes(0.5), yes(0.05), cancelled, any::<u64>(), rows);
    let run = run.prop_map(|(full, sized, drops, taken_over, cancelled, deaths, rows)| Run {
        full,
        sized,
        drops,
        taken_over,
        cancelled,
        deaths,
        rows,
    });
    prop::collection::vec(run, 20..60)
}

fn wide(sized: bool) -> TableSchema {
    let mut columns = vec![column("id", ColumnType::Long, false), column("note", ColumnType::String, true)];
    columns.extend(sized.then(|| column("size", ColumnType::Long, true)));
    table(columns, &["id"])
}

fn rows_of(load: &TableLoad, rows: &[(i64, u8)]) -> RecordBatch {
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.0))),
        Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.1.to_string()))),
    ];
    if load.table.column("size").is_some() {
        columns.push(Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| i64::from(row.1) * 2))));
    }
    batch(load, columns)
}

/// Note, size and mark by key.
type Model = BTreeMap<i64, (u8, Option<i64>, bool)>;

/// A run to its end, or as far as it comes. True when it was published.
async fn play(destination: &dyn Destination, load: &TableLoad, run: &Run, lease: &mut u64) -> Result<bool> {
    destination.prepare(load).await?;
    let mut receipts = Vec::new();
    for (index, rows) in
        run.rows.iter().map(|(id, value)| (*id, *value)).collect::<Vec<_>>().chunks(3).enumerate()
    {
        *lease += 1;
        receipts.push(write_chunk(destination, load, index as u32, *lease, &[rows_of(load, rows)]).await?);
    }
    for steps in 0.. {
        if run.cancelled.is_some_and(|most| steps >= most) {
            return Ok(false);
        }
        *lease += 1;
        if destination.publish(load, &receipts, fence(load, *lease)).await? != Publishing::GoesOn {
            return Ok(true);
        }
    }
    Ok(true)
}

fn play_all(bucket: &MemoryBucket, destination: &dyn Destination, runs: &[Run]) -> Model {
    let (mut model, mut owner, mut base, mut lease) = (Model::new(), 0, 0, 0);
    let mut must_be_full = true;
    for (number, run) in (1_u64..).zip(runs) {
        let mut load = load(wide(run.sized), number, LoadMode::Incremental);
        if run.taken_over && number > 1 {
            (owner, base, must_be_full) = (owner + 1, number - 1, true);
        }
        load.connection_id = format!("c{owner}");
        load.run = number - base;
        load.run_id = format!("c{owner}.{}", load.run);
        if base == number - 1 && owner > 0 {
            block_on(destination.take_over(&load, &format!("c{}", owner - 1))).unwrap();
        }
        let full = |must| if run.full || must { LoadMode::Full } else { LoadMode::Incremental };
        load.mode = full(must_be_full);
        let drops = run.drops && !run.sized;
        if drops {
            block_on(destination.prepare(&load)).unwrap();
            let dropped = block_on(destination.drop_columns(&load, &["size".to_owned()])).unwrap();
            must_be_full |= dropped == Dropped::UntilFullLoad;
            load.mode = full(must_be_full);
        }
        bucket.die_after(run.deaths % 90);
        let first = block_on(play(destination, &load, run, &mut lease));
        bucket.recover();
        let published = first.or_else(|_| block_on(play(destination, &load, run, &mut lease))).unwrap();
        if drops {
            model.values_mut().for_each(|row| row.1 = None);
        }
        // A publish whose answer was lost counts, cancelled or not.
        if !published && manifest(bucket)["published"]["load"] != serde_json::json!(number) {
            continue;
        }
        if load.mode == LoadMode::Full {
            model.values_mut().for_each(|row| row.2 = true);
        }
        let row = |(id, value): (&i64, &u8)| (*id, (*value, run.sized.then(|| i64::from(*value) * 2), false));
        model.extend(run.rows.iter().map(row));
        must_be_full = false;
    }
    model
}

/// Note and size by key, as the destination reads them back.
fn scanned(destination: &dyn Destination) -> BTreeMap<i64, (String, Option<i64>)> {
    let mut rows = BTreeMap::new();
    let mut visit = |batch: &RecordBatch| {
        let [ids, sizes] = [0, 2].map(|at| batch.column(at).as_primitive::<Int64Type>());
        let notes = batch.column(1).as_string::<i32>().iter().map(|note| note.unwrap_or_default().to_owned());
        rows.extend(ids.values().iter().copied().zip(notes.zip(sizes)));
        Ok(())
    };
    let problems = block_on(destination.scan(&wide(true), &KeyRange::default(), &mut visit)).unwrap();
    assert_eq!(problems, Vec::<String>::new());
    rows
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn i3_i4_whatever_happens_to_a_table_in_whatever_order_it_holds_what_a_map_would(
        runs in runs(),
        keys in prop::option::weighted(0.7, 1..9_usize),
    ) {
        set_key_budget(keys);
        let (bucket, destination) = lake();
        let mut runs = runs;
        // Published in the end, with rows, and with the column.
        let last = runs.last_mut().unwrap();
        (last.cancelled, last.sized) = (None, true);
        last.rows.insert(1, 1);
        let model = play_all(&bucket, &*destination, &runs);
        let live: BTreeMap<_, _> =
            model.iter().filter(|(_, row)| !row.2).map(|(id, row)| (*id, (row.0.to_string(), row.1))).collect();
        prop_assert_eq!(scanned(&*destination), live);
        let cell = |size: Option<i64>| size.map(|size| size.to_string());
        let expected: Vec<_> = model
            .into_iter()
            .map(|(key, (value, size, deleted))| {
                vec![Some(key.to_string()), Some(value.to_string()), cell(size), Some(deleted.to_string())]
            })
            .collect();
        let script = documented("Current state", &on_disk(&bucket, "mixed"));
        let cells = "SELECT id::VARCHAR, note, size::VARCHAR, _fivetran_deleted::VARCHAR, * EXCLUDE";
        let script = script.replace("SELECT * EXCLUDE", cells);
        let seen: Vec<_> = duckdb(&script).into_iter().map(|row| row[..4].to_vec()).collect();
        prop_assert_eq!(seen, expected);
    }
}
