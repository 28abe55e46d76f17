//! Certificates that people approve for the sources of connections.
//!
//! An approval is tried before it is kept: the server must show this certificate, or one that it signed. So what is listed
//! is what connections accept, and not what somebody hoped for.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::actor;
use super::connections::found;
use crate::api::access::Needs;
use crate::api::cursor::Items;
use crate::api::error::{ApiError, ApiResult};
use crate::api::request::Call;
use crate::api::response::{Answer, NoData};
use crate::api::router::{Method, PAGED, Route, handler};
use crate::api::timestamp::Timestamp;
use crate::api::{Services, setup};
use crate::connectors::{Presented, Source, Trust};
use crate::control::certificates::ApprovedCertificate;
use crate::control::{Connection, ObjectKind};
use crate::core::access::{Access, Resource};
use crate::core::certificate::Certificate;
use crate::core::{Error, Result};

pub(crate) fn routes() -> Vec<Route> {
    const ALL: &str = "/v1/connections/{connection_id}/certificates";
    const ONE: &str = "/v1/connections/{connection_id}/certificates/{hash}";
    const ANY: &str = "/v1/certificates";
    const TRIED: &str = "Looks at the server: it must show this certificate, or one that it signed. From then on the \
        connection accepts it, whoever issued it.";
    let in_body = Needs::in_body(
        Resource::Connector,
        Access::Manage,
        &[(ObjectKind::Connection, "/connection_id"), (ObjectKind::Destination, "/destination_id")],
    );
    let manage = Needs::connection(Access::Manage);
    let read = Needs::connection(Access::Read);
    vec![
        Route::new(Method::Post, ANY, "Approve a certificate", in_body, handler!(approve_any, ApproveAny))
            .details(TRIED),
        Route::new(
            Method::Post,
            ALL,
            "Approve a certificate of the source",
            manage,
            handler!(approve, Approve => CertificateBody),
        )
        .status(201)
        .details(TRIED),
        Route::new(
            Method::Get,
            ALL,
            "List approved certificates",
            read,
            handler!(list => Items<CertificateBody>),
        )
        .query(PAGED),
        Route::new(Method::Get, ONE, "Read an approved certificate", read, handler!(get => CertificateBody)),
        Route::new(Method::Delete, ONE, "Revoke an approval", manage, handler!(revoke))
            .details("Forgets the approval. What a public authority vouches for stays trusted."),
    ]
}

/// A certificate to approve.
#[derive(Deserialize, JsonSchema)]
struct Approve {
    /// Its SHA-256 or SHA-1, in hexadecimal or base64.
    hash: String,
    /// The certificate: PEM, or DER in base64.
    encoded_cert: String,
}

/// A certificate to approve, and for what.
#[derive(Deserialize, JsonSchema)]
struct ApproveAny {
    /// Its SHA-256 or SHA-1, in hexadecimal or base64.
    hash: String,
    /// The certificate: PEM, or DER in base64.
    encoded_cert: String,
    /// The connection whose source shows it.
    connection_id: Option<String>,
    /// Destinations show no certificates here: 400.
    destination_id: Option<String>,
}

/// An approved certificate.
#[derive(Serialize, JsonSchema)]
struct CertificateBody {
    /// The hash in base64url.
    id: String,
    /// Whom it is for.
    name: String,
    /// As it was sent.
    hash: String,
    /// Always `X.509`.
    r#type: &'static str,
    /// In hexadecimal.
    sha1: String,
    /// In hexadecimal.
    sha256: String,
    /// The public key with its algorithm: DER in base64.
    public_key: String,
    validated_date: Timestamp,
    /// User or key.
    validated_by: String,
}

impl CertificateBody {
    fn of(approved: ApprovedCertificate) -> Self {
        let ApprovedCertificate { hash, certificate, validated_by, validated_at, private: _ } = approved;
        Self {
            id: URL_SAFE_NO_PAD.encode(&hash),
            name: certificate.subject().to_owned(),
            r#type: "X.509",
            sha1: certificate.sha1(),
            sha256: certificate.sha256(),
            public_key: certificate.public_key(),
            validated_date: Timestamp(validated_at),
            validated_by,
            hash,
        }
    }
}

async fn approve_any(services: &Services, call: &Call<'_>, body: ApproveAny) -> ApiResult<Answer<NoData>> {
    if body.destination_id.is_some() {
        return Err(ApiError::new(400, "NotSupported", super::unavailable::DESTINATION_CERTIFICATES));
    }
    let Some(id) = body.connection_id else {
        return Err(Error::invalid("This says not for what the certificate is approved")
            .field("connection_id")
            .remedy("Name a connection")
            .into());
    };
    let connection = services.control.connection(&id).await?;
    let connection = connection.ok_or_else(|| ApiError::not_found("Connection", &id))?;
    let approve = Approve { hash: body.hash, encoded_cert: body.encoded_cert };
    approve_for(services, call, &connection, approve).await?;
    Ok(Answer::done("The certificate has been approved."))
}

async fn approve(services: &Services, call: &Call<'_>, body: Approve) -> ApiResult<Answer<CertificateBody>> {
    let approved = approve_for(services, call, &found(services, call).await?, body).await?;
    Answer::new("The certificate has been approved.", &CertificateBody::of(approved))
}

