//! Outgoing TCP through `cloudflare:sockets`.
//!
//! Not `worker::Socket`: it reads through a default reader, which workerd serves in pieces of a few KiB, and takes
//! and releases that reader for each. Here one BYOB reader lives as long as the stream and is lent the same
//! `ArrayBuffer` again and again, so a read returns all the kernel has, up to [`READ_BYTES`], and the bytes are
//! copied once on their way into WASM memory.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_trait::async_trait;
use futures::future::{Either, select};
use js_sys::{Object, Promise, Reflect, Uint8Array};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast, JsValue};
use worker::Delay;
use worker::wasm_bindgen_futures::{JsFuture, spawn_local};
use worker::web_sys::WritableStreamDefaultWriter;
use worker::worker_sys;

use super::border;
use crate::core::{Error, ErrorKind, Result};
use crate::ports::{Tcp, TcpStream, TlsMode};

/// Most bytes taken from the kernel by one read.
const READ_BYTES: u32 = 256 * 1024;

/// How long a connection may take to open, in milliseconds.
const CONNECT_TIMEOUT_MS: u64 = 20_000;

#[wasm_bindgen]
extern "C" {
    type ByteStream;
    #[wasm_bindgen(method, catch, js_name = getReader)]
    fn get_reader(this: &ByteStream, options: &JsValue) -> Result<ByobReader, JsValue>;

    type ByobReader;
    #[wasm_bindgen(method, catch)]
    fn read(this: &ByobReader, view: &Uint8Array) -> Result<Promise, JsValue>;
    #[wasm_bindgen(method, catch, js_name = releaseLock)]
    fn release_lock(this: &ByobReader) -> Result<(), JsValue>;

    type ReadResult;
    #[wasm_bindgen(method, getter)]
    fn value(this: &ReadResult) -> Option<Uint8Array>;
}

/// TCP of the Workers runtime.
pub struct WorkerTcp;

#[async_trait(?Send)]
impl Tcp for WorkerTcp {
    async fn connect(&self, host: &str, port: u16, tls: TlsMode) -> Result<Box<dyn TcpStream>> {
        let peer = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        let socket = open(&peer, host, port, tls).map_err(|thrown| refusal(&peer, &border::text(&thrown)))?;
        let opened = socket.opened().map_err(|thrown| refusal(&peer, &border::text(&thrown)))?;
        let limit = Delay::from(Duration::from_millis(CONNECT_TIMEOUT_MS));
        match select(JsFuture::from(opened), limit).await {
            Either::Left((Ok(_), _)) => {}
            Either::Left((Err(thrown), _)) => return Err(refusal(&peer, &border::text(&thrown))),
            Either::Right(_) => {
                settle(socket.close());
                return Err(refusal(&peer, "no answer in 20 seconds"));
            }
        }
        let stream = SocketStream::new(socket, peer.clone(), tls)
            .map_err(|thrown| refusal(&peer, &border::text(&thrown)))?;
        Ok(Box::new(stream))
    }
}

fn open(peer: &str, host: &str, port: u16, tls: TlsMode) -> Result<worker_sys::Socket, JsValue> {
    let address = Object::new();
    let hostname =
        if host.contains(':') { peer.rsplit_once(':').map_or(host, |(name, _)| name) } else { host };
    Reflect::set(&address, &"hostname".into(), &hostname.into())?;
    Reflect::set(&address, &"port".into(), &port.into())?;
    let options = Object::new();
    let transport = match tls {
        TlsMode::Off => "off",
        TlsMode::StartTls => "starttls",
    };
    Reflect::set(&options, &"secureTransport".into(), &transport.into())?;
    Reflect::set(&options, &"allowHalfOpen".into(), &JsValue::FALSE)?;
    worker_sys::connect(address.into(), options.into())
}

/// The runtime does not tell an unknown host from a closed port, so neither can we: both are retried.
fn refusal(peer: &str, words: &str) -> Error {
    if words.contains("prohibited") || words.contains("not permitted") {
        return Error::new(ErrorKind::SourceConfig, format!("Workers may not connect to {peer}: {words}"))
            .remedy("Use another port, or reach the server through a Hyperdrive binding");
    }
    Error::new(ErrorKind::SourceUnavailable, format!("Cannot connect to {peer}: {words}"))
        .remedy("Check the spelling of the host, the port, and that the firewall admits Cloudflare")
}

/// Lets a promise end unobserved: a rejection that nobody awaits would be reported as an error of the Worker.
fn settle(promise: std::result::Result<Promise, JsValue>) {
    if let Ok(promise) = promise {
        spawn_local(async move {
            let _ = JsFuture::from(promise).await;
        });
    }
}

/// An open connection.
struct SocketStream {
    socket: worker_sys::Socket,
    peer: String,
    tls: TlsMode,
    reader: ByobReader,
    /// The buffer lent to the reader; `None` while it is lent.
    buffer: Option<Uint8Array>,
    reading: Option<JsFuture>,
    /// What was read and not yet taken: `staged[taken..filled]`.
    staged: Vec<u8>,
    taken: usize,
    filled: usize,
    writer: WritableStreamDefaultWriter,
    writing: Option<JsFuture>,
    closing: Option<JsFuture>,
    /// Whether dropping must close the socket; false once it was handed over to TLS.
    owns: bool,
    /// TLS was asked for and no byte has arrived yet: what fails now is most likely the handshake.
    handshaking: bool,
}

