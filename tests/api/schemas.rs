use serde_json::{Value, json};

use crate::harness::{World, block_on};
use crate::projections::progress;
use crate::shop::{offer, table};

fn reloaded(world: &World) -> (String, String) {
    offer(vec![table("Public", "Users", &["email", "Full Name"]), table("Public", "orders", &["note"])]);
    let group = world.group("Lake");
    let id = world.connection(&group, "shop");
    let path = format!("/v1/connections/{id}/schemas");
    assert_eq!(world.post(&format!("{path}/reload"), json!({})).status, 200);
    (id, path)
}

#[test]
fn there_is_no_schema_configuration_before_a_reload() {
    let world = World::new();
    let group = world.group("Lake");
    let path = format!("/v1/connections/{}/schemas", world.connection(&group, "shop"));
    world.get(&path).refused(404, "NotFound_SchemaConfig", &["reload"]);
    world.patch(&path, json!({})).refused(404, "NotFound_SchemaConfig", &["reload"]);
}

#[test]
fn a_reload_lists_tables_under_source_names_with_their_names_at_the_destination() {
    let world = World::new();
    let (_, path) = reloaded(&world);
    let reply = world.get(&path);
    let config = reply.data();
    assert_eq!(
        (&config["enable_new_by_default"], &config["schema_change_handling"]),
        (&json!(true), &json!("ALLOW_ALL"))
    );
    let schema = &config["schemas"]["Public"];
    assert_eq!((&schema["name_in_destination"], &schema["enabled"]), (&json!("shop_public"), &json!(true)));
    let users = &schema["tables"]["Users"];
    assert_eq!(
        (&users["name_in_destination"], &users["sync_mode"]),
        (&json!("users"), &json!("SOFT_DELETE"))
    );
    assert_eq!(users["columns"], json!({}), "only columns set by hand");
    let columns = world.get(&format!("{path}/Public/tables/Users/columns"));
    let columns = &columns.data()["columns"];
    assert_eq!(columns["Full Name"]["name_in_destination"], "full_name");
    assert_eq!(columns["id"]["is_primary_key"], true);
    assert_eq!(columns["id"]["enabled_patch_settings"]["reason_code"], "SYSTEM_COLUMN");
}

#[test]
fn schemas_tables_and_columns_are_switched_at_every_level() {
    let world = World::new();
    let (id, path) = reloaded(&world);
    let reply = world.patch(
        &path,
        json!({ "schema_change_handling": "BLOCK_ALL", "schemas": { "Public": { "enabled": "true", "tables": {
            "Users": { "enabled": true, "columns": { "email": { "enabled": true, "hashed": true } } },
            "orders": { "enabled": false } } } } }),
    );
    assert_eq!(reply.data()["schema_change_handling"], "BLOCK_ALL");
    assert_eq!(reply.data()["schemas"]["Public"]["tables"]["orders"]["enabled"], false);
    assert_eq!(reply.data()["schemas"]["Public"]["tables"]["Users"]["columns"]["email"]["hashed"], true);
    world.patch(&format!("{path}/Public/tables/Users/columns/Full%20Name"), json!({ "enabled": false }));
    world.patch(&format!("{path}/Public/tables/orders"), json!({ "enabled": true, "cursor_column": "note" }));
    let last = world.patch(&format!("{path}/Public"), json!({ "enabled": false }));
    let schema = &last.data()["schemas"]["Public"];
    assert_eq!(schema["enabled"], false);
    assert_eq!(schema["tables"]["orders"]["cursor_column"], "note");
    assert_eq!(schema["tables"]["Users"]["columns"]["email"]["hashed"], true, "merged, not replaced");
    assert_eq!(schema["tables"]["Users"]["columns"]["Full Name"]["enabled"], false);
    let settings = block_on(world.services.control.stream_settings(&id)).unwrap();
    assert_eq!(settings.streams.len(), 2);
    assert_eq!(serde_json::to_value(settings.policy).unwrap(), "BLOCK_ALL");
}

