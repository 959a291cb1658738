//! Clients that do not keep up: closed with 4413 over their limit or the budget of all, and never a burden on others.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde_json::{Value, json};

use crate::harness::client::Incoming;
use crate::harness::{Client, Ending, Fence, Opening, Server, tokens, wait_until};

fn padded(n: usize, size: usize) -> Value {
    json!({"type": "product:deleted", "data": {"productId": n.to_string(), "pad": "x".repeat(size)}})
}

fn slow(server: &Server) -> Client {
    let mut client = Client::connect(server, Opening::new().receive_buffer(4096));
    client.subscribe(&["products"]);
    client
}

#[test]
fn a_slow_consumer_is_closed_while_others_get_everything() {
    const EVENTS: usize = 3000;
    for workers in ["1", "2"] {
        let server = Server::with(&["--outbox-limit", "65536", "--workers", workers]);
        let mut lame = slow(&server);
        let progress: Arc<Vec<AtomicUsize>> =
            Arc::new((0..6).map(|_| AtomicUsize::new(0)).collect());
        let readers: Vec<_> = (0..progress.len())
            .map(|reader| {
                let mut client = server.public();
                client.subscribe(&["products"]);
                let progress = Arc::clone(&progress);
                thread::spawn(move || {
                    for n in 0..EVENTS {
                        assert_eq!(
                            client.expect_event("product:deleted")["data"]["productId"],
                            n.to_string()
                        );
                        progress[reader].store(n + 1, Ordering::Release);
                    }
                    client
                })
            })
            .collect();
        let mut emitter = server.emitter();
        for n in 0..EVENTS {
            emitter.send_line(padded(n, 3000).to_string().as_bytes());
            // The good readers are never further behind than their limit allows, however busy the machine is.
            if n % 10 == 9 {
                wait_until("the others have read so far", || {
                    readers.iter().any(|reader| reader.is_finished())
                        || progress.iter().all(|read| read.load(Ordering::Acquire) > n)
                });
            }
        }
        emitter.settle();
        let mut others: Vec<Client> = readers
            .into_iter()
            .map(|reader| reader.join().unwrap())
            .collect();
        wait_until("the slow one is counted", || {
            server.stats()["slowConsumers"] == 1
        });
        let (ending, got) = lame.read_to_end();
        assert!(
            matches!(ending, Ending::Closed(4413) | Ending::Cut),
            "{ending:?}"
        );
        assert!(got.len() < EVENTS, "it cannot have got them all");
        for (n, event) in got.iter().enumerate() {
            assert_eq!(
                event["data"]["productId"],
                n.to_string(),
                "what it got is the beginning, in order"
            );
        }
        let fence = Fence::raise(&mut emitter);
        for client in &mut others {
            fence.nothing_before(client);
        }
        assert_eq!(server.stats()["totalConnections"], 6);
    }
}

#[test]
fn one_single_frame_never_trips_the_limit() {
    let server = Server::with(&["--outbox-limit", "65536", "--max-message", "8MiB"]);
    let mut client = slow(&server);
    let mut emitter = server.emitter();
    emitter.emit(&padded(1, 7 << 20));
    client.send(&json!({"type": "ping"}));
    let event = client.expect_event("product:deleted");
    assert_eq!(event["data"]["pad"].as_str().unwrap().len(), 7 << 20);
    client.expect("pong");
    assert_eq!(server.stats()["slowConsumers"], 0);
}

#[test]
fn a_client_that_pauses_within_its_limit_gets_all() {
    let server = Server::with(&["--outbox-limit", "16MiB"]);
    let mut client = slow(&server);
    let mut emitter = server.emitter();
    for n in 0..2000 {
        emitter.send_line(padded(n, 4000).to_string().as_bytes());
    }
    emitter.settle();
    for n in 0..2000 {
        assert_eq!(
            client.expect_event("product:deleted")["data"]["productId"],
            n.to_string()
        );
    }
    assert_eq!(server.stats()["slowConsumers"], 0);
}

