//! Which address a client has behind trusted proxies, and what connect attempts are counted by.
//!
//! Owns the reading of X-Forwarded-For, and the rule by which [`forwarded`] is read alike. Called once
//! a handshake, before the connect rate is judged.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use super::forwarded;
use super::request::trim_spaces;

/// The header in which the trusted proxies say for whom they ask.
///
/// It is one or the other and never both: a proxy that writes the one passes on what a client has
/// written into the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressHeader {
    /// `X-Forwarded-For`: addresses, comma-separated.
    XForwardedFor,
    /// `Forwarded` (RFC 7239): what its `for` says.
    Forwarded,
}

impl AddressHeader {
    /// The header's name, in lower case.
    pub fn name(self) -> &'static str {
        match self {
            AddressHeader::XForwardedFor => "x-forwarded-for",
            AddressHeader::Forwarded => "forwarded",
        }
    }
}

/// Whether this address is a trusted proxy's.
pub fn is_trusted(ip: IpAddr, trusted: &[IpNet]) -> bool {
    trusted.iter().any(|net| net.contains(&ip))
}

/// The client's address: the peer's own, or where the peer is a trusted proxy, the first address
/// from the right of `header` that is not a trusted proxy's.
///
/// `lines` yields the values of the lines of that header, in order. What stands to the left of an
/// entry that is no address was written by nobody trusted: the last proxy before it counts.
pub fn client_ip<'a>(
    peer: IpAddr,
    trusted: &[IpNet],
    header: AddressHeader,
    lines: impl Iterator<Item = &'a str>,
) -> IpAddr {
    let peer = peer.to_canonical();
    if !is_trusted(peer, trusted) {
        return peer;
    }
    let lines: Vec<&str> = lines.collect();
    let lines = lines.into_iter().rev();
    match header {
        AddressHeader::XForwardedFor => {
            let entries = lines.flat_map(|line| line.rsplit(','));
            first_untrusted(
                peer,
                trusted,
                entries.map(|entry| address(trim_spaces(entry))),
            )
        }
        AddressHeader::Forwarded => {
            let elements = lines.flat_map(forwarded::from_the_right);
            first_untrusted(peer, trusted, elements.map(forwarded::address))
        }
    }
}

/// Follows the addresses from the nearest proxy outwards, as far as each is a trusted one's.
fn first_untrusted(
    peer: IpAddr,
    trusted: &[IpNet],
    addresses: impl Iterator<Item = Option<IpAddr>>,
) -> IpAddr {
    let mut client = peer;
    for told in addresses {
        let Some(ip) = told else {
            break;
        };
        client = ip.to_canonical();
        if !is_trusted(client, trusted) {
            break;
        }
    }
    client
}

/// What connect attempts are counted by: an IPv4 address, or the /64 an IPv6 address is in, since
/// one subscriber has at least that many addresses.
pub fn rate_key(ip: IpAddr) -> u128 {
    match ip.to_canonical() {
        // A mapped address has its upper half zero, so it meets no other /64 than its own.
        IpAddr::V4(ip) => u128::from(ip.to_ipv6_mapped()),
        IpAddr::V6(ip) => u128::from(ip) >> 64 << 64,
    }
}

