//! X.509 certificates, as far as telling one from another takes: names, digests, the public key. Whether a certificate is
//! good is nothing this module has an opinion on; the platform's TLS decides that.

use base64::Engine;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::{Error, Result};

/// Of either padding, as clients write it.
const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);

/// Bytes of the longest way to write a digest: 32 pairs of digits, a colon or a space behind each.
const LONGEST_DIGEST: usize = 32 * 3;

/// One certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    der: Vec<u8>,
    subject: String,
    issuer: String,
    public_key: Vec<u8>,
    is_authority: bool,
}

impl Certificate {
    /// Reads PEM, or DER in base64.
    ///
    /// # Errors
    /// [`InvalidInput`](super::ErrorKind::InvalidInput) when it is neither.
    pub fn from_text(text: &str) -> Result<Self> {
        let body = text.lines().filter(|line| !line.starts_with("-----")).flat_map(str::split_whitespace);
        let der = decode(&body.collect::<String>()).ok_or_else(malformed)?;
        Self::from_der(der)
    }

    /// Reads DER.
    ///
    /// # Errors
    /// As [`Certificate::from_text`].
    pub fn from_der(der: Vec<u8>) -> Result<Self> {
        let Fields { subject, issuer, public_key, is_authority } = Fields::of(&der).ok_or_else(malformed)?;
        Ok(Self { subject, issuer, public_key, is_authority, der })
    }

    /// DER.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// DER in base64.
    #[must_use]
    pub fn to_text(&self) -> String {
        STANDARD.encode(&self.der)
    }

    /// Whom it is for: `CN=db.example.com, O=Example`.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// Who vouches for it.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Whether it was made to sign others (`cA` of RFC 5280, 4.2.1.9).
    #[must_use]
    pub fn is_authority(&self) -> bool {
        self.is_authority
    }

    /// The key with its algorithm (`SubjectPublicKeyInfo`), DER in base64.
    #[must_use]
    pub fn public_key(&self) -> String {
        STANDARD.encode(&self.public_key)
    }

    /// Digest in hexadecimal.
    #[must_use]
    pub fn sha1(&self) -> String {
        hexadecimal(&Sha1::digest(&self.der))
    }

    /// Digest in hexadecimal.
    #[must_use]
    pub fn sha256(&self) -> String {
        hexadecimal(&Sha256::digest(&self.der))
    }

    /// Whether the text is a digest of it: SHA-256 or SHA-1, in hexadecimal (with colons or not) or base64.
    #[must_use]
    pub fn has_digest(&self, text: &str) -> bool {
        if text.len() > LONGEST_DIGEST {
            return false;
        }
        let plain = text.trim().replace(':', "").to_ascii_lowercase();
        let bytes = decode(text.trim()).unwrap_or_default();
        plain == self.sha256()
            || plain == self.sha1()
            || bytes == Sha256::digest(&self.der).as_slice()
            || bytes == Sha1::digest(&self.der).as_slice()
    }
}

fn malformed() -> Error {
    Error::invalid("This is not an X.509 certificate")
        .field("encoded_cert")
        .remedy("Send the certificate as PEM, or its DER form in base64")
}

