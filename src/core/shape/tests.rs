use std::collections::BTreeMap;

use arrow::array::{
    AsArray, BinaryArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int16Array, Int32Array,
    Int64Array, StringArray, Time64MicrosecondArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{Decimal128Type, Field, Schema, TimestampMicrosecondType};
use proptest::prelude::*;

use super::*;
use crate::core::catalog::{ChangeTracking, Column};
use crate::core::settings::{
    ColumnSettings, ConnectionSettings, SchemaChangePolicy, StreamSettings, Target, select,
};
use crate::core::table::TableColumn;
use crate::core::types::Fidelity;

const SYNCED_AT: i64 = 1_700_000_000_123_456;

fn stream(columns: &[(&str, ColumnType)], key: &[&str]) -> Stream {
    let column = |(name, column_type): &(&str, ColumnType)| Column {
        name: (*name).to_owned(),
        column_type: *column_type,
        source_type: column_type.to_string(),
        nullable: true,
        fidelity: Fidelity::Exact,
    };
    Stream {
        name: StreamName::new("public", "t"),
        columns: columns.iter().map(column).collect(),
        primary_key: key.iter().map(|name| (*name).to_owned()).collect(),
        change_tracking: ChangeTracking::Transaction,
        estimated_rows: None,
        estimated_bytes: None,
    }
}

/// A batch as a source hands it over.
fn batch(stream: &Stream, columns: Vec<ArrayRef>) -> RecordBatch {
    let fields = stream.columns.iter().map(|c| Field::new(&c.name, c.column_type.arrow(), true));
    RecordBatch::try_new(Arc::new(Schema::new(fields.collect::<Vec<_>>())), columns).unwrap()
}

/// A shaper for a destination that already has columns of these types, and for these hashed columns.
fn shaper(stream: &Stream, standing: &[(&str, ColumnType)], hashed: &[&str]) -> Shaper {
    let columns = standing.iter().map(|(name, column_type)| TableColumn {
        name: (*name).to_owned(),
        column_type: *column_type,
        nullable: true,
    });
    let current = TableSchema {
        schema: "s".to_owned(),
        table: "t".to_owned(),
        columns: columns.collect(),
        primary_key: vec![],
    };
    let hash = ColumnSettings { hashed: Some(true), ..ColumnSettings::default() };
    let own = StreamSettings {
        columns: hashed.iter().map(|name| ((*name).to_owned(), hash)).collect(),
        ..StreamSettings::default()
    };
    let settings = ConnectionSettings {
        policy: SchemaChangePolicy::AllowAll,
        streams: BTreeMap::from([(stream.name.clone(), own)]),
        ..ConnectionSettings::default()
    };
    let target = Target { schema: "s", table: "t", current: Some(&current) };
    let selection = select(stream, &settings, None, false, &target).unwrap();
    Shaper::new(stream, &selection, &selection.table, SYNCED_AT, b"salt").unwrap()
}

/// One column, widened into a destination's standing type.
fn widened(from: ColumnType, array: ArrayRef, to: ColumnType) -> Result<ArrayRef> {
    let stream = stream(&[("v", from)], &["v"]);
    let shaped = shaper(&stream, &[("v", to)], &[]).shape(batch(&stream, vec![array]))?;
    Ok(Arc::clone(shaped.column(0)))
}

fn texts(array: &ArrayRef) -> Vec<Option<&str>> {
    array.as_string::<i32>().iter().collect()
}

fn ids(stream: &Stream, columns: Vec<ArrayRef>) -> Vec<String> {
    let shaped = shaper(stream, &[], &[]).shape(batch(stream, columns)).unwrap();
    texts(shaped.column(0)).into_iter().map(|id| id.unwrap().to_owned()).collect()
}

#[test]
fn a_batch_comes_out_with_the_tables_schema_renamed_and_with_system_columns() {
    let stream = stream(&[("Order Id", ColumnType::Long), ("Data", ColumnType::Json)], &["Order Id"]);
    let shaper = shaper(&stream, &[], &[]);
    let id: ArrayRef = Arc::new(Int64Array::from(vec![i64::MIN, i64::MAX]));
    let data: ArrayRef = Arc::new(StringArray::from(vec![Some("{}"), None]));
    let shaped = shaper.shape(batch(&stream, vec![id.clone(), data.clone()])).unwrap();

    let names = shaped.schema().fields().iter().map(|field| field.name().clone()).collect::<Vec<_>>();
    assert_eq!(names, ["order_id", "data", DELETED, SYNCED]);
    assert_eq!(shaped.schema(), *shaper.schema());
    assert!(shaped.column(0).to_data().ptr_eq(&id.to_data()), "passed on without a copy");
    assert!(shaped.column(1).to_data().ptr_eq(&data.to_data()));
    assert_eq!(shaped.column(2).as_boolean().true_count(), 0);
    let synced = shaped.column(3).as_primitive::<TimestampMicrosecondType>();
    assert_eq!(synced.values().as_ref(), [SYNCED_AT, SYNCED_AT]);
}

#[test]
fn batches_of_any_length_share_the_constant_columns() {
    let stream = stream(&[("a", ColumnType::Int)], &[]);
    let shaper = shaper(&stream, &[], &[]);
    for rows in [3_i32, 0, 700, 5] {
        let column: ArrayRef = Arc::new(Int32Array::from_iter_values(0..rows));
        let shaped = shaper.shape(batch(&stream, vec![column])).unwrap();
        assert_eq!(shaped.num_rows(), usize::try_from(rows).unwrap());
        let distinct = texts(shaped.column(0)).into_iter().collect::<std::collections::BTreeSet<_>>();
        assert_eq!(distinct.len(), shaped.num_rows());
    }
}

#[test]
fn a_null_in_a_key_names_the_column_and_the_rows() {
    let stream = stream(&[("Id", ColumnType::Int)], &["Id"]);
    let column: ArrayRef = Arc::new(Int32Array::from(vec![Some(1), None]));
    let error = shaper(&stream, &[], &[]).shape(batch(&stream, vec![column])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Data);
    assert_eq!(error.message(), "Key column 'Id' of public.t is NULL in 1 rows of a batch");
}

#[test]
fn a_batch_that_is_not_as_promised_is_refused() {
    let promised = stream(&[("a", ColumnType::Int)], &[]);
    let shaper = shaper(&promised, &[], &[]);
    let other = stream(&[("a", ColumnType::Long)], &[]);
    let error = shaper.shape(batch(&other, vec![Arc::new(Int64Array::from(vec![1]))])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal);
    assert!(error.message().contains("column 'a' was promised as Int32"), "{error}");
    let two = stream(&[("a", ColumnType::Int), ("b", ColumnType::Int)], &[]);
    let column: ArrayRef = Arc::new(Int32Array::from(vec![1]));
    let error = shaper.shape(batch(&two, vec![column.clone(), column])).unwrap_err();
    assert!(error.message().contains("1 columns were promised, 2 came"), "{error}");
}

#[test]
fn i8_a_table_narrower_than_the_stream_is_refused() {
    let stream = stream(&[("a", ColumnType::Long)], &[]);
    let target = Target { schema: "s", table: "t", current: None };
    let selection = select(&stream, &ConnectionSettings::default(), None, false, &target).unwrap();
    let mut narrow = selection.table.clone();
    narrow.columns[1].column_type = ColumnType::Int;
    let error = Shaper::new(&stream, &selection, &narrow, 0, b"").err().unwrap();
    assert!(error.message().contains("is INT, which does not hold LONG"), "{error}");
    narrow.columns.remove(1);
    assert!(Shaper::new(&stream, &selection, &narrow, 0, b"").is_err(), "no column may be lost");
}

#[test]
fn i7_every_type_has_its_text_form() {
    let cases: Vec<(ColumnType, ArrayRef, &str)> = vec![
        (ColumnType::Boolean, Arc::new(BooleanArray::from(vec![Some(true), None])), "true"),
        (ColumnType::Short, Arc::new(Int16Array::from(vec![Some(i16::MIN), None])), "-32768"),
        (ColumnType::Int, Arc::new(Int32Array::from(vec![Some(-5), None])), "-5"),
        (ColumnType::Long, Arc::new(Int64Array::from(vec![Some(i64::MIN), None])), "-9223372036854775808"),
        (
            ColumnType::Decimal { precision: 10, scale: 2 },
            Arc::new(Decimal128Array::from(vec![Some(-500), None]).with_precision_and_scale(10, 2).unwrap()),
            "-5.00",
        ),
        (ColumnType::Float, Arc::new(Float32Array::from(vec![Some(0.1), None])), "0.1"),
        (ColumnType::Double, Arc::new(Float64Array::from(vec![Some(f64::NEG_INFINITY), None])), "-Infinity"),
        (ColumnType::Double, Arc::new(Float64Array::from(vec![Some(f64::NAN), None])), "NaN"),
        (ColumnType::Double, Arc::new(Float64Array::from(vec![Some(5e-324), None])), "5e-324"),
        (ColumnType::NaiveDate, Arc::new(Date32Array::from(vec![Some(-1), None])), "1969-12-31"),
        (
            ColumnType::NaiveTime,
            Arc::new(Time64MicrosecondArray::from(vec![Some(1), None])),
            "00:00:00.000001",
        ),
        (
            ColumnType::NaiveDatetime,
            Arc::new(TimestampMicrosecondArray::from(vec![Some(-1), None])),
            "1969-12-31T23:59:59.999999",
        ),
        (
            ColumnType::UtcDatetime,
            Arc::new(TimestampMicrosecondArray::from(vec![Some(0), None]).with_timezone(UTC)),
            "1970-01-01T00:00:00.000000Z",
        ),
        (
            ColumnType::Binary,
            Arc::new(BinaryArray::from_opt_vec(vec![Some(b"\x00\xff".as_slice()), None])),
            "AP8=",
        ),
        (ColumnType::Json, Arc::new(StringArray::from(vec![Some("{\"a\": 1}"), None])), "{\"a\": 1}"),
        (ColumnType::String, Arc::new(StringArray::from(vec![Some(""), None])), ""),
    ];
    for (from, array, expected) in cases {
        let stream = stream(&[("k", ColumnType::Int), ("v", from)], &["k"]);
        let keys: ArrayRef = Arc::new(Int32Array::from(vec![1, 2]));
        let shaped =
            shaper(&stream, &[("v", ColumnType::String)], &[]).shape(batch(&stream, vec![keys, array]));
        assert_eq!(texts(shaped.unwrap().column(1)), [Some(expected), None], "{from}");
    }
}

#[test]
fn i7_dates_become_midnights_and_infinities_stay_infinite() {
    let dates = |days: Vec<i32>| Arc::new(Date32Array::from(days)) as ArrayRef;
    let shaped =
        widened(ColumnType::NaiveDate, dates(vec![0, -1, i32::MAX, -i32::MAX]), ColumnType::NaiveDatetime)
            .unwrap();
    let values = shaped.as_primitive::<TimestampMicrosecondType>();
    assert_eq!(values.values().as_ref(), [0, -86_400_000_000, i64::MAX, -i64::MAX]);

    let error =
        widened(ColumnType::NaiveDate, dates(vec![2_145_042_905]), ColumnType::NaiveDatetime).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Data, "year 5874897 does not fit 64 bits of microseconds");
    assert!(error.message().starts_with("Column 'v' of public.t: "), "{error}");
}

