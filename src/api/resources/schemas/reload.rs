//! Looking at the source again.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::body::SchemaConfigBody;
use super::known::Known;
use crate::api::error::ApiResult;
use crate::api::request::Call;
use crate::api::resources::connections::found;
use crate::api::response::Answer;
use crate::api::{Services, setup};
use crate::control::Connection;
use crate::control::streams::{StreamVersion, changed_versions};
use crate::core::Error;
use crate::core::catalog::{Catalog, Stream, StreamName};
use crate::core::destination_names::DestinationNames;
use crate::core::settings::{
    ConnectionSettings, SchemaSettings, StreamSettings, Target, select, settle_schemas,
};

/// How to look at the source again.
#[derive(Deserialize, JsonSchema)]
pub(super) struct ReloadBody {
    /// What becomes of the tables' switches; `PRESERVE` where absent.
    exclude_mode: Option<ExcludeMode>,
}

/// What becomes of the tables' switches.
#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum ExcludeMode {
    /// They stay.
    #[default]
    Preserve,
    /// All schemas and tables are switched on.
    Include,
    /// All tables are switched off.
    Exclude,
}

impl ExcludeMode {
    /// What all tables are set to, if anything.
    fn switch(self) -> Option<bool> {
        match self {
            Self::Preserve => None,
            Self::Include => Some(true),
            Self::Exclude => Some(false),
        }
    }
}

pub(super) async fn reload(
    services: &Services,
    call: &Call<'_>,
    body: ReloadBody,
) -> ApiResult<Answer<SchemaConfigBody>> {
    let connection = found(services, call).await?;
    let switch = body.exclude_mode.unwrap_or_default().switch();
    look(services, &connection, switch).await?;
    if switch.is_some() {
        // As after any other edit: what was switched off must not go on flowing.
        services.syncs.restart(&connection.id).await?;
    }
    let known = Known::load(services, connection).await?;
    Answer::new("Schema configuration has been reloaded", &SchemaConfigBody::of(&known))
}

/// Looks at the source and records what is new; switches all tables on or off, if asked to.
pub(super) async fn look(
    services: &Services,
    connection: &Connection,
    switch: Option<bool>,
) -> ApiResult<()> {
    let source =
        setup::open_source(services, &connection.service, &connection.config.open()?, &connection.approved)?;
    let catalog = source.discover().await?;
    let known = services.control.latest_versions(&connection.id).await?;
    let settings = services.control.stream_settings(&connection.id).await?;
    // Decisions are stored before the versions they are about: once a version is stored, the stream counts as known,
    // and what the policy left out would be synced.
    let schemas = settle_schemas(
        catalog.streams.iter().map(|stream| &stream.name),
        known.iter().map(|version| &version.name),
        &settings,
        connection.succeeded_at.is_some(),
    );
    let decided = settle(connection, &catalog, &known, &settings);
    services.control.settle_streams(&connection.id, &schemas, &decided).await?;
    if let Some(enabled) = switch {
        let (schemas, tables) = switches(&catalog, enabled);
        services.control.edit_stream_settings(&connection.id, &schemas, &tables, None).await?;
    }
    record(services, connection, &catalog, &known).await
}

/// What the policy decides about streams and columns seen for the first time.
fn settle(
    connection: &Connection,
    catalog: &Catalog,
    known: &[StreamVersion],
    settings: &ConnectionSettings,
) -> BTreeMap<StreamName, StreamSettings> {
    let synced_before = connection.succeeded_at.is_some();
    let names = DestinationNames::of(
        &connection.schema_name,
        known.iter().map(|version| &version.name).chain(catalog.streams.iter().map(|stream| &stream.name)),
    );
    let mut decided = BTreeMap::new();
    for stream in &catalog.streams {
        let before = version_of(known, &stream.name);
        let target = Target {
            schema: names.schema(&stream.name.schema),
            table: names.table(&stream.name),
            current: None,
        };
        // A setting that contradicts the source (a cursor column that is gone) decides nothing here; the next sync
        // reports it.
        if let Ok(selection) = select(stream, settings, before, synced_before, &target)
            && let Some(settled) = selection.settled
        {
            decided.insert(stream.name.clone(), settled);
        }
    }
    decided
}

fn version_of<'a>(known: &'a [StreamVersion], name: &StreamName) -> Option<&'a Stream> {
    known.iter().find(|version| version.name == *name).and_then(|version| version.stream.as_ref())
}

/// What a person sets by asking for it this way.
fn switches(
    catalog: &Catalog,
    enabled: bool,
) -> (BTreeMap<String, SchemaSettings>, BTreeMap<StreamName, StreamSettings>) {
    let (mut schemas, mut tables) = (BTreeMap::new(), BTreeMap::new());
    for stream in &catalog.streams {
        let table = StreamSettings { enabled: Some(enabled), ..StreamSettings::default() };
        tables.insert(stream.name.clone(), table);
        if enabled {
            // A table that is on in a schema that is off is not synced.
            schemas.insert(stream.name.schema.clone(), SchemaSettings { enabled: Some(true) });
        }
    }
    (schemas, tables)
}

async fn record(
    services: &Services,
    connection: &Connection,
    catalog: &Catalog,
    known: &[StreamVersion],
) -> ApiResult<()> {
    let versions = changed_versions(catalog, known).map_err(Error::from)?;
    services.control.record_stream_versions(&connection.id, &versions, None).await?;
    Ok(())
}
