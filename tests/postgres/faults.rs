//! What the PostgreSQL source makes of bad input, missing permission, and of a server that changes or dies under a run.

use crate::support::postgres::{Database, Rows, Server, big_table, columns, open, plan, read_all};
use fivetran_do::connectors::{SetupTestStatus, SyncMode};
use fivetran_do::core::ErrorKind;
use fivetran_do::core::catalog::ChangeTracking;
use serde_json::{Value, json};

#[tokio::test]
async fn a_table_that_changed_between_plan_and_read_is_reported_as_changed() {
    let database = Server::shared().database().await;
    for change in [
        "DROP TABLE t",
        "ALTER TABLE t RENAME TO u",
        "ALTER TABLE t DROP v",
        "ALTER TABLE t RENAME v TO w",
        "ALTER TABLE t ALTER v TYPE bigint",
        "ALTER TABLE t ALTER v TYPE float4",
        "DROP TABLE t; CREATE TABLE t (id int, v int)",
    ] {
        database
            .execute("DROP TABLE IF EXISTS t, u; CREATE TABLE t (id int, v int); INSERT INTO t VALUES (1, 1)")
            .await;
        let reader = database.source(json!({}));
        let request = reader.request("t", SyncMode::Full).await;
        let planned = plan(&reader, &request).await;
        database.execute(change).await;
        let error = reader.read(&request, &planned.chunks[0], &mut Rows::default()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::SourceChanged, "{change}: {error}");
        assert!(error.to_string().contains("public.t"), "{change}: {error}");
        if change.starts_with("DROP TABLE t") && !change.contains("CREATE") {
            assert_eq!(
                reader.source.plan(&request, None).await.unwrap_err().kind(),
                ErrorKind::SourceChanged
            );
        }
    }
}

/// VACUUM FULL and CLUSTER move rows from pages not yet read to pages read before, and keep their transaction ids.
#[tokio::test]
async fn i5_a_table_rewritten_between_two_chunks_is_planned_again() {
    let database = Server::shared().database().await;
    for partitioned in [false, true] {
        database.execute("DROP TABLE IF EXISTS big").await;
        big_table(&database, 40_000).await;
        if partitioned {
            database
                .execute(
                    "ALTER TABLE big RENAME TO part; CREATE TABLE big (LIKE part) PARTITION BY RANGE (id);
                     ALTER TABLE big ATTACH PARTITION part DEFAULT",
                )
                .await;
        }
        let rewrite = if partitioned { "VACUUM FULL part" } else { "VACUUM FULL big" };
        for (change, kind) in [("VACUUM big", None), (rewrite, Some(ErrorKind::SourceChanged))] {
            let reader = database.source(json!({}));
            let request = columns(reader.request("big", SyncMode::Full).await, &["id"]);
            let planned = plan(&reader, &request).await;
            assert!(planned.chunks.len() > 2, "{} chunks", planned.chunks.len());
            reader.read(&request, &planned.chunks[0], &mut Rows::default()).await.unwrap();
            database.execute(change).await;
            let read = reader.read(&request, &planned.chunks[1], &mut Rows::default()).await;
            assert_eq!(read.err().map(|error| error.kind()), kind, "{change}");
        }
    }
}

