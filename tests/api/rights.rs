//! The whole table of routes against every role.

use fivetran_do::control::api_keys::KeyPair;
use fivetran_do::core::roles::{ROLES, RoleScope};
use serde_json::{Value, json};

use crate::harness::{World, block_on};

/// What each role may do, by area: r(ead), e(dit), c(reate), m(anage). Written by hand, from the roles' descriptions: the
/// other side of `core/roles.rs`.
const EXPECTED: &[(&str, &[(&str, &str)])] = &[
    (
        "Account Administrator",
        &[
            ("account", "recm"),
            ("users", "recm"),
            ("teams", "recm"),
            ("webhooks", "recm"),
            ("groups", "recm"),
            ("connections", "recm"),
            ("transformations", "recm"),
        ],
    ),
    ("Account Billing", &[("account", "r")]),
    (
        "Account Analyst",
        &[("account", "r"), ("groups", "r"), ("connections", "re"), ("transformations", "re")],
    ),
    (
        "Account Reviewer",
        &[
            ("account", "r"),
            ("users", "r"),
            ("teams", "r"),
            ("webhooks", "r"),
            ("groups", "r"),
            ("connections", "r"),
            ("transformations", "r"),
        ],
    ),
    ("Destination Creator", &[("account", "r"), ("groups", "c")]),
    (
        "Destination Administrator",
        &[("webhooks", "recm"), ("groups", "recm"), ("connections", "recm"), ("transformations", "recm")],
    ),
    ("Destination Analyst", &[("groups", "r"), ("connections", "re"), ("transformations", "re")]),
    ("Destination Reviewer", &[("groups", "r"), ("connections", "r"), ("transformations", "r")]),
    ("Connector Creator", &[("groups", "r"), ("connections", "c")]),
    (
        "Manage Destination",
        &[("webhooks", "recm"), ("groups", "recm"), ("connections", "recm"), ("transformations", "recm")],
    ),
    ("Edit Destination", &[("groups", "r"), ("connections", "re"), ("transformations", "re")]),
    ("View Destination", &[("groups", "r"), ("connections", "r"), ("transformations", "r")]),
    ("Create Connection", &[("groups", "r"), ("connections", "c")]),
    ("Manage Connection", &[("connections", "rem")]),
    ("Edit Connection", &[("connections", "re")]),
    ("View Connection", &[("connections", "r")]),
    ("Connector Administrator", &[("connections", "rem")]),
    ("Connector Collaborator", &[("connections", "re")]),
    ("Connector Reviewer", &[("connections", "r")]),
    ("Team Manager", &[("teams", "re")]),
    ("Team Member", &[("teams", "r")]),
];

/// Ids that paths and bodies name.
pub struct Cast {
    pub group: String,
    pub connection: String,
    user: String,
    team: String,
    key: String,
    webhook: String,
    project: String,
    pub transformation: String,
}

pub fn cast(world: &World, name: &str) -> Cast {
    world.clock.advance_seconds(1);
    let id = |reply: crate::harness::Reply| reply.data()["id"].as_str().unwrap().to_owned();
    let group = world.group(name);
    let shelf = json!({ "group_id": group, "service": "shelf", "config": { "bucket": "b" } });
    assert_eq!(world.post("/v1/destinations", shelf).status, 201);
    let connection = world.connection(&group, name);
    let hook = json!({ "url": "https://hooks.example/x", "events": ["sync_end"], "active": false });
    let webhook = id(world.post(&format!("/v1/webhooks/group/{group}"), hook));
    let log = json!({ "group_id": group, "service": "datadog_log", "config": { "api_key": "k" } });
    assert_eq!(world.post("/v1/external-logging", log).status, 201);
    let config =
        json!({ "dbt_version": "1.8", "default_schema": "x", "git_remote_url": "https://git.example/x" });
    let project = json!({ "group_id": group, "type": "DBT_CORE", "project_config": config });
    let project = id(world.post("/v1/transformation-projects", project));
    let steps =
        json!({ "project_id": project, "name": "t", "steps": [{ "name": "run", "command": "dbt run" }] });
    let transformation = id(world.post(
        "/v1/transformations",
        json!({ "type": "DBT_CORE", "schedule": { "schedule_type": "INTERVAL", "interval": 60 }, "transformation_config": steps }),
    ));
    let (user, _) = world.user("account", &format!("bystander-{name}"), None);
    let team = id(world.post("/v1/teams", json!({ "name": name })));
    let key = id(world.post("/v1/system-keys", json!({ "name": name })));
    Cast { group, connection, user, team, key, webhook, project, transformation }
}

