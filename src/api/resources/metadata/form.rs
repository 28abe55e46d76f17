//! A connector's configuration as Fivetran's metadata describes forms: plain fields, each with one type.

use serde_json::{Map, Value};

use crate::api::conform::{list, resolve};

/// What of a field's schema clients read. Everything else is JSON Schema's own business.
const KEPT: [&str; 7] = ["title", "description", "format", "enum", "default", "minimum", "maximum"];

/// Fields that name a connection: none of them ever changes.
const NAMING: [&str; 4] = ["schema_prefix", "schema", "table", "table_group_name"];

/// The schema with references resolved and `null` left out: go-fivetran decodes `type` as one word, and Terraform checks a
/// configuration against `type`, `enum`, `format` and `required` before it sends it.
///
/// Beyond the schema it says what this API does with fields: a name is required and never changes, and every field that
/// is not required can be cleared with `null`.
pub(super) fn form(schema: &Value) -> Value {
    let mut schema = schema.clone();
    require_name(&mut schema);
    let mut form = field(&schema, &schema);
    for name in NAMING {
        if let Some(Value::Object(field)) = form.pointer_mut(&format!("/properties/{name}")) {
            field.insert("immutable".to_owned(), true.into());
        }
    }
    form
}

/// A connector that takes only one of the two names needs it, whatever its own type says.
fn require_name(schema: &mut Value) {
    let has = |name: &str| schema.pointer(&format!("/properties/{name}")).is_some();
    let name = match (has("schema_prefix"), has("schema")) {
        (true, false) => "schema_prefix",
        (false, true) => "schema",
        _ => return,
    };
    let Some(rules) = schema.as_object_mut() else { return };
    let required = rules.entry("required").or_insert_with(|| Value::Array(Vec::new()));
    if let Value::Array(required) = required
        && !required.iter().any(|required| required == name)
    {
        required.push(name.into());
    }
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
        let required = list(rules, "required");
        let fields = properties.iter().map(|(name, schema)| {
            let mut field = field(schema, root);
            if let Value::Object(field) = &mut field {
                field.insert("readonly".to_owned(), false.into());
                field.insert(
                    "nullable".to_owned(),
                    (!required.iter().any(|required| required == name)).into(),
                );
                field.insert("immutable".to_owned(), false.into());
            }
            (name.clone(), field)
        });
        plain.insert("properties".to_owned(), Value::Object(fields.collect()));
        plain.insert("required".to_owned(), required.to_vec().into());
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
                "schema_prefix": { "type": ["string", "null"] },
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
        let may = |nullable: bool, immutable: bool, mut field: Value| {
            field["readonly"] = json!(false);
            field["nullable"] = json!(nullable);
            field["immutable"] = json!(immutable);
            field
        };
        assert_eq!(
            form(&schema),
            json!({
                "type": "object",
                "required": ["host", "schema_prefix"],
                "properties": {
                    "host": may(false, false, json!({ "type": "string" })),
                    "schema_prefix": may(false, true, json!({ "type": "string" })),
                    "port": may(true, false, json!({ "type": "integer", "description": "Where", "minimum": 1 })),
                    "password": may(true, false, json!({ "type": "string", "format": "password", "description": "Hidden" })),
                    "mode": may(true, false, json!({ "type": "string", "description": "How", "enum": ["fast", "slow"] })),
                    "tables": may(true, false, json!({ "type": "array", "items": { "type": "string" } }))
                }
            })
        );
    }
}
