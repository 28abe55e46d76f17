//! The type table of the PostgreSQL source, read from a real server: every row of it comes back exactly.

use crate::support::postgres::{Rows, Server};
use arrow::array::{Array, AsArray};
use arrow::datatypes::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
    Time64MicrosecondType, TimestampMicrosecondType,
};
use fivetran_do::core::ErrorKind;
use fivetran_do::core::types::{ColumnType, Fidelity};
use serde_json::json;

/// What became of one column of the given type with the given values (SQL expressions), NULL appended.
async fn carry(setup: &str, declared: &str, values: &[&str]) -> (ColumnType, Fidelity, Rows) {
    let database = Server::shared().database().await;
    let rows = values.iter().map(|value| format!("({value})")).collect::<Vec<_>>().join(", ");
    database
        .execute(&format!("{setup}; CREATE TABLE t (v {declared}); INSERT INTO t VALUES {rows}, (NULL)"))
        .await;
    let reader = database.source(json!({}));
    let stream = reader.stream("public", "t").await;
    let (_, rows) = reader.sync("t", None).await;
    assert_eq!(rows.count(), values.len() + 1);
    let array = rows.batches[0].column(0);
    assert!(array.is_null(values.len()) && (0..values.len()).all(|row| array.is_valid(row)));
    assert_eq!(array.data_type(), &stream.columns[0].column_type.arrow());
    (stream.columns[0].column_type, stream.columns[0].fidelity, rows)
}

/// A type that travels as text: the values as the server itself shows them.
async fn carried_as_text(setup: &str, declared: &str, pairs: &[(&str, &str)]) {
    let values: Vec<&str> = pairs.iter().map(|(value, _)| *value).collect();
    let (column_type, fidelity, rows) = carry(setup, declared, &values).await;
    assert_eq!((column_type, fidelity), (ColumnType::String, Fidelity::LogicalString), "{declared}");
    let array = rows.batches[0].column(0).as_string::<i32>();
    for (row, (_, expected)) in pairs.iter().enumerate() {
        assert_eq!(array.value(row), *expected, "{declared}");
    }
}

/// What the server computes for an expression, as text: an oracle that is not our decoder.
async fn server_says(expression: &str) -> String {
    let client = Server::shared().client("postgres").await;
    let messages = client.simple_query(&format!("SELECT {expression}")).await.unwrap();
    let row = messages.iter().find_map(|message| match message {
        tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    });
    row.unwrap()
}

#[tokio::test]
async fn i7_integers() {
    let (column_type, fidelity, rows) = carry("", "smallint", &["-32768", "32767"]).await;
    assert_eq!((column_type, fidelity), (ColumnType::Short, Fidelity::Exact));
    assert_eq!(&rows.batches[0].column(0).as_primitive::<Int16Type>().values()[..2], [i16::MIN, i16::MAX]);

    let (column_type, _, rows) = carry("", "integer", &["-2147483648", "2147483647"]).await;
    assert_eq!(column_type, ColumnType::Int);
    assert_eq!(&rows.batches[0].column(0).as_primitive::<Int32Type>().values()[..2], [i32::MIN, i32::MAX]);

    let (column_type, _, rows) =
        carry("", "bigint", &["-9223372036854775808", "9223372036854775807", "9007199254740993"]).await;
    assert_eq!(column_type, ColumnType::Long);
    let values = rows.batches[0].column(0).as_primitive::<Int64Type>();
    assert_eq!(&values.values()[..3], [i64::MIN, i64::MAX, 9_007_199_254_740_993]);

    let (column_type, _, rows) = carry("", "oid", &["0", "4294967295"]).await;
    assert_eq!(column_type, ColumnType::Long);
    assert_eq!(&rows.batches[0].column(0).as_primitive::<Int64Type>().values()[..2], [0, 4_294_967_295]);
}

