//! Setup tests, syncs, re-syncs, state.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::body::ConnectionBody;
use super::edit::next_due;
use super::{EDIT_ATTEMPTS, events, found};
use crate::api::access::Needs;
use crate::api::error::{ApiError, ApiResult};
use crate::api::request::Call;
use crate::api::resources::certificates;
use crate::api::response::{Answer, NoData};
use crate::api::router::{Method, Route, handler};
use crate::api::{Services, setup};
use crate::control::{Connection, DueChange, LogEvent, SetupState, SyncStateChange};
use crate::core::Error;
use crate::core::access::Access;
use crate::core::catalog::StreamName;
use crate::core::schedule::Zone;
use crate::engine::{StartOutcome, StartRequest, Trigger};

pub(crate) fn routes() -> Vec<Route> {
    const TEST: &str = "/v1/connections/{connection_id}/test";
    const SYNC: &str = "/v1/connections/{connection_id}/sync";
    const FORCE: &str = "/v1/connections/{connection_id}/force";
    const RESYNC: &str = "/v1/connections/{connection_id}/resync";
    const STATE: &str = "/v1/connections/{connection_id}/state";
    const RESYNC_TABLES: &str = "/v1/connections/{connection_id}/schemas/tables/resync";
    const RESYNC_TABLE: &str = "/v1/connections/{connection_id}/schemas/{schema}/tables/{table}/resync";
    vec![
        Route::new(Method::Post, TEST, "Run setup tests", Needs::connection(Access::Edit), handler!(test, RunTestsBody => ConnectionBody)),
        Route::new(Method::Post, SYNC, "Sync now", Needs::connection(Access::Edit), handler!(sync, SyncBody => StartedBody)).details(
            "A sync that runs already is left alone, or with force cancelled and started anew. A paused connection is \
             not synced.",
        ),
        Route::new(Method::Post, FORCE, "Sync now, cancelling a running sync", Needs::connection(Access::Edit), handler!(force => StartedBody)),
        Route::new(Method::Post, RESYNC, "Read all history again", Needs::connection(Access::Edit), handler!(resync, ResyncBody => StartedBody)),
        Route::new(Method::Get, STATE, "Read the cursors", Needs::connection(Access::Read), handler!(state => StateBody)),
        Route::new(Method::Patch, STATE, "Replace the cursors", Needs::connection(Access::Edit), handler!(set_state, NewState => StateBody))
            .details("Not possible while a sync runs."),
        Route::new(Method::Post, RESYNC_TABLES, "Read all history of some tables again", Needs::connection(Access::Edit), handler!(resync_tables, Scope)),
        Route::new(Method::Post, RESYNC_TABLE, "Read all history of a table again", Needs::connection(Access::Edit), handler!(resync_table)),
    ]
}

/// How to test.
#[derive(Deserialize, JsonSchema)]
struct RunTestsBody {
    /// Whether to approve the certificate that the source shows now, if nobody vouches for it; false where absent.
    trust_certificates: Option<bool>,
}

/// How to sync.
#[derive(Deserialize, JsonSchema)]
struct SyncBody {
    /// Whether to cancel a sync that runs already; false where absent.
    force: Option<bool>,
}

/// The run that was asked for.
#[derive(Serialize, JsonSchema)]
struct StartedBody {
    /// Its id: the new run, or the one that runs already.
    run_id: Option<String>,
}

impl StartedBody {
    fn of(outcome: StartOutcome) -> Self {
        Self {
            run_id: match outcome {
                StartOutcome::Started { run_id } | StartOutcome::AlreadyRunning { run_id } => Some(run_id),
                StartOutcome::AlreadyServed => None,
            },
        }
    }
}

/// What to read again.
#[derive(Deserialize, JsonSchema)]
struct ResyncBody {
    /// Tables by schema, by their names at the source; everything where absent.
    scope: Option<Scope>,
}

/// Tables by schema.
#[derive(Deserialize, JsonSchema)]
struct Scope(BTreeMap<String, Vec<String>>);