impl SocketStream {
    fn new(socket: worker_sys::Socket, peer: String, tls: TlsMode) -> Result<Self, JsValue> {
        let options = Object::new();
        Reflect::set(&options, &"mode".into(), &"byob".into())?;
        let reader = socket.readable()?.unchecked_into::<ByteStream>().get_reader(&options)?;
        let writer = socket.writable()?.get_writer()?;
        settle(socket.closed());
        Ok(Self {
            socket,
            peer,
            tls,
            reader,
            buffer: Some(Uint8Array::new_with_length(READ_BYTES)),
            reading: None,
            staged: Vec::new(),
            taken: 0,
            filled: 0,
            writer,
            writing: None,
            closing: None,
            owns: true,
            handshaking: false,
        })
    }

    /// A failed handshake is [`io::ErrorKind::InvalidData`], a lost connection [`io::ErrorKind::ConnectionReset`]. The
    /// runtime's own words for the former are an internal reference number.
    fn broken(&self, thrown: &JsValue) -> io::Error {
        let (peer, words) = (&self.peer, border::text(thrown));
        if self.handshaking {
            let why = "the certificate must come from a public authority and name the host";
            return io::Error::new(
                io::ErrorKind::InvalidData,
                format!("TLS with {peer} failed: {why} ({words})"),
            );
        }
        io::Error::new(io::ErrorKind::ConnectionReset, format!("the connection to {peer} broke: {words}"))
    }

    /// Hands staged bytes out; false when there are none.
    fn take_staged(&mut self, buf: &mut ReadBuf<'_>) -> bool {
        let end = self.filled.min(self.taken.saturating_add(buf.remaining()));
        match self.staged.get(self.taken..end) {
            Some(bytes) if !bytes.is_empty() => {
                buf.put_slice(bytes);
                self.taken = end;
                true
            }
            _ => false,
        }
    }

    /// Copies what arrived into the caller's buffer if it fits, else into the staging buffer; zero bytes is the end.
    fn accept(&mut self, arrived: &Uint8Array, buf: &mut ReadBuf<'_>) {
        let length = arrived.length() as usize;
        if length <= buf.remaining() {
            arrived.copy_to(buf.initialize_unfilled_to(length));
            buf.advance(length);
            return;
        }
        if self.staged.len() < length {
            self.staged.resize(length, 0);
        }
        if let Some(room) = self.staged.get_mut(..length) {
            arrived.copy_to(room);
        }
        self.taken = 0;
        self.filled = length;
        self.take_staged(buf);
    }

    fn poll_written(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(writing) = self.writing.as_mut() else { return Poll::Ready(Ok(())) };
        let outcome = ready!(Pin::new(writing).poll(cx));
        self.writing = None;
        Poll::Ready(outcome.map(drop).map_err(|thrown| self.broken(&thrown)))
    }
}

impl AsyncRead for SocketStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if buf.remaining() == 0 || this.take_staged(buf) {
            return Poll::Ready(Ok(()));
        }
        let mut reading = match this.reading.take() {
            Some(reading) => reading,
            None => {
                let room = this.buffer.take().unwrap_or_else(|| Uint8Array::new_with_length(READ_BYTES));
                JsFuture::from(this.reader.read(&room).map_err(|thrown| this.broken(&thrown))?)
            }
        };
        let Poll::Ready(outcome) = Pin::new(&mut reading).poll(cx) else {
            this.reading = Some(reading);
            return Poll::Pending;
        };
        let result = outcome.map_err(|thrown| this.broken(&thrown))?;
        if let Some(arrived) = result.unchecked_ref::<ReadResult>().value() {
            this.handshaking = false;
            this.accept(&arrived, buf);
            // The lent buffer comes back inside the view; lend it again instead of allocating one per read.
            this.buffer = Some(Uint8Array::new(&arrived.buffer()));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for SocketStream {
    /// Accepts the bytes as soon as the previous write is through, so that a burst of small messages does not wait a
    /// turn of the event loop for each; a failure shows on the next write or flush.
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_written(cx))?;
        this.writing = Some(JsFuture::from(this.writer.write_with_chunk(&border::bytes(buf))));
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_written(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_written(cx))?;
        let closing = this.closing.get_or_insert_with(|| JsFuture::from(this.writer.close()));
        let outcome = ready!(Pin::new(closing).poll(cx));
        Poll::Ready(outcome.map(drop).map_err(|thrown| this.broken(&thrown)))
    }
}

impl TcpStream for SocketStream {
    fn start_tls(mut self: Box<Self>) -> Result<Box<dyn TcpStream>> {
        if self.tls != TlsMode::StartTls {
            return Err(Error::internal(format!("The connection to {} was opened without TLS", self.peer)));
        }
        if self.taken < self.filled {
            // Plain bytes behind the server's consent would be read as if they had come encrypted (CVE-2021-23222).
            return Err(Error::new(
                ErrorKind::SourceConfig,
                format!("{} sent unencrypted data while TLS was being agreed on", self.peer),
            ));
        }
        let failed = |thrown: JsValue| {
            Error::new(
                ErrorKind::SourceConfig,
                format!("TLS with {} failed: {}", self.peer, border::text(&thrown)),
            )
        };
        self.reader.release_lock().map_err(failed)?;
        self.writer.release_lock();
        let secure = self.socket.start_tls().map_err(failed)?;
        let mut stream = Self::new(secure, self.peer.clone(), TlsMode::Off).map_err(failed)?;
        stream.handshaking = true;
        self.owns = false;
        Ok(Box::new(stream))
    }
}

impl Drop for SocketStream {
    fn drop(&mut self) {
        if self.owns {
            settle(self.socket.close());
        }
    }
}
