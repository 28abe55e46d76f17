//! API keys besides the deployment's root key. Only a SHA-256 of the secret is kept: the secrets are 256 random bits,
//! so a slow password hash would cost every request its time and protect nothing.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use super::ControlPlane;
use super::row::Row;
use crate::core::Result;
use crate::core::redact::Secret;
use crate::ports::Statement;

/// A key just created: the only time its secret is known.
#[derive(Debug)]
pub struct NewApiKey {
    /// Id.
    pub id: String,
    /// Public half.
    pub api_key: String,
    /// Secret half.
    pub api_secret: Secret,
}

impl ControlPlane {
    /// Creates a key.
    ///
    /// # Errors
    /// When the database cannot be reached or the platform has no entropy.
    pub async fn create_api_key(&self, account_id: &str, name: &str) -> Result<NewApiKey> {
        let mut bytes = [0_u8; 32];
        self.random.fill(&mut bytes)?;
        let secret = URL_SAFE_NO_PAD.encode(bytes);
        let key = NewApiKey {
            id: self.new_id()?,
            api_key: self.new_id()?,
            api_secret: Secret::new(secret.clone()),
        };
        let sql = "INSERT INTO api_keys (id, account_id, api_key, secret_sha256, name, created_at) \
            VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        let params = vec![
            key.id.as_str().into(),
            account_id.into(),
            key.api_key.as_str().into(),
            sha256_hex(secret.as_bytes()).into(),
            name.into(),
            self.now().into(),
        ];
        self.db.query(Statement::new(sql, params)).await?;
        Ok(key)
    }

    /// Revokes a key for good. False when there is none.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn revoke_api_key(&self, id: &str) -> Result<bool> {
        let sql = "UPDATE api_keys SET revoked_at = ?2 WHERE id = ?1 AND revoked_at IS NULL";
        Ok(self.db.query(Statement::new(sql, vec![id.into(), self.now().into()])).await?.changes > 0)
    }

    /// The id of the live key that this pair is.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn api_key_id(&self, api_key: &str, api_secret: &Secret) -> Result<Option<String>> {
        let sql = "SELECT id, secret_sha256 FROM api_keys WHERE api_key = ?1 AND revoked_at IS NULL";
        let found = self.db.query(Statement::new(sql, vec![api_key.into()])).await?;
        let Some(row) = found.rows.into_iter().next().map(Row) else {
            return Ok(None);
        };
        // Comparing hashes needs no constant time: an attacker cannot choose the bytes of a hash.
        let same = row.text("secret_sha256")? == sha256_hex(api_secret.expose().as_bytes());
        same.then(|| row.text("id")).transpose()
    }
}

fn sha256_hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
