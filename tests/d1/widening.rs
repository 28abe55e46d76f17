//! Wider types and other keys: stored values become what a fresh load would have written (invariants I7, I8).

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array,
    Int16Array, Int32Array, Int64Array, StringArray, Time64MicrosecondArray, TimestampMicrosecondArray,
};
use fivetran_do::core::table::LoadMode;
use fivetran_do::core::types::{ColumnType, UTC};
use rusqlite::types::Value::{self, Integer, Null, Text};

use crate::support::sqlite::Fault;
use crate::world::{World, batch, column, load, people, people_batch, table};

const SMALL: ColumnType = ColumnType::Decimal { precision: 10, scale: 2 };
const LARGE: ColumnType = ColumnType::Decimal { precision: 30, scale: 4 };

fn decimals(kind: ColumnType, values: Vec<Option<i128>>) -> ArrayRef {
    let ColumnType::Decimal { precision, scale } = kind else { panic!("{kind:?}") };
    Arc::new(Decimal128Array::from(values).with_precision_and_scale(precision, scale as i8).unwrap())
}

/// The same few values as a column of the type, with a NULL at the end; `None` where the type cannot hold them.
fn whole_numbers(kind: ColumnType) -> ArrayRef {
    let numbers = [0_i64, 1, -1, 32767, -32768];
    let all = || numbers.into_iter().map(Some).chain([None]);
    match kind {
        ColumnType::Short => Arc::new(all().map(|n| n.map(|n| n as i16)).collect::<Int16Array>()),
        ColumnType::Int => Arc::new(all().map(|n| n.map(|n| n as i32)).collect::<Int32Array>()),
        ColumnType::Long => Arc::new(all().collect::<Int64Array>()),
        ColumnType::Float => Arc::new(all().map(|n| n.map(|n| n as f32)).collect::<Float32Array>()),
        ColumnType::Double => Arc::new(all().map(|n| n.map(|n| n as f64)).collect::<Float64Array>()),
        ColumnType::Decimal { scale, .. } => {
            decimals(kind, all().map(|n| n.map(|n| i128::from(n) * 10_i128.pow(u32::from(scale)))).collect())
        }
        ColumnType::String => Arc::new(all().map(|n| n.map(|n| n.to_string())).collect::<StringArray>()),
        other => panic!("{other:?}"),
    }
}

/// Loads values under one type, prepares for a wider one, and returns what is stored.
async fn widened(from: ColumnType, to: ColumnType, values: ArrayRef) -> Vec<Value> {
    let world = World::new();
    let first = load(table("t", &[("id", ColumnType::Int), ("v", from)], 1), 1, LoadMode::Full);
    let ids: ArrayRef = Arc::new((0..values.len() as i32).map(Some).collect::<Int32Array>());
    world.load(&first, batch(&first, vec![ids, values])).await;
    let second = load(table("t", &[("id", ColumnType::Int), ("v", to)], 1), 2, LoadMode::Incremental);
    world.d1.prepare(&second).await.unwrap();
    assert_eq!(world.d1.describe("crm", "t").await.unwrap().unwrap(), second.table);
    assert_eq!(world.count("SELECT count(*) FROM sqlite_master WHERE name LIKE '%\\_\\_new' ESCAPE '\\'"), 0);
    column_v(&world)
}

async fn fresh(kind: ColumnType, values: ArrayRef) -> Vec<Value> {
    let world = World::new();
    let load = load(table("t", &[("id", ColumnType::Int), ("v", kind)], 1), 1, LoadMode::Full);
    let ids: ArrayRef = Arc::new((0..values.len() as i32).map(Some).collect::<Int32Array>());
    world.load(&load, batch(&load, vec![ids, values])).await;
    column_v(&world)
}

fn column_v(world: &World) -> Vec<Value> {
    world.select("SELECT v FROM crm__t ORDER BY id").into_iter().map(|mut row| row.remove(0)).collect()
}

fn text(text: &str) -> Value {
    Text(text.to_owned())
}

