//! How the PostgreSQL source finds changes: by transaction id and by cursor column, against a real server.

use crate::support::postgres::{Database, Server, big_table, columns, plan, read_all};
use fivetran_do::connectors::{SetupTestStatus, SyncMode};
use fivetran_do::core::ErrorKind;
use fivetran_do::core::run::{Cursor, StreamPlan};
use serde_json::{Value, json};

#[tokio::test]
async fn an_incremental_sync_reads_what_was_written_since() {
    let (server, _quiet) = Server::quiet().await;
    let database = server.database().await;
    database.execute("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT i, '' FROM generate_series(1, 100) i").await;
    let reader = database.source(json!({}));
    let (full, rows) = reader.sync("t", None).await;
    assert!(full.full && rows.count() == 100);
    let (nothing, rows) = reader.sync("t", full.next_cursor.as_ref()).await;
    assert!(!nothing.full && rows.count() == 0);
    database.execute("UPDATE t SET v = 'new' WHERE id IN (3, 50); INSERT INTO t VALUES (101, 'x'); DELETE FROM t WHERE id = 1").await;
    let (changes, rows) = reader.sync("t", nothing.next_cursor.as_ref()).await;
    assert!(!changes.full);
    assert_eq!(rows.sorted("id"), ["101", "3", "50"]);
    // A rolled back transaction leaves nothing, a savepoint's rows are found, a vacuum changes nothing.
    database.execute("BEGIN; INSERT INTO t VALUES (200, ''); ROLLBACK").await;
    database.execute("BEGIN; SAVEPOINT s; INSERT INTO t VALUES (201, ''); RELEASE s; COMMIT").await;
    database.execute("VACUUM FREEZE t").await;
    assert_eq!(reader.sync("t", changes.next_cursor.as_ref()).await.1.sorted("id"), ["201"]);
    // Full mode reads everything whatever the cursor says.
    let request = reader.request("t", SyncMode::Full).await;
    assert!(reader.source.plan(&request, changes.next_cursor.as_ref()).await.unwrap().full);
}

#[tokio::test]
async fn rows_committed_late_are_not_lost() {
    let (server, _quiet) = Server::quiet().await;
    let database = server.database().await;
    database.execute("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)").await;
    let reader = database.source(json!({}));
    let (early, late) = (database.another_client().await, database.another_client().await);
    // `late` gets its transaction id first and commits last, `early` overtakes it. Prepared transactions as well.
    late.batch_execute("BEGIN; INSERT INTO t VALUES (2)").await.unwrap();
    database.execute("BEGIN; INSERT INTO t VALUES (4); PREPARE TRANSACTION 'later'").await;
    early.batch_execute("BEGIN; INSERT INTO t VALUES (3); COMMIT").await.unwrap();
    let (first, rows) = reader.sync("t", None).await;
    assert_eq!(rows.sorted("id"), ["1", "3"]);
    let (second, _) = reader.sync("t", first.next_cursor.as_ref()).await;
    late.batch_execute("COMMIT").await.unwrap();
    let (third, rows) = reader.sync("t", second.next_cursor.as_ref()).await;
    assert!(!third.full && rows.sorted("id").contains(&"2".to_owned()));
    database.execute("COMMIT PREPARED 'later'").await;
    let (fourth, rows) = reader.sync("t", third.next_cursor.as_ref()).await;
    assert!(rows.sorted("id").contains(&"4".to_owned()));
    assert_eq!(reader.sync("t", fourth.next_cursor.as_ref()).await.1.count(), 0);
}

#[tokio::test]
async fn an_incremental_read_of_a_big_table_finds_changes_on_every_page() {
    let (server, _quiet) = Server::quiet().await;
    let database = server.database().await;
    big_table(&database, 20_000).await;
    let reader = database.source(json!({}));
    let request = columns(reader.request("big", SyncMode::Incremental).await, &["id"]);
    let full = plan(&reader, &request).await;
    database.execute("UPDATE big SET v = 9 WHERE id % 1000 = 0").await;
    let changes = reader.source.plan(&request, full.next_cursor.as_ref()).await.unwrap();
    assert!(!changes.full);
    assert_eq!(read_all(&reader, &request, &changes.chunks).await.count(), 20);
}

#[tokio::test]
async fn a_cursor_that_means_nothing_any_more_makes_the_sync_full() {
    let database = Server::shared().database().await;
    database.execute("CREATE TABLE t (id int, v int); INSERT INTO t VALUES (1, 1)").await;
    let reader = database.source(json!({}));
    let (first, _) = reader.sync("t", None).await;
    let cursor = first.next_cursor.unwrap();
    assert!(!reader.sync("t", Some(&cursor)).await.0.full);
    let with = |field: &str, value: Value| {
        let mut changed = cursor.clone();
        changed.0[field] = value;
        changed
    };
    for (field, value) in [
        ("database", json!("7/1/5")),
        ("transaction", json!("99999999999")),
        ("relation", json!(1)),
        ("kind", json!("of a later version")),
        ("transaction", json!(12)),
    ] {
        let (planned, rows) = reader.sync("t", Some(&with(field, value.clone()))).await;
        assert!(planned.full && rows.count() == 1, "{field} {value}");
    }
    database.execute("DROP TABLE t; CREATE TABLE t (id int, v int)").await;
    assert!(reader.sync("t", Some(&cursor)).await.0.full);
}

