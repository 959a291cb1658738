//! A client that does not keep up: closed with 4413 over its limit, and never a burden on others.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde_json::{Value, json};

use crate::harness::{Client, Ending, Fence, Opening, Server, wait_until};

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
