//! Targets against the reference model: random users, roles, sessions and subscriptions, random events with every
//! combination of targets. What each connection receives must be exactly what the model says, in order, nothing twice.
//!
//! Each run draws a seed and prints it when it fails; `SHOPWIRE_TEST_SEED=<n>` repeats that run.

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;
use serde_json::{Value, json};

use crate::harness::examples::{EXAMPLES, event};
use crate::harness::model::{ROLES, Viewer, namespace_of, open_to};
use crate::harness::{Client, Emitter, Fence, Opening, Server, tokens};

const USERS: [&str; 6] = ["ann", "bob", "cy", "Ann", "ann ", "zoë"];
const SESSIONS: [&str; 4] = ["s1", "s2", "s3", "S1"];
const CONNECTIONS: usize = 36;
const ROUNDS: usize = 6;
const EVENTS_A_ROUND: usize = 80;

#[test]
fn received_is_what_the_model_expects_with_one_worker() {
    run("1");
}

#[test]
fn received_is_what_the_model_expects_with_two_workers() {
    run("2");
}

#[test]
fn received_is_what_the_model_expects_with_more_workers_than_cores() {
    run("5");
}

/// A connection and what the model knows of it.
struct Pair {
    client: Client,
    viewer: Viewer,
}

fn run(workers: &str) {
    let seed = std::env::var("SHOPWIRE_TEST_SEED")
        .ok()
        .map_or_else(|| fastrand::u64(..), |seed| seed.parse().unwrap());
    let mut rng = Rng::with_seed(seed);
    let server = Server::with(&["--workers", workers, "--message-rate", "0"]);
    let mut pairs: Vec<Pair> = (0..CONNECTIONS)
        .map(|_| connect(&server, &mut rng))
        .collect();
    let mut emitter = server.emitter();
    let mut number = 0;
    for round in 0..ROUNDS {
        if round > 0 {
            come_and_go(&server, &mut pairs, &mut rng);
        }
        for pair in &mut pairs {
            if round > 0 && rng.u8(..100) < 15 {
                refresh(pair, &mut rng);
            }
            if round == 0 || rng.u8(..100) < 30 {
                resubscribe(pair, &mut rng);
            }
        }
        let events: Vec<Value> = (0..EVENTS_A_ROUND)
            .map(|_| {
                number += 1;
                random_event(&mut rng, number)
            })
            .collect();
        emit_all(&mut emitter, &events, &mut rng);
        let fence = Fence::raise(&mut emitter);
        for (at, pair) in pairs.iter_mut().enumerate() {
            let got: Vec<i64> = fence
                .before(&mut pair.client)
                .iter()
                .map(number_of)
                .collect();
            let expected: Vec<i64> = events
                .iter()
                .filter(|event| pair.viewer.receives(event))
                .map(number_of)
                .collect();
            if got != expected {
                let first = expected
                    .iter()
                    .chain(&got)
                    .find(|n| expected.contains(n) != got.contains(n));
                let about = first.and_then(|n| events.iter().find(|event| number_of(event) == *n));
                panic!(
                    "SHOPWIRE_TEST_SEED={seed} workers {workers} round {round} connection {at} {:?}\nexpected {expected:?}\nreceived {got:?}\nfirst that differs: {}",
                    pair.viewer,
                    about.map_or_else(|| "the order".to_owned(), Value::to_string),
                );
            }
        }
    }
}

fn connect(server: &Server, rng: &mut Rng) -> Pair {
    let role = ROLES[rng.usize(..ROLES.len())];
    let (user, session, opening) = if role == "public" {
        (None, None, Opening::new())
    } else {
        let user = USERS[rng.usize(..USERS.len())].to_owned();
        let session = rng
            .bool()
            .then(|| SESSIONS[rng.usize(..SESSIONS.len())].to_owned());
        let token = match &session {
            Some(session) => tokens::with_session(&user, role, session),
            None => tokens::of(&user, role),
        };
        (Some(user), session, Opening::new().bearer(&token))
    };
    let mut client = Client::connect(server, opening);
    // The fence must be seen by all: everyone keeps this type subscribed.
    client.subscribe_with(json!({"namespaces": ["products"], "events": ["product:deleted"]}));
    let fence_only = Some(BTreeSet::from(["product:deleted".to_owned()]));
    let subscriptions = BTreeMap::from([("products".to_owned(), fence_only)]);
    Pair {
        client,
        viewer: Viewer {
            user,
            role,
            session,
            subscriptions,
        },
    }
}

/// A few connections leave, some of them without a word, and as many come.
fn come_and_go(server: &Server, pairs: &mut Vec<Pair>, rng: &mut Rng) {
    for _ in 0..4 {
        let mut leaving = pairs.swap_remove(rng.usize(..pairs.len()));
        if rng.bool() {
            leaving.client.socket.close(None).unwrap();
        }
        drop(leaving);
        let mut coming = connect(server, rng);
        resubscribe(&mut coming, rng);
        pairs.push(coming);
    }
}

