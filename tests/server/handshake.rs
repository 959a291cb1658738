//! The opening handshake: every refusal, and which one wins where several hold.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::head::Head;
use crate::harness::http::{Connection, request};
use crate::harness::{Client, Opening, Server, tokens, wait_until};

#[test]
fn a_good_handshake_is_answered_by_rfc_6455() {
    let server = Server::start();
    let response = Head::new(&server).send(&server);
    assert_eq!(response.status, 101);
    assert_eq!(
        response.header("Sec-WebSocket-Accept"),
        Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
    );
    assert!(
        response
            .header("Upgrade")
            .unwrap()
            .eq_ignore_ascii_case("websocket")
    );
    assert!(
        response
            .header("Connection")
            .unwrap()
            .eq_ignore_ascii_case("upgrade")
    );
    assert_eq!(response.header("Sec-WebSocket-Protocol"), None);
    // Compression is not negotiated, whatever is offered.
    let offered = Head::new(&server).with(
        "Sec-WebSocket-Extensions",
        "permessage-deflate; client_max_window_bits",
    );
    let response = offered.send(&server);
    assert_eq!(
        (response.status, response.header("Sec-WebSocket-Extensions")),
        (101, None)
    );
    // What browsers and proxies really send: lists, other cases, several tokens, a query.
    let head = Head::new(&server)
        .first("GET /api/ws?x=1 HTTP/1.1")
        .with("Connection", "keep-alive, upgrade")
        .with("Upgrade", "WebSocket");
    assert_eq!(head.send(&server).status, 101);
}

#[test]
fn messages_that_follow_the_handshake_at_once_are_read() {
    let server = Server::start();
    let mut connection = Connection::open(server.address);
    let mut bytes = format!("{}\r\n\r\n", Head::new(&server).text()).into_bytes();
    // A masked `{"type":"ping"}` with the key 0.
    let message = br#"{"type":"ping"}"#;
    bytes.extend_from_slice(&[0x81, 0x80 | message.len() as u8, 0, 0, 0, 0]);
    bytes.extend_from_slice(message);
    bytes.extend_from_slice(&[0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8]);
    connection.send(&bytes);
    assert_eq!(connection.response(false).status, 101);
    let rest = connection.read_rest();
    let text = String::from_utf8_lossy(&rest);
    assert!(text.contains("welcome") && text.contains("pong"), "{text}");
    assert_eq!(
        rest[rest.len() - 4..],
        [0x88, 0x02, 0x03, 0xe8],
        "the close is answered"
    );
}

#[test]
fn malformed_requests_are_400() {
    let server = Server::start();
    let head = || Head::new(&server);
    for bad in [
        head().first("GET /api/ws"),
        head().first("GET  HTTP/1.1"),
        head().first("\u{1}\u{2}\u{3}"),
        head().first("GET /api/ws HTTP/9.9"),
        head().without("Host"),
        head().with("No Name", "x"),
        head().with("Content-Length", "x"),
        head().with("Content-Length", "-1"),
    ] {
        bad.refused(&server, 400);
    }
    let twice = format!("{}\r\nHost: other.example", head().text());
    request(server.address, &twice).assert_refusal(400, &twice);
    let smuggled = format!(
        "{}\r\nContent-Length: 5\r\nTransfer-Encoding: chunked",
        head().text()
    );
    request(server.address, &smuggled).assert_refusal(400, &smuggled);
    // A TLS client hello sent to a plain port.
    let mut connection = Connection::open(server.address);
    connection.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n");
    connection
        .response(false)
        .assert_refusal(400, "a TLS hello");
}

#[test]
fn headers_over_8_kib_are_431() {
    let server = Server::start();
    Head::new(&server)
        .with("Cookie", &"c".repeat(8200))
        .refused(&server, 431);
    // Also when they never end.
    let mut connection = Connection::open(server.address);
    connection.send(format!("GET /api/ws HTTP/1.1\r\nX: {}", "x".repeat(8200)).as_bytes());
    connection
        .response(false)
        .assert_refusal(431, "an endless header");
    assert_eq!(
        Head::new(&server)
            .with("Cookie", &"c".repeat(7500))
            .send(&server)
            .status,
        101
    );
}

