//! The keys that may sign tokens, and which algorithms each of them is good for.
//!
//! Owns the checks a key must pass before the server starts. `config` calls the `check_` functions to
//! blame the right setting; [`Verifier`](super::Verifier) reads the same keys through [`Key`].

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey};

/// The shortest signing secret, in bytes: the output of SHA-256 (RFC 7518 section 3.2).
const SECRET_MIN_BYTES: usize = 32;

/// The shortest RSA modulus, in bytes (RFC 7518 section 3.3 asks for 2048 bits).
const RSA_MIN_BYTES: usize = 256;

/// What the configuration says about tokens.
#[derive(Clone, Debug, Default)]
pub struct KeySettings {
    /// The shared secret for HS256, HS384 and HS512.
    pub secret: Option<Secret>,
    /// A PEM file with one public key, and what it holds.
    pub public_key_pem: Option<(PathBuf, Vec<u8>)>,
    /// A JWK set file (RFC 7517), and what it holds.
    pub jwks: Option<(PathBuf, Vec<u8>)>,
    /// What `iss` must be; unchecked if absent.
    pub issuer: Option<String>,
    /// What `aud` must be or contain; unchecked if absent.
    pub audience: Option<String>,
    /// How far clocks may differ when `exp` and `nbf` are checked.
    pub leeway: Duration,
}

impl KeySettings {
    /// True if there is no key at all, so that no token could ever be good.
    pub fn is_empty(&self) -> bool {
        self.secret.is_none() && self.public_key_pem.is_none() && self.jwks.is_none()
    }
}

/// A signing secret of at least 32 bytes. Its `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// Takes the bytes as they are.
    ///
    /// # Errors
    /// If there are fewer than 32 of them: a sentence that says so.
    pub fn new(bytes: Vec<u8>) -> Result<Secret, String> {
        if bytes.len() < SECRET_MIN_BYTES {
            return Err(format!(
                "a signing secret needs at least {SECRET_MIN_BYTES} bytes, this one has {}",
                bytes.len()
            ));
        }
        Ok(Secret(bytes))
    }

    /// A secret nobody else knows, for one run.
    ///
    /// # Errors
    /// If the operating system gives no randomness.
    pub fn random() -> Result<Secret, String> {
        let mut bytes = vec![0; SECRET_MIN_BYTES];
        getrandom::fill(&mut bytes)
            .map_err(|error| format!("the system gives no random bytes: {error}"))?;
        Ok(Secret(bytes))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(hidden)")
    }
}

/// Checks that a PEM file holds one public key that tokens can be checked with.
///
/// # Errors
/// A sentence that says what is wrong with it and what is allowed.
pub fn check_public_key(pem: &[u8]) -> Result<(), String> {
    Key::from_pem(pem).map(|_| ())
}

/// Checks that a JWK set holds at least one key that tokens can be checked with.
///
/// # Errors
/// A sentence that says what is wrong with it and what is allowed.
pub fn check_jwks(json: &[u8]) -> Result<(), String> {
    Key::from_jwks(json).map(|_| ())
}

/// One key, with the only algorithms it may be used for: what a token's header says never widens them.
pub(super) struct Key {
    pub(super) decoding: DecodingKey,
    pub(super) algorithms: Vec<Algorithm>,
    pub(super) origin: Origin,
}

/// Where a key is from, which decides how a token's `kid` selects it.
pub(super) enum Origin {
    /// The one secret or the one PEM key: has no name, any `kid` is ignored.
    Single,
    /// A member of the JWK set.
    Set { kid: Option<String> },
}

impl Key {
    pub(super) fn from_secret(secret: &Secret) -> Key {
        Key {
            decoding: DecodingKey::from_secret(secret.bytes()),
            algorithms: AlgorithmFamily::Hmac.algorithms().to_vec(),
            origin: Origin::Single,
        }
    }

    pub(super) fn from_pem(pem: &[u8]) -> Result<Key, String> {
        // The library also takes a private key here, and then refuses every token.
        match pem_label(pem) {
            Some("PUBLIC KEY" | "RSA PUBLIC KEY") => {}
            Some(label) if label.ends_with("PRIVATE KEY") => {
                return Err(
                    "it holds a private key; give the public key that belongs to it".into(),
                );
            }
            Some("CERTIFICATE") => {
                return Err("it holds a certificate; give its public key alone \
                    (openssl x509 -pubkey -noout)"
                    .into());
            }
            _ => return Err("it is not a PEM file with a PUBLIC KEY".into()),
        }
        let decoding = DecodingKey::from_rsa_pem(pem)
            .or_else(|_| DecodingKey::from_ec_pem(pem))
            .or_else(|_| DecodingKey::from_ed_pem(pem))
            .map_err(|_| "it holds no readable RSA, EC or Ed25519 public key".to_string())?;
        let algorithms = algorithms_of(&decoding)?;
        Ok(Key {
            decoding,
            algorithms,
            origin: Origin::Single,
        })
    }

