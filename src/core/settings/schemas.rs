//! The policy's decision about schemas that appear after the first sync.

use std::collections::{BTreeMap, BTreeSet};

use super::{ConnectionSettings, SchemaChangePolicy, SchemaSettings};
use crate::core::catalog::StreamName;

/// The schemas that are seen for the first time and that the policy leaves out: off, until a person switches them on.
/// Must be stored before the versions of their streams, as [`Selection::settled`](super::Selection::settled) must.
///
/// `known` are the streams of earlier looks, those gone from the source included; `known_any` says whether the connection
/// has completed a sync before.
pub fn settle_schemas<'a>(
    present: impl IntoIterator<Item = &'a StreamName>,
    known: impl IntoIterator<Item = &'a StreamName>,
    settings: &ConnectionSettings,
    known_any: bool,
) -> BTreeMap<String, SchemaSettings> {
    if !known_any || settings.policy == SchemaChangePolicy::AllowAll {
        return BTreeMap::new();
    }
    let known = known.into_iter().map(|name| name.schema.as_str()).collect::<BTreeSet<_>>();
    let by_hand = |schema: &str| settings.schemas.get(schema).is_some_and(|own| own.enabled.is_some());
    present
        .into_iter()
        .filter(|name| !known.contains(name.schema.as_str()) && !by_hand(&name.schema))
        .map(|name| (name.schema.clone(), SchemaSettings { enabled: Some(false) }))
        .collect()
}
