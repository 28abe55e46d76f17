//! One stream as it stands at plan time: its parts, their sizes, and the transaction horizon.

use serde::Deserialize;

use super::cursor::Xid;
use super::range::RelationRef;
use super::session::Session;
use super::sql::{self, literal};
use super::types::CatalogColumn;
use crate::core::catalog::StreamName;
use crate::core::{Error, ErrorKind, Result};

/// What planning needs to know of a stream.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Relation {
    /// `pg_class.oid`.
    pub(super) oid: u32,
    /// True when it can be read page by page and its changes found by transaction id.
    pub(super) paged: bool,
    /// True for a partitioned table.
    pub(super) partitioned: bool,
    /// True for a materialized view.
    pub(super) materialized: bool,
    /// True when rows come from another server, wholly or in part.
    pub(super) foreign: bool,
    /// True when row-level security filters what we see. It is defined on the stream; reading a partition by its own
    /// name would pass it by.
    pub(super) filtered: bool,
    /// The oldest transaction still running.
    pub(super) horizon: Xid,
    /// The first transaction id not given out.
    pub(super) next: Xid,
    /// The relations that hold the rows: the table itself, its partitions, those that inherit from it. None for a view.
    pub(super) parts: Vec<Part>,
    /// `pg_class.oid` of every relation a view reads, through other views and down to partitions.
    pub(super) behind: Vec<u32>,
    /// A hash of what a view, and every view behind it, is defined as; empty for others.
    pub(super) definition: String,
    /// Readable columns.
    pub(super) columns: Vec<CatalogColumn>,
}

/// A relation with pages of its own.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Part {
    /// Name and oid.
    #[serde(flatten)]
    pub(super) relation: RelationRef,
    /// `pg_relation_filenode`: another one after the table was rewritten.
    pub(super) file: u32,
    /// Heap pages.
    pub(super) pages: u32,
    /// Bytes of the heap and its TOAST table.
    pub(super) bytes: u64,
    /// Estimated rows; -1 when never analysed.
    pub(super) rows: i64,
    /// True when we may read it by its own name.
    pub(super) readable: bool,
}

impl Relation {
    /// Looks a stream up.
    ///
    /// # Errors
    /// [`SourceChanged`](ErrorKind::SourceChanged) when there is no such stream any more.
    pub(super) async fn look_up(session: &mut Session, stream: &StreamName) -> Result<Self> {
        let sql = format!("{}{}; COMMIT", session.begin, query(session.major_version, stream));
        let rows = session.query(&sql, &format!("planning {stream}")).await?;
        let Some(row) = rows.first() else {
            return Err(Error::new(ErrorKind::SourceChanged, format!("{stream} is not there any more"))
                .remedy(
                    "The schema is discovered again; a dropped table stays at the destination as it is",
                ));
        };
        sql::understood(row)
    }

    /// The stream itself as a relation to select from.
    pub(super) fn itself(&self, name: &StreamName) -> RelationRef {
        RelationRef { oid: self.oid, schema: name.schema.clone(), table: name.table.clone() }
    }

    /// Bytes of all parts.
    pub(super) fn bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.bytes).sum()
    }
}

/// System, timeline and database of the server, for [`Horizon::database`](super::cursor::Horizon::database).
///
/// The functions may be revoked from us or missing; then only the database is known and a failover goes unnoticed
/// unless transaction ids went backwards, which planning notices as well.
///
/// # Errors
/// When the server cannot be reached.
pub(super) async fn identity(session: &mut Session) -> Result<String> {
    // pg_walfile_name is not allowed on a standby; there the last checkpoint's timeline has to do.
    const FULL: &str = "SELECT s.system_identifier || '/' || \
        CASE WHEN pg_is_in_recovery() THEN c.timeline_id::text \
             ELSE ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int4::text END \
        || '/' || d.oid \
        FROM pg_control_system() s, pg_control_checkpoint() c, pg_database d WHERE d.datname = current_database()";
    const DATABASE: &str = "SELECT '?/?/' || oid FROM pg_database WHERE datname = current_database()";
    let rows = match session.query(FULL, "identifying the server").await {
        Err(_) if !session.is_closed() => session.query(DATABASE, "identifying the database").await?,
        outcome => outcome?,
    };
    Ok(rows.into_iter().next().unwrap_or_default())
}

fn query(major_version: u32, stream: &StreamName) -> String {
    format!(
        "WITH RECURSIVE {domains},
target AS (
  SELECT c.* FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE n.nspname = {schema} AND c.relname = {table} AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
),
tree(root, member) AS (
  SELECT i.inhparent, i.inhrelid FROM pg_inherits i JOIN target c ON c.oid = i.inhparent
  UNION ALL
  SELECT t.root, i.inhrelid FROM tree t JOIN pg_inherits i ON i.inhparent = t.member
),
parts AS (
  SELECT m.oid, m.relname, m.relnamespace, m.reltoastrelid, m.reltuples FROM pg_class m
  WHERE m.relkind IN ('r', 'm', 'f') AND (m.oid IN (SELECT oid FROM target) OR m.oid IN (SELECT member FROM tree))
),
behind(member) AS (
  SELECT oid FROM target WHERE relkind = 'v'
  UNION
  SELECT next.member FROM behind b CROSS JOIN LATERAL (
    SELECT i.inhrelid FROM pg_inherits i WHERE i.inhparent = b.member
    UNION ALL
    SELECT d.refobjid FROM pg_rewrite r
    JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid AND d.refclassid = 'pg_class'::regclass
    WHERE r.ev_class = b.member
  ) next(member)
)
SELECT json_build_object(
 'oid', c.oid::int8,
 'paged', {paged},
 'partitioned', c.relkind = 'p',
 'materialized', c.relkind = 'm',
 'foreign', EXISTS (SELECT FROM pg_class f WHERE f.relkind = 'f' AND (f.oid = c.oid
   OR f.oid IN (SELECT member FROM tree) OR f.oid IN (SELECT member FROM behind))),
 'filtered', row_security_active(c.oid),
 'horizon', {horizon},
 'next', {next},
 'parts', (SELECT coalesce(json_agg(json_build_object(
     'oid', m.oid::int8, 'schema', s.nspname, 'table', m.relname,
     'file', coalesce(pg_relation_filenode(m.oid)::int8, 0),
     'pages', coalesce(pg_relation_size(m.oid), 0) / current_setting('block_size')::int8,
     'bytes', coalesce(pg_relation_size(m.oid), 0) + coalesce(pg_relation_size(m.reltoastrelid), 0),
     'rows', m.reltuples::int8,
     'readable', has_schema_privilege(s.oid, 'USAGE') AND has_table_privilege(m.oid, 'SELECT')
   ) ORDER BY m.oid), '[]')
   FROM parts m JOIN pg_namespace s ON s.oid = m.relnamespace),
 'behind', (SELECT coalesce(json_agg(member::int8 ORDER BY member), '[]') FROM behind),
 'definition', (SELECT coalesce(md5(string_agg(pg_get_viewdef(b.member), '' ORDER BY b.member)), '')
                FROM behind b JOIN pg_class v ON v.oid = b.member WHERE v.relkind = 'v'),
 'columns', {columns})
FROM target c",
        domains = sql::DOMAINS,
        schema = literal(&stream.schema),
        table = literal(&stream.table),
        paged = sql::is_paged(),
        horizon = sql::horizon(major_version),
        next = sql::next_transaction(major_version),
        columns = sql::columns(major_version),
    )
}
