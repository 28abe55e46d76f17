//! The PostgreSQL source against a real server: discovery, plans, reads, cursors, and what bad input gets.

#![cfg(not(target_arch = "wasm32"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use fivetran_do::connectors::{SetupTestStatus, StreamRequest, SyncMode};
use fivetran_do::core::ErrorKind;
use fivetran_do::core::catalog::ChangeTracking;
use fivetran_do::core::run::{Chunk, StreamPlan};
use fivetran_do::core::types::ColumnType;
use serde_json::{Value, json};
use support::postgres::{Database, Reader, Rows, Server, open, request};

/// A table of `rows` rows with two rows to a page, so that 20,000 rows are 80 MB and two chunks.
async fn big_table(database: &Database, rows: u32) {
    database
        .execute(&format!(
            "CREATE TABLE big (id int PRIMARY KEY, v int NOT NULL, pad text);
             ALTER TABLE big ALTER pad SET STORAGE PLAIN;
             INSERT INTO big SELECT i, 0, repeat('x', 3900) FROM generate_series(1, {rows}) i"
        ))
        .await;
}

/// A request for some columns.
fn columns(mut request: StreamRequest, names: &[&str]) -> StreamRequest {
    request.columns = names.iter().map(|name| (*name).to_owned()).collect();
    request
}

async fn plan(reader: &Reader, request: &StreamRequest) -> StreamPlan {
    reader.source.plan(request, None).await.unwrap()
}

/// Reads chunks in the given order.
async fn read_all(reader: &Reader, request: &StreamRequest, chunks: &[Chunk]) -> Rows {
    let mut rows = Rows::default();
    for chunk in chunks {
        reader.read(request, chunk, &mut rows).await.unwrap();
    }
    rows
}

// Discovery

#[tokio::test]
async fn discovery_lists_what_can_be_read_with_its_keys() {
    let database = Server::shared().database().await;
    database
        .execute(
            r#"CREATE SCHEMA "My Schema";
            CREATE TABLE "My Schema"."Order ""Lines""" ("Line" int, "order.id" bigint NOT NULL, note text,
              PRIMARY KEY ("order.id", "Line") INCLUDE (note));
            CREATE TABLE no_key (a int);
            CREATE TABLE no_columns ();
            CREATE VIEW a_view AS SELECT 1 AS one, 'x'::text AS x;
            CREATE MATERIALIZED VIEW a_matview AS SELECT 1 AS one;
            CREATE TABLE parts (k int, at date) PARTITION BY RANGE (k);
            CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (10);
            CREATE TABLE parent (a int); CREATE TABLE child () INHERITS (parent);
            CREATE EXTENSION pg_stat_statements;
            CREATE EXTENSION file_fdw; CREATE SERVER files FOREIGN DATA WRAPPER file_fdw;
            CREATE FOREIGN TABLE a_foreign (a text) SERVER files OPTIONS (filename '/etc/hostname');
            CREATE TEMP TABLE temporary (a int);
            ALTER TABLE no_key ADD b int; ALTER TABLE no_key DROP b; ANALYZE no_key"#,
        )
        .await;
    let catalog = database.source(json!({})).source.discover().await.unwrap();
    let found: Vec<(String, ChangeTracking)> =
        catalog.streams.iter().map(|stream| (stream.name.to_string(), stream.change_tracking)).collect();
    let (by_transaction, by_column) = (ChangeTracking::Transaction, ChangeTracking::CursorColumn);
    assert_eq!(
        found,
        [
            ("My Schema.Order \"Lines\"".to_owned(), by_transaction),
            ("public.a_foreign".to_owned(), by_column),
            ("public.a_matview".to_owned(), by_transaction),
            ("public.a_view".to_owned(), by_column),
            ("public.child".to_owned(), by_transaction),
            ("public.no_key".to_owned(), by_transaction),
            ("public.parent".to_owned(), by_column),
            ("public.parts".to_owned(), by_transaction),
        ]
    );
    let lines = &catalog.streams[0];
    assert_eq!(lines.primary_key, ["order.id", "Line"]);
    let shape: Vec<_> = lines
        .columns
        .iter()
        .map(|column| (column.name.as_str(), column.column_type, column.nullable))
        .collect();
    assert_eq!(
        shape,
        [
            ("Line", ColumnType::Int, false),
            ("order.id", ColumnType::Long, false),
            ("note", ColumnType::String, true)
        ]
    );
    let no_key = &catalog.streams[5];
    assert_eq!((no_key.columns.len(), no_key.primary_key.len(), no_key.estimated_rows), (1, 0, Some(0)));
}

