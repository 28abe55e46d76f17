use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use fivetran_do::core::limits::API_MAX_BODY_BYTES;
use fivetran_do::core::redact::Secret;
use serde_json::{Value, json};

use crate::harness::{KEY, SECRET, World, basic, block_on, request};

#[test]
fn the_front_door_the_health_and_the_document_need_no_key() {
    let world = World::new();
    for path in ["/", "/healthz", "/v1/openapi.json", "/v1/openapi.json/"] {
        let mut request = request("GET", path, None);
        request.headers.clear();
        assert_eq!(world.send(request).status, 200, "{path}");
    }
    assert_eq!(world.get("/").json["name"], "fivetran.do");
}

#[test]
fn a_worker_that_the_platform_vouches_for_is_the_owner_and_no_header_can_vouch() {
    let world = World::new();
    let mut vouched = request("GET", "/v1/account/info", None);
    vouched.vouched = true;
    vouched.headers.clear();
    assert_eq!(world.send(vouched.clone()).data()["user_id"], "owner");
    // Whoever shows a key is taken for whom it belongs to.
    vouched.headers.push(("Authorization".into(), basic(KEY, "wrong")));
    world.send(vouched).refused(401, "AuthFailed", &[]);
    let mut forged = request("GET", "/v1/account/info", None);
    forged.headers =
        ["vouched", "props", "caller", "cf-worker"].map(|name| (name.into(), "owner".into())).into();
    world.send(forged).refused(401, "AuthFailed", &["Missing authorization header"]);
}

#[test]
fn every_other_path_needs_a_key_that_fits() {
    let world = World::new();
    let document = world.document().clone();
    let paths = document["paths"].as_object().unwrap();
    for (path, methods) in
        paths.iter().filter(|(path, _)| path.starts_with("/v1/") && *path != "/v1/openapi.json")
    {
        for method in methods.as_object().unwrap().keys() {
            let mut bare = request(&method.to_uppercase(), path, None);
            bare.headers.clear();
            world.send(bare).refused(401, "AuthFailed", &["Missing authorization header"]);
        }
    }
    for header in [
        basic(KEY, "wrong"),
        basic("wrong", SECRET),
        basic("", ""),
        format!("Bearer {KEY}"),
        "Basic ???".to_owned(),
        "Basic".to_owned(),
        format!("Basic {}", STANDARD.encode("nocolon")),
        format!("Basic {KEY}:wrong"),
        format!("Basic {}", STANDARD.encode([0xff, b':'])),
    ] {
        let mut bad = request("GET", "/v1/groups", None);
        bad.headers = vec![("authorization".to_owned(), header)];
        world.send(bad).refused(401, "AuthFailed", &["Invalid authorization credentials"]);
    }
    let mut unknown = request("GET", "/v1/nothing", None);
    unknown.headers.clear();
    world.send(unknown).refused(401, "AuthFailed", &["Missing"]);
}

#[test]
fn a_key_of_the_table_works_until_it_is_revoked() {
    let world = World::new();
    let account = block_on(world.services.control.account()).unwrap();
    let key = block_on(world.services.control.create_system_key(&account.id, "ci", &[], None)).unwrap();
    world.secrets.borrow_mut().push(key.api_secret.expose().to_owned());
    assert!(!world.db.dump().contains(key.api_secret.expose()));
    let with = |secret: &Secret| {
        let mut request = request("GET", "/v1/account/info", None);
        request.headers = vec![("authorization".to_owned(), basic(&key.api_key, secret.expose()))];
        world.send(request)
    };
    assert_eq!(with(&key.api_secret).data()["system_key_id"], key.id.as_str());
    assert_eq!(with(&Secret::new("guess")).status, 401);
    assert!(block_on(world.services.control.revoke_system_key(&key.id)).unwrap());
    assert_eq!(with(&key.api_secret).status, 401);
}

#[test]
fn an_empty_root_key_lets_nobody_in() {
    let mut world = World::new();
    world.services.root_key.api_key = Secret::new("");
    world.services.root_key.api_secret = Secret::new("");
    let mut bare = request("GET", "/v1/groups", None);
    bare.headers = vec![("authorization".to_owned(), basic("", ""))];
    world.send(bare).refused(401, "AuthFailed", &["Invalid"]);
}