#[test]
fn hashed_columns_join_across_integer_widths_and_keep_null() {
    let stream = stream(
        &[
            ("k", ColumnType::Int),
            ("a", ColumnType::Short),
            ("b", ColumnType::Long),
            ("c", ColumnType::String),
        ],
        &["k"],
    );
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int32Array::from(vec![1, 2])),
        Arc::new(Int16Array::from(vec![Some(42), None])),
        Arc::new(Int64Array::from(vec![Some(42), None])),
        Arc::new(StringArray::from(vec![Some("42"), None])),
    ];
    let shaped = shaper(&stream, &[], &["a", "b", "c"]).shape(batch(&stream, columns)).unwrap();
    // sha256sum of "salt42".
    let expected = "ba5bf48c9d94fef61432ae21b346d1307be9476c9c8e98d111366abbb69d45cd";
    for index in 1..=3 {
        assert_eq!(texts(shaped.column(index)), [Some(expected), None]);
    }
}

#[test]
fn i6_a_row_id_is_made_of_the_hash_and_not_of_what_it_hides() {
    let clear = stream(&[("a", ColumnType::String)], &[]);
    let value: ArrayRef = Arc::new(StringArray::from(vec!["secret"]));
    let hashed = shaper(&clear, &[], &["a"]).shape(batch(&clear, vec![value.clone()])).unwrap();
    let as_text = Arc::clone(hashed.column(1));
    assert_eq!(texts(hashed.column(0)), [Some(ids(&clear, vec![as_text])[0].as_str())]);
    assert_ne!(texts(hashed.column(0)), [Some(ids(&clear, vec![value])[0].as_str())]);
}

