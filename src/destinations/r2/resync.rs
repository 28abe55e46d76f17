//! Telling what vanished from a table whose keys do not fit memory, in steps.
//!
//! One invocation has minutes, and a table may have billions of rows. So publishing such a table is many orders, each a
//! bounded step of the same work, which is linear in the rows:
//!
//! 1. **Spill.** The keys of the old parts and the new ones are read once, hashed, sorted as many as fit memory, and stored as
//!    [spools](super::spools).
//! 2. **Compare.** All spools are walked together, a stretch of keys at a time. Each key's last row says what it is: one of a new part
//!    lives, one of an old part is gone. The places of those that are gone are stored as spools again, now by place.
//! 3. **Copy.** These are walked together: the rows are read in the order of the old parts, marked and written.
//!
//! Then the manifest is swapped as ever. The rejected alternative, walking the space of hashes in stretches and reading all keys
//! for each, needs no storage but time that grows with the square of the rows: 12 million took five minutes.
//!
//! What was done is one object, [`Progress`], replaced under compare-and-set after every step (I4): of two workers that do the
//! same step one counts, and a worker whose lease was taken over by a later step is refused. A worker that dies leaves spools
//! that no progress names, under its lease and nobody else's; the step is done again. Progress counts for the manifest it was
//! begun with, known by its ETag; should anything have changed that, the work begins anew.
//!
//! Steps of one publish may be done by different versions of this program. A hash that came out differently would make every
//! row look gone, so [`KeyHasher`](super::key_hash::KeyHasher) is of fixed algorithms from the value's bytes on, and
//! [`FORMAT`] grows with every change of it. There is nothing left that a probe could find.
//!
//! All of it lies in a folder of its own below the load's `staging/`. The [`sweep`](super::sweep) after the swap takes it away; of a run that
//! was cancelled or overtaken, the first step or the publish of the table's next load does.

use std::collections::BTreeSet;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::key_scan::{KeyScan, Position, Reached};
use super::layout;
use super::manifest::Part;
use super::manifest_store::{Versioned, put_patiently};
use super::marked_rows::{Bounds, MarkedRows};
use super::publish::PublishRequest;
use super::spools::{Entry, Spool, Stretch, all_taken, settle, spill};
use super::sweep;
use super::vanished::{CarriedOver, Mark, Vanished, budget, gone};
use crate::core::fault_point::FaultPoint;
use crate::core::limits::MIB;
use crate::core::{Error, ErrorKind, Result};
use crate::ports::PutCondition;

/// Version of [`Progress`], of spools, and of the hashes in them. Progress of another one is not gone on with.
const FORMAT: u32 = 1;

/// Spools written, or stretches compared, in a step: some four million rows, which are a few seconds of CPU. Shorter steps
/// would spend their time on looking up how far the work is.
const PER_STEP: usize = 6;

/// Pieces of spools fetched in a step, at the end of a stretch. An invocation may make 10,000 requests, and goes on with
/// steps for ten seconds.
const FETCHED_PER_STEP: usize = 1_000;

/// What is copied in a step: some 5 s of CPU, and some thousands of requests.
const COPIED_PER_STEP: Bounds = Bounds { bytes: 256 * MIB as u64, opened: 1_000 };

/// How far the work is.
#[derive(Debug, Serialize, Deserialize)]
struct Progress {
    /// [`FORMAT`].
    format: u32,
    /// ETag of the manifest whose parts are compared with the load's.
    manifest: String,
    /// The newest lease that did a step.
    lease: u64,
    /// Seed of the hashes.
    seed: [u8; 16],
    /// The first row whose key is not in a spool yet.
    next: Option<Position>,
    /// Of the keys.
    keys: Vec<Spool>,
    /// Of the places of rows that are gone.
    gone: Vec<Spool>,
    /// Distinct keys of new parts in the stretches that were compared.
    live_rows: u64,
    /// Rows copied that were not marked before.
    newly_deleted: u64,
    /// Old parts that are gone or damaged.
    unreadable: BTreeSet<String>,
    /// Parts with marked rows.
    parts: Vec<Part>,
}

/// One step, or what came of all of them.
///
/// # Errors
/// [`Fenced`](ErrorKind::Fenced) when a newer lease did a step; an unreachable store, or a new part that is gone or damaged.
pub(super) async fn step(
    request: &PublishRequest<'_>,
    current: &Versioned,
    new: &[Part],
    load_number: u64,
) -> Result<CarriedOver> {
    let mut work = Work::resume(request, current, new, load_number).await?;
    if work.progress.next.is_some() {
        if !work.spill().await? {
            return Ok(CarriedOver::Incomparable);
        }
    } else if !all_taken(&work.progress.keys) {
        work.compare().await?;
    } else if !all_taken(&work.progress.gone) {
        work.copy().await?;
    } else {
        return Ok(CarriedOver::Whole(work.vanished()));
    }
    request.ports.reach(FaultPoint::DuringPublish, &request.load.run_id).await?;
    work.keep().await?;
    Ok(CarriedOver::GoesOn)
}

/// A step under way.
struct Work<'a> {
    request: &'a PublishRequest<'a>,
    current: &'a Versioned,
    new: &'a [Part],
    load_number: u64,
    progress: Progress,
    /// ETag that the progress was read with.
    etag: Option<String>,
}

