//! TLS of our own, for servers whose certificate no public authority vouches for.
//!
//! The runtime's TLS trusts public authorities and nobody else, and cannot be told otherwise. Most managed databases
//! (RDS, Cloud SQL, Supabase) show certificates of their provider's own authority. A certificate that a person approved is
//! verified here, in the module itself; all other connections use the runtime's TLS, which is native code.

mod provider;
mod trust;

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::pki_types::{ServerName, UnixTime};
use rustls::time_provider::TimeProvider;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use trust::Approvals;

use crate::core::certificate::Certificate;
use crate::core::{Error, Result};
use crate::ports::TcpStream;

/// Why there is no encrypted connection.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The server's certificate is none of the approved, nor signed by one.
    Distrusted {
        /// The server's own, in DER.
        shown: Vec<u8>,
        /// In what way it is not.
        reason: String,
    },
    /// Anything else: broken network, no version or cipher in common.
    Failed(io::Error),
}

/// Agrees on TLS with the server behind `stream`, which must show one of the `approved` or one that they signed.
///
/// # Errors
/// The [`Refusal`].
pub(crate) async fn handshake(
    stream: Box<dyn TcpStream>,
    host: &str,
    approved: &[Certificate],
    now_ms: i64,
) -> std::result::Result<Box<dyn TcpStream>, Refusal> {
    let failed = |error: rustls::Error| Refusal::Failed(io::Error::new(io::ErrorKind::InvalidData, error));
    let approvals = Arc::new(Approvals::of(approved));
    let now = UnixTime::since_unix_epoch(Duration::from_millis(u64::try_from(now_ms).unwrap_or(0)));
    let mut config = ClientConfig::builder_with_details(Arc::new(provider::provider()), Arc::new(At(now)))
        .with_safe_default_protocol_versions()
        .map_err(failed)?
        .dangerous()
        .with_custom_certificate_verifier(approvals.clone())
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    let name = ServerName::try_from(host.to_owned())
        .map_err(|error| Refusal::Failed(io::Error::new(io::ErrorKind::InvalidInput, error)))?;
    match TlsConnector::from(Arc::new(config)).connect(name, stream).await {
        Ok(stream) => Ok(Box::new(Secured(stream))),
        Err(error) => Err(match approvals.refused() {
            Some(shown) => Refusal::Distrusted { shown, reason: error.to_string() },
            None => Refusal::Failed(error),
        }),
    }
}

/// The time certificates are judged by: that of the connection's beginning.
#[derive(Debug)]
struct At(UnixTime);

impl TimeProvider for At {
    fn current_time(&self) -> Option<UnixTime> {
        Some(self.0)
    }
}

/// An encrypted connection.
struct Secured(TlsStream<Box<dyn TcpStream>>);

impl TcpStream for Secured {
    fn start_tls(self: Box<Self>) -> Result<Box<dyn TcpStream>> {
        Err(Error::internal("the connection is encrypted already"))
    }
}

impl AsyncRead for Secured {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Secured {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().0).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_shutdown(cx)
    }
}
