//! A loop that hangs: it shows, and what does not need it goes on.

use std::time::Instant;

use serde_json::{Value, json};

use crate::harness::examples::event;
use crate::harness::http::Connection;
use crate::harness::hung::Hung;
use crate::harness::server::text;
use crate::harness::{Client, DEADLINE, Server, wait_until};
use crate::metrics::scrape::Scrape;

/// What the server tells of its workers.
fn workers(server: &Server) -> Value {
    let stats = server.emitter().command(&json!({"command": "stats"}));
    stats["workers"].clone()
}

#[test]
fn a_worker_that_hangs_shows_and_the_others_answer() {
    let server = Server::with(&["--workers", "2", "--core-dumps"]);
    assert_eq!(Scrape::of(&server).get("shopwire_loop_hanging", ""), 0.0);
    let hung = Hung::thread(&server, "reactor-1");
    wait_until("it is noticed", || workers(&server)[1]["hanging"] == true);
    assert_eq!(workers(&server)[0]["hanging"], false);
    // Whoever comes now is given to the other worker: requests, and browsers.
    for _ in 0..10 {
        let answer = server.get("/readyz");
        assert_eq!(
            (answer.status, &answer.json()["status"]),
            (503, &json!("worker hangs"))
        );
    }
    assert_eq!(server.get("/healthz").status, 200);
    let scrape = Scrape::of(&server);
    for (worker, expected) in [("0", 0.0), ("1", 1.0), ("router", 0.0)] {
        let labels = format!("worker={worker}");
        assert_eq!(scrape.get("shopwire_loop_hanging", &labels), expected);
    }
    assert_eq!(scrape.get("shopwire_ready", ""), 0.0);
    let mut browsers: Vec<Client> = (0..5).map(|_| server.public()).collect();
    for browser in &mut browsers {
        browser.subscribe(&["products"]);
    }
    let id = server.emitter().emit(&event("product:created"));
    for browser in &mut browsers {
        assert_eq!(browser.expect_event("product:created")["id"], id.as_str());
    }
    wait_until("the log tells it", || {
        let log = server.stderr();
        log.contains("a loop has not come round") && log.contains("worker=1")
    });
    drop(hung);
    wait_until("it comes round again", || {
        server.get("/readyz").status == 200
    });
    assert!(server.stderr().contains("comes round again"));
    assert_eq!(Scrape::of(&server).get("shopwire_loop_hanging", ""), 0.0);
}

#[test]
fn a_router_that_hangs_is_told_by_connections_that_are_there() {
    let server = Server::with(&["--workers", "2", "--core-dumps"]);
    let mut old = Connection::open(server.address);
    let mut ask = || {
        old.send(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n");
        old.response(false)
    };
    assert_eq!(ask().status, 200);
    let _hung = Hung::thread(&server, "router");
    wait_until("it is noticed", || {
        let answer = ask();
        answer.status == 503 && answer.json()["status"] == "worker hangs"
    });
}

#[test]
fn a_worker_that_hangs_does_not_take_ctl_with_it() {
    let server = Server::with(&["--workers", "2", "--core-dumps"]);
    let mut emitter = server.emitter();
    let mut browsers: Vec<Client> = (0..8).map(|_| server.user("ann", "customer")).collect();
    let listed = |server: &Server| {
        let answer = server.emitter().command(&json!({"command": "connections"}));
        answer["connections"].as_array().unwrap().clone()
    };
    let rows = listed(&server);
    let on_worker = |worker: u64| rows.iter().filter(|row| row["worker"] == worker).count();
    let (kept, closed) = (on_worker(1), on_worker(0));
    assert_eq!(kept + closed, 8);
    let id = emitter.emit(&event("product:created"));
    let hung = Hung::thread(&server, "reactor-1");
    // One question after the other, each of a kind of its own.
    let why = ["why", "--event", &id, "--user", "ann"];
    for question in [&why[..], &["connections"], &["disconnect", "--user", "bob"]] {
        let asked = Instant::now();
        let output = server.ctl(question);
        assert_eq!(output.status.code(), Some(1), "{}", text(&output));
        let said = text(&output);
        assert!(said.contains("worker 1 does not answer"), "{said}");
        assert!(asked.elapsed() < DEADLINE, "before ctl would give it up");
    }
    // Events for it are kept until its ring is full; then emitters are held up, and commands are not.
    wait_until("it is noticed", || workers(&server)[1]["hanging"] == true);
    let held_up = |server: &Server| Scrape::of(server).get("shopwire_emitters_held_up", "") == 1.0;
    for _ in 0..1000 {
        emitter.emit(&event("product:created"));
    }
    wait_until("emitters are held up", || {
        emitter.send_line(event("product:created").to_string().as_bytes());
        held_up(&server)
    });
    let output = server.ctl(&["stats", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let output = server.ctl(&["disconnect", "--user", "ann"]);
    let said = text(&output);
    let expected = format!("{closed} connections of others were closed");
    assert!(said.contains(&expected), "{said}");
    assert!(held_up(&server));
    // What it says now, late, answers nobody's question.
    drop(hung);
    emitter.settle();
    wait_until("it has done what it was asked", || {
        listed(&server).is_empty()
    });
    let output = server.ctl(&["connections"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    for browser in &mut browsers {
        browser.expect_close(4403);
    }
}
