//! Two accounts in one deployment know nothing of each other.

use serde_json::{Value, json};

use crate::harness::{World, block_on};

/// Everything the owner's account has, by part of a path.
fn furnished(world: &World) -> Vec<(&'static str, String)> {
    let id = |reply: crate::harness::Reply| reply.data()["id"].as_str().unwrap().to_owned();
    let group = world.group("Lake");
    let destination = json!({ "group_id": group, "service": "shelf", "config": { "bucket": "b" } });
    assert_eq!(world.post("/v1/destinations", destination).status, 201);
    let connection = world.connection(&group, "shop");
    let hook = json!({ "url": "https://hooks.example/x", "events": ["sync_end"], "active": false });
    let webhook = id(world.post("/v1/webhooks/account", hook));
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
    let (user, _) = world.user("account", "ada", Some("Account Reviewer"));
    let team = id(world.post("/v1/teams", json!({ "name": "Data" })));
    let key = id(world.post("/v1/system-keys", json!({ "name": "ci" })));
    for (path, body) in [
        (format!("/v1/users/{user}/groups"), json!({ "id": group, "role": "Destination Reviewer" })),
        (format!("/v1/users/{user}/connections"), json!({ "id": connection, "role": "Connector Reviewer" })),
        (format!("/v1/teams/{team}/groups"), json!({ "id": group, "role": "Destination Reviewer" })),
        (format!("/v1/teams/{team}/connections"), json!({ "id": connection, "role": "Connector Reviewer" })),
        (format!("/v1/teams/{team}/users"), json!({ "user_id": user })),
    ] {
        assert_eq!(world.post(&path, body).status, 201, "{path}");
    }
    vec![
        ("{group_id}", group.clone()),
        ("{destination_id}", group.clone()),
        ("{log_id}", group),
        ("{connection_id}", connection),
        ("{user_id}", user),
        ("{team_id}", team),
        ("{key_id}", key),
        ("{webhook_id}", webhook),
        ("{project_id}", project),
        ("{transformation_id}", transformation),
    ]
}

#[test]
fn nothing_of_another_account_exists_on_any_route() {
    let world = World::new();
    let theirs = furnished(&world);
    let before = world.db.dump();
    let foreign = block_on(world.services.control.create_account("Other")).unwrap();
    let (user, key) = world.user(&foreign.id, "eve", Some("Account Administrator"));
    let info = world.as_key(&key, "GET", "/v1/account/info", None);
    assert_eq!((&info.data()["account_id"], &info.data()["user_id"]), (&json!(foreign.id), &json!(user)));
    let id_of = |part: &str| theirs.iter().find(|(name, _)| *name == part).map(|(_, id)| id.clone());
    let mut hidden = 0;
    for (template, methods) in world.document()["paths"].as_object().unwrap() {
        if !template.starts_with("/v1/") {
            continue;
        }
        let path = template.split('/').map(|part| id_of(part).unwrap_or_else(|| part.to_owned()));
        let path = path.collect::<Vec<_>>().join("/");
        let names_one = theirs.iter().any(|(part, _)| template.contains(part));
        for method in methods.as_object().unwrap().keys() {
            let reply = world.as_key(&key, &method.to_uppercase(), &path, Some(json!({})));
            if names_one {
                let code = reply.json["code"].as_str().unwrap();
                assert!(
                    reply.status == 404 && code.starts_with("NotFound_"),
                    "{method} {path} {}",
                    reply.json
                );
                hidden += 1;
            }
            // Lists and refusals alike: no id but those the request itself named.
            for (_, id) in theirs.iter().filter(|(_, id)| !path.contains(id.as_str())) {
                assert!(!reply.json.to_string().contains(id.as_str()), "{method} {path} tells {id}");
            }
        }
    }
    assert!(hidden > 150, "{hidden}");
    // Everything that was there is there, unchanged; added are the account, its administrator and their key.
    let after = world.db.dump();
    for line in before.lines() {
        assert!(after.contains(line), "{line}");
    }
}

#[test]
fn bodies_cannot_reach_into_another_account() {
    let world = World::new();
    let theirs = furnished(&world);
    let id_of = |part: &str| theirs.iter().find(|(name, _)| *name == part).map(|(_, id)| id.clone()).unwrap();
    let foreign = block_on(world.services.control.create_account("Other")).unwrap();
    let (eve, key) = world.user(&foreign.id, "eve", Some("Account Administrator"));
    let (group, connection) = (id_of("{group_id}"), id_of("{connection_id}"));
    let team = world.as_key(&key, "POST", "/v1/teams", Some(json!({ "name": "Data" })));
    let team = team.data()["id"].as_str().unwrap().to_owned();
    let post = |path: String, body: Value| world.as_key(&key, "POST", &path, Some(body));
    let shop = crate::harness::shop_connection(&group, "spy");
    post("/v1/connections".into(), shop).refused(404, "NotFound_Group", &[&group]);
    let shelf = json!({ "group_id": group, "service": "shelf", "config": { "bucket": "b" } });
    post("/v1/destinations".into(), shelf).refused(404, "NotFound_Group", &[&group]);
    let log = json!({ "group_id": group, "service": "datadog_log", "config": {} });
    post("/v1/external-logging".into(), log).refused(404, "NotFound_Group", &[&group]);
    let role = |id: &str, role: &str| json!({ "id": id, "role": role });
    for subject in [format!("users/{eve}"), format!("teams/{team}")] {
        post(format!("/v1/{subject}/groups"), role(&group, "Destination Reviewer")).refused(
            404,
            "NotFound_Group",
            &[&group],
        );
        post(format!("/v1/{subject}/connections"), role(&connection, "Connector Reviewer")).refused(
            404,
            "NotFound_Connection",
            &[&connection],
        );
    }
    let ada = id_of("{user_id}");
    post(format!("/v1/teams/{team}/users"), json!({ "user_id": ada })).refused(404, "NotFound_User", &[&ada]);
    let steps = json!({ "connection_ids": [connection] });
    post("/v1/transformations".into(), json!({ "type": "QUICKSTART", "transformation_config": steps }))
        .refused(404, "NotFound_Connection", &[&connection]);
    // The same names and addresses are free there.
    assert_eq!(post("/v1/groups".into(), json!({ "name": "Lake" })).status, 201);
    let ada = json!({ "email": "ada@example.com", "given_name": "Ada", "family_name": "L" });
    assert_eq!(post("/v1/users".into(), ada).status, 201);
}
