//! Pages of a listing, by key and not by offset: rows inserted or deleted meanwhile never shift a page.

use crate::ports::SqlValue;

/// Position after a row in the order (created_at, id).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keyset {
    /// Microseconds UTC.
    pub created_at: i64,
    /// Breaks ties.
    pub id: String,
}

/// Which page of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Rows after this one; `None` is the first page.
    pub after: Option<Keyset>,
    /// Most rows, 1..=1000.
    pub limit: u32,
}

impl Page {
    /// The first page of the largest size.
    #[must_use]
    pub fn first() -> Self {
        Self { after: None, limit: 1000 }
    }

    /// The position to compare (created_at, id) with. Nothing is older than the epoch; `i64::MIN` would be as true, but
    /// D1 takes no integer that a double would round.
    pub(crate) fn position(&self) -> [SqlValue; 2] {
        let (created_at, id) = self.after.as_ref().map_or((0, ""), |key| (key.created_at, key.id.as_str()));
        [created_at.into(), id.into()]
    }
}

/// One page of rows.
#[derive(Clone, Debug)]
pub struct Listing<T> {
    /// The rows.
    pub items: Vec<T>,
    /// Where the next page begins; `None` on the last one.
    pub next: Option<Keyset>,
}

impl<T> Listing<T> {
    /// Cuts rows that were read with one more than `limit` into a page.
    pub(crate) fn cut(mut items: Vec<T>, limit: u32, key: impl Fn(&T) -> Keyset) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let more = items.len() > limit;
        items.truncate(limit);
        let next = if more { items.last().map(key) } else { None };
        Self { items, next }
    }
}
