//! Whose an object is, and in which group: asked for every object a request names, before anything else is done.

use super::ControlPlane;
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

    /// A query for account and group by id.
    const fn sql(self) -> &'static str {
        match self {
            Self::Group | Self::Destination => "SELECT account_id, id AS group_id FROM groups WHERE id = ?1",
            Self::Connection => {
                "SELECT g.account_id, g.id AS group_id FROM connections AS c JOIN groups AS g ON g.id = c.group_id \
                 WHERE c.id = ?1"
            }
            Self::User => "SELECT account_id FROM users WHERE id = ?1",
            Self::Team => "SELECT account_id FROM teams WHERE id = ?1",
            Self::SystemKey => {
                "SELECT account_id FROM api_keys WHERE id = ?1 AND user_id IS NULL AND revoked_at IS NULL"
            }
            Self::Webhook => {
                "SELECT account_id, group_id FROM receivers WHERE id = ?1 AND service = 'webhook'"
            }
            Self::LogService => {
                "SELECT account_id, group_id FROM receivers WHERE id = ?1 AND service <> 'webhook'"
            }
            Self::TransformationProject => {
                "SELECT g.account_id, g.id AS group_id FROM definitions AS d JOIN groups AS g ON g.id = d.group_id \
                 WHERE d.id = ?1 AND d.kind = 'transformation_project'"
            }
            Self::Transformation => {
                "SELECT g.account_id, g.id AS group_id FROM definitions AS d JOIN groups AS g ON g.id = d.group_id \
                 WHERE d.id = ?1 AND d.kind = 'transformation'"
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
    /// Whose these objects are, in their order; `None` for one that does not exist. One round trip.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn places(&self, objects: &[(ObjectKind, &str)]) -> Result<Vec<Option<Placed>>> {
        let queries = objects.iter().map(|(kind, id)| Statement::new(kind.sql(), vec![(*id).into()]));
        let found = self.db.batch(queries.collect()).await?;
        found
            .into_iter()
            .map(|result| {
                let Some(row) = result.rows.into_iter().next().map(Row) else { return Ok(None) };
                let group_id = row.optional_text("group_id")?;
                Ok(Some(Placed { account_id: row.text("account_id")?, group_id }))
            })
            .collect()
    }
}
