//! What a person defines: a group, a destination in it, a connection from the [ledger](super::ledger) to it.

use fivetran_do::connectors::SyncMode;
use fivetran_do::control::SetupState;
use fivetran_do::control::connections::NewConnection;
use fivetran_do::control::destinations::NewDestination;
use fivetran_do::core::fault_point::FaultPoint;
use fivetran_do::core::schedule::ScheduleKind;
use fivetran_do::engine::sync_control::TableProgress;
use fivetran_do::engine::{RemoteSyncs, RunProgress, StartRequest, SyncControl, Trigger};
use serde_json::json;

use super::world::{Step, Trap, World, finish};

/// More borders than any single call crosses.
const PATIENCE: usize = 100_000;

/// A connection and its destination; gives the connection's id.
pub async fn define(world: &World, destination: &str) -> String {
    let group = define_destination(world, destination).await;
    define_connection(world, &group).await
}

/// A group with a destination in it; gives its id. `destination` is `d1`, `r2` or `memory`.
pub async fn define_destination(world: &World, destination: &str) -> String {
    let control = world.control();
    let account = control.account().await.unwrap();
    let name = control.new_id().unwrap();
    let group = control.create_group(&account.id, &name).await.unwrap().unwrap();
    let config = match destination {
        "d1" => json!({"binding": "ANALYTICS_DB"}),
        "r2" => json!({"bucket": "LAKE", "prefix": "p"}),
        _ => json!({}),
    };
    let made = control
        .create_destination(&NewDestination {
            id: group.id.clone(),
            service: destination.into(),
            config: config.clone(),
            config_public: config,
            region: "US".into(),
            time_zone_offset: "0".into(),
            daylight_saving_time_enabled: false,
            setup_status: SetupState::Connected,
            setup_tests: vec![],
        })
        .await
        .unwrap();
    assert!(made);
    group.id
}

/// A connection that syncs every five minutes and is due now; gives its id.
pub async fn define_connection(world: &World, group: &str) -> String {
    define_connection_to(world, group, "model").await
}

/// The same, with a prefix of its own for the schemas at the destination.
pub async fn define_connection_to(world: &World, group: &str, prefix: &str) -> String {
    let control = world.control();
    let id = control.new_id_beside(group).unwrap();
    let connection = NewConnection {
        id: id.clone(),
        group_id: group.to_owned(),
        service: "ledger".into(),
        schema_name: prefix.into(),
        config: json!({}),
        config_public: json!({}),
        sync_mode: SyncMode::Incremental,
        paused: false,
        sync_frequency: 5,
        daily_sync_time: None,
        schedule_type: ScheduleKind::Auto,
        schema_change_handling: fivetran_do::core::settings::SchemaChangePolicy::AllowAll,
        extra: serde_json::Map::new(),
        setup_state: SetupState::Connected,
        setup_tests: vec![],
        created_by: None,
        next_due_at: Some(world.0.now.get()),
    };
    assert!(control.create_connection(&connection, &[]).await.unwrap());
    id
}

/// Syncs a connection, all its messages handled one after the other, and gives how the run ended.
pub fn sync(world: &World, connection: &str) -> RunProgress {
    let syncs = RemoteSyncs::new(world.engine());
    finish(syncs.start(connection, by_hand()), PATIENCE).unwrap();
    work(world);
    finish(syncs.progress(connection), PATIENCE).unwrap().unwrap()
}

/// Syncs a connection of one table, which succeeds, and gives how that went.
pub fn synced(world: &World, connection: &str) -> TableProgress {
    let run = sync(world, connection);
    assert_eq!(run.state, "SUCCESSFUL", "{run:?}");
    run.tables.into_iter().next().unwrap()
}

/// Handles all messages, one after the other.
pub fn work(world: &World) {
    loop {
        let message = world.0.queue.borrow_mut().pop();
        let Some(message) = message else { return };
        finish(world.worker(message), PATIENCE).unwrap();
    }
}

/// Starts a sync, and handles its messages until a worker dies at that point.
pub fn sync_until(world: &World, connection: &str, point: FaultPoint) {
    world.0.trap.set(Some((point, Trap::Kill)));
    finish(RemoteSyncs::new(world.engine()).start(connection, by_hand()), PATIENCE).unwrap();
    loop {
        let message = world.0.queue.borrow_mut().pop().expect("a worker reaches the trap");
        let mut worker = world.worker(message);
        let ended = (0..PATIENCE).map(|_| world.step(&mut worker)).find(|step| !matches!(step, Step::Waits));
        match ended.expect("a worker comes to an end") {
            Step::Ended(ended) => ended.unwrap(),
            _ => return,
        }
    }
}

fn by_hand() -> StartRequest {
    StartRequest { trigger: Trigger::Manual, due_at: None, force: false, scope: None }
}