impl Cast {
    pub fn path(&self, template: &str) -> String {
        let part = |part: &str| match part {
            "{group_id}" | "{destination_id}" | "{log_id}" => self.group.clone(),
            "{connection_id}" => self.connection.clone(),
            "{user_id}" => self.user.clone(),
            "{team_id}" => self.team.clone(),
            "{key_id}" => self.key.clone(),
            "{webhook_id}" => self.webhook.clone(),
            "{project_id}" => self.project.clone(),
            "{transformation_id}" => self.transformation.clone(),
            "{service}" => "shop".to_owned(),
            other => other.replace(['{', '}'], ""),
        };
        template.split('/').map(part).collect::<Vec<_>>().join("/")
    }

    /// Names the objects, and is otherwise refused: what is asked is only whether it would be allowed.
    fn body(&self, template: &str) -> Value {
        let id = if template.ends_with("/groups") { &self.group } else { &self.connection };
        json!({
            "group_id": self.group, "connection_id": self.connection, "id": id, "user_id": self.user, "role": "No Such Role", "service": "none",
            "transformation_config": { "connection_ids": [self.connection], "project_id": self.project },
            "name": "", "email": "", "events": ["none"], "scope": 1, "state": 1, "force": "?", "schemas": 1,
            "enabled": "?", "exclude_mode": "?", "active": "?", "permissions": 1, "expiration_period": "?",
            "schedule": "?", "paused": "?", "region": "", "project_config": 1, "event": "none", "url": "x",
        })
    }
}

/// Area and kind of an operation. `None`: any key will do.
fn demand(method: &str, template: &str) -> Option<(&'static str, char)> {
    let template = template.replace("/connectors", "/connections");
    let parts = template.trim_start_matches("/v1/").split('/').collect::<Vec<_>>();
    let kind = match method {
        "get" => 'r',
        "delete" => 'm',
        _ => 'e',
    };
    Some(match parts.as_slice() {
        ["account" | "roles" | "private-links" | "proxy" | "hybrid-deployment-agents", ..] => return None,
        [
            "external-secrets-managers" | "external-secrets-managers-entities" | "hvr" | "connector-sdk",
            ..,
        ] => return None,
        ["transformations", "package-metadata", ..] => return None,
        ["metadata", "connector-types", ..] => return None,
        ["metadata", "connections"] | ["metadata", "connections", "{service}"] => return None,
        ["metadata", ..] => ("connections", 'r'),
        ["system-keys" | "vault", ..] | ["external-logging", "account", ..] => {
            ("account", if kind == 'r' { 'r' } else { 'm' })
        }
        ["external-logging"] => ("groups", if kind == 'r' { 'r' } else { 'm' }),
        ["external-logging", ..] => ("groups", if kind == 'r' { 'r' } else { 'm' }),
        ["webhooks", "account"] => ("account-webhooks", 'c'),
        ["webhooks", "group", _] => ("webhooks", 'c'),
        ["webhooks", ..] => ("webhooks", kind),
        ["users", _, "api-key"] => ("everything", 'm'),
        ["users" | "teams", _, "groups", ..] if kind != 'r' => ("groups", 'm'),
        ["users" | "teams", _, "connections", ..] if kind != 'r' => ("connections", 'm'),
        ["users"] if kind == 'r' => return None,
        ["users"] => ("users", 'c'),
        ["users", ..] => ("users", kind),
        ["teams"] if kind != 'r' => ("all-teams", 'c'),
        ["teams", _, "users", ..] => ("teams", if kind == 'r' { 'r' } else { 'e' }),
        ["teams", _] if kind == 'e' => ("teams", 'm'),
        ["teams", ..] => ("teams", kind),
        ["groups", _, "users", ..] => ("groups", if kind == 'r' { 'r' } else { 'm' }),
        ["groups"] if kind != 'r' => ("all-groups", 'c'),
        ["destinations"] if kind != 'r' => ("groups", 'c'),
        ["connections"] if kind != 'r' => ("connections", 'c'),
        ["transformations" | "transformation-projects"] if kind != 'r' => ("transformations", 'c'),
        ["certificates"] | ["connections", _, "schemas", "drop-columns"] => ("connections", 'm'),
        ["connections" | "destinations", _, "certificates" | "fingerprints" | "connect-card", ..]
            if kind == 'e' =>
        {
            (if parts[0] == "connections" { "connections" } else { "groups" }, 'm')
        }
        ["groups" | "destinations", ..] => ("groups", kind),
        ["connections", ..] => ("connections", kind),
        ["transformations" | "transformation-projects", ..] => ("transformations", kind),
        other => panic!("no expectation for {other:?}"),
    })
}

