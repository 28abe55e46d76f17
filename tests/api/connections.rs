use fivetran_do::control::connections::ConnectionFilter;
use fivetran_do::control::{Connection, Page, Scope};
use serde_json::{Value, json};

use crate::harness::{NEW_YEAR, World, block_on, shop_connection};
use crate::shop::{self, MEANWHILE};

fn with(mut body: Value, fields: Value) -> Value {
    for (name, value) in fields.as_object().unwrap() {
        body[name] = value.clone();
    }
    body
}

fn stored(world: &World, id: &str) -> Connection {
    block_on(world.services.control.connection(id)).unwrap().unwrap()
}

fn count(world: &World) -> usize {
    block_on(world.services.control.connections(
        &Scope::all("account"),
        &ConnectionFilter::default(),
        &Page::first(),
    ))
    .unwrap()
    .items
    .len()
}

#[test]
fn a_connection_has_every_key_clients_index() {
    let world = World::new();
    let group = world.group("Lake");
    let id = world.connection(&group, "shop");
    let reply = world.get(&format!("/v1/connections/{id}"));
    let data = reply.data();
    assert_eq!(data["schema"], "shop");
    assert_eq!(data["service_version"], 1);
    assert_eq!(data["sync_frequency"], 360);
    assert_eq!(data["schedule_phrase"], "every 6 hours");
    assert_eq!(data["sync_mode"], "incremental");
    assert_eq!(data["connected_by"], "owner");
    assert_eq!(data["config"]["password"], "******");
    for key in ["succeeded_at", "failed_at", "daily_sync_time"] {
        assert!(data.as_object().unwrap().contains_key(key) && data[key].is_null(), "{key}");
    }
    assert_eq!(
        data["status"],
        json!({ "setup_state": "connected", "sync_state": "scheduled", "update_state": "on_schedule",
            "is_historical_sync": true, "rescheduled_for": null, "tasks": [], "warnings": [] })
    );
}

#[test]
fn a_new_connection_is_due_at_once_unless_paused_manual_or_incomplete() {
    let world = World::new();
    let group = world.group("Lake");
    let cases = [
        ("auto", json!({}), Some(NEW_YEAR)),
        ("paused", json!({ "paused": "true" }), None),
        ("manual", json!({ "schedule_type": "manual" }), None),
        ("untested", json!({ "run_setup_tests": false }), None),
    ];
    for (name, fields, due) in cases {
        let created = world.post("/v1/connections", with(shop_connection(&group, name), fields));
        let id = created.data()["id"].as_str().unwrap().to_owned();
        assert_eq!(stored(&world, &id).next_due_at, due, "{name}");
        assert_eq!(
            created.data()["status"]["sync_state"],
            if name == "paused" { "paused" } else { "scheduled" }
        );
    }
    let due = block_on(world.services.control.claim_due(NEW_YEAR, 180_000_000, 10)).unwrap();
    assert_eq!(due.len(), 1);
}

#[test]
fn a_wrong_password_creates_an_incomplete_connection_that_a_right_one_completes() {
    let world = World::new();
    world.secrets.borrow_mut().push("wr0ng".to_owned());
    let group = world.group("Lake");
    let mut body = shop_connection(&group, "shop");
    body["config"]["password"] = json!("wr0ng");
    let created = world.post("/v1/connections", body);
    assert_eq!(created.status, 201);
    assert_eq!(created.data()["status"]["setup_state"], "incomplete");
    assert_eq!(created.data()["setup_tests"][0]["status"], "FAILED");
    let id = created.data()["id"].as_str().unwrap();
    let path = format!("/v1/connections/{id}");
    let fixed = world.patch(&path, json!({ "config": { "password": shop::PASSWORD } }));
    assert_eq!(fixed.data()["status"]["setup_state"], "connected");
    assert_eq!(stored(&world, id).next_due_at, Some(NEW_YEAR));
    let broken = world.patch(&path, json!({ "config": { "password": "wr0ng" } }));
    assert_eq!(broken.data()["status"]["setup_state"], "broken");
    assert_eq!(world.post(&format!("{path}/test"), json!({})).data()["status"]["setup_state"], "broken");
}

