//! A control plane divided over several databases: nobody who uses it can tell, except by what its ids begin with.

use std::collections::{BTreeMap, BTreeSet};

use fivetran_do::delivery::deliver;
use serde_json::{Value, json};

use crate::harness::{NEW_KEY_OF_TESTS, VAULT_KEY, World, block_on, shop_connection};
use crate::rights::cast;
use crate::webhooks;

const DATABASES: usize = 3;

/// A group in each of the databases, the first one's first.
fn groups(world: &World) -> Vec<String> {
    let mut found = BTreeMap::new();
    // One in three each time: that a hundred miss a database is no matter of luck.
    for number in 0..100 {
        world.clock.advance_seconds(1);
        let id = world.group(&format!("group {number}"));
        found.entry(home(&id)).or_insert(id);
        if found.len() == DATABASES {
            break;
        }
    }
    assert_eq!(found.len(), DATABASES, "new groups are spread over all databases");
    found.into_values().collect()
}

fn home(id: &str) -> char {
    let mut letters = id.chars();
    if letters.next() == Some('0') { letters.next().unwrap() } else { 'a' }
}

/// All pages of a listing: the ids, in order.
fn pages(world: &World, path: &str, limit: usize) -> Vec<String> {
    let (mut ids, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = world.get(&format!("{path}?limit={limit}{cursor}"));
        let items = page.data()["items"].as_array().unwrap();
        assert!(items.len() <= limit);
        ids.extend(items.iter().map(|item| item["id"].as_str().unwrap().to_owned()));
        match page.data()["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return ids,
        }
    }
}

fn run(world: &World, connection: &str, number: u64) {
    assert!(webhooks::run(world, connection, number, "SUCCESSFUL"));
}

/// Delivers what is due, from every database; which connections it told of.
fn told(world: &World) -> Vec<String> {
    let mut told = Vec::new();
    block_on(deliver(&world.services.control, &world.services.ports)).unwrap();
    for request in world.internet.taken() {
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        told.push(body["connector_id"].as_str().unwrap().to_owned());
    }
    told.sort();
    told
}

#[test]
fn lists_across_databases_are_one_list_by_age_whatever_the_pages() {
    let world = World::divided(DATABASES);
    let groups = groups(&world);
    let mut connections = Vec::new();
    for number in 0..12 {
        // Three share a microsecond: then ids decide.
        world.clock.advance_seconds(i64::from(number % 3 == 0));
        connections.push(world.connection(&groups[number % DATABASES], &format!("s{number}")));
    }
    connections.chunks_mut(3).for_each(<[String]>::sort);
    for limit in [1, 2, 5, 12, 100] {
        assert_eq!(pages(&world, "/v1/connections", limit), connections, "in pages of {limit}");
    }
    for group in &groups {
        let own = pages(&world, &format!("/v1/groups/{group}/connections"), 3);
        assert_eq!(own.len(), 4);
        assert!(own.iter().all(|id| home(id) == home(group)), "{own:?} live where their group does");
    }
    let all = pages(&world, "/v1/groups", 2);
    assert!(groups.iter().all(|group| all.contains(group)));
    for group in &groups {
        let destination = json!({ "group_id": group, "service": "lake", "region": "US", "time_zone_offset": "0",
            "config": { "bucket": "b" } });
        let made = world.post("/v1/destinations", destination);
        assert!(made.status < 300 || made.status == 400, "{}", made.json);
    }
    let one = &connections[0];
    assert_eq!(world.get(&format!("/v1/connections/{one}")).data()["id"], json!(one));
}

#[test]
fn a_group_has_one_name_and_goes_when_it_is_empty_wherever_it_lives() {
    let world = World::divided(DATABASES);
    for group in groups(&world) {
        let path = format!("/v1/groups/{group}");
        let name = world.get(&path).data()["name"].as_str().unwrap().to_owned();
        world.post("/v1/groups", json!({ "name": name })).refused(409, "Conflict", &[&name]);
        assert_eq!(world.patch(&path, json!({ "name": format!("{name} anew") })).status, 200);
        assert_eq!(world.post("/v1/groups", json!({ "name": name })).status, 201, "the old name is free");
        let connection = world.connection(&group, "shop");
        world.post("/v1/connections", shop_connection(&group, "shop")).refused(409, "Conflict", &["shop"]);
        assert_eq!(world.delete(&path).status, 409, "something is in it");
        assert_eq!(world.delete(&format!("/v1/connections/{connection}")).status, 200);
        assert_eq!(world.delete(&path).status, 200);
        assert_eq!(world.get(&path).status, 404);
        world.post("/v1/connections", shop_connection(&group, "late")).refused(404, "NotFound_Group", &[]);
    }
    let left = world.others.iter().map(|other| other.dump()).collect::<String>();
    assert!(!left.contains("anew"), "no copy has a name, and none of a group that is gone is left: {left}");
}

