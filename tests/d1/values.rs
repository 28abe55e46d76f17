//! Every value arrives exactly (invariant I7).

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array,
    Int16Array, Int32Array, Int64Array, StringArray, Time64MicrosecondArray, TimestampMicrosecondArray,
};
use fivetran_do::core::ErrorKind;
use fivetran_do::core::run::Counts;
use fivetran_do::core::table::LoadMode;
use fivetran_do::core::types::{ColumnType, UTC};
use proptest::prelude::*;
use rusqlite::types::Value::{self, Blob, Integer, Null, Real, Text};

use crate::world::{World, batch, load, table};

/// Loads one column and returns what SQLite holds, in row order.
async fn stored(kind: ColumnType, values: ArrayRef) -> Vec<Value> {
    let world = World::new();
    let load = load(table("t", &[("id", ColumnType::Int), ("v", kind)], 1), 1, LoadMode::Full);
    let ids: ArrayRef = Arc::new((0..values.len() as i32).map(Some).collect::<Int32Array>());
    world.load(&load, batch(&load, vec![ids, values])).await;
    assert_eq!(world.d1.describe("crm", "t").await.unwrap().unwrap(), load.table);
    world.select("SELECT v FROM crm__t ORDER BY id").into_iter().map(|mut row| row.remove(0)).collect()
}

fn text(text: &str) -> Value {
    Text(text.to_owned())
}

#[tokio::test]
async fn i7_booleans_and_integers_keep_their_extremes() {
    let values: ArrayRef = Arc::new(BooleanArray::from(vec![Some(true), Some(false), None]));
    assert_eq!(stored(ColumnType::Boolean, values).await, [Integer(1), Integer(0), Null]);
    let values: ArrayRef = Arc::new(Int16Array::from(vec![i16::MIN, i16::MAX]));
    assert_eq!(stored(ColumnType::Short, values).await, [Integer(-32768), Integer(32767)]);
    let values: ArrayRef = Arc::new(Int32Array::from(vec![i32::MIN, i32::MAX]));
    assert_eq!(stored(ColumnType::Int, values).await, [Integer(-2_147_483_648), Integer(2_147_483_647)]);
    let values: ArrayRef =
        Arc::new(Int64Array::from(vec![i64::MIN, i64::MIN + 1, (1 << 53) + 1, i64::MAX - 1, i64::MAX]));
    let expected = [i64::MIN, i64::MIN + 1, (1 << 53) + 1, i64::MAX - 1, i64::MAX].map(Integer);
    assert_eq!(stored(ColumnType::Long, values).await, expected);
}

fn decimals(precision: u8, scale: i8, values: Vec<Option<i128>>) -> ArrayRef {
    Arc::new(Decimal128Array::from(values).with_precision_and_scale(precision, scale).unwrap())
}

#[tokio::test]
async fn i7_decimals_of_15_digits_are_numbers_and_larger_ones_text() {
    let small = ColumnType::Decimal { precision: 15, scale: 2 };
    let values = vec![Some(1230), Some(-5), Some(0), Some(999_999_999_999_999), Some(100), None];
    assert_eq!(
        stored(small, decimals(15, 2, values)).await,
        [Real(12.3), Real(-0.05), Integer(0), Real(9_999_999_999_999.99), Integer(1), Null]
    );
    let large = ColumnType::Decimal { precision: 38, scale: 10 };
    let most = 10_i128.pow(38) - 1;
    let values =
        vec![Some(most), Some(-most), Some(1), Some(-12_345_678_901_234_567_890_i128), Some(0), None];
    assert_eq!(
        stored(large, decimals(38, 10, values)).await,
        [
            text("9999999999999999999999999999.9999999999"),
            text("-9999999999999999999999999999.9999999999"),
            text("0.0000000001"),
            text("-1234567890.1234567890"),
            text("0.0000000000"),
            Null
        ]
    );
    let fraction = ColumnType::Decimal { precision: 38, scale: 38 };
    assert_eq!(
        stored(fraction, decimals(38, 38, vec![Some(most), Some(-1)])).await,
        [text("0.99999999999999999999999999999999999999"), text("-0.00000000000000000000000000000000000001")]
    );
    let whole = ColumnType::Decimal { precision: 38, scale: 0 };
    assert_eq!(
        stored(whole, decimals(38, 0, vec![Some(most)])).await,
        [text("99999999999999999999999999999999999999")]
    );
}