#[test]
fn bad_connections_are_refused_with_field_and_remedy_and_leave_nothing() {
    let world = World::new();
    let group = world.group("Lake");
    let base = || shop_connection(&group, "shop");
    let config = |fields: Value| {
        let mut body = base();
        body["config"] = with(body["config"].clone(), fields);
        body
    };
    let cases: Vec<(Value, u16, &str, Vec<&str>)> = vec![
        (with(base(), json!({ "group_id": "nobody" })), 404, "NotFound_Group", vec!["nobody"]),
        (
            with(base(), json!({ "service": "fax" })),
            400,
            "InvalidInput",
            vec!["service", "'fax'", "Use one of: shop"],
        ),
        (with(base(), json!({ "config": {} })), 400, "InvalidInput", vec!["config.host", "required"]),
        (with(base(), json!({ "config": "x" })), 400, "InvalidInput", vec!["config", "an object"]),
        (config(json!({ "port": "many" })), 400, "InvalidInput", vec!["config.port", "a whole number"]),
        (config(json!({ "port": 70000 })), 400, "InvalidInput", vec!["config.port", "at most 65535"]),
        (
            config(json!({ "pasword": "x" })),
            400,
            "InvalidInput",
            vec!["config.pasword", "no such field", "password"],
        ),
        (
            config(json!({ "password": "******" })),
            400,
            "InvalidInput",
            vec!["config.password", "the secret itself"],
        ),
        (config(json!({ "host": "a b" })), 400, "InvalidInput", vec!["config.host", "Correct it"]),
        (
            config(json!({ "schema_prefix": "Bad Name" })),
            400,
            "InvalidInput",
            vec!["config.schema_prefix", "a-z"],
        ),
        (config(json!({ "schema_prefix": "" })), 400, "InvalidInput", vec!["config.schema_prefix"]),
        (
            with(base(), json!({ "sync_frequency": 7 })),
            400,
            "InvalidInput",
            vec!["sync_frequency", "1, 5, 15"],
        ),
        (with(base(), json!({ "schedule": "every blue moon" })), 400, "InvalidInput", vec!["schedule"]),
        (
            with(base(), json!({ "schedule": "hourly", "sync_frequency": 60 })),
            400,
            "InvalidInput",
            vec!["schedule"],
        ),
        (
            with(base(), json!({ "daily_sync_time": "03:30", "sync_frequency": 1440 })),
            400,
            "InvalidInput",
            vec!["daily_sync_time"],
        ),
        (
            with(base(), json!({ "sync_mode": "cdc" })),
            400,
            "InvalidInput",
            vec!["sync_mode", "full, incremental"],
        ),
        (
            with(base(), json!({ "schedule_type": "never" })),
            400,
            "InvalidInput",
            vec!["schedule_type", "auto, manual"],
        ),
        (with(base(), json!({ "paused": "maybe" })), 400, "InvalidInput", vec!["paused", "true or false"]),
        (
            with(base(), json!({ "networking_method": "SshTunnel" })),
            400,
            "InvalidInput",
            vec!["networking_method"],
        ),
        (
            with(base(), json!({ "proxy_agent_id": "p" })),
            400,
            "InvalidInput",
            vec!["proxy_agent_id", "Leave it out"],
        ),
        (
            with(base(), json!({ "destination_schema_names": "SOURCE_NAMING" })),
            400,
            "InvalidInput",
            vec!["destination_schema_names"],
        ),
        (with(base(), json!({ "auth": { "token": "x" } })), 400, "InvalidInput", vec!["auth", "config"]),
        (
            with(base(), json!({ "schema_status": "blocked_on_capture" })),
            400,
            "InvalidInput",
            vec!["schema_status", "Use ready"],
        ),
        (
            with(base(), json!({ "destination_configuration": { "virtual_warehouse": "BIG" } })),
            400,
            "InvalidInput",
            vec!["destination_configuration", "Leave it out"],
        ),
        (
            with(base(), json!({ "external_secrets_keys_config": { "password": "path/in/vault" } })),
            400,
            "InvalidInput",
            vec!["external_secrets_keys_config", "Leave it out"],
        ),
        (json!({ "service": "shop" }), 400, "InvalidInput", vec!["group_id", "required"]),
    ];
    for (body, status, code, says) in cases {
        world.post("/v1/connections", body).refused(status, code, &says);
    }
    assert_eq!(count(&world), 0);
}

