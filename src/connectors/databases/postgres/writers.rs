//! Who is writing at a moment, and which of them still are at a later one.
//!
//! A largest value of a cursor column says nothing of transactions that took a smaller one before and commit after. So it
//! is kept together with the transactions that were writing when it was taken, and counts once all of them have ended.
//!
//! A transaction is known to write by its lock: `INSERT`, `UPDATE`, `DELETE` and `COPY` lock their table, and `nextval` its
//! sequence, before they take a value, and until the transaction ends. Transaction ids would not do: one is given out
//! when the first row is stored, which is after its values were taken. Readers, dumps and vacuums take no such lock and
//! hold nothing up. A standby does not know the locks of its primary; there ids have to do.

use serde::{Deserialize, Serialize};

use super::cursor::Xid;
use super::session::Session;
use super::sql;
use crate::core::Result;

/// Looks at the writers before they are taken for slow ones, and the pause between two: most transactions are done within
/// milliseconds, and then the next sync need not read again what this one reads.
const LOOKS: u32 = 5;
const PAUSE_SECONDS: f32 = 0.05;

/// Transactions that were writing at a moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Writers {
    /// By virtual transaction id, of a primary.
    Listed(Vec<String>),
    /// All below an id, of a standby.
    Before(Xid),
}

/// What the server says of writers.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Writing {
    /// The oldest transaction still running.
    horizon: Xid,
    /// The first transaction id not given out.
    next: Xid,
    /// Virtual ids of the transactions that write; `None` on a standby.
    listed: Option<Vec<String>>,
}

impl Writers {
    /// Those of this moment that do not end within another, and what the server said last.
    ///
    /// # Errors
    /// When the server fails.
    pub(super) async fn slow(session: &mut Session) -> Result<(Self, Writing)> {
        let mut now = Writing::ask(session, 0.0).await?;
        let mut writers = now.writers();
        for _ in 1..LOOKS {
            if writers.none() {
                break;
            }
            now = Writing::ask(session, PAUSE_SECONDS).await?;
            writers = writers.left(&now);
        }
        Ok((writers, now))
    }

    /// True when nobody was writing.
    pub(super) fn none(&self) -> bool {
        *self == Self::Listed(Vec::new())
    }

    /// Those that have not ended.
    ///
    /// A transaction that is prepared goes on under another virtual id. So when one is gone, every prepared one may be it.
    pub(super) fn left(&self, now: &Writing) -> Self {
        match (self, &now.listed) {
            (Self::Before(next), _) if *next <= now.horizon => Self::Listed(Vec::new()),
            (Self::Before(next), _) => Self::Before(*next),
            (Self::Listed(then), Some(listed)) => {
                let may_be_prepared = then.iter().any(|id| !is_prepared(id) && !listed.contains(id));
                let left = |id: &&String| then.contains(id) || (may_be_prepared && is_prepared(id));
                Self::Listed(listed.iter().filter(left).cloned().collect())
            }
            // The primary has become a standby: whoever has not ended has an id by now.
            (Self::Listed(_), None) => now.writers(),
        }
    }
}

/// Prepared transactions belong to no session.
fn is_prepared(virtual_id: &str) -> bool {
    virtual_id.starts_with("-1/")
}

impl Writing {
    async fn ask(session: &mut Session, after_seconds: f32) -> Result<Self> {
        let sql = format!(
            "{begin}SELECT pg_sleep({after_seconds}); {query}; COMMIT",
            begin = session.begin,
            query = query(session.major_version),
        );
        let rows = session.query(&sql, "looking at who writes").await?;
        sql::understood(rows.last().map_or("", String::as_str))
    }

    fn writers(&self) -> Writers {
        match &self.listed {
            Some(listed) => Writers::Listed(listed.clone()),
            None => Writers::Before(self.next).left(self),
        }
    }
}

/// Tables of the system (below oid 16384) and temporary ones hold no rows of a stream.
fn query(major_version: u32) -> String {
    format!(
        "SELECT json_build_object('horizon', {horizon}, 'next', {next}, \
         'listed', CASE WHEN NOT pg_is_in_recovery() THEN (\
           SELECT coalesce(json_agg(DISTINCT l.virtualtransaction), '[]') \
           FROM pg_locks l JOIN pg_class c ON c.oid = l.relation \
           WHERE l.locktype = 'relation' AND l.mode = 'RowExclusiveLock' \
             AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) \
             AND c.oid >= 16384 AND c.relkind IN ('r', 'p', 'f', 'S') AND c.relpersistence <> 't') END)",
        horizon = sql::horizon(major_version),
        next = sql::next_transaction(major_version),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn primary(listed: &[&str]) -> Writing {
        let listed = Some(listed.iter().map(|id| (*id).to_owned()).collect());
        Writing { horizon: Xid(7), next: Xid(9), listed }
    }

    #[test]
    fn whoever_ended_is_not_left_and_whoever_came_later_does_not_count() {
        let writers = primary(&["3/1", "4/1", "-1/8"]).writers();
        let later = writers.left(&primary(&["4/1", "-1/8", "5/1"]));
        assert_eq!(later, primary(&["4/1", "-1/8"]).writers());
        assert!(later.left(&primary(&["5/1"])).none());
    }

    #[test]
    fn a_transaction_that_is_prepared_meanwhile_is_still_left() {
        let writers = primary(&["3/1"]).writers();
        let prepared = writers.left(&primary(&["-1/8", "5/1"]));
        assert_eq!(prepared, primary(&["-1/8"]).writers());
        // Later ones cannot be it.
        assert!(prepared.left(&primary(&["-1/9"])).none());
    }

    #[test]
    fn on_a_standby_everybody_below_the_next_id_counts() {
        let standby = |horizon, next| Writing { horizon: Xid(horizon), next: Xid(next), listed: None };
        assert!(standby(9, 9).writers().none());
        let writers = standby(7, 9).writers();
        assert!(!writers.left(&standby(8, 20)).none());
        assert!(writers.left(&standby(9, 20)).none());
        assert!(!primary(&["3/1"]).writers().left(&standby(7, 9)).none());
    }
}
