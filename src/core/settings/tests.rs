use super::*;
use crate::core::ErrorKind;
use crate::core::catalog::{ChangeTracking, Column, Stream};
use crate::core::table::{ACTIVE, DELETED, END, ROW_ID, START, SYNCED, TableColumn, TableSchema};
use crate::core::types::{ColumnType, Fidelity};

const TARGET: Target<'static> = Target { schema: "shop_public", table: "orders", current: None };

fn stream(columns: &[(&str, ColumnType)], key: &[&str]) -> Stream {
    let column = |(name, column_type): &(&str, ColumnType)| Column {
        name: (*name).to_owned(),
        column_type: *column_type,
        source_type: column_type.name().to_owned(),
        nullable: !key.contains(name),
        fidelity: Fidelity::Exact,
    };
    Stream {
        name: StreamName::new("public", "Orders"),
        columns: columns.iter().map(column).collect(),
        primary_key: key.iter().map(|name| (*name).to_owned()).collect(),
        change_tracking: ChangeTracking::Transaction,
        estimated_rows: None,
        estimated_bytes: None,
    }
}

fn orders() -> Stream {
    stream(&[("Id", ColumnType::Long), ("Note", ColumnType::String), ("qty", ColumnType::Int)], &["Id"])
}

fn settings(policy: SchemaChangePolicy, own: StreamSettings) -> ConnectionSettings {
    ConnectionSettings {
        policy,
        streams: BTreeMap::from([(orders().name, own)]),
        ..ConnectionSettings::default()
    }
}

fn by_policy(policy: SchemaChangePolicy) -> ConnectionSettings {
    ConnectionSettings { policy, ..ConnectionSettings::default() }
}

fn with_column(name: &str, set: ColumnSettings) -> StreamSettings {
    StreamSettings { columns: BTreeMap::from([(name.to_owned(), set)]), ..StreamSettings::default() }
}

fn first_sync(stream: &Stream, settings: &ConnectionSettings) -> Selection {
    select(stream, settings, None, false, &TARGET).unwrap()
}

fn table_names(selection: &Selection) -> Vec<&str> {
    selection.table.columns.iter().map(|column| column.name.as_str()).collect()
}

use SchemaChangePolicy::{AllowAll, AllowColumns, BlockAll};

#[test]
fn at_the_first_sync_everything_is_on_under_every_policy() {
    for policy in [AllowAll, AllowColumns, BlockAll] {
        let selection = first_sync(&orders(), &by_policy(policy));
        assert!(selection.enabled, "{policy:?}");
        assert_eq!(selection.source_columns(), ["Id", "Note", "qty"]);
        assert_eq!(selection.settled, None);
    }
}

#[test]
fn the_table_has_renamed_columns_then_system_columns_and_the_sources_key() {
    let selection = first_sync(&orders(), &ConnectionSettings::default());
    assert_eq!(table_names(&selection), ["id", "note", "qty", DELETED, SYNCED]);
    assert_eq!(selection.table.primary_key, ["id"]);
    let nullable = selection.table.columns.iter().map(|column| column.nullable).collect::<Vec<_>>();
    assert_eq!(nullable, [false, true, true, false, false]);
    assert_eq!((selection.table.schema.as_str(), selection.table.table.as_str()), ("shop_public", "orders"));
}

#[test]
fn a_table_without_key_gets_a_row_id_in_front() {
    let selection = first_sync(&stream(&[("a", ColumnType::Int)], &[]), &ConnectionSettings::default());
    assert_eq!(table_names(&selection), [ROW_ID, "a", DELETED, SYNCED]);
    assert_eq!(selection.table.primary_key, [ROW_ID]);
}

#[test]
fn new_tables_follow_the_policy_and_the_decision_is_settled() {
    for (policy, on) in [(AllowAll, true), (AllowColumns, false), (BlockAll, false)] {
        let mut settings = by_policy(policy);
        let selection = select(&orders(), &settings, None, true, &TARGET).unwrap();
        assert_eq!(selection.enabled, on, "{policy:?}");
        assert_eq!(selection.reason.is_none(), on);
        if let Some(settled) = selection.settled {
            settings.streams.insert(orders().name, settled);
        }
        let next = select(&orders(), &settings, Some(&orders()), true, &TARGET).unwrap();
        assert_eq!(next.enabled, on, "{policy:?} at the next run");
        assert_eq!(next.settled, None);
    }
}

#[test]
fn new_columns_follow_the_policy_and_the_decision_is_settled() {
    let known = stream(&[("Id", ColumnType::Long), ("Note", ColumnType::String)], &["Id"]);
    for (policy, on) in [(AllowAll, true), (AllowColumns, true), (BlockAll, false)] {
        let mut settings = by_policy(policy);
        let selection = select(&orders(), &settings, Some(&known), true, &TARGET).unwrap();
        assert!(selection.enabled);
        assert_eq!(selection.source_columns().contains(&"qty".to_owned()), on, "{policy:?}");
        if let Some(settled) = selection.settled {
            settings.streams.insert(orders().name, settled);
        }
        let next = select(&orders(), &settings, Some(&orders()), true, &TARGET).unwrap();
        assert_eq!(next.source_columns().contains(&"qty".to_owned()), on, "{policy:?} at the next run");
    }
}

