//! The outbox and the delivery log, one table. Rows are written by the trigger on `log_events` (migration 0005); here
//! they are claimed, settled, listed and, when they are old, deleted.

use serde_json::{Value, json};

use super::ControlPlane;
use super::connections::read_word;
use super::log_events::LogLevel;
use super::page::{Keyset, Listing, Page};
use super::receivers::WEBHOOK;
use super::row::Row;
use crate::core::Result;
use crate::ports::Statement;

/// A claimed delivery comes back after this long, should its worker die. [`crate::delivery`] makes four rounds of at most
/// two calls of 10 s with what it claimed: 80 s.
const CLAIM_MICROS: i64 = 120 * 1_000_000;

/// Most finished deliveries that one tidying deletes; one a minute keeps up with 14 million a day.
const MOST_TIDIED: i64 = 10_000;

/// The delivery log reaches back a week: long enough to look into what went wrong last night, and bounded.
const KEPT_MICROS: i64 = 7 * 24 * 60 * 60 * 1_000_000;

const COLUMNS: &str = "id, receiver_id, event, level, data, occurred_at, connection_id, connection_name, \
    connector_type, group_id, run_id, state, attempts, first_attempt_at, last_attempt_at, next_attempt_at, \
    response_status, error";

/// One event on its way to one receiver.
#[derive(Clone, Debug, PartialEq)]
pub struct Delivery {
    /// The same at every attempt.
    pub id: String,
    /// Who is told.
    pub receiver_id: String,
    /// Name of the event, for example `sync_end`.
    pub event: String,
    /// How bad.
    pub level: LogLevel,
    /// Details of the event.
    pub data: Value,
    /// Microseconds UTC.
    pub occurred_at: i64,
    /// Connection.
    pub connection_id: String,
    /// Its name when it happened.
    pub connection_name: String,
    /// Its connector.
    pub connector_type: String,
    /// Its group.
    pub group_id: String,
    /// Run, if one is concerned.
    pub run_id: Option<String>,
    /// `pending`, `delivered` or `failed`.
    pub state: String,
    /// Attempts so far.
    pub attempts: u32,
    /// Microseconds UTC.
    pub first_attempt_at: Option<i64>,
    /// Microseconds UTC.
    pub last_attempt_at: Option<i64>,
    /// Microseconds UTC; `None` when there is no further attempt.
    pub next_attempt_at: Option<i64>,
    /// HTTP status of the last answer.
    pub response_status: Option<u16>,
    /// Why the last attempt failed.
    pub error: Option<String>,
}

/// What came of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempted {
    /// Delivery.
    pub id: String,
    /// Its receiver.
    pub receiver_id: String,
    /// Number of the attempt: a report of one that was overtaken counts no more.
    pub attempt: u32,
    /// HTTP status of the answer, if there was one.
    pub status: Option<u16>,
    /// `None` for success.
    pub error: Option<String>,
    /// The next attempt after a failure, microseconds UTC; `None` gives up, and switches the receiver off.
    pub next_attempt_at: Option<i64>,
}

