//! The log: fields by stable names, a level that changes while the server runs, a line of figures, and
//! nothing of a person's in it.

use std::collections::BTreeSet;

use rustix::process::geteuid;
use serde_json::{Value, json};

use crate::harness::examples::{about, event};
use crate::harness::server::plain_command;
use crate::harness::{Client, Opening, Server, Setup, tokens, wait_until};

/// The whole lines so far, as objects.
fn lines(server: &Server) -> Vec<Value> {
    let log = server.stderr();
    let whole = &log[..log.rfind('\n').map_or(0, |end| end + 1)];
    whole
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

/// Waits for a line with this message and gives the first.
fn line(server: &Server, message: &str) -> Value {
    let mut found = None;
    wait_until(message, || {
        found = lines(server)
            .into_iter()
            .find(|line| line["message"] == message);
        found.is_some()
    });
    found.unwrap()
}

/// The names of a line's fields, without those that every line has.
fn fields(line: &Value) -> BTreeSet<&str> {
    let all = line.as_object().unwrap().keys().map(String::as_str);
    let common = ["time", "level", "target", "message"];
    for name in common {
        assert!(line[name].is_string(), "{name} in {line}");
    }
    all.filter(|name| !common.contains(name)).collect()
}

fn json_log(level: &str, args: &[&str]) -> Server {
    Setup::new(&[&["--log-format", "json"], args].concat())
        .env("RUST_LOG", level)
        .start()
}

#[test]
fn each_line_says_what_it_is_about_in_fields() {
    let server = json_log("debug", &[]);
    let mut client = server.user("ann", "customer");
    let id = client.connection_id();
    client.ask_refused(&json!({"type": "nonsense"}), "unknown_type");
    assert_eq!(
        Client::try_connect(server.address, Opening::new().bearer("nonsense")).err(),
        Some(401)
    );
    let mut wrong = event("order:created");
    wrong["data"]["total"] = (-1).into();
    server.emitter().emit_refused(&wrong.to_string());
    client.socket.close(None).unwrap();
    client.read_to_end();

    let opens = line(&server, "a connection opens");
    assert_eq!(fields(&opens), ["connection", "ip", "worker"].into());
    assert_eq!(opens["connection"], id.as_str());
    assert_eq!(opens["ip"], "127.0.0.1");
    assert_eq!(opens["level"], "debug");
    let authenticates = line(&server, "a connection authenticates");
    assert_eq!(
        fields(&authenticates),
        ["connection", "role", "user", "worker"].into()
    );
    let refused = line(&server, "refused a message");
    assert_eq!(
        fields(&refused),
        ["code", "connection", "user", "worker"].into()
    );
    assert_eq!(refused["code"], "unknown_type");
    assert_eq!(refused["user"], authenticates["user"], "one user, one hash");
    assert_eq!(refused["worker"], opens["worker"]);
    let request = line(&server, "refused a request");
    assert_eq!(fields(&request), ["code", "ip", "status", "worker"].into());
    assert_eq!(request["status"], 401);
    let refused = line(&server, "refused a line");
    assert_eq!(
        fields(&refused),
        ["code", "emitter", "field", "line", "pid", "uid"].into()
    );
    assert_eq!(
        (&refused["line"], &refused["field"]),
        (&json!(1), &json!("data.total"))
    );
    let ends = line(&server, "a connection ends");
    assert_eq!(
        fields(&ends),
        ["code", "connection", "reason", "worker"].into()
    );
    assert_eq!(
        (&ends["code"], &ends["reason"]),
        (&json!(1000), &json!("normal"))
    );
}

#[test]
fn text_lines_have_the_same_fields() {
    let server = Setup::new(&[]).start();
    server
        .emitter()
        .emit_refused(r#"{"type":"no:such","data":{}}"#);
    let (uid, pid) = (geteuid().as_raw(), std::process::id());
    let line = format!("refused a line emitter=1 uid={uid} pid={pid} line=1 code=unknown_type\n");
    wait_until("it is logged", || server.stderr().contains(&line));
}

#[test]
fn nothing_of_a_person_is_in_the_log_at_any_level() {
    let server = json_log("trace", &[]);
    let token = tokens::with_session("ann-the-customer", "customer", "session-of-ann");
    let mut client = Client::connect(&server, Opening::new().bearer(&token));
    client.subscribe(&["orders"]);
    let mut emitter = server.emitter();
    let mut order = about("order:created", "ann-the-customer");
    order["data"]["customerName"] = "Ann Private".into();
    order["data"]["email"] = "ann@private.example".into();
    order["key"] = "a-key-of-ann".into();
    emitter.emit(&order);
    client.expect_event("order:created");
    order["data"]["total"] = (-1).into();
    emitter.emit_refused(&order.to_string());
    emitter.command(&json!({"command": "disconnect", "user": "ann-the-customer"}));
    client.expect_close(4403);
    line(&server, "a connection ends");
    let log = server.stderr();
    let signature = token.rsplit('.').next().unwrap();
    for secret in [
        "ann-the-customer",
        "session-of-ann",
        "Ann Private",
        "ann@private.example",
        "a-key-of-ann",
        signature,
        tokens::SECRET,
    ] {
        assert!(!log.contains(secret), "{secret} in the log:\n{log}");
    }
}

#[test]
fn the_level_changes_while_the_server_runs() {
    let server = json_log("warn", &[]);
    let ctl = |level: &str| {
        let mut command = plain_command();
        command.args(["ctl", "log-level", level, "--socket"]);
        command.arg(&server.socket).output().unwrap()
    };
    let opened = || {
        let client = server.public();
        client.connection_id()
    };
    let is_logged = |id: &str| lines(&server).iter().any(|line| line["connection"] == id);
    let quiet = opened();
    assert!(ctl("debug").status.success());
    let loud = opened();
    wait_until("a connection is seen to open", || is_logged(&loud));
    assert!(!is_logged(&quiet), "the level before was warn");
    let told = line(&server, "the operator sets the level of the log");
    assert_eq!(told["new_level"], "debug");
    assert!(ctl("default").status.success());
    let quiet_again = opened();
    // A refused line is a warning, and comes behind what the connection would have said.
    server.emitter().emit_refused("{}");
    line(&server, "refused a line");
    assert!(!is_logged(&quiet_again));
    let refused = ctl("loud");
    assert_eq!(refused.status.code(), Some(2));
    let answer = server
        .emitter()
        .emit_refused(r#"{"command":"log-level","level":"loud"}"#);
    assert_eq!(
        (answer.code.as_str(), answer.field.as_deref()),
        ("invalid_command", Some("level"))
    );
}

#[test]
fn a_line_of_figures_comes_again_and_again() {
    let server = json_log("info", &["--log-figures", "100ms"]);
    let mut client = server.public();
    client.subscribe(&["products"]);
    server.emitter().emit(&event("product:created"));
    client.expect_event("product:created");
    wait_until("figures are of what happened", || {
        let all = lines(&server);
        let mut figures = all.iter().filter(|line| line["message"] == "figures");
        let of_it = |line: &&Value| line["deliveries_per_s"].as_f64() > Some(0.0);
        let after = figures.clone().skip_while(|line| !of_it(line)).count();
        // Of the next ones each is of its own time alone.
        after > 2 && figures.next_back().unwrap()["deliveries_per_s"] == 0.0
    });
    let all = lines(&server);
    let busy = all
        .iter()
        .find(|line| line["deliveries_per_s"].as_f64() > Some(0.0))
        .unwrap();
    let expected = [
        "bytes_per_s",
        "connections",
        "cpu",
        "deliveries_per_s",
        "emitters",
        "events_per_s",
        "outbox_bytes",
        "p50_ms",
        "p99_ms",
        "rejected",
        "resident_bytes",
        "slow_consumers",
    ];
    assert_eq!(fields(busy), expected.into());
    assert_eq!(busy["connections"], 1);
    assert!(busy["p99_ms"].as_f64() > Some(0.0));
    assert!(busy["resident_bytes"].as_u64() > Some(1 << 20));
}

#[test]
fn a_server_told_so_writes_no_figures() {
    let server = json_log("info", &["--log-figures", "0"]);
    server.emitter().emit_refused("{}");
    line(&server, "refused a line");
    assert!(
        lines(&server)
            .iter()
            .all(|line| line["message"] != "figures")
    );
}