/// Cursors by schema and table. Their shape is the connector's.
#[derive(Serialize, JsonSchema)]
struct StateBody {
    state: Map<String, Value>,
}

/// The cursors; none before the first sync.
async fn cursors(services: &Services, connection: &Connection) -> ApiResult<StateBody> {
    let state = services.syncs.state(&connection.id).await?;
    let state = if let Value::Object(state) = state { state } else { Map::new() };
    Ok(StateBody { state })
}

/// Cursors to set.
#[derive(Deserialize, JsonSchema)]
struct NewState {
    /// `{ "schema": { "table": cursor } }`, as read before; `{}` forgets all.
    state: Map<String, Value>,
}

async fn test(services: &Services, call: &Call<'_>, body: RunTestsBody) -> ApiResult<Answer<ConnectionBody>> {
    for _ in 0..EDIT_ATTEMPTS {
        let mut connection = found(services, call).await?;
        let (clear, trust) = (connection.config.open()?, body.trust_certificates);
        let (service, approved) = (&connection.service, &connection.approved);
        let (source, sighted) =
            certificates::open_trusting(services, service, &clear, approved, trust).await?;
        certificates::keep_sighted(services, call, &connection.id, sighted).await?;
        connection.setup_tests = source.check().await;
        let before = connection.setup_state;
        connection.setup_state = setup::concluded(&connection.setup_tests, before);
        let now = services.ports.clock.now_micros();
        // Only leaving `incomplete` makes the clock notice a connection.
        let due = if before == SetupState::Incomplete && connection.setup_state == SetupState::Connected {
            let zone = services.control.destination(&connection.group_id).await?;
            let zone = zone.map_or_else(|| Ok(Zone::default()), |destination| destination.zone())?;
            DueChange::Set(next_due(&connection, &connection.schedule(zone)?, now))
        } else {
            DueChange::Keep
        };
        let events = vec![events::tested(&connection.id, &connection.setup_tests, now)];
        if services.control.save_connection(&connection, None, due, SyncStateChange::Keep, &events).await? {
            services.syncs.announce().await;
            let body = ConnectionBody::full(found(services, call).await?, now);
            return Answer::new("Setup tests have been completed", &body);
        }
    }
    Err(ApiError::conflict("The connection is being edited by others. Try again"))
}

fn now(services: &Services) -> i64 {
    services.ports.clock.now_micros()
}

async fn start(
    services: &Services,
    connection: &Connection,
    request: StartRequest,
) -> ApiResult<StartOutcome> {
    if connection.paused {
        return Err(ApiError::illegal_state(format!(
            "Connection with id '{}' is paused. Set paused to false first",
            connection.id
        )));
    }
    Ok(services.syncs.start(&connection.id, request).await?)
}

async fn sync(services: &Services, call: &Call<'_>, body: SyncBody) -> ApiResult<Answer<StartedBody>> {
    sync_now(services, call, body.force.unwrap_or(false)).await
}

async fn force(services: &Services, call: &Call<'_>) -> ApiResult<Answer<StartedBody>> {
    sync_now(services, call, true).await
}

async fn sync_now(services: &Services, call: &Call<'_>, force: bool) -> ApiResult<Answer<StartedBody>> {
    let connection = found(services, call).await?;
    let request = StartRequest { trigger: Trigger::Manual, due_at: None, force, scope: None };
    let id = &connection.id;
    let outcome = start(services, &connection, request).await?;
    let message = match outcome {
        StartOutcome::Started { .. } => {
            if force {
                events::log(services, LogEvent::info(id, "force_update_connector", now(services))).await?;
            }
            format!("Sync has been successfully triggered for connection with id '{id}'")
        }
        StartOutcome::AlreadyRunning { .. } | StartOutcome::AlreadyServed => {
            format!("A sync is running already for connection with id '{id}'")
        }
    };
    Answer::new(message, &StartedBody::of(outcome))
}