#[tokio::test]
async fn schemas_and_tables_can_be_chosen() {
    let database = Server::shared().database().await;
    database
        .execute("CREATE SCHEMA s; CREATE TABLE s.a (x int); CREATE TABLE s.\"B'b\" (x int); CREATE TABLE a (x int)")
        .await;
    let names = async |config| {
        let catalog = database.source(config).source.discover().await.unwrap();
        catalog.streams.iter().map(|stream| stream.name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(names(json!({"schemas": ["s"]})).await, ["s.B'b", "s.a"]);
    assert_eq!(names(json!({"tables": ["public.a", "s.B'b"]})).await, ["public.a", "s.B'b"]);
    assert_eq!(names(json!({"schemas": ["S"]})).await, Vec::<String>::new());
}

#[tokio::test]
async fn thousands_of_tables_are_discovered_in_one_query() {
    let database = Server::shared().database().await;
    database
        .execute(
            "DO $$ BEGIN FOR i IN 1..2000 LOOP
               EXECUTE format('CREATE UNLOGGED TABLE t%s (id int, a text, b numeric(10,2), c timestamptz)', i);
               IF i % 500 = 0 THEN COMMIT; END IF;
             END LOOP; END $$",
        )
        .await;
    let started = std::time::Instant::now();
    assert_eq!(database.source(json!({})).source.discover().await.unwrap().streams.len(), 2000);
    assert!(started.elapsed().as_secs() < 20, "{:?}", started.elapsed());
}

// Full reads

#[tokio::test]
async fn an_empty_table_and_a_table_without_key_are_read() {
    let database = Server::shared().database().await;
    database.execute("CREATE TABLE t (a int, b text)").await;
    let reader = database.source(json!({}));
    let (plan, rows) = reader.sync("t", None).await;
    assert!(plan.full && plan.next_cursor.is_some() && rows.count() == 0);
    database.execute("INSERT INTO t VALUES (1, ''), (1, ''), (NULL, NULL)").await;
    let (_, rows) = reader.sync("t", None).await;
    assert_eq!(rows.texts("b"), [Some(String::new()), Some(String::new()), None]);
}

#[tokio::test]
async fn names_in_any_spelling_are_read() {
    let database = Server::shared().database().await;
    database
        .execute(
            r#"CREATE SCHEMA "Ünï ""q"" 'x'"; CREATE TABLE "Ünï ""q"" 'x'"."SELECT; --" ("a""b" int, "C'c" text, " " int);
               INSERT INTO "Ünï ""q"" 'x'"."SELECT; --" VALUES (1, 'x', 2)"#,
        )
        .await;
    let reader = database.source(json!({}));
    let request = request(reader.stream("Ünï \"q\" 'x'", "SELECT; --").await, SyncMode::Full);
    let plan = plan(&reader, &request).await;
    let rows = read_all(&reader, &request, &plan.chunks).await;
    assert_eq!(
        (rows.sorted("a\"b"), rows.sorted("C'c"), rows.sorted(" ")),
        (vec!["1".into()], vec!["x".into()], vec!["2".into()])
    );
}

#[tokio::test]
async fn columns_come_in_the_requested_order_and_number() {
    let database = Server::shared().database().await;
    database.execute("CREATE TABLE t (a int, b text, c bool); INSERT INTO t VALUES (1, 'x', true)").await;
    let reader = database.source(json!({}));
    let all = reader.request("t", SyncMode::Full).await;
    for names in [&["c", "a"][..], &[]] {
        let request = columns(all.clone(), names);
        let plan = plan(&reader, &request).await;
        let rows = read_all(&reader, &request, &plan.chunks).await;
        let schema = rows.batches[0].schema();
        assert_eq!(schema.fields().iter().map(|field| field.name().as_str()).collect::<Vec<_>>(), names);
        assert_eq!(rows.count(), 1);
    }
}

#[tokio::test]
async fn a_table_of_1600_columns_is_read() {
    let database = Server::shared().database().await;
    let declared = (0..1600).map(|i| format!("c{i} int2")).collect::<Vec<_>>().join(", ");
    database
        .execute(&format!(
            "CREATE TABLE wide ({declared}); INSERT INTO wide (c0, c1599) SELECT i, -i FROM generate_series(1, 3000) i"
        ))
        .await;
    let reader = database.source(json!({}));
    let (_, rows) = reader.sync("wide", None).await;
    assert_eq!((rows.count(), rows.batches[0].num_columns()), (3000, 1600));
    assert_eq!(
        (rows.texts("c0")[2999].as_deref(), rows.texts("c1599")[2999].as_deref()),
        (Some("3000"), Some("-3000"))
    );
    assert_eq!(rows.texts("c800")[0], None);
}

#[tokio::test]
async fn i9_a_value_of_50_mb_is_a_clear_error() {
    let database = Server::shared().database().await;
    database
        .execute(
            "CREATE TABLE t (id int, small text, doc text);
             INSERT INTO t VALUES (1, 'a', 'b'), (2, 'c', repeat('x', 50000000))",
        )
        .await;
    let reader = database.source(json!({}));
    let request = reader.request("t", SyncMode::Full).await;
    let planned = plan(&reader, &request).await;
    let error = reader.read(&request, &planned.chunks[0], &mut Rows::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Data);
    let text = error.to_string();
    assert!(text.contains("column doc in public.t has 50000000 bytes") && text.contains("Exclude"), "{text}");
    // The way out works, and so does the source after such an error.
    let request = columns(request, &["id", "small"]);
    let planned = plan(&reader, &request).await;
    assert_eq!(read_all(&reader, &request, &planned.chunks).await.count(), 2);
}

#[tokio::test]
async fn i9_values_up_to_the_limit_pass_and_rows_beyond_it_are_refused() {
    let database = Server::shared().database().await;
    let limit = fivetran_do::core::limits::MAX_VALUE_BYTES;
    database
        .execute(&format!(
            "CREATE TABLE t (a bytea, b text); INSERT INTO t VALUES (convert_to(repeat('x', {limit}), 'UTF8'), '');
             CREATE TABLE u (a text, b text); INSERT INTO u VALUES (repeat('x', {limit}), repeat('x', {limit}));
             CREATE TABLE v (a text); INSERT INTO v VALUES (repeat('x', {limit} + 1))"
        ))
        .await;
    let reader = database.source(json!({}));
    assert_eq!(reader.sync("t", None).await.1.count(), 1);
    for (table, what) in [("u", "A row of public.u"), ("v", "column a in public.v")] {
        let request = reader.request(table, SyncMode::Full).await;
        let planned = plan(&reader, &request).await;
        let error = reader.read(&request, &planned.chunks[0], &mut Rows::default()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Data);
        assert!(error.to_string().contains(what), "{error}");
    }
}

#[tokio::test]
async fn i9_batches_are_bounded() {
    let database = Server::shared().database().await;
    database
        .execute(
            "CREATE TABLE narrow AS SELECT i FROM generate_series(1, 200000) i;
             CREATE TABLE fat AS SELECT i, repeat(chr(65 + i % 26), 100000) AS pad FROM generate_series(1, 300) i",
        )
        .await;
    let reader = database.source(json!({}));
    let (_, rows) = reader.sync("narrow", None).await;
    assert_eq!(rows.count(), 200_000);
    assert!(rows.batches.iter().all(|batch| batch.num_rows() <= fivetran_do::core::limits::BATCH_ROWS));
    let (_, rows) = reader.sync("fat", None).await;
    assert_eq!(rows.count(), 300);
    assert!(rows.batches.iter().all(|batch| batch.get_array_memory_size() < 20 * 1024 * 1024));
    assert!(rows.batches.len() >= 4);
}

#[tokio::test]
async fn a_big_table_is_cut_by_pages_and_caught_up_with() {
    let (server, _quiet) = Server::quiet().await;
    let database = server.database().await;
    big_table(&database, 20_000).await;
    let reader = database.source(json!({}));
    let request = columns(reader.request("big", SyncMode::Incremental).await, &["id", "v"]);
    let planned = plan(&reader, &request).await;
    assert!(planned.full);
    assert_eq!(planned.chunks.iter().map(|chunk| chunk.after_all).collect::<Vec<_>>(), [false, false, true]);
    assert_eq!(planned.chunks.iter().map(|chunk| chunk.index).collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!(planned.chunks[2].range["kind"], "changes");
    let rows = read_all(&reader, &request, &planned.chunks[..2]).await;
    assert_eq!(rows.count(), 20_000);
    let mut ids: Vec<i32> = rows.sorted("id").iter().map(|id| id.parse().unwrap()).collect();
    ids.sort_unstable();
    assert!(ids.into_iter().eq(1..=20_000));
    assert_eq!(read_all(&reader, &request, &planned.chunks[2..]).await.count(), 0);
}

#[tokio::test]
async fn a_row_moved_behind_the_readers_back_is_caught() {
    let (server, _quiet) = Server::quiet().await;
    let database = server.database().await;
    big_table(&database, 20_000).await;
    let reader = database.source(json!({}));
    let request = columns(reader.request("big", SyncMode::Full).await, &["id", "v"]);
    let planned = plan(&reader, &request).await;
    // The last range is read, then a row of the first moves to the end of the table, then the first is read.
    let mut rows = read_all(&reader, &request, &planned.chunks[1..2]).await;
    database.execute("UPDATE big SET v = 1 WHERE id = 1; INSERT INTO big VALUES (20001, 2, '')").await;
    rows.batches.extend(read_all(&reader, &request, &planned.chunks[..1]).await.batches);
    assert!(
        !rows.sorted("id").contains(&"1".to_owned()),
        "the row must be missed by the ranges for this test to mean something"
    );
    let caught = read_all(&reader, &request, &planned.chunks[2..]).await;
    assert_eq!(caught.sorted("id"), ["1", "20001"]);
    assert_eq!(caught.sorted("v"), ["1", "2"]);
}

#[tokio::test]
async fn a_table_of_large_values_is_cut_by_what_it_holds_and_not_by_its_heap() {
    let database = Server::shared().database().await;
    database
        .execute(
            "CREATE TABLE docs (id int, doc text); ALTER TABLE docs ALTER doc SET STORAGE EXTERNAL;
             INSERT INTO docs SELECT i, repeat('x', 500000) FROM generate_series(1, 600) i",
        )
        .await;
    let reader = database.source(json!({}));
    let request = columns(reader.request("docs", SyncMode::Full).await, &["id"]);
    let planned = plan(&reader, &request).await;
    assert!(planned.chunks.len() > 3, "{}", planned.chunks.len());
    assert_eq!(read_all(&reader, &request, &planned.chunks).await.count(), 600);
}

#[tokio::test]
async fn a_partitioned_table_is_one_stream() {
    let (server, _quiet) = Server::quiet().await;
    let database = server.database().await;
    database
        .execute(
            "CREATE TABLE events (id int, day int, pad text, PRIMARY KEY (day, id)) PARTITION BY LIST (day);
             CREATE TABLE events_1 PARTITION OF events FOR VALUES IN (1);
             CREATE TABLE events_2 PARTITION OF events FOR VALUES IN (2) PARTITION BY RANGE (id);
             CREATE TABLE events_2a PARTITION OF events_2 FOR VALUES FROM (0) TO (100);
             CREATE TABLE events_2b (pad text, id int NOT NULL, gone int, day int NOT NULL);
             ALTER TABLE events_2b DROP gone;
             ALTER TABLE events_2 ATTACH PARTITION events_2b FOR VALUES FROM (100) TO (1000000);
             INSERT INTO events SELECT i, 1 + i % 2, '' FROM generate_series(1, 400) i; ANALYZE",
        )
        .await;
    let reader = database.source(json!({}));
    let stream = reader.stream("public", "events").await;
    assert_eq!(
        (stream.primary_key.clone(), stream.estimated_rows),
        (vec!["day".into(), "id".into()], Some(400))
    );
    let (planned, rows) = reader.sync("events", None).await;
    assert_eq!((planned.chunks.len(), rows.count()), (1, 400));

    // Grown, it is cut partition by partition.
    database
        .execute(
            "ALTER TABLE events ALTER pad SET STORAGE PLAIN; ALTER TABLE events_1 ALTER pad SET STORAGE PLAIN;
             ALTER TABLE events_2a ALTER pad SET STORAGE PLAIN; ALTER TABLE events_2b ALTER pad SET STORAGE PLAIN;
             INSERT INTO events SELECT i, 1 + i % 2, repeat('x', 3900) FROM generate_series(1000, 20000) i",
        )
        .await;
    let request = columns(reader.request("events", SyncMode::Incremental).await, &["id", "day"]);
    let full = plan(&reader, &request).await;
    assert_eq!(full.chunks.len(), 4);
    assert!(full.chunks[3].after_all && full.chunks[3].range["relation"]["table"] == "events");
    assert_eq!(read_all(&reader, &request, &full.chunks[..3]).await.count(), 400 + 19_001);

    // A partition attached with rows older than the cursor is new to it.
    database
        .execute(
            "CREATE TABLE events_3 (id int NOT NULL, day int NOT NULL, pad text); INSERT INTO events_3 VALUES (7, 3, '')",
        )
        .await;
    let before = plan(&reader, &request).await;
    database.execute("ALTER TABLE events ATTACH PARTITION events_3 FOR VALUES IN (3); UPDATE events SET pad = 'new' WHERE id = 5 AND day = 2").await;
    let changes = reader.source.plan(&request, before.next_cursor.as_ref()).await.unwrap();
    assert!(!changes.full);
    assert_eq!(read_all(&reader, &request, &changes.chunks).await.sorted("id"), ["5", "7"]);
}

#[tokio::test]
async fn partitions_we_may_not_read_by_name_are_read_through_their_parent() {
    let (server, _quiet) = Server::quiet().await;
    let database = server.database().await;
    database
        .execute(
            "CREATE TABLE p (id int, pad text) PARTITION BY RANGE (id);
             CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (5000);
             CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (5000) TO (50000);
             ALTER TABLE p1 ALTER pad SET STORAGE PLAIN; ALTER TABLE p2 ALTER pad SET STORAGE PLAIN;
             INSERT INTO p SELECT i, repeat('x', 3900) FROM generate_series(1, 20000) i;
             CREATE ROLE parent_only LOGIN PASSWORD 'x-parent-only'; GRANT SELECT ON p TO parent_only",
        )
        .await;
    let reader = database.source(json!({"user": "parent_only", "password": "x-parent-only"}));
    let request = columns(reader.request("p", SyncMode::Incremental).await, &["id"]);
    let full = plan(&reader, &request).await;
    assert!(full.chunks.len() > 2);
    let ranges = &full.chunks[..full.chunks.len() - 1];
    assert_eq!(read_all(&reader, &request, ranges).await.count(), 20_000);
    database.execute("UPDATE p SET pad = '' WHERE id IN (1, 20000)").await;
    let changes = reader.source.plan(&request, full.next_cursor.as_ref()).await.unwrap();
    assert_eq!(read_all(&reader, &request, &changes.chunks).await.sorted("id"), ["1", "20000"]);
}

#[tokio::test]
async fn views_foreign_tables_and_inheritance_are_read_through_the_server() {
    let database = Server::shared().database().await;
    database
        .execute(
            "CREATE TABLE base (id int, v text); INSERT INTO base VALUES (1, 'x');
             CREATE SCHEMA hidden; CREATE TABLE hidden.names (n text); INSERT INTO hidden.names VALUES ('deep');
             CREATE FUNCTION lookup() RETURNS text LANGUAGE plpgsql AS 'BEGIN RETURN (SELECT n FROM names); END';
             CREATE VIEW a_view AS SELECT id, upper(v) AS v, lookup() AS l FROM base;
             CREATE MATERIALIZED VIEW a_matview AS SELECT * FROM base;
             CREATE TABLE child () INHERITS (base); INSERT INTO child VALUES (2, 'y');
             CREATE EXTENSION file_fdw; CREATE SERVER files FOREIGN DATA WRAPPER file_fdw;
             CREATE FOREIGN TABLE a_foreign (line text) SERVER files
               OPTIONS (program 'printf ''a\\nb\\n''')",
        )
        .await;
    // A function in a view may rely on the user's own search path.
    database.execute("DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET search_path = public, hidden', current_database()); END $$").await;
    let reader = database.source(json!({}));
    let (planned, rows) = reader.sync("a_view", None).await;
    assert!(planned.full && planned.next_cursor.is_none());
    assert_eq!(
        (rows.sorted("v"), rows.texts("l")[0].as_deref()),
        (vec!["X".to_owned(), "Y".to_owned()], Some("deep"))
    );
    assert_eq!(reader.sync("a_matview", None).await.1.sorted("v"), ["x"]);
    assert_eq!(reader.sync("a_foreign", None).await.1.sorted("line"), ["a", "b"]);
    assert_eq!(reader.sync("base", None).await.1.sorted("v"), ["x", "y"]);
    assert_eq!(reader.sync("child", None).await.1.sorted("v"), ["y"]);
}

#[tokio::test]
async fn a_refreshed_materialized_view_is_read_whole() {
    let (server, _quiet) = Server::quiet().await;
    let database = server.database().await;
    database
        .execute("CREATE TABLE base (id int); INSERT INTO base VALUES (1); CREATE MATERIALIZED VIEW m AS SELECT * FROM base")
        .await;
    let reader = database.source(json!({}));
    let (first, _) = reader.sync("m", None).await;
    // A refresh that commits while the reader waits for its lock would look empty to an older snapshot.
    let refresher = database.another_client().await;
    refresher.batch_execute("BEGIN; INSERT INTO base VALUES (2); REFRESH MATERIALIZED VIEW m").await.unwrap();
    let request = reader.request("m", SyncMode::Full).await;
    let reading = async {
        let mut rows = Rows::default();
        reader.read(&request, &first.chunks[0], &mut rows).await.unwrap();
        rows
    };
    let committing = async {
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        refresher.batch_execute("COMMIT").await.unwrap();
    };
    let (rows, ()) = tokio::join!(reading, committing);
    assert_eq!(rows.sorted("id"), ["1", "2"]);
    assert_eq!(reader.sync("m", first.next_cursor.as_ref()).await.1.sorted("id"), ["1", "2"]);
}

// Changes by transaction

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
async fn a_rewritten_table_is_read_again() {
    let (server, _quiet) = Server::quiet().await;
    let database = server.database().await;
    database.execute("CREATE TABLE t (id int, v int); INSERT INTO t VALUES (1, 1), (2, 2)").await;
    let reader = database.source(json!({}));
    let (first, _) = reader.sync("t", None).await;
    database.execute("ALTER TABLE t ALTER v TYPE bigint").await;
    let (second, rows) = reader.sync("t", first.next_cursor.as_ref()).await;
    assert!(!second.full);
    assert_eq!(rows.sorted("v"), ["1", "2"]);
    database.execute("VACUUM FULL t").await;
    assert_eq!(reader.sync("t", second.next_cursor.as_ref()).await.1.count(), 0);
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
    late.batch_execute("COMMIT").await.unwrap();
    primary.execute("INSERT INTO t VALUES (4)").await;
    replayed().await;
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

// Cursor columns

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
    assert_eq!(second.next_cursor.unwrap().0, json!({"kind": "column", "column": "n", "value": "21"}));
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
async fn a_cursor_column_that_cannot_serve_is_refused_by_name() {
    let database = Server::shared().database().await;
    database.execute("CREATE TABLE t (id int, j jsonb, f float8)").await;
    for (column, kind) in
        [("j", ErrorKind::InvalidInput), ("f", ErrorKind::InvalidInput), ("nope", ErrorKind::SourceChanged)]
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
    assert!(!many.full && many.chunks.len() > 1);
    let request_id = columns(request.clone(), &["id"]);
    assert_eq!(read_all(&reader, &request_id, &many.chunks).await.count(), 2_499_990);
    cursor.0["value"] = json!("2499991");
    let few = reader.source.plan(&request, Some(&cursor)).await.unwrap();
    assert_eq!(few.chunks.len(), 1);
    assert_eq!(read_all(&reader, &request, &few.chunks).await.count(), 10);
}

// What changes under a run

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

// Setup tests and bad input

async fn failed_check(config: &Value) -> (String, String) {
    let source = open(config).unwrap();
    let tests = source.check().await;
    assert_eq!(tests.len(), 6);
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
    assert_eq!(statuses, [passed, warning, passed, passed, passed, passed], "{tests:?}");
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

/// `cargo test --release --test postgres speed -- --ignored --nocapture`
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
