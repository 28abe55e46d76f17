//! Values arrive exactly, as independent readers see them, through the documented snippets.

use std::rc::Rc;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array,
    Int16Array, Int32Array, Int64Array, StringArray, Time64MicrosecondArray, TimestampMicrosecondArray,
};
use fivetran_do::core::table::{LoadMode, TableSchema};
use fivetran_do::core::types::{ColumnType, UTC};
use fivetran_do::destinations::TableLoad;
use serde_json::{Value, json};

use crate::harness::*;
use crate::support::objects::MemoryBucket;

const DAY: i64 = 86_400_000_000;

/// A table with a column of every type.
fn every_type() -> TableSchema {
    let decimal = |precision, scale| ColumnType::Decimal { precision, scale };
    table(
        vec![
            column("id", ColumnType::Long, false),
            column("c_boolean", ColumnType::Boolean, true),
            column("c_short", ColumnType::Short, true),
            column("c_int", ColumnType::Int, true),
            column("c_long", ColumnType::Long, true),
            column("c_decimal9", decimal(9, 2), true),
            column("c_decimal18", decimal(18, 0), true),
            column("c_decimal38", decimal(38, 37), true),
            column("c_float", ColumnType::Float, true),
            column("c_double", ColumnType::Double, true),
            column("c_date", ColumnType::NaiveDate, true),
            column("c_time", ColumnType::NaiveTime, true),
            column("c_naive", ColumnType::NaiveDatetime, true),
            column("c_utc", ColumnType::UtcDatetime, true),
            column("c_binary", ColumnType::Binary, true),
            column("c_string", ColumnType::String, true),
            column("c_json", ColumnType::Json, true),
        ],
        &["id"],
    )
}

/// Four rows: NULL everywhere, least, greatest, odd.
fn extremes() -> Vec<ArrayRef> {
    let decimals = |precision, scale, least: i128, odd: i128| {
        let values = vec![None, Some(least), Some(-least), Some(odd)];
        let array = Decimal128Array::from(values).with_precision_and_scale(precision, scale);
        Arc::new(array.unwrap()) as ArrayRef
    };
    let all_bytes: Vec<u8> = (0..=255).collect();
    let text = "a \"quote\", a comma\r\n, a \\ backslash, a tab\t, ünïcödé 🦀, \u{1}";
    vec![
        Arc::new(Int64Array::from(vec![1, 2, 3, 4])),
        Arc::new(BooleanArray::from(vec![None, Some(false), Some(true), Some(true)])),
        Arc::new(Int16Array::from(vec![None, Some(i16::MIN), Some(i16::MAX), Some(-1)])),
        Arc::new(Int32Array::from(vec![None, Some(i32::MIN), Some(i32::MAX), Some(-1)])),
        Arc::new(Int64Array::from(vec![None, Some(i64::MIN), Some(i64::MAX), Some(9_007_199_254_740_993)])),
        decimals(9, 2, -999_999_999, 1),
        decimals(18, 0, -999_999_999_999_999_999, 0),
        decimals(38, 37, -(10_i128.pow(38) - 1), -1),
        Arc::new(Float32Array::from(vec![None, Some(f32::NEG_INFINITY), Some(f32::NAN), Some(0.1)])),
        Arc::new(Float64Array::from(vec![None, Some(f64::MAX), Some(f64::INFINITY), Some(-0.0)])),
        Arc::new(Date32Array::from(vec![None, Some(-i32::MAX), Some(i32::MAX), Some(-719_529)])),
        Arc::new(Time64MicrosecondArray::from(vec![None, Some(0), Some(DAY), Some(1)])),
        Arc::new(TimestampMicrosecondArray::from(vec![None, Some(-i64::MAX), Some(i64::MAX), Some(-1)])),
        Arc::new(
            TimestampMicrosecondArray::from(vec![
                None,
                Some(-i64::MAX),
                Some(i64::MAX),
                Some(1_700_000_000_123_456),
            ])
            .with_timezone(UTC),
        ),
        Arc::new(BinaryArray::from(vec![None, Some(&b""[..]), Some(&all_bytes), Some(b"\0")])),
        Arc::new(StringArray::from(vec![None, Some(""), Some(text), Some("NULL")])),
        Arc::new(StringArray::from(vec![
            None,
            Some("{}"),
            Some("{\"b\": 1.10, \"a\":\n[null]}"),
            Some("9007199254740993"),
        ])),
    ]
}

