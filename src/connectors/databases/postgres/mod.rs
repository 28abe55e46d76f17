//! PostgreSQL: tables, partitioned tables, views, materialized views and foreign tables of one database.
//!
//! The rooms: [`config`] and [`address`] say where the server is; [`session`] over [`wire`] talks to it, with [`patience`];
//! [`errors`] translates what it says; [`types`] is the type table; [`discover`] lists streams; [`plan`] cuts them into chunks, with
//! the sizes of [`relation`], the [`range`] each chunk carries and the [`cursor`] a sync leaves behind, with the [`tally`] of
//! tables without a key; [`by_column`] does for cursor columns, with [`watermark`], [`writers`] and [`value_ranges`], on an
//! [`estimate`]; [`read`] moves a chunk and [`key_range`] a range of keys, through [`decode`], [`values`] and [`numeric`], or
//! refuses it as [`oversize`]; [`check`] is the setup test, which has [`names`] look for what the configuration names and
//! [`presented`] at the server's certificate.

mod address;
mod by_column;
mod check;
mod config;
mod cursor;
mod decode;
mod discover;
mod errors;
mod estimate;
mod key_range;
mod names;
mod numeric;
mod oversize;
mod patience;
mod plan;
mod presented;
mod range;
mod read;
mod relation;
mod session;
mod sql;
mod tally;
mod types;
mod value_ranges;
mod values;
mod watermark;
mod wire;
mod writers;

use std::cell::RefCell;

use async_trait::async_trait;
use serde_json::Value;

use self::config::{Config, RawConfig};
use self::session::Session;
use crate::connectors::registry::ConnectorType;
use crate::connectors::{BatchSink, KeyScan, Presented, SetupTest, Source, StreamRequest};
use crate::core::catalog::Catalog;
use crate::core::certificate::Certificate;
use crate::core::run::{Chunk, Cursor, StreamPlan};
use crate::core::{ErrorKind, Result};
use crate::ports::Ports;

/// The registry's entries: the service under every name that Fivetran has for where the server runs. All of them are the
/// same connector.
pub(crate) const CONNECTORS: [ConnectorType; 6] = [
    service("postgres", "PostgreSQL"),
    service("aurora_postgres", "Amazon Aurora PostgreSQL"),
    service("azure_postgres", "Azure Database for PostgreSQL"),
    service("google_cloud_postgresql", "Google Cloud SQL for PostgreSQL"),
    service("heroku_postgres", "Heroku Postgres"),
    service("postgres_rds", "Amazon RDS for PostgreSQL"),
];

const fn service(id: &'static str, name: &'static str) -> ConnectorType {
    ConnectorType {
        id,
        name,
        category: "Database",
        description: "Tables and views of a PostgreSQL database, followed by transaction id or by a cursor column.",
        config_schema: || schemars::schema_for!(RawConfig),
        open,
    }
}

fn open(config: &Value, approved: &[Certificate], ports: &Ports) -> Result<Box<dyn Source>> {
    let config = Config::parse(config, approved, ports.bindings.as_ref())?;
    Ok(Box::new(Postgres { config, ports: ports.clone(), idle: RefCell::default() }))
}

/// One database.
struct Postgres {
    config: Config,
    ports: Ports,
    /// Connections between two uses. Planning asks table by table, and a login per table would take longer than the
    /// planning. They close with the source, that is, at the end of the invocation.
    idle: RefCell<Vec<Session>>,
}

impl Postgres {
    /// Runs an operation on an idle connection or a new one and returns both. An idle connection may have been closed by
    /// the other side meanwhile; then the operation, which must have had no effect yet, is repeated on another.
    async fn with_session<T>(
        &self,
        operation: impl AsyncFn(&mut Session) -> Result<T>,
    ) -> Result<(Session, T)> {
        loop {
            let idle = self.idle.borrow_mut().pop();
            let reused = idle.is_some();
            let mut session = match idle {
                Some(session) => session,
                None => Session::connect(&self.config, &self.ports).await.map_err(|(_, error)| error)?,
            };
            match operation(&mut session).await {
                Ok(value) => return Ok((session, value)),
                Err(error)
                    if reused && session.is_closed() && error.kind() == ErrorKind::SourceUnavailable => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Keeps a connection whose transaction has ended for the next use. After an error it is dropped instead.
    fn keep(&self, session: Session) {
        self.idle.borrow_mut().push(session);
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.idle.get_mut().drain(..).for_each(Session::close);
    }
}

#[async_trait(?Send)]
impl Source for Postgres {
    fn max_parallel_reads(&self) -> u32 {
        self.config.max_parallel_reads
    }

    async fn check(&self) -> Vec<SetupTest> {
        check::check(&self.config, &self.ports).await
    }

    async fn certificate(&self) -> Result<Presented> {
        presented::certificate(&self.config, &self.ports).await
    }

    async fn discover(&self) -> Result<Catalog> {
        let (session, catalog) =
            self.with_session(async |session| discover::discover(session, &self.config).await).await?;
        self.keep(session);
        Ok(catalog)
    }

    async fn plan(&self, request: &StreamRequest, from: Option<&Cursor>) -> Result<StreamPlan> {
        let (session, plan) =
            self.with_session(async |session| plan::plan(session, &self.config, request, from).await).await?;
        self.keep(session);
        Ok(plan)
    }

    async fn read(&self, request: &StreamRequest, chunk: &Chunk, sink: &mut dyn BatchSink) -> Result<u64> {
        let (mut session, chunk) = self
            .with_session(async |session| read::open(session, &self.config, request, chunk).await)
            .await?;
        let rows = read::read(&mut session, chunk, sink).await?;
        self.keep(session);
        Ok(rows)
    }

    fn reads_in_key_order(&self) -> bool {
        true
    }

    async fn read_range(
        &self,
        request: &StreamRequest,
        scan: &KeyScan,
        sink: &mut dyn BatchSink,
    ) -> Result<u64> {
        let (mut session, chunk) = self
            .with_session(async |session| key_range::open(session, &self.config, request, scan).await)
            .await?;
        let rows = read::read(&mut session, chunk, sink).await?;
        self.keep(session);
        Ok(rows)
    }
}
