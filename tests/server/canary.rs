//! The server as its own emitter and browser: it shows that delivery works, and that it does not.

use std::time::{Duration, Instant};

use rustix::process::geteuid;
use serde_json::{Value, json};

use crate::harness::examples::event;
use crate::harness::hung::Hung;
use crate::harness::redis::Redis;
use crate::harness::server::text;
use crate::harness::tls::Certificates;
use crate::harness::{Client, Opening, Server, Setup, wait_until};
use crate::metrics::scrape::Scrape;

const ROUND_TRIPS: &str = "shopwire_canary_round_trip_seconds_count";

/// Waits until the canary has come back once more from now on.
fn await_return(server: &Server) {
    let before = Scrape::of(server).get(ROUND_TRIPS, "");
    wait_until("the canary comes back", || {
        Scrape::of(server).get(ROUND_TRIPS, "") > before
    });
}

/// The canary's connections, the only admins': their workers and their `connectionId`s.
fn connections(server: &Server) -> Vec<(u64, String)> {
    let question = json!({"command": "connections", "role": "admin"});
    let answer = server.emitter().command(&question);
    let rows = answer["connections"].as_array().unwrap().iter();
    rows.map(|row| {
        let user = row["userId"].as_str().unwrap();
        assert!(user.starts_with("shopwire-canary-"), "{answer}");
        let id = row["connectionId"].as_str().unwrap();
        (row["worker"].as_u64().unwrap(), id.to_owned())
    })
    .collect()
}

/// Sends the canary away from both workers and waits until it is back, by other connections.
fn send_away(server: &Server) {
    let before = connections(server);
    assert_eq!(before.len(), 2);
    let away = json!({"command": "disconnect", "role": "admin"});
    assert_eq!(server.emitter().command(&away)["disconnected"], 2);
    wait_until("it connects anew", || {
        let now = connections(server);
        now.len() == 2 && now.iter().all(|one| !before.contains(one))
    });
    await_return(server);
}

fn readiness(server: &Server) -> (u16, Value) {
    let answer = server.get("/readyz");
    (answer.status, answer.json()["status"].clone())
}

#[test]
fn nothing_flies_unless_it_is_asked_for() {
    let server = Server::start();
    assert_eq!(server.stats()["totalConnections"], 0);
    assert_eq!(Scrape::of(&server).get("shopwire_emitters", ""), 0.0);
    let scrape = Scrape::of(&server);
    let mut names = scrape.families.keys();
    assert!(!names.any(|name| name.starts_with("shopwire_canary")));
    assert_eq!(readiness(&server), (200, json!("ready")));
}

#[test]
fn it_comes_back_and_nobody_else_sees_it() {
    let server = Server::with(&["--canary", "100ms"]);
    let mut admin = server.user("root", "admin");
    admin.subscribe(&["system", "customers"]);
    let mut ann = server.user("ann", "customer");
    await_return(&server);
    await_return(&server);
    assert_eq!(
        admin.expect_event("customer:online")["data"]["customerId"],
        "ann"
    );
    // All that was kept of the namespace, and then what is sent now.
    let mut late = server.user("rob", "admin");
    late.subscribe_with(json!({"namespaces": ["system"], "last": 100}));
    await_return(&server);
    let id = server.emitter().emit(&event("system:alert"));
    for client in [&mut admin, &mut late] {
        assert_eq!(client.expect_event("system:alert")["id"], id.as_str());
    }
    ann.ping();
    let stats = server.stats();
    assert_eq!(stats["connectionsByRole"]["admin"], 4);
    let scrape = Scrape::of(&server);
    assert_eq!(scrape.get("shopwire_canary_missing", ""), 0.0);
    assert!(scrape.get("shopwire_canary_age_seconds", "") < 3.0);
    assert_eq!(readiness(&server), (200, json!("ready")));
    // It does not hold up the end.
    let started = Instant::now();
    drop((admin, ann, late));
    server.stop();
    assert!(
        started.elapsed() < Duration::from_secs(9),
        "{:?}",
        started.elapsed()
    );
}

