//! A request head and all that is read from it: the handshake, tokens, the origin, the address of a
//! client behind proxies.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use shopwire::wire::client_address::AddressHeader;
use shopwire::wire::handshake::{Upgrade, bearer, check_upgrade};
use shopwire::wire::request::{Head, Request, parse};
use shopwire::wire::response::put_refusal;
use shopwire::wire::{OriginRule, Refusal, client_address, origin};

use super::strict_json;

const HEAD_MAX: usize = 8192;
const HEADERS_MAX: usize = 64;
const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));

pub fn holds(bytes: &[u8]) {
    let outcome = parse(bytes);
    check_cuts(bytes, &outcome);
    match &outcome {
        Head::Partial => assert!(bytes.len() < HEAD_MAX),
        Head::Refused(refusal) => {
            assert!([400, 431].contains(&refusal.status));
            check_answer(refusal);
        }
        Head::Complete { length, request } => {
            assert!(*length <= bytes.len().min(HEAD_MAX));
            let head = &bytes[..*length];
            let mut before = head.iter().zip(&head[1..]);
            let bare = before.any(|(before, byte)| *byte == b'\n' && *before != b'\r');
            assert!(!bare && head[0] != b'\n', "a line ends with LF alone");
            let lines = Lines::read(head);
            check_request(request, &lines);
            check_handshake(request, &lines);
            check_origin(request, &lines);
            check_address(request, &lines);
        }
    }
}

/// The outcome does not depend on how the bytes arrived.
fn check_cuts(bytes: &[u8], whole: &Head<'_>) {
    let step = bytes.len() / 64 + 1;
    for cut in (0..bytes.len()).step_by(step) {
        match (parse(&bytes[..cut]), whole) {
            (Head::Partial, _) => {}
            (Head::Refused(early), Head::Refused(late)) => assert_eq!(early, *late, "by {cut}"),
            (Head::Complete { length, .. }, Head::Complete { length: late, .. }) => {
                assert_eq!(length, *late);
            }
            (early, late) => panic!("{early:?} by {cut} bytes, and then {late:?}"),
        }
    }
}

/// The head as lines, split by hand.
struct Lines {
    method: String,
    target: String,
    version: String,
    /// Name in lower case, and value without the white space around it.
    headers: Vec<(String, String)>,
}

impl Lines {
    fn read(head: &[u8]) -> Lines {
        let text: Vec<&[u8]> = head.split(|byte| *byte == b'\n').collect();
        let mut lines = text
            .iter()
            .map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let request_line = lines.by_ref().find(|line| !line.is_empty()).unwrap();
        let words: Vec<&[u8]> = request_line.split(|byte| *byte == b' ').collect();
        let [method, target, version] = words[..] else {
            panic!("a request line of {} words was taken", words.len());
        };
        let headers: Vec<(String, String)> = lines
            .by_ref()
            .take_while(|line| !line.is_empty())
            .map(header)
            .collect();
        assert!(
            lines.all(|line| line.is_empty()),
            "the head goes on behind its end"
        );
        assert!(headers.len() <= HEADERS_MAX);
        let word = |word: &[u8]| String::from_utf8(word.to_vec()).unwrap();
        Lines {
            method: word(method),
            target: word(target),
            version: word(version),
            headers,
        }
    }

    fn values(&self, name: &str) -> Vec<&str> {
        let values = self.headers.iter().filter(|(own, _)| own == name);
        values.map(|(_, value)| value.as_str()).collect()
    }

    /// Whether a comma-separated list has this word.
    fn lists(&self, name: &str, word: &str) -> bool {
        let values = self.values(name);
        let mut words = values.iter().flat_map(|value| value.split(','));
        words.any(|own| trimmed(own).eq_ignore_ascii_case(word))
    }

    fn has_body(&self) -> bool {
        let length = self.values("content-length");
        !self.values("transfer-encoding").is_empty()
            || length
                .iter()
                .any(|length| length.bytes().any(|digit| digit != b'0'))
    }
}

fn header(line: &[u8]) -> (String, String) {
    let colon = line.iter().position(|byte| *byte == b':').unwrap();
    let name = std::str::from_utf8(&line[..colon]).unwrap();
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    assert!(
        !name.is_empty() && name.bytes().all(is_token),
        "{name:?} was taken as a name"
    );
    let value = std::str::from_utf8(&line[colon + 1..])
        .map(trimmed)
        .unwrap_or("\u{FFFD}");
    let is_text = |c: char| c == '\t' || !c.is_ascii_control();
    assert!(value.chars().all(is_text), "{value:?} was taken as a value");
    (name.to_ascii_lowercase(), value.to_owned())
}

