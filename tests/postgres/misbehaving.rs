//! A PostgreSQL server, or the network before it, that breaks off, lies, drips, falls silent or changes its tables under a
//! read. The rows of "Misbehaving sources" in docs/guarantees.md: whatever happens, a read returns all rows or an error
//! of the right kind, never fewer rows.

use std::time::Duration;

use crate::support::postgres::{Database, Reader, Rows, Server, big_table, plan, read_all};
use crate::support::proxy::{Fault, Proxy};
use fivetran_do::connectors::{BatchSink, SyncMode};
use fivetran_do::core::{Error, ErrorKind, Result};
use serde_json::{Value, json};
use tokio::time::Instant;

const ROWS: usize = 5_000;

/// A table of [`ROWS`] rows behind a proxy, planned.
struct Table {
    database: Database,
    proxy: Proxy,
    reader: Reader,
    request: fivetran_do::connectors::StreamRequest,
    planned: fivetran_do::core::run::StreamPlan,
}

impl Table {
    async fn new(more: Value) -> Self {
        let database = Server::shared().database().await;
        database
            .execute(&format!(
                "CREATE TABLE t AS SELECT i, repeat('x', 100) AS pad FROM generate_series(1, {ROWS}) i"
            ))
            .await;
        let proxy = Proxy::to(Server::shared().port).await;
        let mut config = json!({"port": proxy.port});
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let reader = database.source(config);
        let request = reader.request("t", SyncMode::Full).await;
        let planned = plan(&reader, &request).await;
        assert_eq!(planned.chunks.len(), 1);
        Self { database, proxy, reader, request, planned }
    }

    async fn read(&self) -> Result<usize> {
        let mut rows = Rows::default();
        self.reader.read(&self.request, &self.planned.chunks[0], &mut rows).await?;
        Ok(rows.count())
    }

    /// Reads under a fault, which must end in an error of that kind that says this; then reads again in peace.
    async fn suffers(&self, fault: Fault, kind: ErrorKind, says: &str) {
        let name = format!("{fault:?}");
        self.proxy.arm(fault);
        let error = self.read().await.expect_err(&name);
        assert!(self.proxy.struck(), "{name}");
        assert_eq!(error.kind(), kind, "{name}: {error}");
        assert!(error.to_string().contains(says), "{name}: {error}");
        assert_eq!(self.read().await.unwrap(), ROWS, "{name}");
    }
}

#[tokio::test]
async fn a_connection_that_breaks_in_the_middle_of_a_copy_is_unavailable_and_read_again() {
    let table = Table::new(json!({})).await;
    for row in [0, 1, 2_500, ROWS as u64 - 1] {
        table.suffers(Fault::Reset(row), ErrorKind::SourceUnavailable, "public.t").await;
        table.suffers(Fault::End(row), ErrorKind::SourceUnavailable, "public.t").await;
    }
}

#[tokio::test]
async fn i5_a_copy_that_looks_complete_is_not_believed_without_the_servers_count() {
    let table = Table::new(json!({})).await;
    table.suffers(Fault::EndAfterTrailer, ErrorKind::SourceUnavailable, "public.t").await;
    table.suffers(Fault::EndBeforeCount, ErrorKind::SourceUnavailable, "public.t").await;
    table.suffers(Fault::Count("COPY 5001"), ErrorKind::Mismatch, "sent 5001 rows of public.t, 5000").await;
    table.suffers(Fault::Count("COPY"), ErrorKind::Mismatch, "public.t").await;
    table.suffers(Fault::Lose(2_500), ErrorKind::Mismatch, "sent 5000 rows of public.t, 4999").await;
    table.suffers(Fault::Repeat(2_500), ErrorKind::Mismatch, "sent 5000 rows of public.t, 5001").await;
}

#[tokio::test]
async fn a_server_that_ends_our_session_is_unavailable_or_throttles_but_is_never_done() {
    let table = Table::new(json!({})).await;
    for (code, kind) in [
        ("57P01", ErrorKind::SourceUnavailable),
        ("57P02", ErrorKind::SourceUnavailable),
        ("57P03", ErrorKind::SourceUnavailable),
        ("57P05", ErrorKind::SourceUnavailable),
        ("57014", ErrorKind::SourceUnavailable),
        ("40001", ErrorKind::SourceUnavailable),
        ("40P01", ErrorKind::SourceUnavailable),
        ("53200", ErrorKind::SourceUnavailable),
        ("58030", ErrorKind::SourceUnavailable),
        ("53300", ErrorKind::SourceThrottled),
        ("XX001", ErrorKind::Data),
        ("42P01", ErrorKind::Data),
    ] {
        table.suffers(Fault::Refuse(2_500, code), kind, code).await;
    }
}