#[tokio::test]
async fn a_source_that_dies_is_unavailable_and_comes_back() {
    let database = Server::shared().database().await;
    database
        .execute("CREATE TABLE t AS SELECT i, repeat('x', 1000) AS pad FROM generate_series(1, 40000) i")
        .await;
    let reader = database.source(json!({}));
    let request = reader.request("t", SyncMode::Full).await;
    let planned = plan(&reader, &request).await;
    // While a batch is in the sink, the server ends the connection.
    struct Killer<'a>(&'a Database, usize);
    #[async_trait::async_trait(?Send)]
    impl fivetran_do::connectors::BatchSink for Killer<'_> {
        async fn batch(&mut self, _: arrow::array::RecordBatch) -> fivetran_do::core::Result<()> {
            self.1 += 1;
            let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'fivetran.do' AND datname = current_database()";
            self.0.execute(sql).await;
            Ok(())
        }
        async fn deletes(&mut self, _: arrow::array::RecordBatch) -> fivetran_do::core::Result<()> {
            Ok(())
        }
    }
    let error =
        reader.source.read(&request, &planned.chunks[0], &mut Killer(&database, 0)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SourceUnavailable, "{error}");
    assert_eq!(read_all(&reader, &request, &planned.chunks).await.count(), 40_000);
    // An idle connection that died meanwhile is replaced without a word.
    database.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'fivetran.do' AND datname = current_database()").await;
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    assert_eq!(read_all(&reader, &request, &planned.chunks).await.count(), 40_000);
}

#[tokio::test]
async fn a_sink_that_refuses_stops_the_read() {
    let database = Server::shared().database().await;
    database.execute("CREATE TABLE t AS SELECT i FROM generate_series(1, 200000) i").await;
    let reader = database.source(json!({}));
    let request = reader.request("t", SyncMode::Full).await;
    let planned = plan(&reader, &request).await;
    struct Refusal;
    #[async_trait::async_trait(?Send)]
    impl fivetran_do::connectors::BatchSink for Refusal {
        async fn batch(&mut self, _: arrow::array::RecordBatch) -> fivetran_do::core::Result<()> {
            Err(fivetran_do::core::Error::new(ErrorKind::DestinationLimit, "full"))
        }
        async fn deletes(&mut self, _: arrow::array::RecordBatch) -> fivetran_do::core::Result<()> {
            Ok(())
        }
    }
    let error = reader.source.read(&request, &planned.chunks[0], &mut Refusal).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DestinationLimit);
    // The connection is closed, not left in a transaction.
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    let left = database
        .client
        .query_one("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'fivetran.do' AND datname = current_database()", &[])
        .await
        .unwrap();
    assert_eq!(left.get::<_, i64>(0), 0);
}

#[tokio::test]
async fn a_view_that_fails_is_an_error_a_person_can_act_on() {
    let database = Server::shared().database().await;
    database
        .execute(
            "CREATE TABLE t (a int); INSERT INTO t VALUES (0); CREATE VIEW v AS SELECT 1 / a AS x FROM t",
        )
        .await;
    let reader = database.source(json!({}));
    let request = reader.request("v", SyncMode::Full).await;
    let planned = plan(&reader, &request).await;
    let error = reader.read(&request, &planned.chunks[0], &mut Rows::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Data);
    assert!(error.to_string().contains("division by zero"), "{error}");
}

#[tokio::test]
async fn a_replica_behind_the_plan_is_not_believed() {
    let database = Server::shared().database().await;
    database.execute("CREATE TABLE t (a int)").await;
    let reader = database.source(json!({}));
    let request = reader.request("t", SyncMode::Full).await;
    let mut planned = plan(&reader, &request).await;
    planned.chunks[0].range["horizon"] = json!("99999999999");
    let error = reader.read(&request, &planned.chunks[0], &mut Rows::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SourceUnavailable);
    assert!(error.to_string().contains("replica"), "{error}");
}

async fn failed_check(config: &Value) -> (String, String) {
    let source = open(config).unwrap();
    let tests = source.check().await;
    assert_eq!(tests.len(), 7);
    let failed: Vec<_> = tests.iter().filter(|test| test.status == SetupTestStatus::Failed).collect();
    assert_eq!(failed.len(), 1, "{tests:?}");
    let discovery = source.discover().await;
    if failed[0].title != "Checking permission to read" {
        let text = discovery.unwrap_err().to_string();
        assert_eq!(text, failed[0].message);
    }
    (failed[0].title.clone(), failed[0].message.clone())
}

