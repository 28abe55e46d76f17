//! Bad input on every route of the document: each is refused in the envelope with a code, and nothing was done.

use serde_json::{Value, json};

use crate::harness::{Reply, World, request};
use crate::rights::{Cast, cast};
use crate::shop;

/// One operation, and a path on which everything exists.
struct Operation {
    method: String,
    template: String,
    path: String,
    schema: Option<Value>,
    paged: bool,
}

/// A world with one of everything, and every operation of `/v1`.
fn furnished() -> (World, Vec<Operation>, Cast) {
    let world = World::new();
    shop::offer(vec![shop::table("public", "users", &["email"])]);
    let cast = cast(&world, "shop");
    world.post(&cast.path("/v1/connections/{connection_id}/schemas/reload"), json!({})).data();
    let there = |template: &str| {
        let known = [("{schema}", "public"), ("{table}", "users"), ("{column}", "email")];
        cast.path(&known.iter().fold(template.to_owned(), |path, (part, name)| path.replace(part, name)))
    };
    let document = world.document();
    let mut operations = Vec::new();
    for (template, methods) in document["paths"].as_object().unwrap() {
        if !template.starts_with("/v1/") || template == "/v1/openapi.json" {
            continue;
        }
        for (method, operation) in methods.as_object().unwrap() {
            let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
            let parameters = operation["parameters"].as_array().unwrap();
            operations.push(Operation {
                method: method.to_uppercase(),
                template: template.clone(),
                path: there(template),
                schema: (!schema.is_null()).then(|| resolved(schema, document)),
                paged: parameters.iter().any(|parameter| parameter["name"] == "limit"),
            });
        }
    }
    assert!(operations.len() > 150, "{}", operations.len());
    (world, operations, cast)
}

/// A schema without references.
fn resolved(schema: &Value, document: &Value) -> Value {
    match schema {
        Value::Object(rules) => match rules.get("$ref").and_then(Value::as_str) {
            Some(pointer) => resolved(document.pointer(&pointer[1..]).unwrap(), document),
            None => rules.iter().map(|(name, rule)| (name.clone(), resolved(rule, document))).collect(),
        },
        Value::Array(parts) => parts.iter().map(|part| resolved(part, document)).collect(),
        plain => plain.clone(),
    }
}

/// The JSON types a schema allows, without null; empty for any.
fn types(schema: &Value) -> Vec<&str> {
    let unions = ["anyOf", "oneOf"].iter().filter_map(|keyword| schema[*keyword].as_array()).flatten();
    let mut types = unions.flat_map(types).collect::<Vec<_>>();
    match &schema["type"] {
        Value::String(one) => types.push(one),
        Value::Array(several) => types.extend(several.iter().filter_map(Value::as_str)),
        _ if schema["enum"].is_array() || schema["const"].is_string() => types.push("string"),
        _ => {}
    }
    types.retain(|kind| *kind != "null");
    types
}

/// A value that the schema allows, as small as possible.
fn example(schema: &Value) -> Value {
    let unions = ["anyOf", "oneOf"].iter().find_map(|keyword| schema[*keyword].as_array());
    if let Some(parts) = unions {
        return example(parts.iter().find(|part| part["type"] != "null").unwrap());
    }
    if let Some(word) = schema.get("const").or_else(|| schema["enum"].get(0)) {
        return word.clone();
    }
    match types(schema).first().copied() {
        Some("string") => {
            json!("x".repeat(usize::try_from(schema["minLength"].as_u64().unwrap_or(1)).unwrap()))
        }
        Some("integer" | "number") => schema.get("minimum").cloned().unwrap_or(json!(1)),
        Some("boolean") => json!(false),
        Some("array") => json!([]),
        _ => {
            let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
            required.map(|name| (name.to_owned(), example(&schema["properties"][name]))).collect()
        }
    }
}

/// Whether no reading of the value, however lenient, is of the schema.
fn is_wrong(value: &Value, schema: &Value) -> bool {
    let types = types(schema);
    let fits = |kind: &&str| match value {
        Value::Object(_) => *kind == "object",
        Value::Array(_) => *kind == "array",
        Value::Bool(_) => matches!(*kind, "boolean" | "string"),
        Value::Number(_) => matches!(*kind, "number" | "string"),
        _ => *kind == "string",
    };
    !types.is_empty() && !types.iter().any(fits)
}