/// What DuckDB must say of [`extremes`], each value as its own text.
fn expected() -> Vec<Vec<Option<String>>> {
    let nines = "9.9999999999999999999999999999999999999";
    let text = "a \"quote\", a comma\r\n, a \\ backslash, a tab\t, ünïcödé 🦀, \u{1}";
    let hex: String = (0..=255_u8).map(|byte| format!("{byte:02X}")).collect();
    let minus_nines = format!("-{nines}");
    let rows = [
        [None; 16],
        [
            "false",
            "-32768",
            "-2147483648",
            "-9223372036854775808",
            "-9999999.99",
            "-999999999999999999",
            &minus_nines,
            "-inf",
            "1.7976931348623157e+308",
            "-infinity",
            "00:00:00",
            "-infinity",
            "-infinity",
            "",
            "",
            "{}",
        ]
        .map(Some),
        [
            "true",
            "32767",
            "2147483647",
            "9223372036854775807",
            "9999999.99",
            "999999999999999999",
            nines,
            "nan",
            "inf",
            "infinity",
            "24:00:00",
            "infinity",
            "infinity",
            &hex,
            text,
            "{\"b\": 1.10, \"a\":\n[null]}",
        ]
        .map(Some),
        [
            "true",
            "-1",
            "-1",
            "9007199254740993",
            "0.01",
            "0",
            "-0.0000000000000000000000000000000000001",
            "0.1",
            "-0.0",
            "0002-12-31 (BC)",
            "00:00:00.000001",
            "1969-12-31 23:59:59.999999",
            "2023-11-14 22:13:20.123456+00",
            "00",
            "NULL",
            "9007199254740993",
        ]
        .map(Some),
    ];
    rows.iter().map(|row| row.iter().map(|cell| cell.map(ToOwned::to_owned)).collect()).collect()
}

/// Every column as text, bytes as hex.
const AS_TEXT: &str = "SELECT c_boolean::VARCHAR, c_short::VARCHAR, c_int::VARCHAR, c_long::VARCHAR, \
    c_decimal9::VARCHAR, c_decimal18::VARCHAR, c_decimal38::VARCHAR, c_float::VARCHAR, c_double::VARCHAR, \
    c_date::VARCHAR, c_time::VARCHAR, c_naive::VARCHAR, c_utc::VARCHAR, hex(c_binary), c_string, c_json::VARCHAR";

fn full(load: &TableLoad, config: Value) -> Rc<MemoryBucket> {
    let bucket = Rc::new(MemoryBucket::default());
    let destination = open(&bucket, config);
    let rows = batch(load, extremes());
    block_on(run(&*destination, load, &[vec![rows]])).unwrap();
    bucket
}

#[test]
fn i7_every_type_comes_back_exactly_from_parquet() {
    for compression in ["snappy", "none"] {
        let load = load(every_type(), 1, LoadMode::Full);
        let config = json!({ "bucket": "LAKE", "prefix": "lake", "compression": compression });
        let folder = on_disk(&full(&load, config), "types");
        let state = documented("Current state", &folder);
        let (setup, query) = state.split_at(state.rfind("SELECT * EXCLUDE").unwrap());
        let query = query.trim_end().trim_end_matches(';');
        assert_eq!(duckdb(&format!("{setup} {AS_TEXT} FROM ({query});")), expected());
        let types = duckdb(&format!("{setup} SELECT column_type FROM (DESCRIBE {query});"));
        let types: Vec<_> = types.into_iter().map(|row| row[0].clone().unwrap()).collect();
        assert_eq!(
            types.join(" "),
            "BIGINT BOOLEAN SMALLINT INTEGER BIGINT DECIMAL(9,2) DECIMAL(18,0) DECIMAL(38,37) FLOAT DOUBLE DATE \
             TIME TIMESTAMP TIMESTAMP WITH TIME ZONE BLOB VARCHAR JSON TIMESTAMP WITH TIME ZONE BOOLEAN"
        );
    }
}