#[tokio::test]
async fn a_good_connection_passes_its_checks() {
    let database = Server::shared().database().await;
    database.execute("CREATE TABLE t (a int)").await;
    let tests = database.source(json!({})).source.check().await;
    let statuses: Vec<_> = tests.iter().map(|test| test.status).collect();
    let (passed, warning) = (SetupTestStatus::Passed, SetupTestStatus::Warning);
    assert_eq!(statuses, [passed, warning, passed, passed, passed, passed, passed], "{tests:?}");
    assert!(tests[1].message.contains("not encrypted"));
}

#[tokio::test]
async fn wrong_login_database_host_and_tls_are_named_with_a_remedy() {
    let database = Server::shared().database().await;
    let good = database.config();
    let with = |field: &str, value: Value| {
        let mut config = good.clone();
        config[field] = value;
        config
    };
    let password = good["password"].as_str().unwrap();
    for (config, title, says) in [
        (with("password", json!("hunter2")), "Logging in to the database", "config.password"),
        (with("password", json!("")), "Logging in to the database", "config.password"),
        (with("user", json!("nobody")), "Logging in to the database", "Correct the user"),
        (with("database", json!("nowhere")), "Logging in to the database", "config.database"),
        (with("host", json!("no-such-host.invalid")), "Connecting to host", "config.host"),
        (with("port", json!(1)), "Connecting to host", "config.host"),
        (with("sslmode", json!("require")), "Securing the connection with TLS", "config.sslmode"),
    ] {
        let (failed, message) = failed_check(&config).await;
        assert_eq!(failed, title, "{message}");
        assert!(message.contains(says), "{message}");
        assert!(!message.contains(password) && !message.contains("hunter2"), "I6: {message}");
    }
    // Prefer falls back to plain where the server has no TLS.
    assert!(open(&with("sslmode", json!("prefer"))).unwrap().discover().await.is_ok());
}

#[tokio::test]
async fn something_that_is_not_postgres_is_told_apart() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ =
                tokio::io::AsyncWriteExt::write_all(&mut stream, b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    for (sslmode, title) in
        [("prefer", "Securing the connection with TLS"), ("disable", "Logging in to the database")]
    {
        let config = json!({"host": "127.0.0.1", "port": port, "user": "u", "password": "p", "database": "d", "sslmode": sslmode});
        let (failed, message) = failed_check(&config).await;
        assert_eq!(failed, title, "{message}");
        assert!(message.contains("port"), "{message}");
    }
}

#[tokio::test]
async fn tables_without_permission_are_left_out_and_reported() {
    let database = Server::shared().database().await;
    database
        .execute(
            "CREATE ROLE limited LOGIN PASSWORD 'x-limited';
             CREATE TABLE open_table (a int); CREATE TABLE secret_table (a int);
             CREATE TABLE half (id int PRIMARY KEY, shown int, hidden int); INSERT INTO half VALUES (1, 2, 3);
             CREATE SCHEMA closed; CREATE TABLE closed.t (a int); GRANT SELECT ON closed.t TO limited;
             GRANT SELECT ON open_table TO limited; GRANT SELECT (shown) ON half TO limited;
             CREATE TABLE filtered (a int); INSERT INTO filtered VALUES (1), (2); GRANT SELECT ON filtered TO limited;
             ALTER TABLE filtered ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON filtered USING (a = 2)",
        )
        .await;
    let reader = database.source(json!({"user": "limited", "password": "x-limited"}));
    let catalog = reader.source.discover().await.unwrap();
    let names: Vec<_> = catalog.streams.iter().map(|stream| stream.name.to_string()).collect();
    assert_eq!(names, ["public.filtered", "public.half", "public.open_table"]);
    let tests = reader.source.check().await;
    let permission = tests.last().unwrap();
    assert_eq!(permission.status, SetupTestStatus::Warning);
    for says in [
        "3 tables and views can be read, 2 cannot",
        "closed.t",
        "public.secret_table",
        "GRANT",
        "Row-level security",
    ] {
        assert!(permission.message.contains(says), "{}", permission.message);
    }
    // Only the columns we may read are offered, and a key with a hidden column is no key.
    let half = &catalog.streams[1];
    assert_eq!(
        (half.columns.len(), half.primary_key.len(), half.change_tracking),
        (1, 0, ChangeTracking::CursorColumn)
    );
    assert_eq!(reader.sync("half", None).await.1.sorted("shown"), ["2"]);
    assert_eq!(reader.sync("filtered", None).await.1.sorted("a"), ["2"]);

    let request = reader.request("open_table", SyncMode::Full).await;
    let planned = plan(&reader, &request).await;
    database.execute("REVOKE SELECT ON open_table FROM limited").await;
    let error = reader.read(&request, &planned.chunks[0], &mut Rows::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SourcePermission);
    assert!(error.to_string().contains("GRANT"), "{error}");

    database.execute("CREATE ROLE nothing LOGIN PASSWORD 'x-nothing'").await;
    let mut config = database.config();
    (config["user"], config["password"]) = (json!("nothing"), json!("x-nothing"));
    let (failed, message) = failed_check(&config).await;
    assert_eq!(failed, "Checking permission to read");
    assert!(message.contains("None of"), "{message}");
}

