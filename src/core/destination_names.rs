//! Where the streams of a source land, given out over all of them at once.

use std::collections::{BTreeMap, BTreeSet};

use super::catalog::StreamName;
use super::naming;

/// Names at the destination, given out over everything there is, because one name depends on its neighbours.
pub(crate) struct DestinationNames {
    schemas: BTreeMap<String, String>,
    tables: BTreeMap<StreamName, String>,
}

impl DestinationNames {
    /// Names for the streams of a connection with that prefix. Streams that are gone from the source must be given too:
    /// their tables are still there, and keep their names.
    pub(crate) fn of<'a>(prefix: &str, streams: impl Iterator<Item = &'a StreamName>) -> Self {
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

    /// Schema at the destination; empty for a schema that was not given.
    pub(crate) fn schema(&self, source: &str) -> &str {
        self.schemas.get(source).map(String::as_str).unwrap_or_default()
    }

    /// Table at the destination; empty for a stream that was not given.
    pub(crate) fn table(&self, source: &StreamName) -> &str {
        self.tables.get(source).map(String::as_str).unwrap_or_default()
    }
}
