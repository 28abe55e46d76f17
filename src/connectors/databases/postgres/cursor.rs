//! Where the next sync starts: the cursor this source hands out and reads back.

use serde::{Deserialize, Serialize};

use crate::core::Result;
use crate::core::run::Cursor;

/// A 64-bit transaction id. Text in JSON, whose numbers are not exact beyond 2^53 everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct Xid(pub(super) u64);

impl TryFrom<String> for Xid {
    type Error = std::num::ParseIntError;

    fn try_from(text: String) -> std::result::Result<Self, Self::Error> {
        text.parse().map(Self)
    }
}

impl From<Xid> for String {
    fn from(id: Xid) -> Self {
        id.0.to_string()
    }
}

/// A position in a stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum Position {
    /// Everything committed by transactions before `horizon` has been read.
    Transaction(Horizon),
    /// Rows have been read up to a value of a cursor column.
    Column {
        /// The column.
        column: String,
        /// Its largest value, as text.
        value: String,
        /// What it was the largest value of: the value says nothing of another table, nor of columns that were not read.
        seen: Horizon,
    },
}

/// A transaction id, and what must still be true for it to mean anything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Horizon {
    /// The oldest transaction that was still running when the plan was made.
    pub(super) transaction: Xid,
    /// System, timeline and database: transaction ids of another are another count, and after a failover to a standby
    /// ids that were already given out are given out again.
    pub(super) database: String,
    /// `pg_class.oid` of the stream.
    pub(super) relation: u32,
    /// `pg_class.oid` of the relations that held the rows: a partition that is not among them was attached later, with
    /// rows as old as it likes.
    pub(super) parts: Vec<u32>,
    /// Number and name of the columns that were read.
    pub(super) columns: Vec<(i16, String)>,
    /// Names of columns that were read once and are not any more; the destination still has their values.
    pub(super) gone: Vec<String>,
    /// Largest column number there was, read or not.
    pub(super) newest_column: i16,
}

impl Position {
    /// The position in a cursor, or `None` if it is of a form this version does not know: the stream is then read in
    /// full, which is always right.
    pub(super) fn of(cursor: &Cursor) -> Option<Self> {
        Self::deserialize(&cursor.0).ok()
    }

    /// The cursor the engine keeps.
    pub(super) fn cursor(&self) -> Result<Cursor> {
        Ok(Cursor(serde_json::to_value(self)?))
    }
}
