//! Cloudflare D1: typed tables in SQLite, loaded in bulk.
//!
//! A destination table `schema.table` is the SQLite table `schema__table` ([`names`]). Three small tables of ours stand
//! beside the user's: `_fivetran_tables` ([`catalog`]) knows every table's exact types, its owner and its newest run,
//! `_fivetran_published` the newest one that was published, `_fivetran_commits` ([`watermark`]) which chunks are durable.
//!
//! A run prepares a table ([`prepare`], [`rebuild`]), writes its chunks as upserts of JSON rows ([`encode`],
//! [`insert`], [`write`]), and publishes ([`publish`]); [`drop`] drops what a person asked to drop; [`scan`] reads rows back. How values are stored is told in [`storage`] and [`temporal`].

mod catalog;
mod check;
mod config;
mod database;
mod ddl;
mod drop;
mod encode;
mod fault;
mod history;
mod http;
mod insert;
mod names;
mod pages;
mod prepare;
mod publish;
mod rebuild;
mod scan;
mod storage;
mod temporal;
mod text_form;
mod watermark;
mod write;

use std::rc::Rc;

use async_trait::async_trait;
use serde_json::Value;

use self::config::Config;
use self::database::Database;
use self::http::HttpDatabase;
use crate::connectors::SetupTest;
use crate::core::Result;
use crate::core::limits::{D1_MAX_COLUMNS, D1_MAX_ROW_BYTES};
use crate::core::run::{ChunkId, Fence};
use crate::core::table::TableSchema;
use crate::destinations::registry::DestinationType;
use crate::destinations::{
    Capabilities, ChunkOpening, Destination, Dropped, DurableReceipt, KeyRange, Publishing, Standing,
    TableLoad, Visit,
};
use crate::ports::{Ports, SqlDatabase};

/// The registry's entry.
pub(crate) const DESTINATION: DestinationType =
    DestinationType { id: "d1", name: "Cloudflare D1", config_schema: config::schema, open };

const CAPABILITIES: Capabilities =
    Capabilities { service: "d1", max_columns: D1_MAX_COLUMNS, max_row_bytes: D1_MAX_ROW_BYTES };

fn open(config: &Value, ports: &Ports) -> Result<Box<dyn Destination>> {
    let database: Rc<dyn SqlDatabase> = match Config::parse(config)? {
        Config::Binding { name, field } => {
            ports.bindings.database(&name).map_err(|error| error.field(format!("config.{field}")))?
        }
        Config::Http { endpoint, token } => {
            Rc::new(HttpDatabase::new(Rc::clone(&ports.http), endpoint, token))
        }
    };
    Ok(Box::new(D1 { database: Rc::new(Database::new(database, ports.clone())) }))
}

/// A D1 database as a destination.
struct D1 {
    database: Rc<Database>,
}

#[async_trait(?Send)]
impl Destination for D1 {
    fn capabilities(&self) -> &Capabilities {
        &CAPABILITIES
    }

    async fn check(&self) -> Vec<SetupTest> {
        check::check(&self.database).await
    }

    async fn standing(&self, schema: &str, table: &str) -> Result<Option<Standing>> {
        catalog::standing(&self.database, schema, table).await
    }

    async fn take_over(&self, load: &TableLoad, from: &str) -> Result<()> {
        catalog::take_over(&self.database, load, from).await
    }

    async fn prepare(&self, load: &TableLoad) -> Result<()> {
        prepare::prepare(&self.database, load).await
    }

    async fn drop_columns(&self, load: &TableLoad, columns: &[String]) -> Result<Dropped> {
        drop::drop_columns(&self.database, load, columns).await?;
        Ok(Dropped::Whole)
    }

    async fn open(&self, load: &TableLoad, chunk: &ChunkId, fence: Fence) -> Result<ChunkOpening> {
        write::open(&self.database, load, chunk, fence).await
    }

    async fn publish(&self, load: &TableLoad, chunks: &[DurableReceipt], fence: Fence) -> Result<Publishing> {
        publish::publish(&self.database, load, chunks, fence).await.map(Publishing::Done)
    }

    async fn scan(&self, table: &TableSchema, range: &KeyRange, visit: Visit<'_>) -> Result<Vec<String>> {
        scan::scan(&self.database, table, range, visit).await
    }
}
