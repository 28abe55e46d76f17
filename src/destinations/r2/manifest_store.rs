//! Reading and swapping the manifest of a table: a conditional put on the ETag it was read with, and what is done about a
//! store that refuses it for the moment.

use std::rc::Rc;

use bytes::Bytes;

use super::config::Format;
use super::layout::TableLayout;
use super::manifest::{FORMAT_VERSION, Manifest};
use crate::core::fault_point::FaultPoint;
use crate::core::{Error, ErrorKind, Result};
use crate::destinations::{Dropped, TableLoad, taken};
use crate::ports::{ObjectStore, Ports, PutCondition, PutOutcome};

/// Tries of a read-change-swap before giving up. Only runs of one connection and the janitor of the next compete, so
/// a second try is rare and an eighth means something else is writing here.
pub(super) const SWAP_TRIES: u32 = 8;

/// R2 takes about one write a second to one key and refuses more; a run that prepares and publishes within the same
/// second waits this long, in milliseconds, and tries again.
const HOT_KEY_PAUSE_MS: u64 = 1_100;

/// Tries of one put against a store that refuses for the moment.
const PUT_TRIES: u32 = 3;

/// Puts a JSON object that is replaced again and again.
///
/// # Errors
/// When the store stays unreachable.
pub(super) async fn put_patiently(
    store: &dyn ObjectStore,
    ports: &Ports,
    key: &str,
    body: Bytes,
    condition: PutCondition,
) -> Result<PutOutcome> {
    let mut tries = 1;
    loop {
        match store.put(key, body.clone(), "application/json", condition.clone()).await {
            Err(error) if error.kind() == ErrorKind::DestinationUnavailable && tries < PUT_TRIES => {
                tries += 1;
                ports.timer.sleep_ms(HOT_KEY_PAUSE_MS).await;
            }
            outcome => return outcome,
        }
    }
}

/// A manifest as read, with the ETag that a swap of it must match.
pub(crate) struct Versioned {
    /// The manifest.
    pub(crate) manifest: Manifest,
    /// ETag it was read with.
    pub(crate) etag: String,
}

/// Reads and swaps the manifest of one table.
pub(crate) struct ManifestStore {
    store: Rc<dyn ObjectStore>,
    ports: Ports,
    key: String,
}

impl ManifestStore {
    /// The manifest of that table.
    pub(crate) fn new(store: Rc<dyn ObjectStore>, ports: &Ports, layout: &TableLayout) -> Self {
        Self { store, ports: ports.clone(), key: layout.manifest() }
    }

    /// The manifest as it stands, or `None` before the first load was prepared.
    ///
    /// # Errors
    /// When the store is unreachable, or [`DestinationConfig`](ErrorKind::DestinationConfig) when what lies there is
    /// not a manifest of ours: overwriting it could destroy something of the user's (invariant I8).
    pub(crate) async fn read(&self) -> Result<Option<Versioned>> {
        let Some((body, etag)) = self.store.get(&self.key).await? else {
            return Ok(None);
        };
        let manifest: Manifest =
            serde_json::from_slice(&body).map_err(|problem| self.foreign(problem.to_string()))?;
        if manifest.format_version != FORMAT_VERSION {
            return Err(self.foreign(format!("format version {}", manifest.format_version)));
        }
        Ok(Some(Versioned { manifest, etag }))
    }

    /// The manifest of a prepared table.
    ///
    /// # Errors
    /// As [`ManifestStore::read`]; [`Internal`](ErrorKind::Internal) when there is none.
    pub(crate) async fn prepared(&self) -> Result<Versioned> {
        self.read()
            .await?
            .ok_or_else(|| Error::internal(format!("{} does not exist: prepare comes first", self.key)))
    }

    /// Puts a manifest in the place of the one with that ETag, or of nothing.
    ///
    /// A put whose answer was lost is tried again and then conflicts with itself. That is safe: callers read again on
    /// a conflict and find their own work done.
    ///
    /// # Errors
    /// When the store stays unreachable.
    pub(crate) async fn swap(&self, next: &Manifest, expected: Option<&str>) -> Result<PutOutcome> {
        let body = Bytes::from(serde_json::to_vec_pretty(next)?);
        let condition =
            expected.map_or(PutCondition::IfAbsent, |etag| PutCondition::IfMatch(etag.to_owned()));
        put_patiently(&*self.store, &self.ports, &self.key, body, condition).await
    }

    /// Announces a load: creates the manifest or widens it.
    ///
    /// # Errors
    /// As [`Manifest::announced`] and [`ManifestStore::read`]; [`Conflict`](ErrorKind::Conflict) when somebody else
    /// keeps writing.
    pub(crate) async fn announce(&self, load: &TableLoad, format: Format) -> Result<()> {
        for _ in 0..SWAP_TRIES {
            let current = self.read().await?;
            let (next, etag) = match &current {
                None => (Manifest::empty(load, format), None),
                Some(current) => (current.manifest.announced(load, format)?, Some(current.etag.as_str())),
            };
            if current.as_ref().is_some_and(|current| current.manifest == next) {
                return Ok(());
            }
            if let PutOutcome::Written(_) = self.swap(&next, etag).await? {
                return Ok(());
            }
        }
        Err(self.contended())
    }

    /// Takes columns out, as far as the load and the key can do without them. Parts keep their values: of a table that
    /// keeps history for good, of others until a full load replaces them.
    ///
    /// # Errors
    /// As [`Manifest::load_number`] and [`ManifestStore::read`].
    pub(crate) async fn drop_columns(&self, load: &TableLoad, columns: &[String]) -> Result<Dropped> {
        for _ in 0..SWAP_TRIES {
            let current = self.prepared().await?;
            current.manifest.load_number(load)?;
            let next = current.manifest.without(load, columns);
            let dropped = match next.dropped.is_empty() {
                true => Dropped::Whole,
                false => Dropped::UntilFullLoad,
            };
            if next == current.manifest {
                return Ok(dropped);
            }
            self.ports.reach(FaultPoint::DuringDdl, &load.run_id).await?;
            if let PutOutcome::Written(_) = self.swap(&next, Some(&current.etag)).await? {
                return Ok(dropped);
            }
        }
        Err(self.contended())
    }

    /// Makes the load's connection the owner of what `from` owned.
    ///
    /// # Errors
    /// As [`ManifestStore::announce`]; [`DestinationConfig`](ErrorKind::DestinationConfig) when neither owns it any more.
    pub(crate) async fn take_over(&self, load: &TableLoad, from: &str) -> Result<()> {
        for _ in 0..SWAP_TRIES {
            let Some(current) = self.read().await? else { return Ok(()) };
            let owner = &current.manifest.connection_id;
            if *owner == load.connection_id {
                return Ok(());
            }
            if owner != from {
                return Err(taken(&load.table, owner));
            }
            let next = current.manifest.taken_over(load);
            if let PutOutcome::Written(_) = self.swap(&next, Some(&current.etag)).await? {
                return Ok(());
            }
        }
        Err(self.contended())
    }

    /// The error of a swap that lost [`SWAP_TRIES`] times.
    pub(crate) fn contended(&self) -> Error {
        Error::new(ErrorKind::DestinationUnavailable, format!("{} keeps changing under our hands", self.key))
            .remedy("See that nothing else writes to this folder")
    }

    fn foreign(&self, problem: String) -> Error {
        Error::new(
            ErrorKind::DestinationConfig,
            format!("{} is not a manifest this version can read: {problem}", self.key),
        )
        .remedy("Move it away, or choose another prefix")
    }
}
