use std::collections::BTreeMap;

use fivetran_do::core::catalog::StreamName;
use fivetran_do::core::settings::{ColumnSettings, StreamSettings};
use serde_json::{Value, json};

use crate::harness::{World, block_on, request};
use crate::shop::{offer, table};

fn reloaded(world: &World) -> String {
    offer(vec![
        table("Public", "Users", &["email", "Full Name"]),
        table("Public", "orders", &["note"]),
        table("audit", "log.2026", &[]),
    ]);
    let group = world.group("Lake");
    let id = world.connection(&group, "shop");
    world.post(&format!("/v1/connections/{id}/schemas/reload"), json!({}));
    id
}

/// All items, page by page.
fn all(world: &World, path: &str, limit: usize) -> Vec<Value> {
    let (mut items, mut cursor) = (Vec::new(), String::new());
    loop {
        let reply = world.get(&format!("{path}?limit={limit}{cursor}"));
        items.extend(reply.data()["items"].as_array().unwrap().clone());
        match reply.data()["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return items,
        }
    }
}

#[test]
fn a_connector_type_describes_its_fields_with_one_type_each() {
    let world = World::new();
    let reply = world.get("/v1/metadata/connector-types/shop");
    let config = &reply.data()["config"];
    assert_eq!(config["type"], "object");
    assert_eq!(config["required"], json!(["host", "password", "schema_prefix"]));
    assert_eq!(config["properties"]["port"]["type"], "integer");
    assert_eq!(
        config["properties"]["password"],
        json!({ "type": "string", "format": "password", "readonly": false, "nullable": false, "immutable": false })
    );
    let behaves =
        |name: &str| (&config["properties"][name]["nullable"], &config["properties"][name]["immutable"]);
    assert_eq!(behaves("port"), (&json!(true), &json!(false)));
    assert_eq!(behaves("schema_prefix"), (&json!(false), &json!(true)));
    assert_eq!(config["properties"]["tunnel"]["properties"]["key"]["format"], "password");
    assert_eq!(config["properties"]["tokens"]["items"]["format"], "password");
    let text = config.to_string();
    assert!(!text.contains("$ref") && !text.contains("\"null\"") && !text.contains(":null"), "{config}");
    let mut stranger = request("GET", "/public/connector-types", None);
    stranger.headers.clear();
    let public = world.send(stranger);
    assert_eq!(public.data()["items"][0], *reply.data());
}

#[test]
fn connector_types_are_found_under_their_older_names() {
    let world = World::new();
    let types = "/v1/metadata/connector-types";
    for other in ["/v1/metadata/connectors", "/v1/metadata/connections"] {
        assert_eq!(world.get(other).data(), world.get(types).data());
        assert_eq!(world.get(&format!("{other}/shop")).data(), world.get(&format!("{types}/shop")).data());
        world.get(&format!("{other}/fax")).refused(404, "NotFound_Service", &["fax"]);
    }
    let id = reloaded(&world);
    assert_eq!(
        world.get(&format!("/v1/metadata/connections/{id}/tables")).data(),
        world.get(&format!("/v1/metadata/connectors/{id}/tables")).data()
    );
}

#[test]
fn features_are_those_that_every_sync_has() {
    let reply = World::new().get("/v1/metadata/connector-types");
    let features = reply.data()["items"][0]["supported_features"].as_array().unwrap();
    let names = features.iter().map(|feature| feature["id"].as_str().unwrap()).collect::<Vec<_>>();
    assert_eq!(names, ["DATA_BLOCKING", "COLUMN_HASHING", "RE_SYNC", "HISTORY", "API_CONFIGURABLE"]);
}

#[test]
fn every_real_connector_describes_its_fields_with_one_type_each() {
    let mut world = World::new();
    world.services.connectors = fivetran_do::connectors::registry::CONNECTORS;
    for connector in fivetran_do::connectors::registry::CONNECTORS {
        let reply = world.get(&format!("/v1/metadata/connector-types/{}", connector.id));
        for (name, field) in reply.data()["config"]["properties"].as_object().unwrap() {
            assert!(field["type"].is_string(), "{} {name}: {field}", connector.id);
        }
        // What creating a connection refuses is refused by Terraform's plan already.
        let required = reply.data()["config"]["required"].as_array().unwrap();
        assert!(required.contains(&json!("schema_prefix")), "{}: {required:?}", connector.id);
    }
}

#[test]
fn schemas_tables_and_columns_point_at_each_other_on_pages_of_any_size() {
    let world = World::new();
    let id = reloaded(&world);
    let path = format!("/v1/metadata/connectors/{id}");
    let schemas = all(&world, &format!("{path}/schemas"), 1);
    assert_eq!(schemas.iter().map(|one| &one["name_in_source"]).collect::<Vec<_>>(), ["Public", "audit"]);
    assert_eq!(schemas[0]["name_in_destination"], "shop_public");
    let tables = all(&world, &format!("{path}/tables"), 1);
    assert_eq!(tables, all(&world, &format!("{path}/tables"), 1000));
    assert_eq!(
        tables.iter().map(|one| &one["name_in_source"]).collect::<Vec<_>>(),
        ["Users", "orders", "log.2026"]
    );
    assert_eq!(
        (&tables[0]["parent_id"], &tables[2]["parent_id"], &tables[0]["name_in_destination"]),
        (&schemas[0]["id"], &schemas[1]["id"], &json!("users"))
    );
    let columns = all(&world, &format!("{path}/columns"), 2);
    assert_eq!(columns, all(&world, &format!("{path}/columns"), 1000));
    assert_eq!(columns.len(), 6);
    let full_name = columns.iter().find(|column| column["name_in_source"] == "Full Name").unwrap();
    assert_eq!(
        (&full_name["parent_id"], &full_name["name_in_destination"], &full_name["type_in_source"]),
        (&tables[0]["id"], &json!("full_name"), &json!("text"))
    );
    assert_eq!(
        (&columns[0]["is_primary_key"], &columns[0]["type_in_destination"]),
        (&json!(true), &json!("LONG"))
    );
    let mut ids = columns
        .iter()
        .chain(&tables)
        .chain(&schemas)
        .map(|one| one["id"].as_str().unwrap())
        .collect::<Vec<_>>();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 6 + 3 + 2);
    world.get(&format!("{path}/tables?cursor=nonsense")).refused(400, "InvalidInput", &["cursor"]);
    world.get("/v1/metadata/connectors/none/tables").refused(404, "NotFound_Connector", &["none"]);
}

