//! A past that does not fit into the socket: paced by the client, a burden on nobody, and in step with all that happens
//! to the connection meanwhile.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::cli::Tail;
use crate::harness::examples::about;
use crate::harness::{Client, Ending, Fence, Opening, Relay, Server, tokens, wait_until};

const PAD: usize = 4000;

fn padded(n: usize) -> Value {
    json!({"type": "product:deleted", "data": {"productId": n.to_string(), "pad": "x".repeat(PAD)}})
}

fn number_of(event: &Value) -> usize {
    let number = event["data"]["productId"].as_str().unwrap_or_default();
    number
        .parse()
        .unwrap_or_else(|_| panic!("not one of the numbered events: {event}"))
}

/// A server with so many padded events behind a position, and the position.
fn with_past(args: &[&str], events: usize) -> (Server, String) {
    let server = Server::with(args);
    let mut client = server.public();
    let position = client.subscribe(&["products"])["position"].clone();
    drop(client);
    wait_until("nobody is there", || {
        server.stats()["totalConnections"] == 0
    });
    let mut emitter = server.emitter();
    for n in 0..events {
        emitter.send_line(padded(n).to_string().as_bytes());
    }
    emitter.settle();
    (server, position.as_str().unwrap().to_owned())
}

/// One that reads nothing unless it is asked to, and has little room for what comes.
fn slow(server: &Server, token: Option<&str>) -> Client {
    let opening = Opening::new().receive_buffer(4096);
    let opening = match token {
        Some(token) => opening.bearer(token),
        None => opening,
    };
    Client::connect(server, opening)
}

/// Subscribes to products since `position`; the answer comes before any event.
fn resume(client: &mut Client, position: &str) -> Value {
    let data = json!({"namespaces": ["products"], "since": position});
    client.send(&json!({"type": "subscribe", "data": data}));
    let answer = client.expect("subscribed");
    assert_eq!(answer["data"]["recovered"], true, "{answer}");
    answer
}

fn expect_numbers(client: &mut Client, numbers: std::ops::Range<usize>) {
    for n in numbers {
        assert_eq!(number_of(&client.expect_event("product:deleted")), n);
    }
}

#[test]
fn a_large_replay_to_a_slow_reader_holds_nobody_up_and_is_not_slowness() {
    const PAST: usize = 5000;
    for workers in ["1", "2"] {
        let args = ["--outbox-limit", "65536", "--workers", workers];
        let (server, position) = with_past(&args, PAST);
        let before = server.resident_kib();
        let mut slow_ones: Vec<Client> = (0..4).map(|_| slow(&server, None)).collect();
        for client in &mut slow_ones {
            resume(client, &position);
        }
        let mut others: Vec<Client> = (0..4).map(|_| server.user("root", "admin")).collect();
        for client in &mut others {
            client.subscribe(&["products"]);
        }
        let mut emitter = server.emitter();
        for n in PAST..PAST + 50 {
            emitter.emit(&padded(n));
            for client in &mut others {
                // A reactor may have been behind when it was subscribed.
                while number_of(&client.expect_event("product:deleted")) != n {}
            }
        }
        let grown = server.resident_kib().saturating_sub(before);
        assert!(
            grown < 16 << 10,
            "{grown} KiB for replays that are pointers"
        );
        for client in &mut slow_ones {
            expect_numbers(client, 0..PAST + 50);
            client.ping();
        }
        // Caught up, they are live again.
        emitter.emit(&padded(PAST + 50));
        for client in slow_ones.iter_mut().chain(&mut others) {
            expect_numbers(client, PAST + 50..PAST + 51);
        }
        assert_eq!(server.stats()["slowConsumers"], 0);
    }
}

#[test]
fn who_takes_what_it_is_sent_is_alive_though_it_comes_to_the_pings_late() {
    let args = ["--ping-interval", "500ms", "--pong-timeout", "1s"];
    let (server, position) = with_past(&args, 400);
    let mut client = slow(&server, None);
    resume(&mut client, &position);
    // What waits in the buffers before a ping takes this reader well over a second.
    for n in 0..200 {
        expect_numbers(&mut client, n..n + 1);
        std::thread::sleep(Duration::from_millis(25));
    }
    expect_numbers(&mut client, 200..400);
    client.ping();
}

