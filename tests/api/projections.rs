use fivetran_do::control::{RunFinished, RunStarted, RunTask, SetupState, SyncState};
use fivetran_do::core::error::{ErrorKind, ErrorReport};
use fivetran_do::core::run::{Counts, Effort};
use fivetran_do::core::table::LoadMode;

use fivetran_do::engine::sync_control::Pace;
use fivetran_do::engine::{RunProgress, TableProgress};
use serde_json::json;

use crate::harness::{NEW_YEAR, World, block_on};

const MINUTE: i64 = 60_000_000;

pub(crate) fn started(world: &World, connection: &str, run: &str, number: u64) {
    let run = RunStarted {
        run_id: run.to_owned(),
        connection_id: connection.to_owned(),
        number,
        trigger: "schedule".to_owned(),
        started_at: NEW_YEAR,
        next_due_at: Some(NEW_YEAR + 5 * MINUTE),
    };
    block_on(world.services.control.run_started(&run)).unwrap();
}

pub(crate) fn table(name: &str, written: u64) -> TableProgress {
    TableProgress {
        schema: "public".to_owned(),
        table: name.to_owned(),
        state: "published".to_owned(),
        mode: LoadMode::Full,
        chunks_planned: 2,
        chunks_done: 2,
        counts: Counts { read: written, written, deleted: 1, bytes: 10, ..Counts::default() },
        estimated_rows: Some(9),
        live_rows: None,
        pace: None,
        error: None,
    }
}

pub(crate) fn progress(run: &str, tables: Vec<TableProgress>, error: Option<ErrorReport>) -> RunProgress {
    RunProgress {
        run_id: run.to_owned(),
        state: "RUNNING".to_owned(),
        phase: "reading".to_owned(),
        started_at: NEW_YEAR,
        ended_at: None,
        tables,
        effort: Effort::default(),
        error,
    }
}

pub(crate) fn finished<'a>(connection: &'a str, run: &'a RunProgress, state: &'a str) -> RunFinished<'a> {
    RunFinished {
        run_id: &run.run_id,
        connection_id: connection,
        state,
        ended_at: NEW_YEAR + MINUTE,
        progress: run,
        rescheduled_for: None,
        task: None,
        historical_done: true,
    }
}

fn world() -> (World, String) {
    let world = World::new();
    let group = world.group("Lake");
    let id = world.connection(&group, "shop");
    (world, id)
}

