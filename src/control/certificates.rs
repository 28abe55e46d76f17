//! Certificates approved for the sources of connections.

use super::ControlPlane;
use super::page::{Listing, Page};
use super::row::Row;
use crate::core::Result;
use crate::core::certificate::Certificate;
use crate::ports::Statement;

/// `id` and `created_at` are what pages go by.
const SELECT: &str =
    "SELECT hash AS id, der, private, validated_by, validated_at AS created_at FROM certificates";

/// A certificate, and who approved it.
#[derive(Clone, Debug)]
pub struct ApprovedCertificate {
    /// Its digest as the client wrote it.
    pub hash: String,
    /// What was approved.
    pub certificate: Certificate,
    /// True where no public authority vouches for it, so that it is trusted for the approval alone.
    pub private: bool,
    /// User or key.
    pub validated_by: String,
    /// Microseconds UTC.
    pub validated_at: i64,
}

impl ControlPlane {
    /// Keeps an approval. One that is there already stays as it is, except that it becomes private where no public authority
    /// vouches any more; and a connection that is gone gets none.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn approve_certificate(&self, connection_id: &str, new: &ApprovedCertificate) -> Result<()> {
        let sql = "INSERT INTO certificates (connection_id, hash, der, validated_by, validated_at, private) \
            SELECT id, ?2, ?3, ?4, ?5, ?6 FROM connections WHERE id = ?1 \
            ON CONFLICT (connection_id, hash) DO UPDATE SET private = MAX(private, excluded.private)";
        let params = vec![
            connection_id.into(),
            new.hash.as_str().into(),
            new.certificate.to_text().into(),
            new.validated_by.as_str().into(),
            new.validated_at.into(),
            new.private.into(),
        ];
        self.home(connection_id)?.query(Statement::new(sql, params)).await?;
        Ok(())
    }

    /// The approvals of a connection, by age.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn certificates(
        &self,
        connection_id: &str,
        page: &Page,
    ) -> Result<Listing<ApprovedCertificate>> {
        let select = format!("{SELECT} WHERE connection_id = ?4");
        self.page_of(self.home(connection_id)?, &select, vec![connection_id.into()], page, read).await
    }

    /// The approval of that hash.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn certificate(&self, connection_id: &str, hash: &str) -> Result<Option<ApprovedCertificate>> {
        let sql = format!("{SELECT} WHERE connection_id = ?1 AND hash = ?2");
        let found = self
            .home(connection_id)?
            .query(Statement::new(sql, vec![connection_id.into(), hash.into()]))
            .await?;
        found.rows.into_iter().next().map(|row| read(&Row(row))).transpose()
    }

    /// Takes an approval back. False when there is none.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn revoke_certificate(&self, connection_id: &str, hash: &str) -> Result<bool> {
        let sql = "DELETE FROM certificates WHERE connection_id = ?1 AND hash = ?2";
        let params = vec![connection_id.into(), hash.into()];
        Ok(self.home(connection_id)?.query(Statement::new(sql, params)).await?.changes > 0)
    }
}

fn read(row: &Row) -> Result<ApprovedCertificate> {
    Ok(ApprovedCertificate {
        hash: row.text("id")?,
        certificate: Certificate::from_text(&row.text("der")?)?,
        private: row.flag("private")?,
        validated_by: row.text("validated_by")?,
        validated_at: row.integer("created_at")?,
    })
}
