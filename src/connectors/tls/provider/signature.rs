//! Signatures of certificates and handshakes, verified.

use p256::ecdsa::signature::Verifier;
use p256::ecdsa::signature::hazmat::PrehashVerifier;
use rsa::pkcs1::DecodeRsaPublicKey;
use rsa::traits::PublicKeyParts;
use rustls::SignatureScheme;
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm, alg_id};
use sha2::digest::FixedOutputReset;
use sha2::digest::const_oid::AssociatedOid;
use sha2::{Digest, Sha256, Sha384, Sha512};

/// What is verified: RSA and the curves P-256 and P-384, which is what authorities sign with. TLS 1.3 wants a curve with the
/// hash of its own size; TLS 1.2 and certificates mix them.
pub(in super::super) const ALGORITHMS: WebPkiSupportedAlgorithms = WebPkiSupportedAlgorithms {
    all: &[
        ECDSA_P256_SHA256,
        ECDSA_P256_SHA384,
        ECDSA_P384_SHA256,
        ECDSA_P384_SHA384,
        RSA_SHA256,
        RSA_SHA384,
        RSA_SHA512,
        PSS_SHA256,
        PSS_SHA384,
        PSS_SHA512,
    ],
    mapping: &[
        (SignatureScheme::ECDSA_NISTP256_SHA256, &[ECDSA_P256_SHA256, ECDSA_P384_SHA256]),
        (SignatureScheme::ECDSA_NISTP384_SHA384, &[ECDSA_P384_SHA384, ECDSA_P256_SHA384]),
        (SignatureScheme::RSA_PSS_SHA256, &[PSS_SHA256]),
        (SignatureScheme::RSA_PSS_SHA384, &[PSS_SHA384]),
        (SignatureScheme::RSA_PSS_SHA512, &[PSS_SHA512]),
        (SignatureScheme::RSA_PKCS1_SHA256, &[RSA_SHA256]),
        (SignatureScheme::RSA_PKCS1_SHA384, &[RSA_SHA384]),
        (SignatureScheme::RSA_PKCS1_SHA512, &[RSA_SHA512]),
    ],
};

const ECDSA_P256_SHA256: &Algorithm = &Algorithm(alg_id::ECDSA_P256, alg_id::ECDSA_SHA256, p256::<Sha256>);
const ECDSA_P256_SHA384: &Algorithm = &Algorithm(alg_id::ECDSA_P256, alg_id::ECDSA_SHA384, p256::<Sha384>);
const ECDSA_P384_SHA256: &Algorithm = &Algorithm(alg_id::ECDSA_P384, alg_id::ECDSA_SHA256, p384::<Sha256>);
const ECDSA_P384_SHA384: &Algorithm = &Algorithm(alg_id::ECDSA_P384, alg_id::ECDSA_SHA384, p384::<Sha384>);
const RSA_SHA256: &Algorithm = &Algorithm(alg_id::RSA_ENCRYPTION, alg_id::RSA_PKCS1_SHA256, pkcs1::<Sha256>);
const RSA_SHA384: &Algorithm = &Algorithm(alg_id::RSA_ENCRYPTION, alg_id::RSA_PKCS1_SHA384, pkcs1::<Sha384>);
const RSA_SHA512: &Algorithm = &Algorithm(alg_id::RSA_ENCRYPTION, alg_id::RSA_PKCS1_SHA512, pkcs1::<Sha512>);
const PSS_SHA256: &Algorithm = &Algorithm(alg_id::RSA_ENCRYPTION, alg_id::RSA_PSS_SHA256, pss::<Sha256>);
const PSS_SHA384: &Algorithm = &Algorithm(alg_id::RSA_ENCRYPTION, alg_id::RSA_PSS_SHA384, pss::<Sha384>);
const PSS_SHA512: &Algorithm = &Algorithm(alg_id::RSA_ENCRYPTION, alg_id::RSA_PSS_SHA512, pss::<Sha512>);

/// Whether a key, in the form of its algorithm, made this signature of a message.
type Verify = fn(key: &[u8], message: &[u8], signature: &[u8]) -> Option<()>;

/// One way of signing: what certificates call the kind of key, what they call the signature, and how to verify it.
struct Algorithm(AlgorithmIdentifier, AlgorithmIdentifier, Verify);

impl std::fmt::Debug for Algorithm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} over {:?}", self.1, self.0)
    }
}

impl SignatureVerificationAlgorithm for Algorithm {
    fn verify_signature(&self, key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), InvalidSignature> {
        (self.2)(key, message, signature).ok_or(InvalidSignature)
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        self.0
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        self.1
    }
}

fn p256<D: Digest>(key: &[u8], message: &[u8], signature: &[u8]) -> Option<()> {
    use p256::ecdsa::{DerSignature, VerifyingKey};
    let key = VerifyingKey::from_sec1_bytes(key).ok()?;
    key.verify_prehash(&D::digest(message), &DerSignature::from_bytes(signature).ok()?).ok()
}

fn p384<D: Digest>(key: &[u8], message: &[u8], signature: &[u8]) -> Option<()> {
    use p384::ecdsa::{DerSignature, VerifyingKey};
    let key = VerifyingKey::from_sec1_bytes(key).ok()?;
    key.verify_prehash(&D::digest(message), &DerSignature::from_bytes(signature).ok()?).ok()
}

fn pkcs1<D: Digest + AssociatedOid>(key: &[u8], message: &[u8], signature: &[u8]) -> Option<()> {
    let signature = rsa::pkcs1v15::Signature::try_from(signature).ok()?;
    rsa::pkcs1v15::VerifyingKey::<D>::new(rsa_key(key)?).verify(message, &signature).ok()
}

fn pss<D: Digest + FixedOutputReset>(key: &[u8], message: &[u8], signature: &[u8]) -> Option<()> {
    let signature = rsa::pss::Signature::try_from(signature).ok()?;
    rsa::pss::VerifyingKey::<D>::new(rsa_key(key)?).verify(message, &signature).ok()
}

/// Shorter keys can be broken, and no authority has issued any since 2014.
const SHORTEST_RSA_KEY: usize = 2048 / 8;

fn rsa_key(key: &[u8]) -> Option<rsa::PublicKey> {
    rsa::PublicKey::from_pkcs1_der(key).ok().filter(|key| key.size() >= SHORTEST_RSA_KEY)
}
