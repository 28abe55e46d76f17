//! Teams, and who is in them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::users::{PEOPLE, active, trimmed};
use crate::api::Services;
use crate::api::access::{Needs, forbidden};
use crate::api::cursor::Items;
use crate::api::error::{ApiError, ApiResult};
use crate::api::request::Call;
use crate::api::response::{Answer, NoData};
use crate::api::router::{Method, PAGED, Route, handler};
use crate::api::timestamp::Timestamp;
use crate::control::ObjectKind;
use crate::control::memberships::Membership;
use crate::control::teams::Team;
use crate::core::access::{Access, Resource};
use crate::core::roles::{RoleScope, TEAM_MEMBER};

pub(crate) fn routes() -> Vec<Route> {
    const LIST: &str = "/v1/teams";
    const ONE: &str = "/v1/teams/{team_id}";
    const ROLE: &str = "/v1/teams/{team_id}/role";
    const MEMBERS: &str = "/v1/teams/{team_id}/users";
    const MEMBER: &str = "/v1/teams/{team_id}/users/{user_id}";
    let on = |access| Needs::on(Resource::Team, access, "team_id");
    vec![
        Route::new(
            Method::Get,
            LIST,
            "List teams",
            Needs::anywhere(Resource::Team, Access::Read),
            handler!(list => Items<TeamBody>),
        )
        .query(PAGED),
        Route::new(
            Method::Post,
            LIST,
            "Create a team",
            Needs::throughout(Resource::Team, Access::Create),
            handler!(create, NewTeam => TeamBody),
        )
        .status(201),
        Route::new(Method::Get, ONE, "Read a team", on(Access::Read), handler!(get => TeamBody)),
        Route::new(
            Method::Patch,
            ONE,
            "Change a team",
            on(Access::Manage),
            handler!(edit, TeamPatch => TeamBody),
        ),
        Route::new(Method::Delete, ONE, "Delete a team", on(Access::Manage), handler!(delete)),
        Route::new(
            Method::Delete,
            ROLE,
            "Remove a team's account role",
            on(Access::Manage),
            handler!(delete_role),
        ),
        Route::new(
            Method::Get,
            MEMBERS,
            "List users of a team",
            on(Access::Read),
            handler!(members => Items<MemberBody>),
        )
        .query(PEOPLE),
        Route::new(
            Method::Post,
            MEMBERS,
            "Add a user to a team",
            on(Access::Edit).naming(&[(ObjectKind::User, "/user_id")]),
            handler!(add, NewMember => MemberBody),
        )
        .status(201),
        Route::new(
            Method::Get,
            MEMBER,
            "Read a user's role in a team",
            on(Access::Read),
            handler!(member => MemberBody),
        ),
        Route::new(
            Method::Patch,
            MEMBER,
            "Change a user's role in a team",
            on(Access::Edit),
            handler!(change, MemberPatch => MemberBody),
        ),
        Route::new(Method::Delete, MEMBER, "Remove a user from a team", on(Access::Edit), handler!(remove)),
    ]
}

/// A team.
#[derive(Serialize, JsonSchema)]
struct TeamBody {
    id: String,
    name: String,
    description: Option<String>,
    /// Account role of everybody in it; empty where it has none.
    role: String,
}

impl From<Team> for TeamBody {
    fn from(team: Team) -> Self {
        let role = team.role.unwrap_or_default();
        Self { id: team.id, name: team.name, description: team.description, role }
    }
}

/// A team to create.
#[derive(Deserialize, JsonSchema)]
struct NewTeam {
    /// Unique in the account.
    #[schemars(length(min = 1, max = 255))]
    name: String,
    description: Option<String>,
    /// Account role of everybody in it; none where absent.
    role: Option<String>,
}

/// Changes of a team. What is left out stays.
#[derive(Deserialize, JsonSchema)]
struct TeamPatch {
    /// Unique in the account.
    #[schemars(length(min = 1, max = 255))]
    name: Option<String>,
    description: Option<String>,
    /// Account role of everybody in it.
    role: Option<String>,
}

/// A user in a team.
#[derive(Serialize, JsonSchema)]
struct MemberBody {
    user_id: String,
    role: String,
    created_at: Timestamp,
}

impl From<Membership> for MemberBody {
    fn from(member: Membership) -> Self {
        Self { user_id: member.id, role: member.role, created_at: Timestamp(member.created_at) }
    }
}

/// A user to add.
#[derive(Deserialize, JsonSchema)]
struct NewMember {
    user_id: String,
    /// `Team Member` where absent, or `Team Manager`.
    role: Option<String>,
}

/// Another role.
#[derive(Deserialize, JsonSchema)]
struct MemberPatch {
    role: String,
}

async fn found(services: &Services, call: &Call<'_>) -> ApiResult<Team> {
    let id = call.part("team_id");
    services.control.team(id).await?.ok_or_else(|| ApiError::not_found("Team", id))
}

fn taken() -> ApiError {
    ApiError::conflict("name: There is a team of this name already. Choose another name")
}

