//! [`Tcp`] on tokio. TLS is the platform's business: natively it is an error.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use async_trait::async_trait;
use fivetran_do::core::{Error, ErrorKind, Result};
use fivetran_do::ports::{Tcp, TcpStream, TlsMode};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Outgoing TCP of this machine.
pub struct TokioTcp;

struct Stream(tokio::net::TcpStream);

#[async_trait(?Send)]
impl Tcp for TokioTcp {
    async fn connect(&self, host: &str, port: u16, _: TlsMode) -> Result<Box<dyn TcpStream>> {
        let mut addresses = tokio::net::lookup_host((host, port))
            .await
            .map_err(|error| Error::new(ErrorKind::SourceConfig, format!("unknown host ({error})")))?;
        let address =
            addresses.next().ok_or_else(|| Error::new(ErrorKind::SourceConfig, "the host has no address"))?;
        let stream = tokio::net::TcpStream::connect(address)
            .await
            .map_err(|error| Error::new(ErrorKind::SourceUnavailable, error.to_string()))?;
        stream.set_nodelay(true).map_err(|error| Error::internal(error.to_string()))?;
        Ok(Box::new(Stream(stream)))
    }
}

impl TcpStream for Stream {
    fn start_tls(self: Box<Self>) -> Result<Box<dyn TcpStream>> {
        Err(Error::new(ErrorKind::SourceConfig, "no TLS in native tests"))
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
