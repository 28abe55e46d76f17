//! From a source's batches to a table's: renamed, widened, hashed, with system columns.

pub(crate) mod canonical;
pub(crate) mod convert;
mod hash;
mod row_id;

use std::cell::RefCell;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, TimestampMicrosecondArray};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::SchemaRef;

pub(crate) use self::convert::widen;
use self::hash::SaltedHash;
use self::row_id::RowIds;
use super::catalog::{Stream, StreamName};
use super::settings::{SelectedColumn, Selection};
use super::table::{ACTIVE, DELETED, END, END_OF_TIME, ROW_ID, START, SYNCED, TableSchema};
use super::types::{ColumnType, UTC};
use super::{Error, ErrorKind, Result};

/// Turns the batches of one stream in one run into batches of its table.
///
/// Columns that need nothing are passed on without a copy; the constant system columns are built once and sliced.
pub struct Shaper {
    stream: StreamName,
    schema: SchemaRef,
    inputs: Vec<Input>,
    outputs: Vec<Output>,
    hash: SaltedHash,
    row_ids: Option<RowIds>,
    synced_at: i64,
    constants: RefCell<Constants>,
}

/// A column of the source's batches.
struct Input {
    name: String,
    column_type: ColumnType,
    hashed: bool,
}

impl Input {
    /// Its type once it is hashed, if it is.
    fn stored_type(&self) -> ColumnType {
        if self.hashed { ColumnType::String } else { self.column_type }
    }
}

/// A column of the table's batches.
enum Output {
    RowId,
    Deleted,
    Synced,
    End,
    Active,
    Column { input: usize, to: ColumnType, nullable: bool },
}

/// The constant columns, as long as the longest batch so far.
struct Constants {
    deleted: BooleanArray,
    synced: TimestampMicrosecondArray,
}

impl Constants {
    fn of_length(rows: usize, synced_at: i64) -> Self {
        Self {
            deleted: BooleanArray::new(BooleanBuffer::new_unset(rows), None),
            synced: TimestampMicrosecondArray::from_value(synced_at, rows).with_timezone(UTC),
        }
    }
}

impl Shaper {
    /// A shaper for batches that carry the selection's columns of the stream in the stream's order, typed by
    /// [`ColumnType::arrow`]. `synced_at_micros` is the start of the run; `hash_salt` salts hashed columns and must be
    /// the same wherever hashed columns are to be joined.
    ///
    /// # Errors
    /// [`Internal`](ErrorKind::Internal) when stream, selection and table do not fit each other.
    pub fn new(
        stream: &Stream,
        selection: &Selection,
        table: &TableSchema,
        synced_at_micros: i64,
        hash_salt: &[u8],
    ) -> Result<Self> {
        let misfit = |what: String| Error::internal(format!("Cannot shape {}: {what}", stream.name));
        let inputs = inputs(stream, selection).map_err(misfit)?;
        let outputs = outputs(&inputs, selection, table).map_err(misfit)?;
        let keyless = outputs.iter().any(|output| matches!(output, Output::RowId));
        Ok(Self {
            stream: stream.name.clone(),
            schema: table.arrow(),
            row_ids: keyless.then(|| RowIds::new(inputs.iter().map(|input| input.name.as_str()))),
            inputs,
            outputs,
            hash: SaltedHash::new(hash_salt),
            synced_at: synced_at_micros,
            constants: RefCell::new(Constants::of_length(0, synced_at_micros)),
        })
    }

    /// The schema of the batches that come out: [`TableSchema::arrow`].
    #[must_use]
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Shapes one batch. Row order and number are kept.
    ///
    /// # Errors
    /// [`Data`](ErrorKind::Data) when a key column holds NULL or a value does not fit the table's wider type;
    /// [`Internal`](ErrorKind::Internal) when the batch is not what the selection promised.
    pub fn shape(&self, batch: RecordBatch) -> Result<RecordBatch> {
        self.check(&batch)?;
        let rows = batch.num_rows();
        // Hashed first: the row id is made of hashes, not of what they hide.
        let mut sources = batch.columns().to_vec();
        for (array, input) in sources.iter_mut().zip(&self.inputs) {
            if input.hashed {
                *array = self.hash.column(array, input.column_type)?;
            }
        }
        let mut columns = Vec::with_capacity(self.outputs.len());
        for output in &self.outputs {
            columns.push(match output {
                Output::RowId => self.row_ids(&sources, rows)?,
                Output::Deleted => {
                    Arc::new(self.constants(rows, |constants| constants.deleted.slice(0, rows)))
                }
                Output::Synced => Arc::new(self.constants(rows, |constants| constants.synced.slice(0, rows))),
                Output::End => {
                    Arc::new(TimestampMicrosecondArray::from_value(END_OF_TIME, rows).with_timezone(UTC))
                }
                Output::Active => Arc::new(BooleanArray::new(BooleanBuffer::new_set(rows), None)),
                Output::Column { input, to, nullable } => {
                    let (array, input) = sources
                        .get(*input)
                        .zip(self.inputs.get(*input))
                        .ok_or_else(|| self.misfit("a column is missing"))?;
                    if !nullable && array.null_count() > 0 {
                        return Err(self.null_in_key(&input.name, array.null_count()));
                    }
                    widen(array, input.stored_type(), *to)
                        .map_err(|error| self.in_column(&input.name, error))?
                }
            });
        }
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }

