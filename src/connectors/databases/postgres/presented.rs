//! What certificate the server shows, read from the first flight of a handshake that is never finished.
//!
//! The platform's TLS verifies the certificate and does not show it. But up to TLS 1.2 a server sends it in clear, before
//! any key is agreed on: asking for 1.2, reading that far and hanging up takes no cryptography. That tells which
//! certificate there is; whether to trust it is asked of the platform, by a real login.

use std::pin::pin;

use futures::future::{Either, select};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::address::Address;
use super::config::{Config, SslMode};
use super::errors::unavailable;
use super::session::{SSL_REQUEST, Session, Step};
use crate::connectors::Presented;
use crate::core::{Error, ErrorKind, Result};
use crate::ports::{Ports, TcpStream, TlsMode};

/// Longest wait for the certificate.
const WAIT_MS: u64 = 20_000;

/// Longest first flight that is read: chains are a few KiB.
const FLIGHT_BYTES: usize = 64 * 1024;

const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const CERTIFICATE: u8 = 11;
const SERVER_HELLO_DONE: u8 = 14;

/// What certificate the server shows, and whether the platform trusts it.
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
    let der = match select(pin!(shown(&config.address, ports)), ports.timer.sleep_ms(WAIT_MS)).await {
        Either::Left((shown, _)) => shown?,
        Either::Right(((), _)) => return Err(broken("it did not answer in 20 seconds")),
    };
    let mut strict = config.clone();
    strict.address.sslmode = SslMode::Require;
    let distrust = match Session::connect(&strict, ports).await {
        Ok(session) => {
            session.close();
            None
        }
        // The login failed behind the handshake.
        Err((Step::Login, _)) => None,
        Err((Step::Tls, error)) => Some(error),
        Err((Step::Host, error)) => return Err(error),
    };
    Ok(Presented::Certificate { der, distrust })
}

async fn shown(address: &Address, ports: &Ports) -> Result<Vec<u8>> {
    let mut stream = ports.tcp.connect(&address.host, address.port, TlsMode::Off).await?;
    let io = |error: std::io::Error| broken(&error.to_string());
    stream.write_all(&SSL_REQUEST).await.map_err(io)?;
    stream.flush().await.map_err(io)?;
    if stream.read_u8().await.map_err(io)? != b'S' {
        return Err(Error::new(
            ErrorKind::SourceConfig,
            "The server does not offer TLS, so it shows no certificate",
        )
        .field("config.sslmode")
        .remedy("Turn TLS on at the server"));
    }
    stream.write_all(&client_hello(&address.host)).await.map_err(io)?;
    stream.flush().await.map_err(io)?;
    first_certificate(stream.as_mut()).await
}

fn broken(why: &str) -> Error {
    unavailable(format!("The server was asked for its certificate: {why}")).field("config.host")
}

/// Reads records until the `Certificate` message is whole, and gives the first of its chain: the server's own.
async fn first_certificate(stream: &mut dyn TcpStream) -> Result<Vec<u8>> {
    let io = |error: std::io::Error| broken(&error.to_string());
    let mut flight = Vec::new();
    while flight.len() < FLIGHT_BYTES {
        let mut header = [0; 5];
        stream.read_exact(&mut header).await.map_err(io)?;
        let [kind, _, _, high, low] = header;
        let mut record = vec![0; usize::from(u16::from_be_bytes([high, low]))];
        stream.read_exact(&mut record).await.map_err(io)?;
        match kind {
            HANDSHAKE => flight.extend_from_slice(&record),
            ALERT => {
                let message = "The server refuses TLS 1.2, and newer versions encrypt the certificate, so it cannot \
                               be looked at";
                return Err(Error::new(ErrorKind::SourceConfig, message).field("config.host"));
            }
            _ => return Err(broken("its answer is not TLS")),
        }
        match leaf(&flight) {
            Leaf::Found(der) => return Ok(der),
            Leaf::None => return Err(broken("it shows none")),
            Leaf::NotYet => {}
        }
    }
    Err(broken("its answer does not end"))
}

