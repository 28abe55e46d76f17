//! Whatever arrives gets a documented answer (invariant I10).

use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Map, Value, json};

use crate::harness::{World, request};
use crate::shop;

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        prop_oneof![
            Just(String::new()),
            Just("******".to_owned()),
            Just("true".to_owned()),
            "[a-zA-Z0-9.:/ ]{0,12}",
            any::<String>()
        ]
        .prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((any::<Index>(), inner), 0..5).prop_map(|fields| {
                fields
                    .into_iter()
                    .map(|(at, value)| (FIELDS[at.index(FIELDS.len())].to_owned(), value))
                    .collect()
            }),
        ]
    })
}

/// Names that mean something somewhere.
const FIELDS: &[&str] = &[
    "name",
    "group_id",
    "service",
    "config",
    "host",
    "port",
    "password",
    "schema_prefix",
    "schema",
    "table",
    "tokens",
    "tunnel",
    "headers",
    "paused",
    "sync_frequency",
    "daily_sync_time",
    "schedule",
    "schedule_type",
    "sync_mode",
    "schemas",
    "public",
    "tables",
    "users",
    "columns",
    "id",
    "email",
    "enabled",
    "hashed",
    "is_primary_key",
    "scope",
    "state",
    "force",
    "exclude_mode",
    "schema_change_handling",
    "cursor_column",
    "time_zone_offset",
    "region",
    "run_setup_tests",
    "is_historical_sync",
    "auth",
    "anything",
];

fn fields(body: Vec<(Index, Value)>) -> Value {
    body.into_iter()
        .map(|(at, value)| (FIELDS[at.index(FIELDS.len())].to_owned(), value))
        .collect::<Map<_, _>>()
        .into()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn i10_no_request_is_answered_with_a_5xx_or_outside_the_document(
        calls in prop::collection::vec(
            (any::<Index>(), any::<[Index; 4]>(), prop::collection::vec((any::<Index>(), any_json()), 0..6),
                "[a-z_]{0,9}=?[!-~]{0,9}", any::<bool>()),
            1..40,
        )
    ) {
        let world = World::new();
        shop::offer(vec![shop::table("public", "users", &["email"])]);
        let group = world.group("Lake");
        let connection = world.connection(&group, "shop");
        world.post(&format!("/v1/connections/{connection}/schemas/reload"), json!({}));
        let parts = [group.as_str(), connection.as_str(), "public", "users", "email", "shop", "%2F", "%", "..", "é", "owner"];
        let operations = world.document()["paths"].as_object().unwrap().iter().flat_map(|(path, methods)| {
            methods.as_object().unwrap().keys().map(move |method| (path.clone(), method.to_uppercase()))
        }).collect::<Vec<_>>();
        for (operation, chosen, body, query, valid_group) in calls {
            let (path, method) = &operations[operation.index(operations.len())];
            let mut chosen = chosen.iter();
            let path = path.split('/').map(|part| match part {
                "{connection_id}" => connection.as_str(),
                "{group_id}" | "{destination_id}" => group.as_str(),
                part if part.starts_with('{') => parts[chosen.next().unwrap().index(parts.len())],
                part => part,
            }).collect::<Vec<_>>().join("/");
            let mut body = fields(body);
            if valid_group {
                body["group_id"] = json!(group);
                body["service"] = json!("shop");
            }
            let reply = world.send(request(method, &format!("{path}?{query}"), Some(body)));
            prop_assert!(reply.status < 500, "{method} {path} {} {:?}", reply.json, reply.fault);
        }
    }

    #[test]
    fn i10_no_path_and_no_bytes_break_the_front_door(method in "[A-Z]{0,7}", path in "\\PC{0,40}", body in any::<Vec<u8>>()) {
        let world = World::new();
        for path in [path.clone(), format!("/v1/{path}"), format!("/v1/groups/{path}")] {
            for method in [method.as_str(), "GET", "PATCH"] {
                let mut request = request(method, &path, None);
                request.body = body.clone().into();
                let reply = world.send(request);
                prop_assert!(reply.status < 500, "{method} {path} {} {:?}", reply.json, reply.fault);
            }
        }
    }
}