#[test]
fn a_deletion_of_a_group_that_died_half_way_can_be_repeated() {
    let world = World::divided(DATABASES);
    let group = groups(&world).pop().unwrap();
    for other in &world.others {
        other.execute(&format!("DELETE FROM groups WHERE id = '{group}'"));
    }
    assert_eq!(world.get(&format!("/v1/groups/{group}")).status, 200);
    assert_eq!(world.delete(&format!("/v1/groups/{group}")).status, 200);
    assert_eq!(world.get(&format!("/v1/groups/{group}")).status, 404);
}

#[test]
fn a_webhook_of_the_account_hears_of_every_database_and_one_of_a_group_of_its_own() {
    let world = World::divided(DATABASES);
    let groups = groups(&world);
    let hook = json!({ "url": "https://hooks.example.com/in", "events": ["sync_end"], "secret": "s3cret" });
    let of_account =
        world.post("/v1/webhooks/account", hook.clone()).data()["id"].as_str().unwrap().to_owned();
    let of_group = world.post(&format!("/v1/webhooks/group/{}", groups[2]), hook);
    assert_eq!(of_group.status, 200, "{}", of_group.json);
    let connections = groups.iter().map(|group| world.connection(group, "shop")).collect::<Vec<_>>();
    world.internet.taken();
    connections.iter().for_each(|id| run(&world, id, 1));
    let mut heard = connections.clone();
    heard.push(connections[2].clone());
    heard.sort();
    assert_eq!(told(&world), heard);
    let log = world.get(&format!("/v1/webhooks/{of_account}/deliveries"));
    assert_eq!(log.data()["items"].as_array().unwrap().len(), DATABASES, "one log over all databases");
    assert!(
        !world.others.iter().any(|other| other.dump().contains("hooks.example.com")),
        "copies know no address"
    );

    // Switched off, it is told nothing, nor what was pending.
    connections.iter().for_each(|id| run(&world, id, 2));
    assert_eq!(world.patch(&format!("/v1/webhooks/{of_account}"), json!({ "active": false })).status, 200);
    connections.iter().for_each(|id| run(&world, id, 3));
    assert_eq!(
        told(&world),
        [connections[2].clone(), connections[2].clone()],
        "only the group's own is told"
    );
    let log = world.get(&format!("/v1/webhooks/{of_account}/deliveries"));
    let states = log.data()["items"].as_array().unwrap().iter().map(|item| item["state"].as_str().unwrap());
    assert_eq!(states.filter(|state| *state == "failed").count(), DATABASES);

    assert_eq!(world.delete(&format!("/v1/webhooks/{of_account}")).status, 200);
    assert!(!world.others.iter().any(|other| other.dump().contains(&of_account)), "its log goes with it");
}

#[test]
fn an_edit_of_a_webhook_that_died_before_its_copies_is_made_good_by_the_next_sweep() {
    let world = World::divided(DATABASES);
    let groups = groups(&world);
    let hook = json!({ "url": "https://hooks.example.com/in", "events": ["sync_end"], "secret": "s3cret" });
    world.post("/v1/webhooks/account", hook);
    let id = world.connection(&groups[1], "shop");
    world.internet.taken();
    world.others[0].execute("DELETE FROM receivers");
    block_on(world.services.control.copy_receivers()).unwrap();
    let copied = world.others[0].dump();
    block_on(world.services.control.copy_receivers()).unwrap();
    assert_eq!(world.others[0].dump(), copied, "where nothing changed nothing is written");
    run(&world, &id, 1);
    assert_eq!(told(&world), [id]);
}

