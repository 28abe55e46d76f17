//! Accounts. A deployment has one, made by the migration; others can be made by hand, and one never sees another's
//! objects.

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
    /// The deployment's account.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn account(&self) -> Result<Account> {
        self.account_of(OWNER_ACCOUNT).await
    }

    /// The account of that id.
    ///
    /// # Errors
    /// When the database cannot be reached or has no such account.
    pub async fn account_of(&self, id: &str) -> Result<Account> {
        let sql = "SELECT id, name, created_at FROM accounts WHERE id = ?1";
        let found = self.shared().query(Statement::new(sql, vec![id.into()])).await?.rows.into_iter().next();
        let row = Row(found.ok_or_else(|| Error::internal(format!("There is no account '{id}'")))?);
        Ok(Account { id: row.text("id")?, name: row.text("name")?, created_at: row.integer("created_at")? })
    }

    /// Creates an account with nothing in it.
    ///
    /// # Errors
    /// When the database cannot be reached or the platform has no entropy.
    pub async fn create_account(&self, name: &str) -> Result<Account> {
        let account = Account { id: self.new_id()?, name: name.to_owned(), created_at: self.now() };
        let sql = "INSERT INTO accounts (id, name, created_at) VALUES (?1, ?2, ?3)";
        let params = vec![account.id.as_str().into(), name.into(), account.created_at.into()];
        self.shared().query(Statement::new(sql, params)).await?;
        Ok(account)
    }
}