/// Reads `1.2.3.4`, `1.2.3.4:5`, `::1`, `[::1]` or `[::1]:5`.
fn address(entry: &str) -> Option<IpAddr> {
    entry
        .parse::<IpAddr>()
        .or_else(|_| entry.parse::<SocketAddr>().map(|address| address.ip()))
        .or_else(|_| {
            entry
                .strip_prefix('[')
                .and_then(|rest| rest.strip_suffix(']'))
                .unwrap_or("")
                .parse()
        })
        .ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn told(header: AddressHeader, peer: &str, lines: &[&str]) -> String {
        let trusted = ["10.0.0.0/8", "fd00::/8"].map(|net| net.parse().unwrap());
        let lines = lines.iter().copied();
        client_ip(peer.parse().unwrap(), &trusted, header, lines).to_string()
    }

    fn client(peer: &str, lines: &[&str]) -> String {
        told(AddressHeader::XForwardedFor, peer, lines)
    }

    fn forwarded(peer: &str, lines: &[&str]) -> String {
        told(AddressHeader::Forwarded, peer, lines)
    }

    #[test]
    fn only_a_trusted_peer_is_believed() {
        assert_eq!(client("192.0.2.1", &["198.51.100.7"]), "192.0.2.1");
        assert_eq!(client("10.0.0.1", &["198.51.100.7"]), "198.51.100.7");
        assert_eq!(client("fd00::1", &["198.51.100.7"]), "198.51.100.7");
        assert_eq!(client("10.0.0.1", &[]), "10.0.0.1");
        let nobody = client_ip(
            "10.0.0.1".parse().unwrap(),
            &[],
            AddressHeader::XForwardedFor,
            ["198.51.100.7"].into_iter(),
        );
        assert_eq!(nobody.to_string(), "10.0.0.1");
        assert_eq!(forwarded("192.0.2.1", &["for=198.51.100.7"]), "192.0.2.1");
        assert_eq!(forwarded("10.0.0.1", &["for=198.51.100.7"]), "198.51.100.7");
        assert_eq!(forwarded("10.0.0.1", &[]), "10.0.0.1");
    }

    #[test]
    fn the_first_untrusted_address_from_the_right_counts() {
        // The leftmost entries are what a client may write itself.
        assert_eq!(
            client("10.0.0.1", &["1.1.1.1, 198.51.100.7, 10.0.0.2"]),
            "198.51.100.7"
        );
        assert_eq!(
            client("10.0.0.1", &["1.1.1.1", "198.51.100.7,10.0.0.2", "fd00::2"]),
            "198.51.100.7"
        );
        assert_eq!(client("10.0.0.1", &["10.0.0.3, 10.0.0.2"]), "10.0.0.3");
    }

    #[test]
    fn of_forwarded_the_same_one_counts() {
        for lines in [
            &["for=1.1.1.1, for=198.51.100.7, for=10.0.0.2"][..],
            &[
                "for=1.1.1.1",
                "for=198.51.100.7,for=10.0.0.2",
                "for=\"[fd00::2]\"",
            ],
            &["For=\"198.51.100.7:4711\";proto=https;host=\"a, for=1.1.1.1\""],
            &["proto=http;FOR=198.51.100.7;by=_gate , for=\"10.0.0.2:_p\""],
            // Whatever a client writes stands to the left of what a proxy adds.
            &["for=\"1.1.1.1, for=198.51.100.7"],
            &["for=\"\\", "for=198.51.100.7"],
        ] {
            assert_eq!(forwarded("10.0.0.1", lines), "198.51.100.7", "{lines:?}");
        }
        for lines in [
            &["for=198.51.100.7, for=unknown, for=10.0.0.2"][..],
            &["for=198.51.100.7, for=_hidden, for=10.0.0.2"],
            &["for=198.51.100.7, proto=https, for=10.0.0.2"],
            &["for=198.51.100.7, for=1.1.1.1;for=1.1.1.1, for=10.0.0.2"],
            &["for=198.51.100.7, , for=10.0.0.2"],
            &["198.51.100.7, for=10.0.0.2"],
        ] {
            assert_eq!(forwarded("10.0.0.1", lines), "10.0.0.2", "{lines:?}");
        }
    }

    #[test]
    fn garbage_ends_the_search() {
        for garbage in [
            "unknown",
            "",
            "_hidden",
            "1.2.3",
            "1.2.3.4.5",
            "[::1",
            "::1]",
            "1.2.3.4:x",
            "1.2.3.4\u{a0}",
        ] {
            let line = format!("198.51.100.7, {garbage}, 10.0.0.2");
            assert_eq!(client("10.0.0.1", &[&line]), "10.0.0.2", "{garbage:?}");
            assert_eq!(client("10.0.0.1", &[garbage]), "10.0.0.1", "{garbage:?}");
        }
    }

    #[test]
    fn ports_brackets_and_mapped_addresses() {
        for (entry, expected) in [
            ("198.51.100.7:4711", "198.51.100.7"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:4711", "2001:db8::1"),
            ("::ffff:198.51.100.7", "198.51.100.7"),
        ] {
            assert_eq!(client("10.0.0.1", &[entry]), expected);
        }
        assert_eq!(client("::ffff:10.0.0.1", &["198.51.100.7"]), "198.51.100.7");
        assert_eq!(client("::ffff:192.0.2.1", &[]), "192.0.2.1");
    }

    #[test]
    fn rate_keys() {
        let key = |ip: &str| rate_key(ip.parse().unwrap());
        assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
        assert_eq!(key("192.0.2.1"), key("::ffff:192.0.2.1"));
        assert_eq!(key("2001:db8:0:1::1"), key("2001:db8:0:1:ffff::2"));
        assert_ne!(key("2001:db8:0:1::1"), key("2001:db8:0:2::1"));
        assert_ne!(key("::1"), key("0.0.0.1"));
    }
}