async fn role_given(
    services: &Services,
    call: &Call<'_>,
    role: Option<&String>,
) -> ApiResult<Option<String>> {
    match role.filter(|role| !role.is_empty()) {
        Some(role) => {
            Ok(Some(call.role_to_give(services, RoleScope::Account, role, None).await?.name.to_owned()))
        }
        None => Ok(None),
    }
}

async fn list(services: &Services, call: &Call<'_>) -> ApiResult<Answer<Items<TeamBody>>> {
    let listing = services.control.teams(&call.scope(Resource::Team), &call.page()?).await?;
    Answer::new("Teams retrieved successfully", &Items::of(listing, TeamBody::from))
}

async fn create(services: &Services, call: &Call<'_>, new: NewTeam) -> ApiResult<Answer<TeamBody>> {
    let team = Team {
        id: services.control.new_id()?,
        name: trimmed("name", &new.name)?,
        description: new.description,
        role: role_given(services, call, new.role.as_ref()).await?,
    };
    if !services.control.create_team(&call.caller.account_id, &team).await? {
        return Err(taken());
    }
    Answer::new("Team has been created", &TeamBody::from(team))
}

async fn get(services: &Services, call: &Call<'_>) -> ApiResult<Answer<TeamBody>> {
    Answer::new("Team details retrieved successfully", &TeamBody::from(found(services, call).await?))
}

async fn edit(services: &Services, call: &Call<'_>, patch: TeamPatch) -> ApiResult<Answer<TeamBody>> {
    let mut team = found(services, call).await?;
    if let Some(name) = &patch.name {
        team.name = trimmed("name", name)?;
    }
    team.description = patch.description.or(team.description);
    if let Some(role) = role_given(services, call, patch.role.as_ref()).await? {
        team.role = Some(role);
    }
    if !services.control.save_team(&team).await? {
        return Err(taken());
    }
    Answer::new("Team has been updated", &TeamBody::from(team))
}

async fn delete(services: &Services, call: &Call<'_>) -> ApiResult<Answer<NoData>> {
    services.control.delete_team(call.part("team_id")).await?;
    Ok(Answer::done("Team has been deleted"))
}

async fn delete_role(services: &Services, call: &Call<'_>) -> ApiResult<Answer<NoData>> {
    let mut team = found(services, call).await?;
    team.role = None;
    services.control.save_team(&team).await?;
    Ok(Answer::done("Team role in account has been removed"))
}

async fn members(services: &Services, call: &Call<'_>) -> ApiResult<Answer<Items<MemberBody>>> {
    let (team, active) = (call.part("team_id"), active(call)?);
    let listing = services.control.team_members(team, active, &call.page()?).await?;
    Answer::new("Team users retrieved successfully", &Items::of(listing, MemberBody::from))
}

async fn member_of(services: &Services, call: &Call<'_>, user: &str) -> ApiResult<MemberBody> {
    let found = services.control.membership(user, RoleScope::Team, call.part("team_id")).await?;
    let found = found.ok_or_else(|| ApiError::not_found("Membership", user))?;
    Ok(MemberBody::from(Membership { id: user.to_owned(), ..found }))
}

async fn member(services: &Services, call: &Call<'_>) -> ApiResult<Answer<MemberBody>> {
    let member = member_of(services, call, call.part("user_id")).await?;
    Answer::new("Team user details retrieved successfully", &member)
}

async fn add(services: &Services, call: &Call<'_>, new: NewMember) -> ApiResult<Answer<MemberBody>> {
    let team = call.part("team_id");
    let name = new.role.as_deref().unwrap_or(TEAM_MEMBER);
    let role = call.role_to_give(services, RoleScope::Team, name, Some((ObjectKind::Team, team))).await?;
    // Joining gives more than the role in the team: everything the team may do.
    if !call.covers(services, &services.control.permissions_of_team(team).await?).await? {
        return Err(forbidden());
    }
    if !services.control.join(&new.user_id, RoleScope::Team, team, role.name).await? {
        return Err(ApiError::conflict("The user is in the team already. Change their role instead"));
    }
    Answer::new("User has been added to the team", &member_of(services, call, &new.user_id).await?)
}

async fn change(services: &Services, call: &Call<'_>, patch: MemberPatch) -> ApiResult<Answer<MemberBody>> {
    let (team, user) = (call.part("team_id"), call.part("user_id"));
    let place = Some((ObjectKind::Team, team));
    let role = call.role_to_give(services, RoleScope::Team, &patch.role, place).await?;
    services.control.change_role(user, RoleScope::Team, team, role.name).await?;
    Answer::new("User role has been updated", &member_of(services, call, user).await?)
}

async fn remove(services: &Services, call: &Call<'_>) -> ApiResult<Answer<NoData>> {
    let (team, user) = (call.part("team_id"), call.part("user_id"));
    if !services.control.leave(user, RoleScope::Team, team).await? {
        return Err(ApiError::not_found("Membership", user));
    }
    Ok(Answer::done("User has been removed from the team"))
}
