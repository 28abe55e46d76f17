//! What changed between two versions of a stream, as data and as sentences.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::catalog::{Column, Stream};
use super::types::ColumnType;

/// The difference between a recorded version of a stream and the present one. The order of columns and the source's
/// estimates of size are no difference.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct StreamDiff {
    /// True when there was no version before; everything else is empty then.
    pub new_stream: bool,
    /// Columns the source has gained.
    pub added: Vec<Column>,
    /// Columns the source has lost. A renamed column is a lost and a gained one.
    pub dropped: Vec<Column>,
    /// Columns whose type changed.
    pub type_changes: Vec<TypeChange>,
    /// Set when the key changed.
    pub key_change: Option<KeyChange>,
    /// Columns that began or ceased to allow NULL.
    pub nullability_changes: Vec<NullabilityChange>,
}

/// A column whose type changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TypeChange {
    /// Name at the source.
    pub column: String,
    /// Semantic type before.
    pub from: ColumnType,
    /// Semantic type now. Equal to `from` when only the source's own type changed, as from `varchar(10)` to `text`.
    pub to: ColumnType,
    /// Type that holds the values of both: what the destination column becomes, unless it is wider already.
    pub widened_to: ColumnType,
    /// The source's own type before.
    pub source_from: String,
    /// The source's own type now.
    pub source_to: String,
}

/// A changed key. Columns by source name in key order; empty for none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KeyChange {
    /// Key before.
    pub from: Vec<String>,
    /// Key now.
    pub to: Vec<String>,
}

/// A column that began or ceased to allow NULL.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NullabilityChange {
    /// Name at the source.
    pub column: String,
    /// Whether NULL is allowed now.
    pub nullable: bool,
}

/// Compares the present stream with its recorded version; `None` when there is none.
#[must_use]
pub fn diff(old: Option<&Stream>, new: &Stream) -> StreamDiff {
    let Some(old) = old else { return StreamDiff { new_stream: true, ..StreamDiff::default() } };
    let mut diff = StreamDiff {
        added: missing_from(old, new),
        dropped: missing_from(new, old),
        key_change: (old.primary_key != new.primary_key)
            .then(|| KeyChange { from: old.primary_key.clone(), to: new.primary_key.clone() }),
        ..StreamDiff::default()
    };
    for column in &new.columns {
        let Some(before) = old.columns.iter().find(|before| before.name == column.name) else { continue };
        if (before.column_type, &before.source_type) != (column.column_type, &column.source_type) {
            diff.type_changes.push(TypeChange {
                column: column.name.clone(),
                from: before.column_type,
                to: column.column_type,
                widened_to: before.column_type.widen(column.column_type),
                source_from: before.source_type.clone(),
                source_to: column.source_type.clone(),
            });
        }
        if before.nullable != column.nullable {
            let change = NullabilityChange { column: column.name.clone(), nullable: column.nullable };
            diff.nullability_changes.push(change);
        }
    }
    diff
}

/// The columns of `of` that `stream` does not have.
fn missing_from(stream: &Stream, of: &Stream) -> Vec<Column> {
    let has = |name: &str| stream.columns.iter().any(|column| column.name == name);
    of.columns.iter().filter(|column| !has(&column.name)).cloned().collect()
}

impl StreamDiff {
    /// True when nothing changed: no version needs to be recorded.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// One sentence per change, for people.
    #[must_use]
    pub fn summary(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if self.new_stream {
            lines.push("The table is new".to_owned());
        }
        for column in &self.added {
            lines.push(format!("Column '{}' ({}) was added", column.name, column.source_type));
        }
        for column in &self.dropped {
            lines.push(format!(
                "Column '{}' ({}) is gone at the source; the destination keeps it",
                column.name, column.source_type
            ));
        }
        lines.extend(self.type_changes.iter().map(TypeChange::summary));
        if let Some(change) = &self.key_change {
            lines.push(format!("The key changed from {} to {}", key(&change.from), key(&change.to)));
        }
        for change in &self.nullability_changes {
            let now = if change.nullable { "may be NULL now" } else { "is never NULL now" };
            lines.push(format!("Column '{}' {now}", change.column));
        }
        lines
    }
}

