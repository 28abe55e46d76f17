//! With the registries as deployed.

use std::rc::Rc;

use fivetran_do::connectors::registry::CONNECTORS;
use fivetran_do::core::redact::Secret;
use fivetran_do::core::{Error, ErrorKind, Result};
use fivetran_do::destinations::registry::DESTINATIONS;
use fivetran_do::ports::{Bindings, ObjectStore, SqlDatabase};
use serde_json::json;

use crate::control_db::ControlDb;
use crate::harness::{World, block_on};

fn deployed() -> World {
    let mut world = World::new();
    world.services.connectors = CONNECTORS;
    world.services.destinations = DESTINATIONS;
    world
}

#[test]
fn every_connector_is_listed_and_described() {
    let world = deployed();
    let list = world.get("/v1/metadata/connector-types?limit=1000");
    let listed =
        list.data()["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().to_owned());
    assert_eq!(
        listed.collect::<Vec<_>>(),
        CONNECTORS.iter().map(|connector| connector.id).collect::<Vec<_>>()
    );
    for connector in CONNECTORS {
        let one = world.get(&format!("/v1/metadata/connector-types/{}", connector.id));
        assert!(one.data()["config"].is_object(), "{}", connector.id);
    }
}

#[test]
fn what_terraforms_provider_calls_a_database_and_a_prefix_is_taken_and_shown_as_it_was_sent() {
    let mut world = deployed();
    world.services.ports.bindings = Rc::new(OneDatabase(world.db.clone()));
    for (service, config, other) in [
        ("d1", json!({ "database": "ANALYTICS_DB" }), "binding"),
        ("r2", json!({ "bucket": "LAKE", "prefix_path": "raw/" }), "prefix"),
    ] {
        let group = world.group(service);
        let body =
            json!({ "group_id": group, "service": service, "run_setup_tests": false, "config": config });
        assert_eq!(world.post("/v1/destinations", body).data()["config"], config);
        let path = format!("/v1/destinations/{group}");
        assert_eq!(world.get(&path).data()["config"], config);
        world.patch(&path, json!({ "config": { other: "elsewhere" } })).refused(
            400,
            "InvalidInput",
            &["another name"],
        );
    }
    let body =
        json!({ "group_id": world.group("typo"), "service": "d1", "config": { "database": "ANALYTCS_DB" } });
    world.post("/v1/destinations", body).refused(400, "DestinationConfig", &["config.database"]);
}

/// A Worker with one database bound to it.
struct OneDatabase(Rc<ControlDb>);

impl Bindings for OneDatabase {
    fn database(&self, binding: &str) -> Result<Rc<dyn SqlDatabase>> {
        match binding {
            "ANALYTICS_DB" => Ok(self.0.clone()),
            _ => Err(Error::new(ErrorKind::DestinationConfig, "There is no such binding")),
        }
    }

    fn bucket(&self, _: &str) -> Result<Rc<dyn ObjectStore>> {
        Err(Error::internal("no buckets here"))
    }

    fn hyperdrive(&self, _: &str) -> Result<Secret> {
        Err(Error::internal("no Hyperdrive here"))
    }
}

#[test]
fn every_name_of_postgres_makes_the_same_connection_and_is_answered_as_it_was_sent() {
    let world = deployed();
    let group = world.group("Lake");
    let names = [
        "postgres",
        "postgres_rds",
        "aurora_postgres",
        "azure_postgres",
        "google_cloud_postgresql",
        "heroku_postgres",
    ];
    for service in names {
        let config = json!({ "host": "db", "user": "u", "database": "d", "schema_prefix": service });
        let body =
            json!({ "group_id": group, "service": service, "run_setup_tests": false, "config": config });
        let made = world.post("/v1/connections", body);
        assert_eq!(made.data()["service"], service);
        let path = format!("/v1/connections/{}", made.data()["id"].as_str().unwrap());
        assert_eq!(world.patch(&path, json!({ "config": { "port": "6432" } })).data()["service"], service);
        let described = world.get(&format!("/v1/metadata/connector-types/{service}"));
        assert_eq!(
            (&described.data()["id"], &described.data()["type"]),
            (&json!(service), &json!("Database"))
        );
        let plain = world.get("/v1/metadata/connector-types/postgres");
        assert_eq!(described.data()["config"], plain.data()["config"]);
    }
    let body = json!({ "group_id": group, "service": "postgresql", "config": {} });
    world.post("/v1/connections", body).refused(400, "InvalidInput", &names);
}

#[test]
fn i6_a_real_destination_keeps_its_token_to_itself() {
    let world = deployed();
    world.secrets.borrow_mut().push("cf-t0ken".to_owned());
    let group = world.group("Lake");
    let config = json!({ "account_id": "0123456789abcdef0123456789abcdef",
        "database_id": "9f8e7d6c-0000-4000-8000-000000000000", "api_token": "cf-t0ken" });
    let body = json!({ "group_id": group, "service": "d1", "run_setup_tests": false, "config": config });
    assert_eq!(world.post("/v1/destinations", body).data()["config"]["api_token"], "******");
    let path = format!("/v1/destinations/{group}");
    world.patch(&path, json!({ "config": { "api_tokn": "cf-t0ken" } })).refused(
        400,
        "InvalidInput",
        &["api_tokn"],
    );
    world.patch(&path, json!({ "config": { "account_id": ["cf-t0ken"] } })).refused(
        400,
        "InvalidInput",
        &["account_id"],
    );
    let stored = block_on(world.services.control.destination(&group)).unwrap().unwrap();
    assert_eq!(stored.config.open().unwrap()["api_token"], "cf-t0ken");
    assert!(!world.db.dump().contains("cf-t0ken"));
}