    /// The usable keys of a set. Others (for encryption, of an unknown kind) are passed over, as
    /// RFC 7517 section 5 asks for.
    pub(super) fn from_jwks(json: &[u8]) -> Result<Vec<Key>, String> {
        let set: JwkSet = serde_json::from_slice(json).map_err(|error| {
            format!(
                "it is not a JWK set ({{\"keys\":[…]}}): line {}, column {}",
                error.line(),
                error.column()
            )
        })?;
        let mut keys = Vec::new();
        for (index, jwk) in set.keys.iter().enumerate() {
            let key = Key::from_jwk(jwk).map_err(|why| format!("key {}: {why}", index + 1))?;
            keys.extend(key);
        }
        if keys.is_empty() {
            return Err(
                "it has no key for signatures (RSA, EC P-256 or P-384, Ed25519, oct)".into(),
            );
        }
        Ok(keys)
    }

    fn from_jwk(jwk: &Jwk) -> Result<Option<Key>, String> {
        let usage = &jwk.common.public_key_use;
        if !matches!(usage, None | Some(PublicKeyUse::Signature)) || !is_supported_kind(jwk) {
            return Ok(None);
        }
        let decoding = DecodingKey::from_jwk(jwk).map_err(|_| "it cannot be read".to_string())?;
        if let (AlgorithmFamily::Hmac, Ok(bytes)) = (decoding.family(), decoding.try_get_as_bytes())
        {
            Secret::new(bytes.to_vec())?;
        }
        let mut algorithms = algorithms_of(&decoding)?;
        if let Some(only) = jwk.common.key_algorithm {
            algorithms.retain(|algorithm| only == (*algorithm).into());
        }
        let origin = Origin::Set {
            kid: jwk.common.key_id.clone(),
        };
        Ok((!algorithms.is_empty()).then_some(Key {
            decoding,
            algorithms,
            origin,
        }))
    }
}

fn is_supported_kind(jwk: &Jwk) -> bool {
    match &jwk.algorithm {
        AlgorithmParameters::RSA(_) | AlgorithmParameters::OctetKey(_) => true,
        AlgorithmParameters::EllipticCurve(key) => {
            matches!(key.curve, EllipticCurve::P256 | EllipticCurve::P384)
        }
        AlgorithmParameters::OctetKeyPair(key) => key.curve == EllipticCurve::Ed25519,
        _ => false,
    }
}

/// What a key is good for, by its own kind and size.
fn algorithms_of(key: &DecodingKey) -> Result<Vec<Algorithm>, String> {
    // Reading the key back is what makes the library look inside it.
    let jwk = Jwk::from_decoding_key(key, None)
        .map_err(|_| "its key cannot be read, or is of a size that is not supported".to_string())?;
    match &jwk.algorithm {
        AlgorithmParameters::RSA(rsa) => {
            let modulus_bytes = rsa.n.len() * 3 / 4;
            if modulus_bytes < RSA_MIN_BYTES {
                return Err(format!(
                    "an RSA key needs at least {} bits",
                    RSA_MIN_BYTES * 8
                ));
            }
            Ok(AlgorithmFamily::Rsa.algorithms().to_vec())
        }
        AlgorithmParameters::EllipticCurve(ec) if ec.curve == EllipticCurve::P256 => {
            Ok(vec![Algorithm::ES256])
        }
        AlgorithmParameters::EllipticCurve(_) => Ok(vec![Algorithm::ES384]),
        AlgorithmParameters::OctetKeyPair(_) => Ok(vec![Algorithm::EdDSA]),
        _ => Ok(key.family().algorithms().to_vec()),
    }
}

/// The label of the first PEM block (RFC 7468 section 3).
fn pem_label(pem: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(pem).ok()?;
    let (_, after) = text.split_once("-----BEGIN ")?;
    after.split_once("-----").map(|(label, _)| label)
}
