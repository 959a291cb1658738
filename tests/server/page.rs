//! The live page at `/`, and what `--dev` has for it: tokens, and events from a form.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::harness::client::tcp;
use crate::harness::examples::{about, event};
use crate::harness::http::{Connection, Response, get_with, request};
use crate::harness::{Client, Opening, Server, Setup, wait_until};

/// Where the page's build leaves it. It is in the program if it was there when that was built.
fn built(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("client/page/built");
    folder.join(name)
}

fn dev() -> Server {
    Setup::new(&["--dev"]).start()
}

/// A POST as the server's own page makes it, but for `headers`, which replace those of the same name.
fn post(server: &Server, path: &str, headers: &[&str], body: &str) -> Response {
    let mut connection = Connection::open(server.address);
    connection.send(head(server.address, path, headers, body.len()).as_bytes());
    connection.send(body.as_bytes());
    connection.response(false)
}

fn head(address: SocketAddr, path: &str, headers: &[&str], length: usize) -> String {
    let own = [
        format!("Host: {address}"),
        format!("Origin: http://{address}"),
        "Sec-Fetch-Site: same-origin".to_owned(),
        format!("Content-Length: {length}"),
    ];
    let name = |line: &str| line.split(':').next().unwrap().to_owned();
    let kept = own
        .iter()
        .filter(|line| !headers.iter().any(|other| name(other) == name(line)));
    // A name without a value leaves that header out.
    let given = headers.iter().filter(|line| !line.ends_with(':'));
    let lines: String = kept
        .map(String::as_str)
        .chain(given.copied())
        .map(|line| format!("{line}\r\n"))
        .collect();
    format!("POST {path} HTTP/1.1\r\n{lines}\r\n")
}

#[test]
fn the_page_is_served_with_a_strict_policy() {
    let server = Server::start();
    let page = server.get("/");
    assert_eq!(page.status, 200);
    assert_eq!(
        page.header("Content-Type"),
        Some("text/html; charset=utf-8")
    );
    assert_eq!(page.header("X-Content-Type-Options"), Some("nosniff"));
    let policy = page.header("Content-Security-Policy").unwrap();
    for rule in [
        "default-src 'none'",
        "script-src 'self'",
        "frame-ancestors 'none'",
    ] {
        assert!(policy.contains(rule), "{policy}");
    }
    assert!(
        !policy.contains("unsafe") && !policy.contains('*'),
        "{policy}"
    );
    let text = String::from_utf8(page.body.clone()).unwrap();
    assert!(
        !text.contains("<script>") && !text.contains("<style"),
        "{text}"
    );
    if !built("index.html").exists() {
        assert!(text.contains("make page"), "{text}");
        return;
    }
    assert_eq!(page.body, std::fs::read(built("index.html")).unwrap());
    for (path, file, content_type) in [
        ("/page/page.js", "page.js", "text/javascript; charset=utf-8"),
        ("/page/page.css", "page.css", "text/css; charset=utf-8"),
        ("/page/icon.svg", "icon.svg", "image/svg+xml"),
    ] {
        assert!(text.contains(path), "the page does not use {path}");
        let asset = server.get(path);
        assert_eq!(asset.status, 200, "{path}");
        assert_eq!(asset.header("Content-Type"), Some(content_type));
        assert_eq!(asset.body, std::fs::read(built(file)).unwrap(), "{path}");
        let packed = get_with(server.address, path, &["Accept-Encoding: gzip, br"]);
        assert_eq!(packed.header("Content-Encoding"), Some("gzip"), "{path}");
        assert_eq!(
            packed.header("Vary"),
            Some("Origin, Accept-Encoding"),
            "{path}"
        );
        let expected = std::fs::read(built(&format!("{file}.gz"))).unwrap();
        assert_eq!(packed.body, expected, "{path}");
    }
}

#[test]
fn what_the_browser_has_is_not_sent_again() {
    let server = Server::start();
    let page = server.get("/");
    let etag = page.header("ETag").unwrap();
    let again = get_with(server.address, "/", &[&format!("If-None-Match: {etag}")]);
    assert_eq!((again.status, again.body.len()), (304, 0));
    assert_eq!(again.header("ETag"), Some(etag));
    let other = get_with(server.address, "/", &["If-None-Match: \"other\""]);
    assert_eq!((other.status, &other.body), (200, &page.body));
    let head = request(
        server.address,
        "HEAD / HTTP/1.1\r\nHost: localhost\r\nConnection: close",
    );
    assert_eq!(head.header("Content-Length"), page.header("Content-Length"));
    let posted = post(&server, "/", &[], "");
    posted.assert_refusal(405, "POST /");
    assert_eq!(posted.header("Allow"), Some("GET, HEAD"));
}

