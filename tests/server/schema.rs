//! `shopwire schema`: what it says of lines and messages, held against what the server takes and sends.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;

use jsonschema::Validator;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::examples::{EXAMPLES, Rule, event, line_with};
use crate::harness::server::plain_command;
use crate::harness::tokens::{ending_in, of};
use crate::harness::{Client, DEADLINE, Opening, Server, wait_until};

/// What `shopwire schema` prints.
fn printed(format: &str) -> String {
    let output = plain_command().args(["schema", format]).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{format}: {error}");
    assert!(output.stderr.is_empty(), "{format}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

fn document(format: &str) -> Value {
    serde_json::from_str(&printed(format)).unwrap()
}

/// The schema at a place of the document, ready to judge.
fn validator(document: &Value, path: &str) -> Validator {
    let pointer = path.strip_prefix('#').unwrap();
    assert!(document.pointer(pointer).is_some(), "nothing at {path}");
    let mut whole = document.clone();
    // What else the document says is not about what is judged.
    whole.as_object_mut().unwrap().remove("anyOf");
    whole["$ref"] = path.into();
    jsonschema::draft202012::new(&whole).unwrap()
}

#[test]
fn exactly_one_format_is_asked_for() {
    for args in [
        &[][..],
        &["--typescript", "--asyncapi"],
        &["--json-schema", "--typescript", "--asyncapi"],
        &["--json-schema", "--json-schema"],
        &["--python"],
        &["--typescript", "more"],
    ] {
        let output = plain_command().arg("schema").args(args).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {error}");
        assert!(output.stdout.is_empty(), "{args:?}");
        assert!(
            error.contains("--"),
            "{args:?} should be told what there is: {error}"
        );
    }
}

#[test]
fn the_documents_are_of_the_formats_they_say() {
    let schema = document("--json-schema");
    assert_eq!(
        schema["$schema"],
        "https://json-schema.org/draft/2020-12/schema"
    );
    assert!(jsonschema::meta::is_valid(&schema));
    assert_eq!(document("--asyncapi")["asyncapi"], "3.0.0");
    let module = printed("--typescript");
    for (kind, _) in EXAMPLES {
        assert!(
            module.contains(&format!("  '{kind}': ")),
            "{kind} in EventData"
        );
    }
}

/// Lines with a value of each kind in each field, and whether a schema can tell if they are good.
fn lines_of_the_catalogue() -> Vec<(String, bool)> {
    let mut lines = Vec::new();
    for (kind, fields) in EXAMPLES {
        lines.push((event(kind).to_string(), true));
        for (name, rule, _, _) in fields {
            lines.push((line_with(kind, name, None), true));
            for value in rule.takes() {
                // Another stock makes another difference, which a schema cannot tell.
                let tells = !matches!(*name, "oldStock" | "newStock");
                lines.push((line_with(kind, name, Some(&value)), tells));
            }
            for value in rule.refuses() {
                let tells = match rule {
                    Rule::Status => !value.starts_with('"'),
                    Rule::Difference => value.parse::<f64>().is_err(),
                    // A schema counts characters, the server bytes.
                    Rule::Text => !value.contains('é'),
                    _ => true,
                };
                lines.push((line_with(kind, name, Some(&value)), tells));
            }
        }
    }
    lines
}

/// Lines with something beside `type` and `data`.
fn lines_with_more() -> impl Iterator<Item = (String, bool)> {
    [
        r#""to":{}"#,
        r#""to":{"roles":["admin","staff"],"userIds":["u"],"owners":["o"],"excludeUserIds":[]}"#,
        r#""to":{"excludeUserIds":["x"],"excludeSessionId":"s"}"#,
        r#""to":null"#,
        r#""to":{"role":["admin"]}"#,
        r#""to":{"roles":[]}"#,
        r#""to":{"roles":["public"]}"#,
        r#""to":{"userIds":[]}"#,
        r#""to":{"owners":["a\u0000"]}"#,
        r#""to":{"excludeSessionId":["s"]}"#,
        r#""timestamp":1700000000000"#,
        r#""timestamp":1.7e12"#,
        r#""timestamp":-1"#,
        r#""timestamp":9007199254740992"#,
        r#""timestamp":"1""#,
        r#""namespace":"products""#,
        r#""namespace":"orders""#,
        r#""key":"k""#,
        r#""key":"""#,
        r#""key":7"#,
        r#""id":"1-1""#,
        r#""user":"u""#,
    ]
    .into_iter()
    .map(|more| {
        let line = format!(r#"{{"type":"product:deleted","data":{{"productId":"p"}},{more}}}"#);
        (line, true)
    })
}

#[test]
fn lines_are_judged_as_the_server_judges_them() {
    let lines = validator(&document("--json-schema"), "#/$defs/IngestLine");
    let server = Server::start();
    let mut emitter = server.emitter();
    let mut wrong = Vec::new();
    let mut judged = [0, 0];
    let others = [
        (r#"{"data":{"productId":"p"}}"#.to_owned(), true),
        (
            r#"{"type":"product:eaten","data":{"productId":"p"}}"#.to_owned(),
            true,
        ),
        (r#"{"type":"product:deleted"}"#.to_owned(), true),
        ("[]".to_owned(), true),
    ];
    let all = lines_of_the_catalogue()
        .into_iter()
        .chain(lines_with_more())
        .chain(others);
    for (line, schema_tells) in all {
        let taken = emitter.try_emit(line.as_bytes()).is_ok();
        let valid = lines.is_valid(&serde_json::from_str(&line).unwrap());
        judged[usize::from(taken)] += 1;
        // Where a schema cannot tell, it must not refuse what the server takes.
        if valid != taken && (schema_tells || taken) {
            wrong.push(format!("server {taken}, schema {valid}: {line}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(
        judged.iter().all(|&count| count > 100),
        "refused and taken: {judged:?}"
    );
}

/// The messages of a channel of the AsyncAPI document.
struct Channel {
    document: Value,
    name: &'static str,
}

impl Channel {
    fn new(name: &'static str) -> Self {
        Self {
            document: document("--asyncapi"),
            name,
        }
    }

    fn payload(&self, message: &str) -> String {
        format!("#/channels/{}/messages/{message}/payload", self.name)
    }

    fn validator(&self, message: &str) -> Validator {
        validator(&self.document, &self.payload(message))
    }

    /// What came is what the document says: nothing missing, and nothing it does not know.
    fn expect(&self, message: &str, came: &Value) {
        let judge = self.validator(message);
        let faults: Vec<String> = judge
            .iter_errors(came)
            .map(|fault| fault.to_string())
            .collect();
        assert!(faults.is_empty(), "{message}: {came}: {faults:?}");
        let path = self.payload(message);
        let schema = self.document.pointer(&path[1..]).unwrap();
        self.expect_known(schema, came);
    }

    /// Every field that is there is in the schema.
    fn expect_known(&self, schema: &Value, came: &Value) {
        let Some(properties) = schema.get("properties") else {
            return;
        };
        for (name, value) in came.as_object().unwrap() {
            let known = properties.get(name);
            self.expect_known(
                known.unwrap_or_else(|| panic!("{name} in {came} is not told of")),
                value,
            );
        }
    }

    /// What came on a WebSocket, by its type.
    fn expect_message(&self, came: &Value) {
        let kind = came["type"].as_str().unwrap();
        let key = match kind {
            "token:expiring" => "tokenExpiring",
            _ => kind,
        };
        self.expect(key, came);
    }
}

#[test]
fn what_the_server_says_is_what_asyncapi_says() {
    let websocket = Channel::new("websocket");
    let server = Server::start();

    let mut public = server.public();
    websocket.expect_message(&public.welcome);
    let mut staff = Client::connect(&server, Opening::new().bearer(&of("sam", "staff")));
    websocket.expect_message(staff.authenticated.as_ref().unwrap());
    for data in [
        json!({"namespaces": ["orders", "customers"]}),
        json!({"namespace": "products", "since": "1-1"}),
    ] {
        websocket.expect_message(&staff.ask(&json!({"type": "subscribe", "data": data})));
    }
    for question in [
        json!({"type": "unsubscribe", "data": {"namespace": "orders"}}),
        json!({"type": "ping"}),
        json!({"type": "subscribe", "data": {"namespace": "system"}}),
        json!({"type": "order:created", "data": {}}),
        json!({"type": "nonsense"}),
        json!({}),
    ] {
        websocket.expect_message(&staff.ask(&question));
    }
    let mut ann = server.user("ann", "customer");
    let refused = ann.ask(&json!({"type": "customer:activity", "data": {"action": "sleeping"}}));
    assert_eq!(refused["data"]["field"], "data.action");
    websocket.expect_message(&refused);

    let mut leaving = Client::connect(
        &server,
        Opening::new().bearer(&ending_in("eve", "guest", 2)),
    );
    websocket.expect_message(&leaving.expect("token:expiring"));

    server.signal(Signal::TERM);
    websocket.expect_message(&public.expect("reconnect"));
}

#[test]
fn a_message_over_the_rate_is_answered_as_asyncapi_says() {
    let websocket = Channel::new("websocket");
    let server = Server::with(&["--message-rate", "1"]);
    let mut public = server.public();
    public.ping();
    let refused = public.ask_refused(&json!({"type": "ping"}), "rate_limited");
    assert!(refused["retryAfter"].is_u64());
    websocket.expect_message(&json!({"type": "error", "data": refused}));
}

#[test]
fn every_event_is_sent_as_asyncapi_and_the_json_schema_say() {
    let websocket = Channel::new("websocket");
    let events = validator(&document("--json-schema"), "#/$defs/Event");
    let server = Server::start();
    let mut admin = server.user("root", "admin");
    admin.subscribe(&[
        "orders",
        "customers",
        "products",
        "inventory",
        "payments",
        "system",
    ]);
    let mut emitter = server.emitter();
    for (kind, _) in EXAMPLES {
        emitter.emit(&event(kind));
        let came = admin.expect_event(kind);
        assert!(events.is_valid(&came), "{came}");
        let messages = websocket.document["channels"]["websocket"]["messages"]
            .as_object()
            .unwrap();
        let is_event = |key: &str| !key.starts_with("publish");
        let (key, _) = messages
            .iter()
            .find(|(key, message)| message["name"] == kind && is_event(key))
            .unwrap();
        websocket.expect(key, &came);
    }
}

#[test]
fn what_clients_say_is_judged_as_the_server_judges_it() {
    let websocket = Channel::new("websocket");
    let server = Server::start();
    let mut ann = server.user("ann", "customer");
    let cases: [(&str, &[(&str, bool)]); 6] = [
        (
            "auth",
            &[(r#"{"token":7}"#, false), ("{}", false), ("null", false)],
        ),
        (
            "subscribe",
            &[
                (r#"{"namespaces":["products","orders"]}"#, true),
                (
                    r#"{"namespace":"products","events":["product:deleted"]}"#,
                    true,
                ),
                (
                    r#"{"namespaces":["products"],"namespace":"orders","more":1}"#,
                    true,
                ),
                (r#"{"namespace":"products","since":"1-1"}"#, true),
                (r#"{"namespace":"products","last":1000}"#, true),
                ("{}", false),
                ("[]", false),
                (r#"{"namespaces":[]}"#, false),
                (r#"{"namespaces":[],"namespace":"products"}"#, false),
                (r#"{"namespaces":"products"}"#, false),
                (r#"{"namespaces":null,"namespace":"products"}"#, false),
                (r#"{"namespaces":["Products"]}"#, false),
                (r#"{"namespace":"products","events":null}"#, false),
                (
                    r#"{"namespace":"products","events":["product:eaten"]}"#,
                    false,
                ),
                (r#"{"namespace":"products","since":7}"#, false),
                (r#"{"namespace":"products","last":0}"#, false),
                (r#"{"namespace":"products","last":1001}"#, false),
                (r#"{"namespace":"products","last":1.5}"#, false),
                (r#"{"namespace":"products","last":1,"since":"1-1"}"#, false),
            ],
        ),
        (
            "unsubscribe",
            &[
                (r#"{"namespaces":["products"]}"#, true),
                (r#"{"namespace":"system"}"#, true),
                ("{}", false),
                (r#"{"namespaces":[]}"#, false),
            ],
        ),
        (
            "customer:activity",
            &[
                (r#"{"action":"viewing"}"#, true),
                (
                    r#"{"action":"cart_add","customerId":"ann","timestamp":5,"more":[]}"#,
                    true,
                ),
                ("{}", false),
                (r#"{"action":"viewing","timestamp":-1}"#, false),
                (r#"{"action":"viewing","customerId":7}"#, false),
            ],
        ),
        (
            "customer:viewing_product",
            &[
                (r#"{"productId":"p","productName":"n"}"#, true),
                (r#"{"productId":"p"}"#, false),
            ],
        ),
        (
            "customer:added_to_cart",
            &[
                (r#"{"productId":"p","productName":"n","quantity":1}"#, true),
                (r#"{"productId":"p","productName":"n","quantity":0}"#, false),
            ],
        ),
    ];
    for (kind, datas) in cases {
        let key = match kind {
            "customer:activity" => "publishCustomerActivity",
            "customer:viewing_product" => "publishCustomerViewingProduct",
            "customer:added_to_cart" => "publishCustomerAddedToCart",
            _ => kind,
        };
        let schema = websocket.validator(key);
        for (data, good) in datas {
            let text = format!(r#"{{"type":"{kind}","data":{data}}}"#);
            ann.send_text(&text);
            // A published event has no answer of its own; the one to this comes behind what there is.
            ann.send_text(r#"{"type":"ping"}"#);
            let mut answer = ann.answer();
            let mut refused = false;
            while answer["type"] != "pong" {
                refused |= answer["type"] == "error";
                answer = ann.answer();
            }
            assert_eq!(refused, !good, "the server: {text}");
            let valid = schema.is_valid(&serde_json::from_str(&text).unwrap());
            assert_eq!(valid, *good, "the schema: {text}");
        }
    }
    for more in ["to", "key", "id", "user"] {
        let mut message = json!({"type": "customer:activity", "data": {"action": "viewing"}});
        message[more] = "x".into();
        assert_eq!(ann.ask(&message)["data"]["field"], more);
        assert!(
            !websocket
                .validator("publishCustomerActivity")
                .is_valid(&message),
            "{message}"
        );
    }
}

#[test]
fn what_the_ingest_socket_answers_is_what_asyncapi_says() {
    let ingest = Channel::new("ingest");
    let server = Server::start();
    let mut socket = UnixStream::connect(&server.socket).unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    let good = event("product:deleted");
    ingest.expect("productDeleted", &good);
    let commands = [
        ("stats", json!({"command": "stats"})),
        (
            "disconnect",
            json!({"command": "disconnect", "user": "nobody"}),
        ),
        (
            "revoke",
            json!({"command": "revoke", "session": "none", "for": 60_000}),
        ),
        (
            "logLevel",
            json!({"command": "log-level", "level": "default"}),
        ),
        (
            "connections",
            json!({"command": "connections", "role": "admin", "limit": 5}),
        ),
        (
            "history",
            json!({"command": "history", "type": "product:deleted", "data": true}),
        ),
        (
            "access",
            json!({"command": "access", "try": {"orders": {"admin": "all", "customer": "own"}}}),
        ),
        (
            "why",
            json!({"command": "why", "event": "1-1", "user": "ann"}),
        ),
        (
            "why",
            json!({"command": "why", "event": "1-1", "connection": "c1f"}),
        ),
        // Last: while it lasts it is sent what others emit, and the lines behind it wait.
        (
            "tap",
            json!({"command": "tap", "type": "order:deleted", "limit": 1}),
        ),
    ];
    let mut text = format!("\n{good}\n{{\"type\":\"product:deleted\",\"data\":{{}}}}\nnonsense\n");
    for (key, command) in &commands {
        ingest.expect(key, command);
        text.push_str(&format!("{command}\n"));
    }
    let wrong = json!({"command": "disconnect", "user": "a", "session": "b"});
    assert!(!ingest.validator("disconnect").is_valid(&wrong));
    text.push_str(&format!("{wrong}\n"));
    let lines = text.lines().count() as u64;
    socket.write_all(text.as_bytes()).unwrap();
    wait_until("it taps", || server.stderr().contains("taps events"));
    server.emitter().emit(&event("order:deleted"));

    let mut came = [0_usize; 4];
    for line in BufReader::new(socket).lines() {
        let answer: Value = serde_json::from_str(&line.unwrap()).unwrap();
        let kinds = [
            ("ack", "ack"),
            ("error", "refusal"),
            ("result", "result"),
            ("event", "copy"),
        ];
        let at = kinds
            .iter()
            .position(|(field, _)| answer.get(field).is_some())
            .unwrap();
        came[at] += 1;
        ingest.expect(kinds[at].1, &answer);
        if answer["ack"] == lines {
            break;
        }
    }
    assert_eq!(came[1..], [3, commands.len(), 1]);
}
