//! Taking a key of the vault out of use: everything is sealed anew, and a report says when that is so.

use serde_json::{Value, json};

use crate::concurrent::{at_once, interleaved_with, schedules};
use crate::harness::{Reply, VAULT_KEY, World, block_on, request, shop_connection};
use crate::rights::{Cast, cast};
use crate::shop;

const NEW_KEY: &str = crate::harness::NEW_KEY_OF_TESTS;

fn both() -> String {
    format!("{NEW_KEY},{VAULT_KEY}")
}

/// A Worker that was not deployed anew yet: it opens what the new key sealed, and seals with the old one.
fn behind(world: &World) -> World {
    world.with_vault_keys(&format!("{VAULT_KEY},{NEW_KEY}"))
}

/// Something in every sealed column, sealed with the first key.
fn furnished(world: &World) -> Cast {
    let cast = cast(world, "shop");
    block_on(world.services.control.hash_salt(&cast.group)).unwrap();
    let mut once = request("POST", "/v1/teams", Some(json!({ "name": "once" })));
    once.headers.push(("Idempotency-Key".into(), "k/e.y".into()));
    assert_eq!(world.send(once).status, 201);
    cast
}

/// The whole pass, call by call: its answers.
fn reseal(world: &World) -> Vec<Value> {
    let mut answers = vec![];
    let mut body = json!({});
    loop {
        let answer = world.post("/v1/vault/reseal", body).data().clone();
        answers.push(answer.clone());
        match answer.get("next_cursor") {
            Some(cursor) => body = json!({ "cursor": cursor }),
            None => return answers,
        }
    }
}

fn resealed(answers: &[Value]) -> u64 {
    answers.iter().map(|answer| answer["resealed"].as_u64().unwrap()).sum()
}

fn keys(world: &World) -> Vec<Value> {
    world.get("/v1/vault/keys").data()["items"].as_array().unwrap().clone()
}

#[test]
fn after_a_pass_every_sealed_column_opens_without_the_old_key() {
    let world = World::new();
    let cast = furnished(&world);
    let salt = block_on(world.services.control.hash_salt(&cast.group)).unwrap();
    let project = world.get(&format!("/v1/transformations/{}", cast.transformation)).data().clone();
    let columns = world.db.columns("_sealed");
    let empty = columns.iter().filter(|(_, texts)| texts.is_empty()).collect::<Vec<_>>();
    assert!(columns.len() >= 6 && empty.is_empty(), "nothing is sealed in {empty:?}");
    let values = columns.iter().map(|(_, texts)| texts.len() as u64).sum::<u64>();

    let rotated = world.with_vault_keys(&both());
    assert_eq!(resealed(&reseal(&rotated)), values);
    for (column, texts) in world.db.columns("_sealed") {
        assert!(texts.iter().all(|text| text.starts_with("v1.k2.")), "{column} still needs the old key");
    }
    assert_eq!(resealed(&reseal(&rotated)), 0, "a second pass finds nothing to do");

    let new_only = world.with_vault_keys(NEW_KEY);
    let stored = block_on(new_only.services.control.connection(&cast.connection)).unwrap().unwrap();
    assert_eq!(stored.config.open().unwrap()["password"], shop::PASSWORD);
    let stored = block_on(new_only.services.control.destination(&cast.group)).unwrap().unwrap();
    assert_eq!(stored.config.open().unwrap()["bucket"], "b");
    assert_eq!(block_on(new_only.services.control.hash_salt(&cast.group)).unwrap(), salt);
    assert_eq!(*new_only.get(&format!("/v1/transformations/{}", cast.transformation)).data(), project);
    let log = new_only.post(&format!("/v1/external-logging/{}/test", cast.group), json!({}));
    assert_eq!(log.status, 200, "{}", log.json);
    let mut once = request("POST", "/v1/teams", Some(json!({ "name": "once" })));
    once.headers.push(("Idempotency-Key".into(), "k/e.y".into()));
    assert_eq!(new_only.send(once).header("idempotent-replayed"), Some("true"));
}

#[test]
fn the_report_says_what_each_key_holds_and_when_one_may_be_removed() {
    let world = World::new();
    let cast = furnished(&world);
    let rotated = world.with_vault_keys(&both());
    let summary = |items: &[Value]| {
        items.iter().map(|key| json!([key["id"], key["seals"], key["may_be_removed"]])).collect::<Vec<_>>()
    };
    let before = keys(&rotated);
    assert_eq!(summary(&before), [json!(["k2", true, false]), json!(["k1", false, false])]);
    assert_eq!(before[0]["sealed"], 0);
    let held = json!({ "connections": 1, "destinations": 1, "hash_salts": 1, "webhooks_and_log_services": 2,
        "transformations": 2, "idempotent_answers": 1 });
    assert_eq!((&before[1]["held"], &before[1]["sealed"]), (&held, &json!(8)));
    reseal(&rotated);
    let after = keys(&rotated);
    assert_eq!(summary(&after), [json!(["k2", true, false]), json!(["k1", false, true])]);
    assert_eq!(after[0]["held"], held);
    // Whoever removes it too early is told what cannot be read.
    let path = format!("/v1/connections/{}", cast.connection);
    behind(&world).patch(&path, json!({ "config": { "host": "old-key" } })).data();
    let too_early = keys(&world.with_vault_keys(NEW_KEY));
    assert_eq!(
        [&too_early[1]["id"], &too_early[1]["configured"], &too_early[1]["sealed"]],
        [&json!("k1"), &json!(false), &json!(1)]
    );
}