/// A token of the same user with another role and session: what is no longer allowed is dropped, the rest stays.
fn refresh(pair: &mut Pair, rng: &mut Rng) {
    let Some(user) = pair.viewer.user.clone() else {
        return;
    };
    let role = ROLES[rng.usize(..5)];
    let session = SESSIONS[rng.usize(..SESSIONS.len())];
    let answer = pair
        .client
        .auth(&tokens::with_session(&user, role, session));
    assert_eq!(answer["type"], "authenticated");
    pair.viewer.role = role;
    pair.viewer.session = Some(session.to_owned());
    let open = open_to(role);
    let before = pair.viewer.subscriptions.len();
    pair.viewer
        .subscriptions
        .retain(|name, _| open.contains(&name.as_str()));
    if pair.viewer.subscriptions.len() < before {
        let answer = pair.client.answer();
        assert_eq!(answer["type"], "unsubscribed");
        assert_eq!(
            named(&answer),
            pair.viewer.subscriptions.keys().cloned().collect()
        );
    }
}

/// A random subscribe or unsubscribe, done on the connection and in the model.
fn resubscribe(pair: &mut Pair, rng: &mut Rng) {
    let mut open = open_to(pair.viewer.role);
    if rng.u8(..100) < 25 {
        let left: Vec<&str> = open
            .iter()
            .copied()
            .filter(|name| *name != "products" && rng.bool())
            .collect();
        if !left.is_empty() {
            let answer = pair
                .client
                .ask(&json!({"type": "unsubscribe", "data": {"namespaces": left}}));
            assert_eq!(answer["type"], "unsubscribed");
            pair.viewer
                .subscriptions
                .retain(|name, _| !left.contains(&name.as_str()));
            assert_eq!(
                named(&answer),
                pair.viewer.subscriptions.keys().cloned().collect()
            );
        }
        return;
    }
    rng.shuffle(&mut open);
    open.truncate(rng.usize(1..=open.len()));
    let mut types: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for (kind, _) in EXAMPLES {
        if open.contains(&namespace_of(kind)) && rng.u8(..100) < 15 {
            types
                .entry(namespace_of(kind))
                .or_default()
                .insert(kind.to_owned());
        }
    }
    if let Some(products) = types.get_mut("products") {
        products.insert("product:deleted".to_owned());
    }
    let mut data = json!({"namespaces": open});
    let mut all: Vec<&String> = types.values().flatten().collect();
    rng.shuffle(&mut all);
    if !all.is_empty() {
        data["events"] = json!(all);
    }
    let answer = pair.client.subscribe_with(data);
    for namespace in open {
        pair.viewer
            .subscriptions
            .insert(namespace.to_owned(), types.get(namespace).cloned());
    }
    let now: BTreeSet<String> = pair.viewer.subscriptions.keys().cloned().collect();
    assert_eq!(named(&json!({ "data": answer })), now);
}

fn random_event(rng: &mut Rng, number: i64) -> Value {
    let (kind, _) = EXAMPLES[rng.usize(..EXAMPLES.len())];
    let mut event = event(kind);
    let data = event["data"].as_object_mut().unwrap();
    data.insert("number".into(), number.into());
    if data.contains_key("customerId") {
        // Only the two where it is optional may go without.
        if matches!(kind, "order:updated" | "order:deleted") && rng.u8(..100) < 30 {
            data.remove("customerId");
        } else {
            data.insert("customerId".into(), USERS[rng.usize(..USERS.len())].into());
        }
    }
    if data.remove("targetRoles").is_some() && rng.bool() {
        data.insert("targetRoles".into(), json!(some_of(&ROLES[..5], rng)));
    }
    let mut to = json!({});
    if rng.u8(..100) < 30 {
        to["roles"] = json!(some_of(&ROLES[..5], rng));
    }
    if rng.u8(..100) < 25 {
        to["userIds"] = json!(some_of(&USERS, rng));
    }
    if rng.u8(..100) < 30 {
        to["owners"] = json!(some_of(&USERS, rng));
    }
    if rng.u8(..100) < 25 {
        let excluded = if rng.u8(..100) < 15 {
            Vec::new()
        } else {
            some_of(&USERS, rng)
        };
        to["excludeUserIds"] = json!(excluded);
    }
    if rng.u8(..100) < 25 {
        to["excludeSessionId"] = SESSIONS[rng.usize(..SESSIONS.len())].into();
    }
    if rng.bool() || to != json!({}) {
        event["to"] = to;
    }
    event
}

/// Sends the events in pieces of random sizes, so that batches of all sizes are made.
fn emit_all(emitter: &mut Emitter, events: &[Value], rng: &mut Rng) {
    let mut left = events;
    while !left.is_empty() {
        let (now, later) = left.split_at(rng.usize(1..=left.len().min(40)));
        let lines: String = now.iter().map(|event| format!("{event}\n")).collect();
        emitter.send_raw(lines.as_bytes());
        if rng.bool() {
            emitter.settle();
        }
        left = later;
    }
    emitter.settle();
    assert_eq!(emitter.refusals(), [], "all of these are good events");
}

/// One to three of the names, perhaps with one twice.
fn some_of(names: &[&'static str], rng: &mut Rng) -> Vec<&'static str> {
    (0..rng.usize(1..=3))
        .map(|_| names[rng.usize(..names.len())])
        .collect()
}

fn number_of(event: &Value) -> i64 {
    event["data"]["number"]
        .as_i64()
        .unwrap_or_else(|| panic!("not one of this test's events: {event}"))
}

fn named(answer: &Value) -> BTreeSet<String> {
    let list = answer["data"]["namespaces"].as_array().unwrap();
    let names: BTreeSet<String> = list
        .iter()
        .map(|name| name.as_str().unwrap().to_owned())
        .collect();
    assert_eq!(names.len(), list.len(), "no namespace twice: {answer}");
    names
}
