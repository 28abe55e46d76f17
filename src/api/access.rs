//! What a request demands of who asks, and whether they have it: one place for every route, before any handler runs.
//!
//! Objects of another account do not exist (404); what somebody may not do with an object of their own account is
//! forbidden (403).

use serde_json::Value;

use super::Services;
use super::error::{ApiError, ApiResult};
use super::request::Call;
use crate::control::accounts::OWNER_ACCOUNT;
use crate::control::identity::Identity;
use crate::control::{ObjectKind, Placed, Scope};
use crate::core::access::{Access, Permissions, Place, Reach, Resource};
use crate::core::roles::{self, Role, RoleScope};
use crate::core::{Error, Result};

/// What a route demands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Needs {
    of: Of,
    /// Objects that the body names: what they are, and where their ids are (a JSON pointer to a text or a list).
    body: &'static [(ObjectKind, &'static str)],
    /// An id that nothing has any more gets through: the handler finishes what a crash left half done.
    finishes: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Of {
    Nothing,
    Key,
    Anywhere(Resource, Access),
    Throughout(Resource, Access),
    /// The object that this part of the path names.
    On(Resource, Access, &'static str),
    /// The objects that the body names.
    InBody(Resource, Access),
    Everything,
    Deployment(Access),
}

impl Needs {
    /// Not even a key: the route is for everybody.
    pub(crate) const NOTHING: Self = Self::of(Of::Nothing);
    /// A key, and nothing else: what the route tells is no secret within the account.
    pub(crate) const KEY: Self = Self::of(Of::Key);
    /// All rights to everything in the account.
    pub(crate) const EVERYTHING: Self = Self::of(Of::Everything);

    const fn of(of: Of) -> Self {
        Self { of, body: &[], finishes: false }
    }

    /// The right to the account that owns the deployment: what the route does is about all accounts.
    pub(crate) const fn deployment(access: Access) -> Self {
        Self::of(Of::Deployment(access))
    }

    /// The right to some object: for lists, which show what their reader may see.
    pub(crate) const fn anywhere(resource: Resource, access: Access) -> Self {
        Self::of(Of::Anywhere(resource, access))
    }

    /// The right to every object of the account.
    pub(crate) const fn throughout(resource: Resource, access: Access) -> Self {
        Self::of(Of::Throughout(resource, access))
    }

    /// The right to the object that a part of the path names.
    pub(crate) const fn on(resource: Resource, access: Access, part: &'static str) -> Self {
        Self::of(Of::On(resource, access, part))
    }

    /// The right to the objects that the body names.
    pub(crate) const fn in_body(
        resource: Resource,
        access: Access,
        body: &'static [(ObjectKind, &'static str)],
    ) -> Self {
        Self { body, ..Self::of(Of::InBody(resource, access)) }
    }

    /// Also, the body names objects, which must be of the same account.
    pub(crate) const fn naming(self, body: &'static [(ObjectKind, &'static str)]) -> Self {
        Self { body, ..self }
    }

    /// The right to the connection of the path.
    pub(crate) const fn connection(access: Access) -> Self {
        Self::on(Resource::Connector, access, "connection_id")
    }

    /// As [`Needs::connection`], for a deletion: one that was cut short is finished by asking for it again, when the
    /// connection's definition is gone already. Then it takes the right to every connection of the account.
    pub(crate) const fn deleting_connection() -> Self {
        Self { finishes: true, ..Self::connection(Access::Manage) }
    }

    fn finishes_for(self, caller: &Identity) -> bool {
        match self.of {
            Of::On(resource, access, _) => self.finishes && caller.permissions.throughout(resource, access),
            _ => false,
        }
    }

    /// The right to the group of the path.
    pub(crate) const fn group(access: Access) -> Self {
        Self::on(Resource::Destination, access, "group_id")
    }

    /// Whether anybody may come.
    pub(crate) fn is_public(self) -> bool {
        self.of == Of::Nothing
    }
}

