//! The keys that may sign tokens, and which algorithms each of them is good for.
//!
//! Owns the checks a key must pass before the server starts. `config` calls the `check_` functions to
//! blame the right setting; [`Verifier`](super::Verifier) reads the same keys through [`Key`].

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, EcdsaVerificationAlgorithm, ParsedPublicKey,
};
use jsonwebtoken::jwk::{
    AlgorithmParameters, EllipticCurve, Jwk, JwkSet, KeyOperations, PublicKeyUse, RSAKeyParameters,
};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, DecodingKeyKind};
use serde::Deserialize;
use serde::de::IgnoredAny;
use zeroize::Zeroizing;

/// The shortest signing secret, in bytes: the output of SHA-256 (RFC 7518 section 3.2).
const SECRET_MIN_BYTES: usize = 32;

/// So many different bytes are in a signing secret at least: random ones have many more, also if they are written as
/// digits, and what is shorter in this was not made for one (zeros, spaces, a key held down).
const SECRET_MIN_DIFFERENT: usize = 8;

/// What a block of a PEM file begins with.
const PEM_BEGIN: &str = "-----BEGIN ";

/// The shortest RSA modulus, in bits (RFC 7518 section 3.3).
const RSA_MIN_BITS: usize = 2048;

/// How DER writes that a public key is one of elliptic curves (RFC 5480 section 2.1.1); the curve's own name follows.
const DER_EC_KEY: [u8; 9] = [0x06, 0x07, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x02, 0x01];
/// The names of the curves that are supported: P-256 and P-384.
const DER_CURVES: [&[u8]; 2] = [
    &[0x06, 0x08, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x03, 0x01, 0x07],
    &[0x06, 0x05, 0x2B, 0x81, 0x04, 0x00, 0x22],
];

/// What the configuration says about tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeySettings {
    /// The shared secrets for HS256, HS384 and HS512; tokens are made with the first.
    pub secrets: Vec<Secret>,
    /// Where the secrets are from.
    pub secrets_from: SecretsFrom,
    /// PEM files with public keys.
    pub public_keys: Vec<KeyFile>,
    /// A JWK set (RFC 7517).
    pub jwks: Option<KeyFile>,
    /// What `iss` must be; unchecked if absent.
    pub issuer: Option<String>,
    /// What `aud` must be or contain; unchecked if absent.
    pub audience: Option<String>,
    /// How far clocks may differ when `exp`, `nbf` and `iat` are checked.
    pub leeway: Duration,
}

impl KeySettings {
    /// True if there is no key at all, so that no token could ever be good.
    pub fn is_empty(&self) -> bool {
        self.secrets.is_empty() && self.public_keys.is_empty() && self.jwks.is_none()
    }
}

/// Where secrets are from, which decides what reading them again gives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SecretsFrom {
    /// From files, which may hold others by now.
    #[default]
    Files,
    /// From the environment, which does not change while a process runs.
    Environment,
    /// Made up for this run.
    ThisRun,
}

