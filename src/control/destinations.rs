//! Destinations. A destination lives in the group of the same id.

use serde_json::Value;

use super::connections::{read_word, word};
use super::page::{Keyset, Listing, Page};
use super::row::Row;
use super::scope::{Owned, Scope};
use super::vault::{SealedJson, mark};
use super::{ControlPlane, SetupState, Vault};
use crate::connectors::SetupTest;
use crate::core::Result;
use crate::core::schedule::Zone;
use crate::ports::Statement;

const COLUMNS: &str = "id, service, config_public, config_sealed, config_mark, region, time_zone_offset, \
    daylight_saving_time_enabled, setup_status, setup_tests, created_at, updated_at";

const OWNED: Owned = Owned {
    account: "(SELECT g.account_id FROM groups AS g WHERE g.id = destinations.id)",
    id: "id",
    group: "id",
};

/// A destination as the user defined it.
#[derive(Clone, Debug)]
pub struct DestinationRecord {
    /// Id, which is also the group's.
    pub id: String,
    /// Destination type, for example `d1`.
    pub service: String,
    /// The configuration with its secrets; `open()` it where it is needed and drop it there.
    pub config: SealedJson,
    /// Stands for the configuration where runs are told apart by it; see [`Connection::config_mark`](super::Connection).
    pub config_mark: String,
    /// The configuration as answers show it: secrets masked.
    pub config_public: Value,
    /// Fivetran's region label. Ours run where Cloudflare runs them; kept because clients send it and read it back.
    pub region: String,
    /// Whole hours from UTC as text, `-11` to `+12`; `daily_sync_time` of the group's connections is in it.
    pub time_zone_offset: String,
    /// Whether the daylight saving time of the US applies to that offset; see [`Zone`].
    pub daylight_saving_time_enabled: bool,
    /// What the setup tests concluded.
    pub setup_status: SetupState,
    /// The last setup tests.
    pub setup_tests: Vec<SetupTest>,
    /// Microseconds UTC.
    pub created_at: i64,
    /// Microseconds UTC of the last change; grows with every one.
    pub updated_at: i64,
}

/// A destination about to be created, with its secrets in clear.
pub struct NewDestination {
    /// The group's id.
    pub id: String,
    /// See [`DestinationRecord`].
    pub service: String,
    /// With secrets in clear.
    pub config: Value,
    /// With secrets masked.
    pub config_public: Value,
    /// See [`DestinationRecord`].
    pub region: String,
    /// See [`DestinationRecord`].
    pub time_zone_offset: String,
    /// See [`DestinationRecord`].
    pub daylight_saving_time_enabled: bool,
    /// See [`DestinationRecord`].
    pub setup_status: SetupState,
    /// See [`DestinationRecord`].
    pub setup_tests: Vec<SetupTest>,
}

impl DestinationRecord {
    /// What its clocks show.
    ///
    /// # Errors
    /// When the stored offset is malformed.
    pub fn zone(&self) -> Result<Zone> {
        Zone::parse(&self.time_zone_offset, self.daylight_saving_time_enabled)
    }
}

impl ControlPlane {
    /// The destination of that id (the group's).
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn destination(&self, id: &str) -> Result<Option<DestinationRecord>> {
        let sql = format!("SELECT {COLUMNS} FROM destinations WHERE id = ?1");
        let found = self.home(id)?.query(Statement::new(sql, vec![id.into()])).await?;
        found.rows.into_iter().next().map(|row| read(&Row(row), &self.vault)).transpose()
    }

