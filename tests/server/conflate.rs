//! `conflate`: what waits for a slow reader gives way to newer events of the same product, and nothing else does.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::harness::{Client, Emitter, Ending, Fence, Opening, Server, wait_until};

const PRODUCTS: usize = 10;

fn price(n: usize) -> Value {
    json!({"type": "product:price_changed", "data": {
        "productId": format!("p{}", n % PRODUCTS), "productName": "Lamp", "sku": "L", "oldPrice": 0, "newPrice": n,
        "changePercentage": 1, "pad": "x".repeat(2000),
    }})
}

fn deleted(n: usize) -> Value {
    json!({"type": "product:deleted", "data": {"productId": n.to_string(), "pad": "x".repeat(200)}})
}

/// A reader that is felt soon when it stops reading.
fn slow(server: &Server) -> Client {
    Client::connect(server, Opening::new().receive_buffer(4096))
}

fn slow_with(server: &Server, conflate: bool) -> Client {
    let mut client = slow(server);
    client.subscribe_with(json!({"namespaces": ["products"], "conflate": conflate}));
    client
}

/// Prices number 0 to `count`, a deleted product after every tenth. `attentive` reads along, and gets them all.
fn emit_all(emitter: &mut Emitter, count: usize, attentive: &mut Client) {
    for n in 0..count {
        emitter.send_line(price(n).to_string().as_bytes());
        if n % 10 == 9 {
            emitter.send_line(deleted(n).to_string().as_bytes());
            emitter.settle();
            for expected in n - 9..=n {
                let event = attentive.expect_event("product:price_changed");
                assert_eq!(event["data"]["newPrice"], expected);
            }
            let event = attentive.expect_event("product:deleted");
            assert_eq!(event["data"]["productId"], n.to_string());
        }
    }
}

/// The part of an id that grows.
fn number(event: &Value) -> Option<u64> {
    let (_, number) = event["id"].as_str()?.rsplit_once('-').unwrap();
    Some(number.parse().unwrap())
}

/// Holds what a conflated reader got of `emit_all` against what it is promised; returns how many it was told were dropped.
fn check(messages: &[Value], count: usize) -> u64 {
    let numbers: Vec<u64> = messages.iter().filter_map(number).collect();
    assert!(
        numbers.windows(2).all(|pair| pair[0] < pair[1]),
        "in order: {numbers:?}"
    );
    let (mut prices, mut dropped, mut others) = (0, 0, Vec::new());
    let mut last: BTreeMap<String, u64> = BTreeMap::new();
    for message in messages {
        let data = &message["data"];
        match message["type"].as_str().unwrap() {
            "product:price_changed" => {
                prices += 1;
                let product = data["productId"].as_str().unwrap().to_owned();
                last.insert(product, data["newPrice"].as_u64().unwrap());
            }
            "product:deleted" => others.push(data["productId"].as_str().unwrap().to_owned()),
            "conflated" => {
                let told = data["dropped"].as_u64().unwrap();
                assert!(told > 0, "{message}");
                dropped += told;
            }
            _ => panic!("unexpected: {message}"),
        }
    }
    assert_eq!(prices + dropped, count as u64, "what is missing was told");
    let expected: Vec<String> = (9..count).step_by(10).map(|n| n.to_string()).collect();
    assert_eq!(others, expected, "nothing else is dropped");
    let newest: BTreeMap<String, u64> = (count - PRODUCTS..count)
        .map(|n| (format!("p{}", n % PRODUCTS), n as u64))
        .collect();
    assert_eq!(last, newest, "each product's last price comes");
    dropped
}

