//! Resolves what a user set, the policy and the source's present shape into what is synced.

use serde::{Deserialize, Serialize};

use super::{ColumnSettings, ConnectionSettings, SchemaChangePolicy, StreamSettings, TableSyncMode};
use crate::core::catalog::{Stream, StreamName};
use crate::core::naming::column_names;
use crate::core::table::{ACTIVE, DELETED, END, ROW_ID, START, SYNCED, TableColumn, TableSchema};
use crate::core::types::ColumnType;
use crate::core::{Error, Result};

/// Where a stream lands.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// Schema at the destination: from [`naming::schema_names`](crate::core::naming::schema_names).
    pub schema: &'a str,
    /// Table at the destination: from [`naming::table_names`](crate::core::naming::table_names).
    pub table: &'a str,
    /// The table as it stands at the destination, whose types are never narrowed (invariant I8).
    pub current: Option<&'a TableSchema>,
}

/// A column that is synced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SelectedColumn {
    /// Name at the source.
    pub source: String,
    /// Name at the destination.
    pub destination: String,
    /// Whether its values are replaced by their salted hash.
    pub hashed: bool,
}

/// A column that a person asked to drop at the destination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DroppedColumn {
    /// Name at the source.
    pub source: String,
    /// Name at the destination.
    pub destination: String,
}

/// What is synced of one stream, and as what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selection {
    /// The stream.
    pub stream: StreamName,
    /// Whether it is synced.
    pub enabled: bool,
    /// Why it is not, for people.
    pub reason: Option<String>,
    /// The columns that are synced, in the stream's order.
    pub columns: Vec<SelectedColumn>,
    /// Column whose growth marks changes, where the user named one.
    pub cursor_column: Option<String>,
    /// Columns to drop at the destination. None of them is synced.
    #[serde(default)]
    pub dropped: Vec<DroppedColumn>,
    /// The table at the destination: `_fivetran_id` where there is no key, the columns above, and the system columns of
    /// its sync mode. Columns that the destination has beyond these stay there untouched.
    pub table: TableSchema,
    /// The policy's decisions about new things, and nothing else; `None` when nothing was decided. Must be stored, where
    /// nobody has decided otherwise meanwhile, or the next run takes what was refused for known and syncs it.
    pub settled: Option<StreamSettings>,
    /// Why every row must be read again, for people: the rows at the destination have another key, or their columns
    /// another name. The stream's cursor must be forgotten durably *before* the destination is prepared, because
    /// afterwards the difference can no longer be seen.
    pub resync: Option<String>,
}

impl Selection {
    /// Source names of the selected columns, in the stream's order: what a
    /// [`StreamRequest`](crate::connectors::StreamRequest) carries.
    #[must_use]
    pub fn source_columns(&self) -> Vec<String> {
        self.columns.iter().map(|column| column.source.clone()).collect()
    }
}

/// Resolves settings and policy for one stream.
///
/// `known` is the stream's previously recorded version (`None`: never seen before); `known_any` says whether the
/// connection has completed a sync before.
///
/// # Errors
/// [`InvalidInput`](crate::core::ErrorKind::InvalidInput) when a setting contradicts the stream: a cursor or key column
/// that does not exist.
pub fn select(
    stream: &Stream,
    settings: &ConnectionSettings,
    known: Option<&Stream>,
    known_any: bool,
    target: &Target<'_>,
) -> Result<Selection> {
    let unset = StreamSettings::default();
    let own = settings.streams.get(&stream.name).unwrap_or(&unset);
    let mut settled = own.clone();
    let mut reason = refusal(&stream.name, settings, known_any && known.is_none(), &mut settled);
    let key = primary_key(stream, Some(own))?;
    if reason.is_none() {
        check_executable(stream, own)?;
        if settings.policy == SchemaChangePolicy::BlockAll && known_any {
            refuse_new_columns(stream, known, &key, &mut settled);
        }
    }
    let columns = selected_columns(stream, &key, &settled);
    if columns.is_empty() && reason.is_none() {
        reason = Some(format!("Table {} has no column that is switched on", stream.name));
    }
    let table = lay_out(stream, &key, &columns, own.sync_mode.unwrap_or_default(), target);
    Ok(Selection {
        stream: stream.name.clone(),
        enabled: reason.is_none(),
        reason,
        resync: own.resync.clone().or_else(|| resync_reason(known, &columns, &table, target.current)),
        columns,
        cursor_column: own.cursor_column.clone(),
        dropped: dropped_columns(stream, &table, &settled),
        table,
        settled: decisions(own, settled),
    })
}

