//! The conversation on paper, and whole connections against a server made of a thread.

#![allow(clippy::unwrap_used)]

use std::net::TcpListener;

use serde_json::json;
use tungstenite::handshake::server::{Request, Response as Accepted};

use super::*;

const WELCOME: &str = r#"{"type":"welcome","data":{"connectionId":"c","pingInterval":30000}}"#;

fn wanted(namespaces: &[Namespace], events: &[&str], has_token: bool) -> Wanted {
    let namespaces = (!namespaces.is_empty()).then(|| namespaces.to_vec());
    Wanted::new(
        namespaces,
        events.iter().map(|event| (*event).to_owned()).collect(),
        has_token,
        true,
    )
}

fn subscribed(names: &[&str], more: Value) -> String {
    let mut data = json!({"namespaces": names, "position": "p-0"});
    data.as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    json!({"type": "subscribed", "data": data}).to_string()
}

fn error(code: &str) -> String {
    json!({"type": "error", "data": {"code": code, "message": "no", "request": "subscribe"}})
        .to_string()
}

fn event(id: &str) -> String {
    json!({"id": id, "type": "product:deleted", "namespace": "products", "data": {"productId": "p"},
        "timestamp": 1_700_000_000_123u64})
    .to_string()
}

fn sent(steps: &[Step]) -> Vec<Value> {
    let text = |step: &Step| match step {
        Step::Send(text) => Some(serde_json::from_str(text).unwrap()),
        _ => None,
    };
    steps.iter().filter_map(text).collect()
}

fn printed(steps: &[Step]) -> usize {
    steps
        .iter()
        .filter(|step| matches!(step, Step::Print(_)))
        .count()
}

#[test]
fn namespaces_come_from_the_flag_the_types_or_the_token() {
    let subscription = |wanted: &Wanted| {
        let mut progress = Progress::new(None);
        let steps = Session::new(wanted, &mut progress).on_message(WELCOME);
        sent(&steps)
            .into_iter()
            .map(|message| message["data"].clone())
            .collect::<Vec<Value>>()
    };
    assert_eq!(
        subscription(&wanted(&[Namespace::Orders], &[], true)),
        [json!({"namespaces": ["orders"]})]
    );
    assert_eq!(
        subscription(&wanted(&[], &["inventory:updated", "order:created"], true)),
        [
            json!({"namespaces": ["orders", "inventory"], "events": ["inventory:updated", "order:created"]})
        ]
    );
    assert_eq!(
        subscription(&wanted(&[], &[], false)),
        [json!({"namespaces": ["products"]})]
    );
    assert_eq!(
        subscription(&wanted(&[], &[], true)).len(),
        Namespace::ALL.len()
    );
}

#[test]
fn what_the_token_may_see_is_found_out_once() {
    let wanted = wanted(&[], &[], true);
    let mut progress = Progress::new(Some("e-1".into()));
    let mut session = Session::new(&wanted, &mut progress);
    session.on_message(WELCOME);
    assert!(
        session
            .on_message(&subscribed(&["orders"], json!({})))
            .is_empty()
    );
    for _ in 0..4 {
        assert!(session.on_message(&error("forbidden")).is_empty());
    }
    assert_eq!(
        printed(&session.on_message(&event("e-2"))),
        0,
        "belongs to a probe"
    );
    let steps = session.on_message(&subscribed(&["orders", "products"], json!({})));
    assert_eq!(
        sent(&steps)[0]["data"],
        json!({"namespaces": ["orders", "products"], "since": "e-1"})
    );
    session.on_message(&subscribed(
        &["orders", "products"],
        json!({"recovered": true}),
    ));
    assert_eq!(printed(&session.on_message(&event("e-2"))), 1);

    let steps = Session::new(&wanted, &mut progress).on_message(WELCOME);
    assert_eq!(
        sent(&steps)[0]["data"],
        json!({"namespaces": ["orders", "products"], "since": "e-2"})
    );
}

#[test]
fn a_token_that_may_see_nothing_ends_it() {
    let wanted = wanted(&[], &[], true);
    let mut progress = Progress::new(None);
    let mut session = Session::new(&wanted, &mut progress);
    session.on_message(WELCOME);
    let last = (0..6)
        .map(|_| session.on_message(&error("forbidden")))
        .last()
        .unwrap();
    assert!(matches!(last[..], [Step::Refused(_)]));
}

#[test]
fn repeats_are_dropped_over_connections() {
    let wanted = wanted(&[Namespace::Products], &[], false);
    let mut progress = Progress::new(None);
    for prints in [1, 0] {
        let mut session = Session::new(&wanted, &mut progress);
        session.on_message(WELCOME);
        session.on_message(&subscribed(&["products"], json!({})));
        assert_eq!(session.on_message(&event("e-1")).len(), prints);
    }
    assert!(progress.take_subscribed() && !progress.take_subscribed());
}