/// Bodies that are right but for one field at any depth, with the name of that field.
fn wrong_in_one_field(schema: &Value) -> Vec<(String, Value)> {
    let values = [json!({ "a": 1 }), json!([{}]), json!("☃"), json!(true), json!(-1.5)];
    let unions = ["anyOf", "oneOf"].iter().find_map(|keyword| schema[*keyword].as_array());
    if let Some(parts) = unions {
        let parts = parts.iter().filter(|part| part["type"] != "null").collect::<Vec<_>>();
        return if let [only] = parts[..] { wrong_in_one_field(only) } else { Vec::new() };
    }
    let mut bodies = Vec::new();
    for (field, rules) in schema["properties"].as_object().into_iter().flatten() {
        let wrong =
            values.iter().filter(|value| is_wrong(value, rules)).map(|value| (field.clone(), value.clone()));
        for (name, value) in wrong.chain(wrong_in_one_field(rules)) {
            let mut body = example(schema);
            body[field] = value;
            bodies.push((name, body));
        }
    }
    if schema["items"].is_object() {
        bodies.extend(
            wrong_in_one_field(&schema["items"]).into_iter().map(|(name, item)| (name, json!([item]))),
        );
    }
    bodies
}

impl Cast {
    /// Has a body name things that exist, but for the field that is meant to be wrong.
    fn introduce(&self, body: &mut Value, template: &str, wrong: &str) {
        let of_family = if template.ends_with("/groups") { "{group_id}" } else { "{connection_id}" };
        for (pointer, part) in [
            ("/group_id", "{group_id}"),
            ("/user_id", "{user_id}"),
            ("/id", of_family),
            ("/transformation_config/project_id", "{project_id}"),
        ] {
            if let Some(id) = body.pointer_mut(pointer).filter(|_| !pointer.ends_with(wrong)) {
                *id = json!(self.path(part));
            }
        }
    }
}

impl World {
    /// Sends what must be refused, and asserts that nothing was done.
    fn refuses(&self, what: &str, bad: fivetran_do::api::ApiRequest) -> Reply {
        let before = self.db.dump();
        self.syncs.taken();
        let at = format!("{what}: {} {:.80}", bad.method, bad.path);
        let reply = self.send(bad);
        assert!((400..500).contains(&reply.status), "{at}: {} {}", reply.status, reply.json);
        assert!(!reply.json["code"].as_str().unwrap().is_empty() && reply.json.get("data").is_none(), "{at}");
        assert!(self.db.dump() == before, "{at} changed what is stored");
        // A deletion is finished even where the definition is gone already, so that one which died half-way can be repeated.
        assert!(self.syncs.taken().iter().all(|call| call == "forget"), "{at} did something");
        assert!(self.internet.taken().is_empty(), "{at} sent something");
        reply
    }
}

#[test]
fn a_body_that_is_no_json_object_is_refused_everywhere_and_nothing_is_done() {
    let (world, operations, _) = furnished();
    let long = vec![b' '; fivetran_do::core::limits::API_MAX_BODY_BYTES + 1];
    let deep = "{\"a\":".repeat(100_000).into_bytes();
    let table: &[(&str, &[u8], u16, &str)] = &[
        ("cut off", b"{\"name\": ", 400, "not JSON"),
        ("two values", b"{} {}", 400, "not JSON"),
        ("too deep", &deep, 400, "not JSON"),
        ("a list", b"[{}]", 400, "object"),
        ("a text", b"\"name\"", 400, "object"),
        ("null", b"null", 400, "object"),
        ("not UTF-8", b"{\"name\": \"\xc3\x28\"}", 400, "UTF-8"),
        ("half a surrogate pair", b"{\"name\": \"\\ud800\"}", 400, "not JSON"),
        ("too large", &long, 413, "smaller"),
    ];
    let mut seen = 0;
    for operation in operations.iter().filter(|operation| operation.schema.is_some()) {
        seen += 1;
        for (what, body, status, says) in table {
            let mut bad = request(&operation.method, &operation.path, None);
            bad.body = body.to_vec().into();
            let reply = world.refuses(what, bad);
            let code = if *status == 413 { "PayloadTooLarge" } else { "InvalidInput" };
            reply.refused(*status, code, &[says]);
        }
        let mut bad = request(&operation.method, &operation.path, Some(json!({})));
        bad.headers.retain(|(name, _)| name != "Content-Type");
        bad.headers.push(("Content-Type".to_owned(), "application/x-www-form-urlencoded".to_owned()));
        world.refuses("a form", bad).refused(415, "UnsupportedMediaType", &["Content-Type"]);
    }
    assert!(seen > 40, "{seen}");
}