#[tokio::test]
async fn a_server_that_refuses_logins_is_throttling_or_starting_up() {
    let table = Table::new(json!({})).await;
    for (code, kind) in [
        ("53300", ErrorKind::SourceThrottled),
        ("57P03", ErrorKind::SourceUnavailable),
        ("57P01", ErrorKind::SourceUnavailable),
    ] {
        // Its idle connections die, so the next use logs in.
        table.database.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'fivetran.do' AND datname = current_database()").await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        table.suffers(Fault::RefuseLogin(code), kind, code).await;
    }
    // A real limit, of the role.
    table
        .database
        .execute(
            "DROP ROLE IF EXISTS crowded; CREATE ROLE crowded LOGIN PASSWORD 'x-crowded' CONNECTION LIMIT 0",
        )
        .await;
    let crowded = table.database.source(json!({"user": "crowded", "password": "x-crowded"}));
    let error = crowded.source.discover().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SourceThrottled, "{error}");
    assert!(error.to_string().contains("max_connections"), "{error}");
}

#[tokio::test]
async fn a_server_that_says_nothing_any_more_is_given_up_and_one_that_drips_is_not() {
    let (silent, dripping) = tokio::join!(
        Table::new(json!({"query_timeout_seconds": 5})),
        Table::new(json!({"query_timeout_seconds": 5}))
    );
    let silence = async {
        let began = Instant::now();
        silent.proxy.arm(Fault::Silence(2_500));
        let error = silent.read().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::SourceUnavailable);
        assert!(error.to_string().contains("reading public.t: it sent nothing for 15 s"), "{error}");
        let waited = began.elapsed().as_secs_f64();
        assert!((15.0..17.5).contains(&waited), "{waited}");
        assert_eq!(silent.read().await.unwrap(), ROWS);
    };
    let drip = async {
        let began = Instant::now();
        // 17 s, longer than silence would be borne.
        dripping.proxy.arm(Fault::Drip(2_500, Duration::from_millis(200), 85));
        assert_eq!(dripping.read().await.unwrap(), ROWS);
        assert!(began.elapsed().as_secs() >= 17);
    };
    tokio::join!(silence, drip);
}

#[tokio::test]
async fn a_statement_that_takes_too_long_is_cancelled_by_the_server() {
    let database = Server::shared().database().await;
    database.execute("CREATE VIEW v AS SELECT 1 AS a FROM pg_sleep(60)").await;
    let reader = database.source(json!({"query_timeout_seconds": 5}));
    let request = reader.request("v", SyncMode::Full).await;
    let planned = plan(&reader, &request).await;
    let error = reader.read(&request, &planned.chunks[0], &mut Rows::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SourceUnavailable);
    assert!(error.to_string().contains("statement timeout (SQLSTATE 57014)"), "{error}");
    assert!(error.to_string().contains("query_timeout_seconds"), "{error}");
}

#[tokio::test]
async fn i10_damaged_bytes_are_an_error_or_harmless_but_never_a_panic() {
    let table = Table::new(json!({})).await;
    let mut refused = 0;
    for at in (0..300).step_by(3).chain((300..9_000).step_by(397)) {
        // A new login each time, so that every kind of message is hit.
        let reader = table.database.source(json!({"port": table.proxy.port, "query_timeout_seconds": 5}));
        table.proxy.arm(Fault::Corrupt(at));
        let mut rows = Rows::default();
        let read = reader.source.read(&table.request, &table.planned.chunks[0], &mut rows);
        // A length that grew makes us wait for what never comes; that it ends is shown above.
        match tokio::time::timeout(Duration::from_millis(250), read).await {
            Ok(Ok(count)) => assert_eq!((count as usize, rows.count()), (ROWS, ROWS), "byte {at}"),
            Ok(Err(_)) => refused += 1,
            Err(_) => {}
        }
    }
    assert!(refused > 30, "{refused}");
}

/// Does something to the database while a batch is in the sink, once.
struct Meanwhile<'a> {
    client: &'a tokio_postgres::Client,
    sql: Option<&'static str>,
    rows: Rows,
}

#[async_trait::async_trait(?Send)]
impl BatchSink for Meanwhile<'_> {
    async fn batch(&mut self, batch: arrow::array::RecordBatch) -> Result<()> {
        if let Some(sql) = self.sql.take() {
            // The chunk's lock keeps it out until the chunk is read; waiting for it here would be waiting for ourselves.
            let _ = tokio::time::timeout(Duration::from_millis(200), self.client.batch_execute(sql)).await;
        }
        self.rows.batch(batch).await
    }

    async fn deletes(&mut self, _: arrow::array::RecordBatch) -> Result<()> {
        Err(Error::internal("no deletes expected"))
    }
}

