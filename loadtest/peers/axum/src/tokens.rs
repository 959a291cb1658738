//! Verifies the HS256 tokens that connections show.

use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use serde::Deserialize;

use crate::contract::{Refusal, Role, is_id};

/// What a token says.
#[derive(Deserialize)]
pub struct Claims {
    pub sub: String,
    pub role: Role,
    pub sid: Option<String>,
    pub exp: u64,
}

pub struct Tokens {
    key: DecodingKey,
    validation: Validation,
}

impl Tokens {
    pub fn new(secret: &[u8]) -> Self {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.leeway = 0;
        validation.validate_nbf = true;
        validation.validate_aud = false;
        Self {
            key: DecodingKey::from_secret(secret),
            validation,
        }
    }

    pub fn verify(&self, token: &str) -> Result<Claims, Refusal> {
        let claims = decode::<Claims>(token, &self.key, &self.validation)
            .map_err(|error| Refusal::new("unauthorized", error.to_string()))?
            .claims;
        if !is_id(&claims.sub) || claims.sid.as_deref().is_some_and(|sid| !is_id(sid)) {
            return Err(Refusal::new(
                "unauthorized",
                "the token does not name a user",
            ));
        }
        Ok(claims)
    }
}
