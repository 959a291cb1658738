//! The operator's commands over the ingest socket.

mod lists;
mod tap;
mod watch;
mod why;

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use serde_json::{Value, json};

use crate::harness::examples::event;
use crate::harness::server::{binary, text};
use crate::harness::{Client, Opening, Server, tokens};

#[test]
fn stats_are_those_of_http() {
    let server = Server::start();
    let _admin = server.user("root", "admin");
    let result = server.emitter().command(&json!({"command": "stats"}));
    let over_http = server.stats();
    let names = |stats: &Value| {
        stats
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&result), names(&over_http));
    assert_eq!(result["totalConnections"], 1);
    let output = server.ctl(&["stats", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let printed: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(printed["connectionsByRole"]["admin"], 1);
    let output = server.ctl(&["stats"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
}

#[test]
fn commands_are_counted_as_lines() {
    let server = Server::start();
    let mut emitter = server.emitter();
    let id = emitter.emit(&event("product:created"));
    emitter.command(&json!({"command": "stats"}));
    assert_eq!(emitter.settled(), 2);
    for bad in [
        r#"{"command":"dance"}"#,
        r#"{"command":7}"#,
        r#"{"command":"disconnect"}"#,
        r#"{"command":"disconnect","user":7}"#,
    ] {
        let refused = emitter.try_emit(bad.as_bytes()).unwrap_err();
        assert!(refused.line > 2, "{refused:?}");
    }
    assert_eq!(emitter.settled(), 6);
    assert_eq!(emitter.last_id(), Some(id.as_str()));
}

#[test]
fn disconnect_closes_those_who_are_named_with_4403() {
    let server = Server::with(&["--workers", "3"]);
    let ann = || {
        Client::connect(
            &server,
            Opening::new().bearer(&tokens::with_session("ann", "customer", "s-ann")),
        )
    };
    let bob = || {
        Client::connect(
            &server,
            Opening::new().bearer(&tokens::with_session("bob", "customer", "s-bob")),
        )
    };
    let (mut ann_1, mut ann_2, mut bob_1, mut bob_2, mut public) =
        (ann(), ann(), bob(), bob(), server.public());
    let mut emitter = server.emitter();
    emitter.command(&json!({"command": "disconnect", "user": "ann"}));
    ann_1.expect_close(4403);
    ann_2.expect_close(4403);
    let connection = bob_1.connection_id();
    emitter.command(&json!({"command": "disconnect", "connection": connection}));
    bob_1.expect_close(4403);
    bob_2.ping();
    let output = server.ctl(&["disconnect", "--session", "s-bob"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    bob_2.expect_close(4403);
    public.ping();
    emitter.command(&json!({"command": "disconnect", "user": "nobody"}));
    public.ping();

    let (mut guest, mut staff) = (server.user("gil", "guest"), server.user("sam", "staff"));
    let output = server.ctl(&["disconnect", "--role", "guest"]);
    assert_eq!(text(&output), "disconnected: 1\n");
    guest.expect_close(4403);
    let answer = emitter.command(&json!({"command": "disconnect", "role": "public"}));
    assert_eq!(answer, json!({"disconnected": 1}));
    public.expect_close(4403);
    staff.ping();
}

/// Needs root, to become somebody else who may still open the socket.
#[test]
fn others_may_emit_but_not_command() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("not run: only root can become another user");
        return;
    }
    let server = Server::start();
    // A folder and a copy of the binary that another user can reach.
    let open = |path: &std::path::Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap()
    };
    open(server.dir(), 0o755);
    open(&server.socket, 0o666);
    let copy = server.dir().join("shopwire");
    std::fs::copy(binary(), &copy).unwrap();
    open(&copy, 0o755);
    let as_nobody = |args: &[&str]| {
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"])
            .arg(&copy)
            .args(args);
        command
            .arg("--socket")
            .arg(&server.socket)
            .output()
            .unwrap()
    };
    let output = as_nobody(&["emit", "product:deleted", "--data", r#"{"productId":"p"}"#]);
    let table = server.dir().join("table.toml");
    std::fs::write(&table, "").unwrap();
    open(&table, 0o644);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    for args in [
        &["ctl", "stats"][..],
        &["ctl", "drain"],
        &["ctl", "reload"],
        &["ctl", "disconnect", "--user", "ann"],
        &["ctl", "revoke", "--user", "ann"],
        &["ctl", "connections"],
        &["ctl", "history", "--data"],
        &["ctl", "log-level", "debug"],
        &["ctl", "access", "--try", table.to_str().unwrap()],
        &["ctl", "tap"],
        &["ctl", "why", "--event", "e-1", "--user", "ann"],
    ] {
        let output = as_nobody(args);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {}", text(&output));
        assert!(
            text(&output).to_lowercase().contains("user"),
            "who may do it: {}",
            text(&output)
        );
    }
    assert_eq!(server.get("/readyz").status, 200, "nothing of it was done");
}

#[test]
fn a_changed_access_table_is_tried_and_nothing_happens() {
    let server = Server::with(&["--workers", "2"]);
    let mut staff = [server.user("sam", "staff"), server.user("sue", "staff")];
    staff[0].subscribe(&["orders", "inventory"]);
    let mut ann = server.user("ann", "customer");
    ann.subscribe(&["orders"]);
    let file = server.dir().join("new.toml");
    let table = "[access]\norders = { admin = \"all\", manager = \"all\", customer = \"all\" }\n";
    std::fs::write(&file, table).unwrap();
    let tried = |args: &[&str]| {
        let all = [&["access", "--try", file.to_str().unwrap()], args].concat();
        server.ctl(&all)
    };
    let output = tried(&["--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    let change = |role: &str, now: &str, then: &str, connections: u64, subscribed: u64| {
        json!({"namespace": "orders", "role": role, "now": now, "then": then, "connections": connections,
            "subscribed": subscribed})
    };
    assert_eq!(
        answer,
        json!({"changes": [change("staff", "all", "none", 2, 1), change("customer", "own", "all", 1, 1)]})
    );
    let said = text(&tried(&[]));
    assert!(said.contains("1 subscriptions end"), "{said}");
    // All of it is as it was.
    let id = server.emitter().emit(&event("order:deleted"));
    assert_eq!(staff[0].expect_event("order:deleted")["id"], id.as_str());
    std::fs::write(&file, "").unwrap();
    let said = text(&tried(&[]));
    assert!(said.contains("nothing would change"), "{said}");
    std::fs::write(&file, "[access]\norder = 1").unwrap();
    let output = tried(&[]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    assert!(text(&output).contains("access.orders"), "{}", text(&output));
}