/// Its socket takes a little at a time: the rest waits, and comes, also where the connection ends with it.
#[test]
fn a_slow_reader_gets_the_whole_of_it() {
    let name = if built("page.js").exists() {
        "/page/page.js"
    } else {
        "/"
    };
    let server = Server::start();
    for connection in ["close", "keep-alive"] {
        let mut stream = tcp(server.address, Some(4096));
        let head =
            format!("GET {name} HTTP/1.1\r\nHost: localhost\r\nConnection: {connection}\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        let expected = server.get(name).body;
        let mut received = Vec::new();
        let mut piece = [0; 1500];
        while !received.ends_with(&expected) {
            let count = stream.read(&mut piece).unwrap();
            assert!(count > 0, "cut off after {} bytes", received.len());
            received.extend_from_slice(&piece[..count]);
        }
    }
}

#[test]
fn no_page_turns_it_off() {
    let server = Server::with(&["--no-page"]);
    for path in ["/", "/page/page.js"] {
        server.get(path).assert_refusal(404, path);
    }
    assert_eq!(server.get("/api/ws/info").status, 200);
}

#[test]
fn without_dev_nobody_signs_in_or_emits_here() {
    let server = Server::start();
    for path in ["/dev/token", "/dev/events"] {
        post(&server, path, &[], r#"{"role":"admin"}"#).assert_refusal(404, path);
        server.get(path).assert_refusal(404, path);
    }
    let info = server.get("/api/ws/info").json();
    assert_eq!(info["features"].get("dev"), None);
    assert_eq!(dev().get("/api/ws/info").json()["features"]["dev"], true);
}

#[test]
fn a_dev_server_signs_its_page_in() {
    let server = dev();
    for role in ["admin", "manager", "staff", "customer", "guest"] {
        let answer = post(
            &server,
            "/dev/token",
            &[],
            &json!({"role": role}).to_string(),
        );
        assert_eq!(answer.status, 200, "{role}");
        assert_eq!(answer.header("Cache-Control"), Some("no-store"));
        let signed = answer.json();
        let token = signed["token"].as_str().unwrap();
        let client = Client::connect(&server, Opening::new().bearer(token));
        let identity = client.authenticated.unwrap();
        assert_eq!(identity["data"]["role"], role);
        assert_eq!(identity["data"]["userId"], signed["user"]);
    }
    let wanted = json!({"role": "customer", "user": "ann", "ttlSeconds": 1});
    let signed = post(&server, "/dev/token", &[], &wanted.to_string()).json();
    assert_eq!(signed["user"], "ann");
    assert_eq!(signed["access"]["orders"], "own");
    assert_eq!(signed["access"]["products"], "all");
    assert_eq!(signed["access"]["inventory"], "none");
    let token = signed["token"].as_str().unwrap();
    Client::connect(&server, Opening::new().bearer(token)).expect_close(4401);
    for (body, expected) in [
        ("", "JSON object with role"),
        (r#"{"role":"public"}"#, "admin, manager, staff"),
        (r#"{"role":"admin","x":1}"#, "JSON object with role"),
        (r#"{"role":"admin","ttlSeconds":0}"#, "from 1 to 600"),
        (r#"{"role":"admin","ttlSeconds":601}"#, "from 1 to 600"),
        (r#"{"role":"admin","user":""}"#, "user"),
    ] {
        let answer = post(&server, "/dev/token", &[], body);
        answer.assert_refusal(400, body);
        let message = answer.json()["error"]["message"].to_string();
        assert!(message.contains(expected), "{body}: {message}");
    }
}

#[test]
fn only_the_server_s_own_page_is_heard() {
    let server = Setup::new(&["--dev", "--allowed-origins", "*"]).start();
    let port = server.address.port();
    let rebound = [
        format!("Host: evil.example:{port}"),
        format!("Origin: http://evil.example:{port}"),
    ];
    let rebound: Vec<&str> = rebound.iter().map(String::as_str).collect();
    let other_port = format!("Origin: http://127.0.0.1:{}", port ^ 1);
    let cases: [&[&str]; 12] = [
        &["Origin:"],
        &["Origin: null"],
        &["Origin: https://evil.example"],
        &[&other_port],
        &rebound,
        &["Host: evil.example"],
        &["Sec-Fetch-Site: cross-site"],
        &["Sec-Fetch-Site: same-site"],
        &["Sec-Fetch-Site: none"],
        &["X-Forwarded-For: 127.0.0.1"],
        &["Via: 1.1 proxy"],
        &["Forwarded: for=127.0.0.1"],
    ];
    for path in ["/dev/token", "/dev/events"] {
        for headers in cases {
            let answer = post(&server, path, headers, r#"{"role":"admin"}"#);
            answer.assert_refusal(403, &format!("{path} {headers:?}"));
            let is_cors =
                |(name, _): &(String, String)| name.to_lowercase().starts_with("access-control");
            assert!(!answer.headers.iter().any(is_cors), "{headers:?}");
        }
        for method in ["GET", "OPTIONS", "PUT"] {
            let head = format!(
                "{method} {path} HTTP/1.1\r\nHost: localhost:{port}\r\nOrigin: https://evil.example\r\n\
                 Access-Control-Request-Method: POST\r\nConnection: close"
            );
            let answer = request(server.address, &head);
            answer.assert_refusal(405, &head);
            assert_eq!(answer.header("Allow"), Some("POST"));
            assert_eq!(answer.header("Access-Control-Allow-Origin"), None);
        }
    }
    // By another name of this machine it is the same page.
    let (host, origin) = (
        format!("Host: localhost:{port}"),
        format!("Origin: http://localhost:{port}"),
    );
    let answer = post(
        &server,
        "/dev/token",
        &[&host, &origin],
        r#"{"role":"guest"}"#,
    );
    assert_eq!(answer.status, 200);
}

#[test]
fn an_event_from_the_form_is_one_like_any_other() {
    let server = dev();
    let mut admin = server.user("root", "admin");
    admin.subscribe(&["orders", "products"]);
    let mut ann = server.user("ann", "customer");
    ann.subscribe(&["orders"]);
    let before = server.stats()["eventsIn"].as_u64().unwrap();
    let mut line: Value = about("order:created", "ann");
    line["key"] = "form-1".into();
    // As people write it, and twice under one key.
    let pretty = serde_json::to_string_pretty(&line).unwrap();
    for _ in 0..2 {
        let answer = post(&server, "/dev/events", &[], &pretty);
        assert_eq!(
            (answer.status, answer.json()),
            (202, json!({"accepted": true}))
        );
    }
    for client in [&mut admin, &mut ann] {
        assert_eq!(client.expect_event("order:created")["data"], line["data"]);
    }
    assert_eq!(
        post(
            &server,
            "/dev/events",
            &[],
            &event("product:created").to_string()
        )
        .status,
        202
    );
    admin.expect_event("product:created");
    wait_until("two events are counted", || {
        server.stats()["eventsIn"] == before + 2
    });
}

#[test]
fn a_wrong_line_is_answered_with_the_emitter_s_sentence() {
    let server = dev();
    let mut emitter = server.emitter();
    for line in [
        r#"{"type":"order:lost","data":{}}"#,
        r#"{"type":"product:deleted","data":{"productId":7}}"#,
        r#"{"type":"product:deleted","data":{"productId":"p"},"to":{"roles":["king"]}}"#,
        r#"{"type":"product:deleted","data":{"productId":"p"}"#,
    ] {
        let expected = emitter.emit_refused(line);
        let answer = post(&server, "/dev/events", &[], line);
        answer.assert_refusal(400, line);
        let error = &answer.json()["error"];
        assert_eq!(error["code"], expected.code, "{line}");
        assert_eq!(error["message"], expected.message, "{line}");
        assert_eq!(
            error.get("field").and_then(Value::as_str),
            expected.field.as_deref(),
            "{line}"
        );
    }
    for line in ["", " \n ", r#"{"command":"stats"}"#] {
        let answer = post(&server, "/dev/events", &[], line);
        answer.assert_refusal(400, line);
    }
}

#[test]
fn a_body_is_bounded_and_taken_as_it_comes() {
    let server = dev();
    let line = event("product:deleted").to_string();
    let mut connection = Connection::open(server.address);
    // In pieces, then two at once.
    let request = head(server.address, "/dev/events", &[], line.len()) + &line;
    for piece in request.as_bytes().chunks(40) {
        connection.send(piece);
    }
    assert_eq!(connection.response(false).status, 202);
    connection.send(request.repeat(2).as_bytes());
    for _ in 0..2 {
        assert_eq!(connection.response(false).status, 202);
    }
    let large = post(&server, "/dev/events", &["Content-Length: 65537"], "");
    large.assert_refusal(413, "a body over the bound");
    let chunked = ["Content-Length:", "Transfer-Encoding: chunked"];
    post(&server, "/dev/events", &chunked, "0\r\n\r\n").assert_refusal(411, "a chunked body");
    // One that does not come to its end.
    let mut slow = Connection::open(server.address);
    slow.send(head(server.address, "/dev/events", &[], 100).as_bytes());
    slow.send(b"{");
    slow.response(false).assert_refusal(408, "a slow body");
}
