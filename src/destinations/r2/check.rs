//! Trying what loads will need.

use bytes::Bytes;

use crate::connectors::{SetupTest, SetupTestStatus};
use crate::core::{Error, ErrorKind, Result};
use crate::ports::{ObjectStore, PutCondition, PutOutcome};

const PROBE: &[u8] = b"written by a setup test, safe to delete";

/// Writes, reads, overwrites conditionally and deletes a probe object below the prefix.
///
/// The name is random, so that two checks at once do not meet.
///
/// # Errors
/// What is wrong with the bucket.
pub(super) async fn probe(store: &dyn ObjectStore, prefix: &str, nonce: &str) -> Result<()> {
    let folder = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
    let key = format!("{folder}.fivetran-setup-test-{nonce}");
    let outcome = round_trip(store, &key).await;
    // Also after a failure half way; what is not there is fine to delete.
    let cleaned = store.delete(std::slice::from_ref(&key)).await;
    outcome.and(cleaned)
}

async fn round_trip(store: &dyn ObjectStore, key: &str) -> Result<()> {
    let broken = |what: &str| Error::new(ErrorKind::DestinationConfig, format!("the bucket {what}"));
    let body = Bytes::from_static(PROBE);
    let PutOutcome::Written(_) = store.put(key, body.clone(), "text/plain", PutCondition::IfAbsent).await?
    else {
        return Err(broken("already holds an object of a random name"));
    };
    // Publishing rests on this refusal.
    if store.put(key, body.clone(), "text/plain", PutCondition::IfAbsent).await? != PutOutcome::Conflict {
        return Err(broken("ignores conditions on writes, so tables could not be published safely"));
    }
    match store.get(key).await? {
        Some((read, _)) if read == body => Ok(()),
        Some(_) => Err(broken("returned other bytes than were written")),
        None => Err(broken("does not show an object that was just written")),
    }
}

/// A result as a setup test.
pub(super) fn verdict(title: &str, result: Result<()>) -> SetupTest {
    let (status, message) = match result {
        Ok(()) => (SetupTestStatus::Passed, String::new()),
        Err(error) => (SetupTestStatus::Failed, error.to_string()),
    };
    SetupTest::new(title, status, message)
}