/// Why the stream is not synced, if it is not. Writes the policy's decision about a new stream down, also while its
/// schema is off.
fn refusal(
    name: &StreamName,
    settings: &ConnectionSettings,
    is_new: bool,
    settled: &mut StreamSettings,
) -> Option<String> {
    let by_hand = settled.enabled;
    if by_hand.is_none() && is_new && settings.policy != SchemaChangePolicy::AllowAll {
        settled.enabled = Some(false);
    }
    if settings.schemas.get(&name.schema).and_then(|schema| schema.enabled) == Some(false) {
        Some(format!("Schema {} is switched off", name.schema))
    } else if by_hand == Some(false) {
        Some(format!("Table {name} is switched off"))
    } else if settled.enabled == Some(false) {
        Some(format!("Table {name} is new, and the schema change policy leaves new tables out"))
    } else {
        None
    }
}

/// What the settings say beyond what they said before. The rest was read a while ago: storing it again would take back
/// what a person has set since.
fn decisions(own: &StreamSettings, mut settled: StreamSettings) -> Option<StreamSettings> {
    settled.columns.retain(|name, column| own.columns.get(name) != Some(column));
    let columns = settled.columns.into_iter().map(|(name, column)| {
        (name, ColumnSettings { enabled: column.enabled, ..ColumnSettings::default() })
    });
    let decided = StreamSettings {
        enabled: settled.enabled.filter(|_| own.enabled.is_none()),
        columns: columns.collect(),
        ..StreamSettings::default()
    };
    (decided != StreamSettings::default()).then_some(decided)
}

/// The columns that are on, in the stream's order. Names are given out over all columns, so that switching one on or
/// off renames none.
fn selected_columns(stream: &Stream, key: &[String], settled: &StreamSettings) -> Vec<SelectedColumn> {
    let names = destination_names(stream);
    let set = |name: &str| settled.columns.get(name).copied().unwrap_or_default();
    let pairs = stream.columns.iter().zip(names);
    pairs
        .filter(|(column, _)| set(&column.name).enabled != Some(false) || key.contains(&column.name))
        .map(|(column, destination)| SelectedColumn {
            source: column.name.clone(),
            destination,
            hashed: set(&column.name).hashed == Some(true),
        })
        .collect()
}

/// The columns that are to be dropped, with the names they have there.
fn dropped_columns(stream: &Stream, table: &TableSchema, settled: &StreamSettings) -> Vec<DroppedColumn> {
    let pairs = stream.columns.iter().zip(destination_names(stream));
    pairs
        .filter(|(column, destination)| {
            settled.columns.get(&column.name).is_some_and(|set| set.is_to_be_dropped())
                && table.column(destination).is_none()
        })
        .map(|(column, destination)| DroppedColumn { source: column.name.clone(), destination })
        .collect()
}

fn lay_out(
    stream: &Stream,
    key: &[String],
    columns: &[SelectedColumn],
    mode: TableSyncMode,
    target: &Target<'_>,
) -> TableSchema {
    let selected = |name: &str| columns.iter().find(|column| column.source == name);
    let mut table_columns = Vec::with_capacity(columns.len() + 3);
    if key.is_empty() {
        table_columns.push(system_column(ROW_ID, ColumnType::String));
    }
    for column in &stream.columns {
        let Some(SelectedColumn { destination, hashed, .. }) = selected(&column.name) else { continue };
        let native = if *hashed { ColumnType::String } else { column.column_type };
        let current = target.current.and_then(|table| table.column(destination));
        table_columns.push(TableColumn {
            name: destination.clone(),
            column_type: current.map_or(native, |current| current.column_type.widen(native)),
            nullable: !key.contains(&column.name),
        });
    }
    let system: &[(&str, ColumnType)] = match mode {
        TableSyncMode::SoftDelete => &[(DELETED, ColumnType::Boolean)],
        TableSyncMode::Live => &[],
        TableSyncMode::History => {
            &[(START, ColumnType::UtcDatetime), (END, ColumnType::UtcDatetime), (ACTIVE, ColumnType::Boolean)]
        }
    };
    table_columns.extend(system.iter().map(|(name, column_type)| system_column(name, *column_type)));
    table_columns.push(system_column(SYNCED, ColumnType::UtcDatetime));
    let mut primary_key = if key.is_empty() {
        vec![ROW_ID.to_owned()]
    } else {
        key.iter().filter_map(|name| selected(name)).map(|column| column.destination.clone()).collect()
    };
    if mode == TableSyncMode::History {
        primary_key.push(START.to_owned());
    }
    TableSchema {
        schema: target.schema.to_owned(),
        table: target.table.to_owned(),
        columns: table_columns,
        primary_key,
    }
}

