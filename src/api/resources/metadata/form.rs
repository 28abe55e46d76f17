//! A connector's configuration as Fivetran's metadata describes forms: plain fields, each with one type.

use serde_json::{Map, Value};

use crate::api::conform::{list, resolve};

/// What of a field's schema clients read. Everything else is JSON Schema's own business.
const KEPT: [&str; 7] = ["title", "description", "format", "enum", "default", "minimum", "maximum"];

/// The schema with references resolved and `null` left out: go-fivetran decodes `type` as one word, and Terraform checks a
/// configuration against `type`, `enum`, `format` and `required` before it sends it.
pub(super) fn form(schema: &Value) -> Value {
    field(schema, schema)
}

fn field(schema: &Value, root: &Value) -> Value {
    let mut plain = Map::new();
    collect(schema, root, &mut plain);
    // A field that takes anything takes text, and a type there must be.
    plain.entry("type").or_insert_with(|| "string".into());
    Value::Object(plain)
}

fn collect(schema: &Value, root: &Value, plain: &mut Map<String, Value>) {
    let Some(rules) = resolve(schema, root) else { return };
    // What stands beside a reference describes this very field, so it comes first.
    for rules in [schema.as_object().unwrap_or(rules), rules] {
        for name in KEPT {
            if let Some(value) = rules.get(name).filter(|value| !value.is_null()) {
                plain.entry(name).or_insert_with(|| value.clone());
            }
        }
    }
    let types = match rules.get("type") {
        Some(Value::Array(types)) => types.iter().find(|one| *one != "null"),
        one => one,
    };
    if let Some(one) = types.filter(|one| *one != "null") {
        plain.entry("type").or_insert_with(|| one.clone());
    }
    if let Some(Value::Array(choices)) = plain.get_mut("enum") {
        choices.retain(|choice| !choice.is_null());
    }
    if let Some(properties) = rules.get("properties").and_then(Value::as_object) {
        let fields = properties.iter().map(|(name, schema)| (name.clone(), field(schema, root)));
        plain.insert("properties".to_owned(), Value::Object(fields.collect()));
        plain.insert("required".to_owned(), list(rules, "required").to_vec().into());
    }
    if let Some(items) = rules.get("items") {
        plain.insert("items".to_owned(), field(items, root));
    }
    let alternatives = ["allOf", "anyOf", "oneOf"].into_iter().flat_map(|keyword| list(rules, keyword));
    let mut choices = Vec::new();
    for alternative in alternatives {
        // The words of a type of Rust come apart into those with a description and those without: all are choices.
        if let Some(choice) = resolve(alternative, root).and_then(|rules| rules.get("const")) {
            choices.push(choice.clone());
            continue;
        }
        collect(alternative, root, plain);
        if let Some(Value::Array(words)) = plain.remove("enum") {
            choices.extend(words);
        }
    }
    if !choices.is_empty() {
        plain.insert("enum".to_owned(), choices.into());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_field_has_one_type_and_what_terraform_checks() {
        let schema = json!({
            "type": "object",
            "required": ["host"],
            "additionalProperties": false,
            "properties": {
                "host": { "type": "string" },
                "port": { "description": "Where", "type": ["integer", "null"], "minimum": 1 },
                "password": { "description": "Hidden", "anyOf": [{ "$ref": "#/$defs/Secret" }, { "type": "null" }] },
                "mode": { "anyOf": [{ "$ref": "#/$defs/Mode" }, { "type": "null" }] },
                "tables": { "type": ["array", "null"], "items": { "type": "string" } }
            },
            "$defs": {
                "Secret": { "type": "string", "format": "password" },
                "Mode": { "description": "How", "oneOf": [
                    { "const": "fast", "description": "Quick" }, { "type": "string", "enum": ["slow"] }] }
            }
        });
        assert_eq!(
            form(&schema),
            json!({
                "type": "object",
                "required": ["host"],
                "properties": {
                    "host": { "type": "string" },
                    "port": { "type": "integer", "description": "Where", "minimum": 1 },
                    "password": { "type": "string", "format": "password", "description": "Hidden" },
                    "mode": { "type": "string", "description": "How", "enum": ["fast", "slow"] },
                    "tables": { "type": "array", "items": { "type": "string" } }
                }
            })
        );
    }
}