#[tokio::test]
async fn i7_floats_with_nan_infinities_and_negative_zero() {
    let special = ["'NaN'", "'Infinity'", "'-Infinity'", "'-0'", "1e-30", "0.1"];
    let (column_type, fidelity, rows) = carry("", "real", &special).await;
    assert_eq!((column_type, fidelity), (ColumnType::Float, Fidelity::Exact));
    let values = rows.batches[0].column(0).as_primitive::<Float32Type>();
    assert!(values.value(0).is_nan());
    assert_eq!(&values.values()[1..6], [f32::INFINITY, f32::NEG_INFINITY, -0.0, 1e-30, 0.1]);
    assert!(values.value(3).is_sign_negative());

    let (column_type, _, rows) = carry("", "double precision", &special).await;
    assert_eq!(column_type, ColumnType::Double);
    let values = rows.batches[0].column(0).as_primitive::<Float64Type>();
    assert!(values.value(0).is_nan());
    assert_eq!(&values.values()[1..6], [f64::INFINITY, f64::NEG_INFINITY, -0.0, 1e-30, 0.1]);
}

#[tokio::test]
async fn i7_decimals() {
    let values = ["0", "-0.01", "12345.60", "9999999999.99", "-10000", "0.5"];
    let (column_type, fidelity, rows) = carry("", "numeric(12,2)", &values).await;
    assert_eq!((column_type, fidelity), (ColumnType::Decimal { precision: 12, scale: 2 }, Fidelity::Exact));
    let array = rows.batches[0].column(0).as_primitive::<Decimal128Type>();
    assert_eq!(&array.values()[..6], [0, -1, 1_234_560, 999_999_999_999, -1_000_000, 50]);

    let digits = "9".repeat(38);
    let (column_type, _, rows) = carry("", "numeric(38)", &[&digits, &format!("-{digits}")]).await;
    assert_eq!(column_type, ColumnType::Decimal { precision: 38, scale: 0 });
    let array = rows.batches[0].column(0).as_primitive::<Decimal128Type>();
    assert_eq!(&array.values()[..2], [10_i128.pow(38) - 1, 1 - 10_i128.pow(38)]);

    let (_, _, rows) = carry("", "numeric(38,38)", &["1e-38", &format!("0.{digits}")]).await;
    let array = rows.batches[0].column(0).as_primitive::<Decimal128Type>();
    assert_eq!(&array.values()[..2], [1, 10_i128.pow(38) - 1]);
}

#[tokio::test]
async fn i7_random_decimals_equal_their_text() {
    let database = Server::shared().database().await;
    for (precision, scale) in [(5, 0), (9, 4), (15, 2), (18, 9), (30, 15), (38, 7), (38, 30)] {
        database
            .execute(&format!(
                "DROP TABLE IF EXISTS t; CREATE TABLE t AS SELECT n, n::text AS expected FROM (
                   SELECT (trunc((random() - 0.5)::numeric * 10::numeric ^ (random() * {precision})::int)
                           / 10::numeric ^ {scale} + (random() - 0.5)::numeric / 1000)::numeric({precision}, {scale}) AS n
                   FROM generate_series(1, 3000)) x"
            ))
            .await;
        let (_, rows) = database.source(json!({})).sync("t", None).await;
        assert_eq!(rows.count(), 3000);
        assert_eq!(rows.texts("n"), rows.texts("expected"), "numeric({precision},{scale})");
    }
}

#[tokio::test]
async fn i7_numerics_that_no_decimal_holds_are_text() {
    let long = format!("{}.{}", "7".repeat(60), "3".repeat(60));
    carried_as_text(
        "",
        "numeric",
        &[
            ("1.10", "1.10"),
            ("'NaN'", "NaN"),
            ("'-Infinity'", "-Infinity"),
            (&long, &long),
            ("1e-20", "0.00000000000000000001"),
        ],
    )
    .await;
    carried_as_text("", "numeric(50,10)", &[("1", "1.0000000000")]).await;
    carried_as_text("", "numeric(3,-2)", &[("12345", "12300")]).await;
    carried_as_text("", "numeric(2,4)", &[("0.0012", "0.0012")]).await;
}

