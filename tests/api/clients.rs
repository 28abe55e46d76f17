//! What clients made for Fivetran send, as they send it, and what they need to read in the answers. Each row is a request
//! that was seen on the wire or read in a client's source; a few of the clients themselves run in `tests/clients/`.

use bytes::Bytes;
use fivetran_do::api::ApiRequest;
use serde_json::{Value, json};

use crate::harness::{KEY, Reply, SECRET, World, basic};
use crate::shop;

/// How a client dresses its requests.
struct Client {
    name: &'static str,
    accept: Option<&'static str>,
    /// On requests with and without a body.
    content_type: [Option<&'static str>; 2],
}

const JSON: Option<&str> = Some("application/json");
const V2: Option<&str> = Some("application/json;version=2");

const DAGSTER: Client = Client { name: "dagster", accept: Some("*/*"), content_type: [V2, V2] };
const AIRFLOW: Client = Client { name: "airflow", accept: Some("*/*"), content_type: [V2, None] };
const AIRFLOW_ASYNC: Client =
    Client { name: "airflow, asynchronous", accept: V2, content_type: [JSON, None] };
const PREFECT: Client = Client { name: "prefect", accept: Some("*/*"), content_type: [V2, None] };
const MCP: Client = Client { name: "mcp", accept: Some("*/*"), content_type: [JSON, JSON] };
const CLI: Client = Client { name: "fivetran-cli", accept: JSON, content_type: [JSON, None] };
const SDK: Client = Client { name: "connector SDK", accept: Some("*/*"), content_type: [JSON, None] };
const GO: Client = Client { name: "go-fivetran", accept: None, content_type: [JSON, None] };
const GO_V2: Client = Client { name: "go-fivetran", accept: V2, content_type: [JSON, None] };
const SHIPYARD: Client = Client { name: "Shipyard", accept: V2, content_type: [JSON, JSON] };
const KESTRA: Client = Client { name: "Kestra", accept: V2, content_type: [JSON, JSON] };

impl Client {
    /// Sends what the client sends. Its path and body may name the `{group}` and the `{connection}` there are.
    fn sends(&self, there: &There, method: &str, path: &str, body: &str) -> Reply {
        let (path, body) = (there.named(path), there.named(body));
        let (path, query) = path.split_once('?').unwrap_or((&path, ""));
        let mut headers = vec![("Authorization".to_owned(), basic(KEY, SECRET))];
        if self.name == KESTRA.name {
            headers = vec![("Authorization".to_owned(), format!("Basic {KEY}:{SECRET}"))];
        }
        let content_type = self.content_type[usize::from(body.is_empty())];
        for (name, value) in [("Accept", self.accept), ("Content-Type", content_type)] {
            headers.extend(value.map(|value| (name.to_owned(), value.to_owned())));
        }
        there.world.send(ApiRequest {
            method: method.to_owned(),
            path: path.to_owned(),
            query: query.to_owned(),
            headers,
            body: Bytes::from(body),
            vouched: false,
        })
    }
}

/// A world with one connection that was never synced, and the destination it feeds.
struct There {
    world: World,
    group: String,
    connection: String,
}

impl There {
    fn new() -> Self {
        let world = World::new();
        shop::offer(vec![shop::table("public", "users", &["email"])]);
        let group = world.group("Lake");
        let shelf = json!({ "group_id": group, "service": "shelf", "config": { "bucket": "b" } });
        assert_eq!(world.post("/v1/destinations", shelf).status, 201);
        let connection = world.connection(&group, "shop");
        Self { world, group, connection }
    }

    fn named(&self, text: &str) -> String {
        text.replace("{group}", &self.group).replace("{connection}", &self.connection)
    }