#[tokio::test]
async fn the_server_is_identified_as_far_as_the_user_may() {
    let database = Server::shared().database().await;
    database
        .execute("CREATE TABLE t (id int); CREATE ROLE anyone LOGIN PASSWORD 'x-anyone'; GRANT SELECT ON t TO anyone")
        .await;
    let reader = database.source(json!({"user": "anyone", "password": "x-anyone"}));
    let (first, _) = reader.sync("t", None).await;
    let known =
        |plan: &StreamPlan| plan.next_cursor.as_ref().unwrap().0["database"].as_str().unwrap().to_owned();
    assert!(!known(&first).contains('?') && known(&first).contains("/1/"), "{}", known(&first));
    database.execute("REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC").await;
    let (second, _) = reader.sync("t", first.next_cursor.as_ref()).await;
    assert!(second.full && known(&second).starts_with("?/?/"));
    assert!(!reader.sync("t", second.next_cursor.as_ref()).await.0.full);
}

#[tokio::test]
async fn a_column_added_with_a_default_makes_the_sync_full_and_one_without_does_not() {
    let (server, _quiet) = Server::quiet().await;
    let database = server.database().await;
    database.execute("CREATE TABLE t (id int, v int); INSERT INTO t VALUES (1, 1)").await;
    let reader = database.source(json!({}));
    let (first, _) = reader.sync("t", None).await;
    database.execute("ALTER TABLE t ADD plain text").await;
    let (second, rows) = reader.sync("t", first.next_cursor.as_ref()).await;
    assert!(!second.full && rows.count() == 0);
    database.execute("ALTER TABLE t ADD filled int DEFAULT 5; ALTER TABLE t ALTER filled DROP DEFAULT").await;
    let (third, rows) = reader.sync("t", second.next_cursor.as_ref()).await;
    assert!(third.full);
    assert_eq!(rows.sorted("filled"), ["5"]);
    assert!(!reader.sync("t", third.next_cursor.as_ref()).await.0.full);
    // A column that was not enabled before holds values in rows that did not change.
    let all = reader.request("t", SyncMode::Incremental).await;
    let fewer = columns(all.clone(), &["id"]);
    let narrow = plan(&reader, &fewer).await;
    assert!(reader.source.plan(&all, narrow.next_cursor.as_ref()).await.unwrap().full);
    assert!(!reader.source.plan(&fewer, third.next_cursor.as_ref()).await.unwrap().full);
}

#[tokio::test]
async fn a_column_under_another_name_makes_the_sync_full() {
    let (server, _quiet) = Server::quiet().await;
    let database = server.database().await;
    for (change, then) in [
        ("ALTER TABLE t RENAME v TO w", ""),
        ("ALTER TABLE t RENAME v TO w; ALTER TABLE t ADD v int", ""),
        ("ALTER TABLE t DROP v; ALTER TABLE t ADD v int", ""),
        // The name was gone for a sync: what the destination has under it is older still.
        ("ALTER TABLE t DROP v", "ALTER TABLE t ADD v int"),
    ] {
        database
            .execute("DROP TABLE IF EXISTS t; CREATE TABLE t (id int, v int); INSERT INTO t VALUES (1, 1)")
            .await;
        let reader = database.source(json!({}));
        let (first, _) = reader.sync("t", None).await;
        database.execute(change).await;
        let (mut changed, mut rows) = reader.sync("t", first.next_cursor.as_ref()).await;
        if !then.is_empty() {
            assert!(!changed.full, "{change}");
            database.execute(then).await;
            (changed, rows) = reader.sync("t", changed.next_cursor.as_ref()).await;
        }
        assert!(changed.full && rows.count() == 1, "{change}; {then}");
        assert!(!reader.sync("t", changed.next_cursor.as_ref()).await.0.full, "{change}; {then}");
    }
}

#[tokio::test]
async fn a_rewritten_table_is_read_again() {
    let (server, _quiet) = Server::quiet().await;
    let database = server.database().await;
    database.execute("CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t VALUES (1, 1), (2, 2)").await;
    let reader = database.source(json!({}));
    let (first, _) = reader.sync("t", None).await;
    database.execute("ALTER TABLE t ALTER v TYPE bigint").await;
    let (second, rows) = reader.sync("t", first.next_cursor.as_ref()).await;
    assert!(!second.full);
    assert_eq!(rows.sorted("v"), ["1", "2"]);
    database.execute("VACUUM FULL t").await;
    assert_eq!(reader.sync("t", second.next_cursor.as_ref()).await.1.count(), 0);
}

