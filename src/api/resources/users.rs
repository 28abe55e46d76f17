//! Users, and their keys.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use crate::api::Services;
use crate::api::access::Needs;
use crate::api::cursor::Items;
use crate::api::error::{ApiError, ApiResult};
use crate::api::request::Call;
use crate::api::response::{Answer, NoData};
use crate::api::router::{CURSOR, LIMIT, Method, Route, handler};
use crate::api::timestamp::Timestamp;
use crate::control::identity::LAST_USED_MICROS;
use crate::control::users::{OWNER_USER, User, UserFilter};
use crate::control::{ObjectKind, Scope};
use crate::core::Error;
use crate::core::access::{Access, Resource};
use crate::core::roles::RoleScope;

/// `active` and a page.
pub(super) const PEOPLE: &[(&str, &str)] =
    &[("active", "true: only active users; false: only the others"), ("cursor", CURSOR), ("limit", LIMIT)];

/// Of the list of all users, Fivetran's newer clients ask this, too.
const USERS: &[(&str, &str)] = &[
    ("active", "true: only active users; false: only the others"),
    ("has_api_key", "true: only users who have a key; false: only the others"),
    ("cursor", CURSOR),
    ("limit", LIMIT),
];

pub(crate) fn routes() -> Vec<Route> {
    const LIST: &str = "/v1/users";
    const ONE: &str = "/v1/users/{user_id}";
    const ROLE: &str = "/v1/users/{user_id}/role";
    const KEY: &str = "/v1/users/{user_id}/api-key";
    const OF_GROUP: &str = "/v1/groups/{group_id}/users";
    const ONE_OF_GROUP: &str = "/v1/groups/{group_id}/users/{user_id}";
    let on = |access| Needs::on(Resource::User, access, "user_id");
    vec![
        Route::new(
            Method::Get,
            LIST,
            "List users",
            Needs::anywhere(Resource::User, Access::Read),
            handler!(list => Items<UserBody>),
        )
        .query(USERS),
        Route::new(
            Method::Post,
            LIST,
            "Invite a user",
            Needs::throughout(Resource::User, Access::Create),
            handler!(create, NewUser => UserBody),
        )
        .status(201)
        .details("Nothing is mailed: give them the API key that you create for them."),
        Route::new(Method::Get, ONE, "Read a user", on(Access::Read), handler!(get => UserBody)),
        Route::new(
            Method::Patch,
            ONE,
            "Change a user",
            on(Access::Edit),
            handler!(edit, UserPatch => UserBody),
        ),
        Route::new(Method::Delete, ONE, "Delete a user", on(Access::Manage), handler!(delete)),
        Route::new(
            Method::Delete,
            ROLE,
            "Remove a user's account role",
            on(Access::Manage),
            handler!(delete_role),
        ),
        Route::new(
            Method::Post,
            KEY,
            "Give a user an API key",
            Needs::EVERYTHING,
            handler!(create_key => UserKey),
        )
        .status(201)
        .details("Ours, not Fivetran's, where users do this in the dashboard. A key they had stops working."),
        Route::new(Method::Delete, KEY, "Revoke a user's API key", Needs::EVERYTHING, handler!(revoke_key)),
        Route::new(
            Method::Get,
            OF_GROUP,
            "List users of a group",
            Needs::group(Access::Read),
            handler!(of_group => Items<UserBody>),
        )
        .query(PEOPLE)
        .details(
            "Users with a role in the group: one given to them there, one in the whole account, or a team's. The first of \
             these is the role that is shown.",
        ),
        Route::new(
            Method::Post,
            OF_GROUP,
            "Give a user a role in a group",
            Needs::group(Access::Manage),
            handler!(add_to_group, GroupUser),
        ),
        Route::new(
            Method::Delete,
            ONE_OF_GROUP,
            "Remove a user from a group",
            Needs::group(Access::Manage),
            handler!(remove_from_group),
        ),
    ]
}

/// A user.
#[derive(Serialize, JsonSchema)]
struct UserBody {
    id: String,
    email: String,
    given_name: String,
    family_name: String,
    /// Whether their key was ever used.
    verified: bool,
    invited: bool,
    picture: Option<String>,
    phone: Option<String>,
    /// Account role, or their role in the group whose users are listed; empty where they have none.
    role: String,
    active: bool,
    /// When their key was last used, to the hour.
    logged_in_at: Option<Timestamp>,
    created_at: Timestamp,
}

impl From<User> for UserBody {
    fn from(user: User) -> Self {
        Self {
            id: user.id,
            email: user.email,
            given_name: user.given_name,
            family_name: user.family_name,
            verified: !user.invited,
            invited: user.invited,
            picture: user.picture,
            phone: user.phone,
            role: user.role.unwrap_or_default(),
            active: user.active,
            logged_in_at: user.logged_in_at.map(Timestamp),
            created_at: Timestamp(user.created_at),
        }
    }
}

