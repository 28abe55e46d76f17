//! Rules of telling others what happened: where to, when again, and how to prove who says so.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use sha2::{Digest, Sha256};
use url::{Host, Url};

use super::{Error, Result};

/// Every name a webhook may subscribe to, as Fivetran documents them. Not every one happens here: `status` is
/// deprecated, and transformations do not run yet.
pub const WEBHOOK_EVENTS: &[&str] = &[
    "sync_start",
    "sync_end",
    "status",
    "dbt_run_start",
    "dbt_run_succeeded",
    "dbt_run_failed",
    "transformation_run_start",
    "transformation_run_succeeded",
    "transformation_run_failed",
    "connection_successful",
    "connection_failure",
    "create_connector",
    "pause_connector",
    "resume_connector",
    "edit_connector",
    "delete_connector",
    "force_update_connector",
    "resync_connector",
    "resync_table",
];

/// Each pause is this much longer than the one before: attempts at 0, 5, 15, 30, 50 … minutes, as Fivetran's.
const STEP_MICROS: i64 = 5 * 60 * 1_000_000;

/// A delivery is tried for 24 hours.
const PATIENCE_MICROS: i64 = 24 * 60 * 60 * 1_000_000;

/// When to try again after the failed attempt of that number (from 1) at `now`; `None` when it is time to give up.
/// Microseconds UTC.
#[must_use]
pub fn next_attempt(first_attempt_at: i64, attempt: u32, now: i64) -> Option<i64> {
    let next = now.saturating_add(STEP_MICROS.saturating_mul(i64::from(attempt.max(1))));
    (next.saturating_sub(first_attempt_at) <= PATIENCE_MICROS).then_some(next)
}

/// Bytes of a block of SHA-256.
const BLOCK: usize = 64;

/// HMAC-SHA256 (RFC 2104). Written out because it is six lines over the hash that is here anyway.
#[must_use]
pub fn hmac_sha256(key: &[u8], message: &[u8]) -> [u8; 32] {
    let hashed: [u8; 32];
    let key = if key.len() > BLOCK {
        hashed = Sha256::digest(key).into();
        &hashed
    } else {
        key
    };
    let pad = |with: u8| {
        let mut block = [with; BLOCK];
        block.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
        block
    };
    let inner = Sha256::new_with_prefix(pad(0x36)).chain_update(message).finalize();
    Sha256::new_with_prefix(pad(0x5c)).chain_update(inner).finalize().into()
}

/// The value of `X-Fivetran-Signature-256`: upper-case hexadecimal, as Fivetran's receivers expect it.
#[must_use]
pub fn signature(secret: &str, body: &[u8]) -> String {
    hmac_sha256(secret.as_bytes(), body)
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(hex_digit)
        .collect()
}

fn hex_digit(value: u8) -> char {
    char::from_digit(u32::from(value), 16).unwrap_or('0').to_ascii_uppercase()
}

/// Checks a URL that a user wants us to post to: `https` to a public host. A Worker has no route into private networks,
/// but it must not be made to call itself by odd names or to send what happened in clear either. Where the service
/// itself runs on this machine (`local`), `http` and `https` to this machine and its networks are fine: that is where
/// a developer's receiver is.
///
/// # Errors
/// [`InvalidInput`](crate::core::ErrorKind::InvalidInput) saying what is wrong, without the URL, which may hold a token.
pub fn receiver_url(text: &str, field: &str, local: bool) -> Result<Url> {
    let refuse = |what: &str, remedy: &str| Err(Error::invalid(what).field(field).remedy(remedy));
    let Ok(url) = Url::parse(text.trim()) else {
        return refuse("This is not a URL", "Send one like https://example.com/hook");
    };
    let Some(host) = url.host() else {
        return refuse("This URL names no host", "Send one like https://example.com/hook");
    };
    if !url.username().is_empty() || url.password().is_some() {
        return refuse(
            "A URL must not hold a user name or password",
            "Leave them out, and use the secret to know us by",
        );
    }
    let private = is_private(&host);
    if private && local {
        if matches!(url.scheme(), "http" | "https") {
            return Ok(url);
        }
    } else if private {
        return refuse("This host is not on the public Internet", "Use a public host name");
    }
    if url.scheme() != "https" {
        return refuse("Only https is safe here", "Use an https URL");
    }
    Ok(url)
}