#[test]
fn lenient_input_is_understood() {
    let world = World::new();
    let group = world.group("Lake");
    let body = with(
        shop_connection(&group, "shop"),
        json!({ "sync_frequency": "15", "paused": "false", "run_setup_tests": "true", "data_delay_sensitivity": null,
            "data_delay_threshold": null, "hybrid_deployment_agent_id": null, "pause_after_trial": true,
            "schema_status": "ready", "destination_configuration": {}, "external_secrets_keys_config": null,
            "something_new": [1] }),
    );
    let created = world.post("/v1/connectors/", body);
    assert_eq!(created.data()["sync_frequency"], 15);
    assert_eq!(created.data()["pause_after_trial"], true);
    let id = created.data()["id"].as_str().unwrap();
    let path = format!("/v1/connectors/{id}");
    assert_eq!(
        world.patch(&path, json!({ "schedule": "every day at 03:00" })).data()["daily_sync_time"],
        "03:00"
    );
    let hourly = world.patch(&path, json!({ "sync_frequency": 60 }));
    assert_eq!(
        (&hourly.data()["sync_frequency"], &hourly.data()["daily_sync_time"]),
        (&json!(60), &Value::Null)
    );
    let manual = world.patch(&path, json!({ "schedule_type": "manual" }));
    assert_eq!(manual.data()["schedule_phrase"], "manual");
    assert_eq!(stored(&world, id).next_due_at, None);
}

#[test]
fn a_schedule_is_taken_and_shown_as_the_object_of_newer_clients() {
    let world = World::new();
    let group = world.group("Lake");
    let daily = json!({ "schedule_type": "TIME_OF_DAY", "time_of_day": "09:00" });
    let created =
        world.post("/v1/connections", with(shop_connection(&group, "shop"), json!({ "schedule": daily })));
    let fields = |data: &Value| (data["sync_frequency"].clone(), data["daily_sync_time"].clone());
    assert_eq!(fields(created.data()), (json!(1440), json!("09:00")));
    assert_eq!(created.data()["schedule"], daily);
    let path = format!("/v1/connections/{}", created.data()["id"].as_str().unwrap());
    let all = ["MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY", "SUNDAY"];
    for (sent, shown, frequency, kind) in [
        (
            json!({ "schedule_type": "INTERVAL", "interval": "60", "days_of_week": all }),
            json!({ "schedule_type": "INTERVAL", "interval": 60 }),
            60,
            "auto",
        ),
        (
            json!({ "schedule_type": "MANUAL", "days_of_week": [] }),
            json!({ "schedule_type": "MANUAL" }),
            60,
            "manual",
        ),
        (
            json!({ "schedule_type": "INTERVAL", "interval": 1440 }),
            json!({ "schedule_type": "INTERVAL", "interval": 1440 }),
            1440,
            "auto",
        ),
        // With seconds, as Fivetran itself answers.
        (
            json!({ "schedule_type": "TIME_OF_DAY", "time_of_day": "09:00:00", "cron": null }),
            daily.clone(),
            1440,
            "auto",
        ),
    ] {
        let patched = world.patch(&path, json!({ "schedule": sent }));
        assert_eq!(
            (&patched.data()["schedule"], &patched.data()["schedule_type"]),
            (&shown, &json!(kind)),
            "{sent}"
        );
        assert_eq!(patched.data()["sync_frequency"], frequency, "{sent}");
        assert_eq!(world.get(&path).data()["schedule"], shown);
    }
    for (schedule, says) in [
        (json!({}), "schedule.schedule_type"),
        (json!({ "schedule_type": "CRON", "cron": "0 9 * * 1-5" }), "schedule.schedule_type"),
        (json!({ "schedule_type": "INTERVAL" }), "schedule.interval"),
        (json!({ "schedule_type": "INTERVAL", "interval": 7 }), "schedule.interval"),
        (json!({ "schedule_type": "INTERVAL", "interval": "often" }), "schedule.interval"),
        (json!({ "schedule_type": "INTERVAL", "interval": 60, "cron": "x" }), "schedule.cron"),
        (
            json!({ "schedule_type": "INTERVAL", "interval": 60, "days_of_week": ["MONDAY"] }),
            "schedule.days_of_week",
        ),
        (
            json!({ "schedule_type": "INTERVAL", "interval": 60, "time_of_day": "09:00" }),
            "schedule.time_of_day",
        ),
        (json!({ "schedule_type": "TIME_OF_DAY" }), "schedule.time_of_day"),
        (json!({ "schedule_type": "TIME_OF_DAY", "time_of_day": "09:30" }), "schedule.time_of_day"),
        (
            json!({ "schedule_type": "TIME_OF_DAY", "time_of_day": "09:00", "interval": 60 }),
            "schedule.interval",
        ),
        (json!({ "schedule_type": "MANUAL", "interval": 60 }), "schedule.interval"),
        (json!([1]), "schedule"),
    ] {
        world.patch(&path, json!({ "schedule": schedule })).refused(400, "InvalidInput", &[says]);
    }
    assert_eq!(world.get(&path).data()["schedule"], daily, "what is refused changes nothing");
}

