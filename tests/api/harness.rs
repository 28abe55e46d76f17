//! A service for one test: real API, real control plane, an engine that records what it is asked.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use fivetran_do::api::{ApiRequest, RootKey, Services, handle};
use fivetran_do::control::ControlPlane;
use fivetran_do::control::api_keys::KeyPair;
use fivetran_do::control::users::User;
use fivetran_do::core::redact::Secret;
use fivetran_do::core::{Error, Result};
use fivetran_do::engine::{RunProgress, StartOutcome, StartRequest, SyncControl};
use fivetran_do::ports::{
    Bindings, Clock, Http, HttpRequest, HttpResponse, ObjectStore, Ports, Random, SqlDatabase, Tcp,
    TcpStream, Timer, TlsMode,
};
use serde_json::{Value, json};

use crate::control_db::ControlDb;
use crate::shop;
use crate::validator::validate;

pub const KEY: &str = "root-key";
pub const SECRET: &str = "root-secret-c0ffee";
/// Another key of the vault.
pub const NEW_KEY_OF_TESTS: &str = "k2:ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA=";

pub const VAULT_KEY: &str = "k1:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

/// 2026-01-01T00:00:00Z in microseconds.
pub const NEW_YEAR: i64 = 1_767_225_600_000_000;

pub struct World {
    pub services: Services,
    pub db: Rc<ControlDb>,
    /// Further databases of a divided control plane.
    pub others: Vec<Rc<ControlDb>>,
    pub clock: Rc<TestClock>,
    pub syncs: Rc<RecordedSyncs>,
    pub internet: Rc<TestInternet>,
    /// No answer may contain one of these.
    pub secrets: RefCell<Vec<String>>,
    document: Value,
}

pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub json: Value,
    pub fault: Option<String>,
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub fn data(&self) -> &Value {
        assert!(self.status < 300, "{} {}", self.status, self.json);
        &self.json["data"]
    }

    /// Asserts a failure: status, code, and that the message says all of these.
    pub fn refused(&self, status: u16, code: &str, says: &[&str]) {
        assert_eq!((self.status, self.json["code"].as_str().unwrap()), (status, code), "{}", self.json);
        for part in says {
            assert!(self.json["message"].as_str().unwrap().contains(part), "{} lacks {part}", self.json);
        }
    }
}

pub struct TestClock(pub Cell<i64>);

impl TestClock {
    pub fn advance_seconds(&self, seconds: i64) {
        self.0.set(self.0.get() + seconds * 1_000_000);
    }
}

impl Clock for TestClock {
    fn now_micros(&self) -> i64 {
        self.0.get()
    }
}

pub struct TestRandom;

impl Random for TestRandom {
    fn fill(&self, buffer: &mut [u8]) -> Result<()> {
        getrandom::fill(buffer).map_err(|_| Error::internal("no entropy"))
    }
}

/// The engine's place in these tests: what it was asked, and answers the test sets.
#[derive(Default)]
pub struct RecordedSyncs {
    pub calls: RefCell<Vec<String>>,
    pub state: RefCell<Value>,
    pub running: Cell<bool>,
    pub progress: RefCell<Option<RunProgress>>,
}

impl RecordedSyncs {
    pub fn taken(&self) -> Vec<String> {
        self.calls.take()
    }
}

#[async_trait(?Send)]
impl SyncControl for RecordedSyncs {
    async fn start(&self, _: &str, request: StartRequest) -> Result<StartOutcome> {
        let StartRequest { trigger, force, scope, .. } = request;
        let scope = scope.map(|scope| scope.iter().map(ToString::to_string).collect::<Vec<_>>().join(","));
        self.calls.borrow_mut().push(format!("start {trigger:?} force={force} scope={scope:?}"));
        let run_id = "run".to_owned();
        Ok(if self.running.get() && !force {
            StartOutcome::AlreadyRunning { run_id }
        } else {
            StartOutcome::Started { run_id }
        })
    }

    async fn cancel(&self, _: &str) -> Result<()> {
        self.calls.borrow_mut().push("cancel".to_owned());
        Ok(())
    }

    async fn progress(&self, _: &str) -> Result<Option<RunProgress>> {
        Ok(self.progress.borrow().clone())
    }

