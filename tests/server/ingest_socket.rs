//! The ingest socket's file, when somebody else lays hands on it.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};

use rustix::process::geteuid;
use serde_json::json;

use crate::harness::examples::event;
use crate::harness::server::text;
use crate::harness::{Server, Setup, allow_files, wait_until};
use crate::metrics::scrape::Scrape;

/// Whether `/readyz` says that it is missing.
fn is_missed(server: &Server) -> bool {
    let answer = server.get("/readyz");
    answer.status == 503 && answer.json()["status"] == "ingest socket missing"
}

fn missing(server: &Server) -> f64 {
    Scrape::of(server).get("shopwire_ingest_socket_missing", "")
}

#[test]
fn one_that_was_removed_is_put_there_again() {
    let setup = Setup::new(&[]);
    let server = setup.start();
    let mut client = server.public();
    client.subscribe(&["products"]);
    let mut old = server.emitter();
    old.emit(&event("product:created"));
    client.expect_event("product:created");
    std::fs::remove_file(&server.socket).unwrap();
    wait_until("it is there again", || {
        UnixStream::connect(&server.socket).is_ok()
    });
    let found = std::fs::symlink_metadata(&server.socket).unwrap();
    assert_eq!(found.permissions().mode() & 0o777, 0o660);
    // Those who are connected and those who come, both in one order.
    for emitter in [&mut old, &mut server.emitter()] {
        let id = emitter.emit(&event("product:created"));
        assert_eq!(client.expect_event("product:created")["id"], id.as_str());
    }
    assert!(server.stderr().contains("it is there again"));
    assert_eq!(server.get("/readyz").status, 200);
    // Another process takes over the new one, and looks after it.
    let server = server.succeed(&[]);
    assert_eq!(
        std::fs::symlink_metadata(&server.socket).unwrap().ino(),
        found.ino()
    );
    old.emit(&event("product:created"));
    std::fs::remove_file(&server.socket).unwrap();
    wait_until("it is there again", || {
        UnixStream::connect(&server.socket).is_ok()
    });
    let socket = server.socket.clone();
    server.stop();
    assert!(
        setup.dir().exists() && !socket.exists(),
        "a clean end removes it"
    );
}

#[test]
fn one_that_another_server_has_is_left_to_it() {
    let server = Server::start();
    let mut old = server.emitter();
    let theirs = server.dir().join("theirs");
    let listener = UnixListener::bind(&theirs).unwrap();
    let file = std::fs::symlink_metadata(&theirs).unwrap().ino();
    std::fs::rename(&theirs, &server.socket).unwrap();
    wait_until("it is missed", || is_missed(&server));
    assert_eq!(missing(&server), 1.0);
    old.emit(&event("product:created"));
    wait_until("the log says who has it", || {
        server
            .stderr()
            .contains("belongs to a server that is running")
    });
    // A look later it is theirs as before, and told once.
    let looked = old.command(&json!({"command": "stats"}))["uptimeSeconds"].as_u64();
    wait_until("it has looked again", || {
        let now = old.command(&json!({"command": "stats"}))["uptimeSeconds"].as_u64();
        now > looked.map(|seconds| seconds + 2)
    });
    let still = std::fs::symlink_metadata(&server.socket).unwrap().ino();
    assert_eq!(still, file);
    let told = server.stderr().matches("emitters do not find").count();
    assert_eq!(told, 1, "{}", server.stderr());
    // When they are gone, the path is nobody's.
    drop(listener);
    wait_until("it is back", || server.get("/readyz").status == 200);
    server.emitter().emit(&event("product:created"));
    assert_eq!(missing(&server), 0.0);
}

#[test]
fn what_is_no_socket_is_left_alone() {
    let setup = Setup::new(&[]);
    let server = setup.start();
    let file = server.dir().join("file");
    std::fs::write(&file, "theirs").unwrap();
    std::fs::rename(&file, &server.socket).unwrap();
    wait_until("it is missed", || is_missed(&server));
    let socket = server.socket.clone();
    server.stop();
    assert_eq!(std::fs::read_to_string(socket).unwrap(), "theirs");
}

#[test]
fn idle_emitters_leave_places_for_others() {
    allow_files(2500);
    let server = Server::with(&["--workers", "1"]);
    // Of the server's own user, who is root or has root above it.
    let (places, kept) = match geteuid().is_root() {
        true => (1024, "the most there may be"),
        false => (1016, "the last 8 places are kept for root"),
    };
    let mut crowd: Vec<UnixStream> = (0..places)
        .map(|_| UnixStream::connect(&server.socket).unwrap())
        .collect();
    for _ in 0..20 {
        let mut refused = server.emitter();
        refused.read_to_end();
        let [refusal] = refused.refusals() else {
            panic!("{:?}", refused.refusals());
        };
        assert_eq!((refusal.line, refusal.code.as_str()), (1, "unavailable"));
        assert!(refusal.message.contains(kept), "{refusal:?}");
    }
    let output = server.ctl(&["stats"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains(kept), "{}", text(&output));
    let whose = format!("pid={}", std::process::id());
    wait_until("the log tells who it was", || {
        let log = server.stderr();
        log.contains("an emitter was turned away") && log.contains(&whose)
    });
    crowd.pop();
    wait_until("there is a place", || {
        server.ctl(&["stats"]).status.success()
    });
}
