//! SQL text: quoting, the settings of every transaction, and catalog queries shared by several rooms.

use serde::de::DeserializeOwned;

use crate::core::{Error, Result};

/// What a catalog query says in a row of JSON.
///
/// # Errors
/// [`Internal`](crate::core::ErrorKind::Internal) when that is something else than the query asks for.
pub(super) fn understood<T: DeserializeOwned>(row: &str) -> Result<T> {
    serde_json::from_str(row)
        .map_err(|error| Error::internal("The catalog query's answer was not understood").caused_by(error))
}

/// A quoted identifier.
pub(super) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A quoted string literal. The `E` form means the same whatever `standard_conforming_strings` says.
pub(super) fn literal(text: &str) -> String {
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// An array literal of text.
pub(super) fn text_array(texts: &[String]) -> String {
    let items = texts.iter().map(|text| literal(text)).collect::<Vec<_>>().join(", ");
    format!("ARRAY[{items}]::pg_catalog.text[]")
}

/// A schema-qualified name.
pub(super) fn qualified(schema: &str, table: &str) -> String {
    format!("{}.{}", identifier(schema), identifier(table))
}

/// Opens a transaction and fixes everything the text forms depend on. `SET LOCAL` inside the transaction, not settings
/// of the session, because a pooler may give each transaction another session.
///
/// READ COMMITTED, not REPEATABLE READ: a chunk is one COPY statement and so one snapshot anyway, but a snapshot taken
/// before the table's lock was granted would see a table that was rewritten meanwhile (ALTER TABLE, REFRESH, TRUNCATE)
/// as empty. Here the lock is taken by an earlier statement than the snapshot.
///
/// The timeouts bound what a dead worker can leave behind: `query_seconds` for a statement, 30 s for a lock, a minute idle.
pub(super) fn begin(query_seconds: u32) -> String {
    format!(
        "\
BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY;
SET LOCAL search_path = pg_catalog;
SET LOCAL timezone = 'UTC';
SET LOCAL datestyle = 'ISO, YMD';
SET LOCAL intervalstyle = 'postgres';
SET LOCAL extra_float_digits = 3;
SET LOCAL bytea_output = 'hex';
SET LOCAL statement_timeout = '{query_seconds}s';
SET LOCAL lock_timeout = '30s';
SET LOCAL idle_in_transaction_session_timeout = '60s';
"
    )
}

/// `WITH RECURSIVE` member: every domain with its base type, type modifier and NOT NULL, nested domains resolved.
pub(super) const DOMAINS: &str = "\
steps(domain, base, typmod, not_null) AS (
  SELECT oid, typbasetype, typtypmod, typnotnull FROM pg_type WHERE typtype = 'd'
  UNION ALL
  SELECT s.domain, t.typbasetype, CASE WHEN s.typmod >= 0 THEN s.typmod ELSE t.typtypmod END, s.not_null OR t.typnotnull
  FROM steps s JOIN pg_type t ON t.oid = s.base WHERE t.typtype = 'd'
),
domains AS (SELECT s.* FROM steps s JOIN pg_type t ON t.oid = s.base WHERE t.typtype <> 'd')";

/// A JSON array of the columns of relation `c` that we may read: see [`super::types::CatalogColumn`]. Needs
/// [`DOMAINS`].
pub(super) fn columns(major_version: u32) -> String {
    // Defaults of added columns are kept aside instead of rewriting the table since PostgreSQL 11.
    let kept_default = if major_version >= 11 { "a.atthasmissing" } else { "false" };
    format!(
        "(SELECT coalesce(json_agg(json_build_object(
   'name', a.attname,
   'type', format_type(a.atttypid, a.atttypmod),
   'base', CASE WHEN t.typtype = 'e' THEN 'enum'
                WHEN t.typnamespace = 'pg_catalog'::regnamespace OR t.typname = 'citext' THEN t.typname
                ELSE '' END,
   'typmod', CASE WHEN a.atttypmod >= 0 THEN a.atttypmod ELSE coalesce(d.typmod, -1) END,
   'not_null', a.attnotnull OR coalesce(d.not_null, false),
   'number', a.attnum,
   'filled', a.atthasdef OR a.attidentity <> '' OR {kept_default}
 ) ORDER BY a.attnum), '[]')
 FROM pg_attribute a
 LEFT JOIN domains d ON d.domain = a.atttypid
 JOIN pg_type t ON t.oid = coalesce(d.base, a.atttypid)
 WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
   AND (has_table_privilege(c.oid, 'SELECT') OR has_column_privilege(c.oid, a.attnum, 'SELECT')))"
    )
}

/// A condition on the `pg_class` row of that alias: its rows have `ctid` and `xmin` as the built-in heap gives them.
/// Other access methods (columnar stores) may number rows as they like.
pub(super) fn is_heap(alias: &str) -> String {
    format!("({alias}.relam = 0 OR {alias}.relam IN (SELECT oid FROM pg_am WHERE amname = 'heap'))")
}

/// A condition on the `pg_class` row `c`, given a member `tree(root, member)` of all partitions: changes can be found by
/// transaction id, and pages can be read one by one. Views and foreign tables have no pages; parents in the old
/// inheritance style (TimescaleDB builds on it) are read through the server, which knows what belongs to them.
pub(super) fn is_paged() -> String {
    format!(
        "(has_table_privilege(c.oid, 'SELECT') AND {own} AND CASE c.relkind
   WHEN 'p' THEN NOT EXISTS (SELECT FROM tree JOIN pg_class m ON m.oid = tree.member
                             WHERE tree.root = c.oid AND NOT (m.relkind IN ('r', 'p') AND {member}))
   WHEN 'r' THEN NOT EXISTS (SELECT FROM pg_inherits i WHERE i.inhparent = c.oid)
   ELSE c.relkind = 'm' END)",
        own = is_heap("c"),
        member = is_heap("m"),
    )
}

/// The oldest transaction still running as this snapshot sees it, 64 bits, as text: everything older is finished, and
/// visible if it was committed. The names with `pg_` exist since PostgreSQL 13.
pub(super) fn horizon(major_version: u32) -> &'static str {
    if major_version >= 13 {
        "pg_snapshot_xmin(pg_current_snapshot())::text"
    } else {
        "txid_snapshot_xmin(txid_current_snapshot())::text"
    }
}

/// The first transaction id not yet given out, 64 bits, as text.
pub(super) fn next_transaction(major_version: u32) -> &'static str {
    if major_version >= 13 {
        "pg_snapshot_xmax(pg_current_snapshot())::text"
    } else {
        "txid_snapshot_xmax(txid_current_snapshot())::text"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_literals_cannot_break_out() {
        assert_eq!(qualified("a\"b", "C d"), "\"a\"\"b\".\"C d\"");
        assert_eq!(literal(r"it's \ here"), r"E'it\'s \\ here'");
        assert_eq!(text_array(&["a".to_owned(), "b'".to_owned()]), r"ARRAY[E'a', E'b\'']::pg_catalog.text[]");
    }
}
