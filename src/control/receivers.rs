//! Receivers: who is told what happens. Webhooks and external log services are the same thing to the outbox, so they
//! are one table; only what is sent to them differs ([`crate::delivery`]).

use serde_json::Value;

use super::deliveries::{drop_all_pending, drop_pending};
use super::page::{Keyset, Listing, Page};
use super::row::Row;
use super::scope::{Owned, Scope};
use super::vault::SealedJson;
use super::{ControlPlane, Vault};
use crate::core::Result;
use crate::ports::Statement;

/// The `service` of webhooks; any other is Fivetran's name of a log service.
pub const WEBHOOK: &str = "webhook";

const COLUMNS: &str =
    "id, group_id, service, config_public, config_sealed, events, active, created_by, created_at, updated_at";

const OWNED: Owned = Owned { account: "account_id", id: "id", group: "group_id" };

/// A receiver.
#[derive(Clone, Debug)]
pub struct Receiver {
    /// Its id; of a log service the id of its group or account, because there is one of each at most.
    pub id: String,
    /// Only what happens in this group; `None` is the whole account.
    pub group_id: Option<String>,
    /// [`WEBHOOK`] or the name of a log service.
    pub service: String,
    /// Where to, with secrets; `open()` it where it is needed and drop it there.
    pub config: SealedJson,
    /// Where to, secrets masked.
    pub config_public: Value,
    /// Names of the events it wants; empty for all.
    pub events: Vec<String>,
    /// False: it is told nothing.
    pub active: bool,
    /// Who created it.
    pub created_by: Option<String>,
    /// Microseconds UTC.
    pub created_at: i64,
    /// Microseconds UTC; grows with every edit.
    pub updated_at: i64,
}

/// A receiver about to be created, its secrets in clear.
pub struct NewReceiver {
    /// See [`Receiver`].
    pub id: String,
    /// Account it belongs to.
    pub account_id: String,
    /// See [`Receiver`].
    pub group_id: Option<String>,
    /// See [`Receiver`].
    pub service: String,
    /// With secrets in clear.
    pub config: Value,
    /// With secrets masked.
    pub config_public: Value,
    /// See [`Receiver`].
    pub events: Vec<String>,
    /// See [`Receiver`].
    pub active: bool,
    /// See [`Receiver`].
    pub created_by: Option<String>,
}

