//! The pass by which the server comes in at its own port, as its canary.
//!
//! The configured keys may all be public ones, with which nothing can be signed, and a rotation must not
//! lock it out. So it has a key of its own, made up for this run and held in memory alone, which is good
//! for one user that nobody else can be.

use std::time::Duration;

use super::keys::{KeySettings, Secret};
use super::mint::{Subject, mint};
use super::{Identity, Verifier};
use crate::access::Role;

/// A key of this run, and the one user that it is good for.
pub struct OwnPass {
    user: String,
    pub(super) keys: KeySettings,
    verifier: Verifier,
}

impl OwnPass {
    /// For a user whose id begins with `name`.
    ///
    /// # Errors
    /// A sentence, if the operating system gives no randomness.
    pub fn new(name: &str) -> Result<OwnPass, String> {
        let keys = KeySettings {
            secrets: vec![Secret::random()?],
            ..KeySettings::default()
        };
        Ok(OwnPass {
            user: format!("{name}-{:016x}", fastrand::u64(..)),
            verifier: Verifier::new(&keys)?,
            keys,
        })
    }

    /// The user.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// A token for that user in this role, which ends `ttl` after `now_ms`.
    ///
    /// # Errors
    /// A sentence, if it cannot be signed.
    pub fn token(&self, role: Role, ttl: Duration, now_ms: u64) -> Result<String, String> {
        let subject = Subject {
            user: &self.user,
            role,
            session: None,
        };
        mint(&self.keys, subject, ttl, now_ms)
    }

    /// Who shows this token, if it is one of these, and for that user.
    pub(super) fn bearer(&self, token: &str, now_ms: u64) -> Option<Identity> {
        let identity = self.verifier.verify(token, now_ms).ok()?;
        (identity.user == self.user).then_some(identity)
    }
}