#[test]
fn nothing_is_known_of_a_connection_that_was_never_looked_at() {
    let world = World::new();
    let group = world.group("Lake");
    let id = world.connection(&group, "shop");
    for what in ["schemas", "tables", "columns"] {
        assert_eq!(
            world.get(&format!("/v1/metadata/connectors/{id}/{what}")).data(),
            &json!({ "items": [] })
        );
    }
}

#[test]
fn a_configuration_can_be_set_before_the_first_sync_and_its_names_are_checked() {
    let world = World::new();
    offer(vec![table("public", "users", &["email"])]);
    let group = world.group("Lake");
    let path = format!("/v1/connectors/{}/schemas", world.connection(&group, "shop"));
    let config = |table: &str| {
        json!({ "schema_change_handling": "BLOCK_ALL",
        "schemas": { "public": { "enabled": true, "tables": { table: { "enabled": false } } } } })
    };
    world.post(&path, config("Users")).refused(404, "NotFound_Table", &["public.Users"]);
    let made = world.post(&path, config("users"));
    assert_eq!(made.status, 200);
    assert_eq!(made.data()["schemas"]["public"]["tables"]["users"]["enabled"], false);
    assert_eq!(world.get(&path).data()["schema_change_handling"], "BLOCK_ALL");
    let logs = world.get(&path.replace("/schemas", "/logs"));
    let is_change = |log: &&Value| log["event"] == "change_schema_config_via_api";
    let change = logs.data()["items"].as_array().unwrap().iter().find(is_change).unwrap();
    assert_eq!(
        change["data"],
        json!({ "actor": "owner", "schemas": ["public"], "tables": ["public.users"] })
    );
}

#[test]
fn i8_only_a_blocked_column_is_marked_to_be_dropped_and_switching_it_on_takes_that_back() {
    let world = World::new();
    let id = reloaded(&world);
    let path = format!("/v1/connections/{id}/schemas");
    let column = format!("{path}/Public/tables/Users/columns/email");
    let drop =
        |column: &str| json!({ "schemas": { "Public": { "tables": { "Users": { "columns": [column] } } } } });
    let many = format!("{path}/drop-columns");
    world.delete(&column).refused(409, "IllegalState", &["not blocked"]);
    world.post(&many, drop("email")).refused(409, "IllegalState", &["not blocked"]);
    world.post(&many, drop("nope")).refused(404, "NotFound_Column", &["nope"]);
    world.post(&many, json!({ "schemas": {} })).refused(400, "InvalidInput", &["schemas"]);
    world.post(&many, json!({})).refused(400, "InvalidInput", &["schemas"]);
    world.patch(&column, json!({ "enabled": false }));
    let marked = |column: &str| {
        let settings = block_on(world.services.control.stream_settings(&id)).unwrap();
        settings.streams.values().any(|own| own.columns.get(column).and_then(|set| set.drop) == Some(true))
    };
    let columns =
        json!({ "schemas": { "Public": { "tables": { "Users": { "columns": ["email", "id"] } } } } });
    world.post(&many, columns).refused(409, "IllegalState", &["id", "not blocked"]);
    assert!(!marked("email"), "all or none");
    for ask in [world.delete(&column), world.post(&many, drop("email"))] {
        assert_eq!(ask.status, 200, "{}", ask.json);
        assert!(ask.json["message"].as_str().unwrap().contains("successfully marked for deletion"));
        assert!(marked("email"));
    }
    let logs = world.get(&format!("/v1/connections/{id}/logs"));
    let asked = |log: &Value| log["data"]["drop_columns"] == json!(["Public.Users.email"]);
    assert_eq!(logs.data()["items"].as_array().unwrap().iter().filter(|log| asked(log)).count(), 2);
    world.patch(&column, json!({ "hashed": true }));
    assert!(marked("email"), "another edit takes nothing back");
    world.patch(&column, json!({ "enabled": true }));
    // A request to drop that came at the same moment leaves its mark on a column that is on.
    let late = ColumnSettings { drop: Some(true), ..ColumnSettings::default() };
    let late = StreamSettings { columns: [("email".to_owned(), late)].into(), ..StreamSettings::default() };
    let late = [(StreamName::new("Public", "Users"), late)].into();
    block_on(world.services.control.save_stream_settings(&id, &BTreeMap::new(), &late)).unwrap();
    world.patch(&column, json!({ "enabled": false }));
    assert!(!marked("email"), "who switches it off did not ask for that");
}
