//! Why a user was sent an event, or was not.

use serde_json::{Value, json};

use crate::harness::examples::{about, event};
use crate::harness::redis::Redis;
use crate::harness::server::text;
use crate::harness::{Client, Opening, Server, tokens, wait_until};

/// What is said of the only connection.
fn asked(server: &Server, id: &str, user: &str) -> (String, Option<String>) {
    let answer = answer(server, id, user);
    let rows = answer["connections"].as_array().unwrap();
    assert_eq!(rows.len(), 1, "{answer}");
    said(&rows[0])
}

fn answer(server: &Server, id: &str, user: &str) -> Value {
    let question = json!({"command": "why", "event": id, "user": user});
    server.emitter().command(&question)
}

fn said(row: &Value) -> (String, Option<String>) {
    let word = |name: &str| row[name].as_str().map(str::to_owned);
    (word("outcome").unwrap(), word("rule"))
}

/// Why it is not known of the first connection.
fn because(server: &Server, id: &str, user: &str) -> String {
    let answer = answer(server, id, user);
    let word = answer["connections"][0]["because"].as_str();
    word.unwrap_or_else(|| panic!("{answer}")).to_owned()
}

fn not_sent(rule: &str) -> (String, Option<String>) {
    ("not_sent".to_owned(), Some(rule.to_owned()))
}

fn sent() -> (String, Option<String>) {
    ("sent".to_owned(), None)
}

#[test]
fn each_rule_is_named_that_keeps_an_event_from_a_user() {
    let server = Server::with(&["--workers", "2"]);
    let mut ann = Client::connect(
        &server,
        Opening::new().bearer(&tokens::with_session("ann", "customer", "s-ann")),
    );
    ann.subscribe_with(json!({"namespaces": ["orders", "products"], "events": ["order:deleted"]}));
    let mut emitter = server.emitter();
    let mut to = |mut line: Value, to: Value| {
        line["to"] = to;
        emitter.emit(&line)
    };
    let own = |kind: &str| about(kind, "ann");
    let cases = [
        (to(own("order:deleted"), json!({})), sent()),
        (to(own("order:created"), json!({})), not_sent("events")),
        (
            to(about("order:deleted", "bob"), json!({})),
            not_sent("own"),
        ),
        (
            to(about("order:deleted", "bob"), json!({"owners": ["ann"]})),
            sent(),
        ),
        (
            to(own("payment:refunded"), json!({})),
            not_sent("not_subscribed"),
        ),
        (to(event("inventory:updated"), json!({})), not_sent("role")),
        (
            to(own("order:deleted"), json!({"roles": ["staff"]})),
            not_sent("roles"),
        ),
        (
            to(own("order:deleted"), json!({"userIds": ["bob"]})),
            not_sent("user_ids"),
        ),
        (
            to(event("product:deleted"), json!({"userIds": ["ann"]})),
            sent(),
        ),
        (
            to(event("product:deleted"), json!({"excludeUserIds": ["ann"]})),
            not_sent("exclude_user_ids"),
        ),
        (
            to(
                event("product:deleted"),
                json!({"excludeSessionId": "s-ann"}),
            ),
            not_sent("exclude_session_id"),
        ),
    ];
    let received: Vec<Value> = cases
        .iter()
        .filter(|(_, expected)| *expected == sent())
        .map(|_| ann.next()["id"].clone())
        .collect();
    let mut expected = Vec::new();
    for (id, outcome) in &cases {
        assert_eq!(asked(&server, id, "ann"), *outcome, "{id}");
        if *outcome == sent() {
            expected.push(json!(id));
        }
    }
    assert_eq!(received, expected, "it is as is said");
    let answer = answer(&server, &cases[10].0, "ann");
    assert_eq!(answer["event"]["type"], "product:deleted");
    assert_eq!(answer["event"]["to"], json!({"excludeSessionId": "s-ann"}));
    assert!(answer["event"]["timestamp"].is_u64());
    let row = &answer["connections"][0];
    assert_eq!(row["connectionId"], ann.connection_id());
    assert_eq!(
        (&row["role"], &row["sessionId"]),
        (&json!("customer"), &json!("s-ann"))
    );
}

#[test]
fn what_was_before_is_told_apart_from_what_was_refused() {
    let server = Server::with(&["--workers", "2"]);
    let mut emitter = server.emitter();
    let old = emitter.emit(&event("product:deleted"));
    let mut ann = server.user("ann", "customer");
    let before = emitter.emit(&event("product:deleted"));
    ann.subscribe(&["products"]);
    let then = emitter.emit(&event("product:deleted"));
    assert_eq!(asked(&server, &old, "ann"), not_sent("connected_later"));
    assert_eq!(asked(&server, &before, "ann"), ("unknown".to_owned(), None));
    assert_eq!(because(&server, &before, "ann"), "changed");
    assert_eq!(asked(&server, &then, "ann"), sent());
    // The same again changes nothing, and neither does a refresh.
    ann.subscribe(&["products"]);
    ann.auth(&tokens::of("ann", "customer"));
    assert_eq!(asked(&server, &then, "ann"), sent());
    // Who comes back with since was sent what lies behind it, by another connection too.
    let mut back = server.user("ann", "customer");
    back.subscribe_with(json!({"namespaces": ["products"], "since": old}));
    assert_eq!(back.next()["id"], before.as_str());
    assert_eq!(back.next()["id"], then.as_str());
    wait_until("its past is replayed", || {
        let answer = answer(&server, &before, "ann");
        let rows = answer["connections"].as_array().unwrap();
        assert_eq!(rows[0]["connectionId"], ann.connection_id(), "as they came");
        said(&rows[0]).0 == "unknown" && said(&rows[1]) == sent()
    });
    // Another role, or a subscription less: what was sent before is not to be told from it.
    back.send(&json!({"type": "unsubscribe", "data": {"namespaces": ["products"]}}));
    back.expect("unsubscribed");
    let rows = answer(&server, &then, "ann")["connections"].clone();
    assert_eq!(
        said(&rows[1]),
        ("unknown".to_owned(), Some("not_subscribed".to_owned()))
    );
    let mut last = server.user("bob", "customer");
    last.subscribe_with(json!({"namespaces": ["products"], "last": 2}));
    wait_until("the newest are replayed", || {
        asked(&server, &then, "bob") == ("unknown".to_owned(), None)
    });
    assert_eq!(because(&server, &then, "bob"), "last");
    let after = emitter.emit(&event("product:deleted"));
    wait_until("and then what comes", || {
        asked(&server, &after, "bob") == sent()
    });
    let server = server.succeed(&[]);
    assert_eq!(asked(&server, &after, "bob"), ("unknown".to_owned(), None));
    assert_eq!(because(&server, &after, "bob"), "came_over");
    let output = server.ctl(&["why", "--event", &after, "--user", "bob"]);
    let said = text(&output);
    assert!(said.contains("came over from the process before"), "{said}");
    // Of what has come since, more is known.
    let now = server.emitter().emit(&event("product:deleted"));
    assert_eq!(asked(&server, &now, "bob"), sent());
}