/// Runs SQL that updates or deletes rows, and waits until the server has counted them.
async fn counted(database: &Database, sql: &str) {
    let count = async || -> i64 {
        let sql = "SELECT coalesce(sum(n_tup_upd + n_tup_del), 0)::int8 FROM pg_stat_user_tables";
        database.client.query_one(sql, &[]).await.unwrap().get(0)
    };
    let before = count().await;
    database.execute(sql).await;
    for _ in 0..200 {
        if count().await > before {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("{sql} was not counted");
}

#[tokio::test]
async fn replaced_rows_of_a_table_without_a_key_make_the_next_sync_full() {
    let database = Server::shared().database().await;
    database
        .execute(
            "CREATE TABLE t (id int, v text); INSERT INTO t VALUES (1, 'a'), (2, 'b');
             CREATE TABLE p (id int, v text) PARTITION BY RANGE (id);
             CREATE TABLE p_1 PARTITION OF p FOR VALUES FROM (0) TO (100); INSERT INTO p VALUES (1, 'a'), (2, 'b')",
        )
        .await;
    for (table, config) in
        [("t", json!({})), ("t", json!({"cursor_columns": {"public.t": "id"}})), ("p", json!({}))]
    {
        let reader = database.source(config);
        let (mut last, _) = reader.sync(table, None).await;
        let mut full = async || {
            let (next, _) = reader.sync(table, last.next_cursor.as_ref()).await;
            last = next;
            last.full
        };
        database.execute(&format!("INSERT INTO {table} VALUES (3, 'c')")).await;
        assert!(!full().await, "{table}: added rows are no matter");
        counted(&database, &format!("UPDATE {table} SET v = 'new' WHERE id = 1")).await;
        assert!(full().await, "{table}: updated");
        assert!(!full().await, "{table}");
        counted(&database, &format!("DELETE FROM {table} WHERE id = 2")).await;
        assert!(full().await, "{table}: deleted");
        database.execute(&format!("TRUNCATE {table}; INSERT INTO {table} VALUES (1, ''), (2, '')")).await;
        assert!(full().await, "{table}: truncated, which is not counted");
        assert!(!full().await, "{table}");
    }
    let reader = database.source(json!({}));
    let (first, _) = reader.sync("p", None).await;
    database
        .execute(
            "CREATE TABLE p_2 PARTITION OF p FOR VALUES FROM (100) TO (200); INSERT INTO p VALUES (100, '')",
        )
        .await;
    let (second, rows) = reader.sync("p", first.next_cursor.as_ref()).await;
    assert!(
        !second.full && rows.sorted("id").contains(&"100".to_owned()),
        "a new partition replaces nothing"
    );
}

#[tokio::test]
async fn a_reset_of_the_counts_of_replaced_rows_costs_one_full_sync() {
    let database = Server::shared().database().await;
    database.execute("CREATE TABLE t (id int); INSERT INTO t VALUES (1)").await;
    counted(&database, "UPDATE t SET id = 2").await;
    let reader = database.source(json!({}));
    let (mut last, _) = reader.sync("t", None).await;
    // As many updates as before: the count alone would not tell.
    for reset in ["SELECT pg_stat_reset()", "SELECT pg_stat_reset_single_table_counters('t'::regclass)"] {
        assert!(!reader.sync("t", last.next_cursor.as_ref()).await.0.full);
        database.execute(reset).await;
        counted(&database, "UPDATE t SET id = id + 1").await;
        last = reader.sync("t", last.next_cursor.as_ref()).await.0;
        assert!(last.full, "{reset}");
    }
    assert!(!reader.sync("t", last.next_cursor.as_ref()).await.0.full);
}

#[tokio::test]
async fn a_crash_that_loses_the_counts_of_replaced_rows_makes_the_sync_full() {
    static SERVER: std::sync::OnceLock<Server> = std::sync::OnceLock::new();
    let server = SERVER.get_or_init(|| Server::start(""));
    let database = server.database().await;
    database
        .execute("CREATE TABLE t (id int); INSERT INTO t VALUES (1); CREATE TABLE nothing (line text)")
        .await;
    let reader = database.source(json!({}));
    let (first, _) = reader.sync("t", None).await;
    // On disk, with what the crash must not take.
    database.execute("SET synchronous_commit = on; UPDATE t SET id = 2").await;
    let _ = database.client.batch_execute("COPY nothing FROM PROGRAM 'kill -9 $PPID'").await;
    let reader = database.source(json!({}));
    let request = loop {
        match reader.source.discover().await {
            Ok(_) => break reader.request("t", SyncMode::Incremental).await,
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(100)).await,
        }
    };
    let second = reader.source.plan(&request, first.next_cursor.as_ref()).await.unwrap();
    assert!(second.full);
    assert_eq!(read_all(&reader, &request, &second.chunks).await.sorted("id"), ["2"]);
    assert!(!reader.sync("t", second.next_cursor.as_ref()).await.0.full);
}

#[tokio::test]
async fn a_refreshed_materialized_view_has_no_key_and_is_synced_in_full() {
    let database = Server::shared().database().await;
    database
        .execute(
            "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'a'), (2, 'b');
             CREATE MATERIALIZED VIEW m AS SELECT * FROM t; CREATE UNIQUE INDEX ON m (id)",
        )
        .await;
    let reader = database.source(json!({}));
    let (first, _) = reader.sync("m", None).await;
    database.execute("UPDATE t SET v = 'new' WHERE id = 1; REFRESH MATERIALIZED VIEW m").await;
    let (second, rows) = reader.sync("m", first.next_cursor.as_ref()).await;
    assert!(second.full && rows.sorted("v") == ["b", "new"]);
    database.execute("UPDATE t SET v = 'newer' WHERE id = 1").await;
    database.execute("REFRESH MATERIALIZED VIEW CONCURRENTLY m").await;
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    database.execute("SELECT 1").await;
    let (third, _) = reader.sync("m", second.next_cursor.as_ref()).await;
    assert!(third.full);
    assert!(!reader.sync("m", third.next_cursor.as_ref()).await.0.full);
}

#[tokio::test]
async fn transaction_ids_beyond_32_bits_are_compared_rightly() {
    // A server whose transaction ids begin just below 2^32, so that they wrap while the test runs.
    static SERVER: std::sync::OnceLock<Server> = std::sync::OnceLock::new();
    let server = SERVER.get_or_init(|| Server::start_at_transaction(0xFFFF_F800));
    let database = server.database().await;
    database.execute("CREATE TABLE t (id int); INSERT INTO t VALUES (0)").await;
    let reader = database.source(json!({}));
    let (mut last, rows) = reader.sync("t", None).await;
    assert_eq!(rows.count(), 1);
    let mut wrapped = (false, false);
    for id in 1..40 {
        database
            .execute("DO $$ BEGIN FOR i IN 1..100 LOOP PERFORM txid_current(); COMMIT; END LOOP; END $$")
            .await;
        database.execute(&format!("INSERT INTO t VALUES ({id})")).await;
        let (next, rows) = reader.sync("t", last.next_cursor.as_ref()).await;
        assert!(!next.full);
        assert_eq!(rows.sorted("id"), [id.to_string()]);
        let horizon: u64 =
            next.next_cursor.as_ref().unwrap().0["transaction"].as_str().unwrap().parse().unwrap();
        if horizon < 1 << 32 {
            wrapped.0 = true
        } else {
            wrapped.1 = true
        }
        last = next;
    }
    assert_eq!(wrapped, (true, true), "the ids must cross 2^32 for this test to mean something");
}

#[tokio::test]
async fn a_standby_is_followed_and_a_failover_makes_the_sync_full() {
    static SERVERS: std::sync::OnceLock<(Server, Server)> = std::sync::OnceLock::new();
    let (primary, standby) = SERVERS.get_or_init(|| {
        let primary = Server::start("");
        let standby = Server::standby(&primary);
        (primary, standby)
    });
    let primary = primary.database().await;
    primary
        .execute(
            "CREATE TABLE t (id int PRIMARY KEY); CREATE UNLOGGED TABLE u (id int); INSERT INTO t VALUES (1)",
        )
        .await;
    let replayed = async || {
        let lsn = primary.client.query_one("SELECT pg_current_wal_insert_lsn()::text", &[]).await.unwrap();
        let lsn: String = lsn.get(0);
        let client = standby.client("postgres").await;
        for _ in 0..200 {
            let sql = format!("SELECT pg_last_wal_replay_lsn() >= '{lsn}'");
            if client.query_one(&sql, &[]).await.unwrap().get(0) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        panic!("the standby does not replay");
    };
    replayed().await;
    let replica = primary.on(standby).await;
    let reader = replica.source(json!({}));
    assert_eq!(
        reader.source.discover().await.unwrap().streams.len(),
        1,
        "unlogged tables cannot be read on a standby"
    );
    let tests = reader.source.check().await;
    assert_eq!(tests[4].status, SetupTestStatus::Warning);
    assert!(tests[4].message.contains("standby"));

    let late = primary.another_client().await;
    late.batch_execute("BEGIN; INSERT INTO t VALUES (2)").await.unwrap();
    primary.execute("INSERT INTO t VALUES (3)").await;
    replayed().await;
    let (first, rows) = reader.sync("t", None).await;
    assert_eq!(rows.sorted("id"), ["1", "3"]);
    let by_column = replica.source(json!({"cursor_columns": {"public.t": "id"}}));
    let (under_column, _) = by_column.sync("t", None).await;
    late.batch_execute("COMMIT").await.unwrap();
    primary.execute("INSERT INTO t VALUES (4)").await;
    replayed().await;
    let (_, rows) = by_column.sync("t", under_column.next_cursor.as_ref()).await;
    assert!(["2", "4"].iter().all(|id| rows.sorted("id").contains(&(*id).to_owned())));
    let (second, rows) = reader.sync("t", first.next_cursor.as_ref()).await;
    assert!(!second.full);
    assert!(
        ["2", "4"].iter().all(|id| rows.sorted("id").contains(&(*id).to_owned())),
        "{:?}",
        rows.sorted("id")
    );

    // After a promotion transaction ids are given out again that the old primary may have used.
    let promoted = replica.client.query_one("SELECT pg_promote(true, 30)", &[]).await.unwrap();
    assert!(promoted.get::<_, bool>(0));
    replica.execute("CHECKPOINT").await;
    let (third, rows) = reader.sync("t", second.next_cursor.as_ref()).await;
    assert!(third.full);
    assert_eq!(rows.count(), 4);
    assert!(!reader.sync("t", third.next_cursor.as_ref()).await.0.full);
}

#[tokio::test]
async fn a_cursor_column_reads_equal_values_again_and_nulls_always() {
    let database = Server::shared().database().await;
    database
        .execute(
            "CREATE TABLE t (id int PRIMARY KEY, n bigint); INSERT INTO t VALUES (1, 10), (2, 20), (3, NULL)",
        )
        .await;
    let reader = database.source(json!({"cursor_columns": {"public.t": "n"}}));
    let (first, rows) = reader.sync("t", None).await;
    assert!(first.full && rows.count() == 3);
    database.execute("INSERT INTO t VALUES (4, 20), (5, 21), (6, 5)").await;
    let (second, rows) = reader.sync("t", first.next_cursor.as_ref()).await;
    assert!(!second.full);
    assert_eq!(rows.sorted("id"), ["2", "3", "4", "5"]);
    let cursor = second.next_cursor.unwrap().0;
    assert_eq!([&cursor["kind"], &cursor["column"], &cursor["value"]], ["column", "n", "21"]);
}

#[tokio::test]
async fn rows_committed_late_under_a_cursor_column_are_not_lost() {
    let database = Server::shared().database().await;
    database
        .execute(
            "CREATE SEQUENCE s;
             CREATE TABLE t (id bigint PRIMARY KEY, amount numeric, name text, at timestamptz DEFAULT clock_timestamp());
             CREATE VIEW v AS SELECT * FROM t",
        )
        .await;
    let insert = "INSERT INTO t SELECT n, n, to_char(n, '000000') FROM (SELECT nextval('s') AS n) x RETURNING id::text";
    for (table, column) in
        [("t", "id"), ("t", "amount"), ("t", "name"), ("t", "at"), ("v", "id"), ("v", "name")]
    {
        let config =
            json!({"cursor_columns": {format!("public.{table}"): column}, "cursor_overlap_seconds": 0});
        let reader = database.source(config);
        let (early, late) = (database.another_client().await, database.another_client().await);
        let write = async |client: &tokio_postgres::Client| -> String {
            client.query_one(insert, &[]).await.unwrap().get(0)
        };
        write(&early).await;
        let (mut last, _) = reader.sync(table, None).await;
        assert!(last.next_cursor.as_ref().unwrap().0["pending"].is_null(), "nobody else was writing");
        // First under a value that counts, then under none: the table is read for the first time while others write.
        for from_nothing in [false, true] {
            late.batch_execute("BEGIN").await.unwrap();
            let slow = write(&late).await;
            let quick = write(&early).await;
            let from = if from_nothing { None } else { last.next_cursor.as_ref() };
            let (first, rows) = reader.sync(table, from).await;
            assert!(
                rows.sorted("id").contains(&quick) && !rows.sorted("id").contains(&slow),
                "{table} {column}"
            );
            let (second, _) = reader.sync(table, first.next_cursor.as_ref()).await;
            late.batch_execute("COMMIT").await.unwrap();
            let (third, rows) = reader.sync(table, second.next_cursor.as_ref()).await;
            assert!(rows.sorted("id").contains(&slow), "{table} {column} {from_nothing}");
            let (fourth, rows) = reader.sync(table, third.next_cursor.as_ref()).await;
            assert!(!fourth.full);
            assert_eq!(rows.sorted("id"), [quick], "{table} {column}: no more than the newest comes again");
            last = fourth;
        }
    }
}

#[tokio::test]
async fn a_transaction_counts_as_writing_from_nextval_on_and_also_while_it_is_prepared() {
    let database = Server::shared().database().await;
    database.execute("CREATE TABLE t (id bigserial PRIMARY KEY); INSERT INTO t DEFAULT VALUES").await;
    let reader = database.source(json!({"cursor_columns": {"public.t": "id"}}));
    let (first, _) = reader.sync("t", None).await;
    let late = database.another_client().await;
    late.batch_execute("BEGIN; SELECT nextval('t_id_seq')").await.unwrap();
    database.execute("INSERT INTO t DEFAULT VALUES").await;
    let (second, rows) = reader.sync("t", first.next_cursor.as_ref()).await;
    assert_eq!(rows.sorted("id"), ["1", "3"]);
    late.batch_execute("INSERT INTO t VALUES (2); PREPARE TRANSACTION 'later'").await.unwrap();
    let (third, rows) = reader.sync("t", second.next_cursor.as_ref()).await;
    assert_eq!(rows.sorted("id"), ["1", "3"]);
    database.execute("COMMIT PREPARED 'later'").await;
    let (fourth, rows) = reader.sync("t", third.next_cursor.as_ref()).await;
    assert_eq!(rows.sorted("id"), ["1", "2", "3"]);
    assert_eq!(reader.sync("t", fourth.next_cursor.as_ref()).await.1.sorted("id"), ["3"]);
}

#[tokio::test]
async fn transactions_that_only_read_hold_no_cursor_value_up() {
    let database = Server::shared().database().await;
    database.execute("CREATE TABLE t (id bigserial PRIMARY KEY); INSERT INTO t DEFAULT VALUES").await;
    let analyst = database.another_client().await;
    analyst
        .batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; CREATE TEMP TABLE mine AS SELECT * FROM t; INSERT INTO mine VALUES (9)")
        .await
        .unwrap();
    let reader = database.source(json!({"cursor_columns": {"public.t": "id"}}));
    let (first, _) = reader.sync("t", None).await;
    let cursor = &first.next_cursor.as_ref().unwrap().0;
    assert_eq!((&cursor["value"], &cursor["pending"]), (&json!("1"), &Value::Null));
}

#[tokio::test]
async fn rows_attached_below_a_cursor_value_are_read() {
    let database = Server::shared().database().await;
    database
        .execute(
            "CREATE TABLE part (id int NOT NULL) PARTITION BY RANGE (id);
             CREATE TABLE part_2 PARTITION OF part FOR VALUES FROM (100) TO (200);
             CREATE TABLE old (id int); CREATE TABLE old_2 () INHERITS (old);
             CREATE VIEW v AS SELECT id FROM part;
             INSERT INTO part VALUES (150); INSERT INTO old_2 VALUES (150)",
        )
        .await;
    let tables = ["part", "old", "v"];
    let columns = json!({"public.part": "id", "public.old": "id", "public.v": "id"});
    let reader = database.source(json!({"cursor_columns": columns}));
    let mut cursors = Vec::new();
    for table in tables {
        let (first, _) = reader.sync(table, None).await;
        let (second, rows) = reader.sync(table, first.next_cursor.as_ref()).await;
        assert!(!second.full && rows.sorted("id") == ["150"], "{table}");
        cursors.push(second.next_cursor);
    }
    database
        .execute(
            "CREATE TABLE part_1 (id int NOT NULL); INSERT INTO part_1 VALUES (1), (2);
             ALTER TABLE part ATTACH PARTITION part_1 FOR VALUES FROM (0) TO (100);
             CREATE TABLE old_1 (id int); INSERT INTO old_1 VALUES (1), (2), (151); ALTER TABLE old_1 INHERIT old",
        )
        .await;
    for (table, cursor) in tables.into_iter().zip(&cursors) {
        let (third, rows) = reader.sync(table, cursor.as_ref()).await;
        let expected: &[&str] = if table == "old" { &["1", "150", "151", "2"] } else { &["1", "150", "2"] };
        assert_eq!(rows.sorted("id"), expected, "{table}");
        assert_eq!(third.full, table == "v", "behind a view nothing tells new rows from others");
        let (fourth, rows) = reader.sync(table, third.next_cursor.as_ref()).await;
        assert!(!fourth.full && rows.count() == 1, "{table}");
    }
}

#[tokio::test]
async fn a_refresh_brings_rows_below_a_cursor_value_of_a_materialized_view() {
    let (server, _quiet) = Server::quiet().await;
    let database = server.database().await;
    database
        .execute(
            "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (9);
             CREATE MATERIALIZED VIEW m AS SELECT * FROM t; CREATE UNIQUE INDEX ON m (id)",
        )
        .await;
    let reader = database.source(json!({"cursor_columns": {"public.m": "id"}}));
    let (first, _) = reader.sync("m", None).await;
    database.execute("INSERT INTO t VALUES (1)").await;
    database.execute("REFRESH MATERIALIZED VIEW CONCURRENTLY m").await;
    let (_, rows) = reader.sync("m", first.next_cursor.as_ref()).await;
    assert!(rows.sorted("id").contains(&"1".to_owned()));
}

#[tokio::test]
async fn a_time_cursor_goes_back_by_the_overlap_and_never_into_the_future() {
    let database = Server::shared().database().await;
    database
        .execute(
            "CREATE TABLE base (id int, at timestamptz, day date, local timestamp);
             INSERT INTO base SELECT i, x, x::date, x FROM (SELECT i, now() - i * interval '40 minutes' AS x FROM generate_series(0, 5) i) s;
             INSERT INTO base VALUES (6, 'infinity', 'infinity', 'infinity'), (7, '9999-01-01', '9999-01-01', '9999-01-01');
             CREATE VIEW t AS SELECT * FROM base",
        )
        .await;
    let reader = database.source(json!({"cursor_columns": {"public.t": "at"}}));
    let (first, rows) = reader.sync("t", None).await;
    assert_eq!(rows.count(), 8);
    // The last hour (0 and 40 minutes ago), and the future, which stays ahead of the cursor.
    let (second, rows) = reader.sync("t", first.next_cursor.as_ref()).await;
    assert!(!second.full);
    assert_eq!(rows.sorted("id"), ["0", "1", "6", "7"]);
    database.execute("INSERT INTO base VALUES (8, now(), now(), now())").await;
    assert!(reader.sync("t", second.next_cursor.as_ref()).await.1.sorted("id").contains(&"8".to_owned()));

    let reader =
        database.source(json!({"cursor_columns": {"public.t": "local"}, "cursor_overlap_seconds": 0}));
    let (first, _) = reader.sync("t", None).await;
    database.execute("INSERT INTO base (id, local) VALUES (9, now() AT TIME ZONE 'UTC')").await;
    let (_, rows) = reader.sync("t", first.next_cursor.as_ref()).await;
    assert_eq!(rows.sorted("id"), ["6", "7", "9"]);

    let reader = database.source(json!({"cursor_columns": {"public.t": "day"}}));
    let (first, _) = reader.sync("t", None).await;
    assert!(reader.sync("t", first.next_cursor.as_ref()).await.1.sorted("id").contains(&"0".to_owned()));
}

#[tokio::test]
async fn a_cursor_value_of_another_table_or_of_other_columns_makes_the_sync_full() {
    let database = Server::shared().database().await;
    database
        .execute("CREATE TABLE t (id int PRIMARY KEY, a text); INSERT INTO t VALUES (1, 'x'), (9, 'y')")
        .await;
    database.execute("CREATE VIEW v AS SELECT id FROM t").await;
    let reader = database.source(json!({"cursor_columns": {"public.t": "id", "public.v": "id"}}));
    let cursors = async |table: &str| reader.sync(table, None).await.0.next_cursor;
    let full = async |table: &str, cursor: &Option<Cursor>| reader.sync(table, cursor.as_ref()).await.0.full;

    let cursor = cursors("t").await;
    assert!(!full("t", &cursor).await);
    database.execute("ALTER TABLE t ADD COLUMN empty int").await;
    assert!(!full("t", &cursor).await, "NULL everywhere, as at the destination");
    database.execute("ALTER TABLE t ADD COLUMN five int DEFAULT 5").await;
    assert!(full("t", &cursor).await, "filled in rows that nobody wrote");
    let cursor = cursors("t").await;
    database.execute("ALTER TABLE t RENAME COLUMN a TO b").await;
    assert!(full("t", &cursor).await, "renamed");

    let cursor = cursors("v").await;
    assert!(!full("v", &cursor).await);
    database.execute("CREATE OR REPLACE VIEW v AS SELECT id, b FROM t").await;
    assert!(full("v", &cursor).await, "a view computes its new column for every row");
    for (definition, what) in [
        ("CREATE OR REPLACE VIEW v AS SELECT id, b FROM t WHERE id > 0", "other rows"),
        (
            "CREATE OR REPLACE VIEW inner_v AS SELECT id, b FROM t; CREATE OR REPLACE VIEW v AS SELECT id, b FROM inner_v",
            "of another",
        ),
        ("CREATE OR REPLACE VIEW inner_v AS SELECT id, upper(b) AS b FROM t", "the other defined otherwise"),
    ] {
        let cursor = cursors("v").await;
        database.execute(definition).await;
        assert!(full("v", &cursor).await, "{what}");
    }

    let cursor = cursors("t").await;
    database.execute("DROP VIEW v, inner_v; DROP TABLE t; CREATE TABLE t (id int PRIMARY KEY, b text)").await;
    database.execute("INSERT INTO t VALUES (2, 'below the old value')").await;
    assert!(full("t", &cursor).await, "another table of that name");
    let mut old_form = cursors("t").await.unwrap();
    old_form.0.as_object_mut().unwrap().remove("seen");
    assert!(full("t", &Some(old_form)).await, "a cursor that does not say what it is of");
}

#[tokio::test]
async fn a_cursor_column_that_cannot_serve_is_refused_by_name() {
    let database = Server::shared().database().await;
    database.execute("CREATE TABLE t (id int, j jsonb, f float8)").await;
    for (column, kind) in
        [("j", ErrorKind::InvalidInput), ("f", ErrorKind::InvalidInput), ("nope", ErrorKind::SourceConfig)]
    {
        let reader = database.source(json!({"cursor_columns": {"public.t": column}}));
        let request = reader.request("t", SyncMode::Incremental).await;
        let error = reader.source.plan(&request, None).await.unwrap_err();
        assert_eq!((error.kind(), error.field_name()), (kind, Some("config.cursor_columns")));
    }
    // Empty: no cursor yet; another column: full again.
    let reader = database.source(json!({}));
    let mut request = reader.request("t", SyncMode::Incremental).await;
    request.cursor_column = Some("id".to_owned());
    let planned = plan(&reader, &request).await;
    assert!(planned.full && planned.next_cursor.is_none());
}

#[tokio::test]
async fn many_changes_by_cursor_column_are_cut_by_pages() {
    let database = Server::shared().database().await;
    database
        .execute(
            "CREATE TABLE t (id bigint, pad char(20)); INSERT INTO t SELECT i, '' FROM generate_series(1, 2500000) i; ANALYZE t",
        )
        .await;
    let reader = database.source(json!({"cursor_columns": {"public.t": "id"}}));
    let request = reader.request("t", SyncMode::Incremental).await;
    let mut cursor = plan(&reader, &request).await.next_cursor.unwrap();
    cursor.0["value"] = json!("11");
    let many = reader.source.plan(&request, Some(&cursor)).await.unwrap();
    let (catch_up, cut) = many.chunks.split_last().unwrap();
    assert!(!many.full && cut.len() > 1 && catch_up.after_all);
    let request_id = columns(request.clone(), &["id"]);
    assert_eq!(read_all(&reader, &request_id, cut).await.count(), 2_499_990);
    cursor.0["value"] = json!("2499991");
    let few = reader.source.plan(&request, Some(&cursor)).await.unwrap();
    assert_eq!(few.chunks.len(), 1);
    assert_eq!(read_all(&reader, &request, &few.chunks).await.count(), 10);
}

#[tokio::test]
async fn a_row_that_moves_between_pages_while_many_changes_are_read_by_cursor_column_is_not_lost() {
    let (server, _quiet) = Server::quiet().await;
    let database = server.database().await;
    big_table(&database, 20_000).await;
    // The server takes them for a thousand times as many.
    database
        .execute("ANALYZE big; UPDATE pg_class SET reltuples = reltuples * 1000 WHERE oid = 'big'::regclass")
        .await;
    let reader = database.source(json!({"cursor_columns": {"public.big": "id"}}));
    let request = columns(reader.request("big", SyncMode::Incremental).await, &["id"]);
    let mut cursor = plan(&reader, &request).await.next_cursor.unwrap();
    cursor.0["value"] = json!("11");
    let many = reader.source.plan(&request, Some(&cursor)).await.unwrap();
    assert!(!many.full && many.chunks.len() > 2, "{} chunks", many.chunks.len());
    let read = read_all(&reader, &request, &many.chunks[..1]).await;
    assert!(!read.sorted("id").contains(&"19999".to_owned()));
    database.execute("DELETE FROM big WHERE id <= 1000").await;
    database.execute("VACUUM big").await;
    database.execute("UPDATE big SET v = 9 WHERE id = 19999").await;
    let (catch_up, rest) = many.chunks[1..].split_last().unwrap();
    assert!(!read_all(&reader, &request, rest).await.sorted("id").contains(&"19999".to_owned()), "it moved");
    assert!(catch_up.after_all);
    let caught = read_all(&reader, &request, std::slice::from_ref(catch_up)).await;
    assert!(caught.sorted("id").contains(&"19999".to_owned()));
}

#[tokio::test]
async fn a_large_view_is_read_in_ranges_of_its_cursor_column_and_no_row_escapes_between_them() {
    const ROWS: usize = 22_000;
    let database = Server::shared().database().await;
    database
        .execute(&format!(
            "CREATE TABLE base AS SELECT i AS id, i AS n, i::numeric / 7 AS amount, '2024-01-01'::date + i / 100 AS day,
               '2024-01-01Z'::timestamptz + i * interval '1 second' AS at FROM generate_series(1, {ROWS}) i;
             INSERT INTO base VALUES (0, NULL, NULL, NULL, NULL), (-1, -5, 'NaN', '-infinity', '-infinity');
             CREATE INDEX ON base (n); CREATE INDEX ON base (amount); CREATE INDEX ON base (at); CREATE INDEX ON base (day);
             ANALYZE base;
             -- The server takes them for a thousand times as many, which saves making and reading those.
             UPDATE pg_class SET reltuples = reltuples * 1000 WHERE oid = 'base'::regclass;
             CREATE VIEW v AS SELECT * FROM base;
             CREATE EXTENSION file_fdw; CREATE SERVER files FOREIGN DATA WRAPPER file_fdw;
             CREATE FOREIGN TABLE elsewhere (id int, n int, at timestamptz) SERVER files OPTIONS (program 'true');
             CREATE VIEW foreign_v AS SELECT id, n, at FROM base UNION ALL SELECT * FROM elsewhere;
             CREATE VIEW local_v AS SELECT id, n, at FROM base UNION ALL SELECT id, n, at FROM base WHERE false;
             CREATE VIEW sums AS SELECT id, max(n) AS n FROM base GROUP BY id"
        ))
        .await;
    let request = async |table: &str, column: &str| {
        let reader = database.source(json!({"cursor_columns": {format!("public.{table}"): column}}));
        let request = columns(reader.request(table, SyncMode::Incremental).await, &["id"]);
        (reader, request)
    };
    for column in ["amount", "at", "day"] {
        let (reader, request) = request("v", column).await;
        let planned = plan(&reader, &request).await;
        assert_eq!((planned.full, planned.chunks.len()), (true, 6), "{column}");
        let rows = read_all(&reader, &request, &planned.chunks[..5]).await;
        assert_eq!(rows.count(), ROWS + 2, "{column}");
    }
    let (reader, request_n) = request("v", "n").await;
    let planned = plan(&reader, &request_n).await;
    let (last, catch_up) = (&planned.chunks[4..5], &planned.chunks[5..]);
    assert!(catch_up[0].after_all);
    let read = read_all(&reader, &request_n, last).await.count();
    // From a range that was not read yet to the one that was, out of all ranges, and a new row.
    database
        .execute(&format!(
            "UPDATE base SET n = {ROWS} + 1 WHERE id = 7; UPDATE base SET n = NULL WHERE id = 8; INSERT INTO base VALUES (-2, {ROWS} + 2)"
        ))
        .await;
    let rest = read_all(&reader, &request_n, &planned.chunks[..4]).await.count();
    assert_eq!(read + rest, ROWS + 2 - 2);
    let caught = read_all(&reader, &request_n, catch_up).await.sorted("id");
    assert_eq!(caught, ["-2", "0", "22000", "7", "8"]);

    // There is one snapshot while others write, where writers are not seen, and where each range would cost as much as all.
    for (view, chunks) in [("local_v", 6), ("foreign_v", 1), ("sums", 1)] {
        let (reader, request) = request(view, "n").await;
        assert_eq!(plan(&reader, &request).await.chunks.len(), chunks, "{view}");
    }
    let writer = database.another_client().await;
    writer.batch_execute("BEGIN; UPDATE base SET n = 5 WHERE id = 9").await.unwrap();
    let (reader, request_n) = request("v", "n").await;
    assert_eq!(plan(&reader, &request_n).await.chunks.len(), 1);
}
