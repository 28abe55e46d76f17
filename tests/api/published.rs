//! Our answers against Fivetran's published ones: fields, types, and which of them are always there. Every deviation is
//! listed with its reason, and one that is no longer there must go.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::harness::World;

/// Fields of what `GET` of a path answers, as Fivetran publishes them: `name:type`, with `!` where they are always there.
const PUBLISHED: &[(&str, &str)] = &[
    ("/v1/account/info", "account_id:string! account_name:string user_id:string system_key_id:string"),
    ("/v1/groups/{group_id}", "id:string! name:string! created_at:time!"),
    (
        "/v1/users/{user_id}",
        "id:string! email:string! verified:boolean! invited:boolean picture:string phone:string role:string! \
         active:boolean! given_name:string family_name:string logged_in_at:time! created_at:time!",
    ),
    ("/v1/teams/{team_id}", "id:string! name:string description:string role:string!"),
    ("/v1/teams/{team_id}/users/{user_id}", "user_id:string! role:string! created_at:time!"),
    ("/v1/users/{user_id}/groups/{group_id}", "id:string! role:string! created_at:time!"),
    ("/v1/users/{user_id}/connections/{connection_id}", "id:string! role:string! created_at:time!"),
    ("/v1/teams/{team_id}/groups/{group_id}", "id:string! role:string! created_at:time!"),
    ("/v1/teams/{team_id}/connections/{connection_id}", "id:string! role:string! created_at:time!"),
    (
        "/v1/roles",
        "name:string! description:string scope:array! is_custom:boolean! is_deprecated:boolean! \
         replacement_role_name:string!",
    ),
    (
        "/v1/system-keys/{key_id}",
        "id:string name:string key:string secret:string permissions:array created_at:time updated_at:time \
         expired_at:time last_used_at:time",
    ),
    (
        "/v1/webhooks/{webhook_id}",
        "id:string! type:string! url:string! events:array! active:boolean! secret:string group_id:string \
         created_at:time! created_by:string!",
    ),
    ("/v1/external-logging", "id:string! service:string! enabled:boolean!"),
    (
        "/v1/destinations",
        "id:string! service:string! region:string! group_id:string! time_zone_offset:string! setup_status:string! \
         daylight_saving_time_enabled:boolean private_link_id:string networking_method:string \
         local_processing_agent_id:string hybrid_deployment_agent_id:string proxy_agent_id:string \
         external_secrets_manager_id:string",
    ),
    (
        "/v1/connections/{connection_id}",
        "id:string! service:string! schema:string! paused:boolean! status:object! config:object group_id:string! \
         service_version:integer connected_by:string! created_at:time! succeeded_at:time failed_at:time \
         pause_after_trial:boolean! sync_frequency:integer! data_delay_threshold:integer \
         data_delay_sensitivity:string daily_sync_time:string schedule_type:string! setup_tests:array \
         private_link_id:string networking_method:string proxy_agent_id:string source_sync_details:object \
         hybrid_deployment_agent_id:string connect_card:object connect_card_config:object \
         destination_configuration:object destination_schema_names:string external_secrets_manager_id:string \
         external_secrets_keys_config:object",
    ),
    (
        "/v1/transformations/{transformation_id}",
        "id:string! status:string! schedule:object! type:string! paused:boolean! created_at:time! \
         created_by_id:string! last_started_at:time last_ended_at:time output_model_names:array",
    ),
];