/// The expected id was computed by an independent program from the description in `canonical.rs`: ids are kept in
/// users' tables, so the encoding can never change.
#[test]
fn i3_row_ids_are_the_same_in_every_version_of_this_program() {
    let stream = stream(
        &[
            ("h", ColumnType::UtcDatetime),
            ("a", ColumnType::Int),
            ("b", ColumnType::String),
            ("c", ColumnType::Decimal { precision: 10, scale: 2 }),
            ("d", ColumnType::Long),
            ("e", ColumnType::Boolean),
            ("f", ColumnType::Double),
            ("g", ColumnType::Binary),
        ],
        &[],
    );
    let columns: Vec<ArrayRef> = vec![
        Arc::new(TimestampMicrosecondArray::from(vec![-1]).with_timezone(UTC)),
        Arc::new(Int32Array::from(vec![5])),
        Arc::new(StringArray::from(vec![""])),
        Arc::new(Decimal128Array::from(vec![150]).with_precision_and_scale(10, 2).unwrap()),
        Arc::new(Int64Array::from(vec![None])),
        Arc::new(BooleanArray::from(vec![true])),
        Arc::new(Float64Array::from(vec![1.5])),
        Arc::new(BinaryArray::from_vec(vec![b"\x00\xff"])),
    ];
    assert_eq!(ids(&stream, columns), ["Qx8ag1R9OmyYz7pRKW_YwE_M"]);
}

