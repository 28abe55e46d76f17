//! DuckDB's SQL for the versions of a table that keeps history.
//!
//! | step | its rows |
//! |---|---|
//! | `observed` | those of the parts, in the columns and types that the table has now |
//! | `seen` | of each load and key what was read last |
//! | `told` | with the time they were found gone, if that is what was observed next |
//! | `compared` | with whether a version begins: first of its key, back again, or with other values than before |
//! | `returned` | the same, where columns were off for some loads |
//! | `numbered` | with the number of their version |
//! | `lasting` | with what is true of the whole version |
//!
//! Then the first row of each version is the version. The text is made at each publish, because it names columns and
//! types, and stands in the manifest, because it must change together with the parts.

use super::config::Format;
use super::history::{ColumnsSince, History, row_key};
use super::layout::load_of;
use super::manifest::Manifest;
use crate::core::table::{ACTIVE, END, END_OF_TIME, START, SYNCED, TableColumn};
use crate::core::text;
use crate::core::types::ColumnType;

/// The statement, without a semicolon. It reads the DuckDB variable `files`, the list of the parts in order of their names.
pub(super) fn sql(manifest: &Manifest, history: &History) -> String {
    let table = manifest.table_schema();
    let row_key = row_key(&manifest.primary_key);
    let values = table.carried().filter(|column| !row_key.contains(&column.name));
    let (steady, patchy): (Vec<_>, Vec<_>) = values.partition(|column| history.gaps(&column.name).is_empty());
    let key = list(row_key.iter().map(|name| quote(name)));
    let window = format!("WINDOW versions AS (PARTITION BY {key} ORDER BY {START})");
    let mut steps = vec![
        ("observed", observed(manifest, history)),
        ("seen", seen(manifest.format, &key)),
        ("told", told(manifest.format, history, &key)),
        ("compared", compared(history, &steady, &patchy, &window)),
    ];
    if !patchy.is_empty() {
        steps.push(("returned", returned(&patchy, &window)));
    }
    let last = steps.last().map_or("compared", |(name, _)| *name);
    steps.push((
        "numbered",
        format!("SELECT *, sum(_fivetran_begins::INTEGER) OVER versions AS _fivetran_version FROM {last}\n{window}"),
    ));
    steps.push((
        "lasting",
        format!(
            "SELECT *, max({SYNCED}) OVER version AS _fivetran_last, max(_fivetran_gone) OVER version AS _fivetran_left\n\
             FROM numbered WINDOW version AS (PARTITION BY {key}, _fivetran_version)"
        ),
    ));
    let steps = steps.into_iter().map(|(name, query)| format!("{name} AS (\n{query}\n)"));
    format!("WITH {}\n{}", list(steps), versions(&table.columns, &key, &window))
}

/// The first row of each version, with its end.
fn versions(columns: &[TableColumn], key: &str, window: &str) -> String {
    let columns = columns.iter().map(|column| match column.name.as_str() {
        END => format!(
            "coalesce(_fivetran_left, lead({START}) OVER versions - INTERVAL 1 MILLISECOND, {}) AS {END}",
            instant(END_OF_TIME)
        ),
        ACTIVE => format!("_fivetran_left IS NULL AND lead({START}) OVER versions IS NULL AS {ACTIVE}"),
        SYNCED => format!("_fivetran_last AS {SYNCED}"),
        name => quote(name),
    });
    format!(
        "SELECT {}\nFROM lasting WHERE _fivetran_begins\n{window}\nORDER BY {key}, {START}",
        list(columns)
    )
}

/// The rows of the parts, by the columns they have.
fn observed(manifest: &Manifest, history: &History) -> String {
    let ends = history.columns_since.iter().skip(1).map(|era| era.load).chain([u64::MAX]);
    let mut first = 0;
    let mut selects = Vec::new();
    for (era, end) in history.columns_since.iter().zip(ends) {
        let parts = manifest.parts.iter().skip(first);
        let count = parts.take_while(|part| load_of(&part.path).is_some_and(|load| load < end)).count();
        if count > 0 {
            let files = format!("getvariable('files')[{}:{}]", first + 1, first + count);
            selects.push(select(manifest, era, &files));
        }
        first += count;
    }
    if selects.is_empty() {
        let typed = manifest
            .columns
            .iter()
            .map(|column| format!("NULL::{} AS {}", type_of(column.column_type), quote(&column.name)));
        selects.push(format!(
            "SELECT {}, NULL::VARCHAR AS _fivetran_file, NULL::BIGINT AS file_row_number WHERE false",
            list(typed)
        ));
    }
    selects.join("\nUNION ALL\n")
}

