//! TLS: what is spoken, who is let in, what reaches whom, and how it ends.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Output, Stdio};

use rustls::HandshakeKind;
use rustls::version::{TLS12, TLS13};
use serde_json::{Value, json};

use crate::harness::client::{Incoming, tcp};
use crate::harness::http::Connection;
use crate::harness::server::plain_command;
use crate::harness::tls::Certificates;
use crate::harness::{Client, Ending, Fence, Opening, Server, tokens, wait_until};

fn product(n: usize) -> Value {
    json!({"type": "product:deleted", "data": {"productId": n.to_string()}})
}

fn padded(n: usize, size: usize) -> Value {
    json!({"type": "product:deleted", "data": {"productId": n.to_string(), "pad": "x".repeat(size)}})
}

fn bearer(user: &str, role: &str) -> Opening {
    Opening::new().bearer(&tokens::of(user, role))
}

fn text(output: &Output) -> String {
    let bytes = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn both_versions_are_spoken_and_http_1_1_alone() {
    let certificates = Certificates::new();
    let server = certificates.serve(&[]);
    assert!(server.field("ws").starts_with("wss://127.0.0.1:"));
    for (version, named) in [(&TLS12, "TLSv1_2"), (&TLS13, "TLSv1_3")] {
        for protocols in [&["h2", "http/1.1"][..], &["http/1.1"], &[]] {
            let browser = certificates.browser_of(&[version], protocols);
            let mut client = browser.connect(&server, bearer("ann", "customer"));
            let session = &client.socket.get_ref().conn;
            assert_eq!(format!("{:?}", session.protocol_version().unwrap()), named);
            let chosen = (!protocols.is_empty()).then_some(&b"http/1.1"[..]);
            assert_eq!(session.alpn_protocol(), chosen);
            client.subscribe(&["orders"]);
            client.ping();
        }
        let only_h2 = certificates.browser_of(&[version], &["h2"]);
        let refused = only_h2.secure(tcp(server.address, None)).unwrap_err();
        assert!(refused.to_string().contains("alert"), "{refused}");
    }
    let stranger = Certificates::new().browser();
    assert!(stranger.secure(tcp(server.address, None)).is_err());
    let browser = certificates.browser();
    wait_until("all of it is counted", || {
        let tls = browser.stats(&server)["tls"].clone();
        tls["handshakes"].as_u64() >= Some(7) && tls["failed"].as_u64() >= Some(3)
    });
}

#[test]
fn who_comes_back_resumes_without_anything_remembered_here() {
    let certificates = Certificates::new();
    let server = certificates.serve(&["--workers", "2"]);
    for version in [&TLS12, &TLS13] {
        let browser = certificates.browser_of(&[version], &[]);
        let kind = |server: &Server| {
            let client = browser.public(server);
            client.socket.get_ref().conn.handshake_kind().unwrap()
        };
        assert_ne!(kind(&server), HandshakeKind::Resumed);
        // Whichever reactor it comes to, and each time with a new ticket.
        for _ in 0..5 {
            assert_eq!(kind(&server), HandshakeKind::Resumed);
        }
    }
    let browser = certificates.browser();
    browser.public(&server);
    let stats = browser.stats(&server);
    assert_eq!(stats["tls"]["resumed"], 11, "{stats}");
    // Tickets are sealed with keys of the process: after a restart nobody resumes, and all come in.
    server.stop();
    let server = certificates.serve(&[]);
    let kind = browser
        .public(&server)
        .socket
        .get_ref()
        .conn
        .handshake_kind();
    assert_eq!(kind, Some(HandshakeKind::Full));
}

#[test]
fn plain_http_is_told_to_speak_tls() {
    let certificates = Certificates::new();
    let server = certificates.serve(&[]);
    let response = server.get("/api/ws/info");
    response.assert_refusal(400, "plain HTTP on a TLS port");
    assert!(
        response.json()["error"]["message"]
            .as_str()
            .unwrap()
            .contains("wss://")
    );
    assert_eq!(
        response.header("Strict-Transport-Security"),
        None,
        "RFC 6797 section 7.2"
    );
    assert_eq!(
        Client::try_connect(server.address, Opening::new()).err(),
        Some(400)
    );
}

#[test]
fn answers_bind_browsers_to_tls() {
    let certificates = Certificates::new();
    let server = certificates.serve(&[]);
    let browser = certificates.browser();
    for (path, header, status) in [
        ("/api/ws/info", "Accept: */*", 200),
        ("/nothing", "Accept: */*", 404),
        ("/api/ws", "Accept: */*", 426),
        ("/api/ws/stats", "X-Forwarded-For: 10.0.0.1", 401),
    ] {
        let response = browser.get(&server, path, &[header]);
        assert_eq!(response.status, status, "{path}");
        let hsts = response.header("Strict-Transport-Security");
        assert_eq!(hsts, Some("max-age=31536000"), "{path}");
    }
    // Keep-alive over TLS, and requests that come together.
    let mut connection = Connection::over(browser.dial(&server));
    let request = format!("GET /healthz HTTP/1.1\r\nHost: {}\r\n\r\n", server.address);
    connection.send(request.repeat(3).as_bytes());
    for _ in 0..3 {
        assert_eq!(connection.response(false).status, 200);
    }
    let plain = Server::start();
    assert_eq!(
        plain
            .get("/api/ws/info")
            .header("Strict-Transport-Security"),
        None
    );
    // What is tried out on this host shall not bind the name localhost for a year.
    let tried = certificates.setup(&["--dev"]).start();
    let response = browser.get(&tried, "/api/ws/info", &[]);
    assert_eq!(response.header("Strict-Transport-Security"), None);
    assert!(
        tried
            .stderr()
            .contains(&format!("https://{}/", tried.address))
    );
}

/// The end as the protocol wants it: close frame, close_notify, then the socket's.
#[test]
fn the_end_of_a_connection_is_no_truncation() {
    let certificates = Certificates::new();
    let server = certificates.serve(&[]);
    for browser in [
        certificates.browser_of(&[&TLS12], &[]),
        certificates.browser_of(&[&TLS13], &[]),
    ] {
        let mut client = browser.connect(&server, bearer("ann", "customer"));
        let result = server
            .emitter()
            .command(&json!({"command": "disconnect", "user": "ann"}));
        assert_eq!(result["disconnected"], 1);
        client.expect_close(4403);
        let mut rest = Vec::new();
        // rustls gives an error for an end without close_notify.
        client.socket.get_mut().read_to_end(&mut rest).unwrap();
        let mut answered = Connection::over(browser.dial(&server));
        answered.send(b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        assert_eq!(answered.response(false).status, 200);
        answered.expect_end();
    }
    // A client may leave without a word: that is nobody's fault.
    let mut client = certificates.browser().public(&server);
    client
        .socket
        .get_mut()
        .sock
        .shutdown(std::net::Shutdown::Both)
        .unwrap();
    wait_until("it is gone", || {
        certificates.browser().stats(&server)["totalConnections"] == 0
    });
    assert!(!server.stderr().contains("TLS"), "{}", server.stderr());
}

#[test]
fn events_reach_exactly_those_who_may_see_them() {
    for workers in ["1", "2"] {
        let certificates = Certificates::new();
        let server = certificates.serve(&["--workers", workers, "--max-message", "4MiB"]);
        let (old, new) = (
            certificates.browser_of(&[&TLS12], &[]),
            certificates.browser(),
        );
        let token = tokens::with_session("root", "admin", "s-1");
        let mut root = new.connect(&server, Opening::new().bearer(&token));
        let mut staff = old.connect(&server, bearer("sam", "staff"));
        let mut ann = new.connect(&server, bearer("ann", "customer"));
        let mut bob = old.connect(&server, bearer("bob", "customer"));
        for client in [&mut root, &mut staff, &mut ann, &mut bob] {
            client.subscribe(&["orders", "products"]);
        }
        let mut emitter = server.emitter();
        let order = |n: usize, customer: &str, to: Value| json!({"type": "order:deleted", "data": {"orderId": n.to_string(), "customerId": customer}, "to": to});
        emitter.emit(&order(1, "ann", json!({})));
        emitter.emit(&order(2, "bob", json!({"excludeSessionId": "s-1"})));
        emitter.emit(&order(3, "ann", json!({"excludeUserIds": ["sam"]})));
        emitter.emit(&padded(4, 3 << 20));
        let fence = Fence::raise(&mut emitter);
        for (client, orders) in [
            (&mut root, &["1", "3"][..]),
            (&mut staff, &["1", "2"][..]),
            (&mut ann, &["1", "3"][..]),
            (&mut bob, &["2"][..]),
        ] {
            let got = fence.before(client);
            let (large, got) = got.split_last().unwrap();
            assert_eq!(large["data"]["pad"].as_str().unwrap().len(), 3 << 20);
            let got: Vec<&str> = got
                .iter()
                .map(|event| event["data"]["orderId"].as_str().unwrap())
                .collect();
            assert_eq!(got, orders);
        }
        // And what clients send, cut into many records or not.
        let long = root.ask(&json!({"type": "ping", "pad": "x".repeat(500_000)}));
        assert_eq!(long["type"], "pong");
        let since = root.subscribe(&["system"])["position"].clone();
        emitter.emit(&product(5));
        root.expect_event("product:deleted");
        let mut back = new.connect(&server, bearer("root", "admin"));
        let answer = back.subscribe_with(json!({"namespaces": ["products"], "since": since}));
        assert_eq!(answer["recovered"], true);
        assert_eq!(
            back.expect_event("product:deleted")["data"]["productId"],
            "5"
        );
    }
}

#[test]
fn a_slow_reader_is_closed_and_one_that_pauses_gets_all() {
    let certificates = Certificates::new();
    let server = certificates.serve(&["--outbox-limit", "4MiB"]);
    let browser = certificates.browser();
    let small = || Opening::new().receive_buffer(4096);
    let mut lame = browser.connect(&server, small());
    let mut pausing = browser.connect(&server, small());
    lame.subscribe(&["products"]);
    pausing.subscribe(&["products"]);
    let mut emitter = server.emitter();
    let sizes = |n: usize| 10 + n * 37 % 6000;
    for n in 0..1000 {
        emitter.send_line(padded(n, sizes(n)).to_string().as_bytes());
    }
    emitter.settle();
    let check = |event: Value, n: usize| {
        assert_eq!(event["data"]["productId"], n.to_string());
        assert_eq!(event["data"]["pad"].as_str().unwrap().len(), sizes(n));
    };
    for n in 0..1000 {
        check(pausing.expect_event("product:deleted"), n);
    }
    assert!(browser.stats(&server)["outboxBytes"].as_u64().unwrap() > 0);
    for n in 1000..3000 {
        emitter.send_line(padded(n, sizes(n)).to_string().as_bytes());
        if n % 100 == 99 {
            emitter.settle();
        }
        check(pausing.expect_event("product:deleted"), n);
    }
    wait_until("the slow one is closed", || {
        browser.stats(&server)["slowConsumers"] == 1
    });
    let (ending, got) = lame.read_to_end();
    assert!(
        matches!(ending, Ending::Closed(4413) | Ending::Cut),
        "{ending:?}"
    );
    for (n, event) in got.into_iter().enumerate() {
        check(event, n);
    }
    wait_until("nothing of it is held", || {
        browser.stats(&server)["outboxBytes"] == 0
    });
}

#[test]
fn at_a_takeover_they_are_sent_to_the_new_process_and_miss_nothing() {
    let certificates = Certificates::new();
    let server = certificates.serve(&[]);
    let browser = certificates.browser();
    let mut ann = browser.connect(&server, bearer("ann", "customer"));
    let mut watcher = browser.connect(&server, bearer("root", "admin"));
    let subscription = json!({"namespaces": ["customers", "products"]});
    watcher.subscribe_with(subscription.clone());
    ann.subscribe(&["products"]);
    let mut given_up = tcp(server.address, None);
    given_up.write_all(&[22, 3, 1]).unwrap();
    let mut emitter = server.emitter();
    let last = emitter.emit(&product(1));

    let server = server.succeed(&[]);
    assert!(server.field("ws").starts_with("wss://"));
    let mut since = Value::Null;
    for client in [&mut ann, &mut watcher] {
        let messages = client.expect_close(1001);
        let (goodbye, events) = messages.split_last().unwrap();
        assert_eq!(goodbye["type"], "reconnect", "{goodbye}");
        since = events.last().unwrap()["id"].clone();
        assert_eq!(since, last.as_str());
        let mut rest = Vec::new();
        client.socket.get_mut().read_to_end(&mut rest).unwrap();
    }
    // The emitter's connection has crossed, and events have come before anybody is back.
    let second = emitter.emit(&product(2));
    let mut ann = browser.connect(&server, bearer("ann", "customer"));
    let mut watcher = browser.connect(&server, bearer("root", "admin"));
    let mut again = subscription;
    again["since"] = since;
    let answer = watcher.subscribe_with(again);
    assert_eq!(
        (&answer["recovered"], &answer["online"]),
        (&json!(true), &json!(1)),
        "{answer}"
    );
    assert_eq!(
        watcher.expect_event("product:deleted")["id"],
        second.as_str()
    );
    ann.ping();
    // Who only changed processes was not away: nobody hears that ann has come.
    let third = emitter.emit(&product(3));
    assert_eq!(
        watcher.expect_event("product:deleted")["id"],
        third.as_str()
    );
    server.stop();
}

#[test]
fn a_proxy_s_header_comes_before_the_handshake() {
    let certificates = Certificates::new();
    let server = certificates.serve(&["--trusted-proxies", "127.0.0.1/32", "--connect-rate", "1"]);
    let browser = certificates.browser();
    let upgrade = |source: &str, pieces: bool| {
        let header = format!("PROXY TCP4 {source} 127.0.0.1 4660 3001\r\n");
        let mut tcp = tcp(server.address, None);
        if pieces {
            for byte in header.as_bytes() {
                tcp.write_all(&[*byte]).unwrap();
            }
        } else {
            tcp.write_all(header.as_bytes()).unwrap();
        }
        let stream = browser.secure(tcp).unwrap();
        Client::over(stream, server.address, Opening::new()).err()
    };
    assert_eq!(upgrade("203.0.113.1", false), None);
    assert_eq!(
        upgrade("203.0.113.1", true),
        Some(429),
        "the same client's second"
    );
    assert_eq!(upgrade("203.0.113.2", true), None);
    // It may come without one, too, and then a broken one is told so, in plain.
    assert!(browser.secure(tcp(server.address, None)).is_ok());
    let mut broken = Connection::over(tcp(server.address, None));
    broken.send(b"PROXY nonsense\r\n");
    broken
        .response(false)
        .assert_refusal(400, "a broken PROXY header");
}

#[test]
fn pings_are_answered_and_tokens_end_over_tls_too() {
    let certificates = Certificates::new();
    let server = certificates.serve(&["--ping-interval", "200ms", "--pong-timeout", "60s"]);
    let token = tokens::ending_in("ann", "customer", 2);
    let mut client = certificates
        .browser()
        .connect(&server, Opening::new().bearer(&token));
    let (mut pings, mut told) = (0, false);
    let ending = loop {
        match client.read() {
            Incoming::Ping => pings += 1,
            Incoming::Json(message) => told |= message["type"] == "token:expiring",
            Incoming::Pong => {}
            Incoming::End(ending) => break ending,
        }
    };
    assert_eq!((ending, told), (Ending::Closed(4401), true));
    assert!(pings >= 1, "{pings}");
}

#[test]
fn tail_follows_over_tls_whom_it_trusts() {
    let certificates = Certificates::new();
    let server = certificates.serve(&[]);
    let url = format!("wss://localhost:{}/api/ws", server.address.port());
    let tail = |more: &[&str]| {
        let mut command = plain_command();
        command.args(["tail", "--json", "--namespaces", "products", "--url", &url]);
        command
            .args(more)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    };
    let authority = certificates.authority.display().to_string();
    let mut child = tail(&["--ca", &authority]).spawn().unwrap();
    let browser = certificates.browser();
    wait_until("it has subscribed", || {
        browser.stats(&server)["connectionsByNamespace"]["products"] == 1
    });
    server.emitter().emit(&product(1));
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let event: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(event["data"]["productId"], "1");

    let other = Certificates::new();
    let stranger = other.authority.display().to_string();
    let elsewhere = tail(&["--ca", &stranger]).output().unwrap();
    assert_eq!(elsewhere.status.code(), Some(1), "{}", text(&elsewhere));
    assert!(
        text(&elsewhere).contains("not trusted"),
        "{}",
        text(&elsewhere)
    );
}
