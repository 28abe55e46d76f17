//! The setup tests: each step of connecting, then what syncs will need.

use serde::Deserialize;
use serde_json::json;

use super::config::Config;
use super::discover::{READABLE, scope};
use super::names::Missing;
use super::presented;
use super::session::{Session, Step};
use crate::connectors::{Presented, SetupTest, SetupTestStatus, Trust};
use crate::core::Result;
use crate::core::certificate::Certificate;
use crate::ports::Ports;

const CONNECT: &str = "Connecting to host";
const TLS: &str = "Securing the connection with TLS";
const LOGIN: &str = "Logging in to the database";
const VERSION: &str = "Checking the server version";
const ROLE: &str = "Checking the server's role";
const NAMES: &str = "Looking for what the configuration names";
const PERMISSIONS: &str = "Checking permission to read";

/// Oldest version this connector reads.
const OLDEST_VERSION: u32 = 10;

/// First version that reads a range of pages without looking at the pages before it.
const PAGE_RANGE_VERSION: u32 = 14;

/// Runs all tests.
pub(super) async fn check(config: &Config, ports: &Ports) -> Vec<SetupTest> {
    let mut session = match Session::connect(config, ports).await {
        Ok(session) => session,
        Err((failed, error)) => {
            let steps = [(Step::Host, CONNECT), (Step::Tls, TLS), (Step::Login, LOGIN)];
            let connecting = steps.into_iter().map(|(step, title)| match step.cmp(&failed) {
                std::cmp::Ordering::Less => passed(title),
                std::cmp::Ordering::Equal => test(title, SetupTestStatus::Failed, &error.to_string()),
                std::cmp::Ordering::Greater => test(title, SetupTestStatus::Skipped, ""),
            });
            let others =
                [VERSION, ROLE, NAMES, PERMISSIONS].map(|title| test(title, SetupTestStatus::Skipped, ""));
            let mut tests: Vec<_> = connecting.chain(others).collect();
            if failed == Step::Tls
                && let Ok(Presented::Certificate(shown, Trust::Nobody(reason))) =
                    presented::certificate(config, ports).await
                && let Some(failure) = tests.iter_mut().find(|test| test.title == TLS)
            {
                *failure = distrusted(&shown, &reason);
            }
            return tests;
        }
    };
    let mut tests = vec![passed(CONNECT), encryption(&session), passed(LOGIN), version(&session)];
    match Findings::of(&mut session, config).await {
        Ok(findings) => {
            session.close();
            tests.extend([findings.role(), findings.names(), findings.permissions()]);
        }
        Err(error) => {
            tests.extend([ROLE, NAMES].map(|title| test(title, SetupTestStatus::Skipped, "")));
            tests.push(test(PERMISSIONS, SetupTestStatus::Failed, &error.to_string()));
        }
    }
    tests
}

/// The verdict on a server whose certificate nobody vouches for, with what it takes to approve it.
fn distrusted(shown: &Certificate, reason: &str) -> SetupTest {
    let (subject, issuer, sha256) = (shown.subject(), shown.issuer(), shown.sha256());
    let message = format!(
        "config.sslmode: The server's certificate, for {subject}, issued by {issuer}, is not trusted ({reason}). If its \
         SHA-256 is rightly {sha256}, approve it with POST /v1/connections/{{id}}/certificates, or repeat this with \
         trust_certificates; without TLS set sslmode to disable"
    );
    let certificate = json!({
        "name": subject, "issuer": issuer, "hash": sha256, "encoded_cert": shown.to_text(), "type": "X.509",
    });
    let details = Some(json!({ "certificate": certificate }));
    SetupTest { details, ..test(TLS, SetupTestStatus::Failed, &message) }
}

fn encryption(session: &Session) -> SetupTest {
    if session.encrypted {
        passed(TLS)
    } else {
        let message = "The connection is not encrypted. Unless the network in between is trusted, turn TLS on at the \
                       server and set sslmode to require";
        test(TLS, SetupTestStatus::Warning, message)
    }
}

