//! Copies of what passes.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use rustix::process::geteuid;
use serde_json::{Value, json};

use crate::harness::examples::{about, event};
use crate::harness::redis::Redis;
use crate::harness::server::{plain_command, text};
use crate::harness::{Emitter, Server, Setup, wait_until};

/// How many taps have begun.
fn begun(server: &Server) -> usize {
    server
        .stderr()
        .matches("taps events with their data")
        .count()
}

/// An operator's connection that taps, from now on.
fn tapping(server: &Server, mut command: Value) -> Emitter {
    let before = begun(server);
    command["command"] = "tap".into();
    let mut operator = server.emitter();
    operator.send_line(command.to_string().as_bytes());
    wait_until("it taps", || begun(server) > before);
    operator
}

fn ended(operator: &mut Emitter) -> Value {
    operator.settle();
    operator.result()
}

#[test]
fn what_passes_is_copied_with_its_target_as_far_as_it_is_wanted() {
    let server = Server::with(&["--workers", "2"]);
    let mut emitter = server.emitter();
    let mut all = tapping(&server, json!({"limit": 4}));
    let mut orders = tapping(&server, json!({"namespace": "orders", "limit": 2}));
    let mut of_type = tapping(&server, json!({"type": "product:deleted", "limit": 1}));
    let mut of_ann = tapping(&server, json!({"user": "ann", "limit": 2}));
    let mut first = about("order:deleted", "ann");
    first["data"]["total"] = json!(1.5);
    first["to"] =
        json!({"roles": ["admin", "customer"], "excludeUserIds": ["bob"], "excludeSessionId": "s"});
    let mut named = event("product:created");
    named["to"] = json!({"userIds": ["ann"]});
    let events = [
        first.clone(),
        event("product:deleted"),
        about("order:deleted", "bob"),
        named,
    ];
    let ids: Vec<String> = events.iter().map(|event| emitter.emit(event)).collect();
    for (tap, expected) in [
        (&mut all, &[0, 1, 2, 3][..]),
        (&mut orders, &[0, 2]),
        (&mut of_type, &[1]),
        (&mut of_ann, &[0, 3]),
    ] {
        for &index in expected {
            let copy = tap.copy();
            assert_eq!(copy["event"]["id"], ids[index].as_str());
            assert_eq!(copy["event"]["type"], events[index]["type"]);
            assert_eq!(copy["event"]["data"], events[index]["data"]);
            assert!(copy["event"]["timestamp"].is_u64());
            let mut to = events[index].get("to").cloned().unwrap_or(json!({}));
            if let Some(customer) = events[index]["data"].get("customerId") {
                to["owners"] = json!([customer]);
            }
            assert_eq!(copy["to"], to);
        }
        let result = ended(tap);
        assert_eq!(
            result,
            json!({"copies": expected.len(), "lost": 0, "ended": "limit"})
        );
        // It is a connection like any other again.
        tap.emit(&event("product:deleted"));
    }
    wait_until("the log tells who did what", || {
        server.stderr().matches("a tap ends").count() == 4
    });
    let log = server.stderr();
    for said in [
        format!("uid={}", geteuid().as_raw()),
        format!("pid={}", std::process::id()),
        "namespace=orders".to_owned(),
        "event_type=product:deleted".to_owned(),
        "copies=2".to_owned(),
    ] {
        assert!(log.contains(&said), "{said}: {log}");
    }
    assert!(!log.contains("ann"), "a user is a hash there: {log}");
}

#[test]
fn events_that_a_client_causes_are_copied_too() {
    let server = Server::start();
    let mut tap = tapping(&server, json!({"namespace": "customers", "limit": 2}));
    let mut ann = server.user("ann", "customer");
    assert_eq!(tap.copy()["event"]["type"], "customer:online");
    ann.send(&json!({"type": "customer:activity", "data": {"action": "viewing"}}));
    let copy = tap.copy();
    assert_eq!(copy["event"]["data"]["customerId"], "ann");
    assert_eq!(copy["to"], json!({"owners": ["ann"]}));
}

#[test]
fn what_comes_from_other_hosts_is_copied_too() {
    let redis = Redis::start();
    let (a, b) = (redis.host(), redis.host());
    let mut tap = tapping(&b, json!({"limit": 1}));
    let id = a.emitter().emit(&event("product:deleted"));
    assert_eq!(tap.copy()["event"]["id"], id.as_str());
}

