//! Users, teams, memberships and keys, as they are used.

use std::collections::BTreeSet;

use fivetran_do::control::api_keys::KeyPair;
use fivetran_do::core::redact::Secret;
use serde_json::json;

use crate::harness::{Reply, World};

fn pair(reply: &Reply) -> KeyPair {
    let text = |field: &str| reply.data()[field].as_str().unwrap().to_owned();
    KeyPair { id: text("id"), api_key: text("key"), api_secret: Secret::new(text("secret")) }
}

fn invite(world: &World, name: &str, role: Option<&str>) -> String {
    let new = json!({ "email": format!("{name}@example.com"), "given_name": name, "family_name": "L", "role": role });
    let created = world.post("/v1/users", new);
    assert_eq!(created.status, 201, "{}", created.json);
    created.data()["id"].as_str().unwrap().to_owned()
}

#[test]
fn a_user_is_invited_until_their_key_is_used_and_refused_when_switched_off() {
    let world = World::new();
    let ada = invite(&world, "ada", Some("Account Reviewer"));
    let one = format!("/v1/users/{ada}");
    let state = || {
        let user = world.get(&one);
        let data = user.data();
        (data["invited"].clone(), data["verified"].clone(), data["logged_in_at"].is_null())
    };
    assert_eq!(state(), (json!(true), json!(false), true));
    world.clock.advance_seconds(59 * 60);
    assert_eq!(
        world.get("/v1/users/owner").data()["logged_in_at"],
        "2026-01-01T00:00:00.000000Z",
        "asks just now"
    );
    let made = world.post(&format!("{one}/api-key"), json!({}));
    assert_eq!(made.status, 201);
    let key = pair(&made);
    world.secrets.borrow_mut().push(key.api_secret.expose().to_owned());
    assert!(!world.db.dump().contains(key.api_secret.expose()));
    assert_eq!(world.as_key(&key, "GET", "/v1/account/info", None).data()["user_id"], ada.as_str());
    assert_eq!(state(), (json!(false), json!(true), false));
    assert_eq!(world.patch(&one, json!({ "active": "false" })).data()["active"], false);
    assert_eq!(world.as_key(&key, "GET", "/v1/users", None).status, 401);
    assert_eq!(world.get("/v1/users?active=false").data()["items"][0]["id"], ada.as_str());
    assert_eq!(world.get("/v1/users?active=true").data()["items"].as_array().unwrap().len(), 1);
    assert_eq!(world.patch(&one, json!({ "active": true })).status, 200);
    assert_eq!(world.as_key(&key, "GET", "/v1/users", None).status, 200);
    world.secrets.borrow_mut().clear();
    let next = pair(&world.post(&format!("{one}/api-key"), json!({})));
    assert_eq!(world.as_key(&key, "GET", "/v1/users", None).status, 401, "the old key is gone");
    assert_eq!(world.as_key(&next, "GET", "/v1/users", None).status, 200);
    let with_key = |has: bool| {
        let list = world.get(&format!("/v1/users?has_api_key={has}"));
        let items = list.data()["items"].as_array().unwrap().clone();
        items.iter().map(|user| user["id"].as_str().unwrap().to_owned()).collect::<BTreeSet<_>>()
    };
    let (owner, nobody) = ("owner".to_owned(), BTreeSet::new());
    assert_eq!((with_key(true), with_key(false)), ([owner.clone(), ada.clone()].into(), nobody));
    assert_eq!(world.delete(&format!("{one}/api-key")).status, 200);
    assert_eq!((with_key(true), with_key(false)), ([owner].into(), [ada.clone()].into()));
    world.delete(&format!("{one}/api-key")).refused(404, "NotFound_ApiKey", &[]);
    assert_eq!(world.as_key(&next, "GET", "/v1/users", None).status, 401);
    assert_eq!(world.delete(&one).status, 200);
    world.get(&one).refused(404, "NotFound_User", &[&ada]);
}