fn decode(text: &str) -> Option<Vec<u8>> {
    let either = [alphabet::STANDARD, alphabet::URL_SAFE];
    either.iter().find_map(|alphabet| GeneralPurpose::new(alphabet, LENIENT).decode(text).ok())
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What is looked at of a certificate.
struct Fields {
    subject: String,
    issuer: String,
    public_key: Vec<u8>,
    is_authority: bool,
}

const BOOLEAN: u8 = 0x01;
const OCTETS: u8 = 0x04;
/// `[3] EXPLICIT Extensions`.
const EXTENSIONS: u8 = 0xa3;
/// `id-ce-basicConstraints`, 2.5.29.19.
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OBJECT_ID: u8 = 0x06;
/// `[0] EXPLICIT Version`, absent in version 1.
const VERSION: u8 = 0xa0;

impl Fields {
    /// `Certificate ::= SEQUENCE { TBSCertificate, … }` of RFC 5280, as far as the public key.
    fn of(der: &[u8]) -> Option<Self> {
        let mut whole = Der(der);
        let mut certificate = Der(whole.tagged(SEQUENCE)?);
        if !whole.0.is_empty() {
            return None;
        }
        let mut fields = Der(certificate.tagged(SEQUENCE)?);
        if fields.0.first() == Some(&VERSION) {
            fields.next()?;
        }
        let (_serial_number, _algorithm) = (fields.next()?, fields.next()?);
        let issuer = name(fields.tagged(SEQUENCE)?)?;
        let _validity = fields.next()?;
        let subject = name(fields.tagged(SEQUENCE)?)?;
        let before = fields.0;
        fields.tagged(SEQUENCE)?;
        let public_key = before.get(..before.len().checked_sub(fields.0.len())?)?.to_vec();
        let is_authority = loop {
            match fields.next() {
                Some((EXTENSIONS, extensions)) => break is_authority(extensions)?,
                // Unique identifiers, which nobody uses.
                Some(_) => {}
                None => break false,
            }
        };
        Some(Self { subject, issuer, public_key, is_authority })
    }
}

/// What the basic constraints among the extensions say. `None` where those are malformed.
fn is_authority(extensions: &[u8]) -> Option<bool> {
    let mut extensions = Der(Der(extensions).tagged(SEQUENCE)?);
    while !extensions.0.is_empty() {
        let mut extension = Der(extensions.tagged(SEQUENCE)?);
        if extension.tagged(OBJECT_ID)? != BASIC_CONSTRAINTS {
            continue;
        }
        let (tag, content) = extension.next()?;
        let value = if tag == BOOLEAN { extension.tagged(OCTETS)? } else { content };
        let mut constraints = Der(Der(value).tagged(SEQUENCE)?);
        return Some(matches!(constraints.next(), Some((BOOLEAN, [0xff]))));
    }
    Some(false)
}

/// A distinguished name in words, with the attributes people know; others are left out.
fn name(rdns: &[u8]) -> Option<String> {
    let mut parts = Vec::new();
    let mut rdns = Der(rdns);
    while !rdns.0.is_empty() {
        let mut attributes = Der(rdns.tagged(SET)?);
        while !attributes.0.is_empty() {
            let mut attribute = Der(attributes.tagged(SEQUENCE)?);
            let kind = attribute.tagged(OBJECT_ID)?;
            let (_, value) = attribute.next()?;
            let label = match kind {
                [0x55, 4, 3] => "CN",
                [0x55, 4, 6] => "C",
                [0x55, 4, 7] => "L",
                [0x55, 4, 8] => "ST",
                [0x55, 4, 10] => "O",
                [0x55, 4, 11] => "OU",
                _ => continue,
            };
            parts.push(format!("{label}={}", String::from_utf8_lossy(value)));
        }
    }
    Some(parts.join(", "))
}

/// Distinguished encoding, read from the front.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// Tag and content of the next element.
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (tag, rest) = self.0.split_first()?;
        let (first, rest) = rest.split_first()?;
        let (length, rest) = match usize::from(*first) {
            short @ 0..=0x7f => (short, rest),
            // No certificate is longer than three bytes count.
            long @ 0x81..=0x83 => {
                let (digits, rest) = rest.split_at_checked(long - 0x80)?;
                (digits.iter().fold(0, |length, digit| (length << 8) | usize::from(*digit)), rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((*tag, content))
    }

    /// Content of the next element, which has that tag.
    fn tagged(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.next().filter(|(found, _)| *found == tag).map(|(_, content)| content)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Self-signed, for `db.example.com` of `Example`, made by openssl.
    const PEM: &str = "-----BEGIN CERTIFICATE-----\n\
        MIIBrTCCAVOgAwIBAgIURrkFDHTJfRh4ecNx3U7bv3/mAyYwCgYIKoZIzj0EAwIw\n\
        KzEQMA4GA1UECgwHRXhhbXBsZTEXMBUGA1UEAwwOZGIuZXhhbXBsZS5jb20wIBcN\n\
        MjYxMTI3MDc1MzM3WhgPMjEyNjExMDMwNzUzMzdaMCsxEDAOBgNVBAoMB0V4YW1w\n\
        bGUxFzAVBgNVBAMMDmRiLmV4YW1wbGUuY29tMFkwEwYHKoZIzj0CAQYIKoZIzj0D\n\
        AQcDQgAEFgiymPbXWCEw47Rk6sX5i6NDFPSB8HhIs0f+QqYA7zJ7d4laB17yuMvh\n\
        2sTnyhhkQsYK8TnQLsQiI/kzr+S2EKNTMFEwHQYDVR0OBBYEFEbliaf4X4N0mdhL\n\
        h1Y6vUOYpjV0MB8GA1UdIwQYMBaAFEbliaf4X4N0mdhLh1Y6vUOYpjV0MA8GA1Ud\n\
        EwEB/wQFMAMBAf8wCgYIKoZIzj0EAwIDSAAwRQIhAK2zgpwXa5tbw6bngtyTy8Np\n\
        pQ0biJBiGLSPn5lP1jB0AiBx+evPcEJkruOf2Dx8IJNC+sFb1Ak1Ir7R+b9Cvd3P\n\
        7w==\n\
        -----END CERTIFICATE-----";

    #[test]
    fn a_certificate_is_read_as_openssl_reads_it() {
        let certificate = Certificate::from_text(PEM).unwrap();
        assert_eq!(certificate.subject(), "O=Example, CN=db.example.com");
        assert_eq!(certificate.issuer(), certificate.subject());
        assert_eq!(certificate.sha1(), "b795ee480fad536faebae6f6c2e614410be40e61");
        assert_eq!(certificate.sha256(), "722d3d95f0232c81c5c6a686f5da4b182c8d4c0bf3f13055954e58b82765d0f5");
        assert_eq!(
            certificate.public_key(),
            "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEFgiymPbXWCEw47Rk6sX5i6NDFPSB8HhIs0f+QqYA7zJ7d4laB17yuMvh2sTnyhhkQsYK8TnQLsQiI/kzr+S2EA=="
        );
        assert!(certificate.is_authority(), "openssl's own default for what signs itself");
        assert_eq!(Certificate::from_text(&certificate.to_text()).unwrap(), certificate);
    }

    #[test]
    fn a_digest_is_known_in_every_form_people_write_it() {
        let certificate = Certificate::from_text(PEM).unwrap();
        let colons = certificate
            .sha256()
            .as_bytes()
            .chunks(2)
            .map(|pair| String::from_utf8_lossy(pair).to_uppercase())
            .collect::<Vec<_>>()
            .join(":");
        let bytes = Sha256::digest(&certificate.der);
        let base64 = STANDARD.encode(bytes);
        for form in [
            certificate.sha256(),
            certificate.sha1(),
            colons,
            base64.trim_end_matches('=').to_owned(),
            base64,
        ] {
            assert!(certificate.has_digest(&form), "{form}");
        }
        for wrong in ["", "x", &certificate.sha256()[1..], &STANDARD.encode(&certificate.der)] {
            assert!(!certificate.has_digest(wrong), "{wrong}");
        }
    }

    #[test]
    fn i10_whatever_is_not_a_certificate_is_refused() {
        let der = Certificate::from_text(PEM).unwrap().der;
        for end in 0..der.len() {
            assert!(Certificate::from_der(der[..end].to_vec()).is_err(), "cut at {end}");
        }
        for wrong in ["", "-----BEGIN CERTIFICATE-----", "MIID9DCC", "hello", "4pml"] {
            let error = Certificate::from_text(wrong).unwrap_err();
            assert_eq!(error.field_name(), Some("encoded_cert"), "{wrong}");
        }
        // Damaged inside: any answer, but an answer.
        for at in 0..der.len() {
            let mut damaged = der.clone();
            damaged[at] ^= 0xff;
            let _ = Certificate::from_der(damaged);
        }
    }
}
