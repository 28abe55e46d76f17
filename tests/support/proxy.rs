//! A TCP proxy in front of PostgreSQL that does to the answers of the server what networks, poolers and dying servers do.
//! It understands as much of the protocol as it takes to strike at an exact place: frames, and rows of a COPY.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::OwnedReadHalf;
use tokio::net::{TcpListener, TcpStream};

/// What happens to the first connection that gets there; once, then the proxy is honest again. Rows count from 0.
#[derive(Clone, Debug)]
pub enum Fault {
    /// The connection is reset before that row of a COPY.
    Reset(u64),
    /// It ends cleanly (FIN) before that row.
    End(u64),
    /// It ends cleanly after the COPY's trailer, before `CopyDone`: all rows are there.
    EndAfterTrailer,
    /// It ends cleanly after `CopyDone`, before the count of rows.
    EndBeforeCount,
    /// Nothing comes any more before that row; the connection stays open.
    Silence(u64),
    /// From that row on, single bytes come with this pause between them, for so many bytes.
    Drip(u64, Duration, usize),
    /// That row gets lost.
    Lose(u64),
    /// That row comes twice.
    Repeat(u64),
    /// The server reports an error of this SQLSTATE instead of that row, and closes the connection.
    Refuse(u64, &'static str),
    /// The server answers the login with an error of this SQLSTATE.
    RefuseLogin(&'static str),
    /// `COPY n` arrives as this text.
    Count(&'static str),
    /// The byte at that position of all that the server sends is inverted.
    Corrupt(usize),
}

/// A running proxy.
pub struct Proxy {
    /// Where it listens on 127.0.0.1.
    pub port: u16,
    fault: Arc<Mutex<Option<Fault>>>,
}

impl Proxy {
    /// A proxy to a server on this machine. It lives as long as the runtime.
    pub async fn to(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let proxy = Self { port: listener.local_addr().unwrap().port(), fault: Arc::default() };
        let fault = proxy.fault.clone();
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(client, port, fault.clone()));
            }
        });
        proxy
    }

    /// Arms a fault, and disarms what was.
    pub fn arm(&self, fault: Fault) {
        *self.fault.lock().unwrap() = Some(fault);
    }

    /// Whether the fault has struck.
    pub fn struck(&self) -> bool {
        self.fault.lock().unwrap().is_none()
    }
}

async fn serve(client: TcpStream, port: u16, fault: Arc<Mutex<Option<Fault>>>) {
    client.set_nodelay(true).unwrap();
    if let Some(Fault::RefuseLogin(code)) = take(&fault, |fault| matches!(fault, Fault::RefuseLogin(_))) {
        let mut client = client;
        let mut startup = [0; 8];
        let _ = client.read_exact(&mut startup).await;
        let _ = client.write_all(&refusal(code)).await;
        return;
    }
    let server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    server.set_nodelay(true).unwrap();
    let (mut from_client, to_client) = client.into_split();
    let (from_server, mut to_server) = server.into_split();
    let upward = tokio::spawn(async move {
        let _ = tokio::io::copy(&mut from_client, &mut to_server).await;
        let _ = to_server.shutdown().await;
        from_client
    });
    let answers = Answers { server: from_server, fault, rows: 0, sent: 0 };
    let how = answers.relay(to_client).await;
    match how {
        // Both halves together are the socket again, which is reset when it is closed without lingering.
        Ended::Reset(to_client) => {
            upward.abort();
            to_client.as_ref().set_zero_linger().unwrap();
            to_client.forget();
        }
        Ended::Closed => upward.abort(),
    }
}

/// Takes the armed fault if it is of this kind.
fn take(fault: &Mutex<Option<Fault>>, is: impl Fn(&Fault) -> bool) -> Option<Fault> {
    let mut armed = fault.lock().unwrap();
    if armed.as_ref().is_some_and(is) { armed.take() } else { None }
}

enum Ended {
    Closed,
    Reset(tokio::net::tcp::OwnedWriteHalf),
}

/// The server's half of a connection.
struct Answers {
    server: OwnedReadHalf,
    fault: Arc<Mutex<Option<Fault>>>,
    /// Rows of the current COPY so far.
    rows: u64,
    /// Bytes so far.
    sent: usize,
}

impl Answers {
    async fn relay(mut self, mut client: tokio::net::tcp::OwnedWriteHalf) -> Ended {
        while let Some(mut frame) = self.frame().await {
            let (kind, trailer) = (frame[0], frame.len() == 7 && frame[5..] == [0xff, 0xff]);
            let row = self.rows;
            let due = match kind {
                b'H' => {
                    self.rows = 0;
                    None
                }
                b'd' if !trailer => {
                    self.rows += 1;
                    take(&self.fault, |fault| match fault {
                        Fault::Reset(at)
                        | Fault::End(at)
                        | Fault::Silence(at)
                        | Fault::Drip(at, ..)
                        | Fault::Lose(at)
                        | Fault::Repeat(at)
                        | Fault::Refuse(at, _) => *at == row,
                        _ => false,
                    })
                }
                b'c' => take(&self.fault, |fault| matches!(fault, Fault::EndAfterTrailer)),
                b'C' if frame[5..].starts_with(b"COPY ") => {
                    take(&self.fault, |fault| matches!(fault, Fault::EndBeforeCount | Fault::Count(_)))
                }
                _ => None,
            };
            let place = self.sent..self.sent + frame.len();
            if let Some(Fault::Corrupt(at)) =
                take(&self.fault, |fault| matches!(fault, Fault::Corrupt(at) if place.contains(at)))
            {
                frame[at - place.start] ^= 0xff;
            }
            self.sent = place.end;
            match due {
                Some(Fault::Reset(_)) => return Ended::Reset(client),
                Some(Fault::End(_) | Fault::EndAfterTrailer | Fault::EndBeforeCount) => {
                    let _ = client.shutdown().await;
                    return Ended::Closed;
                }
                Some(Fault::Silence(_)) => std::future::pending().await,
                Some(Fault::Lose(_)) => continue,
                Some(Fault::Repeat(_)) => frame.extend_from_within(..),
                Some(Fault::Refuse(_, code)) => {
                    let _ = client.write_all(&refusal(code)).await;
                    return Ended::Closed;
                }
                Some(Fault::Count(text)) => frame = message(b'C', format!("{text}\0").as_bytes()),
                Some(Fault::Drip(_, pause, bytes)) => {
                    for byte in frame.drain(..bytes.min(frame.len())) {
                        let _ = client.write_all(&[byte]).await;
                        tokio::time::sleep(pause).await;
                    }
                }
                _ => {}
            }
            if client.write_all(&frame).await.is_err() {
                break;
            }
        }
        Ended::Closed
    }

    /// The next message with its header; `None` at the end.
    async fn frame(&mut self) -> Option<Vec<u8>> {
        let mut frame = vec![0; 5];
        self.server.read_exact(&mut frame).await.ok()?;
        let length = u32::from_be_bytes(frame[1..5].try_into().unwrap()) as usize;
        frame.resize(length + 1, 0);
        self.server.read_exact(&mut frame[5..]).await.ok()?;
        Some(frame)
    }
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind];
    bytes.extend(u32::try_from(body.len() + 4).unwrap().to_be_bytes());
    bytes.extend(body);
    bytes
}

/// `ErrorResponse` as a server sends it before it closes the connection.
fn refusal(code: &str) -> Vec<u8> {
    message(b'E', format!("SFATAL\0VFATAL\0C{code}\0Mthe server said so\0\0").as_bytes())
}