#[test]
fn who_is_too_slow_for_history_is_closed_and_told_so() {
    let args = ["--history", "2MiB", "--workers", "1"];
    let (server, position) = with_past(&args, 400);
    let mut client = slow(&server, None);
    resume(&mut client, &position);
    let mut emitter = server.emitter();
    for n in 400..2000 {
        emitter.send_line(padded(n).to_string().as_bytes());
    }
    emitter.settle();
    let (ending, got) = client.read_to_end();
    assert_eq!(ending, Ending::Closed(4413));
    let numbers: Vec<usize> = got.iter().map(number_of).collect();
    assert!(
        (1..2000).contains(&numbers.len()),
        "{} events",
        numbers.len()
    );
    assert_eq!(
        numbers,
        (0..numbers.len()).collect::<Vec<_>>(),
        "no hole, and no repeat"
    );
    assert_eq!(server.stats()["slowConsumers"], 1);
    // What it has seen is gone, and the server says so.
    let mut back = server.public();
    let since = got.last().unwrap()["id"].clone();
    let answer = back.subscribe_with(json!({"namespaces": ["products"], "since": since}));
    assert_eq!(answer["recovered"], false, "{answer}");
}

#[test]
fn other_requests_are_answered_in_order_meanwhile() {
    const PAST: usize = 2000;
    let (server, position) = with_past(&[], PAST);
    let mut client = slow(&server, Some(&tokens::of("root", "admin")));
    resume(&mut client, &position);
    let mut emitter = server.emitter();
    emitter.emit(&about("order:created", "of-the-past"));
    client.send(&json!({"type": "ping"}));
    client.send(&json!({"type": "subscribe", "data": {"namespace": "orders"}}));
    client.send(&json!({"type": "subscribe", "data": {"namespace": "products"}}));
    client.send(&json!({"type": "ping"}));
    // The answers stand among the events of the past, which go on undisturbed.
    let (mut answers, mut numbers) = (Vec::new(), Vec::new());
    while answers.len() < 4 {
        let message = client.next();
        match message["id"].is_string() {
            true => numbers.push(message),
            false => answers.push((numbers.len(), message)),
        }
    }
    let kinds: Vec<&Value> = answers.iter().map(|(_, answer)| &answer["type"]).collect();
    assert_eq!(kinds, ["pong", "subscribed", "subscribed", "pong"]);
    let (at, again) = &answers[2];
    assert!(*at < PAST, "the replay is not over");
    // The one that was asked for again stands where it is: at the last event before the answer, or at its beginning.
    let stands_at = match at {
        0 => json!(position),
        _ => numbers[at - 1]["id"].clone(),
    };
    assert_eq!(again["data"]["position"], stands_at);
    expect_numbers(&mut client, numbers.len()..PAST);
    for (n, event) in numbers.iter().enumerate() {
        assert_eq!(number_of(event), n);
    }
    let order = emitter.emit(&about("order:created", "of-now"));
    let next = client.next();
    let customer = &next["data"]["customerId"];
    // A reactor that was behind took the first order after the subscription.
    if customer == "of-the-past" {
        assert_eq!(client.next()["id"], order.as_str());
    } else {
        assert_eq!(next["id"], order.as_str(), "{next}");
    }
    Fence::raise(&mut emitter).nothing_before(&mut client);
}

#[test]
fn unsubscribing_ends_the_replay_at_once() {
    const PAST: usize = 3000;
    let (server, position) = with_past(&[], PAST);
    let mut client = slow(&server, Some(&tokens::of("root", "admin")));
    resume(&mut client, &position);
    client.send(&json!({"type": "subscribe", "data": {"namespace": "orders"}}));
    client.send(&json!({"type": "unsubscribe", "data": {"namespace": "products"}}));
    wait_until("both are done", || {
        let counts = &server.stats()["connectionsByNamespace"];
        counts["orders"] == 1 && counts["products"] == 0
    });
    let order = server.emitter().emit(&about("order:created", "ann"));
    let mut events = 0;
    while client.next()["type"] != "unsubscribed" {
        events += 1;
    }
    assert!(events < PAST, "the rest was called off");
    assert_eq!(client.next()["id"], order.as_str(), "and live ones come");
}

