//! Memberships: the role of a user or a team in a group, a connection or a team. All are one thing: a subject, an object
//! and a role.

use super::ControlPlane;
use super::page::{Listing, Page};
use super::row::Row;
use crate::core::Result;
use crate::core::roles::RoleScope;
use crate::ports::{SqlValue, Statement};

/// A role in an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    /// Id of the object, or of the user where the members of a team are listed.
    pub id: String,
    /// Name of the role.
    pub role: String,
    /// Microseconds UTC.
    pub created_at: i64,
}

impl ControlPlane {
    /// The membership of a subject in an object.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn membership(
        &self,
        subject: &str,
        scope: RoleScope,
        object: &str,
    ) -> Result<Option<Membership>> {
        let sql = "SELECT object_id AS id, role, created_at FROM memberships \
            WHERE subject_id = ?1 AND scope = ?2 AND object_id = ?3";
        let found = self.shared().query(Statement::new(sql, key(subject, scope, object))).await?;
        found.rows.into_iter().next().map(|row| read(&Row(row))).transpose()
    }

    /// What a subject is a member of, by age.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn memberships(
        &self,
        subject: &str,
        scope: RoleScope,
        page: &Page,
    ) -> Result<Listing<Membership>> {
        let select =
            "SELECT object_id AS id, role, created_at FROM memberships WHERE subject_id = ?4 AND scope = ?5";
        self.page_of(self.shared(), select, vec![subject.into(), scope.word().into()], page, read).await
    }

    /// The users in a team, by the age of their membership.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn team_members(
        &self,
        team: &str,
        active: Option<bool>,
        page: &Page,
    ) -> Result<Listing<Membership>> {
        let select = "SELECT m.subject_id AS id, m.role, m.created_at FROM memberships AS m \
            JOIN users AS u ON u.id = m.subject_id \
            WHERE m.object_id = ?4 AND m.scope = 'TEAM' AND (?5 IS NULL OR u.active = ?5)";
        self.page_of(self.shared(), select, vec![team.into(), active.map(i64::from).into()], page, read).await
    }

    /// Makes a subject a member. False when it is one already.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn join(&self, subject: &str, scope: RoleScope, object: &str, role: &str) -> Result<bool> {
        let sql = "INSERT INTO memberships (subject_id, scope, object_id, role, created_at) \
            VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO NOTHING";
        let mut params = key(subject, scope, object);
        params.extend([role.into(), self.now().into()]);
        Ok(self.shared().query(Statement::new(sql, params)).await?.changes > 0)
    }

    /// Gives a member another role. False when it is none.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn change_role(
        &self,
        subject: &str,
        scope: RoleScope,
        object: &str,
        role: &str,
    ) -> Result<bool> {
        let sql = "UPDATE memberships SET role = ?4 WHERE subject_id = ?1 AND scope = ?2 AND object_id = ?3";
        let mut params = key(subject, scope, object);
        params.push(role.into());
        Ok(self.shared().query(Statement::new(sql, params)).await?.changes > 0)
    }

    /// Ends a membership. False when there is none.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn leave(&self, subject: &str, scope: RoleScope, object: &str) -> Result<bool> {
        let sql = "DELETE FROM memberships WHERE subject_id = ?1 AND scope = ?2 AND object_id = ?3";
        Ok(self.shared().query(Statement::new(sql, key(subject, scope, object))).await?.changes > 0)
    }
}

fn key(subject: &str, scope: RoleScope, object: &str) -> Vec<SqlValue> {
    vec![subject.into(), scope.word().into(), object.into()]
}

fn read(row: &Row) -> Result<Membership> {
    Ok(Membership { id: row.text("id")?, role: row.text("role")?, created_at: row.integer("created_at")? })
}