#[test]
fn a_field_of_a_wrong_type_is_refused_by_name_and_nothing_is_done() {
    let (world, operations, cast) = furnished();
    let mut seen = 0;
    for operation in &operations {
        for (field, mut body) in operation.schema.as_ref().map(wrong_in_one_field).unwrap_or_default() {
            seen += 1;
            cast.introduce(&mut body, &operation.template, &field);
            let what = format!("{field} in {body}");
            let reply = world.refuses(&what, request(&operation.method, &operation.path, Some(body)));
            // Numbers and booleans are taken as text, and as ids they are of nothing there is.
            let id = matches!(&*field, "id" | "group_id" | "user_id" | "project_id" | "connection_ids");
            if id && reply.status == 404 {
                assert!(reply.json["code"].as_str().unwrap().starts_with("NotFound_"), "{what}");
            } else {
                reply.refused(400, "InvalidInput", &[&field]);
            }
        }
    }
    assert!(seen > 700, "{seen}");
}

#[test]
fn what_a_request_names_is_looked_up_before_its_body_is_judged() {
    let (world, _, cast) = furnished();
    let wrong = json!({ "name": 5, "config": 5, "paused": "?", "group_id": "none", "role": 5 });
    let unreadable = |method: &str, path: &str| {
        let mut request = request(method, path, None);
        request.body = "{".into();
        world.send(request)
    };
    // Terraform forgets what is NotFound, and only that: a body that is wrong, too, must not hide it.
    for (method, path, code) in [
        ("PATCH", "/v1/connections/none", "NotFound_Connection"),
        ("PATCH", "/v1/destinations/none", "NotFound_Destination"),
        ("PATCH", "/v1/groups/none", "NotFound_Group"),
        ("POST", "/v1/connections/none/resync", "NotFound_Connection"),
    ] {
        world.send(request(method, path, Some(wrong.clone()))).refused(404, code, &["none"]);
        unreadable(method, path).refused(404, code, &["none"]);
    }
    // What the body names counts likewise, once the body can be read.
    world.post("/v1/connections", wrong.clone()).refused(404, "NotFound_Group", &["none"]);
    world.post("/v1/destinations", wrong).refused(404, "NotFound_Group", &["none"]);
    unreadable("POST", "/v1/connections").refused(400, "InvalidInput", &["not JSON"]);
    let known = cast.path("{group_id}");
    world.post("/v1/connections", json!({ "group_id": known, "service": "shop", "config": 5 })).refused(
        400,
        "InvalidInput",
        &["config"],
    );
}

#[test]
fn unknown_fields_and_a_missing_content_type_make_no_difference() {
    let (plain, operations, _) = furnished();
    let (lenient, theirs, _) = furnished();
    for (operation, same) in operations.iter().zip(&theirs) {
        let Some(schema) = &operation.schema else { continue };
        // Where the names in the body are the user's, none is unknown.
        if schema.get("additionalProperties").is_some() {
            continue;
        }
        let valid = example(schema);
        let expected = plain.send(request(&operation.method, &operation.path, Some(valid.clone())));
        let mut body = valid;
        body["field_of_tomorrow"] = json!({ "a": [1, null] });
        let mut odd = request(&same.method, &same.path, Some(body));
        odd.headers.retain(|(name, _)| name != "Content-Type");
        let reply = lenient.send(odd);
        let at = format!("{} {}: {} {}", operation.method, operation.template, reply.json, expected.json);
        assert_eq!((reply.status, &reply.json["code"]), (expected.status, &expected.json["code"]), "{at}");
        assert!(reply.status < 500, "{at}");
    }
}

