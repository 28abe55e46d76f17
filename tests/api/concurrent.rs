//! Requests at the same time. The database gives way before each of its steps, and a schedule decides who goes on: so two
//! requests are tried in many interleavings, the same in every run.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use async_trait::async_trait;
use fivetran_do::api::{ApiRequest, handle};
use fivetran_do::control::ControlPlane;
use fivetran_do::core::Result;
use fivetran_do::core::redact::Secret;
use fivetran_do::ports::{QueryResult, SqlDatabase, Statement};
use serde_json::{Value, json};

use crate::control_db::ControlDb;
use crate::harness::{BodyJson, TestRandom, VAULT_KEY, World, request, shop_connection};
use crate::shop;

/// Gives way once before every batch.
struct GivesWay(Rc<ControlDb>);

#[async_trait(?Send)]
impl SqlDatabase for GivesWay {
    async fn batch(&self, statements: Vec<Statement>) -> Result<Vec<QueryResult>> {
        let waited = Cell::new(false);
        std::future::poll_fn(|_| if waited.replace(true) { Poll::Ready(()) } else { Poll::Pending }).await;
        self.0.batch(statements).await
    }
}

/// The same world, whose requests can be interleaved.
fn interleaved(world: &World) -> World {
    interleaved_with(world, VAULT_KEY)
}

/// The same, behind other vault keys.
pub fn interleaved_with(world: &World, keys: &str) -> World {
    let mut other = world.with_vault_keys(keys);
    let database = Rc::new(GivesWay(world.db.clone()));
    let random = Rc::new(TestRandom);
    other.services.control =
        ControlPlane::new(database, &Secret::new(keys), world.clock.clone(), random).unwrap();
    other
}

/// Status and body of two requests at once. Bit by bit the schedule says which of them takes its next step; when it is
/// used up they alternate.
pub fn at_once(world: &World, schedule: u16, [one, two]: [ApiRequest; 2]) -> [(u16, Value); 2] {
    let mut one = pin!(handle(&world.services, one));
    let mut two = pin!(handle(&world.services, two));
    let mut answers = [None, None];
    let mut context = Context::from_waker(Waker::noop());
    for step in 0..1000 {
        let second = if step < 16 { schedule >> step & 1 == 1 } else { step % 2 == 1 };
        let (turn, future) = if second { (1, two.as_mut()) } else { (0, one.as_mut()) };
        if answers[turn].is_none()
            && let Poll::Ready(response) = future.poll(&mut context)
        {
            assert!(response.status < 500, "{schedule:b}: {:?} {:?}", response.body_json(), response.fault);
            answers[turn] = Some((response.status, response.body_json()));
        }
        if let [Some(_), Some(_)] = answers {
            return answers.map(Option::unwrap);
        }
    }
    panic!("{schedule:b} does not end");
}

/// Interleavings of the first eight steps, and then some with long stretches.
pub fn schedules() -> impl Iterator<Item = u16> {
    (0..256).map(|bits| bits | 0xAA00).chain([0xFFFF, 0x0000, 0xFF00, 0x0FF0, 0xF0F0, 0x3333])
}

#[test]
fn of_two_creates_of_one_name_one_wins_and_the_other_is_told_so() {
    let plain = World::new();
    let world = interleaved(&plain);
    let lake = plain.group("Lake");
    let mut orders = [0, 0];
    for schedule in schedules() {
        let group = json!({ "name": format!("g{schedule}") });
        let connection = shop_connection(&lake, &format!("c{schedule}"));
        for (path, body) in [("/v1/groups", group), ("/v1/connections", connection)] {
            let create = request("POST", path, Some(body));
            let answers = at_once(&world, schedule, [create.clone(), create]);
            let (won, lost) = if answers[0].0 == 201 { (0, 1) } else { (1, 0) };
            orders[won] += 1;
            assert_eq!((answers[won].0, answers[lost].0), (201, 409), "{schedule:b} {answers:?}");
            assert_eq!(answers[lost].1["code"], "Conflict");
            let id = answers[won].1["data"]["id"].as_str().unwrap();
            assert_eq!(plain.get(&format!("{path}/{id}")).status, 200);
        }
    }
    assert!(orders[0] > 0 && orders[1] > 0, "only one of the two ever wins: {orders:?}");
    for path in ["/v1/groups?limit=1000", "/v1/connections?limit=1000"] {
        let many = plain.get(path).data()["items"].as_array().unwrap().len();
        assert!(many >= schedules().count() && many <= schedules().count() + 1, "{path}: {many}");
    }
}

