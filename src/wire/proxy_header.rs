//! The PROXY protocol header, versions 1 and 2, that a proxy may put before anything else.
//!
//! Owns telling such a header from a request and bounding it; the crate `ppp` reads its fields.
//! Called for the first bytes of a connection whose peer is a trusted proxy, and for no other.

use std::net::IpAddr;

use ppp::{PartialResult, v1, v2};

/// Most bytes of a version 1 header with its CR LF, by the protocol's own rule.
const TEXT_MAX: usize = 107;

/// Most bytes of a version 2 header. The protocol allows 64 KiB, and advises senders to stay under
/// 536; real ones carry an address and a few short fields.
const BINARY_MAX: usize = 4096;

/// Where the announced length stands in a version 2 header.
const BINARY_LENGTH: std::ops::Range<usize> = 14..16;

/// Bytes of a version 2 header before what its length counts.
const BINARY_FIXED: usize = 16;

/// What the first bytes of a connection are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyHeader {
    /// No PROXY header: a request begins here.
    NotProxy,
    /// They may become a PROXY header.
    Partial,
    /// A whole header.
    Complete {
        /// Bytes of the header; the request follows.
        length: usize,
        /// The client's address; `None` where the proxy speaks for itself or does not say.
        source: Option<IpAddr>,
    },
    /// A PROXY header that is not well formed: the connection is refused with 400.
    Broken,
}

/// Reads the PROXY header at the start of `bytes`, all that has arrived so far.
pub fn parse(bytes: &[u8]) -> ProxyHeader {
    if starts_alike(bytes, v2::PROTOCOL_PREFIX) {
        parse_binary(bytes)
    } else if starts_alike(bytes, b"PROXY ") {
        parse_text(bytes)
    } else {
        ProxyHeader::NotProxy
    }
}

/// Whether one of the two begins with the other.
fn starts_alike(bytes: &[u8], prefix: &[u8]) -> bool {
    bytes
        .iter()
        .zip(prefix)
        .all(|(byte, expected)| byte == expected)
}

fn parse_text(bytes: &[u8]) -> ProxyHeader {
    let line = &bytes[..bytes.len().min(TEXT_MAX)];
    // Only whole lines are given away: a cut behind a space would read as a wrong port.
    let Some(end) = memchr::memmem::find(line, b"\r\n") else {
        return if bytes.len() < TEXT_MAX {
            ProxyHeader::Partial
        } else {
            ProxyHeader::Broken
        };
    };
    let length = end + 2;
    // By the protocol's own word, nothing is to be made of what follows UNKNOWN; `ppp` reads it.
    if let Some(rest) = line[..end].strip_prefix(b"PROXY UNKNOWN")
        && matches!(rest, [] | [b' ', ..])
    {
        return complete(length, None);
    }
    match v1::Header::try_from(&line[..length]) {
        Ok(header) => complete(
            length,
            match header.addresses {
                v1::Addresses::Tcp4(addresses) => Some(addresses.source_address.into()),
                v1::Addresses::Tcp6(addresses) => Some(addresses.source_address.into()),
                v1::Addresses::Unknown => None,
            },
        ),
        Err(_) => ProxyHeader::Broken,
    }
}

fn parse_binary(bytes: &[u8]) -> ProxyHeader {
    if let Some(&[high, low]) = bytes.get(BINARY_LENGTH)
        && BINARY_FIXED + usize::from(u16::from_be_bytes([high, low])) > BINARY_MAX
    {
        return ProxyHeader::Broken;
    }
    let header = match v2::Header::try_from(bytes) {
        Ok(header) => header,
        Err(error) if error.is_incomplete() => return ProxyHeader::Partial,
        Err(_) => return ProxyHeader::Broken,
    };
    let source = match (header.command, header.addresses) {
        // A health check of the proxy itself: its addresses are to be ignored.
        (v2::Command::Local, _) => None,
        (v2::Command::Proxy, v2::Addresses::IPv4(addresses)) => {
            Some(addresses.source_address.into())
        }
        (v2::Command::Proxy, v2::Addresses::IPv6(addresses)) => {
            Some(addresses.source_address.into())
        }
        (v2::Command::Proxy, v2::Addresses::Unspecified | v2::Addresses::Unix(_)) => None,
    };
    complete(header.len(), source)
}

