//! Tokens that the secret's owner has signed, whatever they say: an emitter of tokens may have a
//! defect, and sign what somebody else has put into it.

use std::sync::OnceLock;
use std::time::Duration;

use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use shopwire::access::Role;
use shopwire::auth::{Identity, KeySettings, Secret, TOKEN_MAX_BYTES, TokenError, Verifier};

use super::judged::id;
use super::strict_json::{self, Tree};
use super::token::{NOW, SECRET, signing_text};

const LEEWAY: u64 = 1000;
/// In seconds: 2^53 − 1 ms.
const TIME_MAX: f64 = 9_007_199_254_740.0;

const NAMES: [&str; 10] = [
    "sub",
    "userId",
    "role",
    "sid",
    "sessionId",
    "exp",
    "nbf",
    "iat",
    "iss",
    "aud",
];

/// The first line is the header, the usual one if it is empty; the rest are the claims.
pub fn holds(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let (header, claims) = text.split_once('\n').unwrap_or(("", text));
    let is_usual = header.is_empty();
    let header = if is_usual {
        r#"{"alg":"HS256"}"#
    } else {
        header
    };
    let signed = signing_text(header, claims);
    let key = EncodingKey::from_secret(SECRET);
    let signature = crypto::sign(signed.as_bytes(), &key, Algorithm::HS256).unwrap();
    let token = format!("{signed}.{signature}");
    let outcome = verifier().verify(&token, NOW);
    if token.len() > TOKEN_MAX_BYTES {
        assert!(matches!(outcome, Err(TokenError::Refused(_))));
        return;
    }
    // A claim that is passed over unread may be such that a whole reading refuses it.
    if let Ok(claims) = strict_json::read_loosely(claims.as_bytes()) {
        match judge(&claims) {
            expected if is_usual => assert_eq!(kind_of(&outcome), kind_of(&expected), "{claims:?}"),
            expected if outcome.is_ok() => assert_eq!(outcome, expected),
            _ => {}
        }
    }
    if outcome.is_ok() {
        let header = strict_json::read_loosely(header.as_bytes()).unwrap();
        assert_eq!(header.get("alg").and_then(Tree::text), Some("HS256"));
        assert_eq!(header.count("alg"), 1);
        let extension = header.get("crit").filter(|crit| **crit != Tree::Null);
        assert_eq!(extension, None, "an extension was passed over");
    }
}

/// The outcome without its sentence.
fn kind_of(outcome: &Result<Identity, TokenError>) -> Result<&Identity, bool> {
    outcome
        .as_ref()
        .map_err(|error| *error == TokenError::Expired)
}

fn verifier() -> &'static Verifier {
    static VERIFIER: OnceLock<Verifier> = OnceLock::new();
    VERIFIER.get_or_init(|| {
        let settings = KeySettings {
            secrets: vec![Secret::new(SECRET.to_vec()).unwrap()],
            issuer: Some("shop".to_owned()),
            audience: Some("ws".to_owned()),
            leeway: Duration::from_millis(LEEWAY),
            ..KeySettings::default()
        };
        Verifier::new(&settings).unwrap()
    })
}

/// The contract, section 5.
fn judge(claims: &Tree) -> Result<Identity, TokenError> {
    let refused = || TokenError::Refused(String::new());
    if claims.members().is_none() || NAMES.iter().any(|name| claims.count(name) > 1) {
        return Err(refused());
    }
    let claim = |name: &str| claims.get(name).filter(|value| **value != Tree::Null);
    let named = |name: &str, other: &str| match (claim(name), claim(other)) {
        (None, None) => Ok(None),
        (Some(one), None) | (None, Some(one)) => id(one).map(Some).ok_or_else(refused),
        (Some(one), Some(two)) if one == two => id(one).map(Some).ok_or_else(refused),
        _ => Err(refused()),
    };
    let user = named("sub", "userId")?.ok_or_else(refused)?;
    let session = named("sid", "sessionId")?;
    let role = claim("role").and_then(Tree::text);
    let role = Role::IN_TOKENS
        .into_iter()
        .find(|one| Some(one.name()) == role);
    let role = role.ok_or_else(refused)?;
    let is_for_us = match claim("aud") {
        Some(Tree::String(audience)) => audience == "ws",
        Some(Tree::Array(several)) => several.iter().any(|one| one.text() == Some("ws")),
        _ => false,
    };
    if claim("iss").and_then(Tree::text) != Some("shop") || !is_for_us {
        return Err(refused());
    }
    let time = |name: &str| match claim(name) {
        None => Ok(None),
        Some(value) => match value.number() {
            Some(seconds) if (0.0..=TIME_MAX).contains(&seconds) => {
                Ok(Some((seconds * 1000.0).floor() as u64))
            }
            _ => Err(refused()),
        },
    };
    let expires_at = time("exp")?.ok_or_else(refused)?;
    if time("nbf")?.is_some_and(|begins| NOW + LEEWAY < begins) {
        return Err(refused());
    }
    // What is no time says nothing.
    let issued_at = time("iat").ok().flatten();
    if issued_at.is_some_and(|made| NOW + LEEWAY < made) {
        return Err(refused());
    }
    if NOW >= expires_at + LEEWAY {
        return Err(TokenError::Expired);
    }
    Ok(Identity {
        user: user.to_owned(),
        role,
        session: session.map(str::to_owned),
        issued_at,
        expires_at,
    })
}