/// Without what RFC 9110 (section 5.6.3) calls optional white space.
fn trimmed(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

fn check_request(request: &Request<'_>, lines: &Lines) {
    assert_eq!(request.method(), lines.method);
    assert_eq!(request.is_http_11(), lines.version == "HTTP/1.1");
    assert!(["HTTP/1.0", "HTTP/1.1"].contains(&lines.version.as_str()));
    assert!(
        request
            .names()
            .map(str::to_ascii_lowercase)
            .eq(lines.headers.iter().map(|(name, _)| name.clone()))
    );
    for (name, _) in &lines.headers {
        assert!(request.values(name).eq(lines.values(name)), "{name}");
    }
    let (path, query) = match request.query() {
        Some(query) => (request.path().to_owned(), format!("?{query}")),
        None => (request.path().to_owned(), String::new()),
    };
    assert!(path == "*" || path.starts_with('/'));
    assert!(!path.contains('?'));
    let rest = format!("{path}{query}");
    let is_absolute = !lines.target.starts_with('/') && lines.target.contains("://");
    assert!(
        lines.target.ends_with(&rest) || (is_absolute && path == "/"),
        "{rest} of {}",
        lines.target
    );
    // What two servers in a row could read differently.
    let (hosts, lengths) = (lines.values("host"), lines.values("content-length"));
    let codings = lines.values("transfer-encoding");
    assert!(hosts.len() == 1 || (hosts.is_empty() && !request.is_http_11()));
    assert!(lengths.len() + codings.len() <= 1);
    assert!(
        lengths
            .iter()
            .all(|length| !length.is_empty() && length.bytes().all(|digit| digit.is_ascii_digit()))
    );
    assert!(
        codings
            .iter()
            .all(|coding| coding.eq_ignore_ascii_case("chunked"))
    );
    assert_eq!(request.has_body(), lines.has_body());
    if let Some(host) = request.host() {
        let is_odd = |c: char| c.is_ascii_control() || c.is_whitespace() || "/\\@?#,".contains(c);
        assert!(
            host.is_ascii() && !host.contains(is_odd),
            "{host:?} was taken as a host"
        );
    }
    let keeps = if request.is_http_11() {
        !lines.lists("connection", "close")
    } else {
        lines.lists("connection", "keep-alive") && !lines.lists("connection", "close")
    };
    assert_eq!(request.keep_alive(), keeps);
}

fn check_handshake(request: &Request<'_>, lines: &Lines) {
    match (check_upgrade(request), expected_upgrade(lines)) {
        (Ok(upgrade), Ok(expected)) => assert_eq!(upgrade, expected),
        (Err(refusal), Err(status)) => {
            assert_eq!(refusal.status, status);
            check_answer(&refusal);
        }
        (upgrade, expected) => panic!("{upgrade:?}, and the reference says {expected:?}"),
    }
    let shown = lines.values("authorization");
    let expected = match shown[..] {
        [] => Ok(None),
        [one] => match one.split_once(' ') {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => {
                let token = trimmed(token);
                let is_one = !token.is_empty() && !token.contains([' ', '\t']);
                if is_one { Ok(Some(token)) } else { Err(401) }
            }
            _ => Err(401),
        },
        _ => Err(401),
    };
    assert_eq!(bearer(request).map_err(|refusal| refusal.status), expected);
}

/// The contract's order of answers, as far as the request alone decides.
fn expected_upgrade(lines: &Lines) -> Result<Upgrade<'_>, u16> {
    if lines.method != "GET" {
        return Err(405);
    }
    let upgrades = lines.lists("connection", "upgrade") && lines.lists("upgrade", "websocket");
    if lines.version != "HTTP/1.1" || !upgrades || lines.values("sec-websocket-version") != ["13"] {
        return Err(426);
    }
    let keys = lines.values("sec-websocket-key");
    let [key] = keys[..] else {
        return Err(400);
    };
    let is_digit = |digit: u8| digit.is_ascii_alphanumeric() || digit == b'+' || digit == b'/';
    let is_key = key.len() == 24 && key.ends_with("==") && key.bytes().take(22).all(is_digit);
    let offers: Vec<&str> = (lines.values("sec-websocket-protocol").iter())
        .flat_map(|value| value.split(','))
        .map(trimmed)
        .collect();
    let protocol = offers.contains(&"shopwire.v1").then_some("shopwire.v1");
    let mut tokens = offers
        .iter()
        .filter_map(|offer| offer.strip_prefix("token."));
    let token = tokens.next();
    if lines.has_body()
        || !is_key
        || tokens.next().is_some()
        || (token.is_some() && protocol.is_none())
    {
        return Err(400);
    }
    Ok(Upgrade {
        key,
        protocol,
        subprotocol_token: token,
    })
}

