//! Ring 2: the traits through which the engine touches the world.
//!
//! [`crate::platform`] implements them on Cloudflare bindings; `tests/support` implements them natively (tokio,
//! rusqlite, memory). Futures are not `Send`: a Worker is single-threaded. The traits are boxed with `async_trait`
//! because sources and destinations are chosen at run time; a box per batch of megabytes costs nothing measurable.

use std::rc::Rc;

use async_trait::async_trait;
use bytes::Bytes;
use serde_json::{Map, Value};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::core::Result;
use crate::core::fault_point::FaultPoint;
use crate::core::redact::Secret;

/// Wall clock.
pub trait Clock {
    /// Microseconds since the Unix epoch, UTC.
    fn now_micros(&self) -> i64;

    /// Milliseconds since the Unix epoch, UTC.
    fn now_ms(&self) -> i64 {
        self.now_micros().div_euclid(1000)
    }
}

/// Cryptographic randomness.
pub trait Random {
    /// Fills the buffer.
    ///
    /// # Errors
    /// When the platform has no entropy.
    fn fill(&self, buffer: &mut [u8]) -> Result<()>;
}

/// The service's own log: one JSON object a line, for machines.
pub trait Log {
    /// Writes a line. `urgent` ones are for somebody to look at.
    fn line(&self, urgent: bool, json: &str);
}

/// Waiting without burning CPU.
#[async_trait(?Send)]
pub trait Timer {
    /// Resolves after that many milliseconds.
    async fn sleep_ms(&self, ms: u64);
}

/// A byte stream to a server.
pub trait TcpStream: AsyncRead + AsyncWrite + Unpin {
    /// Upgrades the open connection to TLS; the certificate is always verified against public roots and `host`.
    /// Failure of the handshake shows on the first read or write, as [`std::io::ErrorKind::InvalidData`].
    ///
    /// # Errors
    /// When the stream was not opened with [`TlsMode::StartTls`].
    fn start_tls(self: Box<Self>) -> Result<Box<dyn TcpStream>>;
}

/// Whether a connection may turn to TLS later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsMode {
    /// Plain for ever.
    Off,
    /// Plain until [`TcpStream::start_tls`].
    StartTls,
}

/// Outgoing TCP.
#[async_trait(?Send)]
pub trait Tcp {
    /// Opens a connection.
    ///
    /// # Errors
    /// [`SourceUnavailable`](crate::core::ErrorKind::SourceUnavailable) when nothing listens there,
    /// [`SourceConfig`](crate::core::ErrorKind::SourceConfig) when the host is unknown.
    async fn connect(&self, host: &str, port: u16, tls: TlsMode) -> Result<Box<dyn TcpStream>>;
}

/// An outgoing HTTP request with a complete body.
#[derive(Clone, Debug)]
pub struct HttpRequest {
    /// `GET`, `POST`, ...
    pub method: &'static str,
    /// Absolute URL.
    pub url: String,
    /// Header names and values.
    pub headers: Vec<(String, String)>,
    /// Body; empty for none.
    pub body: Bytes,
}

/// An HTTP answer with its body read to the end and its length checked against `Content-Length`.
#[derive(Clone, Debug)]
pub struct HttpResponse {
    /// Status code.
    pub status: u16,
    /// Header names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Bytes,
}

/// Outgoing HTTP.
#[async_trait(?Send)]
pub trait Http {
    /// Sends and reads the whole answer. Any status is `Ok`.
    ///
    /// # Errors
    /// Only when no answer arrived, or it was cut short.
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse>;

    /// As [`Http::send`], to a stranger's server that a user named: a redirect is an answer and not followed, no more of
    /// the body is read than a short answer has (64 KiB), and waiting ends after that many milliseconds. Adapters
    /// without strangers can leave it at [`Http::send`].
    ///
    /// # Errors
    /// As [`Http::send`].
    async fn send_direct(&self, request: HttpRequest, _patience_ms: u64) -> Result<HttpResponse> {
        self.send(request).await
    }
}

/// A value bound to a statement or read from a row.
#[derive(Clone, Debug, PartialEq)]
pub enum SqlValue {
    /// NULL.
    Null,
    /// An integer. Adapters must carry it exactly (as text where the border rounds).
    Integer(i64),
    /// A double.
    Real(f64),
    /// Text.
    Text(String),
}

