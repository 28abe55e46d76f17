//! Accounts. A deployment has one; the column is there so that one account can never see another's objects later.

use super::ControlPlane;
use super::row::Row;
use crate::core::{Error, Result};
use crate::ports::Statement;

/// An account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Microseconds UTC.
    pub created_at: i64,
}

/// The id of the account that owns the deployment.
pub const OWNER_ACCOUNT: &str = "account";

impl ControlPlane {
    /// The deployment's account, created on first use.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn account(&self) -> Result<Account> {
        let read = Statement::new(
            "SELECT id, name, created_at FROM accounts WHERE id = ?1",
            vec![OWNER_ACCOUNT.into()],
        );
        let found = self.db.query(read.clone()).await?.rows.into_iter().next();
        let row = match found {
            Some(row) => row,
            None => {
                let create = Statement::new(
                    "INSERT OR IGNORE INTO accounts (id, name, created_at) VALUES (?1, ?2, ?3)",
                    vec![OWNER_ACCOUNT.into(), "fivetran.do".into(), self.now().into()],
                );
                let results = self.db.batch(vec![create, read]).await?;
                let row = results.into_iter().next_back().and_then(|result| result.rows.into_iter().next());
                row.ok_or_else(|| Error::internal("The account could not be created"))?
            }
        };
        let row = Row(row);
        Ok(Account { id: row.text("id")?, name: row.text("name")?, created_at: row.integer("created_at")? })
    }
}