#[test]
fn a_pass_over_many_values_is_made_in_steps_and_goes_on_where_it_was_ended() {
    let world = World::new();
    let group = world.group("Lake");
    for at in 0..230 {
        assert_eq!(world.post("/v1/connections", shop_connection(&group, &format!("s{at}"))).status, 201);
    }
    let rotated = world.with_vault_keys(&both());
    let first = rotated.post("/v1/vault/reseal", json!({})).data().clone();
    assert_eq!(first["resealed"], 200);
    assert!(first["next_cursor"].is_string());
    // Ended here, and begun anew.
    let answers = reseal(&rotated);
    assert_eq!(resealed(&answers), 30);
    assert_eq!(keys(&rotated)[1]["may_be_removed"], true);
}

#[test]
fn a_value_that_does_not_open_is_named_left_alone_and_holds_up_nothing() {
    let world = World::new();
    let cast = furnished(&world);
    // Cut short, in another format, and sealed with a key that nobody has. Cut, because letters put in the place of others
    // are the same ones once in four thousand runs.
    world.db.execute(
        "UPDATE destinations SET config_sealed = substr(config_sealed, 1, length(config_sealed) - 4)",
    );
    world.db.execute("UPDATE destinations SET hash_salt_sealed = 'nonsense'");
    world.db.execute("UPDATE receivers SET config_sealed = replace(config_sealed, 'v1.k1.', 'v1.k0.') WHERE service = 'webhook'");
    let before = world.db.columns("config_sealed");
    let rotated = world.with_vault_keys(&both());
    let answers = reseal(&rotated);
    let unopened =
        answers.iter().flat_map(|answer| answer["unopened"].as_array().unwrap()).collect::<Vec<_>>();
    let places = unopened.iter().map(|value| value["place"].as_str().unwrap()).collect::<Vec<_>>();
    let group = &cast.group;
    assert_eq!(places[..2], [format!("destinations/{group}"), format!("destinations/{group}/hash_salt")]);
    assert!(places.len() == 3 && places[2].starts_with("receivers/"), "{places:?}");
    assert!(unopened[2]["reason"].as_str().unwrap().contains("'k0'"), "{unopened:?}");
    assert_eq!(resealed(&answers), 5);
    let [destination] =
        ["destinations.config_sealed"].map(|name| before.iter().find(|(column, _)| column == name));
    assert!(world.db.columns("config_sealed").contains(destination.unwrap()), "what does not open is kept");
    let report = keys(&rotated);
    let ids = report.iter().map(|key| (key["id"].as_str().unwrap(), key["sealed"].as_u64().unwrap()));
    assert_eq!(ids.collect::<Vec<_>>(), [("k2", 5), ("k1", 1), ("", 1), ("k0", 1)]);
    assert_eq!(report[1]["may_be_removed"], false);
}

#[test]
fn an_edit_during_a_pass_is_not_lost_and_nothing_ends_under_the_old_key() {
    let plain = World::new();
    let group = plain.group("Lake");
    let path = format!("/v1/connections/{}", plain.connection(&group, "shop"));
    let rotated = plain.with_vault_keys(&both());
    let world = interleaved_with(&plain, &both());
    for (at, schedule) in schedules().enumerate() {
        behind(&plain).patch(&path, json!({ "config": { "host": format!("before{at}") } })).data();
        // One edit brings a new configuration, the other leaves it as it is and must not bring the old sealing back.
        let edit = if at % 2 == 0 {
            json!({ "config": { "host": format!("db{at}") } })
        } else {
            json!({ "sync_frequency": if at % 4 == 1 { 5 } else { 15 } })
        };
        let pass = request("POST", "/v1/vault/reseal", Some(json!({})));
        let answers = at_once(&world, schedule, [request("PATCH", &path, Some(edit.clone())), pass]);
        assert_eq!((answers[0].0, answers[1].0), (200, 200), "{schedule:b} {answers:?}");
        let host = if at % 2 == 0 { format!("db{at}") } else { format!("before{at}") };
        assert_eq!(rotated.get(&path).data()["config"]["host"], host, "{schedule:b}");
        let id = path.rsplit('/').next().unwrap();
        let stored = block_on(rotated.services.control.connection(id)).unwrap().unwrap();
        assert_eq!(stored.config.open().unwrap()["host"], host, "{schedule:b}");
        assert_eq!(keys(&rotated)[1]["may_be_removed"], true, "{schedule:b}: {:?}", keys(&rotated));
    }
}

#[test]
fn a_cursor_that_is_not_ours_is_refused_and_one_beyond_the_end_finds_nothing() {
    let world = World::new();
    let refused = |cursor: &str| -> Reply { world.post("/v1/vault/reseal", json!({ "cursor": cursor })) };
    refused("x").refused(400, "InvalidInput", &["cursor"]);
    // {"column":99,"after":["a","b","c"]}
    let beyond = "eyJjb2x1bW4iOjk5LCJhZnRlciI6WyJhIiwiYiIsImMiXX0";
    assert_eq!(*refused(beyond).data(), json!({ "resealed": 0, "unopened": [] }));
}