#[test]
fn bad_schema_edits_are_refused_and_change_nothing() {
    let world = World::new();
    let (_, path) = reloaded(&world);
    let before = world.get(&path).json;
    let table = |fields: Value| json!({ "schemas": { "Public": { "tables": { "Users": fields } } } });
    let cases: Vec<(Value, u16, &str, Vec<&str>)> = vec![
        (json!({ "schemas": { "public": { "enabled": false } } }), 404, "NotFound_Schema", vec!["public"]),
        (
            json!({ "schemas": { "Public": { "tables": { "users": {} } } } }),
            404,
            "NotFound_Table",
            vec!["Public.users"],
        ),
        (
            table(json!({ "columns": { "Email": { "enabled": false } } })),
            404,
            "NotFound_Column",
            vec!["Email"],
        ),
        (
            table(json!({ "columns": { "id": { "enabled": false } } })),
            400,
            "InvalidInput",
            vec!["id", "primary key"],
        ),
        (
            table(json!({ "sync_mode": "X" })),
            400,
            "InvalidInput",
            vec!["schemas.Public.tables.Users.sync_mode"],
        ),
        (table(json!({ "cursor_column": "nope" })), 400, "InvalidInput", vec!["cursor_column"]),
        (
            json!({ "schema_change_handling": "MAYBE" }),
            400,
            "InvalidInput",
            vec!["schema_change_handling", "BLOCK_ALL"],
        ),
        (json!({ "is_type_locked": true }), 400, "InvalidInput", vec!["is_type_locked"]),
        (
            table(json!({ "row_filter": { "name": "germans", "column_clauses": [] } })),
            400,
            "InvalidInput",
            vec!["schemas.Public.tables.Users.row_filter"],
        ),
    ];
    for (body, status, code, says) in cases {
        world.patch(&path, body).refused(status, code, &says);
    }
    world.patch(&format!("{path}/nope"), json!({})).refused(404, "NotFound_Schema", &["nope"]);
    world.get(&format!("{path}/Public/tables/nope/columns")).refused(404, "NotFound_Table", &["nope"]);
    assert_eq!(world.get(&path).json, before);
}