fn expected(role: &str, scope: RoleScope, own: bool, method: &str, template: &str) -> bool {
    let Some((area, kind)) = demand(method, template) else { return true };
    let list = method == "get" && !template.contains('{');
    let (_, areas) = EXPECTED.iter().find(|(name, _)| *name == role).unwrap();
    let may = |area: &str, kind| areas.iter().any(|(name, kinds)| *name == area && kinds.contains(kind));
    let account = scope == RoleScope::Account;
    match area {
        "everything" => role == "Account Administrator",
        "all-groups" => account && may("groups", kind),
        "all-teams" => account && may("teams", kind),
        "account-webhooks" => account && may("webhooks", kind),
        // A list is shown as far as it may be seen; an object only if it is one's own.
        area => may(area, kind) && (account || own || list),
    }
}

fn member(world: &World, scope: RoleScope, role: &str, cast: &Cast) -> KeyPair {
    let account_role = (scope == RoleScope::Account).then_some(role);
    let (user, key) = world.user("account", "somebody", account_role);
    let object = match scope {
        RoleScope::Account => return key,
        RoleScope::Destination => &cast.group,
        RoleScope::Connector => &cast.connection,
        RoleScope::Team => &cast.team,
    };
    assert!(block_on(world.services.control.join(&user, scope, object, role)).unwrap());
    key
}

#[test]
fn every_role_may_do_on_every_route_what_the_matrix_says_and_nothing_else() {
    let mut asked = 0;
    for role in ROLES {
        let world = World::new();
        let (own, other) = (cast(&world, "own"), cast(&world, "other"));
        let key = member(&world, role.scope, role.name, &own);
        let mut operations = operations(&world);
        // Deletions last, and the deepest first, so that everything is there while it is asked about.
        operations.sort_by_key(|(method, path)| (method == "delete", usize::MAX - path.split('/').count()));
        for (cast, is_own) in [(&other, false), (&own, true)] {
            for (method, template) in &operations {
                let body = (method != "get" && method != "delete").then(|| cast.body(template));
                let reply = world.as_key(&key, &method.to_uppercase(), &cast.path(template), body);
                let allowed = expected(role.name, role.scope, is_own, method, template);
                let seen = reply.status != 403;
                assert_eq!(seen, allowed, "{} {method} {template} own={is_own}: {}", role.name, reply.json);
                assert!(reply.status < 500 && reply.status != 401, "{method} {template} {}", reply.json);
                if !allowed {
                    reply.refused(403, "Forbidden", &["role"]);
                }
                asked += 1;
            }
        }
    }
    assert!(asked > 3_000, "{asked}");
}

pub fn operations(world: &World) -> Vec<(String, String)> {
    let paths = world.document()["paths"].as_object().unwrap();
    let guarded = paths.iter().filter(|(path, _)| path.starts_with("/v1/") && *path != "/v1/openapi.json");
    let methods = guarded.flat_map(|(path, methods)| {
        methods.as_object().unwrap().keys().map(move |method| (method.clone(), path.clone()))
    });
    methods.collect()
}

#[test]
fn nobody_lets_others_into_a_team_that_may_do_more_than_they() {
    let world = World::new();
    let cast = cast(&world, "own");
    let (friend, _) = world.user("account", "friend", None);
    let path = format!("/v1/teams/{}/users", cast.team);
    let limited = json!({ "name": "teams only", "permissions": [{ "resource_type": "TEAM", "access_level": "MANAGE" }] });
    let made = world.post("/v1/system-keys", limited);
    let key = KeyPair {
        id: String::new(),
        api_key: made.data()["key"].as_str().unwrap().to_owned(),
        api_secret: fivetran_do::core::redact::Secret::new(made.data()["secret"].as_str().unwrap()),
    };
    let join =
        || world.as_key(&key, "POST", &path, Some(json!({ "user_id": friend, "role": "Team Member" })));
    let (role, group) = (
        json!({ "role": "Account Administrator" }),
        json!({ "id": cast.group, "role": "Manage Destination" }),
    );
    assert_eq!(world.patch(&format!("/v1/teams/{}", cast.team), role).status, 200);
    join().refused(403, "Forbidden", &["role"]);
    assert_eq!(world.delete(&format!("/v1/teams/{}/role", cast.team)).status, 200);
    assert_eq!(world.post(&format!("/v1/teams/{}/groups", cast.team), group).status, 201);
    join().refused(403, "Forbidden", &["role"]);
    assert_eq!(world.delete(&format!("/v1/teams/{}/groups/{}", cast.team, cast.group)).status, 200);
    assert_eq!(join().status, 201);
}