#[test]
fn a_run_is_told_from_start_to_end() {
    let (world, id) = world();
    let control = &world.services.control;
    started(&world, &id, "r1", 1);
    let path = format!("/v1/connections/{id}");
    assert_eq!(world.get(&path).data()["status"]["sync_state"], "syncing");
    assert!(block_on(control.claim_due(NEW_YEAR + 9 * MINUTE, 3 * MINUTE, 9)).unwrap().is_empty());
    block_on(control.run_progress("r1", "reading", NEW_YEAR + 1, &[table("users", 3)])).unwrap();
    block_on(control.run_progress("r1", "reading", NEW_YEAR + 2, &[table("users", 5), table("orders", 2)]))
        .unwrap();
    let run = world.get(&format!("{path}/runs/r1"));
    assert_eq!((&run.data()["state"], &run.data()["counts"]["written"]), (&json!("RUNNING"), &json!(7)));
    let last = progress("r1", vec![table("users", 6), table("orders", 2)], None);
    block_on(control.run_finished(&finished(&id, &last, "SUCCESSFUL"))).unwrap();
    let run = world.get(&format!("{path}/runs/r1"));
    let data = run.data();
    assert_eq!(
        (&data["state"], &data["phase"], &data["ended_at"]),
        (&json!("SUCCESSFUL"), &json!("done"), &json!("2026-01-01T00:01:00.000000Z"))
    );
    assert_eq!(data["counts"]["written"], 8);
    assert_eq!(data["tables"][0]["table"], "orders");
    assert_eq!(data["tables"][1]["estimated_rows"], 9);
    let connection = world.get(&path);
    let data = connection.data();
    assert_eq!(data["succeeded_at"], "2026-01-01T00:01:00.000000Z");
    assert_eq!(
        (&data["status"]["sync_state"], &data["status"]["is_historical_sync"]),
        (&json!("scheduled"), &json!(false))
    );
    let logs = world.get(&format!("{path}/logs?run_id=r1"));
    let events = logs.data()["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["event"].as_str().unwrap().to_owned());
    assert_eq!(
        events.collect::<Vec<_>>(),
        [
            "sync_start",
            "write_to_table_start",
            "write_to_table_start",
            "records_modified",
            "records_modified",
            "write_to_table_end",
            "records_modified",
            "records_modified",
            "write_to_table_end",
            "sync_end"
        ]
    );
    assert_eq!(world.get(&format!("{path}/runs")).data()["items"][0]["id"], "r1");
    world.get(&format!("{path}/runs/r2")).refused(404, "NotFound_Run", &["r2"]);
    let due = block_on(control.claim_due(NEW_YEAR + 5 * MINUTE, 3 * MINUTE, 9)).unwrap();
    assert_eq!(due, [(id, NEW_YEAR + 5 * MINUTE)]);
}

#[test]
fn i3_replayed_and_late_projections_change_nothing() {
    let (world, id) = world();
    let control = &world.services.control;
    let last = progress("r1", vec![table("users", 6)], None);
    block_on(control.run_finished(&finished(&id, &last, "SUCCESSFUL"))).unwrap();
    assert!(!world.db.dump().contains("sync_end"), "a run that never started does not end");
    started(&world, &id, "r1", 1);
    block_on(control.run_finished(&finished(&id, &last, "SUCCESSFUL"))).unwrap();
    let after = world.db.dump();
    started(&world, &id, "r1", 1);
    block_on(control.run_progress("r1", "reading", NEW_YEAR + 9 * MINUTE, &[table("users", 1)])).unwrap();
    let mut again = finished(&id, &last, "FAILURE");
    again.ended_at += 7;
    block_on(control.run_finished(&again)).unwrap();
    assert_eq!(world.db.dump(), after);
    started(&world, "gone", "r9", 1);
    block_on(control.run_finished(&finished("gone", &last, "SUCCESSFUL"))).unwrap();
    assert_eq!(world.db.dump(), after);
}

#[test]
fn every_end_is_later_than_the_one_before_and_a_cancelled_run_is_none() {
    let (world, id) = world();
    let control = &world.services.control;
    let ends = |number: u64, state: &str| {
        let run = format!("r{number}");
        started(&world, &id, &run, number);
        block_on(control.run_finished(&finished(&id, &progress(&run, vec![], None), state))).unwrap();
        block_on(control.connection(&id)).unwrap().unwrap()
    };
    let one = ends(1, "SUCCESSFUL");
    let two = ends(2, "FAILURE");
    assert!(two.failed_at > one.succeeded_at, "the clock stood still, the ends did not");
    let three = ends(3, "SUCCESSFUL");
    assert!(three.succeeded_at > two.failed_at);
    let four = ends(4, "CANCELED");
    assert_eq!((four.succeeded_at, four.failed_at), (three.succeeded_at, three.failed_at));
}

#[test]
fn a_task_breaks_a_connection_and_a_success_mends_it() {
    let (world, id) = world();
    let control = &world.services.control;
    started(&world, &id, "r1", 1);
    let error = ErrorReport {
        kind: ErrorKind::SourceAuth,
        message: "The source refused the password".to_owned(),
        field: None,
        remedy: None,
        retry_after_ms: None,
        causes: vec!["the server said no".to_owned()],
    };
    let failed = progress("r1", vec![], Some(error));
    let mut end = finished(&id, &failed, "FAILURE_WITH_TASK");
    end.historical_done = false;
    end.task = Some(RunTask { code: "reconnect".to_owned(), message: "Enter the password".to_owned() });
    block_on(control.run_finished(&end)).unwrap();
    let path = format!("/v1/connections/{id}");
    let status = world.get(&path).data()["status"].clone();
    assert_eq!(
        (&status["setup_state"], &status["tasks"][0]["code"]),
        (&json!("broken"), &json!("reconnect"))
    );
    assert_eq!(status["is_historical_sync"], true);
    let run = world.get(&format!("{path}/runs/r1"));
    assert_eq!(run.data()["error"]["kind"], "source_auth");
    assert_eq!(
        block_on(control.claim_due(NEW_YEAR + 5 * MINUTE, 3 * MINUTE, 9)).unwrap().len(),
        1,
        "it keeps its schedule"
    );
    started(&world, &id, "r2", 2);
    block_on(control.run_finished(&finished(&id, &progress("r2", vec![], None), "SUCCESSFUL"))).unwrap();
    let mended = block_on(control.connection(&id)).unwrap().unwrap();
    assert_eq!((mended.setup_state, mended.tasks.len()), (SetupState::Connected, 0));
}

#[test]
fn an_end_respects_a_pause_a_reschedule_and_a_newer_run() {
    let (world, id) = world();
    let control = &world.services.control;
    let read = || block_on(control.connection(&id)).unwrap().unwrap();
    started(&world, &id, "r1", 1);
    world.patch(&format!("/v1/connections/{id}"), json!({ "paused": true }));
    block_on(control.run_finished(&finished(&id, &progress("r1", vec![], None), "CANCELED"))).unwrap();
    assert_eq!((read().sync_state, read().next_due_at), (SyncState::Paused, None));
    world.patch(&format!("/v1/connections/{id}"), json!({ "paused": false }));
    started(&world, &id, "r2", 2);
    let run = progress("r2", vec![], None);
    let mut end = finished(&id, &run, "RESCHEDULED");
    end.rescheduled_for = Some(NEW_YEAR + 2 * MINUTE);
    block_on(control.run_finished(&end)).unwrap();
    assert_eq!(
        (read().sync_state, read().rescheduled_for),
        (SyncState::Rescheduled, Some(NEW_YEAR + 2 * MINUTE))
    );
    started(&world, &id, "r3", 3);
    assert_eq!(read().rescheduled_for, None);
    started(&world, &id, "r4", 4);
    block_on(control.run_finished(&finished(&id, &progress("r3", vec![], None), "FAILURE"))).unwrap();
    assert_eq!(read().sync_state, SyncState::Syncing, "r4 is live");
}

#[test]
fn silent_runs_are_found_the_most_silent_first() {
    let (world, id) = world();
    let control = &world.services.control;
    started(&world, &id, "r1", 1);
    started(&world, &id, "r2", 2);
    block_on(control.run_progress("r1", "reading", NEW_YEAR + MINUTE, &[])).unwrap();
    let silent = |since, until, most| block_on(control.silent_runs(since, until, most)).unwrap();
    let never = i64::MAX;
    assert_eq!(silent(NEW_YEAR + 1, never, 9), [("r2".to_owned(), id.clone())]);
    assert_eq!(silent(NEW_YEAR + 2 * MINUTE, never, 1), [("r2".to_owned(), id.clone())]);
    // The clock of what r1 said was an hour ahead, and is right again.
    block_on(control.run_progress("r1", "reading", NEW_YEAR + 60 * MINUTE, &[])).unwrap();
    assert_eq!(silent(NEW_YEAR, NEW_YEAR + 2 * MINUTE, 9), [("r1".to_owned(), id.clone())]);
    // A run that rests until then is not silent.
    block_on(control.run_rests("r2", NEW_YEAR + 60 * MINUTE)).unwrap();
    assert_eq!(silent(NEW_YEAR, NEW_YEAR + 2 * MINUTE, 9), [("r1".to_owned(), id)]);
}

#[test]
fn thousands_of_tables_fit() {
    let (world, id) = world();
    let control = &world.services.control;
    started(&world, &id, "r1", 1);
    let tables = (0..2500).map(|at| table(&format!("t{at}"), 1)).collect::<Vec<_>>();
    block_on(control.run_progress("r1", "reading", NEW_YEAR, &tables)).unwrap();
    let last = progress("r1", tables, None);
    block_on(control.run_finished(&finished(&id, &last, "SUCCESSFUL"))).unwrap();
    assert_eq!(world.get(&format!("/v1/connections/{id}/runs/r1")).data()["counts"]["written"], 2500);
    assert_eq!(
        world.get(&format!("/v1/connections/{id}/logs?limit=1000")).data()["items"].as_array().unwrap().len(),
        1000
    );
}

#[test]
fn live_progress_comes_from_the_engine() {
    let (world, id) = world();
    let path = format!("/v1/connections/{id}/progress");
    assert_eq!(world.get(&path).data()["run"], json!(null));
    world.syncs.progress.replace(Some(progress("r1", vec![table("users", 3)], None)));
    let reply = world.get(&path);
    assert_eq!(
        (&reply.data()["run"]["id"], &reply.data()["run"]["tables"][0]["counts"]["written"]),
        (&json!("r1"), &json!(3))
    );
}

#[test]
fn a_table_that_was_written_says_when_and_one_that_was_not_says_nothing() {
    let (world, id) = world();
    started(&world, &id, "r1", 1);
    let mut users = table("users", 6);
    users.pace = Some(Pace { attempts: 1, since: Some(NEW_YEAR + 5), until: Some(NEW_YEAR + 9) });
    // A clock that went back is no reason to end before the beginning.
    let mut orders = table("orders", 2);
    orders.pace = Some(Pace { attempts: 1, since: Some(NEW_YEAR + 7), until: Some(NEW_YEAR - MINUTE) });
    let mut idle = table("idle", 0);
    idle.counts = Counts::default();
    let last = progress("r1", vec![users, orders, idle], None);
    block_on(world.services.control.run_finished(&finished(&id, &last, "SUCCESSFUL"))).unwrap();
    let logs = world.get(&format!("/v1/connections/{id}/logs?run_id=r1"));
    let told = logs.data()["items"].as_array().unwrap().iter().filter_map(|item| {
        let of = item["data"]["table"].as_str()?;
        let (event, at) = (item["event"].as_str().unwrap(), item["created_at"].as_str().unwrap());
        Some(format!("{event} {of} {}", &at[20..26]))
    });
    assert_eq!(
        told.collect::<Vec<_>>(),
        [
            "write_to_table_start orders 000000",
            "records_modified orders 000000",
            "records_modified orders 000000",
            "write_to_table_end orders 000000",
            "write_to_table_start users 000005",
            "records_modified users 000009",
            "records_modified users 000009",
            "write_to_table_end users 000009",
        ]
    );
}

#[test]
fn data_is_delayed_when_it_is_later_than_the_sensitivity_allows() {
    let (world, id) = world();
    let path = format!("/v1/connections/{id}");
    let state = || world.get(&path).data()["status"]["update_state"].clone();
    let last = progress("r1", vec![], None);
    started(&world, &id, "r1", 1);
    block_on(world.services.control.run_finished(&finished(&id, &last, "SUCCESSFUL"))).unwrap();
    world.patch(&path, json!({ "sync_frequency": 60, "data_delay_sensitivity": "NORMAL" }));
    // It succeeded a minute after New Year, and is expected again within an hour.
    world.clock.0.set(NEW_YEAR + 80 * MINUTE);
    assert_eq!(state(), "on_schedule");
    for (body, expected) in [
        (json!({ "data_delay_sensitivity": "CUSTOM", "data_delay_threshold": 18 }), "delayed"),
        (json!({ "data_delay_sensitivity": "CUSTOM", "data_delay_threshold": 19 }), "on_schedule"),
        (json!({ "data_delay_sensitivity": "HIGH" }), "on_schedule"),
    ] {
        world.patch(&path, body);
        assert_eq!(state(), expected);
    }
    world.clock.0.set(NEW_YEAR + 92 * MINUTE);
    assert_eq!(state(), "delayed");
    world.patch(&path, json!({ "data_delay_sensitivity": "SYNC_FREQUENCY" }));
    assert_eq!(state(), "on_schedule");
    world.clock.0.set(NEW_YEAR + 122 * MINUTE);
    assert_eq!(state(), "delayed");
    world.patch(&path, json!({ "data_delay_sensitivity": "LOW" }));
    assert_eq!(state(), "on_schedule");
    world.patch(&path, json!({ "data_delay_sensitivity": "HIGH" }));
    // Of a connection that is off, or started by hand, nobody expects data.
    for (off, on) in [
        (json!({ "paused": true }), json!({ "paused": false })),
        (json!({ "schedule_type": "manual" }), json!({ "schedule_type": "auto" })),
    ] {
        world.patch(&path, off);
        assert_eq!(state(), "on_schedule");
        world.patch(&path, on);
        assert_eq!(state(), "delayed");
    }
    // While history is read again, it takes the time it takes.
    world.db.execute("UPDATE connections SET is_historical_sync = 1, sync_state = 'syncing'");
    assert_eq!(state(), "on_schedule");
    world.db.execute("UPDATE connections SET is_historical_sync = 0");
    assert_eq!(state(), "delayed");
}
