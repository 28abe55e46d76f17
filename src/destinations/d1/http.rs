//! A D1 database over Cloudflare's API: `POST /accounts/{account}/d1/database/{database}/query`.
//!
//! The body is `{"batch": [{"sql", "params"}]}`, documented as "executed as a batch" (developers.cloudflare.com/api,
//! D1, "Query D1 Database"). A batch of the Worker binding is one transaction and this very likely is too, but the API
//! does not promise it, so callers must not depend on it (see [`Database`](super::database::Database)). Parameters are
//! documented as strings: integers go as text, and our SQL casts them.

use std::rc::Rc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::core::redact::Secret;
use crate::core::{Error, ErrorKind, Result};
use crate::ports::{Http, HttpRequest, HttpResponse, QueryResult, SqlDatabase, SqlValue, Statement};

/// A database reached by account and database id.
pub(super) struct HttpDatabase {
    http: Rc<dyn Http>,
    endpoint: String,
    token: Secret,
}

impl HttpDatabase {
    pub(super) fn new(http: Rc<dyn Http>, endpoint: String, token: Secret) -> Self {
        Self { http, endpoint, token }
    }
}

#[derive(Serialize)]
struct Batch<'a> {
    batch: Vec<Query<'a>>,
}

#[derive(Serialize)]
struct Query<'a> {
    sql: &'a str,
    params: Vec<Param<'a>>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Param<'a> {
    Null,
    Real(f64),
    Integer(String),
    Text(&'a str),
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    success: bool,
    #[serde(default)]
    errors: Vec<Complaint>,
    #[serde(default)]
    result: Option<Vec<StatementAnswer>>,
}

#[derive(Deserialize)]
struct Complaint {
    #[serde(default)]
    code: i64,
    #[serde(default)]
    message: String,
}

#[derive(Deserialize)]
struct StatementAnswer {
    #[serde(default)]
    success: Option<bool>,
    #[serde(default)]
    error: Option<String>,
    #[serde(default)]
    results: Vec<Map<String, Value>>,
    #[serde(default)]
    meta: Meta,
}

#[derive(Default, Deserialize)]
struct Meta {
    #[serde(default)]
    changes: u64,
}

#[async_trait(?Send)]
impl SqlDatabase for HttpDatabase {
    async fn batch(&self, statements: Vec<Statement>) -> Result<Vec<QueryResult>> {
        let expected = statements.len();
        let body = serde_json::to_vec(&Batch { batch: statements.iter().map(query).collect() })?;
        // The texts are megabytes: do not keep them twice while the answer is awaited.
        drop(statements);
        let request = HttpRequest {
            method: "POST",
            url: self.endpoint.clone(),
            headers: vec![
                ("authorization".to_owned(), format!("Bearer {}", self.token.expose())),
                ("content-type".to_owned(), "application/json".to_owned()),
            ],
            body: body.into(),
        };
        let response = self.http.send(request).await.map_err(|error| {
            Error::new(ErrorKind::DestinationUnavailable, "Cloudflare's API cannot be reached")
                .caused_by(error)
        })?;
        let results = read(&response)?;
        if results.len() == expected {
            return Ok(results);
        }
        Err(Error::internal(format!("Cloudflare's API answered {} of {expected} statements", results.len())))
    }
}

fn query(statement: &Statement) -> Query<'_> {
    let params = statement.params.iter().map(|param| match param {
        SqlValue::Null => Param::Null,
        SqlValue::Integer(integer) => Param::Integer(integer.to_string()),
        SqlValue::Real(real) => Param::Real(*real),
        SqlValue::Text(text) => Param::Text(text),
    });
    Query { sql: &statement.sql, params: params.collect() }
}

fn read(response: &HttpResponse) -> Result<Vec<QueryResult>> {
    let answer = serde_json::from_slice::<Answer>(&response.body);
    let text = match &answer {
        Ok(answer) => complaints(answer),
        Err(_) => String::new(),
    };
    match (response.status, answer) {
        (200..=299, Ok(Answer { success: true, result: Some(results), .. }))
            if results.iter().all(|result| result.success != Some(false)) =>
        {
            let result =
                |answer: StatementAnswer| QueryResult { rows: answer.results, changes: answer.meta.changes };
            Ok(results.into_iter().map(result).collect())
        }
        (401 | 403, _) => Err(Error::new(
            ErrorKind::DestinationConfig,
            format!("Cloudflare's API refused the token: {text}"),
        )
        .field("config.api_token")
        .remedy("Create a token with the permission D1 Edit on this account")),
        (404, _) => {
            Err(Error::new(ErrorKind::DestinationConfig, format!("There is no such D1 database: {text}"))
                .field("config.database_id")
                .remedy("Check account_id and database_id"))
        }
        (429, _) => {
            let error = Error::new(ErrorKind::DestinationUnavailable, "Cloudflare's API asks to slow down");
            Err(match retry_after_ms(response) {
                Some(delay) => error.retry_after_ms(delay),
                None => error,
            })
        }
        (status @ 500.., _) => Err(Error::new(
            ErrorKind::DestinationUnavailable,
            format!("Cloudflare's API answered {status}: {text}"),
        )),
        (status, _) => Err(Error::internal(format!("D1 over HTTP failed with status {status}: {text}"))),
    }
}

fn complaints(answer: &Answer) -> String {
    let general = answer.errors.iter().map(|error| format!("{} ({})", error.message, error.code));
    let particular = answer.result.iter().flatten().filter_map(|result| result.error.clone());
    general.chain(particular).collect::<Vec<_>>().join("; ")
}

fn retry_after_ms(response: &HttpResponse) -> Option<u64> {
    let (_, value) = response.headers.iter().find(|(name, _)| name == "retry-after")?;
    value.trim().parse::<u64>().ok()?.checked_mul(1000)
}