#[test]
fn i7_pyarrow_sees_the_same_types_and_numbers() {
    let load = load(every_type(), 1, LoadMode::Full);
    let bucket = full(&load, json!({ "bucket": "LAKE", "prefix": "lake" }));
    let folder = on_disk(&bucket, "pyarrow");
    let path = format!("{folder}{}", parts(&bucket)[0]);
    let seen = python(&format!(
        r#"
import json, pyarrow as pa, pyarrow.parquet as pq
t = pq.read_table({path:?})
ints = lambda name, to: [None if v is None else str(v) for v in t[name].combine_chunks().view(to).to_pylist()]
meta = pq.ParquetFile({path:?}).schema_arrow.metadata
print(json.dumps(dict(
    types=[str(f.type) for f in t.schema],
    date=ints("c_date", pa.int32()), naive=ints("c_naive", pa.int64()), utc=ints("c_utc", pa.int64()),
    decimal=[None if v is None else str(v) for v in t["c_decimal38"].to_pylist()],
    run=meta[b"fivetran.run"].decode(), table=meta[b"fivetran.table"].decode())))
"#
    ));
    assert_eq!(
        seen,
        json!({
            "types": ["int64", "bool", "int16", "int32", "int64", "decimal128(9, 2)", "decimal128(18, 0)",
                      "decimal128(38, 37)", "float", "double", "date32[day]", "time64[us]", "timestamp[us]",
                      "timestamp[us, tz=UTC]", "binary", "string", "extension<arrow.json>",
                      "timestamp[us, tz=UTC]", "bool"],
            "date": [null, "-2147483647", "2147483647", "-719529"],
            "naive": [null, "-9223372036854775807", "9223372036854775807", "-1"],
            "utc": [null, "-9223372036854775807", "9223372036854775807", "1700000000123456"],
            "decimal": [null, "-9.9999999999999999999999999999999999999",
                        "9.9999999999999999999999999999999999999", "-1E-37"],
            "run": "run-1", "table": "shop.orders"
        })
    );
}

/// `columns = {...}` of the text readers for [`every_type`].
const COLUMNS: &str = "{id: 'BIGINT', c_boolean: 'BOOLEAN', c_short: 'SMALLINT', c_int: 'INTEGER', \
    c_long: 'BIGINT', c_decimal9: 'DECIMAL(9,2)', c_decimal18: 'DECIMAL(18,0)', c_decimal38: 'DECIMAL(38,37)', \
    c_float: 'FLOAT', c_double: 'DOUBLE', c_date: 'DATE', c_time: 'TIME', c_naive: 'TIMESTAMP', \
    c_utc: 'TIMESTAMPTZ', c_base64: 'VARCHAR', c_string: 'VARCHAR', c_json: 'VARCHAR', \
    _fivetran_synced: 'TIMESTAMPTZ', _fivetran_deleted: 'BOOLEAN'}";

fn text_state(section: &str, folder: &str) -> Vec<Vec<Option<String>>> {
    let state = documented(section, folder);
    let (setup, query) = state.split_at(state.rfind("SELECT * EXCLUDE").unwrap());
    let (before, rest) = query.split_once("columns = {").unwrap();
    let after = rest.split_once('}').unwrap().1;
    let binary = if section == "CSV" { "c_base64" } else { "c_binary" };
    let columns = COLUMNS.replace("c_base64", binary);
    let query = format!("{before}columns = {columns}{after}");
    let query = query.trim_end().trim_end_matches(';');
    let select = AS_TEXT.replace("hex(c_binary)", &format!("hex(from_base64({binary}))"));
    duckdb(&format!("{setup} {select} FROM ({query});"))
}