    /// Destinations by age.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn destinations(&self, scope: &Scope, page: &Page) -> Result<Listing<DestinationRecord>> {
        let [created_at, id] = page.position();
        let mut params = vec![created_at, id, (i64::from(page.limit) + 1).into()];
        let own = scope.condition(&OWNED, &mut params)?;
        let sql = format!(
            "SELECT {COLUMNS} FROM destinations WHERE (created_at, id) > (?1, ?2) AND {own} \
             ORDER BY created_at, id LIMIT ?3"
        );
        let found = self.rows_everywhere(Statement::new(sql, params)).await?;
        let items = found.iter().map(|row| read(row, &self.vault)).collect::<Result<Vec<_>>>()?;
        Ok(Listing::merged(items, page.limit, |destination| Keyset {
            created_at: destination.created_at,
            id: destination.id.clone(),
        }))
    }

    /// Creates the group's destination. False when it has one already: nothing is created then.
    ///
    /// # Errors
    /// When the database cannot be reached or the group does not exist.
    pub async fn create_destination(&self, new: &NewDestination) -> Result<bool> {
        let sealed = self.vault.seal_json(&place(&new.id), &new.config)?;
        let values = vec![
            new.id.as_str().into(),
            new.service.as_str().into(),
            new.config_public.to_string().into(),
            sealed.as_stored().into(),
            new.region.as_str().into(),
            new.time_zone_offset.as_str().into(),
            new.daylight_saving_time_enabled.into(),
            word(&new.setup_status)?,
            serde_json::to_string(&new.setup_tests)?.into(),
            self.now().into(),
        ];
        let sql = "INSERT INTO destinations (id, service, config_public, config_sealed, region, \
            time_zone_offset, daylight_saving_time_enabled, setup_status, setup_tests, created_at, updated_at) \
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?10) ON CONFLICT (id) DO NOTHING";
        Ok(self.home(&new.id)?.query(Statement::new(sql, values)).await?.changes > 0)
    }

    /// Saves an edited destination, if nobody edited it since it was read; see
    /// [`ControlPlane::save_connection`].
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn save_destination(&self, edited: &DestinationRecord, config: Option<&Value>) -> Result<bool> {
        let sealed = config.map(|clear| self.vault.seal_json(&place(&edited.id), clear)).transpose()?;
        let values = vec![
            edited.id.as_str().into(),
            edited.updated_at.into(),
            self.now().into(),
            edited.config_public.to_string().into(),
            sealed.as_ref().map(SealedJson::as_stored).into(),
            edited.region.as_str().into(),
            edited.time_zone_offset.as_str().into(),
            edited.daylight_saving_time_enabled.into(),
            word(&edited.setup_status)?,
            serde_json::to_string(&edited.setup_tests)?.into(),
        ];
        let sql = "UPDATE destinations SET config_public = ?4, config_sealed = COALESCE(?5, config_sealed), \
            config_mark = CASE WHEN ?5 IS NULL THEN config_mark END, region = ?6, \
            time_zone_offset = ?7, daylight_saving_time_enabled = ?8, setup_status = ?9, setup_tests = ?10, \
            updated_at = MAX(?3, updated_at + 1) WHERE id = ?1 AND updated_at = ?2";
        Ok(self.home(&edited.id)?.query(Statement::new(sql, values)).await?.changes > 0)
    }

    /// Deletes a destination that no connection uses. False when there is none, or one is used.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn delete_destination(&self, id: &str) -> Result<bool> {
        let sql = "DELETE FROM destinations WHERE id = ?1 \
            AND NOT EXISTS (SELECT 1 FROM connections WHERE group_id = ?1)";
        Ok(self.home(id)?.query(Statement::new(sql, vec![id.into()])).await?.changes > 0)
    }
}

/// Where the destination's secrets are sealed for.
fn place(id: &str) -> String {
    format!("destinations/{id}")
}

fn read(row: &Row, vault: &Vault) -> Result<DestinationRecord> {
    let id = row.text("id")?;
    let sealed = row.text("config_sealed")?;
    Ok(DestinationRecord {
        config_mark: row.optional_text("config_mark")?.unwrap_or_else(|| mark(&sealed)),
        config: vault.sealed_json(&place(&id), sealed),
        id,
        service: row.text("service")?,
        config_public: row.json("config_public")?,
        region: row.text("region")?,
        time_zone_offset: row.text("time_zone_offset")?,
        daylight_saving_time_enabled: row.flag("daylight_saving_time_enabled")?,
        setup_status: read_word(row, "setup_status")?,
        setup_tests: row.json("setup_tests")?,
        created_at: row.integer("created_at")?,
        updated_at: row.integer("updated_at")?,
    })
}