    fn row_ids(&self, sources: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
        let row_ids = self.row_ids.as_ref().ok_or_else(|| self.misfit("it has a key"))?;
        let typed = sources.iter().zip(self.inputs.iter().map(Input::stored_type));
        row_ids.column(typed, rows)
    }

    fn constants<T>(&self, rows: usize, take: impl FnOnce(&Constants) -> T) -> T {
        let mut constants = self.constants.borrow_mut();
        if constants.deleted.len() < rows {
            *constants = Constants::of_length(rows, self.synced_at);
        }
        take(&constants)
    }

    fn check(&self, batch: &RecordBatch) -> Result<()> {
        if batch.num_columns() != self.inputs.len() {
            return Err(self.misfit(&format!(
                "{} columns were promised, {} came",
                self.inputs.len(),
                batch.num_columns()
            )));
        }
        for (array, input) in batch.columns().iter().zip(&self.inputs) {
            let promised = input.column_type.arrow();
            if *array.data_type() != promised {
                return Err(self.misfit(&format!(
                    "column '{}' was promised as {promised}, it came as {}",
                    input.name,
                    array.data_type()
                )));
            }
        }
        Ok(())
    }

    fn misfit(&self, what: &str) -> Error {
        Error::internal(format!("A batch of {} is not what was planned: {what}", self.stream))
    }

    fn null_in_key(&self, column: &str, rows: usize) -> Error {
        Error::new(
            ErrorKind::Data,
            format!("Key column '{column}' of {} is NULL in {rows} rows of a batch", self.stream),
        )
        .remedy("Choose a key whose columns are never NULL, or take the column out of the key")
    }

    fn in_column(&self, column: &str, error: Error) -> Error {
        match error.kind() {
            ErrorKind::Data => Error::new(
                ErrorKind::Data,
                format!("Column '{column}' of {}: {}", self.stream, error.message()),
            )
            .remedy("Switch the column off, or re-sync into a new table"),
            _ => error,
        }
    }
}

/// The selected columns as they come, or what does not fit.
fn inputs(stream: &Stream, selection: &Selection) -> Result<Vec<Input>, String> {
    let input = |selected: &SelectedColumn| {
        let column = stream.columns.iter().find(|column| column.name == selected.source);
        let column = column.ok_or_else(|| format!("the stream has no column '{}'", selected.source))?;
        Ok(Input { name: column.name.clone(), column_type: column.column_type, hashed: selected.hashed })
    };
    selection.columns.iter().map(input).collect()
}

/// Where each of the table's columns comes from, or what does not fit. Every input must go somewhere.
fn outputs(inputs: &[Input], selection: &Selection, table: &TableSchema) -> Result<Vec<Output>, String> {
    let mut outputs = Vec::with_capacity(table.columns.len());
    for column in &table.columns {
        outputs.push(match column.name.as_str() {
            ROW_ID => Output::RowId,
            DELETED => Output::Deleted,
            // A version begins with the run that sees it first.
            SYNCED | START => Output::Synced,
            END => Output::End,
            ACTIVE => Output::Active,
            name => {
                let mut sources = inputs.iter().zip(&selection.columns).enumerate();
                let (index, (input, _)) = sources
                    .find(|(_, (_, selected))| selected.destination == name)
                    .ok_or_else(|| format!("the table's column '{name}' has no source"))?;
                let (from, to) = (input.stored_type(), column.column_type);
                if from.widen(to) != to {
                    return Err(format!("the table's column '{name}' is {to}, which does not hold {from}"));
                }
                Output::Column { input: index, to, nullable: column.nullable }
            }
        });
    }
    let carried = outputs.iter().filter(|output| matches!(output, Output::Column { .. })).count();
    if carried != inputs.len() {
        return Err("the table does not have every selected column once".to_owned());
    }
    Ok(outputs)
}

#[cfg(test)]
mod tests;
