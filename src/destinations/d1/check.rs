//! Tries what loads will need.

use super::database::Database;
use crate::connectors::{SetupTest, SetupTestStatus};
use crate::core::{Error, Result};
use crate::ports::Statement;

/// One entry per step; steps after a failed one are skipped.
pub(super) async fn check(database: &Database) -> Vec<SetupTest> {
    let mut tests = Vec::with_capacity(3);
    tests.push(verdict("Connecting to the database", connect(database).await));
    let ready = passed(&tests);
    tests.push(step("Loading JSON rows", ready, load_rows(database)).await);
    let ready = passed(&tests);
    tests.push(step("Creating and dropping a table", ready, create_table(database)).await);
    tests
}

async fn connect(database: &Database) -> Result<()> {
    database.query("D1", Statement::new("SELECT 1 AS one", Vec::new())).await.map(|_| ())
}

/// Every function that loads use, tried in one statement.
async fn load_rows(database: &Database) -> Result<()> {
    let reader = database.row_reader().await?;
    let sql = format!(
        "SELECT hex(unhex(value->>1)) AS bytes, CAST(value->>0 AS TEXT) AS long, printf('%.2f', 1.5) AS decimal \
         FROM {reader}(?1) WHERE (SELECT json_extract('1', '$'))"
    );
    let params = vec!["[[-9223372036854775808,\"00ff\"]]".into()];
    let result = database.query("D1", Statement::new(sql, params)).await?;
    let row = result.rows.first();
    let says = |column: &str, text: &str| {
        row.and_then(|row| row.get(column)).and_then(serde_json::Value::as_str) == Some(text)
    };
    if says("bytes", "00FF") && says("long", "-9223372036854775808") && says("decimal", "1.50") {
        return Ok(());
    }
    Err(Error::internal("D1 did not return the values it was given"))
}

async fn create_table(database: &Database) -> Result<()> {
    let statements = [
        "CREATE TABLE IF NOT EXISTS _fivetran_check (id TEXT NOT NULL PRIMARY KEY) WITHOUT ROWID",
        "INSERT INTO _fivetran_check (id) VALUES ('1') ON CONFLICT (id) DO NOTHING",
        "DROP TABLE _fivetran_check",
    ];
    let statements = statements.map(|sql| Statement::new(sql, Vec::new()));
    database.batch("D1", statements.into()).await.map(|_| ())
}

fn passed(tests: &[SetupTest]) -> bool {
    tests.iter().all(|test| test.status == SetupTestStatus::Passed)
}

async fn step(title: &str, ready: bool, test: impl Future<Output = Result<()>>) -> SetupTest {
    if ready {
        return verdict(title, test.await);
    }
    SetupTest::new(title, SetupTestStatus::Skipped, "")
}

fn verdict(title: &str, result: Result<()>) -> SetupTest {
    let (status, message) = match result {
        Ok(()) => (SetupTestStatus::Passed, String::new()),
        Err(error) => (SetupTestStatus::Failed, error.to_string()),
    };
    SetupTest::new(title, status, message)
}
