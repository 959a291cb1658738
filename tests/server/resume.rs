//! Coming back: what was missed comes first, once, in order; or the client is told that it cannot.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::thread;

use fastrand::Rng;
use serde_json::{Value, json};

use crate::harness::examples::{about, event};
use crate::harness::model::Viewer;
use crate::harness::{Client, Fence, Opening, Server, tokens, wait_until};

fn product(n: usize) -> Value {
    json!({"type": "product:deleted", "data": {"productId": n.to_string()}})
}

fn id_of(event: &Value) -> String {
    event["id"].as_str().unwrap().to_owned()
}

/// An id with the same beginning, so many events later.
fn later(id: &str, by: u64) -> String {
    let (run, number) = id.rsplit_once('-').unwrap();
    format!("{run}-{}", number.parse::<u64>().unwrap() + by)
}

/// Subscribes as the first thing on a new connection: the answer must come before any event.
fn begin(client: &mut Client, data: Value) -> Value {
    client.send(&json!({"type": "subscribe", "data": data}));
    client.expect("subscribed")["data"].clone()
}

fn ids(events: &[Value]) -> Vec<String> {
    events.iter().map(id_of).collect()
}

/// Ids of what comes before a fence that is raised now.
fn comes(server: &Server, client: &mut Client) -> Vec<String> {
    ids(&Fence::raise(&mut server.emitter()).before(client))
}

#[test]
fn nothing_is_missed_and_nothing_comes_twice_however_often_the_line_is_cut() {
    for workers in ["1", "2"] {
        let server = Server::with(&["--workers", workers, "--message-rate", "0"]);
        let events = Arc::new(random_events(4000));
        let readers: Vec<_> = [
            ("ann", "customer", "s1", None),
            ("bob", "customer", "s2", None),
            ("sam", "staff", "s3", Some("order:created")),
            ("root", "admin", "s4", None),
        ]
        .into_iter()
        .map(|(user, role, session, narrow)| {
            let token = tokens::with_session(user, role, session);
            let mut wanted = json!({"namespaces": ["orders", "products"]});
            let mut subscriptions = BTreeMap::from([("products".to_owned(), None)]);
            let types = narrow.map(|kind: &str| BTreeSet::from([kind.to_owned()]));
            subscriptions.insert("orders".to_owned(), types);
            if let Some(kind) = narrow {
                wanted["events"] = json!([kind]);
            }
            let viewer = Viewer {
                user: Some(user.to_owned()),
                role,
                session: Some(session.to_owned()),
                subscriptions,
            };
            let mut client = Client::connect(&server, Opening::new().bearer(&token));
            let position = begin(&mut client, wanted.clone())["position"].clone();
            wanted["since"] = position;
            let (address, expected) = (server.address, expected(&viewer, &events));
            let reader = thread::spawn(move || follow(address, &token, client, wanted));
            (user, expected, reader)
        })
        .collect();
        let mut emitter = server.emitter();
        for chunk in events.chunks(50) {
            for event in chunk {
                emitter.send_line(event.to_string().as_bytes());
            }
            emitter.settle();
        }
        emitter.emit(&json!({"type": "product:deleted", "data": {"productId": "end"}}));
        for (user, expected, reader) in readers {
            let got = reader.join().unwrap();
            let differs = got.iter().zip(&expected).position(|(got, due)| got != due);
            assert_eq!(differs, None, "{user} with {workers} workers");
            assert_eq!(got.len(), expected.len(), "{user} with {workers} workers");
        }
        let stats = server.stats();
        assert!(stats["recovered"].as_u64().unwrap() >= 4, "{stats}");
        assert_eq!(stats["notRecovered"], 0, "{stats}");
    }
}

/// Reads a little, loses the connection, comes back where it was: until the last event has come. Gives the numbers.
fn follow(
    address: std::net::SocketAddr,
    token: &str,
    mut client: Client,
    mut wanted: Value,
) -> Vec<u64> {
    let mut rng = Rng::new();
    let mut got = Vec::new();
    loop {
        for _ in 0..rng.usize(1..600) {
            let message = client.next();
            wanted["since"] = message["id"].clone();
            match message["data"]["n"].as_u64() {
                Some(number) => got.push(number),
                None if message["data"]["productId"] == "end" => return got,
                None => panic!("an event without a number: {message}"),
            }
        }
        client = Client::try_connect(address, Opening::new().bearer(token)).unwrap();
        let answer = begin(&mut client, wanted.clone());
        assert_eq!(answer["recovered"], true, "{answer}");
    }
}

