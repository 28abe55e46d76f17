//! API keys besides the deployment's root key: one per user, and system keys with permissions of their own. Only a
//! SHA-256 of the secret is kept: the secrets are 256 random bits, so a slow password hash would cost every request its
//! time and protect nothing.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use super::ControlPlane;
use super::page::{Listing, Page};
use super::row::Row;
use super::scope::{Owned, Scope};
use crate::core::Result;
use crate::core::access::KeyPermission;
use crate::core::redact::Secret;
use crate::ports::{SqlValue, Statement};

const COLUMNS: &str = "id, api_key, name, permissions, created_at, updated_at, expires_at, last_used_at";

const OWNED: Owned = Owned { account: "account_id", id: "id", group: "NULL" };

/// Both halves of a key just made: the only time its secret is known.
#[derive(Debug)]
pub struct KeyPair {
    /// Id of the key.
    pub id: String,
    /// Public half.
    pub api_key: String,
    /// Secret half.
    pub api_secret: Secret,
}

/// A key that speaks for nobody but itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SystemKey {
    /// Id.
    pub id: String,
    /// Public half.
    pub api_key: String,
    /// Name.
    pub name: String,
    /// What it may do.
    pub permissions: Vec<KeyPermission>,
    /// Microseconds UTC.
    pub created_at: i64,
    /// Microseconds UTC.
    pub updated_at: Option<i64>,
    /// Microseconds UTC; `None`: never.
    pub expires_at: Option<i64>,
    /// Microseconds UTC, to the hour; `None`: never.
    pub last_used_at: Option<i64>,
}

impl ControlPlane {
    /// The live system key of that id.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn system_key(&self, id: &str) -> Result<Option<SystemKey>> {
        let sql = format!(
            "SELECT {COLUMNS} FROM api_keys WHERE id = ?1 AND user_id IS NULL AND revoked_at IS NULL"
        );
        let found = self.shared().query(Statement::new(sql, vec![id.into()])).await?;
        found.rows.into_iter().next().map(|row| read(&Row(row))).transpose()
    }

    /// Live system keys by age.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn system_keys(&self, scope: &Scope, page: &Page) -> Result<Listing<SystemKey>> {
        // The first three parameters are the page's.
        let mut params = vec![SqlValue::Null; 3];
        let condition = scope.condition(&OWNED, &mut params)?;
        let select = format!(
            "SELECT {COLUMNS} FROM api_keys WHERE {condition} AND user_id IS NULL AND revoked_at IS NULL"
        );
        self.page_of(self.shared(), &select, params.split_off(3), page, read).await
    }

    /// Creates a system key.
    ///
    /// # Errors
    /// When the database cannot be reached or the platform has no entropy.
    pub async fn create_system_key(
        &self,
        account_id: &str,
        name: &str,
        permissions: &[KeyPermission],
        expires_at: Option<i64>,
    ) -> Result<KeyPair> {
        let pair = self.new_pair(self.new_id()?)?;
        let sql = "INSERT INTO api_keys (id, account_id, api_key, secret_sha256, name, permissions, created_at, \
            expires_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
        let params = vec![
            pair.id.as_str().into(),
            account_id.into(),
            pair.api_key.as_str().into(),
            sha256_hex(pair.api_secret.expose().as_bytes()).into(),
            name.into(),
            serde_json::to_string(permissions)?.into(),
            self.now().into(),
            expires_at.into(),
        ];
        self.shared().query(Statement::new(sql, params)).await?;
        Ok(pair)
    }

    /// Saves name and permissions of a system key. False when it is gone.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn save_system_key(&self, key: &SystemKey) -> Result<bool> {
        let sql = "UPDATE api_keys SET name = ?2, permissions = ?3, updated_at = ?4 \
            WHERE id = ?1 AND revoked_at IS NULL";
        let params = vec![
            key.id.as_str().into(),
            key.name.as_str().into(),
            serde_json::to_string(&key.permissions)?.into(),
            self.now().into(),
        ];
        Ok(self.shared().query(Statement::new(sql, params)).await?.changes > 0)
    }

    /// Gives a system key new halves; the old ones are refused from then on.
    ///
    /// # Errors
    /// When the database cannot be reached or the platform has no entropy.
    pub async fn rotate_system_key(&self, id: &str, expires_at: Option<i64>) -> Result<KeyPair> {
        let pair = self.new_pair(id.to_owned())?;
        let sql = "UPDATE api_keys SET api_key = ?2, secret_sha256 = ?3, updated_at = ?4, expires_at = ?5, \
            last_used_at = NULL WHERE id = ?1 AND revoked_at IS NULL";
        let params = vec![
            id.into(),
            pair.api_key.as_str().into(),
            sha256_hex(pair.api_secret.expose().as_bytes()).into(),
            self.now().into(),
            expires_at.into(),
        ];
        self.shared().query(Statement::new(sql, params)).await?;
        Ok(pair)
    }

    /// Gives a user a key; one they had is refused from then on.
    ///
    /// # Errors
    /// When the database cannot be reached or the platform has no entropy.
    pub async fn create_user_key(&self, account_id: &str, user_id: &str) -> Result<KeyPair> {
        let pair = self.new_pair(self.new_id()?)?;
        let revoke = "UPDATE api_keys SET revoked_at = ?2 WHERE user_id = ?1 AND revoked_at IS NULL";
        let create = "INSERT INTO api_keys (id, account_id, user_id, api_key, secret_sha256, name, created_at) \
            VALUES (?1, ?2, ?3, ?4, ?5, '', ?6)";
        let params = vec![
            pair.id.as_str().into(),
            account_id.into(),
            user_id.into(),
            pair.api_key.as_str().into(),
            sha256_hex(pair.api_secret.expose().as_bytes()).into(),
            self.now().into(),
        ];
        let revoke = Statement::new(revoke, vec![user_id.into(), self.now().into()]);
        self.shared().batch(vec![revoke, Statement::new(create, params)]).await?;
        Ok(pair)
    }

    /// Revokes a system key for good. False when there is none.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn revoke_system_key(&self, id: &str) -> Result<bool> {
        self.revoke("id = ?1 AND user_id IS NULL", id).await
    }

    /// Revokes a user's key. False when they have none.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn revoke_user_key(&self, user_id: &str) -> Result<bool> {
        self.revoke("user_id = ?1", user_id).await
    }

    async fn revoke(&self, condition: &str, id: &str) -> Result<bool> {
        let sql = format!("UPDATE api_keys SET revoked_at = ?2 WHERE {condition} AND revoked_at IS NULL");
        Ok(self.shared().query(Statement::new(sql, vec![id.into(), self.now().into()])).await?.changes > 0)
    }

    fn new_pair(&self, id: String) -> Result<KeyPair> {
        let mut bytes = [0_u8; 32];
        self.random.fill(&mut bytes)?;
        let api_secret = Secret::new(URL_SAFE_NO_PAD.encode(bytes));
        Ok(KeyPair { id, api_key: self.new_id()?, api_secret })
    }
}

/// Lower-case hexadecimal.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn read(row: &Row) -> Result<SystemKey> {
    Ok(SystemKey {
        id: row.text("id")?,
        api_key: row.text("api_key")?,
        name: row.text("name")?,
        permissions: row.optional_json("permissions")?.unwrap_or_default(),
        created_at: row.integer("created_at")?,
        updated_at: row.optional_integer("updated_at")?,
        expires_at: row.optional_integer("expires_at")?,
        last_used_at: row.optional_integer("last_used_at")?,
    })
}
