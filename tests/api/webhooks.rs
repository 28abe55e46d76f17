use std::task::{Context, Waker};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fivetran_do::control::{RunFinished, RunStarted};
use fivetran_do::core::delivery::{hmac_sha256, signature};
use fivetran_do::core::limits::OUTGOING_CONNECTIONS;
use fivetran_do::core::run::Effort;
use fivetran_do::delivery::deliver;
use fivetran_do::engine::RunProgress;
use fivetran_do::ports::HttpRequest;
use serde_json::{Value, json};

use crate::harness::{NEW_YEAR, World, block_on, shop_connection};

const SECRET: &str = "hook-s3cret";

fn hook(events: &[&str]) -> Value {
    json!({ "url": "https://hooks.example.com/in?token=1", "events": events, "secret": SECRET })
}

fn world() -> World {
    let world = World::new();
    world.secrets.borrow_mut().push(SECRET.to_owned());
    world
}

fn created(world: &World, path: &str, body: Value) -> String {
    let reply = world.post(path, body);
    let id = reply.data()["id"].as_str().unwrap().to_owned();
    world.internet.taken();
    id
}

fn header<'a>(request: &'a HttpRequest, name: &str) -> Option<&'a str> {
    request.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

fn body(request: &HttpRequest) -> Value {
    serde_json::from_slice(&request.body).unwrap()
}

/// Delivers what is due and gives what was sent.
fn delivered(world: &World) -> Vec<HttpRequest> {
    block_on(deliver(&world.services.control, &world.services.ports)).unwrap();
    world.internet.taken()
}

fn events(sent: &[HttpRequest]) -> Vec<String> {
    sent.iter().map(|request| body(request)["event"].as_str().unwrap().to_owned()).collect()
}

/// A run of no table that ended in this state; whether it had not been there before.
pub fn run(world: &World, connection: &str, number: u64, state: &str) -> bool {
    let run_id = format!("{connection}.{number}");
    let control = &world.services.control;
    let started = block_on(control.run_started(&RunStarted {
        run_id: run_id.clone(),
        connection_id: connection.to_owned(),
        number,
        trigger: "manual".to_owned(),
        started_at: NEW_YEAR,
        next_due_at: None,
    }));
    let progress = RunProgress {
        run_id: run_id.clone(),
        state: state.to_owned(),
        phase: "done".to_owned(),
        started_at: NEW_YEAR,
        ended_at: Some(NEW_YEAR),
        tables: Vec::new(),
        effort: Effort::default(),
        error: None,
    };
    block_on(control.run_finished(&RunFinished {
        run_id: &run_id,
        connection_id: connection,
        state,
        ended_at: NEW_YEAR,
        progress: &progress,
        rescheduled_for: None,
        task: None,
        historical_done: true,
    }))
    .unwrap();
    started.unwrap()
}

#[test]
fn at_most_five_receivers_are_waited_for_at_once() {
    let world = world();
    let group = world.group("Lake");
    let connection = created(&world, "/v1/connections", shop_connection(&group, "shop"));
    created(&world, "/v1/webhooks/account", hook(&["sync_start", "sync_end"]));
    (1..=20).for_each(|number| assert!(run(&world, &connection, number, "SUCCESSFUL")));
    world.internet.slow.set(true);
    let mut delivery = std::pin::pin!(deliver(&world.services.control, &world.services.ports));
    let mut context = Context::from_waker(Waker::noop());
    while delivery.as_mut().poll(&mut context).is_pending() {}
    assert_eq!(world.internet.taken().len(), 40);
    assert_eq!(world.internet.most_under_way.get(), OUTGOING_CONNECTIONS);
}

