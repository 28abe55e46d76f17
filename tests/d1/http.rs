//! D1 over Cloudflare's API, played by SQLite.

use std::cell::RefCell;
use std::rc::Rc;

use async_trait::async_trait;
use fivetran_do::connectors::SetupTestStatus;
use fivetran_do::core::table::LoadMode;
use fivetran_do::core::{ErrorKind, Result};
use fivetran_do::destinations::{Destination, registry};
use fivetran_do::ports::{Http, HttpRequest, HttpResponse, SqlDatabase, SqlValue, Statement};
use serde_json::{Value, json};

use crate::support::sqlite::SqliteDatabase;
use crate::world::{World, load, people, people_batch, ports};

const TOKEN: &str = "not-a-real-token";

/// The API's endpoint: answers from a database, or with a canned answer.
struct Api {
    db: Rc<SqliteDatabase>,
    canned: RefCell<Option<(u16, Value)>>,
}

#[async_trait(?Send)]
impl Http for Api {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse> {
        assert_eq!(request.method, "POST");
        assert_eq!(request.url, "http://localhost:1/v4/accounts/ac/d1/database/db/query");
        assert!(request.headers.contains(&("authorization".to_owned(), format!("Bearer {TOKEN}"))));
        if let Some((status, body)) = self.canned.borrow().clone() {
            let headers = vec![("retry-after".to_owned(), "7".to_owned())];
            return Ok(HttpResponse { status, headers, body: body.to_string().into() });
        }
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        let statements = body["batch"].as_array().unwrap().iter().map(|query| {
            let params = query["params"]
                .as_array()
                .unwrap()
                .iter()
                .map(|param| SqlValue::from(param.as_str().unwrap()));
            Statement::new(query["sql"].as_str().unwrap(), params.collect())
        });
        let (status, body) = match self.db.batch(statements.collect()).await {
            Ok(results) => {
                let results: Vec<Value> = results
                    .into_iter()
                    .map(|result| {
                        json!({"success": true, "results": result.rows, "meta": {"changes": result.changes}})
                    })
                    .collect();
                (200, json!({"success": true, "errors": [], "messages": [], "result": results}))
            }
            Err(error) => {
                let errors = [json!({"code": 7500, "message": error.message()})];
                (400, json!({"success": false, "errors": errors, "messages": [], "result": []}))
            }
        };
        Ok(HttpResponse { status, headers: Vec::new(), body: body.to_string().into() })
    }
}

fn world() -> (World, Rc<Api>) {
    let db = Rc::new(SqliteDatabase::with_d1_limits());
    let api = Rc::new(Api { db: db.clone(), canned: RefCell::new(None) });
    let config = json!({
        "database_id": "db", "account_id": "ac", "api_token": TOKEN, "api_base": "http://localhost:1/v4/",
    });
    let d1 = (registry::destination("d1").unwrap().open)(&config, &ports(db.clone(), api.clone())).unwrap();
    (World { db, d1 }, api)
}

#[tokio::test]
async fn a_whole_run_works_over_http() {
    let (world, _) = world();
    assert!(world.d1.check().await.iter().all(|test| test.status == SetupTestStatus::Passed));
    let first = load(people(), 1, LoadMode::Full);
    world.load(&first, people_batch(&first, &[(1, "Ada"), (2, "Bob")])).await;
    let second = load(people(), 2, LoadMode::Full);
    let receipt = world.load(&second, people_batch(&second, &[(1, "Ada")])).await;
    assert_eq!((receipt.deleted, receipt.live_rows), (1, Some(1)));
    assert_eq!(world.d1.describe("crm", "people").await.unwrap(), Some(people()));
    let older = world.d1.prepare(&first).await.unwrap_err();
    assert_eq!(older.kind(), ErrorKind::Fenced);
}

#[tokio::test]
async fn answers_of_the_api_become_errors_a_person_can_act_on() {
    let (world, api) = world();
    let refusal = |code: i64, message: &str| json!({"success": false, "errors": [{"code": code, "message": message}], "messages": [], "result": null});
    let cases = [
        (401, refusal(10000, "Authentication error"), ErrorKind::DestinationConfig, "config.api_token"),
        (403, refusal(10000, "Authentication error"), ErrorKind::DestinationConfig, "config.api_token"),
        (
            404,
            refusal(7404, "The database was not found"),
            ErrorKind::DestinationConfig,
            "config.database_id",
        ),
        (429, json!("slow down"), ErrorKind::DestinationUnavailable, ""),
        (502, json!("<html>"), ErrorKind::DestinationUnavailable, ""),
        (
            400,
            refusal(7500, "D1 DB is overloaded. Too many requests queued."),
            ErrorKind::DestinationUnavailable,
            "",
        ),
        (400, refusal(7500, "Exceeded maximum DB size"), ErrorKind::DestinationLimit, ""),
        (200, refusal(7500, "near \"x\": syntax error"), ErrorKind::Internal, ""),
        (200, json!({"success": true, "result": []}), ErrorKind::Internal, ""),
    ];
    for (status, body, kind, field) in cases {
        *api.canned.borrow_mut() = Some((status, body));
        let error = world.d1.describe("crm", "people").await.unwrap_err();
        assert_eq!(error.kind(), kind, "{status}: {error}");
        assert_eq!(error.field_name().unwrap_or_default(), field, "{status}: {error}");
        assert!(!format!("{error:?} {}", error.chain()).contains(TOKEN), "i6: the token leaked");
        if status == 429 {
            assert_eq!(error.requested_delay_ms(), Some(7000));
        }
    }
}

#[test]
fn a_binding_that_does_not_exist_names_the_field() {
    let db = Rc::new(SqliteDatabase::new());
    let ports = ports(db, Rc::new(crate::world::Nowhere));
    let open = registry::destination("d1").unwrap().open;
    let opened: Result<Box<dyn Destination>> = open(&json!({"binding": "NOPE"}), &ports);
    let error = opened.err().unwrap();
    assert_eq!(error.field_name(), Some("config.binding"));
}
