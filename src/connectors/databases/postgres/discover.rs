//! Which streams there are: one catalog query for the whole database, a JSON document per table.

use serde::Deserialize;

use super::config::Config;
use super::session::Session;
use super::sql::{self, text_array};
use super::types::CatalogColumn;
use crate::core::Result;
use crate::core::catalog::{Catalog, ChangeTracking, Stream, StreamName};

/// Bytes of a page, for estimates only; the rare server built with another size is estimated wrongly.
const PAGE_BYTES: u64 = 8192;

/// A relation as the query describes it.
#[derive(Deserialize)]
struct Relation {
    schema: String,
    table: String,
    paged: bool,
    /// -1 when never analysed.
    rows: i64,
    pages: i64,
    key: Vec<String>,
    columns: Vec<CatalogColumn>,
}

/// Lists what the user may read.
///
/// # Errors
/// When the server fails.
pub(super) async fn discover(session: &mut Session, config: &Config) -> Result<Catalog> {
    let sql = format!("{}{}; COMMIT", session.begin, query(session.major_version, config));
    let rows = session.query(&sql, "listing the tables").await?;
    let mut streams = Vec::with_capacity(rows.len());
    for row in rows {
        let relation: Relation = sql::understood(&row)?;
        // A table without a readable column has nothing to carry.
        if !relation.columns.is_empty() {
            streams.push(relation.stream(config));
        }
    }
    streams.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Catalog { streams })
}

impl Relation {
    fn stream(self, config: &Config) -> Stream {
        let readable = |name: &String| self.columns.iter().any(|column| column.name == *name);
        // Part of a key is no key.
        let primary_key = if self.key.iter().all(readable) { self.key.clone() } else { Vec::new() };
        Stream {
            name: StreamName::new(self.schema, self.table),
            columns: self.columns.iter().map(|column| column.column(config.numeric_as_text)).collect(),
            primary_key,
            change_tracking: if self.paged {
                ChangeTracking::Transaction
            } else {
                ChangeTracking::CursorColumn
            },
            estimated_rows: u64::try_from(self.rows).ok(),
            estimated_bytes: u64::try_from(self.pages)
                .ok()
                .filter(|pages| *pages > 0)
                .map(|pages| pages * PAGE_BYTES),
        }
    }
}

/// A condition on `c` and `n`, the relations that can be streams: tables, partitioned tables (as one; their partitions are
/// not streams of their own), views, materialized views, foreign tables. Relations that belong to an extension are its
/// machinery, not the user's data. A standby cannot read unlogged tables.
pub(super) const STREAMS: &str = "c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT c.relispartition
 AND n.nspname <> 'information_schema' AND left(n.nspname, 3) <> 'pg_' AND left(n.nspname, 12) <> '_timescaledb'
 AND NOT (c.relpersistence = 'u' AND pg_is_in_recovery())
 AND NOT EXISTS (SELECT FROM pg_depend x WHERE x.classid = 'pg_class'::regclass AND x.objid = c.oid AND x.deptype = 'e')";

/// The [`STREAMS`] a configuration speaks of.
pub(super) fn scope(config: &Config) -> String {
    let mut condition = STREAMS.to_owned();
    if !config.schemas.is_empty() {
        condition.push_str(&format!(" AND n.nspname::text = ANY ({})", text_array(&config.schemas)));
    }
    if !config.tables.is_empty() {
        condition
            .push_str(&format!(" AND n.nspname || '.' || c.relname = ANY ({})", text_array(&config.tables)));
    }
    condition
}

/// A condition on `c` and `n`: at least one column may be read.
pub(super) const READABLE: &str =
    "has_schema_privilege(n.oid, 'USAGE') AND has_any_column_privilege(c.oid, 'SELECT')";

fn query(major_version: u32, config: &Config) -> String {
    format!(
        "WITH RECURSIVE {domains},
tree(root, member) AS (
  SELECT i.inhparent, i.inhrelid FROM pg_inherits i JOIN pg_class p ON p.oid = i.inhparent
  WHERE p.relkind = 'p' AND NOT p.relispartition
  UNION ALL
  SELECT t.root, i.inhrelid FROM tree t JOIN pg_inherits i ON i.inhparent = t.member
),
sizes AS (
  SELECT t.root, sum(greatest(m.reltuples, 0))::int8 AS rows, sum(m.relpages)::int8 AS pages
  FROM tree t JOIN pg_class m ON m.oid = t.member WHERE m.relkind <> 'p' GROUP BY t.root
)
SELECT json_build_object(
 'schema', n.nspname,
 'table', c.relname,
 'paged', {paged},
 'rows', CASE c.relkind WHEN 'p' THEN coalesce(s.rows, 0) WHEN 'v' THEN -1 ELSE c.reltuples::int8 END,
 'pages', CASE c.relkind WHEN 'p' THEN coalesce(s.pages, 0) ELSE c.relpages END,
 'key', (SELECT coalesce(json_agg(a.attname ORDER BY k.position), '[]')
         FROM pg_constraint p CROSS JOIN unnest(p.conkey) WITH ORDINALITY AS k(number, position)
         JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.number
         WHERE p.conrelid = c.oid AND p.contype = 'p'),
 'columns', {columns})
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN sizes s ON s.root = c.oid
WHERE {scope} AND {READABLE}",
        domains = sql::DOMAINS,
        paged = sql::is_paged(),
        columns = sql::columns(major_version),
        scope = scope(config),
    )
}
