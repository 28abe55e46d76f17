//! Which certificates are trusted: those a person approved, and those they vouch for.

use std::sync::OnceLock;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::provider::ALGORITHMS;
use crate::core::certificate::Certificate;

/// What was approved, and what a server showed instead.
#[derive(Debug)]
pub(super) struct Approvals {
    approved: Vec<CertificateDer<'static>>,
    /// Those of them that are authorities.
    authorities: RootCertStore,
    refused: OnceLock<Vec<u8>>,
}

impl Approvals {
    pub(super) fn of(approved: &[Certificate]) -> Self {
        let der = |one: &Certificate| CertificateDer::from(one.der().to_vec());
        let mut authorities = RootCertStore::empty();
        // Only what was made to sign: a trust anchor is not asked for that again, and a server whose certificate was approved
        // could vouch for others.
        authorities.add_parsable_certificates(approved.iter().filter(|one| one.is_authority()).map(der));
        let approved = approved.iter().map(der).collect();
        Self { approved, authorities, refused: OnceLock::new() }
    }

    /// The server's certificate, if it was refused and that is why the handshake failed.
    pub(super) fn refused(&self) -> Option<Vec<u8>> {
        self.refused.get().cloned()
    }

    fn judge(
        &self,
        own: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<(), Error> {
        // Who approves a server's very certificate has answered for its name and age, too.
        if self.approved.iter().any(|approved| approved == own) {
            return Ok(());
        }
        let parsed = ParsedCertificate::try_from(own)?;
        verify_server_cert_signed_by_trust_anchor(&parsed, &self.authorities, chain, now, ALGORITHMS.all)?;
        verify_server_name(&parsed, name)
    }
}

impl ServerCertVerifier for Approvals {
    fn verify_server_cert(
        &self,
        own: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.judge(own, chain, name, now).inspect_err(|_| {
            self.refused.get_or_init(|| own.to_vec());
        })?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        own: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, own, signature, &ALGORITHMS)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        own: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, own, signature, &ALGORITHMS)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ALGORITHMS.supported_schemes()
    }
}