fn random_events(count: usize) -> Vec<Value> {
    let mut rng = Rng::new();
    let users = ["ann", "bob", "cy"];
    (0..count)
        .map(|n| {
            let mut event = match rng.u8(0..4) {
                0 => event("product:updated"),
                1 => about("order:deleted", users[rng.usize(0..3)]),
                _ => about("order:created", users[rng.usize(0..3)]),
            };
            event["data"]["n"] = n.into();
            let mut to = json!({});
            if rng.u8(0..4) == 0 {
                let role = ["admin", "customer", "staff"][rng.usize(0..3)];
                to["roles"] = json!([role]);
            }
            for name in ["userIds", "owners", "excludeUserIds"] {
                if rng.u8(0..5) == 0 {
                    to[name] = json!([users[rng.usize(0..3)]]);
                }
            }
            if rng.u8(0..5) == 0 {
                to["excludeSessionId"] = format!("s{}", rng.u8(1..5)).into();
            }
            event["to"] = to;
            event
        })
        .collect()
}

fn expected(viewer: &Viewer, events: &[Value]) -> Vec<u64> {
    events
        .iter()
        .filter(|event| viewer.receives(event))
        .map(|event| event["data"]["n"].as_u64().unwrap())
        .collect()
}

#[test]
fn the_position_of_an_empty_server_is_a_place_to_come_back_to() {
    for workers in ["1", "2"] {
        let server = Server::with(&["--workers", workers]);
        let position = begin(&mut server.public(), json!({"namespaces": ["products"]}));
        let wanted = json!({"namespaces": ["products"], "since": position["position"]});
        let mut early = server.public();
        let answer = begin(&mut early, wanted.clone());
        assert_eq!(answer["recovered"], true, "{answer}");
        let id = server.emitter().emit(&product(1));
        assert_eq!(id_of(&early.next()), id);
        let mut late = server.public();
        let answer = begin(&mut late, wanted);
        assert_eq!(answer["recovered"], true, "{answer}");
        assert_eq!(id_of(&late.next()), id);
        assert_eq!(comes(&server, &mut late), [] as [String; 0]);
    }
}

#[test]
fn an_acknowledged_id_is_one_to_go_on_from_on_every_worker_at_once() {
    let server = Server::with(&["--workers", "4"]);
    let mut emitter = server.emitter();
    let mut clients: Vec<Client> = (0..8).map(|_| server.public()).collect();
    for n in 0..50 {
        let id = emitter.emit(&product(n));
        for client in &mut clients {
            let answer = client.subscribe_with(json!({"namespaces": ["products"], "since": id}));
            assert_eq!(answer["recovered"], true, "{answer}");
            assert_eq!(answer["position"], id.as_str(), "{answer}");
        }
    }
    let fence = Fence::raise(&mut emitter);
    for client in &mut clients {
        let got = fence.before(client);
        let numbers: Vec<usize> = got
            .iter()
            .map(|event| event["data"]["productId"].as_str().unwrap())
            .map(|number| number.parse().unwrap())
            .collect();
        assert!(
            numbers.is_sorted_by(|one, next| one < next) && !numbers.contains(&0),
            "what was seen does not come again: {numbers:?}"
        );
    }
}

#[test]
fn what_cannot_be_recovered_is_said_and_live_events_begin_at_the_position() {
    let another = Server::start();
    let foreign = another.emitter().emit(&product(0));
    for (args, since) in [
        (&[] as &[&str], "nonsense".to_owned()),
        (&[], String::new()),
        (&[], foreign),
        (&[], "FUTURE".to_owned()),
        (&["--history", "0"], "NEWEST".to_owned()),
        (&["--history-age", "0"], "NEWEST".to_owned()),
        (&["--history", "2000"], "FIRST".to_owned()),
    ] {
        let server = Server::with(args);
        let mut emitter = server.emitter();
        let first = emitter.emit(&product(0));
        for n in 1..50 {
            emitter.emit(&product(n));
        }
        let newest = emitter.last_id().unwrap().to_owned();
        let id = match since.as_str() {
            "FUTURE" => later(&newest, 1000),
            "NEWEST" => newest.clone(),
            "FIRST" => first,
            other => other.to_owned(),
        };
        let mut client = server.public();
        let answer = begin(
            &mut client,
            json!({"namespaces": ["products"], "since": id}),
        );
        assert_eq!(answer["recovered"], false, "{args:?} {since}: {answer}");
        let mut due = vec![emitter.emit(&product(50))];
        // A reactor may have been behind: what follows its position comes, and nothing else.
        let position = answer["position"].as_str().unwrap().to_owned();
        let mut next = later(&position, 1);
        while next != due[due.len() - 1] {
            due.insert(due.len() - 1, next.clone());
            next = later(&next, 1);
        }
        assert_eq!(comes(&server, &mut client), due, "{args:?} {since}");
        assert_eq!(server.stats()["notRecovered"], 1);
    }
}

#[test]
fn an_id_holds_until_something_behind_it_is_let_go_of() {
    let server = Server::with(&["--history-age", "300ms", "--workers", "1"]);
    let mut emitter = server.emitter();
    let first = emitter.emit(&product(0));
    let newest = emitter.emit(&product(1));
    wait_until("both are too old", || server.stats()["historyEvents"] == 0);
    assert_eq!(server.stats()["historyBytes"], 0);
    let ask = |since: &str| {
        let wanted = json!({"namespaces": ["products"], "since": since});
        begin(&mut server.public(), wanted)["recovered"].clone()
    };
    assert_eq!(ask(&first), false);
    assert_eq!(ask(&newest), true, "nothing came after it");
}

