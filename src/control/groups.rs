//! Groups: the homes of destinations.

use super::ControlPlane;
use super::page::{Keyset, Listing, Page};
use super::row::Row;
use super::scope::{Owned, Scope};
use crate::core::Result;
use crate::ports::Statement;

const OWNED: Owned = Owned { account: "account_id", id: "id", group: "id" };

/// A group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Id, which is also its destination's.
    pub id: String,
    /// Name, unique in the account.
    pub name: String,
    /// Microseconds UTC.
    pub created_at: i64,
}

impl ControlPlane {
    /// The group of that id.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn group(&self, id: &str) -> Result<Option<Group>> {
        let sql = "SELECT id, name, created_at FROM groups WHERE id = ?1";
        let found = self.shared().query(Statement::new(sql, vec![id.into()])).await?;
        found.rows.into_iter().next().map(|row| read(&Row(row))).transpose()
    }

    /// Groups by age.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn groups(&self, scope: &Scope, page: &Page) -> Result<Listing<Group>> {
        let [created_at, id] = page.position();
        let mut params = vec![created_at, id, (i64::from(page.limit) + 1).into()];
        let own = scope.condition(&OWNED, &mut params)?;
        let sql = format!(
            "SELECT id, name, created_at FROM groups WHERE (created_at, id) > (?1, ?2) AND {own} \
             ORDER BY created_at, id LIMIT ?3"
        );
        let found = self.shared().query(Statement::new(sql, params)).await?;
        let items = found.rows.into_iter().map(|row| read(&Row(row))).collect::<Result<Vec<_>>>()?;
        Ok(Listing::cut(items, page.limit, |group| Keyset {
            created_at: group.created_at,
            id: group.id.clone(),
        }))
    }

    /// Creates a group. `None` when the account has one of that name already.
    ///
    /// # Errors
    /// When the database cannot be reached or the account does not exist.
    pub async fn create_group(&self, account_id: &str, name: &str) -> Result<Option<Group>> {
        let group = Group { id: self.new_group_id()?, name: name.to_owned(), created_at: self.now() };
        // The copy first: a copy without a group is seen by nobody, and a group without its copy could hold nothing.
        if self.lives_apart(&group.id) {
            self.copy_group(account_id, &group).await?;
        }
        let sql = "INSERT INTO groups (id, account_id, name, created_at) VALUES (?1, ?2, ?3, ?4) \
            ON CONFLICT (account_id, name) DO NOTHING";
        let params = vec![group.id.as_str().into(), account_id.into(), name.into(), group.created_at.into()];
        let created = self.shared().query(Statement::new(sql, params)).await?.changes > 0;
        Ok(created.then_some(group))
    }

    /// Writes a group into its home, which is not where groups are listed, so that what is in it can refer to it. Its name is
    /// not copied, as nothing there asks for it.
    async fn copy_group(&self, account_id: &str, group: &Group) -> Result<()> {
        let account = self.account_of(account_id).await?;
        let accounts =
            "INSERT INTO accounts (id, name, created_at) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING";
        let groups = "INSERT INTO groups (id, account_id, name, created_at) VALUES (?1, ?2, ?1, ?3)";
        let params = vec![account_id.into(), account.name.into(), account.created_at.into()];
        let copy = vec![group.id.as_str().into(), account_id.into(), group.created_at.into()];
        let batch = vec![Statement::new(accounts, params), Statement::new(groups, copy)];
        self.home(&group.id)?.batch(batch).await.map(|_| ())
    }

    /// Renames a group. False when there is none, or another has that name.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn rename_group(&self, id: &str, name: &str) -> Result<bool> {
        let sql = "UPDATE OR IGNORE groups SET name = ?2 WHERE id = ?1";
        Ok(self.shared().query(Statement::new(sql, vec![id.into(), name.into()])).await?.changes > 0)
    }

    /// Deletes a group that has neither destination nor connections. False when there is none, or it has one.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn delete_group(&self, id: &str) -> Result<bool> {
        let sql = "DELETE FROM groups WHERE id = ?1 \
            AND NOT EXISTS (SELECT 1 FROM destinations WHERE id = ?1) \
            AND NOT EXISTS (SELECT 1 FROM connections WHERE group_id = ?1)";
        let delete = || Statement::new(sql, vec![id.into()]);
        // The copy first, as only its database knows whether something is in the group: nothing can be put into it then. A
        // group whose copy is gone already was left behind by a deletion that died here, and goes.
        if self.lives_apart(id) {
            let left = Statement::new("SELECT 1 FROM groups WHERE id = ?1", vec![id.into()]);
            let results = self.home(id)?.batch(vec![delete(), left]).await?;
            if results.last().is_some_and(|left| !left.rows.is_empty()) {
                return Ok(false);
            }
        }
        Ok(self.shared().query(delete()).await?.changes > 0)
    }
}

fn read(row: &Row) -> Result<Group> {
    Ok(Group { id: row.text("id")?, name: row.text("name")?, created_at: row.integer("created_at")? })
}
