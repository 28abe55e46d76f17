//! What a configuration names and is not there: nothing is read under a name that is spelled wrong, and nobody is told.

use std::fmt;

use serde::Deserialize;

use super::config::Config;
use super::discover::STREAMS;
use super::session::Session;
use super::sql::{self, text_array};
use super::types::CatalogColumn;
use super::watermark::CursorColumn;
use crate::core::Result;
use crate::core::catalog::StreamName;

/// Most complaints told one by one.
const TOLD: usize = 5;

/// What is amiss with the names, one sentence each.
#[derive(Debug)]
pub(super) struct Missing(Vec<String>);

/// What there is of what is named.
#[derive(Deserialize)]
struct There {
    schemas: Vec<String>,
    tables: Vec<Table>,
}

#[derive(Deserialize)]
struct Table {
    schema: String,
    table: String,
    columns: Vec<CatalogColumn>,
}

impl Missing {
    /// Looks for the names of a configuration.
    ///
    /// # Errors
    /// When the server fails.
    pub(super) async fn of(session: &mut Session, config: &Config) -> Result<Self> {
        let sql = format!("{}{}; COMMIT", session.begin, query(session.major_version, config));
        let rows = session.query(&sql, "looking for what the configuration names").await?;
        let there: There = sql::understood(rows.first().map_or("", String::as_str))?;
        let schemas = config.schemas.iter().filter(|schema| !there.schemas.contains(schema));
        let schemas = schemas.map(|schema| format!("config.schemas names {schema}, which is not there"));
        let tables = config.tables.iter().filter_map(|name| there.table(config, name));
        let columns = config.cursor_columns.iter().filter_map(|(name, column)| {
            there.cursor_column(config, name, column).map(|amiss| format!("config.cursor_columns: {amiss}"))
        });
        Ok(Self(schemas.chain(tables).chain(columns).collect()))
    }

    /// True when all is there.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for amiss in self.0.iter().take(TOLD) {
            write!(f, "{amiss}. ")?;
        }
        if self.0.len() > TOLD {
            write!(f, "And {} more. ", self.0.len() - TOLD)?;
        }
        f.write_str(
            "Write names in the database's own upper and lower case, and for a partition that of its table",
        )
    }
}

impl There {
    fn named(&self, name: &str) -> Option<&Table> {
        self.tables.iter().find(|table| table.name().to_string() == name)
    }

    /// What is amiss with an entry of `tables`.
    fn table(&self, config: &Config, name: &str) -> Option<String> {
        match self.named(name) {
            None => Some(format!("config.tables names {name}, which is not there")),
            Some(table) if !table.is_of_the_schemas(config) => {
                Some(format!("config.tables names {name}, which config.schemas leaves out"))
            }
            Some(_) => None,
        }
    }

    /// What is amiss with an entry of `cursor_columns`.
    fn cursor_column(&self, config: &Config, name: &str, column: &str) -> Option<String> {
        let Some(table) = self.named(name) else { return Some(format!("there is no {name}")) };
        let is_read = table.is_of_the_schemas(config)
            && (config.tables.is_empty() || config.tables.contains(&table.name().to_string()));
        if !is_read {
            return Some(format!("config.tables and config.schemas leave {name} out"));
        }
        CursorColumn::of(&table.columns, column, &table.name()).err().map(|error| error.message().to_owned())
    }
}

impl Table {
    fn name(&self) -> StreamName {
        StreamName::new(self.schema.clone(), self.table.clone())
    }

    fn is_of_the_schemas(&self, config: &Config) -> bool {
        config.schemas.is_empty() || config.schemas.contains(&self.schema)
    }
}

fn query(major_version: u32, config: &Config) -> String {
    let tables: Vec<String> = config.tables.iter().chain(config.cursor_columns.keys()).cloned().collect();
    format!(
        "WITH RECURSIVE {domains}
SELECT json_build_object(
 'schemas', (SELECT coalesce(json_agg(nspname), '[]') FROM pg_namespace WHERE nspname::text = ANY ({schemas})),
 'tables', (SELECT coalesce(json_agg(json_build_object('schema', n.nspname, 'table', c.relname, 'columns', {columns})), '[]')
            FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE {STREAMS} AND n.nspname || '.' || c.relname = ANY ({tables})))",
        domains = sql::DOMAINS,
        schemas = text_array(&config.schemas),
        columns = sql::columns(major_version),
        tables = text_array(&tables),
    )
}