#[tokio::test]
async fn i7_numbers_widen_into_what_a_fresh_load_writes() {
    use ColumnType::{Double, Float, Int, Long, Short, String};
    let larger = ColumnType::Decimal { precision: 35, scale: 9 };
    let wide_whole = ColumnType::Decimal { precision: 20, scale: 0 };
    let kinds = [Short, Int, Long, Float, Double, SMALL, LARGE, larger, wide_whole, String];
    let mut pairs = 0;
    for from in kinds {
        for to in kinds {
            // The text of a decimal or float has digits after the point; its own test follows.
            let has_point = matches!(from, ColumnType::Decimal { scale: 1.., .. } | Float | Double);
            if from == to || from.widen(to) != to || (to == String && has_point) {
                continue;
            }
            pairs += 1;
            let found = widened(from, to, whole_numbers(from)).await;
            assert_eq!(found, fresh(to, whole_numbers(to)).await, "{from:?} to {to:?}");
        }
    }
    assert!(pairs >= 20, "{pairs} pairs");
}

#[tokio::test]
async fn i7_decimals_become_text_of_all_digits() {
    let values = || decimals(SMALL, vec![Some(1230), Some(-5), Some(9_999_999_999), Some(100_500), None]);
    let expected = ["12.30", "-0.05", "99999999.99", "1005.00"].map(text);
    assert_eq!(widened(SMALL, ColumnType::String, values()).await[..4], expected);
    let expected = ["12.3000", "-0.0500", "99999999.9900", "1005.0000"].map(text);
    assert_eq!(widened(SMALL, LARGE, values()).await[..4], expected);
    let full = ColumnType::Decimal { precision: 15, scale: 6 };
    let most = decimals(full, vec![Some(999_999_999_999_999), Some(123_456_789_012_345), None]);
    let found = widened(full, ColumnType::Decimal { precision: 38, scale: 6 }, most).await;
    assert_eq!(found, [text("999999999.999999"), text("123456789.012345"), Null]);
}

#[tokio::test]
async fn i7_floats_become_doubles_of_exactly_their_value() {
    let floats = vec![
        0.1_f32,
        1.0 / 3.0,
        -16_777_217.5,
        f32::MAX,
        f32::MIN_POSITIVE,
        f32::from_bits(1),
        f32::from_bits(0x7f_ffff),
        -1.1e-40,
        3.402_823_3e38,
        0.0,
        f32::NAN,
        f32::INFINITY,
    ];
    let doubles: ArrayRef =
        Arc::new(floats.iter().map(|value| Some(f64::from(*value))).collect::<Float64Array>());
    let found = widened(ColumnType::Float, ColumnType::Double, Arc::new(Float32Array::from(floats))).await;
    assert_eq!(found, fresh(ColumnType::Double, doubles).await);
}

#[tokio::test]
async fn i7_random_floats_become_doubles_of_exactly_their_value() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        f32::from_bits((state >> 32) as u32)
    };
    let floats: Vec<f32> = (0..20_000).map(|_| next()).collect();
    let doubles: ArrayRef =
        Arc::new(floats.iter().map(|value| Some(f64::from(*value))).collect::<Float64Array>());
    let found = widened(ColumnType::Float, ColumnType::Double, Arc::new(Float32Array::from(floats))).await;
    assert!(found == fresh(ColumnType::Double, doubles).await);
}

#[tokio::test]
async fn i7_doubles_become_text_that_reads_back_the_same() {
    let doubles = vec![0.1, 1.0 / 3.0, 5e-324, f64::MAX, -2.5, 1e20];
    let values: ArrayRef = Arc::new(Float64Array::from(doubles.clone()));
    let found = widened(ColumnType::Double, ColumnType::String, values).await;
    for (value, expected) in found.iter().zip(doubles) {
        let Text(text) = value else { panic!("{value:?}") };
        assert_eq!(text.parse::<f64>().unwrap(), expected);
    }
    let values: ArrayRef = Arc::new(Float64Array::from(vec![Some(f64::NAN), None]));
    assert_eq!(widened(ColumnType::Double, ColumnType::String, values).await, [text("NaN"), Null]);
}

