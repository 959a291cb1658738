//! The ingest socket's file, when somebody else lays hands on it.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};

use serde_json::json;

use crate::harness::examples::event;
use crate::harness::{Server, wait_until};
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
    let server = Server::start();
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
    assert!(!socket.exists(), "a clean end removes it");
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
    let server = Server::start();
    let file = server.dir().join("file");
    std::fs::write(&file, "theirs").unwrap();
    std::fs::rename(&file, &server.socket).unwrap();
    wait_until("it is missed", || is_missed(&server));
    let socket = server.socket.clone();
    server.stop();
    assert_eq!(std::fs::read_to_string(socket).unwrap(), "theirs");
}