#[test]
fn whoever_manages_a_group_gives_away_what_is_in_it_and_nothing_else() {
    let world = World::new();
    let (own, other) = (cast(&world, "own"), cast(&world, "other"));
    let limited = |resource: &str, filter: Value| json!({ "resource_type": resource, "access_level": "MANAGE", "resource_filter": filter });
    let made = world.post(
        "/v1/system-keys",
        json!({ "name": "boss", "permissions": [
            { "resource_type": "ACCOUNT", "access_level": "MANAGE" },
            { "resource_type": "TEAM", "access_level": "MANAGE" },
            limited("CONNECTOR", json!({ "group_ids": [own.group] })),
            limited("DESTINATION", json!({ "group_ids": [own.group] })),
        ] }),
    );
    let key = KeyPair {
        id: String::new(),
        api_key: made.data()["key"].as_str().unwrap().to_owned(),
        api_secret: fivetran_do::core::redact::Secret::new(made.data()["secret"].as_str().unwrap()),
    };
    for (cast, status) in [(&own, 201), (&other, 403)] {
        let role = json!({ "id": cast.connection, "role": "Connector Administrator" });
        assert_eq!(world.post(&format!("/v1/teams/{}/connections", cast.team), role).status, 201);
        let member = Some(json!({ "user_id": cast.user }));
        let reply = world.as_key(&key, "POST", &format!("/v1/teams/{}/users", cast.team), member);
        assert_eq!(reply.status, status, "{}", reply.json);
    }
    for (permission, status) in [
        (limited("CONNECTOR", json!({ "ids": [own.connection] })), 201),
        (limited("DESTINATION", json!({ "ids": [own.group] })), 201),
        (limited("CONNECTOR", json!({ "ids": [own.connection, other.connection] })), 403),
        (limited("CONNECTOR", json!({ "ids": vec![&own.connection; 2_000] })), 201),
        (limited("CONNECTOR", json!({ "ids": ["none"] })), 403),
        (limited("DESTINATION", json!({ "ids": [other.group] })), 403),
        (limited("TRANSFORMATION", json!({ "ids": [own.transformation] })), 403),
    ] {
        let body = json!({ "name": "made by the boss", "permissions": [permission] });
        let reply = world.as_key(&key, "POST", "/v1/system-keys", Some(body));
        assert_eq!(reply.status, status, "{}", reply.json);
    }
}

#[test]
fn lists_show_only_what_their_reader_may_see() {
    let world = World::new();
    let (own, other) = (cast(&world, "own"), cast(&world, "other"));
    let ids = |key: &KeyPair, path: &str| {
        let reply = world.as_key(key, "GET", path, None);
        let items = reply.data()["items"].as_array().unwrap().clone();
        items.iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let (user, key) = world.user("account", "ada", None);
    let join = |scope, object: &str, role| {
        block_on(world.services.control.join(&user, scope, object, role)).unwrap()
    };
    assert!(join(RoleScope::Destination, &own.group, "Destination Reviewer"));
    assert!(join(RoleScope::Connector, &other.connection, "Connector Reviewer"));
    assert_eq!(ids(&key, "/v1/groups"), [own.group.as_str()]);
    assert_eq!(ids(&key, "/v1/connections"), [own.connection.clone(), other.connection.clone()]);
    assert_eq!(ids(&key, &format!("/v1/connections?group_id={}", other.group)), [other.connection.as_str()]);
    assert_eq!(ids(&key, "/v1/transformations"), [own.transformation.as_str()]);
    assert_eq!(ids(&key, "/v1/users"), [user]);
    assert_eq!(world.as_key(&key, "GET", "/v1/webhooks", None).status, 403);
    let limited = json!({ "name": "ci", "permissions": [
        { "resource_type": "CONNECTOR", "access_level": "READ", "resource_filter": { "ids": [own.connection] } },
        { "resource_type": "DESTINATION", "access_level": "MANAGE", "resource_filter": { "group_ids": [other.group] } },
        { "resource_type": "TRANSFORMATION", "access_level": "NONE" },
    ] });
    let made = world.post("/v1/system-keys", limited);
    let key = KeyPair {
        id: String::new(),
        api_key: made.data()["key"].as_str().unwrap().to_owned(),
        api_secret: fivetran_do::core::redact::Secret::new(made.data()["secret"].as_str().unwrap()),
    };
    assert_eq!(ids(&key, "/v1/connections"), [own.connection]);
    assert_eq!(ids(&key, "/v1/groups"), [other.group]);
    assert_eq!(world.as_key(&key, "GET", "/v1/transformations", None).status, 403);
}

#[test]
fn only_the_account_of_the_deployment_reads_the_numbers_of_all_accounts() {
    let world = World::new();
    let foreign = block_on(world.services.control.create_account("Other")).unwrap();
    let status = |key: &KeyPair| {
        let mut request = crate::harness::request("GET", "/metrics", None);
        request.headers[0].1 = crate::harness::basic(&key.api_key, key.api_secret.expose());
        block_on(fivetran_do::api::handle(&world.services, request)).status
    };
    assert_eq!(status(&world.user(&foreign.id, "eve", Some("Account Administrator")).1), 403);
    assert_eq!(status(&world.user("account", "bob", None).1), 403);
    assert_eq!(status(&world.user("account", "ada", Some("Account Reviewer")).1), 200);
}
