//! Records sealed and opened: the cipher suites.

use aes_gcm::Aes128Gcm;
use aes_gcm::aead::array::typenum::{U12, U16};
use aes_gcm::aead::{AeadInOut, KeyInit};
use chacha20poly1305::ChaCha20Poly1305;
use rustls::crypto::cipher::{
    AeadKey, InboundOpaqueMessage, InboundPlainMessage, Iv, KeyBlockShape, MessageDecrypter,
    MessageEncrypter, NONCE_LEN, Nonce, OutboundOpaqueMessage, OutboundPlainMessage, PrefixedPayload,
    Tls12AeadAlgorithm, Tls13AeadAlgorithm, UnsupportedOperationError, make_tls12_aad, make_tls13_aad,
};
use rustls::crypto::tls12::PrfUsingHmac;
use rustls::crypto::tls13::HkdfUsingHmac;
use rustls::crypto::{CipherSuiteCommon, KeyExchangeAlgorithm};
use rustls::{
    CipherSuite, ConnectionTrafficSecrets, ContentType, Error, ProtocolVersion, SignatureScheme,
    SupportedCipherSuite, Tls12CipherSuite, Tls13CipherSuite,
};

use super::hash::Sha256;

/// In the order they are offered. ChaCha20 comes first: in WebAssembly, which has no instructions for AES, it is several
/// times as fast.
pub(super) static SUITES: &[SupportedCipherSuite] = &[
    SupportedCipherSuite::Tls13(&Tls13CipherSuite {
        common: CipherSuiteCommon {
            suite: CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
            hash_provider: &Sha256,
            confidentiality_limit: u64::MAX,
        },
        hkdf_provider: &HkdfUsingHmac(&Sha256),
        aead_alg: &ChaCha20,
        quic: None,
    }),
    SupportedCipherSuite::Tls13(&Tls13CipherSuite {
        common: gcm(CipherSuite::TLS13_AES_128_GCM_SHA256),
        hkdf_provider: &HkdfUsingHmac(&Sha256),
        aead_alg: &AesGcm,
        quic: None,
    }),
    SupportedCipherSuite::Tls12(&Tls12CipherSuite {
        common: gcm(CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256),
        kx: KeyExchangeAlgorithm::ECDHE,
        sign: &[SignatureScheme::ECDSA_NISTP384_SHA384, SignatureScheme::ECDSA_NISTP256_SHA256],
        aead_alg: &AesGcm,
        prf_provider: &PrfUsingHmac(&Sha256),
    }),
    SupportedCipherSuite::Tls12(&Tls12CipherSuite {
        common: gcm(CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256),
        kx: KeyExchangeAlgorithm::ECDHE,
        sign: &[
            SignatureScheme::RSA_PSS_SHA512,
            SignatureScheme::RSA_PSS_SHA384,
            SignatureScheme::RSA_PSS_SHA256,
            SignatureScheme::RSA_PKCS1_SHA512,
            SignatureScheme::RSA_PKCS1_SHA384,
            SignatureScheme::RSA_PKCS1_SHA256,
        ],
        aead_alg: &AesGcm,
        prf_provider: &PrfUsingHmac(&Sha256),
    }),
];

/// AES-GCM may seal 2^24.5 full records under one key (RFC 8446, 5.5); rustls asks for new keys, or ends, before.
const fn gcm(suite: CipherSuite) -> CipherSuiteCommon {
    CipherSuiteCommon { suite, hash_provider: &Sha256, confidentiality_limit: 1 << 24 }
}

/// Bytes of a key of AES-128.
const AES_KEY: usize = 16;

/// Bytes of a nonce that travel with a record of TLS 1.2.
const EXPLICIT: usize = 8;

/// Bytes of the authentication tag of both ciphers.
const TAG: usize = 16;

/// Most bytes of a record's content (RFC 5246, 6.2.1).
const MOST_CONTENT: usize = 1 << 14;

struct ChaCha20;

impl Tls13AeadAlgorithm for ChaCha20 {
    fn encrypter(&self, key: AeadKey, iv: Iv) -> Box<dyn MessageEncrypter> {
        Box::new(Records::<ChaCha20Poly1305>::new(&key, iv))
    }

