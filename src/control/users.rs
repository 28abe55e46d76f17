//! Users: people, whose keys do what their roles permit.

use super::ControlPlane;
use super::page::{Listing, Page};
use super::row::Row;
use super::scope::{Owned, Scope};
use crate::core::Result;
use crate::core::access::{Access, Resource};
use crate::core::roles::{ROLES, RoleScope};
use crate::ports::{SqlValue, Statement};

/// The id of the deployment's owner, for whom its root key speaks.
pub const OWNER_USER: &str = "owner";

/// When somebody's key was last used is when they were last here: there is no other way in. The role is selected by who
/// asks, in the account or in a group.
const COLUMNS: &str = "u.id, u.email, u.given_name, u.family_name, u.phone, u.picture, u.active, u.invited, \
    u.created_at, (SELECT MAX(k.last_used_at) FROM api_keys AS k WHERE k.user_id = u.id) AS logged_in_at";

const OWNED: Owned = Owned { account: "u.account_id", id: "u.id", group: "NULL" };

/// A user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Id.
    pub id: String,
    /// Unique in the account.
    pub email: String,
    /// First name.
    pub given_name: String,
    /// Last name.
    pub family_name: String,
    /// Phone number.
    pub phone: Option<String>,
    /// Where a picture is.
    pub picture: Option<String>,
    /// Account role; in a listing of a group's users the role there.
    pub role: Option<String>,
    /// False: their key is refused.
    pub active: bool,
    /// True until their key is used for the first time.
    pub invited: bool,
    /// Microseconds UTC.
    pub created_at: i64,
    /// Microseconds UTC, to the hour; `None`: never.
    pub logged_in_at: Option<i64>,
}

/// Which users a listing shows.
#[derive(Clone, Debug, Default)]
pub struct UserFilter<'a> {
    /// Active ones, or the others.
    pub active: Option<bool>,
    /// Those who have a key, or the others.
    pub has_key: Option<bool>,
    /// Those with a role in this group, by themselves, by a team or in the whole account.
    pub group_id: Option<&'a str>,
}