/// What the parts of paths name, wherever they occur. A part that is not here names something within an object.
fn kind_of(part: &str) -> Option<ObjectKind> {
    Some(match part {
        "group_id" => ObjectKind::Group,
        "destination_id" => ObjectKind::Destination,
        "connection_id" => ObjectKind::Connection,
        "user_id" => ObjectKind::User,
        "team_id" => ObjectKind::Team,
        "key_id" => ObjectKind::SystemKey,
        "webhook_id" => ObjectKind::Webhook,
        "log_id" => ObjectKind::LogService,
        "project_id" => ObjectKind::TransformationProject,
        "transformation_id" => ObjectKind::Transformation,
        _ => return None,
    })
}

/// Lets a request through that names only objects of the caller's account, and may do what it asks for.
pub(crate) async fn authorize(services: &Services, call: &Call<'_>, needs: Needs) -> ApiResult<()> {
    let mut named: Vec<(ObjectKind, &str)> =
        call.path.iter().filter_map(|(part, id)| Some((kind_of(part)?, id.as_str()))).collect();
    let in_path = named.len();
    let in_body =
        if needs.body.is_empty() { Vec::new() } else { named_in(&call.request.json()?, needs.body) };
    named.extend(in_body.iter().map(|(kind, id)| (*kind, id.as_str())));
    let mut places = Vec::with_capacity(named.len());
    if !named.is_empty() {
        let found = services.control.places(&named).await?;
        for ((kind, id), found) in named.iter().zip(found) {
            if found.is_none() && needs.finishes_for(&call.caller) {
                return Ok(());
            }
            let own = found.filter(|placed| placed.account_id == call.caller.account_id);
            places.push(own.ok_or_else(|| ApiError::not_found(kind.name(), id))?);
        }
    }
    let place = |at: usize| Some(place_of(named.get(at)?.1, places.get(at)?));
    let own = &call.caller.permissions;
    let allowed = match needs.of {
        Of::Nothing | Of::Key => true,
        Of::Deployment(access) => {
            call.caller.account_id == OWNER_ACCOUNT && own.throughout(Resource::Account, access)
        }
        Of::Everything => own.cover(&Permissions::everything(), |_, _| None),
        Of::Anywhere(resource, access) => own.anywhere(resource, access),
        Of::Throughout(resource, access) => own.throughout(resource, access),
        Of::On(resource, access, part) => {
            let parts = call.path.iter().filter(|(name, _)| kind_of(name).is_some());
            let at = parts.map(|(name, _)| name).position(|name| name == part);
            at.and_then(place).is_some_and(|place| own.at(resource, access, place))
        }
        // Where the body names nothing the handler refuses it; who could create nowhere is told that instead.
        Of::InBody(resource, access) if in_body.is_empty() => own.anywhere(resource, access),
        Of::InBody(resource, access) => {
            (in_path..named.len()).all(|at| place(at).is_some_and(|place| own.at(resource, access, place)))
        }
    };
    if allowed { Ok(()) } else { Err(forbidden()) }
}

/// What the ids of a permission name, where that is in a group.
fn kind_with_a_group(resource: Resource) -> Option<ObjectKind> {
    match resource {
        Resource::Destination => Some(ObjectKind::Group),
        Resource::Connector => Some(ObjectKind::Connection),
        Resource::Transformation => Some(ObjectKind::Transformation),
        Resource::Webhook => Some(ObjectKind::Webhook),
        _ => None,
    }
}

fn place_of<'a>(id: &'a str, placed: &'a Placed) -> Place<'a> {
    Place { id, group_id: placed.group_id.as_deref() }
}