#[test]
fn i6_a_webhook_is_probed_listed_changed_and_deleted_and_its_secret_is_never_told() {
    let world = world();
    let group = world.group("Lake");
    let path = format!("/v1/webhooks/group/{group}");
    let reply = world.post(&path, hook(&["sync_end"]));
    assert_eq!(reply.status, 200);
    let data = reply.data();
    assert_eq!(
        (&data["type"], &data["group_id"], &data["secret"], &data["active"], &data["created_by"]),
        (&json!("group"), &json!(group), &json!("******"), &json!(true), &json!("owner"))
    );
    assert!(!world.db.dump().contains(SECRET));
    let probe = &world.internet.taken()[0];
    assert_eq!(body(probe)["event"], "test_event");
    assert_eq!(header(probe, "x-fivetran-signature-256"), Some(&*signature(SECRET, &probe.body)));
    let one = format!("/v1/webhooks/{}", data["id"].as_str().unwrap());
    assert_eq!(world.get(&one).data(), data);
    assert_eq!(world.get("/v1/webhooks").data()["items"], json!([data]));
    let patched = world.patch(&one, json!({ "events": ["sync_start"], "secret": "******" }));
    assert_eq!(patched.data()["events"], json!(["sync_start"]));
    assert!(world.internet.taken().is_empty(), "nothing that a probe would tell has changed");
    world.patch(&one, json!({ "active": false }));
    let revived = world.patch(&one, json!({ "active": "true", "url": "https://new.example.com/" }));
    assert_eq!(revived.data()["url"], "https://new.example.com/");
    let probe = &world.internet.taken()[0];
    assert_eq!(header(probe, "x-fivetran-signature-256"), Some(&*signature(SECRET, &probe.body)));
    assert!(world.delete(&one).json["message"].as_str().unwrap().contains("has been deleted"));
    for method in ["GET", "PATCH", "DELETE"] {
        world.send(crate::harness::request(method, &one, None)).refused(404, "NotFound_Webhook", &[]);
    }
    assert_eq!(world.get("/v1/webhooks").data()["items"], json!([]));
}

#[test]
fn webhooks_that_could_not_work_are_refused_with_the_field_and_nothing_is_created() {
    let world = world();
    let account = "/v1/webhooks/account";
    let with = |field: &str, value: Value| {
        let mut body = hook(&["sync_end"]);
        body[field] = value;
        body
    };
    for (field, value, says) in [
        ("url", json!("http://hooks.example.com/"), "https"),
        ("url", json!("https://localhost/"), "public"),
        ("url", json!("https://192.168.0.1/"), "public"),
        ("url", json!("https://[::1]/"), "public"),
        ("url", json!("nonsense"), "URL"),
        ("events", json!([]), "events"),
        ("events", json!(["sync_end", "sync_over"]), "events[1]"),
        ("events", json!("sync_end"), "events"),
        ("secret", json!("******"), "secret"),
    ] {
        world.post(account, with(field, value)).refused(400, "InvalidInput", &[says]);
    }
    assert!(world.internet.taken().is_empty(), "what is refused is not called");
    world.post("/v1/webhooks/group/nowhere", hook(&["sync_end"])).refused(404, "NotFound_Group", &[]);
    for status in [500, 302, 0] {
        world.internet.answer_with([status]);
        world.post(account, hook(&["sync_end"])).refused(400, "InvalidInput", &["url", "2xx"]);
    }
    assert_eq!(world.get("/v1/webhooks").data()["items"], json!([]));
    world.internet.answer_with([500]);
    let sleeping = world.post(account, with("active", json!(false)));
    assert_eq!(sleeping.data()["active"], false, "not probed");
    let one = format!("/v1/webhooks/{}", sleeping.data()["id"].as_str().unwrap());
    world.patch(&one, json!({ "active": true })).refused(400, "InvalidInput", &["url"]);
    assert_eq!(world.get(&one).data()["active"], false);
}

#[test]
fn a_webhook_beside_a_service_on_this_machine_may_be_on_it_too() {
    let mut world = world();
    world.services.public_url = "http://127.0.0.1:8787".to_owned();
    let mut body = hook(&["sync_end"]);
    body["url"] = json!("http://127.0.0.1:9000/in");
    assert_eq!(world.post("/v1/webhooks/account", body.clone()).data()["url"], "http://127.0.0.1:9000/in");
    body["url"] = json!("http://example.com/");
    world.post("/v1/webhooks/account", body).refused(400, "InvalidInput", &["https"]);
}

