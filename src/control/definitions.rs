//! Definitions that are kept as documents, because the engine reads nothing of them: transformation projects and
//! transformations.

use serde_json::Value;

use super::page::{Keyset, Listing, Page};
use super::row::Row;
use super::scope::{Owned, Scope};
use super::{ControlPlane, Vault};
use crate::core::Result;
use crate::ports::Statement;

const COLUMNS: &str = "id, group_id, body_sealed, created_by, created_at, updated_at";

const OWNED: Owned = Owned {
    account: "(SELECT g.account_id FROM groups AS g WHERE g.id = definitions.group_id)",
    id: "id",
    group: "group_id",
};

/// A document.
#[derive(Clone, Debug)]
pub struct Definition {
    /// Its id.
    pub id: String,
    /// The group it belongs to and dies with.
    pub group_id: String,
    /// The content.
    pub body: Value,
    /// Who created it.
    pub created_by: Option<String>,
    /// Microseconds UTC.
    pub created_at: i64,
    /// Microseconds UTC; grows with every edit.
    pub updated_at: i64,
}

impl ControlPlane {
    /// The document of that kind and id.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn definition(&self, kind: &str, id: &str) -> Result<Option<Definition>> {
        let sql = format!("SELECT {COLUMNS} FROM definitions WHERE kind = ?1 AND id = ?2");
        let found = self.shared().query(Statement::new(sql, vec![kind.into(), id.into()])).await?;
        found.rows.into_iter().next().map(|row| read(&Row(row), &self.vault)).transpose()
    }

    /// Documents of that kind by age, of one group if given.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn definitions(
        &self,
        kind: &str,
        scope: &Scope,
        group_id: Option<&str>,
        page: &Page,
    ) -> Result<Listing<Definition>> {
        let [created_at, id] = page.position();
        let mut params =
            vec![kind.into(), created_at, id, (i64::from(page.limit) + 1).into(), group_id.into()];
        let own = scope.condition(&OWNED, &mut params)?;
        let sql = format!(
            "SELECT {COLUMNS} FROM definitions WHERE kind = ?1 AND (created_at, id) > (?2, ?3) \
             AND (?5 IS NULL OR group_id = ?5) AND {own} ORDER BY created_at, id LIMIT ?4"
        );
        let found = self.shared().query(Statement::new(sql, params)).await?;
        let items =
            found.rows.into_iter().map(|row| read(&Row(row), &self.vault)).collect::<Result<Vec<_>>>()?;
        Ok(Listing::cut(items, page.limit, |definition| Keyset {
            created_at: definition.created_at,
            id: definition.id.clone(),
        }))
    }

    /// Creates a document and gives it.
    ///
    /// # Errors
    /// When the database cannot be reached or the group does not exist.
    pub async fn create_definition(
        &self,
        kind: &str,
        group_id: &str,
        body: Value,
        created_by: Option<String>,
    ) -> Result<Definition> {
        let (id, now) = (self.new_id()?, self.now());
        let sealed = self.vault.seal_json(&place(&id), &body)?;
        let sql = "INSERT INTO definitions (id, kind, group_id, body_sealed, created_by, created_at, updated_at) \
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6)";
        let params = vec![
            id.as_str().into(),
            kind.into(),
            group_id.into(),
            sealed.as_stored().into(),
            created_by.clone().into(),
            now.into(),
        ];
        self.shared().query(Statement::new(sql, params)).await?;
        let group_id = group_id.to_owned();
        Ok(Definition { id, group_id, body, created_by, created_at: now, updated_at: now })
    }

    /// Saves an edited document, if nobody edited it since it was read. False when somebody did.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn save_definition(&self, edited: &Definition) -> Result<bool> {
        let sealed = self.vault.seal_json(&place(&edited.id), &edited.body)?;
        let sql = "UPDATE definitions SET body_sealed = ?3, updated_at = MAX(?4, updated_at + 1) \
            WHERE id = ?1 AND updated_at = ?2";
        let params = vec![
            edited.id.as_str().into(),
            edited.updated_at.into(),
            sealed.as_stored().into(),
            self.now().into(),
        ];
        Ok(self.shared().query(Statement::new(sql, params)).await?.changes > 0)
    }

    /// Deletes a document. False when there is none.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn delete_definition(&self, kind: &str, id: &str) -> Result<bool> {
        let sql = "DELETE FROM definitions WHERE kind = ?1 AND id = ?2";
        Ok(self.shared().query(Statement::new(sql, vec![kind.into(), id.into()])).await?.changes > 0)
    }
}

/// Where the document is sealed for.
fn place(id: &str) -> String {
    format!("definitions/{id}")
}

fn read(row: &Row, vault: &Vault) -> Result<Definition> {
    let id = row.text("id")?;
    Ok(Definition {
        body: vault.sealed_json(&place(&id), row.text("body_sealed")?).open()?,
        id,
        group_id: row.text("group_id")?,
        created_by: row.optional_text("created_by")?,
        created_at: row.integer("created_at")?,
        updated_at: row.integer("updated_at")?,
    })
}