#[test]
fn as_much_is_kept_as_was_asked_for() {
    let server = Server::with(&["--history", "20000", "--workers", "1"]);
    let mut emitter = server.emitter();
    let mut sent: Vec<String> = (0..600).map(|n| emitter.emit(&product(n))).collect();
    let stats = server.stats();
    assert!(stats["historyBytes"].as_u64().unwrap() >= 20_000, "{stats}");
    let kept = stats["historyEvents"].as_u64().unwrap() as usize;
    assert!(stats["historyBytes"].as_u64().unwrap() < 20_500, "{stats}");
    assert!((50..300).contains(&kept), "{stats}");
    let behind = sent.split_off(sent.len() - kept);
    let mut client = server.public();
    let since = sent.last().unwrap();
    let answer = begin(
        &mut client,
        json!({"namespaces": ["products"], "since": since}),
    );
    assert_eq!(answer["recovered"], true, "{answer}");
    assert_eq!(comes(&server, &mut client), behind);
    let before = &sent[sent.len() - 2];
    let answer = begin(
        &mut server.public(),
        json!({"namespaces": ["products"], "since": before}),
    );
    assert_eq!(answer["recovered"], false, "{answer}");
}

#[test]
fn the_newest_few_come_first() {
    for workers in ["1", "2"] {
        let server = Server::with(&["--workers", workers]);
        let mut emitter = server.emitter();
        let (mut of_ann, mut products) = (Vec::new(), Vec::new());
        for n in 0..40 {
            let customer = if n % 3 == 0 { "ann" } else { "bob" };
            let id = emitter.emit(&about("order:created", customer));
            if customer == "ann" {
                of_ann.push(id);
            }
            emitter.emit(&about("order:deleted", customer));
            products.push(emitter.emit(&product(n)));
        }
        // The newest event reaches every reactor before the questions.
        let fence = |client: &mut Client| comes(&server, client);
        let mut ann = server.user("ann", "customer");
        ann.subscribe(&["products"]);
        fence(&mut ann);
        let last = json!({"namespaces": ["orders"], "events": ["order:created"], "last": 5});
        let answer = begin(&mut ann, last);
        assert_eq!(answer.get("recovered"), None, "{answer}");
        assert_eq!(fence(&mut ann), of_ann[of_ann.len() - 5..]);
        let all = json!({"namespaces": ["orders"], "events": ["order:created"], "last": 1000});
        begin(&mut ann, all);
        assert_eq!(fence(&mut ann), of_ann, "all there are");
        let live = emitter.emit(&about("order:created", "ann"));
        assert_eq!(fence(&mut ann), [live]);
    }
}

#[test]
fn coming_back_with_another_role_shows_what_that_role_may_see() {
    let server = Server::start();
    let mut emitter = server.emitter();
    let mut boss = server.user("ann", "admin");
    let position = begin(&mut boss, json!({"namespaces": ["orders"]}))["position"].clone();
    let own = emitter.emit(&about("order:created", "ann"));
    let other = emitter.emit(&about("order:created", "bob"));
    assert_eq!(
        [id_of(&boss.next()), id_of(&boss.next())],
        [own.clone(), other]
    );
    drop(boss);
    let mut customer = server.user("ann", "customer");
    let wanted = json!({"namespaces": ["orders", "products"], "since": position});
    assert_eq!(begin(&mut customer, wanted)["recovered"], true);
    assert_eq!(comes(&server, &mut customer), [own]);
    let mut guest = server.user("ann", "guest");
    guest.ask_refused(
        &json!({"type": "subscribe", "data": {"namespaces": ["orders"], "since": position}}),
        "forbidden",
    );
    guest.subscribe(&["products"]);
    assert_eq!(comes(&server, &mut guest), [] as [String; 0]);
}

#[test]
fn a_second_request_brings_its_own_namespaces_alone() {
    let server = Server::start();
    let mut emitter = server.emitter();
    let mut admin = server.user("root", "admin");
    let start = begin(&mut admin, json!({"namespaces": ["products"]}))["position"].clone();
    let order = emitter.emit(&event("order:created"));
    let product = emitter.emit(&product(1));
    assert_eq!(id_of(&admin.next()), product);
    let answer = begin(
        &mut admin,
        json!({"namespaces": ["orders"], "since": start}),
    );
    assert_eq!(answer["recovered"], true, "{answer}");
    assert_eq!(comes(&server, &mut admin), std::slice::from_ref(&order));
    // Asked for again from the same place, both come again, in their order.
    let both = json!({"namespaces": ["products", "orders"], "since": start});
    assert_eq!(begin(&mut admin, both)["recovered"], true);
    let got = comes(&server, &mut admin);
    assert_eq!(got[..2], [order, product]);
    assert_eq!(got.len(), 3, "and the first fence: {got:?}");
}
