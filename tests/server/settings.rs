//! Settings from every source, and what the log says.

use serde_json::Value;

use crate::harness::examples::event;
use crate::harness::server::plain_command;
use crate::harness::tokens::SECRET;
use crate::harness::{Client, Opening, Setup, wait_until};

const OWN: [&str; 8] = [
    "--host",
    "--port",
    "--socket",
    "--jwt-secret-file",
    "--connect-rate",
    "--workers",
    "--ping-interval",
    "--pong-timeout",
];

/// A setup with none of the harness' own settings.
fn bare() -> Setup {
    OWN.iter()
        .fold(Setup::new(&[]), |setup, flag| setup.without(flag))
}

#[test]
fn every_setting_may_come_from_the_environment() {
    let setup = bare();
    let socket = setup
        .dir()
        .join("from-environment.sock")
        .display()
        .to_string();
    let server = setup
        .env("WS_HOST", "127.0.0.1")
        .env("WS_PORT", "0")
        .env("WS_SOCKET", &socket)
        .env("WS_WORKERS", "3")
        .env("ALLOWED_ORIGINS", "https://shop.example")
        .env("WS_JWT_SECRET", SECRET)
        .env("WS_JWT_ISSUER", "issuer")
        .env("WS_JWT_AUDIENCE", "audience")
        .env("WS_JWT_LEEWAY", "5s")
        .env("WS_REQUIRE_AUTH", "true")
        .env("WS_NO_PAGE", "true")
        .env("WS_MAX_CONNECTIONS", "77")
        .env("WS_RESERVED_SHARE", "20")
        .env("WS_PING_INTERVAL", "12345")
        .env("WS_PONG_TIMEOUT", "4s")
        .env("WS_MESSAGE_RATE", "66")
        .env("WS_CONNECT_RATE", "55")
        .env("WS_MAX_MESSAGE", "128KiB")
        .env("WS_OUTBOX_LIMIT", "2MiB")
        .env("WS_OUTBOX_BUDGET", "64MiB")
        .env("WS_HISTORY", "1MiB")
        .env("WS_HISTORY_AGE", "1h")
        .env("WS_GATHER", "1ms")
        .env("WS_TRUSTED_PROXIES", "10.0.0.0/8")
        .env("WS_FORWARDED_HEADER", "Forwarded")
        .env("WS_DRAIN_TIMEOUT", "3s")
        .env("WS_LOG_FORMAT", "json")
        .start();
    assert_eq!(server.field("ingest"), socket);
    assert_eq!(server.field("workers"), "3");
    assert_eq!(server.public().welcome["data"]["pingInterval"], 12_345);
    let limits = server.get("/api/ws/info").json()["features"]["limits"].clone();
    assert_eq!(
        limits,
        serde_json::json!({"maxConnections": 77, "messageRate": 66, "connectRate": 55, "maxMessage": 131_072})
    );
    assert_eq!(
        Client::try_connect(
            server.address,
            Opening::new().origin("https://evil.example")
        )
        .err(),
        Some(403)
    );
    server.stop();
}

#[test]
fn every_setting_may_come_from_the_file() {
    let setup = bare();
    let socket = setup.dir().join("from-file.sock").display().to_string();
    let secret = setup.dir().join("secret").display().to_string();
    let server = setup
        .file(&format!(
            r#"
host = "127.0.0.1"
port = 0
socket = "{socket}"
workers = 3
allowed-origins = ["https://shop.example", "https://*.shop.example"]
jwt-secret-file = "{secret}"
jwt-leeway = "5s"
require-auth = false
max-connections = 77
reserved-share = 0
ping-interval = 12345
pong-timeout = "4s"
message-rate = 66
connect-rate = 55
max-message = "128KiB"
outbox-limit = 2097152
outbox-budget = "2MiB"
history = 0
history-age = "30s"
gather = "500us"
trusted-proxies = ["10.0.0.0/8"]
forwarded-header = "forwarded"
drain-timeout = "3s"
canary = "1h"
log-format = "text"
log-figures = "5m"
"#
        ))
        .start();
    assert_eq!(server.field("ingest"), socket);
    assert_eq!(server.public().welcome["data"]["pingInterval"], 12_345);
    let limits = server.get("/api/ws/info").json()["features"]["limits"].clone();
    assert_eq!(
        limits,
        serde_json::json!({"maxConnections": 77, "messageRate": 66, "connectRate": 55, "maxMessage": 131_072})
    );
    server.stop();
}

#[test]
fn the_default_socket_is_in_the_runtime_folder_for_serve_and_emit_alike() {
    let runtime = tempfile::tempdir().unwrap();
    let path = runtime.path().to_str().unwrap();
    let server = Setup::new(&[])
        .without("--socket")
        .env("XDG_RUNTIME_DIR", path)
        .start();
    assert_eq!(server.socket, runtime.path().join("shopwire.sock"));
    let output = plain_command()
        .args(["emit", "product:deleted", "--data", r#"{"productId":"p"}"#])
        .env("XDG_RUNTIME_DIR", path)
        .output()
        .unwrap();
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn a_public_address_without_tls_is_warned_about() {
    let server = Setup::new(&["--host", "0.0.0.0"]).start();
    wait_until("the warning", || server.stderr().contains("TLS"));
    let server = Setup::new(&[]).start();
    server.public();
    assert!(!server.stderr().contains("TLS"), "127.0.0.1 is not public");
}

#[test]
fn bad_input_is_logged_once_and_without_its_content() {
    let server = Setup::new(&[]).start();
    let mut emitter = server.emitter();
    let mut order = event("order:created");
    order["data"]["customerName"] = "Ann Private".into();
    order["data"]["total"] = (-1).into();
    emitter.emit_refused(&order.to_string());
    wait_until("it is logged", || {
        server.stderr().contains("invalid_payload")
    });
    let log = server.stderr();
    assert_eq!(log.matches("invalid_payload").count(), 1, "{log}");
    assert!(log.contains("data.total"), "{log}");
    assert!(
        !log.contains("Ann Private"),
        "personal data in the log: {log}"
    );
    // Thousands of them do not make thousands of lines.
    emitter.send_raw("bad\n".repeat(20_000).as_bytes());
    emitter.settle();
    let lines = server.stderr().lines().count();
    assert!(lines < 500, "{lines} lines in the log");
}

#[test]
fn a_field_name_cannot_forge_a_line_of_the_log() {
    let server = Setup::new(&[]).start();
    let mut emitter = server.emitter();
    let forged = r#"{"type":"product:deleted","data":{"productId":"p"},"x\n[2030-01-01T00:00:00Z ERROR forged] y\u001b[31m":1}"#;
    emitter.emit_refused(forged);
    wait_until("it is logged", || {
        server.stderr().contains("invalid_payload")
    });
    let log = server.stderr();
    assert!(!log.contains('\u{1b}'), "{log}");
    assert!(!log.lines().any(|line| line.starts_with("[2030")), "{log}");
}

#[test]
fn a_json_log_is_json_line_by_line() {
    let server = Setup::new(&["--log-format", "json"])
        .env("RUST_LOG", "debug")
        .start();
    server.emitter().emit_refused("bad \"line\"");
    server.user("ann \"<x>\"", "customer").ping();
    wait_until("something is logged", || {
        server.stderr().contains("invalid_json")
    });
    let log = server.stderr();
    let whole = &log[..log.rfind('\n').unwrap()];
    for line in whole.lines() {
        let entry: Value =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(entry.is_object(), "{line}");
    }
}
