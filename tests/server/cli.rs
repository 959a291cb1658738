//! The command line beside `serve`: emit, tail, token, and the help of all.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::harness::examples::{about, event};
use crate::harness::server::plain_command;
use crate::harness::tokens::{SECRET, of};
use crate::harness::{Client, DEADLINE, Opening, Server, wait_until};

fn emit(server: &Server, args: &[&str]) -> Command {
    let mut command = plain_command();
    command
        .arg("emit")
        .arg("--socket")
        .arg(&server.socket)
        .args(args);
    command
}

fn emit_stdin(server: &Server, lines: &str) -> Output {
    let mut child = emit(server, &["-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let lines = lines.to_owned();
    let writing = thread::spawn(move || stdin.write_all(lines.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writing.join().unwrap().ok();
    output
}

/// A `tail` whose lines are read in a thread, ended with the test.
pub struct Tail {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Tail {
    pub fn start(args: &[&str]) -> Self {
        let mut child = plain_command()
            .arg("tail")
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let stdout = child.stdout.take().unwrap();
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, lines }
    }

    pub fn next(&self) -> String {
        self.lines
            .recv_timeout(DEADLINE)
            .expect("tail prints a line")
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[test]
fn emit_sends_one_event_with_all_its_flags() {
    let server = Server::start();
    let mut staff = Client::connect(&server, Opening::new().bearer(&of("sam", "staff")));
    staff.subscribe(&["orders", "products"]);
    let mut ann = server.user("ann", "customer");
    ann.subscribe(&["orders", "products"]);
    let data = event("order:created")["data"].to_string();
    let run = |args: &[&str]| {
        let mut all = vec!["order:created", "--data", data.as_str()];
        all.extend_from_slice(args);
        let output = emit(&server, &all).output().unwrap();
        assert_eq!(
            output.status.code(),
            Some(0),
            "{args:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    };
    run(&["--to-owners", "bob,ann"]);
    for client in [&mut staff, &mut ann] {
        client.expect_event("order:created");
    }
    run(&["--to-users", "ann"]);
    ann.expect_event("order:created");
    run(&["--to-roles", "admin,staff"]);
    staff.expect_event("order:created");
    run(&["--to-owners", "ann", "--exclude-users", "bob,sam"]);
    ann.expect_event("order:created");
    run(&["--exclude-session", "nobody", "--key", "k-1"]);
    let once = staff.expect_event("order:created");
    run(&["--key", "k-1"]);
    let fence = crate::harness::Fence::raise(&mut server.emitter());
    fence.nothing_before(&mut staff);
    fence.nothing_before(&mut ann);
    assert!(once["id"].is_string());
}

#[test]
fn emit_reads_ndjson_and_prints_refusals_with_their_line() {
    let server = Server::start();
    let mut public = server.public();
    public.subscribe(&["products"]);
    let good = event("product:created").to_string();
    let output = emit_stdin(&server, &format!("{good}\n{good}\n"));
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let output = emit_stdin(
        &server,
        &format!(
            "{good}\n\n{{\"type\":\"product:created\",\"data\":{{\"productId\":7}}}}\nnonsense\n{good}"
        ),
    );
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr);
    for mention in ["3", "data.productId", "4", "invalid_json"] {
        assert!(text.contains(mention), "{mention} in: {text}");
    }
    for _ in 0..4 {
        public.expect_event("product:created");
    }
}

#[test]
fn emit_takes_a_long_stream() {
    let server = Server::start();
    let lines: String = (0..20_000)
        .map(|n| format!("{{\"type\":\"product:deleted\",\"data\":{{\"productId\":\"{n}\"}}}}\n"))
        .collect();
    let output = emit_stdin(&server, &lines);
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(server.stats()["eventsIn"], 20_000);
    // All of them refused: as many answers as lines, and still no deadlock.
    let output = emit_stdin(&server, &"bad\n".repeat(20_000));
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn emit_says_what_is_wrong() {
    let server = Server::start();
    for (args, code, mentions) in [
        (vec!["order:eaten", "--data", "{}"], 1, vec!["order:eaten"]),
        (
            vec!["product:deleted", "--data", "{}"],
            1,
            vec!["data.productId"],
        ),
        (
            vec![
                "product:deleted",
                "--data",
                r#"{"productId":"p"}"#,
                "--to-roles",
                "king",
            ],
            1,
            vec!["king"],
        ),
    ] {
        let output = emit(&server, &args).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {text}");
        for mention in mentions {
            assert!(text.contains(mention), "{mention} in: {text}");
        }
    }
    // Data that is not JSON never leaves the command, or is refused by the server: an error either way.
    let output = emit(&server, &["product:deleted", "--data", "{nonsense"])
        .output()
        .unwrap();
    assert!(matches!(output.status.code(), Some(1 | 2)));
    let output = plain_command()
        .args([
            "emit",
            "--socket",
            "/nonexistent/x.sock",
            "product:deleted",
            "--data",
            "{}",
        ])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("/nonexistent/x.sock"), "{text}");
}

#[test]
fn tail_prints_events_as_they_come() {
    let server = Server::start();
    let url = server.field("ws");
    let token = of("sam", "staff");
    let tail = Tail::start(&[
        "--url",
        &url,
        "--token",
        &token,
        "--namespaces",
        "orders,products",
        "--events",
        "order:created",
        "--json",
    ]);
    let plain = Tail::start(&["--url", &url, "--namespaces", "products"]);
    wait_until("both tails are subscribed", || {
        server.stats()["connectionsByNamespace"]["products"] == 2
    });
    let mut emitter = server.emitter();
    emitter.emit(&about("order:deleted", "ann"));
    let order = emitter.emit(&about("order:created", "ann"));
    let product = emitter.emit(&event("product:created"));
    for id in [&order, &product] {
        let frame: Value = serde_json::from_str(&tail.next()).unwrap();
        assert_eq!(&frame["id"], id.as_str());
        assert!(frame["data"].is_object());
    }
    let line = plain.next();
    assert!(
        line.contains("product:created") && line.contains(&product),
        "{line}"
    );
}

#[test]
fn tail_comes_back_after_a_restart_of_the_server() {
    let server = Server::start();
    let url = server.field("ws");
    let (port, socket) = (server.address.port().to_string(), server.socket.clone());
    let tail = Tail::start(&["--url", &url, "--namespaces", "products", "--json"]);
    wait_until("tail is subscribed", || {
        server.stats()["connectionsByNamespace"]["products"] == 1
    });
    server
        .emitter()
        .emit(&json!({"type": "product:deleted", "data": {"productId": "one"}}));
    assert!(tail.next().contains("one"));
    server.stop();
    assert!(!socket.exists());
    let server = Server::with(&["--port", &port]);
    wait_until("tail is back", || {
        server.stats()["connectionsByNamespace"]["products"] == 1
    });
    server
        .emitter()
        .emit(&json!({"type": "product:deleted", "data": {"productId": "two"}}));
    assert!(tail.next().contains("two"));
}

#[test]
fn tail_gives_up_where_trying_again_cannot_help() {
    let server = Server::start();
    let url = server.field("ws");
    for (token, namespaces) in [
        ("nonsense".to_owned(), "products"),
        (of("gus", "guest"), "orders"),
    ] {
        let mut child = plain_command()
            .args([
                "tail",
                "--url",
                &url,
                "--token",
                &token,
                "--namespaces",
                namespaces,
            ])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut status = None;
        wait_until("tail ends", || {
            status = child.try_wait().unwrap();
            status.is_some()
        });
        assert_eq!(status.unwrap().code(), Some(1), "{token} {namespaces}");
    }
}

#[test]
fn tail_ends_quietly_with_its_reader() {
    let server = Server::start();
    let url = server.field("ws");
    let mut child = plain_command()
        .args(["tail", "--url", &url, "--namespaces", "products"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_until("tail is subscribed", || {
        server.stats()["connectionsByNamespace"]["products"] == 1
    });
    drop(child.stdout.take());
    let mut emitter = server.emitter();
    wait_until("tail ends", || {
        emitter.emit(&event("product:created"));
        child.try_wait().unwrap().is_some()
    });
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!text.contains("panicked"), "{text}");
}

#[test]
fn token_mints_what_the_server_takes() {
    let server = Server::start();
    let secret = server.dir().join("secret");
    let mint = |args: &[&str]| {
        let output = plain_command()
            .arg("token")
            .arg("--jwt-secret-file")
            .arg(&secret)
            .args(args)
            .output()
            .unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stdout).unwrap(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    let (code, token, error) = mint(&[
        "--user",
        "ann",
        "--role",
        "customer",
        "--session",
        "s-1",
        "--ttl",
        "10m",
    ]);
    assert_eq!(code, Some(0), "{error}");
    let client = Client::connect(&server, Opening::new().bearer(token.trim()));
    let data = &client.authenticated.as_ref().unwrap()["data"];
    assert_eq!(
        (&data["userId"], &data["role"], &data["sessionId"]),
        (&json!("ann"), &json!("customer"), &json!("s-1"))
    );
    let left = data["expiresAt"].as_u64().unwrap() as i64 - crate::harness::tokens::now_ms() as i64;
    assert!(
        (590_000..601_000).contains(&left),
        "{left} ms left of 10 minutes"
    );
    let (code, token, _) = mint(&["--user", "sam", "--role", "staff"]);
    assert_eq!(code, Some(0));
    Client::connect(&server, Opening::new().bearer(token.trim()));
    for bad in [
        vec!["--user", "ann", "--role", "king"],
        vec!["--user", "", "--role", "staff"],
        vec!["--user", "ann"],
        vec!["--user", "ann", "--role", "staff", "--ttl", "soon"],
    ] {
        let (code, printed, error) = mint(&bad);
        assert_eq!(code, Some(2), "{bad:?}: {error}");
        assert!(
            printed.is_empty() && !error.contains(SECRET),
            "{bad:?}: {error}"
        );
    }
}

#[test]
fn every_help_is_complete_with_an_example() {
    let help = |args: &[&str]| {
        let output = plain_command().args(args).arg("--help").output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{args:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let top = help(&[]);
    for command in [
        "serve", "emit", "tail", "token", "ctl", "check", "doctor", "schema",
    ] {
        assert!(top.contains(command), "{command} in the help");
        let text = help(&[command]);
        assert!(
            text.contains(&format!("shopwire {command}")),
            "an example in the help of {command}:\n{text}"
        );
    }
    let serve = help(&["serve"]);
    for (flag, environment) in [
        ("--host", "WS_HOST"),
        ("--port", "WS_PORT"),
        ("--socket", "WS_SOCKET"),
        ("--user", "WS_USER"),
        ("--workers", "WS_WORKERS"),
        ("--allowed-origins", "ALLOWED_ORIGINS"),
        ("--jwt-secret-file", "WS_JWT_SECRET"),
        ("--jwt-public-key", "WS_JWT_PUBLIC_KEY"),
        ("--jwks-file", "WS_JWKS_FILE"),
        ("--jwt-issuer", "WS_JWT_ISSUER"),
        ("--jwt-audience", "WS_JWT_AUDIENCE"),
        ("--jwt-leeway", "WS_JWT_LEEWAY"),
        ("--require-auth", "WS_REQUIRE_AUTH"),
        ("--max-connections", "WS_MAX_CONNECTIONS"),
        ("--reserved-share", "WS_RESERVED_SHARE"),
        ("--customer-connections", "WS_CUSTOMER_CONNECTIONS"),
        ("--ping-interval", "WS_PING_INTERVAL"),
        ("--pong-timeout", "WS_PONG_TIMEOUT"),
        ("--message-rate", "WS_MESSAGE_RATE"),
        ("--connect-rate", "WS_CONNECT_RATE"),
        ("--max-message", "WS_MAX_MESSAGE"),
        ("--outbox-limit", "WS_OUTBOX_LIMIT"),
        ("--outbox-budget", "WS_OUTBOX_BUDGET"),
        ("--history", "WS_HISTORY"),
        ("--history-age", "WS_HISTORY_AGE"),
        ("--gather", "WS_GATHER"),
        ("--trusted-proxies", "WS_TRUSTED_PROXIES"),
        ("--forwarded-header", "WS_FORWARDED_HEADER"),
        ("--tls-cert", "WS_TLS_CERT"),
        ("--tls-key", "WS_TLS_KEY"),
        ("--core-dumps", "WS_CORE_DUMPS"),
        ("--drain-timeout", "WS_DRAIN_TIMEOUT"),
        ("--canary", "WS_CANARY"),
        ("--log-format", "WS_LOG_FORMAT"),
        ("--log-figures", "WS_LOG_FIGURES"),
        ("--config", ""),
        ("--dev", ""),
    ] {
        assert!(
            serve.contains(flag) && serve.contains(environment),
            "{flag} {environment} in the help of serve"
        );
    }
    assert!(
        plain_command()
            .arg("--version")
            .output()
            .unwrap()
            .status
            .success()
    );
}

#[test]
fn tail_stops_at_an_interrupt() {
    let server = Server::start();
    let url = server.field("ws");
    let mut tail = Tail::start(&["--url", &url, "--namespaces", "products"]);
    wait_until("tail is subscribed", || {
        server.stats()["connectionsByNamespace"]["products"] == 1
    });
    kill_process(Pid::from_child(&tail.child), Signal::INT).unwrap();
    wait_until("tail ends", || tail.child.try_wait().unwrap().is_some());
    wait_until("its connection is gone", || {
        server.stats()["totalConnections"] == 0
    });
}
