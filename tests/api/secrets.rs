use fivetran_do::control::Vault;
use fivetran_do::core::redact::Secret;
use serde_json::json;
use std::rc::Rc;

use crate::harness::{TestRandom, VAULT_KEY, World, block_on, shop_connection};
use crate::shop;

const NEW_KEY: &str = "k2:ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA=";

fn vault(keys: &str) -> Vault {
    Vault::new(&Secret::new(keys), Rc::new(TestRandom)).unwrap()
}

#[test]
fn i6_no_secret_is_in_any_table_answer_log_line_or_debug_print() {
    let world = World::new();
    let secrets = ["hunter2secret", "t0ken-one", "t0ken-two", "tunnel-key-xyz", "header-value-q"];
    world.secrets.borrow_mut().extend(secrets.map(str::to_owned));
    let group = world.group("Lake");
    world.post(
        "/v1/destinations",
        json!({ "group_id": group, "service": "shelf", "config": { "bucket": "b", "token": secrets[1] } }),
    );
    let mut body = shop_connection(&group, "shop");
    body["config"]["tokens"] = json!([secrets[1], secrets[2]]);
    body["config"]["tunnel"] = json!({ "user": "u", "key": secrets[3] });
    body["config"]["headers"] = json!({ "x-api-key": secrets[4] });
    let created = world.post("/v1/connections", body.clone());
    let config = created.data()["config"].clone();
    assert_eq!(config["tokens"], json!(["******", "******"]));
    assert_eq!(config["tunnel"], json!({ "user": "u", "key": "******" }));
    let path = format!("/v1/connections/{}", created.data()["id"].as_str().unwrap());
    // Failing tests, a refused duplicate, refused edits, and everything that reads.
    world.patch(&path, json!({ "config": { "password": secrets[0] } }));
    world.post("/v1/connections", body);
    world.patch(&path, json!({ "config": { "port": secrets[0] } }));
    world.patch(&path, json!({ "config": { "tunnel": secrets[0] } }));
    world.patch(&path, json!({ "config": { "host": { "oops": secrets[0] } } }));
    world.patch(&path, json!({ "config": { "unknown": secrets[0] } }));
    world.post(&format!("{path}/schemas/reload"), json!({}));
    world.post(&format!("{path}/test"), json!({}));
    for path in
        [path.as_str(), "/v1/connections", "/v1/destinations", &format!("/v1/groups/{group}/connections")]
    {
        world.get(path);
    }
    let id = path.rsplit('/').next().unwrap();
    let stored = block_on(world.services.control.connection(id)).unwrap().unwrap();
    let seen = format!("{}\n{stored:?}\n{:?}", world.db.dump(), world.services.root_key);
    for secret in world.secrets.borrow().iter() {
        assert!(!seen.contains(secret.as_str()), "{secret} in {seen}");
    }
    assert_eq!(stored.config.open().unwrap()["tunnel"]["key"], secrets[3]);
}

#[test]
fn i6_a_masked_configuration_sent_back_changes_nothing() {
    let world = World::new();
    let group = world.group("Lake");
    let id = world.connection(&group, "shop");
    let path = format!("/v1/connections/{id}");
    let masked = world.get(&path).data()["config"].clone();
    assert_eq!(world.patch(&path, json!({ "config": masked })).data()["status"]["setup_state"], "connected");
    let stored = block_on(world.services.control.connection(&id)).unwrap().unwrap();
    assert_eq!(stored.config.open().unwrap()["password"], shop::PASSWORD);
}

#[test]
fn keys_rotate_without_losing_a_secret() {
    let world = World::new();
    let group = world.group("Lake");
    let id = world.connection(&group, "shop");
    assert!(world.db.dump().contains("v1.k1."));
    let rotated = world.with_vault_keys(&format!("{NEW_KEY},{VAULT_KEY}"));
    let path = format!("/v1/connections/{id}");
    assert_eq!(rotated.post(&format!("{path}/test"), json!({})).data()["status"]["setup_state"], "connected");
    rotated.patch(&path, json!({ "config": { "host": "db2" } }));
    assert!(world.db.dump().contains("v1.k2.") && !world.db.dump().contains("v1.k1."), "an edit seals anew");
    let new_only = world.with_vault_keys(NEW_KEY);
    assert_eq!(
        new_only.post(&format!("{path}/test"), json!({})).data()["status"]["setup_state"],
        "connected"
    );
    // The old key alone cannot open it, says which key is missing, and everything else goes on.
    let old_only = world.with_vault_keys(VAULT_KEY);
    let refused = old_only.post(&format!("{path}/test"), json!({}));
    refused.refused(500, "InternalError", &["'k2'", "FIVETRAN_VAULT_KEYS"]);
    assert!(refused.fault.is_some());
    assert_eq!(old_only.get(&path).status, 200);
}

#[test]
fn a_sealed_value_opens_only_in_its_place_unaltered() {
    let vault = vault(VAULT_KEY);
    let sealed = vault.seal("connections/a", b"secret").unwrap();
    assert_eq!(vault.open("connections/a", &sealed).unwrap(), b"secret");
    assert_ne!(sealed, vault.seal("connections/a", b"secret").unwrap(), "a nonce is used once");
    assert!(vault.open("connections/b", &sealed).is_err());
    for at in 0..sealed.len() {
        let mut bytes = sealed.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        assert!(vault.open("connections/a", &String::from_utf8(bytes).unwrap()).is_err(), "byte {at}");
    }
    for cut in 0..sealed.len() {
        assert!(vault.open("connections/a", &sealed[..cut]).is_err(), "cut at {cut}");
    }
}

#[test]
fn bad_vault_keys_are_named() {
    for (keys, says) in [
        ("", "empty"),
        ("nocolon", "no ':'"),
        (":AAAA", "key id"),
        ("k.1:AAAA", "key id"),
        ("k1:%%%", "'k1' is not base64"),
        ("k1:AAAA", "3 bytes, not 32"),
        (
            "k1:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=,k1:ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA=",
            "'k1' is there twice",
        ),
    ] {
        let error = Vault::new(&Secret::new(keys), Rc::new(TestRandom)).unwrap_err();
        assert_eq!(error.field_name(), Some("FIVETRAN_VAULT_KEYS"));
        assert!(error.to_string().contains(says), "{error}");
        assert!(!error.to_string().contains("AAAA"));
    }
}
