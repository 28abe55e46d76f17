//! What the keys of the vault hold, and sealing it anew under the newest one. Ours, not Fivetran's.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::access::Needs;
use crate::api::error::ApiResult;
use crate::api::request::Call;
use crate::api::response::Answer;
use crate::api::router::{Method, Route, handler};
use crate::api::{Services, cursor};
use crate::control::resealing::{KeyUse, ResealPosition};
use crate::core::access::Access;

pub(crate) fn routes() -> Vec<Route> {
    let keys = handler!(keys => VaultKeysBody);
    let reseal = handler!(reseal, ResealBody => ResealedBody);
    let (read, manage) = (Needs::deployment(Access::Read), Needs::deployment(Access::Manage));
    vec![
        Route::new(Method::Get, "/v1/vault/keys", "What each key of the vault holds", read, keys).details(
            "A key may be taken out of FIVETRAN_VAULT_KEYS when may_be_removed is true and every Worker seals with the newest.",
        ),
        Route::new(Method::Post, "/v1/vault/reseal", "Seal everything anew under the newest key", manage, reseal).details(
            "About 200 values in a call; repeat it with next_cursor until there is none. It may be ended anywhere, and \
             repeated: what is sealed with the newest key is left alone.",
        ),
    ]
}

/// The keys that are configured, the one that seals first, and others that something is still sealed with.
#[derive(Serialize, JsonSchema)]
struct VaultKeysBody {
    items: Vec<VaultKeyBody>,
}

/// A key of the vault.
#[derive(Serialize, JsonSchema)]
struct VaultKeyBody {
    /// Its id; empty for what is not in the vault's format.
    id: String,
    /// Whether FIVETRAN_VAULT_KEYS has it. What is sealed with one that it lacks cannot be read.
    configured: bool,
    /// Whether it is the one that seals.
    seals: bool,
    /// How many values are sealed with it.
    sealed: u64,
    /// The same, by what they are.
    held: BTreeMap<&'static str, u64>,
    /// Whether it is configured and of no use any more.
    may_be_removed: bool,
}

impl From<KeyUse> for VaultKeyBody {
    fn from(key: KeyUse) -> Self {
        let sealed = key.held.values().sum();
        let may_be_removed = key.configured && !key.seals && sealed == 0;
        Self {
            id: key.id,
            configured: key.configured,
            seals: key.seals,
            sealed,
            held: key.held,
            may_be_removed,
        }
    }
}

/// Where to go on.
#[derive(Deserialize, JsonSchema)]
struct ResealBody {
    /// `next_cursor` of the previous call.
    cursor: Option<String>,
}

/// What the call did.
#[derive(Serialize, JsonSchema)]
struct ResealedBody {
    /// Values sealed anew.
    resealed: u64,
    /// Values that do not open, because their key is not configured or they were altered. They are left as they are.
    unopened: Vec<UnopenedBody>,
    /// Send it as `cursor` to go on; absent when everything was looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

/// A value that does not open.
#[derive(Serialize, JsonSchema)]
struct UnopenedBody {
    /// What it belongs to, for example `connections/abc`.
    place: String,
    /// Why it does not open, and what to do.
    reason: String,
}

async fn keys(services: &Services, _: &Call<'_>) -> ApiResult<Answer<VaultKeysBody>> {
    let items = services.control.key_uses().await?.into_iter().map(VaultKeyBody::from).collect();
    Answer::new("The keys of the vault have been retrieved", &VaultKeysBody { items })
}

async fn reseal(services: &Services, _: &Call<'_>, body: ResealBody) -> ApiResult<Answer<ResealedBody>> {
    let from = body.cursor.as_deref().map(cursor::read::<ResealPosition>).transpose()?.unwrap_or_default();
    let done = services.control.reseal(from).await?;
    let unopened = done.unopened.into_iter().map(|(place, reason)| UnopenedBody { place, reason }).collect();
    let next_cursor = done.next.as_ref().map(cursor::write);
    let message = match next_cursor {
        Some(_) => "There is more to seal anew",
        None => "Everything that opens is sealed with the newest key",
    };
    Answer::new(message, &ResealedBody { resealed: done.resealed, unopened, next_cursor })
}
