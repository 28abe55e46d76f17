//! Teams: users who share roles.

use super::ControlPlane;
use super::page::{Listing, Page};
use super::row::Row;
use super::scope::{Owned, Scope};
use crate::core::Result;
use crate::ports::{SqlValue, Statement};

const COLUMNS: &str = "id, name, description, role, created_at";

const OWNED: Owned = Owned { account: "account_id", id: "id", group: "NULL" };

/// A team.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Team {
    /// Id.
    pub id: String,
    /// Unique in the account.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// Account role of everybody in it.
    pub role: Option<String>,
}

impl ControlPlane {
    /// The team of that id.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn team(&self, id: &str) -> Result<Option<Team>> {
        let sql = format!("SELECT {COLUMNS} FROM teams WHERE id = ?1");
        let found = self.shared().query(Statement::new(sql, vec![id.into()])).await?;
        found.rows.into_iter().next().map(|row| read(&Row(row))).transpose()
    }

    /// Teams by age.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn teams(&self, scope: &Scope, page: &Page) -> Result<Listing<Team>> {
        // The first three parameters are the page's.
        let mut params = vec![SqlValue::Null; 3];
        let condition = scope.condition(&OWNED, &mut params)?;
        let select = format!("SELECT {COLUMNS} FROM teams WHERE {condition}");
        self.page_of(self.shared(), &select, params.split_off(3), page, read).await
    }

    /// Creates a team. False when the account has one of that name already.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn create_team(&self, account_id: &str, team: &Team) -> Result<bool> {
        let sql = "INSERT INTO teams (id, account_id, name, description, role, created_at) \
            VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO NOTHING";
        let params = vec![
            team.id.as_str().into(),
            account_id.into(),
            team.name.as_str().into(),
            team.description.clone().into(),
            team.role.clone().into(),
            self.now().into(),
        ];
        Ok(self.shared().query(Statement::new(sql, params)).await?.changes > 0)
    }

    /// Saves a team. False when another has its name.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn save_team(&self, team: &Team) -> Result<bool> {
        let sql = "UPDATE OR IGNORE teams SET name = ?2, description = ?3, role = ?4 WHERE id = ?1";
        let params = vec![
            team.id.as_str().into(),
            team.name.as_str().into(),
            team.description.clone().into(),
            team.role.clone().into(),
        ];
        Ok(self.shared().query(Statement::new(sql, params)).await?.changes > 0)
    }

    /// Deletes a team with its memberships. False when there is none.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn delete_team(&self, id: &str) -> Result<bool> {
        let sql = "DELETE FROM teams WHERE id = ?1 RETURNING id";
        Ok(!self.shared().query(Statement::new(sql, vec![id.into()])).await?.rows.is_empty())
    }
}

fn read(row: &Row) -> Result<Team> {
    Ok(Team {
        id: row.text("id")?,
        name: row.text("name")?,
        description: row.optional_text("description")?,
        role: row.optional_text("role")?,
    })
}
