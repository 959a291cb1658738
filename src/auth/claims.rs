//! The claims of a token whose signature is good, and the rules they must keep.
//!
//! Owns what `sub`, `role`, `sid`, `exp`, `nbf`, `iat`, `iss` and `aud` have to look like. Called by
//! [`Verifier`](super::Verifier) alone.

use serde::Deserialize;
use serde_json::Value;

use super::{Identity, TokenError};
use crate::access::Role;
use crate::event::is_id;

/// The latest time a claim may name, in seconds: 2^53 - 1 ms, beyond which JSON numbers lose whole ms.
const TIME_MAX_SECONDS: f64 = 9_007_199_254_740.0;

/// Claims as they come: any JSON, so that a wrong one is answered by a sentence of ours. A claim that
/// is there twice fails to deserialize; other claims are passed over.
#[derive(Deserialize)]
pub(super) struct Claims {
    sub: Option<Value>,
    #[serde(rename = "userId")]
    user_id: Option<Value>,
    role: Option<Value>,
    sid: Option<Value>,
    #[serde(rename = "sessionId")]
    session_id: Option<Value>,
    exp: Option<Value>,
    nbf: Option<Value>,
    iat: Option<Value>,
    iss: Option<Value>,
    aud: Option<Value>,
}

/// What the claims are held against.
pub(super) struct Expected<'a> {
    pub(super) issuer: Option<&'a str>,
    pub(super) audience: Option<&'a str>,
    pub(super) leeway_ms: u64,
}

impl Claims {
    /// Judges the claims. The end of the token is looked at last: only a token that is good in all
    /// else is told to be expired.
    pub(super) fn judge(
        &self,
        expected: &Expected<'_>,
        now_ms: u64,
    ) -> Result<Identity, TokenError> {
        let user = either("sub", &self.sub, "userId", &self.user_id)?
            .ok_or_else(|| refused("the token names no user: sub (or userId) is missing"))?;
        let session = either("sid", &self.sid, "sessionId", &self.session_id)?;
        let role = role(&self.role)?;
        self.check_issuer(expected.issuer)?;
        self.check_audience(expected.audience)?;

        let expires_at =
            time_ms("exp", &self.exp)?.ok_or_else(|| refused("the token has no exp"))?;
        if let Some(not_before) = time_ms("nbf", &self.nbf)?
            && now_ms.saturating_add(expected.leeway_ms) < not_before
        {
            return Err(refused("the token is not valid yet (nbf)"));
        }
        let issued_at = self.issued_at();
        // A revocation tells by it which tokens are meant: one that is dated ahead would outlive it.
        if issued_at.is_some_and(|made| now_ms.saturating_add(expected.leeway_ms) < made) {
            return Err(refused("the token was made in the future (iat)"));
        }
        if now_ms >= expires_at.saturating_add(expected.leeway_ms) {
            return Err(TokenError::Expired);
        }
        Ok(Identity {
            user,
            role,
            session,
            issued_at,
            expires_at,
        })
    }

    /// One that is no time is as none: where tokens were revoked, one that does not say when it was made
    /// is refused.
    fn issued_at(&self) -> Option<u64> {
        time_ms("iat", &self.iat).ok().flatten()
    }

    fn check_issuer(&self, expected: Option<&str>) -> Result<(), TokenError> {
        match expected {
            Some(issuer) if self.iss.as_ref().and_then(Value::as_str) != Some(issuer) => {
                Err(refused("the token is not from the expected issuer (iss)"))
            }
            _ => Ok(()),
        }
    }

    /// RFC 7519 section 4.1.3: one string, or a list that has the expected one.
    fn check_audience(&self, expected: Option<&str>) -> Result<(), TokenError> {
        let Some(audience) = expected else {
            return Ok(());
        };
        let named = match &self.aud {
            Some(Value::String(one)) => one == audience,
            Some(Value::Array(several)) => several.iter().any(|one| one == audience),
            _ => false,
        };
        if named {
            Ok(())
        } else {
            Err(refused("the token is not meant for this server (aud)"))
        }
    }
}

/// Why `id` cannot be a user's or a session's id, or `Ok`.
pub(super) fn check_id(id: &str) -> Result<(), String> {
    if is_id(id) {
        return Ok(());
    }
    Err("must have 1 to 128 characters, none of them a control character".into())
}

fn refused(sentence: &str) -> TokenError {
    TokenError::Refused(sentence.into())
}

/// An id under either of its two names; both and different is refused.
fn either(
    name: &str,
    value: &Option<Value>,
    other_name: &str,
    other: &Option<Value>,
) -> Result<Option<String>, TokenError> {
    match (id(name, value)?, id(other_name, other)?) {
        (Some(one), Some(two)) if one != two => Err(TokenError::Refused(format!(
            "the token's {name} and {other_name} are not the same"
        ))),
        (one, two) => Ok(one.or(two)),
    }
}

fn id(name: &str, value: &Option<Value>) -> Result<Option<String>, TokenError> {
    match value {
        None => Ok(None),
        Some(Value::String(id)) => check_id(id)
            .map(|()| Some(id.clone()))
            .map_err(|why| TokenError::Refused(format!("the token's {name} {why}"))),
        Some(_) => Err(TokenError::Refused(format!(
            "the token's {name} must be a string"
        ))),
    }
}

fn role(value: &Option<Value>) -> Result<Role, TokenError> {
    let name = match value {
        Some(Value::String(name)) => name,
        Some(_) => return Err(refused("the token's role must be a string")),
        None => return Err(refused("the token has no role")),
    };
    Role::from_token(name).ok_or_else(|| {
        refused("the token's role is unknown: it must be admin, manager, staff, customer or guest")
    })
}

/// A NumericDate (RFC 7519 section 2) in whole ms; fractions of a second are allowed.
fn time_ms(name: &str, value: &Option<Value>) -> Result<Option<u64>, TokenError> {
    let Some(value) = value else { return Ok(None) };
    match value.as_f64() {
        Some(seconds) if (0.0..=TIME_MAX_SECONDS).contains(&seconds) => {
            Ok(Some((seconds * 1000.0) as u64))
        }
        Some(_) => Err(TokenError::Refused(format!(
            "the token's {name} is out of range"
        ))),
        None => Err(TokenError::Refused(format!(
            "the token's {name} must be a number of seconds"
        ))),
    }
}
