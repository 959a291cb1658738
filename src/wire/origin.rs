//! Which web pages may open a connection: the Origin header (RFC 6454) against the configured list.
//!
//! Owns how an origin is read and compared. The configuration parses [`OriginRule`]s once; the
//! reactor asks [`allowed`] for each handshake and each CORS answer.

use std::net::Ipv6Addr;

/// One entry of the allowed origins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OriginRule {
    /// `*`: any page, sandboxed ones (`null`) too.
    Any,
    /// `https://shop.example`: this origin alone.
    Exact(Origin),
    /// `https://*.shop.example`: any name of one or more labels before this one, and not itself.
    Subdomains(Origin),
}

/// A scheme, a host in its normal form, and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    scheme: Scheme,
    host: String,
    port: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scheme {
    Http,
    Https,
}

impl OriginRule {
    /// Reads one entry of the list.
    ///
    /// # Errors
    /// A sentence saying what is wrong with it and what is allowed.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text == "*" {
            return Ok(Self::Any);
        }
        if text.eq_ignore_ascii_case("null") {
            return Err("`null` cannot be allowed by itself, only `*` allows it".into());
        }
        let wrong = |what: &str| {
            format!(
                "`{}` is not an origin: {what}; allowed are `*`, `https://shop.example`, \
                 `https://*.shop.example`, each with an optional `:port`",
                text.escape_debug()
            )
        };
        let (scheme, rest) = split_scheme(text).map_err(wrong)?;
        let (rest, subdomains) = match rest.strip_prefix("*.") {
            Some(rest) => (rest, true),
            None => (rest, false),
        };
        let origin = parse_authority(scheme, rest).map_err(wrong)?;
        let is_address = origin.host.starts_with('[')
            || origin
                .host
                .rsplit('.')
                .next()
                .is_some_and(|label| label.parse::<u64>().is_ok());
        match subdomains {
            true if is_address => Err(wrong("an address has no subdomains")),
            true => Ok(Self::Subdomains(origin)),
            false => Ok(Self::Exact(origin)),
        }
    }

    fn matches(&self, origin: Option<&Origin>) -> bool {
        match (self, origin) {
            (Self::Any, _) => true,
            (_, None) => false,
            (Self::Exact(rule), Some(origin)) => rule == origin,
            (Self::Subdomains(rule), Some(origin)) => {
                let labels = origin.host.strip_suffix(&rule.host);
                rule.scheme == origin.scheme
                    && rule.port == origin.port
                    && labels.is_some_and(|labels| labels.len() > 1 && labels.ends_with('.'))
            }
        }
    }
}

/// Whether a page of `origin` may connect. `rules` is `None` where none are configured: then the
/// page must come from the host it connects to. A client that sends no Origin is no browser, and
/// allowed.
pub fn allowed(rules: Option<&[OriginRule]>, origin: Option<&str>, host: Option<&str>) -> bool {
    let Some(origin) = origin else { return true };
    let origin = parse_origin(origin);
    match rules {
        Some(rules) => rules.iter().any(|rule| rule.matches(origin.as_ref())),
        None => origin
            .zip(host)
            .is_some_and(|(origin, host)| is_same_host(&origin, host)),
    }
}

/// The server may stand behind a proxy that ends TLS, so the scheme is the page's: a Host without a
/// port means that scheme's default.
fn is_same_host(origin: &Origin, host: &str) -> bool {
    parse_authority(origin.scheme, host).is_ok_and(|host| host == *origin)
}

fn parse_origin(text: &str) -> Option<Origin> {
    let (scheme, rest) = split_scheme(text).ok()?;
    parse_authority(scheme, rest).ok()
}

fn split_scheme(text: &str) -> Result<(Scheme, &str), &'static str> {
    let (scheme, rest) = text
        .split_once("://")
        .ok_or("it has no `https://` or `http://`")?;
    if scheme.eq_ignore_ascii_case("https") {
        Ok((Scheme::Https, rest))
    } else if scheme.eq_ignore_ascii_case("http") {
        Ok((Scheme::Http, rest))
    } else {
        Err("its scheme is neither `https` nor `http`")
    }
}