/// A signing secret of at least 32 bytes. Its `Debug` shows nothing of it, and its memory is
/// overwritten when it is let go of.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes the bytes as they are.
    ///
    /// # Errors
    /// If there are fewer than 32 of them, or hardly any different ones, or they are a key of another kind: a
    /// sentence that says so.
    pub fn new(bytes: Vec<u8>) -> Result<Secret, String> {
        let bytes = Zeroizing::new(bytes);
        if let Some(what) = key_of_another_kind(&bytes) {
            return Err(format!(
                "a signing secret is bytes that nobody else knows, and this is {what}, which others may \
                 have; public keys belong into jwt-public-key or jwks-file"
            ));
        }
        if bytes.len() < SECRET_MIN_BYTES {
            return Err(format!(
                "a signing secret needs at least {SECRET_MIN_BYTES} bytes, this one has {}",
                bytes.len()
            ));
        }
        let mut different = [false; 256];
        bytes
            .iter()
            .for_each(|&byte| different[usize::from(byte)] = true);
        let different = different.iter().filter(|&&is_there| is_there).count();
        if different < SECRET_MIN_DIFFERENT {
            return Err(format!(
                "a signing secret is random, and this one has fewer than {SECRET_MIN_DIFFERENT} different \
                 bytes, so that it could be guessed; head -c 48 /dev/urandom | base64 makes a good one"
            ));
        }
        Ok(Secret(bytes))
    }

    /// A secret nobody else knows, for one run.
    ///
    /// # Errors
    /// If the operating system gives no randomness.
    pub fn random() -> Result<Secret, String> {
        let mut bytes = Zeroizing::new(vec![0; SECRET_MIN_BYTES]);
        getrandom::fill(&mut bytes)
            .map_err(|error| format!("the system gives no random bytes: {error}"))?;
        Ok(Secret(bytes))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// What is there in place of a secret, if its form tells: everybody who has a public key could sign with
/// it.
fn key_of_another_kind(bytes: &[u8]) -> Option<&'static str> {
    #[derive(Deserialize)]
    struct Jwks {
        kty: Option<IgnoredAny>,
        keys: Option<IgnoredAny>,
    }
    if memchr::memmem::find(bytes, PEM_BEGIN.as_bytes()).is_some() {
        return Some("a PEM file");
    }
    if is_der(bytes) {
        return Some("a key or certificate in DER");
    }
    let text = std::str::from_utf8(bytes).ok()?;
    if decode_base64(text).is_some_and(|decoded| is_der(&decoded)) {
        return Some("a key or certificate in DER, written in base64");
    }
    let json = serde_json::from_slice::<Jwks>(bytes).ok()?;
    (json.kty.is_some() || json.keys.is_some()).then_some("a JSON Web Key")
}

/// Whether it is what keys and certificates are in DER: a sequence, to the end, of a sequence or a number first. The
/// file's last bytes may have been taken for a line end and cut.
fn is_der(bytes: &[u8]) -> bool {
    let [0x30, length, rest @ ..] = bytes else {
        return false;
    };
    let (length, content) = match (length, rest) {
        (0..=0x7F, _) => (usize::from(*length), rest),
        (0x81, [one, rest @ ..]) => (usize::from(*one), rest),
        (0x82, [high, low, rest @ ..]) => (usize::from(u16::from_be_bytes([*high, *low])), rest),
        _ => return false,
    };
    (length.saturating_sub(2)..=length).contains(&content.len())
        && matches!(content.first(), Some(0x30 | 0x02))
}

/// The bytes that the text stands for in base64, of either alphabet and broken into lines or not.
fn decode_base64(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let letter = |letter| match letter {
        '-' => '+',
        '_' => '/',
        other => other,
    };
    let letters = text
        .chars()
        .filter(|c| !c.is_ascii_whitespace() && *c != '=');
    let mut text: Zeroizing<String> = Zeroizing::new(letters.map(letter).collect());
    while !text.len().is_multiple_of(4) {
        text.push('=');
    }
    let key = DecodingKey::from_base64_secret(&text).ok()?;
    key.try_get_as_bytes()
        .ok()
        .map(|bytes| Zeroizing::new(bytes.to_vec()))
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(hidden)")
    }
}

/// A file with keys, and what was in it. A JWK set may hold secrets: `Debug` shows the path alone, and
/// the memory is overwritten when it is let go of.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyFile {
    path: PathBuf,
    bytes: Zeroizing<Vec<u8>>,
}

impl KeyFile {
    /// The file at `path`, with these bytes in it.
    pub fn new(path: PathBuf, bytes: Vec<u8>) -> KeyFile {
        let bytes = Zeroizing::new(bytes);
        KeyFile { path, bytes }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What is wrong with it, with its name.
    pub(super) fn blame(&self, why: &str) -> String {
        format!("{}: {why}", self.path.display())
    }
}

impl fmt::Debug for KeyFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyFile({:?})", self.path)
    }
}

/// Checks that a PEM file holds public keys that tokens can be checked with, and says how many.
///
/// # Errors
/// A sentence that says what is wrong with it and what is allowed.
pub fn check_public_keys(pem: &[u8]) -> Result<usize, String> {
    Key::from_pem(pem).map(|keys| keys.len())
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
    /// A secret or a PEM key: has no name, any `kid` is ignored.
    Nameless,
    /// A member of the JWK set.
    Set { kid: Option<String> },
}

impl Key {
    pub(super) fn from_secret(secret: &Secret) -> Key {
        Key {
            decoding: DecodingKey::from_secret(secret.bytes()),
            algorithms: AlgorithmFamily::Hmac.algorithms().to_vec(),
            origin: Origin::Nameless,
        }
    }