fn complete(length: usize, source: Option<IpAddr>) -> ProxyHeader {
    ProxyHeader::Complete {
        length,
        source: source.map(|ip| ip.to_canonical()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn source(bytes: &[u8]) -> (usize, Option<String>) {
        match parse(bytes) {
            ProxyHeader::Complete { length, source } => (length, source.map(|ip| ip.to_string())),
            other => panic!("{other:?}"),
        }
    }

    fn binary(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let mut bytes = v2::PROTOCOL_PREFIX.to_vec();
        bytes.extend([command, family]);
        bytes.extend((body.len() as u16).to_be_bytes());
        bytes.extend(body);
        bytes
    }

    const IPV4: [u8; 12] = [198, 51, 100, 7, 10, 0, 0, 1, 0x30, 0x39, 0, 80];

    #[test]
    fn requests_are_no_proxy_headers() {
        for bytes in [
            &b"GET / HTTP/1.1\r\n"[..],
            b"POST /",
            b"PUT /",
            b"\r\nGET /",
            b"\x16\x03",
        ] {
            assert_eq!(parse(bytes), ProxyHeader::NotProxy, "{bytes:?}");
        }
    }

    #[test]
    fn text_headers() {
        let ipv4 = b"PROXY TCP4 198.51.100.7 10.0.0.1 12345 80\r\nGET /";
        assert_eq!(source(ipv4), (43, Some("198.51.100.7".into())));
        let ipv6 = b"PROXY TCP6 2001:db8::1 ::1 12345 80\r\n";
        assert_eq!(source(ipv6), (37, Some("2001:db8::1".into())));
        let mapped = b"PROXY TCP6 ::ffff:198.51.100.7 ::1 12345 80\r\n";
        assert_eq!(source(mapped), (45, Some("198.51.100.7".into())));
        assert_eq!(source(b"PROXY UNKNOWN\r\nGET"), (15, None));
        assert_eq!(source(b"PROXY UNKNOWN a b c d\r\n"), (23, None));
        assert_eq!(source(b"PROXY UNKNOWN PROXY \xFF\r\n"), (23, None));
    }

    #[test]
    fn binary_headers() {
        let plain = binary(0x21, 0x11, &IPV4);
        assert_eq!(source(&plain), (28, Some("198.51.100.7".into())));
        let with_fields = binary(0x21, 0x11, &[&IPV4[..], &[4, 0, 1, 0]].concat());
        assert_eq!(source(&[&with_fields[..], b"GET"].concat()).0, 32);
        let mut ipv6 = [0; 36];
        ipv6[..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
        assert_eq!(
            source(&binary(0x21, 0x21, &ipv6)),
            (52, Some("2001:db8::".into()))
        );
        assert_eq!(source(&binary(0x20, 0x11, &IPV4)).1, None);
        assert_eq!(source(&binary(0x21, 0x00, b"")).1, None);
        assert_eq!(source(&binary(0x21, 0x31, &[b'a'; 216])).1, None);
    }

    #[test]
    fn broken_headers() {
        for text in [
            "PROXY TCP4 198.51.100.256 10.0.0.1 12345 80\r\n",
            "PROXY TCP4 198.51.100.7 10.0.0.1 12345\r\n",
            "PROXY TCP4 2001:db8::1 ::1 12345 80\r\n",
            "PROXY UDP4 198.51.100.7 10.0.0.1 12345 80\r\n",
            "PROXY TCP4 198.51.100.7 10.0.0.1 12345 65536\r\n",
            "PROXY TCP4  198.51.100.7 10.0.0.1 12345 80\r\n",
            "PROXY \r\n",
        ] {
            assert_eq!(parse(text.as_bytes()), ProxyHeader::Broken, "{text:?}");
        }
        let long = format!("PROXY UNKNOWN {}", "x".repeat(TEXT_MAX));
        assert_eq!(parse(long.as_bytes()), ProxyHeader::Broken);
        assert_eq!(parse(b"PROXY TCP4 \xFF\r\n"), ProxyHeader::Broken);
        assert_eq!(parse(&binary(0x11, 0x11, &IPV4)), ProxyHeader::Broken);
        assert_eq!(parse(&binary(0x22, 0x11, &IPV4)), ProxyHeader::Broken);
        assert_eq!(parse(&binary(0x21, 0x41, &IPV4)), ProxyHeader::Broken);
        assert_eq!(parse(&binary(0x21, 0x11, &IPV4[..11])), ProxyHeader::Broken);
        let large = binary(0x21, 0x11, &[0; BINARY_MAX]);
        assert_eq!(parse(&large[..16]), ProxyHeader::Broken);
    }

    proptest! {
        #[test]
        fn a_header_that_is_cut_anywhere_is_partial(cut in any::<prop::sample::Index>()) {
            for whole in [
                b"PROXY TCP4 198.51.100.7 10.0.0.1 12345 80\r\n".to_vec(),
                b"PROXY TCP6 2001:db8::1 ::1 12345 80\r\n".to_vec(),
                b"PROXY UNKNOWN\r\n".to_vec(),
                binary(0x21, 0x11, &IPV4),
                binary(0x20, 0x00, b"abc"),
            ] {
                prop_assert_eq!(parse(&whole[..cut.index(whole.len())]), ProxyHeader::Partial);
            }
        }

        #[test]
        fn random_bytes_never_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..300),
            kind in 0usize..3,
        ) {
            let prefix = [&b""[..], b"PROXY ", v2::PROTOCOL_PREFIX][kind];
            let whole = [prefix, &bytes].concat();
            if let ProxyHeader::Complete { length, .. } = parse(&whole) {
                prop_assert!(length <= whole.len());
            }
        }
    }
}