fn version(session: &Session) -> SetupTest {
    let (major, version) = (session.major_version, &session.version);
    if major < OLDEST_VERSION {
        let message = format!("PostgreSQL {OLDEST_VERSION} or later is needed, this server says '{version}'");
        test(VERSION, SetupTestStatus::Failed, &message)
    } else if major < PAGE_RANGE_VERSION {
        let message = format!(
            "PostgreSQL {version} reads a large table from its start for each chunk, which makes the first sync slow; \
             {PAGE_RANGE_VERSION} and later do not"
        );
        test(VERSION, SetupTestStatus::Warning, &message)
    } else {
        passed(VERSION)
    }
}

/// What is found out.
struct Findings {
    tables: Tables,
    missing: Missing,
}

/// What one query says of the tables.
#[derive(Deserialize)]
struct Tables {
    standby: bool,
    readable: u64,
    unreadable: u64,
    /// Up to five names of unreadable tables.
    examples: Vec<String>,
    /// Tables of which row-level security may hide rows from us.
    filtered: u64,
}

impl Findings {
    async fn of(session: &mut Session, config: &Config) -> Result<Self> {
        let sql = format!(
            "{begin}WITH found AS (
  SELECT n.nspname || '.' || c.relname AS name, {READABLE} AS readable, row_security_active(c.oid) AS filtered
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE {scope}
)
SELECT json_build_object(
 'standby', pg_is_in_recovery(),
 'readable', count(*) FILTER (WHERE readable),
 'unreadable', count(*) FILTER (WHERE NOT readable),
 'examples', (SELECT coalesce(json_agg(name), '[]') FROM (SELECT name FROM found WHERE NOT readable ORDER BY name LIMIT 5) x),
 'filtered', count(*) FILTER (WHERE readable AND filtered))
FROM found; COMMIT",
            begin = session.begin,
            scope = scope(config),
        );
        let rows = session.query(&sql, "looking at the tables").await?;
        let tables = serde_json::from_str(rows.first().map_or("", String::as_str))?;
        Ok(Self { tables, missing: Missing::of(session, config).await? })
    }

    fn role(&self) -> SetupTest {
        if self.tables.standby {
            let message = "The server is a standby: syncs see what it has replayed, and long reads may be cancelled by \
                           replay and repeated";
            test(ROLE, SetupTestStatus::Warning, message)
        } else {
            passed(ROLE)
        }
    }

    /// True when the configuration names nothing but what is not there.
    fn nothing_is_there(&self) -> bool {
        self.tables.readable + self.tables.unreadable == 0 && !self.missing.is_empty()
    }

    fn names(&self) -> SetupTest {
        if self.missing.is_empty() {
            return passed(NAMES);
        }
        let status = if self.nothing_is_there() { SetupTestStatus::Failed } else { SetupTestStatus::Warning };
        test(NAMES, status, &self.missing.to_string())
    }

    fn permissions(&self) -> SetupTest {
        if self.nothing_is_there() {
            return test(PERMISSIONS, SetupTestStatus::Skipped, "");
        }
        let Tables { readable, unreadable, examples, filtered, .. } = &self.tables;
        let grant = "GRANT USAGE on the schema and SELECT on the tables to the user";
        if *readable == 0 {
            let message = match unreadable {
                0 => "There is no table or view in the database, or none that the configuration names"
                    .to_owned(),
                _ => format!("None of {unreadable} tables and views can be read. {grant}"),
            };
            return test(PERMISSIONS, SetupTestStatus::Failed, &message);
        }
        let mut notes = Vec::new();
        if *unreadable > 0 {
            let more = if *unreadable > 5 { ", ..." } else { "" };
            notes.push(format!(
                "{readable} tables and views can be read, {unreadable} cannot and are left out ({}{more}). {grant}",
                examples.join(", ")
            ));
        }
        if *filtered > 0 {
            notes.push(format!(
                "Row-level security hides rows of {filtered} tables from the user; only rows it may see are moved"
            ));
        }
        if notes.is_empty() {
            passed(PERMISSIONS)
        } else {
            test(PERMISSIONS, SetupTestStatus::Warning, &notes.join(". "))
        }
    }
}

fn passed(title: &str) -> SetupTest {
    test(title, SetupTestStatus::Passed, "")
}

fn test(title: &str, status: SetupTestStatus, message: &str) -> SetupTest {
    SetupTest::new(title, status, message)
}