fn check_origin(request: &Request<'_>, lines: &Lines) {
    let shown = lines.values("origin");
    let [shown] = shown[..] else {
        return;
    };
    let listed = [
        "https://shop.example",
        "https://*.shop.example",
        "http://localhost:8080",
    ];
    let rules: Vec<OriginRule> = listed
        .iter()
        .map(|rule| OriginRule::parse(rule).unwrap())
        .collect();
    let page = page(shown);
    let expected = page.as_ref().is_some_and(|(scheme, host, port)| {
        let is_below = host
            .strip_suffix(".shop.example")
            .is_some_and(|labels| !labels.is_empty());
        match (scheme.as_str(), port) {
            ("https", 443) => host == "shop.example" || is_below,
            ("http", 8080) => host == "localhost",
            _ => false,
        }
    });
    assert_eq!(
        origin::allowed(Some(&rules), Some(shown), request.host()),
        expected,
        "{shown}"
    );
    assert!(origin::allowed(
        Some(&[OriginRule::Any]),
        Some(shown),
        request.host()
    ));
    let is_same = page.is_some_and(|page| {
        let host = request
            .host()
            .and_then(|host| self::page(&format!("{}://{host}", page.0)));
        host == Some(page)
    });
    assert_eq!(
        origin::allowed(None, Some(shown), request.host()),
        is_same,
        "{shown}"
    );
}

/// Scheme, host and port of an origin; `None` for what is none.
fn page(text: &str) -> Option<(String, String, u16)> {
    let text = text.to_ascii_lowercase();
    let (scheme, authority) = text.split_once("://")?;
    let default = match scheme {
        "https" => 443,
        "http" => 80,
        _ => return None,
    };
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']')?;
            (format!("[{}]", address.parse::<Ipv6Addr>().ok()?), port)
        }
        None => {
            let end = authority.find(':').unwrap_or(authority.len());
            let (host, port) = authority.split_at(end);
            let labels = host.strip_suffix('.').unwrap_or(host);
            let is_label = |label: &str| {
                let is_known = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
                !label.is_empty() && label.chars().all(is_known)
            };
            labels.split('.').all(is_label).then_some(())?;
            (host.to_owned(), port)
        }
    };
    let port = match port.strip_prefix(':') {
        Some(digits) if digits.bytes().all(|digit| digit.is_ascii_digit()) => {
            digits.parse().ok()?
        }
        None if port.is_empty() => default,
        _ => return None,
    };
    (port > 0).then(|| (scheme.to_owned(), host, port))
}

fn check_address(request: &Request<'_>, lines: &Lines) {
    let values = lines.values("x-forwarded-for");
    let entries = values.iter().flat_map(|value| value.split(','));
    let told: Vec<Option<IpAddr>> = entries.map(|entry| address(trimmed(entry))).collect();
    check_told(request, AddressHeader::XForwardedFor, &told);
    let told: Vec<Option<IpAddr>> = lines
        .values("forwarded")
        .into_iter()
        .flat_map(forwarded_elements)
        .collect();
    check_told(request, AddressHeader::Forwarded, &told);
}

/// Of the addresses that a header tells, from the client's end to ours, the one that has to count does.
fn check_told(request: &Request<'_>, header: AddressHeader, told: &[Option<IpAddr>]) {
    let trusted = ["10.0.0.0/8", "fd00::/8"].map(|net| net.parse().unwrap());
    let shown = request.values(header.name());
    let found = client_address::client_ip(PEER, &trusted, header, shown);
    let mut expected = PEER;
    for told in told.iter().rev() {
        let Some(ip) = *told else {
            break;
        };
        expected = ip;
        let is_trusted = match ip {
            IpAddr::V4(ip) => ip.octets()[0] == 10,
            IpAddr::V6(ip) => ip.octets()[0] == 0xfd,
        };
        if !is_trusted {
            break;
        }
    }
    assert_eq!(found, expected, "{header:?} {told:?}");
    let shown = request.values(header.name());
    let nobody = client_address::client_ip(PEER, &[], header, shown);
    assert_eq!(nobody, PEER, "somebody was believed whom nobody trusts");
}

