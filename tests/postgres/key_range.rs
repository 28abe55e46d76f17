//! Reading a PostgreSQL table in key order, as destinations order keys, against a real server.

use crate::support::postgres::{Reader, Rows, Server};
use arrow::array::RecordBatch;
use async_trait::async_trait;
use fivetran_do::connectors::{BatchSink, KeyScan, SyncMode};
use fivetran_do::core::{Result, text};
use serde_json::json;

/// Rows, and what the server said it counted.
#[derive(Default)]
struct Counted {
    rows: Rows,
    server: Option<u64>,
}

#[async_trait(?Send)]
impl BatchSink for Counted {
    async fn batch(&mut self, batch: RecordBatch) -> Result<()> {
        self.rows.batch(batch).await
    }

    async fn deletes(&mut self, keys: RecordBatch) -> Result<()> {
        self.rows.deletes(keys).await
    }

    fn source_counted(&mut self, rows: u64) {
        self.server = Some(rows);
    }
}

/// All rows of a table, read two by two: the keys as text.
async fn walk(reader: &Reader, table: &str, key: &[&str]) -> Vec<Vec<String>> {
    let request = reader.request(table, SyncMode::Full).await;
    let key: Vec<String> = key.iter().map(|name| (*name).to_owned()).collect();
    let mut keys: Vec<Vec<String>> = Vec::new();
    loop {
        let scan = KeyScan { key: key.clone(), after: keys.last().cloned(), limit: 2 };
        let mut sink = Counted::default();
        let read = reader.source.read_range(&request, &scan, &mut sink).await.unwrap();
        assert_eq!(sink.server, Some(read));
        let mut found = vec![Vec::new(); read as usize];
        for name in &key {
            let column = request.stream.columns.iter().find(|column| column.name == *name).unwrap();
            let mut row = found.iter_mut();
            for batch in &sink.rows.batches {
                let array = batch.column_by_name(name).unwrap();
                text::for_each_row(array, column.column_type, |value| {
                    row.next().unwrap().push(String::from_utf8(value.unwrap().to_vec()).unwrap());
                    Ok(())
                })
                .unwrap();
            }
        }
        keys.extend(found);
        if read < 2 {
            return keys;
        }
    }
}

#[tokio::test]
async fn keys_of_every_ordered_type_come_in_the_order_of_destinations() {
    let database = Server::shared().database().await;
    let reader = database.source(json!({}));
    for (kind, inserted, ordered) in [
        (
            "bigint",
            "(9223372036854775807), (-1), (-9223372036854775808), (10), (9)",
            vec!["-9223372036854775808", "-1", "9", "10", "9223372036854775807"],
        ),
        ("numeric(10,2)", "(10), (9.5), (-0.01)", vec!["-0.01", "9.50", "10.00"]),
        // Bytes, not a language's order: upper case before lower case, ASCII before the rest.
        (
            "text COLLATE \"en-x-icu\"",
            "('b'), ('B'), ('a'), ('ä'), (''), ('_')",
            vec!["", "B", "_", "a", "b", "ä"],
        ),
        ("varchar(9)", "('it''s'), ('\\'), ('%')", vec!["%", "\\", "it's"]),
        ("char(3)", "('b'), ('a'), ('ab')", vec!["a  ", "ab ", "b  "]),
        (
            "uuid",
            "('f0000000-0000-0000-0000-000000000000'), ('00000000-0000-0000-0000-00000000000a')",
            vec!["00000000-0000-0000-0000-00000000000a", "f0000000-0000-0000-0000-000000000000"],
        ),
        (
            "date",
            "('infinity'), ('2024-02-29'), ('-infinity'), ('1969-12-31')",
            vec!["-infinity", "1969-12-31", "2024-02-29", "infinity"],
        ),
        (
            "timestamptz",
            "('2024-01-01 00:00:00.000001Z'), ('2024-01-01Z'), ('1969-01-01Z')",
            vec!["1969-01-01T00:00:00.000000Z", "2024-01-01T00:00:00.000000Z", "2024-01-01T00:00:00.000001Z"],
        ),
        ("boolean", "(true), (false)", vec!["false", "true"]),
        ("bytea", "('\\xff'), ('\\x00'), ('\\x00ff')", vec!["AA==", "AP8=", "/w=="]),
        ("mood", "('sad'), ('ok'), ('happy')", vec!["happy", "ok", "sad"]),
        ("inet", "('10.0.0.2'), ('10.0.0.10'), ('10.0.0.0/8')", vec!["10.0.0.0/8", "10.0.0.10", "10.0.0.2"]),
    ] {
        database
            .execute(&format!(
                "DROP TABLE IF EXISTS t; DROP TYPE IF EXISTS mood; CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy'); \
                 CREATE TABLE t (k {kind} PRIMARY KEY, v int); INSERT INTO t VALUES {inserted}"
            ))
            .await;
        let keys: Vec<_> = walk(&reader, "t", &["k"]).await.into_iter().flatten().collect();
        assert_eq!(keys, ordered, "{kind}");
    }
}

#[tokio::test]
async fn a_key_of_several_columns_is_walked_without_gap_or_repetition() {
    let database = Server::shared().database().await;
    database
        .execute(
            "CREATE TABLE t (v int, b text, \"A\" int, PRIMARY KEY (\"A\", b)) PARTITION BY LIST (\"A\"); \
             CREATE TABLE t1 PARTITION OF t FOR VALUES IN (1, 3); CREATE TABLE t2 PARTITION OF t DEFAULT; \
             INSERT INTO t SELECT 0, chr(97 + i), j FROM generate_series(0, 4) i, generate_series(1, 3) j",
        )
        .await;
    let reader = database.source(json!({}));
    let keys = walk(&reader, "t", &["A", "b"]).await;
    let expected: Vec<_> =
        (1..=3).flat_map(|a| ["a", "b", "c", "d", "e"].map(|b| vec![a.to_string(), b.to_owned()])).collect();
    assert_eq!(keys, expected);
}
