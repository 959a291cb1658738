//! Who is connected, and who is refused.

use rcgen::date_time_ymd;
use serde_json::json;
use tungstenite::Message;

use super::expect_growth;
use super::scrape::Scrape;
use crate::harness::client::tcp;
use crate::harness::http::request;
use crate::harness::tls::Certificates;
use crate::harness::{Client, Opening, Server, tokens, wait_until};

#[test]
fn connections_are_counted_by_role_namespace_and_state() {
    let server = Server::start();
    let before = Scrape::of(&server);
    let mut admin = server.user("root", "admin");
    admin.subscribe(&["orders", "products"]);
    let mut customer = server.user("ann", "customer");
    customer.subscribe(&["orders"]);
    let public = server.public();
    let silent = tcp(server.address, None);
    for (name, labels, by) in [
        ("shopwire_connections", "role=admin", 1.0),
        ("shopwire_connections", "role=customer", 1.0),
        ("shopwire_connections", "role=public", 1.0),
        ("shopwire_connections", "", 3.0),
        ("shopwire_subscriptions", "namespace=orders", 2.0),
        ("shopwire_subscriptions", "namespace=products", 1.0),
        ("shopwire_sockets", "state=open", 3.0),
        ("shopwire_tls_connections", "", 0.0),
    ] {
        expect_growth(&server, &before, name, labels, by);
    }
    // The scrape's own socket is one of those that are in the middle of a request, or parting.
    wait_until("who says nothing is seen", || {
        Scrape::of(&server).get("shopwire_sockets", "state=handshake") >= 1.0
    });
    assert_eq!(before.get("shopwire_connections_limit", ""), 10_000.0);
    drop((admin, customer, public, silent));
    expect_growth(&server, &before, "shopwire_connections", "", 0.0);
    expect_growth(&server, &before, "shopwire_subscriptions", "", 0.0);
    expect_growth(
        &server,
        &before,
        "shopwire_connections_closed_total",
        "",
        3.0,
    );
}

#[test]
fn every_outcome_of_a_handshake_has_its_counter() {
    let allowed = ["--allowed-origins", "https://shop.example"];
    let server = Server::with(&[&allowed[..], &["--max-connections", "2"]].concat());
    let before = Scrape::of(&server);
    let refused = |opening: Opening, status: u16| {
        assert_eq!(
            Client::try_connect(server.address, opening).err(),
            Some(status)
        );
    };
    let first = server.user("ann", "customer");
    refused(Opening::new().origin("https://other.example"), 403);
    refused(Opening::new().bearer("nonsense"), 401);
    refused(
        Opening::new().bearer(&tokens::ending_in("ann", "customer", -5)),
        401,
    );
    let second = server.public();
    refused(Opening::new(), 503);
    let long = format!("GET /api/ws HTTP/1.1\r\nHost: a\r\nX: {}", "x".repeat(9000));
    for (head, status) in [
        ("GET /api/ws HTTP/1.1\r\nHost: localhost", 426),
        ("POST /api/ws HTTP/1.1\r\nHost: localhost", 405),
        ("nonsense", 400),
        (long.as_str(), 431),
    ] {
        assert_eq!(request(server.address, head).status, status, "{head}");
    }
    for (outcome, by) in [
        ("accepted", 2.0),
        ("forbidden_origin", 1.0),
        ("unauthorized", 1.0),
        ("token_expired", 1.0),
        ("full", 1.0),
        ("upgrade_required", 1.0),
        ("method_not_allowed", 1.0),
        ("malformed", 1.0),
        ("headers_too_large", 1.0),
        ("other", 0.0),
    ] {
        let labels = format!("outcome={outcome}");
        expect_growth(&server, &before, "shopwire_handshakes_total", &labels, by);
    }
    for (outcome, by) in [
        ("accepted", 1.0),
        ("unauthorized", 1.0),
        ("token_expired", 1.0),
    ] {
        let labels = format!("outcome={outcome}");
        expect_growth(
            &server,
            &before,
            "shopwire_authentications_total",
            &labels,
            by,
        );
    }
    drop((first, second));
}

#[test]
fn every_limit_of_rate_has_its_counter() {
    let server = Server::with(&["--connect-rate", "2", "--message-rate", "2"]);
    let before = Scrape::of(&server);
    let mut clients = [server.public(), server.public()];
    assert_eq!(
        Client::try_connect(server.address, Opening::new()).err(),
        Some(429)
    );
    let client = &mut clients[0];
    client.ping();
    client.ping();
    client.ask_refused(&json!({"type": "ping"}), "rate_limited");
    // Twenty control frames a minute may come.
    for _ in 0..22 {
        client.socket.send(Message::Ping("x".into())).unwrap();
    }
    wait_until("those over it are counted", || {
        Scrape::of(&server).get("shopwire_rate_limited_total", "limit=controls") >= 1.0
    });
    expect_growth(
        &server,
        &before,
        "shopwire_rate_limited_total",
        "limit=connects",
        1.0,
    );
    expect_growth(
        &server,
        &before,
        "shopwire_rate_limited_total",
        "limit=messages",
        1.0,
    );
    let refused = "shopwire_messages_rejected_total";
    expect_growth(&server, &before, refused, "code=rate_limited", 1.0);
    let flooding = "reason=flooding";
    let closed = "shopwire_connections_closed_total";
    expect_growth(&server, &before, closed, flooding, 0.0);
    for _ in 0..40 {
        // The server may close while this is still being sent.
        if client.socket.send(Message::text("x")).is_err() {
            break;
        }
    }
    expect_growth(&server, &before, closed, flooding, 1.0);
}

#[test]
fn tls_is_counted_and_the_certificate_s_end_is_told_anew_on_reload() {
    let certificates = Certificates::new();
    certificates.renew_with(|params| params.not_after = date_time_ymd(2040, 1, 1));
    let server = certificates.serve(&[]);
    let browser = certificates.browser();
    let scrape = || {
        let response = browser.get(&server, "/metrics", &[]);
        assert_eq!(response.status, 200);
        Scrape::read(String::from_utf8(response.body).unwrap())
    };
    let end = "shopwire_tls_certificate_end_seconds";
    assert_eq!(scrape().get(end, ""), 2_208_988_800.0);
    let client = browser.public(&server);
    wait_until("it is counted", || {
        let scrape = scrape();
        scrape.get("shopwire_tls_connections", "") == 1.0
            && scrape.get("shopwire_tls_handshakes_total", "outcome=full") >= 1.0
    });
    drop(client);
    certificates.renew_with(|params| params.not_after = date_time_ymd(2041, 1, 1));
    server.emitter().command(&json!({"command": "reload"}));
    assert_eq!(scrape().get(end, ""), 2_240_611_200.0);
    wait_until("who left is not counted", || {
        scrape().get("shopwire_tls_connections", "") == 0.0
    });
}