#[test]
fn a_connection_sent_back_with_one_spelling_of_its_schedule_changed_changes() {
    let world = World::new();
    let group = world.group("Lake");
    let path = format!("/v1/connections/{}", world.connection(&group, "shop"));
    let read = || world.get(&path).data().clone();
    let hourly = json!({ "schedule_type": "INTERVAL", "interval": 60 });
    assert_eq!(world.patch(&path, with(read(), json!({ "schedule": hourly }))).data()["sync_frequency"], 60);
    let fields = json!({ "sync_frequency": 1440, "daily_sync_time": "03:00" });
    let patched = world.patch(&path, with(read(), fields));
    assert_eq!(patched.data()["schedule"], json!({ "schedule_type": "TIME_OF_DAY", "time_of_day": "03:00" }));
    assert_eq!(world.patch(&path, read()).data()["schedule"], patched.data()["schedule"]);
    world.patch(&path, json!({ "schedule": hourly, "sync_frequency": 15 })).refused(
        400,
        "InvalidInput",
        &["schedule", "twice"],
    );
    // Of both spellings, `auto` contradicts no object with a time in it.
    let new = |more: Value| world.post("/v1/connections", with(shop_connection(&group, "other"), more));
    new(json!({ "schedule": hourly, "schedule_type": "manual" })).refused(400, "InvalidInput", &["twice"]);
    new(json!({ "schedule": hourly, "sync_frequency": 360 })).refused(400, "InvalidInput", &["twice"]);
    let made = new(json!({ "schedule": hourly, "schedule_type": "auto" }));
    assert_eq!(made.data()["sync_frequency"], 60);
}

#[test]
fn names_are_unique_in_a_group_and_never_change() {
    let world = World::new();
    let (one, two) = (world.group("One"), world.group("Two"));
    let id = world.connection(&one, "shop");
    world.connection(&two, "shop");
    world.post("/v1/connections", shop_connection(&one, "shop")).refused(
        409,
        "Conflict",
        &["'shop'", "another"],
    );
    world.patch(&format!("/v1/connections/{id}"), json!({ "config": { "schema_prefix": "other" } })).refused(
        400,
        "InvalidInput",
        &["config.schema_prefix", "never changes"],
    );
    let listed = world.get("/v1/connections?schema=shop");
    assert_eq!(listed.data()["items"].as_array().unwrap().len(), 2);
    let listed = world.get(&format!("/v1/groups/{one}/connectors/?schema=shop"));
    assert_eq!(listed.data()["items"].as_array().unwrap().len(), 1);
    assert_eq!(world.get("/v1/connections?schema=sho").data()["items"], json!([]));
    world.get("/v1/groups/nobody/connections").refused(404, "NotFound_Group", &["nobody"]);
}

#[test]
fn pausing_cancels_and_unschedules_and_resuming_schedules() {
    let world = World::new();
    let group = world.group("Lake");
    let id = world.connection(&group, "shop");
    let path = format!("/v1/connections/{id}");
    let paused = world.patch(&path, json!({ "paused": true }));
    assert_eq!(
        (&paused.data()["paused"], &paused.data()["status"]["sync_state"]),
        (&json!(true), &json!("paused"))
    );
    assert_eq!(world.syncs.taken(), ["cancel"]);
    assert_eq!(stored(&world, &id).next_due_at, None);
    world.post(&format!("{path}/sync"), json!({})).refused(
        409,
        "IllegalState",
        &["paused", "Set paused to false"],
    );
    world.patch(&path, json!({ "paused": true }));
    assert_eq!(world.syncs.taken(), Vec::<String>::new(), "a paused connection is not paused again");
    world.clock.advance_seconds(60);
    let resumed = world.patch(&path, json!({ "paused": false }));
    assert_eq!(resumed.data()["status"]["sync_state"], "scheduled");
    assert_eq!(stored(&world, &id).next_due_at, Some(NEW_YEAR + 60_000_000));
}