#[test]
fn headers_that_are_not_complete_in_5_seconds_are_408() {
    let server = Server::start();
    let mut silent = Connection::open(server.address);
    let mut slow = Connection::open(server.address);
    let started = Instant::now();
    slow.send(b"GET /api/ws HTTP/1.1\r\nHost: x\r\n");
    slow.response(false).assert_refusal(408, "half a request");
    let took = started.elapsed();
    assert!((4..8).contains(&took.as_secs()), "408 after {took:?}");
    slow.expect_end();
    // A connection that never sent a byte is let go as well, with or without a word.
    silent.read_rest();
}

#[test]
fn other_paths_are_404_and_other_methods_405() {
    let server = Server::start();
    for path in [
        "/api/ws/",
        "/api/wsx",
        "/api",
        "/API/WS",
        "/nope",
        "/api/ws/info/x",
    ] {
        Head::new(&server)
            .first(&format!("GET {path} HTTP/1.1"))
            .refused(&server, 404);
    }
    for method in ["POST", "PUT", "DELETE", "PATCH"] {
        let response = Head::new(&server)
            .first(&format!("{method} /api/ws HTTP/1.1"))
            .refused(&server, 405);
        assert!(response.header("Allow").unwrap().contains("GET"));
    }
}

#[test]
fn a_request_that_is_no_upgrade_is_426() {
    let server = Server::start();
    let head = || Head::new(&server);
    for bad in [
        head().without("Upgrade").without("Connection"),
        head().without("Upgrade"),
        head().with("Upgrade", "h2c"),
        head().with("Connection", "keep-alive"),
        head().without("Sec-WebSocket-Version"),
        head().with("Sec-WebSocket-Version", "8"),
        head().with("Sec-WebSocket-Version", "14"),
    ] {
        let response = bad.refused(&server, 426);
        assert!(
            response
                .header("Upgrade")
                .unwrap()
                .eq_ignore_ascii_case("websocket")
        );
        assert_eq!(response.header("Sec-WebSocket-Version"), Some("13"));
    }
}

#[test]
fn bad_keys_and_a_token_without_the_protocol_are_400() {
    let server = Server::start();
    let head = || Head::new(&server);
    let token = tokens::of("ann", "customer");
    for bad in [
        head().without("Sec-WebSocket-Key"),
        head().with("Sec-WebSocket-Key", ""),
        head().with("Sec-WebSocket-Key", "dGhlIHNhbXBsZQ=="),
        head().with("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZSBsb25nZXI="),
        head().with("Sec-WebSocket-Key", "!!!!IHNhbXBsZSBub25jZQ=="),
        head().with("Sec-WebSocket-Protocol", &format!("token.{token}")),
        head().with("Sec-WebSocket-Protocol", &format!("chat, token.{token}")),
    ] {
        bad.refused(&server, 400);
    }
    let response = head().with("Sec-WebSocket-Protocol", "chat").send(&server);
    assert_eq!(
        (response.status, response.header("Sec-WebSocket-Protocol")),
        (101, None)
    );
}

#[test]
fn a_full_server_is_503_until_someone_leaves() {
    let server = Server::with(&["--max-connections", "2"]);
    let first = server.public();
    let _second = server.public();
    let response = Head::new(&server).refused(&server, 503);
    let seconds: u64 = response.header("Retry-After").unwrap().parse().unwrap();
    assert!(seconds >= 1);
    assert_eq!(
        server.get("/api/ws/info").status,
        200,
        "plain HTTP has a cap of its own"
    );
    drop(first);
    wait_until("a place is free again", || {
        Head::new(&server).send(&server).status == 101
    });
}

#[test]
fn too_many_attempts_are_429_but_a_good_token_still_gets_in() {
    let server = Server::with(&["--connect-rate", "3"]);
    for _ in 0..3 {
        assert_eq!(Head::new(&server).send(&server).status, 101);
    }
    let response = Head::new(&server).refused(&server, 429);
    let seconds: u64 = response.header("Retry-After").unwrap().parse().unwrap();
    // Three a minute, refilled evenly: the next one is at most 20 s away.
    assert!((1..=20).contains(&seconds), "Retry-After {seconds}");
    for _ in 0..6 {
        server.user("ann", "customer");
        Client::connect(
            &server,
            Opening::new().subprotocol(&tokens::of("ann", "customer")),
        );
    }
    let bad = tokens::signed_by(
        &json!({"sub": "x", "role": "admin", "exp": 9_999_999_999_u64}),
        jsonwebtoken::Algorithm::HS256,
        &"x".repeat(40),
    );
    Head::new(&server)
        .with("Authorization", &format!("Bearer {bad}"))
        .refused(&server, 429);
    assert_eq!(
        server.get("/api/ws/info").status,
        200,
        "only handshakes are counted"
    );
}