/// What the messages so far say of the server's certificate.
#[derive(Debug, PartialEq, Eq)]
enum Leaf {
    Found(Vec<u8>),
    NotYet,
    None,
}

fn leaf(flight: &[u8]) -> Leaf {
    let mut rest = flight;
    while let Some(([kind, length @ ..], after)) = rest.split_first_chunk::<4>() {
        let Some((message, after)) = after.split_at_checked(number(*length)) else { return Leaf::NotYet };
        match *kind {
            CERTIFICATE => return first_of_chain(message).map_or(Leaf::None, Leaf::Found),
            SERVER_HELLO_DONE => return Leaf::None,
            _ => rest = after,
        }
    }
    Leaf::NotYet
}

/// The length of the chain, then each certificate behind its own length.
fn first_of_chain(message: &[u8]) -> Option<Vec<u8>> {
    let (_, chain) = message.split_first_chunk::<3>()?;
    let (length, chain) = chain.split_first_chunk::<3>()?;
    Some(chain.split_at_checked(number(*length))?.0.to_vec()).filter(|der| !der.is_empty())
}

fn number([high, middle, low]: [u8; 3]) -> usize {
    usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low)
}

/// A `ClientHello` of TLS 1.2 (RFC 5246, 7.4.1.2) with the suites and curves that servers of the last ten years choose
/// from. Its random number is a constant: no key will ever depend on it.
fn client_hello(host: &str) -> Vec<u8> {
    const SUITES: [u16; 14] = [
        0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc009, 0xc013, 0xc00a, 0xc014, 0x009c, 0x009d,
        0x002f, 0x0035,
    ];
    const CURVES: [u16; 4] = [29, 23, 24, 25];
    const SIGNATURES: [u16; 10] =
        [0x0403, 0x0503, 0x0603, 0x0804, 0x0805, 0x0806, 0x0401, 0x0501, 0x0601, 0x0201];
    let mut extensions = [
        extension(10, &sized(&words(&CURVES))),
        // Points are not compressed.
        extension(11, &[1, 0]),
        extension(13, &sized(&words(&SIGNATURES))),
    ]
    .concat();
    if host.parse::<std::net::IpAddr>().is_err() {
        let name = [&[0], sized(host.as_bytes()).as_slice()].concat();
        extensions.extend(extension(0, &sized(&name)));
    }
    // Version, random number, no session, suites, no compression, extensions.
    let body =
        [&[3, 3][..], &[0x46; 32], &[0], &sized(&words(&SUITES)), &[1, 0], &sized(&extensions)].concat();
    let message = [&[1, 0][..], &sized(&body)].concat();
    [&[HANDSHAKE, 3, 1][..], &sized(&message)].concat()
}

fn extension(kind: u16, content: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &sized(content)].concat()
}

fn words(words: &[u16]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}

/// Behind its length, in two bytes. Nothing here comes near 64 KiB: a host name has 253 letters at most.
fn sized(content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap_or(u16::MAX);
    [&length.to_be_bytes()[..], content].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u8, content: &[u8]) -> Vec<u8> {
        [&[kind, 0], sized(content).as_slice()].concat()
    }

    #[test]
    fn the_servers_own_certificate_is_the_first_of_the_chain() {
        let one = |der: &[u8]| [&[0], sized(der).as_slice()].concat();
        let chain = [one(b"leaf"), one(b"authority")].concat();
        let flight = [message(2, b"hello"), message(CERTIFICATE, &one(&chain))].concat();
        assert_eq!(leaf(&flight), Leaf::Found(b"leaf".to_vec()));
        for end in 0..flight.len() {
            assert_eq!(leaf(&flight[..end]), Leaf::NotYet, "cut at {end}");
        }
    }

    #[test]
    fn a_server_without_a_certificate_shows_none() {
        assert_eq!(leaf(&[message(2, b"hello"), message(SERVER_HELLO_DONE, b"")].concat()), Leaf::None);
        assert_eq!(leaf(&message(CERTIFICATE, &[0, 0, 0])), Leaf::None);
        assert_eq!(leaf(&message(CERTIFICATE, &[0, 0, 9, 0, 0, 9, 1])), Leaf::None);
    }
}