#[test]
fn syncs_and_resyncs_reach_the_engine() {
    let world = World::new();
    let group = world.group("Lake");
    let id = world.connection(&group, "shop");
    let path = format!("/v1/connections/{id}");
    shop::offer(vec![shop::table("public", "users", &[]), shop::table("public", "orders", &[])]);
    world.post(&format!("{path}/schemas/reload"), json!({}));
    for (action, body, call) in [
        ("sync", json!({}), "start Manual force=false scope=None"),
        ("sync", json!({ "force": "true" }), "start Manual force=true scope=None"),
        ("force", json!({}), "start Manual force=true scope=None"),
        ("resync", json!({}), "start Resync force=true scope=None"),
        ("resync", json!({ "scope": null }), "start Resync force=true scope=None"),
        (
            "resync",
            json!({ "scope": { "public": ["users", "orders"] } }),
            "start Resync force=true scope=Some(\"public.users,public.orders\")",
        ),
        (
            "schemas/tables/resync",
            json!({ "public": ["users"] }),
            "start Resync force=true scope=Some(\"public.users\")",
        ),
        (
            "schemas/tables/resync",
            json!({ "schema": ["public.users"] }),
            "start Resync force=true scope=Some(\"public.users\")",
        ),
        (
            "schemas/public/tables/orders/resync",
            json!({}),
            "start Resync force=true scope=Some(\"public.orders\")",
        ),
    ] {
        let reply = world.post(&format!("{path}/{action}"), body);
        assert_eq!(reply.status, 200, "{action} {}", reply.json);
        assert_eq!(world.syncs.taken(), [call], "{action}");
    }
    world.syncs.running.set(true);
    assert!(
        world.post(&format!("{path}/sync"), json!({})).json["message"].as_str().unwrap().contains("already")
    );
    world.syncs.taken();
    world.post(&format!("{path}/resync"), json!({ "scope": {} })).refused(400, "InvalidInput", &["scope"]);
    world.post(&format!("{path}/resync"), json!({ "scope": { "public": [] } })).refused(
        400,
        "InvalidInput",
        &["scope.public"],
    );
    world.post(&format!("{path}/resync"), json!({ "scope": { "Public": ["users"] } })).refused(
        404,
        "NotFound_Table",
        &["Public.users"],
    );
    assert_eq!(world.syncs.taken(), Vec::<String>::new());
    world.patch(&path, json!({ "is_historical_sync": true }));
    assert_eq!(world.syncs.taken(), ["start Resync force=true scope=None"]);
}

#[test]
fn state_is_read_and_replaced_but_not_during_a_sync() {
    let world = World::new();
    let group = world.group("Lake");
    let path = format!("/v1/connections/{}/state", world.connection(&group, "shop"));
    world.syncs.state.replace(json!({ "public": { "users": { "xmin": "7" } } }));
    assert_eq!(world.get(&path).data()["state"]["public"]["users"]["xmin"], "7");
    assert_eq!(world.patch(&path, json!({ "state": {} })).data()["state"], json!({}));
    world.patch(&path, json!({})).refused(400, "InvalidInput", &["state", "required"]);
    world.patch(&path, json!({ "state": [] })).refused(400, "InvalidInput", &["state", "an object"]);
    world.syncs.running.set(true);
    world.patch(&path, json!({ "state": {} })).refused(409, "IllegalState", &["running", "pause"]);
}

#[test]
fn deleting_a_connection_tells_the_engine_and_forgets_its_history() {
    let world = World::new();
    let group = world.group("Lake");
    let id = world.connection(&group, "shop");
    shop::offer(vec![shop::table("public", "users", &[])]);
    world.post(&format!("/v1/connections/{id}/schemas/reload"), json!({}));
    let deleted = world.delete(&format!("/v1/connections/{id}"));
    assert!(deleted.json["message"].as_str().unwrap().contains("has been deleted"));
    assert_eq!(world.syncs.taken(), ["cancel", "forget"]);
    world.complete_deletion(&id);
    assert!(!world.db.dump().contains(&id));
    for (method, path) in [
        ("GET", ""),
        ("PATCH", ""),
        ("DELETE", ""),
        ("POST", "/test"),
        ("POST", "/sync"),
        ("POST", "/force"),
        ("POST", "/resync"),
        ("GET", "/state"),
        ("GET", "/schemas"),
        ("POST", "/schemas/reload"),
        ("GET", "/runs"),
        ("GET", "/runs/x"),
        ("GET", "/progress"),
        ("GET", "/logs"),
        ("GET", "/schema-versions"),
    ] {
        let request = crate::harness::request(method, &format!("/v1/connections/{id}{path}"), None);
        world.send(request).refused(404, "NotFound_Connection", &[&id]);
    }
}

#[test]
fn an_edit_that_meets_another_is_applied_on_top_of_it() {
    let world = World::new();
    let group = world.group("Lake");
    let id = world.connection(&group, "shop");
    let (db, other) = (world.db.clone(), id.clone());
    MEANWHILE.set(Some(Box::new(move || {
        db.execute(&format!(
            "UPDATE connections SET sync_frequency = 5, updated_at = updated_at + 1 WHERE id = '{other}'"
        ));
    })));
    let patched = world.patch(&format!("/v1/connections/{id}"), json!({ "config": { "host": "new" } }));
    assert_eq!(patched.data()["config"]["host"], "new");
    assert_eq!(patched.data()["sync_frequency"], 5, "the other edit is not lost");
}