impl ControlPlane {
    /// The receiver of that id: a webhook, or else a log service.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn receiver(&self, id: &str, webhook: bool) -> Result<Option<Receiver>> {
        let sql = format!("SELECT {COLUMNS} FROM receivers WHERE id = ?1 AND (service = '{WEBHOOK}') = ?2");
        let found = self.shared().query(Statement::new(sql, vec![id.into(), webhook.into()])).await?;
        found.rows.into_iter().next().map(|row| read(&Row(row), &self.vault)).transpose()
    }

    /// Those of these receivers that are still there.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn receivers_by_id(&self, ids: &[&str]) -> Result<Vec<Receiver>> {
        let sql = format!("SELECT {COLUMNS} FROM receivers WHERE id IN (SELECT value FROM json_each(?1))");
        let ids = serde_json::to_string(ids)?;
        let found = self.shared().query(Statement::new(sql, vec![ids.into()])).await?;
        found.rows.into_iter().map(|row| read(&Row(row), &self.vault)).collect()
    }

    /// Webhooks, or else log services, by age.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn receivers(&self, webhooks: bool, scope: &Scope, page: &Page) -> Result<Listing<Receiver>> {
        let [created_at, id] = page.position();
        let mut params = vec![created_at, id, (i64::from(page.limit) + 1).into(), webhooks.into()];
        let own = scope.condition(&OWNED, &mut params)?;
        let sql = format!(
            "SELECT {COLUMNS} FROM receivers WHERE (created_at, id) > (?1, ?2) AND (service = '{WEBHOOK}') = ?4 \
             AND {own} ORDER BY created_at, id LIMIT ?3"
        );
        let found = self.shared().query(Statement::new(sql, params)).await?;
        let items =
            found.rows.into_iter().map(|row| read(&Row(row), &self.vault)).collect::<Result<Vec<_>>>()?;
        Ok(Listing::cut(items, page.limit, |receiver| Keyset {
            created_at: receiver.created_at,
            id: receiver.id.clone(),
        }))
    }

    /// Creates a receiver. False when there is one of that id already.
    ///
    /// # Errors
    /// When the database cannot be reached or the group does not exist.
    pub async fn create_receiver(&self, new: &NewReceiver) -> Result<bool> {
        let sealed = self.vault.seal_json(&place(&new.id), &new.config)?;
        let sql = "INSERT INTO receivers (id, account_id, group_id, service, config_public, config_sealed, events, \
            active, created_by, created_at, updated_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?10) \
            ON CONFLICT (id) DO NOTHING";
        let params = vec![
            new.id.as_str().into(),
            new.account_id.as_str().into(),
            new.group_id.clone().into(),
            new.service.as_str().into(),
            new.config_public.to_string().into(),
            sealed.as_stored().into(),
            serde_json::to_string(&new.events)?.into(),
            new.active.into(),
            new.created_by.clone().into(),
            self.now().into(),
        ];
        let created = self.shared().query(Statement::new(sql, params)).await?.changes > 0;
        self.copy_receivers().await?;
        Ok(created)
    }

    /// Saves an edited receiver, if nobody edited it since it was read; see [`ControlPlane::save_connection`]. What is
    /// still to be told to one that is switched off is given up.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn save_receiver(&self, edited: &Receiver, config: Option<&Value>) -> Result<bool> {
        let sealed = config.map(|clear| self.vault.seal_json(&place(&edited.id), clear)).transpose()?;
        let sql = "UPDATE receivers SET service = ?4, config_public = ?5, config_sealed = COALESCE(?6, config_sealed), events = ?7, active = ?8, \
            updated_at = MAX(?3, updated_at + 1) WHERE id = ?1 AND updated_at = ?2 RETURNING id";
        let params = vec![
            edited.id.as_str().into(),
            edited.updated_at.into(),
            self.now().into(),
            edited.service.as_str().into(),
            edited.config_public.to_string().into(),
            sealed.as_ref().map(SealedJson::as_stored).into(),
            serde_json::to_string(&edited.events)?.into(),
            edited.active.into(),
        ];
        let results =
            self.shared().batch(vec![Statement::new(sql, params), drop_pending(&edited.id)]).await?;
        self.copy_receivers().await?;
        Ok(results.first().is_some_and(|saved| !saved.rows.is_empty()))
    }

    /// Deletes a receiver with everything it was or is to be told. False when there is none.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn delete_receiver(&self, id: &str) -> Result<bool> {
        let sql = "DELETE FROM receivers WHERE id = ?1";
        let deleted = self.shared().query(Statement::new(sql, vec![id.into()])).await?.changes > 0;
        self.copy_receivers().await?;
        Ok(deleted)
    }

    /// Makes the receivers in the other databases what they are in the first, as far as they can have anything to tell there:
    /// their events are put into the outbox by a trigger, which sees one database. Without their secrets, which are read from the first.
    /// Done after each edit, and by every sweep, for an edit that died before it came to this; where nothing changed,
    /// nothing is written.
    ///
    /// # Errors
    /// When a database cannot be reached; the next sweep tries again.
    pub async fn copy_receivers(&self) -> Result<()> {
        if !self.is_divided() {
            return Ok(());
        }
        let sql = "SELECT r.id, r.account_id, a.name, a.created_at AS account_created_at, r.group_id, r.service, r.events, \
            r.active, r.created_at, r.updated_at FROM receivers AS r JOIN accounts AS a ON a.id = r.account_id";
        let found = self.shared().query(Statement::new(sql, vec![])).await?.rows;
        let all = serde_json::to_string(&found)?;
        for other in self.databases.others.iter() {
            other.batch(copying(&all)).await?;
        }
        Ok(())
    }
}

/// The statements that make a database's receivers those of a JSON list, where it has their groups.
fn copying(all: &str) -> Vec<Statement> {
    let of_all = |sql: &str| Statement::new(sql, vec![all.into()]);
    vec![
        of_all(
            "INSERT INTO accounts (id, name, created_at) SELECT r.value ->> 'account_id', r.value ->> 'name', \
             r.value ->> 'account_created_at' FROM json_each(?1) AS r WHERE TRUE ON CONFLICT DO NOTHING",
        ),
        of_all("DELETE FROM receivers WHERE id NOT IN (SELECT r.value ->> 'id' FROM json_each(?1) AS r)"),
        of_all(
            "INSERT INTO receivers (id, account_id, group_id, service, config_public, config_sealed, events, active, \
             created_at, updated_at) SELECT r.value ->> 'id', r.value ->> 'account_id', r.value ->> 'group_id', \
             r.value ->> 'service', '{}', '', r.value ->> 'events', r.value ->> 'active', r.value ->> 'created_at', \
             r.value ->> 'updated_at' FROM json_each(?1) AS r WHERE r.value ->> 'group_id' IS NULL \
             OR EXISTS (SELECT 1 FROM groups AS g WHERE g.id = r.value ->> 'group_id') \
             ON CONFLICT (id) DO UPDATE SET service = excluded.service, events = excluded.events, \
             active = excluded.active, updated_at = excluded.updated_at WHERE receivers.updated_at <> excluded.updated_at",
        ),
        drop_all_pending(),
    ]
}

/// Where the receiver's secrets are sealed for.
fn place(id: &str) -> String {
    format!("receivers/{id}")
}

fn read(row: &Row, vault: &Vault) -> Result<Receiver> {
    let id = row.text("id")?;
    Ok(Receiver {
        config: vault.sealed_json(&place(&id), row.text("config_sealed")?),
        id,
        group_id: row.optional_text("group_id")?,
        service: row.text("service")?,
        config_public: row.json("config_public")?,
        events: row.json("events")?,
        active: row.flag("active")?,
        created_by: row.optional_text("created_by")?,
        created_at: row.integer("created_at")?,
        updated_at: row.integer("updated_at")?,
    })
}
