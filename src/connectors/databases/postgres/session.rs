//! One connection to the server, driven by whoever uses it.
//!
//! tokio-postgres splits a connection into a client and a future that moves the bytes, which is usually spawned. Here
//! the session owns both and polls the future while it waits: an error of the connection surfaces where it matters, and
//! nothing can outlive the invocation that opened it (on Workers, sockets may not).

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use futures::future::{Either, select};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_postgres::tls::NoTlsStream;
use tokio_postgres::{Client, Connection, CopyOutStream, NoTls, SimpleQueryMessage};

use super::address::Address;
use super::config::{Config, SslMode};
use super::errors::{REACH, chain, is_network, translate, unavailable};
use super::patience::Patience;
use super::sql;
use super::wire::{WireNotes, WireStream};
use crate::connectors::tls::{self, Refusal};
use crate::core::certificate::Certificate;
use crate::core::{Error, ErrorKind, Result};
use crate::ports::{Ports, TcpStream, TlsMode};

/// Longest wait for TCP, TLS and login together.
const CONNECT_MS: u64 = 20_000;

/// `SSLRequest`: length 8, code 80877103 (PostgreSQL manual, message formats).
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// How far connecting came when it failed: the setup tests report each step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    /// TCP.
    Host,
    /// TLS.
    Tls,
    /// Login and choice of the database.
    Login,
}

/// What moves the bytes, and why it stopped. A server that ends a session says why and hangs up: its words, and the rows
/// before them, are still on their way to the operation when the end is noticed, and are worth more than "closed".
struct Link {
    connection: Pin<Box<Connection<WireStream, NoTlsStream>>>,
    failed: Option<tokio_postgres::Error>,
}

/// An open connection.
pub(super) struct Session {
    client: Client,
    link: Link,
    notes: Rc<WireNotes>,
    /// Major version of the server.
    pub(super) major_version: u32,
    /// The server's own version text.
    pub(super) version: String,
    /// True when the bytes travel encrypted.
    pub(super) encrypted: bool,
    /// What opens a transaction: see [`sql::begin`].
    pub(super) begin: String,
}

impl Session {
    /// Connects and logs in.
    ///
    /// # Errors
    /// The step that failed, and an error that names the field at fault.
    pub(super) async fn connect(config: &Config, ports: &Ports) -> std::result::Result<Self, (Step, Error)> {
        let attempt = pin!(Self::attempt(config, ports));
        match select(attempt, ports.timer.sleep_ms(CONNECT_MS)).await {
            Either::Left((outcome, _)) => outcome,
            Either::Right(((), _)) => {
                let message =
                    format!("{} did not answer within {} s", config.address.host, CONNECT_MS / 1000);
                Err((Step::Host, unavailable(message).field("config.host")))
            }
        }
    }

    async fn attempt(
        Config { address, query_timeout_seconds, approved, .. }: &Config,
        ports: &Ports,
    ) -> std::result::Result<Self, (Step, Error)> {
        let Opened { stream, encrypted, handshaking } = open(address, approved, ports).await?;
        let notes = Rc::new(WireNotes::default());
        let patience = Patience::new(ports.timer.clone(), *query_timeout_seconds);
        let wire = WireStream::new(stream, notes.clone(), patience);
        let mut config = tokio_postgres::Config::new();
        config.user(&address.user).dbname(&address.database).application_name("fivetran.do");
        // An empty password is none: servers that trust the network ask for none.
        if !address.password.is_empty() {
            config.password(address.password.expose());
        }
        if let Some(options) = &address.options {
            config.options(options);
        }
        // TLS, if any, is already under `wire`.
        config.ssl_mode(tokio_postgres::config::SslMode::Disable);
        let (client, connection) = config.connect_raw(wire, NoTls).await.map_err(|error| {
            if handshaking && !notes.heard.get() && error.as_db_error().is_none() {
                (Step::Tls, handshake_failed(&error))
            } else {
                (Step::Login, login_failed(error, address))
            }
        })?;
        let version = connection.parameter("server_version").unwrap_or_default().to_owned();
        let major_version = version.split(|c: char| !c.is_ascii_digit()).next().and_then(|n| n.parse().ok());
        Ok(Self {
            client,
            link: Link { connection: Box::pin(connection), failed: None },
            notes,
            major_version: major_version.unwrap_or(0),
            version,
            encrypted,
            begin: sql::begin(*query_timeout_seconds),
        })
    }