#[tokio::test]
async fn i7_a_nan_in_a_decimal_is_an_error_that_names_the_way_out() {
    let database = Server::shared().database().await;
    database.execute("CREATE TABLE t (price numeric(8,2)); INSERT INTO t VALUES (1), ('NaN')").await;
    let reader = database.source(json!({}));
    let request = reader.request("t", Default::default()).await;
    let plan = reader.source.plan(&request, None).await.unwrap();
    let error = reader.read(&request, &plan.chunks[0], &mut Rows::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Data);
    let text = error.to_string();
    assert!(text.contains("price of public.t") && text.contains("numeric_as_text"), "{text}");

    let (_, rows) = database.source(json!({"numeric_as_text": true})).sync("t", None).await;
    assert_eq!(rows.sorted("price"), ["1.00", "NaN"]);
}

#[tokio::test]
async fn i7_booleans_and_bytes() {
    let (column_type, _, rows) = carry("", "boolean", &["true", "false"]).await;
    assert_eq!(column_type, ColumnType::Boolean);
    let values = rows.batches[0].column(0).as_boolean();
    assert!(values.value(0) && !values.value(1));

    let (column_type, fidelity, rows) = carry("", "bytea", &["''", r"'\x00ff5c27'"]).await;
    assert_eq!((column_type, fidelity), (ColumnType::Binary, Fidelity::Exact));
    let values = rows.batches[0].column(0).as_binary::<i32>();
    assert_eq!((values.value(0), values.value(1)), (&b""[..], &[0, 0xff, 0x5c, 0x27][..]));
}

#[tokio::test]
async fn i7_text() {
    for (declared, setup) in [
        ("text", ""),
        ("varchar(20)", ""),
        ("varchar", ""),
        ("citext", "CREATE EXTENSION citext"),
        ("name", ""),
    ] {
        let (column_type, fidelity, rows) = carry(setup, declared, &["''", "'Ünï 😀'", r"E'a\n\t\\b'"]).await;
        assert_eq!((column_type, fidelity), (ColumnType::String, Fidelity::Exact), "{declared}");
        let values = rows.batches[0].column(0).as_string::<i32>();
        assert_eq!(
            [values.value(0), values.value(1), values.value(2)],
            ["", "Ünï 😀", "a\n\t\\b"],
            "{declared}"
        );
    }
    let (_, _, rows) = carry("", "char(5)", &["'ab'"]).await;
    assert_eq!(rows.batches[0].column(0).as_string::<i32>().value(0), "ab   ");
    carried_as_text("", "\"char\"", &[("'x'", "x")]).await;
}

#[tokio::test]
async fn i7_dates_with_infinity_and_before_christ() {
    let values =
        ["'1970-01-01'", "'infinity'", "'-infinity'", "'4714-11-24 BC'", "'5874897-12-31'", "'1969-12-31'"];
    let (column_type, fidelity, rows) = carry("", "date", &values).await;
    assert_eq!((column_type, fidelity), (ColumnType::NaiveDate, Fidelity::Exact));
    let days = rows.batches[0].column(0).as_primitive::<Date32Type>();
    // 4714-11-24 BC in the proleptic Gregorian calendar is Julian day 0, and 1970-01-01 is Julian day 2,440,588.
    assert_eq!(&days.values()[..4], [0, i32::MAX, -i32::MAX, -2_440_588]);
    assert_eq!(days.value(4).to_string(), server_says("'5874897-12-31'::date - '1970-01-01'::date").await);
    assert_eq!(days.value(5), -1);
}

