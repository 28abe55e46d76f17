//! The standard roles: Fivetran's names, and what each permits here. Fivetran describes them in words only, so the table
//! is our reading of those words, and the one place to look.

use schemars::JsonSchema;
use serde::Serialize;

use super::access::{Permission, Reach, Resource, Rights};

/// Where a role can be held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum RoleScope {
    /// In the account.
    Account,
    /// In a group.
    Destination,
    /// In a connection.
    Connector,
    /// In a team.
    Team,
}

impl RoleScope {
    /// The word, as stored and answered.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Account => "ACCOUNT",
            Self::Destination => "DESTINATION",
            Self::Connector => "CONNECTOR",
            Self::Team => "TEAM",
        }
    }

    /// The scope of that word.
    #[must_use]
    pub fn named(word: &str) -> Option<Self> {
        [Self::Account, Self::Destination, Self::Connector, Self::Team]
            .into_iter()
            .find(|scope| scope.word() == word)
    }
}

/// A role.
#[derive(Debug)]
pub struct Role {
    /// Its name, which is how it is referred to.
    pub name: &'static str,
    /// For people.
    pub description: &'static str,
    /// Where it can be held.
    pub scope: RoleScope,
    /// What it permits there.
    pub rights: &'static [(Resource, Rights)],
}

/// The role that owns an account.
pub const ACCOUNT_ADMINISTRATOR: &str = "Account Administrator";
/// The role a group's creator gets in it.
pub const DESTINATION_ADMINISTRATOR: &str = "Destination Administrator";
/// The role a connection's creator gets in it.
pub const CONNECTOR_ADMINISTRATOR: &str = "Connector Administrator";
/// The role in a team where none is named.
pub const TEAM_MEMBER: &str = "Team Member";

// What the roles in a destination and in a connection permit: each has two names.
const ADMINISTERS_DESTINATION: &[(Resource, Rights)] = &[
    (Resource::Destination, Rights::MANAGE),
    (Resource::Connector, Rights::MANAGE),
    (Resource::Transformation, Rights::MANAGE),
    (Resource::Webhook, Rights::MANAGE),
];
const EDITS_DESTINATION: &[(Resource, Rights)] = &[
    (Resource::Destination, Rights::READ),
    (Resource::Connector, Rights::EDIT),
    (Resource::Transformation, Rights::EDIT),
];
const VIEWS_DESTINATION: &[(Resource, Rights)] = &[
    (Resource::Destination, Rights::READ),
    (Resource::Connector, Rights::READ),
    (Resource::Transformation, Rights::READ),
];
const CREATES_CONNECTIONS: &[(Resource, Rights)] =
    &[(Resource::Destination, Rights::READ), (Resource::Connector, Rights::CREATE)];
const ADMINISTERS_CONNECTION: &[(Resource, Rights)] = &[(Resource::Connector, Rights::MANAGE)];
const EDITS_CONNECTION: &[(Resource, Rights)] = &[(Resource::Connector, Rights::EDIT)];
const VIEWS_CONNECTION: &[(Resource, Rights)] = &[(Resource::Connector, Rights::READ)];