#[test]
fn row_ids_survive_reordering_added_null_columns_and_wider_numbers() {
    let before = stream(&[("a", ColumnType::Short), ("b", ColumnType::String)], &[]);
    let text: ArrayRef = Arc::new(StringArray::from(vec!["x"]));
    let old = ids(&before, vec![Arc::new(Int16Array::from(vec![5])), text.clone()]);
    let after = stream(
        &[
            ("new", ColumnType::Double),
            ("b", ColumnType::String),
            ("a", ColumnType::Decimal { precision: 12, scale: 2 }),
        ],
        &[],
    );
    let null: ArrayRef = Arc::new(Float64Array::from(vec![None]));
    let decimal = Decimal128Array::from(vec![500]).with_precision_and_scale(12, 2).unwrap();
    assert_eq!(ids(&after, vec![null, text, Arc::new(decimal)]), old);
}

#[test]
fn i7_row_ids_tell_null_from_empty_and_one_column_from_the_next() {
    let stream = stream(&[("a", ColumnType::String), ("b", ColumnType::String)], &[]);
    let a: ArrayRef =
        Arc::new(StringArray::from(vec![Some(""), None, None, Some("ab"), Some("a"), Some("x")]));
    let b: ArrayRef =
        Arc::new(StringArray::from(vec![None, Some(""), None, Some("c"), Some("bc"), Some("x")]));
    let ids = ids(&stream, vec![a, b]);
    assert_eq!(ids.iter().collect::<std::collections::BTreeSet<_>>().len(), 6);
    assert!(ids.iter().all(|id| id.len() == 24));
}

fn few_texts() -> impl Strategy<Value = Vec<Option<String>>> {
    proptest::collection::vec(proptest::option::of("[ab]{0,2}"), 1..40)
}

proptest! {
    #[test]
    fn i3_row_ids_are_equal_exactly_when_rows_are(a in few_texts(), b in few_texts(), n in any::<[Option<bool>; 40]>()) {
        let rows = a.len().min(b.len());
        let (a, b) = (&a[..rows], &b[..rows]);
        let numbers = n.iter().take(rows).map(|flag| flag.map(i32::from)).collect::<Vec<_>>();
        let stream = stream(
            &[("a", ColumnType::String), ("b", ColumnType::Json), ("n", ColumnType::Int)],
            &[],
        );
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from(a.to_vec())),
            Arc::new(StringArray::from(b.to_vec())),
            Arc::new(Int32Array::from(numbers.clone())),
        ];
        let ids = ids(&stream, columns);
        for i in 0..rows {
            for j in 0..rows {
                let equal = (&a[i], &b[i], numbers[i]) == (&a[j], &b[j], numbers[j]);
                prop_assert_eq!(ids[i] == ids[j], equal);
            }
        }
    }

    #[test]
    fn i7_integers_survive_every_wider_type(values in proptest::collection::vec(any::<i16>(), 1..20)) {
        let array: ArrayRef = Arc::new(Int16Array::from(values.clone()));
        let decimal = ColumnType::Decimal { precision: 38, scale: 10 };
        for to in [ColumnType::Int, ColumnType::Long, ColumnType::Float, ColumnType::Double, decimal, ColumnType::String] {
            let wide = widened(ColumnType::Short, Arc::clone(&array), to).unwrap();
            // Read back through the text form, which has its own tests.
            let mut read = Vec::new();
            crate::core::text::for_each_row(&wide, to, |text| {
                read.push(std::str::from_utf8(text.unwrap()).unwrap().parse::<f64>().unwrap());
                Ok(())
            }).unwrap();
            prop_assert_eq!(read, values.iter().copied().map(f64::from).collect::<Vec<_>>(), "{}", to);
        }
    }

    #[test]
    fn i7_longs_and_decimals_survive_rescaling(values in proptest::collection::vec(any::<i64>(), 1..20)) {
        let longs: ArrayRef = Arc::new(Int64Array::from(values.clone()));
        let to = ColumnType::Decimal { precision: 38, scale: 19 };
        let wide = widened(ColumnType::Long, longs, to).unwrap();
        let from_scale = ColumnType::Decimal { precision: 30, scale: 3 };
        let decimals = Decimal128Array::from_iter_values(values.iter().map(|v| i128::from(*v)));
        let decimals = decimals.with_precision_and_scale(30, 3).unwrap();
        let rescaled = widened(from_scale, Arc::new(decimals), ColumnType::Decimal { precision: 38, scale: 10 }).unwrap();
        for (row, value) in values.iter().enumerate() {
            let value = i128::from(*value);
            prop_assert_eq!(wide.as_primitive::<Decimal128Type>().value(row), value * 10_i128.pow(19));
            prop_assert_eq!(rescaled.as_primitive::<Decimal128Type>().value(row), value * 10_i128.pow(7));
        }
    }

    #[test]
    fn i7_floats_survive_as_doubles_and_as_text(values in proptest::collection::vec(any::<f32>(), 1..20)) {
        let array: ArrayRef = Arc::new(Float32Array::from(values.clone()));
        let doubles = widened(ColumnType::Float, Arc::clone(&array), ColumnType::Double).unwrap();
        let written = widened(ColumnType::Float, array, ColumnType::String).unwrap();
        for (row, value) in values.iter().enumerate() {
            let double = doubles.as_primitive::<arrow::datatypes::Float64Type>().value(row);
            let read: f32 = written.as_string::<i32>().value(row).parse().unwrap();
            prop_assert!(value.is_nan() && double.is_nan() && read.is_nan()
                || (double.to_bits() == f64::from(*value).to_bits() && read.to_bits() == value.to_bits()));
        }
    }
}