    /// Runs statements through the simple protocol and returns the first column of every row, as text. No prepared
    /// statement is involved, so this works behind any pooler.
    ///
    /// # Errors
    /// The server's, translated; `during` says what for.
    pub(super) async fn query(&mut self, sql: &str, during: &str) -> Result<Vec<String>> {
        let messages = self.drive(|client| Box::pin(client.simple_query(sql))).await;
        let messages = messages.map_err(|error| translate(error, during))?;
        Ok(messages
            .into_iter()
            .filter_map(|message| match message {
                SimpleQueryMessage::Row(row) => {
                    Some(row.try_get(0).ok().flatten().unwrap_or_default().to_owned())
                }
                _ => None,
            })
            .collect())
    }

    /// Begins a `COPY ... TO STDOUT`.
    ///
    /// # Errors
    /// tokio-postgres' own: the caller knows what the columns are called.
    pub(super) async fn copy_out(
        &mut self,
        sql: &str,
    ) -> Result<Pin<Box<CopyOutStream>>, tokio_postgres::Error> {
        self.notes.begin_copy();
        self.drive(|client| Box::pin(client.copy_out(sql))).await.map(Box::pin)
    }

    /// Rows of the last completed COPY as the server counted them. Known once a later statement was answered.
    pub(super) fn copied(&self) -> Option<u64> {
        self.notes.copied.get()
    }

    /// What the wire has seen, for the reader of a COPY to note what it took.
    pub(super) fn notes(&self) -> Rc<WireNotes> {
        Rc::clone(&self.notes)
    }

    /// True when the connection is beyond use.
    pub(super) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// Says goodbye, if the socket takes it at once, so that the server's log has no "unexpected EOF". Only for a session
    /// between two uses: in the middle of one, dropping it is what stops the server.
    pub(super) fn close(self) {
        let Self { client, mut link, .. } = self;
        drop(client);
        let _ = link.connection.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    }

