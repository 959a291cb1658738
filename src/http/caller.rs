//! Who asks, by which rules, and whether it is somebody on this machine.

use std::net::IpAddr;
use std::time::Instant;

use crate::live::Live;
use crate::wire::Request;

/// Who asks, when, and what is in force then.
pub struct Caller<'a> {
    /// What is in force.
    pub live: &'a Live,
    /// The address the connection came from.
    pub ip: IpAddr,
    /// Monotonic time.
    pub now: Instant,
    /// Milliseconds since the Unix epoch.
    pub now_ms: u64,
    /// Whether his browser is to remember that this host speaks TLS.
    pub hsts: bool,
}

/// Whether the request was made on this machine, for this machine, without a proxy between.
pub fn is_on_this_host(request: &Request<'_>, ip: IpAddr) -> bool {
    // A proxy on this host calls from loopback for anybody: these headers give it away.
    const FORWARDED: [&str; 3] = ["x-real-ip", "forwarded", "via"];
    let is_forwarded = FORWARDED.iter().any(|name| request.has(name))
        || request.names().any(|name| {
            name.get(..12)
                .is_some_and(|start| start.eq_ignore_ascii_case("x-forwarded-"))
        });
    ip.is_loopback() && !is_forwarded && request.host().is_some_and(is_loopback_host)
}

/// Whether a Host header means this machine; anything else may be a page that rebound its name.
fn is_loopback_host(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = name
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(name);
    bare.eq_ignore_ascii_case("localhost")
        || bare
            .parse::<IpAddr>()
            .is_ok_and(|ip| ip.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_s_names_are_loopback() {
        for host in [
            "localhost",
            "LOCALHOST:3001",
            "127.0.0.1",
            "127.8.0.1:80",
            "[::1]:80",
            "[::1]",
        ] {
            assert!(is_loopback_host(host), "{host}");
        }
        for host in [
            "shop.example",
            "localhost.shop.example",
            "10.0.0.1",
            "127.0.0.1.x:80",
            "",
        ] {
            assert!(!is_loopback_host(host), "{host}");
        }
    }
}
