//! The REST API, in Fivetran's shapes.
//!
//! A request walks through [`router`] (which resource?), [`auth`] (who asks?), [`access`] (may they?), [`conform`] (is the body what the
//! resource takes?), one function of a file in [`resources`], and back through [`response`]. The table of routes is also
//! what [`openapi`] is generated from, so the document cannot say anything else than the code does.
//!
//! Requests and responses are our own plain types: the Worker's shell turns them into the platform's, tests use them as
//! they are. No web framework: they bring an executor, a body abstraction and a kilobyte of types for every route, and
//! the routing itself is one `matchit` look-up.

mod access;
mod auth;
mod config;
mod conform;
mod cors;
mod cursor;
mod error;
mod idempotency;
mod openapi;
mod rate_limit;
mod request;
mod resources;
mod response;
mod router;
mod setup;
mod timestamp;

use std::rc::Rc;

pub use auth::RootKey;
pub use cors::Origins;
pub use rate_limit::{DEFAULT_PER_HOUR, RateLimits};
pub use request::ApiRequest;
pub use response::ApiResponse;
pub use router::dispatch as handle;

use crate::connectors::registry::{CONNECTORS, ConnectorType};
use crate::control::ControlPlane;
use crate::destinations::registry::{DESTINATIONS, DestinationType};
use crate::engine::SyncControl;
use crate::ports::Ports;

/// What the resources work with.
pub struct Services {
    /// Definitions and projections.
    pub control: ControlPlane,
    /// The engine.
    pub syncs: Rc<dyn SyncControl>,
    /// What sources and destinations are opened with for checks and discovery.
    pub ports: Ports,
    /// Origin of the deployment, for links, without a trailing slash.
    pub public_url: String,
    /// The deployment's own key.
    pub root_key: RootKey,
    /// Whose web pages may call.
    pub origins: Origins,
    /// How much each key may still ask.
    pub rate_limits: Rc<RateLimits>,
    /// The connectors on offer.
    pub connectors: &'static [ConnectorType],
    /// The destinations on offer.
    pub destinations: &'static [DestinationType],
}

impl Services {
    /// Services over every connector and destination of the registries.
    pub fn new(
        control: ControlPlane,
        syncs: Rc<dyn SyncControl>,
        ports: Ports,
        public_url: impl Into<String>,
        root_key: RootKey,
    ) -> Self {
        Self {
            control,
            syncs,
            ports,
            public_url: public_url.into(),
            root_key,
            origins: Origins::default(),
            rate_limits: Rc::new(RateLimits::new(DEFAULT_PER_HOUR)),
            connectors: CONNECTORS,
            destinations: DESTINATIONS,
        }
    }
}
