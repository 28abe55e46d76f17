//! Our OpenAPI document against Fivetran's published one: every shared path is there, takes the parameters and answers
//! the fields that clients were generated from. What differs is listed with its reason, and nothing else may differ.

mod deviations;
mod table;

use std::collections::{BTreeMap, BTreeSet};

use deviations::DEVIATIONS;
use serde_json::{Value, json};
use table::{ENDPOINTS, OBJECTS};

use crate::harness::World;

#[test]
fn shared_endpoints_answer_the_published_fields_but_for_the_listed_deviations() {
    let found = Comparison::of(World::new().document());
    let mut listed = BTreeSet::new();
    for key in DEVIATIONS.iter().flat_map(|(_, keys)| keys.iter()) {
        assert!(listed.insert(key.to_string()), "{key} is listed twice");
        assert!(found.contains_key(*key), "{key} deviates no longer: strike it off the list");
    }
    let unlisted = found.iter().filter(|(key, _)| !listed.contains(*key)).collect::<Vec<_>>();
    assert!(unlisted.is_empty(), "these deviate and are not listed: {unlisted:#?}");
}

#[test]
fn a_lost_path_parameter_field_or_type_is_noticed() {
    let document = World::new().document().clone();
    let before = Comparison::of(&document);
    let noticed = |change: &dyn Fn(&mut Value)| {
        let mut changed = document.clone();
        change(&mut changed);
        let found = Comparison::of(&changed);
        found.into_keys().filter(|key| !before.contains_key(key)).collect::<Vec<_>>()
    };
    assert_eq!(
        noticed(&|document| {
            document["paths"].as_object_mut().unwrap().remove("/v1/connectors/{connection_id}/sync").unwrap();
        }),
        ["POST /connectors/{}/sync"]
    );
    assert_eq!(
        noticed(&|document| document["paths"]["/v1/groups"]["get"]["parameters"] = json!([])),
        ["GET /groups"]
    );
    let group = |document: &mut Value, change: &dyn Fn(&mut Value)| {
        let page = &document["paths"]["/v1/groups"]["post"]["responses"]["201"]["content"];
        let data = &page["application/json"]["schema"]["properties"]["data"]["$ref"];
        let pointer = data.as_str().unwrap().trim_start_matches('#').to_owned();
        change(document.pointer_mut(&pointer).unwrap());
    };
    for (change, key) in [
        (
            json!({ "properties": { "id": { "type": "string" }, "name": { "type": "string" } } }),
            "Group.created_at",
        ),
        (json!({ "required": ["name", "created_at"] }), "Group.id"),
    ] {
        let noticed = noticed(&|document| {
            group(document, &|schema| {
                for (keyword, rule) in change.as_object().unwrap() {
                    schema[keyword] = rule.clone();
                }
            });
        });
        assert_eq!(noticed, [key]);
    }
    for wrong in [json!({ "type": "integer" }), json!({ "type": ["string", "null"] }), json!(true)] {
        let noticed =
            noticed(&|document| group(document, &|schema| schema["properties"]["name"] = wrong.clone()));
        assert_eq!(noticed, ["Group.name"], "{wrong}");
    }
}

/// Collects what differs: `GET /path` or `Object.field`, with what is wrong.
struct Comparison<'a> {
    document: &'a Value,
    found: BTreeMap<String, String>,
}

impl<'a> Comparison<'a> {
    fn of(document: &'a Value) -> BTreeMap<String, String> {
        let mut comparison = Self { document, found: BTreeMap::new() };
        for line in ENDPOINTS.lines().filter(|line| !line.is_empty()) {
            let [method, path, status, answer] =
                line.split(' ').collect::<Vec<_>>().try_into().unwrap_or_else(|_| panic!("{line}"));
            let (path, query) = path.split_once('?').unwrap_or((path, ""));
            comparison.endpoint(method, path, query, status, answer);
            if !comparison.found.contains_key(&format!("{method} {path}")) {
                let old_name = path.replace("/connections", "/connectors");
                comparison.endpoint(method, &old_name, query, status, answer);
            }
        }
        comparison.found
    }

    fn differs(&mut self, key: &str, what: impl Into<String>) {
        self.found.entry(key.to_owned()).or_insert(what.into());
    }

    fn endpoint(&mut self, method: &str, path: &str, query: &str, status: &str, answer: &str) {
        let key = format!("{method} {path}");
        let Some(operation) = self.operation(method, path) else { return self.differs(&key, "is not there") };
        let (page, object) = answer.strip_suffix("[]").map_or((false, answer), |object| (true, object));
        let taken = operation["parameters"].as_array().unwrap();
        let taken = taken.iter().map(|parameter| parameter["name"].as_str().unwrap()).collect::<Vec<_>>();
        let paging: &[&str] = if page { &["cursor", "limit"] } else { &[] };
        for name in query.split('&').filter(|name| !name.is_empty()).chain(paging.iter().copied()) {
            if !taken.contains(&name) {
                self.differs(&key, format!("does not take {name}"));
            }
        }
        let Some(response) = operation["responses"].get(status) else {
            return self.differs(&key, format!("does not answer {status}"));
        };
        if object == "-" {
            return;
        }
        let envelope = &response["content"]["application/json"]["schema"]["properties"];
        let data = envelope.get("data").map(|data| self.fields(data));
        let fields = match data {
            Some(fields) if page => fields.get("items").map(|(items, _)| self.fields(&items["items"])),
            fields => fields,
        };
        match fields {
            Some(fields) if !page && fields.contains_key("items") => {
                self.differs(&key, format!("answers a page, not one {object}"));
            }
            Some(fields) if !fields.is_empty() => self.object(object, &fields),
            _ => self.differs(&key, format!("answers no {object}")),
        }
    }

