//! Making a run's chunks the table's content, in one swap of the manifest.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::rc::Rc;

use super::chunk::ChunkArtifact;
use super::compact;
use super::config::{Encoding, Format};
use super::history;
use super::history_view;
use super::layout::{self, TableLayout, load_of};
use super::manifest::{Manifest, Part, Published};
use super::manifest_store::{ManifestStore, SWAP_TRIES, Versioned};
use super::sweep;
use super::vanished::{self, CarriedOver, Vanished};
use crate::core::fault_point::FaultPoint;
use crate::core::run::Fence;
use crate::core::table::LoadMode;
use crate::core::{Error, ErrorKind, Result};
use crate::destinations::{DurableReceipt, Publishing, TableLoad, TableReceipt};
use crate::ports::{ObjectStore, Ports, PutOutcome};

/// Parts of a table before it is loaded in full again, where they are not merged ([`compact`]). A part takes some 200 bytes in
/// memory and 330 in the manifest's text, and a publish holds both twice: 21 MiB of the 64 of invariant I9. A full load has
/// 10,000 chunks at most, so at least as many loads of changes fit between two: a week's at one a minute.
const MOST_PARTS: usize = 20_000;

/// What publishing needs to know.
pub(super) struct PublishRequest<'a> {
    pub(super) store: Rc<dyn ObjectStore>,
    pub(super) ports: &'a Ports,
    pub(super) layout: TableLayout,
    pub(super) encoding: Encoding,
    pub(super) load: &'a TableLoad,
    pub(super) chunks: &'a [DurableReceipt],
    pub(super) fence: Fence,
}

/// Publishes, or finds that it was done before, or does a step of what comes first.
///
/// Two publishers of one run (a duplicate message, a lease that expired) work out the same manifest; the swap lets one
/// of them through, and the other finds the load published when it reads again (I3).
///
/// # Errors
/// [`Fenced`](ErrorKind::Fenced) when a newer run was announced, [`Mismatch`](ErrorKind::Mismatch) when a chunk is not
/// durable or not the one its receipt describes.
pub(super) async fn publish(request: PublishRequest<'_>) -> Result<Publishing> {
    let manifests = ManifestStore::new(Rc::clone(&request.store), request.ports, &request.layout);
    for _ in 0..SWAP_TRIES {
        let current = manifests.prepared().await?;
        let number = current.manifest.load_number(request.load)?;
        if let Some(receipt) = current.manifest.receipt_of(number) {
            return Ok(outcome(&current.manifest, receipt));
        }
        let parts = durable_parts(&request, number).await?;
        let next = match request.load.mode {
            LoadMode::Incremental => appended(&request, &current.manifest, number, parts).await?,
            LoadMode::Full => match full(&request, &current, number, parts).await? {
                Some(next) => next,
                None => return Ok(Publishing::GoesOn),
            },
        };
        request.ports.reach(FaultPoint::DuringPublish, &request.load.run_id).await?;
        if let PutOutcome::Written(_) = manifests.swap(&next, Some(&current.etag)).await? {
            request.ports.reach(FaultPoint::AfterSwap, &request.load.run_id).await?;
            // The table is published whatever comes of this, and the next publish sweeps again.
            let _ = sweep::sweep(&*request.store, &request.layout, &next, number).await;
            let receipt = next.receipt_of(number);
            return receipt
                .map(|receipt| outcome(&next, receipt))
                .ok_or_else(|| Error::internal("a published load has no receipt"));
        }
    }
    Err(manifests.contended())
}

/// Changes that make a manifest so long are followed by a full load, which begins it anew. A history never begins anew. So are
/// changes that came between a drop of columns and the full load that it needs: whoever dropped them had lost its run by then.
fn outcome(manifest: &Manifest, receipt: TableReceipt) -> Publishing {
    let changes = manifest.published.as_ref().is_some_and(|last| last.mode == LoadMode::Incremental);
    let due = manifest.parts.len() >= MOST_PARTS || !manifest.dropped.is_empty();
    if changes && manifest.history.is_none() && due {
        Publishing::Crowded(receipt)
    } else {
        Publishing::Done(receipt)
    }
}

/// The parts that the receipts name, in chunk order, each looked up in the bucket: a part that is gone, or that is not
/// the object the receipt was issued for, must not be published.
async fn durable_parts(request: &PublishRequest<'_>, load_number: u64) -> Result<Vec<Part>> {
    let mut by_chunk = BTreeMap::new();
    for receipt in request.chunks {
        if receipt.chunk().run_id != request.load.run_id {
            return Err(mismatch(format!(
                "a receipt of run {} was handed to run {}",
                receipt.chunk().run_id,
                request.load.run_id
            )));
        }
        let artifact: ChunkArtifact = serde_json::from_value(receipt.artifact().clone())?;
        let (rows, written) = (artifact.part.as_ref().map_or(0, |part| part.rows), receipt.counts().written);
        if rows != written {
            return Err(mismatch(format!(
                "the part of chunk {} of {} has {rows} rows, its receipt {written}",
                receipt.chunk().chunk,
                receipt.chunk().stream
            )));
        }
        by_chunk.insert(receipt.chunk().chunk, artifact.part);
    }
    let parts: Vec<Part> = by_chunk.into_values().flatten().collect();
    if parts.is_empty() {
        return Ok(parts);
    }
    let folder = request.layout.key(&layout::load_folder(load_number, request.load.mode)?);
    let stored: BTreeMap<String, (u64, String)> = request
        .store
        .list(&folder)
        .await?
        .into_iter()
        .map(|object| (object.key, (object.size, object.etag)))
        .collect();
    for part in &parts {
        let key = request.layout.key(&part.path);
        let (bytes, etag) =
            stored.get(&key).ok_or_else(|| mismatch(format!("{key} is not in the bucket any more")))?;
        if (*bytes, etag) != (part.bytes, &part.etag) {
            return Err(mismatch(format!("{key} is not the object that was committed")));
        }
    }
    Ok(parts)
}