    fn decrypter(&self, key: AeadKey, iv: Iv) -> Box<dyn MessageDecrypter> {
        Box::new(Records::<ChaCha20Poly1305>::new(&key, iv))
    }

    fn key_len(&self) -> usize {
        32
    }

    fn extract_keys(
        &self,
        key: AeadKey,
        iv: Iv,
    ) -> Result<ConnectionTrafficSecrets, UnsupportedOperationError> {
        Ok(ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv })
    }
}

struct AesGcm;

impl Tls13AeadAlgorithm for AesGcm {
    fn encrypter(&self, key: AeadKey, iv: Iv) -> Box<dyn MessageEncrypter> {
        Box::new(Records::<Aes128Gcm>::new(&key, iv))
    }

    fn decrypter(&self, key: AeadKey, iv: Iv) -> Box<dyn MessageDecrypter> {
        Box::new(Records::<Aes128Gcm>::new(&key, iv))
    }

    fn key_len(&self) -> usize {
        AES_KEY
    }

    fn extract_keys(
        &self,
        key: AeadKey,
        iv: Iv,
    ) -> Result<ConnectionTrafficSecrets, UnsupportedOperationError> {
        Ok(ConnectionTrafficSecrets::Aes128Gcm { key, iv })
    }
}

impl Tls12AeadAlgorithm for AesGcm {
    fn encrypter(&self, key: AeadKey, salt: &[u8], explicit: &[u8]) -> Box<dyn MessageEncrypter> {
        Box::new(Explicit(Records::new(&key, joined(salt, explicit))))
    }

    fn decrypter(&self, key: AeadKey, salt: &[u8]) -> Box<dyn MessageDecrypter> {
        Box::new(Explicit(Records::new(&key, joined(salt, &[]))))
    }

    fn key_block_shape(&self) -> KeyBlockShape {
        KeyBlockShape {
            enc_key_len: AES_KEY,
            fixed_iv_len: NONCE_LEN - EXPLICIT,
            explicit_nonce_len: EXPLICIT,
        }
    }

    fn extract_keys(
        &self,
        key: AeadKey,
        salt: &[u8],
        explicit: &[u8],
    ) -> Result<ConnectionTrafficSecrets, UnsupportedOperationError> {
        Ok(ConnectionTrafficSecrets::Aes128Gcm { key, iv: joined(salt, explicit) })
    }
}

/// The two parts of a nonce of GCM in TLS 1.2 (RFC 5288, 3).
fn joined(salt: &[u8], explicit: &[u8]) -> Iv {
    let mut nonce = [0; NONCE_LEN];
    nonce.iter_mut().zip(salt.iter().chain(explicit)).for_each(|(place, byte)| *place = *byte);
    Iv::new(nonce)
}

/// One direction of a connection, as TLS 1.3 seals it (RFC 8446, 5.2).
struct Records<A> {
    /// Absent when the key has another length than the cipher's, which no suite above allows.
    cipher: Option<A>,
    iv: Iv,
}

/// What both ciphers are.
trait Cipher: AeadInOut<NonceSize = U12, TagSize = U16> + Send + Sync {}
impl<A: AeadInOut<NonceSize = U12, TagSize = U16> + Send + Sync> Cipher for A {}

impl<A: Cipher + KeyInit> Records<A> {
    fn new(key: &AeadKey, iv: Iv) -> Self {
        Self { cipher: A::new_from_slice(key.as_ref()).ok(), iv }
    }
}

impl<A: Cipher> Records<A> {
    /// Encrypts in place and gives the tag.
    fn seal(&self, nonce: [u8; NONCE_LEN], aad: &[u8], content: &mut [u8]) -> Result<[u8; TAG], Error> {
        let cipher = self.cipher.as_ref().ok_or(Error::EncryptError)?;
        let tag = cipher.encrypt_inout_detached(&nonce.into(), aad, content.into());
        tag.map(Into::into).map_err(|_| Error::EncryptError)
    }

