//! Updates: another process takes over, and no browser and no emitter notices.

use std::io::{Read, Write};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::server::Setup;
use crate::harness::{Client, DEADLINE, Fence, Opening, Server, tokens, wait_until};

fn product(n: usize) -> Value {
    json!({"type": "product:deleted", "data": {"productId": n.to_string()}})
}

fn order(n: usize, customer: &str) -> Value {
    json!({"type": "order:deleted", "data": {"orderId": n.to_string(), "customerId": customer}})
}

fn watching(server: &Server, namespaces: &[&str]) -> Client {
    let mut client = server.user("root", "admin");
    client.subscribe(namespaces);
    client
}

fn run_of(id: &str) -> &str {
    id.rsplit_once('-').unwrap().0
}

#[test]
fn connections_live_on_with_all_that_they_are() {
    for workers in ["1", "3"] {
        let server = Server::start();
        let mut public = server.public();
        public.subscribe(&["products"]);
        let token = tokens::with_session("ann", "customer", "s-ann");
        let mut ann = Client::connect(&server, Opening::new().bearer(&token));
        ann.subscribe_with(
            json!({"namespaces": ["orders", "products"], "events": ["order:deleted"]}),
        );
        let mut bob = server.user("bob", "customer");
        bob.subscribe(&["orders"]);
        let mut idle = server.public();
        let mut emitter = server.emitter();
        let before = emitter.emit(&product(1));

        let server = server.succeed(&["--workers", workers]);
        let mut after = Vec::new();
        for event in [product(2), order(3, "ann"), order(4, "bob")] {
            after.push(emitter.emit(&event));
        }
        let mut unheard = order(5, "ann");
        unheard["to"] = json!({"excludeSessionId": "s-ann"});
        emitter.emit(&unheard);
        assert_eq!(run_of(&before), run_of(&after[0]), "the run goes on");
        assert_eq!(emitter.settled(), 5);
        assert_eq!(public.next()["id"], before.as_str());
        assert_eq!(public.next()["id"], after[0].as_str());
        let got: Vec<Value> = (0..3).map(|_| ann.next()["id"].clone()).collect();
        assert_eq!(got, [before.as_str(), after[0].as_str(), after[1].as_str()]);
        assert_eq!(bob.next()["id"], after[2].as_str());
        ann.ping();
        bob.ping();
        idle.subscribe(&["products"]);
        let stats = server.stats();
        assert_eq!(stats["totalConnections"], 4, "{stats}");
        assert_eq!(stats["connectionsByRole"]["customer"], 2, "{stats}");
        assert_eq!(stats["connectionsByNamespace"]["orders"], 2, "{stats}");

        // Its id is still its own, and it leaves the counts as others do.
        let id = ann.connection_id();
        let result = server
            .emitter()
            .command(&json!({"command": "disconnect", "connection": id}));
        assert_eq!(result["disconnected"], 1);
        ann.expect_close(4403);
        wait_until("it has left the counts", || {
            server.stats()["totalConnections"] == 3
        });
        server.stop();
        public.expect_close(1001);
    }
}

#[test]
fn events_pour_in_while_one_process_after_the_other_takes_over() {
    const EVENTS: usize = 30_000;
    // Readers that wait for a core are not what this is about.
    let mut server = Server::with(&["--outbox-limit", "64MiB"]);
    let mut clients: Vec<Client> = (0..10).map(|_| watching(&server, &["products"])).collect();
    let mut emitters = Vec::new();
    for emitter in 0..2 {
        let mut connection = server.emitter();
        emitters.push(thread::spawn(move || {
            for n in 0..EVENTS {
                let line = product(emitter * EVENTS + n).to_string();
                connection.send_line(line.as_bytes());
                if n % 50 == 0 {
                    connection.settle();
                }
            }
            connection.settle();
            assert_eq!(connection.refusals().len(), 0);
        }));
    }
    let readers: Vec<_> = clients
        .drain(..)
        .map(|mut client| {
            thread::spawn(move || {
                let mut next = [0, EVENTS];
                for _ in 0..2 * EVENTS {
                    let event = client.next();
                    let number: usize = event["data"]["productId"]
                        .as_str()
                        .unwrap()
                        .parse()
                        .unwrap();
                    let emitter = number / EVENTS;
                    assert_eq!(number, next[emitter], "in order, each once");
                    next[emitter] += 1;
                }
                client
            })
        })
        .collect();
    for workers in ["1", "2", "3"] {
        server = server.succeed(&["--workers", workers]);
    }
    for emitter in emitters {
        emitter.join().unwrap();
    }
    for reader in readers {
        reader.join().unwrap().ping();
    }
    server.stop();
}

