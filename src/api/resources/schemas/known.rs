//! What is known of a connection's source: the latest version of every stream, and what was set by hand.

use crate::api::Services;
use crate::api::error::{ApiError, ApiResult};
use crate::control::Connection;
use crate::control::streams::StreamVersion;
use crate::core::catalog::{Stream, StreamName};
use crate::core::destination_names::DestinationNames;
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
