//! The tokens the connections authenticate with.

use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, EncodingKey, Header};

use crate::world::roles::Role;
use crate::world::{Member, session_name, user_name};

/// How long a token is good for, in seconds: longer than any run.
const TTL_S: u64 = 7 * 24 * 60 * 60;

/// Makes HS256 tokens with the server's secret.
pub struct Mint {
    key: EncodingKey,
    expires_at_s: u64,
}

impl Mint {
    /// A mint for this secret.
    pub fn new(secret: &[u8]) -> Self {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        Self {
            key: EncodingKey::from_secret(secret),
            expires_at_s: now + TTL_S,
        }
    }

    /// A token that says who `member` is; none if it is public.
    ///
    /// # Errors
    /// Where the token cannot be signed.
    pub fn token(&self, member: &Member) -> Result<Option<String>, String> {
        if member.role == Role::Public {
            return Ok(None);
        }
        let claims = serde_json::json!({
            "sub": user_name(member.user),
            "role": member.role.name(),
            "sid": session_name(member.session),
            "exp": self.expires_at_s,
        });
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.key)
            .map(Some)
            .map_err(|error| format!("cannot sign a token: {error}"))
    }
}
