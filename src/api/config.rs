//! Configurations of sources and destinations: validated, masked, merged (invariant I6).

use serde_json::{Map, Value};

use super::conform::{conform, list, resolve};
use crate::core::redact::MASK;
use crate::core::{Error, Result};

/// A configuration ready to be stored: in clear for the vault, masked for answers.
pub(crate) struct CheckedConfig {
    pub(crate) clear: Value,
    pub(crate) public: Value,
}

/// Checks a configuration against its connector's schema. `stored` is the one it edits, for which fields left out keep
/// what they had, and the mask means "unchanged". `null` is no value: a field that has it is left out, or removed.
///
/// # Errors
/// [`InvalidInput`](crate::core::ErrorKind::InvalidInput) naming the field as `config.<field>`.
pub(crate) fn check(
    sent: &Map<String, Value>,
    stored: Option<&Value>,
    schema: &Value,
) -> Result<CheckedConfig> {
    let sent = Value::Object(sent.clone());
    let mut clear = merge(stored.unwrap_or(&Value::Object(Map::new())), &sent);
    conform(&mut clear, schema, "config")?;
    let public = mask(&clear, Some(schema), schema);
    refuse_masks(&clear, Some(schema), schema, "config")?;
    Ok(CheckedConfig { clear, public })
}

fn merge(stored: &Value, sent: &Value) -> Value {
    match (stored, sent) {
        (stored, Value::String(text)) if text == MASK => stored.clone(),
        (Value::Object(stored), Value::Object(sent)) => {
            let mut merged = stored.clone();
            for (name, value) in sent {
                if value.is_null() {
                    merged.remove(name);
                } else {
                    let value = stored.get(name).map_or_else(|| value.clone(), |stored| merge(stored, value));
                    merged.insert(name.clone(), value);
                }
            }
            Value::Object(merged)
        }
        // A list is replaced as a whole; where it comes back masked, place by place the mask means the same.
        (Value::Array(stored), Value::Array(sent)) => Value::Array(
            sent.iter()
                .enumerate()
                .map(|(at, sent)| stored.get(at).map_or_else(|| sent.clone(), |stored| merge(stored, sent)))
                .collect(),
        ),
        (_, sent) => sent.clone(),
    }
}

/// The configuration with every secret replaced by the mask: the fields whose schema has the format `password`, and
/// text in fields the schema does not know, because a misspelled `pasword` is a secret too.
fn mask(value: &Value, schema: Option<&Value>, root: &Value) -> Value {
    if is_secret(schema, root) {
        return match value {
            Value::Null => Value::Null,
            Value::Array(items) => items.iter().map(|item| mask(item, schema, root)).collect(),
            Value::Object(fields) => {
                fields.iter().map(|(name, field)| (name.clone(), mask(field, schema, root))).collect()
            }
            _ => Value::String(MASK.to_owned()),
        };
    }
    match value {
        Value::Object(fields) => fields
            .iter()
            .map(|(name, field)| (name.clone(), mask(field, schema_of_field(name, schema, root), root)))
            .collect(),
        Value::Array(items) => {
            let schema = schema_of_items(schema, root);
            items.iter().map(|item| mask(item, schema, root)).collect()
        }
        Value::String(_) if schema.is_none() => Value::String(MASK.to_owned()),
        other => other.clone(),
    }
}

/// A mask that is still there after merging stands for nothing.
fn refuse_masks(value: &Value, schema: Option<&Value>, root: &Value, path: &str) -> Result<()> {
    match value {
        Value::String(text) if text == MASK && (schema.is_none() || is_secret(schema, root)) => {
            Err(Error::invalid("The mask ****** stands for a stored secret, and none is stored")
                .field(path)
                .remedy("Send the secret itself"))
        }
        Value::Object(fields) => fields.iter().try_for_each(|(name, field)| {
            refuse_masks(field, schema_of_field(name, schema, root), root, &format!("{path}.{name}"))
        }),
        Value::Array(items) => {
            let items_schema = if is_secret(schema, root) { schema } else { schema_of_items(schema, root) };
            items
                .iter()
                .enumerate()
                .try_for_each(|(at, item)| refuse_masks(item, items_schema, root, &format!("{path}[{at}]")))
        }
        _ => Ok(()),
    }
}

/// True where the schema, or any alternative of it, has the format `password`.
fn is_secret(schema: Option<&Value>, root: &Value) -> bool {
    let Some(rules) = schema.and_then(|schema| resolve(schema, root)) else { return false };
    rules.get("format").and_then(Value::as_str) == Some("password")
        || alternatives(rules).any(|alternative| is_secret(Some(alternative), root))
}