#[test]
fn it_ends_at_its_time_and_with_the_server_and_with_its_reader() {
    let server = Server::start();
    let mut short = tapping(&server, json!({"for": 50}));
    assert_eq!(
        ended(&mut short),
        json!({"copies": 0, "lost": 0, "ended": "time"})
    );
    let crowd: Vec<Emitter> = (0..4).map(|_| tapping(&server, json!({}))).collect();
    let refused = server.emitter().emit_refused(r#"{"command":"tap"}"#);
    assert_eq!(refused.code, "unavailable");
    drop(crowd);
    wait_until("who is gone does not tap", || {
        server.stderr().matches("why=reader").count() == 4
    });
    let mut crossing = tapping(&server, json!({}));
    let server = server.succeed(&[]);
    assert_eq!(ended(&mut crossing)["ended"], "takeover");
    // The same connection, in the new process.
    crossing.send_line(br#"{"command":"tap"}"#);
    wait_until("it taps", || begun(&server) == 1);
    crossing_ends_with_the_drain(crossing, server);
}

fn crossing_ends_with_the_drain(mut tap: Emitter, server: Server) {
    let id = server.emitter().emit(&event("product:deleted"));
    assert_eq!(tap.copy()["event"]["id"], id.as_str());
    server.stop();
    assert_eq!(
        ended(&mut tap),
        json!({"copies": 1, "lost": 0, "ended": "drain"})
    );
}

#[test]
fn a_reader_that_is_too_slow_loses_copies_and_nobody_waits_for_it() {
    let server = Server::start();
    let mut client = server.public();
    client.subscribe(&["products"]);
    let mut tap = tapping(&server, json!({"limit": 1000}));
    let mut emitter = server.emitter();
    let mut large = event("product:deleted");
    large["data"]["pad"] = "x".repeat(100_000).into();
    // Far more than the kernel and the server keep for one who does not read.
    for _ in 0..40 {
        let id = emitter.emit(&large);
        assert_eq!(client.expect_event("product:deleted")["id"], id.as_str());
    }
    server.emitter().command(&json!({"command": "drain"}));
    let result = ended(&mut tap);
    let (copies, lost) = (
        result["copies"].as_u64().unwrap(),
        result["lost"].as_u64().unwrap(),
    );
    assert_eq!(copies + lost, 40, "{result}");
    assert!(copies >= 10 && lost >= 10, "{result}");
}

#[test]
fn the_table_of_emitters_says_who_may_tap() {
    let own = geteuid().as_raw();
    let table = format!("[emitters]\n{own} = {{ namespaces = \"all\", commands = [\"why\"] }}\n");
    let server = Setup::new(&[]).file(&table).start();
    let mut emitter = server.emitter();
    assert_eq!(
        emitter.emit_refused(r#"{"command":"tap"}"#).code,
        "forbidden"
    );
    emitter.command(&json!({"command": "why", "event": "1-1", "user": "u"}));
}

/// `ctl tap`, and the lines that it prints.
fn ctl_tap(server: &Server, args: &[&str]) -> (Child, impl Iterator<Item = String>) {
    let before = begun(server);
    let mut child = plain_command()
        .args(["ctl", "tap", "--socket"])
        .arg(&server.socket)
        .args(args)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_until("it taps", || begun(server) > before);
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    (child, lines.map_while(Result::ok))
}

/// What a customer publishes is read by an operator, in his terminal.
#[test]
fn what_could_steer_a_terminal_is_printed_as_json_has_it() {
    let server = Server::start();
    let (child, mut lines) = ctl_tap(&server, &["--limit", "1"]);
    let hostile = "\u{9b}31m\u{7f}\u{202e}\u{2066}";
    let event = json!({"type": "product:deleted", "data": {"productId": "p", "note": hostile}});
    server.emitter().emit(&event);
    let tapped = lines.next().unwrap();
    assert!(child.wait_with_output().unwrap().status.success());
    let history = server.ctl(&["history", "--data"]);
    let as_json = server.ctl(&["history", "--data", "--json"]);
    for printed in [tapped, text(&history), text(&as_json)] {
        assert!(
            !printed.contains(|char| hostile.contains(char) && char > '~'),
            "{printed:?}"
        );
        let escaped = "\\u009b31m\\u007f\\u202e\\u2066";
        assert!(printed.contains(escaped), "{printed:?}");
    }
}

#[test]
fn ctl_prints_a_line_for_each_and_ends_by_itself() {
    let server = Server::start();
    let (child, mut lines) = ctl_tap(&server, &["--type", "product:deleted", "--limit", "2"]);
    let mut emitter = server.emitter();
    for _ in 0..2 {
        let line = br#"{"type":"product:deleted","data":{"productId":"p","weight":1.50}}"#;
        let id = emitter.try_emit(line).unwrap();
        let line = lines.next().unwrap();
        let copy: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(copy["event"]["id"], id.as_str());
        assert!(
            line.contains("1.50"),
            "numbers as they were written: {line}"
        );
    }
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(
        text(&output).contains("2 events; the limit is reached"),
        "{}",
        text(&output)
    );
    // Who reads no more has seen enough.
    let (mut child, lines) = ctl_tap(&server, &[]);
    drop(lines);
    emitter.emit(&event("product:deleted"));
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let output = server.ctl(&["tap", "--type", "no:such"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("order:created"), "{}", text(&output));
}