/// A user to invite.
#[derive(Deserialize, JsonSchema)]
struct NewUser {
    /// Unique in the account.
    #[schemars(length(min = 3, max = 254))]
    email: String,
    #[schemars(length(min = 1, max = 255))]
    given_name: String,
    #[schemars(length(min = 1, max = 255))]
    family_name: String,
    phone: Option<String>,
    picture: Option<String>,
    /// Account role; none where absent.
    role: Option<String>,
}

/// Changes of a user. What is left out stays.
#[derive(Deserialize, JsonSchema)]
struct UserPatch {
    #[schemars(length(min = 1, max = 255))]
    given_name: Option<String>,
    #[schemars(length(min = 1, max = 255))]
    family_name: Option<String>,
    /// `null` removes it.
    #[serde(default, deserialize_with = "given")]
    phone: Option<Option<String>>,
    /// `null` removes it.
    #[serde(default, deserialize_with = "given")]
    picture: Option<Option<String>>,
    /// Account role.
    role: Option<String>,
    /// False: their key is refused. Ours, not Fivetran's.
    active: Option<bool>,
}

/// Tells `null` from what is absent.
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// A user's role in a group.
#[derive(Deserialize, JsonSchema)]
struct GroupUser {
    /// Address of a user of the account.
    email: String,
    /// Name of the role.
    role: String,
}

/// A key of a user. The secret is told this once.
#[derive(Serialize, JsonSchema)]
struct UserKey {
    id: String,
    key: String,
    secret: String,
}

async fn found(services: &Services, call: &Call<'_>) -> ApiResult<User> {
    let id = call.part("user_id");
    services.control.user(id).await?.ok_or_else(|| ApiError::not_found("User", id))
}

/// The root key is no row whose use is noted: of its owner it is known that they are here when they ask.
fn shown(services: &Services, call: &Call<'_>, mut user: User) -> UserBody {
    if user.id == OWNER_USER && call.caller.user_id.as_ref() == Some(&user.id) {
        let now = services.ports.clock.now_micros();
        user.logged_in_at = Some(now - now.rem_euclid(LAST_USED_MICROS));
    }
    UserBody::from(user)
}

/// A name that is more than blanks.
pub(super) fn trimmed(field: &str, text: &str) -> ApiResult<String> {
    match text.trim() {
        "" => {
            Err(Error::invalid("This is blank").field(field).remedy("Send a text that is not blank").into())
        }
        text => Ok(text.to_owned()),
    }
}

fn checked_email(email: &str) -> ApiResult<String> {
    let email = email.trim();
    let plain = !email.chars().any(|letter| letter.is_whitespace() || letter.is_control());
    match email.split_once('@') {
        Some((name, host)) if plain && !name.is_empty() && !host.is_empty() && !host.contains('@') => {
            Ok(email.to_owned())
        }
        _ => Err(Error::invalid("This is not an address")
            .field("email")
            .remedy("Send one like ada@example.com")
            .into()),
    }
}

/// `active` of the query.
pub(super) fn active(call: &Call<'_>) -> ApiResult<Option<bool>> {
    yes_or_no(call, "active")
}

fn yes_or_no(call: &Call<'_>, name: &'static str) -> ApiResult<Option<bool>> {
    match call.query(name) {
        None => Ok(None),
        Some(text) if text.eq_ignore_ascii_case("true") => Ok(Some(true)),
        Some(text) if text.eq_ignore_ascii_case("false") => Ok(Some(false)),
        Some(_) => Err(Error::invalid("This must be true or false").field(name).into()),
    }
}

async fn list(services: &Services, call: &Call<'_>) -> ApiResult<Answer<Items<UserBody>>> {
    let filter =
        UserFilter { active: active(call)?, has_key: yes_or_no(call, "has_api_key")?, group_id: None };
    let listing = services.control.users(&call.scope(Resource::User), &filter, &call.page()?).await?;
    Answer::new("Users list retrieved successfully", &Items::of(listing, |user| shown(services, call, user)))
}

async fn of_group(services: &Services, call: &Call<'_>) -> ApiResult<Answer<Items<UserBody>>> {
    let filter = UserFilter { active: active(call)?, has_key: None, group_id: Some(call.part("group_id")) };
    let everybody = Scope::all(&call.caller.account_id);
    let listing = services.control.users(&everybody, &filter, &call.page()?).await?;
    Answer::new("Group users retrieved successfully", &Items::of(listing, |user| shown(services, call, user)))
}

async fn create(services: &Services, call: &Call<'_>, new: NewUser) -> ApiResult<Answer<UserBody>> {
    let email = checked_email(&new.email)?;
    let role = match new.role.as_deref().filter(|role| !role.is_empty()) {
        Some(role) => {
            Some(call.role_to_give(services, RoleScope::Account, role, None).await?.name.to_owned())
        }
        None => None,
    };
    let user = User {
        id: services.control.new_id()?,
        email,
        given_name: trimmed("given_name", &new.given_name)?,
        family_name: trimmed("family_name", &new.family_name)?,
        phone: new.phone,
        picture: new.picture,
        role,
        active: true,
        invited: true,
        created_at: services.ports.clock.now_micros(),
        logged_in_at: None,
    };
    if !services.control.create_user(&call.caller.account_id, &user).await? {
        return Err(ApiError::conflict(
            "email: There is a user with this address already. Change that one, or use another address",
        ));
    }
    Answer::new("User has been created", &UserBody::from(user))
}