#[tokio::test]
async fn what_the_configuration_names_and_is_not_there_is_named_by_the_setup_test() {
    let database = Server::shared().database().await;
    database
        .execute(
            "CREATE TABLE orders (id int PRIMARY KEY, note jsonb); CREATE SCHEMA sales; CREATE TABLE sales.t (id int);
             CREATE TABLE parts (id int) PARTITION BY RANGE (id); CREATE TABLE parts_1 PARTITION OF parts DEFAULT",
        )
        .await;
    let named = async |more: Value| {
        let tests = database.source(more).source.check().await;
        assert_eq!(tests[5].title, "Looking for what the configuration names");
        (tests[5].status, tests[5].message.clone(), tests[6].status)
    };
    let (passed, warning, failed) =
        (SetupTestStatus::Passed, SetupTestStatus::Warning, SetupTestStatus::Failed);
    let all_there = json!({"schemas": ["public"], "tables": ["public.orders"], "cursor_columns": {"public.orders": "id"}});
    assert_eq!(named(all_there).await, (passed, String::new(), passed));
    for (more, says) in [
        (json!({"tables": ["public.orders", "public.Orders"]}), ["config.tables", "public.Orders"]),
        (json!({"tables": ["public.orders", "public.parts_1"]}), ["config.tables", "public.parts_1"]),
        (json!({"schemas": ["public", "sails"]}), ["config.schemas", "sails"]),
        (
            json!({"tables": ["public.orders", "sales.t"], "schemas": ["public"]}),
            ["config.schemas", "sales.t"],
        ),
        (json!({"cursor_columns": {"public.ordrs": "id"}}), ["config.cursor_columns", "public.ordrs"]),
        (
            json!({"cursor_columns": {"public.orders": "when"}}),
            ["config.cursor_columns", "public.orders has no column when"],
        ),
        (json!({"cursor_columns": {"public.orders": "note"}}), ["config.cursor_columns", "has type jsonb"]),
        (
            json!({"tables": ["public.orders"], "cursor_columns": {"sales.t": "id"}}),
            ["config.cursor_columns", "sales.t"],
        ),
    ] {
        let (status, message, permission) = named(more).await;
        assert_eq!((status, permission), (warning, passed), "{message}");
        assert!(says.iter().all(|part| message.contains(part)), "{message}");
    }
    for more in [json!({"tables": ["public.nope"]}), json!({"schemas": ["sails"]})] {
        let (status, message, permission) = named(more).await;
        assert_eq!((status, permission), (failed, SetupTestStatus::Skipped), "{message}");
    }
    // Many are not all listed.
    let many: Vec<String> = (0..1000).map(|number| format!("public.nope_{number}")).collect();
    let (_, message, _) = named(json!({"tables": many})).await;
    assert!(message.contains("995 more") && message.len() < 1000, "{message}");
}
