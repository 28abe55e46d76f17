//! Which web pages may call the API from a browser (the Fetch Standard's CORS): those of the origins the deployment
//! names, and none where it names none. A page sends its key itself; cookies play no part.

use super::request::ApiRequest;
use super::response::ApiResponse;

/// What clients send beyond what every page may.
const REQUEST_HEADERS: &str = "Authorization, Content-Type, Accept, Idempotency-Key";

/// What clients read beyond what every page may.
const RESPONSE_HEADERS: &str =
    "X-Request-Id, X-Rate-Limit, X-Rate-Limit-Remaining, Retry-After, Idempotent-Replayed";

/// Origins as a setting lists them, parted by commas; `*` is every origin.
#[derive(Clone, Debug, Default)]
pub struct Origins(Vec<String>);

impl Origins {
    /// Reads the setting. A trailing slash is forgiven: an origin has none.
    #[must_use]
    pub fn listed(setting: &str) -> Self {
        let origins = setting.split(',').map(|origin| origin.trim().trim_end_matches('/'));
        Self(origins.filter(|origin| !origin.is_empty()).map(str::to_ascii_lowercase).collect())
    }

    /// Adds to an answer what its browser asks for. The answer depends on who asks, so caches are told.
    pub(super) fn permit(&self, request: &ApiRequest, response: &mut ApiResponse) {
        if self.0.is_empty() {
            return;
        }
        response.set("vary", "Origin");
        let Some(origin) = request.header("origin") else { return };
        if !self.0.iter().any(|listed| listed == "*" || listed.eq_ignore_ascii_case(origin)) {
            return;
        }
        response.set("access-control-allow-origin", origin);
        response.set("access-control-expose-headers", RESPONSE_HEADERS);
        if request.method == "OPTIONS" {
            response.set("access-control-allow-methods", "GET, POST, PATCH, DELETE");
            response.set("access-control-allow-headers", REQUEST_HEADERS);
            response.set("access-control-max-age", "86400");
        }
    }
}