#[test]
fn the_test_endpoint_tells_what_the_receiver_said() {
    let world = world();
    let id = created(&world, "/v1/webhooks/account", hook(&["sync_end"]));
    let path = format!("/v1/webhooks/{id}/test");
    let result = world.post(&path, json!({ "event": "sync_start" }));
    assert_eq!((&result.data()["succeed"], &result.data()["status"]), (&json!(true), &json!(200)));
    assert_eq!(events(&world.internet.taken()), ["sync_start"]);
    world.internet.answer_with([503, 0]);
    let result = world.post(&path, json!({ "event": "test_event" }));
    assert_eq!((&result.data()["succeed"], &result.data()["status"]), (&json!(false), &json!(503)));
    assert_eq!(world.post(&path, json!({ "event": "sync_end" })).data()["status"], 0);
    world.post(&path, json!({ "event": "nonsense" })).refused(400, "InvalidInput", &["event"]);
    world.post(&path, json!({})).refused(400, "InvalidInput", &["event"]);
}

#[test]
fn a_sync_is_told_with_fivetrans_fields_signed_and_once() {
    let world = world();
    let group = world.group("Lake");
    let id = world.connection(&group, "shop");
    let hook = created(&world, "/v1/webhooks/account", hook(&["sync_start", "sync_end"]));
    run(&world, &id, 1, "SUCCESSFUL");
    let sent = delivered(&world);
    assert_eq!(events(&sent), ["sync_start", "sync_end"]);
    assert_eq!(
        body(&sent[1]),
        json!({ "event": "sync_end", "created": "2026-01-01T00:00:00.000000Z", "connector_type": "shop",
            "connector_id": id, "connector_name": "shop", "sync_id": format!("{id}.1"),
            "destination_group_id": group, "data": { "status": "SUCCESSFUL" } })
    );
    assert_eq!(header(&sent[1], "x-fivetran-signature-256"), Some(&*signature(SECRET, &sent[1].body)));
    assert!(delivered(&world).is_empty(), "nothing is told twice");
    run(&world, &id, 1, "SUCCESSFUL");
    assert!(delivered(&world).is_empty(), "i3: history written again tells nothing again");
    let log = world.get(&format!("/v1/webhooks/{hook}/deliveries"));
    let items = log.data()["items"].as_array().unwrap();
    assert_eq!(items.len(), 2);
    assert_eq!(
        (&items[1]["state"], &items[1]["attempts"], &items[1]["response_status"], &items[1]["id"]),
        (
            &json!("delivered"),
            &json!(1),
            &json!(200),
            &json!(header(&sent[1], "x-fivetran-delivery-id").unwrap())
        )
    );
}

#[test]
fn every_change_of_a_connection_is_told_to_those_who_asked_even_its_deletion() {
    let world = world();
    let (lake, other) = (world.group("Lake"), world.group("Other"));
    let all = [
        "create_connector",
        "pause_connector",
        "resume_connector",
        "edit_connector",
        "delete_connector",
        "force_update_connector",
        "resync_connector",
        "resync_table",
        "connection_successful",
        "connection_failure",
    ];
    created(&world, &format!("/v1/webhooks/group/{lake}"), hook(&all));
    world.connection(&other, "elsewhere");
    assert!(delivered(&world).is_empty(), "another group's affairs");
    let id = world.connection(&lake, "shop");
    let path = format!("/v1/connections/{id}");
    assert_eq!(events(&delivered(&world)), ["create_connector", "connection_successful"]);
    world.post("/v1/connections", shop_connection(&lake, "shop")).refused(409, "Conflict", &[]);
    assert!(delivered(&world).is_empty(), "what did not happen is not told");
    for (fields, told) in [
        (json!({ "paused": true }), "pause_connector"),
        (json!({ "paused": false }), "resume_connector"),
        (json!({ "sync_frequency": 60 }), "edit_connector"),
    ] {
        world.clock.advance_seconds(1);
        assert_eq!(world.patch(&path, fields).status, 200);
        assert_eq!(events(&delivered(&world)), [told]);
    }
    world.secrets.borrow_mut().push("wr0ng".to_owned());
    world.patch(&path, json!({ "config": { "password": "wr0ng" } }));
    assert_eq!(events(&delivered(&world)), ["edit_connector", "connection_failure"]);
    world.post(&format!("{path}/force"), json!({}));
    world.clock.advance_seconds(1);
    world.post(&format!("{path}/resync"), json!({}));
    assert_eq!(events(&delivered(&world)), ["force_update_connector", "resync_connector"]);
    world.delete(&path);
    let sent = delivered(&world);
    assert_eq!(events(&sent), ["delete_connector"]);
    assert_eq!(body(&sent[0])["connector_id"], json!(id));
}