#[tokio::test]
async fn i7_a_decimal_with_more_digits_than_its_type_is_an_error() {
    let world = World::new();
    let kind = ColumnType::Decimal { precision: 5, scale: 2 };
    let load = load(table("t", &[("id", ColumnType::Int), ("v", kind)], 1), 1, LoadMode::Full);
    world.d1.prepare(&load).await.unwrap();
    let ids: ArrayRef = Arc::new(Int32Array::from(vec![1]));
    let rows = batch(&load, vec![ids, decimals(5, 2, vec![Some(100_000)])]);
    let error = world.writer(&load, 0, 1).await.write(rows).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Data);
    assert!(error.to_string().contains("crm.t: column v"), "{error}");
}

#[tokio::test]
async fn i7_floats_keep_every_bit_and_say_what_is_not_a_number() {
    let values: ArrayRef = Arc::new(Float32Array::from(vec![
        0.1,
        f32::MIN_POSITIVE,
        f32::from_bits(1),
        f32::MAX,
        f32::NAN,
        f32::INFINITY,
        f32::NEG_INFINITY,
        16_777_217.0,
    ]));
    let found = stored(ColumnType::Float, values).await;
    assert_eq!(found[0], Real(0.1));
    let back = |value: &Value| match value {
        Real(real) => *real as f32,
        other => panic!("{other:?}"),
    };
    assert_eq!(back(&found[1]), f32::MIN_POSITIVE);
    assert_eq!(back(&found[2]), f32::from_bits(1));
    assert_eq!(back(&found[3]), f32::MAX);
    assert_eq!(found[4..7], [text("NaN"), text("Infinity"), text("-Infinity")]);
    let values: ArrayRef = Arc::new(Float64Array::from(vec![
        0.1,
        f64::MIN_POSITIVE,
        f64::from_bits(1),
        f64::MAX,
        f64::MIN,
        1e20,
        9_007_199_254_740_993.0,
        f64::NAN,
    ]));
    assert_eq!(
        stored(ColumnType::Double, values).await,
        [
            Real(0.1),
            Real(f64::MIN_POSITIVE),
            Real(f64::from_bits(1)),
            Real(f64::MAX),
            Real(f64::MIN),
            Real(1e20),
            Real(9_007_199_254_740_993.0),
            text("NaN")
        ]
    );
}

#[tokio::test]
async fn i7_dates_and_times_keep_microseconds_bc_and_infinity() {
    let values: ArrayRef =
        Arc::new(Date32Array::from(vec![0, -719_893, 2_932_897, i32::MAX, -i32::MAX, i32::MIN]));
    assert_eq!(
        stored(ColumnType::NaiveDate, values).await,
        [
            text("1970-01-01"),
            text("-000001-01-01"),
            text("+010000-01-01"),
            text("infinity"),
            text("-infinity"),
            text("-5877641-06-23")
        ]
    );
    let values: ArrayRef = Arc::new(Time64MicrosecondArray::from(vec![0, 86_399_999_999, 86_400_000_000]));
    assert_eq!(
        stored(ColumnType::NaiveTime, values).await,
        [text("00:00:00.000000"), text("23:59:59.999999"), text("24:00:00.000000")]
    );
    let micros = vec![1_700_000_000_123_456, -1, i64::MAX, -i64::MAX];
    let values: ArrayRef = Arc::new(TimestampMicrosecondArray::from(micros.clone()));
    assert_eq!(
        stored(ColumnType::NaiveDatetime, values).await,
        [
            text("2023-11-14T22:13:20.123456"),
            text("1969-12-31T23:59:59.999999"),
            text("infinity"),
            text("-infinity")
        ]
    );
    let values: ArrayRef = Arc::new(TimestampMicrosecondArray::from(micros).with_timezone(UTC));
    assert_eq!(stored(ColumnType::UtcDatetime, values).await[0], text("2023-11-14T22:13:20.123456Z"));
}

#[tokio::test]
async fn i7_text_and_bytes_keep_everything() {
    let texts = [
        "",
        "a\0b",
        "\0",
        "😀 ünïcödé \u{10ffff}\u{fffe}",
        "quote \" backslash \\ newline \n tab \t bell \u{7} del \u{7f}",
        "\u{2028}",
        "[1,2]",
        "null",
        "123",
        "1e5",
        " padded ",
        "\\u0041",
    ];
    let values: ArrayRef =
        Arc::new(texts.iter().map(|text| Some(*text)).chain([None]).collect::<StringArray>());
    let mut expected: Vec<Value> = texts.iter().map(|each| text(each)).collect();
    expected.push(Null);
    assert_eq!(stored(ColumnType::String, Arc::clone(&values)).await, expected);
    let json: ArrayRef = Arc::new(StringArray::from(vec!["{\"a\":1.10}", "1.10", "\"x\"", "null"]));
    assert_eq!(
        stored(ColumnType::Json, json).await,
        [text("{\"a\":1.10}"), text("1.10"), text("\"x\""), text("null")]
    );
    let all: Vec<u8> = (0..=255).collect();
    let values: ArrayRef =
        Arc::new(BinaryArray::from_opt_vec(vec![Some(&all), Some(b""), Some(b"\0"), None]));
    assert_eq!(stored(ColumnType::Binary, values).await, [Blob(all), Blob(vec![]), Blob(vec![0]), Null]);
}