/// The ids a body names, as leniently as [`conform`](super::conform) reads them: a number counts as its text.
fn named_in(body: &Value, pointers: &[(ObjectKind, &str)]) -> Vec<(ObjectKind, String)> {
    let id = |value: &Value| match value {
        Value::String(id) => Some(id.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        _ => None,
    };
    let mut named = Vec::new();
    for (kind, pointer) in pointers {
        let ids = match body.pointer(pointer) {
            Some(Value::Array(ids)) => ids.as_slice(),
            Some(one) => std::slice::from_ref(one),
            None => &[],
        };
        named.extend(ids.iter().filter_map(id).map(|id| (*kind, id)));
    }
    named
}

/// 403. Fivetran's code is not documented.
pub(crate) fn forbidden() -> ApiError {
    let message = "The API key does not permit this. Ask an account administrator for a role, or a system key, that does";
    ApiError::new(403, "Forbidden", message)
}

impl Call<'_> {
    /// What a listing of that resource shows to who asks.
    pub(crate) fn scope(&self, resource: Resource) -> Scope {
        Scope {
            account_id: self.caller.account_id.clone(),
            reach: self.caller.permissions.reach(resource, Access::Read),
        }
    }

    /// The role of that name in an object (`None`: the account), if who asks may give it: nobody gives away more than
    /// they have.
    pub(crate) async fn role_to_give(
        &self,
        services: &Services,
        scope: RoleScope,
        name: &str,
        object: Option<(ObjectKind, &str)>,
    ) -> ApiResult<&'static Role> {
        let role = known_role(scope, name)?;
        let own = &self.caller.permissions;
        let may = match object {
            None => role.rights.iter().all(|(resource, rights)| own.throughout_all(*resource, *rights)),
            Some((kind, id)) => {
                let placed = services.control.places(&[(kind, id)]).await?.into_iter().next().flatten();
                let placed = placed.ok_or_else(|| ApiError::not_found(kind.name(), id))?;
                let place = place_of(id, &placed);
                role.rights.iter().all(|(resource, rights)| own.at_all(*resource, *rights, place))
            }
        };
        if may { Ok(role) } else { Err(forbidden()) }
    }

    /// Whether who asks may do everything that these permissions allow.
    pub(crate) async fn covers(&self, services: &Services, wanted: &Permissions) -> Result<bool> {
        let own = &self.caller.permissions;
        // Few need the look below: an administrator's permissions reach everything.
        if own.cover(wanted, |_, _| None) {
            return Ok(true);
        }
        let named = wanted.0.iter().flat_map(|permission| {
            let ids = match &permission.reach {
                Reach::Some { ids, .. } => ids.as_slice(),
                Reach::Account => &[],
            };
            let kind = kind_with_a_group(permission.resource);
            ids.iter().filter_map(move |id| Some((kind?, id.as_str())))
        });
        let named = named.collect::<Vec<_>>();
        if named.is_empty() {
            return Ok(false);
        }
        let places = services.control.places(&named).await?;
        Ok(own.cover(wanted, |resource, id| {
            let kind = kind_with_a_group(resource)?;
            let at = named.iter().position(|object| *object == (kind, id))?;
            places.get(at)?.as_ref()?.group_id.as_deref()
        }))
    }

    /// Has whoever created an object administer it, unless they do so anyway.
    pub(crate) async fn adopt(&self, services: &Services, scope: RoleScope, place: Place<'_>) -> Result<()> {
        let (resource, role) = match scope {
            RoleScope::Connector => (Resource::Connector, roles::CONNECTOR_ADMINISTRATOR),
            _ => (Resource::Destination, roles::DESTINATION_ADMINISTRATOR),
        };
        match &self.caller.user_id {
            Some(user) if !self.caller.permissions.at(resource, Access::Manage, place) => {
                services.control.join(user, scope, place.id, role).await.map(|_| ())
            }
            _ => Ok(()),
        }
    }
}

fn known_role(scope: RoleScope, name: &str) -> Result<&'static Role> {
    roles::role(scope, name).ok_or_else(|| {
        let known = roles::ROLES.iter().filter(|role| role.scope == scope).map(|role| role.name);
        Error::invalid("There is no such role in this place")
            .field("role")
            .remedy(format!("Use one of: {}", known.collect::<Vec<_>>().join(", ")))
    })
}
