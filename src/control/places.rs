//! Whose an object is, and in which group: asked for every object a request names, before anything else is done.

use std::collections::BTreeMap;

use super::ControlPlane;
use super::databases::home_number;
use super::row::Row;
use crate::core::Result;
use crate::ports::Statement;

/// Kinds of objects that belong to an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectKind {
    /// A group.
    Group,
    /// A destination; its group is enough, as they share an id and an account.
    Destination,
    /// A connection.
    Connection,
    /// A user.
    User,
    /// A team.
    Team,
    /// A system key.
    SystemKey,
    /// A webhook.
    Webhook,
    /// A log service.
    LogService,
    /// A transformation project.
    TransformationProject,
    /// A transformation.
    Transformation,
}

impl ObjectKind {
    /// As the code `NotFound_…` names it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Group => "Group",
            Self::Destination => "Destination",
            Self::Connection => "Connection",
            Self::User => "User",
            Self::Team => "Team",
            Self::SystemKey => "SystemKey",
            Self::Webhook => "Webhook",
            Self::LogService => "LogService",
            Self::TransformationProject => "TransformationProject",
            Self::Transformation => "Transformation",
        }
    }

    /// A query for id, account and group of those whose ids are in a JSON list.
    const fn sql(self) -> &'static str {
        match self {
            Self::Group | Self::Destination => {
                "SELECT id, account_id, id AS group_id FROM groups WHERE id IN (SELECT value FROM json_each(?1))"
            }
            Self::Connection => {
                "SELECT c.id, g.account_id, g.id AS group_id FROM connections AS c JOIN groups AS g ON g.id = c.group_id \
                 WHERE c.id IN (SELECT value FROM json_each(?1))"
            }
            Self::User => "SELECT id, account_id FROM users WHERE id IN (SELECT value FROM json_each(?1))",
            Self::Team => "SELECT id, account_id FROM teams WHERE id IN (SELECT value FROM json_each(?1))",
            Self::SystemKey => {
                "SELECT id, account_id FROM api_keys WHERE id IN (SELECT value FROM json_each(?1)) \
                 AND user_id IS NULL AND revoked_at IS NULL"
            }
            Self::Webhook => {
                "SELECT id, account_id, group_id FROM receivers \
                 WHERE id IN (SELECT value FROM json_each(?1)) AND service = 'webhook'"
            }
            Self::LogService => {
                "SELECT id, account_id, group_id FROM receivers \
                 WHERE id IN (SELECT value FROM json_each(?1)) AND service <> 'webhook'"
            }
            Self::TransformationProject => {
                "SELECT d.id, g.account_id, g.id AS group_id FROM definitions AS d JOIN groups AS g ON g.id = d.group_id \
                 WHERE d.id IN (SELECT value FROM json_each(?1)) AND d.kind = 'transformation_project'"
            }
            Self::Transformation => {
                "SELECT d.id, g.account_id, g.id AS group_id FROM definitions AS d JOIN groups AS g ON g.id = d.group_id \
                 WHERE d.id IN (SELECT value FROM json_each(?1)) AND d.kind = 'transformation'"
            }
        }
    }
}

/// Whose an object is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Its account.
    pub account_id: String,
    /// The group it is in, if any.
    pub group_id: Option<String>,
}

impl ControlPlane {
    /// Whose these objects are, in their order; `None` for one that does not exist. One round trip to each database, and a
    /// query per kind: bodies may name thousands, which are more queries than D1 lets an invocation send.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn places(&self, objects: &[(ObjectKind, &str)]) -> Result<Vec<Option<Placed>>> {
        // Only connections live anywhere else than in the first database, as far as is asked here.
        let mut homes: BTreeMap<usize, Vec<(ObjectKind, Vec<&str>)>> = BTreeMap::new();
        for (kind, id) in objects {
            let home = if *kind == ObjectKind::Connection { home_number(id) } else { 0 };
            let kinds = homes.entry(home).or_default();
            match kinds.iter_mut().find(|(known, _)| known == kind) {
                Some((_, ids)) => ids.push(id),
                None => kinds.push((*kind, vec![id])),
            }
        }
        let mut found = Vec::new();
        for (home, kinds) in &homes {
            let first = kinds.first().and_then(|(_, ids)| ids.first()).filter(|_| *home > 0);
            let database = first.map_or(Ok(self.shared()), |id| self.home(id))?;
            let query = |(kind, ids): &(ObjectKind, Vec<&str>)| {
                Ok(Statement::new(kind.sql(), vec![serde_json::to_string(ids)?.into()]))
            };
            let results = database.batch(kinds.iter().map(query).collect::<Result<_>>()?).await?;
            for ((kind, _), result) in kinds.iter().zip(results) {
                let rows = result.rows.into_iter().map(|row| placed(&Row(row)));
                found.push((*kind, rows.collect::<Result<BTreeMap<_, _>>>()?));
            }
        }
        let place = |(kind, id): &(ObjectKind, &str)| {
            found.iter().filter(|(known, _)| known == kind).find_map(|(_, placed)| placed.get(*id)).cloned()
        };
        Ok(objects.iter().map(place).collect())
    }
}

fn placed(row: &Row) -> Result<(String, Placed)> {
    let group_id = row.optional_text("group_id")?;
    Ok((row.text("id")?, Placed { account_id: row.text("account_id")?, group_id }))
}
