//! Who a connection is: the keys that sign tokens, and the way from a token to an [`Identity`].
//!
//! Owns the rules for keys and claims. Pure: no sockets, no files and no clock (`now` is passed in).
//! `config` fills [`KeySettings`], the reactors judge tokens with one [`Verifier`] each, and `cli`
//! makes tokens with [`mint()`].

mod claims;
mod keys;
mod mint;
mod own_pass;
mod revocations;
mod verifier;

use std::fmt;

use crate::access::Role;

pub use keys::{KeyFile, KeySettings, Secret, SecretsFrom, check_jwks, check_public_keys};
pub use mint::{Subject, mint};
pub use own_pass::OwnPass;
pub use revocations::{Full, Revocation, Revocations, Whom};
pub use verifier::Verifier;

/// The longest token that is looked at, in bytes: what also fits into a request head of 8 KiB.
pub const TOKEN_MAX_BYTES: usize = 8 * 1024;

/// What a good token says about its bearer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The user's id (`sub` or `userId`).
    pub user: String,
    /// The user's role; never [`Role::Public`].
    pub role: Role,
    /// The session's id (`sid` or `sessionId`).
    pub session: Option<String>,
    /// When the token was made (`iat`), in ms since the epoch, if it says so.
    pub issued_at: Option<u64>,
    /// When the token ends, in ms since the epoch, leeway not included.
    pub expires_at: u64,
}

/// Why a token is not taken. The sentences are for the client and hold nothing of the token or a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenError {
    /// Everything about the token is good but its time.
    Expired,
    /// It was good until an operator revoked it.
    Revoked,
    /// Anything else, with the sentence that says what.
    Refused(String),
}

impl TokenError {
    /// The machine-readable code of an `error` message: `token_expired` or `unauthorized`.
    pub fn code(&self) -> &'static str {
        match self {
            TokenError::Expired => "token_expired",
            TokenError::Revoked | TokenError::Refused(_) => "unauthorized",
        }
    }

    /// The word by which the statistics count it.
    pub fn outcome(&self) -> &'static str {
        match self {
            TokenError::Revoked => "revoked",
            other => other.code(),
        }
    }

    /// The sentence for the client.
    pub fn message(&self) -> &str {
        match self {
            TokenError::Expired => "the token has expired",
            TokenError::Revoked => "the token was revoked",
            TokenError::Refused(sentence) => sentence,
        }
    }
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

impl std::error::Error for TokenError {}

#[cfg(test)]
mod tests;