#[test]
fn a_failed_delivery_is_tried_again_later_under_the_same_id_and_a_success_ends_it() {
    let world = world();
    let group = world.group("Lake");
    let id = world.connection(&group, "shop");
    let hook = created(&world, "/v1/webhooks/account", hook(&["sync_end"]));
    run(&world, &id, 1, "FAILURE");
    world.internet.answer_with([500, 0]);
    let first = delivered(&world);
    assert!(delivered(&world).is_empty(), "not before its time");
    world.clock.advance_seconds(5 * 60);
    let second = delivered(&world);
    world.clock.advance_seconds(9 * 60);
    assert!(delivered(&world).is_empty(), "pauses grow");
    world.clock.advance_seconds(60);
    let third = delivered(&world);
    for again in [&second, &third] {
        assert_eq!(again.len(), 1);
        assert_eq!(again[0].body, first[0].body);
        assert_eq!(header(&again[0], "x-fivetran-delivery-id"), header(&first[0], "x-fivetran-delivery-id"));
    }
    assert_eq!(header(&third[0], "x-fivetran-delivery-attempt"), Some("3"));
    world.clock.advance_seconds(24 * 3600);
    assert!(delivered(&world).is_empty());
    let log = world.get(&format!("/v1/webhooks/{hook}/deliveries"));
    assert_eq!(
        (&log.data()["items"][0]["state"], &log.data()["items"][0]["attempts"]),
        (&json!("delivered"), &json!(3))
    );
}

#[test]
fn a_receiver_that_is_gone_for_a_day_is_switched_off_and_what_was_left_for_it_is_given_up() {
    let world = world();
    let group = world.group("Lake");
    let id = world.connection(&group, "shop");
    let hook = created(&world, "/v1/webhooks/account", hook(&["sync_start", "sync_end"]));
    run(&world, &id, 1, "SUCCESSFUL");
    let mut attempts = 0;
    for _ in 0..24 * 12 + 1 {
        world.internet.answer_with([500, 500]);
        attempts += delivered(&world).len();
        world.internet.answers.take();
        world.clock.advance_seconds(5 * 60);
    }
    assert_eq!(attempts, 2 * 24);
    let one = format!("/v1/webhooks/{hook}");
    assert_eq!(world.get(&one).data()["active"], false);
    let log = world.get(&format!("{one}/deliveries"));
    for item in log.data()["items"].as_array().unwrap() {
        assert_eq!((&item["state"], &item["next_attempt_at"]), (&json!("failed"), &json!(null)));
    }
    run(&world, &id, 2, "SUCCESSFUL");
    assert!(delivered(&world).is_empty());
    world.patch(&one, json!({ "active": true }));
    world.internet.taken();
    run(&world, &id, 3, "SUCCESSFUL");
    assert_eq!(delivered(&world).len(), 2, "revived, and told only what happens from now on");
    let week = NEW_YEAR + 9 * 24 * 3600 * 1_000_000;
    block_on(world.services.control.tidy_deliveries(week)).unwrap();
    assert_eq!(world.get(&format!("{one}/deliveries")).data()["items"], json!([]), "kept for a week");
}

#[test]
fn a_delivery_whose_worker_died_is_due_again_and_a_late_report_of_it_counts_no_more() {
    use fivetran_do::control::deliveries::Attempted;
    let world = world();
    let group = world.group("Lake");
    let id = world.connection(&group, "shop");
    let hook = created(&world, "/v1/webhooks/account", hook(&["sync_end"]));
    run(&world, &id, 1, "SUCCESSFUL");
    let control = &world.services.control;
    let claimed = block_on(control.claim_deliveries(NEW_YEAR, 10, 10)).unwrap();
    assert_eq!(claimed.len(), 1);
    assert!(delivered(&world).is_empty(), "claimed by another");
    world.clock.advance_seconds(121);
    assert_eq!(delivered(&world).len(), 1);
    let late = Attempted {
        id: claimed[0].id.clone(),
        receiver_id: hook.clone(),
        connection_id: id.clone(),
        attempt: 1,
        status: None,
        error: Some("late".to_owned()),
        next_attempt_at: None,
    };
    block_on(control.settle_deliveries(&[late])).unwrap();
    let log = world.get(&format!("/v1/webhooks/{hook}/deliveries"));
    assert_eq!(log.data()["items"][0]["state"], "delivered");
}