#[test]
fn the_place_to_go_on_from_is_the_position_or_the_last_event() {
    let wanted = wanted(&[Namespace::Products], &[], false);
    let mut progress = Progress::new(None);
    let since = |progress: &mut Progress| {
        sent(&Session::new(&wanted, progress).on_message(WELCOME))[0]["data"]["since"].clone()
    };
    let answer = |progress: &mut Progress, more: Value| {
        let mut session = Session::new(&wanted, progress);
        session.on_message(WELCOME);
        session.on_message(&subscribed(&["products"], more))
    };
    assert_eq!(since(&mut progress), Value::Null);
    answer(&mut progress, json!({}));
    assert_eq!(since(&mut progress), "p-0");
    answer(&mut progress, json!({"position": "p-9", "recovered": true}));
    assert_eq!(
        since(&mut progress),
        "p-0",
        "the missed events are still to come"
    );
    let steps = answer(
        &mut progress,
        json!({"position": "p-9", "recovered": false}),
    );
    assert_eq!(steps.len(), 2, "says that some are missing: {steps:?}");
    assert_eq!(since(&mut progress), "p-9");
}

#[test]
fn a_refused_subscription_ends_it_and_a_rate_limit_waits() {
    let wanted = wanted(&[Namespace::Orders], &[], false);
    for code in ["forbidden", "unauthorized", "invalid_message"] {
        let mut progress = Progress::new(None);
        let mut session = Session::new(&wanted, &mut progress);
        session.on_message(WELCOME);
        assert!(
            matches!(session.on_message(&error(code))[..], [Step::Refused(_)]),
            "{code}"
        );
    }
    let mut progress = Progress::new(None);
    let mut session = Session::new(&wanted, &mut progress);
    session.on_message(WELCOME);
    let limited =
        json!({"type": "error", "data": {"code": "rate_limited", "message": "", "retryAfter": 70}});
    let steps = session.on_message(&limited.to_string());
    assert!(matches!(steps[..], [Step::Retry { after: Some(wait), .. }] if wait.as_millis() == 70));
}

#[test]
fn odd_messages_do_no_harm() {
    let wanted = wanted(&[Namespace::Orders], &[], false);
    let mut progress = Progress::new(None);
    let mut session = Session::new(&wanted, &mut progress);
    for text in [
        "",
        "{",
        "[]",
        "1",
        "{}",
        "{\"type\":1}",
        "{\"type\":\"subscribed\"}",
        "{\"id\":\"x\"}",
    ] {
        session.on_message(text);
    }
    let reconnect = session.on_message(r#"{"type":"reconnect","data":{"after":1500}}"#);
    assert_eq!(reconnect, [Step::ComeBack(Duration::from_millis(1500))]);
}

#[test]
fn an_event_is_one_readable_line() {
    let wanted = Wanted::new(Some(vec![Namespace::Products]), Vec::new(), false, false);
    let mut progress = Progress::new(None);
    let mut session = Session::new(&wanted, &mut progress);
    session.on_message(WELCOME);
    session.on_message(&subscribed(&["products"], json!({})));
    let steps = session.on_message(&event("e-1"));
    let line = "2023-11-14T22:13:20.123Z  product:deleted           e-1  {\"productId\":\"p\"}";
    assert_eq!(steps, [Step::Print(line.into())]);
    let hostile = event("e-2").replace("\"p\"", "\"\u{9b}31m\u{202e}\"");
    let as_json = Wanted::new(Some(vec![Namespace::Products]), Vec::new(), false, true);
    for wanted in [&wanted, &as_json] {
        let mut progress = Progress::new(None);
        let mut session = Session::new(wanted, &mut progress);
        session.on_message(WELCOME);
        session.on_message(&subscribed(&["products"], json!({})));
        let Step::Print(line) = &session.on_message(&hostile)[0] else {
            panic!("not printed")
        };
        assert!(line.contains("\\u009b31m\\u202e"), "{line:?}");
    }
}

#[test]
fn types_name_their_namespaces() {
    assert_eq!(
        session::namespace_of("order:created"),
        Some(Namespace::Orders)
    );
    assert_eq!(
        session::namespace_of("inventory:updated"),
        Some(Namespace::Inventory)
    );
    assert_eq!(
        session::namespace_of("system:alert"),
        Some(Namespace::System)
    );
    for bad in ["order", "order:", "ordr:created", ""] {
        assert_eq!(session::namespace_of(bad), None, "{bad}");
    }
}

#[test]
fn addresses_and_tokens_are_checked_before_connecting() {
    let server = Server::new("ws://[::1]:9/api/ws", Some("a.b-c.d_e"), None).unwrap();
    assert_eq!((server.host.as_str(), server.port), ("::1", 9));
    assert_eq!(
        Server::new("ws://shop.example/api/ws", None, None)
            .unwrap()
            .port,
        80
    );
    for url in [
        "",
        "shop.example",
        "http://shop.example/",
        "wss:///api/ws",
        "ws:///api/ws",
    ] {
        assert!(
            Server::new(url, None, None)
                .err()
                .unwrap()
                .contains("--url"),
            "{url}"
        );
    }
    let ca = std::path::Path::new("/no/such/file.pem");
    let refused = |url| Server::new(url, None, Some(ca)).err().unwrap();
    assert!(refused("ws://shop.example/").contains("wss://"));
    assert!(
        refused("wss://shop.example/").contains("--ca /no/such/file.pem: the file cannot be read")
    );
    let sentence = Server::new("ws://x/", Some("canary\r\nX: y"), None)
        .err()
        .unwrap();
    assert!(!sentence.contains("canary"));
}

#[test]
fn waits_grow_and_stay_bounded() {
    for failures in [0, 1, 5, 16, 1000, u32::MAX] {
        let wait = backoff(failures);
        assert!(
            wait >= BACKOFF_FIRST / 5 && wait <= BACKOFF_MAX + BACKOFF_FIRST,
            "{failures}: {wait:?}"
        );
    }
}

/// What `watch` makes of one connection that `serve` speaks on.
fn watched(serve: impl FnOnce(TcpStream) + Send + 'static) -> (Ended, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/api/ws", listener.local_addr().unwrap());
    let thread = thread::spawn(move || serve(listener.accept().unwrap().0));
    let wanted = wanted(&[Namespace::Products], &[], true);
    let mut progress = Progress::new(None);
    let mut out = Vec::new();
    let server = Server::new(&url, Some("to.k.en"), None).unwrap();
    let ended = watch(&server, Session::new(&wanted, &mut progress), &mut out);
    thread.join().unwrap();
    (ended, String::from_utf8(out).unwrap())
}

/// A server that shakes hands, sends `messages` and closes with `code`.
fn speaking(messages: Vec<String>, code: u16) -> impl FnOnce(TcpStream) + Send + 'static {
    #[allow(clippy::result_large_err)]
    move |stream| {
        let check = |request: &Request, mut response: Accepted| {
            let asked = request.headers()["Sec-WebSocket-Protocol"]
                .to_str()
                .unwrap();
            assert_eq!(asked, "shopwire.v1, token.to.k.en");
            response
                .headers_mut()
                .insert("Sec-WebSocket-Protocol", "shopwire.v1".parse().unwrap());
            Ok(response)
        };
        let mut socket = tungstenite::accept_hdr(stream, check).unwrap();
        for message in messages {
            socket.send(Message::text(message)).unwrap();
        }
        socket
            .close(Some(CloseFrame {
                code: code.into(),
                reason: "why".into(),
            }))
            .unwrap();
        while socket.read().is_ok() {}
    }
}