#[tokio::test]
async fn i7_times_of_day() {
    let (column_type, _, rows) = carry("", "time", &["'00:00'", "'23:59:59.999999'", "'24:00:00'"]).await;
    assert_eq!(column_type, ColumnType::NaiveTime);
    let micros = rows.batches[0].column(0).as_primitive::<Time64MicrosecondType>();
    assert_eq!(&micros.values()[..3], [0, 86_399_999_999, 86_400_000_000]);
    carried_as_text("", "timetz", &[("'12:30:00.5+02'", "12:30:00.5+02")]).await;
}

#[tokio::test]
async fn i7_timestamps_to_the_microsecond() {
    let values = [
        "'1970-01-01 00:00:00.000001'",
        "'infinity'",
        "'-infinity'",
        "'0044-03-15 BC'",
        "'294246-12-31 23:59:59.999999'",
    ];
    for (declared, expected) in
        [("timestamp", ColumnType::NaiveDatetime), ("timestamptz", ColumnType::UtcDatetime)]
    {
        let (column_type, fidelity, rows) = carry("SET timezone = 'UTC'", declared, &values).await;
        assert_eq!((column_type, fidelity), (expected, Fidelity::Exact));
        let micros = rows.batches[0].column(0).as_primitive::<TimestampMicrosecondType>();
        assert_eq!(&micros.values()[..3], [1, i64::MAX, -i64::MAX], "{declared}");
        for (row, value) in values.iter().enumerate().skip(3) {
            let expected =
                server_says(&format!("trunc(extract(epoch FROM timestamp {value}) * 1000000)::int8")).await;
            assert_eq!(micros.value(row).to_string(), expected, "{declared}");
        }
    }
    // The zone a value was written with does not matter: it is an instant.
    let (_, _, rows) =
        carry("SET timezone = 'Asia/Tokyo'", "timestamptz", &["'2024-02-29 12:00:00+09'"]).await;
    assert_eq!(
        rows.batches[0].column(0).as_primitive::<TimestampMicrosecondType>().value(0),
        1_709_175_600_000_000
    );
}

#[tokio::test]
async fn i7_a_timestamp_microseconds_cannot_hold_is_an_error() {
    let database = Server::shared().database().await;
    database.execute("CREATE TABLE t (at timestamptz); INSERT INTO t VALUES ('294276-12-31 UTC')").await;
    let reader = database.source(json!({}));
    let request = reader.request("t", Default::default()).await;
    let plan = reader.source.plan(&request, None).await.unwrap();
    let error = reader.read(&request, &plan.chunks[0], &mut Rows::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Data);
    assert!(error.to_string().contains("at of public.t"), "{error}");
}

