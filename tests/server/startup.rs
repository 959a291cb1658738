//! Starting and stopping: the ready line, the socket file, ports, `--dev`.

use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::process::Stdio;

use crate::harness::server::plain_command;
use crate::harness::{Server, Setup};

#[test]
fn the_ready_line_names_what_was_really_bound() {
    let server = Server::with(&["--workers", "3"]);
    let expected = format!(
        "shopwire ready ws=ws://{}/api/ws ingest={} workers=3",
        server.address,
        server.socket.display()
    );
    assert_eq!(server.ready, expected);
    assert_ne!(server.address.port(), 0);
    assert_eq!(server.stats()["workers"].as_array().unwrap().len(), 3);
    server.stop();
}

#[test]
fn only_the_ready_line_is_on_stdout_whatever_happens() {
    let server = Setup::new(&[]).env("RUST_LOG", "trace").start();
    let mut client = server.user("ann", "customer");
    client.send_text("nonsense");
    client.answer();
    let mut emitter = server.emitter();
    emitter.emit_refused("nonsense");
    server.get("/nope");
    server.stop();
}

#[test]
fn the_socket_is_for_its_user_and_group() {
    let server = Server::start();
    let metadata = std::fs::metadata(&server.socket).unwrap();
    assert!(metadata.file_type().is_socket());
    assert_eq!(metadata.permissions().mode() & 0o777, 0o660);
}

#[test]
fn a_stale_socket_is_replaced() {
    let setup = Setup::new(&[]);
    let path = setup.dir().join("shopwire.sock");
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let server = setup.start();
    server
        .emitter()
        .emit(&crate::harness::examples::event("product:created"));
}

#[test]
fn after_a_kill_the_next_start_works() {
    let mut first = Server::start();
    let path = first.socket.clone();
    first.signal(rustix::process::Signal::KILL);
    first.exit_within(std::time::Duration::from_secs(5));
    assert!(path.exists(), "a killed server cannot tidy up");
    let second = Server::with(&["--socket", path.to_str().unwrap()]);
    second
        .emitter()
        .emit(&crate::harness::examples::event("product:created"));
}

#[test]
fn a_live_socket_is_an_error_and_left_alone() {
    let first = Server::start();
    let socket = first.socket.display().to_string();
    assert_start_fails(&Setup::new(&["--socket", &socket]), &[&socket]);
    first
        .emitter()
        .emit(&crate::harness::examples::event("product:created"));
    assert_eq!(first.get("/healthz").status, 200);
    first.stop();
}

#[test]
fn files_of_another_kind_are_an_error_and_left_alone() {
    let setup = Setup::new(&[]);
    let path = setup.dir().join("shopwire.sock");
    std::fs::write(&path, "precious").unwrap();
    assert_start_fails(&setup, &[path.to_str().unwrap()]);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    let setup = Setup::new(&[]);
    let path = setup.dir().join("shopwire.sock");
    std::fs::create_dir(&path).unwrap();
    std::fs::write(path.join("inside"), "precious").unwrap();
    assert_start_fails(&setup, &[path.to_str().unwrap()]);
    assert!(path.join("inside").exists());
    let setup = Setup::new(&["--socket", "/nonexistent/folder/x.sock"]);
    assert_start_fails(&setup, &["/nonexistent/folder"]);
    let long = format!("/tmp/{}", "x".repeat(200));
    let output = Setup::new(&["--socket", &long])
        .command("serve")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(
        matches!(output.status.code(), Some(1 | 2)),
        "a path too long for a socket"
    );
    assert!(!output.stderr.is_empty());
}

#[test]
fn a_port_that_is_taken_is_an_error() {
    let first = Server::start();
    let port = first.address.port().to_string();
    let setup = Setup::new(&["--port", &port]);
    assert_start_fails(&setup, &[&port]);
    assert!(
        !setup.dir().join("shopwire.sock").exists(),
        "a server that does not start leaves no socket"
    );
}

#[test]
fn the_socket_is_not_removed_when_another_server_owns_it_by_now() {
    // Neither server's own folder, which goes away with it.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shared.sock");
    let first = Server::with(&["--socket", path.to_str().unwrap()]);
    std::fs::remove_file(&path).unwrap();
    let second = Server::with(&["--socket", path.to_str().unwrap()]);
    first.stop();
    assert!(path.exists(), "the second server's socket");
    second
        .emitter()
        .emit(&crate::harness::examples::event("product:created"));
}

#[test]
fn dev_needs_no_configuration_and_tells_what_to_paste() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("dev.sock").display().to_string();
    let setup = Setup::new(&["--dev", "--socket", &socket])
        .without("--host")
        .without("--jwt-secret-file")
        .without("--connect-rate");
    let server = setup.start();
    assert!(server.address.ip().is_loopback());
    let told = || server.stderr();
    crate::harness::wait_until("it has told all", || {
        told().contains(&socket) && told().contains("tail") && told().contains("emit")
    });
    // One of the words must be a token that this server takes.
    let text = told();
    let tokens: Vec<&str> = text
        .split(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '='))
        .filter(|word| word.starts_with("eyJ") && word.matches('.').count() == 2)
        .collect();
    assert!(!tokens.is_empty(), "no ready-to-paste token in:\n{text}");
    for token in &tokens {
        crate::harness::Client::connect(&server, crate::harness::Opening::new().bearer(token));
    }
    // The connect rate is off.
    for _ in 0..30 {
        server.public();
    }
}

#[test]
fn dev_binds_loopback_only() {
    for host in ["0.0.0.0", "192.0.2.1", "::"] {
        let output = plain_command()
            .args(["serve", "--dev", "--port", "0", "--host", host])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "--dev --host {host}");
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(text.contains("host") && text.contains("loopback"), "{text}");
        assert!(output.stdout.is_empty());
    }
}

fn assert_start_fails(setup: &Setup, mentions: &[&str]) {
    let output = setup
        .command("serve")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(output.stdout.is_empty(), "no ready line");
    for mention in mentions {
        assert!(
            text.contains(mention),
            "{mention} should be named in: {text}"
        );
    }
}
