//! What the PostgreSQL source finds, and how it reads what it found.

use crate::support::postgres::{Rows, Server, big_table, columns, plan, read_all, request};
use fivetran_do::connectors::SyncMode;
use fivetran_do::core::ErrorKind;
use fivetran_do::core::catalog::ChangeTracking;
use fivetran_do::core::types::ColumnType;
use serde_json::json;

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
    assert_eq!(database.source(json!({})).source.discover().await.unwrap().streams.len(), 2000);
}

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