#[test]
fn authenticated_handshakes_are_given_back_and_refused_ones_are_not() {
    let server = Server::with(&["--connect-rate", "3"]);
    for _ in 0..10 {
        server.user("ann", "customer");
    }
    // By message, too: each of these takes one of the three and gives it back.
    for _ in 0..10 {
        let mut client = server.public();
        assert_eq!(
            client.auth(&tokens::of("bob", "customer"))["type"],
            "authenticated"
        );
    }
    for _ in 0..3 {
        Head::new(&server)
            .with("Authorization", "Bearer nonsense")
            .refused(&server, 401);
    }
    Head::new(&server).refused(&server, 429);
}

#[test]
fn attempts_are_counted_by_the_address_a_trusted_proxy_names() {
    let server = Server::with(&[
        "--connect-rate",
        "2",
        "--trusted-proxies",
        "127.0.0.0/8,10.0.0.0/8",
    ]);
    let from = |address: &str| {
        Head::new(&server)
            .with("X-Forwarded-For", address)
            .send(&server)
            .status
    };
    let twice_then_429 = |spellings: [&str; 3]| {
        assert_eq!(spellings.map(from), [101, 101, 429], "{spellings:?}");
    };
    twice_then_429(["203.0.113.1", "203.0.113.1", "203.0.113.1"]);
    twice_then_429([
        "203.0.113.2",
        "203.0.113.2, 10.0.0.7",
        "9.9.9.9, 203.0.113.2 , 10.1.2.3",
    ]);
    // An IPv6 client has a whole /64.
    twice_then_429(["2001:db8:0:1::1", "2001:db8:0:1::2", "2001:db8:0:1:ffff::3"]);
    assert_eq!(from("2001:db8:0:2::1"), 101);
    let untrusting = Server::with(&["--connect-rate", "2"]);
    let statuses = ["203.0.113.1", "203.0.113.2", "203.0.113.3"].map(|address| {
        Head::new(&untrusting)
            .with("X-Forwarded-For", address)
            .send(&untrusting)
            .status
    });
    assert_eq!(
        statuses,
        [101, 101, 429],
        "without trust the header says nothing"
    );
}

#[test]
fn of_the_two_headers_only_the_one_that_the_proxies_write_counts() {
    let status = |server: &Server, name: &str, value: &str| {
        Head::new(server).with(name, value).send(server).status
    };
    let serve = |header: &[&str]| {
        let settings = [
            "--connect-rate",
            "2",
            "--trusted-proxies",
            "127.0.0.0/8,10.0.0.0/8",
        ];
        Server::with(&[&settings, header].concat())
    };
    let server = serve(&["--forwarded-header", "forwarded"]);
    let told = |value: &str| status(&server, "Forwarded", value);
    let of_one_client = [
        "for=203.0.113.1",
        "for=9.9.9.9, for=\"203.0.113.1:4711\";proto=https, for=10.0.0.7",
        "for=\"9.9.9.9, for=203.0.113.1",
    ];
    assert_eq!(of_one_client.map(told), [101, 101, 429]);
    let of_one_network = [
        "for=\"[2001:db8:0:1::1]\"",
        "For=\"[2001:db8:0:1::2]:4711\"",
        "for=\"[2001:db8:0:1:ffff::3]\"",
    ];
    assert_eq!(of_one_network.map(told), [101, 101, 429]);
    // Who says nothing, or what is none, is counted by the proxy's own address.
    assert_eq!([told("for=unknown"), told("for=_hidden")], [101, 101]);
    for forged in ["for=9.9.9.9;for=9.9.9.9", "9.9.9.9"] {
        assert_eq!(told(forged), 429, "{forged}");
    }
    assert_eq!(status(&server, "X-Forwarded-For", "9.9.9.9"), 429);

    // A proxy that writes X-Forwarded-For passes on what a client has written into Forwarded.
    let server = serve(&[]);
    let forged = ["for=9.9.9.1", "for=9.9.9.2", "for=9.9.9.3"];
    let statuses = forged.map(|value| {
        let head = Head::new(&server).with("Forwarded", value);
        head.with("X-Forwarded-For", "203.0.113.1")
            .send(&server)
            .status
    });
    assert_eq!(statuses, [101, 101, 429]);
}

