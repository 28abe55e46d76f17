//! Makes a JSON value conform to a JSON schema, leniently, or says which field does not.
//!
//! Fivetran's clients send `"360"` for 360 and `"true"` for true, so scalars are turned into what the schema wants where
//! that is unambiguous. Only the part of JSON Schema that `schemars` emits for our types is understood, without regular
//! expressions: a general validator would add a megabyte to the Worker. Messages never quote a value, which could be a
//! secret in the wrong field (invariant I6).

use serde_json::{Map, Value};

use crate::core::{Error, Result};

/// Conforms `value`, found at `path` (empty for the body itself), to `schema`.
///
/// # Errors
/// [`InvalidInput`](crate::core::ErrorKind::InvalidInput) naming the field and what it may be.
pub(crate) fn conform(value: &mut Value, schema: &Value, path: &str) -> Result<()> {
    walk(value, schema, schema, path)
}

fn walk(value: &mut Value, schema: &Value, root: &Value, path: &str) -> Result<()> {
    let Some(rules) = resolve(schema, root) else { return Ok(()) };
    for part in list(rules, "allOf") {
        walk(value, part, root, path)?;
    }
    let alternatives = if rules.contains_key("oneOf") { list(rules, "oneOf") } else { list(rules, "anyOf") };
    if !alternatives.is_empty() {
        one_of(value, alternatives, root, path)?;
    }
    check_type(value, rules, path)?;
    check_choice(value, rules, path)?;
    check_range(value, rules, path)?;
    match value {
        Value::Object(fields) => walk_fields(fields, rules, root, path),
        Value::Array(items) => match rules.get("items") {
            Some(item_schema) => items
                .iter_mut()
                .enumerate()
                .try_for_each(|(at, item)| walk(item, item_schema, root, &format!("{path}[{at}]"))),
            None => Ok(()),
        },
        _ => Ok(()),
    }
}

/// The schema itself, behind a `$ref`. Anything but an object allows everything.
pub(crate) fn resolve<'a>(schema: &'a Value, root: &'a Value) -> Option<&'a Map<String, Value>> {
    let rules = schema.as_object()?;
    match rules.get("$ref").and_then(Value::as_str).and_then(|reference| reference.strip_prefix('#')) {
        Some(pointer) => root.pointer(pointer)?.as_object(),
        None => Some(rules),
    }
}

pub(crate) fn list<'a>(rules: &'a Map<String, Value>, keyword: &str) -> &'a [Value] {
    rules.get(keyword).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// Takes the first alternative that fits; where none does, the complaint of the only one that is not `null` is the most
/// telling.
fn one_of(value: &mut Value, alternatives: &[Value], root: &Value, path: &str) -> Result<()> {
    let mut complaint = None;
    let mut choices = Vec::new();
    for alternative in alternatives {
        let mut candidate = value.clone();
        match walk(&mut candidate, alternative, root, path) {
            Ok(()) => {
                *value = candidate;
                return Ok(());
            }
            Err(error) => {
                let rules = resolve(alternative, root);
                if rules.is_some_and(|rules| rules.get("type").and_then(Value::as_str) != Some("null")) {
                    complaint.get_or_insert(error);
                }
                choices.extend(rules.map(choices_of).unwrap_or_default());
            }
        }
    }
    if choices.is_empty() {
        return complaint.map_or(Ok(()), Err);
    }
    Err(not_a_choice(path, &choices))
}

fn check_type(value: &mut Value, rules: &Map<String, Value>, path: &str) -> Result<()> {
    let wanted: Vec<&str> = match rules.get("type") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
        _ => return Ok(()),
    };
    if wanted.iter().any(|wanted| is_of(value, wanted)) {
        return Ok(());
    }
    for wanted in &wanted {
        if let Some(turned) = turned_into(value, wanted) {
            *value = turned;
            return Ok(());
        }
    }
    let wanted =
        wanted.iter().filter(|wanted| **wanted != "null").map(|wanted| noun(wanted)).collect::<Vec<_>>();
    Err(at(Error::invalid(format!("This must be {}", wanted.join(" or "))), path))
}

fn is_of(value: &Value, wanted: &str) -> bool {
    match value {
        Value::Null => wanted == "null",
        Value::Bool(_) => wanted == "boolean",
        Value::Number(number) => wanted == "number" || (wanted == "integer" && !number.is_f64()),
        Value::String(_) => wanted == "string",
        Value::Array(_) => wanted == "array",
        Value::Object(_) => wanted == "object",
    }
}

