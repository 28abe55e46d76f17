//! What writing costs, in CPU time of this thread, so that a busy machine does not matter. Ignored; to see it:
//! `CARGO_PROFILE_DEV_OPT_LEVEL=3 cargo test --test r2 -- --ignored --nocapture speed` (Linux).

use std::sync::Arc;

use arrow::array::{ArrayRef, Date32Array, Decimal128Array, Int32Array, RecordBatch, StringArray};
use fivetran_do::core::table::{LoadMode, TableSchema};
use fivetran_do::core::types::ColumnType;
use fivetran_do::destinations::TableLoad;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use serde_json::json;

use crate::harness::*;
use crate::support::objects::MemoryBucket;

/// TPC-H lineitem.
fn lineitem() -> TableSchema {
    let money = ColumnType::Decimal { precision: 15, scale: 2 };
    let columns = [
        ("l_orderkey", ColumnType::Int),
        ("l_partkey", ColumnType::Int),
        ("l_suppkey", ColumnType::Int),
        ("l_linenumber", ColumnType::Int),
        ("l_quantity", money),
        ("l_extendedprice", money),
        ("l_discount", money),
        ("l_tax", money),
        ("l_returnflag", ColumnType::String),
        ("l_linestatus", ColumnType::String),
        ("l_shipdate", ColumnType::NaiveDate),
        ("l_commitdate", ColumnType::NaiveDate),
        ("l_receiptdate", ColumnType::NaiveDate),
        ("l_shipinstruct", ColumnType::String),
        ("l_shipmode", ColumnType::String),
        ("l_comment", ColumnType::String),
    ];
    let columns = columns.into_iter().map(|(name, kind)| column(name, kind, true)).collect();
    table(columns, &["l_orderkey", "l_linenumber"])
}

/// Seconds this thread has been running on a processor.
fn cpu_seconds() -> f64 {
    let statistics = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    let nanoseconds: f64 = statistics.split(' ').next().unwrap().parse().unwrap();
    nanoseconds / 1e9
}

struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

const WORDS: [&str; 24] = [
    "furiously",
    "quickly",
    "carefully",
    "blithely",
    "slyly",
    "express",
    "special",
    "pending",
    "regular",
    "final",
    "ironic",
    "even",
    "bold",
    "silent",
    "deposits",
    "requests",
    "packages",
    "accounts",
    "theodolites",
    "foxes",
    "pinto",
    "beans",
    "instructions",
    "dependencies",
];

/// A batch of that many rows, distributed as dbgen does, roughly.
fn items(load: &TableLoad, dice: &mut Dice, first: i64, rows: usize) -> RecordBatch {
    let mut roll = |end: u64| -> Vec<u64> { (0..rows).map(|_| dice.below(end)).collect() };
    let ints = |values: Vec<u64>| -> ArrayRef {
        Arc::new(Int32Array::from_iter_values(values.into_iter().map(|value| value as i32 + 1)))
    };
    let money = |values: Vec<u64>| -> ArrayRef {
        let array = Decimal128Array::from_iter_values(values.into_iter().map(i128::from));
        Arc::new(array.with_precision_and_scale(15, 2).unwrap())
    };
    let days = |values: Vec<u64>| -> ArrayRef {
        Arc::new(Date32Array::from_iter_values(values.into_iter().map(|value| 8_000 + value as i32)))
    };
    let pick = |values: Vec<u64>, from: &[&str]| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(values.into_iter().map(|value| from[value as usize])))
    };
    let row_numbers = || first..first + rows as i64;
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int32Array::from_iter_values(row_numbers().map(|row| (row / 4) as i32))),
        ints(roll(200_000)),
        ints(roll(10_000)),
        Arc::new(Int32Array::from_iter_values(row_numbers().map(|row| (row % 4) as i32))),
        money(roll(50).into_iter().map(|value| value * 100).collect()),
        money(roll(10_000_000)),
        money(roll(11)),
        money(roll(9)),
        pick(roll(3), &["A", "N", "R"]),
        pick(roll(2), &["F", "O"]),
        days(roll(2_500)),
        days(roll(2_500)),
        days(roll(2_500)),
        pick(roll(4), &["DELIVER IN PERSON", "COLLECT COD", "NONE", "TAKE BACK RETURN"]),
        pick(roll(7), &["REG AIR", "AIR", "RAIL", "SHIP", "TRUCK", "MAIL", "FOB"]),
        {
            let words = roll(24_u64.pow(4));
            let text = words.into_iter().map(|word| {
                let word = word as usize;
                let pick = |power: u32| WORDS[word / 24_usize.pow(power) % 24];
                format!("{} {} {}{}", pick(0), pick(1), pick(2), &pick(3)[..3])
            });
            Arc::new(StringArray::from_iter_values(text))
        },
    ];
    batch(load, columns)
}

#[test]
#[ignore = "prints speeds"]
#[allow(clippy::print_stdout)]
fn speed_of_every_format() {
    const ROWS: usize = 40_960;
    let load = load(lineitem(), 1, LoadMode::Full);
    let mut dice = Dice(42);
    let batches: Vec<_> = (0..25).map(|number| items(&load, &mut dice, number * ROWS as i64, ROWS)).collect();
    let rows = ROWS * batches.len();
    let heap: usize = batches.iter().map(RecordBatch::get_array_memory_size).sum();
    println!("{rows} rows, {:.1} MB of Arrow", heap as f64 / 1e6);
    let start = cpu_seconds();
    let mut stored = 0;
    for batches in batches.chunks(5) {
        let snappy = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
        let mut writer = ArrowWriter::try_new(Vec::new(), load.table.arrow(), Some(snappy)).unwrap();
        batches.iter().for_each(|batch| writer.write(batch).unwrap());
        stored += writer.into_inner().unwrap().len();
    }
    let seconds = cpu_seconds() - start;
    let speed = rows as f64 / seconds;
    println!("arrow-rs with its defaults {speed:9.0} rows/s {:26.1} MB stored", stored as f64 / 1e6);
    for (format, compression) in [
        ("parquet", "snappy"),
        ("parquet", "none"),
        ("csv", "none"),
        ("csv", "gzip"),
        ("jsonl", "none"),
        ("jsonl", "gzip"),
    ] {
        let mut best = f64::MAX;
        let mut bytes = 0;
        for _ in 0..3 {
            let bucket = std::rc::Rc::new(MemoryBucket::default());
            let config =
                json!({ "bucket": "LAKE", "prefix": "lake", "format": format, "compression": compression });
            let destination = open(&bucket, config);
            block_on(destination.prepare(&load)).unwrap();
            let start = cpu_seconds();
            let receipts: Vec<_> = batches
                .chunks(5)
                .zip(0..)
                .map(|(batches, index)| {
                    block_on(write_chunk(&*destination, &load, index, 1, batches)).unwrap()
                })
                .collect();
            best = best.min(cpu_seconds() - start);
            block_on(destination.publish_all(&load, &receipts, fence(&load, 2))).unwrap();
            bytes = bucket.total_bytes();
        }
        println!(
            "{format:8} {compression:7} {:9.0} rows/s {:6.1} MB/s of Arrow {:6.1} MB stored",
            rows as f64 / best,
            heap as f64 / 1e6 / best,
            bytes as f64 / 1e6
        );
    }
}
