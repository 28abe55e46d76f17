//! Names at the destination (Fivetran naming, for databases).

/// The destination schema of a source schema.
#[must_use]
pub fn destination_schema(prefix: &str, source_schema: &str) -> String {
    format!("{prefix}_{source_schema}")
}

/// Destination names of all tables of a schema, in the order given.
#[must_use]
pub fn table_names(tables: &[&str]) -> Vec<String> {
    tables.iter().map(|table| (*table).to_owned()).collect()
}

/// Destination names of all columns of a table, in the order given.
#[must_use]
pub fn column_names(columns: &[&str]) -> Vec<String> {
    columns.iter().map(|column| (*column).to_owned()).collect()
}