#[test]
fn i7_every_type_comes_back_exactly_from_json_lines_and_csv() {
    for (format, section) in [("jsonl", "JSON lines"), ("csv", "CSV")] {
        for compression in ["none", "gzip"] {
            let load = load(every_type(), 1, LoadMode::Full);
            let config = json!({
                "bucket": "LAKE", "prefix": "lake", "format": format, "compression": compression
            });
            let bucket = full(&load, config);
            let suffix = if compression == "gzip" { format!(".{format}.gz") } else { format!(".{format}") };
            assert!(parts(&bucket)[0].ends_with(&suffix));
            if compression == "none" {
                let path = format!("lake/shop/orders/{}", parts(&bucket)[0]);
                assert!(String::from_utf8_lossy(&bucket.body(&path).unwrap()).contains("-0.0,"));
            }
            // DuckDB drops the sign of a zero it reads from text.
            let mut expected = expected();
            expected[3][8] = Some("0.0".to_owned());
            let mut seen = text_state(section, &on_disk(&bucket, format));
            seen[3][8] = seen[3][8].take().map(|zero| zero.replace('-', ""));
            assert_eq!(seen, expected, "{format} {compression}");
        }
    }
}

#[test]
fn the_documented_queries_agree_on_a_full_load_and_changes() {
    let expected = vec![
        vec![Some("1".to_owned()), Some("one".to_owned())],
        vec![Some("2".to_owned()), Some("two, again".to_owned())],
        vec![Some("3".to_owned()), None],
    ];
    for (format, section) in [("parquet", "Current state"), ("jsonl", "JSON lines"), ("csv", "CSV")] {
        let bucket = Rc::new(MemoryBucket::default());
        let destination = open(&bucket, json!({ "bucket": "LAKE", "prefix": "lake", "format": format }));
        let first = load(orders(), 1, LoadMode::Full);
        let second = load(orders(), 2, LoadMode::Incremental);
        let rows = order_rows(&first, &[(1, Some("one")), (2, Some("two"))]);
        block_on(run(&*destination, &first, &[vec![rows]])).unwrap();
        let rows = order_rows(&second, &[(2, Some("two, again")), (3, None)]);
        block_on(run(&*destination, &second, &[vec![rows]])).unwrap();
        let folder = on_disk(&bucket, format);
        let state =
            documented(section, &folder).replace("SELECT * EXCLUDE", "SELECT id::VARCHAR, note, * EXCLUDE");
        let seen: Vec<_> = duckdb(&state).into_iter().map(|row| row[..2].to_vec()).collect();
        assert_eq!(seen, expected, "{format}");
        if format == "parquet" {
            let script = documented("Current state with pyarrow", &folder);
            // A local path is no URI.
            let script = script.replace("FileSystem.from_uri(\"", "FileSystem.from_uri(\"file://");
            let show = "print(json.dumps(state.select(['id', 'note']).to_pylist()))";
            let seen = python(&format!("{script}\n{show}"));
            assert_eq!(
                seen,
                json!([{ "id": 1, "note": "one" }, { "id": 2, "note": "two, again" }, { "id": 3, "note": null }])
            );
        }
    }
}

/// A table whose column `v` has that type, one row.
fn widening(run: u64, column_type: ColumnType, values: ArrayRef) -> (TableLoad, Vec<ArrayRef>) {
    let columns = vec![column("id", ColumnType::Long, false), column("v", column_type, true)];
    let load = load(table(columns, &["id"]), run, LoadMode::Incremental);
    (load, vec![Arc::new(Int64Array::from(vec![run as i64])), values])
}

