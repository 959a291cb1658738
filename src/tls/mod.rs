//! TLS without sockets: certificates and keys from files, and one connection's cryptography.
//!
//! The crate `rustls` does the protocol; this room decides what is offered ([`acceptor()`]), which
//! files are good ([`Identity`]) and how a connection's bytes pass through it ([`Session`]). Bytes
//! in, bytes out: the reactor owns the sockets, `config` the settings, the router the reloading. Only the
//! client's side ([`Stream`]) has a socket of its own.

mod acceptor;
mod client;
mod identity;
mod session;
#[cfg(test)]
mod tests;

use std::sync::{Arc, LazyLock};

use rustls::crypto::{CryptoProvider, aws_lc_rs};

pub use acceptor::{Acceptor, acceptor};
pub use client::{Stream, only};
pub use identity::{Fault, Files, Identity};
pub use session::{Output, Received, Session, begins_handshake};

/// The cryptography of everything that speaks TLS here: the same library that judges tokens.
pub fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> =
        LazyLock::new(|| Arc::new(aws_lc_rs::default_provider()));
    Arc::clone(&PROVIDER)
}
