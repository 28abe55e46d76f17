//! Looking at the certificate that a real server shows. Whether it is trusted is the platform's business: natively nothing
//! is (tests/e2e/tls.test.mjs asks workerd).
#![cfg(not(target_arch = "wasm32"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::process::Command;

use fivetran_do::connectors::Presented;
use fivetran_do::core::certificate::Certificate;
use serde_json::json;
use support::postgres::{Database, Server, open};

/// A key and a self-signed certificate for it.
fn made(algorithm: &[&str], version: &str) -> (String, String) {
    let mut openssl = Command::new("openssl");
    openssl.args([
        "req",
        "-x509",
        "-nodes",
        "-days",
        "2",
        "-subj",
        &format!("/CN={version}"),
        "-keyout",
        "-",
        "-out",
        "-",
    ]);
    let output = openssl.args(algorithm).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let at = text.find("-----BEGIN CERTIFICATE").unwrap();
    (text[..at].to_owned(), text[at..].to_owned())
}

/// Turns TLS on, at most of that version. The server writes its files itself, so that they are its own.
async fn with_tls(database: &Database, algorithm: &[&str], version: &str) -> Certificate {
    let (key, certificate) = made(algorithm, version);
    let directory = database.client.query_one("SHOW data_directory", &[]).await.unwrap().get::<_, String>(0);
    for (text, name) in [(&key, "server.key"), (&certificate, "server.crt")] {
        let lines = format!("SELECT unnest(string_to_array($pem${}$pem$, E'\\n'))", text.trim());
        let program = format!("umask 077; cat > {directory}/{name}");
        database.execute(&format!("COPY ({lines}) TO PROGRAM '{program}'")).await;
    }
    database.execute(&format!("ALTER SYSTEM SET ssl_min_protocol_version = '{version}'")).await;
    database.execute("ALTER SYSTEM SET ssl = on").await;
    database.execute("SELECT pg_reload_conf()").await;
    let on = "SELECT current_setting('ssl') = 'on'";
    while !database.another_client().await.query_one(on, &[]).await.unwrap().get::<_, bool>(0) {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    Certificate::from_text(&certificate).unwrap()
}

#[tokio::test]
async fn the_certificate_of_a_real_server_is_seen_without_a_key() {
    static SERVER: std::sync::OnceLock<Server> = std::sync::OnceLock::new();
    let database = SERVER.get_or_init(|| Server::start("")).database().await;
    let config = |sslmode: &str, host: &str| {
        let mut config = database.config();
        config["sslmode"] = json!(sslmode);
        config["host"] = json!(host);
        config
    };
    let look = async |host: &str| open(&config("require", host)).unwrap().certificate().await;
    let error = look("127.0.0.1").await.unwrap_err();
    assert!(error.to_string().contains("does not offer TLS"), "{error}");
    for algorithm in [
        &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"][..],
        // Longer than one TLS record.
        &["-newkey", "rsa:2048", "-addext", &format!("nsComment={}", "x".repeat(20_000))],
    ] {
        let certificate = with_tls(&database, algorithm, "TLSv1.2").await;
        for host in ["127.0.0.1", "localhost"] {
            match look(host).await.unwrap() {
                Presented::Certificate { der, distrust } => {
                    assert_eq!(Certificate::from_der(der).unwrap(), certificate);
                    assert!(distrust.unwrap().to_string().contains("config.sslmode"));
                }
                Presented::Nothing(reason) => panic!("{reason}"),
            }
        }
    }
    let nothing = open(&config("disable", "127.0.0.1")).unwrap().certificate().await.unwrap();
    assert!(matches!(nothing, Presented::Nothing(reason) if reason.contains("sslmode is disable")));
    with_tls(&database, &["-newkey", "rsa:2048"], "TLSv1.3").await;
    let error = look("127.0.0.1").await.unwrap_err();
    assert!(error.to_string().contains("refuses TLS 1.2"), "{error}");
}