fn is_private(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => {
            let name = name.trim_end_matches('.');
            !name.contains('.')
                || [".localhost", ".local", ".internal", ".home.arpa"].iter().any(|end| name.ends_with(end))
        }
        Host::Ipv4(address) => is_private_v4(*address),
        Host::Ipv6(address) => is_private_v6(*address),
    }
}

fn is_private_v4(address: Ipv4Addr) -> bool {
    let [first, second, ..] = address.octets();
    address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_documentation()
        || address.is_multicast()
        || first == 0
        || first >= 240
        || (first == 100 && (64..128).contains(&second))
        || (first == 198 && (18..20).contains(&second))
}

/// Only global unicast (2000::/3) is public; addresses that wrap an IPv4 one are judged by that.
fn is_private_v6(address: Ipv6Addr) -> bool {
    let [first, second, ..] = address.segments();
    match address.to_canonical() {
        IpAddr::V4(inner) => is_private_v4(inner),
        IpAddr::V6(_) => first & 0xe000 != 0x2000 || (first == 0x2001 && second == 0xdb8) || first == 0x2002,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_by_five_minutes_and_end_within_a_day() {
        let minute = 60 * 1_000_000;
        let (mut at, mut times) = (0, vec![0]);
        while let Some(next) = next_attempt(0, u32::try_from(times.len()).unwrap(), at) {
            at = next;
            times.push(at / minute);
        }
        assert_eq!(times.get(..6).unwrap(), [0, 5, 15, 30, 50, 75]);
        assert_eq!((times.len(), times.last()), (24, Some(&(23 * 60))));
        assert_eq!(next_attempt(i64::MIN, u32::MAX, i64::MAX), None);
    }

    #[test]
    fn hmac_agrees_with_rfc_4231() {
        let hex = |key: &[u8], data: &[u8]| {
            hmac_sha256(key, data).iter().map(|byte| format!("{byte:02x}")).collect::<String>()
        };
        assert_eq!(
            hex(b"Jefe", b"what do ya want for nothing?"),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
        assert_eq!(
            hex(&[0xaa; 131], b"Test Using Larger Than Block-Size Key - Hash Key First"),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"
        );
        assert_eq!(
            signature("Jefe", b"what do ya want for nothing?"),
            hex(b"Jefe", b"what do ya want for nothing?").to_uppercase()
        );
    }

    #[test]
    fn only_https_to_public_hosts_is_called() {
        for good in
            ["https://hooks.example.com/a?b=c", "https://8.8.8.8/", "https://[2606:4700::1111]:8443/x"]
        {
            assert!(receiver_url(good, "url", false).is_ok(), "{good}");
        }
        for bad in [
            "",
            "hooks.example.com",
            "mailto:a@b.c",
            "ftp://example.com/",
            "http://example.com/",
            "https://user:pw@example.com/",
            "https://localhost/",
            "https://metadata.internal/",
            "https://printer/",
            "https://10.1.2.3/",
            "https://127.1/",
            "https://0x7f000001/",
            "https://169.254.169.254/latest",
            "https://100.64.0.1/",
            "https://[::1]/",
            "https://[::ffff:10.0.0.1]/",
            "https://[fd00::1]/",
            "https://[fe80::1]/",
        ] {
            assert!(receiver_url(bad, "url", false).is_err(), "{bad}");
        }
    }

    #[test]
    fn beside_the_service_on_this_machine_receivers_may_be_local_and_nothing_else_changes() {
        for good in
            ["http://127.0.0.1:9/x", "http://localhost/", "https://192.168.1.2/", "https://example.com/"]
        {
            assert!(receiver_url(good, "url", true).is_ok(), "{good}");
        }
        for bad in ["http://example.com/", "ftp://127.0.0.1/", "http://u@127.0.0.1/"] {
            assert!(receiver_url(bad, "url", true).is_err(), "{bad}");
        }
    }
}