#[test]
fn users_are_checked_and_unique_and_the_owner_stays() {
    let world = World::new();
    let ada = invite(&world, "ada", None);
    assert_eq!(world.get(&format!("/v1/users/{ada}")).data()["role"], "");
    let new = |email: &str, role: &str| json!({ "email": email, "given_name": "A", "family_name": "L", "role": role });
    world.post("/v1/users", new("ADA@example.com", "")).refused(409, "Conflict", &["email"]);
    world.post("/v1/users", new("no address", "")).refused(400, "InvalidInput", &["email"]);
    world.post("/v1/users", new("b@example.com", "King")).refused(
        400,
        "InvalidInput",
        &["role", "Account Reviewer"],
    );
    world.post("/v1/users", json!({ "email": "b@example.com" })).refused(400, "InvalidInput", &["required"]);
    world.get("/v1/users?active=perhaps").refused(400, "InvalidInput", &["active"]);
    world.get("/v1/users?has_api_key=1").refused(400, "InvalidInput", &["has_api_key"]);
    for refused in [
        world.delete("/v1/users/owner"),
        world.delete("/v1/users/owner/role"),
        world.patch("/v1/users/owner", json!({ "role": "Account Reviewer" })),
        world.patch("/v1/users/owner", json!({ "active": false })),
    ] {
        refused.refused(409, "IllegalState", &["owner"]);
    }
    let patched =
        world.patch(&format!("/v1/users/{ada}"), json!({ "phone": "+1", "role": "Account Analyst" }));
    assert_eq!(
        (&patched.data()["phone"], &patched.data()["role"]),
        (&json!("+1"), &json!("Account Analyst"))
    );
    let pictured =
        world.patch(&format!("/v1/users/{ada}"), json!({ "picture": "https://p.example/a", "phone": null }));
    assert_eq!(
        (&pictured.data()["phone"], &pictured.data()["picture"]),
        (&json!(null), &json!("https://p.example/a"))
    );
    let cleared = world.patch(&format!("/v1/users/{ada}"), json!({ "picture": null }));
    assert_eq!(cleared.data()["picture"], json!(null));
    assert_eq!(world.delete(&format!("/v1/users/{ada}/role")).status, 200);
    assert_eq!(world.get(&format!("/v1/users/{ada}")).data()["role"], "");
}

