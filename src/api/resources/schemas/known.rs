//! What is known of a connection's source: the latest version of every stream, and what was set by hand.

use std::collections::{BTreeMap, BTreeSet};

use crate::api::Services;
use crate::api::error::{ApiError, ApiResult};
use crate::control::Connection;
use crate::control::streams::StreamVersion;
use crate::core::catalog::{Stream, StreamName};
use crate::core::naming;
use crate::core::settings::ConnectionSettings;

/// What is known of a connection's source.
pub(super) struct Known {
    pub(super) connection: Connection,
    /// By name; those gone from the source included.
    pub(super) versions: Vec<StreamVersion>,
    pub(super) settings: ConnectionSettings,
}

impl Known {
    /// Loads it. 404 `NotFound_SchemaConfig` before anything is known: Terraform reloads on exactly that.
    pub(super) async fn load(services: &Services, connection: Connection) -> ApiResult<Self> {
        let versions = services.control.latest_versions(&connection.id).await?;
        if versions.is_empty() {
            let mut error = ApiError::not_found("SchemaConfig", "");
            error.message = format!(
                "Connection with id '{}' has no schema configuration yet. Sync it, or POST to schemas/reload",
                connection.id
            );
            return Err(error);
        }
        let settings = services.control.stream_settings(&connection.id).await?;
        Ok(Self { connection, versions, settings })
    }

    /// The stream of exactly that name, if the source has it.
    pub(super) fn stream(&self, name: &StreamName) -> ApiResult<&Stream> {
        self.schema(&name.schema)?;
        let version = self.versions.iter().find(|version| version.name == *name);
        version
            .and_then(|version| version.stream.as_ref())
            .ok_or_else(|| ApiError::not_found("Table", &name.to_string()))
    }

    /// Whether the source has a schema of exactly that name.
    pub(super) fn schema(&self, schema: &str) -> ApiResult<()> {
        if self.versions.iter().any(|version| version.name.schema == schema) {
            return Ok(());
        }
        Err(ApiError::not_found("Schema", schema))
    }

    pub(super) fn names(&self) -> DestinationNames {
        DestinationNames::of(&self.connection.schema_name, self.versions.iter().map(|version| &version.name))
    }
}

/// Names at the destination, given out over everything there is, because one name depends on its neighbours.
pub(super) struct DestinationNames {
    schemas: BTreeMap<String, String>,
    tables: BTreeMap<StreamName, String>,
}

impl DestinationNames {
    pub(super) fn of<'a>(prefix: &str, streams: impl Iterator<Item = &'a StreamName>) -> Self {
        let mut tables_of: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for stream in streams {
            tables_of.entry(&stream.schema).or_default().insert(&stream.table);
        }
        let sources = tables_of.keys().copied().collect::<Vec<_>>();
        let names = naming::schema_names(prefix, &sources);
        let schemas = sources.iter().map(|source| (*source).to_owned()).zip(names).collect();
        let mut tables = BTreeMap::new();
        for (schema, sources) in tables_of {
            let sources = sources.into_iter().collect::<Vec<_>>();
            for (source, name) in sources.iter().zip(naming::table_names(&sources)) {
                tables.insert(StreamName::new(schema, *source), name);
            }
        }
        Self { schemas, tables }
    }

    pub(super) fn schema(&self, source: &str) -> &str {
        self.schemas.get(source).map(String::as_str).unwrap_or_default()
    }

    pub(super) fn table(&self, source: &StreamName) -> &str {
        self.tables.get(source).map(String::as_str).unwrap_or_default()
    }
}
