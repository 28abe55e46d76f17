//! Durable Objects: thin shells around the engine's state machines. Handles only in the structs, because a freed
//! object's memory comes back late (cloudflare/workers-rs#722); all state is in their SQLite.

mod connector_do;
mod destination_do;
mod sync_do;

use std::rc::Rc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use worker::{Env, Request, Response, State};

use crate::control::{ControlPlane, MOST_DATABASES};
use crate::core::redact::Secret;
use crate::core::{Error, Result};
use crate::platform::{D1, WorkerClock, WorkerRandom, durable};
use crate::ports::SqlDatabase;

/// Binding of the connections' objects.
pub(crate) const CONNECTOR: &str = "CONNECTOR";
/// Binding of the runs' objects.
pub(crate) const SYNC: &str = "SYNC";
/// Binding of the destinations' objects.
pub(crate) const DESTINATION: &str = "DESTINATION";

/// Decodes the call, lets `handle` answer it, encodes the answer.
async fn serve<I, O, F>(request: Request, handle: F) -> worker::Result<Response>
where
    I: DeserializeOwned,
    O: Serialize,
    F: AsyncFnOnce(I) -> Result<O>,
{
    let result = async {
        let (_, body) = durable::request(request).await?;
        handle(serde_json::from_str(&body)?).await
    };
    durable::answer(&result.await)
}

/// Gives an object's storage back, its alarm included: an object without storage ceases to exist.
async fn erase(state: &State) -> Result<()> {
    state
        .storage()
        .delete_all()
        .await
        .map_err(|error| Error::internal(format!("an object could not erase its storage: {error}")))
}

/// Binding of the control plane's first database. Further ones, where one does not answer fast enough (docs/scale.md), are
/// bound as `DB_2`, `DB_3` and so on without a gap.
const DATABASE: &str = "DB";

/// The control plane over this Worker's own bindings and secrets.
pub(crate) fn control_plane(env: &Env) -> Result<ControlPlane> {
    let database = |binding: &str| -> worker::Result<Rc<dyn SqlDatabase>> {
        Ok(Rc::new(D1::new(env.d1(binding)?, binding)))
    };
    let first = database(DATABASE).map_err(|_| {
        Error::internal(format!("the Worker has no D1 database bound as {DATABASE}"))
            .remedy("Deploy with `npm run deploy`, which creates and binds it")
    })?;
    let others = (2..=MOST_DATABASES).map_while(|number| database(&format!("{DATABASE}_{number}")).ok());
    let keys = env.secret("FIVETRAN_VAULT_KEYS").map_err(|_| {
        Error::internal("the Worker secret FIVETRAN_VAULT_KEYS is not set")
            .remedy("Run `npm run deploy`, or put it with `wrangler secret put FIVETRAN_VAULT_KEYS`")
    })?;
    let keys = Secret::new(keys.to_string());
    let control = ControlPlane::new(first, &keys, Rc::new(WorkerClock), Rc::new(WorkerRandom))?;
    Ok(control.divided_over(others.collect()))
}