#[tokio::test]
async fn i7_everything_else_widens_into_its_text() {
    let to = ColumnType::String;
    let values: ArrayRef = Arc::new(BooleanArray::from(vec![Some(true), Some(false), None]));
    assert_eq!(widened(ColumnType::Boolean, to, values).await, [text("true"), text("false"), Null]);
    let values: ArrayRef = Arc::new(Date32Array::from(vec![Some(0), None]));
    assert_eq!(widened(ColumnType::NaiveDate, to, values).await, [text("1970-01-01"), Null]);
    let values: ArrayRef = Arc::new(Time64MicrosecondArray::from(vec![1]));
    assert_eq!(widened(ColumnType::NaiveTime, to, values).await, [text("00:00:00.000001")]);
    let values: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![1]));
    assert_eq!(widened(ColumnType::NaiveDatetime, to, values).await, [text("1970-01-01T00:00:00.000001")]);
    let values: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![1]).with_timezone(UTC));
    assert_eq!(widened(ColumnType::UtcDatetime, to, values).await, [text("1970-01-01T00:00:00.000001Z")]);
    let values: ArrayRef = Arc::new(StringArray::from(vec!["{\"a\": 1}"]));
    assert_eq!(widened(ColumnType::Json, to, values).await, [text("{\"a\": 1}")]);
    let values: ArrayRef = Arc::new(Date32Array::from(vec![Some(-719_529), Some(i32::MAX), None]));
    assert_eq!(
        widened(ColumnType::NaiveDate, ColumnType::NaiveDatetime, values).await,
        [text("-000001-12-31T00:00:00.000000"), text("infinity"), Null]
    );
}

/// What the values are as text everywhere else.
fn text_form(kind: ColumnType, values: &ArrayRef) -> Vec<Value> {
    let mut texts = Vec::new();
    let spelled = fivetran_do::core::text::for_each_row(values, kind, |value| {
        texts.push(value.map_or(Null, |value| Text(String::from_utf8(value.to_vec()).unwrap())));
        Ok(())
    });
    spelled.unwrap();
    texts
}

#[tokio::test]
async fn i7_bytes_become_the_text_they_are_everywhere() {
    let bytes = |length: usize| (0..length).map(|at| (at * 89 + at / 256) as u8).collect::<Vec<_>>();
    let lengths = (0..50).chain([3_071, 3_072, 3_073, 6_145, 100_000]);
    let all = lengths.map(|length| Some(bytes(length))).chain([None, Some(vec![0; 4]), Some(vec![0xff; 5])]);
    let all = all.collect::<Vec<_>>();
    let values: ArrayRef = Arc::new(BinaryArray::from_opt_vec(all.iter().map(Option::as_deref).collect()));
    let found = widened(ColumnType::Binary, ColumnType::String, values.clone()).await;
    assert_eq!(found[2], text("AFk="));
    assert!(found == text_form(ColumnType::Binary, &values));
}

#[tokio::test]
async fn a_table_of_many_bytes_becomes_text_step_by_step() {
    // More than a step may cost, in rows that cost very differently.
    let sizes = [1_000_000, 10, 1_400_000, 1_300_000, 0, 1_400_000, 3];
    let all = sizes.iter().map(|size| Some(vec![7_u8; *size])).collect::<Vec<_>>();
    let values: ArrayRef = Arc::new(BinaryArray::from_opt_vec(all.iter().map(Option::as_deref).collect()));
    let found = widened(ColumnType::Binary, ColumnType::String, values.clone()).await;
    assert!(found == text_form(ColumnType::Binary, &values));
}