#[test]
fn a_guest_is_asked_for_by_its_connection() {
    let server = Server::with(&["--workers", "2"]);
    let mut guests = [server.public(), server.public()];
    guests[0].subscribe(&["products"]);
    let id = server.emitter().emit(&event("product:deleted"));
    for (guest, expected) in guests.iter().zip([sent(), not_sent("not_subscribed")]) {
        let question = json!({"command": "why", "event": id, "connection": guest.connection_id()});
        let answer = server.emitter().command(&question);
        let rows = answer["connections"].as_array().unwrap();
        assert_eq!(rows.len(), 1, "{answer}");
        assert_eq!(rows[0]["connectionId"], guest.connection_id());
        assert_eq!(rows[0]["role"], "public");
        assert_eq!(said(&rows[0]), expected);
    }
    let of_connection =
        |connection: &str| server.ctl(&["why", "--event", &id, "--connection", connection]);
    let output = of_connection(&guests[0].connection_id());
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert!(text(&output).contains("its socket took it"));
    for (connection, says) in [
        ("c7fffffff", "no connection \"c7fffffff\" is open"),
        ("ann", "a connectionId, like c1f"),
    ] {
        let output = of_connection(connection);
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output).contains(says), "{}", text(&output));
    }
}

#[test]
fn what_waits_for_a_slow_reader_is_not_said_to_be_sent() {
    let server = Server::with(&["--outbox-limit", "64MiB"]);
    let opening = Opening::new().bearer(&tokens::of("ann", "customer"));
    let mut slow = Client::connect(&server, opening.receive_buffer(4096));
    slow.subscribe(&["products"]);
    let mut emitter = server.emitter();
    let mut large = event("product:deleted");
    large["data"]["pad"] = "x".repeat(200_000).into();
    let mut id = String::new();
    for _ in 0..10 {
        id = emitter.emit(&large);
    }
    assert_eq!(asked(&server, &id, "ann"), ("waiting".to_owned(), None));
    for _ in 0..10 {
        slow.next();
    }
    wait_until("nothing waits", || asked(&server, &id, "ann") == sent());
}

#[test]
fn each_host_knows_its_own_connections() {
    let redis = Redis::start();
    let (a, b) = (redis.host(), redis.host());
    let mut ann = b.user("ann", "customer");
    ann.subscribe(&["products"]);
    let id = a.emitter().emit(&event("product:deleted"));
    assert_eq!(ann.expect_event("product:deleted")["id"], id.as_str());
    assert_eq!(asked(&b, &id, "ann"), sent());
    let elsewhere = answer(&a, &id, "ann");
    assert_eq!(elsewhere["event"]["id"], id.as_str());
    assert_eq!(elsewhere["connections"], json!([]));
}

#[test]
fn ctl_says_it_in_words_and_fails_where_nothing_can_be_said() {
    let server = Server::with(&["--history", "1"]);
    let mut ann = server.user("ann", "customer");
    ann.subscribe(&["orders"]);
    let mut emitter = server.emitter();
    let first = emitter.emit(&about("order:deleted", "bob"));
    let why = |id: &str, user: &str, more: &[&str]| {
        server.ctl(&[&["why", "--event", id, "--user", user][..], more].concat())
    };
    let output = why(&first, "ann", &[]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let said = text(&output);
    assert!(
        said.contains("not sent") && said.contains("no owner"),
        "{said}"
    );
    assert!(said.contains(&ann.connection_id()), "{said}");
    let output = why(&first, "ann", &["--json"]);
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["connections"][0]["rule"], "own");

    for (id, user, says) in [
        (first.as_str(), "nobody", "no connection on this host"),
        ("1-1", "ann", "no event of this server"),
        ("nonsense", "ann", "no event of this server"),
    ] {
        let output = why(id, user, &[]);
        assert_eq!(output.status.code(), Some(1), "{}", text(&output));
        assert!(text(&output).contains(says), "{}", text(&output));
    }
    // Of what is kept one block is left.
    emitter.emit(&event("order:deleted"));
    emitter.emit(&event("order:deleted"));
    let output = why(&first, "ann", &["--json"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output).contains("not kept any more"),
        "{}",
        text(&output)
    );
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&answer["event"], &answer["missing"]),
        (&Value::Null, &json!("let_go"))
    );
}
