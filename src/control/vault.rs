//! Credentials at rest: AES-256-GCM, keys by id so that they can be rotated (invariant I6).
//!
//! A sealed value reads `v1.<key id>.<nonce>.<ciphertext and tag>`, the last two in unpadded base64url. The key id
//! and the place of the value (`connections/abc`) are authenticated with it, so that a value copied onto another row
//! does not open there. Nonces are 96 random bits: with one key, 2^32 sealings keep the chance of a repeat below
//! 2^-32, far beyond what one account's edits reach.

use std::fmt;
use std::rc::Rc;

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Key, Nonce};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::Value;

use super::api_keys::sha256_hex;
use crate::core::redact::{MASK, Secret};
use crate::core::{Error, Result};
use crate::ports::Random;

/// Version of the format, in front of every sealed value.
const FORMAT: &str = "v1";
/// 96 bits, the size GCM is made for.
const NONCE_BYTES: usize = 12;
/// The Worker secret that holds the keys.
const KEYS_SECRET: &str = "FIVETRAN_VAULT_KEYS";

/// Seals and opens. Cheap to clone.
#[derive(Clone)]
pub struct Vault {
    /// The first seals, all open. Never empty.
    keys: Rc<Vec<VaultKey>>,
    random: Rc<dyn Random>,
}

struct VaultKey {
    id: String,
    cipher: Aes256Gcm,
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.keys.iter().map(|key| &key.id)).finish()
    }
}

impl Vault {
    /// Reads the keys from `id:base64key[,id2:base64key2…]`, each key 32 bytes. The first key seals, all open: to
    /// rotate, put a new key in front, and drop the old one when nothing is sealed with it any more.
    ///
    /// # Errors
    /// [`InvalidInput`](crate::core::ErrorKind::InvalidInput) naming the secret and what is wrong with it.
    pub fn new(keys: &Secret, random: Rc<dyn Random>) -> Result<Self> {
        let keys = keys
            .expose()
            .split(',')
            .map(str::trim)
            .filter(|entry| !entry.is_empty())
            .map(read_key)
            .collect::<Result<Vec<_>>>()?;
        if keys.is_empty() {
            return Err(malformed("It is empty"));
        }
        // Under one id for two keys, what the second had sealed could never be opened.
        for (at, key) in keys.iter().enumerate() {
            if keys.iter().take(at).any(|earlier| earlier.id == key.id) {
                return Err(malformed(&format!("Key id '{}' is there twice", key.id)));
            }
        }
        Ok(Self { keys: Rc::new(keys), random })
    }

    /// Seals a value for the place where it will be kept.
    ///
    /// # Errors
    /// When the platform has no entropy.
    pub fn seal(&self, place: &str, clear: &[u8]) -> Result<String> {
        let Some(key) = self.keys.first() else {
            return Err(malformed("It is empty"));
        };
        let mut nonce = [0_u8; NONCE_BYTES];
        self.random.fill(&mut nonce)?;
        let sealed = key
            .cipher
            .encrypt(&Nonce::from(nonce), Payload { msg: clear, aad: associated(&key.id, place).as_bytes() })
            .map_err(|_| Error::internal("The vault could not seal a value"))?;
        Ok(format!(
            "{FORMAT}.{}.{}.{}",
            key.id,
            URL_SAFE_NO_PAD.encode(nonce),
            URL_SAFE_NO_PAD.encode(sealed)
        ))
    }

