use std::rc::Rc;

use serde_json::{Value, json};

use crate::harness::{Reply, World, block_on, request, shop_connection};
use crate::shop::MEANWHILE;

fn post(world: &World, path: &str, key: &str, body: Value) -> Reply {
    let mut request = request("POST", path, Some(body));
    request.headers.push(("Idempotency-Key".to_owned(), key.to_owned()));
    world.send(request)
}

fn groups(world: &World) -> usize {
    world.get("/v1/groups").data()["items"].as_array().unwrap().len()
}

#[test]
fn a_repeated_create_is_answered_and_not_done_again() {
    let world = World::new();
    let body = json!({ "name": "ci" });
    let first = post(&world, "/v1/system-keys", "k1", body.clone());
    let secret = first.data()["secret"].as_str().unwrap().to_owned();
    assert_eq!((first.status, first.header("idempotent-replayed")), (201, None));
    let again = post(&world, "/v1/system-keys", "k1", body.clone());
    assert_eq!((again.status, again.header("idempotent-replayed")), (201, Some("true")));
    assert_eq!(again.json, first.json);
    assert_eq!(world.get("/v1/system-keys").data()["items"].as_array().unwrap().len(), 1);
    // I6: a stored answer is sealed, since it tells a secret.
    assert!(!world.db.dump().contains(&secret));
    let other = post(&world, "/v1/system-keys", "k2", body);
    assert_ne!(other.data()["id"], first.data()["id"]);
}

#[test]
fn another_request_under_the_same_key_is_refused_and_keys_of_others_do_not_count() {
    let world = World::new();
    assert_eq!(post(&world, "/v1/groups", "k", json!({ "name": "a" })).status, 201);
    for (path, body) in [("/v1/groups", json!({ "name": "b" })), ("/v1/teams", json!({ "name": "a" }))] {
        post(&world, path, "k", body).refused(422, "IdempotencyKeyReused", &["new key"]);
    }
    assert_eq!(groups(&world), 1);
    let (_, theirs) = world.user("account", "ada", Some("Account Administrator"));
    let mut request = request("POST", "/v1/groups", Some(json!({ "name": "b" })));
    request.headers[0].1 = crate::harness::basic(&theirs.api_key, theirs.api_secret.expose());
    request.headers.push(("idempotency-key".to_owned(), "k".to_owned()));
    assert_eq!(world.send(request).status, 201);
    post(&world, "/v1/groups", &"k".repeat(256), json!({ "name": "c" })).refused(
        400,
        "InvalidInput",
        &["Idempotency-Key"],
    );
}

#[test]
fn a_refused_request_may_be_mended_under_its_key() {
    let world = World::new();
    world.group("taken");
    let body = json!({ "name": "taken" });
    assert_eq!(post(&world, "/v1/groups", "k", body.clone()).status, 409);
    let group = world.get("/v1/groups").data()["items"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(world.delete(&format!("/v1/groups/{group}")).status, 200);
    assert_eq!(post(&world, "/v1/groups", "k", body).status, 201);
}

#[test]
fn answers_are_forgotten_after_a_day_and_the_sweep_deletes_them() {
    let world = World::new();
    assert_eq!(post(&world, "/v1/groups", "k", json!({ "name": "a" })).status, 201);
    assert_eq!(post(&world, "/v1/groups", "old", json!({ "name": "old" })).status, 201);
    world.clock.advance_seconds(24 * 3_600 - 1);
    let replayed = post(&world, "/v1/groups", "k", json!({ "name": "a" }));
    assert_eq!(replayed.header("idempotent-replayed"), Some("true"));
    world.clock.advance_seconds(1);
    assert_eq!(post(&world, "/v1/groups", "k", json!({ "name": "b" })).status, 201);
    block_on(world.services.control.tidy_answers(world.clock.0.get())).unwrap();
    let kept = world.db.dump();
    let kept = kept.lines().filter(|line| line.starts_with("idempotent_answers")).collect::<Vec<_>>();
    assert!(kept.len() == 1 && kept[0].contains("\"k\""), "{kept:?}");
}

#[test]
fn of_two_at_once_one_creates_and_the_other_waits() {
    let world = Rc::new(World::new());
    let group = world.group("Lake");
    let body = shop_connection(&group, "shop");
    let (inner, repeated) = (world.clone(), body.clone());
    let seen = Rc::new(std::cell::RefCell::new(None));
    let told = seen.clone();
    // While the first one tests the connection, the second one comes.
    MEANWHILE.with(|meanwhile| {
        meanwhile.replace(Some(Box::new(move || {
            told.replace(Some(post(&inner, "/v1/connections", "k", repeated)));
        })));
    });
    let first = post(&world, "/v1/connections", "k", body.clone());
    assert_eq!(first.status, 201);
    let second = seen.take().unwrap();
    second.refused(409, "IdempotencyKeyInUse", &["again"]);
    assert_eq!(second.header("retry-after"), Some("1"));
    assert_eq!(post(&world, "/v1/connections", "k", body).json, first.json);
    assert_eq!(world.get("/v1/connections").data()["items"].as_array().unwrap().len(), 1);
}