#[test]
fn it_comes_in_whatever_keys_origins_proxies_and_emitters_say() {
    const PUBLIC_KEY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/auth/fixtures/rsa.pub.pem");
    let own = geteuid().as_raw();
    let table =
        format!("[emitters]\n{own} = {{ namespaces = [\"orders\"], commands = \"all\" }}\n");
    let server = Setup::new(&[
        "--canary=100ms",
        "--require-auth",
        "--jwt-public-key",
        PUBLIC_KEY,
        "--jwt-issuer=shop",
        "--allowed-origins=https://shop.example",
        "--trusted-proxies=127.0.0.0/8",
        "--connect-rate=1",
        "--max-connections=2",
    ])
    .without("--jwt-secret-file")
    .file(&table)
    .start();
    await_return(&server);
    // What the table says holds for others of the same user, as before and after.
    let line = event("system:notification").to_string();
    assert_eq!(server.emitter().emit_refused(&line).code, "forbidden");
    // A reload puts the table in force anew, and a new connection meets all of it anew.
    server.emitter().command(&json!({"command": "reload"}));
    await_return(&server);
    send_away(&server);
    assert_eq!(Scrape::of(&server).get("shopwire_canary_missing", ""), 0.0);
}

#[test]
fn it_has_a_place_of_the_back_office_when_the_storefront_is_full() {
    let server = Server::with(&["--canary", "100ms", "--max-connections", "20"]);
    await_return(&server);
    let _crowd: Vec<Client> = (0..18).map(|_| server.public()).collect();
    let refused = Client::try_connect(server.address, Opening::new()).err();
    assert_eq!(refused, Some(503));
    send_away(&server);
}

#[test]
fn it_has_a_connection_on_each_worker_and_waits_for_all_of_them() {
    let server = Server::with(&["--canary", "100ms", "--workers", "4", "--core-dumps"]);
    await_return(&server);
    let workers = connections(&server).into_iter().map(|(worker, _)| worker);
    assert_eq!(workers.collect::<Vec<_>>(), [0, 1, 2, 3]);
    // Long before anybody calls a loop hung, it is not back: it was waited for there.
    let hung = Hung::thread(&server, "reactor-2");
    let round_trips = |server: &Server| {
        let history = json!({"command": "history", "type": "system:notification", "limit": 1});
        server.emitter().command(&history)["keptEvents"].as_u64()
    };
    let before = round_trips(&server);
    wait_until("the log says by whom it did not come", || {
        let log = server.stderr();
        log.contains("the canary has not come back") && log.contains("worker 2: ")
    });
    assert!(round_trips(&server) > before, "it was sent off meanwhile");
    drop(hung);
    wait_until("it is back", || {
        server.stderr().contains("the canary comes back again")
    });
    let mut workers: Vec<u64> = connections(&server).into_iter().map(|one| one.0).collect();
    workers.sort_unstable();
    assert_eq!(workers, [0, 1, 2, 3]);
}

#[test]
fn it_takes_the_certificate_in_force_and_no_other() {
    let certificates = Certificates::new();
    // Of names that it does not come by, and over since long.
    certificates.renew_with(|params| {
        params.subject_alt_names =
            vec![rcgen::SanType::DnsName("shop.example".try_into().unwrap())];
        params.not_after = rcgen::date_time_ymd(2001, 1, 1);
    });
    let server = certificates.serve(&["--canary", "100ms"]);
    let mut emitter = server.emitter();
    let round_trips = |emitter: &mut crate::harness::Emitter| {
        let history = json!({"command": "history", "type": "system:notification", "limit": 1});
        emitter.command(&history)["events"][0]["id"].clone()
    };
    let returned = |emitter: &mut crate::harness::Emitter| {
        let question = json!({"command": "connections", "role": "admin"});
        let row = emitter.command(&question)["connections"][0].clone();
        assert!(row.is_null() || row["tls"] == true, "{row}");
        (row["connectionId"].clone(), round_trips(emitter))
    };
    wait_until("it is there", || returned(&mut emitter).1.is_string());
    certificates.renew();
    emitter.command(&json!({"command": "reload"}));
    let before = returned(&mut emitter);
    emitter.command(&json!({"command": "disconnect", "role": "admin"}));
    wait_until("it is there anew, and sends", || {
        let now = returned(&mut emitter);
        now.0.is_string() && now.0 != before.0 && now.1 != before.1
    });
    assert!(!server.stderr().contains("canary"), "{}", server.stderr());
}