    async fn state(&self, _: &str) -> Result<Value> {
        Ok(self.state.borrow().clone())
    }

    async fn set_state(&self, _: &str, state: Value) -> Result<()> {
        if self.running.get() {
            return Err(Error::new(fivetran_do::core::ErrorKind::Conflict, "A sync is running")
                .remedy("Wait for its end or pause the connection"));
        }
        self.state.replace(state);
        Ok(())
    }

    async fn forget(&self, _: &str) -> Result<()> {
        self.calls.borrow_mut().push("forget".to_owned());
        Ok(())
    }

    async fn forget_destination(&self, _: &str) -> Result<()> {
        self.calls.borrow_mut().push("forget destination".to_owned());
        Ok(())
    }

    /// What is due is delivered when a test says so.
    async fn announce(&self) {}
}

/// Ports the API hands on and never uses itself.
struct Nothing;

#[async_trait(?Send)]
impl Timer for Nothing {
    async fn sleep_ms(&self, _: u64) {}
}

#[async_trait(?Send)]
impl Tcp for Nothing {
    async fn connect(&self, _: &str, _: u16, _: TlsMode) -> Result<Box<dyn TcpStream>> {
        Err(Error::internal("no TCP here"))
    }
}

/// The Internet: whatever is sent arrives and is answered with a status the test sets, or nobody is there.
#[derive(Default)]
pub struct TestInternet {
    pub sent: RefCell<Vec<HttpRequest>>,
    /// Status of the next answers, and their body; 200 where nothing is set. 0 is nobody.
    pub answers: RefCell<VecDeque<(u16, &'static str)>>,
    /// Answers take until the next poll.
    pub slow: Cell<bool>,
    under_way: Cell<usize>,
    /// Most requests that were under way at once.
    pub most_under_way: Cell<usize>,
}

impl TestInternet {
    /// What was sent since the last look.
    pub fn taken(&self) -> Vec<HttpRequest> {
        self.sent.take()
    }

    pub fn answer_with(&self, statuses: impl IntoIterator<Item = u16>) {
        self.answers.borrow_mut().extend(statuses.into_iter().map(|status| (status, "")));
    }
}

#[async_trait(?Send)]
impl Http for TestInternet {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse> {
        self.sent.borrow_mut().push(request);
        if self.slow.get() {
            self.under_way.set(self.under_way.get() + 1);
            self.most_under_way.set(self.most_under_way.get().max(self.under_way.get()));
            futures::pending!();
            self.under_way.set(self.under_way.get() - 1);
        }
        match self.answers.borrow_mut().pop_front().unwrap_or((200, "")) {
            (0, _) => Err(Error::new(fivetran_do::core::ErrorKind::SourceUnavailable, "Nobody is there")),
            (status, body) => Ok(HttpResponse { status, headers: Vec::new(), body: Bytes::from(body) }),
        }
    }
}

impl Bindings for Nothing {
    fn database(&self, _: &str) -> Result<Rc<dyn SqlDatabase>> {
        Err(Error::internal("no databases here"))
    }

    fn bucket(&self, _: &str) -> Result<Rc<dyn ObjectStore>> {
        Err(Error::internal("no buckets here"))
    }

    fn hyperdrive(&self, _: &str) -> Result<Secret> {
        Err(Error::internal("no Hyperdrive here"))
    }
}

impl World {
    pub fn new() -> Self {
        Self::divided(1)
    }

    /// With a control plane over so many databases.
    pub fn divided(databases: usize) -> Self {
        let db = Rc::new(ControlDb::new());
        let others = (1..databases).map(|_| Rc::new(ControlDb::new())).collect::<Vec<_>>();
        let clock = Rc::new(TestClock(Cell::new(NEW_YEAR)));
        let syncs = Rc::new(RecordedSyncs::default());
        let internet = Rc::new(TestInternet::default());
        let services =
            services(db.clone(), &others, clock.clone(), syncs.clone(), internet.clone(), VAULT_KEY);
        let secrets = RefCell::new(vec![SECRET.to_owned(), shop::PASSWORD.to_owned()]);
        let mut world = Self { services, db, others, clock, syncs, internet, secrets, document: Value::Null };
        world.document =
            block_on(handle(&world.services, request("GET", "/v1/openapi.json", None))).body_json();
        world
    }

