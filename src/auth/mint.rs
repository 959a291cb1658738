//! Makes tokens: for `shopwire token`, and for what `serve --dev` prints.
//!
//! Owns the claims of such a token; they are the ones [`Verifier`](super::Verifier) asks for.

use std::time::Duration;

use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Map, Value};

use super::claims::check_id;
use super::keys::KeySettings;
use crate::access::Role;

/// From this length on, a token may last up to a second longer than asked for.
const ROUNDED_FROM: Duration = Duration::from_secs(60);

/// Whom a token is for.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The user's id.
    pub user: &'a str,
    /// The user's role.
    pub role: Role,
    /// The session's id.
    pub session: Option<&'a str>,
}

/// Signs a token (HS256) with the first configured secret, for the configured issuer and audience, that ends
/// `ttl` after `now_ms`.
///
/// # Errors
/// A sentence: no secret is configured, an id breaks the rules for ids, or the role is public.
pub fn mint(
    keys: &KeySettings,
    subject: Subject<'_>,
    ttl: Duration,
    now_ms: u64,
) -> Result<String, String> {
    let secret = keys
        .secrets
        .first()
        .ok_or("there is no signing secret to make a token with")?;
    check_id(subject.user).map_err(|why| format!("the user {why}"))?;
    if subject.role == Role::Public {
        return Err("public is the role of those without a token; it cannot stand in one".into());
    }

    let mut claims = Map::new();
    claims.insert("sub".into(), subject.user.into());
    claims.insert("role".into(), subject.role.name().into());
    if let Some(session) = subject.session {
        check_id(session).map_err(|why| format!("the session {why}"))?;
        claims.insert("sid".into(), session.into());
    }
    claims.insert("iat".into(), (now_ms / 1000).into());
    claims.insert("exp".into(), ends(now_ms, ttl));
    if let Some(issuer) = &keys.issuer {
        claims.insert("iss".into(), issuer.as_str().into());
    }
    if let Some(audience) = &keys.audience {
        claims.insert("aud".into(), audience.as_str().into());
    }
    jsonwebtoken::encode(
        &Header::default(),
        &claims,
        &EncodingKey::from_secret(secret.bytes()),
    )
    .map_err(|error| format!("the token cannot be signed: {error}"))
}

/// When the token ends, in seconds: a whole number, as many readers of tokens expect, where the rounding
/// up does not matter.
fn ends(now_ms: u64, ttl: Duration) -> Value {
    let ms = u128::from(now_ms) + ttl.as_millis();
    match u64::try_from(ms.div_ceil(1000)) {
        Ok(seconds) if ttl >= ROUNDED_FROM => seconds.into(),
        _ => (ms as f64 / 1000.0).into(),
    }
}
