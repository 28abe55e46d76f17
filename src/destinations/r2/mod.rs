//! Cloudflare R2: tables as Parquet, JSON lines or CSV files, listed by a manifest.
//!
//! A run stages its chunks as parts that nobody looks at ([`chunk`]), then swaps the table's manifest in one step
//! ([`publish`]). [`scan`] reads rows back. Where things lie is in [`layout`]; how people read a table is in `docs/reading-r2.md`.

mod cells;
mod check;
mod chunk;
mod compact;
mod config;
mod encoder;
mod history;
mod history_view;
mod key_hash;
mod key_scan;
mod layout;
mod manifest;
mod manifest_store;
mod marked_rows;
mod parquet_encoder;
mod parquet_reader;
mod part;
mod publish;
mod resync;
mod scan;
mod spools;
mod sweep;
mod text_encoder;
mod upload;
mod vanished;

use std::fmt::Write as _;
use std::rc::Rc;

use async_trait::async_trait;
use serde_json::Value;

use self::chunk::ChunkRequest;
use self::config::{Encoding, R2Config};
use self::layout::TableLayout;
use self::manifest_store::ManifestStore;
use self::publish::PublishRequest;
use crate::connectors::{SetupTest, SetupTestStatus};
use crate::core::Result;
use crate::core::limits::MAX_VALUE_BYTES;
use crate::core::run::{ChunkId, Fence};
use crate::core::table::TableSchema;
use crate::destinations::registry::DestinationType;
use crate::destinations::{
    Capabilities, ChunkOpening, Destination, Dropped, DurableReceipt, KeyRange, Publishing, Standing,
    TableLoad, Visit,
};
use crate::ports::{ObjectStore, Ports};

/// The registry's entry.
pub(crate) const DESTINATION: DestinationType = DestinationType {
    id: "r2",
    name: "Cloudflare R2",
    config_schema: || schemars::schema_for!(R2Config),
    open: |config, ports| Ok(Box::new(R2::open(config, ports)?)),
};

const CAPABILITIES: Capabilities = Capabilities {
    service: "r2",
    // Parquet has no limit; 32,767 is where its own footers and every reader we tried become unusable.
    max_columns: 32_767,
    max_row_bytes: MAX_VALUE_BYTES,
};

/// A bucket, seen as a place for tables.
struct R2 {
    ports: Ports,
    config: R2Config,
    encoding: Encoding,
}

impl R2 {
    fn open(config: &Value, ports: &Ports) -> Result<Self> {
        let config = R2Config::parse(config)?;
        let encoding = config.encoding()?;
        Ok(Self { ports: ports.clone(), config, encoding })
    }

    /// Resolved at each use and not when opened, so that [`Destination::check`] can report a missing binding.
    fn store(&self) -> Result<Rc<dyn ObjectStore>> {
        self.ports.bindings.bucket(&self.config.bucket).map_err(|error| error.field("config.bucket"))
    }

    fn layout(&self, schema: &str, table: &str) -> Result<TableLayout> {
        TableLayout::new(self.config.prefix(), schema, table)
    }

    fn manifests(&self, schema: &str, table: &str) -> Result<ManifestStore> {
        Ok(ManifestStore::new(self.store()?, &self.ports, &self.layout(schema, table)?))
    }

    fn nonce(&self) -> Result<String> {
        let mut random = [0_u8; 8];
        self.ports.random.fill(&mut random)?;
        Ok(random.iter().fold(String::new(), |mut hex, byte| {
            // Writing to a string cannot fail.
            let _ = write!(hex, "{byte:02x}");
            hex
        }))
    }
}

#[async_trait(?Send)]
impl Destination for R2 {
    fn capabilities(&self) -> &Capabilities {
        &CAPABILITIES
    }

    async fn check(&self) -> Vec<SetupTest> {
        const FINDING: &str = "Finding the bucket binding";
        const WRITING: &str = "Writing to, reading from and deleting in the bucket";
        let store = match self.store() {
            Ok(store) => store,
            Err(error) => {
                let skipped =
                    SetupTest::new(WRITING, SetupTestStatus::Skipped, "There is no bucket to write to");
                return vec![check::verdict(FINDING, Err(error)), skipped];
            }
        };
        let probed = match self.nonce() {
            Ok(nonce) => check::probe(&*store, self.config.prefix(), &nonce).await,
            Err(error) => Err(error),
        };
        vec![check::verdict(FINDING, Ok(())), check::verdict(WRITING, probed)]
    }

    async fn standing(&self, schema: &str, table: &str) -> Result<Option<Standing>> {
        let current = self.manifests(schema, table)?.read().await?;
        Ok(current.map(|current| current.manifest.standing()))
    }

    async fn take_over(&self, load: &TableLoad, from: &str) -> Result<()> {
        self.manifests(&load.table.schema, &load.table.table)?.take_over(load, from).await
    }

    async fn prepare(&self, load: &TableLoad) -> Result<()> {
        let manifests = self.manifests(&load.table.schema, &load.table.table)?;
        manifests.announce(load, self.encoding.format()).await
    }

    async fn drop_columns(&self, load: &TableLoad, columns: &[String]) -> Result<Dropped> {
        self.manifests(&load.table.schema, &load.table.table)?.drop_columns(load, columns).await
    }

    async fn open(&self, load: &TableLoad, chunk: &ChunkId, fence: Fence) -> Result<ChunkOpening> {
        let request = ChunkRequest {
            store: self.store()?,
            ports: &self.ports,
            layout: self.layout(&load.table.schema, &load.table.table)?,
            encoding: self.encoding,
            load,
            chunk,
            fence,
        };
        chunk::open(request).await
    }

    async fn publish(&self, load: &TableLoad, chunks: &[DurableReceipt], fence: Fence) -> Result<Publishing> {
        let request = PublishRequest {
            store: self.store()?,
            ports: &self.ports,
            layout: self.layout(&load.table.schema, &load.table.table)?,
            encoding: self.encoding,
            load,
            chunks,
            fence,
        };
        publish::publish(request).await
    }

    async fn scan(&self, table: &TableSchema, range: &KeyRange, visit: Visit<'_>) -> Result<Vec<String>> {
        let current = self.manifests(&table.schema, &table.table)?.prepared().await?;
        let layout = self.layout(&table.schema, &table.table)?;
        scan::scan(self.store()?, &layout, &current.manifest, table, range, visit).await
    }
}