#[test]
fn a_client_that_asks_and_never_reads_is_no_burden() {
    let server = Server::with(&["--message-rate", "0", "--outbox-limit", "65536"]);
    let mut deaf = slow(&server);
    deaf.socket
        .get_mut()
        .set_write_timeout(Some(std::time::Duration::from_millis(500)))
        .unwrap();
    // Its answers pile up until the limit, or until the server reads no more of its questions.
    for _ in 0..200_000 {
        if deaf
            .socket
            .send(tungstenite::Message::text(r#"{"type":"ping"}"#))
            .is_err()
        {
            break;
        }
    }
    let mut other = server.public();
    other.ping();
    let memory = server.resident_kib();
    assert!(memory < 200_000, "{memory} KiB resident");
}

/// An order of customer `n`; half as large again as those of the customer before.
fn own_order(n: usize, round: usize) -> String {
    let pad = "x".repeat(200 * 3_usize.pow(n as u32) / 2_usize.pow(n as u32));
    let data = json!({"orderId": round.to_string(), "customerId": format!("c{n}"), "pad": pad});
    format!("{}\n", json!({"type": "order:deleted", "data": data}))
}

fn customer(server: &Server, n: usize) -> Client {
    let token = tokens::of(&format!("c{n}"), "customer");
    Client::connect(server, Opening::new().bearer(&token).receive_buffer(4096))
}

/// What comes until the connection ends, or until it has got so many events.
fn read_up_to(client: &mut Client, most: usize) -> (bool, Vec<Value>) {
    let mut got = Vec::new();
    while got.len() < most {
        match client.read() {
            Incoming::Json(event) => got.push(event),
            Incoming::Ping | Incoming::Pong => {}
            Incoming::End(_) => return (true, got),
        }
    }
    (false, got)
}

fn expect_rounds(events: &[Value], rounds: std::ops::Range<usize>) {
    let got: Vec<&Value> = events
        .iter()
        .map(|event| &event["data"]["orderId"])
        .collect();
    let expected: Vec<Value> = rounds.map(|round| json!(round.to_string())).collect();
    assert_eq!(got, expected.iter().collect::<Vec<_>>());
}

/// Customers that stall, each over orders of its own. None comes to its own limit, since the budget of all is no more than that.
#[test]
fn over_the_budget_the_fattest_go_first_and_lose_nothing() {
    const CUSTOMERS: usize = 10;
    for workers in ["1", "2"] {
        let limits = ["--outbox-limit", "2MiB", "--outbox-budget", "2MiB"];
        let server = Server::with(&[&limits[..], &["--workers", workers]].concat());
        let mut admin = server.user("root", "admin");
        admin.subscribe(&["orders"]);
        let mut stalled: Vec<(Client, Value)> = (0..CUSTOMERS)
            .map(|n| {
                let mut client = customer(&server, n);
                let position = client.subscribe(&["orders"])["position"].clone();
                (client, position)
            })
            .collect();
        let mut emitter = server.emitter();
        let mut rounds = 0;
        while server.stats()["slowConsumers"].as_u64().unwrap() < 3 {
            assert!(rounds < 2000, "nobody is closed: {}", server.stats());
            for _ in 0..10 {
                let lines: String = (0..CUSTOMERS).map(|n| own_order(n, rounds)).collect();
                emitter.send_raw(lines.as_bytes());
                emitter.settle();
                for n in 0..CUSTOMERS {
                    let event = admin.expect_event("order:deleted");
                    assert_eq!(event["data"]["customerId"], format!("c{n}"));
                    assert_eq!(event["data"]["orderId"], rounds.to_string());
                }
                rounds += 1;
            }
        }
        wait_until("what is held is within the budget", || {
            server.stats()["outboxBytes"].as_u64().unwrap() <= 2 << 20
        });
        wait_until("the log says why", || {
            server.stderr().contains("over the budget of 2097152")
        });

        let count = server.stats()["slowConsumers"].as_u64().unwrap() as usize;
        let mut closed = Vec::new();
        for (n, (client, position)) in stalled.iter_mut().enumerate() {
            let (ended, got) = read_up_to(client, rounds);
            expect_rounds(&got, 0..got.len());
            if !ended {
                continue;
            }
            closed.push(n);
            let since = got.last().map_or(&*position, |event| &event["id"]);
            let mut back = customer(&server, n);
            let answer = back.subscribe_with(json!({"namespaces": ["orders"], "since": since}));
            assert_eq!(answer["recovered"], true);
            let (ended, rest) = read_up_to(&mut back, rounds - got.len());
            assert!(!ended, "customer {n} is closed again");
            expect_rounds(&rest, got.len()..rounds);
        }
        assert_eq!(closed.len(), count, "{closed:?}");
        if workers == "1" {
            let fattest: Vec<usize> = (CUSTOMERS - count..CUSTOMERS).collect();
            assert_eq!(closed, fattest);
        }
        wait_until("nothing waits any more", || {
            server.stats()["outboxBytes"] == 0
        });
    }
}
