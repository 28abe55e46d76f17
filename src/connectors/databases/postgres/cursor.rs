//! Where the next sync starts: the cursor this source hands out and reads back.

use serde::{Deserialize, Serialize};

use super::tally::Tally;
use super::writers::{Writers, Writing};
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
        /// How far.
        #[serde(flatten)]
        bound: Bound,
        /// What it is a bound of: a value says nothing of another table, nor of columns that were not read.
        seen: Horizon,
    },
}

/// How far a cursor column has been read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Bound {
    /// Up to this value, as text, everything has been read, and nobody adds rows below it any more. `None` before there is
    /// such a value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) value: Option<String>,
    /// The value that comes next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) pending: Option<Pending>,
}

/// A largest value that does not count yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Pending {
    /// The value, as text.
    value: String,
    /// Who may still commit rows below it.
    writers: Writers,
}

impl Bound {
    /// The bound behind a sync that reads from this one's value on, where `largest` is the largest value before it reads
    /// and `slow` are those who took theirs before and have not committed.
    ///
    /// One pending value at a time: were it replaced by each newer one, there would always be somebody who has not ended.
    pub(super) fn after(self, largest: String, slow: Writers, now: &Writing) -> Self {
        if slow.none() {
            return Self { value: Some(largest), pending: None };
        }
        let newer = Pending { value: largest, writers: slow };
        let Some(Pending { value, writers }) = self.pending else {
            return Self { value: self.value, pending: Some(newer) };
        };
        let writers = writers.left(now);
        if writers.none() {
            return Self { value: Some(value), pending: Some(newer) };
        }
        Self { value: self.value, pending: Some(Pending { value, writers }) }
    }
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
    /// `pg_class.oid` of the relations that held the rows, those behind a view included: one that is not among them was
    /// attached later, with rows as old as it likes.
    pub(super) parts: Vec<u32>,
    /// Number and name of the columns that were read.
    pub(super) columns: Vec<(i16, String)>,
    /// Names of columns that were read once and are not any more; the destination still has their values.
    pub(super) gone: Vec<String>,
    /// Largest column number there was, read or not.
    pub(super) newest_column: i16,
    /// How often rows were replaced, of a table without a key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) tally: Option<Tally>,
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
