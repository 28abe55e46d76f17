//! `GET /metrics` against the rules of OpenMetrics 1.0.

use std::collections::BTreeMap;

use fivetran_do::api::{ApiResponse, handle};
use fivetran_do::control::RunFinished;
use fivetran_do::core::run::Effort;
use serde_json::json;

use crate::harness::{NEW_YEAR, World, block_on, request};
use crate::projections::{finished, progress, started, table};

const MINUTE: i64 = 60_000_000;

fn scrape(world: &World) -> (ApiResponse, BTreeMap<String, f64>) {
    let mut scrape = request("GET", "/metrics", None);
    // What Prometheus sends.
    scrape.headers.push((
        "Accept".to_owned(),
        "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1".to_owned(),
    ));
    let response = block_on(handle(&world.services, scrape));
    assert_eq!(response.status, 200);
    let samples = parse(std::str::from_utf8(&response.body).unwrap());
    (response, samples)
}

/// A strict reader of the OpenMetrics text format: everything that is not allowed panics. Samples by name and labels.
fn parse(text: &str) -> BTreeMap<String, f64> {
    let body = text.strip_suffix("# EOF\n").expect("the last line is # EOF, with a line feed");
    let name_ok = |name: &str| {
        let mut letters = name.chars();
        letters.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_' || c == ':')
            && letters.all(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':')
    };
    let mut samples = BTreeMap::new();
    // Name and type of the family that is open, and which lines of its metadata were seen.
    let mut family = (String::new(), String::new());
    let mut families = Vec::new();
    let mut metadata = Vec::new();
    let mut sampled = false;
    for line in body.split_terminator('\n') {
        assert!(!line.is_empty() && !line.contains('\r'), "no empty lines");
        if let Some(comment) = line.strip_prefix("# ") {
            let mut words = comment.splitn(3, ' ');
            let (what, name, rest) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
            assert!(name_ok(name) && !rest.is_empty());
            if name != family.0 {
                assert!(!families.contains(&name.to_owned()), "{name}: families do not interleave");
                families.push(name.to_owned());
                (family, metadata, sampled) = ((name.to_owned(), "unknown".to_owned()), Vec::new(), false);
            }
            assert!(!sampled, "{name}: metadata comes before samples");
            assert!(!metadata.contains(&what.to_owned()), "{name}: {what} once");
            metadata.push(what.to_owned());
            match what {
                "TYPE" => {
                    assert!(["counter", "gauge"].contains(&rest));
                    rest.clone_into(&mut family.1);
                }
                "UNIT" => assert!(name.ends_with(&format!("_{rest}")), "{name}: the unit is its suffix"),
                "HELP" => assert!(!rest.contains('"')),
                other => panic!("{other} is no metadata"),
            }
            continue;
        }
        let (series, value) = line.rsplit_once(' ').expect("name and value");
        let name = series.split('{').next().unwrap();
        assert!(name_ok(name));
        let expected = if family.1 == "counter" { format!("{}_total", family.0) } else { family.0.clone() };
        assert_eq!(name, expected, "a sample belongs to the family above it");
        if let Some(labels) = series.strip_prefix(name).filter(|labels| !labels.is_empty()) {
            let labels = labels.strip_prefix('{').and_then(|labels| labels.strip_suffix('}')).unwrap();
            let (key, word) = labels.split_once('=').unwrap();
            assert!(name_ok(key) && !key.contains(':'));
            let word = word.strip_prefix('"').and_then(|word| word.strip_suffix('"')).unwrap();
            assert!(!word.contains(['"', '\\', '\n']));
        }
        let value: f64 = value.parse().unwrap();
        assert!(value.is_finite() && (family.1 != "counter" || value >= 0.0));
        assert!(samples.insert(series.to_owned(), value).is_none(), "{series}: a series has one sample");
        sampled = true;
    }
    samples
}

