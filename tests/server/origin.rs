//! Who may connect from a page, and who may read plain HTTP answers from one.

use crate::harness::http::{Connection, get_with, request};
use crate::harness::{Client, Opening, Server};

/// Connects with this Origin and Host (the server's own where None) and gives the status.
fn status(server: &Server, origin: Option<&str>, host: Option<&str>) -> u16 {
    let host = host.map_or_else(|| server.address.to_string(), str::to_owned);
    let origin = origin.map_or_else(String::new, |origin| format!("\r\nOrigin: {origin}"));
    let head = format!(
        "GET /api/ws HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=={origin}"
    );
    let response = request(server.address, &head);
    if response.status != 101 {
        response.assert_refusal(403, &head);
    }
    response.status
}

#[test]
fn by_default_the_origin_must_be_the_same_host() {
    let server = Server::start();
    let own = server.address.to_string();
    for (origin, host, expected) in [
        (None, None, 101),
        (Some(format!("http://{own}")), None, 101),
        (Some(format!("https://{own}")), None, 101),
        (
            Some("http://shop.example".to_owned()),
            Some("shop.example"),
            101,
        ),
        (
            Some("https://shop.example".to_owned()),
            Some("shop.example"),
            101,
        ),
        (
            Some("https://shop.example:443".to_owned()),
            Some("shop.example"),
            101,
        ),
        (
            Some("https://shop.example".to_owned()),
            Some("shop.example:443"),
            101,
        ),
        (
            Some("http://shop.example".to_owned()),
            Some("shop.example:80"),
            101,
        ),
        (
            Some("https://Shop.Example".to_owned()),
            Some("sHOP.eXAMPLE"),
            101,
        ),
        (
            Some("http://[::1]:3001".to_owned()),
            Some("[::1]:3001"),
            101,
        ),
        (
            Some("https://shop.example".to_owned()),
            Some("shop.example:8443"),
            403,
        ),
        (
            Some("https://shop.example:8443".to_owned()),
            Some("shop.example"),
            403,
        ),
        (
            Some("https://evil.example".to_owned()),
            Some("shop.example"),
            403,
        ),
        (
            Some("https://shop.example.evil.example".to_owned()),
            Some("shop.example"),
            403,
        ),
        (
            Some("https://evil-shop.example".to_owned()),
            Some("shop.example"),
            403,
        ),
        (
            Some("https://shop.example@evil.example".to_owned()),
            Some("shop.example"),
            403,
        ),
        (Some("null".to_owned()), None, 403),
        (Some(String::new()), None, 403),
        (Some("shop.example".to_owned()), Some("shop.example"), 403),
        (Some("http://".to_owned()), None, 403),
    ] {
        assert_eq!(
            status(&server, origin.as_deref(), host),
            expected,
            "Origin {origin:?}, Host {host:?}"
        );
    }
}

#[test]
fn listed_origins_match_by_scheme_host_and_port() {
    let server = Server::with(&[
        "--allowed-origins",
        "https://shop.example,https://*.shop.example,http://localhost:3000",
    ]);
    for (origin, expected) in [
        ("https://shop.example", 101),
        ("https://SHOP.example", 101),
        ("https://shop.example:443", 101),
        ("https://a.shop.example", 101),
        ("https://a.b.shop.example", 101),
        ("http://localhost:3000", 101),
        ("http://shop.example", 403),
        ("https://shop.example:8443", 403),
        ("http://a.shop.example", 403),
        ("https://a.shop.example:8443", 403),
        ("https://.shop.example", 403),
        ("https://ashop.example", 403),
        ("https://shop.example.evil.example", 403),
        ("https://evil.example/.shop.example", 403),
        ("http://localhost", 403),
        ("http://localhost:30000", 403),
        ("null", 403),
    ] {
        assert_eq!(status(&server, Some(origin), None), expected, "{origin}");
    }
    let own = format!("http://{}", server.address);
    assert_eq!(
        status(&server, Some(&own), None),
        403,
        "a list replaces the default of the same host"
    );
    assert_eq!(status(&server, None, None), 101, "no browser, no origin");
}

#[test]
fn a_wildcard_alone_matches_below_the_bare_domain_only() {
    let server = Server::with(&["--allowed-origins", "https://*.shop.example"]);
    assert_eq!(status(&server, Some("https://shop.example"), None), 403);
    assert_eq!(status(&server, Some("https://www.shop.example"), None), 101);
}

#[test]
fn a_star_allows_every_origin_even_null() {
    let server = Server::with(&["--allowed-origins", "*"]);
    for origin in ["https://anything.example", "http://x:1", "null"] {
        assert_eq!(status(&server, Some(origin), None), 101, "{origin}");
        assert!(Client::try_connect(server.address, Opening::new().origin(origin)).is_ok());
    }
}

#[test]
fn cors_headers_are_for_allowed_origins_only() {
    let server = Server::with(&["--allowed-origins", "https://shop.example"]);
    let allowed = get_with(
        server.address,
        "/api/ws/info",
        &["Origin: https://shop.example"],
    );
    assert_eq!(
        allowed.header("Access-Control-Allow-Origin"),
        Some("https://shop.example")
    );
    let evil = get_with(
        server.address,
        "/api/ws/info",
        &["Origin: https://evil.example"],
    );
    let none = server.get("/api/ws/info");
    for response in [&evil, &none] {
        assert_eq!(response.status, 200);
        let control = response
            .headers
            .iter()
            .find(|(name, _)| name.to_lowercase().starts_with("access-control"));
        assert_eq!(control, None);
    }
    for response in [&allowed, &evil, &none] {
        let vary = response.header("Vary").unwrap_or_default().to_lowercase();
        assert!(
            vary.split(',').any(|name| name.trim() == "origin"),
            "Vary: {vary}"
        );
    }
}

#[test]
fn a_preflight_is_204_and_opens_to_allowed_origins_only() {
    let server = Server::with(&["--allowed-origins", "https://shop.example"]);
    let preflight = |path: &str, origin: &str| {
        let head = format!(
            "OPTIONS {path} HTTP/1.1\r\nHost: x\r\nOrigin: {origin}\r\nAccess-Control-Request-Method: GET\r\nAccess-Control-Request-Headers: authorization"
        );
        let mut connection = Connection::open(server.address);
        connection.send(format!("{head}\r\n\r\n").as_bytes());
        connection.response(false)
    };
    let response = preflight("/metrics", "https://shop.example");
    assert_eq!(response.status, 204);
    let response = preflight("/api/ws/stats", "https://shop.example");
    assert_eq!(response.status, 204);
    assert_eq!(
        response.header("Access-Control-Allow-Origin"),
        Some("https://shop.example")
    );
    assert!(
        response
            .header("Access-Control-Allow-Methods")
            .unwrap()
            .contains("GET")
    );
    assert!(
        response
            .header("Access-Control-Allow-Headers")
            .unwrap()
            .to_lowercase()
            .contains("authorization")
    );
    let response = preflight("/api/ws/stats", "https://evil.example");
    assert_eq!(response.header("Access-Control-Allow-Origin"), None);
    assert_eq!(response.header("Access-Control-Allow-Headers"), None);
}