    /// Checks the tag at the end, decrypts what is before it in place and gives its length.
    fn open(&self, nonce: [u8; NONCE_LEN], aad: &[u8], sealed: &mut [u8]) -> Result<usize, Error> {
        let cipher = self.cipher.as_ref().ok_or(Error::DecryptError)?;
        let (content, tag) = sealed.split_last_chunk_mut::<TAG>().ok_or(Error::DecryptError)?;
        let length = content.len();
        let opened = cipher.decrypt_inout_detached(&nonce.into(), aad, content.into(), &(*tag).into());
        opened.map(|()| length).map_err(|_| Error::DecryptError)
    }
}

impl<A: Cipher> MessageEncrypter for Records<A> {
    fn encrypt(
        &mut self,
        message: OutboundPlainMessage<'_>,
        seq: u64,
    ) -> Result<OutboundOpaqueMessage, Error> {
        let total = self.encrypted_payload_len(message.payload.len());
        let mut payload = PrefixedPayload::with_capacity(total);
        payload.extend_from_chunks(&message.payload);
        payload.extend_from_slice(&[message.typ.into()]);
        let tag = self.seal(Nonce::new(&self.iv, seq).0, &make_tls13_aad(total), payload.as_mut())?;
        payload.extend_from_slice(&tag);
        // Records of TLS 1.3 say 1.2 of themselves (RFC 8446, 5.1).
        Ok(OutboundOpaqueMessage::new(ContentType::ApplicationData, ProtocolVersion::TLSv1_2, payload))
    }

    fn encrypted_payload_len(&self, content: usize) -> usize {
        content + 1 + TAG
    }
}

impl<A: Cipher> MessageDecrypter for Records<A> {
    fn decrypt<'a>(
        &mut self,
        mut message: InboundOpaqueMessage<'a>,
        seq: u64,
    ) -> Result<InboundPlainMessage<'a>, Error> {
        let aad = make_tls13_aad(message.payload.len());
        let length = self.open(Nonce::new(&self.iv, seq).0, &aad, &mut message.payload)?;
        message.payload.truncate(length);
        message.into_tls13_unpadded_message()
    }
}

/// One direction of a connection, as TLS 1.2 seals it with GCM: a part of the nonce travels in front (RFC 5288, 3).
struct Explicit(Records<Aes128Gcm>);

impl MessageEncrypter for Explicit {
    fn encrypt(
        &mut self,
        message: OutboundPlainMessage<'_>,
        seq: u64,
    ) -> Result<OutboundOpaqueMessage, Error> {
        let nonce = Nonce::new(&self.0.iv, seq).0;
        let (_, explicit) = nonce.split_last_chunk::<EXPLICIT>().ok_or(Error::EncryptError)?;
        let aad = make_tls12_aad(seq, message.typ, message.version, message.payload.len());
        let mut payload = PrefixedPayload::with_capacity(self.encrypted_payload_len(message.payload.len()));
        payload.extend_from_slice(explicit);
        payload.extend_from_chunks(&message.payload);
        let (_, content) = payload.as_mut().split_at_mut_checked(EXPLICIT).ok_or(Error::EncryptError)?;
        let tag = self.0.seal(nonce, &aad, content)?;
        payload.extend_from_slice(&tag);
        Ok(OutboundOpaqueMessage::new(message.typ, message.version, payload))
    }

    fn encrypted_payload_len(&self, content: usize) -> usize {
        EXPLICIT + content + TAG
    }
}

impl MessageDecrypter for Explicit {
    fn decrypt<'a>(
        &mut self,
        mut message: InboundOpaqueMessage<'a>,
        seq: u64,
    ) -> Result<InboundPlainMessage<'a>, Error> {
        let content = message.payload.len().checked_sub(EXPLICIT + TAG).ok_or(Error::DecryptError)?;
        if content > MOST_CONTENT {
            return Err(Error::PeerSentOversizedRecord);
        }
        let aad = make_tls12_aad(seq, message.typ, message.version, content);
        let (explicit, sealed) = message.payload.split_at_mut_checked(EXPLICIT).ok_or(Error::DecryptError)?;
        let salt = self.0.iv.as_ref().get(..NONCE_LEN - EXPLICIT).unwrap_or_default();
        let nonce = joined(salt, explicit);
        self.0.open(Nonce::new(&nonce, 0).0, &aad, sealed)?;
        Ok(message.into_plain_message_range(EXPLICIT..EXPLICIT + content))
    }
}
