//! `ConnectorDo`: one per connection. Input gates serialise its events, so two starts can never interleave (I1).

use worker::{DurableObject, Env, Request, Response, State, durable_object};

use super::{erase, serve};
use crate::engine::connector::Connector;
use crate::engine::protocol::ConnectorRequest;
use crate::platform::{DurableSql, WorkerClock};
use crate::ports::Clock;

/// Shell around [`Connector`].
#[durable_object(fetch)]
pub struct ConnectorDo {
    state: State,
}

impl DurableObject for ConnectorDo {
    fn new(state: State, _env: Env) -> Self {
        Self { state }
    }

    async fn fetch(&self, request: Request) -> worker::Result<Response> {
        serve(request, async |input: ConnectorRequest| {
            let sql = DurableSql::new(self.state.storage().sql());
            let forget = input == ConnectorRequest::Forget;
            let reply = Connector::new(&sql)?.handle(input, WorkerClock.now_micros())?;
            if forget {
                erase(&self.state).await?;
            }
            Ok(reply)
        })
        .await
    }
}