    /// Awaits an operation of the client.
    async fn drive<'a, T, F>(&'a mut self, start: F) -> Result<T, tokio_postgres::Error>
    where
        F: FnOnce(&'a Client) -> Pin<Box<dyn Future<Output = Result<T, tokio_postgres::Error>> + 'a>>,
    {
        let Self { client, link, notes, .. } = self;
        let mut operation = start(client);
        poll_fn(move |cx| poll_with(link, notes, cx, |cx| operation.as_mut().poll(cx))).await
    }

    /// Polls `operation`, moving bytes between server and client until it is ready or the network is the one to wait
    /// for.
    pub(super) fn poll<T>(
        &mut self,
        cx: &mut Context<'_>,
        operation: impl FnMut(&mut Context<'_>) -> Poll<Result<T, tokio_postgres::Error>>,
    ) -> Poll<Result<T, tokio_postgres::Error>> {
        poll_with(&mut self.link, &self.notes, cx, operation)
    }
}

fn poll_with<T>(
    link: &mut Link,
    notes: &WireNotes,
    cx: &mut Context<'_>,
    mut operation: impl FnMut(&mut Context<'_>) -> Poll<Result<T, tokio_postgres::Error>>,
) -> Poll<Result<T, tokio_postgres::Error>> {
    if let Poll::Ready(outcome) = operation(cx) {
        return Poll::Ready(outcome);
    }
    loop {
        if link.failed.is_none()
            && let Poll::Ready(Err(error)) = link.connection.as_mut().poll(cx)
        {
            link.failed = Some(error);
        }
        // Polling the operation again here, and not only when the executor wakes us, saves a turn of the event loop per
        // 8 KiB. A closed connection has closed the operation's channel as well, so it resolves.
        if let Poll::Ready(outcome) = operation(cx) {
            return Poll::Ready(outcome);
        }
        if let Some(error) = link.failed.take() {
            return Poll::Ready(Err(error));
        }
        if !notes.was_stalled() {
            return Poll::Pending;
        }
    }
}

/// An open connection, before the login.
struct Opened {
    stream: Box<dyn TcpStream>,
    encrypted: bool,
    /// The platform's handshake shows its failure only on the first read.
    handshaking: bool,
}

/// Opens TCP and, as `sslmode` says, TLS. tokio-postgres could negotiate as well, but hides the outcome and reads ahead
/// of the handshake.
async fn open(
    address: &Address,
    approved: &[Certificate],
    ports: &Ports,
) -> std::result::Result<Opened, (Step, Error)> {
    let clear = |stream| Opened { stream, encrypted: false, handshaking: false };
    if address.sslmode == SslMode::Disable {
        let stream = ports.tcp.connect(&address.host, address.port, TlsMode::Off).await;
        return Ok(clear(stream.map_err(|error| (Step::Host, at_host(error, address)))?));
    }
    if !approved.is_empty() {
        let (stream, ready) = dial(address, TlsMode::Off, ports).await?;
        if !ready {
            return Ok(clear(stream));
        }
        match tls::handshake(stream, &address.host, approved, ports.clock.now_ms()).await {
            Ok(stream) => return Ok(Opened { stream, encrypted: true, handshaking: false }),
            // The server may have got a certificate of a public authority since, which needs no approval.
            Err(Refusal::Distrusted { .. }) => {}
            Err(Refusal::Failed(error)) => return Err((Step::Tls, handshake_broken(&error))),
        }
    }
    let (stream, ready) = dial(address, TlsMode::StartTls, ports).await?;
    if !ready {
        return Ok(clear(stream));
    }
    let stream = stream.start_tls().map_err(|error| (Step::Tls, handshake_failed(&error)))?;
    Ok(Opened { stream, encrypted: true, handshaking: true })
}

/// Opens TCP and asks for TLS. Gives the stream, and whether the server is ready for the handshake; if not, `sslmode` allows
/// going on in clear.
pub(super) async fn dial(
    address: &Address,
    mode: TlsMode,
    ports: &Ports,
) -> std::result::Result<(Box<dyn TcpStream>, bool), (Step, Error)> {
    let stream = ports.tcp.connect(&address.host, address.port, mode).await;
    let mut stream = stream.map_err(|error| (Step::Host, at_host(error, address)))?;
    let dropped = |error: std::io::Error| {
        let message = format!("The server dropped the connection when asked for TLS: {error}");
        (Step::Tls, unavailable(message).field("config.host"))
    };
    stream.write_all(&SSL_REQUEST).await.map_err(dropped)?;
    stream.flush().await.map_err(dropped)?;
    // Exactly one byte is read: anything already behind it was not encrypted and would be somebody else's, so it must
    // reach the handshake, which it breaks, and not our buffer (CVE-2021-23222).
    match stream.read_u8().await.map_err(dropped)? {
        b'S' => Ok((stream, true)),
        b'N' if address.sslmode.required() => {
            let error =
                Error::new(ErrorKind::SourceConfig, "The server does not offer TLS, but sslmode requires it");
            let remedy =
                "Turn TLS on at the server, or set sslmode to disable if the network in between is trusted";
            Err((Step::Tls, error.field("config.sslmode").remedy(remedy)))
        }
        b'N' => Ok((stream, false)),
        _ => {
            let message =
                format!("{} does not speak the PostgreSQL protocol on port {}", address.host, address.port);
            let error = Error::new(ErrorKind::SourceConfig, message);
            Err((Step::Tls, error.field("config.port").remedy("Correct host and port")))
        }
    }
}

/// Whether the two sides came to no agreement, which trying again does not change, or to no end.
fn handshake_broken(error: &std::io::Error) -> Error {
    if error.kind() == std::io::ErrorKind::InvalidData {
        return handshake_failed(error);
    }
    unavailable(format!("The connection broke during the TLS handshake: {error}")).field("config.host")
}

fn handshake_failed(cause: &dyn std::fmt::Display) -> Error {
    Error::new(ErrorKind::SourceConfig, format!("The TLS handshake with the server failed: {cause}"))
        .field("config.sslmode")
        .remedy(
            "The certificate must come from a public authority and carry the host's name, or be approved for the connection \
             (trust_certificates, or POST /v1/connections/{id}/certificates); without TLS set sslmode to disable",
        )
}

/// Adds to the port's error what the user wrote.
fn at_host(error: Error, address: &Address) -> Error {
    let field = error.field_name().unwrap_or("config.host").to_owned();
    let remedy = error.remedy_text().unwrap_or(REACH).to_owned();
    let message = format!("Cannot connect to {} port {}: {}", address.host, address.port, error.message());
    Error::new(error.kind(), message).field(field).remedy(remedy)
}

/// tokio-postgres reports a missing password as a configuration error of its own.
fn login_failed(error: tokio_postgres::Error, address: &Address) -> Error {
    if address.password.is_empty() && error.as_db_error().is_none() && !error.is_closed() {
        return Error::new(ErrorKind::SourceAuth, "The server asks for a password and none is configured")
            .field("config.password")
            .remedy("Fill it in");
    }
    if error.as_db_error().is_none() && !error.is_closed() && !is_network(&error) {
        // What is left: authentication methods we do not speak, and answers that make no sense.
        let message = format!("The server's answer was not usable while logging in: {}", chain(&error));
        return Error::new(ErrorKind::SourceConfig, message).remedy(
            "Check that host and port belong to a PostgreSQL server that accepts password authentication (SCRAM, MD5)",
        );
    }
    translate(error, "logging in")
}