#[tokio::test]
async fn i7_json() {
    let (column_type, fidelity, rows) = carry("", "json", &[r#"'{"b": 1,  "a": 1.0}'"#, "'null'"]).await;
    assert_eq!((column_type, fidelity), (ColumnType::Json, Fidelity::Exact));
    let values = rows.batches[0].column(0).as_string::<i32>();
    assert_eq!([values.value(0), values.value(1)], [r#"{"b": 1,  "a": 1.0}"#, "null"]);

    let (column_type, _, rows) =
        carry("", "jsonb", &[r#"'{"b":[1,null,"x"],"a":12345678901234567890.10}'"#]).await;
    assert_eq!(column_type, ColumnType::Json);
    let values = rows.batches[0].column(0).as_string::<i32>();
    assert_eq!(values.value(0), r#"{"a": 12345678901234567890.10, "b": [1, null, "x"]}"#);
}

#[tokio::test]
async fn i7_intervals_uuids_and_money() {
    carried_as_text(
        "",
        "interval",
        &[
            ("'1 year 2 mons -3 days 04:05:06.789'", "1 year 2 mons -3 days +04:05:06.789"),
            ("'0'", "00:00:00"),
        ],
    )
    .await;
    let uuid = "0a1b2c3d-4e5f-6789-abcd-ef0123456789";
    carried_as_text("", "uuid", &[(&format!("'{}'", uuid.to_uppercase()), uuid)]).await;
    carried_as_text("", "money", &[("'1234.5'", "$1,234.50")]).await;
}

#[tokio::test]
async fn i7_networks() {
    carried_as_text(
        "",
        "inet",
        &[("'10.0.0.1'", "10.0.0.1"), ("'10.0.0.1/8'", "10.0.0.1/8"), ("'::1'", "::1")],
    )
    .await;
    carried_as_text("", "cidr", &[("'10.0.0.0/8'", "10.0.0.0/8")]).await;
    carried_as_text("", "macaddr", &[("'08:00:2b:01:02:03'", "08:00:2b:01:02:03")]).await;
    carried_as_text("", "macaddr8", &[("'08:00:2b:01:02:03:04:05'", "08:00:2b:01:02:03:04:05")]).await;
}

#[tokio::test]
async fn i7_enumerations() {
    carried_as_text(
        "CREATE TYPE \"Mood\" AS ENUM ('sad', 'it''s ok')",
        "\"Mood\"",
        &[("'sad'", "sad"), ("'it''s ok'", "it's ok")],
    )
    .await;
}

#[tokio::test]
async fn i7_arrays_ranges_and_multiranges() {
    carried_as_text(
        "",
        "integer[]",
        &[("'{1,NULL,3}'", "{1,NULL,3}"), ("'{}'", "{}"), ("'{{1},{2}}'", "{{1},{2}}")],
    )
    .await;
    carried_as_text("", "text[]", &[(r#"ARRAY['a b', 'NULL', '"', '']"#, r#"{"a b","NULL","\"",""}"#)]).await;
    carried_as_text("", "bytea[]", &[(r"ARRAY['\xff'::bytea]", r#"{"\\xff"}"#)]).await;
    carried_as_text("", "int4range", &[("'[1,5]'", "[1,6)"), ("'empty'", "empty")]).await;
    carried_as_text("", "tstzrange", &[("'[2024-01-01 00:00+01,)'", "[\"2023-12-31 23:00:00+00\",)")]).await;
    carried_as_text("", "nummultirange", &[("'{[1,2),[3,4)}'", "{[1,2),[3,4)}")]).await;
}

#[tokio::test]
async fn i7_composites_keep_a_row_of_nulls_apart_from_null() {
    let setup = "CREATE TYPE point3 AS (x int, y text, at timestamptz)";
    carried_as_text(
        setup,
        "point3",
        &[
            ("ROW(1, 'a,b', '2024-01-01 00:00+02')", "(1,\"a,b\",\"2023-12-31 22:00:00+00\")"),
            ("ROW(NULL, NULL, NULL)", "(,,)"),
        ],
    )
    .await;
}

#[tokio::test]
async fn i7_geometry_search_bits_xml_and_extensions() {
    carried_as_text("", "point", &[("'(1.5,2)'", "(1.5,2)")]).await;
    carried_as_text("", "polygon", &[("'((0,0),(1,1),(1,0))'", "((0,0),(1,1),(1,0))")]).await;
    carried_as_text("", "tsvector", &[("'fat:2 cat:1'", "'cat':1 'fat':2")]).await;
    carried_as_text("", "tsquery", &[("'fat & cat'", "'fat' & 'cat'")]).await;
    carried_as_text("", "bit(4)", &[("B'0101'", "0101")]).await;
    carried_as_text("", "varbit", &[("B'01'", "01"), ("B''", "")]).await;
    carried_as_text("", "pg_lsn", &[("'16/B374D848'", "16/B374D848")]).await;
    carried_as_text("", "xid8", &[("'18446744073709551615'", "18446744073709551615")]).await;
    carried_as_text("CREATE EXTENSION hstore", "hstore", &[("'a=>1, b=>NULL'", r#""a"=>"1", "b"=>NULL"#)])
        .await;
    carried_as_text("CREATE EXTENSION cube", "cube", &[("'(1,2),(3,4)'", "(1, 2),(3, 4)")]).await;
    carried_as_text("CREATE EXTENSION ltree", "ltree", &[("'Top.Science'", "Top.Science")]).await;
    // As PostGIS makes its types: a base type of its own, whose only notation is that of its output function.
    let shape = "CREATE TYPE shape;
        CREATE FUNCTION shape_in(cstring) RETURNS shape LANGUAGE internal IMMUTABLE STRICT AS 'byteain';
        CREATE FUNCTION shape_out(shape) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'byteaout';
        CREATE TYPE shape (INPUT = shape_in, OUTPUT = shape_out, LIKE = bytea, CATEGORY = 'U')";
    carried_as_text(shape, "shape", &[("'\\x0101000000'", "\\x0101000000")]).await;
}

#[tokio::test]
async fn i7_domains_are_what_they_are_made_of() {
    let setup = "CREATE DOMAIN price AS numeric(10,3); CREATE DOMAIN net_price AS price CHECK (VALUE > 0)";
    let (column_type, fidelity, rows) = carry(setup, "net_price", &["1.5"]).await;
    assert_eq!((column_type, fidelity), (ColumnType::Decimal { precision: 10, scale: 3 }, Fidelity::Exact));
    assert_eq!(rows.batches[0].column(0).as_primitive::<Decimal128Type>().value(0), 1500);

    let (column_type, _, rows) = carry("CREATE DOMAIN day AS date", "day", &["'1970-01-02'"]).await;
    assert_eq!(column_type, ColumnType::NaiveDate);
    assert_eq!(rows.batches[0].column(0).as_primitive::<Date32Type>().value(0), 1);

    let (column_type, _, rows) = carry("CREATE DOMAIN code AS char(4)", "code", &["'ab'"]).await;
    assert_eq!(column_type, ColumnType::String);
    assert_eq!(rows.batches[0].column(0).as_string::<i32>().value(0), "ab  ");

    let (_, _, rows) = carry("CREATE DOMAIN host AS inet", "host", &["'10.1.1.1'"]).await;
    assert_eq!(rows.batches[0].column(0).as_string::<i32>().value(0), "10.1.1.1");

    carried_as_text("CREATE DOMAIN list AS int[]", "list", &[("'{1,2}'", "{1,2}")]).await;
}

#[tokio::test]
async fn i7_generated_and_identity_columns_are_read_like_others() {
    let database = Server::shared().database().await;
    database
        .execute(
            "CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, a int, b int GENERATED ALWAYS AS (a * 2) STORED);
             INSERT INTO t (a) VALUES (4)",
        )
        .await;
    let reader = database.source(json!({}));
    assert_eq!(reader.stream("public", "t").await.primary_key, ["id"]);
    let (_, rows) = reader.sync("t", None).await;
    assert_eq!((rows.sorted("id"), rows.sorted("b")), (vec!["1".to_owned()], vec!["8".to_owned()]));
}

#[tokio::test]
async fn i7_text_in_a_database_that_takes_any_bytes_is_checked() {
    let server = Server::shared();
    let admin = server.client("postgres").await;
    admin.batch_execute("CREATE DATABASE any_bytes TEMPLATE template0 ENCODING 'SQL_ASCII'").await.unwrap();
    let client = server.client("any_bytes").await;
    client.batch_execute(r"CREATE TABLE t (v text); INSERT INTO t VALUES (E'\xff')").await.unwrap();
    let mut config = server.database().await.config();
    config["database"] = json!("any_bytes");
    let source = crate::support::postgres::open(&config).unwrap();
    let stream = source.discover().await.unwrap().streams.remove(0);
    let request = crate::support::postgres::request(stream, Default::default());
    let plan = source.plan(&request, None).await.unwrap();
    let error = source.read(&request, &plan.chunks[0], &mut Rows::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Data);
    assert!(error.to_string().contains("not valid UTF-8"), "{error}");
}
