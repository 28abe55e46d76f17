use serde_json::json;

use crate::harness::World;

#[test]
fn a_group_is_created_read_renamed_listed_and_deleted() {
    let world = World::new();
    let created = world.post("/v1/groups", json!({ "name": "Warehouse" }));
    assert_eq!(created.status, 201);
    assert_eq!(created.json["code"], "Success");
    let id = created.data()["id"].as_str().unwrap();
    assert_eq!(created.data()["created_at"], "2026-01-01T00:00:00.000000Z");
    assert_eq!(world.get(&format!("/v1/groups/{id}")).data()["name"], "Warehouse");
    assert_eq!(world.patch(&format!("/v1/groups/{id}"), json!({ "name": "Lake" })).data()["name"], "Lake");
    assert_eq!(world.get("/v1/groups/").data()["items"][0]["name"], "Lake");
    let deleted = world.delete(&format!("/v1/groups/{id}"));
    assert_eq!((deleted.status, &deleted.json["data"]), (200, &serde_json::Value::Null));
    world.get(&format!("/v1/groups/{id}")).refused(404, "NotFound_Group", &[id, "does not exist"]);
}

#[test]
fn a_group_needs_a_name_of_its_own() {
    let world = World::new();
    world.group("Lake");
    let other = world.group("Other");
    world.post("/v1/groups", json!({ "name": "Lake" })).refused(409, "Conflict", &["name", "Choose another"]);
    world.patch(&format!("/v1/groups/{other}"), json!({ "name": "Lake" })).refused(
        409,
        "Conflict",
        &["name"],
    );
    world.post("/v1/groups", json!({})).refused(400, "InvalidInput", &["name", "required"]);
    world.post("/v1/groups", json!({ "name": "  " })).refused(400, "InvalidInput", &["name"]);
    world.post("/v1/groups", json!({ "name": ["x"] })).refused(
        400,
        "InvalidInput",
        &["name", "must be text"],
    );
    assert_eq!(world.get("/v1/groups").data()["items"].as_array().unwrap().len(), 2);
}

#[test]
fn a_group_in_use_is_not_deleted() {
    let world = World::new();
    let group = world.group("Lake");
    world.connection(&group, "shop");
    world.delete(&format!("/v1/groups/{group}")).refused(409, "IllegalState", &["connections"]);
    assert_eq!(world.get(&format!("/v1/groups/{group}")).status, 200);
}

#[test]
fn users_and_account_are_told() {
    let world = World::new();
    let group = world.group("Lake");
    let info = world.get("/v1/account/info");
    assert_eq!((&info.data()["account_id"], &info.data()["user_id"]), (&json!("account"), &json!("owner")));
    for path in ["/v1/users".to_owned(), format!("/v1/groups/{group}/users")] {
        let users = world.get(&path);
        assert_eq!(users.json["code"], "Success");
        assert_eq!(users.data()["items"][0]["email"], "owner@localhost");
    }
    assert_eq!(world.get("/v1/users/owner").data()["role"], "Account Administrator");
    world.get("/v1/users/nobody").refused(404, "NotFound_User", &["nobody"]);
}
