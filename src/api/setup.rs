//! Opening sources and destinations for what the API does itself: setup tests and discovery.

use serde_json::Value;

use super::Services;
use super::error::ApiResult;
use crate::connectors::registry::ConnectorType;
use crate::connectors::{SetupTest, SetupTestStatus, Source};
use crate::control::SetupState;
use crate::core::certificate::Certificate;
use crate::core::{Error, Result};
use crate::destinations::Destination;
use crate::destinations::registry::DestinationType;

/// The connector of that service.
pub(crate) fn connector(services: &Services, service: &str) -> Result<&'static ConnectorType> {
    services.connectors.iter().find(|connector| connector.id == service).ok_or_else(|| {
        let known = services.connectors.iter().map(|connector| connector.id).collect::<Vec<_>>();
        unknown("connector", service, &known)
    })
}

/// The destination of that service.
pub(crate) fn destination(services: &Services, service: &str) -> Result<&'static DestinationType> {
    services.destinations.iter().find(|destination| destination.id == service).ok_or_else(|| {
        let known = services.destinations.iter().map(|destination| destination.id).collect::<Vec<_>>();
        unknown("destination", service, &known)
    })
}

fn unknown(what: &str, service: &str, known: &[&str]) -> Error {
    Error::invalid(format!("Unsupported {what} service '{service}'"))
        .field("service")
        .remedy(format!("Use one of: {}", known.join(", ")))
}

/// Opens a source: this validates the configuration, without any traffic.
pub(crate) fn open_source(
    services: &Services,
    service: &str,
    config: &Value,
    approved: &[Certificate],
) -> ApiResult<Box<dyn Source>> {
    Ok((connector(services, service)?.open)(config, approved, &services.ports)?)
}

/// Opens a destination: this validates the configuration, without any traffic.
pub(crate) fn open_destination(
    services: &Services,
    service: &str,
    config: &Value,
) -> ApiResult<Box<dyn Destination>> {
    Ok((destination(services, service)?.open)(config, &services.ports)?)
}

/// What setup tests say of something that was in `before`. What never worked stays `incomplete`, what did is `broken`.
pub(crate) fn concluded(tests: &[SetupTest], before: SetupState) -> SetupState {
    if tests.iter().all(|test| test.status != SetupTestStatus::Failed) {
        return SetupState::Connected;
    }
    match before {
        SetupState::Incomplete => SetupState::Incomplete,
        SetupState::Connected | SetupState::Broken => SetupState::Broken,
    }
}
