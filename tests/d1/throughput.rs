//! How fast rows arrive. Not a test of a promise: run with `cargo test --release --test d1 -- --ignored --nocapture`.

use std::sync::Arc;
use std::time::Instant;

use arrow::array::{
    ArrayRef, Date32Array, Decimal128Array, Int32Array, Int64Array, RecordBatch, StringArray,
};
use fivetran_do::core::run::Counts;
use fivetran_do::core::table::{LoadMode, TableSchema};
use fivetran_do::core::types::ColumnType::{Decimal, Int, Long, NaiveDate, String as Text};
use fivetran_do::destinations::TableLoad;

use crate::world::{World, batch, load, table};

const ROWS: usize = 400_000;
const BATCH: usize = 40_000;

/// TPC-H lineitem: 16 columns, and two of the system.
fn lineitem() -> TableSchema {
    let money = Decimal { precision: 15, scale: 2 };
    let columns = [
        ("l_orderkey", Long),
        ("l_linenumber", Int),
        ("l_partkey", Long),
        ("l_suppkey", Long),
        ("l_quantity", money),
        ("l_extendedprice", money),
        ("l_discount", money),
        ("l_tax", money),
        ("l_returnflag", Text),
        ("l_linestatus", Text),
        ("l_shipdate", NaiveDate),
        ("l_commitdate", NaiveDate),
        ("l_receiptdate", NaiveDate),
        ("l_shipinstruct", Text),
        ("l_shipmode", Text),
        ("l_comment", Text),
    ];
    table("lineitem", &columns, 2)
}

fn lineitem_batch(load: &TableLoad, from: usize, rows: usize) -> RecordBatch {
    let range = || (from..from + rows).map(|row| row as i64);
    let long = |f: fn(i64) -> i64| -> ArrayRef { Arc::new(range().map(f).collect::<Int64Array>()) };
    let money = |f: fn(i64) -> i64| -> ArrayRef {
        let cents = range().map(|row| Some(i128::from(f(row)))).collect::<Decimal128Array>();
        Arc::new(cents.with_precision_and_scale(15, 2).unwrap())
    };
    let date = |offset: i64| -> ArrayRef {
        Arc::new(range().map(|row| Some((8035 + (row * 37 + offset) % 2500) as i32)).collect::<Date32Array>())
    };
    let text = |f: &dyn Fn(i64) -> String| -> ArrayRef {
        Arc::new(range().map(|row| Some(f(row))).collect::<StringArray>())
    };
    batch(
        load,
        vec![
            long(|row| row / 4),
            Arc::new(range().map(|row| (row % 4) as i32).collect::<Int32Array>()),
            long(|row| row * 7919 % 200_000),
            long(|row| row * 31 % 10_000),
            money(|row| (row % 50 + 1) * 100),
            money(|row| row * 7_877 % 10_000_000),
            money(|row| row % 11),
            money(|row| row % 9),
            text(&|row| ["A", "N", "R"][row as usize % 3].to_owned()),
            text(&|row| ["F", "O"][row as usize % 2].to_owned()),
            date(0),
            date(11),
            date(23),
            text(&|row| {
                ["DELIVER IN PERSON", "COLLECT COD", "NONE", "TAKE BACK RETURN"][row as usize % 4].to_owned()
            }),
            text(&|row| ["TRUCK", "MAIL", "RAIL", "AIR", "FOB"][row as usize % 5].to_owned()),
            text(&|row| format!("egular courts above the {row}")),
        ],
    )
}

#[tokio::test]
#[ignore = "prints a figure; meant for a release build"]
async fn lineitem_rows_per_second() {
    for old_sqlite in [false, true] {
        let world = World::new();
        if old_sqlite {
            world.db.without_jsonb_each();
        }
        let load = load(lineitem(), 1, LoadMode::Full);
        let batches: Vec<RecordBatch> =
            (0..ROWS).step_by(BATCH).map(|from| lineitem_batch(&load, from, BATCH)).collect();
        world.d1.prepare(&load).await.unwrap();
        let start = Instant::now();
        let mut writer = world.writer(&load, 0, 1).await;
        for batch in batches {
            writer.write(batch).await.unwrap();
        }
        writer.commit(Counts { read: ROWS as u64, ..Counts::default() }).await.unwrap();
        let seconds = start.elapsed().as_secs_f64();
        let pages = world.count("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size");
        println!(
            "{}: {:.0} rows/s, {} bytes a row stored",
            if old_sqlite { "json_each" } else { "jsonb_each" },
            ROWS as f64 / seconds,
            pages / ROWS as i64
        );
        assert_eq!(world.count("SELECT count(*) FROM crm__lineitem"), ROWS as i64);
    }
}
