//! Bad input on every route of the table: a 4xx of the documented kind, in the envelope.

use bytes::Bytes;
use fivetran_do::core::limits::API_MAX_BODY_BYTES;
use serde_json::{Value, json};

use crate::harness::{Reply, World, request};
use crate::rights::{Cast, cast, operations};

struct Stage {
    world: World,
    cast: Cast,
}

impl Stage {
    fn new() -> Self {
        let world = World::new();
        let cast = cast(&world, "stage");
        Self { world, cast }
    }

    /// Method, template and operation of every guarded route.
    fn routes(&self) -> Vec<(String, String, Value)> {
        let operation = |method: &str, path: &str| self.world.document()["paths"][path][method].clone();
        let all = operations(&self.world).into_iter();
        all.map(|(method, path)| (method.to_uppercase(), path.clone(), operation(&method, &path))).collect()
    }

    fn with_body(&self) -> Vec<(String, String, Value)> {
        self.routes().into_iter().filter(|(_, _, operation)| operation.get("requestBody").is_some()).collect()
    }

    fn send(&self, method: &str, template: &str, body: Bytes, content_type: &str) -> Reply {
        let mut request = request(method, &self.cast.path(template), None);
        request.headers.retain(|(name, _)| name == "Authorization");
        if !content_type.is_empty() {
            request.headers.push(("Content-Type".to_owned(), content_type.to_owned()));
        }
        request.body = body;
        self.world.send(request)
    }
}

const JSON: &str = "application/json";

#[test]
fn no_route_takes_a_body_that_is_not_a_json_object() {
    let stage = Stage::new();
    let nested = "[".repeat(100_000);
    let bodies: [(&[u8], &str, u16, &str); 8] = [
        (b"{", JSON, 400, "InvalidInput"),
        (b"[]", JSON, 400, "InvalidInput"),
        (b"null", "application/json;version=2", 400, "InvalidInput"),
        (b"\"text\"", JSON, 400, "InvalidInput"),
        (b"{\"a\": \"\xff\"}", JSON, 400, "InvalidInput"),
        (b"{} {}", JSON, 400, "InvalidInput"),
        (nested.as_bytes(), JSON, 400, "InvalidInput"),
        (b"name=x", "application/x-www-form-urlencoded", 415, "UnsupportedMediaType"),
    ];
    let routes = stage.with_body();
    assert!(routes.len() > 60, "{}", routes.len());
    for (method, path, _) in &routes {
        for (body, content_type, status, code) in bodies {
            let reply = stage.send(method, path, Bytes::copy_from_slice(body), content_type);
            assert_eq!(
                (reply.status, &reply.json["code"]),
                (status, &json!(code)),
                "{method} {path} {}",
                reply.json
            );
        }
    }
}

#[test]
fn no_route_reads_a_body_beyond_the_limit() {
    let stage = Stage::new();
    let body = Bytes::from(vec![b' '; API_MAX_BODY_BYTES + 1]);
    for (method, path, _) in stage.with_body() {
        stage.send(&method, &path, body.clone(), JSON).refused(413, "PayloadTooLarge", &["smaller"]);
    }
}

#[test]
fn a_field_of_the_wrong_type_is_refused_on_every_route() {
    let stage = Stage::new();
    let mut fields = 0;
    for (method, path, operation) in stage.with_body() {
        let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
        let name = schema["$ref"].as_str().and_then(|reference| reference.rsplit('/').next());
        let schema = name.map_or(schema, |name| &stage.world.document()["components"]["schemas"][name]);
        for (field, rules) in schema["properties"].as_object().into_iter().flatten() {
            let kinds = rules["type"].to_string();
            let scalar = ["string", "integer", "boolean", "number"].iter().any(|kind| kinds.contains(kind));
            for wrong in [json!({ "x": [] }), json!([[1]])] {
                let body = Bytes::from(json!({ field.as_str(): wrong }).to_string());
                let reply = stage.send(&method, &path, body, JSON);
                assert!(reply.status < 500, "{method} {path} {field} {}", reply.json);
                if scalar {
                    fields += 1;
                    reply.refused(400, "InvalidInput", &[]);
                }
            }
        }
    }
    assert!(fields > 200, "{fields}");
}

#[test]
fn unknown_fields_and_a_missing_content_type_do_no_harm() {
    let stage = Stage::new();
    for (method, path, _) in stage.with_body() {
        for content_type in ["", JSON] {
            let body =
                Bytes::from(json!({ "no_such_field": { "deep": [1, null] }, "__proto__": 1 }).to_string());
            let reply = stage.send(&method, &path, body, content_type);
            assert!(reply.status < 500 && reply.status != 415, "{method} {path} {}", reply.json);
        }
    }
}

#[test]
fn every_list_refuses_a_page_there_cannot_be() {
    let stage = Stage::new();
    let mut lists = 0;
    for (method, path, operation) in stage.routes() {
        let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
        if !parameters.iter().any(|parameter| parameter["name"] == "cursor") {
            continue;
        }
        for (query, field) in [
            ("limit=0", "limit"),
            ("limit=1001", "limit"),
            ("limit=1e3", "limit"),
            ("limit=-1", "limit"),
            ("cursor=%ff", "cursor"),
            ("cursor=e30", "cursor"),
            ("cursor=eyJ0IjoibGF0ZXIiLCJpIjoxfQ", "cursor"),
        ] {
            let reply =
                stage.world.send(request(&method, &format!("{}?{query}", stage.cast.path(&path)), None));
            // What has no schema configuration yet says that first.
            if reply.json["code"] != "NotFound_SchemaConfig" {
                reply.refused(400, "InvalidInput", &[field]);
            }
            lists += 1;
        }
    }
    assert!(lists > 150, "{lists}");
}

#[test]
fn tricks_in_a_path_find_nothing_on_any_route() {
    let stage = Stage::new();
    let long = "x".repeat(5_000);
    let tricks =
        ["..", "%2e%2e", "%00", "a%2Fb", "'; DROP TABLE groups; --", "%F0%9F%92%A9", "%ff", long.as_str()];
    let before = stage.world.get("/v1/groups").json;
    for (method, path, _) in stage.routes() {
        let parts = path.split('/').filter(|part| part.starts_with('{')).collect::<Vec<_>>();
        for part in parts {
            for trick in tricks {
                let tricked = stage.cast.path(&path.replace(part, trick));
                let reply =
                    stage.world.send(request(&method, &tricked, (method != "GET").then(|| json!({}))));
                assert!((400..500).contains(&reply.status), "{method} {tricked} {}", reply.json);
            }
        }
    }
    assert_eq!(stage.world.get("/v1/groups").json, before);
}

#[test]
fn every_route_refuses_an_accept_that_json_cannot_meet() {
    let stage = Stage::new();
    for (method, path, _) in stage.routes() {
        let mut request = request(&method, &stage.cast.path(&path), None);
        request.headers.push(("Accept".to_owned(), "text/html".to_owned()));
        stage.world.send(request).refused(406, "NotAcceptable", &["JSON"]);
    }
}
