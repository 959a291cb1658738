//! Tokens as a shop's own backend would mint them.

use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

use super::wait_until;

/// The signing secret every test server is given.
pub const SECRET: &str = "a-secret-of-the-tests-that-is-long-enough";

/// Seconds since 1970, for `exp` and `nbf`.
pub fn now_seconds() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

/// Milliseconds since 1970.
pub fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_millis() as u64
}

/// A good token for an hour, without a session.
pub fn of(user: &str, role: &str) -> String {
    signed(&json!({"sub": user, "role": role, "exp": now_seconds() + 3600}))
}

/// A good token for an hour that names its session.
pub fn with_session(user: &str, role: &str, session: &str) -> String {
    signed(&json!({"sub": user, "role": role, "sid": session, "exp": now_seconds() + 3600}))
}

/// A customer's token that is made now, behind whatever was answered before.
pub fn newer(user: &str, session: Option<&str>) -> String {
    let before = now_ms();
    wait_until("the clock goes on", || now_ms() > before + 1);
    let made = now_ms() as f64 / 1000.0;
    let mut claims =
        json!({"sub": user, "role": "customer", "iat": made, "exp": now_seconds() + 600});
    if let Some(session) = session {
        claims["sid"] = session.into();
    }
    signed(&claims)
}

/// A token that ends in (or, if negative, ended) so many seconds.
pub fn ending_in(user: &str, role: &str, seconds: i64) -> String {
    signed(&json!({"sub": user, "role": role, "exp": now_seconds() as i64 + seconds}))
}

/// These claims, signed as the server expects it.
pub fn signed(claims: &Value) -> String {
    signed_by(claims, Algorithm::HS256, SECRET)
}

pub fn signed_by(claims: &Value, algorithm: Algorithm, secret: &str) -> String {
    encode(
        &Header::new(algorithm),
        claims,
        &EncodingKey::from_secret(secret.as_bytes()),
    )
    .unwrap()
}
