//! What the tests of keys and of claims share: settings, and tokens made to measure.
//!
//! The key pairs in `fixtures/` were made for these tests alone.

#![allow(clippy::unwrap_used)]

mod attacks;
mod claims;
mod keys;
mod own_pass;

use std::time::Duration;

use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, crypto};
use serde_json::{Value, json};

use super::*;

const NOW: u64 = 1_700_000_000_000;
const SECRET: &[u8] = b"a secret of more than thirty-two bytes";
const RSA_PUBLIC: &[u8] = include_bytes!("../fixtures/rsa.pub.pem");
const EC_PUBLIC: &[u8] = include_bytes!("../fixtures/ec-P-256.pub.pem");
const EC384_PUBLIC: &[u8] = include_bytes!("../fixtures/ec-P-384.pub.pem");
const ED_PUBLIC: &[u8] = include_bytes!("../fixtures/ed.pub.pem");

fn secret_keys() -> KeySettings {
    KeySettings {
        secrets: vec![Secret::new(SECRET.to_vec()).unwrap()],
        ..KeySettings::default()
    }
}

fn pem_keys(pem: &[u8]) -> KeySettings {
    KeySettings {
        public_keys: vec![KeyFile::new("key.pem".into(), pem.to_vec())],
        ..Default::default()
    }
}

fn jwks_keys(keys: &[Value]) -> KeySettings {
    let set = json!({ "keys": keys }).to_string().into_bytes();
    KeySettings {
        jwks: Some(KeyFile::new("set.json".into(), set)),
        ..Default::default()
    }
}

fn jwk(key: DecodingKey, kid: Option<&str>) -> Value {
    let mut jwk = serde_json::to_value(Jwk::from_decoding_key(&key, None).unwrap()).unwrap();
    if let Some(kid) = kid {
        jwk["kid"] = kid.into();
    }
    jwk
}

fn private(algorithm: Algorithm) -> EncodingKey {
    use Algorithm::*;
    match algorithm {
        HS256 | HS384 | HS512 => EncodingKey::from_secret(SECRET),
        ES256 => EncodingKey::from_ec_pem(include_bytes!("../fixtures/ec-P-256.pem")).unwrap(),
        ES384 => EncodingKey::from_ec_pem(include_bytes!("../fixtures/ec-P-384.pem")).unwrap(),
        EdDSA => EncodingKey::from_ed_pem(include_bytes!("../fixtures/ed.pem")).unwrap(),
        _ => EncodingKey::from_rsa_pem(include_bytes!("../fixtures/rsa.pem")).unwrap(),
    }
}

fn base64url(bytes: &[u8]) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let mut word = [0; 4];
        word[1..=chunk.len()].copy_from_slice(chunk);
        let word = u32::from_be_bytes(word);
        for index in 0..=chunk.len() {
            let sextet = (word >> (18 - 6 * index)) & 63;
            text.push(char::from(ALPHABET[sextet as usize]));
        }
    }
    text
}

/// A token of exactly these texts.
fn signed(header: &str, claims: &str, algorithm: Algorithm, key: &EncodingKey) -> String {
    let message = format!(
        "{}.{}",
        base64url(header.as_bytes()),
        base64url(claims.as_bytes())
    );
    let signature = crypto::sign(message.as_bytes(), key, algorithm).unwrap();
    format!("{message}.{signature}")
}

fn token_with(algorithm: Algorithm, kid: Option<&str>, claims: &Value) -> String {
    let mut header = json!({"alg": format!("{algorithm:?}"), "typ": "JWT"});
    if let Some(kid) = kid {
        header["kid"] = kid.into();
    }
    signed(
        &header.to_string(),
        &claims.to_string(),
        algorithm,
        &private(algorithm),
    )
}

fn claims() -> Value {
    json!({"sub": "u-1", "role": "customer", "sid": "s-1", "exp": NOW / 1000 + 60})
}

/// [`claims`] with some of them changed; null takes one away.
fn claims_but(changes: Value) -> Value {
    let mut all = claims();
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => drop(all.as_object_mut().unwrap().remove(name)),
            value => all[name] = value.clone(),
        }
    }
    all
}

fn verify(keys: &KeySettings, token: &str) -> Result<Identity, TokenError> {
    Verifier::new(keys).unwrap().verify(token, NOW)
}

fn judge(claims: Value) -> Result<Identity, TokenError> {
    verify(&secret_keys(), &token_with(Algorithm::HS256, None, &claims))
}

fn refusal(result: Result<Identity, TokenError>) -> String {
    match result {
        Err(TokenError::Refused(sentence)) => sentence,
        other => panic!("not refused: {other:?}"),
    }
}
