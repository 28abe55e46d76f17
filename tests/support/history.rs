//! What type-2 history must be, for every destination: stories with what comes of them, and a model for any sequence of syncs.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use fivetran_do::core::table::{ACTIVE, END, END_OF_TIME, START, SYNCED, TableColumn, TableSchema};
use fivetran_do::core::types::{ColumnType, UTC};
use fivetran_do::destinations::TableLoad;
use proptest::prelude::*;

/// Name and color of a person.
pub type Row = [Option<String>; 2];

/// Chunks of people by id.
pub type Chunks = Vec<BTreeMap<i64, Row>>;

/// One sync of the table.
#[derive(Clone, Debug)]
pub struct Sync {
    pub full: bool,
    /// Whether colors are synced.
    pub color: bool,
    /// Whether workers die on the way.
    pub torn: bool,
    pub chunks: Chunks,
}

/// A version: values, start, end, active.
pub type Version = (Row, i64, i64, bool);

/// `{schema}.people` with history, with or without colors.
pub fn people(schema: &str, color: bool) -> TableSchema {
    let column =
        |name: &str, column_type, nullable| TableColumn { name: name.to_owned(), column_type, nullable };
    let mut columns = vec![column("id", ColumnType::Long, false), column("name", ColumnType::String, true)];
    columns.extend(color.then(|| column("color", ColumnType::String, true)));
    columns.extend([
        column(START, ColumnType::UtcDatetime, false),
        column(END, ColumnType::UtcDatetime, false),
        column(ACTIVE, ColumnType::Boolean, false),
        column(SYNCED, ColumnType::UtcDatetime, false),
    ]);
    TableSchema {
        schema: schema.to_owned(),
        table: "people".to_owned(),
        columns,
        primary_key: vec!["id".to_owned(), START.to_owned()],
    }
}

/// Rows of [`people`], as the engine hands them over.
pub fn batch(load: &TableLoad, chunk: &BTreeMap<i64, Row>) -> RecordBatch {
    let rows = chunk.len();
    let text = |cell: usize| -> ArrayRef {
        Arc::new(StringArray::from_iter(chunk.values().map(|row| row[cell].as_deref())))
    };
    let instants = |micros: i64| -> ArrayRef {
        Arc::new(TimestampMicrosecondArray::from_value(micros, rows).with_timezone(UTC))
    };
    let mut columns: Vec<ArrayRef> =
        vec![Arc::new(Int64Array::from_iter_values(chunk.keys().copied())), text(0)];
    if load.table.column("color").is_some() {
        columns.push(text(1));
    }
    columns.push(instants(load.synced_at));
    columns.push(instants(END_OF_TIME));
    columns.push(Arc::new(BooleanArray::from(vec![true; rows])));
    columns.push(instants(load.synced_at));
    RecordBatch::try_new(load.table.arrow(), columns).unwrap()
}

/// What the rules say, without any of the program's means.
#[derive(Clone, Default)]
pub struct Model(pub BTreeMap<i64, Vec<Version>>);

impl Model {
    /// A sync that starts at that time.
    pub fn sync(&mut self, at: i64, sync: &Sync) {
        let mut seen: BTreeMap<i64, Row> = BTreeMap::new();
        sync.chunks.iter().for_each(|chunk| seen.extend(chunk.clone()));
        let synced = |[name, color]: &Row| [name.clone(), color.clone().filter(|_| sync.color)];
        for (key, row) in &seen {
            let versions = self.0.entry(*key).or_default();
            let same = |old: &Row| old[0] == row[0] && (!sync.color || old[1] == row[1]);
            match versions.last_mut() {
                Some((old, _, _, true)) if same(old) => continue,
                Some((_, _, end, active @ true)) => (*end, *active) = (at - 1_000, false),
                _ => {}
            }
            versions.push((synced(row), at, END_OF_TIME, true));
        }
        for (_, versions) in self.0.iter_mut().filter(|(key, _)| sync.full && !seen.contains_key(*key)) {
            if let Some((_, _, end, active @ true)) = versions.last_mut() {
                (*end, *active) = (at, false);
            }
        }
    }

    pub fn versions(&self) -> Vec<(i64, Version)> {
        let of_key = |(key, versions): (&i64, &Vec<Version>)| {
            versions.iter().map(|version| (*key, version.clone())).collect::<Vec<_>>()
        };
        self.0.iter().flat_map(of_key).collect()
    }

    pub fn active(&self) -> u64 {
        self.0.values().flatten().filter(|version| version.3).count() as u64
    }
}

/// Any syncs: chunks of a run repeat keys with other values and with the old ones again.
pub fn syncs() -> impl Strategy<Value = Vec<Sync>> {
    let value = || prop::option::weighted(0.8, "[ab]");
    let row = (value(), value()).prop_map(|(name, color)| [name, color]);
    let chunks = prop::collection::vec(prop::collection::btree_map(0..6_i64, row, 0..5), 1..4);
    let sync = (any::<bool>(), prop::bool::weighted(0.7), any::<bool>(), chunks)
        .prop_map(|(full, color, torn, chunks)| Sync { full, color, torn, chunks });
    prop::collection::vec(sync, 1..7)
}

