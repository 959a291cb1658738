//! What the server offers to those who come over TLS.
//!
//! Owns versions, protocol, tickets. Made anew with every certificate; every reactor has the one in
//! force, and a connection keeps the one it came by.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::NoServerSessionStorage;
use rustls::sign::SingleCertAndKey;
use rustls::version::{TLS12, TLS13};

use super::{Identity, provider};

/// How connections are accepted.
pub type Acceptor = Arc<ServerConfig>;

/// Accepts connections as `identity`.
///
/// What lets a browser resume is in its ticket, sealed with a key of this acceptor that is changed
/// every six hours and lives nowhere else: the server remembers nobody, and after a restart or a
/// new certificate the first connection is a whole handshake again.
///
/// # Errors
/// A sentence, if the operating system gives no randomness.
pub fn acceptor(identity: &Identity) -> Result<Acceptor, String> {
    let certificate = SingleCertAndKey::from(Arc::clone(&identity.certified));
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13, &TLS12])
        .expect("the provider has suites for both versions")
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(certificate));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer =
        Ticketer::new().map_err(|error| format!("the system gives no random bytes: {error}"))?;
    // One for the next time: each connection that comes back by it gets a new one.
    config.send_tls13_tickets = 1;
    Ok(Arc::new(config))
}
