//! Where a chunk's time goes: waiting for the source, writing to the destination, and the CPU between them.
//!
//! Measured at the ports, so that no connector or destination knows of it. In production a Worker's clock stands still
//! between two I/O operations, so there the CPU shares read as zero and the waiting ones are exact.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::core::Result;
use crate::core::redact::Secret;
use crate::ports::{
    Bindings, Clock, ObjectInfo, ObjectStore, Ports, PutCondition, PutOutcome, QueryResult, SqlDatabase,
    Statement, Tcp, TcpStream, TlsMode, UploadedPart,
};

/// Sums of waiting, in microseconds.
pub(super) struct Meter {
    clock: Rc<dyn Clock>,
    source: Cell<i64>,
    destination: Cell<i64>,
}

impl Meter {
    pub(super) fn new(clock: Rc<dyn Clock>) -> Rc<Self> {
        Rc::new(Self { clock, source: Cell::new(0), destination: Cell::new(0) })
    }

    /// Time spent waiting for the source's bytes so far.
    pub(super) fn waited_for_source(&self) -> i64 {
        self.source.get()
    }

    /// Time spent waiting for the destination so far.
    pub(super) fn waited_for_destination(&self) -> i64 {
        self.destination.get()
    }

    /// The same ports, with their waiting measured. HTTP is left out: sources and destinations both use it.
    pub(super) fn ports(self: &Rc<Self>, ports: &Ports) -> Ports {
        Ports {
            tcp: Rc::new(MeteredTcp { inner: ports.tcp.clone(), meter: self.clone() }),
            bindings: Rc::new(MeteredBindings { inner: ports.bindings.clone(), meter: self.clone() }),
            ..ports.clone()
        }
    }

    fn add_source(&self, since: i64) {
        self.source
            .set(self.source.get().saturating_add(self.clock.now_micros().saturating_sub(since).max(0)));
    }

    async fn destination<T>(&self, work: impl Future<Output = T>) -> T {
        let since = self.clock.now_micros();
        let result = work.await;
        let spent = self.clock.now_micros().saturating_sub(since).max(0);
        self.destination.set(self.destination.get().saturating_add(spent));
        result
    }
}

struct MeteredTcp {
    inner: Rc<dyn Tcp>,
    meter: Rc<Meter>,
}

#[async_trait(?Send)]
impl Tcp for MeteredTcp {
    async fn connect(&self, host: &str, port: u16, tls: TlsMode) -> Result<Box<dyn TcpStream>> {
        let since = self.meter.clock.now_micros();
        let inner = self.inner.connect(host, port, tls).await?;
        self.meter.add_source(since);
        Ok(Box::new(MeteredStream { inner, meter: self.meter.clone(), waiting_since: None }))
    }
}

struct MeteredStream {
    inner: Box<dyn TcpStream>,
    meter: Rc<Meter>,
    waiting_since: Option<i64>,
}

impl TcpStream for MeteredStream {
    fn start_tls(self: Box<Self>) -> Result<Box<dyn TcpStream>> {
        let Self { inner, meter, .. } = *self;
        Ok(Box::new(Self { inner: inner.start_tls()?, meter, waiting_since: None }))
    }
}

impl AsyncRead for MeteredStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.inner).poll_read(context, buffer);
        if polled.is_pending() && self.waiting_since.is_none() {
            self.waiting_since = Some(self.meter.clock.now_micros());
        }
        let result = ready!(polled);
        if let Some(since) = self.waiting_since.take() {
            self.meter.add_source(since);
        }
        Poll::Ready(result)
    }
}

impl AsyncWrite for MeteredStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

struct MeteredBindings {
    inner: Rc<dyn Bindings>,
    meter: Rc<Meter>,
}

impl Bindings for MeteredBindings {
    fn database(&self, binding: &str) -> Result<Rc<dyn SqlDatabase>> {
        Ok(Rc::new(Metered { inner: self.inner.database(binding)?, meter: self.meter.clone() }))
    }

    fn bucket(&self, binding: &str) -> Result<Rc<dyn ObjectStore>> {
        Ok(Rc::new(Metered { inner: self.inner.bucket(binding)?, meter: self.meter.clone() }))
    }

    fn hyperdrive(&self, binding: &str) -> Result<Secret> {
        self.inner.hyperdrive(binding)
    }
}

struct Metered<T: ?Sized> {
    inner: Rc<T>,
    meter: Rc<Meter>,
}

#[async_trait(?Send)]
impl SqlDatabase for Metered<dyn SqlDatabase> {
    async fn batch(&self, statements: Vec<Statement>) -> Result<Vec<QueryResult>> {
        self.meter.destination(self.inner.batch(statements)).await
    }
}

#[async_trait(?Send)]
impl ObjectStore for Metered<dyn ObjectStore> {
    async fn put(
        &self,
        key: &str,
        body: Bytes,
        content_type: &str,
        condition: PutCondition,
    ) -> Result<PutOutcome> {
        self.meter.destination(self.inner.put(key, body, content_type, condition)).await
    }

    async fn get(&self, key: &str) -> Result<Option<(Bytes, String)>> {
        self.meter.destination(self.inner.get(key)).await
    }

    async fn get_range(&self, key: &str, offset: u64, length: u64) -> Result<Option<Bytes>> {
        self.meter.destination(self.inner.get_range(key, offset, length)).await
    }

    async fn head(&self, key: &str) -> Result<Option<ObjectInfo>> {
        self.meter.destination(self.inner.head(key)).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>> {
        self.meter.destination(self.inner.list(prefix)).await
    }

    async fn delete(&self, keys: &[String]) -> Result<()> {
        self.meter.destination(self.inner.delete(keys)).await
    }

    async fn multipart_begin(&self, key: &str, content_type: &str) -> Result<String> {
        self.meter.destination(self.inner.multipart_begin(key, content_type)).await
    }

    async fn multipart_part(
        &self,
        key: &str,
        upload: &str,
        number: u16,
        body: Bytes,
    ) -> Result<UploadedPart> {
        self.meter.destination(self.inner.multipart_part(key, upload, number, body)).await
    }

    async fn multipart_complete(&self, key: &str, upload: &str, parts: Vec<UploadedPart>) -> Result<String> {
        self.meter.destination(self.inner.multipart_complete(key, upload, parts)).await
    }

    async fn multipart_abort(&self, key: &str, upload: &str) -> Result<()> {
        self.meter.destination(self.inner.multipart_abort(key, upload)).await
    }
}