#[test]
fn every_change_of_shape_is_a_version_with_its_difference() {
    let world = World::new();
    let (id, path) = reloaded(&world);
    let versions = format!("/v1/connections/{id}/schema-versions");
    world.post(&format!("{path}/reload"), json!({}));
    assert_eq!(
        world.get(&versions).data()["items"].as_array().unwrap().len(),
        2,
        "nothing changed, nothing recorded"
    );
    offer(vec![table("Public", "Users", &["email"]), table("Public", "new", &[])]);
    world.post(&format!("{path}/reload"), json!({}));
    let users = world.get(&format!("{versions}?schema=Public&table=Users"));
    let users = users.data()["items"].as_array().unwrap();
    assert_eq!(users.iter().map(|version| version["version"].as_u64().unwrap()).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(users[1]["diff"]["dropped"][0]["name"], "Full Name");
    let orders = world.get(&format!("{versions}?schema=Public&table=orders"));
    assert_eq!(orders.data()["items"][1]["stream"], Value::Null);
    let config = world.get(&path);
    let orders = &config.data()["schemas"]["Public"]["tables"]["orders"];
    assert_eq!(orders["enabled_patch_settings"]["reason_code"], "DELETED");
    world.get(&format!("{versions}?schema=Public")).refused(400, "InvalidInput", &["table"]);
    let mut seen = 0;
    let mut cursor = String::new();
    loop {
        let page = world.get(&format!("{versions}?limit=2{cursor}"));
        seen += page.data()["items"].as_array().unwrap().len();
        let Some(next) = page.data()["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(seen, 5);
}

#[test]
fn what_the_policy_leaves_out_stays_out_after_a_second_look() {
    let world = World::new();
    let (id, path) = reloaded(&world);
    world.patch(&path, json!({ "schema_change_handling": "BLOCK_ALL" }));
    world.db.execute("UPDATE connections SET succeeded_at = 1");
    offer(vec![table("Public", "Users", &["email", "Full Name", "phone"]), table("Public", "late", &[])]);
    for _ in 0..2 {
        let reply = world.post(&format!("{path}/reload"), json!({}));
        let tables = &reply.data()["schemas"]["Public"]["tables"];
        assert_eq!(tables["late"]["enabled"], false);
        assert_eq!(tables["Users"]["columns"]["phone"]["enabled"], false);
        assert_eq!(tables["Users"]["enabled"], true);
    }
    let settings = block_on(world.services.control.stream_settings(&id)).unwrap();
    assert_eq!(settings.streams.len(), 2);
}

#[test]
fn a_new_schema_that_the_policy_leaves_out_is_off_until_a_person_switches_it_on() {
    for policy in ["ALLOW_COLUMNS", "BLOCK_ALL"] {
        let world = World::new();
        let (_, path) = reloaded(&world);
        world.patch(&path, json!({ "schema_change_handling": policy }));
        world.db.execute("UPDATE connections SET succeeded_at = 1");
        let look = |body: Value| {
            let reply = world.post(&format!("{path}/reload"), body);
            let switch = |schema: &str| reply.data()["schemas"][schema]["enabled"].clone();
            (switch("Public"), switch("Late"))
        };
        offer(vec![table("Public", "Users", &[]), table("Late", "t", &[])]);
        assert_eq!(look(json!({})), (json!(true), json!(false)), "{policy}");
        let tables = json!({ "enabled": true, "tables": { "t": { "enabled": true } } });
        let on = world.patch(&format!("{path}/Late"), tables);
        assert_eq!(on.data()["schemas"]["Late"]["enabled"], true);
        assert_eq!(on.data()["schemas"]["Late"]["tables"]["t"]["enabled"], true);
        // Now it is known, and gone from the source or not, it stays as it was set.
        assert_eq!(look(json!({})).1, true);
        offer(vec![table("Public", "Users", &[])]);
        look(json!({}));
        offer(vec![table("Public", "Users", &[]), table("Late", "t", &[])]);
        assert_eq!(look(json!({})).1, true);
        offer(vec![table("Public", "Users", &[]), table("Later", "t", &[])]);
        look(json!({}));
        world.post(&format!("{path}/reload"), json!({ "exclude_mode": "INCLUDE" }));
        assert_eq!(world.get(&path).data()["schemas"]["Later"]["enabled"], true);
    }
}

#[test]
fn a_reload_can_switch_all_tables() {
    let world = World::new();
    let (id, path) = reloaded(&world);
    world.syncs.progress.replace(Some(progress("r1", vec![], None)));
    let edits = || block_on(world.services.control.connection(&id)).unwrap().unwrap().settings_edits;
    let before = edits();
    world.syncs.taken();
    let off = world.post(&format!("{path}/reload"), json!({ "exclude_mode": "EXCLUDE" }));
    assert!(edits() > before, "a live run cannot go on with what is off now");
    assert_eq!(world.syncs.taken(), ["start Manual force=true scope=None"]);
    assert_eq!(off.data()["schemas"]["Public"]["tables"]["Users"]["enabled"], false);
    let kept = world.post(&format!("{path}/reload"), json!({ "exclude_mode": "PRESERVE" }));
    assert_eq!(kept.data()["schemas"]["Public"]["tables"]["Users"]["enabled"], false);
    assert_eq!(world.syncs.taken(), Vec::<String>::new(), "nothing was set");
    let on = world.post(&format!("{path}/reload"), json!({ "exclude_mode": "INCLUDE" }));
    assert_eq!(on.data()["schemas"]["Public"]["tables"]["Users"]["enabled"], true);
    world.post(&format!("{path}/reload"), json!({ "exclude_mode": "?" })).refused(
        400,
        "InvalidInput",
        &["PRESERVE"],
    );
}

#[test]
fn a_source_that_refuses_a_reload_is_named_and_nothing_is_recorded() {
    let world = World::new();
    let group = world.group("Lake");
    let mut body = crate::harness::shop_connection(&group, "shop");
    body["config"]["password"] = json!("wr0ng");
    let id = world.post("/v1/connections", body).data()["id"].as_str().unwrap().to_owned();
    world.post(&format!("/v1/connections/{id}/schemas/reload"), json!({})).refused(
        400,
        "SourceAuth",
        &["config.password", "Enter the right one"],
    );
    world.get(&format!("/v1/connections/{id}/schemas")).refused(404, "NotFound_SchemaConfig", &[]);
}
