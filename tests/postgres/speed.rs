//! Rows per second of the PostgreSQL source alone, printed.

#![allow(clippy::disallowed_methods, clippy::print_stdout, reason = "it measures and prints")]

use crate::support::postgres::{Server, plan};
use fivetran_do::connectors::SyncMode;
use serde_json::json;

/// `cargo test --release --test postgres -- --ignored --nocapture`
#[tokio::test]
#[ignore = "prints rows per second; run it in release"]
async fn speed() {
    struct Count(usize, usize);
    #[async_trait::async_trait(?Send)]
    impl fivetran_do::connectors::BatchSink for Count {
        async fn batch(&mut self, batch: arrow::array::RecordBatch) -> fivetran_do::core::Result<()> {
            self.0 += batch.num_rows();
            self.1 += batch.get_array_memory_size();
            Ok(())
        }
        async fn deletes(&mut self, _: arrow::array::RecordBatch) -> fivetran_do::core::Result<()> {
            Ok(())
        }
    }
    let database = Server::shared().database().await;
    database
        .execute(
            "CREATE TABLE narrow AS SELECT i::bigint AS id, i % 1000 AS v, now() + i * interval '1 s' AS at, 'name ' || i AS name
               FROM generate_series(1, 2000000) i;
             CREATE TABLE lineitem AS SELECT i / 4 AS l_orderkey, i % 200000 AS l_partkey, i % 10000 AS l_suppkey, i % 7 AS l_linenumber,
               (i % 50)::numeric(15,2) AS l_quantity, (i * 1.37 % 100000)::numeric(15,2) AS l_extendedprice,
               (i % 10 / 100.0)::numeric(15,2) AS l_discount, (i % 8 / 100.0)::numeric(15,2) AS l_tax,
               chr(65 + i % 3)::char(1) AS l_returnflag, chr(79 - i % 2)::char(1) AS l_linestatus,
               date '1992-01-01' + i % 2500 AS l_shipdate, date '1992-02-01' + i % 2500 AS l_commitdate, date '1992-03-01' + i % 2500 AS l_receiptdate,
               'DELIVER IN PERSON'::char(25) AS l_shipinstruct, 'TRUCK'::char(10) AS l_shipmode, ('carefully final packages ' || i)::varchar(44) AS l_comment
               FROM generate_series(1, 1000000) i;
             ANALYZE",
        )
        .await;
    let reader = database.source(json!({}));
    for table in ["narrow", "lineitem", "narrow", "lineitem"] {
        let request = reader.request(table, SyncMode::Full).await;
        let planned = plan(&reader, &request).await;
        let started = std::time::Instant::now();
        let mut count = Count(0, 0);
        for chunk in planned.chunks.iter().filter(|chunk| !chunk.after_all) {
            reader.source.read(&request, chunk, &mut count).await.unwrap();
        }
        let seconds = started.elapsed().as_secs_f64();
        println!(
            "{table}: {} rows in {} chunks, {seconds:.2} s, {:.0} rows/s, {:.0} MB/s of Arrow",
            count.0,
            planned.chunks.len(),
            count.0 as f64 / seconds,
            count.1 as f64 / seconds / 1e6
        );
    }
}
