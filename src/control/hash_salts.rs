//! What hashed columns are salted with: 32 random bytes per destination, sealed (invariant I6).
//!
//! Per destination, so that equal values hash equally in all its connections and can be joined, and nowhere else. Random
//! and sealed, not the destination's id: with a salt that can be looked up, a column of few possible values (birth dates,
//! phone numbers) could be tried out by anybody who reads the destination.

use super::ControlPlane;
use super::row::Row;
use crate::core::Result;
use crate::ports::Statement;

/// Bytes of a salt: those of the hash.
const SALT_BYTES: usize = 32;

impl ControlPlane {
    /// The salt of a destination, made when it is asked for the first time. Do not log or keep it.
    ///
    /// # Errors
    /// When the database cannot be reached, the platform has no entropy, or the salt does not open.
    pub async fn hash_salt(&self, destination_id: &str) -> Result<Vec<u8>> {
        let place = format!("destinations/{destination_id}/hash_salt");
        if let Some(sealed) = self.sealed_salt(destination_id).await? {
            return self.vault.open(&place, &sealed);
        }
        let mut salt = [0; SALT_BYTES];
        self.random.fill(&mut salt)?;
        let params = vec![destination_id.into(), self.vault.seal(&place, &salt)?.into()];
        // Of two that make one at once the first wins, and both use it.
        let sql = "UPDATE destinations SET hash_salt_sealed = ?2 WHERE id = ?1 AND hash_salt_sealed IS NULL";
        self.home(destination_id)?.query(Statement::new(sql, params)).await?;
        let sealed = self.sealed_salt(destination_id).await?.unwrap_or_default();
        self.vault.open(&place, &sealed)
    }

    async fn sealed_salt(&self, destination_id: &str) -> Result<Option<String>> {
        let sql = "SELECT hash_salt_sealed FROM destinations WHERE id = ?1";
        let found =
            self.home(destination_id)?.query(Statement::new(sql, vec![destination_id.into()])).await?;
        let row = found.rows.into_iter().next().map(Row);
        row.map_or(Ok(None), |row| row.optional_text("hash_salt_sealed"))
    }
}
