use serde_json::{Value, json};

use crate::harness::{World, shop_connection};
use crate::shop::SHOWN;

/// Self-signed, for `db.example.com`: DER in base64, and its SHA-256.
const CERTIFICATE: &str = "MIIBrTCCAVOgAwIBAgIURrkFDHTJfRh4ecNx3U7bv3/mAyYwCgYIKoZIzj0EAwIwKzEQMA4GA1UECgwHRXhhbXBsZTEXMBUGA1UE\
    AwwOZGIuZXhhbXBsZS5jb20wIBcNMjYxMTI3MDc1MzM3WhgPMjEyNjExMDMwNzUzMzdaMCsxEDAOBgNVBAoMB0V4YW1wbGUxFzAV\
    BgNVBAMMDmRiLmV4YW1wbGUuY29tMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEFgiymPbXWCEw47Rk6sX5i6NDFPSB8HhIs0f+\
    QqYA7zJ7d4laB17yuMvh2sTnyhhkQsYK8TnQLsQiI/kzr+S2EKNTMFEwHQYDVR0OBBYEFEbliaf4X4N0mdhLh1Y6vUOYpjV0MB8G\
    A1UdIwQYMBaAFEbliaf4X4N0mdhLh1Y6vUOYpjV0MA8GA1UdEwEB/wQFMAMBAf8wCgYIKoZIzj0EAwIDSAAwRQIhAK2zgpwXa5tb\
    w6bngtyTy8NppQ0biJBiGLSPn5lP1jB0AiBx+evPcEJkruOf2Dx8IJNC+sFb1Ak1Ir7R+b9Cvd3P7w==";
const SHA256: &str = "722d3d95f0232c81c5c6a686f5da4b182c8d4c0bf3f13055954e58b82765d0f5";

fn der() -> Vec<u8> {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.decode(CERTIFICATE).unwrap()
}

/// The same certificate for another host, in four places. Nothing in the API looks at its signature.
fn another() -> Vec<u8> {
    let mut der = der();
    let name = b"db.example.com";
    for at in 0..der.len() - name.len() {
        if der[at..].starts_with(name) {
            der[at..at + name.len()].copy_from_slice(b"db.example.org");
        }
    }
    der
}

fn approval() -> Value {
    json!({ "hash": SHA256, "encoded_cert": CERTIFICATE })
}

/// A world with a connection, and the path of its certificates.
fn world() -> (World, String) {
    let world = World::new();
    let group = world.group("Lake");
    let connection = world.connection(&group, "shop");
    (world, format!("/v1/connections/{connection}/certificates"))
}

#[test]
fn a_certificate_that_the_server_shows_is_approved_listed_and_revoked() {
    let (world, path) = world();
    SHOWN.set(Some((der(), false)));
    let made = world.post(&path, approval());
    assert_eq!(made.status, 201, "clients take nothing but 201");
    let data = made.data().clone();
    assert_eq!((&data["hash"], &data["sha256"]), (&json!(SHA256), &json!(SHA256)));
    assert_eq!((&data["name"], &data["type"]), (&json!("O=Example, CN=db.example.com"), &json!("X.509")));
    assert!(data["validated_by"].is_string() && data["validated_date"].is_string());
    assert_eq!(world.get(&path).data()["items"], json!([data]));
    assert_eq!(world.get(&format!("{path}/{SHA256}")).data(), &data);
    // Once more, later, and under the old name: the first approval stands.
    world.clock.advance_seconds(60);
    assert_eq!(world.post(&path.replace("/connections/", "/connectors/"), approval()).data(), &data);
    assert_eq!(world.delete(&format!("{path}/{SHA256}")).status, 200);
    assert_eq!(world.get(&path).data()["items"], json!([]));
    for reply in [world.get(&format!("{path}/{SHA256}")), world.delete(&format!("{path}/{SHA256}"))] {
        reply.refused(404, "NotFound_Certificate", &[SHA256]);
    }
}

#[test]
fn the_answer_has_the_hash_as_it_was_sent_and_finds_it_by_it() {
    let (world, path) = world();
    SHOWN.set(Some((der(), true)));
    let slashes = "ci09lfAjLIHFxqaG9dpLGCyNTAvz8TBVlU5YuCdl0PU=";
    let sent = json!({ "hash": slashes, "encoded_cert": CERTIFICATE });
    assert_eq!(world.post(&path, sent).data()["hash"], slashes);
    let encoded = slashes.replace('/', "%2F").replace('+', "%2B").replace('=', "%3D");
    assert_eq!(world.get(&format!("{path}/{encoded}")).data()["sha256"], SHA256);
    // Another spelling is another approval, and they come page by page, by age.
    world.clock.advance_seconds(1);
    world.post(&path, approval());
    let first = world.get(&format!("{path}?limit=1"));
    assert_eq!(first.data()["items"][0]["hash"], slashes);
    let next = first.data()["next_cursor"].as_str().unwrap();
    let last = world.get(&format!("{path}?limit=1&cursor={next}"));
    assert_eq!(
        (&last.data()["items"][0]["hash"], &last.data()["next_cursor"]),
        (&json!(SHA256), &Value::Null)
    );
    // Approved for this connection, and for no other.
    let group = world.group("Pond");
    let other = path.replace(path.split('/').nth(3).unwrap(), &world.connection(&group, "other"));
    assert_eq!(world.get(&other).data()["items"], json!([]));
    world.delete(&format!("{other}/{SHA256}")).refused(404, "NotFound_Certificate", &[]);
    assert_eq!(world.get(&path).data()["items"].as_array().unwrap().len(), 2);
}