#[test]
fn a_refresh_takes_effect_in_the_middle() {
    const PAST: usize = 3000;
    let server = Server::start();
    let mut watcher = server.public();
    let position = watcher.subscribe(&["products"])["position"].clone();
    let mut emitter = server.emitter();
    for n in 0..PAST {
        let mut event = about("order:created", if n % 10 == 0 { "ann" } else { "bob" });
        event["data"]["n"] = n.into();
        event["data"]["pad"] = "x".repeat(PAD).into();
        emitter.send_line(event.to_string().as_bytes());
    }
    emitter.settle();
    Fence::raise(&mut emitter).nothing_before(&mut watcher);
    let mut client = slow(&server, Some(&tokens::of("ann", "manager")));
    let wanted = json!({"namespaces": ["orders", "inventory"], "since": position});
    client.send(&json!({"type": "subscribe", "data": wanted}));
    client.expect("subscribed");
    let token = tokens::of("ann", "customer");
    client.send(&json!({"type": "auth", "data": {"token": token}}));
    let mut next = 0;
    loop {
        let message = client.next();
        if message["type"] == "authenticated" {
            break;
        }
        assert_eq!(message["data"]["n"], next, "all of it so far");
        next += 1;
    }
    assert!(next < PAST as u64 / 2, "in the middle: {next}");
    assert_eq!(
        client.expect("unsubscribed")["data"]["namespaces"],
        json!(["orders"])
    );
    for n in (next..PAST as u64).filter(|n| n % 10 == 0) {
        assert_eq!(client.next()["data"]["n"], n, "its own from here on");
    }
    let live = emitter.emit(&about("order:created", "ann"));
    assert_eq!(client.next()["id"], live.as_str());
}

#[test]
fn a_token_that_ends_meanwhile_ends_the_connection() {
    let (server, position) = with_past(&[], 3000);
    let token = tokens::ending_in("ann", "customer", 2);
    let mut client = slow(&server, Some(&token));
    resume(&mut client, &position);
    // Until the end of its token it counts as a customer, though it reads nothing.
    wait_until("its connection is gone", || {
        server.stats()["connectionsByRole"]["customer"] == 0
    });
    let (ending, got) = client.read_to_end();
    assert!(
        matches!(ending, Ending::Closed(4401) | Ending::Cut),
        "{ending:?}"
    );
    let events = got.iter().filter(|message| message["id"].is_string());
    for (n, event) in events.enumerate() {
        assert_eq!(number_of(event), n);
    }
}

#[test]
fn a_drain_waits_for_a_replay() {
    const PAST: usize = 2000;
    for workers in ["1", "2"] {
        let (mut server, position) = with_past(&["--workers", workers], PAST);
        let mut client = slow(&server, None);
        resume(&mut client, &position);
        server.signal(Signal::TERM);
        wait_until("it is draining", || server.get("/readyz").status == 503);
        let messages = client.expect_close(1001);
        let (goodbye, events) = messages.split_last().unwrap();
        assert_eq!(goodbye["type"], "reconnect", "{goodbye}");
        let numbers: Vec<usize> = events.iter().map(number_of).collect();
        assert_eq!(numbers, (0..PAST).collect::<Vec<_>>());
        let (status, _) = server.exit_within(Duration::from_secs(9));
        assert_eq!(status.code(), Some(0));
    }
}

#[test]
fn tail_goes_on_where_its_line_was_cut() {
    let server = Server::start();
    let relay = Relay::to(server.address);
    let url = format!("ws://{}/api/ws", relay.address);
    let tail = Tail::start(&["--url", &url, "--namespaces", "products", "--json"]);
    wait_until("tail is subscribed", || {
        server.stats()["connectionsByNamespace"]["products"] == 1
    });
    let mut emitter = server.emitter();
    let mut sent = Vec::new();
    for round in 0..3 {
        let id = emitter.emit(&padded(round));
        let line: Value = serde_json::from_str(&tail.next()).unwrap();
        assert_eq!(line["id"], id.as_str());
        sent.push(id);
        relay.cut();
        wait_until("the connection is gone", || {
            server.stats()["totalConnections"] == 0
        });
        for n in 0..5 {
            let id = emitter.emit(&padded(n));
            sent.push(id);
        }
        relay.mend();
        for id in &sent[sent.len() - 5..] {
            let line: Value = serde_json::from_str(&tail.next()).unwrap();
            assert_eq!(line["id"], id.as_str(), "missed in round {round}");
        }
    }
    assert_eq!(server.stats()["recovered"], 3);
}
