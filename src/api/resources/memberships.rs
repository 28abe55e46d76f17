//! Roles of users and of teams in groups and in connections: four families of paths, one implementation. Which family a
//! request belongs to is read from its path.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::Services;
use crate::api::access::Needs;
use crate::api::cursor::Items;
use crate::api::error::{ApiError, ApiResult};
use crate::api::request::Call;
use crate::api::response::{Answer, NoData};
use crate::api::router::{Method, PAGED, Route, handler};
use crate::api::timestamp::Timestamp;
use crate::control::ObjectKind;
use crate::control::memberships::Membership;
use crate::core::access::{Access, Resource};
use crate::core::roles::RoleScope;

/// Users and teams: their paths, and the resource they are.
const SUBJECTS: [(&str, &str, Resource); 2] =
    [("/v1/users/{user_id}", "user_id", Resource::User), ("/v1/teams/{team_id}", "team_id", Resource::Team)];

pub(crate) fn routes() -> Vec<Route> {
    let mut routes = Vec::new();
    for (subject, part, resource) in SUBJECTS {
        for family in [&GROUPS, &CONNECTIONS] {
            let (all, one) =
                (format!("{subject}/{}", family.collection), format!("{subject}/{}", family.item));
            let reads = Needs::on(resource, Access::Read, part);
            let gives = Needs::on(family.resource, Access::Manage, family.part);
            let gives_new = Needs::in_body(family.resource, Access::Manage, family.body);
            routes.extend([
                Route::new(Method::Get, &all, "List roles", reads, handler!(list => Items<MembershipBody>))
                    .query(PAGED),
                Route::new(
                    Method::Post,
                    &all,
                    "Give a role",
                    gives_new,
                    handler!(create, NewMembership => MembershipBody),
                )
                .status(201),
                Route::new(Method::Get, &one, "Read a role", reads, handler!(get => MembershipBody)),
                Route::new(
                    Method::Patch,
                    &one,
                    "Change a role",
                    gives,
                    handler!(edit, MembershipPatch => MembershipBody),
                ),
                Route::new(Method::Delete, &one, "Take a role away", gives, handler!(delete)),
            ]);
        }
    }
    routes
}

/// Memberships in one kind of object.
struct Family {
    /// Last part of the path of all.
    collection: &'static str,
    /// End of the path of one.
    item: &'static str,
    /// The part that names the object.
    part: &'static str,
    /// What the object is to permissions.
    resource: Resource,
    kind: ObjectKind,
    scope: RoleScope,
    /// Where a body names the object.
    body: &'static [(ObjectKind, &'static str)],
    /// As messages name them.
    noun: &'static str,
    title: &'static str,
}

const GROUPS: Family = Family {
    collection: "groups",
    item: "groups/{group_id}",
    part: "group_id",
    resource: Resource::Destination,
    kind: ObjectKind::Group,
    scope: RoleScope::Destination,
    body: &[(ObjectKind::Group, "/id")],
    noun: "group",
    title: "Group",
};

const CONNECTIONS: Family = Family {
    collection: "connections",
    item: "connections/{connection_id}",
    part: "connection_id",
    resource: Resource::Connector,
    kind: ObjectKind::Connection,
    scope: RoleScope::Connector,
    body: &[(ObjectKind::Connection, "/id")],
    noun: "connection",
    title: "Connection",
};

/// A role in an object.
#[derive(Serialize, JsonSchema)]
struct MembershipBody {
    /// Id of the group or connection.
    id: String,
    role: String,
    created_at: Timestamp,
}

impl From<Membership> for MembershipBody {
    fn from(membership: Membership) -> Self {
        Self { id: membership.id, role: membership.role, created_at: Timestamp(membership.created_at) }
    }
}

/// A role to give.
#[derive(Deserialize, JsonSchema)]
struct NewMembership {
    /// Id of the group or connection.
    id: String,
    /// Name of the role.
    role: String,
}

/// Another role.
#[derive(Deserialize, JsonSchema)]
struct MembershipPatch {
    /// Name of the role.
    role: String,
}

/// Whose roles the path is about, whether that is a team, and in what.
fn ends<'a>(call: &'a Call<'_>) -> (&'a str, bool, &'static Family) {
    let groups = call.request.path.split('/').nth(4) == Some(GROUPS.collection);
    let (user, team) = (call.part("user_id"), call.part("team_id"));
    let family = if groups { &GROUPS } else { &CONNECTIONS };
    if team.is_empty() { (user, false, family) } else { (team, true, family) }
}

async fn found(services: &Services, subject: &str, family: &Family, object: &str) -> ApiResult<Membership> {
    let found = services.control.membership(subject, family.scope, object).await?;
    found.ok_or_else(|| ApiError::not_found("Membership", object))
}

async fn list(services: &Services, call: &Call<'_>) -> ApiResult<Answer<Items<MembershipBody>>> {
    let (subject, team, family) = ends(call);
    let listing = services.control.memberships(subject, family.scope, &call.page()?).await?;
    let message = match team {
        true => format!("Team {} memberships retrieved successfully", family.noun),
        false => format!("User memberships in {} retrieved successfully", family.collection),
    };
    Answer::new(message, &Items::of(listing, MembershipBody::from))
}

async fn get(services: &Services, call: &Call<'_>) -> ApiResult<Answer<MembershipBody>> {
    let (subject, team, family) = ends(call);
    let membership = found(services, subject, family, call.part(family.part)).await?;
    let message = match team {
        true => format!("Team {} membership retrieved successfully", family.noun),
        false => format!("User membership in {} retrieved successfully", family.noun),
    };
    Answer::new(message, &MembershipBody::from(membership))
}

async fn create(
    services: &Services,
    call: &Call<'_>,
    new: NewMembership,
) -> ApiResult<Answer<MembershipBody>> {
    let (subject, _, family) = ends(call);
    let role = call.role_to_give(services, family.scope, &new.role, Some((family.kind, &new.id))).await?;
    if !services.control.join(subject, family.scope, &new.id, role.name).await? {
        let noun = family.noun;
        return Err(ApiError::conflict(format!("There is a role in this {noun} already. Change that one")));
    }
    let membership = found(services, subject, family, &new.id).await?;
    Answer::new(format!("{} membership has been created", family.title), &MembershipBody::from(membership))
}

async fn edit(
    services: &Services,
    call: &Call<'_>,
    patch: MembershipPatch,
) -> ApiResult<Answer<MembershipBody>> {
    let (subject, _, family) = ends(call);
    let object = call.part(family.part);
    let role = call.role_to_give(services, family.scope, &patch.role, Some((family.kind, object))).await?;
    services.control.change_role(subject, family.scope, object, role.name).await?;
    let membership = found(services, subject, family, object).await?;
    Answer::new(format!("{} membership has been updated", family.title), &MembershipBody::from(membership))
}

async fn delete(services: &Services, call: &Call<'_>) -> ApiResult<Answer<NoData>> {
    let (subject, _, family) = ends(call);
    let object = call.part(family.part);
    if !services.control.leave(subject, family.scope, object).await? {
        return Err(ApiError::not_found("Membership", object));
    }
    Ok(Answer::done(format!("{} membership has been deleted", family.title)))
}
