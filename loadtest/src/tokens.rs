//! The tokens the connections authenticate with.

use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, EncodingKey, Header};

/// How long a token is good for, in seconds: longer than any run.
const TTL_S: u64 = 24 * 60 * 60;

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

    /// A token for connection `index`: users of their own, one admin and three managers in ten, the
    /// rest staff. All of them may see all orders.
    ///
    /// # Errors
    /// Where the token cannot be signed.
    pub fn token(&self, index: u32) -> Result<String, String> {
        let role = match index % 10 {
            0 => "admin",
            1..=3 => "manager",
            _ => "staff",
        };
        let claims = serde_json::json!({
            "sub": format!("load-{index}"),
            "role": role,
            "sid": format!("session-{index}"),
            "exp": self.expires_at_s,
        });
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.key)
            .map_err(|error| format!("cannot sign a token: {error}"))
    }
}