/// Every role.
pub const ROLES: &[Role] = {
    use Resource::{
        Account, Connector, Destination, RemoteExecutionAgent, Roles, Team, Transformation, User, Webhook,
    };
    use RoleScope as In;
    &[
        Role {
            name: ACCOUNT_ADMINISTRATOR,
            description: "Does everything in the account",
            scope: In::Account,
            rights: &[
                (Account, Rights::MANAGE),
                (User, Rights::MANAGE),
                (Webhook, Rights::MANAGE),
                (Team, Rights::MANAGE),
                (Roles, Rights::MANAGE),
                (Destination, Rights::MANAGE),
                (Transformation, Rights::MANAGE),
                (RemoteExecutionAgent, Rights::MANAGE),
                (Connector, Rights::MANAGE),
            ],
        },
        Role {
            name: "Account Billing",
            description: "Sees the account and nothing in it",
            scope: In::Account,
            rights: &[(Account, Rights::READ)],
        },
        Role {
            name: "Account Analyst",
            description: "Sees every destination, and changes and runs its connections and transformations",
            scope: In::Account,
            rights: &[
                (Account, Rights::READ),
                (Roles, Rights::READ),
                (Destination, Rights::READ),
                (Transformation, Rights::EDIT),
                (Connector, Rights::EDIT),
            ],
        },
        Role {
            name: "Account Reviewer",
            description: "Sees everything and changes nothing",
            scope: In::Account,
            rights: &[
                (Account, Rights::READ),
                (User, Rights::READ),
                (Webhook, Rights::READ),
                (Team, Rights::READ),
                (Roles, Rights::READ),
                (Destination, Rights::READ),
                (Transformation, Rights::READ),
                (RemoteExecutionAgent, Rights::READ),
                (Connector, Rights::READ),
            ],
        },
        Role {
            name: "Destination Creator",
            description: "Creates destinations and administers those",
            scope: In::Account,
            rights: &[(Account, Rights::READ), (Destination, Rights::CREATE)],
        },
        Role {
            name: DESTINATION_ADMINISTRATOR,
            description: "Does everything with a destination, its connections and its transformations",
            scope: In::Destination,
            rights: ADMINISTERS_DESTINATION,
        },
        Role {
            name: "Destination Analyst",
            description: "Sees a destination, and changes and runs its connections and transformations",
            scope: In::Destination,
            rights: EDITS_DESTINATION,
        },
        Role {
            name: "Destination Reviewer",
            description: "Sees a destination, its connections and its transformations",
            scope: In::Destination,
            rights: VIEWS_DESTINATION,
        },
        Role {
            name: "Connector Creator",
            description: "Creates connections to a destination and administers those",
            scope: In::Destination,
            rights: CREATES_CONNECTIONS,
        },
        // The names of the current API documentation, beside those of Fivetran's dashboard above. Each is kept as it was
        // given: clients that compare what they sent with what they read (Terraform) must find it.
        Role {
            name: "Manage Destination",
            description: "Does everything with a destination, its connections and its transformations",
            scope: In::Destination,
            rights: ADMINISTERS_DESTINATION,
        },
        Role {
            name: "Edit Destination",
            description: "Sees a destination, and changes and runs its connections and transformations",
            scope: In::Destination,
            rights: EDITS_DESTINATION,
        },
        Role {
            name: "View Destination",
            description: "Sees a destination, its connections and its transformations",
            scope: In::Destination,
            rights: VIEWS_DESTINATION,
        },
        Role {
            name: "Create Connection",
            description: "Creates connections to a destination and administers those",
            scope: In::Destination,
            rights: CREATES_CONNECTIONS,
        },
        Role {
            name: "Manage Connection",
            description: "Does everything with a connection",
            scope: In::Connector,
            rights: ADMINISTERS_CONNECTION,
        },
        Role {
            name: "Edit Connection",
            description: "Changes and runs a connection",
            scope: In::Connector,
            rights: EDITS_CONNECTION,
        },
        Role {
            name: "View Connection",
            description: "Sees a connection",
            scope: In::Connector,
            rights: VIEWS_CONNECTION,
        },
        Role {
            name: CONNECTOR_ADMINISTRATOR,
            description: "Does everything with a connection",
            scope: In::Connector,
            rights: ADMINISTERS_CONNECTION,
        },
        Role {
            name: "Connector Collaborator",
            description: "Changes and runs a connection",
            scope: In::Connector,
            rights: EDITS_CONNECTION,
        },
        Role {
            name: "Connector Reviewer",
            description: "Sees a connection",
            scope: In::Connector,
            rights: VIEWS_CONNECTION,
        },
        Role {
            name: "Team Manager",
            description: "Says who is in a team",
            scope: In::Team,
            rights: &[(Resource::Team, Rights::EDIT)],
        },
        Role {
            name: TEAM_MEMBER,
            description: "Is in a team and shares its permissions",
            scope: In::Team,
            rights: &[(Resource::Team, Rights::READ)],
        },
    ]
};

/// The role of that name, if it can be held there.
#[must_use]
pub fn role(scope: RoleScope, name: &str) -> Option<&'static Role> {
    ROLES.iter().find(|role| role.scope == scope && role.name == name)
}

impl Role {
    /// What it permits when held in that object; in the account, where `object_id` is not looked at.
    pub fn permissions(&self, object_id: &str) -> impl Iterator<Item = Permission> {
        let (id, none) = (vec![object_id.to_owned()], Vec::new());
        let reach = match self.scope {
            RoleScope::Account => Reach::Account,
            RoleScope::Destination => Reach::Some { ids: none, group_ids: id },
            RoleScope::Connector | RoleScope::Team => Reach::Some { ids: id, group_ids: none },
        };
        self.rights.iter().map(move |(resource, rights)| Permission {
            resource: *resource,
            rights: *rights,
            reach: reach.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::access::Permissions;

    #[test]
    fn the_account_administrator_may_do_everything() {
        let role = role(RoleScope::Account, ACCOUNT_ADMINISTRATOR).unwrap();
        assert!(Permissions(role.permissions("").collect()).cover(&Permissions::everything(), |_, _| None));
    }

    #[test]
    fn only_account_roles_reach_beyond_their_object() {
        for role in ROLES {
            let everywhere = role.permissions("x").any(|permission| permission.reach == Reach::Account);
            assert_eq!(everywhere, role.scope == RoleScope::Account, "{}", role.name);
        }
    }
}
