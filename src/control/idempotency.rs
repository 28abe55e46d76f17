//! What requests with an `Idempotency-Key` were answered, so that a repeated one is answered and not done again.

use serde_json::{Value, json};

use super::ControlPlane;
use super::row::Row;
use crate::core::Result;
use crate::ports::{SqlValue, Statement};

/// How long an answer is kept: what Stripe made the custom, and longer than any client retries.
const KEPT_MICROS: i64 = 24 * 3_600 * 1_000_000;

/// A request that has not answered for this long died: longer than the slowest setup tests.
const ABANDONED_MICROS: i64 = 300 * 1_000_000;

/// Most expired answers that one tidying deletes.
const MOST_TIDIED: i64 = 10_000;

/// A request as its idempotency key knows it.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a> {
    /// The API key that asks; each has idempotency keys of its own.
    pub key_id: &'a str,
    /// The idempotency key.
    pub idempotency_key: &'a str,
    /// Hash of the request.
    pub request_sha256: &'a str,
}

/// What is to be done with a request.
#[derive(Debug)]
pub enum Claim {
    /// It is new: do it, then [`keep`](ControlPlane::keep_answer) the answer or
    /// [`release`](ControlPlane::release_answer) the claim, which this names.
    New(String),
    /// It was done: status and body of the answer.
    Done(u16, String),
    /// It is being done.
    AtWork,
    /// Another request used the idempotency key.
    Reused,
}

impl ControlPlane {
    /// Claims a request. Of several at once, one gets [`Claim::New`].
    ///
    /// # Errors
    /// When the database cannot be reached or the platform has no entropy.
    pub async fn claim_answer(&self, attempt: Attempt<'_>) -> Result<Claim> {
        let (claim, now) = (self.new_id()?, self.now());
        let forget = "DELETE FROM idempotent_answers WHERE key_id = ?1 AND idempotency_key = ?2 \
            AND (claimed_at <= ?3 OR (answer_sealed IS NULL AND claimed_at <= ?4))";
        let mut forgotten = key(attempt);
        forgotten
            .extend([now.saturating_sub(KEPT_MICROS).into(), now.saturating_sub(ABANDONED_MICROS).into()]);
        let insert = "INSERT INTO idempotent_answers (key_id, idempotency_key, request_sha256, claim, claimed_at) \
            VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO NOTHING";
        let mut inserted = key(attempt);
        inserted.extend([attempt.request_sha256.into(), claim.as_str().into(), now.into()]);
        let read = "SELECT request_sha256, claim, answer_sealed FROM idempotent_answers \
            WHERE key_id = ?1 AND idempotency_key = ?2";
        let batch = vec![
            Statement::new(forget, forgotten),
            Statement::new(insert, inserted),
            Statement::new(read, key(attempt)),
        ];
        let rows = self.shared().batch(batch).await?.pop().map(|found| found.rows).unwrap_or_default();
        let Some(row) = rows.into_iter().next().map(Row) else { return Ok(Claim::AtWork) };
        if row.text("claim")? == claim {
            return Ok(Claim::New(claim));
        }
        if row.text("request_sha256")? != attempt.request_sha256 {
            return Ok(Claim::Reused);
        }
        let Some(sealed) = row.optional_text("answer_sealed")? else { return Ok(Claim::AtWork) };
        let answer = self.vault.sealed_json(&place(attempt), sealed).open()?;
        let status =
            answer.get("status").and_then(Value::as_u64).and_then(|status| u16::try_from(status).ok());
        let body = answer.get("body").and_then(Value::as_str).unwrap_or_default();
        Ok(Claim::Done(status.unwrap_or(200), body.to_owned()))
    }

    /// Keeps the answer to a claimed request. Sealed, because it may tell a secret that is told only once.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn keep_answer(
        &self,
        attempt: Attempt<'_>,
        claim: &str,
        status: u16,
        body: &str,
    ) -> Result<()> {
        let answer = json!({ "status": status, "body": body });
        let sealed = self.vault.seal_json(&place(attempt), &answer)?;
        let sql = "UPDATE idempotent_answers SET answer_sealed = ?4 \
            WHERE key_id = ?1 AND idempotency_key = ?2 AND claim = ?3";
        let mut params = key(attempt);
        params.extend([claim.into(), sealed.as_stored().into()]);
        self.shared().query(Statement::new(sql, params)).await.map(|_| ())
    }

    /// Gives a claim up: nothing was done, and the same request may come again.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn release_answer(&self, attempt: Attempt<'_>, claim: &str) -> Result<()> {
        let sql = "DELETE FROM idempotent_answers WHERE key_id = ?1 AND idempotency_key = ?2 AND claim = ?3";
        let mut params = key(attempt);
        params.push(claim.into());
        self.shared().query(Statement::new(sql, params)).await.map(|_| ())
    }

    /// Deletes answers older than a day, some of them if there are many.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn tidy_answers(&self, now: i64) -> Result<()> {
        let sql = "DELETE FROM idempotent_answers WHERE (key_id, idempotency_key) IN (SELECT key_id, idempotency_key \
            FROM idempotent_answers WHERE claimed_at <= ?1 LIMIT ?2)";
        let params = vec![now.saturating_sub(KEPT_MICROS).into(), MOST_TIDIED.into()];
        self.shared().query(Statement::new(sql, params)).await.map(|_| ())
    }
}

fn key(attempt: Attempt<'_>) -> Vec<SqlValue> {
    vec![attempt.key_id.into(), attempt.idempotency_key.into()]
}

/// Where the answer is sealed for.
fn place(attempt: Attempt<'_>) -> String {
    format!("idempotent_answers/{}/{}", attempt.key_id, attempt.idempotency_key)
}
