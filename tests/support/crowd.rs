//! Many connections of the ledger to one D1 database.

use fivetran_do::connectors::SyncMode;
use fivetran_do::control::SetupState;
use fivetran_do::control::connections::NewConnection;
use fivetran_do::control::destinations::NewDestination;
use fivetran_do::core::schedule::ScheduleKind;
use fivetran_do::core::settings::SchemaChangePolicy;
use serde_json::json;

use super::world::World;

const MINUTE: i64 = 60_000_000;

/// Defines them, each due a minute and some microseconds ago, in an order that is not the one of their ids, which are given.
pub async fn define(world: &World, connections: i64) -> Vec<String> {
    let control = world.control();
    let account = control.account().await.unwrap();
    let group = control.create_group(&account.id, "g").await.unwrap().unwrap();
    let config = json!({"binding": "ANALYTICS_DB"});
    let destination = NewDestination {
        id: group.id.clone(),
        service: "d1".into(),
        config: config.clone(),
        config_public: config,
        region: "US".into(),
        time_zone_offset: "0".into(),
        daylight_saving_time_enabled: false,
        setup_status: SetupState::Connected,
        setup_tests: vec![],
    };
    assert!(control.create_destination(&destination).await.unwrap());
    let mut ids = Vec::new();
    for at in 0..connections {
        // 7919 is prime: a walk through all numbers that is not their order.
        let turn = at * 7919 % connections;
        let connection = NewConnection {
            id: format!("c{at:06}"),
            group_id: group.id.clone(),
            service: "ledger".into(),
            schema_name: format!("s{at}"),
            config: json!({}),
            config_public: json!({}),
            sync_mode: SyncMode::Incremental,
            paused: false,
            sync_frequency: 15,
            daily_sync_time: None,
            schedule_type: ScheduleKind::Auto,
            schema_change_handling: SchemaChangePolicy::AllowAll,
            extra: serde_json::Map::new(),
            setup_state: SetupState::Connected,
            setup_tests: vec![],
            created_by: None,
            next_due_at: Some(world.0.now.get() - MINUTE + turn),
        };
        assert!(control.create_connection(&connection, &[]).await.unwrap());
        ids.push(connection.id);
    }
    ids
}