#[test]
fn an_approval_that_would_change_nothing_is_refused_and_not_kept() {
    let (world, path) = world();
    let refused = |status, code, says: &[&str]| {
        world.post(&path, approval()).refused(status, code, says);
        assert_eq!(world.get(&path).data()["items"], json!([]));
    };
    for public in [true, false] {
        SHOWN.set(Some((another(), public)));
        refused(400, "InvalidInput", &["encoded_cert", "CN=db.example.org", "SHA-256"]);
    }
    SHOWN.set(None);
    refused(400, "NotSupported", &["no TLS"]);
    SHOWN.set(Some((der(), true)));
    for (body, says) in [
        (json!({}), "hash"),
        (json!({ "hash": SHA256 }), "encoded_cert"),
        (json!({ "hash": SHA256, "encoded_cert": "hello" }), "encoded_cert"),
        (json!({ "hash": "00", "encoded_cert": CERTIFICATE }), SHA256),
    ] {
        world.post(&path, body).refused(400, "InvalidInput", &[says]);
    }
    assert_eq!(world.get(&path).data()["items"], json!([]));
}

#[test]
fn the_general_endpoint_approves_for_the_connection_it_names() {
    let (world, path) = world();
    SHOWN.set(Some((der(), true)));
    let connection = path.split('/').nth(3).unwrap();
    let with = |more: Value| {
        let mut body = approval();
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        world.post("/v1/certificates", body)
    };
    with(json!({})).refused(400, "InvalidInput", &["connection_id"]);
    with(json!({ "connection_id": "none" })).refused(404, "NotFound_Connection", &["none"]);
    let group = world.group("Pond");
    with(json!({ "destination_id": group })).refused(400, "NotSupported", &["D1 and R2"]);
    assert_eq!(with(json!({ "connection_id": connection })).status, 200);
    assert_eq!(world.get(&path).data()["items"][0]["sha256"], SHA256);
    // They go with the connection.
    world.delete(&format!("/v1/connections/{connection}"));
    assert!(!world.db.dump().contains(SHA256));
}

#[test]
fn what_is_trusted_on_sight_is_approved_with_the_connection_that_asked_for_it() {
    let world = World::new();
    let group = world.group("Lake");
    let approvals = |id: &str| {
        let listed = world.get(&format!("/v1/connections/{id}/certificates"));
        let items = listed.data()["items"].as_array().unwrap().clone();
        items.iter().map(|item| item["sha256"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let create = |name: &str, more: Value| {
        let mut body = shop_connection(&group, name);
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let made = world.post("/v1/connections", body);
        assert_eq!(made.status, 201, "{}", made.json);
        made.data()["id"].as_str().unwrap().to_owned()
    };
    SHOWN.set(Some((der(), false)));
    assert_eq!(approvals(&create("careful", json!({}))), Vec::<String>::new());
    assert_eq!(approvals(&create("cautious", json!({ "trust_certificates": false }))), Vec::<String>::new());
    let trusting = create("trusting", json!({ "trust_certificates": true }));
    assert_eq!(approvals(&trusting), [SHA256]);
    // What is approved already is approved once, and what a public authority vouches for needs no approval.
    let path = format!("/v1/connections/{trusting}");
    assert_eq!(world.post(&format!("{path}/test"), json!({ "trust_certificates": true })).status, 200);
    assert_eq!(approvals(&trusting), [SHA256]);
    SHOWN.set(Some((der(), true)));
    assert_eq!(approvals(&create("public", json!({ "trust_certificates": true }))), Vec::<String>::new());
    // The server got another one.
    SHOWN.set(Some((another(), false)));
    world.clock.advance_seconds(1);
    assert_eq!(world.post(&format!("{path}/test"), json!({})).status, 200);
    assert_eq!(approvals(&trusting), [SHA256]);
    let patched = world.patch(&path, json!({ "trust_certificates": true, "run_setup_tests": true }));
    assert_eq!(patched.status, 200);
    assert_eq!(approvals(&trusting).len(), 2);
    let tested = create("tested", json!({}));
    assert_eq!(
        world.post(&format!("/v1/connections/{tested}/test"), json!({ "trust_certificates": true })).status,
        200
    );
    assert_eq!(approvals(&tested).len(), 1);
    SHOWN.set(None);
    assert_eq!(approvals(&create("plain", json!({ "trust_certificates": true }))), Vec::<String>::new());
}