impl TypeChange {
    fn summary(&self) -> String {
        let change =
            format!("Column '{}' changed from {} to {}", self.column, self.source_from, self.source_to);
        if self.widened_to == self.from {
            format!("{change}; the destination's type {} holds both", self.from)
        } else {
            format!("{change}; the destination widens from {} to {}", self.from, self.widened_to)
        }
    }
}

fn key(columns: &[String]) -> String {
    if columns.is_empty() { "none".to_owned() } else { format!("({})", columns.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::catalog::{ChangeTracking, StreamName};
    use crate::core::types::Fidelity;

    fn column(name: &str, column_type: ColumnType, source_type: &str) -> Column {
        Column {
            name: name.to_owned(),
            column_type,
            source_type: source_type.to_owned(),
            nullable: true,
            fidelity: Fidelity::Exact,
        }
    }

    fn stream() -> Stream {
        Stream {
            name: StreamName::new("public", "t"),
            columns: vec![
                column("id", ColumnType::Int, "integer"),
                column("price", ColumnType::Decimal { precision: 10, scale: 2 }, "numeric(10,2)"),
                column("name", ColumnType::String, "varchar(10)"),
            ],
            primary_key: vec!["id".to_owned()],
            change_tracking: ChangeTracking::Transaction,
            estimated_rows: Some(1),
            estimated_bytes: Some(1),
        }
    }

    #[test]
    fn a_stream_seen_first_is_new_and_nothing_else() {
        let diff = diff(None, &stream());
        assert!(diff.new_stream && !diff.is_empty());
        assert_eq!(diff.summary(), ["The table is new"]);
    }

    #[test]
    fn column_order_and_estimates_are_no_difference() {
        let mut new = stream();
        new.columns.reverse();
        new.estimated_rows = None;
        assert!(diff(Some(&stream()), &new).is_empty());
        assert!(diff(Some(&stream()), &new).summary().is_empty());
    }

    #[test]
    fn every_kind_of_change_is_told_in_a_sentence() {
        let mut new = stream();
        new.columns = vec![
            column("id", ColumnType::Long, "bigint"),
            column("price", ColumnType::Decimal { precision: 8, scale: 1 }, "numeric(8,1)"),
            column("name", ColumnType::String, "text"),
            column("Label", ColumnType::Json, "jsonb"),
        ];
        new.columns[0].nullable = false;
        new.primary_key = vec![];
        let forward = diff(Some(&stream()), &new);
        assert_eq!(
            forward.summary(),
            [
                "Column 'Label' (jsonb) was added",
                "Column 'id' changed from integer to bigint; the destination widens from INT to LONG",
                "Column 'price' changed from numeric(10,2) to numeric(8,1); the destination's type DECIMAL(10,2) holds both",
                "Column 'name' changed from varchar(10) to text; the destination's type STRING holds both",
                "The key changed from (id) to none",
                "Column 'id' is never NULL now",
            ]
        );
        let backward = diff(Some(&new), &stream());
        assert_eq!(backward.dropped, [new.columns[3].clone()]);
        assert_eq!(
            backward.summary()[0],
            "Column 'Label' (jsonb) is gone at the source; the destination keeps it"
        );
    }

    #[test]
    fn a_diff_is_stored_and_read_back() {
        let mut new = stream();
        new.columns.pop();
        new.columns[0].column_type = ColumnType::Long;
        let diff = diff(Some(&stream()), &new);
        let json = serde_json::to_string(&diff).unwrap();
        assert_eq!(serde_json::from_str::<StreamDiff>(&json).unwrap(), diff);
        let _ = schemars::schema_for!(StreamDiff);
    }
}
