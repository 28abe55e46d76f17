//! Removing what no manifest names.
//!
//! Swept are parts and receipts of loads older than the one just published, unless the manifest lists them as parts or
//! as retired. That catches replaced parts after their grace, parts of runs that failed, and parts of workers that
//! lost the race for a chunk. Of the load itself, once it is published, what it kept while it told what vanished
//! ([`resync`](super::resync)). Loads are compared by number, so a slow sweep never touches what a newer run is writing.

use super::layout::{self, TableLayout, load_of};
use super::manifest::{Manifest, Retired};
use crate::core::Result;
use crate::ports::ObjectStore;

/// Replaced parts outlive their replacement by this long, in microseconds (15 minutes, the longest a Worker of ours
/// may run), and at least until the publish of a later run: a reader that took its list of files from an older
/// manifest can finish.
const GRACE_MICROS: i64 = 15 * 60 * 1_000_000;

/// R2 deletes up to this many keys in one call.
const DELETE_KEYS: usize = 1_000;

/// The retired parts of a manifest that is about to be: those still in their grace, and those it replaces now.
pub(super) fn retire(before: &Manifest, replaced: impl Iterator<Item = String>, now: i64) -> Vec<Retired> {
    let in_grace = before
        .retired
        .iter()
        .filter(|retired| now.saturating_sub(retired.retired_at) < GRACE_MICROS)
        .cloned();
    in_grace.chain(replaced.map(|path| Retired { path, retired_at: now })).collect()
}

/// Deletes what loads before that one, which the manifest announces, left behind; and of the load itself what it needs no
/// more if the manifest was published by it.
///
/// # Errors
/// When the store is unreachable; the next publish sweeps again.
pub(super) async fn sweep(
    store: &dyn ObjectStore,
    layout: &TableLayout,
    manifest: &Manifest,
    load_number: u64,
) -> Result<()> {
    let kept: std::collections::HashSet<&str> = manifest
        .parts
        .iter()
        .map(|part| part.path.as_str())
        .chain(manifest.retired.iter().map(|retired| retired.path.as_str()))
        .collect();
    let published = manifest.published.as_ref().is_some_and(|published| published.load == load_number);
    let needed_no_more = layout::resync_folder(load_number);
    let mut dead = Vec::new();
    for prefix in [layout.data(), layout.staging()] {
        for object in store.list(&prefix).await? {
            let Some(path) = layout.path(&object.key) else { continue };
            // An object whose name we did not give is not ours to delete (invariant I8).
            let older = load_of(path).is_some_and(|load| load < load_number);
            let done = published && path.starts_with(&needed_no_more);
            if done || (older && !kept.contains(path)) {
                dead.push(object.key);
            }
        }
    }
    for keys in dead.chunks(DELETE_KEYS) {
        store.delete(keys).await?;
    }
    Ok(())
}