#[test]
fn two_edits_of_one_connection_at_once_both_apply() {
    let plain = World::new();
    let world = interleaved(&plain);
    let group = plain.group("Lake");
    let path = format!("/v1/connections/{}", plain.connection(&group, "shop"));
    for (at, schedule) in schedules().enumerate() {
        // Each sets what the other does not, and both set the frequency.
        let (paused, minutes) = (at % 2 == 0, [[5, 15], [30, 60]][at % 2]);
        let sensitivity = if paused { "HIGH" } else { "LOW" };
        let one = json!({ "paused": paused, "sync_frequency": minutes[0] });
        let two = json!({ "data_delay_sensitivity": sensitivity, "sync_frequency": minutes[1] });
        let edits = [one, two].map(|body| request("PATCH", &path, Some(body)));
        let answers = at_once(&world, schedule, edits);
        assert_eq!((answers[0].0, answers[1].0), (200, 200), "{schedule:b} {answers:?}");
        let stored = plain.get(&path);
        let stored = stored.data();
        assert_eq!(stored["paused"], paused, "{schedule:b}: the first edit is lost");
        assert_eq!(stored["data_delay_sensitivity"], sensitivity, "{schedule:b}: the second edit is lost");
        assert!(minutes.iter().any(|minutes| stored["sync_frequency"] == *minutes), "{schedule:b} {stored}");
        assert!(
            answers.iter().any(|(_, answer)| answer["data"]["sync_frequency"] == stored["sync_frequency"])
        );
    }
}

#[test]
fn an_edit_that_is_confirmed_is_not_lost_to_another_at_once_whatever_is_edited() {
    let plain = World::new();
    let world = interleaved(&plain);
    shop::offer(vec![
        shop::table("public", "users", &["email"]),
        shop::table("public", "orders", &["total"]),
    ]);
    let group = plain.group("Lake");
    let make = |path: &str, body: Value| plain.post(path, body).data()["id"].as_str().unwrap().to_owned();
    make("/v1/destinations", json!({ "group_id": group, "service": "shelf", "config": { "bucket": "b" } }));
    let connection = plain.connection(&group, "shop");
    let schemas = format!("/v1/connections/{connection}/schemas");
    plain.post(&format!("{schemas}/reload"), json!({})).data();
    let hook = json!({ "url": "https://hooks.example/x", "events": ["sync_end"], "active": false });
    let hook = make("/v1/webhooks/account", hook);
    let log = json!({ "group_id": group, "service": "datadog_log", "config": { "api_key": "k" } });
    let log = make("/v1/external-logging", log);
    let project = make(
        "/v1/transformation-projects",
        json!({ "group_id": group, "project_config": {
            "dbt_version": "1.9", "default_schema": "marts", "git_remote_url": "git@example.com:a/b.git" } }),
    );
    // Where it is, and two fields of it with two values each.
    for (path, fields) in [
        (format!("/v1/destinations/{group}"), [("/region", ["A", "B"]), ("/time_zone_offset", ["+1", "+2"])]),
        (
            format!("/v1/webhooks/{hook}"),
            [("/url", ["https://a.example/", "https://b.example/"]), ("/secret", ["a", ""])],
        ),
        (
            format!("/v1/external-logging/{log}"),
            [("/config/region", ["EU", "US3"]), ("/config/hostname", ["a", "b"])],
        ),
        (
            format!("/v1/transformation-projects/{project}"),
            [("/project_config/dbt_version", ["1.8", "1.9"]), ("/project_config/default_schema", ["a", "b"])],
        ),
    ] {
        for (at, schedule) in schedules().step_by(3).enumerate() {
            let edits = fields.map(|(field, values)| {
                let names = field.split('/').skip(1).collect::<Vec<_>>();
                let value = json!(values[at % 2]);
                let body = names.iter().rev().fold(value, |inner, name| json!({ *name: inner }));
                request("PATCH", &path, Some(body))
            });
            let answers = at_once(&world, schedule, edits.clone());
            let stored = plain.get(&path);
            assert!(answers.iter().any(|(status, _)| *status == 200), "{path} {schedule:b} {answers:?}");
            for (((field, values), (status, answer)), edit) in fields.iter().zip(&answers).zip(edits) {
                // What was refused was not done, and its sender knows; a secret is not shown.
                let refused = *status == 409 && answer["code"] == "Conflict";
                assert!(refused || *status == 200, "{path} {schedule:b} {answer}");
                let kept =
                    *field == "/secret" || stored.data().pointer(field) == Some(&json!(values[at % 2]));
                assert!(kept != refused || *field == "/secret", "{path} {schedule:b}: {field} {status}");
                if refused {
                    assert_eq!(plain.send(edit).status, 200, "trying again helps");
                }
            }
        }
    }
    for (at, schedule) in schedules().step_by(3).enumerate() {
        let enabled = at % 2 == 0;
        let edits = ["users", "orders"].map(|table| {
            request("PATCH", &format!("{schemas}/public/tables/{table}"), Some(json!({ "enabled": enabled })))
        });
        let answers = at_once(&world, schedule, edits);
        assert_eq!((answers[0].0, answers[1].0), (200, 200), "{schedule:b} {answers:?}");
        let stored = plain.get(&schemas);
        for table in ["users", "orders"] {
            let kept = &stored.data()["schemas"]["public"]["tables"][table]["enabled"];
            assert_eq!(*kept, enabled, "{schedule:b}: {table} is lost");
        }
    }
}

