//! Certificates of a real server: which are seen, and for whom they are accepted. Natively the platform has no TLS, so nobody
//! is a public authority here (tests/e2e/tls.test.mjs asks workerd).

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::support::postgres::{Database, Reader, Server, open, ports};
use fivetran_do::connectors::registry::connector;
use fivetran_do::connectors::{Presented, SetupTestStatus, Trust};
use fivetran_do::core::certificate::Certificate;
use fivetran_do::core::{ErrorKind, Result};
use serde_json::json;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};

/// Where this test makes certificates.
struct Workshop(PathBuf);

impl Workshop {
    fn new() -> Self {
        static WORKSHOPS: AtomicU32 = AtomicU32::new(0);
        let number = WORKSHOPS.fetch_add(1, Ordering::Relaxed);
        let name = format!("fivetran-certificates-{}-{number}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&directory).unwrap();
        Self(directory)
    }

    fn openssl(&self, arguments: &[&str]) {
        let output = Command::new("openssl").current_dir(&self.0).args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn text(&self, file: &str) -> String {
        std::fs::read_to_string(self.0.join(file)).unwrap()
    }

    fn certificate(&self, name: &str) -> Certificate {
        Certificate::from_text(&self.text(&format!("{name}.pem"))).unwrap()
    }

    /// A self-signed certificate that may sign others.
    fn own(&self, name: &str, key: &[&str]) -> Certificate {
        let (subject, out, keyout) = (format!("/CN={name}"), format!("{name}.pem"), format!("{name}.key"));
        let mut arguments =
            vec!["req", "-x509", "-nodes", "-days", "2", "-subj", &subject, "-keyout", &keyout];
        arguments.extend(["-out", &out]);
        arguments.extend(key);
        self.openssl(&arguments);
        self.certificate(name)
    }

    /// A certificate for `host`, signed by another one.
    fn signed(&self, name: &str, host: &str, by: &str, key: &[&str], days: &str) -> Certificate {
        let (keyout, request, out) = (format!("{name}.key"), format!("{name}.csr"), format!("{name}.pem"));
        let mut arguments =
            vec!["req", "-nodes", "-subj", "/CN=server", "-keyout", &keyout, "-out", &request];
        arguments.extend(key);
        self.openssl(&arguments);
        std::fs::write(self.0.join("names"), format!("subjectAltName={host}\nextendedKeyUsage=serverAuth\n"))
            .unwrap();
        let (ca, cakey) = (format!("{by}.pem"), format!("{by}.key"));
        let mut arguments =
            vec!["x509", "-req", "-in", &request, "-CA", &ca, "-CAkey", &cakey, "-set_serial", "7"];
        arguments.extend(["-days", days, "-extfile", "names", "-out", &out]);
        self.openssl(&arguments);
        self.certificate(name)
    }
}

impl Drop for Workshop {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

const P256: &[&str] = &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"];
const P384: &[&str] = &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384"];
const RSA: &[&str] = &["-newkey", "rsa:2048"];

/// A server of a test's own, whose settings it changes. It ends with the test process.
fn server() -> &'static Server {
    Box::leak(Box::new(Server::start("")))
}

/// Has the server show that certificate from now on. It writes its files itself, so that they are its own.
async fn shows(database: &Database, workshop: &Workshop, name: &str) {
    let directory = database.client.query_one("SHOW data_directory", &[]).await.unwrap().get::<_, String>(0);
    for (from, to) in [(format!("{name}.key"), "server.key"), (format!("{name}.pem"), "server.crt")] {
        let text = workshop.text(&from);
        let lines = format!("SELECT unnest(string_to_array($pem${}$pem$, E'\\n'))", text.trim());
        let program = format!("umask 077; cat > {}", Path::new(&directory).join(to).display());
        database.execute(&format!("COPY ({lines}) TO PROGRAM '{program}'")).await;
    }
    reload(database, "ssl", "on").await;
}

async fn reload(database: &Database, name: &str, value: &str) {
    // Connections go on seeing the old settings until the server has come to its signal. A setting without effect, changed
    // with the other, tells when.
    static MARKS: AtomicU32 = AtomicU32::new(0);
    let mark = format!("m{}", MARKS.fetch_add(1, Ordering::Relaxed));
    database.execute(&format!("ALTER SYSTEM SET {name} = '{value}'")).await;
    database.execute(&format!("ALTER SYSTEM SET log_line_prefix = '{mark}'")).await;
    database.execute("SELECT pg_reload_conf()").await;
    let seen = format!("SELECT current_setting('log_line_prefix') = '{mark}'");
    while !database.another_client().await.query_one(&seen, &[]).await.unwrap().get::<_, bool>(0) {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

/// Looks at the server as a connection with these approvals would.
async fn look(database: &Database, host: &str, approved: &[Certificate]) -> Result<Presented> {
    let mut config = database.config();
    config["sslmode"] = json!("require");
    config["host"] = json!(host);
    (connector("postgres").unwrap().open)(&config, approved, &ports()).unwrap().certificate().await
}

/// The certificate the server shows, and why it is not accepted; `None` where it is.
async fn judged(database: &Database, host: &str, approved: &[Certificate]) -> (Certificate, Option<String>) {
    match look(database, host, approved).await.unwrap() {
        Presented::Certificate(shown, Trust::Approved) => (shown, None),
        Presented::Certificate(shown, Trust::Nobody(reason)) => (shown, Some(reason)),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn certificates_of_a_real_server_are_seen_and_accepted_for_the_approved_alone() {
    let database = server().database().await;
    let workshop = Workshop::new();
    let error = look(&database, "127.0.0.1", &[]).await.unwrap_err();
    assert!(error.to_string().contains("does not offer TLS"), "{error}");
    let mut disabled = database.config();
    disabled["sslmode"] = json!("disable");
    let nothing =
        (connector("postgres").unwrap().open)(&disabled, &[], &ports()).unwrap().certificate().await;
    assert!(matches!(nothing, Ok(Presented::Nothing(reason)) if reason.contains("sslmode is disable")));

    let stranger = workshop.own("stranger", P256);
    let long = format!("nsComment={}", "x".repeat(20_000));
    for (version, kind, key) in [
        ("TLSv1.2", "p256", P256),
        ("TLSv1.2", "rsa", RSA),
        ("TLSv1.3", "p384", P384),
        ("TLSv1.3", "rsa", RSA),
        // Longer than one TLS record.
        ("TLSv1.3", "long", &["-newkey", "rsa:3072", "-addext", &long]),
    ] {
        let name = format!("{kind}-{version}");
        reload(&database, "ssl_min_protocol_version", "TLSv1.2").await;
        reload(&database, "ssl_max_protocol_version", version).await;
        // Self-signed, for a name that is not the host's: approved is what was approved.
        let own = workshop.own(&name, key);
        shows(&database, &workshop, &name).await;
        for host in ["127.0.0.1", "localhost"] {
            let (shown, refused) = judged(&database, host, &[]).await;
            assert_eq!((&shown, refused.is_some()), (&own, true), "{name}");
            assert!(judged(&database, host, std::slice::from_ref(&stranger)).await.1.is_some(), "{name}");
            assert_eq!(judged(&database, host, &[stranger.clone(), own.clone()]).await.1, None, "{name}");
        }
    }
}

#[tokio::test]
async fn an_approved_authority_vouches_for_what_it_signed_for_this_host_and_for_as_long_as_that_says() {
    let database = server().database().await;
    let workshop = Workshop::new();
    for (authority, key) in [("p256-authority", P256), ("p384-authority", P384), ("rsa-authority", RSA)] {
        let approved = [workshop.own(authority, key)];
        workshop.signed("good", "DNS:localhost,IP:127.0.0.1", authority, key, "2");
        shows(&database, &workshop, "good").await;
        for host in ["localhost", "127.0.0.1"] {
            assert_eq!(judged(&database, host, &approved).await.1, None, "{authority} for {host}");
        }
        workshop.signed("elsewhere", "DNS:db.example.com", authority, P256, "2");
        shows(&database, &workshop, "elsewhere").await;
        let refused = judged(&database, "localhost", &approved).await.1.unwrap();
        assert!(refused.contains("not valid for name"), "{refused}");
        workshop.signed("late", "DNS:localhost", authority, P256, "-1");
        shows(&database, &workshop, "late").await;
        let refused = judged(&database, "localhost", &approved).await.1.unwrap();
        assert!(refused.contains("Expired"), "{refused}");
    }
    // Of the same name, but with another key: somebody in between.
    let genuine = workshop.certificate("p256-authority");
    workshop.own("p256-authority", P256);
    workshop.signed("forged", "DNS:localhost", "p256-authority", P256, "2");
    shows(&database, &workshop, "forged").await;
    let refused = judged(&database, "localhost", std::slice::from_ref(&genuine)).await.1.unwrap();
    assert!(refused.contains("Signature"), "{refused}");
    // A server's certificate that is approved vouches for itself and for nothing it would sign.
    let leaf = workshop.signed("leaf", "DNS:localhost", "rsa-authority", P256, "2");
    workshop.signed("child", "DNS:localhost", "leaf", P256, "2");
    shows(&database, &workshop, "leaf").await;
    assert_eq!(judged(&database, "localhost", std::slice::from_ref(&leaf)).await.1, None);
    shows(&database, &workshop, "child").await;
    let refused = judged(&database, "localhost", std::slice::from_ref(&leaf)).await.1.unwrap();
    assert!(refused.contains("UnknownIssuer"), "{refused}");
}

#[tokio::test]
async fn rows_come_through_the_tls_of_our_own_as_they_are() {
    let database = server().database().await;
    let workshop = Workshop::new();
    let own = workshop.own("own", P256);
    shows(&database, &workshop, "own").await;
    database
        .execute(
            "CREATE TABLE t (id int PRIMARY KEY, v text);
             INSERT INTO t SELECT i, repeat(md5(i::text), 30) FROM generate_series(1, 20000) i",
        )
        .await;
    for version in ["TLSv1.2", "TLSv1.3"] {
        reload(&database, "ssl_max_protocol_version", version).await;
        let mut config = database.config();
        config["sslmode"] = json!("require");
        let source =
            (connector("postgres").unwrap().open)(&config, std::slice::from_ref(&own), &ports()).unwrap();
        let tests = source.check().await;
        assert!(tests.iter().all(|test| test.status == SetupTestStatus::Passed), "{tests:?}");
        let (_, rows) = Reader { source }.sync("t", None).await;
        let sent = database.client.query("SELECT v FROM t ORDER BY v COLLATE \"C\"", &[]).await.unwrap();
        let sent: Vec<String> = sent.iter().map(|row| row.get(0)).collect();
        assert!(rows.sorted("v") == sent, "{version}");
    }
    let mut config = database.config();
    config["sslmode"] = json!("require");
    let tests = open(&config).unwrap().check().await;
    let failed = tests.iter().find(|test| test.status == SetupTestStatus::Failed).unwrap();
    let certificate = &failed.details.as_ref().unwrap()["certificate"];
    assert_eq!(certificate["hash"], own.sha256());
    assert_eq!(Certificate::from_text(certificate["encoded_cert"].as_str().unwrap()).unwrap(), own);
    assert!(
        failed.message.contains(&own.sha256()) && failed.message.contains("trust_certificates"),
        "{failed:?}"
    );
}

/// Passes bytes between clients and the server, and ends the connection after so many of the server's; gives its port.
async fn ends_after(bytes: usize, server: u16) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.unwrap();
        let mut server = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
        let (mut from_client, mut to_client) = client.split();
        let (from_server, mut to_server) = server.split();
        let mut from_server = from_server.take(bytes as u64);
        tokio::select! {
            _ = tokio::io::copy(&mut from_client, &mut to_server) => {}
            _ = tokio::io::copy(&mut from_server, &mut to_client) => {}
        }
    });
    port
}

#[tokio::test]
async fn a_connection_that_breaks_anywhere_in_the_handshake_or_behind_it_is_one_to_try_again() {
    let database = server().database().await;
    let workshop = Workshop::new();
    let own = workshop.own("own", P256);
    shows(&database, &workshop, "own").await;
    let mut config = database.config();
    config["sslmode"] = json!("require");
    let server = database.config()["port"].as_u64().unwrap();
    // The server's first flight is some 800 bytes, what comes until it is ready for statements some 900 more.
    for bytes in [0, 1, 6, 100, 300, 700, 900, 1000, 1100, 1300] {
        config["port"] = json!(ends_after(bytes, u16::try_from(server).unwrap()).await);
        let source =
            (connector("postgres").unwrap().open)(&config, std::slice::from_ref(&own), &ports()).unwrap();
        let error = source.discover().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::SourceUnavailable, "after {bytes} bytes: {error}");
    }
}