#[tokio::test]
async fn a_slow_destination_holds_the_reading_back_and_a_read_needs_one_connection() {
    /// Takes the first batch and then rests: how far the server comes meanwhile, and to how many of us it talks.
    struct Resting<'a> {
        client: &'a tokio_postgres::Client,
        sent: Vec<i64>,
        sessions: i64,
    }

    #[async_trait::async_trait(?Send)]
    impl BatchSink for Resting<'_> {
        async fn batch(&mut self, _: arrow::array::RecordBatch) -> Result<()> {
            while self.sent.len() < 2 {
                tokio::time::sleep(Duration::from_millis(700)).await;
                let sql = "SELECT p.bytes_processed, (SELECT count(*) FROM pg_stat_activity \
                    WHERE datname = current_database() AND pid <> pg_backend_pid()) \
                    FROM pg_stat_progress_copy AS p WHERE p.datname = current_database()";
                let row = self.client.query_one(sql, &[]).await.unwrap();
                self.sent.push(row.get(0));
                self.sessions = row.get(1);
            }
            Ok(())
        }

        async fn deletes(&mut self, _: arrow::array::RecordBatch) -> Result<()> {
            Err(Error::internal("no deletes expected"))
        }
    }

    let database = Server::shared().database().await;
    database
        .execute("CREATE TABLE t AS SELECT i, repeat('x', 1000) AS pad FROM generate_series(1, 55000) i")
        .await;
    let reader = database.source(json!({}));
    let request = reader.request("t", SyncMode::Full).await;
    let planned = plan(&reader, &request).await;
    let ours: i64 = 1 + 1;
    let mut sink = Resting { client: &database.another_client().await, sent: Vec::new(), sessions: 0 };
    let read = reader.source.read(&request, &planned.chunks[0], &mut sink).await.unwrap();
    assert!(read > 50_000, "{read}");
    let [early, late] = sink.sent[..] else { panic!("{:?}", sink.sent) };
    assert_eq!(early, late, "nothing moves while the destination is busy");
    // A batch of 8 MiB, what the wire holds of the next one, and the sockets' buffers of this machine.
    assert!(late < 40 << 20, "{late} bytes of {} were sent ahead", read * 1_000);
    assert_eq!(sink.sessions, ours, "the test's own, and one of the reader");
}

#[tokio::test]
async fn a_table_that_is_altered_in_the_middle_of_a_read_gives_whole_chunks_of_one_shape() {
    for (change, later) in [
        ("ALTER TABLE big ADD extra int DEFAULT 7", Ok(())),
        ("ALTER TABLE big DROP v", Err(ErrorKind::SourceChanged)),
        ("ALTER TABLE big ALTER v TYPE bigint", Err(ErrorKind::SourceChanged)),
        ("ALTER TABLE big RENAME TO moved", Err(ErrorKind::SourceChanged)),
        ("DROP TABLE big", Err(ErrorKind::SourceChanged)),
    ] {
        let database = Server::shared().database().await;
        big_table(&database, 20_000).await;
        let reader = database.source(json!({}));
        let request = reader.request("big", SyncMode::Full).await;
        let planned = plan(&reader, &request).await;
        assert_eq!(planned.chunks.len(), 3, "two page ranges and the catch-up");
        let client = database.another_client().await;
        let mut sink = Meanwhile { client: &client, sql: Some(change), rows: Rows::default() };
        // The change waits for the lock of the chunk, so this one is read in the planned shape.
        let first = reader.source.read(&request, &planned.chunks[0], &mut sink).await.unwrap();
        assert!(sink.sql.is_none() && first > 10_000, "{change}");
        assert_eq!(sink.rows.count() as u64, first, "{change}");
        // It happens between the chunks, and the next one notices.
        tokio::time::sleep(Duration::from_millis(100)).await;
        for chunk in &planned.chunks[1..] {
            let next = reader.source.read(&request, chunk, &mut sink).await.map(drop);
            assert_eq!(next.map_err(|error| error.kind()), later, "{change}");
        }
        if later.is_ok() {
            assert_eq!(sink.rows.count(), 20_000, "{change}: the planned columns of all rows");
        }
    }
}

#[tokio::test]
async fn a_table_that_is_truncated_in_the_middle_of_a_read_is_planned_again() {
    let database = Server::shared().database().await;
    big_table(&database, 20_000).await;
    let reader = database.source(json!({}));
    let request = reader.request("big", SyncMode::Full).await;
    let planned = plan(&reader, &request).await;
    let client = database.another_client().await;
    let truncate = "TRUNCATE big; INSERT INTO big VALUES (1, 1, 'new'), (2, 1, 'new')";
    let mut sink = Meanwhile { client: &client, sql: Some(truncate), rows: Rows::default() };
    reader.source.read(&request, &planned.chunks[0], &mut sink).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let error = reader.read(&request, &planned.chunks[1], &mut Rows::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SourceChanged, "{error}");
    let again = plan(&reader, &request).await;
    assert_eq!(read_all(&reader, &request, &again.chunks).await.sorted("id"), ["1", "2"]);
}

