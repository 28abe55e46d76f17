//! DuckDB's SQL for the versions of a table that keeps history.
//!
//! | step | its rows |
//! |---|---|
//! | `observed` | those of the parts; a column that no part has yet is NULL |
//! | `seen` | of each load and key what was read last |
//! | `told` | with the time they were found gone, if that is what was observed next |
//! | `compared` | with whether a version begins: first of its key, back again, or with other values than before |
//! | `numbered` | with the number of their version |
//! | `lasting` | with what is true of the whole version |
//!
//! Then the first row of each version is the version. The text is made at each publish, because it names columns and
//! types, and stands in the manifest, because it must change together with the parts.

use std::fmt::Write as _;

use super::config::Format;
use super::history::{History, Without, row_key};
use super::manifest::Manifest;
use crate::core::table::{ACTIVE, END, END_OF_TIME, START, SYNCED, TableColumn};
use crate::core::text;
use crate::core::types::ColumnType;

/// The statement, without a semicolon. It reads the DuckDB variable `files`, the list of the parts.
pub(super) fn sql(manifest: &Manifest, history: &History) -> String {
    let table = manifest.table_schema();
    let key = row_key(&manifest.primary_key);
    let values: Vec<&TableColumn> = table.carried().filter(|column| !key.contains(&column.name)).collect();
    let gap_of = |column: &TableColumn| history.without.iter().any(|gap| gap.column == column.name);
    let (patchy, steady): (Vec<_>, Vec<_>) = values.into_iter().partition(|column| gap_of(column));
    let key = list(key.iter().map(|name| quote(name)));
    let mut sql = format!("WITH observed AS (\n{}\n)", observed(manifest));
    let position = match manifest.format {
        Format::Parquet => "_fivetran_file DESC, file_row_number DESC",
        // A key occurs once in a file.
        Format::Jsonl | Format::Csv => "_fivetran_file DESC",
    };
    push(
        &mut sql,
        "seen",
        &format!(
            "SELECT * FROM observed\n\
             QUALIFY row_number() OVER (PARTITION BY {key}, {START} ORDER BY {position}) = 1"
        ),
    );
    push(&mut sql, "told", &told(manifest, history, &key));
    let window = format!("WINDOW versions AS (PARTITION BY {key} ORDER BY {START})");
    push(&mut sql, "compared", &compared(history, &steady, &patchy, &window));
    let mut last = "compared";
    if !patchy.is_empty() {
        push(&mut sql, "returned", &returned(&patchy, &window));
        last = "returned";
    }
    push(
        &mut sql,
        "numbered",
        &format!(
            "SELECT *, sum(_fivetran_begins::INTEGER) OVER versions AS _fivetran_version FROM {last}\n{window}"
        ),
    );
    push(
        &mut sql,
        "lasting",
        &format!(
            "SELECT *, max({SYNCED}) OVER version AS _fivetran_last, max(_fivetran_gone) OVER version AS _fivetran_left\n\
             FROM numbered WINDOW version AS (PARTITION BY {key}, _fivetran_version)"
        ),
    );
    let columns = table.columns.iter().map(|column| match column.name.as_str() {
        END => format!(
            "coalesce(_fivetran_left, lead({START}) OVER versions - INTERVAL 1 MILLISECOND, {}) AS {END}",
            instant(END_OF_TIME)
        ),
        ACTIVE => format!("_fivetran_left IS NULL AND lead({START}) OVER versions IS NULL AS {ACTIVE}"),
        SYNCED => format!("_fivetran_last AS {SYNCED}"),
        name => quote(name),
    });
    // Writing to a string cannot fail.
    let _ = write!(
        sql,
        "\nSELECT {}\nFROM lasting WHERE _fivetran_begins\n{window}\nORDER BY {key}, {START}",
        list(columns)
    );
    sql
}

/// What the parts hold, after an empty relation of all columns: a column may be in none of them, or not yet in the type
/// that the table has now.
fn observed(manifest: &Manifest) -> String {
    let typed = manifest
        .columns
        .iter()
        .map(|column| format!("NULL::{} AS {}", type_of(column.column_type), quote(&column.name)));
    let position =
        ["NULL::VARCHAR AS _fivetran_file".to_owned(), "NULL::BIGINT AS file_row_number".to_owned()];
    let empty = format!("SELECT {} WHERE false", list(typed.chain(position)));
    if manifest.parts.is_empty() {
        return empty;
    }
    let files = "getvariable('files'), filename = '_fivetran_file'";
    let parts = match manifest.format {
        Format::Parquet => {
            format!("SELECT * FROM read_parquet({files}, file_row_number = true, union_by_name = true)")
        }
        Format::Jsonl => {
            let types = manifest
                .columns
                .iter()
                .map(|column| format!("{}: '{}'", literal(&column.name), text_type(column.column_type)));
            format!(
                "SELECT {}, _fivetran_file FROM read_json({files}, format = 'newline_delimited', columns = {{{}}})",
                list(manifest.columns.iter().map(|column| from_text(column, false))),
                list(types)
            )
        }
        // Files of different columns can only be read as text.
        Format::Csv => format!(
            "SELECT {} FROM (\n  SELECT {} WHERE false\n  UNION ALL BY NAME\n  SELECT * FROM read_csv({files}, header = true, \
             auto_detect = false, all_varchar = true, union_by_name = true, delim = ',', quote = '\"', escape = '\"', \
             allow_quoted_nulls = false))",
            list(
                manifest
                    .columns
                    .iter()
                    .map(|column| from_text(column, true))
                    .chain(["_fivetran_file".to_owned()])
            ),
            list(manifest.columns.iter().map(|column| format!("NULL::VARCHAR AS {}", quote(&column.name))))
        ),
    };
    format!("{empty}\nUNION ALL BY NAME\n{parts}")
}

/// When what was seen was found gone.
fn told(manifest: &Manifest, history: &History, key: &str) -> String {
    let window = format!("WINDOW loads AS (PARTITION BY {key} ORDER BY {START})");
    if manifest.format == Format::Parquet {
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
            let gaps = history.without.iter().filter(|gap| gap.column == column.name).map(outside);
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
fn outside(gap: &Without) -> String {
    let before = format!("{START} < {}", instant(gap.from));
    match gap.until {
        Some(until) => format!("({before} OR {START} >= {})", instant(until)),
        None => before,
    }
}

fn push(sql: &mut String, name: &str, query: &str) {
    // Writing to a string cannot fail.
    let _ = write!(sql, ", {name} AS (\n{query}\n)");
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

fn from_text(column: &TableColumn, cast: bool) -> String {
    let name = quote(&column.name);
    match column.column_type {
        ColumnType::Binary => format!("from_base64({name}) AS {name}"),
        ColumnType::Json => format!("{name}::JSON AS {name}"),
        other if cast => format!("{name}::{} AS {name}", type_of(other)),
        _ => name,
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
