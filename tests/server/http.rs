//! Plain HTTP beside the WebSocket: info, stats, health, methods, keep-alive, and who may read the stats.

use serde_json::json;

use crate::harness::examples::{EXAMPLES, about, event};
use crate::harness::http::{Connection, get_with, request};
use crate::harness::model::namespace_of;
use crate::harness::{Server, tokens, wait_until};

#[test]
fn info_describes_the_server() {
    let server = Server::with(&[
        "--max-connections",
        "123",
        "--message-rate",
        "45",
        "--max-message",
        "65536",
        "--connect-rate",
        "67",
    ]);
    let response = server.get("/api/ws/info");
    assert_eq!(response.status, 200);
    assert!(
        response
            .header("Content-Type")
            .unwrap()
            .starts_with("application/json")
    );
    let info = response.json();
    assert_eq!(info["status"], "operational");
    assert!(
        info["version"].as_str().unwrap().split('.').count() == 3,
        "{info}"
    );
    let features = &info["features"];
    let mut namespaces: Vec<&str> = features["namespaces"]
        .as_array()
        .unwrap()
        .iter()
        .map(|name| name.as_str().unwrap())
        .collect();
    namespaces.sort_unstable();
    assert_eq!(
        namespaces,
        [
            "customers",
            "inventory",
            "orders",
            "payments",
            "products",
            "system"
        ]
    );
    for namespace in namespaces {
        let mut types: Vec<&str> = features["eventTypes"][namespace]
            .as_array()
            .unwrap()
            .iter()
            .map(|kind| kind.as_str().unwrap())
            .collect();
        let mut expected: Vec<&str> = EXAMPLES
            .iter()
            .map(|(kind, _)| *kind)
            .filter(|kind| namespace_of(kind) == namespace)
            .collect();
        types.sort_unstable();
        expected.sort_unstable();
        assert_eq!(types, expected);
    }
    assert_eq!(
        features["roles"],
        json!(["admin", "manager", "staff", "customer", "guest"])
    );
    assert_eq!(
        features["limits"],
        json!({"maxConnections": 123, "messageRate": 45, "connectRate": 67, "maxMessage": 65536})
    );
    assert_eq!(
        features["auth"],
        json!(["header", "subprotocol", "message"])
    );
}

#[test]
fn stats_count_connections_and_events() {
    let server = Server::start();
    let mut admin = server.user("root", "admin");
    admin.subscribe(&["orders", "products"]);
    let mut customer = server.user("ann", "customer");
    customer.subscribe(&["orders"]);
    let mut public = server.public();
    public.subscribe(&["products"]);
    let mut emitter = server.emitter();
    emitter.emit(&about("order:created", "ann"));
    emitter.emit(&about("order:created", "bob"));
    emitter.emit(&event("product:created"));
    emitter.emit_refused("{}");
    for kind in ["order:created", "order:created", "product:created"] {
        admin.expect_event(kind);
    }
    customer.expect_event("order:created");
    public.expect_event("product:created");
    customer.ask_refused(&json!({"type": "nonsense"}), "unknown_type");
    // Counters are read while others write them: they are whole soon, not at once.
    wait_until("the counters are there", || {
        let stats = server.stats();
        // Ann's coming online is an event of the server's own.
        stats["eventsIn"] == 4 && stats["deliveries"] == 5 && stats["rejected"] == 2
    });
    let stats = server.stats();
    assert_eq!(stats["totalConnections"], 3, "{stats}");
    assert_eq!(stats["authenticatedConnections"], 2, "{stats}");
    assert_eq!(stats["connectionsByRole"]["admin"], 1, "{stats}");
    assert_eq!(stats["connectionsByRole"]["customer"], 1, "{stats}");
    assert_eq!(stats["connectionsByRole"].get("public"), None, "{stats}");
    assert_eq!(stats["connectionsByNamespace"]["orders"], 2, "{stats}");
    assert_eq!(stats["connectionsByNamespace"]["products"], 2, "{stats}");
    assert_eq!(stats["slowConsumers"], 0, "{stats}");
    for percentile in ["p50", "p99", "p999"] {
        assert!(stats["latencyMs"][percentile].is_number(), "{stats}");
    }
    assert!(stats["uptimeSeconds"].is_number(), "{stats}");
    let workers = stats["workers"].as_array().unwrap();
    assert_eq!(workers.len(), 2, "{stats}");
    let sum: u64 = workers
        .iter()
        .map(|worker| worker["connections"].as_u64().unwrap())
        .sum();
    assert_eq!(sum, 3, "{stats}");
    drop((admin, customer, public));
    wait_until("those who left are not counted", || {
        let stats = server.stats();
        stats["totalConnections"] == 0
            && stats["connectionsByNamespace"]["orders"]
                .as_u64()
                .unwrap_or(0)
                == 0
    });
}

