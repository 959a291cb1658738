//! Where a server, or several hosts that are one, are reached, whom they are trusted as, and what signs their tokens.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};

/// Where a server is reached and what signs its tokens.
#[derive(Debug, Clone)]
pub struct Target {
    /// The hosts that connections go to in turn: one, or those of a cluster.
    hosts: Vec<Host>,
    /// Path of the WebSocket endpoint, with the query if there is one.
    pub path: String,
    /// The ingest socket of the first host.
    pub socket: PathBuf,
    /// Its HS256 secret, which is everybody's.
    pub secret: Vec<u8>,
    /// How TLS is spoken to it, where it is.
    pub tls: Option<Tls>,
    /// The hosts' processes, where they are known.
    pub pids: Vec<u32>,
    /// The process of the Redis that joins them, where it is known.
    pub redis: Option<u32>,
}

/// Where connections are made to.
#[derive(Debug, Clone)]
pub struct Host {
    /// Address of its WebSocket port.
    pub address: SocketAddr,
    /// Host and port as the URL wrote them.
    pub name: String,
}

/// How TLS is spoken to a server.
#[derive(Debug, Clone)]
pub struct Tls {
    /// What all connections have in common: they resume no session, so that each costs the server a
    /// whole handshake.
    pub config: Arc<ClientConfig>,
    /// Whom its certificate must be for.
    pub name: ServerName<'static>,
}

impl Target {
    /// Reads a `ws://` or `wss://` address; for the latter, `ca` is a PEM file with the authorities
    /// to trust.
    ///
    /// # Errors
    /// Where it is no such address, its host is not known, or nobody is trusted.
    pub fn new(
        url: &str,
        socket: PathBuf,
        secret: Vec<u8>,
        ca: Option<&Path>,
    ) -> Result<Self, String> {
        let (rest, is_secure) = match (url.strip_prefix("ws://"), url.strip_prefix("wss://")) {
            (Some(rest), _) => (rest, false),
            (_, Some(rest)) => (rest, true),
            _ => return Err(format!("`{url}` starts with neither ws:// nor wss://")),
        };
        let slash = rest.find('/').unwrap_or(rest.len());
        let (host, path) = rest.split_at(slash);
        let path = if path.is_empty() { "/api/ws" } else { path };
        let after_brackets = host.rsplit(']').next().unwrap_or(host);
        let with_port = if after_brackets.contains(':') {
            host.to_string()
        } else {
            format!("{host}:{}", if is_secure { 443 } else { 80 })
        };
        let tls = match (is_secure, ca) {
            (false, _) => None,
            (true, Some(ca)) => Some(Tls::new(&with_port, ca)?),
            (true, None) => {
                return Err(format!(
                    "`{url}`: name the authority of its certificate with --ca"
                ));
            }
        };
        let address = with_port
            .to_socket_addrs()
            .map_err(|error| format!("`{url}`: {error}"))?
            .next()
            .ok_or_else(|| format!("`{url}`: the host has no address"))?;
        Ok(Self {
            hosts: vec![Host {
                address,
                name: host.to_string(),
            }],
            path: path.to_string(),
            socket,
            secret,
            tls,
            pids: Vec::new(),
            redis: None,
        })
    }

    /// Where the connection of this number goes.
    pub fn host(&self, connection: u32) -> &Host {
        &self.hosts[connection as usize % self.hosts.len()]
    }

    /// Another host of the same cluster, with the same secret.
    pub fn join(&mut self, other: Target) {
        self.hosts.extend(other.hosts);
        self.pids.extend(other.pids);
    }
}

impl Tls {
    fn new(host_and_port: &str, ca: &Path) -> Result<Self, String> {
        let wrong = |why: String| format!("--ca {}: {why}", ca.display());
        let mut roots = RootCertStore::empty();
        let certificates = CertificateDer::pem_file_iter(ca);
        for certificate in certificates.map_err(|error| wrong(error.to_string()))? {
            let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
            let added = roots.add(certificate);
            added.map_err(|error| wrong(error.to_string()))?;
        }
        if roots.is_empty() {
            return Err(wrong("it holds no certificate".into()));
        }
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider has suites for both versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.resumption = Resumption::disabled();
        let host = host_and_port.rsplit_once(':').map_or("", |(host, _)| host);
        let host = host.trim_matches(['[', ']']).to_string();
        let name = ServerName::try_from(host)
            .map_err(|_| format!("`{host_and_port}` is no name that a certificate can be for"))?;
        Ok(Self {
            config: Arc::new(config),
            name,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn targets() {
        let target = |url| Target::new(url, PathBuf::new(), Vec::new(), None);
        let plain = target("ws://127.0.0.1:3001/x?a=b").unwrap();
        assert_eq!(plain.host(0).address.port(), 3001);
        assert_eq!(plain.path, "/x?a=b");
        let ipv6 = target("ws://[::1]").unwrap();
        assert_eq!(ipv6.host(0).address.port(), 80);
        assert_eq!(ipv6.path, "/api/ws");
        assert!(target("wss://127.0.0.1").unwrap_err().contains("--ca"));
        assert!(target("http://127.0.0.1").unwrap_err().contains("wss://"));
        let ca = Path::new("/no/such/file");
        let unknown = Target::new("wss://127.0.0.1", PathBuf::new(), Vec::new(), Some(ca));
        assert!(unknown.unwrap_err().contains("--ca /no/such/file"));
        assert!(target("ws://127.0.0.1:x").is_err());
    }

    #[test]
    fn connections_go_to_one_host_after_the_other() {
        let host = |url| Target::new(url, PathBuf::new(), Vec::new(), None).unwrap();
        let mut target = host("ws://127.0.0.1:3001");
        target.join(host("ws://127.0.0.1:3002"));
        let names = [0, 1, 2].map(|number| target.host(number).name.as_str());
        assert_eq!(
            names,
            ["127.0.0.1:3001", "127.0.0.1:3002", "127.0.0.1:3001"]
        );
    }
}