async fn resync(services: &Services, call: &Call<'_>, body: ResyncBody) -> ApiResult<Answer<StartedBody>> {
    let connection = found(services, call).await?;
    let scope = match body.scope {
        Some(scope) => Some(streams_of(services, &connection, &scope, "scope").await?),
        None => None,
    };
    let request = StartRequest { trigger: Trigger::Resync, due_at: None, force: true, scope };
    let outcome = start(services, &connection, request).await?;
    let id = &connection.id;
    events::log(services, LogEvent::info(id, "resync_connector", now(services))).await?;
    let message = format!("Sync has been successfully triggered for connection with id '{id}'");
    Answer::new(message, &StartedBody::of(outcome))
}

async fn resync_tables(services: &Services, call: &Call<'_>, scope: Scope) -> ApiResult<Answer<NoData>> {
    let connection = found(services, call).await?;
    let scope = streams_of(services, &connection, &scope, "body").await?;
    resync_streams(services, &connection, scope).await
}

async fn resync_table(services: &Services, call: &Call<'_>) -> ApiResult<Answer<NoData>> {
    let connection = found(services, call).await?;
    let scope =
        Scope(BTreeMap::from([(call.part("schema").to_owned(), vec![call.part("table").to_owned()])]));
    let scope = streams_of(services, &connection, &scope, "table").await?;
    resync_streams(services, &connection, scope).await
}

async fn resync_streams(
    services: &Services,
    connection: &Connection,
    scope: Vec<StreamName>,
) -> ApiResult<Answer<NoData>> {
    let tables = scope.iter().map(ToString::to_string).collect::<Vec<_>>();
    let request = StartRequest { trigger: Trigger::Resync, due_at: None, force: true, scope: Some(scope) };
    start(services, connection, request).await?;
    let event = LogEvent::info(&connection.id, "resync_table", now(services));
    events::log(services, LogEvent { data: json!({ "tables": tables }), ..event }).await?;
    Ok(Answer::done("Re-sync has been triggered successfully"))
}

/// The streams a scope names; every one must be known. One client sends `{"schema": ["public.users"]}`: where no schema
/// is called `schema`, such entries are read as whole names.
async fn streams_of(
    services: &Services,
    connection: &Connection,
    scope: &Scope,
    field: &str,
) -> ApiResult<Vec<StreamName>> {
    let empty = |field: String| {
        Error::invalid("There is nothing to re-sync")
            .field(field)
            .remedy("Name at least one table per schema, or leave the scope out to re-sync everything")
    };
    if scope.0.is_empty() {
        return Err(empty(field.to_owned()).into());
    }
    let known = services.control.latest_streams(&connection.id).await?;
    let knows = |name: &StreamName| known.iter().any(|(stream, _)| stream.name == *name);
    let mut streams = Vec::new();
    for (schema, tables) in &scope.0 {
        if tables.is_empty() {
            return Err(empty(format!("{field}.{schema}")).into());
        }
        for table in tables {
            let plain = StreamName::new(schema, table);
            let whole = table.split_once('.').map(|(schema, table)| StreamName::new(schema, table));
            let name = if knows(&plain) {
                Some(plain)
            } else {
                whole.filter(|name| schema == "schema" && knows(name))
            };
            streams.push(name.ok_or_else(|| ApiError::not_found("Table", &format!("{schema}.{table}")))?);
        }
    }
    Ok(streams)
}

async fn state(services: &Services, call: &Call<'_>) -> ApiResult<Answer<StateBody>> {
    let connection = found(services, call).await?;
    Answer::new("Connection state retrieved successfully", &cursors(services, &connection).await?)
}

async fn set_state(services: &Services, call: &Call<'_>, new: NewState) -> ApiResult<Answer<StateBody>> {
    let connection = found(services, call).await?;
    services.syncs.set_state(&connection.id, Value::Object(new.state)).await?;
    Answer::new("Connection state has been updated", &cursors(services, &connection).await?)
}
