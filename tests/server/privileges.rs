//! What the process gives up, and who may do what on the ingest socket.

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Output};

use rustix::process::{Signal, geteuid};
use serde_json::json;

use crate::harness::examples::event;
use crate::harness::server::{self, text};
use crate::harness::{Server, Setup, allow_files, wait_until};

const NOBODY: u32 = 65534;

/// A file of the process's that the kernel makes.
fn of_process(server: &Server, name: &str) -> String {
    std::fs::read_to_string(format!("/proc/{}/{name}", server.id())).unwrap()
}

/// The words behind this one, in a line that begins with it.
fn words(text: &str, first: &str) -> Vec<String> {
    let line = text.lines().find_map(|line| line.strip_prefix(first));
    let line = line.unwrap_or_else(|| panic!("no {first} in {text}"));
    line.split_whitespace().map(str::to_owned).collect()
}

/// Only root can become somebody else.
fn is_root() -> bool {
    let is_root = geteuid().is_root();
    if !is_root {
        eprintln!("not run: only root can become another user");
    }
    is_root
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn there_are_no_core_dumps() {
    let server = Server::start();
    let core = words(&of_process(&server, "limits"), "Max core file size");
    assert_eq!(core[..2], ["0", "0"]);
    assert_eq!(words(&of_process(&server, "status"), "NoNewPrivs:"), ["1"]);
    // Who tries things out may want to look into it, and so may who looks for a defect.
    for flag in ["--dev", "--core-dumps"] {
        let server = Server::with(&[flag]);
        assert_eq!(words(&of_process(&server, "status"), "NoNewPrivs:"), ["0"]);
    }
}

#[test]
fn root_becomes_the_user_once_the_port_is_open() {
    if !is_root() {
        return;
    }
    let setup = Setup::new(&["--user", "nobody"]);
    chown(setup.dir(), Some(NOBODY), Some(NOBODY)).unwrap();
    let secret = setup.dir().join("secret");
    set_mode(&secret, 0o600);
    let is_nobody = |server: &Server| {
        let status = of_process(server, "status");
        let all = vec![NOBODY.to_string(); 4];
        assert_eq!(words(&status, "Uid:"), all);
        assert_eq!(words(&status, "Gid:"), all);
        assert!(!words(&status, "Groups:").contains(&"0".to_owned()));
        let socket = std::fs::symlink_metadata(&server.socket).unwrap();
        assert_eq!(socket.uid(), NOBODY);
        let core = words(&of_process(server, "limits"), "Max core file size");
        assert_eq!(core[..2], ["0", "0"]);
    };
    let server = setup.start();
    is_nobody(&server);
    let mut client = server.user("ann", "customer");
    client.subscribe(&["products"]);
    let mut emitter = server.emitter();
    let id = emitter.emit(&event("product:created"));
    assert_eq!(client.expect_event("product:created")["id"], id.as_str());
    // The secret was root's to read, and is not the user's.
    let output = server.ctl(&["reload"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output).contains("cannot be read"),
        "{}",
        text(&output)
    );
    chown(&secret, Some(NOBODY), None).unwrap();
    assert_eq!(server.ctl(&["reload"]).status.code(), Some(0));
    // Root starts the next process, which takes over and becomes the user, too.
    let server = server.succeed(&["--workers", "1"]);
    is_nobody(&server);
    let id = emitter.emit(&event("product:created"));
    assert_eq!(client.expect_event("product:created")["id"], id.as_str());
    let socket = server.socket.clone();
    server.stop();
    assert!(!socket.exists(), "it can remove what it has made");
}

#[test]
fn a_user_may_emit_and_command_what_the_table_says() {
    let own = geteuid().as_raw();
    let table = format!(
        "[emitters]\n{own} = {{ namespaces = [\"orders\"], commands = [\"stats\", \"reload\"] }}\n"
    );
    let setup = Setup::new(&[]).file(&table);
    let config = setup.dir().join("shopwire.toml");
    let server = setup.start();
    let mut emitter = server.emitter();
    emitter.emit(&event("order:created"));
    let refused = emitter.emit_refused(&event("product:created").to_string());
    assert_eq!(
        (refused.code.as_str(), refused.field.as_deref()),
        ("forbidden", Some("type"))
    );
    assert!(refused.message.contains("products"), "{refused:?}");
    emitter.command(&json!({"command": "stats"}));
    for verb in ["drain", "disconnect", "revoke"] {
        let mut command = json!({ "command": verb });
        if verb != "drain" {
            command["user"] = "ann".into();
        }
        let refused = emitter.emit_refused(&command.to_string());
        assert_eq!(refused.code, "forbidden", "{verb}");
        assert!(refused.message.contains("[emitters]"), "{refused:?}");
    }
    let output = server.ctl(&["drain"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    assert_eq!(server.get("/readyz").status, 200);

    // A reload changes it, also for those who are connected.
    std::fs::write(&config, "").unwrap();
    let answer = emitter.command(&json!({"command": "reload"}));
    assert_eq!(answer["changed"], json!(["emitters"]));
    emitter.emit(&event("product:created"));
    emitter.command(&json!({"command": "disconnect", "user": "ann"}));
    std::fs::write(&config, &table).unwrap();
    emitter.command(&json!({"command": "reload"}));
    emitter.emit_refused(&event("product:created").to_string());
    // And so does the next process hold them to it.
    let server = server.succeed(&["--workers", "1"]);
    emitter.emit_refused(&event("product:created").to_string());
    emitter.emit(&event("order:created"));
    // The drain is still there by signal.
    server.stop();
}

#[test]
fn a_user_cannot_take_the_keys_of_events_that_are_not_his() {
    let own = geteuid().as_raw();
    let table = |namespace: &str| {
        format!(
            "[emitters]\n{own} = {{ namespaces = [\"{namespace}\"], commands = [\"reload\"] }}\n"
        )
    };
    let setup = Setup::new(&[]).file(&table("orders"));
    let config = setup.dir().join("shopwire.toml");
    let server = setup.start();
    let mut client = server.user("root", "admin");
    client.subscribe(&["orders", "payments"]);
    let mut emitter = server.emitter();
    let keyed = |kind: &str| {
        let mut event = event(kind);
        event["key"] = "pay-77-received".into();
        event
    };
    let order = emitter.emit(&keyed("order:created"));
    assert_eq!(client.expect_event("order:created")["id"], order.as_str());
    std::fs::write(&config, table("payments")).unwrap();
    emitter.command(&json!({"command": "reload"}));
    let payment = emitter.emit(&keyed("payment:received"));
    assert_ne!(payment, order);
    assert_eq!(
        client.expect_event("payment:received")["id"],
        payment.as_str()
    );
    assert_eq!(
        emitter.emit(&keyed("payment:received")),
        payment,
        "its own is a repeat"
    );
}

#[test]
fn users_that_the_table_does_not_name_may_do_nothing() {
    if !is_root() {
        return;
    }
    let table = "[emitters]\nnobody = { namespaces = [\"products\"], commands = [\"stats\"] }\n";
    let setup = Setup::new(&[]).env("RUST_LOG", "debug").file(table);
    let server = setup.start();
    // A folder and a copy of the binary that other users can reach.
    set_mode(server.dir(), 0o755);
    set_mode(&server.socket, 0o666);
    let binary = server.dir().join("shopwire");
    std::fs::copy(server::binary(), &binary).unwrap();
    set_mode(&binary, 0o755);
    let run_as = |user: u32, args: &[&str]| -> Output {
        Command::new("setpriv")
            .args([
                &format!("--reuid={user}"),
                &format!("--regid={user}"),
                "--clear-groups",
                "--",
            ])
            .arg(&binary)
            .args(args)
            .arg("--socket")
            .arg(&server.socket)
            .output()
            .unwrap()
    };
    let product = ["emit", "product:deleted", "--data", r#"{"productId":"p"}"#];
    let order = ["emit", "order:deleted", "--data", r#"{"orderId":"o"}"#];
    for (user, args, expected) in [
        (NOBODY, &product[..], Some(0)),
        (NOBODY, &order, Some(1)),
        (NOBODY, &["ctl", "stats"], Some(0)),
        (NOBODY, &["ctl", "drain"], Some(1)),
        (12_345, &product, Some(1)),
        (12_345, &["ctl", "stats"], Some(1)),
        (0, &order, Some(0)),
        (0, &["ctl", "stats"], Some(0)),
    ] {
        let output = run_as(user, args);
        let said = text(&output);
        assert_eq!(output.status.code(), expected, "{user} {args:?}: {said}");
        assert_eq!(said.contains("forbidden"), expected == Some(1), "{said}");
    }
    // Who was refused stands in the log at its usual level.
    for (user, what) in [(NOBODY, "command"), (12_345, "line"), (12_345, "command")] {
        let said = format!("refused a {what}");
        let uid = format!("uid={user} pid=");
        let log = server.stderr();
        let mut lines = log.lines();
        let is_told =
            |line: &str| line.contains("WARN") && line.contains(&said) && line.contains(&uid);
        assert!(lines.any(is_told), "{said} {uid}: {log}");
    }
    // Whose an emitter is can be seen where somebody wants to know.
    wait_until("the log tells who came", || {
        server.stderr().contains("uid=12345 pid=")
    });
    // All that others may have is taken: root comes in, and they are told why they do not.
    allow_files(2500);
    let _crowd: Vec<UnixStream> = (0..1008)
        .map(|_| UnixStream::connect(&server.socket).unwrap())
        .collect();
    wait_until("all are there", || {
        server.stderr().matches("an emitter connects").count() >= 1008
    });
    let refused = run_as(NOBODY, &product);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        text(&refused).contains("the last 16 places are kept for root"),
        "{}",
        text(&refused)
    );
    assert!(run_as(0, &["ctl", "stats"]).status.success());
    server.signal(Signal::TERM);
}
