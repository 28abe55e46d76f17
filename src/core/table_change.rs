//! What a run changes about a table at the destination, for the log.

use serde::{Deserialize, Serialize};

use super::table::{TableColumn, TableSchema};

/// How a table changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum TableChange {
    /// It is made.
    Created {
        /// As this.
        table: TableSchema,
    },
    /// It is there and changes.
    Altered {
        /// Columns it did not have.
        added: Vec<TableColumn>,
        /// Columns of a wider type.
        retyped: Vec<TableColumn>,
        /// Its key, where that is another one.
        primary_key: Option<Vec<String>>,
    },
}

impl TableChange {
    /// What leads from the table that is there to the one that is wanted; `None` for nothing.
    #[must_use]
    pub fn between(current: Option<&TableSchema>, wanted: &TableSchema) -> Option<Self> {
        let Some(current) = current else { return Some(Self::Created { table: wanted.clone() }) };
        let was = |column: &TableColumn| current.column(&column.name).map(|was| was.column_type);
        let of = |keep: &dyn Fn(&TableColumn) -> bool| {
            wanted.columns.iter().filter(|column| keep(column)).cloned().collect::<Vec<_>>()
        };
        let added = of(&|column| was(column).is_none());
        let retyped = of(&|column| was(column).is_some_and(|was| was != column.column_type));
        let primary_key = (current.primary_key != wanted.primary_key).then(|| wanted.primary_key.clone());
        if added.is_empty() && retyped.is_empty() && primary_key.is_none() {
            return None;
        }
        Some(Self::Altered { added, retyped, primary_key })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::types::ColumnType;

    fn table(columns: &[(&str, ColumnType)], key: &str) -> TableSchema {
        let column = |(name, column_type): &(&str, ColumnType)| TableColumn {
            name: (*name).to_owned(),
            column_type: *column_type,
            nullable: true,
        };
        TableSchema {
            schema: "s".to_owned(),
            table: "t".to_owned(),
            columns: columns.iter().map(column).collect(),
            primary_key: vec![key.to_owned()],
        }
    }

    #[test]
    fn a_table_is_created_altered_or_left_alone() {
        let before = table(&[("id", ColumnType::Int), ("gone", ColumnType::Json)], "id");
        let after = table(&[("id", ColumnType::Long), ("fresh", ColumnType::Json)], "fresh");
        assert_eq!(TableChange::between(Some(&before), &before), None);
        assert_eq!(TableChange::between(None, &after), Some(TableChange::Created { table: after.clone() }));
        let Some(TableChange::Altered { added, retyped, primary_key }) =
            TableChange::between(Some(&before), &after)
        else {
            panic!()
        };
        assert_eq!((added.as_slice(), retyped.as_slice()), (&after.columns[1..], &after.columns[..1]));
        assert_eq!(primary_key, Some(after.primary_key.clone()));
        // A column that the run does not carry stays, so nothing changes.
        assert_eq!(TableChange::between(Some(&before), &table(&[("id", ColumnType::Int)], "id")), None);
    }
}
