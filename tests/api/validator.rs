//! A strict validator for the part of JSON Schema 2020-12 that our document uses. Not the crate `jsonschema`: its
//! features would have Arrow built twice and its thirty crates cost minutes of every first build. An unknown keyword
//! fails, so that nothing goes unchecked.

use serde_json::Value;

pub fn validate(value: &Value, schema: &Value, document: &Value, at: &str, errors: &mut Vec<String>) {
    let rules = match schema {
        Value::Bool(true) => return,
        Value::Object(rules) => rules,
        _ => return errors.push(format!("{at}: nothing is allowed here")),
    };
    let mut wrong = |what: String| errors.push(format!("{at}: {what}"));
    for (keyword, rule) in rules {
        match keyword.as_str() {
            "type" => {
                let types = rule.as_array().cloned().unwrap_or_else(|| vec![rule.clone()]);
                if !types.iter().any(|wanted| is_of(value, wanted.as_str().unwrap())) {
                    wrong(format!("is not {rule}"));
                }
            }
            "const" if value != rule => wrong(format!("is not {rule}")),
            "enum" if !rule.as_array().unwrap().contains(value) => wrong(format!("is none of {rule}")),
            "uniqueItems"
                if value.as_array().is_some_and(|items| {
                    items.iter().enumerate().any(|(at, item)| items[..at].contains(item))
                }) =>
            {
                wrong("has an item twice".to_owned());
            }
            "minimum" if value.as_f64() < rule.as_f64() && value.is_number() => {
                wrong(format!("is below {rule}"))
            }
            "maximum" if value.as_f64() > rule.as_f64() && value.is_number() => {
                wrong(format!("is above {rule}"))
            }
            "required" => {
                for name in rule.as_array().unwrap() {
                    if value.is_object() && value.get(name.as_str().unwrap()).is_none() {
                        wrong(format!("lacks {name}"));
                    }
                }
            }
            "format" if rule == "date-time" && value.is_string() => {
                if chrono::DateTime::parse_from_rfc3339(value.as_str().unwrap()).is_err() {
                    wrong("is not a date-time".to_owned());
                }
            }
            "const" | "enum" | "minimum" | "maximum" | "format" | "uniqueItems" | "description" | "title"
            | "default" => {}
            "$ref" | "allOf" | "anyOf" | "oneOf" | "properties" | "additionalProperties" | "items" => {}
            unknown => wrong(format!("the schema has an unknown keyword {unknown}")),
        }
    }
    if let Some(reference) = rules.get("$ref").and_then(Value::as_str) {
        let target = document.pointer(reference.strip_prefix('#').unwrap());
        validate(value, target.unwrap_or_else(|| panic!("{reference} dangles")), document, at, errors);
    }
    for part in rules.get("allOf").and_then(Value::as_array).into_iter().flatten() {
        validate(value, part, document, at, errors);
    }
    for (keyword, exactly_one) in [("anyOf", false), ("oneOf", true)] {
        let Some(parts) = rules.get(keyword).and_then(Value::as_array) else { continue };
        let fits = |part: &&Value| {
            let mut errors = Vec::new();
            validate(value, part, document, at, &mut errors);
            errors.is_empty()
        };
        let fitting = parts.iter().filter(fits).count();
        if fitting == 0 || (exactly_one && fitting > 1) {
            errors.push(format!("{at}: fits {fitting} of {keyword}"));
        }
    }
    let properties = rules.get("properties");
    for (name, field) in value.as_object().into_iter().flatten() {
        let known = properties.and_then(|properties| properties.get(name));
        if let Some(schema) = known.or_else(|| rules.get("additionalProperties")) {
            validate(field, schema, document, &format!("{at}/{name}"), errors);
        }
    }
    if let Some(schema) = rules.get("items") {
        for (index, item) in value.as_array().into_iter().flatten().enumerate() {
            validate(item, schema, document, &format!("{at}/{index}"), errors);
        }
    }
}

fn is_of(value: &Value, wanted: &str) -> bool {
    match wanted {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("there is no type {other}"),
    }
}
