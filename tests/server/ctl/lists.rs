//! Lists of connections and of kept events.

use serde_json::{Value, json};

use crate::harness::examples::event;
use crate::harness::server::text;
use crate::harness::{Client, Emitter, Opening, Server, tokens, wait_until};

/// Asks and gives the `connectionId`s of the answer, and all of it.
fn listed(emitter: &mut Emitter, question: Value) -> (Vec<String>, Value) {
    let mut command = json!({"command": "connections"});
    let fields = question.as_object().unwrap().clone();
    command.as_object_mut().unwrap().extend(fields);
    let answer = emitter.command(&command);
    let rows = answer["connections"].as_array().unwrap().iter();
    let ids = rows.map(|row| row["connectionId"].as_str().unwrap().to_owned());
    (ids.collect(), answer)
}

#[test]
fn connections_are_listed_by_what_they_are_and_page_by_page() {
    let server = Server::with(&["--workers", "3"]);
    let mut ann = Client::connect(
        &server,
        Opening::new().bearer(&tokens::with_session("ann", "customer", "s-ann")),
    );
    ann.subscribe(&["orders", "products"]);
    let mut admin = server.user("root", "admin");
    admin.subscribe(&["system"]);
    let public: Vec<Client> = (0..5).map(|_| server.public()).collect();
    let mut all = vec![ann.connection_id(), admin.connection_id()];
    all.extend(public.iter().map(Client::connection_id));
    let mut emitter = server.emitter();

    let (ids, answer) = listed(&mut emitter, json!({}));
    assert_eq!(ids, all, "oldest first, over all workers");
    assert_eq!((&answer["matching"], answer.get("next")), (&json!(7), None));
    let row = &answer["connections"][0];
    assert_eq!(row["userId"], "ann");
    assert_eq!(row["sessionId"], "s-ann");
    assert_eq!(row["role"], "customer");
    assert_eq!(row["ip"], "127.0.0.1");
    assert_eq!(row["namespaces"], json!(["orders", "products"]));
    assert_eq!(
        (&row["waitingBytes"], &row["tls"]),
        (&json!(0), &json!(false))
    );
    assert!(row["worker"].as_u64().unwrap() < 3);
    assert!(row["expiresAt"].as_u64().unwrap() > tokens::now_ms());
    assert_eq!(answer["connections"][2].get("userId"), None);

    for (question, expected) in [
        (json!({"role": "customer"}), &all[..1]),
        (json!({"role": "public"}), &all[2..]),
        (json!({"user": "root"}), &all[1..2]),
        (json!({"user": "nobody"}), &all[..0]),
        (json!({"session": "s-ann"}), &all[..1]),
        (json!({"namespace": "system"}), &all[1..2]),
        (json!({"namespace": "orders", "role": "admin"}), &all[..0]),
        (json!({"slow": true}), &all[..0]),
    ] {
        let (ids, answer) = listed(&mut emitter, question.clone());
        assert_eq!(ids, expected, "{question}");
        assert_eq!(answer["matching"], expected.len(), "{question}");
    }

    let mut seen = Vec::new();
    let mut question = json!({"limit": 2});
    let mut pages = 0;
    loop {
        let (ids, answer) = listed(&mut emitter, question.clone());
        assert!(ids.len() <= 2);
        assert_eq!(answer["matching"], 7);
        seen.extend(ids);
        pages += 1;
        let Some(next) = answer.get("next") else {
            break;
        };
        question["after"] = next.clone();
    }
    assert_eq!((seen, pages), (all.clone(), 4));

    let output = server.ctl(&["connections", "--user", "ann"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(printed.starts_with("CONNECTION"), "{printed}");
    assert!(
        printed.contains(&all[0]) && printed.contains("orders,products"),
        "{printed}"
    );
    assert!(printed.ends_with("\n1 of 1\n"), "{printed}");
    let output = server.ctl(&["connections", "--role", "boss"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output).contains("admin, manager"),
        "{}",
        text(&output)
    );
    drop(admin);
    wait_until("who left is not listed", || {
        listed(&mut emitter, json!({"role": "admin"})).0.is_empty()
    });
}

#[test]
fn the_slowest_readers_are_listed_first() {
    let server = Server::with(&["--outbox-limit", "64MiB", "--workers", "2"]);
    let stalled = |user: &str| {
        let opening = Opening::new().bearer(&tokens::of(user, "customer"));
        let mut client = Client::connect(&server, opening.receive_buffer(4096));
        client.subscribe(&["orders"]);
        client
    };
    let (little, much) = (stalled("little"), stalled("much"));
    let mut emitter = server.emitter();
    let pad = "x".repeat(100_000);
    for (customer, events) in [("little", 10), ("much", 20)] {
        for n in 0..events {
            let data = json!({"orderId": n.to_string(), "customerId": customer, "pad": pad});
            emitter.emit(&json!({"type": "order:deleted", "data": data}));
        }
    }
    let (ids, answer) = listed(&mut emitter, json!({"slow": true}));
    assert_eq!(
        ids,
        [much.connection_id(), little.connection_id()],
        "{answer}"
    );
    let waiting = |index: usize| answer["connections"][index]["waitingBytes"].as_u64();
    assert!(waiting(0) > waiting(1) && waiting(1) > Some(0), "{answer}");
    let (first, _) = listed(&mut emitter, json!({"slow": true, "limit": 1}));
    assert_eq!(first, [much.connection_id()]);
}

#[test]
fn history_shows_what_is_kept_and_its_data_only_when_asked() {
    let server = Server::with(&["--workers", "2"]);
    let mut emitter = server.emitter();
    let mut ids = Vec::new();
    for n in 0..5 {
        let data = json!({"productId": n.to_string(), "note": "<b> \",\"timestamp\":1"});
        let event = json!({"type": "product:deleted", "data": data, "timestamp": 1_700_000_000_000_u64 + n});
        ids.push(emitter.emit(&event));
    }
    let mut named = event("order:created");
    named["to"] = json!({"userIds": ["ann"]});
    ids.push(emitter.emit(&named));
    let ids_of = |answer: &Value| -> Vec<String> {
        let events = answer["events"].as_array().unwrap().iter();
        events
            .map(|event| event["id"].as_str().unwrap().to_owned())
            .collect()
    };
    ids.reverse();
    let answer = emitter.command(&json!({"command": "history"}));
    assert_eq!(ids_of(&answer), ids, "the newest first");
    assert_eq!(answer["keptEvents"], 6);
    assert!(answer["keptBytes"].as_u64() > Some(600));
    assert_eq!(answer["events"][0]["named"], true);
    let last = &answer["events"][5];
    assert_eq!(last["type"], "product:deleted");
    assert_eq!(last["timestamp"], 1_700_000_000_000_u64);
    assert_eq!(last["named"], false);
    assert_eq!(last.get("data"), None);
    assert!(!server.stderr().contains("looks at events"));

    let question = json!({"command": "history", "namespace": "products", "limit": 2, "data": true});
    let answer = emitter.command(&question);
    assert_eq!(ids_of(&answer), ids[1..3]);
    assert_eq!(answer["events"][0]["data"]["productId"], "4");
    assert_eq!(
        answer["events"][0]["data"]["note"],
        "<b> \",\"timestamp\":1"
    );
    wait_until("the log tells that it was looked at", || {
        server.stderr().contains("looks at events with their data")
    });
    let answer = emitter.command(&json!({"command": "history", "type": "order:created"}));
    assert_eq!(ids_of(&answer), ids[..1]);

    let output = server.ctl(&["history", "--limit", "3"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(
        printed.starts_with("TIME") && printed.contains(&ids[0]),
        "{printed}"
    );
    assert!(printed.contains("\n3 of 6 kept events, "), "{printed}");
}

#[test]
fn data_in_a_list_are_bounded() {
    let server = Server::with(&["--max-message", "1MiB"]);
    let mut emitter = server.emitter();
    for n in 0..3 {
        let data = json!({"productId": n.to_string(), "pad": "x".repeat(600_000)});
        emitter.emit(&json!({"type": "product:deleted", "data": data}));
    }
    let answer = emitter.command(&json!({"command": "history", "data": true}));
    let events = answer["events"].as_array().unwrap();
    assert_eq!(events.len(), 3);
    let with_data = events.iter().filter(|event| event.get("data").is_some());
    assert_eq!(with_data.count(), 1, "there is room for one of them");
    assert!(events[0].get("data").is_some(), "the newest");
}
