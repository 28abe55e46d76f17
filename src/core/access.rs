//! Who may do what: permissions, and what they allow. Roles ([`super::roles`]) are lists of them, system keys have their
//! own.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a permission is about, in Fivetran's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Resource {
    /// The account, its keys and its log service.
    Account,
    /// Users, and their memberships in teams.
    User,
    /// Webhooks.
    Webhook,
    /// Teams.
    Team,
    /// The list of roles.
    Roles,
    /// Groups with their destinations and log services.
    Destination,
    /// Transformations and their projects.
    Transformation,
    /// Agents. There are none; the word is kept because keys name it.
    RemoteExecutionAgent,
    /// Connections. Fivetran's permissions kept the old name.
    Connector,
}

impl Resource {
    /// Every resource.
    pub const ALL: [Self; 9] = [
        Self::Account,
        Self::User,
        Self::Webhook,
        Self::Team,
        Self::Roles,
        Self::Destination,
        Self::Transformation,
        Self::RemoteExecutionAgent,
        Self::Connector,
    ];
}

/// What somebody does with an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Looks at it.
    Read = 1,
    /// Changes it, or has it work: sync, test, reload.
    Edit = 2,
    /// Makes a new one.
    Create = 4,
    /// Deletes it, or says who else may do what with it.
    Manage = 8,
}

/// A set of accesses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rights(u8);

impl Rights {
    /// None.
    pub const NONE: Self = Self(0);
    /// To look.
    pub const READ: Self = Self(Access::Read as u8);
    /// To look, change and run.
    pub const EDIT: Self = Self(Access::Read as u8 | Access::Edit as u8);
    /// To make new ones, without seeing the others.
    pub const CREATE: Self = Self(Access::Create as u8);
    /// Everything.
    pub const MANAGE: Self = Self(15);

    /// Whether all of `other` is among these.
    #[must_use]
    pub const fn covers(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether this access is among these.
    #[must_use]
    pub const fn allow(self, access: Access) -> bool {
        self.0 & access as u8 != 0
    }
}

/// How far a permission reaches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// The whole account.
    Account,
    /// Objects of these ids, and objects in these groups.
    Some {
        /// Ids of objects.
        ids: Vec<String>,
        /// Ids of groups.
        group_ids: Vec<String>,
    },
}

/// Where an object is: what decides whether a permission reaches it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    /// Its id.
    pub id: &'a str,
    /// The group it is in; a group is in itself.
    pub group_id: Option<&'a str>,
}

impl Reach {
    fn has(&self, place: Place<'_>) -> bool {
        match self {
            Self::Account => true,
            Self::Some { ids, group_ids } => {
                ids.iter().any(|id| id == place.id)
                    || place.group_id.is_some_and(|group| group_ids.iter().any(|id| id == group))
            }
        }
    }
}

/// Rights to a resource, as far as they reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permission {
    /// To what.
    pub resource: Resource,
    /// Which.
    pub rights: Rights,
    /// How far.
    pub reach: Reach,
}

/// Everything somebody may do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Permissions(pub Vec<Permission>);

impl Permissions {
    /// Everything there is.
    #[must_use]
    pub fn everything() -> Self {
        let all = |resource| Permission { resource, rights: Rights::MANAGE, reach: Reach::Account };
        Self(Resource::ALL.map(all).into())
    }

    fn of(&self, resource: Resource, access: Access) -> impl Iterator<Item = &Permission> {
        self.0
            .iter()
            .filter(move |permission| permission.resource == resource && permission.rights.allow(access))
    }

    /// Whether this is allowed throughout the account.
    #[must_use]
    pub fn throughout(&self, resource: Resource, access: Access) -> bool {
        self.of(resource, access).any(|permission| permission.reach == Reach::Account)
    }

    /// Whether this is allowed anywhere at all.
    #[must_use]
    pub fn anywhere(&self, resource: Resource, access: Access) -> bool {
        self.of(resource, access).next().is_some()
    }

    /// Whether this is allowed with the object in that place.
    #[must_use]
    pub fn at(&self, resource: Resource, access: Access, place: Place<'_>) -> bool {
        self.of(resource, access).any(|permission| permission.reach.has(place))
    }

    /// Whether all these rights are had throughout the account, by one permission.
    #[must_use]
    pub fn throughout_all(&self, resource: Resource, rights: Rights) -> bool {
        self.0
            .iter()
            .any(|own| own.resource == resource && own.rights.covers(rights) && own.reach == Reach::Account)
    }

    /// Whether all these rights are had to the object in that place, by one permission.
    #[must_use]
    pub fn at_all(&self, resource: Resource, rights: Rights, place: Place<'_>) -> bool {
        self.0.iter().any(|own| own.resource == resource && own.rights.covers(rights) && own.reach.has(place))
    }

    /// Which objects this is allowed with.
    #[must_use]
    pub fn reach(&self, resource: Resource, access: Access) -> Reach {
        let (mut all_ids, mut all_groups) = (Vec::new(), Vec::new());
        for permission in self.of(resource, access) {
            match &permission.reach {
                Reach::Account => return Reach::Account,
                Reach::Some { ids, group_ids } => {
                    all_ids.extend(ids.iter().cloned());
                    all_groups.extend(group_ids.iter().cloned());
                }
            }
        }
        Reach::Some { ids: all_ids, group_ids: all_groups }
    }

