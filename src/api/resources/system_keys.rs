//! System keys: keys that speak for no user, with permissions of their own and an end.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::users::trimmed;
use crate::api::Services;
use crate::api::access::{Needs, forbidden};
use crate::api::cursor::Items;
use crate::api::error::{ApiError, ApiResult};
use crate::api::request::Call;
use crate::api::response::{Answer, NoData};
use crate::api::router::{Method, PAGED, Route, handler};
use crate::api::timestamp::Timestamp;
use crate::control::api_keys::{KeyPair, SystemKey};
use crate::core::access::{Access, KeyPermission, Permissions, Resource};

pub(crate) fn routes() -> Vec<Route> {
    const LIST: &str = "/v1/system-keys";
    const ONE: &str = "/v1/system-keys/{key_id}";
    const ROTATE: &str = "/v1/system-keys/{key_id}/rotate";
    const READS: Needs = Needs::throughout(Resource::Account, Access::Read);
    const CHANGES: Needs = Needs::throughout(Resource::Account, Access::Manage);
    vec![
        Route::new(Method::Get, LIST, "List system keys", READS, handler!(list => Items<KeyBody>))
            .query(PAGED),
        Route::new(Method::Post, LIST, "Create a system key", CHANGES, handler!(create, NewKey => KeyBody))
            .status(201)
            .details("The secret is told this once. A key cannot be given more than its creator may do."),
        Route::new(Method::Get, ONE, "Read a system key", READS, handler!(get => KeyBody)),
        Route::new(Method::Patch, ONE, "Change a system key", CHANGES, handler!(edit, KeyPatch => KeyBody)),
        Route::new(Method::Delete, ONE, "Revoke a system key", CHANGES, handler!(delete)),
        Route::new(
            Method::Post,
            ROTATE,
            "Give a system key new halves",
            CHANGES,
            handler!(rotate, Rotation => KeyBody),
        )
        .details("The old halves stop working at once; the new secret is told this once."),
    ]
}

/// A system key.
#[derive(Serialize, JsonSchema)]
struct KeyBody {
    id: String,
    name: String,
    /// Public half.
    key: String,
    /// Secret half; only where it was just made.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
    permissions: Vec<KeyPermission>,
    created_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    updated_at: Option<Timestamp>,
    /// Absent: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    expired_at: Option<Timestamp>,
    /// To the hour; absent: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_used_at: Option<Timestamp>,
}

impl From<SystemKey> for KeyBody {
    fn from(key: SystemKey) -> Self {
        Self {
            id: key.id,
            name: key.name,
            key: key.api_key,
            secret: None,
            permissions: key.permissions,
            created_at: Timestamp(key.created_at),
            updated_at: key.updated_at.map(Timestamp),
            expired_at: key.expires_at.map(Timestamp),
            last_used_at: key.last_used_at.map(Timestamp),
        }
    }
}

/// How long a key lives.
#[derive(Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum Period {
    OneWeek,
    OneMonth,
    ThreeMonths,
    SixMonths,
    #[default]
    Infinite,
}

impl Period {
    /// Its end, microseconds UTC. A month is 30 days.
    fn from(self, now: i64) -> Option<i64> {
        const DAY: i64 = 86_400_000_000;
        let days = match self {
            Self::OneWeek => 7,
            Self::OneMonth => 30,
            Self::ThreeMonths => 90,
            Self::SixMonths => 180,
            Self::Infinite => return None,
        };
        Some(now.saturating_add(days * DAY))
    }
}

/// A system key to create.
#[derive(Deserialize, JsonSchema)]
struct NewKey {
    #[schemars(length(min = 1, max = 255))]
    name: String,
    /// INFINITE where absent.
    expiration_period: Option<Period>,
    /// None where absent.
    permissions: Option<Vec<KeyPermission>>,
}

/// Changes of a system key. What is left out stays.
#[derive(Deserialize, JsonSchema)]
struct KeyPatch {
    #[schemars(length(min = 1, max = 255))]
    name: Option<String>,
    /// All of them, anew.
    permissions: Option<Vec<KeyPermission>>,
}

/// How long the new halves live.
#[derive(Deserialize, JsonSchema)]
struct Rotation {
    /// INFINITE where absent.
    expiration_period: Option<Period>,
}

async fn found(services: &Services, call: &Call<'_>) -> ApiResult<SystemKey> {
    let id = call.part("key_id");
    services.control.system_key(id).await?.ok_or_else(|| ApiError::not_found("SystemKey", id))
}

/// Nobody makes, changes or renews a key that may do more than they may.
async fn must_cover(services: &Services, call: &Call<'_>, permissions: &[KeyPermission]) -> ApiResult<()> {
    if call.covers(services, &Permissions::from(permissions)).await? { Ok(()) } else { Err(forbidden()) }
}

async fn list(services: &Services, call: &Call<'_>) -> ApiResult<Answer<Items<KeyBody>>> {
    let listing = services.control.system_keys(&call.scope(Resource::Account), &call.page()?).await?;
    Answer::new("System keys retrieved successfully", &Items::of(listing, KeyBody::from))
}

async fn get(services: &Services, call: &Call<'_>) -> ApiResult<Answer<KeyBody>> {
    Answer::new("System key details retrieved successfully", &KeyBody::from(found(services, call).await?))
}

/// The key as stored, with its secret, which is not.
async fn told(services: &Services, pair: KeyPair) -> ApiResult<KeyBody> {
    let key = services.control.system_key(&pair.id).await?;
    let key = key.ok_or_else(|| ApiError::not_found("SystemKey", &pair.id))?;
    Ok(KeyBody { secret: Some(pair.api_secret.expose().to_owned()), ..KeyBody::from(key) })
}

async fn create(services: &Services, call: &Call<'_>, new: NewKey) -> ApiResult<Answer<KeyBody>> {
    let name = trimmed("name", &new.name)?;
    let permissions = new.permissions.unwrap_or_default();
    must_cover(services, call, &permissions).await?;
    let end = new.expiration_period.unwrap_or_default().from(services.ports.clock.now_micros());
    let account = &call.caller.account_id;
    let pair = services.control.create_system_key(account, &name, &permissions, end).await?;
    Answer::new("System key has been created", &told(services, pair).await?)
}

async fn edit(services: &Services, call: &Call<'_>, patch: KeyPatch) -> ApiResult<Answer<KeyBody>> {
    let mut key = found(services, call).await?;
    must_cover(services, call, &key.permissions).await?;
    if let Some(name) = &patch.name {
        key.name = trimmed("name", name)?;
    }
    if let Some(permissions) = patch.permissions {
        must_cover(services, call, &permissions).await?;
        key.permissions = permissions;
    }
    services.control.save_system_key(&key).await?;
    Answer::new("System key has been updated", &KeyBody::from(found(services, call).await?))
}

async fn delete(services: &Services, call: &Call<'_>) -> ApiResult<Answer<NoData>> {
    let key = found(services, call).await?;
    services.control.revoke_system_key(&key.id).await?;
    Ok(Answer::done(format!("System key with id '{}' has been deleted", key.id)))
}

async fn rotate(services: &Services, call: &Call<'_>, rotation: Rotation) -> ApiResult<Answer<KeyBody>> {
    let key = found(services, call).await?;
    must_cover(services, call, &key.permissions).await?;
    let end = rotation.expiration_period.unwrap_or_default().from(services.ports.clock.now_micros());
    let pair = services.control.rotate_system_key(&key.id, end).await?;
    Answer::new(format!("System key with id '{}' has been rotated", key.id), &told(services, pair).await?)
}