#[tokio::test]
async fn a_view_whose_inside_broke_is_a_persons_business_and_not_planned_again_for_ever() {
    let database = Server::shared().database().await;
    database
        .execute(
            "CREATE TABLE t (a int); INSERT INTO t VALUES (1); CREATE TABLE inside (a int);
             CREATE FUNCTION f() RETURNS bigint LANGUAGE plpgsql AS 'BEGIN RETURN (SELECT count(*) FROM public.inside); END';
             CREATE VIEW v AS SELECT a, f() AS n FROM t; DROP TABLE inside",
        )
        .await;
    let reader = database.source(json!({}));
    let request = reader.request("v", SyncMode::Full).await;
    let planned = plan(&reader, &request).await;
    let error = reader.read(&request, &planned.chunks[0], &mut Rows::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Data, "{error}");
    assert!(error.to_string().contains("inside") && error.to_string().contains("42P01"), "{error}");
}

#[tokio::test]
async fn rows_written_by_a_clock_that_runs_ahead_do_not_take_the_cursor_with_them() {
    let database = Server::shared().database().await;
    database
        .execute(
            "CREATE TABLE t (id int PRIMARY KEY, at timestamptz NOT NULL);
             INSERT INTO t VALUES (1, now() - interval '2 hours'), (2, now() + interval '1 day'), (3, 'infinity')",
        )
        .await;
    let reader = database.source(json!({"cursor_columns": {"public.t": "at"}, "cursor_overlap_seconds": 60}));
    let (first, rows) = reader.sync("t", None).await;
    assert_eq!(rows.count(), 3);
    // The source's own clock goes on; our clock is not asked at all.
    database.execute("INSERT INTO t VALUES (4, now())").await;
    let (_, rows) = reader.sync("t", first.next_cursor.as_ref()).await;
    assert_eq!(rows.sorted("id"), ["2", "3", "4"], "those ahead come again until their time has come");
}

#[tokio::test]
async fn a_replica_that_cancels_the_read_for_its_primarys_sake_is_read_again() {
    static PAIR: std::sync::OnceLock<(Server, Server)> = std::sync::OnceLock::new();
    let (primary, standby) = PAIR.get_or_init(|| {
        let primary = Server::start("max_standby_streaming_delay = 200ms\nmax_standby_archive_delay = 200ms");
        let standby = Server::standby(&primary);
        (primary, standby)
    });
    let database = primary.database().await;
    database
        .execute("CREATE TABLE t AS SELECT i, repeat('x', 1000) AS pad FROM generate_series(1, 40000) i")
        .await;
    let caught_up = async || {
        let lsn: String =
            database.client.query_one("SELECT pg_current_wal_insert_lsn()::text", &[]).await.unwrap().get(0);
        let replica = standby.client("postgres").await;
        let sql = format!("SELECT pg_last_wal_replay_lsn() >= '{lsn}'");
        while !replica.query_one(&sql, &[]).await.unwrap().get::<_, bool>(0) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    caught_up().await;
    let reader = database.on(standby).await.source(json!({}));
    let request = reader.request("t", SyncMode::Full).await;
    let planned = plan(&reader, &request).await;

    /// Removes rows for good at the primary and waits until the replica has to choose.
    struct Vacuum<'a>(&'a Database, u32);
    #[async_trait::async_trait(?Send)]
    impl BatchSink for Vacuum<'_> {
        async fn batch(&mut self, _: arrow::array::RecordBatch) -> Result<()> {
            self.1 += 1;
            if self.1 == 1 {
                self.0.execute("DELETE FROM t WHERE i % 2 = 0").await;
                self.0.execute("VACUUM t").await;
                tokio::time::sleep(Duration::from_millis(1_500)).await;
            }
            Ok(())
        }

        async fn deletes(&mut self, _: arrow::array::RecordBatch) -> Result<()> {
            Ok(())
        }
    }
    let error =
        reader.source.read(&request, &planned.chunks[0], &mut Vacuum(&database, 0)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SourceUnavailable, "{error}");
    assert!(error.to_string().contains("40001") && error.to_string().contains("recovery"), "{error}");
    caught_up().await;
    let mut rows = Rows::default();
    reader.read(&request, &planned.chunks[0], &mut rows).await.unwrap();
    assert_eq!(rows.count(), 20_000);
}