impl From<&str> for SqlValue {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for SqlValue {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for SqlValue {
    fn from(integer: i64) -> Self {
        Self::Integer(integer)
    }
}

impl From<bool> for SqlValue {
    fn from(flag: bool) -> Self {
        Self::Integer(i64::from(flag))
    }
}

impl<T: Into<SqlValue>> From<Option<T>> for SqlValue {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// One SQL statement with positional parameters `?1`, `?2`, ...
#[derive(Clone, Debug)]
pub struct Statement {
    /// SQLite SQL.
    pub sql: String,
    /// Parameters.
    pub params: Vec<SqlValue>,
}

impl Statement {
    /// A statement.
    pub fn new(sql: impl Into<String>, params: Vec<SqlValue>) -> Self {
        Self { sql: sql.into(), params }
    }
}

/// What one statement returned. 64-bit integers above 2^53 must be read as `CAST(x AS TEXT)`: the D1 border rounds.
#[derive(Clone, Debug, Default)]
pub struct QueryResult {
    /// Rows by column name.
    pub rows: Vec<Map<String, Value>>,
    /// Rows inserted, updated or deleted.
    pub changes: u64,
}

/// An asynchronous SQLite-dialect database (D1, or rusqlite in tests).
#[async_trait(?Send)]
pub trait SqlDatabase {
    /// Runs the statements in order in one transaction: all or nothing.
    ///
    /// # Errors
    /// The first statement's failure; nothing is applied then. The database's own text is in the error's message.
    async fn batch(&self, statements: Vec<Statement>) -> Result<Vec<QueryResult>>;

    /// Runs one statement.
    ///
    /// # Errors
    /// As [`SqlDatabase::batch`].
    async fn query(&self, statement: Statement) -> Result<QueryResult> {
        Ok(self.batch(vec![statement]).await?.pop().unwrap_or_default())
    }
}

/// The synchronous SQLite of a Durable Object (rusqlite in tests). Statements run with no await between them form
/// one atomic commit on the platform, and [`LocalSql::transaction`] makes the adapter honour that.
pub trait LocalSql {
    /// Runs one statement. Column values come back as text, number or null; cast 64-bit integers to TEXT.
    ///
    /// # Errors
    /// The database's own complaint.
    fn exec(&self, sql: &str, params: &[SqlValue]) -> Result<Vec<Vec<SqlValue>>>;
}

/// A condition on a conditional put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PutCondition {
    /// Write whatever is there.
    Always,
    /// Write only if nothing is there.
    IfAbsent,
    /// Write only if the object still has this ETag.
    IfMatch(String),
}

/// What a conditional put did. An enum and not a bool, because the platform's `None` is easily taken for success.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum PutOutcome {
    /// Written; the new ETag.
    Written(String),
    /// The condition failed; nothing was written.
    Conflict,
}

/// What is known of a stored object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectInfo {
    /// Full key.
    pub key: String,
    /// Bytes.
    pub size: u64,
    /// ETag, without quotes.
    pub etag: String,
}

/// A part of a multipart upload that arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadedPart {
    /// 1-based number.
    pub number: u16,
    /// ETag of the part.
    pub etag: String,
}

/// An object store with strong consistency (R2, or memory in tests).
#[async_trait(?Send)]
pub trait ObjectStore {
    /// Stores a whole object.
    ///
    /// # Errors
    /// When the store is unreachable; a failed condition is not an error but [`PutOutcome::Conflict`].
    async fn put(
        &self,
        key: &str,
        body: Bytes,
        content_type: &str,
        condition: PutCondition,
    ) -> Result<PutOutcome>;

    /// The whole object and its ETag, or `None`.
    ///
    /// # Errors
    /// When the store is unreachable.
    async fn get(&self, key: &str) -> Result<Option<(Bytes, String)>>;

    /// `length` bytes of the object from `offset`, or `None` when there is no such object. Asking beyond its end is an
    /// error: the caller knows the size and must not take a shortened answer for the whole.
    ///
    /// # Errors
    /// When the store is unreachable or the range lies outside the object.
    async fn get_range(&self, key: &str, offset: u64, length: u64) -> Result<Option<Bytes>>;