#[test]
fn events_are_printed_until_the_server_closes() {
    let reconnect = r#"{"type":"reconnect","data":{"after":40}}"#;
    let messages = vec![
        WELCOME.into(),
        subscribed(&["products"], json!({})),
        event("e-1"),
        reconnect.into(),
    ];
    let (ended, out) = watched(speaking(messages, 1001));
    assert_eq!(out, format!("{}\n", event("e-1")));
    assert!(
        matches!(ended, Ended::Cut { after: Some(wait), .. } if wait.as_millis() == 40),
        "{ended:?}"
    );
}

#[test]
fn only_what_may_heal_is_tried_again() {
    for (code, heals) in [
        (4401, false),
        (4403, false),
        (4413, true),
        (4429, true),
        (1000, true),
    ] {
        let (ended, _) = watched(speaking(vec![], code));
        assert_eq!(
            matches!(ended, Ended::Cut { .. }),
            heals,
            "{code}: {ended:?}"
        );
    }
    for (status, heals) in [
        (401, false),
        (404, false),
        (403, false),
        (429, true),
        (503, true),
    ] {
        let (ended, _) = watched(move |mut stream| {
            let body = r#"{"error":{"code":"x","message":"because"}}"#;
            let mut request = [0; 2048];
            assert!(io::Read::read(&mut stream, &mut request).unwrap() > 0);
            let head = format!(
                "HTTP/1.1 {status} X\r\nRetry-After: 2\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            stream.write_all((head + body).as_bytes()).unwrap();
        });
        match ended {
            Ended::Cut { after, why } => {
                assert!(heals && why.contains("because"), "{status} {why}");
                assert!(after.unwrap() >= Duration::from_secs(2));
            }
            Ended::Refused(why) => assert!(!heals && why.contains("because"), "{status} {why}"),
            Ended::NobodyReads => panic!("{status}"),
        }
    }
}

#[test]
fn a_closed_stdout_ends_it_quietly() {
    struct Closed;
    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    assert!(matches!(print(&mut Closed, "x"), Err(Ended::NobodyReads)));
}
