//! What Fivetran has and this product does not, in one table: lists are empty, nothing is found, and whatever would make
//! one is refused with the reason. A client that only looks works on; one that relies on it learns why it cannot.

use schemars::JsonSchema;
use serde::Serialize;

use crate::api::Services;
use crate::api::access::Needs;
use crate::api::cursor::Items;
use crate::api::error::{ApiError, ApiResult};
use crate::api::request::Call;
use crate::api::response::{Answer, NoData};
use crate::api::router::{Method, PAGED, Route, handler};
use crate::core::access::{Access, Resource};

/// A kind of thing there is none of.
struct Absent {
    /// The part of a path that says it is about this kind.
    part: &'static str,
    /// As messages name them.
    plural: &'static str,
    /// As the code of a 404 names one.
    kind: &'static str,
    /// Why there is none, and what there is instead.
    reason: &'static str,
}

/// Why a destination has none.
pub(super) const DESTINATION_CERTIFICATES: &str = "A destination has no certificate to approve: D1 and R2 are reached \
    through the Worker's bindings and Cloudflare's own API. For a source, approve it on the connection";

const ABSENT: &[Absent] = &[
    Absent {
        part: "certificates",
        plural: "Certificates",
        kind: "Certificate",
        reason: DESTINATION_CERTIFICATES,
    },
    Absent {
        part: "fingerprints",
        plural: "Fingerprints",
        kind: "Fingerprint",
        reason: "Fingerprints cannot be approved: there are no SSH tunnels here, so no SSH key is ever presented. Reach \
            private databases through Hyperdrive or Cloudflare Tunnel",
    },
    Absent {
        part: "public-key",
        plural: "Public keys",
        kind: "PublicKey",
        reason: "A group has no SSH key, because there are no SSH tunnels here. Reach private databases through \
            Hyperdrive or Cloudflare Tunnel",
    },
    Absent {
        part: "service-account",
        plural: "Service accounts",
        kind: "ServiceAccount",
        reason: "A group has no Google service account: this Worker runs in your own Cloudflare account, not in Google's \
            cloud. Give a connection credentials of its own",
    },
    Absent {
        part: "connect-card",
        plural: "Connect Cards",
        kind: "ConnectCard",
        reason: "There are no Connect Cards: no page is hosted here that asks a third party for credentials. Send them \
            in config",
    },
    Absent {
        part: "private-links",
        plural: "Private links",
        kind: "PrivateLink",
        reason: "Private links are an arrangement between clouds that a Worker has no part in. Reach private databases \
            through Hyperdrive or Cloudflare Tunnel",
    },
    Absent {
        part: "proxy",
        plural: "Proxy agents",
        kind: "ProxyAgent",
        reason: "There are no proxy agents. Reach private databases through Hyperdrive or Cloudflare Tunnel",
    },
    Absent {
        part: "hybrid-deployment-agents",
        plural: "Hybrid deployment agents",
        kind: "RemoteExecutionAgent",
        reason: "There are no hybrid deployment agents: the whole service runs in your own Cloudflare account already",
    },
    Absent {
        part: "external-secrets-managers",
        plural: "External secrets managers",
        kind: "ExternalSecretsManager",
        reason: "External secrets managers are not supported. Secrets are sealed with the keys in the Worker secret \
            FIVETRAN_VAULT_KEYS",
    },
    Absent {
        part: "external-secrets-managers-entities",
        plural: "Entities",
        kind: "ExternalSecretsManager",
        reason: "External secrets managers are not supported",
    },
    Absent {
        part: "hvr",
        plural: "HVR hubs",
        kind: "HvrHub",
        reason: "HVR hubs are on-premises software that this product does not talk to",
    },
    Absent {
        part: "connector-sdk",
        plural: "Connector SDK packages",
        kind: "ConnectorSdkPackage",
        reason: "Connector SDK packages are Python programs, which this Worker does not run",
    },
    Absent {
        part: "package-metadata",
        plural: "Transformation packages",
        kind: "TransformationPackage",
        reason: "There are no Quickstart packages",
    },
];

/// How a path of that kind answers.
#[derive(Clone, Copy)]
enum As {
    Empty,
    Missing,
    Refused,
}