    /// What the sweep does an hour after the deletion of a connection, when its objects have been asked once more.
    pub fn complete_deletion(&self, connection: &str) {
        let control = &self.services.control;
        let kept = block_on(control.deleted_connections(i64::MAX, 1_000)).unwrap();
        assert!(kept.iter().any(|id| id == connection), "nobody remembers to ask the objects again");
        block_on(control.deletion_is_complete(connection)).unwrap();
    }

    /// The same databases behind other vault keys.
    pub fn with_vault_keys(&self, keys: &str) -> Self {
        self.again(&self.others, keys)
    }

    /// The first so many of the same databases.
    pub fn with_databases(&self, databases: usize) -> Self {
        self.again(&self.others[..databases - 1], VAULT_KEY)
    }

    fn again(&self, others: &[Rc<ControlDb>], keys: &str) -> Self {
        Self {
            others: others.to_vec(),
            services: services(
                self.db.clone(),
                others,
                self.clock.clone(),
                self.syncs.clone(),
                self.internet.clone(),
                keys,
            ),
            db: self.db.clone(),
            clock: self.clock.clone(),
            syncs: self.syncs.clone(),
            internet: self.internet.clone(),
            secrets: self.secrets.clone(),
            document: self.document.clone(),
        }
    }

    pub fn document(&self) -> &Value {
        &self.document
    }

    pub fn get(&self, path: &str) -> Reply {
        self.send(request("GET", path, None))
    }

    pub fn delete(&self, path: &str) -> Reply {
        self.send(request("DELETE", path, None))
    }

    pub fn post(&self, path: &str, body: Value) -> Reply {
        self.send(request("POST", path, Some(body)))
    }

    pub fn patch(&self, path: &str, body: Value) -> Reply {
        self.send(request("PATCH", path, Some(body)))
    }

    /// Sends, validates the answer against the document and searches it for secrets.
    pub fn send(&self, request: ApiRequest) -> Reply {
        let (method, path) = (request.method.clone(), request.path.clone());
        let response = block_on(handle(&self.services, request));
        let text = String::from_utf8(response.body.to_vec()).unwrap();
        let seen = format!("{text} {:?} {:?}", response.headers, response.fault);
        for secret in self.secrets.borrow().iter() {
            assert!(!seen.contains(secret.as_str()), "{method} {path} tells a secret: {seen}");
        }
        let media = response.headers.iter().find(|(name, _)| name == "content-type").map(|(_, media)| media);
        let media = media.and_then(|media| media.split(';').next()).unwrap_or("application/json");
        let json = match (text.is_empty(), media) {
            (true, _) => Value::Null,
            (false, "application/json") => serde_json::from_str(&text).unwrap(),
            (false, _) => Value::String(text),
        };
        if !json.is_null() {
            self.validate(&method, &path, response.status, media, &json);
        }
        Reply { status: response.status, headers: response.headers, json, fault: response.fault }
    }

    fn validate(&self, method: &str, path: &str, status: u16, media: &str, json: &Value) {
        let operation = self.operation(method, path);
        let responses = operation.map(|operation| &operation["responses"]);
        let schema = match responses.and_then(|responses| responses.get(status.to_string())) {
            Some(response) => response["content"][media]["schema"].clone(),
            None => {
                assert!(status >= 400 || method == "OPTIONS", "{method} {path}: {status} is not documented");
                if status < 400 {
                    return;
                }
                self.document["components"]["responses"]["Error"]["content"]["application/json"]["schema"]
                    .clone()
            }
        };
        let mut errors = Vec::new();
        validate(json, &schema, &self.document, "", &mut errors);
        assert!(errors.is_empty(), "{method} {path} {status}: {errors:?} in {json}");
    }

