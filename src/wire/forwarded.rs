//! The header Forwarded (RFC 7239): its elements from the right, and whose address each one tells.
//!
//! Called by [`client_address`](super::client_address), which owns the rule which of them counts.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::request::trim_spaces;

/// The elements of one line of the header, the last one first.
///
/// From the right, because that is where trusted proxies write: whatever a client has written before,
/// an open quote too, changes nothing about what follows it.
pub(super) fn from_the_right(line: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(line);
    std::iter::from_fn(move || {
        let line = rest?;
        let element = match last_comma(line) {
            Some(at) => {
                rest = Some(&line[..at]);
                &line[at + 1..]
            }
            None => {
                rest = None;
                line
            }
        };
        Some(element)
    })
}

/// Where the last element begins: behind the last comma that stands in no quotes.
fn last_comma(line: &str) -> Option<usize> {
    let bytes = line.as_bytes();
    let mut is_quoted = false;
    for (at, &byte) in bytes.iter().enumerate().rev() {
        match byte {
            // The quote that opens has `=` before it, so only one inside can be escaped.
            b'"' => is_quoted = !is_quoted || is_escaped(&bytes[..at]),
            b',' if !is_quoted => return Some(at),
            _ => {}
        }
    }
    None
}

fn is_escaped(before: &[u8]) -> bool {
    let backslashes = before.iter().rev().take_while(|&&byte| byte == b'\\');
    backslashes.count() % 2 == 1
}

/// The address that an element's `for` tells. `None`: it tells none (`unknown`, a name made up to hide
/// it, no `for`), or is not written as section 4 has it.
pub(super) fn address(element: &str) -> Option<IpAddr> {
    let mut node = None;
    let mut rest = trim_spaces(element);
    while !rest.is_empty() {
        let (name, value, behind) = pair(rest)?;
        if name.eq_ignore_ascii_case("for") && node.replace(value).is_some() {
            return None;
        }
        rest = match behind.strip_prefix(';') {
            Some(next) => next,
            None if behind.is_empty() => behind,
            None => return None,
        };
    }
    node_address(node?)
}

/// The pair at the beginning: its name, its value, and what is behind it. The value is what stands
/// between quotes, escapes as they are: no address has one.
fn pair(text: &str) -> Option<(&str, &str, &str)> {
    let (name, text) = text.split_once('=')?;
    if name.is_empty() || !name.bytes().all(is_token) {
        return None;
    }
    if let Some(text) = text.strip_prefix('"') {
        let end = closing_quote(text.as_bytes())?;
        return Some((name, &text[..end], &text[end + 1..]));
    }
    let end = text.find(';').unwrap_or(text.len());
    let (value, behind) = text.split_at(end);
    let is_whole = !value.is_empty() && value.bytes().all(is_unquoted);
    is_whole.then_some((name, value, behind))
}

