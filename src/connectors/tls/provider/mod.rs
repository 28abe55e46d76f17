//! The cryptography under rustls, in plain Rust.
//!
//! rustls leaves it to a provider. Its own two, ring and aws-lc-rs, are C and assembly, which would ask every builder for
//! clang with a WebAssembly back end; `rustls-rustcrypto` is an alpha release that brings a second generation of every
//! crate below. So this is glue between rustls and the RustCrypto crates, for what TLS 1.3 makes mandatory (RFC 8446, 9.1)
//! and what servers of TLS 1.2 have in common with it; nothing here computes anything itself.

mod exchange;
mod hash;
mod record;
mod signature;

pub(super) use signature::ALGORITHMS;

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, GetRandomFailed, KeyProvider, SecureRandom};
use rustls::pki_types::PrivateKeyDer;
use rustls::sign::SigningKey;

/// What rustls computes with.
pub(super) fn provider() -> CryptoProvider {
    CryptoProvider {
        cipher_suites: record::SUITES.to_vec(),
        kx_groups: vec![&exchange::P256],
        signature_verification_algorithms: ALGORITHMS,
        secure_random: &Platform,
        key_provider: &Platform,
    }
}

/// Randomness of the platform, and no keys: we show no certificate of our own.
#[derive(Debug)]
struct Platform;

impl SecureRandom for Platform {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), GetRandomFailed> {
        getrandom::fill(buffer).map_err(|_| GetRandomFailed)
    }
}

impl KeyProvider for Platform {
    fn load_private_key(&self, _: PrivateKeyDer<'static>) -> Result<Arc<dyn SigningKey>, rustls::Error> {
        Err(rustls::Error::General("keys of clients are not supported".to_owned()))
    }
}