fn turned_into(value: &Value, wanted: &str) -> Option<Value> {
    match (value, wanted) {
        (Value::String(text), "boolean") => match text.to_ascii_lowercase().as_str() {
            "true" => Some(Value::Bool(true)),
            "false" => Some(Value::Bool(false)),
            _ => None,
        },
        (Value::String(text), "integer") => text.trim().parse::<i64>().ok().map(Value::from),
        (Value::String(text), "number") => {
            text.trim().parse::<f64>().ok().filter(|n| n.is_finite()).map(Value::from)
        }
        // `15.0`; whole doubles below 2^53 are exact.
        (Value::Number(number), "integer") => {
            let double = number.as_f64().filter(|n| n.fract() == 0.0 && n.abs() < 9_007_199_254_740_992.0)?;
            #[expect(clippy::cast_possible_truncation, reason = "whole and below 2^53")]
            Some(Value::from(double as i64))
        }
        (Value::Number(_) | Value::Bool(_), "string") => Some(Value::String(value.to_string())),
        _ => None,
    }
}

fn noun(json_type: &str) -> &str {
    match json_type {
        "boolean" => "true or false",
        "integer" => "a whole number",
        "number" => "a number",
        "string" => "text",
        "array" => "a list",
        "object" => "an object",
        other => other,
    }
}

fn choices_of(rules: &Map<String, Value>) -> Vec<Value> {
    list(rules, "enum").iter().chain(rules.get("const")).cloned().collect()
}

fn check_choice(value: &Value, rules: &Map<String, Value>, path: &str) -> Result<()> {
    let choices = choices_of(rules);
    if choices.is_empty() || choices.contains(value) {
        return Ok(());
    }
    Err(not_a_choice(path, &choices))
}

fn not_a_choice(path: &str, choices: &[Value]) -> Error {
    let choices = choices
        .iter()
        .filter(|choice| !choice.is_null())
        .map(|choice| choice.as_str().map_or_else(|| choice.to_string(), str::to_owned))
        .collect::<Vec<_>>();
    at(Error::invalid("This is not one of the values there are"), path)
        .remedy(format!("Use one of: {}", choices.join(", ")))
}

fn check_range(value: &Value, rules: &Map<String, Value>, path: &str) -> Result<()> {
    let bound = |keyword: &str| rules.get(keyword).and_then(Value::as_f64);
    let (size, low, high, unit) = match value {
        Value::Number(number) => (number.as_f64(), bound("minimum"), bound("maximum"), ""),
        Value::String(text) => {
            #[expect(clippy::cast_precision_loss, reason = "bodies are far below 2^53 characters")]
            let length = text.chars().count() as f64;
            (Some(length), bound("minLength"), bound("maxLength"), " characters")
        }
        _ => return Ok(()),
    };
    let Some(size) = size else { return Ok(()) };
    if low.is_some_and(|low| size < low) {
        let low = low.unwrap_or_default();
        let message = if unit.is_empty() { "This is too small" } else { "This is too short" };
        return Err(at(Error::invalid(message), path).remedy(format!("Use at least {low}{unit}")));
    }
    if high.is_some_and(|high| size > high) {
        let high = high.unwrap_or_default();
        let message = if unit.is_empty() { "This is too large" } else { "This is too long" };
        return Err(at(Error::invalid(message), path).remedy(format!("Use at most {high}{unit}")));
    }
    Ok(())
}

fn walk_fields(
    fields: &mut Map<String, Value>,
    rules: &Map<String, Value>,
    root: &Value,
    path: &str,
) -> Result<()> {
    let known = rules.get("properties").and_then(Value::as_object);
    for name in list(rules, "required").iter().filter_map(Value::as_str) {
        if fields.get(name).is_none_or(Value::is_null) {
            return Err(at(Error::invalid("This is required"), &join(path, name)).remedy("Add it"));
        }
    }
    for (name, value) in fields.iter_mut() {
        let field_path = join(path, name);
        if let Some(schema) = known.and_then(|known| known.get(name)) {
            walk(value, schema, root, &field_path)?;
            continue;
        }
        match rules.get("additionalProperties") {
            Some(Value::Bool(false)) => {
                let known =
                    known.map(|known| known.keys().map(String::as_str).collect::<Vec<_>>().join(", "));
                return Err(at(Error::invalid("There is no such field"), &field_path)
                    .remedy(format!("The fields are: {}", known.unwrap_or_default())));
            }
            Some(schema) => walk(value, schema, root, &field_path)?,
            None => {}
        }
    }
    Ok(())
}

pub(crate) fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

fn at(error: Error, path: &str) -> Error {
    if path.is_empty() { error.field("body") } else { error.field(path) }
}