#[test]
fn metrics_are_openmetrics_and_only_for_those_with_a_key() {
    let world = World::new();
    let (response, samples) = scrape(&world);
    let content_type = response.headers.iter().find(|(name, _)| name == "content-type").unwrap();
    assert_eq!(content_type.1, "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert_eq!(samples.len(), 5 + 4 + 1 + 1 + 6);
    assert!(samples.values().all(|value| *value == 0.0), "{samples:?}");
    let mut stranger = request("GET", "/metrics", None);
    stranger.headers.clear();
    assert_eq!(block_on(handle(&world.services, stranger)).status, 401);
    let operation = &world.document()["paths"]["/metrics"]["get"];
    assert!(operation["responses"]["200"]["content"]["application/openmetrics-text"].is_object());
    assert_eq!(operation["security"], json!(null), "as guarded as everything else");
}

#[test]
fn a_run_is_counted_once_however_often_its_end_is_told() {
    let world = World::new();
    let group = world.group("Lake");
    let id = world.connection(&group, "shop");
    let control = &world.services.control;
    started(&world, &id, "r1", 1);
    let (_, live) = scrape(&world);
    assert_eq!(live["fivetran_live_runs"], 1.0);
    world.clock.advance_seconds(90);
    assert_eq!(scrape(&world).1["fivetran_oldest_run_age_seconds"], 90.0);
    let mut last = progress("r1", vec![table("users", 6), table("orders", 2)], None);
    last.effort = Effort { retries: 2, ..Effort::default() };
    for _ in 0..3 {
        block_on(control.run_finished(&finished(&id, &last, "SUCCESSFUL"))).unwrap();
    }
    let late = RunFinished { state: "FAILURE", ..finished(&id, &last, "FAILURE") };
    block_on(control.run_finished(&late)).unwrap();
    started(&world, &id, "r2", 2);
    let next = progress("r2", vec![table("users", 1)], None);
    block_on(control.run_finished(&finished(&id, &next, "SUCCESSFUL"))).unwrap();
    let (_, samples) = scrape(&world);
    for (series, value) in [
        ("fivetran_runs_total{state=\"SUCCESSFUL\"}", 2.0),
        ("fivetran_runs_total{state=\"FAILURE\"}", 0.0),
        ("fivetran_rows_total{kind=\"read\"}", 9.0),
        ("fivetran_rows_total{kind=\"written\"}", 9.0),
        ("fivetran_rows_total{kind=\"deleted\"}", 3.0),
        ("fivetran_moved_bytes_total", 30.0),
        ("fivetran_retries_total", 2.0),
        ("fivetran_live_runs", 0.0),
    ] {
        assert_eq!(samples[series], value, "{series}");
    }
    let run = world.get(&format!("/v1/connections/{id}/runs/r1"));
    assert_eq!(run.data()["retries"], 2);
}

#[test]
fn lag_is_the_age_of_the_oldest_due_time_and_the_queue_has_its_own() {
    let world = World::new();
    let group = world.group("Lake");
    world.connection(&group, "a");
    world.connection(&group, "b");
    world.clock.advance_seconds(120);
    let (_, samples) = scrape(&world);
    assert_eq!((samples["fivetran_overdue_connections"], samples["fivetran_lag_seconds"]), (2.0, 120.0));
    assert_eq!((samples["fivetran_queued_starts"], samples["fivetran_queue_age_seconds"]), (0.0, 0.0));
    let now = NEW_YEAR + 2 * MINUTE;
    assert_eq!(block_on(world.services.control.claim_due(now, 180_000_000, 1)).unwrap().len(), 1);
    world.clock.advance_seconds(30);
    let (_, samples) = scrape(&world);
    assert_eq!((samples["fivetran_overdue_connections"], samples["fivetran_lag_seconds"]), (2.0, 150.0));
    assert_eq!((samples["fivetran_queued_starts"], samples["fivetran_queue_age_seconds"]), (1.0, 30.0));
}
