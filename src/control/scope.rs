//! What of an account a listing shows.

use crate::core::Result;
use crate::core::access::Reach;
use crate::ports::SqlValue;

/// Objects of an account that somebody may see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// The account.
    pub account_id: String,
    /// Which objects of it.
    pub reach: Reach,
}

/// Where a table says whose a row is.
pub(crate) struct Owned {
    /// SQL of the account's id.
    pub(crate) account: &'static str,
    /// SQL of the row's id.
    pub(crate) id: &'static str,
    /// SQL of its group's id; `NULL` where it has none.
    pub(crate) group: &'static str,
}

impl Scope {
    /// Everything in an account.
    #[must_use]
    pub fn all(account_id: &str) -> Self {
        Self { account_id: account_id.to_owned(), reach: Reach::Account }
    }

    /// A condition for `WHERE`, its parameters added to `params`. The account of a row is looked up row by row, so that
    /// SQLite walks the index of the listing's order and stops at the page's end, instead of sorting all of a group.
    pub(crate) fn condition(&self, owned: &Owned, params: &mut Vec<SqlValue>) -> Result<String> {
        let Owned { account, id, group } = owned;
        params.push(self.account_id.as_str().into());
        let mut condition = format!("{account} = ?{}", params.len());
        if let Reach::Some { ids, group_ids } = &self.reach {
            for wanted in [ids, group_ids] {
                params.push(serde_json::to_string(wanted)?.into());
            }
            let (ids, groups) = (params.len() - 1, params.len());
            condition.push_str(&format!(
                " AND ({id} IN (SELECT value FROM json_each(?{ids})) \
                 OR {group} IN (SELECT value FROM json_each(?{groups})))"
            ));
        }
        Ok(condition)
    }
}