#[test]
fn a_hand_beats_the_policy() {
    let on = StreamSettings { enabled: Some(true), ..StreamSettings::default() };
    let selection = select(&orders(), &settings(BlockAll, on), None, true, &TARGET).unwrap();
    assert!(selection.enabled);
    assert_eq!(selection.columns.len(), 3, "a table switched on by hand comes with its columns");

    let off = StreamSettings { enabled: Some(false), ..StreamSettings::default() };
    let selection = first_sync(&orders(), &settings(AllowAll, off));
    assert_eq!(selection.reason.as_deref(), Some("Table public.Orders is switched off"));

    let known = stream(&[("Id", ColumnType::Long)], &["Id"]);
    let qty = with_column("qty", ColumnSettings { enabled: Some(true), ..ColumnSettings::default() });
    let selection = select(&orders(), &settings(BlockAll, qty), Some(&known), true, &TARGET).unwrap();
    assert_eq!(selection.source_columns(), ["Id", "qty"]);
}

#[test]
fn a_schema_switched_off_takes_its_tables_with_it() {
    let mut settings =
        settings(AllowAll, StreamSettings { enabled: Some(true), ..StreamSettings::default() });
    settings.schemas.insert("public".to_owned(), SchemaSettings { enabled: Some(false) });
    assert!(!first_sync(&orders(), &settings).enabled);
}

#[test]
fn blocked_columns_stay_out_but_keys_cannot_be_blocked() {
    let off = ColumnSettings { enabled: Some(false), ..ColumnSettings::default() };
    let mut own = with_column("Note", off);
    own.columns.insert("Id".to_owned(), off);
    let selection = first_sync(&orders(), &settings(AllowAll, own));
    assert_eq!(selection.source_columns(), ["Id", "qty"]);
    assert_eq!(table_names(&selection), ["id", "qty", DELETED, SYNCED]);

    let known = stream(&[("Note", ColumnType::String), ("qty", ColumnType::Int)], &["Note"]);
    let selection = select(&orders(), &by_policy(BlockAll), Some(&known), true, &TARGET).unwrap();
    assert!(selection.source_columns().contains(&"Id".to_owned()), "a new key column is never refused");
}

#[test]
fn a_table_whose_columns_are_all_off_says_so() {
    let off = with_column("a", ColumnSettings { enabled: Some(false), ..ColumnSettings::default() });
    let keyless = stream(&[("a", ColumnType::Int)], &[]);
    let selection = first_sync(&keyless, &settings(AllowAll, off));
    assert_eq!(selection.reason.as_deref(), Some("Table public.Orders has no column that is switched on"));
    assert!(!first_sync(&stream(&[], &[]), &ConnectionSettings::default()).enabled);
}

#[test]
fn hashed_columns_become_text() {
    let hashed = with_column("qty", ColumnSettings { hashed: Some(true), ..ColumnSettings::default() });
    let selection = first_sync(&orders(), &settings(AllowAll, hashed));
    assert!(selection.columns[2].hashed);
    assert_eq!(selection.table.column("qty").unwrap().column_type, ColumnType::String);
}

#[test]
fn keys_can_be_set_and_unset_by_hand() {
    let mut own =
        with_column("Id", ColumnSettings { is_primary_key: Some(false), ..ColumnSettings::default() });
    let add = ColumnSettings { is_primary_key: Some(true), ..ColumnSettings::default() };
    own.columns.insert("qty".to_owned(), add);
    own.columns.insert("Note".to_owned(), add);
    let selection = first_sync(&orders(), &settings(AllowAll, own));
    assert_eq!(selection.table.primary_key, ["note", "qty"]);
    assert!(selection.table.column("id").unwrap().nullable);
}

#[test]
fn settings_that_name_missing_columns_are_errors_with_their_place() {
    let key = ColumnSettings { is_primary_key: Some(true), ..ColumnSettings::default() };
    let cursor = StreamSettings { cursor_column: Some("QTY".to_owned()), ..StreamSettings::default() };
    for (own, place) in [
        (with_column("gone", key), "schemas.public.tables.Orders.columns.gone.is_primary_key"),
        (cursor, "schemas.public.tables.Orders.cursor_column"),
    ] {
        let error = select(&orders(), &settings(AllowAll, own), None, false, &TARGET).unwrap_err();
        assert_eq!((error.kind(), error.field_name()), (ErrorKind::InvalidInput, Some(place)));
    }
}