/// Reads `host[:port]` and nothing else.
fn parse_authority(scheme: Scheme, text: &str) -> Result<Origin, &'static str> {
    if text.contains(['/', '?', '#']) {
        return Err("a path, query or closing slash does not belong to it");
    }
    if text.contains('@') {
        return Err("a user name does not belong to it");
    }
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']').ok_or("its IPv6 address has no `]`")?;
            let address: Ipv6Addr = address.parse().map_err(|_| "its IPv6 address is wrong")?;
            (format!("[{address}]"), port)
        }
        None => {
            let (name, port) = text.split_at(text.find(':').unwrap_or(text.len()));
            check_name(name)?;
            (name.to_ascii_lowercase(), port)
        }
    };
    let default = match scheme {
        Scheme::Http => 80,
        Scheme::Https => 443,
    };
    let port = match port.strip_prefix(':') {
        None if port.is_empty() => default,
        Some(digits) if digits.bytes().all(|c| c.is_ascii_digit()) => digits
            .parse()
            .ok()
            .filter(|&port| port > 0)
            .ok_or("its port is not in 1 to 65535")?,
        _ => return Err("its port is not in 1 to 65535"),
    };
    Ok(Origin { scheme, host, port })
}

fn check_name(name: &str) -> Result<(), &'static str> {
    if name.is_empty() {
        return Err("it has no host");
    }
    if !name.is_ascii() {
        return Err("an international host is written in its `xn--` form");
    }
    if name.contains('*') {
        return Err("`*.` may only be the first label of the host");
    }
    let is_known = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.');
    if !name.bytes().all(is_known) {
        return Err("its host has a character that no host has");
    }
    // A name may end in the root's dot, and is then another name to a browser.
    if name
        .strip_suffix('.')
        .unwrap_or(name)
        .split('.')
        .any(str::is_empty)
    {
        return Err("its host has an empty label");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn by_rules(rules: &[&str], origin: &str) -> bool {
        let rules: Vec<_> = rules
            .iter()
            .map(|rule| OriginRule::parse(rule).unwrap())
            .collect();
        allowed(Some(&rules), Some(origin), Some("shop.example"))
    }

    fn by_host(origin: &str, host: &str) -> bool {
        allowed(None, Some(origin), Some(host))
    }

    #[test]
    fn no_origin_is_no_browser() {
        assert!(allowed(None, None, None));
        assert!(allowed(Some(&[]), None, Some("a")));
    }

    #[test]
    fn same_host_with_default_ports_folded() {
        for (origin, host) in [
            ("https://shop.example", "shop.example"),
            ("https://shop.example", "shop.example:443"),
            ("https://shop.example:443", "shop.example"),
            ("http://shop.example", "shop.example:80"),
            ("http://SHOP.example", "Shop.Example"),
            ("http://localhost:3001", "localhost:3001"),
            ("http://[::1]:3001", "[0:0:0:0:0:0:0:1]:3001"),
            ("http://127.0.0.1", "127.0.0.1"),
            ("http://shop.example.", "shop.example."),
        ] {
            assert!(by_host(origin, host), "{origin} {host}");
        }
        for (origin, host) in [
            ("https://shop.example", "shop.example:80"),
            ("http://shop.example", "shop.example:443"),
            ("http://shop.example:3000", "shop.example:3001"),
            ("http://shop.example", "shop.example:3001"),
            ("http://shop.example.", "shop.example"),
            ("http://shop.example", "shop.example."),
            ("http://evil.example", "shop.example"),
            ("http://shop.example.evil", "shop.example"),
            ("http://shop.example@evil.example", "shop.example"),
            ("null", "shop.example"),
            ("null", "null"),
            ("", ""),
            ("http://", ""),
            ("shop.example", "shop.example"),
            ("file://shop.example", "shop.example"),
            ("http://shop.example/", "shop.example"),
            ("http://shop.example http://evil.example", "shop.example"),
            ("http://shop.example", ""),
        ] {
            assert!(!by_host(origin, host), "{origin} {host}");
        }
        assert!(!allowed(None, Some("http://shop.example"), None));
    }

    #[test]
    fn a_wrong_rule_is_told_in_one_line() {
        let sentence = OriginRule::parse("https://shop\n\u{1b}[2J.example").unwrap_err();
        assert!(sentence.contains("character") && sentence.contains(r"shop\n\u{1b}"));
        assert!(!sentence.contains(char::is_control), "{sentence:?}");
    }

    #[test]
    fn a_star_allows_every_page() {
        for origin in ["https://a.example", "null", "", "chrome-extension://x"] {
            assert!(by_rules(&["*"], origin), "{origin}");
        }
    }

    #[test]
    fn exact_rules_compare_scheme_host_and_port() {
        let rules = [
            "https://shop.example",
            "http://localhost:5173",
            "http://[::1]:80",
        ];
        for origin in [
            "https://shop.example",
            "https://shop.example:443",
            "HTTPS://SHOP.EXAMPLE",
            "http://localhost:5173",
            "http://[0::1]",
        ] {
            assert!(by_rules(&rules, origin), "{origin}");
        }
        for origin in [
            "http://shop.example",
            "https://shop.example:8443",
            "https://www.shop.example",
            "https://shop.example.",
            "https://shop.example.evil",
            "https://evilshop.example",
            "http://localhost",
            "null",
            "https://shop.example\u{0}",
            "https://shop.example:",
            "https://shop.example:443:443",
            "https://shop.example:+443",
            "https://shop.ex\u{e4}mple",
        ] {
            assert!(!by_rules(&rules, origin), "{origin}");
        }
    }

    #[test]
    fn subdomain_rules_match_one_or_more_labels() {
        let rules = ["https://*.shop.example", "http://*.test:8080"];
        for origin in [
            "https://a.shop.example",
            "https://a.B.shop.example",
            "http://x.test:8080",
        ] {
            assert!(by_rules(&rules, origin), "{origin}");
        }
        for origin in [
            "https://shop.example",
            "https://.shop.example",
            "https://..shop.example",
            "https://a..shop.example",
            "https://evilshop.example",
            "https://a.shop.example.",
            "https://a.shop.example.evil",
            "http://a.shop.example",
            "https://a.shop.example:8443",
            "http://x.test",
            "https://*.shop.example",
            "null",
        ] {
            assert!(!by_rules(&rules, origin), "{origin}");
        }
    }

    #[test]
    fn rules_that_are_no_origins_say_why() {
        for (rule, what) in [
            ("shop.example", "https://"),
            ("", "https://"),
            ("ftp://shop.example", "scheme"),
            ("https://", "no host"),
            ("https://*.", "no host"),
            ("https://shop.example/", "closing slash"),
            ("https://shop.example/a", "path"),
            ("https://u:p@shop.example", "user name"),
            ("https://shop.*", "first label"),
            ("https://*shop.example", "first label"),
            ("https://*.*.example", "first label"),
            ("https://a..b", "empty label"),
            ("https://shop.example:0", "port"),
            ("https://shop.example:65536", "port"),
            ("https://shop.example:x", "port"),
            ("https://[::1", "IPv6"),
            ("https://[zz]", "IPv6"),
            ("https://[::1]x", "port"),
            ("https://*.[::1]", "no subdomains"),
            ("https://*.0.0.1", "no subdomains"),
            ("https://l\u{e4}den.example", "xn--"),
            ("https://a b", "character"),
            ("null", "`*`"),
        ] {
            let message = OriginRule::parse(rule).unwrap_err();
            assert!(message.contains(what), "{rule}: {message}");
        }
        assert_eq!(OriginRule::parse(" * "), Ok(OriginRule::Any));
    }

    proptest! {
        #[test]
        fn only_pages_under_the_rules_name_are_allowed(origin in "https?://[a-zA-Z.*@:0-9-]{0,12}(shop\\.example)?[.:0-9/a-z]{0,4}") {
            if by_rules(&["https://*.shop.example"], &origin) {
                let host = origin.strip_prefix("https://").unwrap().to_ascii_lowercase();
                let host = host.strip_suffix(":443").unwrap_or(&host);
                prop_assert!(host.ends_with(".shop.example") && host.len() > 13, "{}", origin);
            }
        }
    }
}
