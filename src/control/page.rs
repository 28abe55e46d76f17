//! Pages of a listing, by key and not by offset: rows inserted or deleted meanwhile never shift a page.

use super::ControlPlane;
use super::row::Row;
use crate::core::Result;
use crate::ports::{SqlDatabase, SqlValue, Statement};

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
    /// Puts what several databases gave of one page, each in its order and with one more than `limit`, into that page.
    pub(crate) fn merged(mut items: Vec<T>, limit: u32, key: impl Fn(&T) -> Keyset) -> Self {
        items.sort_by_cached_key(|item| {
            let Keyset { created_at, id } = key(item);
            (created_at, id)
        });
        Self::cut(items, limit, key)
    }

    /// Cuts rows that were read with one more than `limit` into a page.
    pub(crate) fn cut(mut items: Vec<T>, limit: u32, key: impl Fn(&T) -> Keyset) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let more = items.len() > limit;
        items.truncate(limit);
        let next = if more { items.last().map(key) } else { None };
        Self { items, next }
    }
}

impl ControlPlane {
    /// A page of what `select` gives in a database, by `created_at` and `id`, two columns it must have. Its own parameters
    /// begin at `?4`; `params` holds them.
    pub(crate) async fn page_of<T>(
        &self,
        database: &dyn SqlDatabase,
        select: &str,
        params: Vec<SqlValue>,
        page: &Page,
        read: fn(&Row) -> Result<T>,
    ) -> Result<Listing<T>> {
        let [created_at, id] = page.position();
        let sql = format!(
            "SELECT * FROM ({select}) AS listed WHERE (created_at, id) > (?1, ?2) ORDER BY created_at, id LIMIT ?3"
        );
        let position = [created_at, id, (i64::from(page.limit) + 1).into()];
        let params = position.into_iter().chain(params).collect();
        let found = database.query(Statement::new(sql, params)).await?;
        let rows = found.rows.into_iter().map(Row);
        let keyed = rows.map(|row| {
            let key = Keyset { created_at: row.integer("created_at")?, id: row.text("id")? };
            Ok((read(&row)?, key))
        });
        let keyed = Listing::cut(keyed.collect::<Result<Vec<_>>>()?, page.limit, |(_, key)| key.clone());
        Ok(Listing { items: keyed.items.into_iter().map(|(item, _)| item).collect(), next: keyed.next })
    }
}