#[test]
fn a_log_service_gets_everything_of_its_group_in_one_request() {
    let world = world();
    let group = world.group("Lake");
    let body_of = json!({ "group_id": group, "service": "DATADOG_LOG", "config": { "api_key": SECRET, "region": "EU" } });
    let made = world.post("/v1/external-logging", body_of.clone());
    assert_eq!(made.status, 201);
    assert_eq!(
        made.data(),
        &json!({ "id": group, "service": "datadog_log", "enabled": true, "config": { "api_key": "******", "region": "EU" } })
    );
    world.post("/v1/external-logging", body_of).refused(409, "Conflict", &[&group]);
    let id = world.connection(&group, "shop");
    run(&world, &id, 1, "SUCCESSFUL");
    let sent = delivered(&world);
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].url, "https://http-intake.logs.datadoghq.eu/api/v2/logs");
    assert_eq!(header(&sent[0], "dd-api-key"), Some(SECRET));
    let logs = body(&sent[0]);
    let mut lines = logs
        .as_array()
        .unwrap()
        .iter()
        .map(|log| serde_json::from_str::<Value>(log["message"].as_str().unwrap()).unwrap())
        .map(|line| line["event"].as_str().unwrap().to_owned())
        .collect::<Vec<_>>();
    lines.sort();
    assert_eq!(lines, ["connection_successful", "create_connector", "sync_end", "sync_start"]);
    let one = format!("/v1/external-logging/{group}");
    world.patch(&one, json!({ "enabled": false }));
    run(&world, &id, 2, "SUCCESSFUL");
    assert!(delivered(&world).is_empty());
    assert_eq!(
        world.get("/v1/external-logging").data()["items"],
        json!([{ "id": group, "service": "datadog_log", "enabled": false }])
    );
    world.delete(&one);
    world.get(&one).refused(404, "NotFound_LogService", &[&group]);
}

#[test]
fn the_lines_of_a_large_run_take_few_requests_and_a_service_that_is_gone_does_not_keep_others_waiting() {
    let world = world();
    let (lake, other) = (world.group("Lake"), world.group("Other"));
    for group in [&lake, &other] {
        let body = json!({ "group_id": group, "service": "datadog_log", "config": { "api_key": SECRET } });
        assert_eq!(world.post("/v1/external-logging", body).status, 201);
    }
    let id = world.connection(&lake, "large");
    let event = |at: i64| fivetran_do::control::LogEvent::info(&id, "write_to_table_end", NEW_YEAR + at);
    let lines = (0..1000).map(event).collect::<Vec<_>>();
    block_on(world.services.control.append_log(&lines)).unwrap();
    world.clock.advance_seconds(1);
    world.connection(&other, "small");
    world.internet.answer_with([0, 0, 0]);
    let sent = delivered(&world);
    assert_eq!(
        sent.iter().map(|request| body(request).as_array().unwrap().len()).collect::<Vec<_>>(),
        [400, 400, 202, 2]
    );
    world.clock.advance_seconds(300);
    assert_eq!(delivered(&world).len(), 3, "the same lines again, and nothing of the other group");
}