/// Every path. `/connections` exists as `/connectors`, too, as everywhere.
const PATHS: &[(&str, &[(Method, As)])] = {
    use As::{Empty, Missing, Refused};
    use Method::{Delete, Get, Patch, Post};
    const COLLECTION: &[(Method, As)] = &[(Get, Empty), (Post, Refused)];
    const ITEM: &[(Method, As)] = &[(Get, Missing), (Delete, Missing)];
    const EDITABLE: &[(Method, As)] = &[(Get, Missing), (Patch, Missing), (Delete, Missing)];
    &[
        ("/v1/connections/{connection_id}/fingerprints", COLLECTION),
        ("/v1/connections/{connection_id}/fingerprints/{hash}", ITEM),
        ("/v1/destinations/{destination_id}/certificates", COLLECTION),
        ("/v1/destinations/{destination_id}/certificates/{hash}", ITEM),
        ("/v1/destinations/{destination_id}/fingerprints", COLLECTION),
        ("/v1/destinations/{destination_id}/fingerprints/{hash}", ITEM),
        ("/v1/connections/{connection_id}/connect-card", &[(Post, Refused)]),
        ("/v1/groups/{group_id}/public-key", &[(Get, Refused)]),
        ("/v1/groups/{group_id}/service-account", &[(Get, Refused)]),
        ("/v1/private-links", COLLECTION),
        ("/v1/private-links/{private_link_id}", EDITABLE),
        ("/v1/proxy", COLLECTION),
        ("/v1/proxy/{agent_id}", ITEM),
        ("/v1/proxy/{agent_id}/connections", &[(Get, Missing)]),
        ("/v1/proxy/{agent_id}/regenerate-secrets", &[(Post, Missing)]),
        ("/v1/hybrid-deployment-agents", COLLECTION),
        ("/v1/hybrid-deployment-agents/{agent_id}", ITEM),
        ("/v1/hybrid-deployment-agents/{agent_id}/re-auth", &[(Patch, Missing)]),
        ("/v1/hybrid-deployment-agents/{agent_id}/reset-credentials", &[(Post, Missing)]),
        ("/v1/external-secrets-managers", COLLECTION),
        ("/v1/external-secrets-managers-entities", &[(Get, Empty)]),
        ("/v1/external-secrets-managers/{esm_id}", EDITABLE),
        ("/v1/external-secrets-managers/{esm_id}/entities", &[(Get, Missing)]),
        ("/v1/hvr/register-hub", &[(Post, Refused)]),
        ("/v1/connector-sdk/packages", COLLECTION),
        ("/v1/connector-sdk/packages/{package_id}", EDITABLE),
        ("/v1/connector-sdk/packages/{package_id}/download", &[(Get, Missing)]),
        ("/v1/connector-sdk/migration/connections", &[(Get, Empty)]),
        ("/v1/transformations/package-metadata", &[(Get, Empty)]),
        ("/v1/transformations/package-metadata/{package_definition_id}", &[(Get, Missing)]),
    ]
};

pub(crate) fn routes() -> Vec<Route> {
    let route = |path: &str, method: Method, answer: As| {
        let (handler, summary) = match answer {
            As::Empty => (handler!(empty => Items<Thing>), "There is none: an empty list"),
            As::Missing => (handler!(missing), "There is none: 404"),
            As::Refused => (handler!(refused), "Not supported: 400 with the reason"),
        };
        Route::new(method, path, summary, needs(path, method), handler)
            .query(if matches!(answer, As::Empty) { PAGED } else { &[] })
    };
    let all = PATHS
        .iter()
        .flat_map(|(path, methods)| methods.iter().map(move |(method, answer)| (path, method, answer)));
    all.map(|(path, method, answer)| route(path, *method, *answer)).collect()
}

/// What there is none of needs no rights of its own, only the right to what it would belong to.
fn needs(path: &str, method: Method) -> Needs {
    let access = if method == Method::Get { Access::Read } else { Access::Manage };
    match path.split('/').nth(2) {
        Some("connections") => Needs::connection(access),
        Some("destinations") => Needs::on(Resource::Destination, access, "destination_id"),
        Some("groups") => Needs::group(access),
        _ => Needs::KEY,
    }
}

/// Something of which there is none.
#[derive(Serialize, JsonSchema)]
struct Thing {}

/// The kind a request is about, by the last part of its path that names one.
fn absent(call: &Call<'_>) -> ApiResult<&'static Absent> {
    let mut parts = call.request.path.split('/').rev();
    let found = parts.find_map(|part| ABSENT.iter().find(|absent| absent.part == part));
    found.ok_or_else(|| ApiError::new(404, "NotFound", "There is no such path"))
}

/// What the path is about must be there, or the answer would be about something else.
async fn require_parent(services: &Services, call: &Call<'_>) -> ApiResult<()> {
    let (connection, destination, group) =
        (call.part("connection_id"), call.part("destination_id"), call.part("group_id"));
    if !connection.is_empty() {
        super::connections::found(services, call).await?;
    }
    if !destination.is_empty() && services.control.destination(destination).await?.is_none() {
        return Err(ApiError::not_found("Destination", destination));
    }
    if !group.is_empty() && services.control.group(group).await?.is_none() {
        return Err(ApiError::not_found("Group", group));
    }
    Ok(())
}

async fn empty(services: &Services, call: &Call<'_>) -> ApiResult<Answer<Items<Thing>>> {
    require_parent(services, call).await?;
    call.page()?;
    let message = format!("{} retrieved successfully", absent(call)?.plural);
    Answer::new(message, &Items { items: Vec::new(), next_cursor: None })
}

async fn missing(services: &Services, call: &Call<'_>) -> ApiResult<Answer<NoData>> {
    require_parent(services, call).await?;
    let id = call.path.last().map(|(_, id)| id.as_str()).unwrap_or_default();
    Err(ApiError::not_found(absent(call)?.kind, id))
}

async fn refused(services: &Services, call: &Call<'_>) -> ApiResult<Answer<NoData>> {
    require_parent(services, call).await?;
    Err(ApiError::new(400, "NotSupported", absent(call)?.reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_is_about_a_kind_and_every_kind_has_a_path() {
        for (path, _) in PATHS {
            assert!(ABSENT.iter().any(|absent| path.split('/').any(|part| part == absent.part)), "{path}");
        }
        for absent in ABSENT {
            assert!(
                PATHS.iter().any(|(path, _)| path.split('/').any(|part| part == absent.part)),
                "{}",
                absent.part
            );
        }
    }
}