#[test]
fn memberships_of_users_and_teams_are_given_changed_listed_and_taken() {
    let world = World::new();
    let group = world.group("Lake");
    let connection = world.connection(&group, "shop");
    let ada = invite(&world, "ada", None);
    let team = world.post("/v1/teams", json!({ "name": "Data", "description": "d" }));
    assert_eq!(team.status, 201);
    let team = team.data()["id"].as_str().unwrap().to_owned();
    world.post("/v1/teams", json!({ "name": "Data" })).refused(409, "Conflict", &["name"]);
    for subject in [format!("users/{ada}"), format!("teams/{team}")] {
        for (collection, object, role, next, wrong) in [
            ("groups", &group, "Destination Reviewer", "Destination Analyst", "Connector Reviewer"),
            (
                "connections",
                &connection,
                "Connector Reviewer",
                "Connector Collaborator",
                "Destination Reviewer",
            ),
            (
                "connectors",
                &connection,
                "Connector Reviewer",
                "Connector Collaborator",
                "Destination Reviewer",
            ),
        ] {
            let all = format!("/v1/{subject}/{collection}");
            let one = format!("{all}/{object}");
            world.get(&one).refused(404, "NotFound_Membership", &[object]);
            world.patch(&one, json!({ "role": role })).refused(404, "NotFound_Membership", &[object]);
            world.post(&all, json!({ "id": object, "role": wrong })).refused(
                400,
                "InvalidInput",
                &["role", role],
            );
            world.post(&all, json!({ "role": role })).refused(400, "InvalidInput", &["id", "required"]);
            let given = world.post(&all, json!({ "id": object, "role": role }));
            assert_eq!(
                (given.status, &given.data()["id"], &given.data()["role"]),
                (201, &json!(object), &json!(role))
            );
            world.post(&all, json!({ "id": object, "role": role })).refused(409, "Conflict", &["already"]);
            assert_eq!(world.patch(&one, json!({ "role": next })).data()["role"], next);
            assert_eq!(world.get(&one).data()["role"], next);
            assert_eq!(world.get(&all).data()["items"][0]["id"], object.as_str());
            assert_eq!(world.delete(&one).status, 200);
            world.delete(&one).refused(404, "NotFound_Membership", &[object]);
            assert_eq!(world.get(&all).data()["items"], json!([]));
        }
    }
    let members = format!("/v1/teams/{team}/users");
    let added = world.post(&members, json!({ "user_id": ada }));
    assert_eq!((added.status, &added.data()["role"]), (201, &json!("Team Member")));
    world.post(&members, json!({ "user_id": ada })).refused(409, "Conflict", &["already"]);
    let manager = world.patch(&format!("{members}/{ada}"), json!({ "role": "Team Manager" }));
    assert_eq!((&manager.data()["user_id"], &manager.data()["role"]), (&json!(ada), &json!("Team Manager")));
    assert_eq!(world.get(&members).data()["items"][0]["user_id"], ada.as_str());
    assert_eq!(world.delete(&format!("{members}/{ada}")).status, 200);
    world.get(&format!("{members}/{ada}")).refused(404, "NotFound_Membership", &[&ada]);
    let add = json!({ "email": "Ada@example.com", "role": "Destination Reviewer" });
    assert_eq!(world.post(&format!("/v1/groups/{group}/users"), add).status, 200);
    let users = world.get(&format!("/v1/groups/{group}/users"));
    let role_of = |email: &str| {
        let users = world.get(&format!("/v1/groups/{group}/users"));
        let users = users.data()["items"].as_array().unwrap().clone();
        users.iter().find(|user| user["email"] == email).map(|user| user["role"].clone())
    };
    assert_eq!(users.data()["items"].as_array().unwrap().len(), 2, "the owner and Ada");
    assert_eq!(role_of("owner@localhost"), Some(json!("Account Administrator")));
    assert_eq!(role_of("ada@example.com"), Some(json!("Destination Reviewer")));
    let stranger = json!({ "email": "x@example.com", "role": "Destination Reviewer" });
    world.post(&format!("/v1/groups/{group}/users"), stranger).refused(404, "NotFound_User", &["Invite"]);
    // The role in the account is another one, and gives way to the one in the group.
    world.patch(&format!("/v1/users/{ada}"), json!({ "role": "Account Reviewer" }));
    assert_eq!(role_of("ada@example.com"), Some(json!("Destination Reviewer")));
    assert_eq!(world.get(&format!("/v1/users/{ada}")).data()["role"], "Account Reviewer");
    let one = format!("/v1/groups/{group}/users/{ada}");
    assert_eq!(world.delete(&one).status, 200);
    assert_eq!(role_of("ada@example.com"), Some(json!("Account Reviewer")));
    world.delete(&one).refused(404, "NotFound", &[&ada]);
}