/// Prints the speed on a table like TPC-H's lineitem. Run with `--ignored --nocapture` and an optimised profile.
#[test]
#[ignore = "a measurement"]
fn speed_on_lineitem() {
    const ROWS: i32 = 65_536;
    let decimal = ColumnType::Decimal { precision: 15, scale: 2 };
    let columns: Vec<(String, ColumnType)> = (0..16)
        .map(|i| {
            let column_type = match i {
                0..3 => ColumnType::Long,
                3 => ColumnType::Int,
                4..8 => decimal,
                8..11 => ColumnType::NaiveDate,
                _ => ColumnType::String,
            };
            (format!("l_column{i}"), column_type)
        })
        .collect();
    let columns = columns.iter().map(|(name, column_type)| (name.as_str(), *column_type)).collect::<Vec<_>>();
    let array = |column_type| -> ArrayRef {
        match column_type {
            ColumnType::Long => Arc::new(Int64Array::from_iter_values((0..ROWS).map(i64::from))),
            ColumnType::Int => Arc::new(Int32Array::from_iter_values(0..ROWS)),
            ColumnType::NaiveDate => Arc::new(Date32Array::from_iter_values(0..ROWS)),
            ColumnType::String => {
                Arc::new(StringArray::from_iter_values((0..ROWS).map(|i| format!("text {i}"))))
            }
            _ => Arc::new(
                Decimal128Array::from_iter_values((0..ROWS).map(|i| i128::from(i) * 17))
                    .with_precision_and_scale(15, 2)
                    .unwrap(),
            ),
        }
    };
    let longs_as_text = [("l_column0", ColumnType::String), ("l_column1", ColumnType::String)];
    for (what, key, standing, hashed) in [
        ("key, nothing to do", vec!["l_column0"], vec![], vec![]),
        ("no key: row ids", vec![], vec![], vec![]),
        ("two longs to text", vec!["l_column2"], longs_as_text.to_vec(), vec![]),
        ("one text hashed", vec!["l_column0"], vec![], vec!["l_column15"]),
    ] {
        let stream = stream(&columns, &key);
        let arrays = columns.iter().map(|(_, column_type)| array(*column_type)).collect();
        let (shaper, batch) = (shaper(&stream, &standing, &hashed), batch(&stream, arrays));
        #[allow(clippy::disallowed_methods, reason = "a native measurement")]
        let start = std::time::Instant::now();
        for _ in 0..8 {
            shaper.shape(batch.clone()).unwrap();
        }
        let seconds = start.elapsed().as_secs_f64();
        eprintln!("{what}: {:.2} M rows/s", 8.0 * f64::from(ROWS) / seconds / 1e6);
    }
}
