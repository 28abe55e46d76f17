//! A source and a destination in memory, so that tests decide what checks and discovery find.

use std::cell::RefCell;
use std::collections::BTreeMap;

use async_trait::async_trait;
use fivetran_do::connectors::registry::ConnectorType;
use fivetran_do::connectors::{
    BatchSink, Presented, SetupTest, SetupTestStatus, Source, StreamRequest, Trust,
};
use fivetran_do::core::catalog::{Catalog, ChangeTracking, Column, Stream, StreamName};
use fivetran_do::core::certificate::Certificate;
use fivetran_do::core::redact::Secret;
use fivetran_do::core::run::{Chunk, ChunkId, Cursor, Fence, StreamPlan};
use fivetran_do::core::types::{ColumnType, Fidelity};
use fivetran_do::core::{Error, ErrorKind, Result};
use fivetran_do::destinations::registry::DestinationType;
use fivetran_do::destinations::{
    Capabilities, ChunkOpening, Destination, DurableReceipt, Publishing, Standing, TableLoad,
};
use fivetran_do::ports::Ports;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

pub static CONNECTORS: &[ConnectorType] = &[ConnectorType {
    id: "shop",
    name: "Shop",
    category: "Database",
    description: "A database in memory.",
    config_schema: || schemars::schema_for!(ShopConfig),
    open: open_source,
}];

pub static DESTINATIONS: &[DestinationType] = &[DestinationType {
    id: "shelf",
    name: "Shelf",
    config_schema: || schemars::schema_for!(ShelfConfig),
    open: open_destination,
}];

/// The only password that opens the shop.
pub const PASSWORD: &str = "correct-horse-battery";

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)]
struct ShopConfig {
    host: String,
    #[schemars(range(min = 1, max = 65535))]
    port: Option<u16>,
    password: Secret,
    schema_prefix: String,
    tokens: Option<Vec<Secret>>,
    tunnel: Option<Tunnel>,
    headers: Option<BTreeMap<String, Secret>>,
}

#[derive(Deserialize, JsonSchema)]
#[allow(dead_code)]
struct Tunnel {
    user: String,
    key: Secret,
}

#[derive(Deserialize, JsonSchema)]
#[allow(dead_code)]
struct ShelfConfig {
    bucket: String,
    token: Option<Secret>,
}

thread_local! {
    /// What discovery finds.
    pub static CATALOG: RefCell<Catalog> = RefCell::default();
    /// The certificate the shop shows, and whether the platform trusts it.
    pub static SHOWN: RefCell<Option<(Vec<u8>, bool)>> = RefCell::default();
    /// Runs during the next check: what others do meanwhile.
    pub static MEANWHILE: RefCell<Option<Box<dyn FnOnce()>>> = RefCell::default();
}

fn open_source(config: &Value, approved: &[Certificate], _: &Ports) -> Result<Box<dyn Source>> {
    let config: ShopConfig = serde_json::from_value(config.clone())
        .map_err(|_| Error::invalid("The configuration has another shape").field("config"))?;
    if config.host.contains(' ') {
        return Err(Error::invalid("A host has no spaces").field("config.host").remedy("Correct it"));
    }
    Ok(Box::new(Shop(config, approved.to_vec())))
}

struct Shop(ShopConfig, Vec<Certificate>);

impl Shop {
    fn refused(&self) -> bool {
        self.0.password.expose() != PASSWORD
    }
}

#[async_trait(?Send)]
impl Source for Shop {
    async fn check(&self) -> Vec<SetupTest> {
        if let Some(meanwhile) = MEANWHILE.take() {
            meanwhile();
        }
        let (status, message) = if self.refused() {
            (SetupTestStatus::Failed, "config.password: The shop refused it. Enter the right one")
        } else {
            (SetupTestStatus::Passed, "")
        };
        vec![SetupTest::new("Authenticating", status, message)]
    }

    async fn certificate(&self) -> Result<Presented> {
        Ok(match SHOWN.with_borrow(Clone::clone) {
            None => Presented::Nothing("The shop has no TLS"),
            Some((der, public)) => {
                let shown = Certificate::from_der(der)?;
                let trust = match () {
                    () if public => Trust::Public,
                    () if self.1.contains(&shown) => Trust::Approved,
                    () => Trust::Nobody("unknown issuer".to_owned()),
                };
                Presented::Certificate(shown, trust)
            }
        })
    }

    async fn discover(&self) -> Result<Catalog> {
        if self.refused() {
            return Err(Error::new(ErrorKind::SourceAuth, "The shop refused the password")
                .field("config.password")
                .remedy("Enter the right one"));
        }
        Ok(CATALOG.with_borrow(Clone::clone))
    }

    async fn plan(&self, _: &StreamRequest, _: Option<&Cursor>) -> Result<StreamPlan> {
        Err(Error::internal("the API never plans"))
    }

    async fn read(&self, _: &StreamRequest, _: &Chunk, _: &mut dyn BatchSink) -> Result<u64> {
        Err(Error::internal("the API never reads"))
    }
}

fn open_destination(config: &Value, _: &Ports) -> Result<Box<dyn Destination>> {
    let config: ShelfConfig = serde_json::from_value(config.clone())
        .map_err(|_| Error::invalid("The configuration has another shape").field("config"))?;
    Ok(Box::new(Shelf {
        config,
        capabilities: Capabilities { service: "shelf", max_columns: 100, max_row_bytes: 1000 },
    }))
}

struct Shelf {
    config: ShelfConfig,
    capabilities: Capabilities,
}

#[async_trait(?Send)]
impl Destination for Shelf {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    async fn check(&self) -> Vec<SetupTest> {
        let status =
            if self.config.bucket == "missing" { SetupTestStatus::Failed } else { SetupTestStatus::Passed };
        vec![SetupTest::new("Writing", status, "")]
    }

    async fn standing(&self, _: &str, _: &str) -> Result<Option<Standing>> {
        Ok(None)
    }

    async fn take_over(&self, _: &TableLoad, _: &str) -> Result<()> {
        Err(Error::internal("the API never writes"))
    }

    async fn prepare(&self, _: &TableLoad) -> Result<()> {
        Err(Error::internal("the API never writes"))
    }

    async fn open(&self, _: &TableLoad, _: &ChunkId, _: Fence) -> Result<ChunkOpening> {
        Err(Error::internal("the API never writes"))
    }

    async fn publish(&self, _: &TableLoad, _: &[DurableReceipt], _: Fence) -> Result<Publishing> {
        Err(Error::internal("the API never writes"))
    }
}

/// A table with a key column `id` and these text columns.
pub fn table(schema: &str, table: &str, columns: &[&str]) -> Stream {
    let column = |name: &str, column_type, nullable| Column {
        name: name.to_owned(),
        column_type,
        source_type: "text".to_owned(),
        nullable,
        fidelity: Fidelity::Exact,
    };
    let mut all = vec![column("id", ColumnType::Long, false)];
    all.extend(columns.iter().map(|name| column(name, ColumnType::String, true)));
    Stream {
        name: StreamName::new(schema, table),
        columns: all,
        primary_key: vec!["id".to_owned()],
        change_tracking: ChangeTracking::Transaction,
        estimated_rows: Some(7),
        estimated_bytes: None,
    }
}

pub fn offer(streams: Vec<Stream>) {
    CATALOG.with_borrow_mut(|catalog| *catalog = Catalog { streams });
}