#[test]
fn a_team_shares_its_roles_and_takes_them_away() {
    let world = World::new();
    let group = world.group("Lake");
    let ada = invite(&world, "ada", None);
    let key = pair(&world.post(&format!("/v1/users/{ada}/api-key"), json!({})));
    let team = world.post("/v1/teams", json!({ "name": "Data" })).data()["id"].as_str().unwrap().to_owned();
    let path = format!("/v1/groups/{group}");
    let status = || world.as_key(&key, "GET", &path, None).status;
    world.post(&format!("/v1/teams/{team}/groups"), json!({ "id": group, "role": "Destination Reviewer" }));
    assert_eq!(status(), 403);
    world.post(&format!("/v1/teams/{team}/users"), json!({ "user_id": ada }));
    assert_eq!(status(), 200);
    let users = world.get(&format!("{path}/users"));
    assert_eq!(users.data()["items"].as_array().unwrap().len(), 2);
    let roles = users.data()["items"].as_array().unwrap().iter().map(|user| user["role"].as_str().unwrap());
    assert!(roles.into_iter().any(|role| role == "Destination Reviewer"), "the team's");
    assert_eq!(world.as_key(&key, "PATCH", &path, Some(json!({ "name": "x" }))).status, 403);
    assert_eq!(world.delete(&format!("/v1/teams/{team}/groups/{group}")).status, 200);
    assert_eq!(status(), 403);
    world.patch(&format!("/v1/teams/{team}"), json!({ "role": "Account Reviewer" }));
    assert_eq!(status(), 200);
    assert_eq!(world.delete(&format!("/v1/teams/{team}")).status, 200);
    assert_eq!(status(), 403);
}

#[test]
fn nobody_gives_away_more_than_they_have() {
    let world = World::new();
    let group = world.group("Lake");
    let other = world.group("Sea");
    let connection = world.connection(&group, "shop");
    let (boss, ada) = (invite(&world, "boss", None), invite(&world, "ada", None));
    let give = json!({ "id": group, "role": "Destination Administrator" });
    assert_eq!(world.post(&format!("/v1/users/{boss}/groups"), give.clone()).status, 201);
    let key = pair(&world.post(&format!("/v1/users/{boss}/api-key"), json!({})));
    let send = |method: &str, path: String, body| world.as_key(&key, method, &path, Some(body));
    assert_eq!(send("POST", format!("/v1/users/{ada}/groups"), give).status, 201);
    let give = json!({ "id": connection, "role": "Connector Administrator" });
    assert_eq!(send("POST", format!("/v1/users/{ada}/connections"), give).status, 201);
    let elsewhere = json!({ "id": other, "role": "Destination Reviewer" });
    send("POST", format!("/v1/users/{ada}/groups"), elsewhere).refused(403, "Forbidden", &[]);
    send("PATCH", format!("/v1/users/{boss}"), json!({ "role": "Account Administrator" })).refused(
        403,
        "Forbidden",
        &[],
    );
    send("POST", "/v1/system-keys".to_owned(), json!({ "name": "x" })).refused(403, "Forbidden", &[]);
    // A key for keys and users makes neither mightier keys nor mightier people.
    let limited = json!({ "name": "hr", "permissions": [
        { "resource_type": "ACCOUNT", "access_level": "MANAGE" }, { "resource_type": "USER", "access_level": "MANAGE" } ] });
    let hr = pair(&world.post("/v1/system-keys", limited));
    let mighty = world.post(
        "/v1/system-keys",
        json!({ "name": "all", "permissions": [
        { "resource_type": "CONNECTOR", "access_level": "MANAGE" } ] }),
    );
    let mighty = mighty.data()["id"].as_str().unwrap().to_owned();
    let more =
        json!({ "permissions": [{ "resource_type": "CONNECTOR", "access_level": "READ" }], "name": "x" });
    for (method, path, body) in [
        ("POST", "/v1/system-keys".to_owned(), more.clone()),
        ("PATCH", format!("/v1/system-keys/{}", hr.id), more),
        ("POST", format!("/v1/system-keys/{mighty}/rotate"), json!({})),
        ("PATCH", format!("/v1/users/{ada}"), json!({ "role": "Account Administrator" })),
        ("POST", format!("/v1/users/{ada}/api-key"), json!({})),
        ("DELETE", "/v1/users/owner/api-key".to_owned(), json!({})),
    ] {
        world.as_key(&hr, method, &path, Some(body)).refused(403, "Forbidden", &[]);
    }
    assert_eq!(world.as_key(&hr, "POST", "/v1/system-keys", Some(json!({ "name": "x" }))).status, 201);
}

