//! What a chunk reads, as planned, and the SELECT that reads it.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::cursor::Xid;
use super::sql::{identifier, literal, qualified};
use crate::core::run::Chunk;
use crate::core::{Error, Result};

/// The range of a chunk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Range {
    /// Which rows.
    #[serde(flatten)]
    pub(super) rows: Rows,
    /// From which relation: the stream itself or one of its partitions.
    pub(super) relation: RelationRef,
    /// From which pages; `None` for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) pages: Option<Pages>,
    /// `pg_relation_filenode` of what holds the pages, by oid: a table that was rewritten has its rows elsewhere.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) files: Vec<u32>,
    /// The horizon when the chunk was planned. A server whose own horizon is behind it is a replica that has not yet
    /// seen what the plan took for granted.
    pub(super) horizon: Xid,
}

/// Which rows of a relation are read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum Rows {
    /// All of them.
    All,
    /// Those written by transaction `since` or a later one.
    Changes {
        /// The first transaction.
        since: Xid,
    },
    /// Those whose cursor column has reached `from`, or is NULL.
    Cursor {
        /// The cursor column.
        column: String,
        /// The first value, an SQL expression.
        from: String,
    },
    /// Those whose cursor column has reached `from` and not `to`.
    Between {
        /// The cursor column.
        column: String,
        /// The first value, an SQL expression.
        from: String,
        /// The first value not read, an SQL expression.
        to: String,
    },
    /// Those that [`Rows::Cursor`] leaves out.
    Below {
        /// The cursor column.
        column: String,
        /// The first value not read, an SQL expression.
        from: String,
    },
}

/// A relation by name, and by oid to notice when it was replaced by another of the same name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RelationRef {
    /// `pg_class.oid`.
    pub(super) oid: u32,
    /// Schema.
    pub(super) schema: String,
    /// Table.
    pub(super) table: String,
}

/// A half-open range of heap pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Pages {
    /// First page.
    pub(super) from: u32,
    /// First page not included; `None` for the rest, however far the table grows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) to: Option<u32>,
}

impl RelationRef {
    /// The quoted name.
    pub(super) fn quoted(&self) -> String {
        qualified(&self.schema, &self.table)
    }
}

impl Range {
    /// Reads a planned range back.
    ///
    /// # Errors
    /// [`Internal`](crate::core::ErrorKind::Internal) when it is not ours.
    pub(super) fn of(chunk: &Chunk) -> Result<Self> {
        Self::deserialize(&chunk.range).map_err(|error| {
            Error::internal("The chunk's range was not made by this source").caused_by(error)
        })
    }

    /// The range as the engine keeps it.
    pub(super) fn to_json(&self) -> Result<Value> {
        Ok(serde_json::to_value(self)?)
    }

    /// `SELECT expressions FROM relation WHERE ...`.
    pub(super) fn select(&self, expressions: &[String]) -> String {
        let mut conditions = Vec::new();
        if let Some(pages) = &self.pages {
            conditions.push(format!("ctid >= '({},0)'::pg_catalog.tid", pages.from));
            if let Some(to) = pages.to {
                conditions.push(format!("ctid < '({to},0)'::pg_catalog.tid"));
            }
        }
        match &self.rows {
            Rows::All => {}
            Rows::Changes { since } => conditions.push(written_since(*since)),
            // A NULL says nothing about when the row changed, so such rows are read every time rather than never.
            Rows::Cursor { column, from } => {
                let column = identifier(column);
                conditions.push(format!("({column} >= {from} OR {column} IS NULL)"));
            }
            Rows::Between { column, from, to } => {
                let column = identifier(column);
                conditions.push(format!("{column} >= {from} AND {column} < {to}"));
            }
            Rows::Below { column, from } => conditions.push(format!("{} < {from}", identifier(column))),
        }
        let mut sql = format!("SELECT {} FROM {}", expressions.join(", "), self.relation.quoted());
        for (index, condition) in conditions.iter().enumerate() {
            sql.push_str(if index == 0 { " WHERE " } else { " AND " });
            sql.push_str(condition);
        }
        sql
    }
}

/// The rows written by transaction `since` or a later one, as a condition on `xmin`.
///
/// A row keeps only the low 32 bits of its transaction id, so "later" is modular: `age()` is the distance back from the
/// newest id, as a signed 32-bit number, and the planner sees to it that `since` is less than 2^31 away. Then every row
/// written since is found: its true distance is smaller still and so the same modulo 2^32. The only error possible is on
/// the safe side: a frozen row keeps its old bits (since PostgreSQL 9.4 freezing is a flag beside them), and bits that
/// are n x 2^32 old look new, so such a row is read again and merged by key. Ids 0 to 2 (frozen by older servers,
/// bootstrap) have the largest age and never match.
///
/// The scalar subquery makes the server compute its side once and not per row.
fn written_since(Xid(since): Xid) -> String {
    let low = since & u64::from(u32::MAX);
    let xid = literal(&low.to_string());
    format!("pg_catalog.age(xmin) <= (SELECT pg_catalog.age({xid}::pg_catalog.xid))")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(rows: Rows, pages: Option<Pages>) -> Range {
        let relation = RelationRef { oid: 7, schema: "S".to_owned(), table: "t\"x".to_owned() };
        Range { rows, relation, pages, files: vec![4711], horizon: Xid((1 << 53) + 1) }
    }

    #[test]
    fn ranges_survive_the_queue() {
        for rows in [
            Rows::All,
            Rows::Changes { since: Xid(u64::MAX) },
            Rows::Cursor { column: "c".to_owned(), from: "E'1'".to_owned() },
            Rows::Between { column: "c".to_owned(), from: "E'1'".to_owned(), to: "E'2'".to_owned() },
            Rows::Below { column: "c".to_owned(), from: "E'1'".to_owned() },
        ] {
            let planned = range(rows, Some(Pages { from: 3, to: None }));
            let chunk =
                Chunk { index: 0, range: planned.to_json().unwrap(), estimated_rows: None, after_all: false };
            let text = serde_json::to_string(&chunk).unwrap();
            assert_eq!(Range::of(&serde_json::from_str(&text).unwrap()).unwrap(), planned);
        }
    }

    #[test]
    fn the_select_names_pages_and_rows() {
        let columns = ["\"a\"".to_owned()];
        assert_eq!(range(Rows::All, None).select(&columns), r#"SELECT "a" FROM "S"."t""x""#);
        assert_eq!(
            range(Rows::Changes { since: Xid((5 << 32) + 42) }, Some(Pages { from: 1, to: Some(2) }))
                .select(&[]),
            "SELECT  FROM \"S\".\"t\"\"x\" WHERE ctid >= '(1,0)'::pg_catalog.tid AND ctid < '(2,0)'::pg_catalog.tid \
             AND pg_catalog.age(xmin) <= (SELECT pg_catalog.age(E'42'::pg_catalog.xid))"
        );
    }
}