async fn approve_for(
    services: &Services,
    call: &Call<'_>,
    connection: &Connection,
    Approve { hash, encoded_cert }: Approve,
) -> ApiResult<ApprovedCertificate> {
    let certificate = Certificate::from_text(&encoded_cert)?;
    if !certificate.has_digest(&hash) {
        return Err(Error::invalid("This is not the hash of encoded_cert")
            .field("hash")
            .remedy(format!("Its SHA-256 is {}", certificate.sha256()))
            .into());
    }
    let approved = std::slice::from_ref(&certificate);
    let source = setup::open_source(services, &connection.service, &connection.config.open()?, approved)?;
    let private = is_private(&certificate, source.certificate().await?)?;
    keep(services, call, &connection.id, &hash, certificate, private).await?;
    // Somebody may have approved it before: what is kept is the answer. Nothing is where the connection was deleted meanwhile.
    let kept = services.control.certificate(&connection.id, &hash).await?;
    kept.ok_or_else(|| ApiError::not_found("Connection", &connection.id))
}

async fn keep(
    services: &Services,
    call: &Call<'_>,
    connection_id: &str,
    hash: &str,
    certificate: Certificate,
    private: bool,
) -> Result<()> {
    let validated_by = actor(call).unwrap_or_default();
    let (hash, validated_at) = (hash.to_owned(), services.control.now());
    let new = ApprovedCertificate { hash, certificate, private, validated_by, validated_at };
    services.control.approve_certificate(connection_id, &new).await
}

/// Opens a source as [`setup::open_source`] does and, where `trust_certificates` asks for it, so that it accepts the
/// certificate it shows at this moment; gives that too, if nobody vouched for it before. Where none can be seen there is
/// none; the setup tests say why.
pub(super) async fn open_trusting(
    services: &Services,
    service: &str,
    config: &Value,
    approved: &[Certificate],
    trust_certificates: Option<bool>,
) -> ApiResult<(Box<dyn Source>, Option<Certificate>)> {
    let source = setup::open_source(services, service, config, approved)?;
    if trust_certificates != Some(true) {
        return Ok((source, None));
    }
    match source.certificate().await {
        Ok(Presented::Certificate(shown, Trust::Nobody(_))) => {
            let approved = [approved, std::slice::from_ref(&shown)].concat();
            Ok((setup::open_source(services, service, config, &approved)?, Some(shown)))
        }
        _ => Ok((source, None)),
    }
}

/// Approves what was trusted on sight, once the connection it is for is there.
pub(super) async fn keep_sighted(
    services: &Services,
    call: &Call<'_>,
    connection_id: &str,
    sighted: Option<Certificate>,
) -> Result<()> {
    match sighted {
        Some(certificate) => {
            let hash = certificate.sha256();
            keep(services, call, connection_id, &hash, certificate, true).await
        }
        None => Ok(()),
    }
}

/// Whether the approval is what makes connections accept the server; an error where it would not.
fn is_private(certificate: &Certificate, presented: Presented) -> ApiResult<bool> {
    let (shown, trust) = match presented {
        Presented::Nothing(reason) => return Err(ApiError::new(400, "NotSupported", reason)),
        Presented::Certificate(shown, trust) => (shown, trust),
    };
    match trust {
        Trust::Approved => Ok(true),
        Trust::Public if shown == *certificate => Ok(false),
        Trust::Public | Trust::Nobody(_) => {
            let (name, issuer) = (shown.subject(), shown.issuer());
            Err(Error::invalid(format!(
                "The server shows another certificate, for {name}, issued by {issuer}"
            ))
            .field("encoded_cert")
            .remedy(format!(
                "Approve the one with SHA-256 {}, or the authority's that signed it; or correct config.host",
                shown.sha256()
            ))
            .into())
        }
    }
}

async fn list(services: &Services, call: &Call<'_>) -> ApiResult<Answer<Items<CertificateBody>>> {
    let connection = found(services, call).await?;
    let listing = services.control.certificates(&connection.id, &call.page()?).await?;
    let items = Items::of(listing, CertificateBody::of);
    Answer::new("Connection certificates retrieved successfully", &items)
}

async fn get(services: &Services, call: &Call<'_>) -> ApiResult<Answer<CertificateBody>> {
    let (connection, hash) = (found(services, call).await?, call.part("hash"));
    let approved = services.control.certificate(&connection.id, hash).await?;
    let approved = approved.ok_or_else(|| ApiError::not_found("Certificate", hash))?;
    Answer::new("Connection certificate details retrieved successfully", &CertificateBody::of(approved))
}

async fn revoke(services: &Services, call: &Call<'_>) -> ApiResult<Answer<NoData>> {
    let (connection, hash) = (found(services, call).await?, call.part("hash"));
    if !services.control.revoke_certificate(&connection.id, hash).await? {
        return Err(ApiError::not_found("Certificate", hash));
    }
    Ok(Answer::done(format!("Certificate '{hash}' has been revoked for connection '{}'", connection.id)))
}