#[test]
fn the_sync_mode_decides_the_system_columns_and_the_key() {
    for (mode, system, key) in [
        (TableSyncMode::SoftDelete, vec![DELETED, SYNCED], vec!["id"]),
        (TableSyncMode::Live, vec![SYNCED], vec!["id"]),
        (TableSyncMode::History, vec![START, END, ACTIVE, SYNCED], vec!["id", START]),
    ] {
        let own = StreamSettings { sync_mode: Some(mode), ..StreamSettings::default() };
        let table = first_sync(&orders(), &settings(AllowAll, own)).table;
        assert_eq!(table.sync_mode(), mode);
        assert_eq!(table.columns[3..].iter().map(|column| column.name.as_str()).collect::<Vec<_>>(), system);
        assert_eq!(table.primary_key, key);
        assert_eq!(table.carried().count(), 3, "{mode:?}");
    }
}

#[test]
fn a_mark_to_read_again_stays_until_it_is_taken_back() {
    let own = StreamSettings { resync: Some("Hashing changed".to_owned()), ..StreamSettings::default() };
    let selection = first_sync(&orders(), &settings(AllowAll, own));
    assert_eq!(selection.resync.as_deref(), Some("Hashing changed"));
}

fn standing(columns: &[(&str, ColumnType)], key: &[&str]) -> TableSchema {
    let column = |(name, column_type): &(&str, ColumnType)| TableColumn {
        name: (*name).to_owned(),
        column_type: *column_type,
        nullable: true,
    };
    TableSchema {
        schema: "shop_public".to_owned(),
        table: "orders".to_owned(),
        columns: columns.iter().map(column).collect(),
        primary_key: key.iter().map(|name| (*name).to_owned()).collect(),
    }
}

#[test]
fn i8_the_destinations_types_are_widened_and_never_narrowed() {
    let current = standing(
        &[
            ("id", ColumnType::Short),
            ("qty", ColumnType::Double),
            ("note", ColumnType::Json),
            ("gone", ColumnType::Int),
        ],
        &["id"],
    );
    let target = Target { current: Some(&current), ..TARGET };
    let selection = select(&orders(), &ConnectionSettings::default(), None, false, &target).unwrap();
    let types = selection.table.columns.iter().map(|column| column.column_type).collect::<Vec<_>>();
    use ColumnType::{Boolean, Double, Long, String, UtcDatetime};
    assert_eq!(types, [Long, String, Double, Boolean, UtcDatetime], "a vanished column is not in the batch");
    assert_eq!(selection.resync, None);
}

#[test]
fn a_changed_key_or_destination_name_asks_for_a_resync() {
    let current = standing(&[("id", ColumnType::Long)], &["id"]);
    let target = Target { current: Some(&current), ..TARGET };
    let rekeyed = stream(&[("Id", ColumnType::Long), ("qty", ColumnType::Int)], &["Id", "qty"]);
    let resync = |stream: &Stream, known: &Stream| {
        select(stream, &ConnectionSettings::default(), Some(known), true, &target).unwrap().resync
    };
    assert_eq!(resync(&orders(), &orders()), None);
    assert_eq!(resync(&rekeyed, &orders()).as_deref(), Some("The key changed from (id) to (id, qty)"));

    let before = stream(&[("Id", ColumnType::Long), ("a b", ColumnType::Int)], &["Id"]);
    let after =
        stream(&[("Id", ColumnType::Long), ("a b", ColumnType::Int), ("a_b", ColumnType::Int)], &["Id"]);
    assert!(resync(&after, &before).unwrap().starts_with("Column 'a b' is now a_b_"));
    assert_eq!(resync(&after, &after), None);
}

#[test]
fn settings_are_stored_as_nested_objects_and_read_back() {
    let json = serde_json::json!({
        "policy": "ALLOW_COLUMNS",
        "schemas": { "public": { "enabled": true } },
        "streams": { "public": { "Orders": {
            "sync_mode": "SOFT_DELETE",
            "cursor_column": "qty",
            "columns": { "Note": { "hashed": true } }
        } } }
    });
    let settings: ConnectionSettings = serde_json::from_value(json.clone()).unwrap();
    assert_eq!(settings.streams[&orders().name].cursor_column.as_deref(), Some("qty"));
    assert_eq!(serde_json::to_value(&settings).unwrap(), json);
    assert_eq!(serde_json::from_str::<ConnectionSettings>("{}").unwrap(), ConnectionSettings::default());
    let _ = schemars::schema_for!(ConnectionSettings);
}

#[test]
fn a_new_schema_follows_the_policy_and_what_a_person_set_stays() {
    let (old, new) = (StreamName::new("public", "a"), StreamName::new("late", "a"));
    let settled = |settings: &ConnectionSettings, known_any| {
        settle_schemas([&old, &new], [&old], settings, known_any).into_keys().collect::<Vec<_>>()
    };
    for policy in [AllowColumns, BlockAll] {
        assert_eq!(settled(&by_policy(policy), true), ["late"]);
        assert!(settled(&by_policy(policy), false).is_empty(), "at the first sync everything is on");
        let mut by_hand = by_policy(policy);
        by_hand.schemas.insert("late".to_owned(), SchemaSettings { enabled: Some(true) });
        assert!(settled(&by_hand, true).is_empty());
    }
    assert!(settled(&by_policy(AllowAll), true).is_empty());
}