/// Files of the same columns, as the table is now.
fn select(manifest: &Manifest, era: &ColumnsSince, files: &str) -> String {
    let parquet = manifest.format == Format::Parquet;
    let columns = manifest.columns.iter().map(|column| {
        let name = quote(&column.name);
        let value = match era.column(&column.name) {
            None => format!("NULL::{}", type_of(column.column_type)),
            Some(from) => converted(&name, from.column_type, column.column_type, parquet),
        };
        if value == name { value } else { format!("{value} AS {name}") }
    });
    let row = if parquet { "file_row_number" } else { "0 AS file_row_number" };
    let types = era
        .columns
        .iter()
        .map(|column| format!("{}: '{}'", literal(&column.name), text_type(column.column_type)));
    let reader = match manifest.format {
        Format::Parquet => {
            format!("read_parquet({files}, filename = '_fivetran_file', file_row_number = true)")
        }
        Format::Jsonl => format!(
            "read_json({files}, filename = '_fivetran_file', format = 'newline_delimited', columns = {{{}}})",
            list(types)
        ),
        Format::Csv => format!(
            "read_csv({files}, filename = '_fivetran_file', header = true, auto_detect = false, delim = ',', \
             quote = '\"', escape = '\"', allow_quoted_nulls = false, columns = {{{}}})",
            list(types)
        ),
    };
    format!("SELECT {}, _fivetran_file, {row} FROM {reader}", list(columns))
}

/// A value of a part in the type the table has now. Bytes are base64 in text.
fn converted(name: &str, from: ColumnType, to: ColumnType, parquet: bool) -> String {
    match (from, to) {
        (ColumnType::Binary, ColumnType::Binary) if !parquet => format!("from_base64({name})"),
        (ColumnType::Binary, ColumnType::String) if parquet => format!("to_base64({name})"),
        (ColumnType::Binary, ColumnType::String) => name.to_owned(),
        (ColumnType::Json, ColumnType::Json) if !parquet => format!("{name}::JSON"),
        (from, to) if from == to => name.to_owned(),
        (_, to) => format!("{name}::{}", type_of(to)),
    }
}

/// What was read last of a key in each load. In text files a key occurs once, and rows have no number.
fn seen(format: Format, key: &str) -> String {
    let row = if format == Format::Parquet { ", file_row_number DESC" } else { "" };
    format!(
        "SELECT * FROM observed\n\
         QUALIFY row_number() OVER (PARTITION BY {key}, {START} ORDER BY _fivetran_file DESC{row}) = 1"
    )
}

/// When what was seen was found gone.
fn told(format: Format, history: &History, key: &str) -> String {
    let window = format!("WINDOW loads AS (PARTITION BY {key} ORDER BY {START})");
    if format == Format::Parquet {
        return format!(
            "SELECT *, CASE WHEN NOT lead({ACTIVE}) OVER loads THEN lead({START}) OVER loads END AS _fivetran_gone\n\
             FROM seen {window}"
        );
    }
    let full_loads = list(history.full_loads.iter().map(|start| instant(*start)));
    format!(
        "SELECT n.*, CASE WHEN _fivetran_next IS NULL OR f.start < _fivetran_next THEN f.start END AS _fivetran_gone\n\
         FROM (SELECT *, lead({START}) OVER loads AS _fivetran_next FROM seen {window}) AS n\n\
         ASOF LEFT JOIN (SELECT unnest([{full_loads}]::TIMESTAMPTZ[]) AS start) AS f ON n.{START} < f.start"
    )
}

