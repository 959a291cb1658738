//! From a token to an identity.
//!
//! Owns the choice of the key, and asks whether a token was revoked. The library's own checks of claims
//! are all turned off: they read the system's clock, forgive 60 s and pass over `nbf`; `claims` does them
//! instead.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::{Algorithm, Validation, decode, decode_header};

use super::claims::{Claims, Expected};
use super::keys::{Key, KeySettings, Origin};
use super::{Identity, OwnPass, Revocations, TOKEN_MAX_BYTES, TokenError};

/// Judges tokens. Built once; the keys are parsed then and never again.
pub struct Verifier {
    keys: Vec<Key>,
    revoked: Arc<Revocations>,
    own_pass: Option<Arc<OwnPass>>,
    set_len: usize,
    issuer: Option<String>,
    audience: Option<String>,
    leeway: Duration,
}

impl Verifier {
    /// Reads the configured keys. With none of them every token is refused.
    ///
    /// # Errors
    /// A sentence about the key that cannot be used.
    pub fn new(settings: &KeySettings) -> Result<Verifier, String> {
        let mut keys: Vec<Key> = settings.secrets.iter().map(Key::from_secret).collect();
        for file in &settings.public_keys {
            keys.extend(Key::from_pem(file.bytes()).map_err(|why| file.blame(&why))?);
        }
        let mut set_len = 0;
        if let Some(file) = &settings.jwks {
            let set = Key::from_jwks(file.bytes()).map_err(|why| file.blame(&why))?;
            set_len = set.len();
            keys.extend(set);
        }
        Ok(Verifier {
            keys,
            revoked: Arc::default(),
            own_pass: None,
            set_len,
            issuer: settings.issuer.clone(),
            audience: settings.audience.clone(),
            leeway: settings.leeway,
        })
    }

    /// This one, which also refuses what is revoked.
    #[must_use]
    pub fn heeding(self, revoked: Arc<Revocations>) -> Verifier {
        Verifier { revoked, ..self }
    }

    /// This one, which also lets the server itself in.
    #[must_use]
    pub fn knowing(self, own_pass: Option<Arc<OwnPass>>) -> Verifier {
        Verifier { own_pass, ..self }
    }

    /// How many keys there are.
    pub fn keys(&self) -> usize {
        self.keys.len()
    }

    /// When a token that says it ends at `expires_at` is no longer accepted (both in ms).
    pub fn token_end(&self, expires_at: u64) -> u64 {
        expires_at.saturating_add(self.leeway_ms())
    }

    /// How long after `exp` a token is still good.
    pub fn leeway(&self) -> Duration {
        self.leeway
    }

    /// Judges `token` at `now_ms` (ms since the epoch).
    ///
    /// # Errors
    /// [`TokenError::Expired`] if only its time is over, [`TokenError::Revoked`] if it was withdrawn,
    /// [`TokenError::Refused`] for anything else.
    pub fn verify(&self, token: &str, now_ms: u64) -> Result<Identity, TokenError> {
        if token.len() > TOKEN_MAX_BYTES {
            return Err(refused(format!(
                "the token is longer than {TOKEN_MAX_BYTES} bytes"
            )));
        }
        let header = decode_header(token).map_err(|_| {
            refused("the token is not a signed JWT of an algorithm this server knows")
        })?;
        // RFC 7515 section 4.1.11: an extension we don't understand makes the token invalid.
        if header.crit.is_some() {
            return Err(refused("the token's header asks for an extension (crit)"));
        }
        let expected = Expected {
            issuer: self.issuer.as_deref(),
            audience: self.audience.as_deref(),
            leeway_ms: self.leeway_ms(),
        };
        let mut tried = false;
        for key in self.candidates(header.alg, header.kid.as_deref()) {
            tried = true;
            if let Some(claims) = signed_claims(token, header.alg, key)? {
                let identity = claims.judge(&expected, now_ms)?;
                let ends_ms = self.token_end(identity.expires_at);
                let leeway_ms = expected.leeway_ms;
                if self.revoked.awaits_others() {
                    return Err(refused(
                        "nobody knows yet whether the token was revoked: the server waits for Redis",
                    ));
                }
                return match self.revoked.refuses(&identity, ends_ms, leeway_ms, now_ms) {
                    true => Err(TokenError::Revoked),
                    false => Ok(identity),
                };
            }
        }
        let own_pass = self.own_pass.as_ref();
        if let Some(itself) = own_pass.and_then(|pass| pass.bearer(token, now_ms)) {
            return Ok(itself);
        }
        Err(refused(if tried {
            "the token's signature is not good"
        } else {
            "the token's algorithm or key id (kid) belongs to none of the configured keys"
        }))
    }

    fn leeway_ms(&self) -> u64 {
        u64::try_from(self.leeway.as_millis()).unwrap_or(u64::MAX)
    }

    /// The keys a token with this header may have been signed with.
    fn candidates<'a>(
        &'a self,
        algorithm: Algorithm,
        kid: Option<&'a str>,
    ) -> impl Iterator<Item = &'a Key> {
        self.keys.iter().filter(move |key| {
            let selected = match (&key.origin, kid) {
                (Origin::Nameless, _) => true,
                (Origin::Set { kid: own }, Some(kid)) => own.as_deref() == Some(kid),
                (Origin::Set { .. }, None) => self.set_len == 1,
            };
            selected && key.algorithms.contains(&algorithm)
        })
    }
}

/// The claims if `key` signed them, `None` if it did not.
fn signed_claims(
    token: &str,
    algorithm: Algorithm,
    key: &Key,
) -> Result<Option<Claims>, TokenError> {
    use jsonwebtoken::errors::ErrorKind;

    let mut signature_only = Validation::new(algorithm);
    signature_only.required_spec_claims = HashSet::new();
    signature_only.validate_exp = false;
    signature_only.validate_nbf = false;
    signature_only.validate_aud = false;
    match decode::<Claims>(token, &key.decoding, &signature_only) {
        Ok(data) => Ok(Some(data.claims)),
        Err(error) => match error.kind() {
            ErrorKind::Json(_) | ErrorKind::Utf8(_) | ErrorKind::Base64(_) => {
                Err(refused("the token is not readable, or names a claim twice"))
            }
            _ => Ok(None),
        },
    }
}

fn refused(sentence: impl Into<String>) -> TokenError {
    TokenError::Refused(sentence.into())
}
