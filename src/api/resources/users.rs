//! Users. A deployment has one: the owner of its key.

use schemars::JsonSchema;
use serde::Serialize;

use crate::api::Services;
use crate::api::cursor::Items;
use crate::api::error::{ApiError, ApiResult};
use crate::api::request::Call;
use crate::api::response::Answer;
use crate::api::router::{Method, PAGED, Route, handler};
use crate::api::timestamp::Timestamp;

/// The owner's id.
pub(crate) const OWNER_USER: &str = "owner";

pub(crate) fn routes() -> Vec<Route> {
    vec![
        Route::new(Method::Get, "/v1/users", "List users", handler!(list => Items<User>)).query(PAGED),
        Route::new(Method::Get, "/v1/users/{user_id}", "Read a user", handler!(get => User)),
        Route::new(
            Method::Get,
            "/v1/groups/{group_id}/users",
            "List users of a group",
            handler!(of_group => Items<User>),
        )
        .query(PAGED),
    ]
}

/// A user.
#[derive(Serialize, JsonSchema)]
pub(crate) struct User {
    id: String,
    email: String,
    given_name: String,
    family_name: String,
    verified: bool,
    invited: bool,
    picture: Option<String>,
    phone: Option<String>,
    role: String,
    active: bool,
    /// The owner signs in with a key only: when that was last is not recorded.
    logged_in_at: Option<Timestamp>,
    created_at: Timestamp,
}

async fn owner(services: &Services) -> ApiResult<User> {
    let account = services.control.account().await?;
    let host = url::Url::parse(&services.public_url).ok().and_then(|url| url.host_str().map(str::to_owned));
    Ok(User {
        id: OWNER_USER.to_owned(),
        email: format!("{OWNER_USER}@{}", host.as_deref().unwrap_or("localhost")),
        given_name: "Account".to_owned(),
        family_name: "Owner".to_owned(),
        verified: true,
        invited: false,
        picture: None,
        phone: None,
        role: "Account Administrator".to_owned(),
        active: true,
        logged_in_at: None,
        created_at: Timestamp(account.created_at),
    })
}

async fn list(services: &Services, call: &Call<'_>) -> ApiResult<Answer<Items<User>>> {
    // One page holds everybody, so a valid cursor can only point behind the owner.
    let items = if call.page()?.after.is_some() { Vec::new() } else { vec![owner(services).await?] };
    Answer::new("Users retrieved successfully", &Items { items, next_cursor: None })
}

async fn get(services: &Services, call: &Call<'_>) -> ApiResult<Answer<User>> {
    let id = call.part("user_id");
    if id != OWNER_USER {
        return Err(ApiError::not_found("User", id));
    }
    Answer::new("User details retrieved successfully", &owner(services).await?)
}

async fn of_group(services: &Services, call: &Call<'_>) -> ApiResult<Answer<Items<User>>> {
    let id = call.part("group_id");
    if services.control.group(id).await?.is_none() {
        return Err(ApiError::not_found("Group", id));
    }
    let items = if call.page()?.after.is_some() { Vec::new() } else { vec![owner(services).await?] };
    Answer::new("Group users retrieved successfully", &Items { items, next_cursor: None })
}