#[test]
fn unknown_paths_and_methods_are_told_in_the_envelope() {
    let world = World::new();
    for path in [
        "/v1/nothing",
        "/v1",
        "/v2",
        "/v2/nothing",
        "/v3/groups",
        "/v1/groups/a/b/c",
        "/v1//groups",
        "/etc/passwd",
    ] {
        world.get(path).refused(404, "NotFound", &["openapi.json"]);
    }
    world.get("/v1/groups/../users").refused(404, "NotFound_Group", &["'..'"]);
    world.get("/v1/groups/%ff").refused(400, "InvalidInput", &["group_id", "UTF-8"]);
    let wrong = world.send(request("PUT", "/v1/groups", None));
    wrong.refused(405, "MethodNotAllowed", &["PUT"]);
    assert_eq!(wrong.header("allow"), Some("GET, POST, HEAD, OPTIONS"));
    let mut options = request("OPTIONS", "/v1/connectors/x", None);
    options.headers.clear();
    let options = world.send(options);
    assert_eq!((options.status, options.header("allow")), (200, Some("GET, PATCH, DELETE, HEAD, OPTIONS")));
    let head = world.send(request("HEAD", "/v1/groups", None));
    assert_eq!((head.status, &head.json), (200, &Value::Null));
    assert!(head.header("content-type").is_some());
}

#[test]
fn every_answer_carries_an_id_of_its_own() {
    let world = World::new();
    let (one, two) = (world.get("/v1/groups"), world.get("/v1/nothing"));
    let ids = [one.header("x-request-id").unwrap(), two.header("x-request-id").unwrap()];
    assert!(ids[0].len() == 16 && ids[0] != ids[1], "{ids:?}");
}

#[test]
fn bodies_are_judged_before_they_are_read() {
    let world = World::new();
    let post = |body: Vec<u8>, content_type: &str| {
        let mut request = request("POST", "/v1/groups", None);
        request.headers.retain(|(name, _)| name == "Authorization");
        if !content_type.is_empty() {
            request.headers.push(("content-type".to_owned(), content_type.to_owned()));
        }
        request.body = Bytes::from(body);
        world.send(request)
    };
    let good = || json!({ "name": "x" }).to_string().into_bytes();
    post(b"{\"name\":\n  oops}".to_vec(), "application/json").refused(
        400,
        "InvalidInput",
        &["line 2 column 3"],
    );
    post(b"[1]".to_vec(), "application/json").refused(400, "InvalidInput", &["object"]);
    post(b"{\"name\": \"\xff\"}".to_vec(), "application/json").refused(
        400,
        "InvalidInput",
        &["UTF-8", "byte 10"],
    );
    post("[".repeat(100_000).into_bytes(), "application/json").refused(400, "InvalidInput", &["not JSON"]);
    post(vec![b' '; 10_000_000], "application/json").refused(
        413,
        "PayloadTooLarge",
        &[&API_MAX_BODY_BYTES.to_string()],
    );
    post(good(), "text/xml").refused(415, "UnsupportedMediaType", &["Content-Type", "application/json"]);
    assert_eq!(post(good(), "application/json;version=2").status, 201);
    post(Vec::new(), "").refused(400, "InvalidInput", &["name", "required"]);
    post(good(), "").refused(409, "Conflict", &["name"]);
}

#[test]
fn only_an_accept_that_json_cannot_meet_is_refused() {
    let world = World::new();
    for (accept, status) in [
        ("*/*", 200),
        ("application/json", 200),
        ("application/json;version=2", 200),
        ("application/json; version=2", 200),
        ("text/html, application/*;q=0.5", 200),
        ("text/html", 406),
    ] {
        let mut request = request("GET", "/v1/groups", None);
        request.headers.push(("accept".to_owned(), accept.to_owned()));
        assert_eq!(world.send(request).status, status, "{accept}");
    }
}

#[test]
fn connector_types_are_listed_with_their_schema() {
    let world = World::new();
    let list = world.get("/v1/metadata/connector-types");
    assert_eq!(list.data()["items"][0]["id"], "shop");
    let one = world.get("/v1/metadata/connector-types/shop");
    assert_eq!(one.data()["config"]["properties"]["host"]["type"], "string");
    world.get("/v1/metadata/connector-types/fax").refused(404, "NotFound_Service", &["fax"]);
}

#[test]
fn the_document_is_complete_and_consistent() {
    let world = World::new();
    let document = world.document();
    assert_eq!(document["openapi"], "3.1.0");
    let mut ids = std::collections::BTreeSet::new();
    let schemas = document["components"]["schemas"].as_object().unwrap();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            assert!(ids.insert(operation["operationId"].as_str().unwrap().to_owned()), "{method} {path}");
        }
        let old = path.replace("/connections", "/connectors");
        assert!(document["paths"].get(&old).is_some(), "{old}");
    }
    let text = document.to_string();
    for reference in text.split("\"#/components/schemas/").skip(1) {
        let name = reference.split('"').next().unwrap();
        assert!(schemas.contains_key(name), "{name}");
    }
    assert!(!text.contains("$defs"));
}
