//! What certificate the server shows, and who vouches for it.

use std::pin::pin;

use futures::future::{Either, select};

use super::address::Address;
use super::config::{Config, SslMode};
use super::errors::unavailable;
use super::session::{Session, Step, dial};
use crate::connectors::tls::{self, Refusal};
use crate::connectors::{Presented, Trust};
use crate::core::certificate::Certificate;
use crate::core::{Error, ErrorKind, Result};
use crate::ports::{Ports, TlsMode};

/// Longest wait for the certificate.
const WAIT_MS: u64 = 20_000;

/// Looks at the certificate, and tries for whom connections accept it: public authorities, then those who approved.
///
/// # Errors
/// When the server cannot be reached, or shows none.
pub(super) async fn certificate(config: &Config, ports: &Ports) -> Result<Presented> {
    if config.address.sslmode == SslMode::Disable {
        return Ok(Presented::Nothing(
            "This connection speaks no TLS itself: sslmode is disable, or Hyperdrive does it, to which your own \
             authority can be uploaded",
        ));
    }
    // The platform verifies without showing, so the certificate is read from a handshake of ours that trusts nobody.
    let shown = match attempt(&config.address, &[], ports).await? {
        Err(Refusal::Distrusted { shown, .. }) => Certificate::from_der(shown)?,
        Err(Refusal::Failed(error)) => return Err(failed(&error)),
        Ok(()) => return Err(Error::internal("a certificate was trusted that nobody approved")),
    };
    let mut public = config.clone();
    public.address.sslmode = SslMode::Require;
    public.approved.clear();
    let trust = match Session::connect(&public, ports).await {
        Ok(session) => {
            session.close();
            Trust::Public
        }
        // The login failed behind the handshake.
        Err((Step::Login, _)) => Trust::Public,
        Err((Step::Host, error)) => return Err(error),
        Err((Step::Tls, _)) => match attempt(&config.address, &config.approved, ports).await? {
            Ok(()) => Trust::Approved,
            Err(Refusal::Distrusted { reason, .. }) => Trust::Nobody(reason),
            Err(Refusal::Failed(error)) => return Err(failed(&error)),
        },
    };
    Ok(Presented::Certificate(shown, trust))
}

/// A handshake of ours that trusts the approved alone.
async fn attempt(
    address: &Address,
    approved: &[Certificate],
    ports: &Ports,
) -> Result<std::result::Result<(), Refusal>> {
    let handshake = async {
        let (stream, ready) = dial(address, TlsMode::Off, ports).await.map_err(|(_, error)| error)?;
        if !ready {
            let message = "The server does not offer TLS, so it shows no certificate";
            return Err(Error::new(ErrorKind::SourceConfig, message)
                .field("config.sslmode")
                .remedy("Turn TLS on at the server"));
        }
        Ok(tls::handshake(stream, &address.host, approved, ports.clock.now_ms()).await.map(drop))
    };
    match select(pin!(handshake), ports.timer.sleep_ms(WAIT_MS)).await {
        Either::Left((outcome, _)) => outcome,
        Either::Right(((), _)) => Err(failed(&"it did not answer in 20 seconds")),
    }
}

fn failed(why: &dyn std::fmt::Display) -> Error {
    unavailable(format!("The server was asked for its certificate: {why}")).field("config.host")
}