/// What the elements at the end of a line tell, each the shortest that is written as RFC 7239 has it,
/// and `None` before those for the first that is not.
fn forwarded_elements(line: &str) -> Vec<Option<IpAddr>> {
    let mut told = Vec::new();
    let mut rest = Some(line);
    while let Some(line) = rest {
        let commas = line.rmatch_indices(',').map(|(at, _)| at + 1);
        let starts = commas.chain([0]);
        let mut found = starts.map(|at| (at, forwarded_element(trimmed(&line[at..]))));
        let Some((at, Some(ip))) = found.find(|(_, element)| element.is_some()) else {
            told.push(None);
            break;
        };
        told.push(ip);
        rest = at.checked_sub(1).map(|end| &line[..end]);
    }
    told.reverse();
    told
}

/// Whose address a well-formed element tells, if it does.
fn forwarded_element(element: &str) -> Option<Option<IpAddr>> {
    // Name and value of the pair that is being read, and what reads it.
    let (mut name, mut value) = (String::new(), String::new());
    let mut state = ' ';
    let mut nodes = Vec::new();
    for c in element.chars().chain([';']) {
        state = match (state, c) {
            (' ', ';') if name.is_empty() => ' ',
            (' ', '=') if !name.is_empty() => '=',
            (' ', c) if is_token(c) => {
                name.push(c);
                ' '
            }
            ('=', '"') => '"',
            ('=' | 'v', c) if is_token(c) || "[]:".contains(c) => {
                value.push(c);
                'v'
            }
            ('"', '\\') => {
                value.push('\\');
                '\\'
            }
            ('"', '"') => 'e',
            ('"' | '\\', c) => {
                value.push(c);
                '"'
            }
            ('v' | 'e', ';') => {
                if name.eq_ignore_ascii_case("for") {
                    nodes.push(value.clone());
                }
                (name, value) = (String::new(), String::new());
                ' '
            }
            _ => return None,
        };
    }
    if state != ' ' {
        return None;
    }
    match &nodes[..] {
        [node] => Some(node_address(node)),
        _ => Some(None),
    }
}

fn is_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)
}

/// An address as RFC 7239 writes it: IPv6 in brackets only, and a port of digits or one made up.
fn node_address(node: &str) -> Option<IpAddr> {
    let (ip, port) = match node.rfind(']') {
        Some(end) => node.split_at(end + 1),
        None => node.split_at(node.find(':').unwrap_or(node.len())),
    };
    let is_port = |port: &str| {
        let made_up = port.strip_prefix('_').unwrap_or("");
        let is_made_up = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        (!made_up.is_empty() && made_up.chars().all(is_made_up))
            || (port.len() < 6 && !port.is_empty() && port.chars().all(|c| c.is_ascii_digit()))
    };
    if !port.is_empty() && !port.strip_prefix(':').is_some_and(is_port) {
        return None;
    }
    match ip.strip_prefix('[') {
        Some(ip) => {
            let ip: Ipv6Addr = ip.strip_suffix(']')?.parse().ok()?;
            Some(ip.to_ipv4_mapped().map_or(IpAddr::V6(ip), IpAddr::V4))
        }
        None => ip.parse().ok().map(IpAddr::V4),
    }
}

/// An address, or one with a port.
fn address(entry: &str) -> Option<IpAddr> {
    let is_port = |text: &str| {
        text.bytes().all(|digit| digit.is_ascii_digit()) && text.parse::<u16>().is_ok()
    };
    let ip = if let Some(rest) = entry.strip_prefix('[') {
        let (ip, after) = rest.split_once(']')?;
        let port = after.strip_prefix(':');
        (after.is_empty() || port.is_some_and(is_port)).then_some(())?;
        IpAddr::V6(ip.parse().ok()?)
    } else if let Ok(ip) = entry.parse::<Ipv6Addr>() {
        IpAddr::V6(ip)
    } else {
        match entry.split_once(':') {
            Some((ip, port)) if is_port(port) => IpAddr::V4(ip.parse().ok()?),
            Some(_) => return None,
            None => IpAddr::V4(entry.parse().ok()?),
        }
    };
    Some(match ip {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(ip, IpAddr::V4),
        ip => ip,
    })
}

/// An answer is whole, and nothing that a client wrote has become a line of it.
fn check_answer(refusal: &Refusal) {
    let mut out = Vec::new();
    put_refusal(&mut out, refusal, &[("Vary", "Origin")], false, false);
    let text = String::from_utf8(out).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with(&format!("HTTP/1.1 {} ", refusal.status)));
    for line in head.split("\r\n").skip(1) {
        let (name, value) = line.split_once(": ").unwrap();
        assert!(!name.is_empty() && !value.contains(['\r', '\n']));
    }
    let error = strict_json::read(body.as_bytes()).unwrap();
    let code = error
        .get("error")
        .and_then(|error| error.get("code"))
        .unwrap();
    assert_eq!(code.text(), Some(refusal.code));
}