#[test]
fn of_two_groups_given_one_name_at_once_one_gets_it() {
    let plain = World::new();
    let world = interleaved(&plain);
    let groups = ["a", "b"].map(|name| format!("/v1/groups/{}", plain.group(name)));
    for schedule in schedules() {
        let rename = |path: &String| request("PATCH", path, Some(json!({ "name": format!("g{schedule}") })));
        let answers = at_once(&world, schedule, [rename(&groups[0]), rename(&groups[1])]);
        let mut statuses = answers.each_ref().map(|(status, _)| *status);
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 409], "{schedule:b} {answers:?}");
        let names = groups.each_ref().map(|path| plain.get(path).data()["name"].clone());
        assert_ne!(names[0], names[1]);
    }
}

#[test]
fn what_is_written_while_its_connection_is_deleted_leaves_nothing_behind() {
    let plain = World::new();
    let world = interleaved(&plain);
    shop::offer(vec![shop::table("public", "users", &["email"])]);
    let group = plain.group("Lake");
    let mut seen = BTreeSet::new();
    for (method, rest, body) in [
        ("PATCH", "", json!({ "paused": true, "sync_frequency": 5 })),
        ("PATCH", "", json!({ "config": { "host": "other" } })),
        ("POST", "/test", json!({})),
        ("POST", "/sync", json!({ "force": true })),
        ("POST", "/resync", json!({})),
        ("POST", "/schemas/reload", json!({})),
        (
            "PATCH",
            "/schemas",
            json!({ "schemas": { "public": { "tables": { "users": { "enabled": false } } } } }),
        ),
        ("PATCH", "/schemas/public/tables/users/columns/email", json!({ "hashed": true })),
    ] {
        for schedule in schedules().step_by(5) {
            let connection = plain.connection(&group, "shop");
            let path = format!("/v1/connections/{connection}");
            plain.post(&format!("{path}/schemas/reload"), json!({})).data();
            let write = request(method, &format!("{path}{rest}"), Some(body.clone()));
            let [written, deleted] = at_once(&world, schedule, [write, request("DELETE", &path, None)]);
            seen.insert(written.0);
            assert_eq!(deleted.0, 200, "{schedule:b} {}", deleted.1);
            assert!(matches!(written.0, 200 | 404 | 409), "{method} {rest} {schedule:b} {}", written.1);
            plain.complete_deletion(&connection);
            assert!(!plain.db.dump().contains(&connection), "{method} {rest} {schedule:b} left something");
        }
    }
    assert!(seen.len() > 1, "the interleavings are all alike: {seen:?}");
}

#[test]
fn what_is_made_while_its_group_is_deleted_is_refused_or_goes_or_keeps_the_group() {
    let plain = World::new();
    let world = interleaved(&plain);
    let mut seen = BTreeSet::new();
    for (at, schedule) in (0..5).flat_map(|at| schedules().step_by(3).map(move |schedule| (at, schedule))) {
        let group = plain.group(&format!("g{at} {schedule}"));
        let (path, body) = match at {
            0 => ("/v1/connections", shop_connection(&group, "shop")),
            1 => ("/v1/destinations", json!({ "service": "shelf", "config": { "bucket": "b" } })),
            2 => ("/v1/external-logging", json!({ "service": "datadog_log", "config": { "api_key": "k" } })),
            3 => ("/v1/webhooks/group/", json!({ "url": "https://hooks.example/x", "events": ["sync_end"] })),
            _ => (
                "/v1/transformation-projects",
                json!({ "project_config": {
                "dbt_version": "1.9", "default_schema": "marts", "git_remote_url": "git@example.com:a/b.git" } }),
            ),
        };
        let mut body = body;
        let path = if path.ends_with('/') { format!("{path}{group}") } else { path.to_owned() };
        body["group_id"] = json!(group);
        let create = request("POST", &path, Some(body));
        let delete = request("DELETE", &format!("/v1/groups/{group}"), None);
        let [created, deleted] = at_once(&world, schedule, [create, delete]);
        seen.insert((at, created.0, deleted.0));
        let told = format!("{path} {schedule:b} {} {}", created.1, deleted.1);
        match (created.0, deleted.0) {
            // It holds the group, or was made and went with it.
            (200 | 201, 409) => assert_eq!(plain.get(&format!("/v1/groups/{group}")).status, 200, "{told}"),
            (200 | 201 | 404 | 409, 200) => assert!(!plain.db.dump().contains(&group), "{told}"),
            _ => panic!("{told}"),
        }
    }
    for at in 0..5 {
        let outcomes = seen.iter().filter(|(kind, ..)| *kind == at).count();
        assert!(outcomes > 1, "the interleavings are all alike: {seen:?}");
    }
}