    fn operation(&self, method: &str, path: &str) -> Option<&'a Value> {
        let paths = self.document["paths"].as_object().unwrap();
        let fits = |template: &str| {
            let parts = template.split('/').map(|part| if part.starts_with('{') { "{}" } else { part });
            let ours = parts.collect::<Vec<_>>().join("/");
            ours.strip_prefix("/v1").unwrap_or(&ours) == path
        };
        let mut fitting = paths.iter().filter(|(template, _)| fits(template));
        fitting.find_map(|(_, methods)| methods.get(method.to_lowercase()))
    }

    /// Schemas of an object's fields, and whether they are required.
    fn fields(&self, schema: &'a Value) -> BTreeMap<&'a str, (&'a Value, bool)> {
        let mut fields = BTreeMap::new();
        for schema in self.alternatives(schema) {
            let required = schema["required"].as_array().map(Vec::as_slice).unwrap_or_default();
            for (name, field) in schema["properties"].as_object().into_iter().flatten() {
                fields.insert(name.as_str(), (field, required.iter().any(|required| required == name)));
            }
        }
        fields
    }

    /// The schemas behind references and unions.
    fn alternatives(&self, schema: &'a Value) -> Vec<&'a Value> {
        if let Some(reference) = schema["$ref"].as_str() {
            return self.alternatives(self.document.pointer(reference.trim_start_matches('#')).unwrap());
        }
        let parts = ["anyOf", "oneOf", "allOf"].iter().filter_map(|keyword| schema[*keyword].as_array());
        let mut schemas = parts.flatten().flat_map(|part| self.alternatives(part)).collect::<Vec<_>>();
        if schemas.is_empty() || schema.get("properties").is_some() {
            schemas.push(schema);
        }
        schemas
    }

    fn object(&mut self, object: &str, ours: &BTreeMap<&'a str, (&'a Value, bool)>) {
        let row = OBJECTS.iter().find(|(name, _)| *name == object);
        let (_, published) = row.unwrap_or_else(|| panic!("{object} has no row"));
        let known =
            published.split(", ").map(|field| field.split([' ', '!']).next().unwrap()).collect::<Vec<_>>();
        for name in ours.keys().filter(|name| !known.contains(*name)) {
            self.differs(&format!("{object}.{name}"), "is ours");
        }
        for field in published.split(", ") {
            let (name, kind) = field.split_once(' ').unwrap();
            let (name, required) = name.strip_suffix('!').map_or((name, false), |name| (name, true));
            let key = format!("{object}.{name}");
            match ours.get(name) {
                None => self.differs(&key, "is missing"),
                Some((_, false)) if required => self.differs(&key, "may be absent"),
                Some((schema, _)) => self.value(&key, kind, required, schema),
            }
        }
    }

    /// No published field is nullable, but clients take null where a field may be absent.
    fn value(&mut self, key: &str, kind: &str, required: bool, schema: &'a Value) {
        for schema in self.alternatives(schema) {
            let types = match &schema["type"] {
                Value::Array(types) => types.iter().filter_map(Value::as_str).collect(),
                Value::String(one) => vec![one.as_str()],
                _ if schema["const"].is_string() || schema["enum"].is_array() => vec!["string"],
                _ => vec!["anything"],
            };
            for ours in types {
                match (ours, kind) {
                    (_, "any") => {}
                    ("null", _) if !required => {}
                    ("null", _) => self.differs(key, "may be null"),
                    ("string", "text") | ("integer", "int") | ("boolean", "bool") | ("object", "object") => {}
                    ("string", "time") if schema["format"] == "date-time" => {}
                    ("array", list) if list.starts_with('[') => {
                        self.value(key, inner(list), true, &schema["items"]);
                    }
                    ("object", map) if map.starts_with('{') => {
                        self.value(key, inner(map), true, &schema["additionalProperties"]);
                    }
                    ("object", object) if OBJECTS.iter().any(|(name, _)| *name == object) => {
                        let fields = self.fields(schema);
                        self.object(object, &fields);
                    }
                    ("string", words) if words != "time" && !words.starts_with(['[', '{']) => {
                        self.words(key, words, schema);
                    }
                    _ => self.differs(key, format!("is {ours}, not {kind}")),
                }
            }
        }
    }

    /// Where our values are not listed, nothing is said about them.
    fn words(&mut self, key: &str, words: &str, schema: &Value) {
        let words = words.split('|').collect::<Vec<_>>();
        let ours = schema["enum"].as_array().into_iter().flatten().chain(schema.get("const"));
        for word in ours.filter_map(Value::as_str).filter(|word| !words.contains(word)) {
            self.differs(key, format!("may be {word}"));
        }
    }
}

fn inner(kind: &str) -> &str {
    &kind[1..kind.len() - 1]
}