#[tokio::test]
async fn i7_dates_of_any_year_become_the_text_they_are_everywhere() {
    let days = [0, -719_528, -719_529, -719_528 - 366 * 12_345, 2_932_896, 2_932_897, 2_145_042_905];
    let days = days.into_iter().chain([i32::MAX, -i32::MAX]).map(Some).chain([None]).collect::<Vec<_>>();
    let instant = |day: &Option<i32>| {
        day.map(|day| match day {
            i32::MAX => i64::MAX,
            day if day == -i32::MAX => -i64::MAX,
            day => i64::from(day % 100_000_000) * 86_400_000_000 + 1,
        })
    };
    let instants = || TimestampMicrosecondArray::from(days.iter().map(instant).collect::<Vec<_>>());
    let zoned: ArrayRef = Arc::new(instants().with_timezone(UTC));
    for (kind, values) in [
        (ColumnType::NaiveDate, Arc::new(Date32Array::from(days.clone())) as ArrayRef),
        (ColumnType::NaiveDatetime, Arc::new(instants()) as ArrayRef),
        (ColumnType::UtcDatetime, zoned),
    ] {
        let found = widened(kind, ColumnType::String, values.clone()).await;
        assert_eq!(found, text_form(kind, &values), "{kind:?}");
    }
}

#[tokio::test]
async fn text_that_was_a_number_stays_text_after_widening() {
    let world = World::new();
    let first = load(table("t", &[("id", ColumnType::Int), ("v", ColumnType::Long)], 1), 1, LoadMode::Full);
    let one: ArrayRef = Arc::new(Int32Array::from(vec![1]));
    world.load(&first, batch(&first, vec![one, Arc::new(Int64Array::from(vec![7]))])).await;
    let second =
        load(table("t", &[("id", ColumnType::Int), ("v", ColumnType::String)], 1), 2, LoadMode::Incremental);
    let two: ArrayRef = Arc::new(Int32Array::from(vec![2]));
    world.load(&second, batch(&second, vec![two, Arc::new(StringArray::from(vec!["007"]))])).await;
    assert_eq!(column_v(&world), [text("7"), text("007")]);
}

#[tokio::test]
async fn a_changed_key_rebuilds_the_table_and_keeps_its_rows() {
    let world = World::new();
    let first = load(people(), 1, LoadMode::Full);
    world.load(&first, people_batch(&first, &[(1, "Ada"), (2, "Bob")])).await;
    let mut schema = people();
    schema.primary_key = vec!["name".to_owned()];
    let second = load(schema, 2, LoadMode::Incremental);
    let receipt = world.load(&second, people_batch(&second, &[(9, "Ada")])).await;
    assert_eq!(receipt.live_rows, Some(2));
    assert_eq!(
        world.select("SELECT id, name FROM crm__people ORDER BY name"),
        [[Integer(9), text("Ada")], [Integer(2), text("Bob")]]
    );
}

#[tokio::test]
async fn i8_rows_without_a_value_for_a_new_key_are_kept_as_deleted() {
    let world = World::new();
    let first = load(people(), 1, LoadMode::Full);
    world.load(&first, people_batch(&first, &[(1, "Ada")])).await;
    let mut schema = people();
    schema.columns.insert(2, column("tenant", ColumnType::String));
    schema.primary_key = vec!["id".to_owned(), "tenant".to_owned()];
    world.d1.prepare(&load(schema, 2, LoadMode::Full)).await.unwrap();
    assert_eq!(
        world.select("SELECT id, name, tenant, _fivetran_deleted FROM crm__people"),
        [[Integer(1), text("Ada"), text(""), Integer(1)]]
    );
}

#[tokio::test]
async fn i8_the_users_views_indexes_and_triggers_survive_a_rebuild() {
    let world = World::new();
    let first = load(people(), 1, LoadMode::Full);
    world.load(&first, people_batch(&first, &[(1, "Ada")])).await;
    let own = "CREATE VIEW names AS SELECT name FROM crm__people;
        CREATE INDEX by_name ON crm__people (name);
        CREATE TABLE audit (id);
        CREATE TRIGGER audited AFTER INSERT ON crm__people BEGIN INSERT INTO audit VALUES (new.id); END;";
    world.db.with(|connection| connection.execute_batch(own).unwrap());
    let schema = table("people", &[("id", ColumnType::String), ("name", ColumnType::String)], 1);
    world.d1.prepare(&load(schema, 2, LoadMode::Incremental)).await.unwrap();
    assert_eq!(world.select("SELECT * FROM names"), [[text("Ada")]]);
    let objects =
        "SELECT name, tbl_name FROM sqlite_master WHERE name IN ('by_name', 'audited', 'names') ORDER BY 1";
    assert_eq!(
        world.select(objects),
        [
            [text("audited"), text("crm__people")],
            [text("by_name"), text("crm__people")],
            [text("names"), text("names")]
        ]
    );
    assert_eq!(world.count("SELECT count(*) FROM audit"), 0);
}

