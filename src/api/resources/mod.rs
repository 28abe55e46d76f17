//! The resources, one file or folder each. Adding one is a module with `routes()` and one line here.

mod account;
mod connections;
mod destinations;
mod groups;
mod metadata;
mod root;
mod runs;
mod schemas;
mod users;

use super::router::Route;

/// Every route under its present name.
pub(crate) fn routes() -> Vec<Route> {
    [
        root::routes(),
        account::routes(),
        users::routes(),
        groups::routes(),
        destinations::routes(),
        connections::routes(),
        schemas::routes(),
        runs::routes(),
        metadata::routes(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