/// Old type and value, new type and value, both as DuckDB must show them, and its type for them.
type Widening = (ColumnType, ArrayRef, ColumnType, ArrayRef, [&'static str; 2], &'static str);

#[test]
fn i8_a_column_that_widens_reads_across_old_and_new_parts() {
    let decimal = |precision, scale| ColumnType::Decimal { precision, scale };
    let decimals = |value, precision, scale| -> ArrayRef {
        Arc::new(Decimal128Array::from(vec![value]).with_precision_and_scale(precision, scale).unwrap())
    };
    let text = |value: &str| -> ArrayRef { Arc::new(StringArray::from(vec![value])) };
    let int = || -> ArrayRef { Arc::new(Int32Array::from(vec![-7])) };
    let long = || -> ArrayRef { Arc::new(Int64Array::from(vec![i64::MAX])) };
    let cases: Vec<Widening> = vec![
        (ColumnType::Int, int(), ColumnType::Long, long(), ["-7", "9223372036854775807"], "BIGINT"),
        (ColumnType::Int, int(), ColumnType::String, text("x"), ["-7", "x"], "VARCHAR"),
        (ColumnType::Int, int(), decimal(12, 2), decimals(1, 12, 2), ["-7.00", "0.01"], "DECIMAL(12,2)"),
        (
            decimal(9, 2),
            decimals(150, 9, 2),
            decimal(20, 4),
            decimals(1, 20, 4),
            ["1.5000", "0.0001"],
            "DECIMAL(20,4)",
        ),
        (
            ColumnType::NaiveDate,
            Arc::new(Date32Array::from(vec![11_016])),
            ColumnType::NaiveDatetime,
            Arc::new(TimestampMicrosecondArray::from(vec![1])),
            ["2000-02-29 00:00:00", "1970-01-01 00:00:00.000001"],
            "TIMESTAMP",
        ),
        (
            ColumnType::Boolean,
            Arc::new(BooleanArray::from(vec![true])),
            ColumnType::String,
            text("maybe"),
            ["true", "maybe"],
            "VARCHAR",
        ),
        (
            ColumnType::Float,
            Arc::new(Float32Array::from(vec![0.5])),
            ColumnType::Double,
            Arc::new(Float64Array::from(vec![0.1])),
            ["0.5", "0.1"],
            "DOUBLE",
        ),
    ];
    for (old, old_values, new, new_values, expected, duckdb_type) in cases {
        let (bucket, destination) = lake();
        let (first, columns) = widening(1, old, old_values);
        block_on(run(&*destination, &first, &[vec![batch(&first, columns)]])).unwrap();
        let (second, columns) = widening(2, new, new_values);
        block_on(run(&*destination, &second, &[vec![batch(&second, columns)]])).unwrap();
        let described = block_on(destination.describe("shop", "orders")).unwrap().unwrap();
        assert_eq!(described.column("v").unwrap().column_type, new);
        let state = documented("Current state", &on_disk(&bucket, "widening"));
        let state = state.replace("SELECT * EXCLUDE", "SELECT v::VARCHAR, typeof(v), * EXCLUDE");
        let seen: Vec<_> = duckdb(&state).into_iter().map(|row| row[..2].to_vec()).collect();
        let cell = |text: &str| vec![Some(text.to_owned()), Some(duckdb_type.to_owned())];
        assert_eq!(seen, expected.map(cell), "{old:?} to {new:?}");
    }
}

#[test]
fn i8_columns_that_come_and_go_read_as_null_where_they_are_missing() {
    let (bucket, destination) = lake();
    let first = load(orders(), 1, LoadMode::Full);
    block_on(run(&*destination, &first, &[vec![order_rows(&first, &[(1, Some("old"))])]])).unwrap();
    let fresh = vec![column("id", ColumnType::Long, false), column("fresh", ColumnType::Long, false)];
    let second = load(table(fresh, &["id"]), 2, LoadMode::Incremental);
    let ids: ArrayRef = Arc::new(Int64Array::from(vec![2]));
    block_on(run(&*destination, &second, &[vec![batch(&second, vec![Arc::clone(&ids), ids])]])).unwrap();
    let described = block_on(destination.describe("shop", "orders")).unwrap().unwrap();
    assert!(described.column("note").unwrap().nullable && described.column("fresh").unwrap().nullable);
    let state = documented("Current state", &on_disk(&bucket, "columns"));
    let state = state.replace("SELECT * EXCLUDE", "SELECT note, fresh::VARCHAR, * EXCLUDE");
    let seen: Vec<_> = duckdb(&state).into_iter().map(|row| row[..2].to_vec()).collect();
    assert_eq!(seen, [[Some("old".to_owned()), None], [None, Some("2".to_owned())]]);
}
