//! Connections: definition, setup tests, syncs, state.

mod actions;
mod body;
mod create;
mod edit;
pub(crate) mod events;
mod reconcile;
mod schedule;

pub(crate) use body::ConnectionBody;
pub(crate) use create::asks_for_something;

use crate::api::Services;
use crate::api::access::Needs;
use crate::api::cursor::Items;
use crate::api::error::{ApiError, ApiResult};
use crate::api::request::Call;
use crate::api::response::{Answer, NoData};
use crate::api::router::{CURSOR, LIMIT, Method, Route, handler};
use crate::control::Connection;
use crate::control::ObjectKind;
use crate::control::connections::ConnectionFilter;
use crate::core::access::{Access, Resource};
use crate::core::fault_point::FaultPoint;

/// How often an edit is tried again when another edit came between reading and saving.
const EDIT_ATTEMPTS: u32 = 5;

pub(crate) fn routes() -> Vec<Route> {
    const LIST: &str = "/v1/connections";
    const ONE: &str = "/v1/connections/{connection_id}";
    let mut routes = vec![
        Route::new(Method::Get, LIST, "List connections", Needs::anywhere(Resource::Connector, Access::Read), handler!(list => Items<ConnectionBody>)).query(&[
            ("group_id", "Only connections of this group"),
            ("schema", "Only connections of exactly this name"),
            ("cursor", CURSOR),
            ("limit", LIMIT),
        ]),
        Route::new(
            Method::Post,
            LIST,
            "Create a connection", Needs::in_body(Resource::Connector, Access::Create, &[(ObjectKind::Group, "/group_id")]),
            handler!(create::create, create::NewConnectionBody => ConnectionBody),
        )
        .status(201)
        .details(
            "An invalid configuration is refused and nothing is created. A valid one whose setup tests fail (or are \
             not run) is created with status.setup_state incomplete, and the clock does not start it until the tests \
             pass. The connection's name is config.schema_prefix (databases), or config.schema with config.table where \
             there is one; it never changes.",
        ),
        Route::new(Method::Get, ONE, "Read a connection", Needs::connection(Access::Read), handler!(get => ConnectionBody)),
        Route::new(
            Method::Patch,
            ONE,
            "Change a connection", Needs::connection(Access::Edit),
            handler!(edit::edit, edit::ConnectionPatch => ConnectionBody),
        )
        .details(
            "What is left out stays. In config, null removes a field and ****** leaves a secret as it is. Pausing \
             cancels a running sync: what is durable stays, and the next sync goes on from there. A running sync is \
             started over when config or sync_mode changes; other changes do not touch it.",
        ),
        Route::new(Method::Delete, ONE, "Delete a connection", Needs::deleting_connection(), handler!(delete))
            .details(
                "A running sync is cancelled. Its history is deleted with it; the data at the destination is not touched.",
            ),
    ];
    routes.extend(actions::routes());
    routes.extend(reconcile::routes());
    routes
}

/// The connection of the path.
pub(crate) async fn found(services: &Services, call: &Call<'_>) -> ApiResult<Connection> {
    let id = call.part("connection_id");
    services.control.connection(id).await?.ok_or_else(|| ApiError::not_found("Connection", id))
}

/// A page of connections, of one group if given.
pub(crate) async fn listed(
    services: &Services,
    call: &Call<'_>,
    group_id: Option<&str>,
) -> ApiResult<Items<ConnectionBody>> {
    let filter = ConnectionFilter {
        group_id: group_id.or_else(|| call.query("group_id")).map(str::to_owned),
        schema_name: call.query("schema").map(str::to_owned),
    };
    let listing =
        services.control.connections(&call.scope(Resource::Connector), &filter, &call.page()?).await?;
    let now = services.ports.clock.now_micros();
    Ok(Items::of(listing, |connection| ConnectionBody::short(connection, now)))
}

async fn list(services: &Services, call: &Call<'_>) -> ApiResult<Answer<Items<ConnectionBody>>> {
    let items = listed(services, call, None).await?;
    Answer::new("Connections list retrieved successfully", &items)
}

async fn get(services: &Services, call: &Call<'_>) -> ApiResult<Answer<ConnectionBody>> {
    let connection = found(services, call).await?;
    let body = ConnectionBody::full(connection, services.ports.clock.now_micros());
    Answer::new("Connection details retrieved successfully", &body)
}

/// The run is stopped, then the definition deleted, then what the engine holds. The engine must not forget the number of
/// the last run before: should we die between, the connection goes on. Whoever was not answered asks again, which
/// erases what is left even though the definition is gone.
async fn delete(services: &Services, call: &Call<'_>) -> ApiResult<Answer<NoData>> {
    let id = call.part("connection_id");
    let known = services.control.connection(id).await?.is_some();
    if known {
        services.syncs.cancel(id).await?;
        services.control.delete_connection(id).await?;
        services.ports.reach(FaultPoint::AfterDelete, id).await?;
    }
    services.syncs.forget(id).await?;
    services.syncs.announce().await;
    if known {
        Ok(Answer::done(format!("Connection with id '{id}' has been deleted")))
    } else {
        Err(ApiError::not_found("Connection", id))
    }
}