    fn operation(&self, method: &str, path: &str) -> Option<&Value> {
        // Every path has a second name, which the document tells in words.
        let path = path.replacen("/v2/", "/v1/", 1);
        let parts = path.trim_end_matches('/').split('/').collect::<Vec<_>>();
        let paths = self.document["paths"].as_object().unwrap();
        let mut fitting = paths
            .iter()
            .filter(|(template, _)| {
                let template = template.trim_end_matches('/').split('/').collect::<Vec<_>>();
                template.len() == parts.len()
                    && template.iter().zip(&parts).all(|(t, p)| t.starts_with('{') || t == p)
            })
            .collect::<Vec<_>>();
        // A literal part is closer than a parameter.
        fitting.sort_by_key(|(template, _)| template.matches('{').count());
        fitting.first().and_then(|(_, methods)| methods.get(method.to_lowercase()))
    }

    pub fn group(&self, name: &str) -> String {
        self.post("/v1/groups", json!({ "name": name })).data()["id"].as_str().unwrap().to_owned()
    }

    /// Sends as somebody else.
    pub fn as_key(&self, key: &KeyPair, method: &str, path: &str, body: Option<Value>) -> Reply {
        let mut request = request(method, path, body);
        request.headers.retain(|(name, _)| name != "Authorization");
        request.headers.push(("Authorization".to_owned(), basic(&key.api_key, key.api_secret.expose())));
        self.send(request)
    }

    /// A user of the account and their key.
    pub fn user(&self, account: &str, name: &str, role: Option<&str>) -> (String, KeyPair) {
        let control = &self.services.control;
        let id = control.new_id().unwrap();
        let user = User {
            id: id.clone(),
            email: format!("{name}@example.com"),
            given_name: name.to_owned(),
            family_name: "Test".to_owned(),
            phone: None,
            picture: None,
            role: role.map(str::to_owned),
            active: true,
            invited: true,
            created_at: self.clock.0.get(),
            logged_in_at: None,
        };
        assert!(block_on(control.create_user(account, &user)).unwrap());
        (id.clone(), block_on(control.create_user_key(account, &id)).unwrap())
    }

    /// A connection to a shop that lets us in.
    pub fn connection(&self, group: &str, name: &str) -> String {
        let created = self.post("/v1/connections", shop_connection(group, name));
        assert_eq!(created.status, 201, "{}", created.json);
        created.data()["id"].as_str().unwrap().to_owned()
    }
}

pub fn shop_connection(group: &str, name: &str) -> Value {
    json!({ "group_id": group, "service": "shop",
        "config": { "host": "db", "password": shop::PASSWORD, "schema_prefix": name } })
}

pub fn request(method: &str, path: &str, body: Option<Value>) -> ApiRequest {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    ApiRequest {
        method: method.to_owned(),
        path: path.to_owned(),
        query: query.to_owned(),
        headers: vec![
            ("Authorization".to_owned(), basic(KEY, SECRET)),
            ("Content-Type".to_owned(), "application/json".to_owned()),
        ],
        body: body.map(|body| Bytes::from(body.to_string())).unwrap_or_default(),
        vouched: false,
    }
}

pub fn basic(key: &str, secret: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{key}:{secret}")))
}

fn services(
    db: Rc<ControlDb>,
    others: &[Rc<ControlDb>],
    clock: Rc<TestClock>,
    syncs: Rc<RecordedSyncs>,
    internet: Rc<TestInternet>,
    keys: &str,
) -> Services {
    let random = Rc::new(TestRandom);
    let nothing = Rc::new(Nothing);
    let control = ControlPlane::new(db, &Secret::new(keys), clock.clone(), random.clone()).unwrap();
    let control = control.divided_over(others.iter().map(|other| other.clone() as _).collect());
    let ports = Ports {
        clock,
        random,
        timer: nothing.clone(),
        tcp: nothing.clone(),
        http: internet,
        bindings: nothing,
        faults: None,
    };
    let root_key = RootKey { api_key: Secret::new(KEY), api_secret: Secret::new(SECRET) };
    let mut services = Services::new(control, syncs, ports, "https://etl.example", root_key);
    services.connectors = shop::CONNECTORS;
    services.destinations = shop::DESTINATIONS;
    services
}

pub trait BodyJson {
    fn body_json(&self) -> Value;
}

impl BodyJson for fivetran_do::api::ApiResponse {
    fn body_json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// Nothing here waits for anything outside.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    futures::FutureExt::now_or_never(future).expect("the API waits for nothing outside in these tests")
}
