//! A throw-away PostgreSQL server per test binary, a database per test, and a source that reads it.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use arrow::array::RecordBatch;
use async_trait::async_trait;
use fivetran_do::connectors::registry::connector;
use fivetran_do::connectors::{BatchSink, Source, StreamRequest, SyncMode};
use fivetran_do::core::catalog::{Stream, StreamName};
use fivetran_do::core::redact::Secret;
use fivetran_do::core::run::{Chunk, Cursor, StreamPlan};
use fivetran_do::core::{Error, Result};
use fivetran_do::ports::{
    Bindings, Clock, Http, HttpRequest, HttpResponse, ObjectStore, Ports, Random, SqlDatabase, Timer,
};
use serde_json::{Value, json};

use super::tcp::TokioTcp;

/// A running server.
pub struct Server {
    /// Port on 127.0.0.1.
    pub port: u16,
    /// Password of `postgres`, made for this server.
    pub password: String,
    /// Ends the server when the test process goes: the shell below waits for its standard input to close.
    _keeper: Child,
}

/// Starts a cluster, says `ready`, and removes everything when standard input closes. `$1` is the directory of the
/// programs, `$2` the port, `$3` the password, `$4` extra settings, `$5` the first transaction id or nothing, `$6` the port of
/// the primary to stand by or nothing.
const KEEPER: &str = r#"
set -e
bin=$1 port=$2
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
if [ -n "$6" ]; then
  PGPASSWORD=$3 "$bin/pg_basebackup" -D "$dir/data" -R -c fast -h 127.0.0.1 -p "$6" -U postgres
else
  printf %s "$3" > "$dir/password"
  "$bin/initdb" -D "$dir/data" -U postgres -A scram-sha-256 --pwfile="$dir/password" -E UTF8 --locale=C -N >/dev/null
  rm "$dir/password"
fi
cat >> "$dir/data/postgresql.conf" <<EOF
listen_addresses = '127.0.0.1'
port = $port
unix_socket_directories = ''
fsync = off
full_page_writes = off
synchronous_commit = off
max_connections = 200
shared_buffers = 128MB
max_wal_size = 4GB
autovacuum = off
max_prepared_transactions = 10
log_min_messages = panic
$4
EOF
start() {
  "$bin/postgres" -D "$dir/data" </dev/null >/dev/null 2>&1 &
  server=$!
  until "$bin/pg_isready" -q -h 127.0.0.1 -p "$port"; do
    kill -0 "$server" || { echo failed; exit 1; }
    sleep 0.05
  done
}
start
if [ -n "$5" ]; then
  # Freeze everything, then pretend that all ids below $5 were given out. The commit log of the new ids is all zero: 2 bits
  # per transaction, 256 KiB per segment.
  PGPASSWORD=$3 "$bin/vacuumdb" -q --all --freeze -h 127.0.0.1 -p "$port" -U postgres
  kill -INT "$server"
  wait "$server" || true
  "$bin/pg_resetwal" -x "$5" -u "$(($5 - 1000))" -D "$dir/data" >/dev/null
  dd if=/dev/zero of="$dir/data/pg_xact/$(printf %04X $(($5 / 1048576)))" bs=262144 count=1 2>/dev/null
  start
fi
echo ready
cat >/dev/null
kill -INT "$server"
wait "$server" || true
"#;

impl Server {
    /// The server all tests of this binary share.
    pub fn shared() -> &'static Self {
        static SERVER: OnceLock<Server> = OnceLock::new();
        SERVER.get_or_init(|| Self::start(""))
    }

    /// A server on which nothing else runs while the guard is held. An open transaction anywhere holds back the horizon
    /// of all databases, so tests that count exactly what an incremental sync reads need quiet.
    pub async fn quiet() -> (&'static Self, futures::lock::MutexGuard<'static, ()>) {
        static SERVER: OnceLock<Server> = OnceLock::new();
        static TURN: futures::lock::Mutex<()> = futures::lock::Mutex::new(());
        let turn = TURN.lock().await;
        (SERVER.get_or_init(|| Self::start("")), turn)
    }

    /// A server with more settings. Ends with the test process.
    pub fn start(settings: &str) -> Self {
        Self::launch(settings, "", None)
    }

    /// A server that has given out all transaction ids below `id`.
    pub fn start_at_transaction(id: u32) -> Self {
        Self::launch("", &id.to_string(), None)
    }

    /// A hot standby of a server.
    pub fn standby(primary: &Self) -> Self {
        Self::launch("", "", Some(primary))
    }

    fn launch(settings: &str, first_transaction: &str, primary: Option<&Self>) -> Self {
        let port = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        let password = primary.map_or_else(random_password, |primary| primary.password.clone());
        let primary = primary.map(|primary| primary.port.to_string()).unwrap_or_default();
        let binaries = binaries();
        let (program, prefix): (&str, &[&str]) =
            if is_root() { ("runuser", &["-u", "postgres", "--", "sh"]) } else { ("sh", &[]) };
        let mut keeper = Command::new(program)
            .args(prefix)
            .args(["-c", KEEPER, "keeper"])
            .arg(&binaries)
            .args([&port.to_string(), &password, settings, first_transaction, &primary])
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(keeper.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line.trim(), "ready", "PostgreSQL did not start");
        Self { port, password, _keeper: keeper }
    }

    /// A new database, empty.
    pub async fn database(&'static self) -> Database {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let admin = self.client("postgres").await;
        admin.batch_execute(&format!("CREATE DATABASE {name} TEMPLATE template0")).await.unwrap();
        let client = self.client(&name).await;
        Database { server: self, name, client }
    }

    /// A client of its own, as superuser.
    pub async fn client(&self, database: &str) -> tokio_postgres::Client {
        let stream = tokio::net::TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        let mut config = tokio_postgres::Config::new();
        config.user("postgres").password(&self.password).dbname(database);
        config.ssl_mode(tokio_postgres::config::SslMode::Disable);
        let (client, connection) = config.connect_raw(stream, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }
}

