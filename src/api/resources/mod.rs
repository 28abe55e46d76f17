//! The resources, one file or folder each. Adding one is a module with `routes()` and one line here.

mod account;
mod certificates;
mod connections;
mod destinations;
mod external_logging;
mod groups;
mod memberships;
mod metadata;
mod metrics;
mod roles;
mod root;
mod runs;
mod schemas;
mod system_keys;
mod table_body;
mod teams;
mod transformations;
mod unavailable;
mod users;
mod vault;
mod webhooks;

use super::Services;
use super::request::Call;
use super::router::Route;

/// Every route under its present name.
pub(crate) fn routes() -> Vec<Route> {
    [
        root::routes(),
        metrics::routes(),
        account::routes(),
        users::routes(),
        teams::routes(),
        memberships::routes(),
        roles::routes(),
        system_keys::routes(),
        groups::routes(),
        destinations::routes(),
        connections::routes(),
        schemas::routes(),
        certificates::routes(),
        runs::routes(),
        metadata::routes(),
        webhooks::routes(),
        external_logging::routes(),
        transformations::routes(),
        vault::routes(),
        unavailable::routes(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Who is asking, as `created_by` fields name it: a user or a key.
fn actor(call: &Call<'_>) -> Option<String> {
    Some(call.caller.user_id.as_ref().unwrap_or(&call.caller.key_id).clone())
}

/// Whether this deployment runs on its user's own machine, where receivers may, too.
fn is_local(services: &Services) -> bool {
    let url = url::Url::parse(&services.public_url).ok();
    match url.as_ref().and_then(url::Url::host) {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}