impl<'a> Work<'a> {
    async fn resume(
        request: &'a PublishRequest<'a>,
        current: &'a Versioned,
        new: &'a [Part],
        load_number: u64,
    ) -> Result<Self> {
        let stored = request.store.get(&progress_key(request, load_number)).await?;
        let etag = stored.as_ref().map(|(_, etag)| etag.clone());
        // What cannot be read is of another version of this program.
        let progress = stored.and_then(|(body, _)| serde_json::from_slice::<Progress>(&body).ok());
        let fits = |progress: &Progress| progress.format == FORMAT && progress.manifest == current.etag;
        let progress = match progress.filter(fits) {
            Some(progress) => progress,
            None => begin(request, current, load_number).await?,
        };
        if progress.lease > request.fence.lease {
            let (newer, lease) = (progress.lease, request.fence.lease);
            let message = format!("lease {newer} went on with the publish of lease {lease}");
            return Err(Error::new(ErrorKind::Fenced, message));
        }
        Ok(Self { request, current, new, load_number, progress, etag })
    }

    /// Puts keys into spools. False when they cannot be compared.
    async fn spill(&mut self) -> Result<bool> {
        let (current, room) = (&self.current.manifest, budget(self.request.ports));
        let scan = KeyScan::new(self.request, current, self.new, self.progress.seed);
        let mut entries = Vec::with_capacity(room);
        for _ in 0..PER_STEP {
            let Some(from) = self.progress.next else { break };
            let reached = scan.fill(from, room, &mut entries, &mut self.progress.unreadable).await?;
            self.progress.next = match reached {
                Reached::End => None,
                Reached::Row(next) => Some(next),
                Reached::Incomparable => return Ok(false),
            };
            settle(&mut entries);
            if !entries.is_empty() {
                let spool = self.spool("keys", self.progress.keys.len(), &entries).await?;
                self.progress.keys.push(spool);
            }
            entries.clear();
        }
        Ok(true)
    }

    /// Compares stretches of keys.
    async fn compare(&mut self) -> Result<()> {
        let (old, mark) = (self.current.manifest.parts.len(), Mark::of(&self.request.load.table.primary_key));
        let mut fetched = 0;
        for _ in 0..PER_STEP {
            if all_taken(&self.progress.keys) || fetched >= FETCHED_PER_STEP {
                break;
            }
            let stretch = self.stretch(&self.progress.keys, budget(self.request.ports)).await?;
            fetched += stretch.fetched();
            stretch.take(&mut self.progress.keys, None);
            let (live, gone) = gone(stretch.into_entries(), old, mark);
            self.progress.live_rows = self.progress.live_rows.saturating_add(live);
            if !gone.is_empty() {
                let spool = self.spool("gone", self.progress.gone.len(), &gone).await?;
                self.progress.gone.push(spool);
            }
        }
        Ok(())
    }

    /// Copies rows that are gone.
    async fn copy(&mut self) -> Result<()> {
        let old = &self.current.manifest;
        let before = self.progress.parts.len();
        let mut marked = MarkedRows::new(self.request, old, self.load_number, before, COPIED_PER_STEP);
        let mut fetched = 0;
        while !all_taken(&self.progress.gone) && !marked.is_spent() && fetched < FETCHED_PER_STEP {
            // A quarter of the budget: beside the places there are a row group being read and one being written.
            let stretch = self.stretch(&self.progress.gone, budget(self.request.ports).div_ceil(4)).await?;
            fetched += stretch.fetched();
            let entries = stretch.clone().into_entries();
            let places: Vec<u64> = entries.iter().map(|entry| entry.place()).collect();
            let done = marked.copy(&places).await?;
            let last = done.checked_sub(1).and_then(|last| entries.get(last));
            let last = last.ok_or_else(|| Error::internal("rows to copy, and none was"))?;
            stretch.take(&mut self.progress.gone, Some(last));
        }
        let (parts, newly_marked) = marked.finish().await?;
        self.progress.parts.extend(parts);
        self.progress.newly_deleted = self.progress.newly_deleted.saturating_add(newly_marked);
        Ok(())
    }

    async fn stretch(&self, spools: &[Spool], entries: usize) -> Result<Stretch> {
        Stretch::next(&self.request.store, &self.request.layout, spools, entries).await
    }

    async fn spool(&self, kind: &str, number: usize, entries: &[Entry]) -> Result<Spool> {
        let path = layout::spool(self.load_number, kind, number, self.request.fence);
        spill(&self.request.store, &self.request.layout, path, entries).await
    }

    /// Makes the step count, unless another worker's did. Then theirs is what the next step goes on from, and the same holds
    /// for a put of ours whose answer was lost.
    async fn keep(mut self) -> Result<()> {
        self.progress.lease = self.request.fence.lease;
        let key = progress_key(self.request, self.load_number);
        let body = Bytes::from(serde_json::to_vec(&self.progress)?);
        let condition = self.etag.map_or(PutCondition::IfAbsent, PutCondition::IfMatch);
        let _ = put_patiently(&*self.request.store, self.request.ports, &key, body, condition).await?;
        Ok(())
    }

    fn vanished(self) -> Vanished {
        let Progress { parts, newly_deleted, live_rows, unreadable, .. } = self.progress;
        Vanished { parts, newly_deleted, live_rows, unreadable }
    }
}

fn progress_key(request: &PublishRequest<'_>, load_number: u64) -> String {
    request.layout.key(&layout::progress(load_number))
}

async fn begin(request: &PublishRequest<'_>, current: &Versioned, load_number: u64) -> Result<Progress> {
    // Runs that were cancelled may have left as much as this one is going to write.
    sweep::sweep(&*request.store, &request.layout, &current.manifest, load_number).await?;
    let mut seed = [0; 16];
    request.ports.random.fill(&mut seed)?;
    Ok(Progress {
        format: FORMAT,
        manifest: current.etag.clone(),
        lease: 0,
        seed,
        next: Some(Position::default()),
        keys: Vec::new(),
        gone: Vec::new(),
        live_rows: 0,
        newly_deleted: 0,
        unreadable: BTreeSet::new(),
        parts: Vec::new(),
    })
}