fn closing_quote(text: &[u8]) -> Option<usize> {
    let mut at = 0;
    while at < text.len() {
        match text[at] {
            b'"' => return Some(at),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    None
}

/// RFC 9110 section 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// A port or an IPv6 address has to be quoted, which not every proxy does; nothing else is meant by it.
fn is_unquoted(byte: u8) -> bool {
    is_token(byte) || b":[]".contains(&byte)
}

/// Reads `1.2.3.4`, `1.2.3.4:5`, `[::1]`, `[::1]:5`; a port may be one made up, like `:_gate`.
fn node_address(node: &str) -> Option<IpAddr> {
    if let Some(node) = node.strip_prefix('[') {
        let (ip, port) = node.split_once(']')?;
        let is_one = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
        return is_one.then_some(ip.parse::<Ipv6Addr>().ok()?.into());
    }
    let ip = match node.split_once(':') {
        Some((ip, port)) => is_port(port).then_some(ip)?,
        None => node,
    };
    ip.parse::<Ipv4Addr>().ok().map(IpAddr::V4)
}

fn is_port(port: &str) -> bool {
    match port.strip_prefix('_') {
        Some(made_up) => {
            let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
            !made_up.is_empty() && made_up.bytes().all(is_allowed)
        }
        None => (1..=5).contains(&port.len()) && port.bytes().all(|digit| digit.is_ascii_digit()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nodes_of_all_kinds() {
        for (element, expected) in [
            ("for=192.0.2.43", Some("192.0.2.43")),
            ("For=\"192.0.2.43:47011\"", Some("192.0.2.43")),
            ("for=192.0.2.43:47011", Some("192.0.2.43")),
            ("for=\"192.0.2.43:_gate\"", Some("192.0.2.43")),
            ("for=\"[2001:db8:cafe::17]\"", Some("2001:db8:cafe::17")),
            (
                "for=\"[2001:db8:cafe::17]:4711\"",
                Some("2001:db8:cafe::17"),
            ),
            ("for=[2001:db8:cafe::17]:4711", Some("2001:db8:cafe::17")),
            (
                " \tfor=192.0.2.43;proto=http;by=203.0.113.43\t",
                Some("192.0.2.43"),
            ),
            (
                "by=\"a\\\"b;for=1.1.1.1\";for=192.0.2.43;",
                Some("192.0.2.43"),
            ),
            ("for=unknown", None),
            ("for=_gazonk", None),
            ("for=\"_gazonk:80\"", None),
            ("proto=https", None),
            ("", None),
            ("for=", None),
            ("for", None),
            ("for=\"\"", None),
            ("for=192.0.2.43;for=192.0.2.43", None),
            ("for =192.0.2.43", None),
            ("for= 192.0.2.43", None),
            ("for=192.0.2.43 ;proto=http", None),
            ("for=\"192.0.2.43\"x", None),
            ("for=\"192.0.2.43", None),
            ("for=192.0.2.43\"", None),
            ("for=\"192.0.2.4\\3\"", None),
            ("for=\"2001:db8:cafe::17\"", None),
            ("for=\"[192.0.2.43]\"", None),
            ("for=\"[::1]x\"", None),
            ("for=192.0.2.43:", None),
            ("for=192.0.2.43:123456", None),
            ("for=192.0.2.43:_", None),
            ("for=192.0.2.43,for=192.0.2.44", None),
        ] {
            let told = address(element).map(|ip| ip.to_string());
            assert_eq!(told.as_deref(), expected, "{element:?}");
        }
    }

    /// An element as a proxy may write it, and the address in it.
    fn element() -> impl Strategy<Value = (String, Option<IpAddr>)> {
        let port = prop_oneof![Just(String::new()), "[0-9]{1,5}", "_[a-z.]{1,4}"];
        let node = (any::<Option<IpAddr>>(), port).prop_map(|(ip, port)| {
            let port = if port.is_empty() {
                port
            } else {
                format!(":{port}")
            };
            match ip {
                Some(IpAddr::V6(v6)) => (format!("\"[{v6}]{port}\""), ip),
                Some(v4) => (format!("\"{v4}{port}\""), ip),
                None => ("unknown".to_owned(), None),
            }
        });
        // A proxy passes a client's Host on, in quotes and with escapes.
        let host = "[a-z ,;=\"\\\\]{0,12}".prop_map(|host| {
            let escaped = host.replace('\\', "\\\\").replace('"', "\\\"");
            format!("host=\"{escaped}\"")
        });
        (node, host, any::<bool>()).prop_map(|((node, ip), host, is_first)| {
            let written = if is_first {
                format!("for={node};{host}")
            } else {
                format!("{host};FOR={node}")
            };
            (written, ip)
        })
    }

    proptest! {
        /// What proxies have written is read alike, whatever stands before it.
        #[test]
        fn nothing_before_it_changes_what_a_proxy_says(
            before in "[a-z0-9.,;:=\"\\\\ \\[\\]]{0,40}",
            elements in prop::collection::vec(element(), 1..5),
        ) {
            let written: Vec<&str> = elements.iter().map(|(text, _)| text.as_str()).collect();
            let line = format!("{before}, {}", written.join(" , "));
            let told: Vec<Option<IpAddr>> =
                from_the_right(&line).take(elements.len()).map(address).collect();
            let expected: Vec<Option<IpAddr>> = elements.iter().rev().map(|(_, ip)| *ip).collect();
            prop_assert_eq!(told, expected, "{}", line);
        }

        #[test]
        fn random_lines_end_and_lose_nothing(line in "[a-z0-9.,;:=\"\\\\ \\[\\]\u{e9}]{0,60}") {
            let elements: Vec<&str> = from_the_right(&line).collect();
            for element in &elements {
                let _ = address(element);
            }
            let joined: Vec<&str> = elements.into_iter().rev().collect();
            prop_assert_eq!(joined.join(","), line);
        }
    }
}
