//! What may change while the server runs: the keys that sign tokens, the certificate, and the settings
//! that need no restart.
//!
//! Made whole of a validated configuration, and replaced whole: by [`crate::router`] after a reload,
//! which hands it to every reactor by its ring. So a reactor judges all that comes in one turn alike.

use std::sync::Arc;

use crate::auth::{OwnPass, Revocations, Verifier};
use crate::config::Config;
use crate::http::info_body;
use crate::tls::{self, Acceptor};

/// What is in force.
pub struct Live {
    /// The settings, those that cannot change while the server runs included.
    pub config: Arc<Config>,
    /// Judges tokens.
    pub verifier: Verifier,
    /// How TLS connections are accepted, where there is a certificate.
    pub acceptor: Option<Acceptor>,
    /// The body of `GET /api/ws/info`.
    pub info: String,
}

impl Live {
    /// Puts these settings into force. Tokens that are `revoked` are refused; `own_pass` is the canary's.
    ///
    /// # Errors
    /// A sentence: a key that cannot be used, or the operating system gives no randomness.
    pub fn new(
        config: Arc<Config>,
        revoked: &Arc<Revocations>,
        own_pass: Option<&Arc<OwnPass>>,
    ) -> Result<Self, String> {
        let tls = config.tls.as_ref();
        Ok(Self {
            verifier: Verifier::new(&config.jwt)?
                .heeding(Arc::clone(revoked))
                .knowing(own_pass.cloned()),
            acceptor: tls.map(|tls| tls::acceptor(&tls.identity)).transpose()?,
            info: info_body(&config),
            config,
        })
    }

    /// When the certificate that new connections are shown ends, in seconds since 1970; 0 without one.
    pub fn certificate_end(&self) -> u64 {
        let tls = self.config.tls.as_ref();
        tls.and_then(|tls| tls.identity.ends_at()).unwrap_or(0)
    }
}