#[test]
fn half_a_frame_half_a_line_and_half_a_head_are_completed_at_the_next_process() {
    let server = Server::start();
    let mut client = server.public();
    // A masked text frame (mask 0) in two fragments, cut inside the second.
    let question = br#"{"type":"ping"}"#;
    let (first, second) = question.split_at(5);
    let mut bytes = vec![0x01, 0x80 | first.len() as u8, 0, 0, 0, 0];
    bytes.extend_from_slice(first);
    bytes.extend_from_slice(&[0x80, 0x80 | second.len() as u8, 0, 0]);
    client.send_raw(&bytes);
    let mut emitter = server.emitter();
    let line = product(7).to_string() + "\n";
    let (front, rest) = line.split_at(20);
    emitter.send_raw(front.as_bytes());
    let mut request = std::net::TcpStream::connect(server.address).unwrap();
    request.set_read_timeout(Some(DEADLINE)).unwrap();
    request.write_all(b"GET /healthz HTTP/1.1\r\nHo").unwrap();
    // An answer of the server means that it has read what came before.
    let mut other = server.public();
    other.subscribe(&["products"]);

    let server = server.succeed(&[]);
    client.send_raw(&[0, 0]);
    client.send_raw(second);
    client.expect("pong");
    emitter.send_raw(rest.as_bytes());
    emitter.settle();
    assert_eq!(other.next()["data"]["productId"], "7");
    request
        .write_all(b"st: localhost\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    request.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    server.stop();
}

#[test]
fn what_waits_for_a_slow_reader_and_what_is_being_replayed_comes_whole() {
    const EVENTS: usize = 2_000;
    let server = Server::with(&["--outbox-limit", "16MiB"]);
    let padded = |n: usize| {
        let data = json!({"productId": n.to_string(), "pad": "x".repeat(4000)});
        json!({"type": "product:deleted", "data": data})
    };
    let opening = || Opening::new().receive_buffer(4096);
    let mut slow = Client::connect(&server, opening());
    let position = slow.subscribe(&["products"])["position"].clone();
    let mut emitter = server.emitter();
    for n in 0..EVENTS {
        emitter.send_line(padded(n).to_string().as_bytes());
    }
    emitter.settle();
    let mut late = Client::connect(&server, opening());
    late.send(
        &json!({"type": "subscribe", "data": {"namespaces": ["products"], "since": position}}),
    );
    assert_eq!(late.expect("subscribed")["data"]["recovered"], true);
    late.next();

    let server = server.succeed(&[]);
    emitter.emit(&padded(EVENTS));
    for (mut client, begun) in [(slow, 0), (late, 1)] {
        for n in begun..=EVENTS {
            assert_eq!(client.next()["data"]["productId"], n.to_string());
        }
        client.ping();
    }
    assert_eq!(server.stats()["slowConsumers"], 0);
}

#[test]
fn history_keys_and_presence_go_on() {
    let server = Server::start();
    let mut staff = server.user("sam", "staff");
    let asked =
        json!({"namespaces": ["customers"], "events": ["customer:online", "customer:offline"]});
    staff.subscribe_with(asked.clone());
    let ann = server.user("ann", "customer");
    let bob = server.user("bob", "customer");
    staff.expect_event("customer:online");
    staff.expect_event("customer:online");
    let mut emitter = server.emitter();
    let mut event = product(1);
    event["key"] = "once".into();
    let first = emitter.emit(&event);
    let second = emitter.emit(&product(2));
    drop(bob);
    wait_until("bob is gone", || {
        server.stats()["connectionsByRole"]["customer"] == 1
    });

    let server = server.succeed(&["--workers", "1"]);
    assert_eq!(emitter.emit(&event), first, "its key is known");
    let mut client = server.public();
    client
        .send(&json!({"type": "subscribe", "data": {"namespaces": ["products"], "since": first}}));
    assert_eq!(client.expect("subscribed")["data"]["recovered"], true);
    assert_eq!(client.next()["id"], second.as_str());
    // Bob's grace goes on, and nobody else came or went.
    let gone = staff.expect_event("customer:offline");
    assert_eq!(gone["data"]["customerId"], "bob");
    assert_eq!(
        server.user("eve", "staff").subscribe_with(asked)["online"],
        1
    );
    drop(ann);
    assert_eq!(
        staff.expect_event("customer:offline")["data"]["customerId"],
        "ann"
    );
}

#[test]
fn narrower_rules_are_told_to_those_they_meet() {
    let server = Server::start();
    let mut sam = server.user("sam", "staff");
    sam.subscribe(&["orders", "products"]);
    let mut public = server.public();
    public.subscribe(&["products"]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shopwire.toml");
    std::fs::write(&path, "[access]\norders = { admin = \"all\" }\n").unwrap();
    let server = server.succeed(&["--config", path.to_str().unwrap()]);
    let told = sam.expect("unsubscribed");
    assert_eq!(told["data"]["namespaces"], json!(["products"]));
    let mut emitter = server.emitter();
    emitter.emit(&order(1, "ann"));
    emitter.emit(&product(2));
    assert_eq!(sam.next()["data"]["productId"], "2");
    assert_eq!(public.next()["data"]["productId"], "2");

    // A connection without a token is one that has not shown it yet.
    let server = server.succeed(&["--require-auth"]);
    let told = public.expect("unsubscribed");
    assert_eq!(told["data"]["namespaces"], json!([]));
    emitter.emit(&product(3));
    assert_eq!(sam.next()["data"]["productId"], "3");
    // The client's own deadline is as long as the server's.
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(8) {
        public.ping();
        thread::sleep(Duration::from_millis(200));
    }
    assert_eq!(public.expect_close(4401), Vec::<Value>::new());
    sam.ping();
    server.stop();
}

#[test]
fn the_journal_goes_on_in_the_next_process() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal").display().to_string();
    let args = ["--journal", path.as_str()];
    let server = Server::with(&args);
    let position = server.public().subscribe(&["products"])["position"].clone();
    let mut emitter = server.emitter();
    (0..10).for_each(|n| drop(emitter.emit(&product(n))));
    let server = server.succeed(&[]);
    (10..20).for_each(|n| drop(emitter.emit(&product(n))));
    let server = server.succeed(&[]);
    (20..30).for_each(|n| drop(emitter.emit(&product(n))));
    server.kill();
    let server = Server::with(&args);
    let mut client = server.public();
    client.send(
        &json!({"type": "subscribe", "data": {"namespaces": ["products"], "since": position}}),
    );
    assert_eq!(client.expect("subscribed")["data"]["recovered"], true);
    for n in 0..30 {
        assert_eq!(client.next()["data"]["productId"], n.to_string());
    }
}

#[test]
fn where_nobody_runs_it_starts_and_where_it_cannot_take_over_it_drains() {
    let setup = Setup::new(&["--takeover"]);
    let server = setup.start();
    wait_until("it says so", || {
        server.stderr().contains("no server to take over from")
    });
    let mut client = watching(&server, &["products"]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal").display().to_string();
    let server = server.succeed(&["--journal", &path]);
    let told = client.expect_close(1001);
    assert_eq!(told.last().unwrap()["type"], "reconnect", "{told:?}");
    wait_until("it says why", || {
        server.stderr().contains("drained: it has another journal")
    });
    let mut client = watching(&server, &["products"]);
    let fence = Fence::raise(&mut server.emitter());
    assert!(fence.before(&mut client).is_empty());
}

#[test]
fn the_service_manager_is_told_who_serves() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let manager = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(DEADLINE)).unwrap();
    let notified = |what: &str| loop {
        let mut text = [0; 1000];
        let length = manager.recv(&mut text).unwrap();
        let told = String::from_utf8_lossy(&text[..length]).into_owned();
        if told.contains(what) {
            return told;
        }
    };
    let path = path.display().to_string();
    let server = Setup::new(&[]).env("NOTIFY_SOCKET", &path).start();
    let told = notified("READY=1");
    assert!(told.contains(&format!("MAINPID={}", server.id())), "{told}");
    notified("WATCHDOG=1");
    let server = server.succeed(&[]);
    let told = notified("READY=1");
    assert!(told.contains(&format!("MAINPID={}", server.id())), "{told}");
    notified("WATCHDOG=1");
}