fn alternatives(rules: &Map<String, Value>) -> impl Iterator<Item = &Value> {
    ["allOf", "anyOf", "oneOf"].into_iter().flat_map(|keyword| list(rules, keyword))
}

fn schema_of_field<'a>(name: &str, schema: Option<&'a Value>, root: &'a Value) -> Option<&'a Value> {
    let rules = resolve(schema?, root)?;
    let named = rules.get("properties").and_then(|properties| properties.get(name));
    let any = rules.get("additionalProperties").filter(|schema| schema.is_object());
    named.or(any).or_else(|| {
        alternatives(rules).find_map(|alternative| schema_of_field(name, Some(alternative), root))
    })
}

fn schema_of_items<'a>(schema: Option<&'a Value>, root: &'a Value) -> Option<&'a Value> {
    let rules = resolve(schema?, root)?;
    rules
        .get("items")
        .or_else(|| alternatives(rules).find_map(|alternative| schema_of_items(Some(alternative), root)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn schema() -> Value {
        json!({
            "type": "object",
            "required": ["host"],
            "properties": {
                "host": { "type": "string" },
                "port": { "type": ["integer", "null"], "minimum": 1, "maximum": 65535 },
                "password": { "anyOf": [{ "$ref": "#/$defs/Secret" }, { "type": "null" }] },
                "tokens": { "type": "array", "items": { "$ref": "#/$defs/Secret" } },
                "proxy": { "type": "object", "properties": {
                    "user": { "type": "string" }, "password": { "$ref": "#/$defs/Secret" } } },
                "headers": { "type": "object", "additionalProperties": { "$ref": "#/$defs/Secret" } }
            },
            "$defs": { "Secret": { "type": "string", "format": "password" } }
        })
    }

    fn checked(sent: &Value, stored: Option<&Value>) -> Result<CheckedConfig> {
        check(sent.as_object().unwrap(), stored, &schema())
    }

    #[test]
    fn i6_secrets_are_masked_wherever_the_schema_has_them_and_where_it_knows_nothing() {
        let sent = json!({ "host": "db", "port": "5432", "password": "s3cret", "tokens": ["s3cret", "s3cret"],
            "proxy": { "user": "u", "password": "s3cret" }, "headers": { "x": "s3cret" }, "pasword": "s3cret" });
        let config = checked(&sent, None).unwrap();
        assert!(!config.public.to_string().contains("s3cret"), "{}", config.public);
        assert_eq!(config.public["host"], "db");
        assert_eq!(config.public["port"], 5432);
        assert_eq!(config.public["proxy"]["user"], "u");
        assert_eq!(config.public["tokens"], json!(["******", "******"]));
        assert_eq!(config.clear["password"], "s3cret");
    }

    #[test]
    fn a_masked_secret_sent_back_is_unchanged_and_null_removes() {
        let stored = json!({ "host": "db", "port": 1, "password": "s3cret", "tokens": ["a", "b"] });
        let sent = json!({ "host": "new", "port": null, "password": "******", "tokens": ["******", "c"] });
        let config = checked(&sent, Some(&stored)).unwrap();
        assert_eq!(config.clear, json!({ "host": "new", "password": "s3cret", "tokens": ["a", "c"] }));
    }

    #[test]
    fn null_leaves_out_what_is_not_required() {
        let config = checked(&json!({ "host": "db", "tokens": null, "proxy": null }), None).unwrap();
        assert_eq!(config.clear, json!({ "host": "db" }));
        assert_eq!(checked(&json!({ "host": null }), None).err().unwrap().field_name(), Some("config.host"));
    }

    #[test]
    fn a_mask_without_a_stored_secret_is_refused() {
        let error = checked(&json!({ "host": "db", "password": "******" }), None).err().unwrap();
        assert_eq!(error.field_name(), Some("config.password"));
        let error = checked(&json!({ "host": "db", "tokens": ["******"] }), None).err().unwrap();
        assert_eq!(error.field_name(), Some("config.tokens[0]"));
    }

    #[test]
    fn errors_name_the_field_and_never_quote_the_value() {
        for (sent, field) in [
            (json!({ "port": 1 }), "config.host"),
            (json!({ "host": "db", "port": "s3cret" }), "config.port"),
            (json!({ "host": "db", "port": 70000 }), "config.port"),
            (json!({ "host": "db", "proxy": "s3cret" }), "config.proxy"),
            (json!({ "host": ["s3cret"] }), "config.host"),
        ] {
            let error = checked(&sent, None).err().unwrap();
            assert_eq!(error.field_name(), Some(field));
            assert!(!error.to_string().contains("s3cret"), "{error}");
        }
    }
}
