//! What reading a range will be like, as the server's planner sees it.

use serde_json::Value;

use super::range::Range;
use super::session::Session;
use super::sql::identifier;
use crate::core::Result;

/// An expectation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Estimate {
    /// Rows.
    pub(super) rows: u64,
    /// Cost, in the server's own unit.
    pub(super) cost: f64,
}

impl Estimate {
    /// The estimate for some columns of a range, if the server gives one. Without the columns it would count on an index
    /// that has no others.
    ///
    /// # Errors
    /// When the server fails.
    pub(super) async fn of(session: &mut Session, range: &Range, columns: &[String]) -> Result<Option<Self>> {
        let columns: Vec<String> = columns.iter().map(|column| identifier(column)).collect();
        let sql = format!(
            "{}SET LOCAL search_path TO DEFAULT; EXPLAIN (FORMAT JSON) {}; COMMIT",
            session.begin,
            range.select(&columns)
        );
        let during = format!("estimating what reading {} will be", range.relation.quoted());
        let rows = session.query(&sql, &during).await?;
        let plan: Value = rows.first().and_then(|row| serde_json::from_str(row).ok()).unwrap_or_default();
        let number = |name: &str| plan.pointer(&format!("/0/Plan/{name}")).and_then(Value::as_f64);
        let (rows, cost) = (number("Plan Rows"), number("Total Cost"));
        Ok(rows.zip(cost).map(|(rows, cost)| Self { rows: rows as u64, cost }))
    }
}
