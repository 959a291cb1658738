//! A PROXY header, as the protocol's own document has it, and cut anywhere.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use shopwire::wire::proxy_header::{ProxyHeader, parse};

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const TEXT_MAX: usize = 107;
const BINARY_MAX: usize = 4096;

pub fn holds(bytes: &[u8]) {
    let outcome = parse(bytes);
    assert_eq!(outcome, reference(bytes));
    // More bytes never change what is decided.
    let step = bytes.len() / 128 + 1;
    for cut in (0..bytes.len()).step_by(step) {
        match parse(&bytes[..cut]) {
            ProxyHeader::Partial => {}
            decided => assert_eq!(decided, outcome, "by {cut} bytes"),
        }
    }
}

fn reference(bytes: &[u8]) -> ProxyHeader {
    let begins = |prefix: &[u8]| {
        let common = bytes.len().min(prefix.len());
        bytes[..common] == prefix[..common]
    };
    if begins(SIGNATURE) {
        binary(bytes)
    } else if begins(b"PROXY ") {
        text(bytes)
    } else {
        ProxyHeader::NotProxy
    }
}

fn text(bytes: &[u8]) -> ProxyHeader {
    let within = &bytes[..bytes.len().min(TEXT_MAX)];
    let Some(end) = within.windows(2).position(|two| two == b"\r\n") else {
        return if bytes.len() < TEXT_MAX {
            ProxyHeader::Partial
        } else {
            ProxyHeader::Broken
        };
    };
    if bytes[..end] == *b"PROXY UNKNOWN" || bytes[..end].starts_with(b"PROXY UNKNOWN ") {
        return complete(end + 2, None);
    }
    let line = std::str::from_utf8(&bytes[..end]);
    let words: Vec<&str> = line
        .map(|line| line.split(' ').collect())
        .unwrap_or_default();
    let source: Option<IpAddr> = match words[..] {
        ["PROXY", "TCP4", source, destination, from, to] => {
            let ends = (source.parse::<Ipv4Addr>(), destination.parse::<Ipv4Addr>());
            match ends {
                (Ok(source), Ok(_)) if is_port(from) && is_port(to) => Some(source.into()),
                _ => None,
            }
        }
        ["PROXY", "TCP6", source, destination, from, to] => {
            let ends = (source.parse::<Ipv6Addr>(), destination.parse::<Ipv6Addr>());
            match ends {
                (Ok(source), Ok(_)) if is_port(from) && is_port(to) => Some(source.into()),
                _ => None,
            }
        }
        _ => None,
    };
    source.map_or(ProxyHeader::Broken, |source| {
        complete(end + 2, Some(source))
    })
}

/// Decimal, without a leading zero.
fn is_port(text: &str) -> bool {
    text.bytes().all(|digit| digit.is_ascii_digit())
        && text.parse::<u16>().is_ok()
        && (text == "0" || !text.starts_with('0'))
}

fn binary(bytes: &[u8]) -> ProxyHeader {
    let Some(&[command, family, high, low]) = bytes.get(12..16) else {
        return ProxyHeader::Partial;
    };
    let len = usize::from(u16::from_be_bytes([high, low]));
    let address_len = match family >> 4 {
        1 => 12,
        2 => 36,
        3 => 216,
        _ => 0,
    };
    if !is_command(command) || !is_family(family) || 16 + len > BINARY_MAX || len < address_len {
        return ProxyHeader::Broken;
    }
    let Some(body) = bytes.get(16..16 + len) else {
        return ProxyHeader::Partial;
    };
    let source = match (command & 15, family >> 4) {
        (1, 1) => body.first_chunk::<4>().map(|octets| IpAddr::from(*octets)),
        (1, 2) => body.first_chunk::<16>().map(|octets| IpAddr::from(*octets)),
        _ => None,
    };
    complete(16 + len, source)
}

/// Version 2, and one of the two commands.
fn is_command(byte: u8) -> bool {
    byte == 0x20 || byte == 0x21
}

fn is_family(byte: u8) -> bool {
    byte >> 4 <= 3 && byte & 15 <= 2
}

fn complete(length: usize, source: Option<IpAddr>) -> ProxyHeader {
    let plain = |ip: IpAddr| match ip {
        IpAddr::V6(ip) => ip.to_ipv4_mapped().map_or(IpAddr::V6(ip), IpAddr::V4),
        ip => ip,
    };
    ProxyHeader::Complete {
        length,
        source: source.map(plain),
    }
}