#[test]
fn parts_of_a_path_that_are_no_name_of_ours_are_refused_and_nothing_is_done() {
    let (world, operations, _) = furnished();
    let long = "x".repeat(20_000);
    let odd =
        ["%2e%2e", "..", "%2F", "%2e%2e%2fusers", "%5c", "%0d%0aSet-Cookie:a=b", "%E2%80%AE", "'--", &long];
    for operation in &operations {
        let parts = operation.path.split('/').collect::<Vec<_>>();
        let body = operation.schema.as_ref().map(example);
        for (at, part) in operation.template.split('/').enumerate().filter(|(_, part)| part.starts_with('{'))
        {
            let with = |value: &str| {
                let mut parts = parts.clone();
                parts[at] = value;
                request(&operation.method, &parts.join("/"), body.clone())
            };
            for broken in ["%00", "%ff", "%c3%28", "a%", "%zz"] {
                let name = part.trim_matches(['{', '}']);
                world.refuses(broken, with(broken)).refused(400, "InvalidInput", &[name, "UTF-8"]);
            }
            for value in odd {
                let reply = world.refuses(value, with(value));
                assert!(matches!(reply.status, 400 | 404), "{value}: {}", reply.json);
            }
        }
    }
}

#[test]
fn a_limit_or_cursor_that_is_none_is_refused_on_every_list() {
    let (world, operations, _) = furnished();
    let long = format!("cursor={}", "e".repeat(20_000));
    let paged = operations.iter().filter(|operation| operation.paged).collect::<Vec<_>>();
    assert!(paged.len() > 20);
    for operation in paged {
        for bad in [
            "limit=0",
            "limit=1001",
            "limit=-1",
            "limit=1.5",
            "limit=1e2",
            "limit=many",
            "limit=%ff",
            "limit=99999999999999999999",
            "cursor=zzz",
            "cursor=e30",
            "cursor=%00",
            "cursor=bnVsbA",
            "cursor=..%2f",
            &long,
        ] {
            let field = bad.split('=').next().unwrap();
            let query = request(&operation.method, &format!("{}?{bad}", operation.path), None);
            world.refuses(bad, query).refused(400, "InvalidInput", &[field]);
        }
        let empty = world.get(&format!("{}?limit=&cursor=", operation.path));
        assert!(empty.status == 200 || empty.status == 404, "{} {}", operation.path, empty.json);
    }
}

#[test]
fn an_accept_that_json_cannot_meet_is_refused_everywhere_and_nothing_is_done() {
    let (world, operations, _) = furnished();
    for operation in &operations {
        for accept in ["text/html", "application/xml;q=1", "application/jsonl", "json"] {
            let body = operation.schema.as_ref().map(example);
            let mut bad = request(&operation.method, &operation.path, body);
            bad.headers.push(("accept".to_owned(), accept.to_owned()));
            world.refuses(accept, bad).refused(406, "NotAcceptable", &["application/json"]);
        }
    }
}

#[test]
fn a_query_parameter_that_is_nonsense_never_breaks_a_list() {
    let (world, operations, _) = furnished();
    let document = world.document().clone();
    for operation in operations.iter().filter(|operation| operation.method == "GET") {
        let parameters = &document["paths"][&operation.template]["get"]["parameters"];
        let names = parameters.as_array().unwrap().iter().filter(|parameter| parameter["in"] == "query");
        for name in names.map(|parameter| parameter["name"].as_str().unwrap()) {
            for value in ["%00", "%ff", "'", "%25", "-1", "9".repeat(400).as_str(), "%F0%9F%A6%86"] {
                let reply = world.get(&format!("{}?{name}={value}", operation.path));
                assert!(
                    reply.status < 500,
                    "{} {name}={value:.20} {} {:?}",
                    operation.path,
                    reply.json,
                    reply.fault
                );
            }
        }
    }
}