    /// The public keys of a PEM file, in its order; there is nothing else in it.
    pub(super) fn from_pem(pem: &[u8]) -> Result<Vec<Key>, String> {
        let blocks = pem_blocks(pem)?;
        let count = blocks.len();
        let key = |(index, block): (usize, &PemBlock<'_>)| {
            Key::from_pem_block(block).map_err(|why| match count {
                1 => format!("it {why}"),
                _ => format!("its block {} {why}", index + 1),
            })
        };
        blocks.iter().enumerate().map(key).collect()
    }

    fn from_pem_block(block: &PemBlock<'_>) -> Result<Key, String> {
        // The library also takes a private key here, and then refuses every token.
        match block.label {
            "PUBLIC KEY" | "RSA PUBLIC KEY" => {}
            label if label.ends_with("PRIVATE KEY") => {
                return Err("holds a private key; give the public key that belongs to it".into());
            }
            "CERTIFICATE" => {
                return Err("holds a certificate; give its public key alone \
                    (openssl x509 -pubkey -noout)"
                    .into());
            }
            _ => return Err("is no PUBLIC KEY".into()),
        }
        if is_on_another_curve(block) {
            return Err(
                "holds a key of a curve that is not supported; P-256 (for ES256) and P-384 \
                (for ES384) are"
                    .into(),
            );
        }
        let pem = block.text.as_bytes();
        let decoding = DecodingKey::from_rsa_pem(pem)
            .or_else(|_| DecodingKey::from_ec_pem(pem))
            .or_else(|_| DecodingKey::from_ed_pem(pem))
            .map_err(|_| "holds no readable RSA, EC or Ed25519 public key".to_string())?;
        let algorithms = algorithms_of(&decoding)
            .map_err(|why| format!("holds a key that cannot be used: {why}"))?;
        Ok(Key {
            decoding,
            algorithms,
            origin: Origin::Nameless,
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
        if let Some(at) = first_private(json) {
            return Err(format!(
                "key {}: it is private (d); give the public part alone, the private one is for whoever \
                 signs",
                at + 1
            ));
        }
        let mut keys = Vec::new();
        for (index, jwk) in set.keys.iter().enumerate() {
            let key = Key::from_jwk(jwk).map_err(|why| format!("key {}: {why}", index + 1))?;
            keys.extend(key);
        }
        if keys.is_empty() {
            return Err(
                "it has no key that signatures may be checked with: RSA, EC P-256 or P-384, Ed25519 or \
                 oct; with use, it must be sig, and with key_ops, verify must be among them"
                    .into(),
            );
        }
        Ok(keys)
    }

    fn from_jwk(jwk: &Jwk) -> Result<Option<Key>, String> {
        if !may_verify(jwk) || !is_supported_kind(jwk) {
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

/// The place of the first key of a set that has a private part (RFC 7518 section 6; `priv` is that of
/// kinds that came later).
fn first_private(json: &[u8]) -> Option<usize> {
    #[derive(Deserialize)]
    struct Set {
        keys: Vec<Member>,
    }
    #[derive(Deserialize)]
    struct Member {
        d: Option<IgnoredAny>,
        #[serde(rename = "priv")]
        private: Option<IgnoredAny>,
    }
    let set: Set = serde_json::from_slice(json).ok()?;
    let mut keys = set.keys.iter();
    keys.position(|key| key.d.is_some() || key.private.is_some())
}

/// Whether the key's own words leave it for signatures (RFC 7517 sections 4.2 and 4.3).
fn may_verify(jwk: &Jwk) -> bool {
    let operations = jwk.common.key_operations.as_deref();
    matches!(
        jwk.common.public_key_use,
        None | Some(PublicKeyUse::Signature)
    ) && operations.is_none_or(|operations| operations.contains(&KeyOperations::Verify))
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
        .map_err(|_| "it cannot be read, or is of a size that is not supported".to_string())?;
    match &jwk.algorithm {
        AlgorithmParameters::RSA(rsa) => {
            check_rsa(rsa)?;
            Ok(AlgorithmFamily::Rsa.algorithms().to_vec())
        }
        AlgorithmParameters::EllipticCurve(ec) if ec.curve == EllipticCurve::P256 => {
            check_point(key, &ECDSA_P256_SHA256_FIXED)?;
            Ok(vec![Algorithm::ES256])
        }
        AlgorithmParameters::EllipticCurve(_) => {
            check_point(key, &ECDSA_P384_SHA384_FIXED)?;
            Ok(vec![Algorithm::ES384])
        }
        AlgorithmParameters::OctetKeyPair(_) => Ok(vec![Algorithm::EdDSA]),
        _ => Ok(key.family().algorithms().to_vec()),
    }
}

/// With the exponent 1 anybody can sign, and an even one belongs to no private key.
fn check_rsa(rsa: &RSAKeyParameters) -> Result<(), String> {
    let key = DecodingKey::from_rsa_components(&rsa.n, &rsa.e)
        .map_err(|_| "it cannot be read".to_owned())?;
    let DecodingKeyKind::RsaModulusExponent { n, e } = key.kind() else {
        return Err("it cannot be read".to_owned());
    };
    let leading: u32 = match n.iter().position(|&byte| byte != 0) {
        Some(zeros) => 8 * zeros as u32 + n[zeros].leading_zeros(),
        None => 8 * n.len() as u32,
    };
    let bits = 8 * n.len() - leading as usize;
    if bits < RSA_MIN_BITS {
        return Err(format!(
            "an RSA key needs at least {RSA_MIN_BITS} bits, this one has {bits}"
        ));
    }
    let is_odd = |number: &[u8]| number.last().is_some_and(|last| last % 2 == 1);
    let (last, before) = e.split_last().ok_or("its exponent e is missing")?;
    let is_one = *last == 1 && before.iter().all(|&byte| byte == 0);
    if !is_odd(e) || is_one {
        return Err(
            "its exponent e must be odd and more than 1 (65537 is usual): anybody could sign"
                .into(),
        );
    }
    if !is_odd(n) {
        return Err("its modulus n is even: it is no RSA key".into());
    }
    Ok(())
}

/// A point that is not on its curve belongs to no private key.
fn check_point(
    key: &DecodingKey,
    algorithm: &'static EcdsaVerificationAlgorithm,
) -> Result<(), String> {
    let point = key
        .try_get_as_bytes()
        .map_err(|_| "it cannot be read".to_owned())?;
    ParsedPublicKey::new(algorithm, point)
        .map(|_| ())
        .map_err(|_| "its point (x, y) is not on the curve".into())
}

/// Whether it is a key of elliptic curves, and of none that is supported: a point of another curve of the same size
/// reads as one that is not on this.
fn is_on_another_curve(block: &PemBlock<'_>) -> bool {
    let lines = block.text.lines().filter(|line| !line.starts_with('-'));
    let Some(der) = decode_base64(&lines.collect::<String>()) else {
        return false;
    };
    memchr::memmem::find(&der, &DER_EC_KEY).is_some_and(|at| {
        let curve = &der[at + DER_EC_KEY.len()..];
        !DER_CURVES.iter().any(|known| curve.starts_with(known))
    })
}

/// A block of a PEM file (RFC 7468 section 3): its label, and its text from BEGIN to END.
struct PemBlock<'a> {
    label: &'a str,
    text: &'a str,
}

/// The blocks of a PEM file, at least one. What stands between them is explanation.
fn pem_blocks(pem: &[u8]) -> Result<Vec<PemBlock<'_>>, String> {
    let is_none = || "it is not a PEM file with a PUBLIC KEY".to_owned();
    let mut rest = std::str::from_utf8(pem).map_err(|_| is_none())?;
    let mut blocks = Vec::new();
    while let Some(start) = rest.find(PEM_BEGIN) {
        let from = &rest[start..];
        let (label, _) = from[PEM_BEGIN.len()..]
            .split_once("-----")
            .ok_or_else(is_none)?;
        let end = format!("-----END {label}-----");
        let length = from.find(&end).map(|at| at + end.len());
        let length = length.ok_or_else(|| format!("its block {} has no end", blocks.len() + 1))?;
        let text = &from[..length];
        blocks.push(PemBlock { label, text });
        rest = &from[length..];
    }
    if blocks.is_empty() {
        return Err(is_none());
    }
    Ok(blocks)
}