async fn get(services: &Services, call: &Call<'_>) -> ApiResult<Answer<UserBody>> {
    let user = found(services, call).await?;
    Answer::new("User details retrieved successfully", &shown(services, call, user))
}

/// The root key speaks for the owner: nobody can take it away by changing or deleting them.
fn refuse_owner(user: &User) -> ApiResult<()> {
    if user.id == OWNER_USER {
        return Err(ApiError::illegal_state("The owner of the deployment keeps their role and stays"));
    }
    Ok(())
}

/// Whoever changes, removes or replaces a role must have what it gives: an editor of users cannot unseat those above.
async fn may_change_role(services: &Services, call: &Call<'_>, user: &User) -> ApiResult<()> {
    refuse_owner(user)?;
    if let Some(role) = &user.role {
        call.role_to_give(services, RoleScope::Account, role, None).await?;
    }
    Ok(())
}

async fn edit(services: &Services, call: &Call<'_>, patch: UserPatch) -> ApiResult<Answer<UserBody>> {
    let mut user = found(services, call).await?;
    if let Some(role) = patch.role.filter(|role| user.role.as_ref() != Some(role)) {
        may_change_role(services, call, &user).await?;
        let role = call.role_to_give(services, RoleScope::Account, &role, None).await?;
        user.role = Some(role.name.to_owned());
    }
    if let Some(active) = patch.active.filter(|active| *active != user.active) {
        may_change_role(services, call, &user).await?;
        user.active = active;
    }
    if let Some(name) = &patch.given_name {
        user.given_name = trimmed("given_name", name)?;
    }
    if let Some(name) = &patch.family_name {
        user.family_name = trimmed("family_name", name)?;
    }
    user.phone = patch.phone.unwrap_or(user.phone);
    user.picture = patch.picture.unwrap_or(user.picture);
    services.control.save_user(&user).await?;
    Answer::new("User has been updated", &shown(services, call, user))
}

async fn delete(services: &Services, call: &Call<'_>) -> ApiResult<Answer<NoData>> {
    let user = found(services, call).await?;
    may_change_role(services, call, &user).await?;
    services.control.delete_user(&user.id).await?;
    Ok(Answer::done(format!("User with id '{}' has been deleted", user.id)))
}

async fn delete_role(services: &Services, call: &Call<'_>) -> ApiResult<Answer<NoData>> {
    let mut user = found(services, call).await?;
    may_change_role(services, call, &user).await?;
    user.role = None;
    services.control.save_user(&user).await?;
    Ok(Answer::done("User role in account has been removed"))
}

async fn create_key(services: &Services, call: &Call<'_>) -> ApiResult<Answer<UserKey>> {
    let user = found(services, call).await?;
    let pair = services.control.create_user_key(&call.caller.account_id, &user.id).await?;
    let key = UserKey { id: pair.id, key: pair.api_key, secret: pair.api_secret.expose().to_owned() };
    Answer::new("API key has been created", &key)
}

async fn revoke_key(services: &Services, call: &Call<'_>) -> ApiResult<Answer<NoData>> {
    let user = found(services, call).await?;
    if !services.control.revoke_user_key(&user.id).await? {
        return Err(ApiError::not_found("ApiKey", &user.id));
    }
    Ok(Answer::done("API key has been revoked"))
}

async fn add_to_group(services: &Services, call: &Call<'_>, new: GroupUser) -> ApiResult<Answer<NoData>> {
    let group = call.part("group_id");
    let user = services.control.user_by_email(&call.caller.account_id, new.email.trim()).await?;
    let user = user.ok_or_else(|| {
        ApiError::new(404, "NotFound_User", "The account has no user with this address. Invite them first")
    })?;
    let place = Some((ObjectKind::Group, group));
    let role = call.role_to_give(services, RoleScope::Destination, &new.role, place).await?;
    if !services.control.join(&user.id, RoleScope::Destination, group, role.name).await? {
        return Err(ApiError::conflict("The user has a role in the group already. Change that one"));
    }
    Ok(Answer::done("User has been added to the group"))
}

async fn remove_from_group(services: &Services, call: &Call<'_>) -> ApiResult<Answer<NoData>> {
    let (group, user) = (call.part("group_id"), call.part("user_id"));
    if !services.control.leave(user, RoleScope::Destination, group).await? {
        // Terraform takes exactly this code for "gone already".
        let message = format!("User with id '{user}' was given no role in the group.");
        return Err(ApiError::new(404, "NotFound", message));
    }
    Ok(Answer::done(format!("User with id '{user}' has been removed from the group")))
}