#[tokio::test]
async fn i3_a_rebuild_torn_anywhere_is_finished_or_begun_again() {
    for atomic in [true, false] {
        for statements in 0..45 {
            let world = World::new();
            let first = load(people(), 1, LoadMode::Full);
            world.load(&first, people_batch(&first, &[(1, "Ada"), (2, "Bob")])).await;
            world.db.with(|connection| {
                connection.execute_batch("CREATE INDEX by_name ON crm__people (name)").unwrap();
            });
            let schema = table("people", &[("id", ColumnType::String), ("name", ColumnType::String)], 1);
            let second = load(schema, 2, LoadMode::Incremental);
            let fault = if atomic { Fault::LostAfter(statements) } else { Fault::TornAfter(statements) };
            world.db.set_fault(Some(fault));
            let _ = world.d1.prepare(&second).await;
            world.db.set_fault(None);
            // Another run comes along, not the same one.
            let third = crate::world::load(second.table.clone(), 3, LoadMode::Incremental);
            world.d1.prepare(&third).await.unwrap();
            assert_eq!(
                world.select("SELECT id, name FROM crm__people ORDER BY id"),
                [[text("1"), text("Ada")], [text("2"), text("Bob")]],
                "atomic {atomic}, after {statements}"
            );
            assert_eq!(world.d1.describe("crm", "people").await.unwrap(), Some(third.table));
            let objects =
                "SELECT name FROM sqlite_master WHERE name NOT LIKE '\\_fivetran%' ESCAPE '\\' ORDER BY 1";
            assert_eq!(world.select(objects), [[text("by_name")], [text("crm__people")]]);
        }
    }
}

/// Keys of every stored form page correctly: a rebuild walks them in steps.
#[tokio::test]
async fn a_large_table_is_rebuilt_page_by_page_whatever_its_key() {
    const ROWS: i64 = 210_000;
    let numbers = || (0..ROWS).map(|row| row * 37 - 1_000_000);
    let cents = ColumnType::Decimal { precision: 12, scale: 2 };
    let keys: [(ColumnType, ArrayRef); 4] = [
        (ColumnType::Double, Arc::new(numbers().map(|n| Some(n as f64 / 7.0)).collect::<Float64Array>())),
        (cents, decimals(cents, numbers().map(|n| Some(i128::from(n))).collect())),
        (
            ColumnType::Binary,
            Arc::new(numbers().map(|n| Some(n.to_be_bytes().to_vec())).collect::<BinaryArray>()),
        ),
        (ColumnType::Long, Arc::new(numbers().map(Some).collect::<Int64Array>())),
    ];
    for (kind, ids) in keys {
        let world = World::new();
        let schema = |value| table("t", &[("k", kind), ("v", value)], 1);
        let first = load(schema(ColumnType::Long), 1, LoadMode::Full);
        let values: ArrayRef = Arc::new((0..ROWS).map(Some).collect::<Int64Array>());
        world.load(&first, batch(&first, vec![ids, values])).await;
        world.d1.prepare(&load(schema(ColumnType::String), 2, LoadMode::Full)).await.unwrap();
        assert_eq!(world.count("SELECT count(*) FROM crm__t WHERE typeof(v) = 'text'"), ROWS, "{kind:?}");
        assert_eq!(world.count("SELECT count(DISTINCT v) FROM crm__t"), ROWS, "{kind:?}");
    }
}