/// Whether a version begins. Columns that some load lacked are compared where both this row and the one before have them.
fn compared(history: &History, steady: &[&TableColumn], patchy: &[&TableColumn], window: &str) -> String {
    let mut begins = vec![
        format!("lag({START}) OVER versions IS NULL"),
        "lag(_fivetran_gone) OVER versions IS NOT NULL".to_owned(),
    ];
    if !steady.is_empty() {
        let row = format!("row({})", list(steady.iter().map(|column| quote(&column.name))));
        begins.push(format!("{row} IS DISTINCT FROM lag({row}) OVER versions"));
    }
    let mut source = "told".to_owned();
    if !patchy.is_empty() {
        let carried = patchy.iter().enumerate().map(|(number, column)| {
            let gaps = history.gaps(&column.name).into_iter().map(outside);
            format!("{} AS {}", gaps.collect::<Vec<_>>().join(" AND "), carried(number))
        });
        source = format!("(SELECT *, {} FROM told)", list(carried));
    }
    for (number, column) in patchy.iter().enumerate() {
        let (name, carried) = (quote(&column.name), carried(number));
        begins.push(format!(
            "({carried} AND lag({carried}) OVER versions AND {name} IS DISTINCT FROM lag({name}) OVER versions)"
        ));
    }
    format!(
        "SELECT *, {} AS _fivetran_begins\nFROM {source} WHERE {ACTIVE}\n{window}",
        begins.join("\n  OR ")
    )
}

/// The same, with the columns that a row has again: those are compared with the version that stands, which has the values
/// of the last load before the gap, or NULL if it began within.
fn returned(patchy: &[&TableColumn], window: &str) -> String {
    let back = patchy.iter().enumerate().map(|(number, column)| {
        let (name, carried) = (quote(&column.name), carried(number));
        format!(
            "({carried} AND NOT lag({carried}) OVER versions AND {name} IS DISTINCT FROM \
             last_value(CASE WHEN {carried} OR _fivetran_begins THEN {{'v': {name}}} END IGNORE NULLS) \
             OVER (versions ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING).v)"
        )
    });
    format!(
        "SELECT * REPLACE (_fivetran_begins OR {} AS _fivetran_begins)\nFROM compared\n{window}",
        back.collect::<Vec<_>>().join("\n  OR ")
    )
}

fn carried(number: usize) -> String {
    format!("_fivetran_carried_{number}")
}

/// True of the loads that have the column.
fn outside((from, until): (i64, Option<i64>)) -> String {
    let before = format!("{START} < {}", instant(from));
    match until {
        Some(until) => format!("({before} OR {START} >= {})", instant(until)),
        None => before,
    }
}

fn type_of(column_type: ColumnType) -> String {
    let name = match column_type {
        ColumnType::Boolean => "BOOLEAN",
        ColumnType::Short => "SMALLINT",
        ColumnType::Int => "INTEGER",
        ColumnType::Long => "BIGINT",
        ColumnType::Decimal { precision, scale } => return format!("DECIMAL({precision},{scale})"),
        ColumnType::Float => "FLOAT",
        ColumnType::Double => "DOUBLE",
        ColumnType::NaiveDate => "DATE",
        ColumnType::NaiveTime => "TIME",
        ColumnType::NaiveDatetime => "TIMESTAMP",
        ColumnType::UtcDatetime => "TIMESTAMPTZ",
        ColumnType::Binary => "BLOB",
        ColumnType::String => "VARCHAR",
        ColumnType::Json => "JSON",
    };
    name.to_owned()
}

/// The type to read from text; bytes are base64 there, and JSON is text within JSON.
fn text_type(column_type: ColumnType) -> String {
    match column_type {
        ColumnType::Binary | ColumnType::Json => "VARCHAR".to_owned(),
        other => type_of(other),
    }
}

fn instant(micros: i64) -> String {
    let mut spelled = Vec::new();
    text::timestamp(&mut spelled, micros, true);
    format!("TIMESTAMPTZ '{}'", String::from_utf8_lossy(&spelled))
}

fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn literal(name: &str) -> String {
    format!("'{}'", name.replace('\'', "''"))
}

fn list(items: impl Iterator<Item = String>) -> String {
    items.collect::<Vec<_>>().join(", ")
}