/// A sync of one chunk, of `id name color`, where `-` is NULL.
pub fn sync(full: bool, color: bool, rows: &[&str]) -> Sync {
    let row = |row: &&str| {
        let cells: Vec<Option<String>> =
            row.split(' ').map(|cell| Some(cell.to_owned()).filter(|cell| cell != "-")).collect();
        (cells[0].as_ref().unwrap().parse().unwrap(), [cells[1].clone(), cells[2].clone()])
    };
    Sync { full, color, torn: false, chunks: vec![rows.iter().map(row).collect()] }
}

/// Stories with their ends, versions as [`told`] tells them.
pub fn stories() -> Vec<(&'static str, Vec<Sync>, &'static [&'static str])> {
    let (full, changes) = (true, false);
    vec![
        (
            "a change closes a version and begins another",
            vec![sync(full, true, &["1 Ada red", "2 Bob -"]), sync(changes, true, &["1 Ada blue"])],
            &["1 Ada red: 1 to just before 2", "1 Ada blue: since 2", "2 Bob -: since 1"],
        ),
        (
            "rows that come again as they were have no new version",
            vec![
                sync(full, true, &["1 Ada red", "2 - -"]),
                sync(changes, true, &["1 Ada red", "2 - -"]),
                sync(full, true, &["1 Ada red", "2 - -"]),
                sync(changes, true, &["2 - red"]),
            ],
            &["1 Ada red: since 1", "2 - -: 1 to just before 4", "2 - red: since 4"],
        ),
        (
            "a value that comes back begins a version",
            vec![
                sync(full, true, &["1 Ada red"]),
                sync(changes, true, &["1 Ada blue"]),
                sync(changes, true, &["1 Ada red"]),
            ],
            &["1 Ada red: 1 to just before 2", "1 Ada blue: 2 to just before 3", "1 Ada red: since 3"],
        ),
        (
            "a row that a full sync misses is closed, once, and may come back",
            vec![
                sync(full, true, &["1 Ada red", "2 Bob red"]),
                sync(full, true, &["2 Bob red"]),
                sync(full, true, &["2 Bob red"]),
                sync(changes, true, &["1 Ada red"]),
                sync(changes, true, &["1 Ada red"]),
            ],
            &["1 Ada red: 1 to 2", "1 Ada red: since 4", "2 Bob red: since 1"],
        ),
        (
            "what was changed before it vanished is closed too",
            vec![
                sync(full, true, &["1 Ada red"]),
                sync(changes, true, &["1 Ada blue"]),
                sync(full, true, &[]),
                sync(full, true, &["1 Ada blue"]),
            ],
            &["1 Ada red: 1 to just before 2", "1 Ada blue: 2 to 3", "1 Ada blue: since 4"],
        ),
        (
            "a column that is switched off or on is no change, only another value is",
            vec![
                sync(full, true, &["1 Ada red", "2 Bob red", "3 Cyd red", "4 Dan red"]),
                sync(changes, false, &["1 Ada -", "2 Bo -", "3 Cyd -"]),
                sync(full, true, &["1 Ada red", "2 Bo red", "3 Cyd blue", "4 Dan red"]),
            ],
            &[
                "1 Ada red: since 1",
                "2 Bob red: 1 to just before 2",
                "2 Bo -: 2 to just before 3",
                "2 Bo red: since 3",
                "3 Cyd red: 1 to just before 3",
                "3 Cyd blue: since 3",
                "4 Dan red: since 1",
            ],
        ),
        (
            "a new column begins versions where it has a value",
            vec![sync(full, false, &["1 Ada -", "2 Bob -"]), sync(full, true, &["1 Ada red", "2 Bob -"])],
            &["1 Ada -: 1 to just before 2", "1 Ada red: since 2", "2 Bob -: since 1"],
        ),
        ("a table without rows has no versions", vec![sync(full, true, &[]), sync(changes, true, &[])], &[]),
    ]
}

/// A version in words. `synced_at` tells the start of a sync by its number, which counts from 1.
pub fn told((id, (row, start, end, active)): &(i64, Version), synced_at: impl Fn(u64) -> i64) -> String {
    let number = |at: i64| (1..20_u64).find(|number| synced_at(*number) == at);
    let cell = |cell: &Option<String>| cell.clone().unwrap_or_else(|| "-".to_owned());
    let lasted = match (number(*start), *end, active) {
        (Some(start), END_OF_TIME, true) => format!("since {start}"),
        (Some(start), end, false) => match (number(end), number(end + 1_000)) {
            (Some(end), _) => format!("{start} to {end}"),
            (_, Some(end)) => format!("{start} to just before {end}"),
            _ => format!("{start} to {end} microseconds"),
        },
        _ => format!("{start} to {end}, active {active}"),
    };
    format!("{id} {} {}: {lasted}", cell(&row[0]), cell(&row[1]))
}
