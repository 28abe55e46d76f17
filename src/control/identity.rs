//! Who a key is, and everything they may do: one round trip.

use super::ControlPlane;
use super::accounts::OWNER_ACCOUNT;
use super::api_keys::sha256_hex;
use super::row::Row;
use super::users::OWNER_USER;
use crate::core::Result;
use crate::core::access::{KeyPermission, Permission, Permissions, Reach, Resource, Rights};
use crate::core::redact::Secret;
use crate::core::roles::{self, RoleScope};
use crate::ports::Statement;

/// How exactly the last use of a key is kept: a write per key and hour, instead of one per request.
pub const LAST_USED_MICROS: i64 = 3_600_000_000;

/// Somebody a key speaks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Id of the key; `root` is the deployment's own.
    pub key_id: String,
    /// Their account.
    pub account_id: String,
    /// The user; `None` for a system key.
    pub user_id: Option<String>,
    /// What they may do.
    pub permissions: Permissions,
}

impl Identity {
    /// The owner of the deployment, for whom the root key speaks.
    #[must_use]
    pub fn owner() -> Self {
        Self {
            key_id: "root".to_owned(),
            account_id: OWNER_ACCOUNT.to_owned(),
            user_id: Some(OWNER_USER.to_owned()),
            permissions: Permissions::everything(),
        }
    }
}

impl ControlPlane {
    /// Who the pair is. `None`: no live key, or its user is switched off.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn identify(&self, api_key: &str, api_secret: &Secret) -> Result<Option<Identity>> {
        let key = "SELECT k.id, k.account_id, k.secret_sha256, k.user_id, k.permissions, k.expires_at, k.last_used_at, \
            COALESCE(u.active, 1) AS active, u.role FROM api_keys AS k LEFT JOIN users AS u ON u.id = k.user_id \
            WHERE k.api_key = ?1 AND k.revoked_at IS NULL";
        // What the user is a member of, and what their teams are and are members of.
        let roles = "WITH me AS (SELECT user_id AS id FROM api_keys WHERE api_key = ?1 AND user_id IS NOT NULL), \
            subjects AS (SELECT id FROM me UNION SELECT m.object_id FROM memberships AS m JOIN me ON m.subject_id = me.id \
                WHERE m.scope = 'TEAM') \
            SELECT m.scope, m.object_id, m.role FROM memberships AS m JOIN subjects AS s ON s.id = m.subject_id \
            UNION ALL SELECT 'ACCOUNT', '', t.role FROM teams AS t JOIN subjects AS s ON s.id = t.id \
                WHERE t.role IS NOT NULL";
        let query = |sql: &str| Statement::new(sql, vec![api_key.into()]);
        let mut results = self.shared().batch(vec![query(key), query(roles)]).await?.into_iter();
        let Some(row) = results.next().and_then(|key| key.rows.into_iter().next()).map(Row) else {
            return Ok(None);
        };
        let now = self.now();
        // Comparing hashes needs no constant time: an attacker cannot choose the bytes of a hash.
        let fits = row.text("secret_sha256")? == sha256_hex(api_secret.expose().as_bytes());
        let expired = row.optional_integer("expires_at")?.is_some_and(|at| at <= now);
        if !fits || expired || !row.flag("active")? {
            return Ok(None);
        }
        let (key_id, user_id) = (row.text("id")?, row.optional_text("user_id")?);
        if row.optional_integer("last_used_at")?.is_none_or(|at| at.saturating_add(LAST_USED_MICROS) <= now) {
            self.note_use(&key_id, now).await?;
        }
        let permissions = match &user_id {
            Some(user_id) => {
                let rows = results.next().map(|roles| roles.rows).unwrap_or_default();
                let mut held =
                    rows.into_iter().map(|row| held(&Row(row))).collect::<Result<Vec<_>>>()?.concat();
                if let Some(role) = row.optional_text("role")? {
                    held.extend(permissions_of(RoleScope::Account, "", &role));
                }
                held.push(oneself(user_id));
                Permissions(held)
            }
            None => {
                let stored: Vec<KeyPermission> = row.optional_json("permissions")?.unwrap_or_default();
                Permissions::from(stored.as_slice())
            }
        };
        Ok(Some(Identity { key_id, account_id: row.text("account_id")?, user_id, permissions }))
    }

    /// What whoever joins the team gets by it.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn permissions_of_team(&self, team_id: &str) -> Result<Permissions> {
        let roles = "SELECT scope, object_id, role FROM memberships WHERE subject_id = ?1 \
            UNION ALL SELECT 'ACCOUNT', '', role FROM teams WHERE id = ?1 AND role IS NOT NULL";
        let found = self.shared().query(Statement::new(roles, vec![team_id.into()])).await?;
        let shared = found.rows.into_iter().map(|row| held(&Row(row))).collect::<Result<Vec<_>>>()?;
        Ok(Permissions(shared.concat()))
    }

    /// A used key is a seen person: whoever was invited has arrived.
    async fn note_use(&self, key_id: &str, now: i64) -> Result<()> {
        let used = "UPDATE api_keys SET last_used_at = ?2 WHERE id = ?1";
        let arrived = "UPDATE users SET invited = 0 WHERE invited = 1 \
            AND id = (SELECT user_id FROM api_keys WHERE id = ?1)";
        let used = Statement::new(used, vec![key_id.into(), now.into()]);
        self.shared().batch(vec![used, Statement::new(arrived, vec![key_id.into()])]).await.map(|_| ())
    }
}

/// Everybody sees themselves.
fn oneself(user_id: &str) -> Permission {
    let reach = Reach::Some { ids: vec![user_id.to_owned()], group_ids: Vec::new() };
    Permission { resource: Resource::User, rights: Rights::READ, reach }
}

fn held(row: &Row) -> Result<Vec<Permission>> {
    let scope = RoleScope::named(&row.text("scope")?);
    let (object, role) = (row.text("object_id")?, row.text("role")?);
    Ok(scope.map(|scope| permissions_of(scope, &object, &role)).unwrap_or_default())
}

/// A stored role that is no longer in the table permits nothing.
fn permissions_of(scope: RoleScope, object: &str, name: &str) -> Vec<Permission> {
    roles::role(scope, name).map(|role| role.permissions(object).collect()).unwrap_or_default()
}
