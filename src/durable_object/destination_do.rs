//! `DestinationDo`: one per destination. Schema changes take turns here.

use worker::{DurableObject, Env, Request, Response, State, durable_object};

use super::{control_plane, erase, serve};
use crate::control::ControlPlane;
use crate::core::{Error, ErrorKind, Result};
use crate::destinations::{Destination, TableLoad};
use crate::engine::Registry;
use crate::engine::destination::{SchemaLock, Tables};
use crate::engine::protocol::{DestinationReply, DestinationRequest};
use crate::platform::{DurableSql, ports};
use crate::ports::Ports;

/// Shell around [`Tables`].
#[durable_object(fetch)]
pub struct DestinationDo {
    state: State,
    env: Env,
    lock: SchemaLock,
}

impl DurableObject for DestinationDo {
    fn new(state: State, env: Env) -> Self {
        Self { state, env, lock: SchemaLock::default() }
    }

    async fn fetch(&self, request: Request) -> worker::Result<Response> {
        serve(request, async |input: DestinationRequest| {
            let sql = DurableSql::new(self.state.storage().sql());
            let tables = Tables::new(&sql)?;
            match input {
                DestinationRequest::Prepare { destination_id, load, since } => {
                    self.prepare(&tables, &destination_id, *load, since).await
                }
                DestinationRequest::Current { tables: wanted } => {
                    Ok(DestinationReply::Current { tables: tables.current(&wanted)? })
                }
                DestinationRequest::DropColumns { destination_id, load, columns } => {
                    self.drop_columns(&tables, &destination_id, &load, &columns).await
                }
                DestinationRequest::History { schema, table } => {
                    Ok(DestinationReply::History { versions: tables.history(&schema, &table)? })
                }
                DestinationRequest::Forget => {
                    tables.forget()?;
                    erase(&self.state).await?;
                    Ok(DestinationReply::Done)
                }
            }
        })
        .await
    }
}

impl DestinationDo {
    async fn prepare(
        &self,
        tables: &Tables<'_>,
        id: &str,
        load: TableLoad,
        since: Option<u64>,
    ) -> Result<DestinationReply> {
        let (control, ports) = (control_plane(&self.env)?, ports(&self.env));
        let destination = open(&control, &ports, id).await?;
        let (table, change) =
            tables.prepare(&self.lock, destination.as_ref(), load, since, &control, &ports).await?;
        Ok(DestinationReply::Prepared { table, change })
    }

    async fn drop_columns(
        &self,
        tables: &Tables<'_>,
        id: &str,
        load: &TableLoad,
        columns: &[String],
    ) -> Result<DestinationReply> {
        let (control, ports) = (control_plane(&self.env)?, ports(&self.env));
        let destination = open(&control, &ports, id).await?;
        let dropped = tables.drop_columns(&self.lock, destination.as_ref(), load, columns, &control).await?;
        Ok(DestinationReply::Dropped { dropped })
    }
}

async fn open(control: &ControlPlane, ports: &Ports, id: &str) -> Result<Box<dyn Destination>> {
    let record = control.destination(id).await?.ok_or_else(|| {
        let message = format!("destination {id} was deleted while it was loaded");
        Error::new(ErrorKind::DestinationConfig, message)
    })?;
    Registry::default().destination(&record, ports)
}
