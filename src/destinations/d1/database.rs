//! The database with its errors explained and its abilities known.

use std::cell::Cell;
use std::rc::Rc;

use super::fault;
use crate::core::Result;
use crate::core::fault_point::FaultPoint;
use crate::ports::{Ports, QueryResult, SqlDatabase, Statement};

/// A D1 database. Its `batch` is a transaction, but over HTTP Cloudflare documents only "executed as a batch"; so
/// nothing here depends on it: every prefix of every batch of ours leaves a state the next call understands.
pub(super) struct Database {
    inner: Rc<dyn SqlDatabase>,
    ports: Ports,
    /// Which function reads JSON rows, once asked.
    each: Cell<Option<&'static str>>,
}

impl Database {
    pub(super) fn new(inner: Rc<dyn SqlDatabase>, ports: Ports) -> Self {
        Self { inner, ports, each: Cell::new(None) }
    }

    /// Stands at a border between two effects of that run.
    pub(super) async fn reach(&self, point: FaultPoint, run_id: &str) -> Result<()> {
        self.ports.reach(point, run_id).await
    }

    /// Runs statements in order in one transaction. `what` names the table or task in errors.
    pub(super) async fn batch(&self, what: &str, statements: Vec<Statement>) -> Result<Vec<QueryResult>> {
        self.inner.batch(statements).await.map_err(|error| fault::explain(error, what))
    }

    /// Runs one statement.
    pub(super) async fn query(&self, what: &str, statement: Statement) -> Result<QueryResult> {
        self.inner.query(statement).await.map_err(|error| fault::explain(error, what))
    }

    /// The table-valued function that hands out JSON rows. `jsonb_each` (SQLite 3.51) gives each row in parsed form;
    /// `json_each` prints it, and every row is parsed a second time: half the speed (see [`insert`](super::insert)).
    pub(super) async fn row_reader(&self) -> Result<&'static str> {
        if let Some(each) = self.each.get() {
            return Ok(each);
        }
        let probe = Statement::new("SELECT count(*) FROM jsonb_each('[]')", Vec::new());
        let each = match self.query("D1", probe).await {
            Ok(_) => "jsonb_each",
            Err(error) if fault::is_missing_table(&error) => "json_each",
            Err(error) => return Err(error),
        };
        self.each.set(Some(each));
        Ok(each)
    }
}