#[test]
fn each_log_service_is_spoken_to_as_its_maker_documents() {
    let world = world();
    let path = "/v1/external-logging/account";
    let key = STANDARD.encode("workspace-key");
    world.secrets.borrow_mut().push(key.clone());
    let post = |service: &str, config: Value| {
        let reply = world.post(path, json!({ "service": service, "config": config }));
        assert_eq!(reply.status, 201, "{}", reply.json);
        let tested = world.post(&format!("{path}/test"), json!({}));
        assert_eq!(tested.data()["setup_tests"][0]["status"], "PASSED", "{}", tested.json);
        world.delete(path);
        world.internet.taken()
    };
    let sent = post("new_relic_log", json!({ "api_key": SECRET, "sub_domain": "EU" }));
    assert_eq!(sent[0].url, "https://log-api.eu.newrelic.com/log/v1");
    assert_eq!(body(&sent[0])[0]["logs"][0]["timestamp"], NEW_YEAR / 1000);
    let sent = post(
        "splunkLog",
        json!({ "host": "splunk.example.com", "port": "8089", "token": SECRET, "channel": "c" }),
    );
    assert_eq!(sent[0].url, "https://splunk.example.com:8089/services/collector/event");
    assert_eq!(header(&sent[0], "authorization"), Some(&*format!("Splunk {SECRET}")));
    assert_eq!(body(&sent[0])["event"]["event"], "test_event");
    let sent = post(
        "grafana_loki",
        json!({ "loki_url": "https://loki.example.com/", "username": "u", "access_token": SECRET }),
    );
    assert_eq!(sent[0].url, "https://loki.example.com/loki/api/v1/push");
    assert_eq!(body(&sent[0])["streams"][0]["values"][0][0], format!("{}", NEW_YEAR * 1000));
    let sent = post("azure_monitor_log", json!({ "workspace_id": "0-1", "primary_key": key }));
    let date = header(&sent[0], "x-ms-date").unwrap();
    assert_eq!(date, "Thu, 01 Jan 2026 00:00:00 GMT");
    let signed = format!("POST\n{}\napplication/json\nx-ms-date:{date}\n/api/logs", sent[0].body.len());
    let signature = STANDARD.encode(hmac_sha256(b"workspace-key", signed.as_bytes()));
    assert_eq!(header(&sent[0], "authorization"), Some(&*format!("SharedKey 0-1:{signature}")));
    world.internet.answers.borrow_mut().push_back((200, r#"{"access_token":"t0ken"}"#));
    let sent = post(
        "azure_monitor_log",
        json!({ "tenant_id": "t", "client_id": "c", "client_secret": SECRET, "dcr_immutable_id": "dcr-1",
            "data_collection_endpoint": "https://e.ingest.monitor.azure.com", "dcr_stream_name": "Custom-F_CL" }),
    );
    assert_eq!(sent[0].url, "https://login.microsoftonline.com/t/oauth2/v2.0/token");
    assert_eq!(
        sent[1].url,
        "https://e.ingest.monitor.azure.com/dataCollectionRules/dcr-1/streams/Custom-F_CL?api-version=2023-01-01"
    );
    assert_eq!(header(&sent[1], "authorization"), Some("Bearer t0ken"));
}

#[test]
fn log_services_that_could_not_work_are_refused_and_a_failing_test_says_why() {
    let world = world();
    let path = "/v1/external-logging/account";
    for (service, config, says) in [
        ("cloudwatch", json!({}), "service: CloudWatch"),
        ("stackdriver", json!({}), "RSA"),
        ("syslog", json!({}), "datadog_log"),
        ("datadog_log", json!({}), "config.api_key"),
        ("datadog_log", json!({ "api_key": SECRET, "region": "MOON" }), "config.region"),
        ("datadog_log", json!({ "api_key": SECRET, "apikey": "x" }), "config.apikey"),
        ("splunkLog", json!({ "host": "10.0.0.1", "token": SECRET }), "config.host"),
        ("splunkLog", json!({ "host": "splunk.example.com", "token": SECRET, "enable_ssl": false }), "https"),
        ("splunkLog", json!({ "host": "a.com/x?", "token": SECRET }), "config.host"),
        ("grafana_loki", json!({ "loki_url": "http://loki.example.com" }), "https"),
        (
            "azure_monitor_log",
            json!({ "workspace_id": "evil.com/", "primary_key": "AA==" }),
            "config.workspace_id",
        ),
        ("azure_monitor_log", json!({ "client_id": "c" }), "config.tenant_id"),
    ] {
        world.post(path, json!({ "service": service, "config": config })).refused(
            400,
            "InvalidInput",
            &[says],
        );
    }
    world
        .post("/v1/external-logging", json!({ "service": "datadog_log", "config": { "api_key": SECRET } }))
        .refused(400, "InvalidInput", &["group_id", path]);
    world.get(path).refused(404, "NotFound_LogService", &[]);
    world.post(path, json!({ "service": "datadog_log", "config": { "api_key": SECRET } }));
    world.internet.answer_with([403]);
    let tested = world.post(&format!("{path}/test"), json!({}));
    let test = &tested.data()["setup_tests"][0];
    assert_eq!(test["status"], "FAILED");
    assert!(test["message"].as_str().unwrap().contains("403"));
}