/// The manifest after an incremental load: its parts come after all others, or the newest of all merged into one.
async fn appended(
    request: &PublishRequest<'_>,
    current: &Manifest,
    load_number: u64,
    parts: Vec<Part>,
) -> Result<Manifest> {
    let mut next = current.clone();
    // Which of the new rows replace old ones is only known after merging.
    next.live_rows = current.live_rows.filter(|_| parts.is_empty());
    let (written, grew) = (rows_of(&parts), !parts.is_empty());
    next.parts.extend(parts);
    let mut replaced = Vec::new();
    // Parts of before a column was dropped stay apart from those that have one of its name since.
    let since = current.history.as_ref().map_or(0, |history| history.alike_since(request.load, load_number));
    let apart = next.parts.partition_point(|part| load_of(&part.path).is_some_and(|load| load < since));
    let alike = next.parts.get(apart..).unwrap_or_default();
    if grew && let Some((merged, count)) = compact::merge(request, alike, load_number).await? {
        replaced = next.parts.split_off(next.parts.len().saturating_sub(count));
        next.parts.push(merged);
    }
    let replaced = replaced.into_iter().map(|part| part.path);
    next.retired = sweep::retire(current, replaced, request.ports.clock.now_micros());
    Ok(finished(next, request.load, load_number, written, 0))
}

/// The manifest after a full load: its parts instead of all others, plus the rows it did not find any more. Where history
/// is kept, the others stay. `None` when telling what is gone goes on.
async fn full(
    request: &PublishRequest<'_>,
    versioned: &Versioned,
    load_number: u64,
    parts: Vec<Part>,
) -> Result<Option<Manifest>> {
    let current = &versioned.manifest;
    let (load, format, rows) = (request.load, request.encoding.format(), rows_of(&parts));
    let carried = if format == Format::Parquet && vanished::comparable(current, load) {
        vanished::carry_over(request, versioned, &parts, load_number).await?
    } else {
        CarriedOver::Incomparable
    };
    let vanished = match carried {
        CarriedOver::Whole(vanished) => Some(vanished),
        CarriedOver::Incomparable => None,
        CarriedOver::GoesOn => return Ok(None),
    };
    let goes_on =
        history::goes_on(current, load, format) && (format != Format::Parquet || vanished.is_some());
    let nothing =
        Vanished { parts: Vec::new(), newly_deleted: 0, live_rows: rows, unreadable: BTreeSet::new() };
    let vanished = vanished.unwrap_or(nothing);
    let mut next = current.clone();
    let out: Vec<Part> = if goes_on {
        next.parts.extract_if(.., |part| vanished.unreadable.contains(&part.path)).collect()
    } else {
        begin_anew(&mut next, load, format);
        std::mem::take(&mut next.parts)
    };
    next.live_rows = Some(vanished.live_rows);
    next.parts.extend(parts);
    next.parts.extend(vanished.parts);
    next.retired =
        sweep::retire(current, out.into_iter().map(|part| part.path), request.ports.clock.now_micros());
    Ok(Some(finished(next, load, load_number, rows, vanished.newly_deleted)))
}

/// What belongs to the parts goes with them: format, key, and the system columns of another sync mode.
fn begin_anew(next: &mut Manifest, load: &TableLoad, format: Format) {
    next.format = format;
    next.primary_key.clone_from(&load.table.primary_key);
    next.generation = next.generation.saturating_add(1);
    next.history = None;
    next.dropped.clear();
    let table = next.table_schema();
    let carried: HashSet<&str> = table.carried().map(|column| column.name.as_str()).collect();
    next.columns
        .retain(|column| carried.contains(column.name.as_str()) || load.table.column(&column.name).is_some());
}

fn rows_of(parts: &[Part]) -> u64 {
    parts.iter().map(|part| part.rows).sum()
}

fn finished(mut next: Manifest, load: &TableLoad, number: u64, written: u64, deleted: u64) -> Manifest {
    next.total_rows = rows_of(&next.parts);
    let TableLoad { synced_at, mode, .. } = *load;
    next.published = Some(Published { load: number, synced_at, mode, written, deleted });
    next.history = history::wanted(load).then(|| {
        let mut history = next.history.take().unwrap_or_default();
        history.note(load, number);
        history.sql = history_view::sql(&next, &history);
        history
    });
    next
}

fn mismatch(message: String) -> Error {
    Error::new(ErrorKind::Mismatch, message)
}
