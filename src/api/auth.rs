//! Who asks: HTTP Basic with an API key and its secret, or a Worker that the platform vouches for.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use super::Services;
use super::error::{ApiError, ApiResult};
use super::request::ApiRequest;
use crate::control::identity::Identity;
use crate::core::redact::Secret;

/// The deployment's own key, from Worker secrets. Where a half is empty, the key fits nobody.
#[derive(Clone, Debug)]
pub struct RootKey {
    /// `FIVETRAN_API_KEY`.
    pub api_key: Secret,
    /// `FIVETRAN_API_SECRET`.
    pub api_secret: Secret,
}

impl RootKey {
    /// Compares hashes of both halves, all of both, so that time tells nothing about where a guess goes wrong.
    fn is(&self, api_key: &str, api_secret: &str) -> bool {
        let usable = !self.api_key.is_empty() && !self.api_secret.is_empty();
        let key = difference(self.api_key.expose(), api_key);
        let secret = difference(self.api_secret.expose(), api_secret);
        usable && (key | secret) == 0
    }
}

/// Zero for equal texts.
fn difference(one: &str, other: &str) -> u8 {
    let (one, other) = (Sha256::digest(one), Sha256::digest(other));
    one.iter().zip(other.iter()).fold(0, |difference, (a, b)| difference | (a ^ b))
}

/// Finds out who asks.
pub(crate) async fn authenticate(services: &Services, request: &ApiRequest) -> ApiResult<Identity> {
    let header = request.header("authorization").map(str::trim).filter(|header| !header.is_empty());
    let Some(header) = header else {
        return if request.vouched {
            Ok(Identity::owner())
        } else {
            Err(refused("Missing authorization header"))
        };
    };
    let invalid = || refused("Invalid authorization credentials");
    let (scheme, encoded) = header.split_once(' ').ok_or_else(invalid)?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return Err(invalid());
    }
    let pair = match encoded.trim() {
        // Kestra's plugin sends the pair as it is. A colon is no letter of base64, so nothing else can be meant.
        plain if plain.contains(':') => plain.to_owned(),
        encoded => {
            let pair = STANDARD.decode(encoded).map_err(|_| invalid())?;
            String::from_utf8(pair).map_err(|_| invalid())?
        }
    };
    let (key, secret) = pair.split_once(':').ok_or_else(invalid)?;
    if services.root_key.is(key, secret) {
        return Ok(Identity::owner());
    }
    services.control.identify(key, &Secret::new(secret)).await?.ok_or_else(invalid)
}

fn refused(message: &str) -> ApiError {
    ApiError::new(401, "AuthFailed", message).with_header("www-authenticate", "Basic realm=\"fivetran.do\"")
}
