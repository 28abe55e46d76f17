use serde_json::{Value, json};

use crate::harness::{World, block_on};
use crate::projections::{finished, progress, started};

fn shelf(group: &str, config: Value) -> Value {
    json!({ "group_id": group, "service": "shelf", "time_zone_offset": "+2", "config": config })
}

#[test]
fn a_destination_has_its_groups_id_and_masks_its_secrets() {
    let world = World::new();
    world.secrets.borrow_mut().push("t0ken".to_owned());
    let group = world.group("Lake");
    let created = world.post("/v1/destinations", shelf(&group, json!({ "bucket": "b", "token": "t0ken" })));
    assert_eq!(created.status, 201);
    let data = created.data();
    assert_eq!((&data["id"], &data["group_id"]), (&json!(group), &json!(group)));
    assert_eq!((&data["setup_status"], &data["time_zone_offset"]), (&json!("CONNECTED"), &json!("+2")));
    assert_eq!(data["config"], json!({ "bucket": "b", "token": "******" }));
    assert_eq!(world.get("/v1/destinations").data()["items"][0]["id"], group.as_str());
    assert_eq!(world.get(&format!("/v1/destinations/{group}")).data()["config"]["token"], "******");
}

#[test]
fn a_partial_patch_keeps_the_rest() {
    let world = World::new();
    let group = world.group("Lake");
    world.post("/v1/destinations", shelf(&group, json!({ "bucket": "b", "token": "t0ken" })));
    let path = format!("/v1/destinations/{group}");
    let patched = world.patch(&path, json!({ "time_zone_offset": -5, "config": { "token": "******" } }));
    assert_eq!(patched.data()["time_zone_offset"], "-5");
    assert_eq!(patched.data()["config"], json!({ "bucket": "b", "token": "******" }));
    let record = block_on(world.services.control.destination(&group)).unwrap().unwrap();
    assert_eq!(record.config.open().unwrap()["token"], "t0ken");
    for (sent, shown) in
        [("gcp_us_west1", "GCP_US_WEST1"), ("AWS_EU_WEST_1", "AWS_EU_WEST_1"), ("home", "home")]
    {
        assert_eq!(world.patch(&path, json!({ "region": sent })).data()["region"], shown);
    }
    let broken = world.patch(&path, json!({ "config": { "bucket": "missing" } }));
    assert_eq!(broken.data()["setup_status"], "BROKEN");
    assert_eq!(world.post(&format!("{path}/test"), json!({})).data()["setup_tests"][0]["status"], "FAILED");
}

#[test]
fn a_new_configuration_starts_over_what_runs_into_the_destination_and_nothing_else() {
    let world = World::new();
    let group = world.group("Lake");
    world.post("/v1/destinations", shelf(&group, json!({ "bucket": "b", "token": "t0ken" })));
    let connection = world.connection(&group, "shop");
    started(&world, &connection, "r1", 1);
    world.syncs.progress.replace(Some(progress("r1", vec![], None)));
    let path = format!("/v1/destinations/{group}");
    world.syncs.taken();
    world.patch(&path, json!({ "time_zone_offset": "+3" }));
    assert_eq!(world.syncs.taken(), Vec::<String>::new());
    world.patch(&path, json!({ "config": { "bucket": "another" } }));
    assert_eq!(world.syncs.taken(), ["start Manual force=true scope=None"]);
    let over = progress("r1", vec![], None);
    block_on(world.services.control.run_finished(&finished(&connection, &over, "SUCCESSFUL"))).unwrap();
    world.patch(&path, json!({ "config": { "bucket": "third" } }));
    assert_eq!(world.syncs.taken(), Vec::<String>::new(), "nothing runs any more");
}

#[test]
fn bad_destinations_are_refused_and_leave_nothing() {
    let world = World::new();
    let group = world.group("Lake");
    let post = |body: Value| world.post("/v1/destinations", body);
    post(shelf("nobody", json!({ "bucket": "b" }))).refused(404, "NotFound_Group", &["nobody"]);
    post(shelf(&group, json!({}))).refused(400, "InvalidInput", &["config.bucket", "required"]);
    let mut unknown = shelf(&group, json!({ "bucket": "b" }));
    unknown["service"] = json!("tape");
    post(unknown).refused(400, "InvalidInput", &["service", "'tape'", "Use one of: shelf"]);
    let mut zone = shelf(&group, json!({ "bucket": "b" }));
    zone["time_zone_offset"] = json!("+25");
    post(zone).refused(400, "InvalidInput", &["time_zone_offset", "-11 to +12"]);
    let mut agent = shelf(&group, json!({ "bucket": "b" }));
    agent["private_link_id"] = json!("x");
    post(agent).refused(400, "InvalidInput", &["private_link_id", "Leave it out"]);
    let mut vault = shelf(&group, json!({ "bucket": "b" }));
    vault["external_secrets_keys_config"] = json!({ "token": "path/in/vault" });
    post(vault).refused(400, "InvalidInput", &["external_secrets_keys_config", "Leave it out"]);
    world.get(&format!("/v1/destinations/{group}")).refused(404, "NotFound_Destination", &[&group]);
}

#[test]
fn a_second_destination_and_the_loss_of_a_used_one_are_refused() {
    let world = World::new();
    let group = world.group("Lake");
    assert_eq!(world.post("/v1/destinations", shelf(&group, json!({ "bucket": "b" }))).status, 201);
    world.post("/v1/destinations", shelf(&group, json!({ "bucket": "c" }))).refused(
        409,
        "Conflict",
        &["group_id", "already"],
    );
    let connection = world.connection(&group, "shop");
    let path = format!("/v1/destinations/{group}");
    world.delete(&path).refused(409, "IllegalState", &["connections"]);
    world.delete(&format!("/v1/groups/{group}")).refused(409, "IllegalState", &["destination"]);
    assert_eq!(world.delete(&format!("/v1/connections/{connection}")).status, 200);
    assert_eq!(world.delete(&path).status, 200);
    assert_eq!(world.delete(&format!("/v1/groups/{group}")).status, 200);
}