#[test]
fn stats_and_metrics_are_for_this_host_and_for_admins() {
    let server = Server::with(&["--trusted-proxies", "127.0.0.0/8"]);
    let admin = format!("Authorization: Bearer {}", tokens::of("root", "admin"));
    let manager = format!("Authorization: Bearer {}", tokens::of("mia", "manager"));
    let ended = format!(
        "Authorization: Bearer {}",
        tokens::ending_in("root", "admin", -5)
    );
    // The metrics are under the same rule.
    let status = |headers: &[&str]| {
        let [stats, metrics] = ["/api/ws/stats", "/metrics"].map(|path| {
            let response = get_with(server.address, path, headers);
            if response.status != 200 {
                response.assert_refusal(401, &format!("{path} {headers:?}"));
            }
            response.status
        });
        assert_eq!(stats, metrics, "{headers:?}");
        stats
    };
    assert_eq!(status(&[]), 200);
    // What a proxy adds says that the caller is not on this host.
    for header in [
        "X-Forwarded-For: 127.0.0.1",
        "X-Forwarded-Host: shop.example",
        "X-Forwarded-Proto: https",
        "X-Real-IP: 127.0.0.1",
        "Forwarded: for=127.0.0.1",
        "Via: 1.1 proxy",
    ] {
        assert_eq!(status(&[header]), 401, "{header}");
        assert_eq!(
            status(&[header, &admin]),
            200,
            "{header} and an admin's token"
        );
    }
    // A token that is shown is judged, also on this host.
    assert_eq!(status(&[&admin]), 200);
    for bad in [
        manager.as_str(),
        ended.as_str(),
        "Authorization: Bearer nonsense",
        "Authorization: Basic eDp5",
    ] {
        assert_eq!(status(&[bad]), 401, "{bad}");
    }
    // A page of another name that resolves to this host (DNS rebinding).
    let with_host = |host: &str| {
        let [stats, metrics] = ["/api/ws/stats", "/metrics"].map(|path| {
            let head = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close");
            request(server.address, &head).status
        });
        assert_eq!(stats, metrics, "Host: {host}");
        stats
    };
    for (host, expected) in [
        ("localhost", 200),
        ("localhost:3001", 200),
        ("127.0.0.1", 200),
        ("[::1]:3001", 200),
        ("evil.example", 401),
        ("127.0.0.1.evil.example", 401),
        ("localhost.evil.example:3001", 401),
    ] {
        assert_eq!(with_host(host), expected, "Host: {host}");
    }
}

#[test]
fn health_and_readiness_are_200_while_serving() {
    let server = Server::start();
    assert_eq!(server.get("/healthz").status, 200);
    assert_eq!(server.get("/readyz").status, 200);
}

#[test]
fn unknown_paths_are_404_and_wrong_methods_405_with_allow() {
    let server = Server::start();
    for path in [
        "/nope",
        "/api/ws/nope",
        "/api/ws/stats/",
        "//",
        "/../etc/passwd",
        "/%2e%2e/",
    ] {
        server.get(path).assert_refusal(404, path);
    }
    for path in [
        "/api/ws/info",
        "/api/ws/stats",
        "/metrics",
        "/healthz",
        "/readyz",
    ] {
        for method in ["POST", "PUT", "DELETE"] {
            let head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0");
            let response = request(server.address, &head);
            response.assert_refusal(405, &head);
            let allow = response.header("Allow").unwrap();
            assert!(
                allow.contains("GET") && allow.contains("HEAD"),
                "Allow: {allow}"
            );
        }
    }
}

#[test]
fn head_answers_like_get_without_the_body() {
    let server = Server::start();
    for path in ["/api/ws/info", "/healthz", "/readyz", "/nope"] {
        let get = request(
            server.address,
            &format!("GET {path} HTTP/1.1\r\nHost: localhost"),
        );
        let mut connection = Connection::open(server.address);
        connection.send(
            format!("HEAD {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                .as_bytes(),
        );
        let head = connection.response(true);
        assert_eq!(head.status, get.status, "{path}");
        assert_eq!(
            head.header("Content-Type"),
            get.header("Content-Type"),
            "{path}"
        );
        assert_eq!(
            head.header("Content-Length"),
            get.header("Content-Length"),
            "{path}"
        );
        connection.expect_end();
    }
    // Its numbers change from one moment to the next, and so may their length.
    let mut connection = Connection::open(server.address);
    connection.send(b"HEAD /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let head = connection.response(true);
    assert_eq!(head.status, 200);
    let length: usize = head.header("Content-Length").unwrap().parse().unwrap();
    assert!(length > 1000, "{length}");
    connection.expect_end();
}

#[test]
fn a_connection_serves_many_requests_one_after_another() {
    let server = Server::start();
    let mut connection = Connection::open(server.address);
    for _ in 0..5 {
        connection.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert_eq!(connection.response(false).status, 200);
        connection.send(b"GET /nope HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert_eq!(connection.response(false).status, 404);
    }
    // Sent at once, answered in order.
    connection.send(b"GET /nope HTTP/1.1\r\nHost: localhost\r\n\r\nGET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nHEAD /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    assert_eq!(connection.response(false).status, 404);
    assert_eq!(connection.response(false).status, 200);
    assert_eq!(connection.response(true).status, 200);
    connection.expect_end();
    let mut old = Connection::open(server.address);
    old.send(b"GET /healthz HTTP/1.0\r\n\r\n");
    assert_eq!(old.response(false).status, 200);
    old.expect_end();
}

#[test]
fn a_websocket_may_follow_a_plain_request_on_one_connection() {
    let server = Server::start();
    let mut connection = Connection::open(server.address);
    connection.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(connection.response(false).status, 200);
    connection.send(b"GET /api/ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
    assert_eq!(connection.response(false).status, 101);
}