    /// Whether these go as far as `other`: nobody can give away more than they have. Several permissions together are
    /// not added up; rights come from roles and keys, which are whole. `group_of` knows in which groups objects are:
    /// whoever has a right to a group has it to what is in it.
    #[must_use]
    pub fn cover<'a>(&self, other: &Self, group_of: impl Fn(Resource, &str) -> Option<&'a str>) -> bool {
        let covered = |wanted: &Permission| {
            self.0.iter().any(|own| {
                own.resource == wanted.resource
                    && own.rights.covers(wanted.rights)
                    && match (&own.reach, &wanted.reach) {
                        (Reach::Account, _) => true,
                        (Reach::Some { .. }, Reach::Account) => false,
                        (
                            own @ Reach::Some { group_ids, .. },
                            Reach::Some { ids: wanted_ids, group_ids: wanted_groups },
                        ) => {
                            let has =
                                |id: &String| own.has(Place { id, group_id: group_of(wanted.resource, id) });
                            wanted_ids.iter().all(has)
                                && wanted_groups.iter().all(|id| group_ids.contains(id))
                        }
                    }
            })
        };
        other.0.iter().all(covered)
    }
}

/// A permission as a system key names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KeyPermission {
    /// To what.
    pub resource_type: Resource,
    /// How much.
    pub access_level: AccessLevel,
    /// To which objects; absent, or without any list: all in the account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_filter: Option<ResourceFilter>,
}

/// How much a system key may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum AccessLevel {
    /// Nothing.
    None,
    /// Look.
    Read,
    /// Everything.
    Manage,
}

/// Which objects.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ResourceFilter {
    /// Ids of objects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ids: Option<Vec<String>>,
    /// Ids of groups whose objects are meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group_ids: Option<Vec<String>>,
}

impl From<&KeyPermission> for Permission {
    fn from(key: &KeyPermission) -> Self {
        let reach = match &key.resource_filter {
            Some(ResourceFilter { ids, group_ids }) if ids.is_some() || group_ids.is_some() => Reach::Some {
                ids: ids.clone().unwrap_or_default(),
                group_ids: group_ids.clone().unwrap_or_default(),
            },
            _ => Reach::Account,
        };
        let rights = match key.access_level {
            AccessLevel::None => Rights::NONE,
            AccessLevel::Read => Rights::READ,
            AccessLevel::Manage => Rights::MANAGE,
        };
        Self { resource: key.resource_type, rights, reach }
    }
}

impl From<&[KeyPermission]> for Permissions {
    fn from(keys: &[KeyPermission]) -> Self {
        Self(keys.iter().map(Permission::from).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some(resource: Resource, rights: Rights, ids: &[&str], groups: &[&str]) -> Permission {
        let owned = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect();
        Permission { resource, rights, reach: Reach::Some { ids: owned(ids), group_ids: owned(groups) } }
    }

    #[test]
    fn a_permission_reaches_its_objects_and_those_in_its_groups_and_no_others() {
        let own = Permissions(vec![some(Resource::Connector, Rights::EDIT, &["c1"], &["g1"])]);
        let at = |id, group_id, access| own.at(Resource::Connector, access, Place { id, group_id });
        assert!(at("c1", Some("g2"), Access::Edit) && at("c2", Some("g1"), Access::Read));
        assert!(!at("c2", Some("g2"), Access::Read) && !at("c2", None, Access::Read));
        assert!(!at("c1", Some("g1"), Access::Manage));
        assert!(!own.at(Resource::Destination, Access::Read, Place { id: "g1", group_id: Some("g1") }));
        assert!(own.anywhere(Resource::Connector, Access::Read));
        assert!(!own.throughout(Resource::Connector, Access::Read));
    }

    #[test]
    fn nobody_covers_more_than_they_have() {
        let own = Permissions(vec![some(Resource::Connector, Rights::MANAGE, &[], &["g1"])]);
        let wanted = |rights, group| Permissions(vec![some(Resource::Connector, rights, &[], &[group])]);
        let nowhere = |_: Resource, _: &str| None;
        assert!(own.cover(&wanted(Rights::EDIT, "g1"), nowhere));
        assert!(!own.cover(&wanted(Rights::READ, "g2"), nowhere));
        assert!(!own.cover(&Permissions::everything(), nowhere));
        assert!(Permissions::everything().cover(&own, nowhere));
        assert!(
            !Permissions(vec![some(Resource::Connector, Rights::READ, &[], &["g1"])]).cover(&own, nowhere)
        );
        let one = Permissions(vec![some(Resource::Connector, Rights::READ, &["c1"], &[])]);
        assert!(own.cover(&one, |_, _| Some("g1")) && !own.cover(&one, |_, _| Some("g2")));
        assert!(!own.cover(&one, nowhere), "nobody knows where it is");
    }
}