#[tokio::test]
async fn i7_numbers_stored_as_text_stay_text() {
    let values: ArrayRef = Arc::new(StringArray::from(vec!["007", "9007199254740993", "1.0", "-0"]));
    assert_eq!(
        stored(ColumnType::String, values).await,
        [text("007"), text("9007199254740993"), text("1.0"), text("-0")]
    );
}

#[tokio::test]
async fn i7_rows_are_exact_on_a_sqlite_without_jsonb_each() {
    let world = World::new();
    world.db.without_jsonb_each();
    let columns = [("id", ColumnType::Long), ("t", ColumnType::String), ("b", ColumnType::Binary)];
    let load = load(table("t", &columns, 1), 1, LoadMode::Full);
    let rows = batch(
        &load,
        vec![
            Arc::new(Int64Array::from(vec![i64::MIN])),
            Arc::new(StringArray::from(vec!["a\0\"b"])),
            Arc::new(BinaryArray::from_vec(vec![b"\x00\xff"])),
        ],
    );
    world.load(&load, rows).await;
    assert_eq!(
        world.select("SELECT id, t, b FROM crm__t"),
        [[Integer(i64::MIN), text("a\0\"b"), Blob(vec![0, 255])]]
    );
}

#[tokio::test]
async fn a_key_without_a_value_is_an_error_that_names_the_column() {
    let world = World::new();
    let load = load(table("t", &[("id", ColumnType::Int)], 1), 1, LoadMode::Full);
    world.d1.prepare(&load).await.unwrap();
    let rows = batch(&load, vec![Arc::new(Int32Array::from(vec![Some(1), None]))]);
    let error = world.writer(&load, 0, 1).await.write(rows).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Data);
    assert!(error.message().contains("key column id"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn i7_random_values_read_back_bit_by_bit(
        rows in prop::collection::vec(
            (any::<i64>(), any::<f64>(), any::<f32>(), any::<Option<String>>(), any::<Vec<u8>>(),
             -999_999_999_999_999_i128..=999_999_999_999_999),
            1..40,
        )
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let found = runtime.block_on(async {
            let world = World::new();
            let columns = [
                ("id", ColumnType::Int), ("l", ColumnType::Long), ("d", ColumnType::Double),
                ("f", ColumnType::Float), ("t", ColumnType::String), ("b", ColumnType::Binary),
                ("n", ColumnType::Decimal { precision: 15, scale: 6 }),
            ];
            let load = load(table("t", &columns, 1), 1, LoadMode::Full);
            let arrays: Vec<ArrayRef> = vec![
                Arc::new((0..rows.len() as i32).map(Some).collect::<Int32Array>()),
                Arc::new(rows.iter().map(|row| Some(row.0)).collect::<Int64Array>()),
                Arc::new(rows.iter().map(|row| Some(row.1)).collect::<Float64Array>()),
                Arc::new(rows.iter().map(|row| Some(row.2)).collect::<Float32Array>()),
                Arc::new(rows.iter().map(|row| row.3.clone()).collect::<StringArray>()),
                Arc::new(rows.iter().map(|row| Some(row.4.clone())).collect::<BinaryArray>()),
                decimals(15, 6, rows.iter().map(|row| Some(row.5)).collect()),
            ];
            world.d1.prepare(&load).await.unwrap();
            let mut writer = world.writer(&load, 0, 1).await;
            writer.write(batch(&load, arrays)).await.unwrap();
            writer.commit(Counts { read: rows.len() as u64, ..Counts::default() }).await.unwrap();
            world.select("SELECT l, d, f, t, b, printf('%.6f', n) FROM crm__t ORDER BY id")
        });
        for (row, found) in rows.iter().zip(found) {
            prop_assert_eq!(&found[0], &Integer(row.0));
            if row.1.is_finite() {
                prop_assert_eq!(&found[1], &Real(row.1));
            }
            if let Real(real) = found[2] {
                prop_assert_eq!(real as f32, row.2);
            }
            prop_assert_eq!(&found[3], &row.3.clone().map_or(Null, Text));
            prop_assert_eq!(&found[4], &Blob(row.4.clone()));
            let sign = if row.5 < 0 { "-" } else { "" };
            let digits = row.5.unsigned_abs();
            let expected = format!("{sign}{}.{:06}", digits / 1_000_000, digits % 1_000_000);
            prop_assert_eq!(&found[5], &Text(expected));
        }
    }
}