/// Path, field, what is different, why.
const DEVIATIONS: &[(&str, &str, &str, &str)] = &[
    (
        "/v1/connections/{connection_id}",
        "connect_card",
        "absent",
        "there are no Connect Cards; creating one says so",
    ),
    (
        "/v1/connections/{connection_id}",
        "connect_card_config",
        "absent",
        "there are no Connect Cards; creating one says so",
    ),
    (
        "/v1/connections/{connection_id}",
        "destination_configuration",
        "absent",
        "of Snowflake destinations only",
    ),
    (
        "/v1/connections/{connection_id}",
        "external_secrets_keys_config",
        "absent",
        "there are no external secrets managers",
    ),
    (
        "/v1/connections/{connection_id}",
        "external_secrets_manager_id",
        "absent",
        "there are no external secrets managers",
    ),
    (
        "/v1/connections/{connection_id}",
        "next_sync_at",
        "ours",
        "when the clock starts it next; Fivetran shows it on its dashboard only",
    ),
    (
        "/v1/connections/{connection_id}",
        "schedule_phrase",
        "ours",
        "the schedule in words, as it may be sent",
    ),
    (
        "/v1/connections/{connection_id}",
        "sync_mode",
        "ours",
        "full or incremental, which Fivetran leaves to the connector",
    ),
    ("/v1/destinations", "config", "ours", "the schema is shared with the details; lists leave it out"),
    ("/v1/destinations", "setup_tests", "ours", "the schema is shared with the details; lists leave it out"),
    ("/v1/destinations", "external_secrets_manager_id", "absent", "there are no external secrets managers"),
    ("/v1/destinations", "hybrid_deployment_agent_id", "absent", "there are no agents"),
    ("/v1/destinations", "local_processing_agent_id", "absent", "there are no agents"),
    ("/v1/destinations", "private_link_id", "absent", "there are no private links"),
    ("/v1/destinations", "proxy_agent_id", "absent", "there are no proxy agents"),
    (
        "/v1/transformations/{transformation_id}",
        "transformation_config",
        "ours",
        "published per type of transformation, which this one object holds",
    ),
];

/// The schema behind references and around `null`.
fn resolved<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    if let Some(reference) = schema["$ref"].as_str() {
        return resolved(document, document.pointer(reference.trim_start_matches('#')).unwrap());
    }
    let alternatives = schema["anyOf"].as_array().into_iter().flatten();
    match alternatives.into_iter().find(|one| one["type"] != "null") {
        Some(one) => resolved(document, one),
        None => schema,
    }
}

fn type_of(document: &Value, schema: &Value) -> String {
    let schema = resolved(document, schema);
    if schema["format"] == "date-time" {
        return "time".to_owned();
    }
    // An enum written as alternatives has texts for constants.
    let one = schema.get("oneOf").and_then(|all| all.get(0)).unwrap_or(schema);
    let named = match &one["type"] {
        Value::Array(types) => types.iter().find(|one| *one != "null").cloned().unwrap_or_default(),
        one => one.clone(),
    };
    named.as_str().unwrap_or("any").to_owned()
}

/// Name to type and whether it is always there, of one object that `GET` of the path answers.
fn ours(document: &Value, path: &str) -> BTreeMap<String, (String, bool)> {
    let schema = &document["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["schema"];
    let mut data = resolved(document, &schema["properties"]["data"]);
    if let Some(items) = data["properties"].get("items") {
        data = resolved(document, &items["items"]);
    }
    let required = data["required"].as_array().cloned().unwrap_or_default();
    let fields = data["properties"].as_object().unwrap_or_else(|| panic!("{path} has no fields"));
    let field = |(name, schema): (&String, &Value)| {
        (name.clone(), (type_of(document, schema), required.contains(&Value::from(name.as_str()))))
    };
    fields.iter().map(field).collect()
}

#[test]
fn shared_objects_have_the_published_shape_but_for_listed_deviations() {
    let world = World::new();
    let mut seen = BTreeSet::new();
    for (path, fields) in PUBLISHED {
        let ours = ours(world.document(), path);
        let mut published = BTreeSet::new();
        for field in fields.split_whitespace() {
            let (name, kind) = field.split_once(':').unwrap();
            let (kind, always) = (kind.trim_end_matches('!'), kind.ends_with('!'));
            published.insert(name.to_owned());
            let what = match ours.get(name) {
                None => "absent".to_owned(),
                Some((own, _)) if own != kind => format!("{own} for {kind}"),
                Some((_, false)) if always => "not always there".to_owned(),
                Some(_) => continue,
            };
            seen.insert(((*path).to_owned(), name.to_owned(), what));
        }
        for name in ours.keys().filter(|name| !published.contains(*name)) {
            seen.insert(((*path).to_owned(), name.clone(), "ours".to_owned()));
        }
    }
    let known = DEVIATIONS.iter().map(|(path, name, what, reason)| {
        assert!(reason.len() > 10, "{path} {name} needs a reason");
        ((*path).to_owned(), (*name).to_owned(), (*what).to_owned())
    });
    let known = known.collect::<BTreeSet<_>>();
    let new = seen.difference(&known).collect::<Vec<_>>();
    let gone = known.difference(&seen).collect::<Vec<_>>();
    assert!(new.is_empty() && gone.is_empty(), "not listed: {new:#?}\nlisted, but not so: {gone:#?}");
}