    /// What is stored under the key.
    ///
    /// # Errors
    /// When the store is unreachable.
    async fn head(&self, key: &str) -> Result<Option<ObjectInfo>>;

    /// All objects under a prefix, in key order, following pages.
    ///
    /// # Errors
    /// When the store is unreachable.
    async fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>>;

    /// Deletes the keys; missing ones are fine.
    ///
    /// # Errors
    /// When the store is unreachable.
    async fn delete(&self, keys: &[String]) -> Result<()>;

    /// Begins a multipart upload and returns its id. The object appears only on completion, in one step.
    ///
    /// # Errors
    /// When the store is unreachable.
    async fn multipart_begin(&self, key: &str, content_type: &str) -> Result<String>;

    /// Uploads one part; all but the last have equal size of at least 5 MiB.
    ///
    /// # Errors
    /// When the store is unreachable or the upload is unknown.
    async fn multipart_part(&self, key: &str, upload: &str, number: u16, body: Bytes)
    -> Result<UploadedPart>;

    /// Completes an upload and returns the object's ETag.
    ///
    /// # Errors
    /// When parts are missing or uneven.
    async fn multipart_complete(&self, key: &str, upload: &str, parts: Vec<UploadedPart>) -> Result<String>;

    /// Gives an upload up.
    ///
    /// # Errors
    /// When the store is unreachable.
    async fn multipart_abort(&self, key: &str, upload: &str) -> Result<()>;
}

/// The bindings of the Worker that users name in configurations.
pub trait Bindings {
    /// A D1 database by binding name.
    ///
    /// # Errors
    /// [`InvalidInput`](crate::core::ErrorKind::InvalidInput) when there is no such binding; the message lists what to
    /// add to `wrangler.toml`.
    fn database(&self, binding: &str) -> Result<Rc<dyn SqlDatabase>>;

    /// An R2 bucket by binding name.
    ///
    /// # Errors
    /// As [`Bindings::database`].
    fn bucket(&self, binding: &str) -> Result<Rc<dyn ObjectStore>>;

    /// The connection string of a Hyperdrive configuration by binding name.
    ///
    /// # Errors
    /// As [`Bindings::database`].
    fn hyperdrive(&self, binding: &str) -> Result<Secret>;
}

/// Told when the engine stands between two effects, so that a test can end it there.
#[async_trait(?Send)]
pub trait Faults {
    /// The border was reached, on behalf of a run or connection (its id).
    ///
    /// # Errors
    /// When the test wants something to fail there.
    async fn reach(&self, point: FaultPoint, id: &str) -> Result<()>;

    /// Most keys that an order shall hold in memory, so that a table of few rows takes as many steps as one of billions.
    fn key_budget(&self) -> Option<usize> {
        None
    }
}

/// The ports a source or destination is built from. Cheap to clone.
#[derive(Clone)]
pub struct Ports {
    /// Wall clock.
    pub clock: Rc<dyn Clock>,
    /// Randomness.
    pub random: Rc<dyn Random>,
    /// Waiting.
    pub timer: Rc<dyn Timer>,
    /// Outgoing TCP.
    pub tcp: Rc<dyn Tcp>,
    /// Outgoing HTTP.
    pub http: Rc<dyn Http>,
    /// Named bindings.
    pub bindings: Rc<dyn Bindings>,
    /// Who is told of borders between two effects: nobody, in production.
    pub faults: Option<Rc<dyn Faults>>,
}

impl Ports {
    /// Stands at a border between two effects, on behalf of a run or connection.
    ///
    /// # Errors
    /// What a test wants to fail here; never in production.
    pub async fn reach(&self, point: FaultPoint, id: &str) -> Result<()> {
        match &self.faults {
            None => Ok(()),
            Some(faults) => faults.reach(point, id).await,
        }
    }

    /// What a test wants for [`Faults::key_budget`]; `None` in production.
    #[must_use]
    pub fn key_budget(&self) -> Option<usize> {
        self.faults.as_ref()?.key_budget()
    }
}