#[test]
fn one_that_does_not_come_back_is_told_and_so_is_its_return() {
    let closed = "[access]\nsystem = { customer = \"all\" }\n";
    let output = Setup::new(&["--canary", "100ms"])
        .file(closed)
        .command("check")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        text(&output).contains("admin, manager or staff"),
        "{}",
        text(&output)
    );

    let setup = Setup::new(&[]).file("canary = \"100ms\"\n");
    let server = setup.start();
    await_return(&server);
    let file = server.dir().join("shopwire.toml");
    // Without a canary the table is good; the one that flies stays until a restart.
    std::fs::write(&file, closed).unwrap();
    assert_eq!(server.ctl(&["reload"]).status.code(), Some(0));
    wait_until("it is missed", || {
        readiness(&server) == (503, json!("canary missing"))
    });
    let scrape = Scrape::of(&server);
    assert_eq!(scrape.get("shopwire_canary_missing", ""), 1.0);
    assert_eq!(scrape.get("shopwire_ready", ""), 0.0);
    assert!(scrape.get("shopwire_canary_failures_total", "") >= 3.0);
    assert!(scrape.get("shopwire_canary_age_seconds", "") > 2.0);
    wait_until("the log says why", || {
        let log = server.stderr();
        log.contains("the canary has not come back") && log.contains("may see system")
    });
    // As staff this time: whoever of the back office may see it.
    std::fs::write(&file, "[access]\nsystem = { staff = \"own\" }\n").unwrap();
    assert_eq!(server.ctl(&["reload"]).status.code(), Some(0));
    wait_until("it is back", || readiness(&server) == (200, json!("ready")));
    assert_eq!(server.stats()["connectionsByRole"]["staff"], 2);
    wait_until("the log tells it", || {
        server.stderr().contains("the canary comes back again")
    });
    let log = server.stderr();
    let took = log.split("round_trip_ms=").nth(1).unwrap();
    let took = took.split_whitespace().next().unwrap();
    assert!(
        took.len() <= "2000.123".len(),
        "no more digits than mean something: {took}"
    );
    let told = server
        .stderr()
        .matches("the canary has not come back")
        .count();
    assert_eq!(told, 1, "once, not each time");
}

#[test]
fn a_table_that_would_close_it_out_is_warned_of_and_it_is_nobody_there() {
    let server = Server::with(&["--canary", "100ms"]);
    await_return(&server);
    let mut admin = server.user("root", "admin");
    admin.subscribe(&["system"]);
    let file = server.dir().join("tried.toml");
    let tried = |table: &str| {
        std::fs::write(&file, format!("[access]\nsystem = {table}\n")).unwrap();
        server.ctl(&["access", "--try", file.to_str().unwrap()])
    };
    let output = tried(r#"{ customer = "all" }"#);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let said = text(&output);
    assert!(
        said.contains("warning: the canary needs admin, manager or staff"),
        "{said}"
    );
    let row = said
        .lines()
        .find(|line| line.starts_with("system") && line.contains("admin"));
    let words: Vec<&str> = row.unwrap().split_whitespace().collect();
    // All, none, one who is connected, one of whom is subscribed.
    assert_eq!(
        words[..6],
        ["system", "admin", "all", "none", "1", "1"],
        "{said}"
    );
    // A role of the back office is enough, another one too.
    let said = text(&tried(r#"{ staff = "own" }"#));
    assert!(!said.contains("warning"), "{said}");
}

#[test]
fn every_process_has_its_own() {
    let server = Server::with(&["--canary", "100ms"]);
    await_return(&server);
    let before = connections(&server);
    let server = server.succeed(&[]);
    await_return(&server);
    wait_until("the old one is gone", || {
        let now = connections(&server);
        now.len() == 2 && now.iter().all(|one| !before.contains(one))
    });
    assert_eq!(readiness(&server), (200, json!("ready")));
}

#[test]
fn it_goes_through_redis() {
    let redis = Redis::start();
    let (a, b) = (redis.setup(&["--canary", "100ms"]).start(), redis.host());
    wait_until("a host is there", || a.get("/readyz").status == 200);
    await_return(&a);
    let entries = Scrape::of(&b).get("shopwire_redis_entries_total", "direction=read");
    assert!(entries >= 1.0, "the other host has read it, too");
    let mut admin = b.user("root", "admin");
    admin.subscribe(&["system"]);
    await_return(&a);
    let id = b.emitter().emit(&event("system:alert"));
    assert_eq!(admin.expect_event("system:alert")["id"], id.as_str());
}