impl ControlPlane {
    /// Whether anything is to be delivered now.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn deliveries_due(&self, now: i64) -> Result<bool> {
        let sql = "SELECT 1 AS due FROM deliveries WHERE next_attempt_at <= ?1 LIMIT 1";
        Ok(!self.db.query(Statement::new(sql, vec![now.into()])).await?.rows.is_empty())
    }

    /// Takes deliveries that are due, the longest due first, for two minutes: others do not see them, and if nothing is
    /// reported of them they are due again. Webhooks get one request each, so few are taken; what a log service gets goes
    /// in one request, so much is taken, of one service.
    ///
    /// # Errors
    /// When the database cannot be reached; nothing is taken then, or it comes back.
    pub async fn claim_deliveries(&self, now: i64, webhooks: u32, log_lines: u32) -> Result<Vec<Delivery>> {
        let due = "SELECT d.id FROM deliveries AS d JOIN receivers AS r ON r.id = d.receiver_id \
            WHERE d.next_attempt_at <= ?1 AND";
        let few = format!("{due} r.service = '{WEBHOOK}' ORDER BY d.next_attempt_at, d.id LIMIT ?3");
        let much = format!(
            "{due} r.id = (SELECT l.id FROM deliveries AS f JOIN receivers AS l ON l.id = f.receiver_id \
             WHERE f.next_attempt_at <= ?1 AND l.service <> '{WEBHOOK}' ORDER BY f.next_attempt_at, f.id LIMIT 1) \
             ORDER BY d.next_attempt_at, d.id LIMIT ?3"
        );
        let until = now.saturating_add(CLAIM_MICROS);
        let claim = |ids: &str, limit: u32| {
            let sql = format!(
                "UPDATE deliveries SET next_attempt_at = ?2, attempts = attempts + 1, last_attempt_at = ?1, \
                 first_attempt_at = COALESCE(first_attempt_at, ?1) WHERE id IN ({ids}) RETURNING {COLUMNS}"
            );
            Statement::new(sql, vec![now.into(), until.into(), i64::from(limit).into()])
        };
        let found = self.db.batch(vec![claim(&few, webhooks), claim(&much, log_lines)]).await?;
        let rows = found.into_iter().flat_map(|result| result.rows);
        let mut claimed = rows.map(|row| read(&Row(row))).collect::<Result<Vec<_>>>()?;
        // `RETURNING` promises no order.
        claimed.sort_by(|one, other| (one.occurred_at, &one.id).cmp(&(other.occurred_at, &other.id)));
        Ok(claimed)
    }

    /// Notes what came of attempts. Receivers whose delivery was given up are switched off, and what else they were to
    /// be told is given up with it.
    ///
    /// # Errors
    /// When the database cannot be reached; the deliveries are tried again then, under the same ids.
    pub async fn settle_deliveries(&self, attempted: &[Attempted]) -> Result<()> {
        if attempted.is_empty() {
            return Ok(());
        }
        let rows = attempted.iter().map(|attempt| {
            json!({
                "id": attempt.id,
                "attempt": attempt.attempt,
                "state": match (&attempt.error, attempt.next_attempt_at) {
                    (None, _) => "delivered",
                    (Some(_), Some(_)) => "pending",
                    (Some(_), None) => "failed",
                },
                "next": attempt.error.as_ref().and(attempt.next_attempt_at),
                "status": attempt.status,
                "error": attempt.error,
            })
        });
        let sql = "UPDATE deliveries AS d SET state = a.value ->> 'state', next_attempt_at = a.value ->> 'next', \
            response_status = a.value ->> 'status', error = a.value ->> 'error' FROM json_each(?1) AS a \
            WHERE d.id = a.value ->> 'id' AND d.attempts = a.value ->> 'attempt' AND d.state = 'pending'";
        let mut batch = vec![Statement::new(sql, vec![Value::Array(rows.collect()).to_string().into()])];
        let mut given_up = attempted
            .iter()
            .filter(|attempt| attempt.error.is_some() && attempt.next_attempt_at.is_none())
            .map(|attempt| attempt.receiver_id.as_str())
            .collect::<Vec<_>>();
        given_up.dedup();
        for id in given_up {
            let sql = "UPDATE receivers SET active = 0, updated_at = MAX(?2, updated_at + 1) \
                WHERE id = ?1 AND active = 1";
            batch.push(Statement::new(sql, vec![id.into(), self.now().into()]));
            batch.push(drop_pending(id));
        }
        self.db.batch(batch).await?;
        Ok(())
    }

    /// A receiver's deliveries by the time of their events, the oldest first.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn deliveries(&self, receiver_id: &str, page: &Page) -> Result<Listing<Delivery>> {
        let [occurred_at, id] = page.position();
        let sql = format!(
            "SELECT {COLUMNS} FROM deliveries WHERE receiver_id = ?1 AND (occurred_at, id) > (?2, ?3) \
             ORDER BY occurred_at, id LIMIT ?4"
        );
        let params = vec![receiver_id.into(), occurred_at, id, (i64::from(page.limit) + 1).into()];
        let found = self.db.query(Statement::new(sql, params)).await?;
        let items = found.rows.into_iter().map(|row| read(&Row(row))).collect::<Result<Vec<_>>>()?;
        Ok(Listing::cut(items, page.limit, |delivery| Keyset {
            created_at: delivery.occurred_at,
            id: delivery.id.clone(),
        }))
    }

    /// Deletes what was finished more than a week ago.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn tidy_deliveries(&self, now: i64) -> Result<()> {
        let sql = "DELETE FROM deliveries WHERE id IN (SELECT id FROM deliveries \
            WHERE next_attempt_at IS NULL AND last_attempt_at < ?1 LIMIT ?2)";
        let params = vec![now.saturating_sub(KEPT_MICROS).into(), MOST_TIDIED.into()];
        self.db.query(Statement::new(sql, params)).await?;
        Ok(())
    }
}

/// Gives up what is pending for a receiver, if it is switched off.
pub(super) fn drop_pending(receiver_id: &str) -> Statement {
    Statement::new(
        "UPDATE deliveries SET state = 'failed', next_attempt_at = NULL, \
         last_attempt_at = COALESCE(last_attempt_at, occurred_at), \
         error = COALESCE(error, 'The receiver was switched off') WHERE receiver_id = ?1 AND state = 'pending' \
         AND EXISTS (SELECT 1 FROM receivers WHERE id = ?1 AND active = 0)",
        vec![receiver_id.into()],
    )
}

fn read(row: &Row) -> Result<Delivery> {
    let small = |count: i64| u32::try_from(count).unwrap_or(u32::MAX);
    Ok(Delivery {
        id: row.text("id")?,
        receiver_id: row.text("receiver_id")?,
        event: row.text("event")?,
        level: read_word(row, "level")?,
        data: row.json("data")?,
        occurred_at: row.integer("occurred_at")?,
        connection_id: row.text("connection_id")?,
        connection_name: row.text("connection_name")?,
        connector_type: row.text("connector_type")?,
        group_id: row.text("group_id")?,
        run_id: row.optional_text("run_id")?,
        state: row.text("state")?,
        attempts: small(row.integer("attempts")?),
        first_attempt_at: row.optional_integer("first_attempt_at")?,
        last_attempt_at: row.optional_integer("last_attempt_at")?,
        next_attempt_at: row.optional_integer("next_attempt_at")?,
        response_status: row
            .optional_integer("response_status")?
            .and_then(|status| u16::try_from(status).ok()),
        error: row.optional_text("error")?,
    })
}