/// A database of a test.
pub struct Database {
    server: &'static Server,
    /// Its name.
    pub name: String,
    /// A superuser in it.
    pub client: tokio_postgres::Client,
}

impl Database {
    /// Runs SQL.
    pub async fn execute(&self, sql: &str) {
        self.client.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }

    /// Another connection, for transactions beside others.
    pub async fn another_client(&self) -> tokio_postgres::Client {
        self.server.client(&self.name).await
    }

    /// The database of the same name on another server, which must already be there.
    pub async fn on(&self, server: &'static Server) -> Self {
        Self { server, name: self.name.clone(), client: server.client(&self.name).await }
    }

    /// The configuration that reads it.
    pub fn config(&self) -> Value {
        json!({
            "host": "127.0.0.1", "port": self.server.port, "user": "postgres", "password": self.server.password,
            "database": self.name, "sslmode": "disable",
        })
    }

    /// A source that reads it, with more configuration.
    pub fn source(&self, more: Value) -> Reader {
        let mut config = self.config();
        if let Value::Object(more) = more {
            config.as_object_mut().unwrap().extend(more);
        }
        Reader { source: open(&config).unwrap() }
    }
}

/// Opens a Postgres source.
pub fn open(config: &Value) -> Result<Box<dyn Source>> {
    (connector("postgres").unwrap().open)(config, &[], &ports())
}

/// A source with the steps of a sync.
pub struct Reader {
    /// The source.
    pub source: Box<dyn Source>,
}

impl Reader {
    /// The stream of that name as discovered now.
    pub async fn stream(&self, schema: &str, table: &str) -> Stream {
        let catalog = self.source.discover().await.unwrap();
        catalog.stream(&StreamName::new(schema, table)).unwrap_or_else(|| panic!("no {table}")).clone()
    }

    /// A request for all columns of a table of `public`.
    pub async fn request(&self, table: &str, mode: SyncMode) -> StreamRequest {
        request(self.stream("public", table).await, mode)
    }

    /// Plans and reads a table of `public`: the plan, and its rows.
    pub async fn sync(&self, table: &str, from: Option<&Cursor>) -> (StreamPlan, Rows) {
        let request = self.request(table, SyncMode::Incremental).await;
        let plan = self.source.plan(&request, from).await.unwrap();
        let mut rows = Rows::default();
        for chunk in &plan.chunks {
            self.read(&request, chunk, &mut rows).await.unwrap();
        }
        (plan, rows)
    }

    /// Reads one chunk and checks the count.
    pub async fn read(&self, request: &StreamRequest, chunk: &Chunk, rows: &mut Rows) -> Result<u64> {
        let before = rows.count();
        let count = self.source.read(request, chunk, rows).await?;
        assert_eq!(usize::try_from(count).unwrap(), rows.count() - before, "I5");
        Ok(count)
    }
}

/// A request for all columns.
pub fn request(stream: Stream, mode: SyncMode) -> StreamRequest {
    let columns = stream.columns.iter().map(|column| column.name.clone()).collect();
    StreamRequest { stream, columns, mode, cursor_column: None }
}

/// A table of `rows` rows with two rows to a page, so that 20,000 rows are 80 MB and two chunks.
pub async fn big_table(database: &Database, rows: u32) {
    database
        .execute(&format!(
            "CREATE TABLE big (id int PRIMARY KEY, v int NOT NULL, pad text);
             ALTER TABLE big ALTER pad SET STORAGE PLAIN;
             INSERT INTO big SELECT i, 0, repeat('x', 3900) FROM generate_series(1, {rows}) i"
        ))
        .await;
}

