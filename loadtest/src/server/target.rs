//! Where a server is reached, and what signs its tokens.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;

/// Where a server is reached and what signs its tokens.
#[derive(Debug, Clone)]
pub struct Target {
    /// Address of its WebSocket port.
    pub address: SocketAddr,
    /// Host and port as the URL wrote them.
    pub host: String,
    /// Path of the WebSocket endpoint, with the query if there is one.
    pub path: String,
    /// Its ingest socket.
    pub socket: PathBuf,
    /// Its HS256 secret.
    pub secret: Vec<u8>,
    /// Its process, where that is known.
    pub pid: Option<u32>,
}

impl Target {
    /// Reads a `ws://` address.
    ///
    /// # Errors
    /// Where it is no such address, or its host is not known.
    pub fn new(url: &str, socket: PathBuf, secret: Vec<u8>) -> Result<Self, String> {
        let rest = url
            .strip_prefix("ws://")
            .ok_or_else(|| format!("`{url}` does not start with ws:// (TLS is not spoken here)"))?;
        let slash = rest.find('/').unwrap_or(rest.len());
        let (host, path) = rest.split_at(slash);
        let path = if path.is_empty() { "/api/ws" } else { path };
        let after_brackets = host.rsplit(']').next().unwrap_or(host);
        let with_port = if after_brackets.contains(':') {
            host.to_string()
        } else {
            format!("{host}:80")
        };
        let address = with_port
            .to_socket_addrs()
            .map_err(|error| format!("`{url}`: {error}"))?
            .next()
            .ok_or_else(|| format!("`{url}`: the host has no address"))?;
        Ok(Self {
            address,
            host: host.to_string(),
            path: path.to_string(),
            socket,
            secret,
            pid: None,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn targets() {
        let target = |url| Target::new(url, PathBuf::new(), Vec::new());
        let plain = target("ws://127.0.0.1:3001/x?a=b").unwrap();
        assert_eq!(
            (plain.address.port(), plain.path.as_str()),
            (3001, "/x?a=b")
        );
        let ipv6 = target("ws://[::1]").unwrap();
        assert_eq!((ipv6.address.port(), ipv6.path.as_str()), (80, "/api/ws"));
        assert!(target("wss://127.0.0.1").unwrap_err().contains("TLS"));
        assert!(target("ws://127.0.0.1:x").is_err());
    }
}