#[test]
fn who_creates_something_administers_it() {
    let world = World::new();
    let (_, key) = world.user("account", "maker", Some("Destination Creator"));
    let made = world.as_key(&key, "POST", "/v1/groups", Some(json!({ "name": "Mine" })));
    assert_eq!(made.status, 201);
    let group = made.data()["id"].as_str().unwrap().to_owned();
    assert_eq!(
        world.as_key(&key, "PATCH", &format!("/v1/groups/{group}"), Some(json!({ "name": "M" }))).status,
        200
    );
    let (bob, key) = world.user("account", "bob", None);
    let give = json!({ "id": group, "role": "Connector Creator" });
    assert_eq!(world.post(&format!("/v1/users/{bob}/groups"), give).status, 201);
    world.connection(&group, "others");
    let shop = crate::harness::shop_connection(&group, "mine");
    let made = world.as_key(&key, "POST", "/v1/connections", Some(shop));
    assert_eq!((made.status, &made.data()["connected_by"]), (201, &json!(bob)));
    let listed = world.as_key(&key, "GET", "/v1/connections", None);
    assert_eq!(listed.data()["items"].as_array().unwrap().len(), 1);
    let path = format!("/v1/connections/{}", made.data()["id"].as_str().unwrap());
    assert_eq!(world.as_key(&key, "DELETE", &path, None).status, 200);
}

#[test]
fn system_keys_expire_rotate_and_are_revoked() {
    let world = World::new();
    let permissions = json!([{ "resource_type": "DESTINATION", "access_level": "READ" }]);
    let made = world.post(
        "/v1/system-keys",
        json!({ "name": "ci", "expiration_period": "ONE_WEEK", "permissions": permissions }),
    );
    let first = pair(&made);
    assert_eq!(made.data()["expired_at"], "2026-01-08T00:00:00.000000Z");
    world.secrets.borrow_mut().push(first.api_secret.expose().to_owned());
    assert!(!world.db.dump().contains(first.api_secret.expose()));
    let status = |key: &KeyPair| world.as_key(key, "GET", "/v1/groups", None).status;
    assert_eq!(status(&first), 200);
    let one = format!("/v1/system-keys/{}", first.id);
    assert_eq!(world.get(&one).data()["permissions"], permissions);
    assert_eq!(world.get("/v1/system-keys").data()["items"][0]["key"], first.api_key.as_str());
    world.clock.advance_seconds(7 * 86_400);
    assert_eq!(status(&first), 401, "expired");
    let second = pair(&world.post(&format!("{one}/rotate"), json!({ "expiration_period": "ONE_MONTH" })));
    assert_eq!((status(&first), status(&second)), (401, 200));
    assert_eq!(world.patch(&one, json!({ "permissions": [] })).data()["permissions"], json!([]));
    assert_eq!(status(&second), 403);
    assert_eq!(world.delete(&one).status, 200);
    assert_eq!(status(&second), 401);
    world.get(&one).refused(404, "NotFound_SystemKey", &[&first.id]);
    world.post("/v1/system-keys", json!({ "name": "x", "expiration_period": "FOREVER" })).refused(
        400,
        "InvalidInput",
        &["INFINITE"],
    );
}

#[test]
fn the_roles_are_listed_page_by_page() {
    let world = World::new();
    let mut names = Vec::new();
    let mut path = "/v1/roles?limit=5".to_owned();
    loop {
        let page = world.get(&path);
        for role in page.data()["items"].as_array().unwrap() {
            names.push(format!("{} {}", role["scope"][0].as_str().unwrap(), role["name"].as_str().unwrap()));
        }
        let Some(next) = page.data()["next_cursor"].as_str() else { break };
        path = format!("/v1/roles?limit=5&cursor={next}");
    }
    assert_eq!(names.len(), 21);
    assert!(names.contains(&"DESTINATION Manage Destination".to_owned()));
    assert!(names.contains(&"ACCOUNT Account Administrator".to_owned()));
    assert!(names.contains(&"DESTINATION Destination Administrator".to_owned()));
}