#[test]
fn a_stalled_reader_gets_the_newest_and_all_else_where_another_is_closed() {
    const COUNT: usize = 3000;
    for workers in ["1", "2"] {
        let server = Server::with(&["--workers", workers]);
        let mut conflating = slow_with(&server, true);
        let mut lame = slow_with(&server, false);
        let mut attentive = server.public();
        attentive.subscribe_with(json!({"namespaces": ["products"], "conflate": true}));
        let mut emitter = server.emitter();
        emit_all(&mut emitter, COUNT, &mut attentive);
        wait_until("the one that did not ask is closed", || {
            server.stats()["slowConsumers"] == 1
        });
        let stats = server.stats();
        let held = stats["outboxBytes"].as_u64().unwrap();
        assert!((200_000..1 << 20).contains(&held), "{stats}");

        let (ending, got) = lame.read_to_end();
        assert!(
            matches!(ending, Ending::Closed(4413) | Ending::Cut),
            "{ending:?}"
        );
        assert!(got.iter().all(|message| message["type"] != "conflated"));

        let fence = Fence::raise(&mut emitter);
        let dropped = check(&fence.before(&mut conflating), COUNT);
        assert!(dropped > 1000, "only {dropped} were dropped");
        fence.nothing_before(&mut attentive);
        wait_until("nothing waits any more", || {
            server.stats()["outboxBytes"] == 0
        });
        let stats = server.stats();
        assert_eq!(stats["conflated"], dropped, "{stats}");
        assert_eq!(stats["slowConsumers"], 1, "{stats}");
    }
}

#[test]
fn the_last_word_about_it_counts() {
    const COUNT: usize = 1500;
    let server = Server::start();
    let mut still = slow_with(&server, true);
    still.subscribe(&["products"]);
    let mut no_longer = slow_with(&server, true);
    no_longer.subscribe_with(json!({"namespaces": ["products"], "conflate": false}));
    let mut never = slow_with(&server, false);
    let refused =
        json!({"type": "subscribe", "data": {"namespaces": ["orders"], "conflate": true}});
    never.ask_refused(&refused, "unauthorized");
    let mut attentive = server.public();
    attentive.subscribe(&["products"]);
    let mut emitter = server.emitter();
    emit_all(&mut emitter, COUNT, &mut attentive);
    wait_until("two are closed", || server.stats()["slowConsumers"] == 2);
    for mut closed in [no_longer, never] {
        let (_, got) = closed.read_to_end();
        assert!(got.len() < COUNT, "it cannot have got them all");
    }
    let fence = Fence::raise(&mut emitter);
    check(&fence.before(&mut still), COUNT);
}

#[test]
fn below_a_quarter_of_the_limit_nothing_is_dropped() {
    const COUNT: usize = 1000;
    let server = Server::with(&["--outbox-limit", "16MiB"]);
    let mut conflating = slow_with(&server, true);
    let mut attentive = server.public();
    attentive.subscribe(&["products"]);
    let mut emitter = server.emitter();
    emit_all(&mut emitter, COUNT, &mut attentive);
    let fence = Fence::raise(&mut emitter);
    assert_eq!(check(&fence.before(&mut conflating), COUNT), 0);
}

#[test]
fn what_is_replayed_comes_whole() {
    const COUNT: usize = 500;
    let server = Server::with(&["--outbox-limit", "64KiB"]);
    let mut attentive = server.public();
    let position = attentive.subscribe(&["products"])["position"].clone();
    let mut emitter = server.emitter();
    emit_all(&mut emitter, COUNT, &mut attentive);
    let mut back = slow(&server);
    let answer = back
        .subscribe_with(json!({"namespaces": ["products"], "conflate": true, "since": position}));
    assert_eq!(answer["recovered"], true);
    let fence = Fence::raise(&mut emitter);
    assert_eq!(check(&fence.before(&mut back), COUNT), 0);
    assert_eq!(server.stats()["conflated"], 0);
}

#[test]
fn it_is_true_or_false() {
    let server = Server::start();
    let mut client = server.public();
    for wrong in [json!(1), json!("true"), json!(null), json!([true])] {
        let data = json!({"namespaces": ["products"], "conflate": wrong});
        let question = json!({"type": "subscribe", "data": data});
        let error = client.ask_refused(&question, "invalid_message");
        let sentence = error["message"].as_str().unwrap();
        assert!(sentence.contains("conflate (true or false)"), "{sentence}");
    }
}
