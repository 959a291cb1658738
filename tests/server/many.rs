//! Two thousand connections at once, each with what is for it alone and what is for all.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::harness::examples::about;
use crate::harness::{Client, Fence, Server, allow_files};

const CONNECTIONS: usize = 2000;
const OPENERS: usize = 8;

#[test]
fn two_thousand_connections_get_their_own_and_what_is_for_all() {
    allow_files(4096);
    let server = Server::start();
    let (sender, receiver) = mpsc::channel();
    thread::scope(|scope| {
        for opener in 0..OPENERS {
            let (sender, server) = (sender.clone(), &server);
            scope.spawn(move || {
                for n in (opener..CONNECTIONS).step_by(OPENERS) {
                    let mut client = server.user(&format!("c{n}"), "customer");
                    client.subscribe(&["orders", "products"]);
                    sender.send((n, client)).unwrap();
                }
            });
        }
    });
    drop(sender);
    let mut clients: Vec<(usize, Client)> = receiver.iter().collect();
    assert_eq!(clients.len(), CONNECTIONS);
    let stats = server.stats();
    assert_eq!(stats["totalConnections"], CONNECTIONS, "{stats}");
    assert_eq!(
        stats["connectionsByNamespace"]["orders"], CONNECTIONS,
        "{stats}"
    );
    let mut emitter = server.emitter();
    let mut lines = String::new();
    for n in 0..CONNECTIONS {
        lines.push_str(&format!("{}\n", about("order:created", &format!("c{n}"))));
        if n % 200 == 0 {
            let event = json!({"type": "product:created", "data": {"productId": n.to_string(), "productName": "n", "category": "c", "price": 1}});
            lines.push_str(&format!("{event}\n"));
        }
    }
    emitter.send_raw(lines.as_bytes());
    emitter.settle();
    assert_eq!(emitter.refusals(), []);
    let fence = Fence::raise(&mut emitter);
    for (n, client) in &mut clients {
        let events = fence.before(client);
        let own: Vec<&str> = events
            .iter()
            .filter(|event| event["type"] == "order:created")
            .map(|event| event["data"]["customerId"].as_str().unwrap())
            .collect();
        assert_eq!(own, [format!("c{n}")]);
        let all: Vec<&str> = events
            .iter()
            .filter(|event| event["type"] == "product:created")
            .map(|event| event["data"]["productId"].as_str().unwrap())
            .collect();
        let expected: Vec<String> = (0..CONNECTIONS)
            .step_by(200)
            .map(|n| n.to_string())
            .collect();
        assert_eq!(all, expected);
        assert_eq!(events.len(), own.len() + all.len());
    }
    let wave: Vec<Client> = clients.drain(..).map(|(_, client)| client).collect();
    drop(wave);
    crate::harness::wait_until("all of them are gone", || {
        server.stats()["totalConnections"] == 0
    });
    let mut after = server.public();
    after
        .socket
        .get_mut()
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    after.ping();
}
