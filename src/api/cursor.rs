//! Page cursors: opaque to clients, a position by key to us.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::control::{Keyset, Listing};
use crate::core::{Error, Result};

/// A page of a collection.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Items<T> {
    /// The items.
    pub(crate) items: Vec<T>,
    /// Send it as `cursor` to get the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next_cursor: Option<String>,
}

impl<T> Items<T> {
    /// A page of what was listed.
    pub(crate) fn of<R>(listing: Listing<R>, item: impl FnMut(R) -> T) -> Self {
        let next_cursor = listing.next.map(|key| write(&KeysetCursor { t: key.created_at, i: key.id }));
        Self { items: listing.items.into_iter().map(item).collect(), next_cursor }
    }
}

/// Short names, because the cursor travels in URLs.
#[derive(Serialize, Deserialize)]
struct KeysetCursor {
    t: i64,
    i: String,
}

/// Reads the cursor of a listing by (created_at, id).
pub(crate) fn read_keyset(text: &str) -> Result<Keyset> {
    let KeysetCursor { t, i } = read(text)?;
    Ok(Keyset { created_at: t, id: i })
}

/// Reads any cursor.
pub(crate) fn read<T: DeserializeOwned>(text: &str) -> Result<T> {
    let bytes = URL_SAFE_NO_PAD.decode(text.trim_end_matches('='));
    bytes.ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).ok_or_else(|| {
        Error::invalid("The cursor is not one of ours")
            .field("cursor")
            .remedy("Send next_cursor of the previous page unchanged, or none for the first page")
    })
}

/// Writes any cursor.
pub(crate) fn write(position: &impl Serialize) -> String {
    // Plain structs of numbers and strings always serialise.
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(position).unwrap_or_default())
}
