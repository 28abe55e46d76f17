//! The outbox and the delivery log, one table. Rows are written by the trigger on `log_events` (migration 0005); here
//! they are claimed, settled, listed and, when they are old, deleted.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::ControlPlane;
use super::connections::read_word;
use super::databases::home_number;
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
    /// The connection it tells of.
    pub connection_id: String,
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
    /// Whether anything is to be delivered now: of that connection, as far as its database knows without looking further,
    /// or at all.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn deliveries_due(&self, now: i64, connection_id: Option<&str>) -> Result<bool> {
        let sql = "SELECT 1 AS due FROM deliveries WHERE next_attempt_at <= ?1 LIMIT 1";
        let due = Statement::new(sql, vec![now.into()]);
        Ok(match connection_id {
            Some(id) => !self.home(id)?.query(due).await?.rows.is_empty(),
            None => !self.rows_everywhere(due).await?.is_empty(),
        })
    }

    /// Takes deliveries that are due, the longest due first, for two minutes: others do not see them, and if nothing is
    /// reported of them they are due again. Webhooks get one request each, so few are taken; what a log service gets goes
    /// in one request, so much is taken, of one service. All are from one database, another one first each second.
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
        let databases = self.databases.all().collect::<Vec<_>>();
        let second = usize::try_from(now.div_euclid(1_000_000)).unwrap_or_default();
        let first = second.checked_rem(databases.len()).unwrap_or_default();
        let mut claimed = Vec::new();
        for database in databases.iter().cycle().skip(first).take(databases.len()) {
            let found = database.batch(vec![claim(&few, webhooks), claim(&much, log_lines)]).await?;
            let rows = found.into_iter().flat_map(|result| result.rows);
            claimed = rows.map(|row| read(&Row(row))).collect::<Result<Vec<_>>>()?;
            if !claimed.is_empty() {
                break;
            }
        }
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
        let mut homes: BTreeMap<usize, Vec<&Attempted>> = BTreeMap::new();
        for attempt in attempted {
            homes.entry(home_number(&attempt.connection_id)).or_default().push(attempt);
        }
        for attempted in homes.values() {
            self.settle_in_one(attempted).await?;
        }
        Ok(())
    }

    /// Notes what came of attempts whose deliveries are in one database.
    async fn settle_in_one(&self, attempted: &[&Attempted]) -> Result<()> {
        let Some(first) = attempted.first() else { return Ok(()) };
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
        for id in &given_up {
            batch.extend(self.switching_off(id));
        }
        self.home(&first.connection_id)?.batch(batch).await?;
        // Where that switched off a copy, the receiver itself and its other copies follow. Should this die in between, the
        // sweep makes the copies what the receiver is, and the next delivery that is given up switches it off.
        if !given_up.is_empty() && self.is_divided() {
            let batch = given_up.iter().flat_map(|id| self.switching_off(id)).collect();
            self.shared().batch(batch).await?;
            self.copy_receivers().await?;
        }
        Ok(())
    }

    fn switching_off(&self, receiver_id: &str) -> [Statement; 2] {
        let sql = "UPDATE receivers SET active = 0, updated_at = MAX(?2, updated_at + 1) \
            WHERE id = ?1 AND active = 1";
        [Statement::new(sql, vec![receiver_id.into(), self.now().into()]), drop_pending(receiver_id)]
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
        let found = self.rows_everywhere(Statement::new(sql, params)).await?;
        let items = found.iter().map(read).collect::<Result<Vec<_>>>()?;
        Ok(Listing::merged(items, page.limit, |delivery| Keyset {
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
        self.everywhere(vec![Statement::new(sql, params)]).await?;
        Ok(())
    }
}

const GIVE_UP: &str = "UPDATE deliveries SET state = 'failed', next_attempt_at = NULL, \
    last_attempt_at = COALESCE(last_attempt_at, occurred_at), \
    error = COALESCE(error, 'The receiver was switched off') WHERE state = 'pending'";

/// Gives up what is pending for a receiver, if it is switched off.
pub(super) fn drop_pending(receiver_id: &str) -> Statement {
    let sql = format!(
        "{GIVE_UP} AND receiver_id = ?1 AND EXISTS (SELECT 1 FROM receivers WHERE id = ?1 AND active = 0)"
    );
    Statement::new(sql, vec![receiver_id.into()])
}

/// Gives up what is pending for all that are switched off.
pub(super) fn drop_all_pending() -> Statement {
    // What is pending has a next attempt, and that an index.
    let sql = format!(
        "{GIVE_UP} AND next_attempt_at IS NOT NULL AND receiver_id IN (SELECT id FROM receivers WHERE active = 0)"
    );
    Statement::new(sql, vec![])
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