/// A request for some columns.
pub fn columns(mut request: StreamRequest, names: &[&str]) -> StreamRequest {
    request.columns = names.iter().map(|name| (*name).to_owned()).collect();
    request
}

/// The plan of a first sync.
pub async fn plan(reader: &Reader, request: &StreamRequest) -> StreamPlan {
    reader.source.plan(request, None).await.unwrap()
}

/// Reads chunks in the given order.
pub async fn read_all(reader: &Reader, request: &StreamRequest, chunks: &[Chunk]) -> Rows {
    let mut rows = Rows::default();
    for chunk in chunks {
        reader.read(request, chunk, &mut rows).await.unwrap();
    }
    rows
}

/// A sink that keeps batches.
#[derive(Default)]
pub struct Rows {
    /// What arrived.
    pub batches: Vec<RecordBatch>,
}

impl Rows {
    /// Rows in all.
    pub fn count(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }

    /// The values of a column, shown as text; NULL as `None`.
    pub fn texts(&self, column: &str) -> Vec<Option<String>> {
        let options = arrow::util::display::FormatOptions::new();
        let mut texts = Vec::new();
        for batch in &self.batches {
            let array = batch.column_by_name(column).unwrap();
            let formatter = arrow::util::display::ArrayFormatter::try_new(array, &options).unwrap();
            texts.extend(
                (0..array.len()).map(|row| (!array.is_null(row)).then(|| formatter.value(row).to_string())),
            );
        }
        texts
    }

    /// The values of a column, NULL left out, sorted as text.
    pub fn sorted(&self, column: &str) -> Vec<String> {
        let mut texts: Vec<String> = self.texts(column).into_iter().flatten().collect();
        texts.sort();
        texts
    }
}

#[async_trait(?Send)]
impl BatchSink for Rows {
    async fn batch(&mut self, batch: RecordBatch) -> Result<()> {
        self.batches.push(batch);
        Ok(())
    }

    async fn deletes(&mut self, _: RecordBatch) -> Result<()> {
        Err(Error::internal("no deletes expected"))
    }
}

/// Ports with TCP and a timer; the Postgres source uses nothing else.
pub fn ports() -> Ports {
    let absent = Rc::new(Absent);
    Ports {
        clock: Rc::new(SystemClock),
        random: absent.clone(),
        timer: absent.clone(),
        tcp: Rc::new(TokioTcp),
        http: absent.clone(),
        bindings: absent,
        faults: None,
    }
}

struct Absent;

struct SystemClock;

impl Clock for SystemClock {
    /// The machine's time: certificates are judged by it.
    #[allow(clippy::disallowed_methods)]
    fn now_micros(&self) -> i64 {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        i64::try_from(now.as_micros()).unwrap()
    }
}

impl Random for Absent {
    fn fill(&self, _: &mut [u8]) -> Result<()> {
        Err(Error::internal("no randomness here"))
    }
}

#[async_trait(?Send)]
impl Timer for Absent {
    async fn sleep_ms(&self, ms: u64) {
        tokio::time::sleep(std::time::Duration::from_millis(ms)).await;
    }
}

#[async_trait(?Send)]
impl Http for Absent {
    async fn send(&self, _: HttpRequest) -> Result<HttpResponse> {
        Err(Error::internal("no HTTP here"))
    }
}

impl Bindings for Absent {
    fn database(&self, _: &str) -> Result<Rc<dyn SqlDatabase>> {
        Err(Error::invalid("no bindings here"))
    }

    fn bucket(&self, _: &str) -> Result<Rc<dyn ObjectStore>> {
        Err(Error::invalid("no bindings here"))
    }

    fn hyperdrive(&self, _: &str) -> Result<Secret> {
        Err(Error::invalid("no bindings here"))
    }
}

/// The programs of the newest server installed, or those in `PG_BIN`.
fn binaries() -> PathBuf {
    if let Some(named) = std::env::var_os("PG_BIN") {
        return named.into();
    }
    let mut installed: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .map(|entries| entries.flatten().map(|entry| entry.path().join("bin")).collect())
        .unwrap_or_default();
    installed.sort_by_key(|path| {
        let version = path.parent().and_then(|path| path.file_name()).and_then(|name| name.to_str());
        version.and_then(|version| version.parse::<u32>().ok())
    });
    installed.pop().expect("PostgreSQL is not installed: apt-get install postgresql, or set PG_BIN")
}

/// initdb refuses to run as root.
fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().unwrap();
    id.stdout.trim_ascii() == b"0"
}

fn random_password() -> String {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).unwrap();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
