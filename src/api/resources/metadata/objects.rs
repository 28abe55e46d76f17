//! Schemas, tables and columns of a connection as flat lists that point at each other by id: what Airflow makes lineage of.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::api::Services;
use crate::api::cursor::{self, Items};
use crate::api::error::ApiResult;
use crate::api::request::Call;
use crate::api::resources::connections::found;
use crate::api::response::Answer;
use crate::core::catalog::{Stream, StreamName};
use crate::core::destination_names::DestinationNames;
use crate::core::naming;

/// A schema or table.
#[derive(Serialize, JsonSchema)]
pub(super) struct ObjectBody {
    id: String,
    /// Id of the schema, for a table.
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_id: Option<String>,
    name_in_source: String,
    name_in_destination: String,
}

/// A column.
#[derive(Serialize, JsonSchema)]
pub(super) struct ColumnBody {
    id: String,
    /// Id of the table.
    parent_id: String,
    name_in_source: String,
    name_in_destination: String,
    type_in_source: String,
    /// Fivetran's name of the type; each destination has its own form of it.
    type_in_destination: &'static str,
    is_primary_key: bool,
    /// Foreign keys are not discovered.
    is_foreign_key: bool,
}

/// An id that is the same at every look, made of the names from the connection down.
fn id_of(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        // The length keeps `a.b` + `c` from `a` + `b.c`.
        hash.update(part.len().to_be_bytes());
        hash.update(part);
    }
    hash.finalize().iter().take(10).map(|byte| format!("{byte:02x}")).collect()
}

/// Names behind which the next page begins.
#[derive(Serialize, Deserialize)]
struct Position {
    s: String,
    t: String,
    c: usize,
}

/// What a connection is known to read, by name, and how it is called at the destination.
struct Objects {
    connection_id: String,
    streams: Vec<Stream>,
    names: DestinationNames,
}

impl Objects {
    /// Nothing is known before the first sync or reload: empty lists, which clients take for what they are.
    async fn load(services: &Services, call: &Call<'_>) -> ApiResult<Self> {
        let connection = found(services, call).await?;
        let versions = services.control.latest_versions(&connection.id).await?;
        let names =
            DestinationNames::of(&connection.schema_name, versions.iter().map(|version| &version.name));
        let streams = versions.into_iter().filter_map(|version| version.stream).collect();
        Ok(Self { connection_id: connection.id, streams, names })
    }

    fn schema_id(&self, schema: &str) -> String {
        id_of(&[&self.connection_id, schema])
    }

    fn table_id(&self, name: &StreamName) -> String {
        id_of(&[&self.connection_id, &name.schema, &name.table])
    }
}

/// Cuts what was listed in the order of names into the page asked for.
fn page<T>(call: &Call<'_>, all: impl Iterator<Item = (Position, T)>) -> ApiResult<Items<T>> {
    let limit = usize::try_from(call.limit()?).unwrap_or(usize::MAX);
    let after = call.query("cursor").map(cursor::read::<Position>).transpose()?;
    let behind = |at: &Position| {
        after.as_ref().is_none_or(|after| (&at.s, &at.t, at.c) > (&after.s, &after.t, after.c))
    };
    let mut rest = all.filter(|(at, _)| behind(at)).peekable();
    let (mut items, mut last) = (Vec::new(), None);
    while items.len() < limit
        && let Some((at, item)) = rest.next()
    {
        items.push(item);
        last = Some(at);
    }
    let next_cursor = rest.peek().and(last.as_ref()).map(cursor::write);
    Ok(Items { items, next_cursor })
}

pub(super) async fn schemas(services: &Services, call: &Call<'_>) -> ApiResult<Answer<Items<ObjectBody>>> {
    let objects = Objects::load(services, call).await?;
    let mut schemas = objects.streams.iter().map(|stream| stream.name.schema.as_str()).collect::<Vec<_>>();
    schemas.dedup();
    let all = schemas.into_iter().map(|schema| {
        let body = ObjectBody {
            id: objects.schema_id(schema),
            parent_id: None,
            name_in_source: schema.to_owned(),
            name_in_destination: objects.names.schema(schema).to_owned(),
        };
        (Position { s: schema.to_owned(), t: String::new(), c: 0 }, body)
    });
    Answer::new("Schema metadata retrieved successfully", &page(call, all)?)
}

pub(super) async fn tables(services: &Services, call: &Call<'_>) -> ApiResult<Answer<Items<ObjectBody>>> {
    let objects = Objects::load(services, call).await?;
    let all = objects.streams.iter().map(|stream| {
        let name = &stream.name;
        let body = ObjectBody {
            id: objects.table_id(name),
            parent_id: Some(objects.schema_id(&name.schema)),
            name_in_source: name.table.clone(),
            name_in_destination: objects.names.table(name).to_owned(),
        };
        (Position { s: name.schema.clone(), t: name.table.clone(), c: 0 }, body)
    });
    Answer::new("Table metadata retrieved successfully", &page(call, all)?)
}

pub(super) async fn columns(services: &Services, call: &Call<'_>) -> ApiResult<Answer<Items<ColumnBody>>> {
    let objects = Objects::load(services, call).await?;
    let all = objects.streams.iter().flat_map(|stream| {
        let sources = stream.columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>();
        let names = naming::column_names(&sources);
        let name = &stream.name;
        let table_id = objects.table_id(name);
        let connection_id = objects.connection_id.as_str();
        stream.columns.iter().zip(names).enumerate().map(move |(at, (column, name_in_destination))| {
            let body = ColumnBody {
                id: id_of(&[connection_id, &name.schema, &name.table, &column.name]),
                parent_id: table_id.clone(),
                name_in_source: column.name.clone(),
                name_in_destination,
                type_in_source: column.source_type.clone(),
                type_in_destination: column.column_type.name(),
                is_primary_key: stream.primary_key.contains(&column.name),
                is_foreign_key: false,
            };
            (Position { s: name.schema.clone(), t: name.table.clone(), c: at + 1 }, body)
        })
    });
    Answer::new("Column metadata retrieved successfully", &page(call, all)?)
}
