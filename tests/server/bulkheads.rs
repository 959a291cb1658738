//! What a crowd in the storefront cannot take: the places of the back office, and the time of
//! those who are there already.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

use crate::harness::examples::event;
use crate::harness::head::Head;
use crate::harness::tokens::{now_seconds, of};
use crate::harness::{Client, Opening, Server, wait_until};

fn status(server: &Server, role: &str) -> Option<u16> {
    let opening = match role {
        "public" => Opening::new(),
        role => Opening::new().bearer(&of("u", role)),
    };
    Client::try_connect(server.address, opening).err()
}

#[test]
fn a_crowd_leaves_places_for_the_back_office() {
    let server = Server::with(&["--max-connections", "10", "--reserved-share", "30"]);
    let mut crowd: Vec<Client> = (0..3).map(|_| server.public()).collect();
    crowd.extend((0..3).map(|_| server.user("ann", "customer")));
    crowd.push(server.user("guest", "guest"));
    for role in ["public", "guest", "customer"] {
        assert_eq!(status(&server, role), Some(503), "{role}");
    }
    let refused = Head::new(&server).refused(&server, 503);
    assert_eq!(refused.json()["error"]["code"], "full");
    let staff: Vec<Client> = ["admin", "manager", "staff"]
        .into_iter()
        .map(|role| server.user("boss", role))
        .collect();
    assert_eq!(status(&server, "admin"), Some(503), "now all are taken");

    // One of the back office goes: its place is not for everybody. One of the crowd does: that one is.
    drop(staff);
    wait_until("they are gone", || server.stats()["totalConnections"] == 7);
    assert_eq!(status(&server, "customer"), Some(503));
    drop(crowd.pop());
    wait_until("a place is free", || status(&server, "customer").is_none());

    // Whoever turns out to be of the back office makes room for others.
    wait_until("there is room", || server.stats()["totalConnections"] == 6);
    crowd.push(server.public());
    assert_eq!(status(&server, "public"), Some(503));
    let of_staff = crowd.last_mut().unwrap().auth(&of("sam", "staff"));
    assert_eq!(of_staff["type"], "authenticated");
    assert_eq!(status(&server, "public"), None);
    // And counts as such in the next process, too.
    wait_until("it has left", || server.stats()["totalConnections"] == 7);
    let server = server.succeed(&["--workers", "1"]);
    crowd.push(server.public());
    assert_eq!(status(&server, "public"), Some(503));
    assert_eq!(status(&server, "staff"), None);
}

/// Tokens that are costly to check, shown again and again, make turns long.
#[test]
fn a_server_that_lags_lets_in_the_back_office_alone_and_recovers() {
    let fixtures = concat!(env!("CARGO_MANIFEST_DIR"), "/src/auth/fixtures");
    let key = format!("{fixtures}/ec-P-384.pub.pem");
    let server = Server::with(&[
        "--workers=1",
        "--message-rate=0",
        // Those who show them do not read the answers.
        "--outbox-limit=64MiB",
        "--jwt-public-key",
        &key,
    ]);
    let pem = std::fs::read(format!("{fixtures}/ec-P-384.pem")).unwrap();
    let claims = json!({"sub": "busy", "role": "customer", "exp": now_seconds() + 600});
    let header = Header::new(Algorithm::ES384);
    let token = encode(&header, &claims, &EncodingKey::from_ec_pem(&pem).unwrap()).unwrap();
    let message = json!({"type": "auth", "data": {"token": token}}).to_string();
    let frames = masked_text(&message).repeat(150);
    assert_eq!(server.get("/readyz").status, 200);
    let readiness = || -> Value { server.get("/readyz").json()["status"].clone() };

    let enough = Arc::new(AtomicBool::new(false));
    // What one of them sends in a turn may be judged in time, where signatures are judged fast.
    let busy = [(); 3].map(|()| {
        let mut client = Client::connect(&server, Opening::new().bearer(&token));
        let (frames, enough) = (frames.clone(), Arc::clone(&enough));
        thread::spawn(move || {
            while !enough.load(Ordering::Relaxed) {
                client.send_raw(&frames);
            }
            client
        })
    });
    wait_until("it says so", || readiness() == "overloaded");
    let refused = Head::new(&server).refused(&server, 503);
    assert_eq!(refused.json()["error"]["code"], "overloaded");
    let seconds: u64 = refused.header("Retry-After").unwrap().parse().unwrap();
    assert!(seconds >= 1);
    // They are heard a little at a time: whoever else is there is served all the while.
    let mut admin = server.user("root", "admin");
    admin.subscribe(&["products"]);
    for _ in 0..5 {
        let id = server.emitter().emit(&event("product:created"));
        assert_eq!(admin.expect_event("product:created")["id"], id.as_str());
        admin.ping();
    }
    enough.store(true, Ordering::Relaxed);
    // They go, and with them all that they have sent and nobody has read.
    drop(busy.map(|client| client.join().unwrap()));
    wait_until("it is ready again", || readiness() == "ready");
    server.public().ping();
    let log = server.stderr();
    assert!(
        log.contains("a worker lags") && log.contains("a worker no longer lags"),
        "{log}"
    );
}

/// A text frame as a browser sends it, masked with zeros (RFC 6455 section 5.3).
fn masked_text(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).unwrap();
    assert!(length > 125);
    let mut frame = vec![0x81, 0x80 | 126];
    frame.extend(length.to_be_bytes());
    frame.extend([0; 4]);
    frame.extend(text.bytes());
    frame
}