impl ControlPlane {
    /// The user of that id.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn user(&self, id: &str) -> Result<Option<User>> {
        self.one_user("u.id = ?1", vec![id.into()]).await
    }

    /// The user of the account with that address.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn user_by_email(&self, account_id: &str, email: &str) -> Result<Option<User>> {
        let condition = "u.account_id = ?1 AND u.email = ?2 COLLATE NOCASE";
        self.one_user(condition, vec![account_id.into(), email.into()]).await
    }

    async fn one_user(&self, condition: &str, params: Vec<SqlValue>) -> Result<Option<User>> {
        let sql = format!("SELECT {COLUMNS}, u.role FROM users AS u WHERE {condition}");
        let found = self.shared().query(Statement::new(sql, params)).await?;
        found.rows.into_iter().next().map(|row| read(&Row(row))).transpose()
    }

    /// Users by age.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn users(&self, scope: &Scope, filter: &UserFilter<'_>, page: &Page) -> Result<Listing<User>> {
        // The first three parameters are the page's.
        let mut params = vec![SqlValue::Null; 3];
        let mut condition = scope.condition(&OWNED, &mut params)?;
        if let Some(active) = filter.active {
            params.push(active.into());
            condition.push_str(&format!(" AND u.active = ?{}", params.len()));
        }
        if let Some(has_key) = filter.has_key {
            params.push(has_key.into());
            // The owner's is the root key, which is no row.
            condition.push_str(&format!(
                " AND (u.id = '{OWNER_USER}' OR EXISTS (SELECT 1 FROM api_keys AS k WHERE k.user_id = u.id \
                 AND k.revoked_at IS NULL)) = ?{}",
                params.len()
            ));
        }
        let mut role = "u.role".to_owned();
        if let Some(group_id) = filter.group_id {
            params.push(group_id.into());
            params.push(serde_json::to_string(&roles_in_every_group())?.into());
            role = role_in_group(params.len() - 1, params.len());
            condition.push_str(&format!(" AND {role} IS NOT NULL"));
        }
        let select = format!("SELECT {COLUMNS}, {role} AS role FROM users AS u WHERE {condition}");
        self.page_of(self.shared(), &select, params.split_off(3), page, read).await
    }

    /// Creates a user. False when the account has one of that address already.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn create_user(&self, account_id: &str, user: &User) -> Result<bool> {
        let sql = "INSERT INTO users (id, account_id, email, given_name, family_name, phone, picture, role, active, \
            invited, created_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11) ON CONFLICT DO NOTHING";
        let params = vec![
            user.id.as_str().into(),
            account_id.into(),
            user.email.as_str().into(),
            user.given_name.as_str().into(),
            user.family_name.as_str().into(),
            user.phone.clone().into(),
            user.picture.clone().into(),
            user.role.clone().into(),
            user.active.into(),
            user.invited.into(),
            user.created_at.into(),
        ];
        Ok(self.shared().query(Statement::new(sql, params)).await?.changes > 0)
    }

    /// Saves names, phone, picture and role of a user. Each edit sets whole fields, so the last one stands.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn save_user(&self, user: &User) -> Result<()> {
        let sql = "UPDATE users SET given_name = ?2, family_name = ?3, phone = ?4, picture = ?5, role = ?6, active = ?7 \
            WHERE id = ?1";
        let params = vec![
            user.id.as_str().into(),
            user.given_name.as_str().into(),
            user.family_name.as_str().into(),
            user.phone.clone().into(),
            user.picture.clone().into(),
            user.role.clone().into(),
            user.active.into(),
        ];
        self.shared().query(Statement::new(sql, params)).await.map(|_| ())
    }

    /// Deletes a user with their key and memberships. False when there is none.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn delete_user(&self, id: &str) -> Result<bool> {
        let sql = "DELETE FROM users WHERE id = ?1 RETURNING id";
        Ok(!self.shared().query(Statement::new(sql, vec![id.into()])).await?.rows.is_empty())
    }
}

/// What a user is in a group: the role they were given there, one in the whole account, or a team's; NULL for nothing.
fn role_in_group(group: usize, account_roles: usize) -> String {
    let of = |subject: &str| {
        format!(
            "(SELECT m.role FROM memberships AS m WHERE m.object_id = ?{group} AND m.scope = 'DESTINATION' \
             AND m.subject_id {subject} ORDER BY m.created_at, m.subject_id LIMIT 1)"
        )
    };
    let own = of("= u.id");
    let teams =
        of("IN (SELECT t.object_id FROM memberships AS t WHERE t.subject_id = u.id AND t.scope = 'TEAM')");
    let account =
        format!("CASE WHEN u.role IN (SELECT value FROM json_each(?{account_roles})) THEN u.role END");
    format!("COALESCE({own}, {account}, {teams})")
}

/// Account roles that see every destination.
fn roles_in_every_group() -> Vec<&'static str> {
    let sees = |rights: &[(Resource, crate::core::access::Rights)]| {
        rights
            .iter()
            .any(|(resource, rights)| *resource == Resource::Destination && rights.allow(Access::Read))
    };
    let roles = ROLES.iter().filter(|role| role.scope == RoleScope::Account && sees(role.rights));
    roles.map(|role| role.name).collect()
}

fn read(row: &Row) -> Result<User> {
    Ok(User {
        id: row.text("id")?,
        email: row.text("email")?,
        given_name: row.text("given_name")?,
        family_name: row.text("family_name")?,
        phone: row.optional_text("phone")?,
        picture: row.optional_text("picture")?,
        role: row.optional_text("role")?,
        active: row.flag("active")?,
        invited: row.flag("invited")?,
        created_at: row.integer("created_at")?,
        logged_in_at: row.optional_integer("logged_in_at")?,
    })
}
