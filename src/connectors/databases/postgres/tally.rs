//! Whether rows of a table without a key were replaced or deleted.
//!
//! Such rows are known by their values alone. An incremental sync brings the new version of an updated row as another row
//! and leaves the old one standing; only a full one finds it gone. So the server's own count of updates and deletes is
//! kept with the cursor, and where it has moved the sync is full.
//!
//! The count arrives late, and never early: a session reports after its commit, once its last report is a second old or it
//! has been idle for ten (before PostgreSQL 15: with its next statement, or its end). So an old version stands until the
//! first sync after the report. A reset and a crash lose counts, and both leave another time of reset. A standby counts
//! nothing of what it replays, nor does a server with `track_counts` off; there old versions stand until a re-sync.

use serde::{Deserialize, Serialize};

use super::relation::{Part, Relation};
use super::session::Session;
use super::sql;
use crate::core::Result;

/// How often rows were replaced, as counted at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tally {
    /// When the counts of the database and those of the server were reset; a crash resets the latter.
    since: String,
    /// By part.
    parts: Vec<Counted>,
}

/// The count of one part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Counted {
    /// `pg_class.oid`.
    oid: u32,
    /// `pg_relation_filenode`: truncating, rewriting and refreshing replace rows without counting them.
    file: u32,
    /// Rows updated and rows deleted.
    replaced: u64,
}

/// What the server says.
#[derive(Deserialize)]
struct Counts {
    since: String,
    /// In the order asked for.
    replaced: Vec<u64>,
}

impl Tally {
    /// Takes the counts of a stream; `None` when it has no relations to count for.
    ///
    /// # Errors
    /// When the server fails.
    pub(super) async fn take(session: &mut Session, relation: &Relation) -> Result<Option<Self>> {
        if relation.parts.is_empty() {
            return Ok(None);
        }
        let sql = format!("{}{}; COMMIT", session.begin, query(&relation.parts));
        let rows = session.query(&sql, "counting replaced rows").await?;
        let counts: Counts = sql::understood(rows.first().map_or("", String::as_str))?;
        let counted =
            |(part, replaced): (&Part, u64)| Counted { oid: part.relation.oid, file: part.file, replaced };
        let parts = relation.parts.iter().zip(counts.replaced).map(counted).collect();
        Ok(Some(Self { since: counts.since, parts }))
    }

    /// True when every row there was at `then` is still there. Parts that are new, or gone, replaced no row.
    pub(super) fn only_grew_since(&self, then: &Self) -> bool {
        let differs = |part: &Counted| then.parts.iter().any(|other| other.oid == part.oid && other != part);
        self.since == then.since && !self.parts.iter().any(differs)
    }
}

fn query(parts: &[Part]) -> String {
    let oids: Vec<String> = parts.iter().map(|part| part.relation.oid.to_string()).collect();
    format!(
        "SELECT json_build_object(\
         'since', concat_ws(' ', pg_stat_get_db_stat_reset_time(d.oid), pg_stat_get_bgwriter_stat_reset_time()), \
         'replaced', (SELECT json_agg(coalesce(pg_stat_get_tuples_updated(p.oid), 0) + coalesce(pg_stat_get_tuples_deleted(p.oid), 0) \
                      ORDER BY p.number) FROM unnest(ARRAY[{oids}]::oid[]) WITH ORDINALITY AS p(oid, number))) \
         FROM pg_database d WHERE d.datname = current_database()",
        oids = oids.join(", "),
    )
}