    /// Opens a value kept at that place.
    ///
    /// # Errors
    /// [`Internal`](crate::core::ErrorKind::Internal) when its key is not among ours, or it was sealed for another
    /// place or altered. The message names key and place, never the content.
    pub fn open(&self, place: &str, sealed: &str) -> Result<Vec<u8>> {
        let mut parts = sealed.splitn(4, '.');
        let (Some(FORMAT), Some(id), Some(nonce), Some(body)) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Error::internal(format!("The secret of {place} is not in the vault's format")));
        };
        let key = self.keys.iter().find(|key| key.id == id).ok_or_else(|| {
            Error::internal(format!(
                "The secret of {place} is sealed with key '{id}', which is not configured"
            ))
            .remedy(format!("Add the key '{id}' back to the end of {KEYS_SECRET}"))
        })?;
        let damaged = || {
            Error::internal(format!("The secret of {place} does not open with key '{id}'"))
                .remedy(format!("Restore the key '{id}' of {KEYS_SECRET}, or enter the credentials again"))
        };
        let nonce = URL_SAFE_NO_PAD.decode(nonce).map_err(|_| damaged())?;
        let nonce = <[u8; NONCE_BYTES]>::try_from(nonce.as_slice()).map_err(|_| damaged())?;
        let body = URL_SAFE_NO_PAD.decode(body).map_err(|_| damaged())?;
        key.cipher
            .decrypt(&Nonce::from(nonce), Payload { msg: &body, aad: associated(id, place).as_bytes() })
            .map_err(|_| damaged())
    }

    /// The ids of the keys; the first one's key seals.
    pub(crate) fn key_ids(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(|key| key.id.as_str())
    }

    /// How everything begins that is sealed today.
    pub(crate) fn newest_head(&self) -> String {
        format!("{FORMAT}.{}.", self.key_ids().next().unwrap_or_default())
    }

    /// Seals a JSON document.
    ///
    /// # Errors
    /// As [`Vault::seal`].
    pub(crate) fn seal_json(&self, place: &str, clear: &Value) -> Result<SealedJson> {
        let sealed = self.seal(place, clear.to_string().as_bytes())?;
        Ok(self.sealed_json(place, sealed))
    }

    /// Wraps a sealed JSON document read from its place.
    pub(crate) fn sealed_json(&self, place: &str, sealed: String) -> SealedJson {
        SealedJson { vault: self.clone(), place: place.to_owned(), sealed }
    }
}

/// Tells one sealing from every other: each takes a nonce of its own. It tells nothing of what is sealed.
pub(crate) fn mark(sealed: &str) -> String {
    sha256_hex(sealed.as_bytes())
}

/// What is authenticated besides the content.
fn associated(key_id: &str, place: &str) -> String {
    format!("{FORMAT}|{key_id}|{place}")
}

fn read_key(entry: &str) -> Result<VaultKey> {
    let (id, key) = entry.split_once(':').ok_or_else(|| malformed("An entry has no ':'"))?;
    if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_') {
        return Err(malformed("A key id is not made of letters, digits, '-' and '_'"));
    }
    let bytes = STANDARD.decode(key).map_err(|_| malformed(&format!("Key '{id}' is not base64")))?;
    let key = Key::<Aes256Gcm>::try_from(bytes.as_slice())
        .map_err(|_| malformed(&format!("Key '{id}' has {} bytes, not 32", bytes.len())))?;
    Ok(VaultKey { id: id.to_owned(), cipher: Aes256Gcm::new(&key) })
}

fn malformed(what: &str) -> Error {
    Error::invalid(format!("The vault has no usable keys. {what}"))
        .field(KEYS_SECRET)
        .remedy("Set it to `<id>:<32 bytes in base64>`, for example with `openssl rand -base64 32`")
}

/// A JSON document with secrets, sealed until it is needed. `Debug` prints the mask.
#[derive(Clone)]
pub struct SealedJson {
    vault: Vault,
    place: String,
    sealed: String,
}

impl SealedJson {
    /// The document in clear. Do not log, format or store the result; keep it as briefly as possible.
    ///
    /// # Errors
    /// As [`Vault::open`].
    pub fn open(&self) -> Result<Value> {
        let clear = self.vault.open(&self.place, &self.sealed)?;
        // The parser's own message could quote the content, so it is not kept as the cause.
        serde_json::from_slice(&clear)
            .map_err(|_| Error::internal(format!("The secret of {} is not JSON", self.place)))
    }

    /// The text as stored.
    pub(crate) fn as_stored(&self) -> &str {
        &self.sealed
    }
}

impl fmt::Debug for SealedJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}