#[test]
fn bad_tokens_are_401() {
    let server = Server::start();
    for authorization in [
        "Bearer nonsense".to_owned(),
        "Bearer ".to_owned(),
        "Bearer".to_owned(),
        "Basic dXNlcjpwYXNz".to_owned(),
        tokens::of("ann", "customer"),
        format!("Bearer {}", tokens::ending_in("ann", "customer", -5)),
    ] {
        Head::new(&server)
            .with("Authorization", &authorization)
            .refused(&server, 401);
    }
    Head::new(&server)
        .with("Sec-WebSocket-Protocol", "shopwire.v1, token.nonsense")
        .refused(&server, 401);
    // The header wins over the subprotocol, whichever of the two is good.
    let good = tokens::of("ann", "customer");
    let both = |header: &str, protocol: &str| {
        Head::new(&server)
            .with("Authorization", &format!("Bearer {header}"))
            .with(
                "Sec-WebSocket-Protocol",
                &format!("shopwire.v1, token.{protocol}"),
            )
            .send(&server)
            .status
    };
    assert_eq!(both("nonsense", &good), 401);
    assert_eq!(both(&good, "nonsense"), 101);
    // The scheme's name has no case.
    assert_eq!(
        Head::new(&server)
            .with("Authorization", &format!("bearer {good}"))
            .send(&server)
            .status,
        101
    );
}

#[test]
fn the_first_check_that_fails_decides() {
    let server = Server::with(&["--max-connections", "1", "--connect-rate", "1"]);
    let head = || Head::new(&server);
    let evil = |head: Head| head.with("Origin", "https://evil.example");
    let bad_token = |head: Head| head.with("Authorization", "Bearer nonsense");
    // 403 before 401, while there is room and rate left.
    evil(bad_token(head())).refused(&server, 403);
    // That took the only attempt: 429 before 403.
    evil(bad_token(head())).refused(&server, 429);
    let _only = server.user("ann", "customer");
    // Full: 503 before 429, for good tokens too.
    evil(bad_token(head())).refused(&server, 503);
    head()
        .with(
            "Authorization",
            &format!("Bearer {}", tokens::of("ann", "customer")),
        )
        .refused(&server, 503);
    // 400 for the key before 503, 426 before that, 405 before that, 404 before that.
    head().with("Sec-WebSocket-Key", "x").refused(&server, 400);
    head()
        .with("Sec-WebSocket-Key", "x")
        .with("Sec-WebSocket-Version", "8")
        .refused(&server, 426);
    head()
        .first("POST /api/ws HTTP/1.1")
        .without("Upgrade")
        .refused(&server, 405);
    head().first("POST /nope HTTP/1.1").refused(&server, 404);
    head()
        .first("POST /nope HTTP/1.1")
        .with("Cookie", &"c".repeat(9000))
        .refused(&server, 431);
}

#[test]
fn a_refusal_ends_the_connection_after_its_answer() {
    let server = Server::start();
    let mut connection = Connection::open(server.address);
    let head = Head::new(&server).with("Authorization", "Bearer nonsense");
    // Bytes that follow must not make the kernel's reset eat the answer.
    connection.send(format!("{}\r\n\r\n", head.text()).as_bytes());
    connection.send(&[b'x'; 4096]);
    connection
        .response(false)
        .assert_refusal(401, "with bytes behind it");
    connection.expect_end();
}

#[test]
fn a_token_in_the_url_is_never_read() {
    let server = Server::start();
    let token = tokens::of("ann", "customer");
    for path in [
        format!("/api/ws?token={token}"),
        format!("/api/ws?access_token={token}"),
    ] {
        let mut connection = Connection::open(server.address);
        let head = Head::new(&server).first(&format!("GET {path} HTTP/1.1"));
        connection.send(format!("{}\r\n\r\n", head.text()).as_bytes());
        assert_eq!(connection.response(false).status, 101);
        assert_eq!(server.stats()["authenticatedConnections"], 0);
    }
    assert!(
        !server.stderr().contains(&token),
        "a URL's secrets must not be logged"
    );
}

#[test]
fn many_half_open_requests_do_not_keep_others_out() {
    let server = Server::with(&["--max-connections", "10"]);
    let started = Instant::now();
    let idle: Vec<Connection> = (0..50).map(|_| Connection::open(server.address)).collect();
    let client = server.public();
    assert!(
        started.elapsed() < Duration::from_secs(4),
        "the idle ones must not have to be timed out first"
    );
    drop((idle, client));
}