    /// Sends the rows in order and compares the answers.
    fn expect(&self, rows: &[Row]) {
        for Row(client, method, path, body, status, reads) in rows {
            let reply = client.sends(self, method, path, body);
            let at = format!("{}: {method} {path} {body}: {}", client.name, reply.json);
            assert_eq!(reply.status, *status, "{at}");
            assert_eq!(reply.json["code"] == "Success", *status < 300, "{at}");
            for (pointer, kind) in reads.split(", ").filter_map(|read| read.split_once(' ')) {
                assert!(is(reply.json.pointer(pointer), kind), "{pointer} is not {kind} in {at}");
            }
        }
    }
}

/// Client, method, path, body, status it needs, and what it reads: a pointer and what must be there.
struct Row(&'static Client, &'static str, &'static str, &'static str, u16, &'static str);

fn is(value: Option<&Value>, kind: &str) -> bool {
    let time = |value: &Value| {
        let text = value.as_str().unwrap_or_default();
        text.len() == 27 && text.ends_with('Z') && text.as_bytes()[10] == b'T'
    };
    match (value, kind) {
        (value, "absent") => value.is_none(),
        (Some(value), "text") => value.as_str().is_some_and(|text| !text.is_empty()),
        (Some(value), "int") => value.is_i64(),
        (Some(value), "bool") => value.is_boolean(),
        (Some(value), "list") => value.is_array(),
        (Some(value), "empty") => value.as_array().is_some_and(Vec::is_empty),
        (Some(value), "one") => value.as_array().is_some_and(|list| list.len() == 1),
        (Some(value), "object") => value.is_object(),
        (Some(value), "null") => value.is_null(),
        (Some(value), "time") => time(value),
        (Some(value), "time?") => value.is_null() || time(value),
        (Some(value), kind) => value == kind.trim_start_matches('='),
        (None, _) => false,
    }
}

/// What every client of connections reads of one.
const CONNECTION: &str = "/data/id text, /data/group_id text, /data/service =shop, /data/service_version int, \
    /data/schema =shop, /data/paused bool, /data/pause_after_trial bool, /data/connected_by text, /data/created_at time, \
    /data/succeeded_at time?, /data/failed_at time?, /data/sync_frequency int, /data/schedule_type text, \
    /data/status/setup_state =connected, /data/status/sync_state text, /data/status/update_state text, \
    /data/status/is_historical_sync bool, /data/status/rescheduled_for null, /data/status/tasks list, \
    /data/status/warnings list, /data/config object, /data/config/password =******";

#[test]
fn orchestrators_get_what_they_read() {
    let there = There::new();
    let connection = "/data/items/0/id text, /data/items/0/schema =shop, /data/items/0/paused bool, \
        /data/items/0/status/setup_state =connected, /data/items/0/succeeded_at time?, /data/items/0/failed_at time?";
    there.expect(&[
        Row(&DAGSTER, "GET", "/v1/groups", "", 200, "/data/items/0/id text, /data/items/0/name =Lake"),
        Row(&DAGSTER, "GET", "/v1/destinations/{group}", "", 200, "/data/id text, /data/service =shelf, /data/config object"),
        Row(&DAGSTER, "GET", "/v1/groups/{group}/connectors?limit=1000", "", 200, connection),
        Row(&DAGSTER, "GET", "/v1/connectors/{connection}", "", 200, CONNECTION),
        Row(&DAGSTER, "GET", "/v1/connectors/{connection}/schemas", "", 404, "/code =NotFound_SchemaConfig"),
        Row(&MCP, "POST", "/v1/connections/{connection}/schemas/reload", "", 200, "/data/schemas/public/tables/users object"),
        Row(&DAGSTER, "GET", "/v1/connectors/{connection}/schemas", "", 200, "/data/schemas/public/enabled bool, \
            /data/schemas/public/name_in_destination text, /data/schemas/public/tables/users/name_in_destination text, \
            /data/schemas/public/tables/users/columns object"),
        Row(&DAGSTER, "GET", "/v1/connectors/{connection}/schemas/public/tables/users/columns", "", 200,
            "/data/columns/email/is_primary_key bool, /data/columns/email/enabled bool"),
        Row(&DAGSTER, "PATCH", "/v1/connectors/{connection}", r#"{"schedule_type": "manual"}"#, 200, "/data/schedule_type =manual"),
        Row(&DAGSTER, "POST", "/v1/connectors/{connection}/force", "", 200, "/message text"),
        Row(&DAGSTER, "POST", "/v1/connectors/{connection}/schemas/tables/resync", r#"{"public": ["users"]}"#, 200, ""),
        Row(&DAGSTER, "POST", "/v1/connectors/{connection}/resync", "", 200, ""),
        Row(&AIRFLOW, "GET", "/v1/users", "", 200, "/code =Success"),
        Row(&AIRFLOW, "GET", "/v1/groups/", "", 200, "/data/items/0/id text, /data/next_cursor absent"),
        Row(&AIRFLOW, "GET", "/v1/groups/{group}/connectors/", "", 200, connection),
        Row(&AIRFLOW_ASYNC, "GET", "/v1/connectors/{connection}", "", 200, CONNECTION),
        Row(&AIRFLOW, "POST", "/v1/connectors/{connection}/test", "{}", 200, "/data/status/setup_state =connected, /data/setup_tests one"),
        Row(&AIRFLOW, "PATCH", "/v1/connectors/{connection}", r#"{"paused": false}"#, 200, "/data/paused bool"),
        Row(&AIRFLOW, "POST", "/v1/connectors/{connection}/resync", r#"{"scope": {"public": ["users"]}}"#, 200, ""),
        Row(&AIRFLOW, "GET", "/v1/metadata/connectors/{connection}/tables", "", 200,
            "/data/items/0/id text, /data/items/0/name_in_source =users, /data/items/0/name_in_destination text"),
        Row(&AIRFLOW, "GET", "/v1/metadata/connectors/{connection}/columns", "", 200,
            "/data/items/0/parent_id text, /data/items/0/type_in_source text, /data/items/0/type_in_destination text"),
        Row(&PREFECT, "GET", "/v1/connectors/{connection}", "", 200, CONNECTION),
        Row(&PREFECT, "POST", "/v1/connectors/{connection}/force", "", 200, ""),
        Row(&SHIPYARD, "POST", "/v1/connectors/{connection}/force", r#"{"force": true}"#, 200, ""),
        Row(&SHIPYARD, "PATCH", "/v1/connectors/{connection}", r#"{"paused": "true", "historical_sync": true}"#, 200, ""),
        Row(&SHIPYARD, "PATCH", "/v1/connectors/{connection}", r#"{"paused": "False"}"#, 200, ""),
        Row(&KESTRA, "GET", "/v2/connectors/{connection}", "", 200, CONNECTION),
        Row(&KESTRA, "POST", "/v2/connectors/{connection}/sync", r#"{"force": false}"#, 200, "/code =Success, /message text"),
        Row(&KESTRA, "GET", "/v2/connectors/{connection}/schemas", "", 200, "/data/schemas/public/tables/users/enabled bool"),
        Row(&KESTRA, "GET", "/v2/destinations/{group}", "", 200, "/data/config object"),
        Row(&MCP, "POST", "/v1/connections/{connection}/test", "", 200, "/data/setup_tests list"),
        Row(&MCP, "POST", "/v1/connections/{connection}/sync", r#"{"force": true}"#, 200, ""),
        Row(&MCP, "POST", "/v1/connections/{connection}/schemas/tables/resync", r#"{"schema": ["public.users"]}"#, 200, ""),
        Row(&MCP, "POST", "/v1/connections/{connection}/resync", "", 200, ""),
    ]);
}

#[test]
fn the_connector_sdk_finds_what_it_looks_for_and_is_told_why_it_cannot_deploy() {
    let there = There::new();
    let deploy = r#"{"group_id": "{group}", "service": "connector_sdk", "paused": true, "run_setup_tests": true,
        "sync_frequency": "360", "config": {"schema": "x", "secrets_list": [{"key": "a", "value": "b"}],
        "python_version": "3.12", "package_id": "p"}}"#;
    there.expect(&[
        Row(&SDK, "GET", "/v1/groups?limit=500", "", 200, "/data/items one"),
        Row(&SDK, "GET", "/v1/groups/{group}/connectors?schema=shop", "", 200, "/data/items one"),
        Row(&SDK, "GET", "/v1/groups/{group}/connectors?schema=sho", "", 200, "/data/items empty"),
        Row(
            &SDK,
            "GET",
            "/v1/connector-sdk/packages?limit=1000",
            "",
            200,
            "/data/items empty, /data/next_cursor absent",
        ),
        Row(&SDK, "GET", "/v1/connector-sdk/migration/connections", "", 200, "/data/items empty"),
        Row(&SDK, "POST", "/v1/connectors", deploy, 400, "/message text, /data absent"),
        Row(&SDK, "GET", "/v1/connector-sdk/packages/p", "", 404, "/code =NotFound_ConnectorSdkPackage"),
    ]);
    let upload = Client { content_type: [Some("multipart/form-data; boundary=x"), None], ..SDK };
    upload.sends(&there, "POST", "/v1/connector-sdk/packages", "--x--").refused(
        400,
        "NotSupported",
        &["Python"],
    );
}

#[test]
fn terraform_creates_reads_and_forgets_by_exact_statuses_and_codes() {
    let there = There::new();
    // The Go client sends what is not set as null, ids it does not have as "", and numbers and booleans as text.
    let connection = r#"{"group_id": "{group}", "service": "shop", "trust_certificates": false, "trust_fingerprints": false,
        "run_setup_tests": true, "paused": "true", "sync_frequency": 360, "data_delay_sensitivity": null,
        "data_delay_threshold": null, "networking_method": "Directly", "proxy_agent_id": null,
        "config": {"host": "db", "port": "5432", "password": "correct-horse-battery", "schema_prefix": "tf"}}"#;
    let destination = r#"{"group_id": "{new_group}", "service": "shelf", "region": "GCP_US_EAST4", "time_zone_offset": "0",
        "trust_certificates": false, "trust_fingerprints": false, "run_setup_tests": false, "config": {"bucket": "b"}}"#;
    let made = |reply: &Reply| reply.data()["id"].as_str().unwrap().to_owned();
    let send = |method: &str, path: &str, body: &str| GO.sends(&there, method, path, body);
    // 201 is checked for these, and 200 for everything else; every answer is parsed as JSON.
    let group = send("POST", "/v1/groups", r#"{"name": "terraform"}"#);
    assert_eq!(group.status, 201);
    let group = made(&group);
    assert_eq!(send("POST", "/v1/destinations", &destination.replace("{new_group}", &group)).status, 201);
    let created = send("POST", "/v1/connections", connection);
    assert_eq!((created.status, &created.data()["config"]["port"]), (201, &json!(5432)), "{}", created.json);
    assert_eq!(created.data()["config"]["password"], "******");
    let id = made(&created);
    let user = send(
        "POST",
        "/v1/users",
        r#"{"email": "tf@example.com", "given_name": "T", "family_name": "F", "role": "Account Reviewer"}"#,
    );
    assert_eq!(user.status, 201);
    let user = made(&user);
    let team = send("POST", "/v1/teams", r#"{"name": "tf", "description": "", "role": "Account Reviewer"}"#);
    assert_eq!(team.status, 201);
    let team = made(&team);
    let hook = send(
        "POST",
        "/v1/webhooks/account",
        r#"{"url": "https://hooks.example/x", "events": ["sync_end"], "active": false, "secret": "s"}"#,
    );
    assert_eq!(hook.status, 200, "webhooks are the exception");
    let log = send(
        "POST",
        "/v1/external-logging",
        r#"{"group_id": "{group}", "service": "datadog_log", "enabled": "true", "config": {"api_key": "k"}}"#,
    );
    assert_eq!(log.status, 201, "{}", log.json);
    for (path, body, status) in [
        (
            format!("/v1/users/{user}/groups"),
            format!(r#"{{"id": "{group}", "role": "Destination Reviewer"}}"#),
            201,
        ),
        (
            format!("/v1/users/{user}/connections"),
            format!(r#"{{"id": "{id}", "role": "Connector Reviewer"}}"#),
            201,
        ),
        (
            format!("/v1/teams/{team}/groups"),
            format!(r#"{{"id": "{group}", "role": "Destination Reviewer"}}"#),
            201,
        ),
        (
            format!("/v1/teams/{team}/connections"),
            format!(r#"{{"id": "{id}", "role": "Connector Reviewer"}}"#),
            201,
        ),
        (
            format!("/v1/teams/{team}/users"),
            format!(r#"{{"user_id": "{user}", "role": "Team Member"}}"#),
            201,
        ),
        (
            "/v1/groups/{group}/users".to_owned(),
            r#"{"email": "tf@example.com", "role": "Destination Reviewer"}"#.to_owned(),
            200,
        ),
        (format!("/v1/connections/{id}/test"), "{}".to_owned(), 200),
        (
            format!("/v1/connections/{id}/test"),
            r#"{"trust_certificates": true, "trust_fingerprints": true}"#.to_owned(),
            200,
        ),
    ] {
        let reply = send("POST", &path, &body);
        assert_eq!(reply.status, status, "{path}: {}", reply.json);
    }
    // The schema resource: there is none, it has the source looked at, changes it, and reads it again.
    let schemas = format!("/v1/connections/{id}/schemas");
    send("GET", &schemas, "").refused(404, "NotFound_SchemaConfig", &[]);
    assert_eq!(send("POST", &format!("{schemas}/reload"), r#"{"exclude_mode": "PRESERVE"}"#).status, 200);
    let patch = r#"{"schema_change_handling": "ALLOW_COLUMNS", "schemas": {"public": {"enabled": true, "tables": {"users": {"enabled": true, "columns": {"email": {"enabled": true, "hashed": true}}}}}}}"#;
    assert_eq!(send("PATCH", &schemas, patch).status, 200);
    let read = send("GET", &schemas, "");
    assert_eq!(read.data()["schemas"]["public"]["tables"]["users"]["columns"]["email"]["hashed"], true);
    assert_eq!(
        send("POST", &format!("{schemas}/public/tables/users/resync"), "").status,
        409,
        "it is paused"
    );
    let read = GO_V2.sends(&there, "GET", &format!("/v1/connections/{id}"), "");
    assert!(read.data()["service_version"].is_i64() && read.data()["setup_tests"].is_array());
    let types = send("GET", "/v1/metadata/connector-types/shop", "");
    assert!(
        types.data()["config"]["properties"]["port"]["type"].is_string()
            || types.data()["config"]["properties"]["port"]["type"].is_array()
    );
    // Deleted with a body that parses; then gone by the code that makes it forget.
    let hook = made(&hook);
    for (path, code) in [
        (format!("/v1/connections/{id}"), "NotFound_Connection"),
        (format!("/v1/destinations/{group}"), "NotFound_Destination"),
        (format!("/v1/groups/{group}"), "NotFound_Group"),
        (format!("/v1/users/{user}"), "NotFound_User"),
        (format!("/v1/teams/{team}"), "NotFound_Team"),
        (format!("/v1/webhooks/{hook}"), "NotFound_Webhook"),
        (format!("/v1/external-logging/{}", there.group), "NotFound_LogService"),
    ] {
        let deleted = send("DELETE", &path, "");
        assert_eq!(
            (deleted.status, &deleted.json["code"]),
            (200, &json!("Success")),
            "{path}: {}",
            deleted.json
        );
        assert!(deleted.json.get("data").is_none() && deleted.json["message"].is_string(), "{path}");
        let gone = send("GET", &path, "");
        gone.refused(404, code, &[]);
    }
}

#[test]
fn what_is_gone_is_called_as_the_path_calls_it() {
    let there = There::new();
    // Clients of either time take exactly their code for "deleted already", and anything else for a failure.
    for (collection, code, says) in [
        ("connections", "NotFound_Connection", "Connection with id 'none'"),
        ("connectors", "NotFound_Connector", "Connector with id 'none'"),
    ] {
        for (method, path) in
            [("GET", ""), ("DELETE", ""), ("PATCH", ""), ("POST", "/sync"), ("GET", "/schemas")]
        {
            let reply = GO.sends(&there, method, &format!("/v1/{collection}/none{path}"), "");
            reply.refused(404, code, &[says]);
        }
    }
    let user = there.world.user("account", "ada", None).0;
    let role = r#"{"id": "none", "role": "Connector Reviewer"}"#;
    GO.sends(&there, "POST", &format!("/v1/users/{user}/connectors"), role).refused(
        404,
        "NotFound_Connector",
        &[],
    );
    // A schema that is called as the collection was says nothing of who asks.
    GO.sends(&there, "GET", "/v1/connections/none/schemas/connectors/tables/t/columns", "").refused(
        404,
        "NotFound_Connection",
        &[],
    );
}

#[test]
fn whatever_else_clients_put_into_a_query_is_ignored() {
    let there = There::new();
    there.expect(&[
        Row(
            &CLI,
            "GET",
            "/v1/users?active=true&user_type=STANDARD&has_api_key=true",
            "",
            200,
            "/data/items list",
        ),
        Row(&CLI, "GET", "/v1/hybrid-deployment-agents?groupId={group}", "", 200, "/data/items empty"),
        Row(
            &CLI,
            "GET",
            "/v1/connections?group_id={group}&schema=shop&unknown=1&limit=1000",
            "",
            200,
            "/data/items one",
        ),
        Row(&CLI, "GET", "/v1/connections?limit=&cursor=", "", 200, "/data/items one"),
        Row(&CLI, "GET", "/v1/connections?limit=1001", "", 400, "/code =InvalidInput"),
        Row(&CLI, "POST", "/v1/external-logging/account/test", "", 404, "/code =NotFound_LogService"),
    ]);
}
