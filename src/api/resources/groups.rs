//! Groups.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::connections::{self, ConnectionBody};
use crate::api::Services;
use crate::api::access::Needs;
use crate::api::cursor::Items;
use crate::api::error::{ApiError, ApiResult};
use crate::api::request::Call;
use crate::api::response::Answer;
use crate::api::router::{CURSOR, LIMIT, Method, PAGED, Route, handler};
use crate::api::timestamp::Timestamp;
use crate::control::groups::Group;
use crate::core::Error;
use crate::core::access::Place;
use crate::core::access::{Access, Resource};
use crate::core::roles::RoleScope;

pub(crate) fn routes() -> Vec<Route> {
    const LIST: &str = "/v1/groups";
    const ONE: &str = "/v1/groups/{group_id}";
    vec![
        Route::new(
            Method::Get,
            LIST,
            "List groups",
            Needs::anywhere(Resource::Destination, Access::Read),
            handler!(list => Items<GroupBody>),
        )
        .query(PAGED),
        Route::new(
            Method::Post,
            LIST,
            "Create a group",
            Needs::throughout(Resource::Destination, Access::Create),
            handler!(create, NewGroup => GroupBody),
        )
        .status(201),
        Route::new(Method::Get, ONE, "Read a group", Needs::group(Access::Read), handler!(get => GroupBody)),
        Route::new(
            Method::Patch,
            ONE,
            "Rename a group",
            Needs::group(Access::Edit),
            handler!(rename, GroupPatch => GroupBody),
        ),
        Route::new(
            Method::Delete,
            ONE,
            "Delete a group without destination and connections",
            Needs::group(Access::Manage),
            handler!(delete),
        ),
        Route::new(
            Method::Get,
            "/v1/groups/{group_id}/connections",
            "List connections of a group",
            Needs::group(Access::Read),
            handler!(list_connections => Items<ConnectionBody>),
        )
        .query(&[
            ("schema", "Only the connection of exactly this name"),
            ("cursor", CURSOR),
            ("limit", LIMIT),
        ]),
    ]
}

/// A group: the home of one destination, which has the same id.
#[derive(Serialize, JsonSchema)]
struct GroupBody {
    id: String,
    name: String,
    created_at: Timestamp,
}

impl From<Group> for GroupBody {
    fn from(group: Group) -> Self {
        Self { id: group.id, name: group.name, created_at: Timestamp(group.created_at) }
    }
}

/// A group to create.
#[derive(Deserialize, JsonSchema)]
struct NewGroup {
    /// Unique in the account.
    #[schemars(length(min = 1, max = 255))]
    name: String,
}

/// Changes of a group.
#[derive(Deserialize, JsonSchema)]
struct GroupPatch {
    /// Unique in the account.
    #[schemars(length(min = 1, max = 255))]
    name: Option<String>,
}

fn trimmed(name: &str) -> ApiResult<&str> {
    let name = name.trim();
    if name.is_empty() {
        return Err(Error::invalid("A group needs a name")
            .field("name")
            .remedy("Send a text that is not blank")
            .into());
    }
    Ok(name)
}

fn taken(name: &str) -> ApiError {
    ApiError::conflict(format!("name: There is a group called '{name}' already. Choose another name"))
}

async fn found(services: &Services, id: &str) -> ApiResult<Group> {
    services.control.group(id).await?.ok_or_else(|| ApiError::not_found("Group", id))
}

async fn list(services: &Services, call: &Call<'_>) -> ApiResult<Answer<Items<GroupBody>>> {
    let listing = services.control.groups(&call.scope(Resource::Destination), &call.page()?).await?;
    Answer::new("Groups retrieved successfully", &Items::of(listing, GroupBody::from))
}

async fn create(services: &Services, call: &Call<'_>, new: NewGroup) -> ApiResult<Answer<GroupBody>> {
    let name = trimmed(&new.name)?;
    let account = &call.caller.account_id;
    let group = services.control.create_group(account, name).await?.ok_or_else(|| taken(name))?;
    let place = Place { id: &group.id, group_id: Some(&group.id) };
    call.adopt(services, RoleScope::Destination, place).await?;
    Answer::new("Group has been created", &GroupBody::from(group))
}

async fn get(services: &Services, call: &Call<'_>) -> ApiResult<Answer<GroupBody>> {
    let group = found(services, call.part("group_id")).await?;
    Answer::new("Group details retrieved successfully", &GroupBody::from(group))
}

async fn rename(services: &Services, call: &Call<'_>, patch: GroupPatch) -> ApiResult<Answer<GroupBody>> {
    let id = call.part("group_id");
    found(services, id).await?;
    if let Some(name) = &patch.name {
        let name = trimmed(name)?;
        if !services.control.rename_group(id, name).await? {
            return Err(taken(name));
        }
    }
    Answer::new("Group has been updated", &GroupBody::from(found(services, id).await?))
}

async fn delete(services: &Services, call: &Call<'_>) -> ApiResult<Answer<crate::api::response::NoData>> {
    let id = call.part("group_id");
    found(services, id).await?;
    if !services.control.delete_group(id).await? {
        return Err(ApiError::illegal_state(format!(
            "Group with id '{id}' still has a destination or connections. Delete its connections, then its destination"
        )));
    }
    Ok(Answer::done(format!("Group with id '{id}' has been deleted")))
}

async fn list_connections(services: &Services, call: &Call<'_>) -> ApiResult<Answer<Items<ConnectionBody>>> {
    let id = call.part("group_id");
    found(services, id).await?;
    let items = connections::listed(services, call, Some(id)).await?;
    Answer::new("Group connections retrieved successfully", &items)
}