/// The key by source names, in key order: the source's, less the columns taken out by hand, plus those added by hand
/// in the stream's order. Empty: the table gets `_fivetran_id`.
///
/// # Errors
/// [`InvalidInput`](crate::core::ErrorKind::InvalidInput) when a column added by hand does not exist: with the rest of
/// the key alone, rows would silently replace each other.
pub fn primary_key(stream: &Stream, own: Option<&StreamSettings>) -> Result<Vec<String>> {
    let set = |name: &str| own.and_then(|own| own.columns.get(name)).and_then(|column| column.is_primary_key);
    let mut key =
        stream.primary_key.iter().filter(|name| set(name) != Some(false)).cloned().collect::<Vec<_>>();
    for column in &stream.columns {
        if set(&column.name) == Some(true) && !key.contains(&column.name) {
            key.push(column.name.clone());
        }
    }
    let wanted = own.into_iter().flat_map(|own| &own.columns);
    for (name, _) in wanted.filter(|(_, column)| column.is_primary_key == Some(true)) {
        if !key.contains(name) {
            return Err(missing_column(stream, name, &format!("columns.{name}.is_primary_key")));
        }
    }
    Ok(key)
}

fn check_executable(stream: &Stream, own: &StreamSettings) -> Result<()> {
    match &own.cursor_column {
        Some(name) if !stream.columns.iter().any(|column| column.name == *name) => {
            Err(missing_column(stream, name, "cursor_column"))
        }
        _ => Ok(()),
    }
}

fn missing_column(stream: &Stream, name: &str, setting: &str) -> Error {
    Error::invalid(format!("Table {} has no column '{name}' (any more)", stream.name))
        .field(field(stream, setting))
        .remedy("Name a column of the table; names are case-sensitive")
}

/// A setting's place in the schema configuration of the API.
fn field(stream: &Stream, setting: &str) -> String {
    format!("schemas.{}.tables.{}.{setting}", stream.name.schema, stream.name.table)
}

/// Writes down that columns are off which a stream has beyond its known version. A stream seen for the first time has
/// no new columns: whoever switches such a table on wants what is in it.
fn refuse_new_columns(stream: &Stream, known: Option<&Stream>, key: &[String], settled: &mut StreamSettings) {
    let Some(known) = known else { return };
    for column in &stream.columns {
        let is_known = known.columns.iter().any(|old| old.name == column.name);
        if is_known || key.contains(&column.name) {
            continue;
        }
        let set = settled.columns.entry(column.name.clone()).or_default();
        set.enabled.get_or_insert(false);
    }
}

/// Destination names of all columns of a stream, in its order.
fn destination_names(stream: &Stream) -> Vec<String> {
    column_names(&stream.columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>())
}

fn system_column(name: &str, column_type: ColumnType) -> TableColumn {
    TableColumn { name: name.to_owned(), column_type, nullable: false }
}

fn resync_reason(
    known: Option<&Stream>,
    columns: &[SelectedColumn],
    table: &TableSchema,
    current: Option<&TableSchema>,
) -> Option<String> {
    let current = current?;
    if current.primary_key != table.primary_key {
        let (from, to) = (current.primary_key.join(", "), table.primary_key.join(", "));
        return Some(format!("The key changed from ({from}) to ({to})"));
    }
    let known = known?;
    for (old, old_name) in known.columns.iter().zip(destination_names(known)) {
        let now = columns.iter().find(|column| column.source == old.name);
        if let Some(now) = now.filter(|now| now.destination != old_name) {
            let name = &now.destination;
            return Some(format!("Column '{}' is now {name}, it was {old_name}", old.name));
        }
    }
    None
}