#[test]
fn a_webhook_that_gives_up_on_one_database_is_off_for_all() {
    let world = World::divided(DATABASES);
    let groups = groups(&world);
    let hook = json!({ "url": "https://hooks.example.com/in", "events": ["sync_end"], "secret": "s3cret" });
    let hook = world.post("/v1/webhooks/account", hook).data()["id"].as_str().unwrap().to_owned();
    let connections = groups.iter().map(|group| world.connection(group, "shop")).collect::<Vec<_>>();
    world.internet.taken();
    run(&world, &connections[1], 1);
    // A day and an hour of failures.
    for _ in 0..25 * 12 {
        world.internet.answer_with([500]);
        told(&world);
        world.internet.answers.take();
        world.clock.advance_seconds(5 * 60);
    }
    assert_eq!(world.get(&format!("/v1/webhooks/{hook}")).data()["active"], false);
    connections.iter().for_each(|id| run(&world, id, 2));
    assert!(told(&world).is_empty());
}

#[test]
fn memberships_end_with_the_connection_they_are_of() {
    let world = World::divided(DATABASES);
    let account = block_on(world.services.control.account()).unwrap().id;
    let (user, key) = world.user(&account, "ann", None);
    for group in groups(&world) {
        let id = world.connection(&group, "shop");
        let role = json!({ "id": id, "role": "Connector Reviewer" });
        assert_eq!(world.post(&format!("/v1/users/{user}/connections"), role).status, 201);
        assert_eq!(world.as_key(&key, "GET", &format!("/v1/connections/{id}"), None).status, 200);
        assert_eq!(pages(&world, &format!("/v1/users/{user}/connections"), 10), std::slice::from_ref(&id));
        assert_eq!(world.delete(&format!("/v1/connections/{id}")).status, 200);
        assert!(pages(&world, &format!("/v1/users/{user}/connections"), 10).is_empty());
        world.complete_deletion(&id);
    }
    let kept = block_on(world.services.control.deleted_connections(i64::MAX, 9)).unwrap();
    assert!(kept.is_empty(), "{kept:?}");
}

#[test]
fn a_key_of_the_vault_can_be_taken_out_of_use_in_all_databases() {
    let world = World::divided(DATABASES);
    cast(&world, "cast");
    let mut sealed = Vec::new();
    for group in groups(&world) {
        sealed.push(world.connection(&group, "shop"));
    }
    let rotated = world.with_vault_keys(&format!("{NEW_KEY_OF_TESTS},{VAULT_KEY}"));
    let held = |world: &World, key: &str| {
        let keys = world.get("/v1/vault/keys").data()["items"].as_array().unwrap().clone();
        keys.into_iter().find(|item| item["id"] == key).map(|item| item["held"].clone())
    };
    let old = held(&rotated, "k1").unwrap();
    assert_eq!(old["connections"], json!(sealed.len() + 1), "{old}");
    let mut body = json!({});
    loop {
        let answer = rotated.post("/v1/vault/reseal", body).data().clone();
        match answer.get("next_cursor") {
            Some(cursor) => body = json!({ "cursor": cursor }),
            None => break,
        }
    }
    assert_eq!(held(&rotated, "k1").unwrap(), json!({}));
    assert_eq!(held(&rotated, "k2").unwrap(), old);
    let new_only = world.with_vault_keys(NEW_KEY_OF_TESTS);
    for id in sealed {
        let stored = block_on(new_only.services.control.connection(&id)).unwrap().unwrap();
        assert!(stored.config.open().is_ok(), "{id}");
    }
}

#[test]
fn a_database_that_is_bound_no_more_is_told_from_an_object_that_is_gone() {
    let world = World::divided(DATABASES);
    let groups = groups(&world);
    let ids = groups.iter().map(|group| world.connection(group, "shop")).collect::<Vec<_>>();
    let smaller = world.with_databases(2);
    assert_eq!(smaller.get(&format!("/v1/connections/{}", ids[1])).status, 200);
    smaller.get(&format!("/v1/connections/{}", ids[2])).refused(400, "InvalidInput", &["DB_3"]);
    smaller.get("/v1/connections/0nothing").refused(404, "NotFound_Connection", &[]);
    let homes = ids.iter().map(|id| home(id)).collect::<BTreeSet<_>>();
    assert_eq!(homes.len(), DATABASES);
}
